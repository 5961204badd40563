"""The exercises of chapter 12, A VAE in pure NumPy."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises.grading import Exercise, Mistake

Sampler = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# 12.1 --------------------------------------------------------------------------------------------
# mu has variance d · enc_var · pixel_var, and a code number sigma² more.
def first_loss(
    n: int, d: int, k: int, enc_var: float, dec_var: float, pixel_var: float, sigma: float
) -> tuple[float, float]:
    """The expected error and KL of a network that is not trained yet."""
    mu_var = d * enc_var * pixel_var
    reconstruction = pixel_var + k * dec_var * (mu_var + sigma**2)
    kl = n * k * 0.5 * (mu_var + sigma**2 - 1 - np.log(sigma**2))
    return reconstruction, kl


def _terms(
    n: int, k: int, dec_var: float, own: float, sigma: float, mu_var: float, z_var: float
) -> tuple[float, float]:
    kl = n * k * 0.5 * (mu_var + sigma**2 - 1 - np.log(sigma**2))
    return own + k * dec_var * z_var, kl


EXERCISE_1 = Exercise(
    number="12.1",
    solution=(first_loss,),
    cases=lambda: [
        {
            "n": 100,
            "d": 784,
            "k": 2,
            "enc_var": 1.0,
            "dec_var": 1.0,
            "pixel_var": 1.0,
            "sigma": 1.0,
        },
        {"n": 7, "d": 5, "k": 3, "enc_var": 0.2, "dec_var": 0.5, "pixel_var": 1.7, "sigma": 0.4},
        {"n": 3, "d": 4, "k": 1, "enc_var": 2.0, "dec_var": 3.0, "pixel_var": 0.3, "sigma": 2.5},
    ],
    mistakes=(
        Mistake(
            "ln sigma stands where ln sigma² belongs: twice as much.",
            (
                lambda n, d, k, e, v, p, s: (
                    first_loss(n, d, k, e, v, p, s)[0],
                    n * k * 0.5 * (d * e * p + s**2 - 1 - np.log(s)),
                ),
            ),
        ),
        Mistake(
            "the noise of the sample is missing in the reconstruction: z is wider than mu.",
            (lambda n, d, k, e, v, p, s: _terms(n, k, v, p, s, d * e * p, d * e * p),),
        ),
        Mistake(
            "the pixels' own variance is missing: x − x̂ varies even where x̂ is zero.",
            (lambda n, d, k, e, v, p, s: _terms(n, k, v, 0.0, s, d * e * p, d * e * p + s**2),),
        ),
        Mistake(
            "the width stands where the variance belongs: sigma is a standard deviation.",
            (lambda n, d, k, e, v, p, s: first_loss(n, d, k, e, v, p, s**0.5),),
        ),
        Mistake(
            "the ½ of the KL is missing.",
            (
                lambda n, d, k, e, v, p, s: (
                    first_loss(n, d, k, e, v, p, s)[0],
                    2 * first_loss(n, d, k, e, v, p, s)[1],
                ),
            ),
        ),
        Mistake(
            "the KL of one image. (12.2) sums over all n of them.",
            (
                lambda n, d, k, e, v, p, s: (
                    first_loss(n, d, k, e, v, p, s)[0],
                    first_loss(n, d, k, e, v, p, s)[1] / n,
                ),
            ),
        ),
        Mistake(
            "the KL for a width of one. For other widths sigma² − 1 − ln sigma² does not vanish.",
            (
                lambda n, d, k, e, v, p, s: (
                    first_loss(n, d, k, e, v, p, s)[0],
                    n * k * d * e * p / 2,
                ),
            ),
        ),
        Mistake(
            "sigma is a standard deviation: the noise adds its square to the variance of z.",
            (lambda n, d, k, e, v, p, s: _terms(n, k, v, p, s, d * e * p, d * e * p + s),),
        ),
        Mistake(
            "the reconstruction summed over the pixels of an image. (12.2) averages over them.",
            (
                lambda n, d, k, e, v, p, s: (
                    d * first_loss(n, d, k, e, v, p, s)[0],
                    first_loss(n, d, k, e, v, p, s)[1],
                ),
            ),
        ),
        Mistake(
            "the variance of the pixels is missing in mu, which is made of pixels times weights.",
            (lambda n, d, k, e, v, p, s: _terms(n, k, v, p, s, d * e, d * e + s**2),),
        ),
    ),
    hints=(
        "Three variances, one after the other: of mu, of z, of a pixel of x̂.",
        "A sum of d uncorrelated products has d times the variance of one, and the variance of a"
        " product of independent factors of mean zero is the product of theirs.",
        "mu: d · enc_var · pixel_var. z: sigma² more. x̂: k · dec_var times that.",
    ),
)


# 12.2 --------------------------------------------------------------------------------------------
# Every mean divides its term by a size. β is the weight of the KL against that of the error.
def effective_beta(weight: float, recon_mean: str, kl_mean: str, n: int, d: int, k: int) -> float:
    """weight · (sizes that the errors are divided by) / (sizes that the KL is divided by)."""
    size = {"n": n, "d": d, "k": k}
    recon_divisor = np.prod([size[letter] for letter in recon_mean])
    kl_divisor = np.prod([size[letter] for letter in kl_mean])
    return float(weight * recon_divisor / kl_divisor)


def _divisor(letters: str, n: int, d: int, k: int) -> int:
    return math.prod({"n": n, "d": d, "k": k}[letter] for letter in letters)


EXERCISE_2 = Exercise(
    number="12.2",
    solution=(effective_beta,),
    cases=lambda: [
        {"weight": 1.0, "recon_mean": "nd", "kl_mean": "", "n": 100, "d": 784, "k": 2},
        {"weight": 1.0, "recon_mean": "n", "kl_mean": "n", "n": 64, "d": 784, "k": 20},
        {"weight": 0.1, "recon_mean": "nd", "kl_mean": "nk", "n": 128, "d": 784, "k": 5},
        {"weight": 4.0, "recon_mean": "", "kl_mean": "n", "n": 32, "d": 64, "k": 10},
        {"weight": 0.5, "recon_mean": "d", "kl_mean": "k", "n": 16, "d": 12, "k": 3},
        {"weight": 2.0, "recon_mean": "dn", "kl_mean": "kn", "n": 5, "d": 30, "k": 4},
    ],
    mistakes=(
        Mistake(
            "upside down: an error that is averaged weighs less, and the KL against it more.",
            (lambda w, r, q, n, d, k: w * _divisor(q, n, d, k) / _divisor(r, n, d, k),),
        ),
        Mistake(
            "the mean over images counts too, where only one of the terms has it.",
            (
                lambda w, r, q, n, d, k: (
                    w
                    * _divisor(r.replace("n", ""), n, d, k)
                    / _divisor(q.replace("n", ""), n, d, k)
                ),
            ),
        ),
        Mistake(
            "the weight is missing.",
            (lambda w, r, q, n, d, k: _divisor(r, n, d, k) / _divisor(q, n, d, k),),
        ),
        Mistake(
            "the means of the KL are missing.",
            (lambda w, r, q, n, d, k: w * _divisor(r, n, d, k),),
        ),
        Mistake(
            "the weight stands before the KL, not before the error: it multiplies β.",
            (lambda w, r, q, n, d, k: _divisor(r, n, d, k) / _divisor(q, n, d, k) / w,),
        ),
        Mistake(
            "this is the variance c = β / 2 that the loss believes in. β itself was asked for.",
            (lambda w, r, q, n, d, k: w * _divisor(r, n, d, k) / _divisor(q, n, d, k) / 2,),
        ),
    ),
    hints=(
        "A mean is a sum divided by a size. Write both terms as sums over everything.",
        "Then multiply the loss so that the errors are divided by n alone, as in (12.5).",
        "β = weight · (product of the sizes in recon_mean) / (product of those in kl_mean).",
    ),
)


# 12.3 --------------------------------------------------------------------------------------------
# logvar = 2ℓ, so by the chain rule the gradient for ℓ is twice the one for logvar.
def log_sigma_gradients(
    mu: np.ndarray, log_sigma: np.ndarray, eps: np.ndarray, z_gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of the loss by mu and by log_sigma, given that by z."""
    sigma, n = np.exp(log_sigma), len(mu)
    return z_gradient + mu / n, z_gradient * eps * sigma + (sigma**2 - 1) / n


def _case_3(seed: int, n: int, k: int) -> dict[str, np.ndarray]:
    mu, log_sigma, eps, z_gradient = _normal(seed, 4, n, k)
    return {"mu": mu, "log_sigma": log_sigma, "eps": eps, "z_gradient": z_gradient}


EXERCISE_3 = Exercise(
    number="12.3",
    solution=(log_sigma_gradients,),
    cases=lambda: [
        {
            "mu": np.array([[1.0], [-0.5]]),
            "log_sigma": np.array([[-1.0], [0.5]]),
            "eps": np.array([[2.0], [-1.0]]),
            "z_gradient": np.array([[0.3], [0.2]]),
        },
        _case_3(1203, 5, 3),
        _case_3(1204, 1, 4),
        {**_case_3(1212, 2, 2), "log_sigma": np.array([[-12.0, 0.3], [-0.5, -7.0]])},
        {**_case_3(1213, 2, 1), "log_sigma": np.array([[11.0], [6.0]])},
    ],
    mistakes=(
        Mistake(
            "these are the gradients for logvar, (12.10). For ln σ nothing is halved.",
            (
                lambda m, s, e, g: (
                    g + m / len(m),
                    0.5 * g * e * np.exp(s) + 0.5 * (np.exp(2 * s) - 1) / len(m),
                ),
            ),
        ),
        Mistake(
            "the ½ is still in the KL's part. The KL has 2 ln σ, so its ½ cancels as well.",
            (
                lambda m, s, e, g: (
                    g + m / len(m),
                    g * e * np.exp(s) + 0.5 * (np.exp(2 * s) - 1) / len(m),
                ),
            ),
        ),
        Mistake(
            "log_sigma taken for logvar: exp(log_sigma) is σ, not its square.",
            (
                lambda m, s, e, g: (
                    g + m / len(m),
                    0.5 * g * e * np.exp(s / 2) + 0.5 * (np.exp(s) - 1) / len(m),
                ),
            ),
        ),
        Mistake(
            "the KL is a mean over images as well: divide its gradients by n.",
            (lambda m, s, e, g: (g + m, g * e * np.exp(s) + np.exp(2 * s) - 1),),
        ),
        Mistake(
            "the 1/n is in z_gradient already: only the part of the KL is divided by n.",
            (
                lambda m, s, e, g: (
                    (g + m) / len(m),
                    (g * e * np.exp(s) + np.exp(2 * s) - 1) / len(m),
                ),
            ),
        ),
        Mistake(
            "the sample is detached: z_gradient does not reach the encoder, only the KL does.",
            (lambda m, s, e, g: (m / len(m), (np.exp(2 * s) - 1) / len(m)),),
        ),
        Mistake(
            "the KL is missing: mu and log_sigma reach the loss on two paths.",
            (lambda m, s, e, g: (g, g * e * np.exp(s)),),
        ),
        Mistake(
            "the sign of the KL. It is added to the loss, so its gradients are added.",
            (
                lambda m, s, e, g: (
                    g - m / len(m),
                    g * e * np.exp(s) - (np.exp(2 * s) - 1) / len(m),
                ),
            ),
        ),
        Mistake(
            "eps is missing: a step in σ moves z by eps times as much.",
            (lambda m, s, e, g: (g + m / len(m), g * np.exp(s) + (np.exp(2 * s) - 1) / len(m)),),
        ),
        Mistake(
            "log_sigma is cut off at ±5. No bound is asked for, and at a bound the gradient is 0.",
            (lambda m, s, e, g: log_sigma_gradients(m, np.clip(s, -5, 5), e, g),),
        ),
        Mistake(
            "the gradient for σ. For its logarithm, multiply by σ.",
            (
                lambda m, s, e, g: (
                    g + m / len(m),
                    g * e + (np.exp(s) - np.exp(-s)) / len(m),
                ),
            ),
        ),
    ),
    hints=(
        "∂z/∂ℓ = e^ℓ ε. And the KL of one code number is ½ [mu² + e^(2ℓ) − 1 − 2ℓ].",
        "Its derivative for ℓ is e^(2ℓ) − 1: the ½ and the 2 cancel.",
        "Add both paths; the KL's part is divided by n = len(mu).",
    ),
)


# 12.4 --------------------------------------------------------------------------------------------
# The last gradient is zero where c is the mean squared error per pixel: what the decoder leaves
# unexplained.
def gaussian_loss_gradients(
    x: np.ndarray, x_hat: np.ndarray, log_c: float
) -> tuple[float, np.ndarray, float]:
    """error / (2c) + d/2 · ln(2πc), a mean over images, with its gradients."""
    (n, d), c = x.shape, np.exp(log_c)
    error = ((x - x_hat) ** 2).sum(axis=1).mean()
    loss = error / (2 * c) + d / 2 * (np.log(2 * np.pi) + log_c)
    return loss, (x_hat - x) / (n * c), d / 2 - error / (2 * c)


def _gaussian(x: np.ndarray, x_hat: np.ndarray, c: float) -> tuple[float, np.ndarray, float]:
    n, d = x.shape
    error = float(((x - x_hat) ** 2).sum(axis=1).mean())
    loss = error / (2 * c) + d / 2 * float(np.log(2 * np.pi * c))
    return loss, (x_hat - x) / (n * c), d / 2 - error / (2 * c)


def _with(
    change: Callable[[np.ndarray, np.ndarray, float, tuple], tuple],
) -> Callable[[np.ndarray, np.ndarray, float], tuple]:
    return lambda x, x_hat, log_c: change(x, x_hat, log_c, gaussian_loss_gradients(x, x_hat, log_c))


def _error_averaged(x: np.ndarray, x_hat: np.ndarray, log_c: float) -> tuple:
    d, c = x.shape[1], np.exp(log_c)
    error = ((x - x_hat) ** 2).mean()
    loss = error / (2 * c) + d / 2 * np.log(2 * np.pi * c)
    return loss, (x_hat - x) / (x.size * c), d / 2 - error / (2 * c)


EXERCISE_4 = Exercise(
    number="12.4",
    solution=(gaussian_loss_gradients,),
    cases=lambda: [
        {"x": np.array([[1.0, 2.0]]), "x_hat": np.array([[0.5, 2.5]]), "log_c": -1.0},
        {"x": _normal(1205, 4, 3), "x_hat": _normal(1206, 4, 3), "log_c": 0.7},
        {"x": _normal(1207, 6, 5), "x_hat": _normal(1208, 6, 5), "log_c": -2.3},
        {
            "x": _normal(1214, 3, 2),
            "x_hat": _normal(1214, 3, 2) + 1e-3 * _normal(1215, 3, 2),
            "log_c": -12.0,
        },
    ],
    mistakes=(
        Mistake(
            "log_c taken for the logarithm of a standard deviation. c is the variance.",
            (
                lambda x, h, lc: (
                    _gaussian(x, h, np.exp(2 * lc))[0],
                    _gaussian(x, h, np.exp(2 * lc))[1],
                    2 * _gaussian(x, h, np.exp(2 * lc))[2],
                ),
            ),
        ),
        Mistake(
            "log_c is not allowed below −4. The noise may be smaller than that.",
            (lambda x, h, lc: gaussian_loss_gradients(x, h, max(lc, -4.0)),),
        ),
        Mistake(
            "the last one is the gradient for c. For its logarithm, multiply by c.",
            (_with(lambda x, h, lc, r: (r[0], r[1], r[2] / np.exp(lc))),),
        ),
        Mistake(
            "the sign of the gradient for x_hat: output minus target.",
            (_with(lambda x, h, lc, r: (r[0], -r[1], r[2])),),
        ),
        Mistake(
            "the gradient for x_hat without the 1/n of the mean over images.",
            (_with(lambda x, h, lc, r: (r[0], len(x) * r[1], r[2])),),
        ),
        Mistake(
            "the ½ and the 2 of the square cancel in the gradient for x_hat.",
            (_with(lambda x, h, lc, r: (r[0], 2 * r[1], r[2])),),
        ),
        Mistake(
            "the constant of the loss is missing: without it c would grow for ever.",
            (
                _with(
                    lambda x, h, lc, r: (
                        r[0] - x.shape[1] / 2 * np.log(2 * np.pi * np.exp(lc)),
                        r[1],
                        r[2] - x.shape[1] / 2,
                    )
                ),
            ),
        ),
        Mistake(
            "there are d pixels, and the logarithm of c counts for each of them.",
            (
                _with(
                    lambda x, h, lc, r: (
                        r[0] - (x.shape[1] - 1) / 2 * np.log(2 * np.pi * np.exp(lc)),
                        r[1],
                        r[2] - (x.shape[1] - 1) / 2,
                    )
                ),
            ),
        ),
        Mistake(
            "a mean over pixels. −ln p(x|z) is a sum over the d pixels of an image.",
            (_with(lambda x, h, lc, r: tuple(part / x.shape[1] for part in r)),),
        ),
        Mistake(
            "the error is averaged over pixels, but the constant is that of d pixels. Sum the error"
            " over pixels, too.",
            (_error_averaged,),
        ),
    ),
    hints=(
        "Start from (11.11): −ln p(x|z) = ‖x − x̂‖² / (2c) + d/2 · ln(2πc), with c = exp(log_c).",
        "∂(1/c)/∂(ln c) = −1/c, and ∂(ln c)/∂(ln c) = 1.",
        "For log_c: d/2 − (mean over images of ‖x − x̂‖²) / (2c).",
    ),
)


# 12.5 --------------------------------------------------------------------------------------------
# Inputs without any symmetry: in each array all different, none zero. Then a mix-up shows.
def accepts(sampler: Sampler) -> bool:
    """Tell whether a sampler gives mu + exp(logvar / 2) · eps."""
    mu = np.array([[0.3, -1.2], [2.0, 0.7], [-0.4, 1.1]])
    logvar = np.array([[-2.0, 0.5], [1.4, -0.9], [0.2, 2.3]])
    eps = np.array([[1.0, -0.6], [0.4, 1.7], [-1.3, 0.8]])
    z = np.asarray(sampler(mu, logvar, eps))
    return z.shape == mu.shape and np.allclose(z, mu + np.exp(logvar / 2) * eps)


_TRIAL = (_normal(1209, 5, 3), _normal(1210, 5, 3), _normal(1211, 5, 3))
_ZEROS = np.zeros((5, 3))


def _right(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return mu + np.exp(logvar / 2) * eps


def _by_variance(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return mu + np.exp(logvar) * eps


def _no_width(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return mu + eps


def _shared_in_a_row(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return mu + np.exp(logvar / 2) * eps[:, :1]


def _shared_by_rows(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return mu + np.exp(logvar / 2) * eps[:1]


def _no_noise(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return mu.copy()


def _no_mean(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return np.exp(logvar / 2) * eps


def _positive_noise(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu, logvar, np.abs(eps))


def _minus_noise(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu, logvar, -eps)


def _one_width_a_row(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu, logvar[:, :1], eps)


def _one_width_for_all_rows(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu, logvar[:1], eps)


def _one_mean_for_all_rows(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu[:1], logvar, eps)


def _one_mean_a_row(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu[:, :1], logvar, eps)


def _turned_round(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return -_right(mu, logvar, eps)


def _rows_reversed(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu, logvar, eps)[::-1]


def _positive_mean(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(np.abs(mu), logvar, eps)


def _never_narrow(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu, np.abs(logvar), eps)


def _never_wide(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu, -np.abs(logvar), eps)


def _columns_reversed(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return _right(mu, logvar, eps)[:, ::-1]


def _off_in_the_middle(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    z = _right(mu, logvar, eps)
    z[z.shape[0] // 2, z.shape[1] // 2] += 0.01
    return z


def _off_in(row: Any, column: Any) -> Sampler:
    """Off by 0.01 in one place: what a test must not overlook."""

    def sampler(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
        z = _right(mu, logvar, eps)
        z[row, column] += 0.01
        return z

    return sampler


_EVERY = slice(None)
_OFF = (
    _off_in(_EVERY, _EVERY),
    _off_in(_EVERY, 0),
    _off_in(_EVERY, -1),
    _off_in(0, _EVERY),
    _off_in(-1, _EVERY),
)


def _by_looking_at(
    part: Callable[[np.ndarray], np.ndarray | float], atol: float = 1e-8
) -> Callable[[Sampler], bool]:
    """A test that compares only what ``part`` leaves of a code."""

    def test(sampler: Sampler) -> bool:
        z = np.asarray(sampler(*_TRIAL))
        same_shape = z.shape == _TRIAL[0].shape
        return same_shape and bool(np.allclose(part(z), part(_right(*_TRIAL)), atol=atol))

    return test


def _accepts_at(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> Callable[[Sampler], bool]:
    def test(sampler: Sampler) -> bool:
        z = np.asarray(sampler(mu, logvar, eps))
        return z.shape == mu.shape and bool(np.allclose(z, _right(mu, logvar, eps)))

    return test


def _finite_and_shaped(sampler: Sampler) -> bool:
    z = np.asarray(sampler(*_TRIAL))
    return z.shape == _TRIAL[0].shape and bool(np.all(np.isfinite(z)))


EXERCISE_5 = Exercise(
    number="12.5",
    solution=(accepts,),
    cases=lambda: [
        {"sampler": sampler}
        for sampler in (
            _right,
            _by_variance,
            _no_width,
            _shared_in_a_row,
            _shared_by_rows,
            _no_noise,
            _no_mean,
            _positive_noise,
            _minus_noise,
            _one_width_a_row,
            _one_width_for_all_rows,
            _one_mean_a_row,
            _one_mean_for_all_rows,
            _turned_round,
            _rows_reversed,
            *_OFF,
            _positive_mean,
            _never_narrow,
            _never_wide,
            _columns_reversed,
            _off_in_the_middle,
        )
    ],
    mistakes=(
        Mistake(
            "your test looks at shapes or finite values only. Every wrong sampler passes it.",
            (_finite_and_shaped,),
        ),
        Mistake(
            "your test looks at logvar = 0 only, where σ, σ² and 1 are the same.",
            (_accepts_at(_TRIAL[0], _ZEROS, _TRIAL[2]),),
        ),
        Mistake(
            "your test has one image or the same noise for all: let eps differ between rows.",
            (_accepts_at(_TRIAL[0], _TRIAL[1], np.tile(_TRIAL[2][:1], (5, 1))),),
        ),
        Mistake(
            "your test has one code number or the same noise for all: let eps differ in a row.",
            (_accepts_at(_TRIAL[0], _TRIAL[1], np.tile(_TRIAL[2][:, :1], (1, 3))),),
        ),
        Mistake(
            "your test has mu = 0 only, and a sampler that forgets mu passes.",
            (_accepts_at(_ZEROS, *_TRIAL[1:]),),
        ),
        Mistake(
            "your test has eps = 0 only, where the width does not matter.",
            (_accepts_at(*_TRIAL[:2], _ZEROS),),
        ),
        Mistake(
            "your test has positive noise only, and a sampler that takes |eps| passes.",
            (_accepts_at(*_TRIAL[:2], np.abs(_TRIAL[2])),),
        ),
        Mistake(
            "your test has positive mu only, and a sampler that takes |mu| passes.",
            (_accepts_at(np.abs(_TRIAL[0]), *_TRIAL[1:]),),
        ),
        Mistake(
            "your test has positive logvar only: all codes are wider than 1.",
            (_accepts_at(_TRIAL[0], np.abs(_TRIAL[1]), _TRIAL[2]),),
        ),
        Mistake(
            "your test has negative logvar only: all codes are narrower than 1.",
            (_accepts_at(_TRIAL[0], -np.abs(_TRIAL[1]), _TRIAL[2]),),
        ),
        Mistake(
            "your test has one mu and one logvar for all: let them differ in rows and columns.",
            (_accepts_at(0.7 + _ZEROS, 1.3 + _ZEROS, _TRIAL[2]),),
        ),
        Mistake(
            "your test is so wide that a code off by 0.01 passes. Compare with np.allclose.",
            (_by_looking_at(lambda z: z, atol=0.1),),
        ),
        Mistake(
            "your test compares sizes only: a code with the wrong sign passes.",
            (_by_looking_at(np.abs),),
        ),
        Mistake(
            "your test forgets which entry is which (a sum, a sorted list): compare each entry.",
            (_by_looking_at(np.sum),),
        ),
        Mistake(
            "your test looks at the first code number only. Compare all of them.",
            (_by_looking_at(lambda z: z[:, 0]),),
        ),
        Mistake(
            "your test looks at the first image only. Compare all of them.",
            (_by_looking_at(lambda z: z[0]),),
        ),
        Mistake(
            "your test refuses the right sampler too.",
            (lambda sampler: False,),
        ),
    ),
    hints=(
        "Call the sampler with numbers of your own and compare with (12.8).",
        "Which inputs tell exp(logvar / 2) from exp(logvar)? eps[:, :1] from eps? mu from zero?",
        "A mu, a logvar and an eps of shape (3, 2), all entries different and none zero.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
