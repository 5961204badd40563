"""The exercises of chapter 10, From points to distributions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake
from course_utils.numpy_nn import sigmoid, softplus


# 10.1 --------------------------------------------------------------------------------------------
def reparameterize(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """Shift and scale standard normal noise: (n, k) each."""
    return mu + np.exp(logvar / 2) * eps  # half the log-variance is the log of σ


def _cases_1() -> list[Case]:
    # widths far from one, and noise that differs between rows and between columns
    mu, eps = np.random.default_rng(101).normal(size=(2, 6, 3))
    logvar = np.random.default_rng(102).uniform(-4, 3, size=(6, 3))
    return [
        {
            "mu": np.array([[1.0, -2.0]]),
            "logvar": np.array([[np.log(0.25), np.log(9.0)]]),
            "eps": np.array([[2.0, -1.0]]),
        },
        {"mu": mu, "logvar": logvar, "eps": eps},
        {"mu": 10 * mu, "logvar": logvar - 3, "eps": -3 * eps},
        {"mu": mu[:2], "logvar": np.array([[-24.0, 0.0, 9.0], [6.0, -12.0, 0.3]]), "eps": eps[2:4]},
    ]


EXERCISE_1 = Exercise(
    number="10.1",
    solution=(reparameterize,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "multiplied by the variance. The noise is scaled by the standard deviation, the root.",
            (lambda mu, logvar, eps: mu + np.exp(logvar) * eps,),
        ),
        Mistake(
            "the log-variance read as log σ and doubled: that squares the variance. Halve it.",
            (lambda mu, logvar, eps: mu + np.exp(2 * logvar) * eps,),
        ),
        Mistake(
            "one noise number for all code numbers of a row: they would move together.",
            (lambda mu, logvar, eps: mu + np.exp(logvar / 2) * eps[:, :1],),
        ),
        Mistake(
            "one row of noise for all rows: all images would be shaken alike.",
            (lambda mu, logvar, eps: mu + np.exp(logvar / 2) * eps[:1],),
        ),
        Mistake(
            "the mean comes back without noise: that is a plain autoencoder.",
            (lambda mu, logvar, eps: mu + 0 * eps,),
        ),
        Mistake(
            "logvar itself as the scale: it is a logarithm, and may be negative.",
            (lambda mu, logvar, eps: mu + logvar * eps,),
        ),
    ),
    hints=(
        "eps has mean 0 and standard deviation 1. How do you make it mu and σ?",
        "σ² = exp(logvar), so σ = exp(logvar / 2).",
        "mu + np.exp(logvar / 2) * eps, entry by entry.",
    ),
)


# 10.2 --------------------------------------------------------------------------------------------
# By σ: σ - 1/σ. By a: times the sigmoid. As a → -∞ both σ and the sigmoid approach eᵃ, so
# (σ - 1/σ) · sigmoid approaches -1: a narrow code is always pushed to be wider, never violently.
def kl_slope(a: np.ndarray) -> np.ndarray:
    """Derivative of the KL of one code number by a, where σ = softplus(a)."""
    sigma = np.log1p(np.exp(a))
    return (sigma - 1 / sigma) / (1 + np.exp(-a))


def _as_it_stands(a: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        sigma = np.log(1 + np.exp(a))
        return (sigma - 1 / sigma) * sigmoid(a)


def _cancelled(sigma_of: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def answer(a: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            sigma = sigma_of(a)
            return (sigma - 1 / sigma) * (1 - np.exp(-sigma))

    return answer


EXERCISE_2 = Exercise(
    number="10.2",
    solution=(kl_slope,),
    cases=lambda: [
        {"a": np.array([0.0, 2.0])},
        {"a": np.array([-8.0, -4.0, -1.0])},
        {"a": np.linspace(-6, 6, 25)},
        {"a": np.array([[-2.0, 0.5, 1.0], [3.0, -5.0, 0.1]])},
        {"a": np.array([40.0, -15.0, 0.5, 12.0, -40.0, -30.0])},
    ],
    mistakes=(
        Mistake(
            "this is the slope by σ. Multiply by that of σ by a.",
            (lambda a: softplus(a) - 1 / softplus(a),),
        ),
        Mistake(
            "the slope of softplus is the sigmoid of a, not of σ.",
            (lambda a: (softplus(a) - 1 / softplus(a)) * sigmoid(softplus(a)),),
        ),
        Mistake(
            "the KL has a ½, and the derivative of σ² a 2: they cancel.",
            (lambda a: 0.5 * kl_slope(a),),
        ),
        Mistake(
            "the sign of the logarithm: the KL pushes narrow codes to be wider, −1/σ.",
            (lambda a: (softplus(a) + 1 / softplus(a)) * sigmoid(a),),
        ),
        Mistake(
            "ln(1 + eᵃ) as it stands is 0 at a = −40, and 1/σ infinite: np.logaddexp(0, a).",
            (_as_it_stands,),
        ),
        Mistake(
            "1 − exp(−σ) is the slope of softplus, but rounds to 0 at a = −40: −np.expm1(−σ).",
            (_cancelled(softplus),),
        ),
        Mistake(
            "at a = −40 ln(1 + eᵃ) as it stands is 0, and so is 1 − exp(−σ): np.logaddexp(0, a),"
            " and −np.expm1(−σ).",
            (_cancelled(lambda a: np.log(1 + np.exp(a))),),
        ),
        Mistake(
            "σ is not allowed below 1e-4. There the slope is lost, and it should be −1.",
            (
                lambda a: (
                    (np.maximum(softplus(a), 1e-4) - 1 / np.maximum(softplus(a), 1e-4)) * sigmoid(a)
                ),
            ),
        ),
        Mistake(
            "this is the slope for σ = exp(a).",
            (lambda a: np.exp(2 * a) - 1,),
        ),
    ),
    hints=(
        "Write the KL of one code number with σ: ½ (mu² + σ² − 1 − 2 ln σ). Derive by σ.",
        "The derivative of ln(1 + eᵃ) is eᵃ / (1 + eᵃ).",
        "(σ − 1/σ) · sigmoid(a). For very negative a both σ and the sigmoid are near eᵃ.",
    ),
)


# 10.3 --------------------------------------------------------------------------------------------
# The odd powers of ε vanish in the mean of (mu + σ ε)³. And ∂σ²/∂logvar = σ².
def cubic_gradient(mu: np.ndarray, logvar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of E[z³] = mu³ + 3 mu σ² by mu and by logvar."""
    variance = np.exp(logvar)
    return 3 * mu**2 + 3 * variance, 3 * mu * variance


def _cubic(mu_part: Any, logvar_part: Any) -> Any:
    return lambda mu, logvar: (mu_part(mu, np.exp(logvar)), logvar_part(mu, np.exp(logvar)))


EXERCISE_3 = Exercise(
    number="10.3",
    solution=(cubic_gradient,),
    cases=lambda: [
        {"mu": np.array([2.0]), "logvar": np.array([np.log(4.0)])},
        {"mu": np.array([-1.0, 0.0, 0.5]), "logvar": np.array([1.0, -2.0, 0.7])},
        {"mu": np.linspace(-3, 3, 20), "logvar": np.linspace(2, -4, 20)},
        {"mu": np.array([8.0, -0.1, 0.0, 1.0]), "logvar": np.array([-9.0, 4.0, 1.0, 0.0])},
    ],
    mistakes=(
        Mistake(
            "the slope at the mean, 3 mu². The mean of a square is more than the squared mean.",
            (_cubic(lambda m, v: 3 * m**2, lambda m, v: 3 * m * v),),
        ),
        Mistake(
            "the second one is the derivative by σ². By logvar there is one factor more.",
            (_cubic(lambda m, v: 3 * m**2 + 3 * v, lambda m, v: 3 * m + 0 * v),),
        ),
        Mistake(
            "the second one is the derivative by σ: ∂σ/∂logvar = σ/2 is missing.",
            (_cubic(lambda m, v: 3 * m**2 + 3 * v, lambda m, v: 6 * m * np.sqrt(v)),),
        ),
        Mistake(
            "the second one is the derivative by ln σ, twice that by logvar = 2 ln σ.",
            (_cubic(lambda m, v: 3 * m**2 + 3 * v, lambda m, v: 6 * m * v),),
        ),
        Mistake(
            "logvar taken for ln σ. It is ln σ²: the variance is exp(logvar).",
            (lambda mu, logvar: cubic_gradient(mu, 2 * logvar),),
        ),
    ),
    hints=(
        "Put z = mu + σ ε into z³ and expand. E[ε] = E[ε³] = 0 and E[ε²] = 1.",
        "E[z³] = mu³ + 3 mu σ².",
        "σ² = exp(logvar) is its own derivative by logvar.",
    ),
)


# 10.4 --------------------------------------------------------------------------------------------
# ln q = -½ [ln 2π + logvar + (z - mu)²/σ²]. By mu: (z - mu)/σ². By logvar: ½ [(z - mu)²/σ² - 1].
# The mean of f times these estimates the gradients.
def score_gradient(
    f: np.ndarray, z: np.ndarray, mu: float, logvar: float
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the gradient of E[f] by mu and logvar from draws z (n,) and the values f (n,)."""
    variance = np.exp(logvar)
    by_mu = (z - mu) / variance
    by_logvar = 0.5 * ((z - mu) ** 2 / variance - 1)
    return (f * by_mu).mean(), (f * by_logvar).mean()


def _cases_4() -> list[Case]:
    rng = np.random.default_rng(104)
    z = 2.0 + np.exp(0.7) * rng.normal(size=40)
    narrow = -1.0 + np.exp(-0.9) * rng.normal(size=25)
    return [
        {"f": np.array([1.0, 4.0]), "z": np.array([1.0, 2.0]), "mu": 0.0, "logvar": np.log(4.0)},
        {"f": z**2 + np.sin(z), "z": z, "mu": 2.0, "logvar": 1.4},
        {"f": (narrow > -1) * 3.0, "z": narrow, "mu": -1.0, "logvar": -1.8},
    ]


EXERCISE_4 = Exercise(
    number="10.4",
    solution=(score_gradient,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "a sum over draws. An estimate of a mean is a mean.",
            (lambda f, z, m, v: tuple(len(z) * part for part in score_gradient(f, z, m, v)),),
        ),
        Mistake(
            "divided by σ once. The derivative of ln q by mu is (z − mu) / σ².",
            (
                lambda f, z, m, v: (
                    np.mean(f * (z - m) / np.exp(v / 2)),
                    score_gradient(f, z, m, v)[1],
                ),
            ),
        ),
        Mistake(
            "the −1 of the second one is missing: it comes from the −½ logvar in ln q.",
            (
                lambda f, z, m, v: (
                    score_gradient(f, z, m, v)[0],
                    np.mean(f * (z - m) ** 2 / np.exp(v) / 2),
                ),
            ),
        ),
        Mistake(
            "the second one lacks its ½.",
            (
                lambda f, z, m, v: (
                    score_gradient(f, z, m, v)[0],
                    2 * score_gradient(f, z, m, v)[1],
                ),
            ),
        ),
        Mistake(
            "the second one is the derivative by σ². By logvar there is one factor σ² more.",
            (
                lambda f, z, m, v: (
                    score_gradient(f, z, m, v)[0],
                    score_gradient(f, z, m, v)[1] / np.exp(v),
                ),
            ),
        ),
        Mistake(
            "the second one is the derivative by σ. By logvar there is one factor σ/2 more.",
            (
                lambda f, z, m, v: (
                    score_gradient(f, z, m, v)[0],
                    score_gradient(f, z, m, v)[1] * 2 / np.exp(v / 2),
                ),
            ),
        ),
        Mistake(
            "the mean of f is taken off. That baseline often lowers the variance and, over many"
            " draws, changes little, but it is another estimate: here f itself is asked for.",
            (lambda f, z, m, v: score_gradient(f - np.mean(f), z, m, v),),
        ),
        Mistake(
            "the sign: z − mu, not mu − z.",
            (
                lambda f, z, m, v: (
                    -score_gradient(f, z, m, v)[0],
                    score_gradient(f, z, m, v)[1],
                ),
            ),
        ),
        Mistake(
            "logvar taken for ln σ. It is ln σ²: the variance is exp(logvar).",
            (lambda f, z, m, v: score_gradient(f, z, m, 2 * v),),
        ),
        Mistake(
            "logvar taken for ln σ, and derived by ln σ. It is ln σ²: the variance is exp(logvar).",
            (
                lambda f, z, m, v: (
                    score_gradient(f, z, m, 2 * v)[0],
                    2 * score_gradient(f, z, m, 2 * v)[1],
                ),
            ),
        ),
    ),
    hints=(
        "ln q(z) = −½ [ln 2π + logvar + (z − mu)² exp(−logvar)]. Derive by mu, then by logvar.",
        "By mu: (z − mu) / σ². By logvar: ½ [(z − mu)² / σ² − 1].",
        "Multiply each by f and take the mean over draws.",
    ),
)


# 10.5 --------------------------------------------------------------------------------------------
# The gradient is (c + 1) σ - 1/σ. Set σ - rate · gradient = 0. For wide codes the rate nears
# 1/(c + 1): the more a code matters (large c), the smaller the rate that kills it.
def killing_rate(sigma: np.ndarray, c: float) -> np.ndarray:
    """Smallest rate at which one gradient step takes σ = relu(a) to zero."""
    gradient = (c + 1) * sigma - 1 / sigma
    return sigma / gradient


EXERCISE_5 = Exercise(
    number="10.5",
    solution=(killing_rate,),
    cases=lambda: [
        {"sigma": np.array([1.0, 2.0]), "c": 3.0},
        {"sigma": np.array([0.6, 0.9, 1.5]), "c": 4.0},
        {"sigma": np.linspace(0.5, 3, 12), "c": 24.0},
        {"sigma": np.array([[0.82, 1.0], [5.0, 40.0]]), "c": 0.5},
    ],
    mistakes=(
        Mistake(
            "the gradient of the KL is σ − 1/σ. Its −1/σ, which holds σ up, is missing.",
            (lambda sigma, c: 1 / (c + 1) + 0 * sigma,),
        ),
        Mistake(
            "only the blur. The KL has a gradient too.",
            (lambda sigma, c: 1 / c + 0 * sigma,),
        ),
        Mistake(
            "the rate at which σ comes to its minimum. Dead is where σ is zero.",
            (lambda sigma, c: (sigma - 1 / np.sqrt(c + 1)) * sigma / ((c + 1) * sigma**2 - 1),),
        ),
        Mistake(
            "the ½ of the loss is gone after the derivative.",
            (lambda sigma, c: 2 * killing_rate(sigma, c),),
        ),
    ),
    hints=(
        "For a > 0 the slope of the ReLU is 1, so a = σ. Derive the loss by σ.",
        "The gradient is (c + 1) σ − 1/σ. The step is a − rate · gradient.",
        "Set σ − rate · gradient = 0 and solve for the rate.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
