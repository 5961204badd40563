"""The VAE in NumPy against definitions, differences and PyTorch; the exercises of chapter 12."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils import data
from course_utils import numpy_nn as nn
from course_utils import numpy_vae as vae
from course_utils.exercises import chapter12, check
from course_utils.gaussians import kl_to_standard_normal

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def layers(seed, *widths):
    """Weights doubled and biases drawn, so that logvar is well away from zero."""
    rng = np.random.default_rng(seed)
    return [(2 * w, rng.normal(size=b.shape)) for w, b in nn.init_layers(widths, rng)]


def model(seed, d=6, k=3):
    return layers(seed, d, 5, 2 * k), layers(seed + 1, k, 5, d)


# the six functions -------------------------------------------------------------------------------
def test_the_calls_of_the_toy_work_as_they_are_usually_written():
    x = drawn(0, 100, 784)
    enc_w, enc_b, dec_w, dec_b = vae.initialize_weights(784, 2)
    assert (enc_w.shape, enc_b.shape) == ((784, 2), (2,)) and enc_w.size == 1568
    assert (dec_w.shape, dec_b.shape) == ((2, 784), (784,))
    mu, sigma = vae.encoder(x, enc_w, enc_b)
    z = vae.sampling(mu, sigma)
    recon_x = vae.decoder(z, dec_w, dec_b)
    assert (mu.shape, sigma.shape, z.shape, recon_x.shape) == ((100, 2),) * 3 + ((100, 784),)
    loss = vae.loss_function(x, recon_x, mu, sigma)
    assert isinstance(loss, float) and 40_000 < loss < 140_000
    assert isinstance(vae.train_step(x, enc_w, enc_b, dec_w, dec_b), float)


def test_weights_are_standard_normal_and_biases_zero():
    enc_w, enc_b, dec_w, dec_b = vae.initialize_weights(300, 40, rng=np.random.default_rng(1))
    for w in (enc_w, dec_w):
        assert abs(w.var() - 1) < 4 * np.sqrt(2 / w.size) and abs(w.mean()) < 4 / np.sqrt(w.size)
    assert not enc_b.any() and not dec_b.any()
    assert not np.allclose(enc_w, dec_w.T)


@given(n=sizes, d=sizes, k=sizes, seed=seeds)
def test_encoder_and_decoder_are_affine_and_sigma_is_one(n, d, k, seed):
    x, z = drawn(seed, n, d), drawn(seed, n, k)
    w, v, b, c = drawn(1, d, k), drawn(2, k, d), drawn(3, k), drawn(4, d)
    mu, sigma = vae.encoder(x, w, b)
    np.testing.assert_allclose(mu, np.einsum("nd,dk->nk", x, w) + b, atol=1e-12)
    np.testing.assert_array_equal(sigma, np.ones((n, k)))
    np.testing.assert_allclose(vae.decoder(z, v, c), np.einsum("nk,kd->nd", z, v) + c, atol=1e-12)


def test_sampling_has_the_mean_the_standard_deviation_and_independent_noise():
    mu, sigma = np.tile([1.0, -2.0, 0.0], (50_000, 1)), np.tile([0.2, 1.0, 4.0], (50_000, 1))
    z = vae.sampling(mu, sigma, rng=np.random.default_rng(2))
    np.testing.assert_allclose((z - mu).mean(axis=0) / sigma[0], 0, atol=4 / np.sqrt(50_000))
    np.testing.assert_allclose(z.std(axis=0), sigma[0], rtol=0.02)
    assert np.abs(np.corrcoef(z.T) - np.eye(3)).max() < 0.02
    assert abs(np.corrcoef(z[1:, 0], z[:-1, 0])[0, 1]) < 0.02


def test_the_same_generator_gives_the_same_numbers_and_none_gives_new_ones():
    mu = np.zeros((3, 2))
    one, two = (vae.sampling(mu, mu + 1, rng=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(vae.sampling(mu, mu + 1), vae.sampling(mu, mu + 1))
    assert not np.allclose(vae.initialize_weights(3, 2)[0], vae.initialize_weights(3, 2)[0])


@given(n=sizes, d=sizes, k=sizes, seed=seeds)
def test_the_loss_is_a_mean_of_squares_plus_a_sum_of_kls(n, d, k, seed):
    x, recon_x, mu, sigma = (
        drawn(seed, n, d),
        drawn(1, n, d),
        drawn(2, n, k),
        np.exp(drawn(3, n, k)),
    )
    kl = kl_to_standard_normal(mu, 2 * np.log(sigma)).sum()
    expected = ((x - recon_x) ** 2).sum() / (n * d) + kl
    assert vae.loss_function(x, recon_x, mu, sigma) == pytest.approx(expected, rel=1e-10)
    assert vae.loss_function(x, x, 0 * mu, np.ones((n, k))) == 0


def test_train_step_ties_the_functions_together_and_trains_nothing():
    x, weights = drawn(3, 9, 7), vae.initialize_weights(7, 2, rng=np.random.default_rng(4))
    kept = [w.copy() for w in weights]
    value = vae.train_step(x, *weights, rng=np.random.default_rng(6))
    mu, sigma = vae.encoder(x, *weights[:2])
    z = vae.sampling(mu, sigma, rng=np.random.default_rng(6))
    assert value == vae.loss_function(x, vae.decoder(z, *weights[2:]), mu, sigma)
    for before, after in zip(kept, weights, strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_first_loss_is_the_predicted_one_within_three_standard_errors():
    rng = np.random.default_rng(0)
    losses = np.array(
        [
            vae.train_step(
                rng.normal(size=(100, 784)), *vae.initialize_weights(784, 2, rng=rng), rng=rng
            )
            for _ in range(200)
        ]
    )
    assert abs(losses.mean() - 79_971) < 3 * losses.std() / np.sqrt(200)
    kl_sd = np.sqrt(2 / 2 * 100 * 784 * (100 + 784 + 2))
    assert losses.std() == pytest.approx((1 + 2 / 100) * kl_sd, rel=0.2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: vae.initialize_weights(0, 2),
        lambda: vae.initialize_weights(5, 0),
        lambda: vae.encoder(np.ones((3, 4)), np.ones((5, 2)), np.ones(2)),
        lambda: vae.sampling(np.ones((3, 2)), np.ones((3, 1))),
        lambda: vae.decoder(np.ones((3, 2)), np.ones((2, 4)), np.ones((1, 4))),
        lambda: vae.loss_function(
            np.ones((3, 4)), np.ones((3, 4)), np.ones((3, 2)), np.zeros((3, 2))
        ),
        lambda: vae.loss_function(np.ones((3, 4)), np.ones(4), np.ones((3, 2)), np.ones((3, 2))),
        lambda: vae.draw_code(np.ones((3, 2)), np.ones((3, 2)), np.ones((3, 1))),
        lambda: vae.vae_gradients(1.1 + np.zeros((2, 6)), *model(1), np.zeros((2, 3))),
        lambda: vae.vae_gradients(np.zeros((2, 6)), *model(1), np.zeros((2, 1))),
        lambda: vae.gaussian_encoder(np.ones((2, 6)), layers(0, 6, 3)),
        lambda: vae.estimate_elbo(np.ones((2, 6)), *model(1), np.random.default_rng(0), n_draws=0),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(ValueError):
        call()


# the one that learns -----------------------------------------------------------------------------
@given(n=sizes, k=sizes, seed=seeds)
def test_a_code_is_its_mean_plus_noise_of_its_standard_deviation(n, k, seed):
    mu, logvar, eps = drawn(seed, 3, n, k)
    z = vae.draw_code(mu, 3 * logvar, eps)
    np.testing.assert_allclose((z - mu) / eps, np.exp(1.5 * logvar), rtol=1e-6)


@given(n=sizes, k=sizes, seed=seeds)
@settings(max_examples=30)
def test_code_gradients_are_those_of_both_paths(n, k, seed):
    mu, logvar, eps, g = drawn(seed, 4, n, k)

    def loss(mu, logvar):  # Σ g z is any loss whose gradient for z is g
        kl = kl_to_standard_normal(mu, logvar).mean()
        return (g * vae.draw_code(mu, logvar, eps)).sum() + kl

    for_mu, for_logvar = vae.code_gradients(mu, logvar, eps, g)
    by_mu = nn.numerical_gradient(lambda m: loss(m, logvar), mu)
    by_logvar = nn.numerical_gradient(lambda v: loss(mu, v), logvar)
    np.testing.assert_allclose(for_mu, by_mu, atol=1e-7)
    np.testing.assert_allclose(for_logvar, by_logvar, atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_all_gradients_agree_with_differences(seed):
    x, eps = np.random.default_rng(seed).uniform(size=(5, 6)), drawn(seed, 5, 3)
    enc_layers, dec_layers = model(seed)
    value, for_enc, for_dec = vae.vae_gradients(x, enc_layers, dec_layers, eps)
    params = nn.flatten_layers(enc_layers + dec_layers)

    def loss(i, array):
        moved = nn.unflatten_layers([*params[:i], array, *params[i + 1 :]])
        return np.mean(np.add(*vae.vae_terms(x, moved[:2], moved[2:], eps)))

    assert value == pytest.approx(loss(0, params[0]), rel=1e-12)
    for i, gradient in enumerate(nn.flatten_layers(for_enc + for_dec)):
        numeric = nn.numerical_gradient(partial(loss, i), params[i])
        assert nn.relative_error(gradient, numeric) < 1e-6


@pytest.mark.parametrize("n", [1, 7])
def test_loss_and_gradients_are_pytorchs_with_the_same_weights_and_noise(n):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, eps = np.random.default_rng(n).uniform(size=(n, 64)), drawn(n, n, 2)
    enc_layers, dec_layers = layers(8, 64, 32, 16, 4), layers(9, 2, 16, 32, 64)
    value, for_enc, for_dec = vae.vae_gradients(x, enc_layers, dec_layers, eps)
    params = nn.flatten_layers(enc_layers + dec_layers)
    theirs = [torch.tensor(array, requires_grad=True) for array in params]

    def network(h, arrays):
        for i in range(0, len(arrays), 2):
            h = functional.linear(h, arrays[i].T, arrays[i + 1])
            h = torch.relu(h) if i + 2 < len(arrays) else h
        return h

    mu, logvar = network(torch.tensor(x), theirs[:6]).chunk(2, dim=1)
    logits = network(mu + torch.exp(0.5 * logvar) * torch.tensor(eps), theirs[6:])
    nats = functional.binary_cross_entropy_with_logits(
        logits, torch.tensor(x), reduction="none"
    ).sum(dim=1)
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(dim=1)
    loss = (nats + kl).mean()
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-6)
    for ours, array in zip(nn.flatten_layers(for_enc + for_dec), theirs, strict=True):
        assert nn.relative_error(ours, array.grad.numpy()) < 1e-6


def test_the_loss_is_a_mean_over_images():
    x, eps = np.random.default_rng(1).uniform(size=(4, 6)), drawn(1, 4, 3)
    once = vae.vae_gradients(x, *model(3), eps)
    twice = vae.vae_gradients(np.tile(x, (2, 1)), *model(3), np.tile(eps, (2, 1)))
    assert once[0] == pytest.approx(twice[0], rel=1e-12)
    for a, b in zip(once[1] + once[2], twice[1] + twice[2], strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-12)


def test_the_elbo_is_the_mean_over_draws_of_minus_the_loss():
    x = np.random.default_rng(1).uniform(size=(4, 6))
    elbo = vae.estimate_elbo(x, *model(3), np.random.default_rng(7), n_draws=3)
    rng = np.random.default_rng(7)
    losses = [np.add(*vae.vae_terms(x, *model(3), rng.normal(size=(4, 3)))) for _ in range(3)]
    np.testing.assert_allclose(elbo, -np.mean(losses, axis=0), rtol=1e-12)


def test_the_elbo_is_below_the_integral_over_all_codes():
    """Also for an encoder that was never trained: the bound holds for any q."""
    x = (np.random.default_rng(2).uniform(size=(5, 6)) > 0.5).astype(float)
    enc_layers, dec_layers = layers(4, 6, 5, 2), layers(5, 1, 5, 6)
    z = np.linspace(-8, 8, 4001)[:, None]
    logits = nn.forward(z, dec_layers)[-1]
    prior = np.exp(-0.5 * z[:, 0] ** 2) / np.sqrt(2 * np.pi) * (z[1, 0] - z[0, 0])
    evidence = [np.log(prior @ np.exp(-nn.cross_entropy(row + 0 * logits, logits))) for row in x]
    elbo = vae.estimate_elbo(x, enc_layers, dec_layers, np.random.default_rng(3), n_draws=2000)
    assert np.all(elbo < np.array(evidence))


def test_training_lowers_the_held_out_loss_and_changes_nothing_it_was_given():
    digits = data.digits()
    x, x_test = digits.x_train.astype(np.float64), digits.x_test.astype(np.float64)
    rng = np.random.default_rng(0)
    enc_layers, dec_layers = nn.init_layers((64, 64, 4), rng), nn.init_layers((2, 64, 64), rng)
    kept = [a.copy() for a in nn.flatten_layers(enc_layers + dec_layers)]
    step = partial(nn.adam_step, rate=3e-3)
    *trained, history = vae.train_vae(
        x, x_test, enc_layers, dec_layers, rng, n_epochs=15, step=step
    )
    assert history.shape == (15, 2, 2) and np.all(history[:, :, 1] >= 0)
    mean = np.clip(x.mean(axis=0), 1e-12, 1 - 1e-12)
    no_code = nn.cross_entropy(x_test, np.log(mean / (1 - mean)) + 0 * x_test).mean()
    assert -vae.estimate_elbo(x_test, *trained, rng, n_draws=10).mean() < no_code - 1
    for before, after in zip(kept, nn.flatten_layers(enc_layers + dec_layers), strict=True):
        np.testing.assert_array_equal(before, after)


def test_training_shuffles_and_takes_a_last_batch_that_is_smaller():
    x = np.random.default_rng(1).uniform(size=(10, 6))
    runs = [
        vae.train_vae(x, x[:3], *model(3), np.random.default_rng(seed), n_epochs=2, batch_size=4)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0][2], runs[1][2])
    assert not np.allclose(runs[0][2], runs[2][2])


# the exercises -----------------------------------------------------------------------------------
def first_loss_by_counting(n, d, k, enc_var, dec_var, pixel_var, sigma):
    mu_square = sum(enc_var * pixel_var for _ in range(d))
    z_square = mu_square + sigma * sigma
    kl = sum(mu_square / 2 + sigma**2 / 2 - 0.5 - np.log(sigma) for _ in range(n * k))
    return pixel_var + sum(dec_var * z_square for _ in range(k)), kl


def beta_by_measuring(weight, recon_mean, kl_mean, n, d, k):
    """Apply the reductions to arrays of ones, and compare the two weights."""

    def reduced(shape, letters, means):
        ones = np.ones(shape)
        for axis in reversed(range(2)):
            ones = ones.mean(axis) if letters[axis] in means else ones.sum(axis)
        return ones / np.prod(shape)

    return weight * reduced((n, k), "nk", kl_mean) / reduced((n, d), "nd", recon_mean)


def log_sigma_by_pytorch(mu, log_sigma, eps, z_gradient):
    import torch

    m, s = (torch.tensor(a, requires_grad=True) for a in (mu, log_sigma))
    q = torch.distributions.Normal(m, s.exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    z = m + s.exp() * torch.tensor(eps)
    ((z * torch.tensor(z_gradient)).sum() + kl.sum() / len(mu)).backward()
    return m.grad, s.grad


def gaussian_by_pytorch(x, x_hat, log_c):
    import torch

    h = torch.tensor(x_hat, requires_grad=True)
    g = torch.tensor(log_c, requires_grad=True, dtype=torch.float64)
    log_p = torch.distributions.Normal(h, torch.exp(g / 2)).log_prob(torch.tensor(x))
    loss = -log_p.sum(dim=1).mean()
    loss.backward()
    return loss, h.grad, g.grad


def accepts_by_differences(sampler):
    """∂z/∂mu = 1, ∂z/∂logvar = ½ σ ε, z = σ ε at mu = 0."""
    logvar, eps, mu = drawn(1, 4, 2), drawn(2, 4, 2), drawn(3, 4, 2)
    z = sampler(np.zeros((4, 2)), logvar, eps)
    moved = sampler(mu, logvar, eps) - z
    slope = (
        sampler(np.zeros((4, 2)), logvar + 1e-5, eps)
        - sampler(np.zeros((4, 2)), logvar - 1e-5, eps)
    ) / 2e-5
    sigma = np.exp(logvar / 2)
    return bool(
        np.allclose(moved, mu)
        and np.allclose(slope, 0.5 * sigma * eps, atol=1e-7)
        and np.allclose(z, sigma * eps)
    )


OTHER_ROADS = {
    "12.1": first_loss_by_counting,
    "12.2": beta_by_measuring,
    "12.3": log_sigma_by_pytorch,
    "12.4": gaussian_by_pytorch,
    "12.5": accepts_by_differences,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    if "pytorch" in OTHER_ROADS[number].__name__:
        pytest.importorskip("torch")  # not in the answer: there it would count as a wrong one
    check(number, OTHER_ROADS[number])
    out = capsys.readouterr().out
    assert out.startswith("✓"), out


def test_every_exercise_has_another_road():
    assert list(OTHER_ROADS) == [exercise.number for exercise in chapter12.EXERCISES]


def test_the_first_loss_of_exercise_1_is_what_the_toy_prints():
    rng, (n, d, k) = np.random.default_rng(1), (20, 30, 3)
    draws = []
    for _ in range(2000):
        x = np.sqrt(1.7) * rng.normal(size=(n, d))
        w, v = np.sqrt(0.2) * rng.normal(size=(d, k)), np.sqrt(0.5) * rng.normal(size=(k, d))
        mu, _ = vae.encoder(x, w, np.zeros(k))
        sigma = np.full((n, k), 0.4)
        recon_x = vae.decoder(vae.sampling(mu, sigma, rng=rng), v, np.zeros(d))
        whole, kl = vae.loss_function(x, recon_x, mu, sigma), vae.loss_function(x, x, mu, sigma)
        draws.append((whole - kl, kl))
    predicted = chapter12.first_loss(n, d, k, 0.2, 0.5, 1.7, 0.4)
    errors = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(np.mean(draws, axis=0) - predicted) < 4 * errors)


def test_sampling_adds_the_noise_and_one_width_of_zero_is_too_many():
    mu, sigma = np.array([[1.0, -1.0]]), np.array([[0.5, 2.0]])
    noise = np.random.default_rng(6).normal(size=(1, 2))
    np.testing.assert_allclose(
        vae.sampling(mu, sigma, rng=np.random.default_rng(6)), mu + sigma * noise
    )
    x = np.array([[0.5, 0.5]])
    with pytest.raises(ValueError, match="sigma"):
        vae.loss_function(x, x, mu, np.array([[0.0, 2.0]]))


def test_one_number_and_one_draw_are_enough():
    shapes = [w.shape for w in vae.initialize_weights(1, 1, rng=np.random.default_rng(0))]
    assert shapes == [(1, 1), (1,), (1, 1), (1,)]
    for sizes in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="sizes must be at least 1"):
            vae.initialize_weights(*sizes)
    zeros = [(np.zeros((3, 4)), np.zeros(4))], [(np.zeros((2, 3)), np.zeros(3))]
    x = np.full((5, 3), 0.25)
    elbo = vae.estimate_elbo(x, *zeros, np.random.default_rng(0), n_draws=1)
    np.testing.assert_allclose(elbo, -3 * np.log(2))
    with pytest.raises(ValueError, match="n_draws"):
        vae.estimate_elbo(x, *zeros, np.random.default_rng(0), n_draws=0)


def test_the_history_of_training_is_a_mean_over_images():
    """With weights of zero every pixel costs ln 2 and the KL is zero, however many images."""
    zeros = [(np.zeros((3, 4)), np.zeros(4))], [(np.zeros((2, 3)), np.zeros(3))]
    *_, history = vae.train_vae(
        np.full((8, 3), 0.25),
        np.full((5, 3), 0.25),
        *zeros,
        np.random.default_rng(0),
        n_epochs=1,
        step=lambda params, gradients, state: (params, state),
    )
    np.testing.assert_allclose(history[0], [[3 * np.log(2), 0], [3 * np.log(2), 0]], atol=1e-12)
