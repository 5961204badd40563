"""The exercises of chapter 03, Backpropagation by hand."""

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake
from course_utils.numpy_nn import RELU, cross_entropy, dense, dense_backward, relu, softplus


def _drawn(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


# 03.1 --------------------------------------------------------------------------------------------
# Pixel by pixel the slope is 0 where as many images are darker as are brighter: the median image.
def absolute_error_and_gradient(x: np.ndarray, x_hat: np.ndarray) -> tuple[float, np.ndarray]:
    """The sum over pixels and mean over rows of |x − x̂|, and its gradient sign(x̂ − x) / n."""
    return np.abs(x - x_hat).sum(axis=1).mean(), np.sign(x_hat - x) / len(x)


def _cases_1() -> list[Case]:
    small = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
    guess = np.array([[0.5, 0.25, 0.5], [0.5, 2.0, 0.0]])
    cases: list[Case] = [{"x": small, "x_hat": guess}]
    for n, d, seed in ((5, 4, 11), (3, 7, 12)):
        x, x_hat = _drawn(seed, (n, d), (n, d))
        cases.append({"x": x, "x_hat": x_hat})
    sizes = np.array([1e-3, 1.0, 1e3, 0.0])  # the slope does not depend on them
    x, r = _drawn(13, (4, 4), (4, 4))
    cases.append({"x": x, "x_hat": x + sizes * r})
    return cases


def _scaled_1(loss: str, gradient: str) -> tuple:
    """Give the right answer, loss and gradient each multiplied by what the argument names."""

    def answer(x: np.ndarray, x_hat: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = absolute_error_and_gradient(x, x_hat)
        size = {"n": len(x), "1/d": 1 / x.shape[1], "1": 1.0, "-1": -1.0}
        return value * size[loss], slope * size[gradient]

    return (answer,)


EXERCISE_1 = Exercise(
    number="03.1",
    solution=(absolute_error_and_gradient,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "the sign: the gradient is for x̂, and x̂ comes in with a minus.", _scaled_1("1", "-1")
        ),
        Mistake(
            "the gradient lacks 1/n: the mean over images must reach it too.", _scaled_1("1", "n")
        ),
        Mistake("a mean over pixels. This course sums over pixels.", _scaled_1("1/d", "1/d")),
        Mistake("a sum over images. Divide by n, the number of rows.", _scaled_1("n", "n")),
        Mistake(
            "the gradient of the squared error. The slope of |r| does not grow with r.",
            (
                lambda x, x_hat: (
                    absolute_error_and_gradient(x, x_hat)[0],
                    2 * (x_hat - x) / len(x),
                ),
            ),
        ),
        Mistake(
            "the slope where x̂ = x: take 0 there, so that a perfect pixel is left alone.",
            (
                lambda x, x_hat: (
                    absolute_error_and_gradient(x, x_hat)[0],
                    np.where(x_hat >= x, 1, -1) / len(x),
                ),
            ),
        ),
    ),
    hints=(
        "One pixel: the slope of |x̂ − x| with respect to x̂ is +1 above x and −1 below.",
        "np.sign is that slope, and 0 where they are equal.",
        "Both the loss and the gradient carry the 1/n of the mean over images.",
    ),
)


# 03.2 --------------------------------------------------------------------------------------------
# x reaches h on two paths, and the gradients of both add up. With all units off, the gradient for x
# is that of the output, unchanged.
def residual_backward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, output_gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of h = x + relu(x w + b)."""
    off_or_on = RELU.slope(relu(dense(x, w, b)))  # (n, d)
    dw, db, dx = dense_backward(x, w, output_gradient * off_or_on)
    return dw, db, dx + output_gradient


def _cases_2() -> list[Case]:
    cases: list[Case] = [
        {
            "x": np.array([[1.0, 2.0], [-1.0, 0.5]]),
            "w": np.array([[1.0, 0.0], [2.0, -1.0]]),
            "b": np.array([0.5, 0.25]),
            "output_gradient": np.array([[1.0, 2.0], [3.0, 4.0]]),
        }
    ]
    for n, d, seed in ((6, 3, 21), (4, 5, 22)):
        x, w, b, g = _drawn(seed, (n, d), (d, d), (d,), (n, d))
        cases.append({"x": x, "w": w, "b": b, "output_gradient": g})
    small, g = cases[0], np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0]])
    at_zero = np.array([[1.0, 2.0], [0.0, 0.0], [2.0, -1.0]])
    cases.append({"x": at_zero, "w": small["w"], "b": np.zeros(2), "output_gradient": g})
    return cases


def _inner(x: np.ndarray, w: np.ndarray, b: np.ndarray, g: np.ndarray) -> np.ndarray:
    return g * (x @ w + b > 0)


EXERCISE_2 = Exercise(
    number="03.2",
    solution=(residual_backward,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "the path around the layer is missing. x reaches h twice, and both gradients add up.",
            (lambda x, w, b, g: dense_backward(x, w, _inner(x, w, b, g)),),
        ),
        Mistake(
            "the slope of the ReLU is missing: where it is off, nothing passes through the layer.",
            (lambda x, w, b, g: (x.T @ g, g.sum(axis=0), g + g @ w.T),),
        ),
        Mistake(
            "the slope read from h. It must be read from the ReLU's own output, without x.",
            (
                lambda x, w, b, g: (
                    x.T @ (s := g * (x + relu(x @ w + b) > 0)),
                    s.sum(axis=0),
                    g + s @ w.T,
                ),
            ),
        ),
        Mistake(
            "the slope is on the path around the layer too. That path has no ReLU.",
            (
                lambda x, w, b, g: (
                    *residual_backward(x, w, b, g)[:2],
                    _inner(x, w, b, g) + _inner(x, w, b, g) @ w.T,
                ),
            ),
        ),
        Mistake(
            "a missing transpose: the gradient for x goes back through wᵀ.",
            (
                lambda x, w, b, g: (
                    *residual_backward(x, w, b, g)[:2],
                    g + _inner(x, w, b, g) @ w,
                ),
            ),
        ),
        Mistake(
            "a mean over rows for the bias. The rules sum; the mean is in the gradient already.",
            (
                lambda x, w, b, g: (
                    x.T @ _inner(x, w, b, g),
                    _inner(x, w, b, g).mean(axis=0),
                    residual_backward(x, w, b, g)[2],
                ),
            ),
        ),
        Mistake(
            "the slope of the ReLU at 0. It is 0 there: on is where the input is above 0.",
            (
                lambda x, w, b, g: (
                    x.T @ (s := g * (x @ w + b >= 0)),
                    s.sum(axis=0),
                    g + s @ w.T,
                ),
            ),
        ),
        Mistake(
            "the order: first for w, then for b, then for x.",
            (
                lambda x, w, b, g: (
                    residual_backward(x, w, b, g)[2],
                    *residual_backward(x, w, b, g)[:2],
                ),
            ),
        ),
    ),
    hints=(
        "Name the pieces: a = x w + b, r = relu(a), h = x + r. Walk back from h.",
        "h = x + r hands its gradient to both: one copy goes to x, one to r.",
        "With s = output_gradient * (a > 0): xᵀ s, the sum of the rows of s,"
        " and output_gradient + s wᵀ.",
    ),
)


# 03.3 --------------------------------------------------------------------------------------------
def _entropy(x: np.ndarray) -> np.ndarray:
    """The entropy of each pixel in nats, 0 where x is 0 or 1."""
    return -x * np.log(np.where(x > 0, x, 1)) - (1 - x) * np.log(np.where(x < 1, 1 - x, 1))


# cross_entropy computes no p, so any logit is safe. np.where turns ln 0 into ln 1.
def excess_nats(x: np.ndarray, logits: np.ndarray) -> float:
    """The cross-entropy less the entropy of the pixels: a sum over pixels, a mean over rows."""
    ink = x * np.log(np.where(x > 0, x, 1))  # 0 · ln 0 = 0
    paper = (1 - x) * np.log(np.where(x < 1, 1 - x, 1))
    return cross_entropy(x, logits).mean() + (ink + paper).sum(axis=1).mean()


def _cases_3() -> list[Case]:
    small = {"x": np.array([[0.0, 1.0, 0.5]]), "logits": np.array([[-1.0, 2.0, 0.5]])}
    rng = np.random.default_rng(31)
    grey = {"x": rng.uniform(0.05, 0.95, (4, 5)), "logits": rng.normal(size=(4, 5))}
    far = {"x": np.array([[0.25, 0.75]]), "logits": np.array([[40.0, -1000.0]])}
    sure = {"x": np.array([[0.0, 1.0], [1.0, 0.0]]), "logits": np.array([[800.0, 40.0]] * 2)}
    # beyond the range in which ln(1 + eᵃ) may be taken for 0 or for a, and small enough to show it
    between = {
        "x": np.array([[0.0, 1.0, 0.25, 0.0, 1.0]]),
        "logits": np.array([[-12.5, 10.5, -1.0, -19.5, 19.5]]),
    }
    return [small, grey, far, sure, between]


def _cut(x: np.ndarray, logits: np.ndarray) -> float:
    """Take ln(1 + eᵃ) for 0 below −5."""
    soft = np.where(logits < -5, 0.0, softplus(logits))
    return float((soft - logits * x - _entropy(x)).sum(axis=1).mean())


def _naive(x: np.ndarray, logits: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        p = 1 / (1 + np.exp(-logits))
        parts = x * np.log(x / p) + (1 - x) * np.log((1 - x) / (1 - p))
    return float(parts.sum(axis=1).mean())


def _entropy_with_nan(x: np.ndarray, logits: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        entropy = -(x * np.log(x) + (1 - x) * np.log(1 - x)).sum(axis=1)
    return float((cross_entropy(x, logits) - entropy).mean())


EXERCISE_3 = Exercise(
    number="03.3",
    solution=(excess_nats,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the cross-entropy itself. Its floor, the entropy of the pixels, is still in it.",
            (lambda x, a: float(cross_entropy(x, a).mean()),),
        ),
        Mistake(
            "the sign of the entropy: −x ln x − (1 − x) ln(1 − x) is positive, and is taken off.",
            (lambda x, a: float((cross_entropy(x, a) + _entropy(x).sum(axis=1)).mean()),),
        ),
        Mistake(
            "0 · ln 0 is no number in floating point. Its limit is 0: leave these pixels out.",
            (_entropy_with_nan,),
        ),
        Mistake(
            "typed as it stands, with probabilities: logarithms of 0. Start from cross_entropy.",
            (_naive,),
        ),
        Mistake(
            "ln(1 + eᵃ) is taken for 0 where a is far below 0. It is small there, not 0, and needs"
            " no cut: np.logaddexp(0, a).",
            (_cut,),
        ),
        Mistake(
            "bits. Nats use the natural logarithm.", (lambda x, a: excess_nats(x, a) / np.log(2),)
        ),
        Mistake(
            "a mean over pixels. This course sums over pixels.",
            (lambda x, a: excess_nats(x, a) / x.shape[1],),
        ),
        Mistake(
            "a sum over images. Take the mean.",
            (lambda x, a: excess_nats(x, a) * len(x),),
        ),
    ),
    hints=(
        "The smallest possible cross-entropy is the entropy of the pixels: take it off.",
        "cross_entropy(x, logits) is safe. Only −x ln x − (1 − x) ln(1 − x) needs care at 0 and 1.",
        "np.log(np.where(x > 0, x, 1)) is 0 where x is 0, and so is its product with x.",
    ),
)


# 03.4 --------------------------------------------------------------------------------------------
# g is output_gradient. For one column: ∂mean/∂x_j = 1/n and ∂s/∂x_j = y_j / n, so
# ∂y_i/∂x_j = (δ_ij - 1/n - y_i y_j / n) / s. Multiply by g_i and sum over i.
# The result is g without its mean and its part along y, over s: adding a constant to x, or
# stretching it along y, leaves y.
def standardise_backward(x: np.ndarray, output_gradient: np.ndarray) -> np.ndarray:
    """(g − mean(g) − y mean(g y)) / s, means over rows."""
    s = x.std(axis=0)  # (d,)
    y = (x - x.mean(axis=0)) / s
    along = (output_gradient * y).mean(axis=0)
    return (output_gradient - output_gradient.mean(axis=0) - y * along) / s


def _cases_4() -> list[Case]:
    small = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, -1.0]])
    cases: list[Case] = [
        {"x": small, "output_gradient": np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0]])}
    ]
    for n, d, seed in ((7, 3, 41), (5, 4, 42)):
        x, g = _drawn(seed, (n, d), (n, d))
        cases.append({"x": 3 * x + 1, "output_gradient": g + 0.5})
    x, g = _drawn(43, (6, 3), (6, 3))
    cases.append({"x": x * [1e-3, 1.0, 1e3], "output_gradient": g})
    return cases


def _with_a_floor(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    sd = np.sqrt(x.var(axis=0) + 1e-5)
    y = (x - x.mean(axis=0)) / sd
    return (g - g.mean(axis=0) - y * (g * y).mean(axis=0)) / sd


def _standardised(x: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    sd = x.std(axis=axis, keepdims=True)
    return (x - x.mean(axis=axis, keepdims=True)) / sd, sd


def _sums(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    y, sd = _standardised(x)
    return (g - g.sum(axis=0) - y * (g * y).sum(axis=0)) / sd


def _unbiased(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    sd = x.std(axis=0, ddof=1)
    y = (x - x.mean(axis=0)) / sd
    return (g - g.mean(axis=0) - y * (g * y).sum(axis=0) / (len(x) - 1)) / sd


def _unbiased_forward(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Divide by n − 1 in the standard deviation, and by n in the means of the gradient."""
    sd = x.std(axis=0, ddof=1)
    y = (x - x.mean(axis=0)) / sd
    return (g - g.mean(axis=0) - y * (g * y).mean(axis=0)) / sd


EXERCISE_4 = Exercise(
    number="03.4",
    solution=(standardise_backward,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "mean and standard deviation taken for constants. They depend on every row.",
            (lambda x, g: g / x.std(axis=0),),
        ),
        Mistake(
            "the standard deviation taken for a constant: it moves with x as well.",
            (lambda x, g: (g - g.mean(axis=0)) / x.std(axis=0),),
        ),
        Mistake(
            "the mean taken for a constant: it moves with x as well.",
            (lambda x, g: (g - (y := _standardised(x)[0]) * (g * y).mean(axis=0)) / x.std(axis=0),),
        ),
        Mistake("sums over rows where means belong: each row moves the mean by 1/n.", (_sums,)),
        Mistake(
            "multiplied by the standard deviation. The layer divides by it, and so does its slope.",
            (lambda x, g: standardise_backward(x, g) * x.var(axis=0),),
        ),
        Mistake(
            "the wrong axis: each column is standardised, over rows.",
            (lambda x, g: standardise_backward(x.T, g.T).T,),
        ),
        Mistake("the standard deviation with n − 1. Here it is the one with n.", (_unbiased,)),
        Mistake(
            "a small number is added to the variance, as libraries do against a division by zero."
            " Here s is the standard deviation itself.",
            (_with_a_floor,),
        ),
        Mistake(
            "the standard deviation with n − 1. Here it is the one with n.",
            (_unbiased_forward,),
        ),
    ),
    hints=(
        "Treat one column. y_i = (x_i − m) / s, where m and s depend on every x_j.",
        "∂m/∂x_j = 1/n and ∂s/∂x_j = y_j / n. So ∂y_i/∂x_j = (δ_ij − 1/n − y_i y_j / n) / s.",
        "Multiply by g_i and sum over i: (g_j − mean(g) − y_j mean(g y)) / s.",
    ),
)


# 03.5 --------------------------------------------------------------------------------------------
# m is a geometric sum: (1 - β₁)(1 + β₁ + … + β₁ᵗ⁻¹) g = (1 - β₁ᵗ) g; in the same way v.
def uncorrected_ratio(t: np.ndarray, beta1: float, beta2: float) -> np.ndarray:
    """m / √v over m̂ / √v̂ after t steps of a constant gradient."""
    return (1 - beta1**t) / np.sqrt(1 - beta2**t)


def _cases_5() -> list[Case]:
    return [
        {"t": np.array([1, 2, 10]), "beta1": 0.9, "beta2": 0.999},
        {"t": np.array([1, 5, 50, 500]), "beta1": 0.5, "beta2": 0.99},
        {"t": np.array([3]), "beta1": 0.0, "beta2": 0.9},
        {"t": np.arange(1, 101), "beta1": 0.9, "beta2": 0.999},
    ]


EXERCISE_5 = Exercise(
    number="03.5",
    solution=(uncorrected_ratio,),
    cases=_cases_5,
    mistakes=(
        Mistake(
            "upside down: asked is the uncorrected step over the corrected one.",
            (lambda t, b1, b2: 1 / uncorrected_ratio(t, b1, b2),),
        ),
        Mistake(
            "the square root is missing: the step divides by √v.",
            (lambda t, b1, b2: (1 - b1**t) / (1 - b2**t),),
        ),
        Mistake(
            "the betas are exchanged: β₁ belongs to m, β₂ to v.",
            (lambda t, b1, b2: uncorrected_ratio(t, b2, b1),),
        ),
        Mistake(
            "the first step only. After t steps the sums have t terms: powers of t.",
            (lambda t, b1, b2: np.full(len(t), (1 - b1) / np.sqrt(1 - b2)),),
        ),
        Mistake(
            "t counted from 0. After the first step t is 1.",
            (lambda t, b1, b2: uncorrected_ratio(t + 1, b1, b2),),
        ),
        Mistake(
            "the square root over m as well. Only v is a mean of squares.",
            (lambda t, b1, b2: np.sqrt((1 - b1**t) / (1 - b2**t)),),
        ),
        Mistake(
            "only m lacks its correction here. v lacks its own as well: divide by √(1 − β₂ᵗ).",
            (lambda t, b1, b2: 1 - b1**t,),
        ),
    ),
    hints=(
        "Unroll m for a constant g: (1 − β₁)(1 + β₁ + … + β₁^(t−1)) g, a geometric sum.",
        "So m = (1 − β₁ᵗ) g and v = (1 − β₂ᵗ) g². The corrected ones are g and g².",
        "Divide m / √v by g / √(g²).",
    ),
    rtol=1e-4,  # 1 − β₂ᵗ with β₂ = 0.999 loses three of the seven digits of float32
)


# 03.6 --------------------------------------------------------------------------------------------
# Unit j is off on row i where b_j <= -(x_i · w_j). All rows: the tightest of these bounds.
def deadly_bias(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Minus the largest input that each unit ever gets."""
    return -(x @ w).max(axis=0)


def _cases_6() -> list[Case]:
    small = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]])
    cases: list[Case] = [{"x": small, "w": np.array([[1.0, -1.0, 0.5], [0.5, 1.0, -2.0]])}]
    for n, d, m, seed in ((8, 3, 4, 61), (20, 5, 2, 62)):
        x, w = _drawn(seed, (n, d), (d, m))
        cases.append({"x": x, "w": w})
    x, w = map(np.abs, _drawn(63, (15, 3), (3, 3)))
    x[-1] *= 5
    cases.append({"x": x, "w": w * [1.0, -1.0, -1e-3]})  # two units that no row reaches
    return cases


EXERCISE_6 = Exercise(
    number="03.6",
    solution=(deadly_bias,),
    cases=_cases_6,
    mistakes=(
        Mistake(
            "the sign: the bias must pull the largest input down to zero.",
            (lambda x, w: (x @ w).max(axis=0),),
        ),
        Mistake(
            "the smallest input. Then only one row is off; the largest must be.",
            (lambda x, w: -(x @ w).min(axis=0),),
        ),
        Mistake(
            "one bias for all units. It kills them, but most could have had a larger one.",
            (lambda x, w: np.full(w.shape[1], -(x @ w).max()),),
        ),
        Mistake(
            "the wrong axis: one number for each unit, the maximum over rows.",
            (lambda x, w: -(x @ w).max(axis=1),),
        ),
        Mistake(
            "the largest absolute value. A large negative input is off already.",
            (lambda x, w: -np.abs(x @ w).max(axis=0),),
        ),
        Mistake(
            "a bias that is never above 0. A unit whose inputs are all negative is off for a"
            " positive bias as well.",
            (lambda x, w: -np.maximum((x @ w).max(axis=0), 0.0),),
        ),
        Mistake(
            "the mean input. About half of the rows would still get through.",
            (lambda x, w: -(x @ w).mean(axis=0),),
        ),
    ),
    hints=(
        "A unit is off on row i where x_i · w + b ≤ 0.",
        "Off on all rows: b ≤ −x_i · w for every i. Which of these bounds is the tightest?",
        "Minus the maximum over rows of x @ w, one for each column.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5, EXERCISE_6)
