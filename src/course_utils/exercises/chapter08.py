"""The exercises of chapter 08, The manifold hypothesis."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array
from course_utils.manifold import levina_bickel, nearest_neighbours
from course_utils.stroke_digits import NAMES, RANGES, draw, draw_jacobian, middle

_SPANS = RANGES[:, 1] - RANGES[:, 0]


# 08.1 --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Code:
    """A function of an angle that shows as its formula."""

    formula: str
    function: Callable[[Any], Any] = field(repr=False)

    def __call__(self, t: Any) -> Any:
        return self.function(t)

    def __repr__(self) -> str:
        return f"t -> {self.formula}"


# The difference D(t) = code(t) - code(t + π) has D(π) = code(π) - code(2π) = -D(0). So D(0) = 0, or
# the sign changes from 0 to π, and D, which is continuous, is 0 in between: bisect.
# An autoencoder with one code number must tear a circle, or map two opposite points to one.
def collision(code: Callable[[Any], Any], bracket: np.ndarray) -> float:
    """Bisect the difference between opposite points on [0, π]."""
    low, high = bracket
    at_low = code(low) - code(low + np.pi)
    for _ in range(60):
        mid = (low + high) / 2
        at_mid = code(mid) - code(mid + np.pi)
        if at_low * at_mid > 0:  # no change of sign in the lower half
            low = mid
        else:
            high = mid
    return high


def _keep_the_other_half(code: Callable[[Any], Any], bracket: np.ndarray) -> float:
    low, high = bracket
    at_low = code(low) - code(low + np.pi)
    for _ in range(60):
        mid = (low + high) / 2
        same_sign = at_low * (code(mid) - code(mid + np.pi)) > 0
        if not same_sign:
            low = mid
        else:
            high = mid
    return high


def _lose_a_zero(code: Callable[[Any], Any], bracket: np.ndarray) -> float:
    """Take an exact zero at the middle for an end without a change of sign."""
    low, high = bracket
    for _ in range(60):
        mid = (low + high) / 2
        at_low, at_mid = (code(t) - code(t + np.pi) for t in (low, mid))
        low, high = (low, mid) if at_low * at_mid < 0 else (mid, high)
    return low


def _where_smallest(code: Callable[[Any], Any], bracket: np.ndarray) -> float:
    grid = np.linspace(bracket[0], bracket[1], 1000)
    return grid[np.argmin([code(t) for t in grid])]


def _cases_1() -> list[Case]:
    codes = (
        _Code("cos t", np.cos),
        _Code("sin(t - 1) + 0.4 cos 2t", lambda t: np.sin(t - 1) + 0.4 * np.cos(2 * t)),
        _Code("exp(cos(t + 0.3)) + sin 3t", lambda t: np.exp(np.cos(t + 0.3)) + np.sin(3 * t)),
        _Code("tanh(5 sin(t - 2.9))", lambda t: np.tanh(5 * np.sin(t - 2.9))),
        # h is exactly 0 at the middle
        _Code("max(cos t - 0.5, 0)", lambda t: np.maximum(np.cos(t) - 0.5, 0.0)),
    )
    return [{"code": code, "bracket": np.array([0.0, np.pi])} for code in codes]


def _judge_1(case: Case, came: Any) -> None:
    angle = as_array(came)
    if angle is None or angle.size != 1 or not np.all(np.isfinite(angle)):
        raise Wrong("one angle", f"{type(came).__name__}: {came!r}"[:200])
    t = float(angle.reshape(()))
    first, second = float(case["code"](t)), float(case["code"](t + np.pi))
    if (gap := abs(first - second)) > 1e-5:
        near = "Near, but not equal to six digits: the search ends too early." if gap < 0.05 else ""
        came = f"{first:.6g} and {second:.6g}"
        raise Wrong(f"code(t) = code(t + π) at your t = {t:.6g}", came, near)


EXERCISE_1 = Exercise(
    number="08.1",
    solution=(collision,),
    cases=_cases_1,
    judge=_judge_1,
    mistakes=(
        Mistake(
            "zero. Of code(t) and code(t + 2π) the same holds for every t, by the period; opposite"
            " points are π apart, not 2π.",
            (lambda code, bracket: 0.0,),
        ),
        Mistake(
            "the middle of the bracket is only the first step of the search: look at the sign there"
            " and go on with one half.",
            (lambda code, bracket: np.mean(bracket),),
        ),
        Mistake(
            "you keep the half in which the sign does not change. The zero is in the other one.",
            (_keep_the_other_half,),
        ),
        Mistake(
            "the difference may be exactly 0 at the middle. Then the search has ended: the product"
            " of the signs is not below 0 there, and you go on to the other side.",
            (_lose_a_zero,),
        ),
        Mistake(
            "the smallest value of the code. Wanted is an angle at which the *difference* between"
            " opposite points is zero.",
            (_where_smallest,),
        ),
    ),
    hints=(
        "Look at h(t) = code(t) - code(t + π). Compare h(0) with h(π), using the period 2π.",
        "h(π) = -h(0), and h is continuous: it has a zero between 0 and π.",
        "Halve the interval 60 times; each time keep the half at whose ends h has opposite signs."
        " Where h is 0, stop.",
    ),
)


# 08.2 --------------------------------------------------------------------------------------------
# C(r) = c r^D gives C(r_large) / C(r_small) = (r_large / r_small)^D. Take logarithms. In the ratio
# the number of pairs cancels, so counts will do.
def correlation_dimension(x: np.ndarray, r_small: float, r_large: float) -> float:
    """The slope of ln C(r) over ln r between two radii."""
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)[np.triu_indices(len(x), k=1)]
    counts = [(distances < r).sum() for r in (r_small, r_large)]
    return np.log(counts[1] / counts[0]) / np.log(r_large / r_small)


def _distances(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[:, None] - x[None], axis=2)


def _pairs_within(x: np.ndarray, r: float) -> int:
    return int((_distances(x)[np.triu_indices(len(x), k=1)] < r).sum())


def _with_self_pairs(x: np.ndarray, r_small: float, r_large: float) -> float:
    shares = [(_distances(x) < r).mean() for r in (r_small, r_large)]
    return float(np.log(shares[1] / shares[0]) / np.log(r_large / r_small))


def _with_pairs(chosen: Callable[[np.ndarray, float], np.ndarray]) -> Any:
    def wrong(x: np.ndarray, r_small: float, r_large: float) -> float:
        distances = _distances(x)[np.triu_indices(len(x), k=1)]
        small, large = (chosen(distances, r).sum() for r in (r_small, r_large))
        return float(np.log(large / small) / np.log(r_large / r_small))

    return wrong


def _without_logs(x: np.ndarray, r_small: float, r_large: float) -> float:
    return (_pairs_within(x, r_large) / _pairs_within(x, r_small)) / (r_large / r_small)


def _squared(x: np.ndarray, r_small: float, r_large: float) -> float:
    return correlation_dimension(x, np.sqrt(r_small), np.sqrt(r_large)) / 2


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(82)
    # two equal points, and pairs at a distance of exactly r_small and r_large
    line = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0])[:, None] * np.array([[1.0, 0.0]])
    plane = rng.random((60, 2)) @ rng.normal(size=(2, 5))
    return [
        {"x": line, "r_small": 2.0, "r_large": 3.0},
        {"x": plane, "r_small": 0.3, "r_large": 0.6},
        {"x": rng.normal(size=(50, 4)), "r_small": 1.2, "r_large": 1.9},
    ]


EXERCISE_2 = Exercise(
    number="08.2",
    solution=(correlation_dimension,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "each point counted as its own neighbour. These pairs have distance zero at any radius"
            " and flatten the slope: count pairs of different points.",
            (_with_self_pairs,),
        ),
        Mistake(
            "pairs at distance zero are left out, as if they were a point and itself. Two points"
            " may be equal: leave out the diagonal, not the value.",
            (_with_pairs(lambda distances, r: (distances > 0) & (distances < r)),),
        ),
        Mistake(
            "pairs at a distance of exactly r are counted. They are not nearer than r.",
            (_with_pairs(lambda distances, r: distances <= r),),
        ),
        Mistake(
            "a ratio without logarithms. C(r₂)/C(r₁) = (r₂/r₁)^D: D is an exponent.",
            (_without_logs,),
        ),
        Mistake(
            "upside down: D is ln of the ratio of counts over ln of the ratio of radii.",
            (lambda x, r_small, r_large: 1 / correlation_dimension(x, r_small, r_large),),
        ),
        Mistake(
            "the sign: divide the larger by the smaller in both ratios, or in neither.",
            (lambda x, r_small, r_large: -correlation_dimension(x, r_small, r_large),),
        ),
        Mistake(
            "squared distances compared with radii that are not squared.",
            (_squared,),
        ),
    ),
    hints=(
        "C(r) = c · r^D with two unknowns, c and D. Two radii are enough.",
        "Divide C(r_large) by C(r_small): c is gone. A logarithm brings D down.",
        "All distances: np.linalg.norm(x[:, None] - x[None], axis=2). The diagonal does not count.",
    ),
)


# 08.3 --------------------------------------------------------------------------------------------
# r² < 2dσ², that is r < σ √(2d): the noise of both points counts, in each of d coordinates.
def share_ruled_by_noise(x: np.ndarray, sigma: float) -> float:
    """The share of points whose nearest other one is nearer than σ √(2d)."""
    distances, _ = nearest_neighbours(x, 1)  # to the nearest other point, (n, 1)
    return (distances < sigma * np.sqrt(2 * x.shape[1])).mean()


def _share_nearer(x: np.ndarray, radius: float) -> float:
    return float((nearest_neighbours(x, 1)[0] < radius).mean())


def _cases_3() -> list[Case]:
    rng = np.random.default_rng(83)
    gaps = np.array([0.0, 0.1, 0.3, 0.6, 1.0, 1.5, 2.1, 2.8, 3.6, 4.5])
    return [
        {"x": gaps[:, None] * np.ones((1, 1)), "sigma": 0.25},
        {"x": rng.random((80, 3)) ** 3, "sigma": 0.03},
        {"x": 1.5 * rng.normal(size=(90, 6)) ** 3, "sigma": 0.7},
        {"x": np.array([0.0, 3.0, 0.0, 9.0])[:, None] * np.eye(18)[0], "sigma": 0.5},
    ]


def _no_distance_of_zero(x: np.ndarray, sigma: float) -> float:
    distances = _distances(x)
    distances[distances == 0] = np.inf
    return float((distances.min(axis=1) < sigma * np.sqrt(2 * x.shape[1])).mean())


EXERCISE_3 = Exercise(
    number="08.3",
    solution=(share_ruled_by_noise,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the noise of one point only. Both points move: the squared distance grows by 2dσ².",
            (lambda x, sigma: _share_nearer(x, sigma * np.sqrt(x.shape[1])),),
        ),
        Mistake(
            "the noise of one coordinate only. It adds up over all d of them.",
            (lambda x, sigma: _share_nearer(x, sigma * np.sqrt(2)),),
        ),
        Mistake(
            "a squared distance compared with a distance: take the root of 2dσ².",
            (lambda x, sigma: _share_nearer(x, 2 * x.shape[1] * sigma**2),),
        ),
        Mistake(
            "each point taken for its own nearest neighbour, at distance zero: all are ruled.",
            (lambda x, sigma: float(len(x) > 0),),
        ),
        Mistake(
            "a distance of zero is left out, as a point's own. Two points may be equal: leave out"
            " the diagonal, not the value.",
            (_no_distance_of_zero,),
        ),
        Mistake(
            "a distance of exactly σ √(2d) is counted. It is not nearer than that.",
            (
                lambda x, sigma: _share_nearer(
                    x, np.nextafter(sigma * np.sqrt(2 * x.shape[1]), 1e9)
                ),
            ),
        ),
        Mistake(
            "the number of points, not their share.",
            (lambda x, sigma: len(x) * share_ruled_by_noise(x, sigma),),
        ),
    ),
    hints=(
        "In (8.10) noise adds 2dσ² to r². When is that more than r² itself?",
        "r < σ √(2d), where d is the number of columns of x.",
        "nearest_neighbours(x, 1)[0] holds the distance to the nearest other point, (n, 1).",
    ),
)


# 08.4 --------------------------------------------------------------------------------------------
# Least squares of the missing part on the columns of J: JᵀJ δ = Jᵀ (x - g(h)).
def read_factors(image: np.ndarray, label: int, start: np.ndarray) -> np.ndarray:
    """Gauss–Newton: least squares of what is missing on the columns of the Jacobian."""
    h, labels = start[None], np.array([label])  # (1, 7), (1,)
    for _ in range(20):
        missing = image - draw(labels, h)[0]  # (784,)
        h = h + np.linalg.lstsq(draw_jacobian(labels, h)[0], missing, rcond=None)[0]
    return h[0]


def _step(image: np.ndarray, label: int, h: np.ndarray) -> np.ndarray:
    labels, factors = np.array([label]), h[None]
    missing = image - draw(labels, factors)[0]  # (784,)
    return np.linalg.lstsq(draw_jacobian(labels, factors)[0], missing, rcond=None)[0]


_TRUTHS = {  # label: distance of the factors from the middle, and of the start from the factors
    5: ((0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0), None),
    3: ((0.1, -0.1, 0.1, 0.1, -0.1, 0.1, -0.1), None),
    8: ((-0.1517, 0.1043, 0.0529, -0.0981, 0.1036, 0.1483, 0.0977), None),  # of many digits
    # far outside of RANGES: from the middle the steps do not lead to it
    2: ((-0.5, -0.6, 0.8, -0.8, -0.2, -0.7, 0.2), (-0.05, -0.04, -0.04, -0.02, 0.01, 0.03, -0.02)),
}


def _truth(label: int) -> np.ndarray:
    return middle() + np.array(_TRUTHS[label][0]) * _SPANS


def _cases_4() -> list[Case]:
    cases: list[Case] = []
    for label, (_, off) in _TRUTHS.items():
        truth = _truth(label)
        image = draw(np.array([label]), truth[None])[0]
        start = middle() if off is None else truth + np.array(off) * _SPANS
        cases.append({"image": image, "label": label, "start": start})
    return cases


def _judge_4(case: Case, came: Any) -> None:
    h = as_array(came)
    if h is None or h.shape != (len(NAMES),):
        raise Wrong(f"factors of shape ({len(NAMES)},)", f"shape {np.shape(came)}")
    truth = _truth(case["label"])
    with np.errstate(invalid="ignore"):
        off = np.abs(h - truth) / _SPANS
    if not np.all(off < 1e-4):
        j = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        raise Wrong(f"{NAMES[j]} = {truth[j]:.5g}", f"{NAMES[j]} = {h[j]:.5g}")


EXERCISE_4 = Exercise(
    number="08.4",
    solution=(read_factors,),
    cases=_cases_4,
    judge=_judge_4,
    mistakes=(
        Mistake(
            "one step only. The linear approximation is not exact: draw again, and repeat.",
            (lambda image, label, start: start + _step(image, label, start),),
        ),
        Mistake(
            "the last correction, not the factors: add it to h.",
            (lambda image, label, start: _step(image, label, start),),
        ),
        Mistake(
            "the sign: g(h) + J δ must come nearer to the image, so δ explains image - g(h).",
            (lambda image, label, start: start - _step(image, label, start),),
        ),
        Mistake(
            "the search begins at a place of your own. Begin at `start`: from elsewhere the steps"
            " may end elsewhere.",
            (lambda image, label, start: read_factors(image, label, middle()),),
        ),
        Mistake(
            "the factors are cut off at RANGES. The generator draws beyond them too.",
            (lambda image, label, start: np.clip(read_factors(image, label, start), *RANGES.T),),
        ),
        Mistake(
            "the start. Each step has to change h.",
            (lambda image, label, start: start,),
        ),
    ),
    hints=(
        "With J = draw_jacobian(labels, h)[0], (784, 7), the best δ minimises ‖x - g(h) - J δ‖².",
        "np.linalg.lstsq(J, image - drawn, rcond=None)[0] is this δ. Then h = h + δ.",
        "Twenty rounds; draw(np.array([label]), h[None])[0] is the image that belongs to h.",
    ),
)


# 08.5 --------------------------------------------------------------------------------------------
# For d = 8 and more the curve is over 29 000 units long. The points on it are few, and the nearest
# ones lie on other windings: the neighbourhoods are not small.
def wild_curve(t: np.ndarray, d: int) -> np.ndarray:
    """A wave of its own frequency in each coordinate."""
    frequencies = 1000 * np.sqrt(np.arange(2, d + 2))
    return np.cos(2 * np.pi * t[:, None] * frequencies)


def _helix(t: np.ndarray, d: int) -> np.ndarray:
    x = np.zeros((len(t), d))
    x[:, 0], x[:, 1], x[:, 2] = np.cos(20 * t), np.sin(20 * t), t
    return x


def _noise(t: np.ndarray, d: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(t), d))


def _joined(t: np.ndarray, d: int) -> np.ndarray:
    rng, knots = np.random.default_rng(0), np.sort(t)
    return np.stack([np.interp(t, knots, rng.normal(size=len(t))) for _ in range(d)], axis=1)


def _steps(t: np.ndarray, d: int) -> np.ndarray:
    return np.sin(1e5 * np.floor(1e6 * t)[:, None] * np.sqrt(np.arange(2, d + 2)))


def _ask_5(answer: tuple[Any, ...], case: Case) -> Any:
    """Ask for the curve at t, in reverse order, at some t alone, and where it changes fastest."""
    t, d = case["t"], case["d"]
    again = (answer[0](t[::-1].copy(), d), answer[0](t[:50].copy(), d), answer[0](t[:1].copy(), d))
    parts = (answer[0](t, d), *again, *_closing_in(answer[0], t, d))
    if any(part is None for part in parts):
        raise Wrong("an answer", "None: is the `return` missing?")
    return parts


def _closing_in(curve: Callable[[Any, int], Any], t: np.ndarray, d: int) -> tuple[Any, Any]:
    """Halve the 100 gaps with the largest change 38 times; keep the half with the larger one.

    A continuous curve then has the same point at both ends. A jump that stands out is kept.
    """
    ends = np.sort(np.append(t, np.linspace(0, 1, 50_001)))  # so near that a jump stands out
    at_ends = as_array(curve(ends.copy(), d))
    if at_ends is None or at_ends.shape != (len(ends), d):
        return 0.0, 0.0  # no curve at all: the judge says so
    worst = np.argsort(np.abs(np.diff(at_ends, axis=0)).max(axis=1))[-100:]
    low, high = ends[worst], ends[worst + 1]  # (100,) each
    for _ in range(38):
        middle = (low + high) / 2
        first, between, last = (as_array(curve(s.copy(), d)) for s in (low, middle, high))
        if first is None or between is None or last is None or first.shape != (len(low), d):
            return 0.0, 0.0  # no curve at all: the judge says so
        to_left = np.abs(between - first).max(axis=1) >= np.abs(last - between).max(axis=1)
        low, high = np.where(to_left, low, middle), np.where(to_left, middle, high)
    return curve(low, d), curve(high, d)


def _cases_5() -> list[Case]:
    rng = np.random.default_rng(85)
    return [{"t": rng.random(n), "d": d} for n, d in ((300, 8), (500, 10))]


def _judge_5(case: Case, came: Any) -> None:
    now, backwards, few, one, before, after = (as_array(part) for part in came)
    shape = (len(case["t"]), case["d"])
    if now is None or backwards is None or before is None or after is None or now.shape != shape:
        raise Wrong(f"points of shape {shape}", f"shape {np.shape(came[0])}")
    size = float(np.abs(now - now.mean(axis=0)).max())
    if not np.isfinite(size) or size == 0:
        raise Wrong("finite points that differ", f"points that spread over {size}")
    if np.max(np.abs(now[::-1] - backwards)) > 1e-9 * size:
        raise Wrong(
            "points that depend on their own t alone", "other points for t in another order"
        )
    for part, n in ((few, 50), (one, 1)):
        if part is None or part.shape != (n, case["d"]):
            raise Wrong(f"{n} points for {n} t", f"shape {np.shape(came[2 if n == 50 else 3])}")
        if not np.max(np.abs(now[:n] - part)) <= 1e-9 * size:
            raise Wrong(
                "points that depend on their own t alone", f"other points when {n} of the t come"
            )
    jump = float(np.max(np.abs(after - before)))
    if jump > 0.01 * size:
        raise Wrong(
            "a continuous curve of finite length",
            f"a change of {jump:.3g} between two t less than 1e-12 apart",
        )
    distances, _ = nearest_neighbours(now, 10)
    if not np.all(distances > 0):
        raise Wrong("different points for different t", "points that are equal")
    found = levina_bickel(distances)
    if found <= 4:
        raise Wrong("an estimate of more than 4", f"{found:.2f}")


EXERCISE_5 = Exercise(
    number="08.5",
    solution=(wild_curve,),
    cases=_cases_5,
    ask=_ask_5,
    judge=_judge_5,
    mistakes=(
        Mistake(
            "a straight line fools nobody: its nearest points are neighbours in t.",
            (lambda t, d: t[:, None] * np.ones((1, d)),),
        ),
        Mistake(
            "a helix with room between its windings. Make the windings many, and the points few.",
            (_helix,),
        ),
        Mistake(
            "independent noise is no curve: it is not continuous in t.",
            (_noise,),
        ),
        Mistake(
            "t is rounded first, so the points jump from one place to the next: no curve.",
            (_steps,),
        ),
        Mistake(
            "t is scaled by its own smallest and largest: a point then depends on the other t.",
            (lambda t, d: wild_curve((t - t.min()) / (np.ptp(t) or 1.0), d),),
        ),
        Mistake(
            "the frequencies go with the number of t: a point then depends on how many come.",
            (
                lambda t, d: np.cos(
                    2 * np.pi * t[:, None] * 4 * len(t) * np.sqrt(np.arange(2, d + 2))
                ),
            ),
        ),
        Mistake(
            "random points, joined in the order of the t that came: other t, another curve.",
            (_joined,),
        ),
        Mistake(
            "transposed: one point a row, (n, d).",
            (lambda t, d: wild_curve(t, d).T,),
        ),
        Mistake(
            "the same wave in every coordinate: all points lie on one line segment.",
            (lambda t, d: np.cos(2000 * np.pi * t[:, None]) * np.ones((1, d)),),
        ),
    ),
    hints=(
        "The estimators need the nearest points in space to be neighbours on the curve.",
        "Let the curve rush through the whole of a cube many times, so that each of the few points"
        " lies on a winding of its own.",
        "A wave in each coordinate, cos(2π f_j t), with high frequencies f_j whose ratios are no"
        " simple fractions.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
