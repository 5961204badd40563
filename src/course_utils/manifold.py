"""Subspaces, tangent spaces and intrinsic dimension."""

import numpy as np


def principal_angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles between the subspaces that the rows of ``a`` and of ``b`` span, in radians.

    Cosines come from the singular values of A Bᵀ (A, B: orthonormal bases), sines from what of B
    lies outside A. Each is exact where the other one loses digits: arccos alone cannot see an angle
    under 1e-8. Defined in chapter 02.

    Args:
        a, b: (k, d) each, k linearly independent rows, 1 <= k <= d.

    Returns:
        (k,) angles in [0, π/2], ascending; all 0 exactly when the subspaces agree.

    Raises:
        ValueError: the shapes differ, or the rows are not linearly independent.

    Source:
        Björck and Golub (1973), Numerical methods for computing angles between linear subspaces.
    """
    if a.ndim != 2 or a.shape != b.shape or a.shape[0] > a.shape[1]:
        raise ValueError(
            f"a and b must have one shape (k, d) with k <= d, got {a.shape}, {b.shape}"
        )
    if min(np.linalg.matrix_rank(a), np.linalg.matrix_rank(b)) < len(a):
        raise ValueError(f"the {len(a)} rows of a and of b must be linearly independent")
    basis_a = np.linalg.qr(a.T)[0].T  # (k, d), orthonormal rows
    basis_b = np.linalg.qr(b.T)[0].T
    inside = basis_b @ basis_a.T  # (k, k)
    outside = basis_b - inside @ basis_a  # (k, d)
    cosines = np.linalg.svd(inside, compute_uv=False)  # descending: smallest angle first
    sines = np.linalg.svd(outside, compute_uv=False)[::-1]  # ascending, to match
    return np.arctan2(sines, cosines)
