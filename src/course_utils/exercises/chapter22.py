"""The exercises of chapter 22, Beyond one machine."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake


# 22.1 --------------------------------------------------------------------------------------------
# (22.1) weighs each mean by its rows. A process without rows has no mean: 0/0 is not a number, and
# 0 times that is not a number either. So its row must not enter the sum at all.
def average(gradients: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Gradient of the batch's mean loss from those of its shares: (p, n), (p,) -> (n,)."""
    some = rows > 0
    return rows[some] @ gradients[some] / rows.sum()


def _cases_1() -> list[Case]:
    rng = np.random.default_rng(221)
    empty = rng.normal(size=(4, 3))
    empty[2] = np.nan
    endless = rng.normal(size=(3, 2))
    endless[0] = np.inf
    return [
        {"gradients": np.array([[1.0, 2.0], [3.0, -2.0]]), "rows": np.array([3, 1])},
        {"gradients": rng.normal(size=(5, 7)), "rows": np.array([64, 64, 64, 64, 29])},
        {"gradients": empty, "rows": np.array([2, 1, 0, 2])},
        {"gradients": endless, "rows": np.array([0, 3, 4])},
    ]


EXERCISE_1 = Exercise(
    number="22.1",
    solution=(average,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "the plain mean. A share of three rows would count as much as one of five.",
            (lambda gradients, rows: np.nanmean(gradients, axis=0),),
        ),
        Mistake(
            "the plain mean of all processes. A share of three rows would count as much as one of"
            " five, and a process without rows as well.",
            (lambda gradients, rows: np.mean(gradients, axis=0),),
        ),
        Mistake(
            "the sum, not divided by the rows of the batch.",
            (lambda gradients, rows: rows[rows > 0] @ gradients[rows > 0],),
        ),
        Mistake(
            "divided by the number of processes. The weights are rows: their sum belongs below.",
            (lambda gradients, rows: rows[rows > 0] @ gradients[rows > 0] / len(rows),),
        ),
        Mistake(
            "not a number times zero is not a number: leave out the process that had no rows.",
            (lambda gradients, rows: rows @ gradients / rows.sum(),),
        ),
        Mistake(
            "weights that are one over the rows. Much data counts much, not little.",
            (
                lambda gradients, rows: (
                    (1 / rows[rows > 0]) @ gradients[rows > 0] / (1 / rows[rows > 0]).sum()
                ),
            ),
        ),
    ),
    hints=(
        "It is (22.1), with m the sum of all rows.",
        "0 * nan is nan. Choose the processes that had rows first.",
        "some = rows > 0, then rows[some] @ gradients[some] / rows.sum().",
    ),
)


# 22.2 --------------------------------------------------------------------------------------------
# T(p) = A/p + D p + a constant, with A = C - 2 S/B and D = 2 α (the ring's bytes cost 2 S/B in all,
# less 2 S/(B p)). T(p + 1) < T(p) says A/(p (p + 1)) > D, that is p (p + 1) < A/D. The smallest p
# with p (p + 1) >= A/D is the best: the root of p² + p = A/D, rounded up. Without a positive A it
# is 1. Rounding may put the root one off, so its neighbours are tried.
def best_processes(compute: float, n_bytes: float, latency: float, bandwidth: float) -> int:
    """The number of processes for which a step (22.3) is shortest, the smaller of two equal ones.

    compute: C, seconds. n_bytes: S. latency: α > 0, seconds. bandwidth: B, bytes a second.
    """
    gain = (compute - 2 * n_bytes / bandwidth) / (2 * latency)
    if gain <= 2:  # two are no better than one
        return 1
    near = math.ceil((math.sqrt(1 + 4 * gain) - 1) / 2)
    return next(p for p in range(max(1, near - 1), near + 3) if p * (p + 1) >= gain)


def _whole(by: Any) -> tuple[Any]:
    def answer(compute: float, n_bytes: float, latency: float, bandwidth: float) -> int:
        return max(1, round(by(compute, n_bytes, latency, bandwidth)))

    return (answer,)


def _root(value: float) -> float:
    return math.sqrt(max(value, 0.0))


EXERCISE_2 = Exercise(
    number="22.2",
    solution=(best_processes,),
    cases=lambda: [
        {"compute": 4.0e-4, "n_bytes": 2.6e6, "latency": 3.4e-6, "bandwidth": 4.5e11},
        {"compute": 6.0, "n_bytes": 1.0e8, "latency": 1.0, "bandwidth": 1.0e8},  # p (p + 1) = 2
        {"compute": 1.0e-3, "n_bytes": 2.6e6, "latency": 1.0e-4, "bandwidth": 1.0e9},  # never
        {"compute": 4.2, "n_bytes": 0.0, "latency": 0.1, "bandwidth": 1.0e9},  # the root is 4.58
        {"compute": 6.2, "n_bytes": 0.0, "latency": 0.5, "bandwidth": 1.0e9},  # 2.49, and three
        {"compute": 3.0e3, "n_bytes": 4.0e9, "latency": 1.0e-9, "bandwidth": 4.0e11},  # a million
        {"compute": 8.9e-2, "n_bytes": 3.0e7, "latency": 5.0e-4, "bandwidth": 1.0e9},
    ],
    mistakes=(
        Mistake(
            "the root of (22.4), rounded to the nearest: nearly always right. A whole number is"
            " better than the next one where p (p + 1) is at least (C − 2S/B)/(2α).",
            _whole(lambda c, s, a, b: _root((c - 2 * s / b) / (2 * a))),
        ),
        Mistake(
            "the root rounded down. The next whole number may be better still.",
            _whole(lambda c, s, a, b: math.floor(_root((c - 2 * s / b) / (2 * a)))),
        ),
        Mistake(
            "the root rounded up. One process fewer may be better.",
            _whole(lambda c, s, a, b: math.ceil(_root((c - 2 * s / b) / (2 * a)))),
        ),
        Mistake(
            "the bytes are missing: part of what they cost falls with fewer processes.",
            _whole(lambda c, s, a, b: best_processes(c, 0.0, a, b)),
        ),
        Mistake(
            "the bytes count twice: all-reduce sends S/p in each of 2 (p − 1) rounds, which is"
            " 2S/B less 2S/(pB).",
            _whole(lambda c, s, a, b: best_processes(c, 2 * s, a, b)),
        ),
        Mistake(
            "one latency for a pair of rounds. There are 2 (p − 1) rounds, each with its own.",
            _whole(lambda c, s, a, b: best_processes(c, s, a / 2, b)),
        ),
        Mistake(
            "the root is missing: what (22.4) has under it.",
            _whole(lambda c, s, a, b: (c - 2 * s / b) / (2 * a)),
        ),
    ),
    hints=(
        "Write (22.3) as A/p + D p + a constant. What are A and D?",
        "When is T(p + 1) smaller than T(p)? Multiply by p (p + 1).",
        "The best p is the smallest with p (p + 1) ≥ A/D: solve p² + p = A/D and round up.",
    ),
)


# 22.3 --------------------------------------------------------------------------------------------
# A number is a mantissa in [½, 1) times a power of two. Rounding the mantissa to `bits` binary
# places is rounding mantissa · 2^bits to a whole number; np.round goes to the even one where two
# are equally near. Small numbers first: once the sum is large, they no longer move it.
def running_sum(x: np.ndarray, bits: int) -> float:
    """Sum of positive numbers, one by one, each sum rounded to bits binary digits: (n,) -> one."""
    total = 0.0
    for value in x:
        mantissa, exponent = np.frexp(total + value)
        total = np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)
    return float(total)


def _places(value: float, bits: int, how: Any = np.round) -> float:
    mantissa, exponent = np.frexp(value)
    return float(np.ldexp(how(np.ldexp(mantissa, bits)), exponent - bits))


def _running(x: np.ndarray, bits: int, how: Any) -> float:
    total = 0.0
    for value in x:
        total = _places(total + value, bits, how)
    return total


def _up(value: float) -> float:
    return np.floor(value + 0.5)


def _down(value: float) -> float:
    return np.ceil(value - 0.5)


def _from_the_first(x: np.ndarray, bits: int) -> float:
    total = float(x[0])
    for value in x[1:]:
        total = _places(total + value, bits)
    return total


def _in_order(order: Any) -> tuple[Any]:
    return (lambda x, bits: running_sum(order(x), bits),)


EXERCISE_3 = Exercise(
    number="22.3",
    solution=(running_sum,),
    cases=lambda: [
        {"x": np.ones(1000), "bits": 8},
        {"x": np.array([1.0, 1 / 128, 3 / 256, 1 / 256]), "bits": 8},
        {"x": np.random.default_rng(223).random(300) + 0.01, "bits": 11},
        {"x": np.geomspace(30, 0.01, 60), "bits": 6},
        {"x": np.array([6.0, 3.0, 2.0, 0.5, 0.25]), "bits": 3},
        {"x": np.array([1.0, 3 / 256]), "bits": 8},  # a tie that goes up
        {"x": np.array([1.003]), "bits": 8},
        {"x": np.array([2.0**24] + [1.0] * 100), "bits": 30},  # more digits than float32 has
    ],
    mistakes=(
        Mistake(
            "the exact sum, rounded once. Each sum on the way is rounded.",
            (lambda x, bits: _places(float(x.sum()), bits),),
        ),
        Mistake(
            "the numbers are rounded, the sums are not.",
            (lambda x, bits: sum(_places(float(value), bits) for value in x),),
        ),
        Mistake(
            "cut off, not rounded to the nearest.",
            (lambda x, bits: _running(x, bits, np.floor),),
        ),
        Mistake(
            "up where two are equally near. The even one is asked for: up each time, the sums"
            " drift.",
            (lambda x, bits: _running(x, bits, _up),),
        ),
        Mistake(
            "down where two are equally near. The even one is asked for.",
            (lambda x, bits: _running(x, bits, _down),),
        ),
        Mistake(
            "the first sum is 0 + x[0], and is rounded as well.",
            (lambda x, bits: _from_the_first(x, bits),),
        ),
        Mistake(
            "binary places after the point. Significant digits begin with the first one, wherever"
            " it stands.",
            (lambda x, bits: float(_fixed(x, bits)),),
        ),
        Mistake(
            "one digit too few: the leading one counts.",
            (lambda x, bits: running_sum(x, bits - 1),),
        ),
        Mistake(
            "one digit too many: the leading one counts.",
            (lambda x, bits: running_sum(x, bits + 1),),
        ),
        Mistake(
            "from the smallest to the largest. That is the better sum, but asked is the one from"
            " first to last.",
            _in_order(np.sort),
        ),
    ),
    hints=(
        "mantissa, exponent = np.frexp(value): value = mantissa · 2**exponent, ½ ≤ mantissa < 1.",
        "Multiply the mantissa by 2**bits, round, and divide again.",
        "np.round goes to the even neighbour. Round after each addition, not only at the end.",
    ),
)


def _fixed(x: np.ndarray, bits: int) -> float:
    total = 0.0
    for value in x:
        total = np.round((total + value) * 2.0**bits) / 2.0**bits
    return total


# 22.4 --------------------------------------------------------------------------------------------
# squared = |g|² + tr Σ · (1/rows): a line in 1/rows, with intercept |g|² and slope tr Σ. Each
# squared length alone is too large for |g|², by tr Σ/rows. The line takes that out.
def noise_scale(squared: np.ndarray, rows: np.ndarray) -> float:
    """Estimate tr Σ / |g|² from squared lengths of gradients of batches: (k,), (k,) -> rows."""
    slope, intercept = np.polyfit(1 / rows, squared, 1)
    return slope / intercept


def _cases_4() -> list[Case]:
    rng = np.random.default_rng(224)
    rows = np.array([4, 4, 16, 64, 64, 256])
    return [
        {"squared": np.array([3.0 + 24.0 / 2, 3.0 + 24.0 / 8]), "rows": np.array([2, 8])},
        {"squared": 0.5 + 40.0 / rows + 0.3 * rng.random(6), "rows": rows},
        {"squared": 7.0 + 100.0 / rows[::-1] + rng.random(6), "rows": rows[::-1].copy()},
    ]


EXERCISE_4 = Exercise(
    number="22.4",
    solution=(noise_scale,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "the line over the rows. The lengths are a line in one over the rows.",
            (lambda squared, rows: (lambda s, i: s / i)(*np.polyfit(rows, squared, 1)),),
        ),
        Mistake(
            "upside down: noise over signal is asked for.",
            (lambda squared, rows: 1 / noise_scale(squared, rows),),
        ),
        Mistake(
            "the length of the largest batch for that of g. It still holds its share of noise.",
            (lambda squared, rows: np.polyfit(1 / rows, squared, 1)[0] / squared[np.argmax(rows)],),
        ),
        Mistake(
            "lengths for squared lengths: noise adds up in squares.",
            (lambda squared, rows: noise_scale(np.sqrt(squared), rows),),
        ),
        Mistake(
            "the noise of one row of a batch, tr Σ, without the gradient that it is compared with.",
            (lambda squared, rows: np.polyfit(1 / rows, squared, 1)[0],),
        ),
        Mistake(
            "a root: the noise scale is a ratio of squares, in rows.",
            (lambda squared, rows: np.sqrt(abs(noise_scale(squared, rows))),),
        ),
    ),
    hints=(
        "Name 1/rows = t. What is a line in t, and what are its slope and its value at t = 0?",
        "np.polyfit(t, squared, 1) fits it by least squares: slope first.",
        "The answer is slope / intercept.",
    ),
)


# 22.5 --------------------------------------------------------------------------------------------
# Float32 and Adam: 4 bytes of weight, 4 of gradient, 8 of means. What is divided is held by 1/p.
# With "all", the layer at work is gathered whole: its weights, and its gradient until it is summed.
def bytes_held(layers: Sequence[int], p: int, shard: str) -> float:
    """Bytes each of p processes holds; layers: weights of each; shard: nothing, means or all."""
    n = sum(layers)
    if shard == "nothing":
        return 16.0 * n
    if shard == "means":
        return 8.0 * n + 8.0 * n / p
    return 16.0 * n / p + 8.0 * max(layers)


_LAYERS = [314_000, 8_020, 8_020, 8_400, 314_384]

EXERCISE_5 = Exercise(
    number="22.5",
    solution=(bytes_held,),
    cases=lambda: [
        {"layers": [1000, 500], "p": 4, "shard": "all"},
        {"layers": list(_LAYERS), "p": 3, "shard": "means"},
        {"layers": list(_LAYERS), "p": 7, "shard": "nothing"},
        {"layers": list(_LAYERS), "p": 1024, "shard": "all"},
        {"layers": [7] * 40, "p": 8, "shard": "means"},
        {"layers": [5, 2], "p": 3, "shard": "means"},
        {"layers": [5, 2], "p": 3, "shard": "all"},
    ],
    mistakes=(
        Mistake(
            "the layer at work is missing: it is gathered whole, weights and gradient.",
            (
                lambda layers, p, shard: (
                    16.0 * sum(layers) / p if shard == "all" else bytes_held(layers, p, shard)
                ),
            ),
        ),
        Mistake(
            "the layer at work has a gradient too, whole until it is summed: 8 bytes a weight.",
            (
                lambda layers, p, shard: (
                    bytes_held(layers, p, shard) - 4.0 * max(layers) * (shard == "all")
                ),
            ),
        ),
        Mistake(
            "Adam keeps two means, not one.",
            (
                lambda layers, p, shard: (
                    bytes_held(layers, p, shard)
                    - 4.0 * sum(layers) / (1 if shard == "nothing" else p)
                ),
            ),
        ),
        Mistake(
            "where the means alone are divided, weights and gradients stay whole.",
            (
                lambda layers, p, shard: (
                    16.0 * sum(layers) / p if shard == "means" else bytes_held(layers, p, shard)
                ),
            ),
        ),
        Mistake(
            "that is half precision: a float32 has 4 bytes.",
            (lambda layers, p, shard: bytes_held(layers, p, shard) / 2,),
        ),
        Mistake(
            "whole bytes. Divided parts need not come out whole: divide with /.",
            (lambda layers, p, shard: float(bytes_held(layers, p, shard) // 1),),
        ),
        Mistake(
            "all layers whole at once. Each is thrown away when it has computed: take the largest.",
            (
                lambda layers, p, shard: (
                    16.0 * sum(layers) / p + 8.0 * sum(layers)
                    if shard == "all"
                    else bytes_held(layers, p, shard)
                ),
            ),
        ),
    ),
    hints=(
        "Four kinds of 4 bytes a weight: weight, gradient, and Adam's two means.",
        "What is divided counts 1/p of itself, all else counts whole.",
        "With all divided, add the largest layer: its weights and its gradient, whole.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
