"""Gaussians in closed form against SciPy, PyTorch, sampling, quadrature and central differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from course_utils import gaussians as g
from course_utils.data import digits
from course_utils.numpy_nn import numerical_gradient

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)
untimed = settings(deadline=None)  # a first call may load a library


def drawn(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def covariance(k, seed):
    (a,) = drawn(seed, (k, k))
    return a @ a.T + 0.1 * np.eye(k)


def some_model(k, d, seed):
    dec_w, dec_b, noise = drawn(seed, (k, d), (d,), ())
    return g.LinearGaussian(dec_w, dec_b, float(np.exp(noise)))


@untimed
@given(n=sizes, d=sizes, seed=seeds)
def test_the_log_density_is_scipys_summed_over_the_row(n, d, seed):
    x, mu, logvar = drawn(seed, (n, d), (n, d), (n, d))
    expected = stats.norm(mu, np.exp(logvar / 2)).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(g.log_density(x, mu, logvar), expected, rtol=1e-10, atol=1e-10)


def test_a_density_may_exceed_one():
    x = np.zeros((1, 2))
    assert g.log_density(x, x, np.full((1, 2), np.log(0.01)))[0] > 0


@untimed
@given(n=sizes, k=sizes, seed=seeds)
def test_the_diagonal_kl_is_pytorchs(n, k, seed):
    torch = pytest.importorskip("torch")
    mu, logvar, mu_p, logvar_p = drawn(seed, *[(n, k)] * 4)
    q, p = (
        torch.distributions.Normal(torch.tensor(m), torch.tensor(np.exp(s / 2)))
        for m, s in ((mu, logvar), (mu_p, logvar_p))
    )
    expected = torch.distributions.kl_divergence(q, p).sum(dim=1).numpy()
    np.testing.assert_allclose(g.kl_diagonal(mu, logvar, mu_p, logvar_p), expected, rtol=1e-9)


@untimed
@given(k=sizes, seed=seeds)
def test_the_full_kl_is_pytorchs(k, seed):
    torch = pytest.importorskip("torch")
    mu, mu_p = drawn(seed, (k,), (k,))
    cov, cov_p = covariance(k, seed), covariance(k, seed + 1)
    q, p = (
        torch.distributions.MultivariateNormal(torch.tensor(m), torch.tensor(s))
        for m, s in ((mu, cov), (mu_p, cov_p))
    )
    expected = torch.distributions.kl_divergence(q, p).item()
    assert g.kl_full(mu, cov, mu_p, cov_p) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@untimed
@given(k=sizes, seed=seeds)
def test_the_full_kl_of_diagonal_gaussians_is_the_diagonal_one(k, seed):
    mu, logvar, mu_p, logvar_p = drawn(seed, *[(1, k)] * 4)
    full = g.kl_full(mu[0], np.diag(np.exp(logvar[0])), mu_p[0], np.diag(np.exp(logvar_p[0])))
    assert full == pytest.approx(g.kl_diagonal(mu, logvar, mu_p, logvar_p)[0], rel=1e-9, abs=1e-9)


@untimed
@given(k=sizes, seed=seeds)
def test_the_full_kl_does_not_depend_on_the_coordinates(k, seed):
    mu, mu_p, a = drawn(seed, (k,), (k,), (k, k))
    a = a + 3 * np.eye(k) * np.sign(np.diag(a))
    cov, cov_p = covariance(k, seed), covariance(k, seed + 1)
    before = g.kl_full(mu, cov, mu_p, cov_p)
    after = g.kl_full(mu @ a, a.T @ cov @ a, mu_p @ a, a.T @ cov_p @ a)
    assert after == pytest.approx(before, rel=1e-5, abs=1e-7)


@untimed
@given(n=sizes, k=sizes, seed=seeds)
def test_a_kl_is_zero_if_and_only_if_both_are_the_same(n, k, seed):
    mu, logvar, shift = drawn(seed, (n, k), (n, k), (n, k))
    np.testing.assert_array_equal(g.kl_diagonal(mu, logvar, mu, logvar), np.zeros(n))
    assert np.all(g.kl_diagonal(mu, logvar, mu + shift, logvar) > 0)
    assert np.all(g.kl_diagonal(mu, logvar, mu, logvar + shift) > 0)


def test_the_kl_to_the_prior_at_three_points_known_by_hand():
    mu = np.array([[0.0, 0.0], [3.0, -4.0], [0.0, 0.0]])
    logvar = np.array([[0.0, 0.0], [0.0, 0.0], [np.log(4.0), np.log(0.25)]])
    expected = [0.0, 12.5, 0.5 * (4 - 1 - np.log(4) + 0.25 - 1 + np.log(4))]
    np.testing.assert_allclose(g.kl_to_standard_normal(mu, logvar), expected, rtol=1e-12)


@untimed
@given(k=sizes, n=sizes, s=st.floats(0.1, 5), seed=seeds)
def test_the_isotropic_kl_is_a_special_case(k, n, s, seed):
    (mu,) = drawn(seed, (n, k))
    expected = 0.5 * ((mu**2).sum(axis=1) + k * (s**2 - 1 - np.log(s**2)))
    kl = g.kl_to_standard_normal(mu, np.full((n, k), 2 * np.log(s)))
    np.testing.assert_allclose(kl, expected, rtol=1e-9, atol=1e-9)


def test_the_kl_is_the_mean_of_the_log_ratio_under_the_first():
    mu, logvar, mu_p, logvar_p = drawn(3, *[(1, 3)] * 4)
    n = 100_000
    z = mu + np.exp(logvar / 2) * np.random.default_rng(4).normal(size=(n, 3))
    parts = [np.repeat(part, n, axis=0) for part in (mu, logvar, mu_p, logvar_p)]
    ratio = g.log_density(z, *parts[:2]) - g.log_density(z, *parts[2:])
    off = ratio.mean() - g.kl_diagonal(mu, logvar, mu_p, logvar_p)[0]
    assert abs(off) < 4 * ratio.std() / np.sqrt(n)


@untimed
@given(n=sizes, k=sizes, d=sizes, seed=seeds)
def test_the_marginal_is_scipys_gaussian(n, k, d, seed):
    model, (x,) = some_model(k, d, seed), drawn(seed + 1, (n, d))
    cov = model.dec_w.T @ model.dec_w + model.c * np.eye(d)
    expected = np.atleast_1d(stats.multivariate_normal(model.dec_b, cov).logpdf(x))
    np.testing.assert_allclose(g.log_marginal(x, model), expected, rtol=1e-7, atol=1e-7)


@untimed
@given(n=sizes, k=sizes, d=sizes, seed=seeds)
def test_joint_is_posterior_times_marginal_for_every_code(n, k, d, seed):
    model = some_model(k, d, seed)
    x, z = drawn(seed + 1, (n, d), (n, k))
    log_c, zeros = np.full((n, d), np.log(model.c)), np.zeros((n, k))
    joint = g.log_density(x, z @ model.dec_w + model.dec_b, log_c) + g.log_density(z, zeros, zeros)
    mu, cov = g.exact_posterior(x, model)
    posterior = [
        stats.multivariate_normal(m, cov).logpdf(row) for m, row in zip(mu, z, strict=True)
    ]
    np.testing.assert_allclose(posterior + g.log_marginal(x, model), joint, rtol=1e-6, atol=1e-6)


@untimed
@given(n=sizes, k=sizes, d=sizes, seed=seeds)
def test_elbo_plus_gap_is_the_log_marginal(n, k, d, seed):
    model = some_model(k, d, seed)
    x, mu, logvar = drawn(seed + 1, (n, d), (n, k), (n, k))
    reconstruction, rate = g.elbo_terms(x, mu, logvar, model)
    mean, cov = g.exact_posterior(x, model)
    gap = [
        g.kl_full(m, np.diag(np.exp(s)), t, cov) for m, s, t in zip(mu, logvar, mean, strict=True)
    ]
    np.testing.assert_allclose(reconstruction - rate + gap, g.log_marginal(x, model), rtol=1e-7)


@untimed
@given(n=sizes, k=sizes, d=sizes, seed=seeds)
def test_the_expected_error_is_the_mean_over_points_with_the_moments_of_q(n, k, d, seed):
    """A quadratic has the same mean under q and over the 2k points mu ± √k σ_j e_j."""
    model = some_model(k, d, seed)
    x, mu, logvar = drawn(seed + 1, (n, d), (n, k), (n, k))
    step = np.sqrt(k) * np.exp(logvar / 2)
    points = [mu + sign * step * axis for axis in np.eye(k) for sign in (-1, 1)]
    errors = [((x - z @ model.dec_w - model.dec_b) ** 2).sum(axis=1) for z in points]
    closed = g.expected_error(x, mu, logvar, model)
    np.testing.assert_allclose(closed, np.mean(errors, axis=0), rtol=1e-9)


def test_the_reconstruction_term_is_a_mean_over_q():
    model, n = some_model(2, 4, 7), 100_000
    x, mu, logvar = drawn(8, (1, 4), (1, 2), (1, 2))
    z = mu + np.exp(logvar / 2) * np.random.default_rng(9).normal(size=(n, 2))
    log_c = np.full((n, 4), np.log(model.c))
    values = g.log_density(np.repeat(x, n, axis=0), z @ model.dec_w + model.dec_b, log_c)
    off = values.mean() - g.elbo_terms(x, mu, logvar, model)[0][0]
    assert abs(off) < 4 * values.std() / np.sqrt(n)


@settings(max_examples=20, deadline=None)
@given(k=st.integers(1, 3), seed=seeds)
def test_no_q_of_the_family_beats_the_posteriors_mean_with_one_over_the_precision(k, seed):
    model, (x,) = some_model(k, 4, seed), drawn(seed + 1, (1, 4))
    mean, cov = g.exact_posterior(x, model)
    logvar = -np.log(np.diag(np.linalg.inv(cov)))[None]

    def elbo(mu, logvar):
        return float(np.subtract(*g.elbo_terms(x, mu, logvar, model))[0])

    for slope in (
        numerical_gradient(lambda v: elbo(v, logvar), mean),
        numerical_gradient(lambda v: elbo(mean, v), logvar),
    ):
        np.testing.assert_allclose(slope, 0, atol=1e-4)
    for step in drawn(seed + 2, *[(2, 1, k)] * 5):
        assert elbo(mean + step[0], logvar + step[1]) < elbo(mean, logvar)


@pytest.mark.parametrize("c", [None, 0.05, 0.3])
def test_no_other_decoder_near_by_is_more_likely(c):
    x = digits().x_train.astype(np.float64)
    model = g.fit_linear_gaussian(x, 4, c=c)
    best, rng = g.log_marginal(x, model).mean(), np.random.default_rng(10)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(3):
            moved = model._replace(dec_w=model.dec_w + size * rng.normal(size=model.dec_w.shape))
            assert g.log_marginal(x, moved).mean() < best
    moved = model._replace(dec_b=model.dec_b + 0.01)
    assert g.log_marginal(x, moved).mean() < best
    if c is None:
        for factor in (0.9, 1.1):
            assert g.log_marginal(x, model._replace(c=factor * model.c)).mean() < best


def test_the_fitted_models_samples_vary_as_the_data_do():
    x = digits().x_train.astype(np.float64)
    model, rng, n = g.fit_linear_gaussian(x, 6), np.random.default_rng(11), 50_000
    sampled = rng.normal(size=(n, 6)) @ model.dec_w + model.dec_b
    sampled += np.sqrt(model.c) * rng.normal(size=sampled.shape)
    axes = model.dec_w / np.linalg.norm(model.dec_w, axis=1, keepdims=True)
    ratio = (sampled @ axes.T).var(axis=0) / (x @ axes.T).var(axis=0)
    np.testing.assert_allclose(ratio, 1, atol=5 * np.sqrt(2 / n))
    assert sampled.var(axis=0).sum() == pytest.approx(x.var(axis=0).sum(), rel=0.02)


def test_the_fitted_model_is_scikit_learns_probabilistic_pca():
    from sklearn.decomposition import PCA

    x = digits().x_train.astype(np.float64)
    n = len(x)
    model, pca = g.fit_linear_gaussian(x, 5), PCA(5, svd_solver="full").fit(x)
    ours = model.dec_w.T @ model.dec_w + model.c * np.eye(64)
    np.testing.assert_allclose(ours, pca.get_covariance() * (n - 1) / n, atol=1e-10)


def test_directions_with_less_variance_than_the_noise_are_left_out():
    x = drawn(12, (500, 3))[0] * (3.0, 1.0, 0.1)
    model = g.fit_linear_gaussian(x, 2, c=4.0)
    assert [bool(row.any()) for row in model.dec_w] == [True, False]


@pytest.mark.parametrize("k", [0, 3, -1])
def test_the_code_must_be_smaller_than_the_data(k):
    with pytest.raises(ValueError, match="^k must be at least 1 and less than d = 3"):
        g.fit_linear_gaussian(drawn(13, (9, 3))[0], k)


@pytest.mark.parametrize("c", [0.0, -1.0, np.nan])
def test_the_noise_must_be_positive(c):
    with pytest.raises(ValueError, match="^c must be above 0"):
        g.fit_linear_gaussian(drawn(14, (9, 3))[0], 1, c=c)


def test_data_in_a_subspace_has_no_likeliest_noise():
    flat = np.outer(np.arange(4.0), np.array([1.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="^c must be above 0"):
        g.fit_linear_gaussian(flat, 1)


@pytest.mark.parametrize("name", ["cov", "cov_p"])
def test_a_matrix_that_is_no_covariance_is_named(name):
    arguments = {"mu": np.zeros(2), "cov": np.eye(2), "mu_p": np.zeros(2), "cov_p": np.eye(2)}
    arguments[name] = np.diag([1.0, -1.0])
    with pytest.raises(ValueError, match=f"^{name} must be positive definite"):
        g.kl_full(**arguments)


MODEL = g.LinearGaussian(np.ones((2, 3)), np.zeros(3), 1.0)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: g.log_density(np.ones((2, 3)), np.ones(3), np.ones((2, 3))), "mu"),
        (lambda: g.kl_diagonal(*[np.ones((2, 3))] * 3, np.ones((2, 2))), "logvar_p"),
        (lambda: g.kl_full(np.ones(2), np.eye(3), np.ones(2), np.eye(2)), "cov"),
        (lambda: g.log_marginal(np.ones((2, 4)), MODEL), "model.dec_w"),
        (lambda: g.exact_posterior(np.ones(3), MODEL), "x"),
        (
            lambda: g.elbo_terms(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)), MODEL),
            "model.dec_w",
        ),
        (lambda: g.fit_linear_gaussian(np.ones(3), 1), "x"),
    ],
)
def test_an_array_that_does_not_fit_is_named(call, name):
    with pytest.raises(ValueError, match=f"^{name} must have shape"):
        call()


@untimed
@given(n=sizes, k=sizes, d=sizes, seed=seeds)
def test_nothing_changes_its_arguments(n, k, d, seed):
    model = some_model(k, d, seed)
    x, mu, logvar = drawn(seed + 1, (n, d), (n, k), (n, k))
    before = [part.copy() for part in (x, mu, logvar, model.dec_w, model.dec_b)]
    g.elbo_terms(x, mu, logvar, model)
    g.exact_posterior(x, model)
    g.log_marginal(x, model)
    for old, new in zip(before, (x, mu, logvar, model.dec_w, model.dec_b), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_mean_far_from_zero_costs_the_fitted_model_no_digits():
    x = drawn(15, (200, 4))[0] * (3.0, 2.0, 1.0, 0.5)
    far = np.array([1e6, -2e6, 5e5, 0.0])
    near, moved = (g.fit_linear_gaussian(each, 2) for each in (x, x + far))
    for one, other in ((near.dec_w.T @ near.dec_w, moved.dec_w.T @ moved.dec_w), (near.c, moved.c)):
        np.testing.assert_allclose(one, other, atol=1e-8)
    np.testing.assert_allclose(moved.dec_b, x.mean(axis=0) + far, rtol=1e-12, atol=1e-12)
