"""The exercises of chapter 20, Discrete codes: VQ-VAE."""

import math
from typing import Any

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from course_utils.exercises.grading import Case, Exercise, Mistake


# 20.1 --------------------------------------------------------------------------------------------
# Inside the cell of e_j the force on z is slope + 2 β (z − e_j): constant plus a spring. It is zero
# at e_j − slope / (2 β). z gets there if that place lies in the cell, which ends half-way to the
# next value on that side. If not, z leaves the cell first.
def rests(values: np.ndarray, slopes: np.ndarray, commitment: float) -> np.ndarray:
    """Where z comes to rest in each cell, inf where it leaves: (K,), (K,) -> (K,)."""
    places = np.asarray(values) - np.asarray(slopes) / (2 * commitment)
    own = np.abs(places[:, None] - np.asarray(values)[None, :]).argmin(axis=1)
    return np.where(own == np.arange(len(places)), places, math.inf)


def _cases_1() -> list[Case]:
    rng = np.random.default_rng(201)
    values = rng.permutation(rng.uniform(-3, 3, size=8))
    return [
        {
            "values": np.array([-1.0, 0.5, 2.0]),
            "slopes": np.array([-4.2, -1.2, 1.8]),
            "commitment": 1.0,
        },
        {  # the nearest other value lies on the far side: it does not matter
            "values": np.array([0.0, -0.2, 3.0]),
            "slopes": np.array([-2.0, 0.1, -0.5]),
            "commitment": 1.0,
        },
        {  # past the border and into a cell beyond the next one
            "values": np.array([0.4, 1.0, 2.0, -0.5]),
            "slopes": np.array([-1.3, 0.2, -2.0, -2.4]),
            "commitment": 0.5,
        },
        {"values": values, "slopes": rng.normal(size=8), "commitment": 0.7},
        {"values": values, "slopes": 3 * rng.normal(size=8), "commitment": 2.5},
        {"values": np.array([1.5]), "slopes": np.array([-7.0]), "commitment": 0.1},
    ]


def _rests_with(place: Any, inside: Any = None) -> Any:
    def answer(values: np.ndarray, slopes: np.ndarray, commitment: float) -> np.ndarray:
        places = place(values, slopes, commitment)
        if inside is not None:
            stays = inside(values, places)
        else:
            own = np.abs(places[:, None] - values[None, :]).argmin(axis=1)
            stays = own == np.arange(len(values))
        return np.where(stays, places, math.inf)

    return answer


def _place(values: np.ndarray, slopes: np.ndarray, commitment: float) -> np.ndarray:
    return values - slopes / (2 * commitment)


def _smallest_gap(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    gaps = np.abs(values[:, None] - values[None, :]) + np.diag(np.full(len(values), np.inf))
    return np.abs(places - values) < gaps.min(axis=1) / 2


def _as_listed(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    middles = (values[1:] + values[:-1]) / 2
    low, high = np.append(-np.inf, middles), np.append(middles, np.inf)
    return (low < places) & (places < high)


def _to_the_next_value(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    ordered = np.sort(values)
    ranks = np.searchsorted(ordered, values)
    padded = np.concatenate([[-np.inf], ordered, [np.inf]])
    return (padded[ranks] < places) & (places < padded[ranks + 2])


EXERCISE_1 = Exercise(
    number="20.1",
    solution=(rests,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "the factor 2 is missing: the slope of β (z − e)² is 2 β (z − e).",
            (_rests_with(lambda v, s, b: v - s / b),),
        ),
        Mistake(
            "the wrong side. z runs down: against the slope.",
            (_rests_with(lambda v, s, b: v + s / (2 * b)),),
        ),
        Mistake(
            "no look at the borders. A place in another cell is never reached: inf.",
            (_rests_with(_place, lambda v, p: np.full(len(v), True)),),
        ),
        Mistake(
            "the distance to the nearest other value decides. It may lie on the other side.",
            (_rests_with(_place, _smallest_gap),),
        ),
        Mistake(
            "the values are in no order. Neighbours in the list need not be neighbours.",
            (_rests_with(_place, _as_listed),),
        ),
        Mistake(
            "a cell ends half-way to the next value, not at it.",
            (_rests_with(_place, _to_the_next_value),),
        ),
        Mistake(
            "the force does not move the value: e_j is given as the place of rest.",
            (_rests_with(lambda v, s, b: v + 0 * s),),
        ),
    ),
    hints=(
        "Two forces act on z: the slope, straight through, and the commitment's 2 β (z − e_j).",
        "They cancel at one place. Is e_j still the nearest value there?",
        "np.abs(places[:, None] - values).argmin(axis=1) says whose cell each place lies in.",
    ),
)


# 20.2 --------------------------------------------------------------------------------------------
# The decoder's gradient goes straight through to z and not to the codebook. The codebook loss
# reaches the codebook alone, the commitment z alone; a row chosen by several vectors adds them up.
def vq_gradients(
    z: np.ndarray, codebook: np.ndarray, upstream: np.ndarray, commitment: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of (20.7) for z and for the codebook: (n, r), (K, r), (n, r) -> (n, r), (K, r)."""
    z, codebook, upstream = (np.asarray(a, dtype=float) for a in (z, codebook, upstream))
    codes = ((z[:, None] - codebook[None]) ** 2).sum(axis=2).argmin(axis=1)
    off = z - codebook[codes]
    for_codebook = np.zeros_like(codebook)
    np.add.at(for_codebook, codes, -2 * off)
    return upstream + 2 * commitment * off, for_codebook


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(202)

    def case(n: int, k: int, r: int, commitment: float) -> Case:
        return {
            "z": rng.normal(size=(n, r)),
            "codebook": rng.normal(size=(k, r)),
            "upstream": rng.normal(size=(n, r)),
            "commitment": commitment,
        }

    return [
        {
            "z": np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.5]]),
            "codebook": np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 2.0]]),
            "upstream": np.array([[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]]),
            "commitment": 0.25,
        },
        case(7, 3, 4, 0.25),
        case(4, 9, 3, 1.5),
        case(5, 2, 2, 0.0),
    ]


def _gradients_with(for_z: Any = None, for_codebook: Any = None) -> Any:
    def answer(
        z: np.ndarray, codebook: np.ndarray, upstream: np.ndarray, commitment: float
    ) -> tuple[np.ndarray, np.ndarray]:
        right = vq_gradients(z, codebook, upstream, commitment)
        codes = ((z[:, None] - codebook[None]) ** 2).sum(axis=2).argmin(axis=1)
        one_hot = np.eye(len(codebook))[codes]
        off = z - codebook[codes]
        return (
            for_z(off, upstream, commitment) if for_z else right[0],
            for_codebook(one_hot, off, upstream, commitment) if for_codebook else right[1],
        )

    return answer


def _last_one_counts(
    z: np.ndarray, codebook: np.ndarray, upstream: np.ndarray, commitment: float
) -> tuple[np.ndarray, np.ndarray]:
    codes = ((z[:, None] - codebook[None]) ** 2).sum(axis=2).argmin(axis=1)
    for_codebook = np.zeros_like(codebook)
    for_codebook[codes] += -2 * (z - codebook[codes])  # a repeated index is written once
    return vq_gradients(z, codebook, upstream, commitment)[0], for_codebook


EXERCISE_2 = Exercise(
    number="20.2",
    solution=(vq_gradients,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "β stands before the codebook loss. It weighs the commitment, which moves z.",
            (
                _gradients_with(
                    for_z=lambda off, up, b: up + 2 * off,
                    for_codebook=lambda hot, off, up, b: -2 * b * hot.T @ off,
                ),
            ),
        ),
        Mistake(
            "z gets no gradient through the choice. Straight through hands it on as it is.",
            (_gradients_with(for_z=lambda off, up, b: 2 * b * off),),
        ),
        Mistake(
            "the codebook gets the decoder's gradient too. Straight through gives it to z alone.",
            (_gradients_with(for_codebook=lambda hot, off, up, b: hot.T @ (up - 2 * off)),),
        ),
        Mistake(
            "the codebook loss moves z as well: sg[z] holds z still.",
            (_gradients_with(for_z=lambda off, up, b: up + 2 * (1 + b) * off),),
        ),
        Mistake(
            "the commitment moves the codebook as well: sg[e] holds it still.",
            (_gradients_with(for_codebook=lambda hot, off, up, b: -2 * (1 + b) * hot.T @ off),),
        ),
        Mistake(
            "a sign: the codebook's gradient points from z to e, so that a step down goes to z.",
            (_gradients_with(for_codebook=lambda hot, off, up, b: 2 * hot.T @ off),),
        ),
        Mistake(
            "a row that several vectors chose keeps one of them. Add them: np.add.at.",
            (_last_one_counts,),
        ),
        Mistake(
            "a mean over the vectors of a row. The loss is a sum.",
            (
                _gradients_with(
                    for_codebook=lambda hot, off, up, b: (
                        -2 * hot.T @ off / np.maximum(hot.sum(axis=0), 1)[:, None]
                    )
                ),
            ),
        ),
        Mistake(
            "the factor 2 of a square's derivative is missing.",
            (
                _gradients_with(
                    for_z=lambda off, up, b: up + b * off,
                    for_codebook=lambda hot, off, up, b: -hot.T @ off,
                ),
            ),
        ),
    ),
    hints=(
        "Find the codes first. Which of the three terms may move z, and which the codebook?",
        "Two terms move z: the squared error, straight through, and the commitment. One moves the"
        " codebook.",
        "np.add.at(gradient, codes, rows) adds rows, also where an index comes twice.",
    ),
)


# 20.3 --------------------------------------------------------------------------------------------
# If each place has a value of its own, each of its perplexities is 1 and that of all codes is m.
# The converse cannot be: if all codes are one value, so are those of each place.
def perplexities(codes: np.ndarray, n_values: int) -> tuple[np.ndarray, float]:
    """Perplexity of each place and of all codes together: (n, m) -> (m,), one number."""

    def perplexity(column: np.ndarray) -> float:
        p = np.bincount(column, minlength=n_values) / len(column)
        return float(np.exp(special.entr(p).sum()))

    codes = np.asarray(codes)
    return np.array([perplexity(column) for column in codes.T]), perplexity(codes.ravel())


def _cases_3() -> list[Case]:
    rng = np.random.default_rng(203)
    constants = np.tile(np.arange(4), (6, 1))  # each place has a value of its own
    return [
        {"codes": np.array([[0, 2], [1, 2], [0, 2], [1, 2]]), "n_values": 4},
        {"codes": rng.integers(0, 8, size=(50, 5)), "n_values": 8},
        {"codes": constants, "n_values": 5},
        {"codes": (rng.exponential(size=(40, 3)) * 2).astype(int).clip(0, 9), "n_values": 12},
    ]


def _perplexities_with(one: Any, pooled: Any = None, axis: int = 1) -> Any:
    def answer(codes: np.ndarray, n_values: int) -> tuple[np.ndarray, float]:
        columns = codes.T if axis == 1 else codes
        each = np.array([one(column, n_values) for column in columns])
        return each, (pooled(each) if pooled else one(codes.ravel(), n_values))

    return answer


def _shares(column: np.ndarray, n_values: int) -> np.ndarray:
    return np.bincount(column, minlength=n_values) / len(column)


def _right(column: np.ndarray, n_values: int) -> float:
    return float(np.exp(special.entr(_shares(column, n_values)).sum()))


def _unused_are_nan(column: np.ndarray, n_values: int) -> float:
    p = _shares(column, n_values)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.exp(-(p * np.log(p)).sum()))


EXERCISE_3 = Exercise(
    number="20.3",
    solution=(perplexities,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "a value that nobody uses makes 0 · ln 0. It counts as 0.",
            (_perplexities_with(_unused_are_nan),),
        ),
        Mistake(
            "bits in an exponential of nats: exp goes with ln, and 2^ with log2.",
            (
                _perplexities_with(
                    lambda c, k: float(np.exp(special.entr(_shares(c, k)).sum() / np.log(2)))
                ),
            ),
        ),
        Mistake(
            "the entropy, not its exponential.",
            (_perplexities_with(lambda c, k: float(special.entr(_shares(c, k)).sum())),),
        ),
        Mistake(
            "the number of values in use. Perplexity weighs them by their shares.",
            (_perplexities_with(lambda c, k: float(len(np.unique(c)))),),
        ),
        Mistake(
            "the mean of the places for all together. Places may differ in which values they use.",
            (_perplexities_with(_right, pooled=np.mean),),
        ),
        Mistake(
            "one number for each image. A place is a column of codes.",
            (_perplexities_with(_right, axis=0),),
        ),
        Mistake(
            "divided by n_values: a share, not a number of values.",
            (_perplexities_with(lambda c, k: _right(c, k) / k),),
        ),
    ),
    hints=(
        "np.bincount(column, minlength=n_values) counts. Divide by the number of codes counted.",
        "−Σ p ln p, with 0 for p = 0: scipy.special.entr(p).sum(). Then the exponential.",
        "Once for each column, and once for codes.ravel().",
    ),
)


# 20.4 --------------------------------------------------------------------------------------------
def code_bits(logits: np.ndarray, codes: np.ndarray) -> float:
    """Mean bits of an image's codes: (n, m, K), (n, m) -> one number."""
    logits, codes = np.asarray(logits, dtype=float), np.asarray(codes)
    log_p = special.log_softmax(logits, axis=2)
    chosen = np.take_along_axis(log_p, codes[:, :, None], axis=2)[:, :, 0]  # (n, m)
    return float(-chosen.sum(axis=1).mean() / np.log(2))


def _cases_4() -> list[Case]:
    rng = np.random.default_rng(204)

    def case(n: int, m: int, k: int, size: float, shift: float = 0.0) -> Case:
        return {
            "logits": shift + size * rng.normal(size=(n, m, k)),
            "codes": rng.integers(0, k, size=(n, m)),
        }

    apart = rng.normal(size=(3, 4, 5)) + np.array([900.0, -900.0, 0.0, -900.0])[:, None]
    apart[:, 2, :2] = 900.0, -900.0
    return [
        {
            "logits": np.log([[[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]]]),
            "codes": np.array([[1, 0]]),  # 2 + 3 bits
        },
        case(6, 4, 5, 2.0),
        case(4, 4, 4, 1.0, shift=900.0),
        case(3, 5, 6, 300.0),
        case(5, 1, 3, 1.5),
        {
            "logits": apart,
            "codes": np.arange(12).reshape(3, 4) % 5,
        },  # each place has its own largest
    ]


def _largest_of_all(logits: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        lower = logits - logits.max()
        return lower - np.log(np.exp(lower).sum(axis=2, keepdims=True))


def _bits_with(log_p: Any = None, reduce: Any = None) -> Any:
    def answer(logits: np.ndarray, codes: np.ndarray) -> float:
        table = log_p(logits) if log_p else special.log_softmax(logits, axis=2)
        chosen = np.take_along_axis(table, codes[:, :, None], axis=2)[:, :, 0]
        return float(reduce(chosen) if reduce else -chosen.sum(axis=1).mean() / np.log(2))

    return answer


def _overflows(logits: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        return np.log(p)


def _floored(logits: np.ndarray) -> np.ndarray:
    return np.log(special.softmax(logits, axis=2) + 1e-12)


def _one_on(logits: np.ndarray, codes: np.ndarray) -> float:
    return code_bits(np.roll(logits, 1, axis=1), codes)


EXERCISE_4 = Exercise(
    number="20.4",
    solution=(code_bits,),
    cases=_cases_4,
    mistakes=(
        Mistake("nats. Divide by ln 2.", (_bits_with(reduce=lambda c: -c.sum(axis=1).mean()),)),
        Mistake(
            "a mean over places. An image pays for all of its codes.",
            (_bits_with(reduce=lambda c: -c.mean() / np.log(2)),),
        ),
        Mistake(
            "a sum over images. Asked for is a mean.",
            (_bits_with(reduce=lambda c: -c.sum() / np.log(2)),),
        ),
        Mistake(
            "exp of a large logit overflows. Take the largest out first: log_softmax.",
            (_bits_with(_overflows),),
        ),
        Mistake(
            "the largest of all logits taken out. Each place needs its own: axis=2, keepdims.",
            (_bits_with(_largest_of_all),),
        ),
        Mistake(
            "a floor under the probability hides an expensive code: log_softmax needs none.",
            (_bits_with(_floored),),
        ),
        Mistake(
            "logits of the place before. logits[:, i] is for code i, given the codes before it.",
            (_one_on,),
        ),
        Mistake(
            "logits taken for logarithms of probabilities. They need not add up to one.",
            (_bits_with(lambda logits: logits),),
        ),
        Mistake(
            "the logarithm of the mean probability. Each image pays its own logarithm.",
            (
                _bits_with(
                    reduce=lambda c: -np.log2(np.maximum(np.exp(c.sum(axis=1)).mean(), 1e-300))
                ),
            ),
        ),
    ),
    hints=(
        "scipy.special.log_softmax(logits, axis=2) holds ln p of every value at every place.",
        "np.take_along_axis picks the one that was chosen.",
        "A sum over places, a mean over images, and ln 2 nats are a bit.",
    ),
)


# 20.5 --------------------------------------------------------------------------------------------
# The gradient of a share by the logit i is, for small temperatures, large only where two values are
# nearly tied. Values i and j trade places at the rate p_i p_j. There half of the draws have chosen
# i and half j, so the slope is taken half at v_i and half at v_j: the trapezium rule for
# f(v_i) − f(v_j).
def straight_through_limit(logits: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> Any:
    """The limit of straight-through Gumbel for small temperatures: (K,), (K,), (K,) -> (K,)."""
    p = special.softmax(np.asarray(logits, dtype=float))
    v, s = np.asarray(values, dtype=float), np.asarray(slopes, dtype=float)
    promised = (s[:, None] + s[None, :]) / 2 * (v[:, None] - v[None, :])
    return p * (promised @ p)


def _cases_5() -> list[Case]:
    rng = np.random.default_rng(205)
    v = np.array([-1.0, 0.5, 2.0])
    random = rng.normal(size=6)
    return [
        {"logits": np.array([0.5, 0.0, -1.0]), "values": v, "slopes": 3 * v**2},
        {"logits": rng.normal(size=6), "values": random, "slopes": np.cos(random)},
        {
            "logits": np.array([800.0, 801.0, 799.0, 0.0]),
            "values": np.arange(4.0),
            "slopes": np.array([1.0, -2.0, 0.5, 3.0]),
        },
        {
            "logits": rng.normal(size=2),
            "values": np.array([1.0, -2.0]),
            "slopes": np.array([0.3, 0.9]),
        },
    ]


def _limit_with(promised: Any, shares: Any = special.softmax) -> Any:
    def answer(logits: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        p = shares(logits)
        v, s = values, slopes
        return p * (promised(s[:, None], s[None, :], v[:, None] - v[None, :], v) @ p)

    return answer


def _no_care(logits: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        w = np.exp(logits)
        return w / w.sum()


EXERCISE_5 = Exercise(
    number="20.5",
    solution=(straight_through_limit,),
    cases=_cases_5,
    mistakes=(
        Mistake(
            "the slope at i alone. Half of the draws near the border have chosen j.",
            (_limit_with(lambda s_i, s_j, gap, v: s_i * gap),),
        ),
        Mistake(
            "the slope at j alone. Half of the draws near the border have chosen i.",
            (_limit_with(lambda s_i, s_j, gap, v: s_j * gap),),
        ),
        Mistake(
            "the two slopes added: each holds for half of the draws.",
            (_limit_with(lambda s_i, s_j, gap, v: (s_i + s_j) * gap),),
        ),
        Mistake(
            "the wrong sign: logit i moves shares from j to i, so v_i − v_j.",
            (_limit_with(lambda s_i, s_j, gap, v: -(s_i + s_j) / 2 * gap),),
        ),
        Mistake(
            "the exact gradient's form with slope times value for f. Pair the values.",
            (
                lambda logits, values, slopes: (
                    special.softmax(logits)
                    * (slopes * values - special.softmax(logits) @ (slopes * values))
                ),
            ),
        ),
        Mistake(
            "the exponential of a large logit. Take the largest out first.",
            (_limit_with(lambda s_i, s_j, gap, v: (s_i + s_j) / 2 * gap, shares=_no_care),),
        ),
        Mistake(
            "all pairs weighted alike: values i and j trade places at the rate p_i p_j.",
            (
                lambda logits, values, slopes: straight_through_limit(
                    np.zeros(len(values)), values, slopes
                ),
            ),
        ),
    ),
    hints=(
        "Begin with the exact gradient as a sum over pairs: p_i p_j (f(v_i) − f(v_j)).",
        "What does straight through put in place of f(v_i) − f(v_j), when i has just won? And j?",
        "The mean of the two: ½ (f′(v_i) + f′(v_j)) (v_i − v_j).",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
