"""A claim of the text, checked where it stands."""

from typing import Any, Literal

import numpy as np

from course_utils.console import say

Relation = Literal["=", "<", "<=", ">", ">="]


class ClaimError(AssertionError):
    """A claim of the text does not hold."""


def verify(
    claim: str,
    left: Any,
    right: Any = True,
    tolerance: float = 0.0,
    *,
    relation: Relation = "=",
) -> None:
    """Check ``left`` against ``right``, entry by entry, and say in one line that the claim holds.

    The line names the claim and the tolerance, never the measured difference, so that it is the
    same on every machine.

    Args:
        claim: what is claimed, in words; begins with the number of the equation where there is one.
        left, right: numbers, booleans or arrays of one shape; ``right`` may be a single number.
        tolerance: largest absolute difference allowed, at least 0. For an inequality it is the
            slack: ``left <= right + tolerance``.
        relation: ``"="`` (within ``tolerance``), ``"<"``, ``"<="``, ``">"`` or ``">="``.

    Raises:
        ClaimError: the claim does not hold; the message gives the worst entry. NaN never holds.
        ValueError: the shapes differ, an array is empty, or an argument is out of its range.

    >>> verify("1.1 a half and a half make one", 0.5 + 0.5, 1.0)
    ✓ 1.1 a half and a half make one
    >>> verify("pi is near 22/7", 3.14159, 22 / 7, 2e-3)
    ✓ pi is near 22/7 (within 0.002)
    """
    if not claim.strip() or "\n" in claim:
        raise ValueError(f"claim must be one non-empty line, got {claim!r}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")
    a, b = _numbers("left", left), _numbers("right", right)
    if a.size == 0 or (b.ndim and a.shape != b.shape):
        raise ValueError(
            f"left and right must be non-empty and of one shape, got {a.shape} and {b.shape}"
        )
    gap = _violation(a, b, relation)
    holds = gap < tolerance if relation in ("<", ">") else gap <= tolerance
    if not np.all(holds):
        worst = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
        raise ClaimError(_report(claim, a, np.broadcast_to(b, a.shape), worst, relation, tolerance))
    say(f"✓ {claim}" + (f" (within {tolerance:g})" if tolerance else ""))


def _numbers(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got {type(value).__name__}: {value!r}")
    return array.astype(np.float64)


def _violation(a: np.ndarray, b: np.ndarray, relation: str) -> np.ndarray:
    """How far each entry is from holding: 0 or less where it holds."""
    with np.errstate(invalid="ignore"):  # inf - inf is nan, which never holds
        if relation == "=":
            return np.where(a == b, 0.0, np.abs(a - b))
        if relation in ("<", "<="):
            return a - b
        if relation in (">", ">="):
            return b - a
    raise ValueError(f"relation must be one of =, <, <=, >, >=, got {relation!r}")


def _report(
    claim: str, a: np.ndarray, b: np.ndarray, worst: tuple, relation: str, tolerance: float
) -> str:
    where = f" at {tuple(int(i) for i in worst)}" if worst else ""
    return (
        f"✗ {claim}{where}: {float(a[worst]):.10g} {relation} {float(b[worst]):.10g} does not hold"
        f" (tolerance {tolerance:g}, difference {float(a[worst] - b[worst]):.3g})"
    )
