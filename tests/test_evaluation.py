"""evaluation: bounds that are bounds, the same for any chunking, in bounded memory."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from course_utils import data, gaussians
from course_utils.evaluation import (
    Elbo,
    active_units,
    elbo,
    evaluating,
    image_noise,
    importance_weighted_bound,
    log_importance_weights,
    posteriors,
)
from course_utils.vae import VAE


class Linear(nn.Module):
    """The linear-Gaussian model with its exact posterior, or one whose width is off."""

    def __init__(self, model, *, stretch=0.0, shift=0.0):
        super().__init__()
        tensors = (torch.from_numpy(np.asarray(part)) for part in model)
        self.dec_w, self.dec_b, self.c = (nn.Parameter(t, requires_grad=False) for t in tensors)
        self.stretch, self.shift, self.largest = stretch, shift, 0

    def encode(self, x):
        mean, cov = gaussians.exact_posterior(x.numpy(), self.numpy())
        logvar = torch.from_numpy(np.log(np.diag(cov))).expand(len(x), -1)
        return torch.from_numpy(mean) + self.shift, logvar + self.stretch

    def log_likelihood(self, x, z):
        assert not torch.is_grad_enabled() and not self.training
        self.largest = max(self.largest, len(x))
        error = ((x - z @ self.dec_w - self.dec_b) ** 2).sum(dim=1)
        return -0.5 * (x.shape[1] * torch.log(2 * math.pi * self.c) + error / self.c)

    def numpy(self):
        return gaussians.LinearGaussian(self.dec_w.numpy(), self.dec_b.numpy(), self.c.item())


DIGITS = data.digits()
X = DIGITS.x_test[:60].astype(np.float64)
MODEL = gaussians.fit_linear_gaussian(DIGITS.x_train.astype(np.float64), 5)
EXACT = torch.from_numpy(gaussians.log_marginal(X, MODEL))


def vae(seed=0):
    torch.manual_seed(seed)
    model = VAE(64, 16, 4)
    with torch.no_grad():
        model.encoder.fc_logvar.bias.fill_(-2.0)  # away from the easy point
        model.encoder.fc_mu.weight.mul_(4)
    return model


IMAGES = (torch.from_numpy(DIGITS.x_test[:50]) > 0.5).float()


@pytest.mark.parametrize("samples", [1, 7, 50])
def test_with_the_exact_posterior_every_weight_is_the_evidence(samples):
    bound = importance_weighted_bound(Linear(MODEL), X, samples=samples)
    torch.testing.assert_close(bound, EXACT, rtol=0, atol=1e-9)


def test_with_a_wrong_posterior_the_bound_rises_towards_the_evidence_from_below():
    model = Linear(MODEL, stretch=0.8, shift=0.3)
    gaps = []
    for samples in (1, 4, 32, 256, 2048):
        gap = EXACT - importance_weighted_bound(model, X, samples=samples, rows=4096)
        gaps.append((gap.mean().item(), gap.std().item() / math.sqrt(len(gap))))
    means, errors = np.array(gaps).T
    assert (np.diff(means[:4]) < -3 * errors[1:4]).all()  # from there on the gap is noise
    assert (means > -3 * errors).all()
    assert means[0] > 1 and abs(means[-1]) < 0.02


def test_for_one_sample_the_bound_and_the_elbo_agree_with_the_exact_elbo():
    model = Linear(MODEL, stretch=0.8, shift=0.3)
    mu, logvar = posteriors(model, X)
    expected, kl = gaussians.elbo_terms(X, mu.numpy(), logvar.numpy(), MODEL)
    repeated = np.repeat(X, 400, axis=0)
    ones = importance_weighted_bound(model, repeated, samples=1).view(len(X), 400)
    errors = ones.std(dim=1) / 20
    assert ((ones.mean(dim=1) - torch.from_numpy(expected - kl)).abs() < 4.5 * errors).all()
    terms = elbo(model, X, samples=400)
    np.testing.assert_allclose(terms.rates, kl, rtol=1e-12)
    assert abs(terms.distortion + expected.mean()) < 0.05
    assert abs(terms.value - (expected - kl).mean()) < 0.05


def test_the_mean_code_would_give_more_than_the_evidence_and_elbo_does_not_use_it():
    model = Linear(MODEL)
    mu, logvar = posteriors(model, X)
    with evaluating(model):
        at_mean = model.log_likelihood(torch.from_numpy(X), mu).mean() - elbo(model, X).rate
    assert at_mean > EXACT.mean() + 1
    assert elbo(model, X, samples=50).value < EXACT.mean() + 0.1


@pytest.mark.parametrize("rows", [1, 3, 20, 64, 999, 10**6])
def test_the_number_of_rows_changes_the_bound_only_by_rounding(rows):
    whole = importance_weighted_bound(vae(), IMAGES, samples=20, seed=3)
    parts = importance_weighted_bound(vae(), IMAGES, samples=20, seed=3, rows=rows)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("pair", [(1, 1), (1, 16), (3, 5), (4, 4), (7, 20), (50, 3)])
def test_noise_is_the_same_in_whatever_parts_and_standard_normal(pair):
    whole = image_noise((600, *pair), torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    parts = [image_noise((n, *pair), generator) for n in (1, 2, 97, 500)]
    assert whole.shape == (600, *pair) and torch.equal(torch.cat(parts), whole)
    assert stats.kstest(whole.flatten()[:20_000].numpy(), "norm").pvalue > 1e-3
    assert len(whole.unique()) > 0.999 * whole.numel()


@pytest.mark.parametrize(("pair", "numbers"), [((1, 5), 16), ((4, 4), 16), ((3, 6), 32)])
def test_noise_takes_whole_blocks_of_16_and_no_more(pair, numbers):
    ours, theirs = (torch.Generator().manual_seed(1) for _ in range(2))
    image_noise((2, *pair), ours)
    torch.randn(2, numbers, generator=theirs)
    assert torch.equal(ours.get_state(), theirs.get_state())


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 6), (0, 4, 5), (3, 0, 5), (3, 4, 0)])
def test_noise_of_another_shape_is_named(shape):
    with pytest.raises(ValueError, match="shape must hold three lengths of at least 1, got"):
        image_noise(shape, torch.Generator())


@pytest.mark.parametrize("batch_size", [1, 7, 50, 10**6])
def test_the_batch_size_changes_the_elbo_only_by_rounding(batch_size):
    whole = elbo(vae(), IMAGES, samples=3, seed=3)
    parts = elbo(vae(), IMAGES, samples=3, seed=3, batch_size=batch_size)
    torch.testing.assert_close(parts.values, whole.values, rtol=0, atol=1e-4)
    marks = active_units(vae(), IMAGES, batch_size=batch_size)
    assert torch.equal(marks, active_units(vae(), IMAGES))


@pytest.mark.parametrize(("samples", "rows"), [(1, 10), (4, 10), (30, 10), (500, 64)])
def test_never_more_than_rows_pairs_are_decoded_at_once(samples, rows):
    model = Linear(MODEL, stretch=0.5)
    importance_weighted_bound(model, X[:13], samples=samples, rows=rows)
    assert 0 < model.largest <= rows


def test_the_weight_is_the_ratio_of_densities():
    model, eps = vae(), torch.randn(5, 3, 4)
    x = IMAGES[:5]
    mu, logvar = posteriors(model, x)
    with torch.no_grad():
        weights = log_importance_weights(model, x, mu, logvar, eps)
    normal = torch.distributions.Normal
    z = mu[:, None] + torch.exp(logvar / 2)[:, None] * eps
    log_q = normal(mu[:, None], torch.exp(logvar / 2)[:, None]).log_prob(z).sum(dim=2)
    log_p = normal(0.0, 1.0).log_prob(z).sum(dim=2)
    with torch.no_grad():
        given = torch.stack([model.log_likelihood(x, z[:, j]) for j in range(3)], dim=1)
    torch.testing.assert_close(weights, given + log_p - log_q, rtol=0, atol=1e-4)


def test_the_bound_stays_finite_where_every_weight_underflows():
    x = np.full((3, 64), 40.0)  # ln p near -1e5
    bound = importance_weighted_bound(Linear(MODEL, stretch=0.5), x, samples=30, rows=8)
    exact = gaussians.log_marginal(x, MODEL)
    assert torch.isfinite(bound).all() and (exact < -1e4).all()


def test_the_seed_decides_and_pytorchs_own_generator_is_left_alone():
    state = torch.get_rng_state()
    one, again, other = (elbo(vae(), IMAGES, seed=s).values for s in (1, 1, 2))
    bounds = [importance_weighted_bound(vae(), IMAGES, samples=2, seed=s) for s in (1, 1, 2)]
    vae()
    torch.set_rng_state(state)
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(bounds[0], bounds[1]) and not torch.equal(bounds[0], bounds[2])
    model, state = vae(), torch.get_rng_state()
    elbo(model, IMAGES), importance_weighted_bound(model, IMAGES, samples=2)
    assert torch.equal(state, torch.get_rng_state())


def test_no_two_images_and_no_two_draws_share_their_noise():
    model = Linear(MODEL, stretch=0.8)
    same = np.repeat(X[:1], 40, axis=0)
    assert len(importance_weighted_bound(model, same, samples=1).unique()) == 40
    assert len(elbo(model, same).distortions.unique()) == 40


def test_modes_are_restored_module_by_module_also_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    model.train()
    model[0].eval()
    with pytest.raises(RuntimeError), evaluating(model):
        assert not any(m.training for m in model.modules()) and not torch.is_grad_enabled()
        raise RuntimeError
    assert [m.training for m in model.modules()] == [True, False, True]
    assert torch.is_grad_enabled()


def test_a_unit_is_active_by_the_variance_of_its_mean():
    class Given(nn.Module):
        def encode(self, x):
            return x * torch.tensor([0.11, 0.09, 0.0]), torch.full((len(x), 3), 5.0)

    x = torch.tensor([1.0, -1.0]).repeat(10)[:, None].expand(20, 3)  # variance 1
    assert active_units(Given(), x).tolist() == [True, False, False]  # 0.0121, 0.0081, 0
    assert active_units(Given(), x, threshold=0.002).tolist() == [True, True, False]
    assert active_units(Given(), x + 50, threshold=0.02).tolist() == [False] * 3  # not the mean


def test_a_units_share_of_the_code_may_be_dead():
    model = vae()
    with torch.no_grad():
        model.encoder.fc_mu.weight[1:3] = 0
    assert active_units(model, IMAGES).tolist() == [True, False, False, True]


def test_the_elbo_reports_means_and_the_standard_error_over_images():
    terms = Elbo(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([10.0, 20.0, 30.0]))
    assert (terms.n, terms.rate, terms.distortion, terms.value) == (3, 3.0, 20.0, -23.0)
    assert terms.values.tolist() == [-11.0, -22.0, -36.0]
    assert terms.standard_error == pytest.approx(np.std([11, 22, 36], ddof=1) / math.sqrt(3))
    assert math.isnan(Elbo(torch.ones(1), torch.ones(1)).standard_error)


def test_arrays_and_tensors_of_any_float_type_are_taken_as_they_are():
    x = IMAGES.numpy()
    results = [elbo(vae(), images).value for images in (IMAGES, x, x.astype(np.float64))]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: elbo(vae(), IMAGES, samples=0), "samples must be at least 1, got 0"),
        (lambda: elbo(vae(), IMAGES, batch_size=0), "batch_size must be at least 1"),
        (lambda: importance_weighted_bound(vae(), IMAGES, samples=0), "samples must be"),
        (lambda: importance_weighted_bound(vae(), IMAGES, samples=1, rows=0), "rows must be"),
        (lambda: elbo(vae(), IMAGES[:0]), r"x must have shape \(n, …\) with n at least 1"),
        (lambda: elbo(vae(), IMAGES * torch.nan), "x must be finite"),
        (lambda: elbo(vae(), IMAGES * 255), r"x must lie in \[0, 1\] for this model, got 0 … 255"),
        (lambda: active_units(vae(), IMAGES[:1]), "two images or more"),
    ],
)
def test_arguments_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_image_has_no_standard_error_and_two_have_one():
    def made(n):
        return Elbo(torch.arange(float(n)), torch.zeros(n))

    assert math.isnan(made(1).standard_error)
    assert made(2).standard_error == pytest.approx(0.5)  # s = √½, by √2


def test_a_bound_is_compared_by_identity_and_cannot_be_changed():
    a, b = (Elbo(torch.zeros(2), torch.zeros(2)) for _ in range(2))
    assert a != b and a == a
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.rates = torch.ones(2)


class Reads(torch.nn.Module):
    """An encoder that hands on its input as the mean."""

    def encode(self, x):
        return x, torch.zeros_like(x)


def test_the_variance_of_the_means_is_that_of_these_images():
    """Two images, 0 and 1: a mean over two of the squared distances from ½ is ¼ (not ½)."""
    x = torch.tensor([[0.0], [1.0]])
    assert active_units(Reads(), x, threshold=0.249).tolist() == [True]
    assert active_units(Reads(), x, threshold=0.25).tolist() == [False]
    assert active_units(Reads(), x, threshold=0.0).tolist() == [True]
    with pytest.raises(ValueError, match="x must"):
        active_units(Reads(), x[:1])
    for threshold in (-0.5, math.inf):
        with pytest.raises(ValueError, match="threshold"):
            active_units(Reads(), x, threshold=threshold)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2,)])
def test_images_are_one_for_each_posterior_and_have_pixels(shape):
    mu = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="^x must have shape"):
        log_importance_weights(Reads(), torch.zeros(shape), mu, mu, torch.zeros(3, 1, 2))


def test_the_standard_error_of_one_image_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(Elbo(torch.zeros(1), torch.zeros(1)).standard_error)


def test_a_code_may_have_one_number():
    model = gaussians.fit_linear_gaussian(DIGITS.x_train.astype(np.float64), 1)
    exact = torch.from_numpy(gaussians.log_marginal(X, model))
    bound = importance_weighted_bound(Linear(model), X, samples=3)
    torch.testing.assert_close(bound, exact, rtol=0, atol=1e-9)


def test_an_encoder_that_loses_rows_is_refused():
    class Half(Linear):
        def encode(self, x):
            mu, logvar = super().encode(x)
            return mu[::2], logvar[::2]

    with pytest.raises(ValueError, match="shorter"):
        elbo(Half(MODEL), X[:4], batch_size=2)
