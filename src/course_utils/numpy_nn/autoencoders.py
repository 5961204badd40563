"""Autoencoders in NumPy: the linear one, and a deep one of two networks, encoder and decoder."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from course_utils.arguments import named_errors
from course_utils.numpy_nn.layers import (
    RELU,
    Activation,
    Layer,
    backward,
    flatten_layers,
    forward_with,
    unflatten_layers,
)
from course_utils.numpy_nn.losses import LossAndGradient, squared_error, squared_error_and_gradient
from course_utils.numpy_nn.optimisers import adam_step, batches
from course_utils.shapes import expect_shapes


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


def autoencode(
    x: np.ndarray,
    encoder: Sequence[Layer],
    decoder: Sequence[Layer],
    activation: Activation = RELU,
) -> np.ndarray:
    """Encode and decode: the output of the decoder. Defined in chapter 03.

    Args:
        x: (n, d). encoder: layers from d to k. decoder: layers from k to d.
        activation: after each layer but the last, in both; code and output are affine.

    Returns:
        (n, d): the reconstruction, or its logits where the loss is a cross-entropy.

    Raises:
        ValueError: a shape does not fit.
    """
    z = forward_with(x, encoder, activation)[-1]  # (n, d) -> (n, k)
    return forward_with(z, decoder, activation)[-1]  # -> (n, d)


def autoencoder_gradients(
    x: np.ndarray,
    encoder: Sequence[Layer],
    decoder: Sequence[Layer],
    *,
    loss: LossAndGradient = squared_error_and_gradient,
    activation: Activation = RELU,
) -> tuple[float, list[Layer], list[Layer]]:
    """Compute a deep autoencoder's loss and all its gradients. Defined in chapter 03.

    Args:
        x: (n, d). encoder: layers from d to k. decoder: layers from k to d.
        loss: maps ``x`` and the output to a value and its gradient for the output.
        activation: after each layer but the last, in both.

    Returns:
        The loss, and the gradients for ``encoder`` and ``decoder``, in their order and shapes.

    Raises:
        ValueError: a shape does not fit.
    """
    encoded = forward_with(x, encoder, activation)
    decoded = forward_with(encoded[-1], decoder, activation)
    value, output_gradient = loss(x, decoded[-1])
    dec_gradients, code_gradient = backward(decoder, decoded, output_gradient, activation)
    enc_gradients, _ = backward(encoder, encoded, code_gradient, activation)
    return value, enc_gradients, dec_gradients


def train_autoencoder(
    x: np.ndarray,
    x_test: np.ndarray,
    encoder: list[Layer],
    decoder: list[Layer],
    rng: np.random.Generator,
    *,
    n_epochs: int,
    batch_size: int = 64,
    step: Callable[..., tuple[list[np.ndarray], Any]] = adam_step,
    loss: LossAndGradient = squared_error_and_gradient,
) -> tuple[list[Layer], list[Layer], np.ndarray]:
    """Train a deep autoencoder with ReLU on mini-batches. Defined in chapter 03.

    Args:
        x: (n, d), to train on. x_test: (n_test, d), watched only.
        encoder, decoder: layers to start from, not changed.
        rng: the generator that shuffles.
        n_epochs: passes over ``x``. batch_size: rows a step.
        step: an optimiser, ``step(params, gradients, state) -> (params, state)``.
        loss: maps ``x`` and the output to a value and its gradient for the output.

    Returns:
        The trained encoder and decoder, and the losses (n_epochs, 2) on all of ``x`` and of
        ``x_test``, with the weights as they are after each epoch.

    Raises:
        ValueError: a shape does not fit.
    """
    params, state, history = flatten_layers([*encoder, *decoder]), None, []
    for _ in range(n_epochs):
        for rows in batches(len(x), batch_size, rng):
            _, *gradients = autoencoder_gradients(x[rows], encoder, decoder, loss=loss)
            params, state = step(params, flatten_layers(gradients[0] + gradients[1]), state)
            layers = unflatten_layers(params)
            encoder, decoder = layers[: len(encoder)], layers[len(encoder) :]
        history.append([loss(each, autoencode(each, encoder, decoder))[0] for each in (x, x_test)])
    return encoder, decoder, np.array(history)


named_errors(globals())
