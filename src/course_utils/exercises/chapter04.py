"""The exercises of chapter 04, From NumPy to PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array, describe
from course_utils.numpy_nn import Layer, forward


# 04.1 --------------------------------------------------------------------------------------------
def linear_weights(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transpose: nn.Linear computes x Aᵀ + b."""
    return w.T, b  # (d_out, d_in), (d_out,)


EXERCISE_1 = Exercise(
    number="04.1",
    solution=(linear_weights,),
    cases=lambda: [
        {"w": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), "b": np.array([0.1, 0.2, 0.3])},
        {"w": np.random.default_rng(41).normal(size=(3, 3)), "b": np.arange(3.0)},
        {"w": np.random.default_rng(42).normal(size=(4, 1)), "b": np.ones(1)},
    ],
    mistakes=(
        Mistake(
            "the weights as they are. nn.Linear(d_in, d_out) keeps them as (d_out, d_in).",
            (lambda w, b: (w, b),),
        ),
        Mistake(
            "reshaped, not transposed: the shape is right and the numbers sit in wrong places.",
            (lambda w, b: (w.reshape(w.shape[::-1]), b),),
        ),
        Mistake(
            "the bias as a column. It is added to rows: (d_out,).",
            (lambda w, b: (w.T, b[:, None]),),
        ),
        Mistake(
            "the inverse. nn.Linear multiplies with the transpose.",
            (lambda w, b: (np.linalg.pinv(w), b),),
        ),
    ),
    hints=(
        "nn.Linear(2, 3).weight.shape is (3, 2): output first.",
        "It computes x @ weight.T + bias. Which weight makes that x @ w + b?",
        "weight = w.T, and the bias stays as it is.",
    ),
)


# 04.2 --------------------------------------------------------------------------------------------
Gradient = Callable[[np.ndarray], np.ndarray]


# All gradients so far add up: SGD with momentum 1, a ball without friction. It never settles.
def forgetful_descent(gradient: Gradient, w: np.ndarray, rate: float, n_steps: int) -> np.ndarray:
    """Gradient descent in which gradients add up from step to step."""
    total = np.zeros_like(w)
    for _ in range(n_steps):
        total = total + gradient(w)
        w = w - rate * total
    return w


def _descent(weight: Callable[[int], tuple[float, float]]) -> Callable[..., np.ndarray]:
    """Descend with total = a · total + b · gradient, (a, b) = weight(t), t from 0."""

    def run(gradient: Gradient, w: np.ndarray, rate: float, n_steps: int) -> np.ndarray:
        total = np.zeros_like(w)
        for t in range(n_steps):
            keep, take = weight(t)
            total = keep * total + take * gradient(w)
            w = w - rate * total
        return w

    return run


def _first_gradient_again(gradient: Gradient, w: np.ndarray, rate: float, n_steps: int) -> Any:
    for t in range(n_steps):
        w = w - rate * (t + 1) * gradient(w)
    return w


EXERCISE_2 = Exercise(
    number="04.2",
    solution=(forgetful_descent,),
    cases=lambda: [
        {"gradient": _double, "w": np.array([1.0, -2.0]), "rate": 0.1, "n_steps": 2},
        {"gradient": _double, "w": np.array([1.0, -2.0]), "rate": 0.1, "n_steps": 7},
        {"gradient": _cubic, "w": np.array([0.5, 1.5, -1.0]), "rate": 0.05, "n_steps": 5},
        {"gradient": _double, "w": np.array([[9.0, -20.0, 1e-3]] * 2), "rate": 0.02, "n_steps": 12},
        {"gradient": _cubic, "w": np.array([0.5]), "rate": 0.1, "n_steps": 0},
    ],
    mistakes=(
        Mistake(
            "this is descent with zero_grad. Without it the old gradients stay and add up.",
            (_descent(lambda t: (0.0, 1.0)),),
        ),
        Mistake(
            "the mean of the gradients so far. backward() adds; nobody divides.",
            (_descent(lambda t: (t / (t + 1), 1 / (t + 1))),),
        ),
        Mistake(
            "the newest gradient, t times. The old ones were taken at old weights.",
            (_first_gradient_again,),
        ),
        Mistake(
            "the sign: descend, w − rate · total.",
            (lambda g, w, r, n: forgetful_descent(g, w, -r, n),),
        ),
        Mistake(
            "momentum 0.9, whose old gradients fade. In .grad nothing fades: momentum 1.",
            (_descent(lambda t: (0.9, 1.0)),),
        ),
    ),
    hints=(
        "Keep a variable for what is in .grad. It starts at zero and is never set back.",
        "In each step: total = total + gradient(w), then w = w - rate * total.",
        "It is momentum that never fades: SGD with momentum 1.",
    ),
)


def _double(w: np.ndarray) -> np.ndarray:
    return 2 * w


def _cubic(w: np.ndarray) -> np.ndarray:
    return w**3 - w


# 04.3 --------------------------------------------------------------------------------------------
def share_lost(x: np.ndarray, x_hat: np.ndarray) -> float:
    """Σ ‖x_i − x̂_i‖² / Σ ‖x_i − mean‖²."""
    return float(((x - x_hat) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())


def _mean_of_shares(x: np.ndarray, x_hat: np.ndarray) -> float:
    spread = np.maximum(((x - x.mean(axis=0)) ** 2).sum(axis=0), 1e-12)
    return float((((x - x_hat) ** 2).sum(axis=0) / spread).mean())


def _cases_3() -> list[Case]:
    rng = np.random.default_rng(43)
    x = rng.random((6, 4)) * [1.0, 3.0, 1.0, 0.2] + 2
    return [
        {"x": np.array([[1.0, 2.0], [3.0, 2.0]]), "x_hat": np.array([[1.5, 2.0], [3.0, 1.0]])},
        {"x": x, "x_hat": x + 0.3 * rng.normal(size=x.shape)},
        {"x": x, "x_hat": np.tile(x.mean(axis=0), (6, 1))},
        {"x": x, "x_hat": -x},  # worse than the mean
    ]


EXERCISE_3 = Exercise(
    number="04.3",
    solution=(share_lost,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the squared length of the images below the line, not their variance: an image that is"
            " bright everywhere would look well reconstructed.",
            (lambda x, y: ((x - y) ** 2).sum() / (x**2).sum(),),
        ),
        Mistake(
            "one mean for all pixels. Each pixel has its own: mean(axis=0).",
            (lambda x, y: ((x - y) ** 2).sum() / ((x - x.mean()) ** 2).sum(),),
        ),
        Mistake(
            "a mean of ratios, pixel by pixel. It is one ratio of two sums.",
            (_mean_of_shares,),
        ),
        Mistake(
            "what is kept, not what is lost.",
            (lambda x, y: 1 - share_lost(x, y),),
        ),
        Mistake(
            "a ratio of lengths. The share is one of squared lengths: no root.",
            (lambda x, y: np.sqrt(share_lost(x, y)),),
        ),
        Mistake(
            "a mean over pixels above the line, a sum over pixels below it. Sum both, or average"
            " both.",
            (lambda x, y: ((x - y) ** 2).mean() / x.var(axis=0).sum(),),
        ),
    ),
    hints=(
        "Above the line: the squared error of the reconstruction, summed over everything.",
        "Below the line: the squared error of the best constant image, exercise 01.3.",
        "So a decoder that always paints the mean image loses exactly 1.",
    ),
)


# 04.4 --------------------------------------------------------------------------------------------
def stop_early(val: Sequence[float], patience: int) -> tuple[int, int]:
    """Return the epoch that is restored and the epoch after which training stops, from 1."""
    best = 1
    for epoch in range(1, len(val) + 1):
        if val[epoch - 1] < val[best - 1]:
            best = epoch
        if epoch - best >= patience:
            return best, epoch
    return best, len(val)


def _stops(
    offset: int = 0, *, only_last: bool = False, whole: bool = False
) -> Callable[[Sequence[float], int], tuple[int, int]]:
    """Make a mistaken early stopping."""

    def run(val: Sequence[float], patience: int) -> tuple[int, int]:
        best, stop = stop_early(val, patience + offset)
        if only_last:
            worse = 0
            for epoch in range(2, len(val) + 1):
                worse = worse + 1 if val[epoch - 1] >= val[epoch - 2] else 0
                if worse >= patience:
                    return int(np.argmin(val[:epoch])) + 1, epoch
            return int(np.argmin(val)) + 1, len(val)
        return (int(np.argmin(val)) + 1 if whole else best), stop

    return run


def _last_where_never_stopped(val: Sequence[float], patience: int) -> tuple[int, int]:
    best, stop = stop_early(val, patience)
    return (best, stop) if stop - best >= patience else (len(val), len(val))


def _new_lowest_if(
    is_new: Callable[[float, float], bool],
) -> Callable[[Sequence[float], int], tuple[int, int]]:
    """Make an early stopping with another rule for what is a new lowest loss."""

    def run(val: Sequence[float], patience: int) -> tuple[int, int]:
        best = 1
        for epoch in range(2, len(val) + 1):
            if is_new(val[epoch - 1], val[best - 1]):
                best = epoch
            if epoch - best >= patience:
                return best, epoch
        return best, len(val)

    return run


def _below_a_start(val: Sequence[float], patience: int) -> tuple[int, int]:
    best, lowest = 1, 1e10
    for epoch, loss in enumerate(val, start=1):
        if loss < lowest:
            best, lowest = epoch, loss
        if epoch - best >= patience:
            return best, epoch
    return best, len(val)


_ties_count = _new_lowest_if(lambda new, lowest: new <= lowest)


def _ties_after_the_first(val: Sequence[float], patience: int) -> tuple[int, int]:
    best = 1
    for epoch in range(2, len(val) + 1):
        tie = best > 1 and val[epoch - 1] == val[best - 1]
        if val[epoch - 1] < val[best - 1] or tie:
            best = epoch
        if epoch - best >= patience:
            return best, epoch
    return best, len(val)


_needs_a_gain = _new_lowest_if(lambda new, lowest: new < lowest - 1e-4)
_needs_a_tiny_gain = _new_lowest_if(lambda new, lowest: new < lowest - 1e-9)

EXERCISE_4 = Exercise(
    number="04.4",
    solution=(stop_early,),
    cases=lambda: [
        {"val": [5.0, 3.0, 4.0, 3.5, 3.2, 1.0], "patience": 2},
        {"val": [5.0, 4.0, 3.0, 2.0], "patience": 2},
        {"val": [3.0, 5.0, 4.0, 4.5, 3.9, 3.8, 3.7, 2.0], "patience": 4},
        {"val": [3.0, 2.0, 2.5, 1.5, 3.5, 1.7, 1.8, 1.0], "patience": 3},
        {"val": [3.0, 1.0, 2.0], "patience": 5},
        {"val": [2.0, 2.0, 2.0, 2.0], "patience": 2},
        {"val": [3.0, 2.0, 2.0, 2.0, 2.0], "patience": 2},
        {"val": [1.0, 0.99999, 0.99998, 0.99997, 0.99996], "patience": 2},
        {"val": [1.0, 1 - 1e-12, 1 - 2e-12, 1 - 3e-12], "patience": 2},
        {"val": [-1.0, -3.0, -2.0, -2.5, -9.0], "patience": 2},
        {"val": [3e20, 2e20, 2.5e20, 1e20], "patience": 1},
        {"val": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 1.5, 0.5], "patience": 3},
    ],
    mistakes=(
        Mistake(
            "one epoch too late: stop as soon as `patience` epochs have passed without a new best.",
            (_stops(1),),
        ),
        Mistake(
            "epochs are counted from 1 here.",
            (lambda v, p: tuple(e - 1 for e in stop_early(v, p)),),
        ),
        Mistake(
            "compared with the epoch before, not with the best one so far.",
            (_stops(only_last=True),),
        ),
        Mistake(
            "the best epoch of all, even of those never run. Training has stopped before.",
            (_stops(whole=True),),
        ),
        Mistake(
            "the last epoch is restored where training never stops early. The best one is, always.",
            (_last_where_never_stopped,),
        ),
        Mistake(
            "an equal loss is counted as a new lowest one.",
            (_ties_count,),
        ),
        Mistake(
            "an equal loss is counted as a new lowest one, except where it equals the first.",
            (_ties_after_the_first,),
        ),
        Mistake(
            "a small gain is not counted. Any lower loss is a new lowest one.",
            (_needs_a_gain,),
        ),
        Mistake(
            "losses that are nearly equal are taken for equal, by a tolerance or in float32. The"
            " input above shows six digits of each; any lower loss is a new lowest one.",
            (_needs_a_tiny_gain,),
        ),
        Mistake(
            "the lowest loss begins at a number of your own. It begins at the loss of epoch 1,"
            " whatever its size.",
            (_below_a_start,),
        ),
        Mistake(
            "in the wrong order: asked is first the epoch that is restored, then the last one run.",
            (lambda v, p: stop_early(v, p)[::-1],),
        ),
    ),
    hints=(
        "Walk through the epochs, and remember the best one so far.",
        "Stop when epoch - best reaches patience. Epochs are counted from 1.",
        "If that never happens, training runs to the last epoch.",
    ),
)


# 04.5 --------------------------------------------------------------------------------------------
# A ReLU lets through one sign. Two units a number carry both: x = relu(x) - relu(-x), width 2d.
# Fewer do not do. Let w be the weights into a unit, and v a direction with no w·v zero but where w
# is. Far out along v the units with w·v > 0 are on, along -v those with w·v < 0. Each set must
# carry d numbers, and no unit is in both. (On inputs bounded from below d units do: shift by a
# bias, and shift back.)
def identity_layers(d: int) -> list[Layer]:
    """Build x = relu(x) − relu(−x) from two layers, d → 2d → d."""
    eye = np.eye(d)
    return [
        (np.hstack([eye, -eye]), np.zeros(2 * d)),
        (np.vstack([eye, -eye]), np.zeros(d)),
    ]


def _judge_5(case: Case, came: Any) -> None:
    d = case["d"]
    if not isinstance(came, (list, tuple)) or len(came) != 2:
        raise Wrong("a list of two layers (w, b)", f"{type(came).__name__}")
    if any(not isinstance(layer, (list, tuple)) or len(layer) != 2 for layer in came):
        raise Wrong("two layers, each a pair (w, b)", "something else")
    layers = [tuple(as_array(part) for part in layer) for layer in came]
    shapes = [tuple(np.shape(part) for part in layer) for layer in came]
    hidden = shapes[0][1][0] if shapes[0][1] else -1
    if shapes != [((d, hidden), (hidden,)), ((hidden, d), (d,))]:
        raise Wrong(f"shapes ({d}, m), (m,) and (m, {d}), ({d},)", str(shapes))
    sizes = np.repeat([1e-3, 1.0, 10.0, 1e7, 1e12], 4)[:, None]
    x = np.random.default_rng(45).normal(size=(20, d)) * sizes
    x_hat = forward(x, layers)[-1]  # type: ignore[arg-type]
    off = np.abs(x - x_hat) / np.abs(x).max(axis=1, keepdims=True)
    bad = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), x.shape)
    if not off.max() < 1e-9:
        raise Wrong(f"{x[bad]:.4g} back as {x[bad]:.4g}", describe(x_hat[bad]))
    if hidden > 2 * d:
        raise Wrong(f"{2 * d} hidden units, which are enough", f"{hidden}")


EXERCISE_5 = Exercise(
    number="04.5",
    solution=(identity_layers,),
    cases=lambda: [{"d": 2}, {"d": 5}],
    judge=_judge_5,
    mistakes=(
        Mistake(
            "the ReLU swallows negative numbers: they need units of their own.",
            (lambda d: [(np.eye(d), np.zeros(d)), (np.eye(d), np.zeros(d))],),
        ),
        Mistake(
            "relu(x) + relu(−x) is |x|: the negative part must come back with its sign.",
            (
                lambda d: [
                    (np.hstack([np.eye(d), -np.eye(d)]), np.zeros(2 * d)),
                    (np.vstack([np.eye(d), np.eye(d)]), np.zeros(d)),
                ],
            ),
        ),
        Mistake(
            "both halves carry relu(x), and the negative numbers are lost: give one half −x.",
            (
                lambda d: [
                    (np.hstack([np.eye(d), np.eye(d)]), np.zeros(2 * d)),
                    (np.vstack([np.eye(d), np.eye(d)]) / 2, np.zeros(d)),
                ],
            ),
        ),
        Mistake(
            "a shift by c brings back numbers above −c only: the others need units of their own.",
            (lambda d: [(np.eye(d), np.full(d, 1e3)), (np.eye(d), np.full(d, -1e3))],),
        ),
    ),
    hints=(
        "One number first. Which two hidden units let you put x together again, whatever its sign?",
        "x = relu(x) − relu(−x).",
        "So w of the first layer is [I, −I], (d, 2d), and of the second the same, transposed.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
