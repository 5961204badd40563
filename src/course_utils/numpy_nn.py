"""Neural networks in NumPy, with their gradients by hand.

Rows are samples: a layer computes ``x @ w + b`` with ``x`` (n, d_in), ``w`` (d_in, d_out) and ``b``
(d_out,). Losses are sums over the numbers of one sample and means over samples, unless the name
says otherwise.
"""

from collections.abc import Callable, Sequence

import numpy as np

from course_utils.shapes import expect_shapes

Layer = tuple[np.ndarray, np.ndarray]  # weights (d_in, d_out), biases (d_out,)


def dense(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the affine map ``x @ w + b``. Defined in chapter 01.

    Args:
        x: (n, d_in). w: (d_in, d_out). b: (d_out,).

    Returns:
        (n, d_out).

    Raises:
        ValueError: a shape does not fit.
    """
    expect_shapes("n d_in, d_in d_out, d_out", x=x, w=w, b=b)
    return x @ w + b


def relu(a: np.ndarray) -> np.ndarray:
    """Compute max(a, 0) entry by entry, any shape. Defined in chapter 01."""
    return np.maximum(a, 0.0)


def init_layers(sizes: Sequence[int], rng: np.random.Generator) -> list[Layer]:
    """Draw the layers of a network: weights from N(0, 1/d_in), biases zero. Defined in chapter 01.

    The variance 1/d_in (not the standard deviation) keeps a layer's outputs on the scale of its
    inputs: a sum of d_in products of independent factors has d_in times the variance of one.

    Args:
        sizes: (d_0, d_1, …, d_L), at least two sizes, each at least 1.
        rng: the generator; equal generators give equal layers.

    Returns:
        L pairs ``(w, b)``, float64, ``w`` (d_{l-1}, d_l) and ``b`` (d_l,).

    Raises:
        ValueError: fewer than two sizes, or one below 1.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must be two or more numbers of at least 1, got {sizes}")
    return [
        (rng.normal(0.0, np.sqrt(1.0 / d_in), (d_in, d_out)), np.zeros(d_out))
        for d_in, d_out in zip(sizes[:-1], sizes[1:], strict=True)
    ]


def forward(x: np.ndarray, layers: Sequence[Layer]) -> list[np.ndarray]:
    """Run a network: ReLU after every layer but the last. Defined in chapter 01.

    Args:
        x: (n, d_0). layers: L pairs ``(w, b)``.

    Returns:
        L + 1 arrays: ``x``, then what each layer gives, (n, d_l); the last one is the output.

    Raises:
        ValueError: a shape does not fit.
    """
    outputs = [x]
    for i, (w, b) in enumerate(layers):
        a = dense(outputs[-1], w, b)
        outputs.append(a if i == len(layers) - 1 else relu(a))
    return outputs


def squared_error(x: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
    """Compute ‖x − x̂‖² for each row: a sum over pixels, no mean, no ½. Defined in chapter 01.

    Args:
        x, x_hat: (n, d) each.

    Returns:
        (n,), at least 0. Its mean over rows is the reconstruction error of the course.

    Raises:
        ValueError: the shapes differ.
    """
    expect_shapes("n d, n d", x=x, x_hat=x_hat)
    return ((x - x_hat) ** 2).sum(axis=1)


def linear_autoencoder_loss(x: np.ndarray, enc_w: np.ndarray, dec_w: np.ndarray) -> float:
    """Compute (1/n) Σ ‖x_i − x_i W V‖², W = ``enc_w``, V = ``dec_w``. Defined in chapter 02.

    Args:
        x: (n, d), centred. enc_w: (d, k). dec_w: (k, d).

    Returns:
        The squared error, summed over pixels, mean over rows.

    Raises:
        ValueError: a shape does not fit.
    """
    expect_shapes("n d, d k, k d", x=x, enc_w=enc_w, dec_w=dec_w)
    return float(squared_error(x, x @ enc_w @ dec_w).mean())


def linear_autoencoder_gradients(
    x: np.ndarray, enc_w: np.ndarray, dec_w: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the gradients of ``linear_autoencoder_loss``. Defined in chapter 02.

    ∂L/∂W = −(2/n) Xᵀ E Vᵀ and ∂L/∂V = −(2/n) (X W)ᵀ E, with the residual E = X − X W V.

    Args:
        x: (n, d), centred. enc_w: (d, k). dec_w: (k, d).

    Returns:
        The gradients with respect to ``enc_w``, (d, k), and ``dec_w``, (k, d).

    Raises:
        ValueError: a shape does not fit.
    """
    expect_shapes("n d, d k, k d", x=x, enc_w=enc_w, dec_w=dec_w)
    z = x @ enc_w  # (n, d) -> (n, k)
    residual = x - z @ dec_w  # (n, d)
    scale = -2.0 / len(x)
    return scale * x.T @ (residual @ dec_w.T), scale * z.T @ residual


def numerical_gradient(
    loss: Callable[[np.ndarray], float], w: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """Approximate ∂loss/∂w by central differences, one entry at a time. Defined in chapter 02.

    The error falls with step², until rounding (about 1e-16 · |loss| / step) takes over.

    Args:
        loss: maps an array of the shape of ``w`` to a number.
        w: any shape, float64; not changed.
        step: half the distance of the two points, above 0.

    Returns:
        An array of the shape of ``w``.
    """
    gradient = np.zeros_like(w)
    for index in np.ndindex(w.shape):
        nudge = np.zeros_like(w)
        nudge[index] = step
        gradient[index] = (loss(w + nudge) - loss(w - nudge)) / (2 * step)
    return gradient


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Compute ‖a − b‖ / max(‖a‖, ‖b‖), 0 where both are zero. Defined in chapter 02.

    Args:
        a, b: arrays of one shape.

    Returns:
        A number in [0, 2].
    """
    size = max(np.linalg.norm(a), np.linalg.norm(b))
    return float(np.linalg.norm(a - b) / size) if size > 0 else 0.0
