"""The exercises of chapter 16, Seven applications."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from course_utils.exercises.grading import Case, Exercise, Mistake


# 16.1 --------------------------------------------------------------------------------------------
def precision_at(distance: np.ndarray, y: np.ndarray, m: int) -> np.ndarray:
    """Mean share of the m nearest other images, over queries, that have the query's class (n,)."""
    others = distance + np.diag(np.full(len(y), np.inf))  # nobody finds himself
    near = np.argsort(others, axis=1)[:, :m]
    return (y[near] == y[:, None]).mean()


def _cases_1() -> list[Case]:
    def distances(x: np.ndarray) -> np.ndarray:
        return np.sqrt(((x[:, None] - x) ** 2).sum(axis=2))

    line = np.array([[0.0], [1.0], [3.0], [7.0], [12.0]])
    rng = np.random.default_rng(161)
    cloud, y = rng.normal(size=(30, 3)), rng.integers(0, 3, size=30)
    twins = rng.normal(size=(17, 2))
    twins = np.concatenate([twins, twins[:1]])  # two equal images of different classes
    return [
        {"distance": distances(line), "y": np.array([0, 0, 1, 1, 0]), "m": 2},
        {"distance": 1e12 * distances(cloud), "y": y, "m": 5},  # a large number is no infinity
        {"distance": distances(twins), "y": np.repeat([0, 1, 2], 6), "m": 3},
    ]


def _near(others: np.ndarray, m: int, axis: int = 1) -> np.ndarray:
    return np.argsort(others, axis=axis, kind="stable")[:, :m]


def _shared(others: np.ndarray, y: np.ndarray, m: int) -> Any:
    return np.mean(y[_near(others, m)] == y[:, None])


def _without_self(distance: np.ndarray) -> np.ndarray:
    return distance + np.diag(np.full(len(distance), np.inf))


EXERCISE_1 = Exercise(
    number="16.1",
    solution=(precision_at,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "the query finds itself, and counts as a hit. Leave it out.",
            (lambda distance, y, m: np.mean(y[_near(distance, m)] == y[:, None]),),
        ),
        Mistake(
            "distance 0 does not mark the query: an equal image has it too, and may stand first.",
            (lambda distance, y, m: np.mean(y[_near(distance, m + 1)[:, 1:]] == y[:, None]),),
        ),
        Mistake(
            "the farthest, not the nearest: a distance is small where images are alike.",
            (
                lambda distance, y, m: np.mean(
                    y[np.argsort(-distance, axis=1, kind="stable")[:, :m]] == y[:, None]
                ),
            ),
        ),
        Mistake(
            "whether any of the m is right. Precision is the share of them.",
            (
                lambda distance, y, m: np.mean(
                    (y[_near(_without_self(distance), m)] == y[:, None]).any(axis=1)
                ),
            ),
        ),
        Mistake(
            "a large number on the diagonal: distances may be larger. None is above np.inf.",
            (lambda distance, y, m: _shared(distance + 999 * np.eye(len(y)), y, m),),
        ),
        Mistake(
            "sorted along the wrong axis: row i holds the distances of query i. Sort in the row.",
            (lambda distance, y, m: np.mean(y[_near(distance, m, axis=0)] == y[:, None]),),
        ),
        Mistake(
            "the number of hits among the m nearest. Precision is their share: divide by m.",
            (lambda distance, y, m: m * precision_at(distance, y, m),),
        ),
    ),
    hints=(
        "Make sure that an image is never its own neighbour: what distance to itself does that?",
        "np.argsort(…, axis=1)[:, :m] gives the rows of the m nearest of each query.",
        "y[near] has shape (n, m); compare it with y[:, None] and take the mean.",
    ),
)


# 16.2 --------------------------------------------------------------------------------------------
# An anomaly's rank counts the scores below it, itself, and half of its ties. Summed over anomalies:
# (pairs won + ½ ties against normals) + the ranks 1 + 2 + … + a that they have among themselves.
def auroc(scores: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """P(score of an anomaly > of a normal one) + ½ P(they are equal), from ranks: (n,), (n,)."""
    a = anomalous.sum()
    won = stats.rankdata(scores)[anomalous].sum() - a * (a + 1) / 2
    return won / (a * (len(scores) - a))


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(162)
    coarse = rng.integers(0, 6, size=40).astype(float)  # many ties
    return [
        {
            "scores": np.array([1.0, 2.0, 2.0, 5.0, 3.0]),
            "anomalous": np.array([False, False, True, True, False]),
        },
        {"scores": coarse, "anomalous": coarse + 3 * rng.normal(size=40) > 4},
        {"scores": rng.normal(size=60), "anomalous": rng.random(60) < 0.2},
        {
            "scores": np.array([-3.0, 2e5, -1e6, 1e-12, 0.0, -3.0, 2e5, 0.0]),
            "anomalous": np.arange(8) % 3 == 1,
        },
    ]


def _pairs(compare: Callable[[Any, Any], Any]) -> Callable[[np.ndarray, np.ndarray], Any]:
    return lambda scores, anomalous: np.mean(
        compare(scores[anomalous][:, None], scores[~anomalous])
    )


def _by_argsort(scores: np.ndarray, anomalous: np.ndarray) -> float:
    a = anomalous.sum()
    won = (np.argsort(scores) + 1)[anomalous].sum() - a * (a + 1) / 2
    return float(won / (a * (len(scores) - a)))


EXERCISE_2 = Exercise(
    number="16.2",
    solution=(auroc,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "the sign of the score: an anomaly is found where its score is the *higher* one.",
            (lambda scores, anomalous: auroc(-scores, anomalous),),
        ),
        Mistake(
            "ties count as won. They count one half.",
            (_pairs(np.greater_equal),),
        ),
        Mistake(
            "ties count as lost. They count one half.",
            (_pairs(np.greater),),
        ),
        Mistake(
            "ties ranked in the order in which they stand: shuffle the images and it changes.",
            (
                lambda scores, anomalous: (
                    (
                        stats.rankdata(scores, method="ordinal")[anomalous].sum()
                        - anomalous.sum() * (anomalous.sum() + 1) / 2
                    )
                    / (anomalous.sum() * (~anomalous).sum())
                ),
            ),
        ),
        Mistake(
            "anomalies are ranked among each other too. Take 1 + 2 + … + a off the sum of ranks.",
            (
                lambda scores, anomalous: (
                    stats.rankdata(scores)[anomalous].sum() / (anomalous.sum() * (~anomalous).sum())
                ),
            ),
        ),
        Mistake(
            "divided by the number of all pairs. Only an anomaly and a normal image make a pair.",
            (
                lambda scores, anomalous: (
                    auroc(scores, anomalous)
                    * (anomalous.sum() * (~anomalous).sum())
                    / (len(scores) * (len(scores) - 1) / 2)
                ),
            ),
        ),
        Mistake(
            "argsort says which image stands at each place, not at which place each image stands."
            " stats.rankdata gives the ranks.",
            (_by_argsort,),
        ),
    ),
    hints=(
        "What does the rank of one anomaly count? All scores below it, itself, half of its ties.",
        "Sum the ranks of the a anomalies. Among themselves they hold 1 + 2 + … + a of the sum.",
        "(rank sum − a (a + 1) / 2) / (a · number of normal images).",
    ),
)


# 16.3 --------------------------------------------------------------------------------------------
def bits_per_image(train: np.ndarray, test: np.ndarray, n_values: int) -> float:
    """Mean bits of a test code (m, k) under the smoothed frequencies of training codes (n, k)."""
    bits = 0.0
    for j in range(train.shape[1]):
        counts = np.bincount(train[:, j], minlength=n_values) + 0.5
        bits -= np.log2(counts / counts.sum())[test[:, j]].mean()
    return bits


def _shares(codes: np.ndarray, n_values: int, extra: float = 0.5) -> list[np.ndarray]:
    counts = [np.bincount(column, minlength=n_values) + extra for column in codes.T]
    return [count / count.sum() for count in counts]


def _cases_3() -> list[Case]:
    rng = np.random.default_rng(163)
    train = rng.binomial(6, (0.2, 0.5, 0.8), size=(50, 3))
    return [
        {"train": np.array([[0], [0], [0], [1]]), "test": np.array([[0], [1]]), "n_values": 3},
        {"train": train, "test": rng.binomial(6, (0.3, 0.5, 0.6), size=(20, 3)), "n_values": 7},
        {"train": train[:, :2], "test": rng.integers(0, 9, size=(10, 2)), "n_values": 9},
    ]


def _pooled(train: np.ndarray, test: np.ndarray, n_values: int) -> np.ndarray:
    (share,) = _shares(train.reshape(-1, 1), n_values)
    return -np.log2(share[test]).sum(axis=1).mean()


def _over(extra: float) -> Callable[[np.ndarray, np.ndarray, int], float]:
    """Divide the counts, ½ added to each, by n and something."""

    def bits(train: np.ndarray, test: np.ndarray, n_values: int) -> float:
        shares = [
            (np.bincount(column, minlength=n_values) + 0.5) / (len(train) + extra)
            for column in train.T
        ]
        return float(-sum(np.log2(p[test[:, j]]).mean() for j, p in enumerate(shares)))

    return bits


EXERCISE_3 = Exercise(
    number="16.3",
    solution=(bits_per_image,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the natural logarithm gives nats. Bits need the base-2 logarithm.",
            (lambda train, test, n_values: bits_per_image(train, test, n_values) * np.log(2),),
        ),
        Mistake(
            "the frequencies of the test codes. The reader does not have them: they are a leak.",
            (lambda train, test, n_values: bits_per_image(test, test, n_values),),
        ),
        Mistake(
            "the entropy of the training codes. The price is that of the test codes.",
            (
                lambda train, test, n_values: (
                    -np.sum([(p * np.log2(p)).sum() for p in _shares(train, n_values)])
                ),
            ),
        ),
        Mistake(
            "one table for all code numbers. Each has its own frequencies.",
            (_pooled,),
        ),
        Mistake(
            "a mean over code numbers. An image pays for all of them: sum.",
            (lambda train, test, n_values: bits_per_image(train, test, n_values) / train.shape[1],),
        ),
        Mistake(
            "1 added to each count. The exercise adds one half.",
            (
                lambda train, test, n_values: (
                    -np.sum(
                        [
                            np.log2(p[test[:, j]]).mean()
                            for j, p in enumerate(_shares(train, n_values, 1.0))
                        ]
                    )
                ),
            ),
        ),
        Mistake(
            "n + ½ below the line. Each of the n_values counts gets ½, so together they are"
            " n + n_values / 2.",
            (_over(0.5),),
        ),
        Mistake(
            "n below the line: the shares then add up to more than 1. With their ½ the counts are"
            " n + n_values / 2 together.",
            (_over(0.0),),
        ),
        Mistake(
            "a sum over the test images. Asked is the mean.",
            (lambda train, test, n_values: bits_per_image(train, test, n_values) * len(test),),
        ),
    ),
    hints=(
        "One column at a time: np.bincount(column, minlength=n_values) + 0.5, then to shares.",
        "share[test[:, j]] looks up the probability of each test image's value.",
        "Sum −log2 of it over columns, mean over test images.",
    ),
)


# 16.4 --------------------------------------------------------------------------------------------
# The posterior mean z solves z (I + V Vᵀ/c) = (x - b) Vᵀ/c. Split the pixels: at rest x_m - b_m is
# z V_m, so the missing ones add z V_m V_mᵀ/c on both sides, and cancel. What is left is E[z|x_o],
# from the seen pixels alone, and x_m = b_m + z V_m is E[x_m|x_o], the mean of an exact chain's
# draws.
def resting_point(
    x: np.ndarray, seen: np.ndarray, v: np.ndarray, b: np.ndarray, c: float
) -> np.ndarray:
    """Where encode and decode with means, seen pixels (d,) kept, come to rest: (d,)."""
    v_seen = v[:, seen]
    precision = np.eye(len(v)) + v_seen @ v_seen.T / c
    z = np.linalg.solve(precision, v_seen @ (x[seen] - b[seen]) / c)
    return np.where(seen, x, z @ v + b)


def _cases_4() -> list[Case]:
    rng = np.random.default_rng(164)
    x, b = rng.normal(size=(2, 8))
    v = rng.normal(size=(3, 8))
    return [
        {
            "x": np.array([3.0, 9.0, 9.0]),
            "seen": np.array([True, False, False]),
            "v": np.array([[2.0, 1.0, -1.0]]),
            "b": np.array([1.0, 0.0, 5.0]),
            "c": 2.0,
        },
        {"x": x, "seen": np.arange(8) < 5, "v": v, "b": b, "c": 0.3},
        {"x": 4 * x, "seen": np.arange(8) % 3 != 1, "v": 0.5 * v, "b": -b, "c": 1.7},
        {"x": x, "seen": np.arange(8) % 4 == 1, "v": v, "b": b, "c": 1e-5},  # the loop crawls
    ]


def _one_round(x: Any, seen: Any, v: Any, b: Any, c: Any) -> Any:
    z = np.linalg.solve(c * np.eye(len(v)) + v @ v.T, v @ (x - b))
    return np.where(seen, x, z @ v + b)


def _a_hundred_rounds(x: Any, seen: Any, v: Any, b: Any, c: Any) -> Any:
    for _ in range(100):
        x = _one_round(x, seen, v, b, c)
    return x


def _everything_decoded(x: Any, seen: Any, v: Any, b: Any, c: Any) -> Any:
    v_seen = v[:, seen]
    z = np.linalg.solve(c * np.eye(len(v)) + v_seen @ v_seen.T, v_seen @ (x[seen] - b[seen]))
    return z @ v + b


EXERCISE_4 = Exercise(
    number="16.4",
    solution=(resting_point,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "the seen pixels are overwritten. They are known: keep them.",
            (_everything_decoded,),
        ),
        Mistake(
            "the mask is the wrong way round: the missing pixels are kept, the seen ones filled.",
            (lambda x, seen, v, b, c: resting_point(x, ~seen, v, b, c),),
        ),
        Mistake(
            "this is one round, from what stood in the gap. Where does it come to rest?",
            (_one_round,),
        ),
        Mistake(
            "a hundred rounds: where few pixels are seen and c is small the loop is far from rest.",
            (_a_hundred_rounds,),
        ),
        Mistake(
            "the missing pixels put at b count as seen there: they pull the code to zero.",
            (lambda x, seen, v, b, c: _one_round(np.where(seen, x, b), seen, v, b, c),),
        ),
        Mistake(
            "c is the variance of the noise already: do not square it.",
            (lambda x, seen, v, b, c: resting_point(x, seen, v, b, c**2),),
        ),
        Mistake(
            "the noise is forgotten: this is least squares. The prior pulls z to zero, by c.",
            (lambda x, seen, v, b, c: resting_point(x, seen, v, b, 1e-12),),
        ),
        Mistake(
            "b is forgotten when the seen pixels are encoded.",
            (lambda x, seen, v, b, c: np.where(seen, x, resting_point(x, seen, v, 0 * b, c) + b),),
        ),
    ),
    hints=(
        "E[z|x] solves (c I + V Vᵀ) z = (x − b) Vᵀ. Split the sum over pixels: seen and missing.",
        "At rest, x_m − b_m = z V_m. Put that in: what happens to V_m V_mᵀ z on both sides?",
        "(c I + V_o V_oᵀ) z = (x_o − b_o) V_oᵀ, with the seen columns V_o alone.",
    ),
)


# 16.5 --------------------------------------------------------------------------------------------
# A thousand guessers on 50 images: each is right one time in ten on average, the luckiest about one
# time in four. That is the leaked number; the honest one is a tenth, up to chance.
def leak(guesses: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Honest, leaked and mean accuracy on the second half: guesses (s, n), y (n,)."""
    half = len(y) // 2
    right = guesses == y
    first, second = right[:, :half].mean(axis=1), right[:, half:].mean(axis=1)
    return second[first.argmax()], second.max(), second.mean()


def _halves(guesses: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    right, half = guesses == y, len(y) // 2
    return right[:, :half].mean(axis=1), right[:, half:].mean(axis=1)


def _cases_5() -> list[Case]:
    rng = np.random.default_rng(165)
    y = rng.integers(0, 3, size=40)
    skill = rng.random((6, 40)) < np.linspace(0.3, 0.7, 6)[:, None]
    return [
        {
            "guesses": np.array([[0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 1]]),
            "y": np.array([0, 1, 0, 1]),
        },
        {"guesses": rng.integers(0, 3, size=(50, 40)), "y": y},
        {"guesses": np.where(skill, y, (y + 1) % 3), "y": y},
        {  # the first two are equals on the first half; the best on all images is not on the second
            "guesses": np.array([[0, 2, 0, 0, 1, 0], [0, 1, 2, 2, 1, 0], [1, 0, 1, 2, 1, 1]]),
            "y": np.array([0, 1, 0, 2, 1, 1]),
        },
    ]


def _changed(honest: Any = None, leaked: Any = None, mean: Any = None) -> Any:
    def answer(guesses: np.ndarray, y: np.ndarray) -> tuple:
        first, second = _halves(guesses, y)
        right = leak(guesses, y)
        parts = zip((honest, leaked, mean), right, strict=True)
        return tuple(part(first, second) if part else value for part, value in parts)

    return answer


EXERCISE_5 = Exercise(
    number="16.5",
    solution=(leak,),
    cases=_cases_5,
    mistakes=(
        Mistake(
            "the honest number is chosen on the second half: that is the leak again.",
            (_changed(honest=lambda first, second: second.max()),),
        ),
        Mistake(
            "the honest number is judged on the half on which the setting was chosen.",
            (_changed(honest=lambda first, second: first.max()),),
        ),
        Mistake(
            "of equals on the first half the better one on the second: that is a leak too.",
            (_changed(honest=lambda first, second: second[first == first.max()].max()),),
        ),
        Mistake(
            "the leaked number is that of the first half. The leak is on the other one.",
            (_changed(leaked=lambda first, second: first.max()),),
        ),
        Mistake(
            "the leaked number is chosen on all images. Choose it on the second half alone.",
            (_changed(leaked=lambda first, second: second[(first + second).argmax()]),),
        ),
        Mistake(
            "the halves are swapped: the first is for choosing.",
            (
                lambda guesses, y: leak(
                    np.roll(guesses, len(y) // 2, axis=1), np.roll(y, len(y) // 2)
                ),
            ),
        ),
        Mistake(
            "the last number is a mean over all images. Take the held-out half.",
            (_changed(mean=lambda first, second: (first.mean() + second.mean()) / 2),),
        ),
    ),
    hints=(
        "right = guesses == y has shape (s, n). Its means over each half are two arrays (s,).",
        "argmax returns the first of equals.",
        "second[first.argmax()], second.max(), second.mean().",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
