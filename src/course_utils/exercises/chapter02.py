"""The exercises of chapter 02, The linear autoencoder is PCA."""

from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array, as_parts
from course_utils.numpy_nn import linear_autoencoder_gradients, linear_autoencoder_loss


def _data(n: int, d: int, seed: int) -> np.ndarray:
    """Correlated data with clearly different variances, rows centred."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.arange(d, 0, -1) @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    return x - x.mean(axis=0)


def _weights(d: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(d, k)), rng.normal(size=(k, d))


# 02.1 --------------------------------------------------------------------------------------------
# w stands in two places. By the chain rule the two parts add up, the second one transposed.
def tied_gradient(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The sum of both gradients at W = w, V = wᵀ, the second one transposed."""
    enc_gradient, dec_gradient = linear_autoencoder_gradients(x, w, w.T)
    return enc_gradient + dec_gradient.T


def _cases_1() -> list[Case]:
    small = np.array([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]])
    return [
        {"x": small, "w": np.array([[0.5], [1.0]])},
        {"x": _data(20, 4, 21), "w": _weights(4, 2, 22)[0]},
        {"x": _data(9, 3, 23), "w": _weights(3, 3, 24)[0]},
        {"x": _data(12, 4, 29) + np.arange(4), "w": _weights(4, 2, 30)[0]},  # not centred
    ]


EXERCISE_1 = Exercise(
    number="02.1",
    solution=(tied_gradient,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "the encoder's part alone. w stands in the loss twice: as W and as V = wᵀ; both parts"
            " add up.",
            (lambda x, w: linear_autoencoder_gradients(x, w, w.T)[0],),
        ),
        Mistake(
            "the decoder's part alone. w stands in the loss twice; both parts add up.",
            (lambda x, w: linear_autoencoder_gradients(x, w, w.T)[1].T,),
        ),
        Mistake(
            "the mean of both parts. By the chain rule they add up.",
            (lambda x, w: tied_gradient(x, w) / 2,),
        ),
        Mistake(
            "the sign: the residual is x − x̂, and the loss falls against the gradient.",
            (lambda x, w: -tied_gradient(x, w),),
        ),
        Mistake(
            "the sum over images instead of the mean: divide by n.",
            (lambda x, w: tied_gradient(x, w) * len(x),),
        ),
        Mistake(
            "transposed. The gradient has the shape of w, (d, k).",
            (lambda x, w: tied_gradient(x, w).T,),
        ),
        Mistake(
            "x is centred first. (2.1) takes the images as they come.",
            (lambda x, w: tied_gradient(x - x.mean(axis=0), w),),
        ),
        Mistake(
            "a missing transpose: the gradient for V is (k, d), w is (d, k).",
            (lambda x, w: np.add(*linear_autoencoder_gradients(x, w, w.T)),),
        ),
    ),
    hints=(
        "L(W, V) has two arguments. Now both follow from w: W = w and V = wᵀ.",
        "Chain rule: the gradient for w is the one for W, plus the one for V, transposed.",
        "linear_autoencoder_gradients(x, w, w.T) gives both, (d, k) and (k, d).",
    ),
)


# 02.2 --------------------------------------------------------------------------------------------
# With z = x W known, L is least squares in V, and zᵀ (x - z V) = 0 at its minimum.
# In general that is neither Wᵀ nor the pseudoinverse of W: the best decoder depends on the data.
def best_decoder(x: np.ndarray, enc_w: np.ndarray) -> np.ndarray:
    """Least squares of x on the code: V = (zᵀz)⁻¹ zᵀ x."""
    z = x @ enc_w  # (n, k)
    return np.linalg.lstsq(z, x, rcond=None)[0]  # (k, d)


def _cases_2() -> list[Case]:
    small = np.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -1.0]])
    return [
        {"x": small, "enc_w": np.array([[1.0], [1.0]])},
        {"x": _data(20, 4, 25) + np.arange(4), "enc_w": _weights(4, 2, 26)[0]},  # not centred
        {"x": _data(30, 5, 27) - 2, "enc_w": _weights(5, 1, 28)[0]},
    ]


EXERCISE_2 = Exercise(
    number="02.2",
    solution=(best_decoder,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "the transpose of the encoder. It is best only where W has orthonormal columns that"
            " span the same subspace as k eigenvectors of XᵀX.",
            (lambda x, w: w.T,),
        ),
        Mistake(
            "the pseudoinverse of the encoder: it undoes W for all inputs alike. The best decoder"
            " depends on the data.",
            (lambda x, w: np.linalg.pinv(w),),
        ),
        Mistake(
            "ZᵀX without (ZᵀZ)⁻¹: right only where ZᵀZ = I, code columns that are orthonormal.",
            (lambda x, w: (x @ w).T @ x,),
        ),
        Mistake(
            "transposed: V is (k, d).",
            (lambda x, w: best_decoder(x, w).T,),
        ),
        Mistake(
            "a fit with a bias, or on centred codes. This decoder has no bias, and the images are"
            " not centred: solve for the x and z as they are.",
            (lambda x, w: best_decoder(x - x.mean(axis=0), w),),
        ),
        Mistake(
            "x centred, its code not. Solve for the x and z as they are.",
            (lambda x, w: np.linalg.lstsq(x @ w, x - x.mean(axis=0), rcond=None)[0],),
        ),
    ),
    hints=(
        "With W fixed the codes Z = X W are known numbers, and the loss is quadratic in V.",
        "Set the gradient for V to zero: Zᵀ (X − Z V) = 0. These are the normal equations.",
        "np.linalg.lstsq(z, x, rcond=None)[0] solves them.",
    ),
)


# 02.3 --------------------------------------------------------------------------------------------
# The best constant for the residuals x - x W V is their mean. Put back in, the residual is
# (x - mean) - (x - mean) W V: the autoencoder works on centred images, as if we had centred them.
def best_bias(x: np.ndarray, enc_w: np.ndarray, dec_w: np.ndarray) -> np.ndarray:
    """The mean image less its own reconstruction."""
    return (x - x @ enc_w @ dec_w).mean(axis=0)  # (d,)


def _cases_3() -> list[Case]:
    small = np.array([[1.0, 2.0], [3.0, 2.0]])
    cases: list[Case] = [
        {"x": small, "enc_w": np.array([[1.0], [0.0]]), "dec_w": np.array([[0.5, 1.0]])}
    ]
    for n, d, k, seed in ((20, 4, 2, 31), (7, 3, 1, 41)):
        enc_w, dec_w = _weights(d, k, seed + 1)
        cases.append({"x": _data(n, d, seed) + np.arange(d), "enc_w": enc_w, "dec_w": dec_w})
    return cases


EXERCISE_3 = Exercise(
    number="02.3",
    solution=(best_bias,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the mean image. The weights already give back a part of it, mean W V: take that off.",
            (lambda x, w, v: x.mean(axis=0),),
        ),
        Mistake(
            "the sign: b is what must be added to x W V to meet x on average.",
            (lambda x, w, v: -best_bias(x, w, v),),
        ),
        Mistake(
            "the wrong axis: a mean over pixels. b has one entry for each pixel, the mean is over"
            " images.",
            (lambda x, w, v: (x - x @ w @ v).mean(axis=1),),
        ),
        Mistake(
            "the sum over images instead of the mean.",
            (lambda x, w, v: (x - x @ w @ v).sum(axis=0),),
        ),
        Mistake(
            "one number for all pixels. Each pixel has its own bias.",
            (lambda x, w, v: np.full(x.shape[1], (x - x @ w @ v).mean()),),
        ),
    ),
    hints=(
        "The loss is (1/n) Σ ‖x_i − x_i W V − b‖². Call r_i = x_i − x_i W V.",
        "Which constant b is closest to all r_i in the squared sense? Exercise 01.3 knows.",
        "The mean of r_i over images.",
    ),
)


# 02.4 --------------------------------------------------------------------------------------------
# In the turned basis the codes are z axes, and axesᵀ zᵀz axes is diagonal. The span is the same.
# The signs stay free.
def principal_components(x: np.ndarray, dec_w: np.ndarray) -> np.ndarray:
    """Rotate an orthonormal basis of the decoder's rows so that the codes are uncorrelated."""
    basis = np.linalg.qr(dec_w.T)[0].T  # (k, d): orthonormal, but turned arbitrarily
    z = x @ basis.T  # (n, k): its covariance is not diagonal yet
    axes = np.linalg.eigh(z.T @ z)[1][:, ::-1]  # columns, largest variance first
    return axes.T @ basis  # turn the basis inside the subspace


def _cases_4() -> list[Case]:
    cases: list[Case] = []
    for n, d, k, seed in ((40, 3, 2, 51), (60, 5, 3, 52), (60, 6, 1, 53)):
        x = _data(n, d, seed)
        top = np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :k].T  # (k, d)
        mix = np.random.default_rng(seed).normal(size=(k, k)) + np.eye(k)
        cases.append({"x": x, "dec_w": mix @ top})
    # a decoder that is not trained to the end: its rows span something else
    cases.append({"x": _data(50, 5, 54), "dec_w": _weights(5, 2, 55)[1]})
    return cases


def _judge_4(case: Case, came: Any) -> None:
    rows, k = as_array(came), len(case["dec_w"])
    if rows is None or rows.shape != case["dec_w"].shape:
        raise Wrong(f"components of shape {case['dec_w'].shape}", f"shape {np.shape(came)}")
    gram = rows @ rows.T
    if np.max(np.abs(gram - np.eye(k))) > 1e-6:
        raise Wrong(
            "orthonormal rows: rows @ rows.T = I", f"entries up to {np.abs(gram).max():.3g}"
        )
    codes = case["x"] @ rows.T
    covariance = codes.T @ codes / len(codes)
    variances = np.diag(covariance)
    if np.any(np.diff(variances) > 0):
        raise Wrong(
            "variances of the codes in descending order", np.array2string(variances, precision=3)
        )
    off = np.max(np.abs(covariance - np.diag(variances)))
    if off > 1e-6 * variances.max():
        raise Wrong("uncorrelated codes", f"a covariance of {off:.3g} between two of them")
    outside = np.max(np.abs(rows - rows @ np.linalg.pinv(case["dec_w"]) @ case["dec_w"]))
    if outside > 1e-6:
        raise Wrong("components in the span of the decoder's rows", f"{outside:.3g} outside it")


EXERCISE_4 = Exercise(
    number="02.4",
    solution=(principal_components,),
    cases=_cases_4,
    judge=_judge_4,
    mistakes=(
        Mistake(
            "an orthonormal basis, but not the principal one: rotate it inside the subspace until"
            " the codes are uncorrelated.",
            (lambda x, v: np.linalg.qr(v.T)[0].T,),
        ),
        Mistake(
            "the right axes in ascending order: eigh sorts that way. Reverse them.",
            (lambda x, v: principal_components(x, v)[::-1],),
        ),
        Mistake(
            "rows of length one, but not at right angles: normalising each row is not enough.",
            (lambda x, v: v / np.linalg.norm(v, axis=1, keepdims=True),),
        ),
        Mistake(
            "the singular vectors of the decoder. They describe the weights, not the data: the"
            " data's variance must decide.",
            (lambda x, v: np.linalg.svd(v, full_matrices=False)[2],),
        ),
        Mistake(
            "PCA of the images, and the decoder is not looked at. The components must lie in the"
            " span of its rows, also where that is not the principal subspace.",
            (lambda x, v: np.linalg.svd(x, full_matrices=False)[2][: len(v)],),
        ),
        Mistake(
            "transposed: one component a row, (k, d).",
            (lambda x, v: principal_components(x, v).T,),
        ),
    ),
    hints=(
        "First an orthonormal basis Q of the decoder's rows: np.linalg.qr(dec_w.T)[0].T, (k, d).",
        "Encode with it, z = x Qᵀ, and look at the covariance of z, (k, k): not diagonal yet.",
        "Its eigenvectors, largest eigenvalue first, are the rotation: components = axesᵀ Q.",
    ),
)


# 02.5 --------------------------------------------------------------------------------------------
# Any k eigenvectors make the gradient zero; without the first one they are not the minimum.
# It is a saddle: the slightest part of u_1 in the weights grows, as in Figure 2.4, and takes over.
def stuck_start(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The principal directions 2 … k + 1: a saddle point."""
    axes = np.linalg.eigh(x.T @ x)[1][:, ::-1]  # columns, largest first
    return axes[:, 1 : k + 1], axes[:, 1 : k + 1].T


def _cases_5() -> list[Case]:
    return [{"x": _data(40, 4, 61), "k": 1}, {"x": _data(50, 6, 62), "k": 3}]


def _judge_5(case: Case, came: Any) -> None:
    x, k = case["x"], case["k"]
    d = x.shape[1]
    enc_w, dec_w = map(as_array, as_parts(came, 2, "two arrays, enc_w and dec_w"))
    shapes = tuple(np.shape(part) for part in came)
    if enc_w is None or dec_w is None or shapes != ((d, k), (k, d)):
        raise Wrong(f"shapes {(d, k)} and {(k, d)}", f"{shapes}")
    steepest = max(np.max(np.abs(g)) for g in linear_autoencoder_gradients(x, enc_w, dec_w))
    # zero to the rounding of float32, on the scale of a gradient here: twice the largest variance
    if steepest > 1e-5 * 2 * np.linalg.eigvalsh(x.T @ x / len(x))[-1]:
        raise Wrong("a gradient of zero", f"an entry of size {steepest:.3g}")
    if np.linalg.matrix_rank(enc_w @ dec_w, tol=1e-6) < k:
        raise Wrong(f"k = {k} code numbers in use (rank of W V)", "fewer")
    trailing = np.linalg.eigvalsh(x.T @ x / len(x))[: d - k].sum()
    loss = linear_autoencoder_loss(x, enc_w, dec_w)
    if loss < trailing * (1 + 1e-3) + 1e-9:
        raise Wrong(f"a loss above the minimum, {trailing:.4g}", f"{loss:.4g}: this is the minimum")


def _top(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    top = np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :k]
    return top, top.T


EXERCISE_5 = Exercise(
    number="02.5",
    solution=(stuck_start,),
    cases=_cases_5,
    judge=_judge_5,
    mistakes=(
        Mistake(
            "the k leading directions are the minimum itself. Leave out one that matters.",
            (_top,),
        ),
        Mistake(
            "all weights zero do stop gradient descent, but the code is not in use. Find a point at"
            " which all k code numbers work.",
            (lambda x, k: (np.zeros((x.shape[1], k)), np.zeros((k, x.shape[1]))),),
        ),
        Mistake(
            "single pixels are no eigenvectors of the covariance, so the gradient is not zero.",
            (lambda x, k: (np.eye(x.shape[1])[:, :k], np.eye(x.shape[1])[:k]),),
        ),
        Mistake(
            "the shapes are exchanged: enc_w is (d, k), dec_w is (k, d).",
            (lambda x, k: stuck_start(x, k)[::-1],),
        ),
    ),
    hints=(
        "Put W = U and V = Uᵀ with orthonormal columns into the gradient. When is C U inside U?",
        "Any k eigenvectors of the covariance will do. Which choice is not the minimum?",
        "np.linalg.eigh(x.T @ x)[1] has the eigenvectors as columns, smallest eigenvalue first.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
