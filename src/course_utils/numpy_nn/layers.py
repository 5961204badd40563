"""Layers and activations: a network forwards, and its gradients backwards.

Rows are samples: a layer computes ``x @ w + b`` with ``x`` (n, d_in), ``w`` (d_in, d_out) and ``b``
(d_out,). A network is a list of layers with an activation after each but the last.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from course_utils.arguments import named_errors
from course_utils.shapes import expect_shapes, expect_sizes

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


def dense_backward(
    x: np.ndarray, w: np.ndarray, output_gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the three gradients of ``dense``, from that of its output. Defined in chapter 03.

    With G = ∂L/∂(xW + b): ∂L/∂W = xᵀ G, ∂L/∂b = Σ_i G_i (rows), ∂L/∂x = G Wᵀ.

    Args:
        x: (n, d_in), what the layer was given. w: (d_in, d_out). output_gradient: (n, d_out).

    Returns:
        The gradients for ``w`` (d_in, d_out), for ``b`` (d_out,) and for ``x`` (n, d_in). They sum
        over rows: a mean over samples is in ``output_gradient`` already, put there by the loss.

    Raises:
        ValueError: a shape does not fit.
    """
    expect_shapes("n d_in, d_in d_out, n d_out", x=x, w=w, output_gradient=output_gradient)
    return x.T @ output_gradient, output_gradient.sum(axis=0), output_gradient @ w.T


def relu(a: np.ndarray) -> np.ndarray:
    """Compute max(a, 0) entry by entry, any shape. Defined in chapter 01."""
    return np.maximum(a, 0.0)


def softplus(a: np.ndarray) -> np.ndarray:
    """Compute ln(1 + eᵃ) entry by entry, any shape and size of ``a``. Defined in chapter 03.

    As max(a, 0) + ln(1 + e^−|a|), whose exponential cannot overflow.
    """
    a = 1.0 * a  # floats: the negative of a byte is no negative number
    return np.maximum(a, 0.0) + np.log1p(np.exp(-np.abs(a)))


def sigmoid(a: np.ndarray) -> np.ndarray:
    """Compute 1 / (1 + e⁻ᵃ) entry by entry, any shape and size of ``a``. Defined in chapter 03.

    As e^−softplus(−a), whose exponential cannot overflow.
    """
    return np.exp(-softplus(-1.0 * a))


class Activation(NamedTuple):
    """A nonlinearity φ with its slope. Defined in chapter 03.

    Attributes:
        value: maps a to h = φ(a), entry by entry.
        slope: maps h, not a, to φ′(a): a network keeps its outputs anyway.
    """

    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]


RELU = Activation(relu, lambda h: (h > 0).astype(h.dtype))
SIGMOID = Activation(sigmoid, lambda h: h * (1 - h))
TANH = Activation(np.tanh, lambda h: 1 - h**2)
SOFTPLUS = Activation(softplus, lambda h: -np.expm1(-h))


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
    expect_sizes("sizes", sizes, 2)
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


def forward_with(
    x: np.ndarray, layers: Sequence[Layer], activation: Activation
) -> list[np.ndarray]:
    """Run a network with any activation after each layer but the last. Defined in chapter 03.

    Args:
        x: (n, d_0). layers: L pairs ``(w, b)``. activation: RELU gives ``forward``.

    Returns:
        L + 1 arrays: ``x``, then what each layer gives, (n, d_l); the last one is the output.

    Raises:
        ValueError: a shape does not fit.
    """
    outputs = [x]
    for i, (w, b) in enumerate(layers):
        a = dense(outputs[-1], w, b)
        outputs.append(a if i == len(layers) - 1 else activation.value(a))
    return outputs


def backward(
    layers: Sequence[Layer],
    outputs: Sequence[np.ndarray],
    output_gradient: np.ndarray,
    activation: Activation = RELU,
) -> tuple[list[Layer], np.ndarray]:
    """Carry a gradient from a network's output back to its layers. Defined in chapter 03.

    Args:
        layers: L pairs ``(w, b)``.
        outputs: what ``forward`` (or ``forward_with``) returned for them: L + 1 arrays.
        output_gradient: (n, d_L), the gradient of the loss for ``outputs[-1]``.
        activation: the one that the forward pass used.

    Returns:
        L pairs of gradients for ``(w, b)``, in the order and shapes of ``layers``; and the gradient
        for the input, (n, d_0), for whatever produced it.

    Raises:
        ValueError: the numbers of layers and outputs, or a shape, do not fit.
    """
    if len(outputs) != len(layers) + 1:
        raise ValueError(f"outputs must hold {len(layers) + 1} arrays, got {len(outputs)}")
    gradient, layer_gradients = output_gradient, []
    for i in reversed(range(len(layers))):
        if i < len(layers) - 1:
            gradient = gradient * activation.slope(outputs[i + 1])
        dw, db, gradient = dense_backward(outputs[i], layers[i][0], gradient)
        layer_gradients.append((dw, db))
    return layer_gradients[::-1], gradient


def flatten_layers(layers: Sequence[Layer]) -> list[np.ndarray]:
    """List the arrays of layers, or of their gradients: w_1, b_1, w_2, … Defined in chapter 03."""
    return [array for layer in layers for array in layer]


def unflatten_layers(arrays: Sequence[np.ndarray]) -> list[Layer]:
    """Undo ``flatten_layers``. Defined in chapter 03.

    Raises:
        ValueError: an odd number of arrays.
    """
    return list(zip(arrays[::2], arrays[1::2], strict=True))


named_errors(globals())
