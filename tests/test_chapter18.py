"""Chapter 18: what β buys, what a turn costs, whose axes; other right answers pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.disentanglement import turning_cost
from course_utils.exercises import check
from course_utils.exercises.answers import find
from course_utils.gaussians import (
    elbo_terms,
    exact_posterior,
    fit_linear_gaussian,
    log_marginal,
)

torch = pytest.importorskip("torch")

SEEDS = st.integers(0, 1000)


def mixed_data(seed, n=400, d=8):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ (rng.normal(size=(d, d)) * np.geomspace(2, 0.2, d)[:, None])


def rate_and_distortion(model, x, c, mean=None, variances=None):
    mu, cov = exact_posterior(x, model)
    variances = np.diag(cov) if variances is None else variances
    log_p, kl = elbo_terms(x, mu, np.log(variances) + 0 * mu, model._replace(c=c))
    return kl.mean(), -log_p.mean()


# A price ---------------------------------------------------------------------------------------
@given(SEEDS, st.floats(0.1, 4))
def test_the_linear_curve_is_water_filling(seed, beta):
    x, c = mixed_data(seed), 0.02
    model = fit_linear_gaussian(x, 7, c=beta * c)
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    if eigenvalues[0] > beta * c:
        return  # eight directions above the water and seven code numbers: another formula
    rate, distortion = find("18.2").solution[0](eigenvalues, beta, c)
    found = rate_and_distortion(model, x, c)
    assert found[0] == pytest.approx(rate, abs=1e-7)
    assert found[1] == pytest.approx(distortion + 4 * np.log(2 * np.pi * c), abs=1e-7)


@given(SEEDS, st.floats(0.1, 10), st.floats(1.1, 5))
def test_best_models_keep_the_exchange_inequality_and_nobody_is_beaten(seed, beta, ratio):
    eigenvalues = np.random.default_rng(seed).exponential(size=9)
    prices = beta * np.array([1, ratio])
    water = find("18.2").solution[0]
    (r_1, d_1), (r_2, d_2) = (water(eigenvalues, b, 0.1) for b in prices)
    assert prices[0] * (r_1 - r_2) <= d_2 - d_1 + 1e-9
    assert d_2 - d_1 <= prices[1] * (r_1 - r_2) + 1e-9
    results = np.array([r_1, r_2]), np.array([d_1, d_2])
    slack = np.array([0, 1e-9])  # equal models may differ by rounding
    assert not find("18.3").solution[0](prices, results[0], results[1] + slack).any() or r_1 == r_2


@given(SEEDS, st.floats(0.2, 10))
def test_the_slope_of_the_curve_is_minus_beta(seed, beta):
    eigenvalues = np.random.default_rng(seed).uniform(1.5, 5, size=9)  # above all water levels
    water = find("18.2").solution[0]
    (r_1, d_1), (r_2, d_2) = (water(eigenvalues, b, 0.1) for b in (beta, beta * 1.0001))
    assert (d_2 - d_1) / (r_2 - r_1) == pytest.approx(-beta, rel=1e-3)


def test_a_gaussian_beta_vae_is_a_vae_with_more_noise():
    from course_utils.vae import VAE, Gaussian, negative_elbo

    x, losses = torch.rand(6, 10, generator=torch.Generator().manual_seed(0)), []
    gradients = []
    for c, beta in ((0.1, 4.0), (0.4, 1.0)):
        torch.manual_seed(1)
        model = VAE(10, 7, 3, likelihood=Gaussian(c))
        losses.append(negative_elbo(model, x, torch.Generator().manual_seed(2), beta=beta))
        losses[-1].backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
        )
    torch.testing.assert_close(gradients[0], 4 * gradients[1])


# A turn ----------------------------------------------------------------------------------------
@given(SEEDS)
def test_a_turned_linear_model_has_the_same_evidence_and_a_lower_bound(seed):
    x = mixed_data(seed)
    model = fit_linear_gaussian(x, 4)
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))[0]
    turned = model._replace(dec_w=q @ model.dec_w)
    np.testing.assert_allclose(log_marginal(x, turned), log_marginal(x, model))
    cov = exact_posterior(x, turned)[1]
    straight = rate_and_distortion(model, x, model.c)
    crooked = rate_and_distortion(turned, x, model.c, variances=1 / np.diag(np.linalg.inv(cov)))
    lost = sum(crooked) - sum(straight)
    logvar = np.log(np.diag(exact_posterior(x, model)[1]))[None]
    assert lost == pytest.approx(turning_cost(logvar, q)[0], abs=1e-8)


@pytest.mark.parametrize("degrees", [30, 65])
def test_codes_of_a_stretched_cloud_run_along_its_axes_at_any_angle(degrees):
    from course_utils import runtime
    from course_utils.training import fit
    from course_utils.vae import VAE, Gaussian, negative_elbo

    angle = np.radians(degrees)
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    places = np.random.default_rng(0).normal(size=(3000, 2)) * [1.5, 0.7] @ axes
    grid = np.arange(16) - 7.5
    columns, rows = (np.exp(-((grid - places[:, [i]]) ** 2) / 32) for i in range(2))
    x = (rows[:, :, None] * columns[:, None, :]).reshape(3000, 256)
    torch.manual_seed(1)
    model = VAE(256, 64, 2, likelihood=Gaussian(0.1), activation=torch.nn.Tanh)
    with runtime.threads(1):
        options = {"batch_size": 100, "rate": 5e-3, "device": "cpu", "progress": False}
        fit(model, negative_elbo, x, epochs=25, **options)
        with torch.no_grad():
            mu = model.encode(torch.from_numpy(x).float())[0].numpy()
    slopes = np.linalg.lstsq(places, mu - mu.mean(axis=0), rcond=None)[0].T @ axes.T
    off = np.degrees(np.arctan2(np.abs(slopes).min(axis=1), np.abs(slopes).max(axis=1)))
    assert off.max() < 12


# The exercises, by other roads -----------------------------------------------------------------
def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def mig_with_partition(information, entropy_bits):
    ordered = np.partition(information, -2, axis=0)[-2:]
    bits = (ordered[1] - ordered[0]) / np.log(2)
    return float(np.mean(bits / entropy_bits))


def water_of_the_fitted_model(eigenvalues, beta, c):
    """From chapter 11's closed form: data with exactly these principal variances."""
    d = len(eigenvalues)
    x = np.concatenate([np.diag(np.sqrt(d * eigenvalues)), -np.diag(np.sqrt(d * eigenvalues))])
    scale = np.sqrt(np.maximum(eigenvalues - beta * c, 0))
    posterior = 1 / (1 + scale**2 / (beta * c))
    mu = x * scale * posterior / (beta * c)
    kl = 0.5 * (mu**2 + posterior - 1 - np.log(posterior)).sum(axis=1).mean()
    error = ((x - mu * scale) ** 2 + posterior * scale**2).sum(axis=1).mean()
    return kl, error / (2 * c)


def beaten_with_loops(beta, rate, distortion):
    n = len(beta)
    return [
        any(distortion[j] + beta[i] * rate[j] < distortion[i] + beta[i] * rate[i] for j in range(n))
        for i in range(n)
    ]


def pair_cost_by_the_chapter(sigma_1, sigma_2, alpha):
    costs = []
    for a, b, t in zip(sigma_1.flat, sigma_2.flat, alpha.flat, strict=True):
        q = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
        costs.append(turning_cost(2 * np.log([[a, b]]), q)[0])
    return np.reshape(costs, alpha.shape)


OTHER_ROADS = {
    "18.1": mig_with_partition,
    "18.2": water_of_the_fitted_model,
    "18.3": beaten_with_loops,
    "18.4": pair_cost_by_the_chapter,
    "18.5": lambda z: np.concatenate([z, -3 * z**3, z], axis=1),
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    assert said(capsys, number, OTHER_ROADS[number]).startswith(f"✓ {number} is right")


def test_a_bijection_that_is_no_linear_map_does_not_count(capsys):
    out = said(capsys, "18.5", lambda z: np.concatenate([z**3, z**3], axis=1))
    assert "linear map" in out and out.startswith("✗")


def test_each_number_with_noise_added_and_taken_off_spoils_the_score_too(capsys):
    def blurred_twice(z):
        noise = np.random.default_rng(0).normal(size=z.shape)
        return np.concatenate([z + noise, z - noise], axis=1)

    assert said(capsys, "18.5", blurred_twice).startswith("✓")


def test_a_turn_by_45_degrees_spoils_the_score_as_well(capsys):
    def turned(z):  # pairs; a factor that is left over is paired with 0, that is, said twice
        z = np.concatenate([z, np.zeros((len(z), z.shape[1] % 2))], axis=1)
        first, second = z[:, ::2], z[:, 1::2]
        return np.concatenate([first + second, first - second], axis=1)

    assert said(capsys, "18.5", turned).startswith("✓")


@settings(max_examples=30)
@given(st.floats(0.05, 3), st.floats(0.05, 3))
def test_a_turn_costs_most_at_45_degrees_and_nothing_at_right_angles(a, b):
    cost = find("18.4").solution[0]
    angles = np.linspace(0, np.pi / 2, 91)
    found = cost(np.full(91, a), np.full(91, b), angles)
    assert found[[0, -1]] == pytest.approx(0, abs=1e-10)
    assert found[45] == pytest.approx(found.max())
