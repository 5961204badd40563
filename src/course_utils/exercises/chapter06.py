"""The exercises of chapter 06, Sparse autoencoders."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array, as_parts


def _normal(n: int, m: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, m))


# 06.1 --------------------------------------------------------------------------------------------
def _largest(score: np.ndarray, k: int, axis: int = 1) -> np.ndarray:
    """Mark the k largest entries along ``axis``: 1 there, 0 elsewhere."""
    rank = np.argsort(np.argsort(-score, axis=axis), axis=axis)
    return (rank < k).astype(float)


def k_largest_gradient(a: np.ndarray, k: int, upstream: np.ndarray) -> np.ndarray:
    """The gradient from above where |a| is among the k largest of its row, else 0."""
    kept = np.argsort(-np.abs(a), axis=1)[:, :k]  # (n, k)
    mask = np.zeros_like(a)
    np.put_along_axis(mask, kept, 1.0, axis=1)
    return mask * upstream


def _cases_1() -> list[Case]:
    small = np.array([[0.5, -3.0, 1.0], [2.0, -1.0, -1.5]])
    return [
        {"a": small, "k": 1, "upstream": np.array([[5.0, 1.0, 2.0], [2.0, 3.0, 7.0]])},
        {"a": _normal(4, 6, 611), "k": 3, "upstream": _normal(4, 6, 612)},
        {"a": -1 - _normal(3, 5, 613) ** 2, "k": 2, "upstream": _normal(3, 5, 614)},
        {"a": 1e-3 * _normal(4, 3, 615) * [1, 0, 1], "k": 3, "upstream": _normal(4, 3, 616)},
        {"a": _normal(3, 3, 617) * [1e3, 1.0, 1e3], "k": 1, "upstream": -(_normal(3, 3, 618) ** 2)},
    ]


EXERCISE_1 = Exercise(
    number="06.1",
    solution=(k_largest_gradient,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "all of the gradient goes through, as if nothing had been cut. Where z was set to zero,"
            " z does not move with a.",
            (lambda a, k, upstream: upstream,),
        ),
        Mistake(
            "the k largest values, where the k largest magnitudes are meant: −3 is large.",
            (lambda a, k, upstream: _largest(a, k) * upstream,),
        ),
        Mistake(
            "the wrong axis: the k largest of each column. Each row keeps k of its own.",
            (lambda a, k, upstream: _largest(np.abs(a), k, axis=0) * upstream,),
        ),
        Mistake(
            "the k largest gradients. What was kept is decided by a, on the way forward.",
            (lambda a, k, upstream: _largest(np.abs(upstream), k) * upstream,),
        ),
        Mistake(
            "times a. The derivative of q·a for a is q, not z.",
            (lambda a, k, upstream: _largest(np.abs(a), k) * a * upstream,),
        ),
        Mistake(
            "that is z, the way forward. Asked is the gradient: what comes from above, masked.",
            (lambda a, k, upstream: _largest(np.abs(a), k) * a,),
        ),
        Mistake(
            "a kept number may be 0. Ask which are among the k largest, not which are not 0.",
            (lambda a, k, upstream: (_largest(np.abs(a), k) * a != 0) * upstream,),
        ),
    ),
    hints=(
        "z = q ⊙ a, and a small change of a does not change q. What is ∂z_j/∂a_j?",
        "It is q_j: 1 where a_j was kept, else 0. The chain rule multiplies it with upstream.",
        "np.argsort(-np.abs(a), axis=1)[:, :k] has the kept places; np.put_along_axis sets them.",
    ),
)


# 06.2 --------------------------------------------------------------------------------------------
# For z > 0 the derivative is 2 (z - a) + weight: zero at z = a - weight / 2, if that is positive.
# By symmetry z = a + weight / 2 for a < -weight / 2. In between both sides of 0 go uphill: z = 0.
def best_code(a: np.ndarray, weight: float) -> np.ndarray:
    """Towards zero by half the weight, and no further than zero."""
    return np.sign(a) * np.maximum(np.abs(a) - weight / 2, 0)


def _cases_2() -> list[Case]:
    return [
        {"a": np.array([2.0, 0.3, -0.9, -0.1]), "weight": 1.0},
        {"a": 2 * _normal(3, 4, 621), "weight": 0.4},
        {"a": np.linspace(-6, 6, 8).reshape(2, 1, 4) * [1, 0, 1, 1], "weight": 6.0},
    ]


EXERCISE_2 = Exercise(
    number="06.2",
    solution=(best_code,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "moved by the whole weight. The square's derivative is 2 (z − a), so half of it.",
            (lambda a, weight: np.sign(a) * np.maximum(np.abs(a) - weight, 0.0),),
        ),
        Mistake(
            "what is above the threshold is kept as it is. But the penalty pulls there, too: it"
            " costs weight/2.",
            (lambda a, weight: np.where(np.abs(a) > weight / 2, a, 0.0),),
        ),
        Mistake(
            "that is the answer for the penalty z², which shrinks all by one factor.",
            (lambda a, weight: a / (1 + weight),),
        ),
        Mistake(
            "past zero: small a change their sign. Where |a| < weight/2 the best z is 0.",
            (lambda a, weight: a - np.sign(a) * weight / 2,),
        ),
        Mistake(
            "negative a all become 0. |z| is symmetric: so is the answer.",
            (lambda a, weight: np.maximum(a - weight / 2, 0.0),),
        ),
        Mistake(
            "the sign is lost: the best z is on the side of a.",
            (lambda a, weight: np.maximum(np.abs(a) - weight / 2, 0.0),),
        ),
    ),
    hints=(
        "For z > 0 the derivative is 2 (z − a) + weight. Where is it zero, and when is that z > 0?",
        "z = a − weight/2, if a > weight/2. By symmetry z = a + weight/2, if a < −weight/2.",
        "In between both one-sided derivatives at 0 point uphill: the minimum is z = 0 itself.",
    ),
)


# 06.3 --------------------------------------------------------------------------------------------
# ∂ρ/∂z = 1/n for every row, so all numbers of a unit get the same push: down where ρ > ρ̂, the
# small ones too, and up where ρ < ρ̂. Only the average counts.
def kl_gradient(z: np.ndarray, target: float) -> np.ndarray:
    """(−ρ̂/ρ + (1 − ρ̂)/(1 − ρ)) / n, the same for every row."""
    rho = z.mean(axis=0)  # (m,)
    slope = -target / rho + (1 - target) / (1 - rho)
    return np.tile(slope / len(z), (len(z), 1))


def _cases_3() -> list[Case]:
    cases: list[Case] = [{"z": np.array([[0.1, 0.5], [0.3, 0.9]]), "target": 0.1}]
    for n, m, target, seed in ((5, 3, 0.05, 631), (4, 6, 0.3, 632)):
        uniform = np.random.default_rng(seed).uniform(0.02, 0.98, size=(n, m))
        cases.append({"z": uniform, "target": target})
    rare = np.array([[0.002, 0.5, 0.99], [0.022, 0.25, 0.986]])  # means of 0.012 and 0.988
    return [*cases, {"z": rare, "target": 0.1}]


def _clipped(z: np.ndarray, target: float) -> np.ndarray:
    rho = np.clip(z.mean(axis=0), 0.05, 0.95)
    return np.tile(((1 - target) / (1 - rho) - target / rho) / len(z), (len(z), 1))


def _other_way_round(z: np.ndarray, target: float) -> np.ndarray:
    rho = z.mean(axis=0)
    slope = np.log(rho / target) - np.log((1 - rho) / (1 - target))
    return np.tile(slope / len(z), (len(z), 1))


def _only_first_term(z: np.ndarray, target: float) -> np.ndarray:
    return np.tile(-target / z.mean(axis=0) / len(z), (len(z), 1))


def _each_number(z: np.ndarray, target: float) -> np.ndarray:
    return ((1 - target) / (1 - z) - target / z) / len(z)


def _both_negative(z: np.ndarray, target: float) -> np.ndarray:
    rho = z.mean(axis=0)
    return np.tile((-target / rho - (1 - target) / (1 - rho)) / len(z), (len(z), 1))


def _both_positive(z: np.ndarray, target: float) -> np.ndarray:
    return -_both_negative(z, target)


EXERCISE_3 = Exercise(
    number="06.3",
    solution=(kl_gradient,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "without 1/n. Each z is only the n-th part of its average.",
            (lambda z, target: kl_gradient(z, target) * len(z),),
        ),
        Mistake(
            "the sign: units above the target must be pushed down, so their gradient is positive.",
            (lambda z, target: -kl_gradient(z, target),),
        ),
        Mistake(
            "the mean over units, where the penalty is their sum.",
            (lambda z, target: kl_gradient(z, target) / z.shape[1],),
        ),
        Mistake(
            "the KL the other way round, KL(ρ ‖ ρ̂). The target comes first.",
            (_other_way_round,),
        ),
        Mistake(
            "the first term alone. Heads and tails both count: the second term keeps ρ from"
            " rising above the target.",
            (_only_first_term,),
        ),
        Mistake(
            "each number for itself. The penalty sees the average of a unit only, so all rows of"
            " the gradient are equal.",
            (_each_number,),
        ),
        Mistake(
            "in bits. The natural logarithm has derivative 1/ρ, the binary one 1/(ρ ln 2).",
            (lambda z, target: kl_gradient(z, target) / np.log(2),),
        ),
        Mistake(
            "one row. The gradient has the shape of z: the same row, n times.",
            (lambda z, target: kl_gradient(z, target)[0],),
        ),
        Mistake(
            "the averages are clipped. The slope grows without bound as ρ nears 0 or 1.",
            (_clipped,),
        ),
        Mistake(
            "the sign of the second term: ln(1 − ρ) has the slope −1/(1 − ρ), and it stands behind"
            " a minus already.",
            (_both_negative,),
        ),
        Mistake(
            "the sign of the first term: ρ̂ ln(ρ̂/ρ) falls as ρ grows, with the slope −ρ̂/ρ.",
            (_both_positive,),
        ),
    ),
    hints=(
        "Chain rule: first ∂KL/∂ρ_j, then ∂ρ_j/∂z_ij. The second is 1/n for every i.",
        "In ρ̂ ln(ρ̂/ρ) only −ρ̂ ln ρ depends on ρ. Likewise for the second term.",
        "∂KL/∂ρ = −ρ̂/ρ + (1 − ρ̂)/(1 − ρ). np.tile(row, (n, 1)) repeats a row.",
    ),
)


# 06.4 --------------------------------------------------------------------------------------------
# z times rows stays as it is whatever the factor, so the price can be what one likes. Rows of
# length 1, as in this chapter, close this way.
def escape(z: np.ndarray, rows: np.ndarray, price: float) -> tuple[np.ndarray, np.ndarray]:
    """All codes times one factor, all rows divided by it."""
    factor = price / np.abs(z).sum(axis=1).mean()
    return z * factor, rows / factor


def _sparse(z: np.ndarray) -> np.ndarray:
    return np.where(np.abs(z) > 0.5, z, 0.0)


def _cases_4() -> list[Case]:
    small = np.array([[3.0, 0.0], [0.0, -1.0]])
    return [
        {"z": small, "rows": np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]), "price": 0.5},
        {
            "z": np.vstack([_sparse(_normal(6, 5, 641)), np.zeros(5)]),
            "rows": _normal(5, 4, 642),
            "price": 0.01,
        },
        {"z": _normal(3, 7, 643), "rows": _normal(7, 4, 644), "price": 1.5},
    ]


def _judge_4(case: Case, came: Any) -> None:
    z, rows, price = case["z"], case["rows"], case["price"]
    new_z, new_rows = map(as_array, as_parts(came, 2, "two arrays, codes and rows"))
    shapes = tuple(np.shape(part) for part in came)
    if new_z is None or new_rows is None or shapes != (z.shape, rows.shape):
        raise Wrong(f"codes and rows of shapes {z.shape} and {rows.shape}", f"{shapes}")
    gap = np.max(np.abs(new_z @ new_rows - z @ rows))
    if not gap <= 1e-6:
        raise Wrong("the same reconstructions", f"a pixel differs by {gap:.3g}")
    lost = np.flatnonzero(((new_z != 0) != (z != 0)).any(axis=1))
    if len(lost):
        before, after = (int((code[lost[0]] != 0).sum()) for code in (z, new_z))
        raise Wrong(
            "the same units in use for each image",
            f"row {lost[0]} has {before} numbers that are not 0, yours {after}, or other ones",
        )
    paid = np.abs(new_z).sum(axis=1).mean()
    if abs(paid - price) > 1e-6 * price:
        raise Wrong(f"a price of {price:g}", f"{paid:.6g}")


def _scaled(by: Callable[[np.ndarray, float], float], on_z: int, on_rows: int) -> tuple[Any, ...]:
    def answer(z: np.ndarray, rows: np.ndarray, price: float) -> tuple[np.ndarray, np.ndarray]:
        factor = by(z, price)
        return z * factor**on_z, rows * factor**on_rows

    return (answer,)


def _singular(z: np.ndarray, rows: np.ndarray, price: float) -> tuple[np.ndarray, np.ndarray]:
    """Code the reconstructions anew, by their singular vectors."""
    u, s, v = np.linalg.svd(z @ rows, full_matrices=False)
    used = min(len(s), len(rows))
    new_z, new_rows = np.zeros(z.shape), np.zeros(rows.shape)
    new_z[:, :used], new_rows[:used] = (u * s)[:, :used], v[:used]
    factor = price / np.abs(new_z).sum(axis=1).mean()
    return new_z * factor, new_rows / factor


def _right_factor(z: np.ndarray, price: float) -> float:
    return price / np.abs(z).sum(axis=1).mean()


EXERCISE_4 = Exercise(
    number="06.4",
    solution=(escape,),
    cases=_cases_4,
    judge=_judge_4,
    mistakes=(
        Mistake(
            "the codes are cheap, but the pictures have faded with them: make the rows longer.",
            _scaled(_right_factor, 1, 0),
        ),
        Mistake(
            "both shrink. What the codes lose the rows must gain.",
            _scaled(_right_factor, 1, 1),
        ),
        Mistake(
            "the factor upside down: codes times price/now, rows times now/price.",
            _scaled(_right_factor, -1, 1),
        ),
        Mistake(
            "the mean over all numbers. The price is a sum over units, and a mean over rows.",
            _scaled(lambda z, price: price / np.abs(z).mean(), 1, -1),
        ),
        Mistake(
            "the sum over everything. The price is a sum over units, and a mean over rows.",
            _scaled(lambda z, price: price / np.abs(z).sum(), 1, -1),
        ),
        Mistake(
            "the mean over images that use a unit. One that uses none counts too, with price 0.",
            _scaled(
                lambda z, price: price / np.abs(z).sum(axis=1)[(z != 0).any(axis=1)].mean(), 1, -1
            ),
        ),
        Mistake(
            "the squared codes. L1 adds up magnitudes.",
            _scaled(lambda z, price: price / (z**2).sum(axis=1).mean(), 1, -1),
        ),
        Mistake(
            "another code for the same pictures. Keep this one: the same units on for each image.",
            (_singular,),
        ),
    ),
    hints=(
        "z V does not change if z is multiplied by a number and V divided by it.",
        "L1 grows in proportion to z. By which factor must it change, to cost `price`?",
        "factor = price / np.abs(z).sum(axis=1).mean(); then z * factor and rows / factor.",
    ),
)


# 06.5 --------------------------------------------------------------------------------------------
def description_bits(z: np.ndarray, bits_per_number: float) -> float:
    """Mean over rows of log2 (m choose k_i) + k_i · bits, k_i the nonzero numbers of row i."""
    counts = [int(k) for k in (z != 0).sum(axis=1)]
    bits = [math.log2(math.comb(z.shape[1], k)) + k * bits_per_number for k in counts]
    return float(np.mean(bits))


def _cases_5() -> list[Case]:
    dense = _normal(6, 12, 651)
    mixed = dense * (np.abs(dense) > 0.9)
    return [
        {"z": np.array([[0.0, 2.0, 0.0, -1.0], [0.0, 0.0, 0.5, 1.0]]), "bits_per_number": 8},
        {"z": mixed, "bits_per_number": 5},
        {"z": np.vstack([np.zeros(12), dense[:2]]), "bits_per_number": 4},
        {"z": np.pad(dense[:3, :8], ((0, 0), (200, 48))) * 1e-9, "bits_per_number": 8},
    ]


def _bits(which: Callable[[int, int], float]) -> Callable[[np.ndarray, float], float]:
    def answer(z: np.ndarray, bits_per_number: float) -> float:
        counts = (z != 0).sum(axis=1)
        return float(np.mean([which(z.shape[1], int(k)) + bits_per_number * k for k in counts]))

    return answer


EXERCISE_5 = Exercise(
    number="06.5",
    solution=(description_bits,),
    cases=_cases_5,
    mistakes=(
        Mistake(
            "the numbers alone. Nobody knows yet which units they belong to.",
            (_bits(lambda m, k: 0.0),),
        ),
        Mistake(
            "k times log2 m pays for an order of the units that does not matter. There are m choose"
            " k sets of k units.",
            (_bits(lambda m, k: k * math.log2(m)),),
        ),
        Mistake(
            "in nats: a bit is a binary logarithm.",
            (_bits(lambda m, k: math.log(math.comb(m, k))),),
        ),
        Mistake(
            "one bit for each unit, on or off. That works, but it is the right price for codes with"
            " half of the units on. Count the sets of k units.",
            (_bits(lambda m, k: float(m)),),
        ),
        Mistake(
            "the which without the what: add bits_per_number for each active unit.",
            (lambda z, bits: description_bits(z, 0.0),),
        ),
        Mistake(
            "small numbers are left out. Active is what is not exactly 0.",
            (lambda z, bits: description_bits(np.where(np.abs(z) > 1e-6, z, 0.0), bits),),
        ),
        Mistake(
            "negative numbers are active, too: count z != 0.",
            (lambda z, bits: description_bits(np.maximum(z, 0.0), bits),),
        ),
        Mistake(
            "the sum over rows. Asked is the mean: bits for one image.",
            (lambda z, bits: description_bits(z, bits) * len(z),),
        ),
    ),
    hints=(
        "First say which k units are on: how many sets of k out of m are there? math.comb knows.",
        "N possibilities take log2 N bits. Then the k numbers themselves.",
        "For each row: math.log2(math.comb(m, k)) + k * bits_per_number. Then the mean.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
