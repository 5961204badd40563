"""The exercises of chapter 01, What is an autoencoder?"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array, describe

Map = Callable[[np.ndarray], np.ndarray]


# 01.1 --------------------------------------------------------------------------------------------
def count_parameters(sizes: Sequence[int]) -> int:
    """Σ (d_{l-1} + 1) d_l."""
    return sum((d_in + 1) * d_out for d_in, d_out in zip(sizes[:-1], sizes[1:], strict=True))


EXERCISE_1 = Exercise(
    number="01.1",
    solution=(count_parameters,),
    cases=lambda: [
        {"sizes": [3, 2]},
        {"sizes": [10, 5, 2, 5, 10]},
        {"sizes": [64, 32, 2, 32, 64]},
        {"sizes": [7, 1, 4]},
        {"sizes": [64, 20, 20, 20, 64]},
    ],
    mistakes=(
        Mistake(
            "the biases are missing. A layer has one for each of its outputs.",
            (lambda s: sum(a * b for a, b in zip(s[:-1], s[1:], strict=True)),),
        ),
        Mistake(
            "one bias for each input of a layer. b is added to the output: one for each output.",
            (lambda s: sum(a * (b + 1) for a, b in zip(s[:-1], s[1:], strict=True)),),
        ),
        Mistake(
            "the numbers of units are added, not the numbers of weights between them.",
            (lambda s: sum(s),),
        ),
        Mistake(
            "one bias for each layer. b is a vector: one for each output of the layer.",
            (lambda s: sum(a * b + 1 for a, b in zip(s[:-1], s[1:], strict=True)),),
        ),
    ),
    hints=(
        "Count one layer first: from 3 numbers to 2 there are 3 · 2 weights, and how many biases?",
        "The layers are the neighbouring pairs of sizes: zip(sizes[:-1], sizes[1:]).",
        "One layer has d_in · d_out + d_out = (d_in + 1) · d_out parameters.",
    ),
)


# 01.2 --------------------------------------------------------------------------------------------
def reconstruction_error(x: np.ndarray, encode: Map, decode: Map) -> float:
    """(1/n) Σ_i ‖x_i − g(f(x_i))‖²."""
    x_hat = decode(encode(x))  # (n, d)
    return ((x - x_hat) ** 2).sum(axis=1).mean()


def _keep_first(x: np.ndarray) -> np.ndarray:
    return x[:, :1]


def _repeat_three(z: np.ndarray) -> np.ndarray:
    return np.repeat(z, 3, axis=1)


def _keep_two(x: np.ndarray) -> np.ndarray:
    return x[:, :2]


def _repeat_first(z: np.ndarray) -> np.ndarray:
    return z[:, [0, 1, 0]] + 0.5  # not linear: coding twice is not coding once


def _zeros_of_five(z: np.ndarray) -> np.ndarray:
    return np.zeros((len(z), 5))


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(12)
    small = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 0.0]])
    return [
        {"x": small, "encode": _keep_first, "decode": _repeat_three},
        {"x": rng.random((3, 3)), "encode": _keep_two, "decode": _repeat_first},
        {"x": 3 * rng.normal(size=(7, 3)), "encode": _keep_two, "decode": _repeat_first},
        {"x": rng.normal(size=(4, 5)), "encode": _keep_two, "decode": _zeros_of_five},
    ]


EXERCISE_2 = Exercise(
    number="01.2",
    solution=(reconstruction_error,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "a mean over everything. Here the error of one image is a sum over its pixels; only"
            " over images it is a mean.",
            (lambda x, f, g: ((x - g(f(x))) ** 2).mean(),),
        ),
        Mistake(
            "a sum over everything: the error would grow with the number of images. Take the mean"
            " over images.",
            (lambda x, f, g: ((x - g(f(x))) ** 2).sum(),),
        ),
        Mistake(
            "divided by the size of the code. The mean runs over images, so divide by n = len(x).",
            (lambda x, f, g: ((x - g(f(x))) ** 2).sum() / f(x).shape[1],),
        ),
        Mistake(
            "the distance, not its square: drop the square root.",
            (lambda x, f, g: np.linalg.norm(x - g(f(x)), axis=1).mean(),),
        ),
        Mistake(
            "the wrong axis. axis=1 runs over the pixels of one image, axis=0 over images.",
            (lambda x, f, g: ((x - g(f(x))) ** 2).sum(axis=0).mean(),),
        ),
        Mistake(
            "differences summed before they are squared, so that they cancel.",
            (lambda x, f, g: ((x - g(f(x))).sum(axis=1) ** 2).mean(),),
        ),
        Mistake(
            "the decoded pixels are cut off at 0 and 1. (1.2) takes what the decoder gives.",
            (lambda x, f, g: ((x - np.clip(g(f(x)), 0, 1)) ** 2).sum(axis=1).mean(),),
        ),
        Mistake(
            "a factor ½. Some books have it; equation (1.2) here does not.",
            (lambda x, f, g: 0.5 * ((x - g(f(x))) ** 2).sum(axis=1).mean(),),
        ),
    ),
    hints=(
        "First x_hat = decode(encode(x)): same shape as x, (n, d).",
        "Square the difference, sum it over the pixels of each image: (n, d) -> (n,).",
        "The mean over images is the mean of these n numbers.",
    ),
)


# 01.3 --------------------------------------------------------------------------------------------
# The pixels do not mix, so treat one: the derivative of (1/n) Σ (x_i - c)² is -(2/n) Σ (x_i - c).
# It is zero at the mean, and the second derivative, 2, says that this is the minimum.
# Put back in, (1/n) Σ (x_i - mean)² is the variance (with n, not n - 1), summed over pixels.
def best_constant(x: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean image, and the total variance."""
    return x.mean(axis=0), x.var(axis=0).sum()


def _cases_3() -> list[Case]:
    rng = np.random.default_rng(13)
    skewed = rng.exponential(size=(6, 3))
    return [
        {"x": np.array([[0.0, 1.0], [0.0, 3.0], [3.0, 2.0]])},
        {"x": skewed},
        {"x": skewed[:3]},
        {"x": np.array([1e-3, 1.0, 1e3, 1.0]) * (0.5 - skewed[:5, [0, 1, 2, 0]])},  # below zero
    ]


EXERCISE_3 = Exercise(
    number="01.3",
    solution=(best_constant,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the median is best for the absolute difference |x − c|. Set the derivative of the"
            " squared one to zero.",
            (lambda x: (np.median(x, 0), ((x - np.median(x, 0)) ** 2).sum(1).mean()),),
        ),
        Mistake(
            "the variance with n − 1. That one estimates the variance of the source; the error of"
            " these n images divides by n.",
            (lambda x: (x.mean(0), x.var(0, ddof=1).sum()),),
        ),
        Mistake(
            "standard deviations do not add. The error is a sum of variances.",
            (lambda x: (x.mean(0), x.std(0).sum()),),
        ),
        Mistake(
            "the error is averaged over pixels. Sum it over pixels.",
            (lambda x: (x.mean(0), x.var(0).mean()),),
        ),
        Mistake(
            "one grey value for the whole image. Each pixel has its own best constant: c is (d,).",
            (lambda x: (np.full(x.shape[1], x.mean()), ((x - x.mean()) ** 2).sum(1).mean()),),
        ),
    ),
    hints=(
        "Each pixel can be treated alone: the error is a sum over pixels.",
        "For one pixel, d/dc of (1/n) Σ (x_i − c)² is −(2/n) Σ (x_i − c). Where is it zero?",
        "Put that c back in: (1/n) Σ (x_i − mean)² has a name. Sum it over the pixels.",
    ),
)


# 01.4 --------------------------------------------------------------------------------------------
# One real number has room for any amount of data: a small code is no limit by itself.
# A network can even agree with this unpack on the 32 codes: straight lines between them, 31 ReLUs,
# the slope of each lamp at most 1. What is hard is to *learn* these bends from a random start, and
# to bear noise: codes 15 and 16 mean states that differ in all five lamps, and 16 less the
# slightest noise comes back as 15.
def pack(x: np.ndarray) -> np.ndarray:
    """Read five binary digits as one whole number: (n, 5) -> (n, 1)."""
    return x @ 2.0 ** np.arange(5)[:, None]


def unpack(z: np.ndarray) -> np.ndarray:
    """Write the whole number in binary: (n, 1) -> (n, 5)."""
    return np.floor(z / 2.0 ** np.arange(5)) % 2


def _cases_4() -> list[Case]:
    worlds = (np.arange(32)[:, None] >> np.arange(5)) & 1
    few = np.array([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]])
    rng = np.random.default_rng(14)
    return [
        {"x": few},
        {"x": worlds.astype(float)},
        {"x": rng.integers(0, 2, (40, 5)).astype(float)},
    ]


def _ask_4(answer: tuple[Any, ...], case: Case) -> Any:
    """Pack all rows, pack some rows again, each alone, and only then unpack all codes."""
    z = answer[0](case["x"])
    if z is None or z is Ellipsis:
        return z, None, None
    alone = [answer[0](case["x"][i : i + 1]) for i in range(len(case["x"]))[::-1][:4]][::-1]
    return z, alone, answer[1](z)


def _judge_4(case: Case, came: Any) -> None:
    z, x_hat = as_array(came[0]), as_array(came[2])
    wanted = (len(case["x"]), 1)
    if z is None or z.shape != wanted:
        got = "None: is the `return` missing?" if came[0] is None else f"{describe(came[0])}"
        raise Wrong(f"a code of shape {wanted}, one number a row", f"{got}, {np.shape(came[0])}")
    first, off = len(z) - len(came[1]), 1e-6 * np.ptp(z)  # codes may be small, and float32
    for row, again in enumerate(map(as_array, came[1]), start=first):
        if again is None or again.shape != (1, 1) or abs(again[0, 0] - z[row, 0]) > off:
            raise Wrong(
                f"row {row}, packed alone, to get the same code as in its batch,"
                f" {describe(z[row])}",
                "no number" if again is None else describe(again),
            )
    if x_hat is None:
        raise Wrong("x itself back from unpack", f"{came[2]!r}")
    if x_hat.shape != case["x"].shape:
        raise Wrong(f"unpack(pack(x)) of shape {case['x'].shape}", f"shape {x_hat.shape}")
    bad = np.flatnonzero(~np.all(np.abs(x_hat - case["x"]) < 1e-9, axis=1))
    if len(bad):
        row = int(bad[0])
        raise Wrong(
            f"row {row} back as {describe(case['x'][row])}",
            f"{describe(x_hat[row])}, from the code {describe(z[row])}",
        )


_seen: dict[str, np.ndarray] = {}


def _row_number(x: np.ndarray) -> np.ndarray:
    _seen["rows"] = x
    return np.arange(len(x), dtype=float)[:, None]


def _row_number_of_distinct(x: np.ndarray) -> np.ndarray:
    _seen["rows"], place = np.unique(x, axis=0, return_inverse=True)
    return place.reshape(-1, 1).astype(float)


def _look_up(z: np.ndarray) -> np.ndarray:
    return _seen["rows"][z[:, 0].astype(int) % len(_seen["rows"])]


EXERCISE_4 = Exercise(
    number="01.4",
    solution=(pack, unpack),
    cases=_cases_4,
    ask=_ask_4,
    judge=_judge_4,
    same_again="the same code for a row, whatever was packed before",
    mistakes=(
        Mistake(
            "different rows get the same code: the number of ones does not say where they are.",
            (lambda x: x.sum(1, keepdims=True), lambda z: (np.arange(5) < z).astype(float)),
        ),
        Mistake(
            "the digits come back in reverse order: pack and unpack must agree on the order.",
            (pack, lambda z: unpack(z)[:, ::-1]),
        ),
        Mistake(
            "a row of n numbers. A code is (n, 1): one row for each sample; keepdims=True or"
            " [:, None] keeps the column.",
            (lambda x: x @ 2.0 ** np.arange(5), lambda z: unpack(z[:, None])),
        ),
        Mistake(
            "this is the identity. The code may hold one number only.",
            (lambda x: x.copy(), lambda z: z.copy()),
        ),
        Mistake(
            "the place of the row in its batch, and a batch remembered. Then the batch is the code:"
            " the number must be made from the five entries of the row alone.",
            (_row_number, _look_up),
        ),
        Mistake(
            "the place of the row among the distinct rows of its batch: it changes with the batch."
            " The number must be made from the five entries of the row alone.",
            (_row_number_of_distinct, _look_up),
        ),
        Mistake(
            "the fractions are still there: round down before taking the remainder by 2.",
            (pack, lambda z: (z / 2.0 ** np.arange(5)) % 2),
        ),
    ),
    hints=(
        "How does one write the five binary digits 1 0 1 1 0 as one whole number?",
        "pack: a weighted sum, x @ weights, with weights 1, 2, 4, 8, 16 as a column (5, 1).",
        "unpack: divide by 1, 2, 4, 8, 16, round down, take the remainder by 2.",
    ),
)


# 01.5 --------------------------------------------------------------------------------------------
# A dense layer multiplies the expected squared entry by gain, a ReLU by 1/2. There are H layers
# with ReLU and one without: m · (gain / 2)^H · gain, plus m for the image that is missing. The
# cross term has mean 0.
def predicted_loss(x: np.ndarray, n_hidden: int, gain: float) -> float:
    """m (1 + gain^(H+1) / 2^H)."""
    m = (x**2).mean()
    return m * (1 + gain * (gain / 2) ** n_hidden)


EXERCISE_5 = Exercise(
    number="01.5",
    solution=(predicted_loss,),
    cases=lambda: [
        {"x": np.array([[1.0, 0.0], [1.0, 2.0]]), "n_hidden": 1, "gain": 2.0},
        {"x": np.array([[1.0, 0.0], [1.0, 2.0]]), "n_hidden": 3, "gain": 1.0},
        {"x": np.random.default_rng(15).random((4, 6)), "n_hidden": 3, "gain": 3.0},
        {"x": np.random.default_rng(16).random((4, 6)), "n_hidden": 0, "gain": 0.5},
        {"x": np.random.default_rng(17).normal(size=(3, 5)), "n_hidden": 8, "gain": 2.5},
    ],
    mistakes=(
        Mistake(
            "the gain of the output layer is missing. H hidden layers make H + 1 layers.",
            (lambda x, h, g: (x**2).mean() * (1 + (g / 2) ** h),),
        ),
        Mistake(
            "the output layer is halved too. It has no ReLU.",
            (lambda x, h, g: (x**2).mean() * (1 + (g / 2) ** (h + 1)),),
        ),
        Mistake(
            "the ReLU's halving is missing: it sets half of the entries to zero.",
            (lambda x, h, g: (x**2).mean() * (1 + g ** (h + 1)),),
        ),
        Mistake(
            "gain is the variance times d_in, not the standard deviation: do not square it.",
            (lambda x, h, g: (x**2).mean() * (1 + g**2 * (g**2 / 2) ** h),),
        ),
        Mistake(
            "that is the size of the output alone. The loss is m for the missing image, plus it.",
            (lambda x, h, g: (x**2).mean() * g * (g / 2) ** h,),
        ),
        Mistake(
            "the square of the mean pixel, not the mean of the squared pixel.",
            (lambda x, h, g: x.mean() ** 2 * (1 + g * (g / 2) ** h),),
        ),
        Mistake(
            "the variance of the pixels: it leaves out their mean. m is the mean squared pixel.",
            (lambda x, h, g: x.var() * (1 + g * (g / 2) ** h),),
        ),
    ),
    hints=(
        "Follow one number through the network: the expected squared entry of each layer's output.",
        "A dense layer multiplies it by gain: d_in products, each of variance gain / d_in · h².",
        "Each of the H hidden layers multiplies by gain / 2, the output layer by gain alone. The"
        " cross term vanishes, so the loss is m + m · gain · (gain / 2)^H.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
