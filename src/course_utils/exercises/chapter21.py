"""The exercises of chapter 21, From VAEs to diffusion."""

from typing import Any

import numpy as np
from scipy import integrate, special  # type: ignore[import-untyped]

from course_utils.exercises.grading import Case, Exercise, Mistake

TAKEN_FOR_HO = "α is what (21.4) calls α_t. You took it for its square, the ᾱ_t of Ho et al."


# 21.1 --------------------------------------------------------------------------------------------
# z = α x + σ ε with σ² = 1 − α². Solve for x; the score is −ε̂/σ (21.10).
def translate(z: np.ndarray, eps_hat: np.ndarray, alpha: np.ndarray) -> tuple:
    """Clean point and score from a guessed noise: (n, d), (n, d), (n,) -> (n, d) each."""
    alpha = np.asarray(alpha)[:, None]
    sigma = np.sqrt(1 - alpha**2)
    return (z - sigma * eps_hat) / alpha, -eps_hat / sigma


def _cases_1() -> list[Case]:
    rng = np.random.default_rng(211)

    def case(alpha: list[float], d: int) -> Case:
        shape = (len(alpha), d)
        return {
            "z": rng.normal(size=shape),
            "eps_hat": rng.normal(size=shape),
            "alpha": np.array(alpha),
        }

    simple = {"z": np.array([[1.0]]), "eps_hat": np.array([[-0.5]]), "alpha": np.array([0.6])}
    return [simple, case([0.99, 0.6, 0.05], 2), case([0.3, 0.8, 0.9], 3), case([0.999], 4)]


def _translate_with(x_hat: Any, score: Any) -> Any:
    def answer(z: np.ndarray, eps_hat: np.ndarray, alpha: np.ndarray) -> tuple:
        a = np.asarray(alpha)[:, None]
        s = np.sqrt(1 - a**2)
        return x_hat(z, eps_hat, a, s), score(z, eps_hat, a, s)

    return answer


def _clean(z: Any, e: Any, a: Any, s: Any) -> Any:
    return (z - s * e) / a


def _slope(z: Any, e: Any, a: Any, s: Any) -> Any:
    return -e / s


EXERCISE_1 = Exercise(
    number="21.1",
    solution=(translate,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "σ² = 1 − α², so σ = √(1 − α²), not 1 − α.",
            (
                lambda z, eps_hat, alpha: (
                    (z - (1 - np.asarray(alpha)[:, None]) * eps_hat) / np.asarray(alpha)[:, None],
                    -eps_hat / (1 - np.asarray(alpha)[:, None]),
                ),
            ),
        ),
        Mistake(
            "variance for standard deviation: the noise is σ ε, with σ = √(1 − α²).",
            (_translate_with(lambda z, e, a, s: (z - s**2 * e) / a, lambda z, e, a, s: -e / s**2),),
        ),
        Mistake(
            "x is multiplied by α: divide by it.",
            (_translate_with(lambda *p: p[0] - p[3] * p[1], _slope),),
        ),
        Mistake(
            "the sign of the score: it points against the noise.",
            (_translate_with(_clean, lambda *p: p[1] / p[3]),),
        ),
        Mistake(
            "that is the score of chapter 05's point z/α. z is α times as large, so its score is"
            " 1/α times as long: −ε̂/σ.",
            (_translate_with(_clean, lambda z, e, a, s: -e * a / s),),
        ),
        Mistake(
            "x̂ − z over σ². z is α x + σ ε, so it is (α x̂ − z)/σ².",
            (_translate_with(_clean, lambda z, e, a, s: (_clean(z, e, a, s) - z) / s**2),),
        ),
        Mistake(
            "the minus is that of the score alone: −ε̂/σ, not −ε̂.",
            (_translate_with(_clean, lambda z, e, a, s: -e),),
        ),
        Mistake(
            f"{TAKEN_FOR_HO}: the noise has the variance 1 − α².",
            (lambda z, eps_hat, alpha: translate(z, eps_hat, np.sqrt(alpha)),),
        ),
    ),
    hints=(
        "Solve z = α x + σ ε for x, with σ = √(1 − α²). alpha is (n,): one number a row.",
        "Chapter 05: score = (best guess − point)/variance, here with α x̂ as the guess.",
        "x̂ = (z − σ ε̂)/α and the score −ε̂/σ.",
    ),
)


# 21.2 --------------------------------------------------------------------------------------------
# (21.2): KL(q̄ ‖ N(0, 1)) for the mixture q̄ of the n posteriors, one integral.
def most_gain(mu: np.ndarray, logvar: np.ndarray) -> float:
    """Most that a second level can add to the mean ELBO: (n,), (n,) -> nats."""
    mu, logvar = np.asarray(mu, dtype=float), np.asarray(logvar, dtype=float)
    sigma = np.exp(logvar / 2)
    # Points that lie dense wherever some posterior is narrow.
    grid = np.unique(mu[:, None] + sigma[:, None] * np.linspace(-9, 9, 3001))
    log_q = -0.5 * ((grid[:, None] - mu) / sigma) ** 2 - logvar / 2  # (points, n)
    log_mean = np.logaddexp.reduce(log_q, axis=1) - np.log(len(mu))
    inside = np.exp(log_mean) * (log_mean + grid**2 / 2) / np.sqrt(2 * np.pi)
    return float((inside[1:] + inside[:-1]) @ np.diff(grid) / 2)


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(212)
    return [
        {"mu": np.array([-1.0, 1.0]), "logvar": np.array([-2.0, -2.0])},
        {"mu": np.array([0.5]), "logvar": np.array([0.0])},  # 1/8
        {"mu": rng.normal(size=12), "logvar": rng.uniform(-3, -1, size=12)},
        {"mu": np.array([3.0, 3.2, 3.1]), "logvar": np.array([-1.0, -1.5, -0.5])},
        {"mu": np.array([-2.0, 0.3, 2.0]), "logvar": np.array([-7.0, -5.0, 0.5])},
    ]


def _rates(mu: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar)


def _grid_kl(
    mu: np.ndarray, logvar: np.ndarray, sigma: np.ndarray, backwards: bool = False
) -> float:
    z = np.linspace(-16, 16, 80_001)  # the narrowest σ of the mistakes is 0.0009
    log_q = -0.5 * ((z[:, None] - mu) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    log_mean = np.logaddexp.reduce(log_q, axis=1) - np.log(len(mu))
    log_p = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    if backwards:
        return float(integrate.trapezoid(np.exp(log_p) * (log_p - log_mean), z))
    return float(integrate.trapezoid(np.exp(log_mean) * (log_mean - log_p), z))


EXERCISE_2 = Exercise(
    number="21.2",
    solution=(most_gain,),
    cases=_cases_2,
    rtol=1e-3,
    mistakes=(
        Mistake(
            "the mean of the images' KLs: the rate. Average the densities first.",
            (lambda mu, logvar: float(_rates(mu, logvar).mean()),),
        ),
        Mistake(
            "the KL of a Gaussian with the mean and variance of q̄. That is the part that a Gaussian"
            " prior could gain; q̄ is no Gaussian.",
            (
                lambda mu, logvar: float(
                    _rates(mu.mean(), np.log(np.exp(logvar).mean() + mu.var()))
                ),
            ),
        ),
        Mistake(
            "the other KL: the mean of ln p − ln q̄ under the prior.",
            (lambda mu, logvar: _grid_kl(mu, logvar, np.exp(logvar / 2), backwards=True),),
        ),
        Mistake(
            "logvar is the logarithm of a variance: σ = exp(logvar / 2).",
            (lambda mu, logvar: _grid_kl(mu, logvar, np.exp(logvar)),),
        ),
        Mistake(
            "the means alone. q̄ is the mean of the whole posteriors, with their widths.",
            (lambda mu, logvar: float(_rates(mu.mean(), np.log(mu.var() + 1e-12))),),
        ),
        Mistake(
            "the information I about which image, the other part of the rate. Asked is what is"
            " left of the rate without it.",
            (
                lambda mu, logvar: float(
                    _rates(mu, logvar).mean() - _grid_kl(mu, logvar, np.exp(logvar / 2))
                ),
            ),
        ),
        Mistake(
            "the sum over images of their densities. q̄ is their mean.",
            (
                lambda mu, logvar: (
                    len(mu) * (_grid_kl(mu, logvar, np.exp(logvar / 2)) + np.log(len(mu)))
                ),
            ),
        ),
    ),
    hints=(
        "By (21.2): KL(q̄ ‖ N(0, 1)), and q̄(z) is the mean of the n densities at z.",
        "One code number: an integral on a grid, here from −12 to 12 in steps of 0.01 or less. Some"
        " σ are as small as 0.03. Where q̄ rounds to 0, its term is 0.",
        "Sum over the grid of q̄ (ln q̄ − ln N(z; 0, 1)) times the step.",
    ),
)


# 21.3 --------------------------------------------------------------------------------------------
# ‖x − x̂‖² = (σ/α)² ‖ε − ε̂‖². Level 1: ½ SNR_1/SNR_1 = ½. Others: ½ (SNR_{t−1} − SNR_t)/SNR_t.
def elbo_weights(alpha: np.ndarray) -> np.ndarray:
    """Weights of the squared noise errors in −ELBO: (T,) -> (T,)."""
    alpha = np.asarray(alpha, dtype=float)
    ratio = alpha**2 / (1 - alpha**2)
    return np.concatenate([[0.5], 0.5 * (ratio[:-1] / ratio[1:] - 1)])


def _ho(steps: int) -> np.ndarray:
    return np.sqrt(np.cumprod(1 - np.linspace(1e-4, 0.02, steps)))


def _cases_3() -> list[Case]:
    return [
        {"alpha": np.sqrt(np.array([0.9, 0.5, 0.2]))},
        {"alpha": np.array([0.99, 0.98, 0.9, 0.3, 0.05, 0.01])},
        {"alpha": np.sqrt(special.expit(np.linspace(9, -7, 20)))},
        {"alpha": _ho(50)},
    ]


def _weights_with(of: Any, first: float = 0.5) -> Any:
    def answer(alpha: np.ndarray) -> np.ndarray:
        ratio = alpha**2 / (1 - alpha**2)
        return np.concatenate([[first], of(ratio[:-1], ratio[1:])])

    return answer


EXERCISE_3 = Exercise(
    number="21.3",
    solution=(elbo_weights,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the weights of ‖x − x̂‖². With ε in place of x each is divided by SNR_t.",
            (
                lambda alpha: (
                    0.5
                    * np.concatenate(
                        [
                            (alpha**2 / (1 - alpha**2))[:1],
                            -np.diff(alpha**2 / (1 - alpha**2)),
                        ]
                    )
                ),
            ),
        ),
        Mistake("the ½ of the Gaussian.", (_weights_with(lambda p, r: p / r - 1, 1.0),)),
        Mistake(
            "divided by the SNR of the level before.",
            (_weights_with(lambda p, r: 0.5 * (1 - r / p)),),
        ),
        Mistake("α²/σ² upside down.", (_weights_with(lambda p, r: 0.5 * (r / p - 1)),)),
        Mistake(
            "α/σ in place of α²/σ².",
            (_weights_with(lambda p, r: 0.5 * (np.sqrt(p / r) - 1)),),
        ),
        Mistake(
            "level 1 has the term −ln p(x | z_1): ½ SNR_1 ‖x − x̂‖², so the weight ½.",
            (_weights_with(lambda p, r: 0.5 * (p / r - 1), 0.0),),
        ),
        Mistake(
            "a mean over levels. The ELBO is a sum.",
            (lambda alpha: elbo_weights(alpha) / len(alpha),),
        ),
        Mistake(
            f"{TAKEN_FOR_HO}: SNR = α²/(1 − α²).",
            (lambda alpha: elbo_weights(np.sqrt(alpha)),),
        ),
    ),
    hints=(
        "x − x̂ = −(σ/α)(ε − ε̂), so ‖x − x̂‖² = ‖ε − ε̂‖²/SNR_t with SNR = α²/σ².",
        "Level 1: ½ SNR_1 ‖x − x̂‖². The others: ½ (SNR_{t−1} − SNR_t) ‖x − x̂‖².",
        "½, then ½ (SNR_{t−1}/SNR_t − 1) for t = 2 … T.",
    ),
)


# 21.4 --------------------------------------------------------------------------------------------
# Given z_t, x is normal with the variance 1/(1/s² + α²/σ²) = s² σ²/(α² s² + σ²), whatever z_t. With
# many levels, from hardly any noise to hardly any signal, the terms add up to the entropy of the
# data, ½ ln(2πe s²).
def gaussian_terms(variance: float, alpha: np.ndarray) -> np.ndarray:
    """Mean terms of −ELBO for numbers from N(0, variance), best guess: (T,) -> (T + 1,) nats."""
    alpha = np.asarray(alpha, dtype=float)
    noise = 1 - alpha**2
    ratio = alpha**2 / noise
    error = variance * noise / (alpha**2 * variance + noise)
    first = 0.5 * ratio[0] * error[0] + 0.5 * np.log(2 * np.pi / ratio[0])
    between = -0.5 * np.diff(ratio) * error[1:]
    last = 0.5 * (alpha[-1] ** 2 * variance + noise[-1] - 1 - np.log(noise[-1]))
    return np.concatenate([[first], between, [last]])


def _cases_4() -> list[Case]:
    return [
        {"variance": 1.0, "alpha": np.sqrt(np.array([0.9, 0.5, 0.2]))},
        {"variance": 0.3, "alpha": np.array([0.99, 0.98, 0.9, 0.3, 0.05])},
        {"variance": 4.0, "alpha": np.sqrt(special.expit(np.linspace(6, -5, 12)))},
        {"variance": 25.0, "alpha": np.array([0.8, 0.4])},
    ]


def _gaussian_with(error: Any = None, shift: int = 1, last: Any = None, first: Any = None) -> Any:
    def answer(variance: float, alpha: np.ndarray) -> np.ndarray:
        noise = 1 - alpha**2
        ratio = alpha**2 / noise
        e = (error or (lambda v, a, n: v * n / (a**2 * v + n)))(variance, alpha, noise)
        start = (first or (lambda r, e: 0.5 * r * e + 0.5 * np.log(2 * np.pi / r)))(ratio[0], e[0])
        end = (last or (lambda v, a, n: 0.5 * (a**2 * v + n - 1 - np.log(n))))(
            variance, alpha[-1], noise[-1]
        )
        return np.concatenate(
            [[start], -0.5 * np.diff(ratio) * (e[1:] if shift else e[:-1]), [end]]
        )

    return answer


EXERCISE_4 = Exercise(
    number="21.4",
    solution=(gaussian_terms,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "the error of z/α, which guesses nothing. The best guess shrinks it.",
            (_gaussian_with(lambda v, a, n: n / a**2),),
        ),
        Mistake(
            "the variance of x, as if z_t said nothing.",
            (_gaussian_with(lambda v, a, n: v + 0 * a),),
        ),
        Mistake(
            "the error at level t − 1. The guess is made from z_t.",
            (_gaussian_with(shift=0),),
        ),
        Mistake(
            "σ² is 1 − α². The variance of z_t is α² s² + σ², not 1.",
            (_gaussian_with(lambda v, a, n: v * n),),
        ),
        Mistake(
            "−ln p(x | z_1) has a constant: ½ ln(2π σ_1²/α_1²).",
            (_gaussian_with(first=lambda r, e: 0.5 * r * e),),
        ),
        Mistake(
            "the last term takes x² = s² in the mean.",
            (_gaussian_with(last=lambda v, a, n: 0.5 * (n - 1 - np.log(n))),),
        ),
        Mistake(
            "the last term of data with variance 1. x² is s² in the mean.",
            (_gaussian_with(last=lambda v, a, n: -0.5 * np.log(n)),),
        ),
        Mistake(
            "KL of the mean of all q(z_T | x) from the prior. It is the mean of the KLs.",
            (_gaussian_with(last=lambda v, a, n: 0.5 * (a**2 * v + n - 1 - np.log(a**2 * v + n))),),
        ),
        Mistake(
            "nats, not twice as many: each term has a ½.",
            (lambda variance, alpha: 2 * gaussian_terms(variance, alpha),),
        ),
        Mistake(
            f"{TAKEN_FOR_HO}: σ² = 1 − α².",
            (lambda variance, alpha: gaussian_terms(variance, np.sqrt(alpha)),),
        ),
    ),
    hints=(
        "Chapter 11: precisions add. Given z_t, that of x is 1/s² + α_t²/σ_t².",
        "The mean squared error of the best guess is that variance, the same for every z_t.",
        "½ SNR_1 e_1 + ½ ln(2π/SNR_1), then ½ (SNR_{t−1} − SNR_t) e_t, then"
        " ½ (α_T² s² + σ_T² − 1 − ln σ_T²).",
    ),
)


# 21.5 --------------------------------------------------------------------------------------------
def jump(
    z: np.ndarray,
    eps_hat: np.ndarray,
    alpha: float,
    before: float,
    eta: float,
    noise: np.ndarray,
) -> np.ndarray:
    """One step from α to ``before``, with eta of an ancestral step's noise: (n, d) -> (n, d)."""
    var, var_before, a2 = 1 - alpha**2, 1 - before**2, (alpha / before) ** 2
    x_hat = (z - np.sqrt(var) * eps_hat) / alpha
    fresh = eta**2 * (1 - a2) * var_before / var
    return before * x_hat + np.sqrt(var_before - fresh) * eps_hat + np.sqrt(fresh) * noise


def _cases_5() -> list[Case]:
    rng = np.random.default_rng(215)

    def case(alpha: float, before: float, eta: float, n: int = 3) -> Case:
        shape = (n, 2)
        return {
            "z": rng.normal(size=shape),
            "eps_hat": rng.normal(size=shape),
            "alpha": alpha,
            "before": before,
            "eta": eta,
            "noise": rng.normal(size=shape),
        }

    simple = {
        "z": np.array([[1.0]]),
        "eps_hat": np.array([[-0.5]]),
        "alpha": 0.6,
        "before": 0.8,
        "eta": 0.0,
        "noise": np.array([[2.0]]),
    }
    return [
        simple,
        case(0.3, 0.9, 1.0),
        case(0.5, 0.55, 0.5),
        case(0.02, 0.99, 0.3),
        case(0.7, 0.8, 1.0),
    ]


def _jump_with(fresh: Any, kept: Any = None) -> Any:
    def answer(
        z: np.ndarray,
        eps_hat: np.ndarray,
        alpha: float,
        before: float,
        eta: float,
        noise: np.ndarray,
    ) -> np.ndarray:
        var, var_before, a2 = 1 - alpha**2, 1 - before**2, (alpha / before) ** 2
        x_hat = (z - np.sqrt(var) * eps_hat) / alpha
        w2 = fresh(eta, a2, var_before, var)
        k2 = kept(var_before, w2) if kept else var_before - w2
        with np.errstate(invalid="ignore"):  # nan, as a student gets it
            return before * x_hat + np.sqrt(k2) * eps_hat + np.sqrt(w2) * noise

    return answer


def _mistake_jump(change: Any) -> Any:
    def answer(
        z: np.ndarray,
        eps_hat: np.ndarray,
        alpha: float,
        before: float,
        eta: float,
        noise: np.ndarray,
    ) -> np.ndarray:
        return change(z, eps_hat, alpha, before, eta, noise)

    return answer


EXERCISE_5 = Exercise(
    number="21.5",
    solution=(jump,),
    cases=_cases_5,
    mistakes=(
        Mistake(
            "the fresh noise comes on top of the old. Together they must have σ_{t−1}².",
            (_jump_with(lambda e, a2, vb, v: e**2 * (1 - a2) * vb / v, lambda vb, w2: vb),),
        ),
        Mistake(
            "eta multiplies the standard deviation: its square multiplies the variance.",
            (_jump_with(lambda e, a2, vb, v: e * (1 - a2) * vb / v),),
        ),
        Mistake(
            "the variance of one step forwards, b². The way back has b² σ_{t−1}²/σ_t².",
            (_jump_with(lambda e, a2, vb, v: e**2 * (1 - a2)),),
        ),
        Mistake(
            "the quotient upside down: it is σ_{t−1}²/σ_t². σ_t² is the larger.",
            (_jump_with(lambda e, a2, vb, v: e**2 * (1 - a2) * v / vb),),
        ),
        Mistake(
            "all of the noise drawn anew. Even with eta = 1 a part of the old noise stays.",
            (_jump_with(lambda e, a2, vb, v: e**2 * vb),),
        ),
        Mistake(
            "eta is not listened to.",
            (_jump_with(lambda e, a2, vb, v: (1 - a2) * vb / v),),
        ),
        Mistake(
            "a deterministic step whatever eta is.",
            (_jump_with(lambda e, a2, vb, v: 0.0),),
        ),
        Mistake(
            "x̂ not multiplied by α_{t−1}.",
            (
                _mistake_jump(
                    lambda z, e, alpha, before, eta, noise: (
                        jump(z, e, alpha, before, eta, noise)
                        + (1 - before) * (z - np.sqrt(1 - alpha**2) * e) / alpha
                    )
                ),
            ),
        ),
        Mistake(
            f"{TAKEN_FOR_HO}: σ² = 1 − α².",
            (
                _mistake_jump(
                    lambda z, e, alpha, before, eta, noise: jump(
                        z, e, np.sqrt(alpha), np.sqrt(before), eta, noise
                    )
                ),
            ),
        ),
        Mistake(
            "the levels exchanged: the step goes from alpha to before, which is larger.",
            (
                _mistake_jump(
                    lambda z, e, alpha, before, eta, noise: (
                        alpha * (z - np.sqrt(1 - before**2) * e) / before
                        + np.sqrt(1 - alpha**2) * e
                    )
                ),
            ),
        ),
    ),
    hints=(
        "x̂ = (z − σ_t ε̂)/α_t. Then α_{t−1} x̂ + (old noise) ε̂ + (fresh noise) noise.",
        "Fresh variance: eta² (1 − α_t²/α_{t−1}²) σ_{t−1}²/σ_t².",
        "Old and fresh variance add up to σ_{t−1}².",
    ),
)


EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
