"""The exercises of chapter 15, The mistakes clinic."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array, describe

Weighed = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]


# 15.1 --------------------------------------------------------------------------------------------
# ln |z - mu| = s · logvar + ln |ε|, and the mean of ln |ε| is -0.64, not 0: hence the intercept.
def width_exponent(mu: np.ndarray, logvar: np.ndarray, z: np.ndarray) -> float:
    """Slope of ln |z − mu| over logvar, by least squares with an intercept."""
    size = np.log(np.abs(z - mu))
    from_mean = logvar - logvar.mean()
    return (from_mean * size).sum() / (from_mean**2).sum()


def _slope(a: np.ndarray, b: np.ndarray) -> float:
    off = a - a.mean()
    return float((off * b).sum() / (off**2).sum())


def _drawn(seed: int, n: int, k: int, exponent: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mu, logvar = 2 * rng.normal(size=(n, k)), rng.uniform(-4, 3, size=(n, k))
    eps = rng.uniform(0.3, 2.0, size=(n, k)) * rng.choice([-1.0, 1.0], size=(n, k))
    return {"mu": mu, "logvar": logvar, "z": mu + np.exp(exponent * logvar) * eps}


EXERCISE_1 = Exercise(
    number="15.1",
    solution=(width_exponent,),
    cases=lambda: [
        {
            "mu": np.array([[1.0], [0.0], [-2.0]]),
            "logvar": np.array([[-2.0], [0.0], [2.0]]),
            "z": np.array([[1.0 - 2 * np.exp(-2.0)], [2.0], [-2.0 + 2 * np.exp(2.0)]]),
        },
        _drawn(1501, 40, 3, 0.5),
        _drawn(1502, 60, 2, 1.0),
        _drawn(1503, 30, 4, 0.0),
    ],
    mistakes=(
        Mistake(
            "a line through the origin. ln |ε| has a mean that is not zero: fit an intercept too.",
            (lambda mu, logvar, z: (logvar * np.log(np.abs(z - mu))).sum() / (logvar**2).sum(),),
        ),
        Mistake(
            "the slope of ln (z − mu)², twice that of ln |z − mu|.",
            (lambda mu, logvar, z: 2 * width_exponent(mu, logvar, z),),
        ),
        Mistake(
            "mu is still in z: subtract it before the logarithm.",
            (lambda mu, logvar, z: _slope(logvar, np.log(np.abs(z))),),
        ),
        Mistake(
            "the slope of |z − mu| itself. A width exp(s · logvar) is a line only as a logarithm.",
            (lambda mu, logvar, z: _slope(logvar, np.abs(z - mu)),),
        ),
        Mistake(
            "the line of logvar over ln |z − mu|: the axes are exchanged.",
            (lambda mu, logvar, z: _slope(np.log(np.abs(z - mu)), logvar),),
        ),
    ),
    hints=(
        "z − mu = exp(s · logvar) · ε. Take the logarithm of the size of both sides.",
        "The slope of a line with an intercept is Σ (a − ā) b / Σ (a − ā)².",
        "a is logvar, b is np.log(np.abs(z - mu)).",
    ),
)


# 15.2 --------------------------------------------------------------------------------------------
# The sign; a sum, not a mean; over code numbers, axis 1; and logvar = 2 ln σ.
def mended_kl(mu: np.ndarray, log_sigma: np.ndarray) -> np.ndarray:
    """KL to the prior of N(mu, exp(2 log_sigma)), a number for each row."""
    return 0.5 * np.sum(mu**2 + np.exp(2 * log_sigma) - 1 - 2 * log_sigma, axis=1)


def _summands(mu: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar)


def _pair(seed: int, n: int, k: int, second: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"mu": rng.normal(size=(n, k)), second: rng.uniform(-2, 1.2, size=(n, k))}


EXERCISE_2 = Exercise(
    number="15.2",
    solution=(mended_kl,),
    cases=lambda: [
        {"mu": np.array([[1.0, 0.0]]), "log_sigma": np.array([[0.0, np.log(2.0)]])},
        _pair(1504, 5, 3, "log_sigma"),
        _pair(1505, 4, 4, "log_sigma"),
        {  # far wider and far narrower than the prior
            "mu": np.array([[0.3, -1.0], [2.0, 0.5]]),
            "log_sigma": np.array([[-12.0, 0.5], [5.5, -1.0]]),
        },
    ],
    mistakes=(
        Mistake(
            "the sign: this one is never above zero. It is minus ½ of the bracket as it stands.",
            (lambda mu, log_sigma: -mended_kl(mu, log_sigma),),
        ),
        Mistake(
            "the head gives ln σ, and you used it for ln σ². The variance is exp(2 ln σ).",
            (lambda mu, log_sigma: _summands(mu, log_sigma).sum(axis=1),),
        ),
        Mistake(
            "a mean over code numbers. The KL of independent numbers is the sum.",
            (lambda mu, log_sigma: _summands(mu, 2 * log_sigma).mean(axis=1),),
        ),
        Mistake(
            "summed down the rows: axis 0 runs over images. Sum over code numbers, axis 1.",
            (lambda mu, log_sigma: _summands(mu, 2 * log_sigma).sum(axis=0),),
        ),
        Mistake(
            "ln σ² is 2 ln σ: the exponent is mended, the logarithm is not.",
            (
                lambda mu, log_sigma: (
                    0.5 * (mu**2 + np.exp(2 * log_sigma) - 1 - log_sigma).sum(axis=1)
                ),
            ),
        ),
        Mistake(
            "the ½ is missing.",
            (lambda mu, log_sigma: 2 * mended_kl(mu, log_sigma),),
        ),
        Mistake(
            "the square of ln σ. ln σ² is twice ln σ: the square stands inside the logarithm.",
            (
                lambda mu, log_sigma: (
                    0.5 * (mu**2 + np.exp(2 * log_sigma) - 1 - log_sigma**2).sum(axis=1)
                ),
            ),
        ),
        Mistake(
            "the KL turned round, of the prior to the code. Asked is the code to the prior.",
            (
                lambda mu, log_sigma: (
                    0.5 * (2 * log_sigma - 1 + (1 + mu**2) / np.exp(2 * log_sigma)).sum(axis=1)
                ),
            ),
        ),
        Mistake(
            "log_sigma is cut off at −4 and 2. Beyond, the KL is another number, without a slope.",
            (lambda mu, log_sigma: mended_kl(mu, np.clip(log_sigma, -4, 2)),),
        ),
        Mistake(
            "a small number is added inside the logarithm: take 2 ln σ as the head gives it.",
            (
                lambda mu, log_sigma: (
                    0.5
                    * (
                        mu**2 + np.exp(2 * log_sigma) - 1 - np.log(np.exp(2 * log_sigma) + 1e-8)
                    ).sum(axis=1)
                ),
            ),
        ),
    ),
    hints=(
        "Write the KL of (11.13) with logvar, then put in what logvar is here.",
        "logvar = 2 · log_sigma; both places change.",
        "The result has one number for each row: sum over axis 1.",
    ),
)


# 15.3 --------------------------------------------------------------------------------------------
# x_hat = x + 1 has the squared error d an image; mu = 1 everywhere has k/2 nats.
def beta_by_experiment(loss: Weighed, x: np.ndarray, k: int) -> float:
    """Move the reconstruction alone, then the code alone."""
    n, d = x.shape
    zero = np.zeros((n, k))
    start = loss(x, x, zero, zero)
    for_error = (loss(x, x + 1, zero, zero) - start) / d
    for_nat = (loss(x, x, zero + 1, zero) - start) / (k / 2)
    return for_nat / for_error


def _experiments(loss: Weighed, x: np.ndarray, k: int) -> tuple[float, float, float]:
    zero = np.zeros((len(x), k))
    return loss(x, x, zero, zero), loss(x, x + 1, zero, zero), loss(x, x, zero + 1, zero)


class _Loss:
    """Squared errors plus beta · KL plus a constant, each sum divided by the sizes named."""

    def __init__(self, error: str, kl: str, beta: float, constant: float = 0.0) -> None:
        self.error, self.kl, self.beta, self.constant = error, kl, beta, constant

    def __call__(
        self, x: np.ndarray, x_hat: np.ndarray, mu: np.ndarray, logvar: np.ndarray
    ) -> float:
        sizes = {"n": len(mu), "d": x.shape[1], "k": mu.shape[1]}
        error = ((x - x_hat) ** 2).sum() / np.prod([sizes[letter] for letter in self.error])
        kl = _summands(mu, logvar).sum() / np.prod([sizes[letter] for letter in self.kl])
        return float(error + self.beta * kl + self.constant)

    def __repr__(self) -> str:
        return f"errors / {self.error} + {self.beta:g} · KL / {self.kl or 1} + {self.constant:g}"


def _loss_case(loss: _Loss, seed: int, n: int, d: int, k: int) -> Mapping[str, Any]:
    return {"loss": loss, "x": np.random.default_rng(seed).uniform(size=(n, d)), "k": k}


EXERCISE_3 = Exercise(
    number="15.3",
    solution=(beta_by_experiment,),
    cases=lambda: [
        _loss_case(_Loss("n", "n", 4.0), 1506, 3, 2, 2),
        _loss_case(_Loss("nd", "nk", 0.1), 1507, 4, 50, 5),
        _loss_case(_Loss("nd", "", 1.0, 7.0), 1508, 6, 10, 3),
        _loss_case(_Loss("n", "k", 1.0, -2.0), 1509, 5, 8, 4),
    ],
    mistakes=(
        Mistake(
            "mu = 1 everywhere is k/2 nats an image, not 1: divide by that.",
            (lambda loss, x, k: beta_by_experiment(loss, x, k) * k / 2,),
        ),
        Mistake(
            "x_hat = x + 1 is a squared error of d an image, not 1: divide by that.",
            (lambda loss, x, k: beta_by_experiment(loss, x, k) / x.shape[1],),
        ),
        Mistake(
            "a constant in the loss is still there: take differences from one starting point.",
            (
                lambda loss, x, k: (
                    _experiments(loss, x, k)[2]
                    / (k / 2)
                    / (_experiments(loss, x, k)[1] / x.shape[1])
                ),
            ),
        ),
        Mistake(
            "the wrong way round. Asked is the weight of the KL over that of the error.",
            (lambda loss, x, k: 1 / beta_by_experiment(loss, x, k),),
        ),
        Mistake(
            "the two moves compared as they are. Count how many nats and how much error they make.",
            (
                lambda loss, x, k: (
                    (_experiments(loss, x, k)[2] - _experiments(loss, x, k)[0])
                    / (_experiments(loss, x, k)[1] - _experiments(loss, x, k)[0])
                ),
            ),
        ),
    ),
    hints=(
        "With x_hat = x, mu = 0 and logvar = 0 both terms are zero. Start there.",
        "Move x_hat alone: what squared error does x + 1 have? Move mu alone: what KL has mu = 1?",
        "(change for mu) / (k / 2), divided by (change for x_hat) / d.",
    ),
)


# 15.4 --------------------------------------------------------------------------------------------
# Healthy, v = w²: c v/2 + (v - 1 - ln v)/2 is least at v = 1/(1 + c).
# Patient 1, w = eᵃ: c w²/2 + (w - 1 - ln w)/2; by w: c w + 1/2 - 1/(2 w) = 0, so 2 c w² + w = 1.
# It settles narrower: narrowness is sold to it too cheaply.
def settled_widths(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Widths at which blur and KL balance: for the right sampler, and for that of patient 1."""
    return 1 / np.sqrt(1 + c), 2 / (1 + np.sqrt(1 + 8 * c))  # no difference of near numbers


EXERCISE_4 = Exercise(
    number="15.4",
    solution=(settled_widths,),
    cases=lambda: [
        {"c": np.array([1.0, 3.0])},
        {"c": np.array([0.2, 8.0, 24.0])},
        {"c": np.linspace(0.5, 60, 9)},
        {"c": np.array([[1e-6, 0.5, 700.0], [2.0, 1e4, 0.03]])},
    ],
    mistakes=(
        Mistake(
            "the first one is the variance. The width is its root.",
            (lambda c: (1 / (1 + c), settled_widths(c)[1]),),
        ),
        Mistake(
            "the second one is the standard deviation that the KL is charged for, the root of w.",
            (lambda c: (settled_widths(c)[0], np.sqrt(settled_widths(c)[1])),),
        ),
        Mistake(
            "patient 1 is not charged for what it draws: its KL is that of the variance w.",
            (lambda c: (settled_widths(c)[0], settled_widths(c)[0]),),
        ),
        Mistake(
            "the slope of blur c w²/2 by w is c w: a factor 2 is lost in the second one.",
            (lambda c: (settled_widths(c)[0], (np.sqrt(1 + 4 * c) - 1) / (2 * c)),),
        ),
        Mistake(
            "the other order: the healthy width comes first.",
            (lambda c: settled_widths(c)[::-1],),
        ),
    ),
    hints=(
        "Write both sums as functions of the width: eᵃ is w² for the healthy one, w for patient 1.",
        "Healthy, by v = w²: c/2 + ½ − 1/(2v) = 0.",
        "Patient 1: c w + ½ − 1/(2w) = 0, so 2c w² + w − 1 = 0.",
    ),
)


# 15.5 --------------------------------------------------------------------------------------------
# Both places read logvar as ln σ. At 0 the value and the slope, e⁰ - 1 = 0, are the right ones.
def sly_kl(mu: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """A wrong KL that looks right at logvar = 0."""
    return 0.5 * (mu**2 + np.exp(2 * logvar) - 1 - 2 * logvar).sum(axis=1)


def _judge_5(case: Case, came: Any) -> None:
    mu, logvar = case["mu"], case["logvar"]
    have, right = as_array(came), _summands(mu, logvar).sum(axis=1)
    if have is None or have.shape != right.shape:
        raise Wrong(f"shape {right.shape}", "no numbers" if have is None else f"shape {have.shape}")
    if not np.all(np.isfinite(have)):
        raise Wrong("finite numbers", describe(have))
    off, moved = np.abs(have - right), np.abs(logvar) > 0.01
    near = ~moved.any(axis=1)
    if np.any(off[near] > 2e-6 + 5e-7 * np.abs(right[near])):  # a slope of 0.1 moves it by 1e-5
        size = np.abs(logvar[near]).max()
        worst = off[near].max()
        slope = f": at logvar = ±{size:g}, a slope of about {worst / size:.2g}" if size else ""
        raise Wrong(
            f"the right values near logvar = 0, {describe(right[near])}",
            f"{describe(have[near])}, off by up to {worst:.2g}{slope}",
        )
    alone = moved.sum(axis=1) == 1  # one logvar of 2 or -2
    if np.any(off[alone] < 0.1 - 1e-9):
        raise Wrong(f"every row off by 0.1 from {describe(right[alone])}", describe(have[alone]))
    first: dict[tuple[float, ...], int] = {}  # what moves, and its mu: the first such row
    for row in map(int, np.flatnonzero(alone)):
        j = int(moved[row].argmax())
        like = first.setdefault((j, mu[row, j], logvar[row, j]), row)
        adds = (have - right)[[like, row]]  # beside the right KL
        if abs(adds[1] - adds[0]) > 1e-6 * (1 + np.abs(right[[like, row]]).max()):
            raise Wrong(
                f"the same difference from the right KL in rows {like} and {row}: they differ only"
                " in the mu of code numbers whose logvar is 0",
                f"{adds[0]:.6g} and {adds[1]:.6g}",
            )
    if moved.sum(axis=1).max() > 1:  # rows as _together makes them
        parts = have[0] + (have[1:-1] - have[0]).sum()
        if abs(have[-1] - parts) > 1e-6 * (1 + abs(parts)):
            raise Wrong(
                f"a sum over code numbers: with all of them moved {parts:.6g}, the sum of what"
                " each adds alone",
                f"{have[-1]:.6g}",
            )


def _one_at_a_time(size: float, seed: int, k: int, spread: float = 1.5) -> dict[str, np.ndarray]:
    """2k rows: in each one code number has the logvar size or -size, the others 0."""
    mu = np.random.default_rng(seed).normal(size=(2 * k, k)) * spread
    return {"mu": mu, "logvar": np.concatenate([size * np.eye(k), -size * np.eye(k)])}


def _together(seed: int, k: int) -> dict[str, np.ndarray]:
    """k + 2 rows with one mu: no logvar moved, each alone by 2 or -2, all of them."""
    mu = np.random.default_rng(seed).normal(size=k)
    step = 2.0 * (-1.0) ** np.arange(k)
    logvar = np.concatenate([np.zeros((1, k)), np.diag(step), step[None]])
    return {"mu": np.tile(mu, (k + 2, 1)), "logvar": logvar}


def _beside_others(seed: int, k: int) -> dict[str, np.ndarray]:
    """2k rows: code number j has logvar 2 and one mu in two of them, the others' mu differ."""
    mu = np.random.default_rng(seed).normal(size=(2, k, k))
    mu[1, np.arange(k), np.arange(k)] = mu[0, np.arange(k), np.arange(k)]
    return {"mu": mu.reshape(2 * k, k), "logvar": np.tile(2 * np.eye(k), (2, 1))}


EXERCISE_5 = Exercise(
    number="15.5",
    solution=(sly_kl,),
    cases=lambda: [
        {"mu": np.array([[1.0, -2.0], [0.5, 0.0]]), "logvar": np.zeros((2, 2))},
        {"mu": np.array([[1.5, -1.0]]), "logvar": np.array([[2.0, 0.0]])},
        _one_at_a_time(1e-4, 1510, 3),
        _one_at_a_time(2.0, 1511, 3),
        {"mu": 5 * np.random.default_rng(1512).normal(size=(4, 6)), "logvar": np.zeros((4, 6))},
        _one_at_a_time(2.0, 1513, 3, spread=0.0),  # mu = 0
        _one_at_a_time(2.0, 1514, 1),  # where a mean is a sum
        {  # many values of mu, one at a time
            "mu": np.tile(np.linspace(-12, 12, 97), 2)[:, None],
            "logvar": np.repeat([[2.0], [-2.0]], 97, axis=0),
        },
        _together(1515, 4),
        _beside_others(1516, 3),
    ],
    judge=_judge_5,
    mistakes=(
        Mistake(
            "this is the right KL: nothing is broken.",
            (lambda mu, logvar: _summands(mu, logvar).sum(axis=1),),
        ),
        Mistake(
            "one error alone: with exp(2 logvar) but − logvar the slope at 0 is ½, not 0.",
            (lambda mu, logvar: 0.5 * (mu**2 + np.exp(2 * logvar) - 1 - logvar).sum(axis=1),),
        ),
        Mistake(
            "averaged over code numbers it is wrong at logvar = 0 too, as soon as mu is not 0.",
            (lambda mu, logvar: _summands(mu, logvar).mean(axis=1),),
        ),
        Mistake(
            "log2 of the variance makes the slope at 0 ½ (1 − 1/ln 2), not 0.",
            (
                lambda mu, logvar: (
                    0.5 * (mu**2 + np.exp(logvar) - 1 - logvar / np.log(2)).sum(axis=1)
                ),
            ),
        ),
        Mistake(
            "without − logvar the slope at 0 is ½, not 0.",
            (lambda mu, logvar: 0.5 * (mu**2 + np.exp(logvar) - 1).sum(axis=1),),
        ),
        Mistake(
            "the error is multiplied by mu: at mu = 0 nothing is broken.",
            (
                lambda mu, logvar: (
                    _summands(mu, logvar).sum(axis=1) + (mu**2 * logvar**2).sum(axis=1)
                ),
            ),
        ),
        Mistake(
            "a sum over rows: the logvar of one row changes the KL of another.",
            (lambda mu, logvar: _summands(mu, logvar).sum(axis=1) + (logvar**2).sum(),),
        ),
        Mistake(
            "squared after the sum. Each code number must add what its own mu and logvar say.",
            (lambda mu, logvar: _summands(mu, logvar).sum(axis=1) + logvar.sum(axis=1) ** 2,),
        ),
        Mistake(
            "a neighbour's mu stands in it. Each code number adds what its own mu and logvar say.",
            (
                lambda mu, logvar: (
                    _summands(mu, logvar).sum(axis=1)
                    + (logvar**2 * (1 + np.roll(mu, 1, axis=1) ** 2)).sum(axis=1)
                ),
            ),
        ),
        Mistake(
            "a mean over code numbers in the part with logvar: with one code number it is right.",
            (
                lambda mu, logvar: (
                    0.5 * (mu**2).sum(axis=1) + 0.5 * (np.exp(logvar) - 1 - logvar).mean(axis=1)
                ),
            ),
        ),
    ),
    hints=(
        "The part with logvar is e^v − 1 − v: value 0 and slope 0 at v = 0. What else has?",
        "e^(2v) − 1 − 2v has. So has v², and 0.",
        "Read logvar as ln σ in both places, or leave the width out altogether.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
