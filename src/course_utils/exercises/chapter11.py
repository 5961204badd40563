"""The exercises of chapter 11, The ELBO, every step."""

from typing import Any

import numpy as np

from course_utils.exercises.grading import (
    Case,
    Exercise,
    Mistake,
    Wrong,
    as_array,
    as_parts,
)
from course_utils.gaussians import (
    LinearGaussian,
    elbo_terms,
    exact_posterior,
    kl_to_standard_normal,
    log_marginal,
)


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# 11.1 --------------------------------------------------------------------------------------------
# (11.12) with μ = mu, σ = sigma, μ_p = 0, σ_p = tau.
def kl_to_wide_prior(mu: np.ndarray, sigma: np.ndarray, tau: float) -> np.ndarray:
    """½ Σ_j [(sigma_j² + mu_j²) / tau² − 1 − ln(sigma_j² / tau²)], a sum over each row."""
    ratio = sigma**2 / tau**2
    return 0.5 * (ratio + mu**2 / tau**2 - 1 - np.log(ratio)).sum(axis=1)


def _summands(mu: np.ndarray, sigma: np.ndarray, tau: float) -> np.ndarray:
    ratio = sigma**2 / tau**2
    return 0.5 * (ratio + mu**2 / tau**2 - 1 - np.log(ratio))


EXERCISE_1 = Exercise(
    number="11.1",
    solution=(kl_to_wide_prior,),
    cases=lambda: [
        {"mu": np.array([[1.0, -2.0]]), "sigma": np.array([[0.5, 3.0]]), "tau": 2.0},
        {"mu": _normal(1101, 4, 3), "sigma": np.exp(_normal(1102, 4, 3)), "tau": 0.4},
        {"mu": _normal(1103, 2, 2), "sigma": np.exp(_normal(1104, 2, 2)), "tau": 1.0},
        {
            "mu": np.array([[0.0, 7.0], [-0.1, 1.0]]),
            "sigma": np.array([[1e-4, 20.0]] * 2),
            "tau": 3.0,
        },
        {  # summands near zero
            "mu": np.array([[0.0, 0.01, 1.0]]),
            "sigma": np.array([[2.0, 2.02, 1.5]]),
            "tau": 2.0,
        },
    ],
    mistakes=(
        Mistake(
            "free bits: a summand below a floor is raised to it. (11.12) has no floor.",
            (lambda m, s, t: np.maximum(_summands(m, s, t), 0.1).sum(axis=1),),
        ),
        Mistake(
            "the ½ is missing. It comes from the exponent of the Gaussian and stays to the end.",
            (lambda m, s, t: 2 * _summands(m, s, t).sum(axis=1),),
        ),
        Mistake(
            "the sign: a KL is never negative, and zero where mu = 0 and sigma = tau.",
            (lambda m, s, t: -_summands(m, s, t).sum(axis=1),),
        ),
        Mistake(
            "a mean over the code numbers. The logarithm of a product is a sum: so is the KL.",
            (lambda m, s, t: _summands(m, s, t).mean(axis=1),),
        ),
        Mistake(
            "the wrong axis: sum over the code numbers of each row, one value an image.",
            (lambda m, s, t: _summands(m, s, t).sum(axis=0),),
        ),
        Mistake(
            "everything summed into one number. Sum over code numbers only: one value an image.",
            (lambda m, s, t: _summands(m, s, t).sum(),),
        ),
        Mistake(
            "ln sigma stands where ln sigma² belongs. The log-variance is twice the log of sigma.",
            (lambda m, s, t: 0.5 * ((s**2 + m**2) / t**2 - 1 - np.log(s / t)).sum(axis=1),),
        ),
        Mistake(
            "sigma taken for a variance. It is a standard deviation: square it.",
            (lambda m, s, t: 0.5 * ((s + m**2) / t**2 - 1 - np.log(s / t**2)).sum(axis=1),),
        ),
        Mistake(
            "tau taken for a variance. It is a standard deviation: square it.",
            (lambda m, s, t: 0.5 * ((s**2 + m**2) / t - 1 - np.log(s**2 / t)).sum(axis=1),),
        ),
        Mistake(
            "the prior taken for the standard normal one: tau does not appear.",
            (lambda m, s, t: kl_to_standard_normal(m, 2 * np.log(s)),),
        ),
        Mistake(
            "the logarithm is that of sigma² / tau²: the wide prior's own width stands in it too.",
            (lambda m, s, t: 0.5 * ((s**2 + m**2) / t**2 - 1 - np.log(s**2)).sum(axis=1),),
        ),
        Mistake(
            "mu² is not divided by tau²: a wide prior forgives a mean far from zero.",
            (lambda m, s, t: 0.5 * (s**2 / t**2 + m**2 - 1 - np.log(s**2 / t**2)).sum(axis=1),),
        ),
        Mistake(
            "the ½ stands before the squares as well, not only before the 1.",
            (lambda m, s, t: ((m**2 + s**2) / t**2 - np.log(s / t) - 0.5).sum(axis=1),),
        ),
        Mistake(
            "the −1 is missing, and the KL of the prior from itself is not zero.",
            (lambda m, s, t: 0.5 * ((s**2 + m**2) / t**2 - np.log(s**2 / t**2)).sum(axis=1),),
        ),
        Mistake(
            "the KL turned round, of the prior to the code. Asked is the code to the prior.",
            (lambda m, s, t: 0.5 * ((t**2 + m**2) / s**2 - 1 - np.log(t**2 / s**2)).sum(axis=1),),
        ),
    ),
    hints=(
        "Use (11.12) for one code number: which of μ, σ, μ_p, σ_p are mu_j, sigma_j, 0 and tau?",
        "½ [sigma² / tau² + mu² / tau² − 1 − ln(sigma² / tau²)] for each code number.",
        "Then .sum(axis=1): (n, k) -> (n,).",
    ),
)


# 11.2 --------------------------------------------------------------------------------------------
# The KL has weight one in the loss and in minus the ELBO, so the error terms must be equal.
def implied_noise(weight: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """weight / d = 1 / (2 c), so c = d / (2 weight); the constant is d/2 · ln(2πc)."""
    c = d / (2 * weight)
    return c, d / 2 * np.log(2 * np.pi * c)


def _constant(c: np.ndarray, d: int) -> np.ndarray:
    return d / 2 * np.log(2 * np.pi * c)


EXERCISE_2 = Exercise(
    number="11.2",
    solution=(implied_noise,),
    cases=lambda: [
        {"weight": np.array([1.0, 32.0]), "d": 64},
        {"weight": np.array([0.5, 100.0, 5000.0]), "d": 784},
        {"weight": np.array([3.0]), "d": 1},
    ],
    mistakes=(
        Mistake(
            "the ½ of the exponent is missing: the Gaussian has ‖x − x̂‖² / (2c).",
            (lambda w, d: (d / w, _constant(d / w, d)),),
        ),
        Mistake(
            "the d of the mean over pixels is missing: the loss divides by d, (11.16) does not.",
            (lambda w, d: (1 / (2 * w), _constant(1 / (2 * w), d)),),
        ),
        Mistake(
            "upside down: a large weight on the error means little noise.",
            (lambda w, d: (2 * w / d, _constant(2 * w / d, d)),),
        ),
        Mistake(
            "the standard deviation of the noise. c is its variance.",
            (lambda w, d: (np.sqrt(d / (2 * w)), _constant(d / (2 * w), d)),),
        ),
        Mistake(
            "the constant of one pixel. There are d of them, and their logarithms add up.",
            (lambda w, d: (d / (2 * w), _constant(d / (2 * w), 1)),),
        ),
        Mistake(
            "the sign of the constant. The loss is minus the ELBO, and −ln p(x|z) contains"
            " + d/2 · ln(2πc).",
            (lambda w, d: (d / (2 * w), -_constant(d / (2 * w), d)),),
        ),
        Mistake(
            "the 2π is missing in the constant.",
            (lambda w, d: (d / (2 * w), d / 2 * np.log(d / (2 * w))),),
        ),
        Mistake(
            "the constant in bits. Nats need the natural logarithm.",
            (lambda w, d: (d / (2 * w), _constant(d / (2 * w), d) / np.log(2)),),
        ),
    ),
    hints=(
        "The KL has weight one in both losses, so the two error terms must be equal.",
        "weight · ‖x − x̂‖² / d = ‖x − x̂‖² / (2c). Solve for c.",
        "What (11.16) has and the loss in question has not is d/2 · ln(2πc).",
    ),
)


# 11.3 --------------------------------------------------------------------------------------------
def bits_per_dimension(elbo: np.ndarray, d: int, scale: float) -> np.ndarray:
    """−elbo / (d ln 2) + log2(scale)."""
    return -elbo / (d * np.log(2)) + np.log2(scale)


EXERCISE_3 = Exercise(
    number="11.3",
    solution=(bits_per_dimension,),
    cases=lambda: [
        {"elbo": np.array([14.4, -100.0]), "d": 64, "scale": 16.0},
        {"elbo": np.array([1500.0, 2000.0, 900.0]), "d": 784, "scale": 255.0},
        {"elbo": np.array([-3.0]), "d": 2, "scale": 0.5},
        {"elbo": np.array([[6000.0, -1e5], [0.0, 2.0]]), "d": 784, "scale": 255.0},
    ],
    mistakes=(
        Mistake(
            "the scale is missing: that is the density per unit of the scaled pixel.",
            (lambda e, d, s: -e / (d * np.log(2)),),
        ),
        Mistake(
            "the sign of the ELBO. Bits are a cost: a higher bound costs fewer.",
            (lambda e, d, s: e / (d * np.log(2)) + np.log2(s),),
        ),
        Mistake(
            "the sign of log2(scale). Pixels scaled down are dense; in grey steps the density is"
            " lower, and more bits are needed.",
            (lambda e, d, s: -e / (d * np.log(2)) - np.log2(s),),
        ),
        Mistake(
            "multiplied by ln 2. A nat is more than a bit, so there are more bits than nats.",
            (lambda e, d, s: -e * np.log(2) / d + np.log2(s),),
        ),
        Mistake(
            "still in nats: divide by ln 2, and take the scale's logarithm to base 2.",
            (lambda e, d, s: -e / d + np.log(s),),
        ),
        Mistake(
            "the natural logarithm of the scale: in bits it is log2(scale).",
            (lambda e, d, s: -e / (d * np.log(2)) + np.log(s),),
        ),
        Mistake(
            "bits for the whole image. Divide by d.",
            (lambda e, d, s: -e / np.log(2) + d * np.log2(s),),
        ),
        Mistake(
            "log2(scale) divided by d. The volume grows by the scale in each of d dimensions.",
            (lambda e, d, s: -e / (d * np.log(2)) + np.log2(s) / d,),
        ),
    ),
    hints=(
        "First the units of x: in grey steps y = scale · x, so ln p(y) = ln p(x) − d ln(scale).",
        "Then nats to bits: divide by ln 2. Then per dimension: divide by d. And it is a cost: −.",
        "−elbo / (d ln 2) + log2(scale).",
    ),
)


# 11.4 --------------------------------------------------------------------------------------------
def _spd(k: int, seed: int) -> np.ndarray:
    """A covariance matrix far from diagonal."""
    a = _normal(seed, k, k)
    return a @ a.T + 0.3 * np.eye(k)


def _wide_and_narrow(correlation: float) -> np.ndarray:
    """Widths from 3 to 0.01: the eigenvalues differ by a factor of about 100 000."""
    widths = np.array([3.0, 0.01, 0.2])
    return np.outer(widths, widths) * (correlation + (1 - correlation) * np.eye(3))


def _cases_4() -> list[Case]:
    return [
        {
            "mu": np.array([1.0, 0.0]),
            "cov": np.array([[2.0, 1.0], [1.0, 1.0]]),
            "mu_p": np.array([0.0, 0.0]),
            "cov_p": np.array([[1.0, 0.5], [0.5, 3.0]]),
        },
        {
            "mu": _normal(1141, 3),
            "cov": _spd(3, 1142),
            "mu_p": _normal(1143, 3),
            "cov_p": _spd(3, 1144),
        },
        {
            "mu": _normal(1145, 5),
            "cov": _spd(5, 1146),
            "mu_p": _normal(1147, 5),
            "cov_p": _spd(5, 1148),
        },
        {  # wide and narrow code numbers
            "mu": np.array([1.0, 0.02, -0.3]),
            "cov": _wide_and_narrow(0.3),
            "mu_p": np.array([-1.0, 0.01, -0.2]),
            "cov_p": _wide_and_narrow(-0.4),
        },
    ]


# E_q[(z - m) S⁻¹ (z - m)ᵀ] = tr(S⁻¹ E_q[(z - m)ᵀ (z - m)]): for q's own mean and covariance it is
# tr(I) = k; for p's it is tr(cov_p⁻¹ cov), plus what the difference of the means adds.
def kl_full(mu: np.ndarray, cov: np.ndarray, mu_p: np.ndarray, cov_p: np.ndarray) -> float:
    """½ [tr(cov_p⁻¹ cov) + (mu − mu_p) cov_p⁻¹ (mu − mu_p)ᵀ − k + ln det cov_p − ln det cov]."""
    distance = (mu - mu_p) @ np.linalg.solve(cov_p, mu - mu_p)
    log_dets = np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov)[1]
    return 0.5 * (np.trace(np.linalg.solve(cov_p, cov)) + distance - len(mu) + log_dets)


def _parts(
    mu: np.ndarray, cov: np.ndarray, mu_p: np.ndarray, cov_p: np.ndarray
) -> tuple[float, float, float]:
    """The trace, the distance and ln det cov_p − ln det cov."""
    inverse = np.linalg.inv(cov_p)
    log_dets = np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov)[1]
    return float(np.trace(inverse @ cov)), float((mu - mu_p) @ inverse @ (mu - mu_p)), log_dets


def _combine(weights: tuple[float, float, float, float]) -> Any:
    """A wrong KL: trace, distance, k and log-determinants with these weights."""

    def wrong(mu: np.ndarray, cov: np.ndarray, mu_p: np.ndarray, cov_p: np.ndarray) -> float:
        trace, distance, log_dets = _parts(mu, cov, mu_p, cov_p)
        terms = (trace, distance, float(len(mu)), log_dets)
        return float(np.dot(weights, terms))

    return wrong


EXERCISE_4 = Exercise(
    number="11.4",
    solution=(kl_full,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "q and p are exchanged. The mean is taken under the first pair, so it is the second"
            " pair's covariance that is inverted.",
            (lambda mu, cov, mu_p, cov_p: kl_full(mu_p, cov_p, mu, cov),),
        ),
        Mistake("the ½ is missing.", (_combine((1, 1, -1, 1)),)),
        Mistake(
            "the determinants are upside down: it is ln det cov_p − ln det cov.",
            (_combine((0.5, 0.5, -0.5, -0.5)),),
        ),
        Mistake(
            "the −k is missing, and the KL of a Gaussian from itself is not zero.",
            (_combine((0.5, 0.5, 0, 0.5)),),
        ),
        Mistake(
            "−1 instead of −k: there is a one for each code number.",
            (lambda mu, cov, mu_p, cov_p: kl_full(mu, cov, mu_p, cov_p) + (len(mu) - 1) / 2,),
        ),
        Mistake(
            "the distance of the means is missing.",
            (_combine((0.5, 0, -0.5, 0.5)),),
        ),
        Mistake(
            "the correlations are ignored: that is the KL of the diagonals.",
            (
                lambda mu, cov, mu_p, cov_p: kl_full(
                    mu, np.diag(np.diag(cov)), mu_p, np.diag(np.diag(cov_p))
                ),
            ),
        ),
        Mistake(
            "an entrywise division. cov_p⁻¹ is the inverse of a matrix.",
            (
                lambda mu, cov, mu_p, cov_p: float(
                    0.5
                    * (
                        np.trace(cov / cov_p)
                        + _parts(mu, cov, mu_p, cov_p)[1]
                        - len(mu)
                        + _parts(mu, cov, mu_p, cov_p)[2]
                    )
                ),
            ),
        ),
    ),
    hints=(
        "ln N(z; mu, cov) = −½ [k ln 2π + ln det cov + (z − mu) cov⁻¹ (z − mu)ᵀ]. Take the"
        " difference of two of these, and its mean under q.",
        "E_q[(z − mu) cov⁻¹ (z − mu)ᵀ] = tr(cov⁻¹ cov) = k, since a number is its own trace and the"
        " trace may turn its factors round.",
        "Likewise E_q[(z − mu_p) cov_p⁻¹ (z − mu_p)ᵀ] = tr(cov_p⁻¹ cov) + the same form at"
        " mu − mu_p. np.linalg.slogdet(a)[1] is ln det a.",
    ),
)


# 11.5 --------------------------------------------------------------------------------------------
# With the precision matrix Λ = cov⁻¹ the gap depends on the variances v by ½ Σ (Λ_jj v_j - ln v_j).
# So v_j = 1 / Λ_jj, the variance of z_j with the others held still. That is at most cov_jj.
def best_logvar(cov: np.ndarray) -> np.ndarray:
    """−ln of the diagonal of the precision matrix."""
    return -np.log(np.diag(np.linalg.inv(cov)))


EXERCISE_5 = Exercise(
    number="11.5",
    solution=(best_logvar,),
    cases=lambda: [
        {"cov": np.array([[2.0, 1.0], [1.0, 1.0]])},
        {"cov": _spd(3, 1151)},
        {"cov": _spd(6, 1152)},
        {"cov": _wide_and_narrow(0.6)},
    ],
    mistakes=(
        Mistake(
            "the variances of the posterior itself. They minimise KL(p‖q), the mean under p; this q"
            " is too wide for KL(q‖p).",
            (lambda cov: np.log(np.diag(cov)),),
        ),
        Mistake(
            "the sign: the diagonal of the inverse is a precision, one over a variance.",
            (lambda cov: np.log(np.diag(np.linalg.inv(cov))),),
        ),
        Mistake(
            "variances. Their logarithms are asked for.",
            (lambda cov: 1 / np.diag(np.linalg.inv(cov)),),
        ),
        Mistake(
            "logarithms of standard deviations. logvar is twice as much.",
            (lambda cov: -0.5 * np.log(np.diag(np.linalg.inv(cov))),),
        ),
        Mistake(
            "the eigenvalues belong to other axes: turned ones. Our q is diagonal in the axes of"
            " the code.",
            (lambda cov: np.log(np.linalg.eigvalsh(cov)),),
        ),
    ),
    hints=(
        "In exercise 11.4's formula let q have covariance diag(v), and set the gradient for v_j to"
        " zero. What of it depends on v_j?",
        "½ [Λ_jj v_j − ln v_j], with the precision matrix Λ, the inverse of cov.",
        "So v_j = 1 / Λ_jj: one over the diagonal of the inverse, not the diagonal.",
    ),
)


# 11.6 --------------------------------------------------------------------------------------------
# The mean code never meets the blur of (11.14), so the width is free to please the KL alone:
# logvar = 0. What is left for mu is, up to a constant, the logarithm of the joint density. At its
# maximum, the posterior's mean, the value is above ln p(x). The honest ELBO pays the blur as well,
# ½ Σ_j ‖V_j‖²/c at this width.
def flattering(x: np.ndarray, model: LinearGaussian) -> tuple[np.ndarray, np.ndarray]:
    """The posterior's mean with the prior's width."""
    mu, _ = exact_posterior(x, model)
    return mu, np.zeros_like(mu)


def _model(k: int, d: int, c: float, seed: int) -> LinearGaussian:
    return LinearGaussian(_normal(seed, k, d), _normal(seed + 1, d), c)


def _cases_6() -> list[Case]:
    toy = LinearGaussian(np.array([[2.0]]), np.array([0.0]), 0.1)
    cases: list[Case] = [{"x": np.array([[2.5], [-1.0]]), "model": toy}]
    for k, d, c, seed in ((2, 5, 0.05, 1161), (4, 9, 0.1, 1163)):
        model = _model(k, d, c, seed)
        z, eps = _normal(seed + 4, 3, k), _normal(seed + 5, 3, d)
        cases.append({"x": z @ model.dec_w + model.dec_b + np.sqrt(c) * eps, "model": model})
    return cases


def _judge_6(case: Case, came: Any) -> None:
    x, model = case["x"], case["model"]
    shape = (len(x), len(model.dec_w))
    mu, logvar = map(as_array, as_parts(came, 2, "two arrays, mu and logvar"))
    if mu is None or logvar is None or mu.shape != shape or logvar.shape != shape:
        raise Wrong(f"two arrays of shape {shape}", f"shapes {[np.shape(part) for part in came]}")
    if not np.all(np.isfinite(mu)) or not np.all(np.isfinite(logvar)):
        raise Wrong("finite numbers", "some are not")
    log_p = log_marginal(x, model)
    no_width = np.full(shape, -np.inf)  # the reconstruction term at the mean code
    with np.errstate(over="ignore"):  # a width beyond all bounds is wrong, not an error
        fake = elbo_terms(x, mu, no_width, model)[0] - kl_to_standard_normal(mu, logvar)
        honest = np.subtract(*elbo_terms(x, mu, logvar, model))
    i = int(np.argmin(fake - log_p))
    if fake[i] <= log_p[i]:
        raise Wrong(
            f"a mean-code value above ln p(x) = {log_p[i]:.3f} in row {i}", f"{fake[i]:.3f}"
        )
    i = int(np.argmax(honest - log_p))
    if honest[i] > log_p[i] - 5:
        raise Wrong(
            f"an honest ELBO at least 5 nats below ln p(x) = {log_p[i]:.3f} in row {i}",
            f"{honest[i]:.3f}",
        )


EXERCISE_6 = Exercise(
    number="11.6",
    solution=(flattering,),
    cases=_cases_6,
    judge=_judge_6,
    mistakes=(
        Mistake(
            "the exact posterior. Its mean code does flatter, but its honest ELBO is ln p(x): q is"
            " as good as can be. Make q bad where the mean code cannot see it.",
            (
                lambda x, model: (
                    exact_posterior(x, model)[0],
                    np.tile(np.log(np.diag(exact_posterior(x, model)[1])), (len(x), 1)),
                ),
            ),
        ),
        Mistake(
            "the prior. Its KL is zero, but its mean code is a poor reconstruction.",
            (lambda x, model: (np.zeros((len(x), len(model.dec_w))),) * 2,),
        ),
        Mistake(
            "a very narrow q makes the honest ELBO bad, and the KL large as well. What does the KL"
            " alone want the width to be?",
            (
                lambda x, model: (
                    exact_posterior(x, model)[0],
                    np.full((len(x), len(model.dec_w)), -40.0),
                ),
            ),
        ),
        Mistake(
            "a very wide q makes the honest ELBO bad, and the KL large as well: it grows like"
            " exp(logvar). What does the KL alone want the width to be?",
            (
                lambda x, model: (
                    exact_posterior(x, model)[0],
                    np.full((len(x), len(model.dec_w)), 8.0),
                ),
            ),
        ),
    ),
    hints=(
        "Write the mean-code value: −‖x − b − mu V‖² / (2c) − ½ Σ [mu² + exp(logvar) − 1 − logvar]"
        " and a constant. Where does logvar occur?",
        "Only in the KL: so logvar = 0 is best for the fake, whatever the posterior's width is.",
        "For mu, what remains is the posterior's logarithm: exact_posterior(x, model)[0].",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5, EXERCISE_6)
