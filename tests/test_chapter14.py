"""Chapter 14: what it derives holds away from its own numbers; other right answers pass."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from course_utils import gaussians
from course_utils.exercises import check
from course_utils.exercises.answers import find

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from course_utils.vae import VAE, kl_divergence  # noqa: E402

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "14_how_good_is_it.ipynb"


def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def solution(number):
    return find(number).solution[0]


def shown(identity):
    """Return what a cell of the chapter defines, run here."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    (source,) = ["".join(cell["source"]) for cell in cells if cell["id"] == identity]
    scope = {"torch": torch, "nn": torch.nn, "F": F, "VAE": VAE}
    exec(source, scope)
    return scope


def orthogonal_rows(lengths, d, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return np.asarray(lengths)[:, None] * q[: len(lengths)]


def difference_by_covariance(a, b):
    covariance = np.cov(a, b)  # with n - 1
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return a.mean() - b.mean(), (variance / len(a)) ** 0.5


def bound_by_steps(log_w):
    total = np.full(len(log_w), -np.inf)
    for column in log_w.T:
        total = np.logaddexp(total, column)
    return total - np.log(log_w.shape[1])


def information_by_determinant(dec_w, c):
    return 0.5 * np.linalg.slogdet(np.eye(dec_w.shape[1]) + dec_w.T @ dec_w / c)[1]


def rates_by_the_fitted_model(eigenvalues, c, beta):
    variances = np.append(eigenvalues, 1e-9)  # one direction more, so that k < d
    x = np.diag(np.sqrt(len(variances) * variances))
    x = np.concatenate([x, -x])  # mean zero, these variances, no correlation
    model = gaussians.fit_linear_gaussian(x, len(eigenvalues), c=beta * c)
    mean, cov = gaussians.exact_posterior(x, model)
    variance = np.diag(cov)
    rates = 0.5 * ((mean**2).mean(axis=0) + variance - 1 - np.log(variance))
    order = np.argsort(-eigenvalues, kind="stable")
    found = np.empty_like(rates)
    found[order] = rates  # the model's rows come with the largest eigenvalue first
    return found


OTHER_ROADS = {
    "14.1": difference_by_covariance,
    "14.2": bound_by_steps,
    "14.3": information_by_determinant,
    "14.4": lambda mu, logvar, threshold: (mu**2).mean(0) - mu.mean(0) ** 2 > threshold,
    "14.5": lambda kl, floor: sum(max(column.mean(), floor) for column in kl.T),
    "14.6": rates_by_the_fitted_model,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    assert said(capsys, number, OTHER_ROADS[number]).startswith(f"✓ {number} is right")


def test_the_bound_by_the_library_and_with_tensors_passes(capsys):
    by_library = lambda log_w: logsumexp(log_w, axis=1) - np.log(log_w.shape[1])  # noqa: E731
    assert said(capsys, "14.2", by_library).startswith("✓")
    with_torch = lambda w: torch.logsumexp(torch.tensor(w), 1) - math.log(w.shape[1])  # noqa: E731
    assert said(capsys, "14.2", with_torch).startswith("✓")


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_the_bound_lies_between_the_mean_and_the_largest_log_weight(seed, samples):
    log_w = np.random.default_rng(seed).normal(-500, 30, size=(5, samples))
    bound = solution("14.2")(log_w)
    assert (log_w.mean(axis=1) <= bound + 1e-9).all()
    assert (bound <= log_w.max(axis=1) + 1e-9).all()
    assert (log_w.max(axis=1) <= bound + np.log(samples) + 1e-9).all()


def test_the_mean_rate_over_the_models_own_images_is_the_information():
    rng = np.random.default_rng(3)
    dec_w, c = orthogonal_rows([2.0, 0.8, 0.2], 6), 0.4
    model = gaussians.LinearGaussian(dec_w, rng.normal(size=6), c)
    x = rng.normal(size=(40_000, 3)) @ dec_w + model.dec_b
    x = x + math.sqrt(c) * rng.normal(size=x.shape)
    mean, cov = gaussians.exact_posterior(x, model)
    rate = gaussians.kl_to_standard_normal(mean, np.log(np.diag(cov)) + 0 * mean)
    error = rate.std() / math.sqrt(len(x))
    assert abs(rate.mean() - solution("14.3")(dec_w, c)) < 4 * error


def test_the_rate_of_the_best_model_is_the_information_of_its_decoder():
    eigenvalues, c, beta = np.array([3.0, 1.0, 0.2]), 0.3, 2.0
    lengths = np.sqrt(np.maximum(eigenvalues - beta * c, 0))  # (11.15)
    rates = solution("14.6")(eigenvalues, c, beta)
    assert rates.sum() == pytest.approx(solution("14.3")(orthogonal_rows(lengths, 5), beta * c))
    assert (rates > 0).tolist() == [True, True, False]
    at_death = solution("14.6")(eigenvalues, c, eigenvalues[1] / c)
    assert at_death[1] == 0 and at_death[0] > 0


@given(st.integers(0, 1000))
def test_free_bits_never_fall_below_the_floor_nor_below_the_kl(seed):
    kl = np.random.default_rng(seed).gamma(0.3, size=(8, 5))
    charged = solution("14.5")(kl, 0.4)
    assert charged >= 5 * 0.4 - 1e-12 and charged >= kl.mean(axis=0).sum() - 1e-12
    assert solution("14.5")(kl, 0.0) == pytest.approx(kl.sum() / 8)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_grey_bounds_are_lower_than_the_mean_bound_of_drawn_images(seed):
    """(14.1) for any number of draws: ln Σ exp is convex in what is linear in the image."""
    rng = np.random.default_rng(seed)
    logits, x = rng.normal(0, 2, size=(6, 4)), rng.random(4)  # six codes, four pixels
    log_ratio = rng.normal(size=6)
    every = np.array(list(itertools.product((0, 1), repeat=4)))
    chance = np.prod(np.where(every == 1, x, 1 - x), axis=1)

    def log_p(b):
        return b @ logits.T - np.log1p(np.exp(logits)).sum(axis=1)

    np.testing.assert_allclose(chance @ log_p(every), log_p(x))
    at_grey = logsumexp(log_p(x) + log_ratio)
    assert at_grey <= chance @ logsumexp(log_p(every) + log_ratio, axis=1) + 1e-12


def test_the_mean_code_gives_more_than_ln_p_by_half_a_nat_for_each_unit_in_use():
    rng = np.random.default_rng(5)
    model = gaussians.LinearGaussian(orthogonal_rows([9.0, 1.0, 0.0], 7), rng.normal(size=7), 0.5)
    x = rng.normal(size=(30, 7))
    mean, cov = gaussians.exact_posterior(x, model)
    logvar = np.log(np.diag(cov)) + 0 * mean
    at_mean, _ = gaussians.elbo_terms(x, mean, np.full_like(mean, -np.inf), model)  # no width
    kl = gaussians.kl_to_standard_normal(mean, logvar)
    excess = at_mean - kl - gaussians.log_marginal(x, model)
    np.testing.assert_allclose(excess, 0.5 * (1 - np.diag(cov)).sum(), atol=1e-10)
    assert 0.7 < excess[0] < 1  # two units in use, the third one idle


@pytest.mark.parametrize("seed", range(3))
def test_a_pixel_of_the_strong_decoder_sees_those_before_it_and_no_other(seed):
    torch.manual_seed(seed)
    model = shown("past")["SeesThePast"](7, 5, 2, hidden=40)
    model.decoder.requires_grad_(False)
    x = torch.rand(1, 7, requires_grad=True)
    h = torch.relu(F.linear(x, model.read.weight * model.may_read, model.read.bias + 5))
    by_past = F.linear(h, model.write.weight * model.may_write)
    slopes = torch.stack(
        [torch.autograd.grad(by_past[0, i], x, retain_graph=True)[0][0] for i in range(7)]
    )
    assert (slopes.triu() == 0).all()
    assert (slopes.tril(-1)[torch.ones(7, 7).tril(-1) == 1] != 0).all()


def test_the_charge_of_free_bits_has_no_gradient_below_the_floor():
    mu = torch.tensor([[0.1, 1.5], [-0.1, -1.5]], requires_grad=True)
    logvar = torch.zeros(2, 2, requires_grad=True)
    kl = 0.5 * (mu**2 + torch.exp(logvar) - 1 - logvar)
    kl.mean(dim=0).clamp(min=0.5).sum().backward()
    assert (mu.grad[:, 0] == 0).all() and (mu.grad[:, 1] != 0).all()
    assert torch.allclose(kl.sum(dim=1), kl_divergence(mu, logvar))
