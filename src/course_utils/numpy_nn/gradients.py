"""Is a gradient right? Compare it with differences of the loss itself."""

from collections.abc import Callable

import numpy as np

from course_utils.arguments import named_errors


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
    gradient = np.zeros(w.shape)
    for index in np.ndindex(w.shape):
        nudge = np.zeros(w.shape)
        nudge[index] = step
        gradient[index] = (loss(w + nudge) - loss(w - nudge)) / (2 * step)
    return gradient


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Compute ‖a − b‖ / max(‖a‖, ‖b‖), 0 where both are zero. Defined in chapter 02.

    Args:
        a, b: arrays of one shape.

    Returns:
        A number in [0, 2]; nan where an entry is.

    Raises:
        ValueError: the shapes differ.
    """
    if np.shape(a) != np.shape(b):
        raise ValueError(f"a and b must have one shape, got {np.shape(a)} and {np.shape(b)}")
    size = np.maximum(np.linalg.norm(a), np.linalg.norm(b))  # a nan stays
    return float(np.linalg.norm(a - b) / size) if size != 0 else 0.0


named_errors(globals())
