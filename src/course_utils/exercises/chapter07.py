"""The exercises of chapter 07, Contractive autoencoders."""

from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array, as_parts


def _layer(n: int, d: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data and one layer, far from the point where all units are half on."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(d, k)), rng.normal(size=k) + 0.7


def _layer_cases() -> list[Case]:
    small = {"x": np.array([[1.0, -1.0]]), "w": np.array([[0.5], [2.0]]), "b": np.array([0.3])}
    cases: list[Case] = [small]
    for n, d, k, seed in ((5, 4, 3, 71), (3, 3, 3, 72)):
        x, w, b = _layer(n, d, k, seed)
        cases.append({"x": x, "w": w, "b": b})
    x, w, _ = _layer(4, 3, 3, 73)
    far = {"x": 0.1 * x, "w": w, "b": np.array([6.5, -6.5, -30.0])}  # all units saturated
    return [*cases, far]


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


# 07.1 --------------------------------------------------------------------------------------------
# J_ij = tanh'(a_i) W_ji as in (7.1), with tanh' = 1 - tanh². The rest is (7.2).
def tanh_penalty(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Σ_i (1 − z_i²)² ‖W_·i‖²."""
    z = np.tanh(x @ w + b)  # (n, k)
    return ((1 - z**2) ** 2) @ (w**2).sum(axis=0)


EXERCISE_1 = Exercise(
    number="07.1",
    solution=(tanh_penalty,),
    cases=_layer_cases,
    mistakes=(
        Mistake(
            "the derivative of the sigmoid, z (1 − z). That of tanh is 1 − z².",
            (lambda x, w, b: _with_derivative(x, w, b, lambda z: (z * (1 - z)) ** 2),),
        ),
        Mistake(
            "the derivative is not squared. Each entry of the Jacobian is s'(a_i) W_ji, and the"
            " norm adds up the squares of both factors.",
            (lambda x, w, b: _with_derivative(x, w, b, lambda z: 1 - z**2),),
        ),
        Mistake(
            "1 − a² in place of 1 − z²: the derivative of tanh at a is 1 − tanh(a)².",
            (lambda x, w, b: ((1 - (x @ w + b) ** 2) ** 2) @ (w**2).sum(axis=0),),
        ),
        Mistake(
            "the mean over rows. Return one number for each row, (n,).",
            (lambda x, w, b: tanh_penalty(x, w, b).mean(),),
        ),
        Mistake(
            "the length of each column, not its square: no root inside the sum.",
            (lambda x, w, b: ((1 - np.tanh(x @ w + b) ** 2) ** 2) @ np.linalg.norm(w, axis=0),),
        ),
        Mistake(
            "each column is summed before it is squared. Square the weights first, then add.",
            (lambda x, w, b: ((1 - np.tanh(x @ w + b) ** 2) ** 2) @ w.sum(axis=0) ** 2,),
        ),
        Mistake(
            "the norm itself. The penalty is its square.",
            (lambda x, w, b: np.sqrt(tanh_penalty(x, w, b)),),
        ),
    ),
    hints=(
        "Only s' changes: J_ij = s'(a_i) W_ji for any activation s.",
        "tanh' = 1 − tanh², so one needs z = tanh(xW + b) and nothing else of the activation.",
        "Square the derivative, (n, k), and multiply by the squared column norms of w, (k,).",
    ),
)


def _with_derivative(x: np.ndarray, w: np.ndarray, b: np.ndarray, squared: Any) -> np.ndarray:
    return squared(np.tanh(x @ w + b)) @ (w**2).sum(axis=0)


# 07.2 --------------------------------------------------------------------------------------------
# Let W_·i be the column of unit i. The penalty is the mean of Σ_i q_i² ‖W_·i‖², and
# dq/da = q (1 - 2z). Through ‖W_·i‖²: 2 q_i² W_ji. Through q, as da_i/dW_ji = x_j:
# 2 q_i² (1 - 2 z_i) ‖W_·i‖² x_j.
def penalty_gradient(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean over rows of 2 q² W + 2 xᵀ [q² (1 − 2z) ‖W_·i‖²], with q = z (1 − z)."""
    z = 1 / (1 + np.exp(-(x @ w + b)))  # (n, k)
    q2 = (z * (1 - z)) ** 2
    direct = 2 * q2.mean(axis=0) * w
    return direct + 2 * x.T @ (q2 * (1 - 2 * z) * (w**2).sum(axis=0)) / len(x)


def _gradient_parts(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, *, columns: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return what comes from the squared weights, and what comes through the activation."""
    z = _sigmoid(x @ w + b)  # (n, k)
    q2 = (z * (1 - z)) ** 2
    norms = (w**2).sum(axis=0) if columns else 1.0
    return 2 * q2.mean(axis=0) * w, 2 * x.T @ (q2 * (1 - 2 * z) * norms) / len(x)


EXERCISE_2 = Exercise(
    number="07.2",
    solution=(penalty_gradient,),
    cases=_layer_cases,
    mistakes=(
        Mistake(
            "only the part that comes from the squared weights. W also moves z, and with it the"
            " factor [z (1 − z)]².",
            (lambda x, w, b: _gradient_parts(x, w, b)[0],),
        ),
        Mistake(
            "only the part that comes through z. W stands in ‖W_·i‖² too.",
            (lambda x, w, b: _gradient_parts(x, w, b)[1],),
        ),
        Mistake(
            "the sum over rows instead of the mean: divide by n.",
            (lambda x, w, b: penalty_gradient(x, w, b) * len(x),),
        ),
        Mistake(
            "half of it: both factors are squares, and each square brings a 2.",
            (lambda x, w, b: penalty_gradient(x, w, b) / 2,),
        ),
        Mistake(
            "the sign of the second part: the derivative of z (1 − z) by a is z (1 − z)(1 − 2z).",
            (lambda x, w, b: np.subtract(*_gradient_parts(x, w, b)),),
        ),
        Mistake(
            "‖W_·i‖² is missing in the part that comes through z.",
            (lambda x, w, b: np.add(*_gradient_parts(x, w, b, columns=False)),),
        ),
    ),
    hints=(
        "Call q = z (1 − z). The penalty is the mean over rows of Σ_i q_i² ‖W_·i‖²: a product of"
        " two factors that both depend on W.",
        "Second factor: 2 q_i² W_ji. First factor: 2 q_i (dq_i/da_i)(da_i/dW_ji) ‖W_·i‖², with"
        " da_i/dW_ji = x_j.",
        "dq/da = q (1 − 2z). In arrays: 2 (q²).mean(axis=0) * w and"
        " 2 * x.T @ (q² (1 − 2z) ‖W_·i‖²) / n.",
    ),
)


# 07.3 --------------------------------------------------------------------------------------------
# Turn the axes: ‖vJ‖² = Σ γ_i² g_i² with independent standard normal g_i, and Var(g²) = 2.
# Its square is the bound of (7.9) on the variance with signs. That one is smaller unless J = 0:
# signs get the diagonal of J Jᵀ without any error.
def gaussian_sd(j: np.ndarray, m: int) -> float:
    """√((2/m) Σ γ_i⁴), with the singular values γ_i of J."""
    return np.sqrt(2 * ((j @ j.T) ** 2).sum() / m)  # Σ γ⁴ = ‖J Jᵀ‖_F²


def _cases_3() -> list[Case]:
    rng = np.random.default_rng(73)
    return [
        {"j": np.array([[3.0, 0.0], [0.0, 1.0]]), "m": 1},
        {"j": rng.normal(size=(3, 5)), "m": 4},
        {"j": rng.normal(size=(6, 2)), "m": 10},
        {"j": rng.normal(size=(3, 3)) * [1e-3, 1.0, 20.0], "m": 7},
    ]


EXERCISE_3 = Exercise(
    number="07.3",
    solution=(gaussian_sd,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the variance. The standard deviation is its root.",
            (lambda j, m: gaussian_sd(j, m) ** 2,),
        ),
        Mistake(
            "the error of one projection. The mean of m of them has a variance m times smaller.",
            (lambda j, m: gaussian_sd(j, 1),),
        ),
        Mistake(
            "divided by m, not by √m: the variance falls as 1/m.",
            (lambda j, m: gaussian_sd(j, 1) / m,),
        ),
        Mistake(
            "the formula for random signs. A normal v_i² is not always 1: the diagonal of J Jᵀ"
            " adds to the error.",
            (lambda j, m: np.sqrt(2 / m * ((j @ j.T) ** 2 * (1 - np.eye(len(j)))).sum()),),
        ),
        Mistake(
            "the factor 2 is missing: the square of a standard normal number has variance 2.",
            (lambda j, m: gaussian_sd(j, m) / np.sqrt(2),),
        ),
        Mistake(
            "(Σ γ²)² in place of Σ γ⁴: the directions are independent, so their variances add up.",
            (lambda j, m: np.sqrt(2 / m) * (j**2).sum(),),
        ),
        Mistake(
            "Σ γ² in place of Σ γ⁴: a number times γ² has γ⁴ times the variance.",
            (lambda j, m: np.sqrt(2 / m * (j**2).sum()),),
        ),
    ),
    hints=(
        "Turn the axes: with J Jᵀ = Q diag(γ²) Qᵀ, vQ is again standard normal.",
        "So ‖vJ‖² = Σ γ_i² g_i² with independent standard normal g_i. What is Var(g²)?",
        "Var(g²) = E g⁴ − 1 = 2. One projection has variance 2 Σ γ_i⁴; the mean of m, a m-th.",
    ),
)


# 07.4 --------------------------------------------------------------------------------------------
# Each direction minimises v (1 - p)² + λ p², so v (1 - p) = λ p. None that varies is dropped,
# all are reduced: shrinking in place of selecting. With λ = σ² it is the best linear denoiser.
def whole_shares(variances: np.ndarray, weight: float) -> np.ndarray:
    """v / (v + λ)."""
    return variances / (variances + weight)


EXERCISE_4 = Exercise(
    number="07.4",
    solution=(whole_shares,),
    cases=lambda: [
        {"variances": np.array([3.0, 1.0, 0.25]), "weight": 1.0},
        {"variances": np.array([0.2, 0.7, 0.001, 0.5, 0.04]), "weight": 0.09},
        {"variances": np.array([2.0, 0.0]), "weight": 0.5},
        {"variances": np.array([1e4, 3.0, 1e-6]), "weight": 25.0},
    ],
    mistakes=(
        Mistake(
            "this is the rule for a penalty on the encoder. The Jacobian of the whole is P itself,"
            " and its squared norm is Σ p_i², not Σ p_i.",
            (lambda v, weight: np.maximum(0, 1 - weight / (2 * np.maximum(v, 1e-12))),),
        ),
        Mistake(
            "the share that is lost. p_i is the share that is kept.",
            (lambda v, weight: weight / (v + weight),),
        ),
        Mistake(
            "a factor 2 too many: both terms are squares, and both derivatives bring a 2.",
            (lambda v, weight: v / (v + 2 * weight),),
        ),
        Mistake(
            "the root. The singular values of the encoder are √p_i; asked for is p_i.",
            (lambda v, weight: np.sqrt(v / (v + weight)),),
        ),
        Mistake(
            "the weight counts as a variance, not as a standard deviation: do not square it.",
            (lambda v, weight: v / (v + weight**2),),
        ),
    ),
    hints=(
        "x̂ = xP, so ∂x̂/∂x = P. What is ‖P‖_F² in terms of its eigenvalues p_i?",
        "For each direction minimise v (1 − p)² + λ p².",
        "The derivative: −2 v (1 − p) + 2 λ p = 0.",
    ),
)


# 07.5 --------------------------------------------------------------------------------------------
# Let S be the steepness, a = -S/2 at x and +S/2 at x + δ. The slope at x is about S exp(-S/2), and
# the code moves by nearly 1: exp(S/2) / S times as far as promised. The 12 brings a factor e⁶,
# some 400, to pay for S. That is enough for ratios up to 10⁸⁴.
def broken_promise(x: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start on the flat side of a steep unit, and step over the edge."""
    steepness = 2 * np.log(ratio) + 12
    delta = np.eye(len(x))[0]  # one pixel, by 1
    w = steepness * delta[:, None]
    return w, -steepness / 2 - x @ w, delta


def _unit(
    x: np.ndarray, *, steepness: float, start: float, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Look at the first pixel alone: a = steepness · start at x, and δ = step along that pixel."""
    w = np.zeros((len(x), 1))
    w[0] = steepness
    delta = np.zeros(len(x))
    delta[0] = step
    return w, steepness * start - x @ w, delta


def _judge_5(case: Case, came: Any) -> None:
    x, ratio = case["x"], case["ratio"]
    w, b, delta = map(as_array, as_parts(came, 3, "three arrays, w, b and delta"))
    wanted, shapes = ((len(x), 1), (1,), (len(x),)), tuple(np.shape(part) for part in came)
    if w is None or b is None or delta is None or shapes != wanted:
        raise Wrong(f"shapes {wanted}", f"{shapes}")
    if not all(np.all(np.isfinite(part)) for part in (w, b, delta)):
        raise Wrong("finite numbers", "an entry that is not")
    length = float(np.linalg.norm(delta))
    if not 0 < length <= 1 + 1e-9:
        raise Wrong("a step delta of length above 0, at most 1", f"length {length:.3g}")
    with np.errstate(over="ignore"):
        before, after = _sigmoid(x @ w + b), _sigmoid((x + delta) @ w + b)
    moved = float(np.linalg.norm(after - before))
    if moved < 0.1:
        raise Wrong("a code that moves by 0.1 or more", f"it moves by {moved:.3g}")
    with np.errstate(over="ignore"):  # 1 - z is rounded to 0 where z is near 1: take s(-a)
        slope = before * _sigmoid(-(x @ w + b))
    promised = float(np.linalg.norm(slope * w.T)) * length
    if moved < ratio * promised:
        raise Wrong(
            f"a movement of {ratio:g} times ‖J(x)‖_F ‖δ‖ = {promised:.3g}",
            f"it moves by {moved:.3g}",
        )


EXERCISE_5 = Exercise(
    number="07.5",
    solution=(broken_promise,),
    cases=lambda: [
        {"x": np.array([0.5]), "ratio": 10.0},
        {"x": np.array([0.2, -1.0, 3.0]), "ratio": 1000.0},
        {"x": np.array([-40.0, 0.0]), "ratio": 1e10},
        {"x": np.array([0.7, 0.0]), "ratio": 1e30},
    ],
    judge=_judge_5,
    mistakes=(
        Mistake(
            "x sits in the middle of the sigmoid, where it is steepest: from there the bound is"
            " safe. Start on the flat part.",
            (lambda x, ratio: _unit(x, steepness=20.0, start=0.0, step=1.0),),
        ),
        Mistake(
            "the step goes the wrong way, farther into the flat part. Step over the edge.",
            (lambda x, ratio: _unit(x, steepness=40.0, start=-0.5, step=-1.0),),
        ),
        Mistake(
            "the unit is too gentle: over a step of length 1 its slope hardly changes. Make the"
            " weights large.",
            (lambda x, ratio: _unit(x, steepness=1.0, start=-0.5, step=1.0),),
        ),
        Mistake(
            "one steepness for every ratio. The larger the ratio, the steeper the unit must be.",
            (lambda x, ratio: _unit(x, steepness=100.0, start=-0.5, step=1.0),),
        ),
        Mistake(
            "the step is longer than 1: it need not be, if the weights are large.",
            (lambda x, ratio: _unit(x, steepness=2.0, start=-5.0, step=10.0),),
        ),
        Mistake(
            "the step ends before the edge. From the flat part to the middle, a must rise from"
            " far below 0 to 0 or above.",
            (lambda x, ratio: _unit(x, steepness=40.0, start=-0.5, step=0.25),),
        ),
    ),
    hints=(
        "‖J(x)‖_F = s'(a) ‖w‖ for one unit. Where is s'(a) tiny although ‖w‖ is large?",
        "Let a be −S/2 at x and +S/2 at x + δ: the code moves from nearly 0 to nearly 1.",
        "With δ one pixel: w = S there and 0 elsewhere, b = −S/2 − x·w. The slope at x is about"
        " S exp(−S/2): choose S.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
