"""The exercises of chapter 19, Tighter bounds and richer posteriors."""

import math
from typing import Any

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array, as_parts


# 19.1 --------------------------------------------------------------------------------------------
# With P = S⁻¹ and D its diagonal, the mean of (w/p)² under q is the integral of posterior² / q:
# det P / √det D times (2π)^(-k/2) times the integral of e^(-½ z (2P − D) zᵀ). So it is
# det P / √(det D · det(2P − D)), if 2P − D is positive definite, and infinite if not. The mean of
# w/p is 1: subtract 1². For two code numbers 2P − D is, up to a factor, [[1, −2r], [−2r, 1]]: from
# |r| = ½ on there is no variance.
def weight_variance(cov: np.ndarray) -> float:
    """Variance of w/p for the best q without correlations: (k, k) -> one number."""
    precision = np.linalg.inv(cov)
    own = np.diag(np.diag(precision))  # the precisions of q
    if np.linalg.eigvalsh(2 * precision - own).min() <= 0:
        return math.inf
    logs = [np.linalg.slogdet(a)[1] for a in (precision, own, 2 * precision - own)]
    return float(np.exp(logs[0] - 0.5 * logs[1] - 0.5 * logs[2]) - 1)


def _covariance(seed: int, k: int, mixing: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    root = np.eye(k) + mixing * rng.normal(size=(k, k))
    scale = np.diag(rng.uniform(0.1, 2, size=k))
    return scale @ root @ root.T @ scale


def _cases_1() -> list[Case]:
    return [
        {"cov": np.array([[1.0, 0.4], [0.4, 1.0]])},
        {"cov": np.array([[4.0, -0.6], [-0.6, 0.25]])},  # a correlation of −0.6: none
        {"cov": _covariance(1, 3, 0.15)},
        {"cov": _covariance(2, 5, 0.1)},
        {"cov": np.diag([0.3, 2.0, 0.01])},
        {"cov": np.array([[1.0, 0.49], [0.49, 1.0]])},
        {"cov": np.kron(np.eye(2), [[1.0, 0.6], [0.6, 1.0]])},  # two eigenvalues below zero: none
        {"cov": 0.6 * np.eye(3) + 0.4},  # each correlation is 0.4, and there is none
        {"cov": np.kron(np.eye(2), 0.6 * np.eye(3) + 0.4)},  # both at once
    ]


def _variance_with(own: Any, less: float = 1.0, half: float = 0.5) -> Any:
    def answer(cov: np.ndarray) -> float:
        precision = np.linalg.inv(cov)
        d = own(cov, precision)
        inside = 2 * precision - d
        if np.linalg.eigvalsh(inside).min() <= 0:
            return math.inf
        logs = [np.linalg.slogdet(a)[1] for a in (precision, d, inside)]
        return float(np.exp(logs[0] - half * logs[1] - 0.5 * logs[2]) - less)

    return answer


def _diagonal_of_precision(cov: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return np.diag(np.diag(precision))


def _by_determinant(cov: np.ndarray) -> float:
    precision = np.linalg.inv(cov)
    own = _diagonal_of_precision(cov, precision)
    inside = np.linalg.det(2 * precision - own)
    if inside <= 0:
        return math.inf
    return float(np.linalg.det(precision) / np.sqrt(np.linalg.det(own) * inside) - 1)


def _by_pairs(cov: np.ndarray) -> float:
    scale = np.sqrt(np.diag(cov))
    correlations = np.abs(cov / np.outer(scale, scale)) - np.eye(len(cov))
    return math.inf if correlations.max() >= 0.5 else _without_test(cov)


def _by_pairs_in_logs(cov: np.ndarray) -> float:
    scale = np.sqrt(np.diag(cov))
    correlations = np.abs(cov / np.outer(scale, scale)) - np.eye(len(cov))
    if correlations.max() >= 0.5:
        return math.inf
    precision = np.linalg.inv(cov)
    own = _diagonal_of_precision(cov, precision)
    with np.errstate(invalid="ignore"):
        root = np.sqrt(np.linalg.det(own) * np.linalg.det(2 * precision - own))
    return float(np.linalg.det(precision) / root - 1)


def _without_test(cov: np.ndarray) -> float:
    precision = np.linalg.inv(cov)
    own = _diagonal_of_precision(cov, precision)
    inside = np.abs(np.linalg.det(2 * precision - own))
    return float(np.linalg.det(precision) / np.sqrt(np.linalg.det(own) * inside) - 1)


EXERCISE_1 = Exercise(
    number="19.1",
    solution=(weight_variance,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "the second moment. The variance is it minus 1, the square of the mean of w/p.",
            (_variance_with(_diagonal_of_precision, less=0.0),),
        ),
        Mistake(
            "q with the posterior's own variances. The best one keeps the precisions, 1/P_jj.",
            (_variance_with(lambda cov, precision: np.diag(1 / np.diag(cov))),),
        ),
        Mistake(
            "a determinant does not tell whether the integral exists: 2P − D must be positive"
            " definite, all its eigenvalues above 0.",
            (_without_test,),
        ),
        Mistake(
            "an even number of eigenvalues below 0 has a determinant above 0. Ask each eigenvalue"
            " of 2P − D.",
            (_by_determinant,),
        ),
        Mistake(
            "½ is the limit for two code numbers. With more, no pair need reach it: look at the"
            " eigenvalues of 2P − D.",
            (_by_pairs,),
        ),
        Mistake(
            "no pair at ½, and yet a square root of a negative number: 2P − D has an eigenvalue"
            " below 0, and the integral does not exist.",
            (_by_pairs_in_logs,),
        ),
        Mistake(
            "one division by q, not two: posterior²/q has the density of q below, once.",
            (_variance_with(_diagonal_of_precision, half=-0.5),),
        ),
        Mistake(
            "the first term of a small gap: 2 KL. It holds for weights that hardly vary.",
            (
                lambda cov: float(
                    np.log(np.diag(np.linalg.inv(cov))).sum() + np.linalg.slogdet(cov)[1]
                ),
            ),
        ),
    ),
    hints=(
        "w/p is posterior/q. So the second moment is the integral of posterior²/q.",
        "Exponents add: twice the posterior's precision less that of q, 2P − D. When is its"
        " integral finite?",
        "det P / √(det D · det(2P − D)) − 1, with D the diagonal of P.",
    ),
)


# 19.2 --------------------------------------------------------------------------------------------
# ∂h_i/∂z_j = δ_ij + u_i tanh′(w·z + b) w_j, the identity and a product of two vectors.
def planar_log_det(z: np.ndarray, u: np.ndarray, w: np.ndarray, b: float) -> np.ndarray:
    """Log-determinant of z + u tanh(w·z + b): (n, k), (k,), (k,) -> (n,)."""
    slope = 1 - np.tanh(z @ w + b) ** 2  # (n,)
    return np.log(np.abs(1 + slope * (u @ w)))


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(192)
    return [
        {
            "z": np.array([[0.0, 0.0], [1.0, -1.0], [0.5, 2.0]]),
            "u": np.array([1.0, 0.5]),
            "w": np.array([0.5, -1.0]),
            "b": 0.2,
        },
        *(
            {
                "z": rng.normal(size=(6, k)),
                "u": rng.normal(size=k),
                "w": rng.normal(size=k),
                "b": float(rng.normal()),
            }
            for k in (3, 5)
        ),
        {  # folded: 1 + u·w tanh′ is below zero near the middle
            "z": np.array([[0.1], [-0.2], [1.5]]),
            "u": np.array([-3.0]),
            "w": np.array([1.0]),
            "b": 0.0,
        },
    ]


def _planar_with(factor: Any) -> Any:
    def answer(z: np.ndarray, u: np.ndarray, w: np.ndarray, b: float) -> np.ndarray:
        return np.log(np.abs(factor(z @ w + b, u, w)))

    return answer


EXERCISE_2 = Exercise(
    number="19.2",
    solution=(planar_log_det,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "tanh in place of its slope, 1 − tanh².",
            (_planar_with(lambda a, u, w: 1 + np.tanh(a) * (u @ w)),),
        ),
        Mistake(
            "the slope without the square: tanh′ = 1 − tanh².",
            (_planar_with(lambda a, u, w: 1 + (1 - np.tanh(a)) * (u @ w)),),
        ),
        Mistake(
            "w·w in place of u·w.",
            (_planar_with(lambda a, u, w: 1 + (1 - np.tanh(a) ** 2) * (w @ w)),),
        ),
        Mistake(
            "the identity is missing: h(z) = z + …, so the determinant is 1 + …",
            (_planar_with(lambda a, u, w: (1 - np.tanh(a) ** 2) * (u @ w)),),
        ),
        Mistake(
            "the determinant, not its logarithm.",
            (lambda z, u, w, b: np.abs(1 + (1 - np.tanh(z @ w + b) ** 2) * (u @ w)),),
        ),
        Mistake(
            "a product over code numbers, as if the Jacobian were diagonal. It is the identity plus"
            " a product of two vectors.",
            (
                lambda z, u, w, b: np.log(
                    np.abs(1 + (1 - np.tanh(z @ w + b) ** 2)[:, None] * (u * w))
                ).sum(axis=1),
            ),
        ),
        Mistake(
            "no absolute value: where the map turns space over the determinant is below zero.",
            (lambda z, u, w, b: np.log(1 + (1 - np.tanh(z @ w + b) ** 2) * (u @ w)),),
        ),
        Mistake(
            "the sign: this is the logarithm for the way back.",
            (lambda z, u, w, b: -planar_log_det(z, u, w, b),),
        ),
    ),
    hints=(
        "What is ∂h_i/∂z_j? The identity, plus a number that is a product of u_i, w_j and a slope.",
        "The slope is that of tanh at w·z + b: 1 − tanh².",
        "ln |1 + (1 − tanh²(w·z + b)) u·w|.",
    ),
)


# 19.3 --------------------------------------------------------------------------------------------
# Along w, with a = w·z + b, the flow does a → a + (u·w) tanh a. With u·w = −2 this falls near
# a = 0 and rises farther out, so it takes the value at 0 again: a = 2 tanh a, near a = 1.915. Codes
# that differ along w alone, with a and −a, go to the same place, and so does the code with a = 0.
# (19.2) would count this place once, where three codes bring density to it: its density would be
# too low there, and the integral of what (19.2) gives below one.
def fold(w: np.ndarray, b: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A planar flow that folds: u and two codes with one image, (k,) each."""
    a = 2.0
    for _ in range(100):
        a = 2 * np.tanh(a)
    along = w / (w @ w)  # a step along w that changes w·z by one
    return -2 * along, (a - b) * along, (-a - b) * along


def _cases_3() -> list[Case]:
    rng = np.random.default_rng(193)
    return [
        {"w": np.array([1.0, 0.0]), "b": 0.0},
        {"w": rng.normal(size=3), "b": 0.7},
        {"w": np.array([0.2, -0.1]), "b": -1.5},
        {"w": np.array([3.0]), "b": 0.4},
    ]


def _judge_3(case: Case, came: Any) -> None:
    w, b = case["w"], case["b"]
    arrays = [as_array(part) for part in as_parts(came, 3)]
    if any(a is None or a.shape != w.shape for a in arrays):
        raise Wrong(f"u, z_1 and z_2, three arrays of shape {w.shape}", "something else")
    u, first, second = (np.asarray(a, dtype=float) for a in arrays)
    if not all(np.isfinite(a).all() for a in (u, first, second)):
        raise Wrong("finite numbers", "nan or infinite numbers")
    if np.linalg.norm(first - second) < 0.1:
        raise Wrong("codes at least 0.1 apart", f"{np.linalg.norm(first - second):.3g} apart")
    lean = np.tanh(w @ first + b) - np.tanh(w @ second + b)
    missed = np.abs((first - second) + u * lean).max()  # a huge u must not swallow the codes
    if missed > 1e-9:
        raise Wrong("the same place, to 1e-9", f"places that differ by {missed:.2g}")


EXERCISE_3 = Exercise(
    number="19.3",
    solution=(fold,),
    cases=_cases_3,
    judge=_judge_3,
    mistakes=(
        Mistake(
            "one code twice. Two different ones must meet.",
            (lambda w, b: (-2 * w / (w @ w), 0 * w, 0 * w),),
        ),
        Mistake(
            "u·w = −½ does not fold: 1 + u·w tanh′ stays above zero, since tanh′ is at most 1.",
            (
                lambda w, b: (
                    -0.5 * w / (w @ w),
                    (1.9150080 - b) * w / (w @ w),
                    (-1.9150080 - b) * w / (w @ w),
                ),
            ),
        ),
        Mistake(
            "the codes lie on both sides of w·z = 0. The fold is at w·z + b = 0: subtract b.",
            (lambda w, b: (fold(w, b)[0], fold(w, 0.0)[1], fold(w, 0.0)[2]),),
        ),
        Mistake(
            "u of the wrong sign: it pushes codes apart. u·w must be below −1.",
            (lambda w, b: (-fold(w, b)[0], *fold(w, b)[1:]),),
        ),
        Mistake(
            "u so large that the codes drown in it. u·w must be below −1.",
            (
                lambda w, b: (
                    1e30 * w / (w @ w),
                    (30 - b) * w / (w @ w),
                    (60 - b) * w / (w @ w),
                ),
            ),
        ),
        Mistake(
            "divided by the length of w where its square belongs.",
            (
                lambda w, b: (
                    fold(w, b)[0],
                    fold(w, b)[1] * np.sqrt(w @ w) * 0.9,
                    fold(w, b)[2] * np.sqrt(w @ w) * 0.9,
                ),
            ),
        ),
    ),
    hints=(
        "Choose u along w. Then only a = w·z + b changes, and the flow does a → a + (u·w) tanh a.",
        "That map is not monotone if u·w < −1. Take −2: where does it come back to the value at 0?",
        "At a = 2 tanh a, and at −a: iterate a = 2 tanh(a) from 2. The codes are (±a − b) w / (w·w)"
        " and u is −2 w / (w·w).",
    ),
)


# 19.4 --------------------------------------------------------------------------------------------
def dreg(
    log_w: np.ndarray, slopes: np.ndarray, sigma: np.ndarray, eps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Doubly reparameterised gradient of L_K for mu and logvar: (n, k) each."""
    total = np.logaddexp.reduce(log_w, axis=1, keepdims=True)
    shares = np.exp(log_w - total)[:, :, None]  # (n, K, 1)
    by_z = shares**2 * slopes
    # ∂z/∂mu = 1 and ∂z/∂logvar = ½ σ ε
    return by_z.sum(axis=1), (by_z * 0.5 * sigma[:, None] * eps).sum(axis=1)


def _cases_4() -> list[Case]:
    rng = np.random.default_rng(194)

    def case(n: int, m: int, k: int, middle: Any) -> Case:
        return {
            "log_w": middle + rng.normal(size=(n, m)),
            "slopes": rng.normal(size=(n, m, k)),
            "sigma": rng.uniform(0.2, 1.5, size=(n, k)),
            "eps": rng.normal(size=(n, m, k)),
        }

    small = {
        "log_w": np.log(np.array([[0.2, 0.6]])),
        "slopes": np.array([[[1.0], [2.0]]]),
        "sigma": np.array([[0.5]]),
        "eps": np.array([[[1.0], [-2.0]]]),
    }
    return [
        small,
        case(3, 4, 2, 0.0),
        case(2, 5, 3, -900.0),
        case(2, 6, 2, 800.0),
        case(3, 1, 2, 1),
        case(2, 5, 2, np.array([[-900.0], [800.0]])),  # far apart in one batch
        case(2, 5, 2, np.array([-900.0, -899.0, 0.0, 799.0, 800.0])),  # and within one image
    ]


def _dreg_with(shares: Any, by_logvar: Any = None) -> Any:
    def answer(
        log_w: np.ndarray, slopes: np.ndarray, sigma: np.ndarray, eps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        by_z = shares(log_w)[:, :, None] * slopes
        factor = by_logvar(sigma, eps) if by_logvar else 0.5 * sigma[:, None] * eps
        return by_z.sum(axis=1), (by_z * factor).sum(axis=1)

    return answer


def _squared(log_w: np.ndarray) -> np.ndarray:
    return special.softmax(log_w, axis=1) ** 2


def _naive(log_w: np.ndarray) -> np.ndarray:
    w = np.exp(log_w)
    return (w / w.sum(axis=1, keepdims=True)) ** 2


def _from_the_smallest(log_w: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        w = np.exp(log_w - log_w.min(axis=1, keepdims=True))
        return (w / w.sum(axis=1, keepdims=True)) ** 2


def _one_largest(log_w: np.ndarray) -> np.ndarray:
    w = np.exp(log_w - log_w.max())
    return (w / w.sum(axis=1, keepdims=True)) ** 2


EXERCISE_4 = Exercise(
    number="19.4",
    solution=(dreg,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "the shares, not their squares: that is the decoder's gradient.",
            (_dreg_with(lambda log_w: special.softmax(log_w, axis=1)),),
        ),
        Mistake(
            "the squares brought to the sum one. Their sum is below one, and that counts.",
            (
                _dreg_with(
                    lambda log_w: _squared(log_w) / _squared(log_w).sum(axis=1, keepdims=True)
                ),
            ),
        ),
        Mistake(
            "shares over the images of a batch. Each image has its own: the sum runs over draws.",
            (_dreg_with(lambda log_w: special.softmax(log_w, axis=0) ** 2),),
        ),
        Mistake(
            "the gradient for σ. ∂z/∂logvar = ½ σ ε.",
            (_dreg_with(_squared, lambda sigma, eps: eps),),
        ),
        Mistake(
            "the ½ is missing: σ = exp(logvar / 2).",
            (_dreg_with(_squared, lambda sigma, eps: sigma[:, None] * eps),),
        ),
        Mistake(
            "a mean over draws. (19.10) is a sum; the shares have divided already.",
            (
                lambda log_w, slopes, sigma, eps: tuple(
                    part / log_w.shape[1] for part in dreg(log_w, slopes, sigma, eps)
                ),
            ),
        ),
        Mistake(
            "the exponential of −900 is zero, that of 800 infinite. Take the largest of each image"
            " out first.",
            (_dreg_with(_naive),),
        ),
        Mistake(
            "the smallest taken out, not the largest: exp of a difference of 1700 is infinite.",
            (_dreg_with(_from_the_smallest),),
        ),
        Mistake(
            "one largest for the whole batch. Beside an image at 800 one at −900 underflows: each"
            " image has a largest of its own.",
            (_dreg_with(_one_largest),),
        ),
        Mistake(
            "a gradient to go down. L_K is to rise; its gradient has no minus.",
            (
                lambda log_w, slopes, sigma, eps: tuple(
                    -part for part in dreg(log_w, slopes, sigma, eps)
                ),
            ),
        ),
    ),
    hints=(
        "Shares first: softmax of log_w over the draws, axis 1, with the largest taken out.",
        "Square them, multiply each draw's slope, add over the draws: the gradient for mu.",
        "For logvar each term gets ∂z/∂logvar = ½ σ ε as well.",
    ),
)


# 19.5 --------------------------------------------------------------------------------------------
def annealed(log_w: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate ln p(x) and the effective sample size: (n, chains, T), (T + 1,) -> (n,) each."""
    of_chain = log_w @ np.diff(betas)  # (n, chains)
    total = np.logaddexp.reduce(of_chain, axis=1)  # (n,)
    shares = np.exp(of_chain - total[:, None])
    return total - np.log(of_chain.shape[1]), 1 / (shares**2).sum(axis=1)


def _cases_5() -> list[Case]:
    rng = np.random.default_rng(195)
    return [
        {
            "log_w": np.array([[[-2.0, -1.0], [-4.0, -1.5]]]),
            "betas": np.array([0.0, 0.25, 1.0]),
        },
        {"log_w": rng.normal(size=(3, 4, 5)), "betas": (np.arange(6) / 5) ** 2},
        {
            "log_w": -900 + 3 * rng.normal(size=(2, 6, 3)),
            "betas": np.array([0.0, 0.1, 0.4, 1.0]),
        },
        {"log_w": rng.normal(size=(2, 5, 1)), "betas": np.array([0.0, 1.0])},
        {  # far apart in one batch
            "log_w": np.array([-900.0, -60.0])[:, None, None] + rng.normal(size=(2, 4, 3)),
            "betas": np.array([0.0, 0.2, 0.5, 1.0]),
        },
        {  # and within one image
            "log_w": np.array([-900.0, -899.0, 100.0, 101.0])[None, :, None]
            + rng.normal(size=(2, 4, 3)),
            "betas": np.array([0.0, 0.2, 0.5, 1.0]),
        },
    ]


def _annealed_with(of_chain: Any) -> Any:
    def answer(log_w: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total = of_chain(log_w, betas)
        estimate = special.logsumexp(total, axis=1) - np.log(total.shape[1])
        return estimate, 1 / (special.softmax(total, axis=1) ** 2).sum(axis=1)

    return answer


def _no_care(log_w: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w = np.exp(log_w @ np.diff(betas))
    return np.log(w.mean(axis=1)), w.sum(axis=1) ** 2 / (w**2).sum(axis=1)


def _smallest_of_each(log_w: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = log_w @ np.diff(betas)
    lowest = total.min(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        w = np.exp(total - lowest)
        estimate = np.log(w.mean(axis=1)) + lowest[:, 0]
        return estimate, w.sum(axis=1) ** 2 / (w**2).sum(axis=1)


def _one_largest_of_all(log_w: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = log_w @ np.diff(betas)
    w = np.exp(total - total.max())
    return np.log(w.mean(axis=1)) + total.max(), w.sum(axis=1) ** 2 / (w**2).sum(axis=1)


EXERCISE_5 = Exercise(
    number="19.5",
    solution=(annealed,),
    cases=_cases_5,
    mistakes=(
        Mistake(
            "weighted by β itself. A step pays the rise, β_t − β_(t−1).",
            (_annealed_with(lambda log_w, betas: log_w @ betas[1:]),),
        ),
        Mistake(
            "a mean over steps: right for equal rises alone.",
            (_annealed_with(lambda log_w, betas: log_w.mean(axis=2)),),
        ),
        Mistake(
            "the sum of all steps, without their rises.",
            (_annealed_with(lambda log_w, betas: log_w.sum(axis=2)),),
        ),
        Mistake(
            "the mean of the logarithms. The average is taken of the weights.",
            (
                lambda log_w, betas: (
                    (log_w @ np.diff(betas)).mean(axis=1),
                    annealed(log_w, betas)[1],
                ),
            ),
        ),
        Mistake(
            "a sum over chains: ln of their number is missing.",
            (
                lambda log_w, betas: (
                    special.logsumexp(log_w @ np.diff(betas), axis=1),
                    annealed(log_w, betas)[1],
                ),
            ),
        ),
        Mistake(
            "the exponential of −900 is zero. Take the largest out first.",
            (_no_care,),
        ),
        Mistake(
            "one largest for the whole batch. Beside an image at −60 one at −900 underflows: each"
            " image has a largest of its own.",
            (_one_largest_of_all,),
        ),
        Mistake(
            "the smallest taken out, not the largest: exp of a difference of 1000 is infinite.",
            (_smallest_of_each,),
        ),
        Mistake(
            "the share of the chains, not their number: between 1 and the number of chains.",
            (
                lambda log_w, betas: (
                    annealed(log_w, betas)[0],
                    annealed(log_w, betas)[1] / log_w.shape[1],
                ),
            ),
        ),
    ),
    hints=(
        "np.diff(betas) are the rises. A chain's ln W is a weighted sum of its steps.",
        "The estimate is ln of the mean of W over chains, by logsumexp.",
        "With shares v of the chains that add up to one, the effective size is 1 / Σ v².",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
