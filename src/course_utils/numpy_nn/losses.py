"""What training minimises. A loss returns its value and its gradient for the network's output.

Sums are over the numbers of one sample, means over samples.
"""

from collections.abc import Callable

import numpy as np

from course_utils.arguments import named_errors
from course_utils.numpy_nn.layers import sigmoid
from course_utils.shapes import expect_shapes, expect_unit_range

LossAndGradient = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]


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


def squared_error_and_gradient(x: np.ndarray, x_hat: np.ndarray) -> tuple[float, np.ndarray]:
    """Compute (1/n) Σ ‖x_i − x̂_i‖² and its gradient 2 (x̂ − x) / n. Defined in chapter 03.

    Args:
        x, x_hat: (n, d) each.

    Returns:
        The loss, a sum over pixels and a mean over rows, and its gradient for ``x_hat``, (n, d).

    Raises:
        ValueError: the shapes differ.
    """
    return float(squared_error(x, x_hat).mean()), 2 * (x_hat - x) / len(x)


def cross_entropy(x: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Compute −Σ_j [x_j ln p_j + (1 − x_j) ln(1 − p_j)] for each row, p = sigmoid(logits).

    As max(a, 0) − a x + ln(1 + e^−|a|) for each logit a, which neither overflows nor takes the
    logarithm of zero. Its minimum over p is at p = x: zero for x of 0 and 1, the entropy of a grey
    pixel between. Defined in chapter 03.

    Args:
        x: (n, d) in [0, 1]. logits: (n, d), any real numbers: *before* the sigmoid.

    Returns:
        (n,), in nats, at least 0: a sum over pixels, no mean.

    Raises:
        ValueError: the shapes differ, or ``x`` leaves [0, 1], where the loss has no lower bound.
    """
    expect_shapes("n d, n d", x=x, logits=logits)
    expect_unit_range(x=x)
    parts = np.maximum(logits, 0.0) - logits * x + np.log1p(np.exp(-np.abs(logits)))
    return parts.sum(axis=1)


def cross_entropy_and_gradient(x: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    """Compute the mean of ``cross_entropy`` over rows and its gradient (sigmoid(logits) − x) / n.

    Defined in chapter 03.

    Args:
        x: (n, d) in [0, 1]. logits: (n, d), any real numbers: *before* the sigmoid.

    Returns:
        The loss in nats, a sum over pixels and a mean over rows, and its gradient for ``logits``,
        (n, d).

    Raises:
        ValueError: the shapes differ, or ``x`` leaves [0, 1].
    """
    return float(cross_entropy(x, logits).mean()), (sigmoid(logits) - x) / len(x)


named_errors(globals())
