"""Is a gradient right? Compare it with differences of the loss itself."""

from collections.abc import Callable

import numpy as np


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
