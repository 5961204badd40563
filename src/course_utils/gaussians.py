"""Gaussians in closed form: log-densities, divergences, and a model in which all is known.

Everything is in nats. A sum over the numbers of one sample is taken here; the mean over samples is
left to the caller.
"""

from typing import NamedTuple

import numpy as np

from course_utils.arguments import named_errors
from course_utils.shapes import expect_shapes


def log_density(x: np.ndarray, mu: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """Compute ln N(x; mu, diag(exp(logvar))), for each row. Defined in chapter 11.

    −½ Σ_j [ln 2π + logvar_j + (x_j − mu_j)² / exp(logvar_j)], a sum over the row, in nats. It is
    the logarithm of a density, so it may be positive.

    Args:
        x: (n, d) the points.
        mu: (n, d) the means.
        logvar: (n, d) the logarithms of the variances, not of the standard deviations.

    Returns:
        (n,) nats.

    Raises:
        ValueError: the shapes do not fit.
    """
    expect_shapes("n d, n d, n d", x=x, mu=mu, logvar=logvar)
    return -0.5 * (np.log(2 * np.pi) + logvar + (x - mu) ** 2 / np.exp(logvar)).sum(axis=1)


def kl_diagonal(
    mu: np.ndarray, logvar: np.ndarray, mu_p: np.ndarray, logvar_p: np.ndarray
) -> np.ndarray:
    """Compute KL(q‖p) of two Gaussians without correlations, for each row. Defined in chapter 11.

    ½ Σ_j [ratio_j + (mu_j − mu_p,j)² / exp(logvar_p,j) − 1 − ln ratio_j] with the ratio of the
    variances, ratio_j = exp(logvar_j − logvar_p,j); a sum over the row, in nats. Not symmetric: the
    first two arguments are the distribution under which the mean is taken.

    Args:
        mu, logvar: (n, k) means and log-variances of q.
        mu_p, logvar_p: (n, k) those of p.

    Returns:
        (n,) nats, at least 0; 0 exactly where q = p.

    Raises:
        ValueError: the shapes do not fit.
    """
    expect_shapes("n k, n k, n k, n k", mu=mu, logvar=logvar, mu_p=mu_p, logvar_p=logvar_p)
    log_ratio = logvar - logvar_p
    distance = (mu - mu_p) ** 2 / np.exp(logvar_p)
    return 0.5 * (np.exp(log_ratio) + distance - 1 - log_ratio).sum(axis=1)


def kl_to_standard_normal(mu: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """Compute KL(N(mu, diag(exp(logvar))) ‖ N(0, I)), for each row. Defined in chapter 11.

    ½ Σ_j [mu_j² + exp(logvar_j) − 1 − logvar_j], a sum over the row, in nats.

    Args:
        mu, logvar: (n, k).

    Returns:
        (n,) nats, at least 0.

    Raises:
        ValueError: the shapes do not fit.
    """
    return kl_diagonal(mu, logvar, np.zeros_like(mu), np.zeros_like(mu))


def kl_full(mu: np.ndarray, cov: np.ndarray, mu_p: np.ndarray, cov_p: np.ndarray) -> float:
    """Compute KL(N(mu, cov) ‖ N(mu_p, cov_p)). The solution of exercise 11.4.

    ½ [tr(cov_p⁻¹ cov) + (mu − mu_p) cov_p⁻¹ (mu − mu_p)ᵀ − k + ln det cov_p − ln det cov], in nats.

    Args:
        mu, mu_p: (k,) means.
        cov, cov_p: (k, k) covariance matrices, symmetric and positive definite.

    Returns:
        Nats, at least 0.

    Raises:
        ValueError: the shapes do not fit, or a matrix is not positive definite.
    """
    expect_shapes("k, k k, k, k k", mu=mu, cov=cov, mu_p=mu_p, cov_p=cov_p)
    traces = np.trace(np.linalg.solve(cov_p, cov))
    distance = (mu - mu_p) @ np.linalg.solve(cov_p, mu - mu_p)
    log_dets = _log_det("cov_p", cov_p) - _log_det("cov", cov)
    return float(0.5 * (traces + distance - len(mu) + log_dets))


def _log_det(name: str, cov: np.ndarray) -> float:
    try:
        return 2 * float(np.log(np.diag(np.linalg.cholesky(cov))).sum())
    except np.linalg.LinAlgError:
        raise ValueError(f"{name} must be positive definite") from None


class LinearGaussian(NamedTuple):
    """The model z ~ N(0, I), x ~ N(z dec_w + dec_b, c I). Defined in chapter 11.

    Also known as probabilistic principal component analysis.

    Attributes:
        dec_w: (k, d) the decoder's weights.
        dec_b: (d,) its biases.
        c: variance of the noise of each pixel, above 0; not its standard deviation.

    Source:
        Tipping and Bishop (1999), Probabilistic principal component analysis,
        https://doi.org/10.1111/1467-9868.00196.
    """

    dec_w: np.ndarray
    dec_b: np.ndarray
    c: float


def log_marginal(x: np.ndarray, model: LinearGaussian) -> np.ndarray:
    """Compute ln p(x) exactly, for each row. Defined in chapter 11.

    p(x) = N(dec_b, dec_wᵀ dec_w + c I).

    Args:
        x: (n, d).
        model: the linear-Gaussian model.

    Returns:
        (n,) nats.

    Raises:
        ValueError: the shapes do not fit.
    """
    expect_shapes("n d, k d, d", x=x, dec_w=model.dec_w, dec_b=model.dec_b)
    covariance = model.dec_w.T @ model.dec_w + model.c * np.eye(x.shape[1])  # (d, d)
    residual = x - model.dec_b
    distance = (residual * np.linalg.solve(covariance, residual.T).T).sum(axis=1)  # (n,)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return -0.5 * (log_det + distance)


def exact_posterior(x: np.ndarray, model: LinearGaussian) -> tuple[np.ndarray, np.ndarray]:
    """Compute p(z|x) = N(mu, cov) exactly. Defined in chapter 11.

    cov = (I + dec_w dec_wᵀ / c)⁻¹, the same for every x, and mu = (x − dec_b) dec_wᵀ cov / c.

    Args:
        x: (n, d).
        model: the linear-Gaussian model.

    Returns:
        mu (n, k), one mean a row, and cov (k, k).

    Raises:
        ValueError: the shapes do not fit.
    """
    expect_shapes("n d, k d, d", x=x, dec_w=model.dec_w, dec_b=model.dec_b)
    precision = np.eye(len(model.dec_w)) + model.dec_w @ model.dec_w.T / model.c  # (k, k)
    cov = np.linalg.inv(precision)
    return (x - model.dec_b) @ model.dec_w.T @ cov / model.c, cov


def expected_error(
    x: np.ndarray, mu: np.ndarray, logvar: np.ndarray, model: LinearGaussian
) -> np.ndarray:
    """Compute E_q ‖x − x_hat‖² exactly, for each row. Defined in chapter 11.

    No sampling: it is the squared error of the mean code plus Σ_j exp(logvar_j) ‖dec_w_j‖².

    Args:
        x: (n, d).
        mu, logvar: (n, k), of q(z|x).
        model: the linear-Gaussian model; its ``c`` plays no part.

    Returns:
        (n,), sums over pixels.

    Raises:
        ValueError: the shapes do not fit.
    """
    expect_shapes("n d, n k, n k, k d", x=x, mu=mu, logvar=logvar, dec_w=model.dec_w)
    at_mean = ((x - mu @ model.dec_w - model.dec_b) ** 2).sum(axis=1)
    return at_mean + np.exp(logvar) @ (model.dec_w**2).sum(axis=1)  # (n,)


def elbo_terms(
    x: np.ndarray, mu: np.ndarray, logvar: np.ndarray, model: LinearGaussian
) -> tuple[np.ndarray, np.ndarray]:
    """Compute both terms of the ELBO exactly, for each row. Defined in chapter 11.

    With q(z|x) = N(mu, diag(exp(logvar))): E_q[ln p(x|z)] and KL(q‖N(0, I)). The ELBO is the first
    minus the second. No sampling: see ``expected_error``.

    Args:
        x: (n, d).
        mu, logvar: (n, k), what the encoder says of each row.
        model: the linear-Gaussian model.

    Returns:
        Two arrays (n,), in nats.

    Raises:
        ValueError: the shapes do not fit.
    """
    error = expected_error(x, mu, logvar, model)
    expected = -0.5 * (x.shape[1] * np.log(2 * np.pi * model.c) + error / model.c)
    return expected, kl_to_standard_normal(mu, logvar)


def fit_linear_gaussian(x: np.ndarray, k: int, *, c: float | None = None) -> LinearGaussian:
    """Find the linear-Gaussian model of maximum likelihood, in closed form. Defined in chapter 11.

    With λ_i and u_i the eigenvalues, descending, and eigenvectors of the covariance of x:
    dec_w_i = √max(λ_i − c, 0) · u_i, dec_b the mean row, and c, where it is not given, the mean of
    λ_{k+1}, …, λ_d. So a direction of the code has variance λ_i − c in the data, not λ_i.

    Args:
        x: (n, d), not centred.
        k: numbers in the code, at least 1, less than d.
        c: the noise variance, if it is not to be fitted.

    Returns:
        The model. Its rows are at right angles; every rotation of the code is as likely.

    Raises:
        ValueError: k or c is out of its range, or no c above 0 fits because the data lie in a
            subspace of k dimensions.

    Source:
        Tipping and Bishop (1999), https://doi.org/10.1111/1467-9868.00196.
    """
    expect_shapes("n d", x=x)
    if not 0 < k < x.shape[1]:
        raise ValueError(f"k must be at least 1 and less than d = {x.shape[1]}, got {k}")
    dec_b = x.mean(axis=0)
    eigenvalues, axes = np.linalg.eigh((x - dec_b).T @ (x - dec_b) / len(x))  # ascending
    eigenvalues, axes = eigenvalues[::-1], axes[:, ::-1].T  # descending; rows
    c = float(eigenvalues[k:].mean()) if c is None else c
    if not c > 0:
        raise ValueError(f"c must be above 0, got {c}")
    scale = np.sqrt(np.maximum(eigenvalues[:k] - c, 0.0))  # (k,)
    return LinearGaussian(scale[:, None] * axes[:k], dec_b, c)


named_errors(globals())
