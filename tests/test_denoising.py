"""Corruptions, the denoising loss and PSNR against definitions; chapter 05's exercises."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from course_utils.autoencoders.denoising import (  # noqa: E402
    denoising_loss,
    gaussian_noise,
    masking_noise,
    psnr,
    salt_and_pepper,
)
from course_utils.exercises import check  # noqa: E402
from course_utils.exercises.chapter05 import wiener_matrix  # noqa: E402
from course_utils.training import fit  # noqa: E402

seeds = st.integers(0, 2**31 - 1)
shares = st.floats(0, 1)
shapes = st.sampled_from([(1, 1), (5, 3), (4, 1, 3, 2), (7,), (0, 3)])
few = settings(max_examples=40, deadline=None)

CORRUPTIONS = [
    pytest.param(partial(gaussian_noise, sigma=0.3), id="gaussian"),
    pytest.param(partial(masking_noise, share=0.4), id="masking"),
    pytest.param(partial(salt_and_pepper, share=0.3), id="salt and pepper"),
]
each_corruption = pytest.mark.parametrize("corrupt", CORRUPTIONS)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def grey(*shape, seed=0):
    """Return grey values strictly between 0 and 1, so that what was replaced can be told."""
    return 0.1 + 0.8 * torch.rand(shape, generator=seeded(seed))


# ---- the corruptions -----------------------------------------------------------------------------


@each_corruption
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6, 5), (3, 1, 4, 2), (0, 5)])
def test_shape_and_type_are_kept_and_the_input_is_not_touched(corrupt, dtype, shape):
    x = grey(*shape).to(dtype)
    before = x.clone()
    x_noisy = corrupt(x, generator=seeded(1))
    assert x_noisy.shape == x.shape and x_noisy.dtype == dtype
    assert torch.equal(x, before) and (x.numel() == 0 or x_noisy.data_ptr() != x.data_ptr())


@each_corruption
def test_equal_generators_corrupt_equally_and_one_generator_goes_on(corrupt):
    x = grey(20, 10)
    generator = seeded(2)
    first, second = corrupt(x, generator=generator), corrupt(x, generator=generator)
    assert torch.equal(first, corrupt(x, generator=seeded(2)))
    assert not torch.equal(first, second)


@each_corruption
def test_the_global_generator_is_left_alone(corrupt):
    before = torch.random.get_rng_state()
    corrupt(grey(4, 4), generator=seeded(3))
    assert torch.equal(torch.random.get_rng_state(), before)


@each_corruption
def test_pixels_and_images_are_corrupted_independently(corrupt):
    """The test that exercise 05.5 finds missing: noise in two pixels is uncorrelated."""
    n = 20_000
    x = torch.full((n, 3), 0.4, dtype=torch.float64)
    change = (corrupt(x, generator=seeded(4)) - x).numpy()
    correlation = np.corrcoef(change.T) - np.eye(3)
    assert np.abs(correlation).max() < 5 / math.sqrt(n)
    lagged = np.corrcoef(change[:-1, 0], change[1:, 0])[0, 1]
    assert abs(lagged) < 5 / math.sqrt(n)


@few
@given(shape=shapes, sigma=st.floats(0, 5), seed=seeds)
def test_gaussian_noise_is_x_plus_sigma_eps(shape, sigma, seed):
    x = grey(*shape, seed=seed)
    eps = torch.randn(shape, generator=seeded(seed))
    assert torch.allclose(gaussian_noise(x, sigma, seeded(seed)), x + sigma * eps)


def test_gaussian_noise_has_mean_zero_and_standard_deviation_sigma_and_is_not_clipped():
    n, sigma = 100_000, 0.7
    eps = gaussian_noise(torch.zeros(n, 1, dtype=torch.float64), sigma, seeded(5)) / sigma
    assert abs(float(eps.mean())) < 5 / math.sqrt(n)
    assert abs(float(eps.var()) - 1) < 5 * math.sqrt(2 / n)  # not the variance for sigma
    assert abs(float((eps**4).mean()) - 3) < 5 * math.sqrt(96 / n)  # the fourth moment of a normal
    assert float(eps.min()) < -2 < 2 < float(eps.max())


@few
@given(shape=shapes, share=shares, seed=seeds)
def test_masking_leaves_each_number_or_makes_it_zero(shape, share, seed):
    x = grey(*shape, seed=seed)
    x_noisy = masking_noise(x, share, seeded(seed))
    assert bool(((x_noisy == 0) | (x_noisy == x)).all())


@few
@given(shape=shapes, share=shares, seed=seeds)
def test_salt_and_pepper_leaves_each_number_or_makes_it_zero_or_one(shape, share, seed):
    x = grey(*shape, seed=seed)
    x_noisy = salt_and_pepper(x, share, seeded(seed))
    assert bool(((x_noisy == 0) | (x_noisy == 1) | (x_noisy == x)).all())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_shares_are_those_asked_for(share):
    n = 100_000
    x, error = grey(n, 1), 5 / (2 * math.sqrt(n))
    masked, salted = masking_noise(x, share, seeded(6)), salt_and_pepper(x, share, seeded(7))
    assert abs(float((masked == 0).float().mean()) - share) < error
    assert abs(float((salted == 0).float().mean()) - share / 2) < error
    assert abs(float((salted == 1).float().mean()) - share / 2) < error


@few
@given(seed=seeds)
def test_nothing_and_everything(seed):
    x = grey(50, 20, seed=seed)
    for corrupt in (gaussian_noise, masking_noise, salt_and_pepper):
        assert torch.equal(corrupt(x, 0, seeded(seed)), x)
    assert not masking_noise(x, 1, seeded(seed)).any()
    everything = salt_and_pepper(x, 1, seeded(seed))
    assert bool(((everything == 0) | (everything == 1)).all())


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_a_strength_out_of_range_is_named(bad):
    x = grey(2, 2)
    with pytest.raises(ValueError, match="sigma must be finite and at least 0, got"):
        gaussian_noise(x, bad, seeded(0))
    for corrupt in (masking_noise, salt_and_pepper):
        for share in (bad, 1.01):
            with pytest.raises(ValueError, match=r"share must lie in \[0, 1\], got"):
                corrupt(x, share, seeded(0))


def test_the_mean_squared_errors_are_those_of_equation_5_2():
    x = torch.rand((4000, 20), generator=seeded(8), dtype=torch.float64) ** 2
    square, opposite = float((x**2).mean()), float(((1 - x) ** 2).mean())
    for corrupt, expected in (
        (partial(gaussian_noise, sigma=0.3), 0.09),
        (partial(masking_noise, share=0.4), 0.4 * square),
        (partial(salt_and_pepper, share=0.3), 0.3 * (square + opposite) / 2),
    ):
        errors = (corrupt(x, generator=seeded(9)) - x) ** 2
        standard_error = float(errors.std()) / math.sqrt(errors.numel())
        assert abs(float(errors.mean()) - expected) < 5 * standard_error


# ---- the loss ------------------------------------------------------------------------------------


@few
@given(n=st.integers(1, 6), d=st.integers(1, 5), seed=seeds)
def test_the_loss_compares_the_models_answer_to_the_noisy_input_with_the_clean_input(n, d, seed):
    torch.manual_seed(seed)
    model, x = torch.nn.Linear(d, d), grey(n, d, seed=seed)
    value = denoising_loss(partial(masking_noise, share=0.5))(model, x, seeded(seed)).detach()
    x_hat = model(masking_noise(x, 0.5, seeded(seed))).detach()
    expected = sum(float(((x[i] - x_hat[i]) ** 2).sum()) for i in range(n)) / n
    assert value.shape == () and math.isclose(float(value), expected, rel_tol=1e-4, abs_tol=1e-6)


def test_the_identity_pays_d_sigma_squared():
    x = grey(20_000, 4)
    loss = denoising_loss(partial(gaussian_noise, sigma=0.5))
    value = float(loss(torch.nn.Identity(), x, seeded(10)))
    assert abs(value - 4 * 0.25) < 5 * 0.25 * math.sqrt(2 * 4 / len(x))


def test_the_corruption_is_drawn_anew_at_each_call():
    loss, generator = denoising_loss(partial(masking_noise, share=0.5)), seeded(11)
    x = grey(10, 6)
    assert loss(torch.nn.Identity(), x, generator) != loss(torch.nn.Identity(), x, generator)


def test_without_corruption_it_is_the_plain_squared_error():
    from course_utils.autoencoders import Autoencoder, squared_error_loss

    torch.manual_seed(12)
    model, x = Autoencoder((6, 4, 2)), grey(9, 6)
    loss = denoising_loss(partial(gaussian_noise, sigma=0.0))
    assert torch.equal(loss(model, x, seeded(0)), squared_error_loss(model, x))


def test_gradients_reach_the_model():
    model = torch.nn.Linear(3, 3)
    loss = denoising_loss(partial(gaussian_noise, sigma=0.1))
    loss(model, grey(5, 3), seeded(13)).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


def test_a_changed_shape_is_named_instead_of_broadcast():
    x = grey(5, 3)
    loss = denoising_loss(partial(gaussian_noise, sigma=0.1))
    with pytest.raises(ValueError, match=r"x_hat must have shape \(n, d\)"):
        loss(torch.nn.Linear(3, 1), x, seeded(0))
    with pytest.raises(ValueError, match=r"x_noisy must have shape \(n, d\)"):
        denoising_loss(lambda x, generator: x[:, :1])(torch.nn.Linear(1, 3), x, seeded(0))


def test_a_linear_network_trained_with_it_becomes_the_wiener_matrix():
    covariance = np.array([[1.0, 0.6], [0.6, 0.5]])
    rng = np.random.default_rng(14)
    x = rng.multivariate_normal(np.zeros(2), covariance, size=4000)
    torch.manual_seed(14)
    model = torch.nn.Linear(2, 2)
    loss = denoising_loss(partial(gaussian_noise, sigma=0.7))
    for rate, size in ((1e-2, 200), (2e-3, 1000)):
        options = {"epochs": 30, "batch_size": size, "rate": rate, "device": "cpu"}
        fit(model, loss, x, progress=False, **options)
    expected = wiener_matrix(x.T @ x / len(x), 0.7)
    np.testing.assert_allclose(model.weight.detach().numpy().T, expected, atol=0.05)


# ---- PSNR ----------------------------------------------------------------------------------------


@few
@given(n=st.integers(1, 6), d=st.integers(1, 6), seed=seeds)
def test_psnr_is_ten_times_the_logarithm_of_one_over_the_mean_squared_error(n, d, seed):
    rng = np.random.default_rng(seed)
    x, x_hat = rng.random((n, d)), rng.random((n, d))
    expected = 10 * np.log10(1 / np.mean((x - x_hat) ** 2))
    assert math.isclose(psnr(x, x_hat), expected, rel_tol=1e-9, abs_tol=1e-9)
    tensors = torch.from_numpy(x), torch.from_numpy(x_hat)
    assert math.isclose(psnr(*tensors), expected, rel_tol=1e-9, abs_tol=1e-9)


def test_a_tenth_of_the_error_is_ten_decibels_more():
    x = torch.zeros(3, 4, dtype=torch.float64)
    gain = psnr(x, x + 0.2 / math.sqrt(10)) - psnr(x, x + 0.2)
    assert math.isclose(gain, 10, rel_tol=1e-9)


def test_equal_images_have_infinitely_many_decibels():
    assert psnr(grey(2, 3), grey(2, 3)) == math.inf


def test_psnr_wants_two_equal_shapes_and_an_image():
    with pytest.raises(ValueError, match="x_hat must have shape"):
        psnr(grey(2, 3), grey(2, 1))
    with pytest.raises(ValueError, match="x must not be empty"):
        psnr(grey(0, 3), grey(0, 3))


# ---- the exercises, by other roads ---------------------------------------------------------------


def average_psnr(x, x_hat):
    return sum(psnr(x[i : i + 1], x_hat[i : i + 1]) for i in range(len(x))) / len(x)


def best_guess(x_noisy, a, p, sigma):
    # in logarithms: far out both densities are 0 in floating point
    plus = np.log(p) - (x_noisy - a) ** 2 / (2 * sigma**2)
    minus = np.log(1 - p) - (x_noisy + a) ** 2 / (2 * sigma**2)
    total = np.logaddexp(plus, minus)
    return a * np.exp(plus - total) - a * np.exp(minus - total)


def wiener_by_eigenvectors(covariance, sigma):
    values, u = np.linalg.eigh(covariance)
    return u @ np.diag(values / (values + sigma**2)) @ u.T


def variance_by_one_sided_slopes(denoise, x_noisy, sigma):
    return [
        sigma**2 * (denoise(x_noisy + 1e-6) - denoise(x_noisy))[i] / 1e-6
        for i in range(len(x_noisy))
    ]


def sly_noise_in_a_loop(x, sigma, rng):
    return np.stack([row + rng.standard_normal() * sigma for row in x])


OTHER_ROADS = {
    "05.1": average_psnr,
    "05.2": best_guess,
    "05.3": wiener_by_eigenvectors,
    "05.4": variance_by_one_sided_slopes,
    "05.5": sly_noise_in_a_loop,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    check(number, OTHER_ROADS[number])
    assert capsys.readouterr().out.startswith("✓")


def test_any_law_of_the_sly_noise_passes_that_has_the_right_mean_and_deviation(capsys):
    def coin(x, sigma, rng):
        return x + sigma * rng.choice([-1.0, 1.0], size=(len(x), 1))

    check("05.5", coin)
    assert capsys.readouterr().out.startswith("✓")


def test_average_psnr_is_never_less_than_the_psnr_of_the_mean_error():
    rng = np.random.default_rng(15)
    for _ in range(50):
        x, x_hat = rng.random((5, 4)), rng.random((5, 4))
        assert average_psnr(x, x_hat) >= psnr(x, x_hat) - 1e-9


@pytest.mark.parametrize("corrupt", [masking_noise, salt_and_pepper])
def test_a_share_of_zero_changes_nothing_also_where_the_generator_draws_zero(corrupt, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    x = torch.full((2, 3), 0.5)
    torch.testing.assert_close(corrupt(x, 0.0, seeded(0)), x, rtol=0, atol=0)
