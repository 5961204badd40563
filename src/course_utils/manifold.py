"""Subspaces, tangent spaces, sets of known dimension, and estimators of the dimension."""

import numpy as np

from course_utils.arguments import named_errors
from course_utils.shapes import expect_finite, expect_shapes, expect_whole


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
        raise ValueError(f"a and b must have one shape (k, d), k <= d, got {a.shape}, {b.shape}")
    if min(np.linalg.matrix_rank(a), np.linalg.matrix_rank(b)) < len(a):
        raise ValueError(
            f"the rows of a and b must be linearly independent, got {len(a)} that are not"
        )
    basis_a = np.linalg.qr(a.T)[0].T  # (k, d), orthonormal rows
    basis_b = np.linalg.qr(b.T)[0].T
    inside = basis_b @ basis_a.T  # (k, k)
    outside = basis_b - inside @ basis_a  # (k, d)
    cosines = np.linalg.svd(inside, compute_uv=False)  # descending: smallest angle first
    sines = np.linalg.svd(outside, compute_uv=False)[::-1]  # ascending, to match
    return np.arctan2(sines, cosines)


def sphere(n: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Draw points uniformly on the unit sphere S^m in R^(m+1): normal vectors, scaled to length 1.

    Defined in chapter 08.

    Args:
        n: number of points.
        dimension: m of the sphere itself, at least 1; 1 is a circle, 2 the surface of a ball.
        rng: where the randomness comes from.

    Returns:
        (n, m + 1), rows of length 1.

    Raises:
        ValueError: ``dimension`` is less than 1.
    """
    expect_whole("n", n, 1)
    expect_whole("dimension", dimension, 1)
    x = rng.normal(size=(n, dimension + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def swiss_roll(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw points uniformly by area on a Swiss roll: a rectangle, rolled up in R^3.

    In the plane it is the spiral of radius φ at the angle φ, one and a half turns from 3π/2 to
    9π/2, so that neighbouring sheets are 2π apart; across the plane it is 21 wide. Defined in
    chapter 08.

    Args:
        n: number of points.
        rng: where the randomness comes from.

    Returns:
        (n, 3).
    """
    expect_whole("n", n, 1)
    grid = np.linspace(1.5 * np.pi, 4.5 * np.pi, 2000)
    arc = (grid * np.sqrt(1 + grid**2) + np.arcsinh(grid)) / 2  # length of the spiral r = φ
    phi = np.interp(rng.uniform(arc[0], arc[-1], size=n), arc, grid)
    return np.stack([phi * np.cos(phi), rng.uniform(0, 21, size=n), phi * np.sin(phi)], axis=1)


def nearest_neighbours(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find, for each point, its k nearest other points, by comparing all pairs.

    Args:
        x: (n, d), one point a row.
        k: number of neighbours, 1 <= k < n.

    Returns:
        distances: (n, k), Euclidean, ascending in each row.
        indices: (n, k), which rows of ``x`` these neighbours are.

    Raises:
        ValueError: ``x`` is no (n, d), or ``k`` is out of range.
    """
    expect_shapes("n d", x=x)
    n = len(x)
    if not 1 <= k < n:
        raise ValueError(f"k must be from 1 to n - 1 = {n - 1}, got {k}")
    x = np.asarray(x, dtype=np.float64)
    x = x - x.mean(axis=0)  # smaller numbers, smaller rounding errors
    squares = (x**2).sum(axis=1)
    n_candidates = min(k + 4, n - 1)  # some to spare: ‖a‖² - 2ab + ‖b‖² is not exact
    distances, indices = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
    for start in range(0, n, 256):
        rows = np.arange(start, min(start + 256, n))
        rough = squares - 2 * x[rows] @ x.T  # squared distances, less a constant in each row
        rough[np.arange(len(rows)), rows] = np.inf  # a point is not its own neighbour
        nearest = np.argpartition(rough, n_candidates - 1, axis=1)[:, :n_candidates]
        for row, candidates in zip(rows, nearest, strict=True):
            exact = np.linalg.norm(x[candidates] - x[row], axis=1)
            order = np.argsort(exact, kind="stable")[:k]
            distances[row], indices[row] = exact[order], candidates[order]
    return distances, indices


def expect_distances(distances: np.ndarray) -> None:
    """Check that each row can be the distances from a point to its nearest others, two or more.

    Raises:
        ValueError: they are no (n, k) with k >= 2, or not positive and ascending in each row.
    """
    expect_shapes("n k", distances=distances)
    expect_finite(distances=distances)
    if distances.shape[1] < 2:
        raise ValueError(f"distances must have two or more columns, got {distances.shape[1]}")
    if not np.all(distances[:, 0] > 0):
        raise ValueError("distances must be positive, got 0: equal points say nothing")
    if not np.all(np.diff(distances, axis=1) >= 0):
        raise ValueError("distances must be ascending in each row, got a row that is not")


def local_pca_dimension(x: np.ndarray, indices: np.ndarray, threshold: float = 0.1) -> float:
    """Estimate the dimension as the mean number of directions that a neighbourhood fills.

    A direction counts if the neighbourhood's variance along it is more than ``threshold`` times its
    largest variance. Defined in chapter 08.

    Args:
        x: (n, d), one point a row.
        indices: (m, k), the rows of ``x`` that make up each of m neighbourhoods; k must be well
            above the dimension.
        threshold: in (0, 1).

    Returns:
        The estimate. With k neighbours it cannot exceed k - 1.

    Raises:
        ValueError: a shape does not fit, or ``threshold`` is out of range.

    Source:
        Fukunaga and Olsen (1971), An algorithm for finding intrinsic dimensionality of data.
    """
    expect_shapes("n d, m k", x=x, indices=indices)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be in (0, 1), got {threshold}")
    counts = []
    for neighbours in indices:
        offsets = x[neighbours] - x[neighbours].mean(axis=0)  # (k, d)
        variances = np.linalg.eigvalsh(offsets @ offsets.T)  # (k,), ascending
        counts.append((variances > threshold * variances[-1]).sum())
    return float(np.mean(counts))


def levina_bickel(distances: np.ndarray) -> float:
    """Estimate the dimension by maximum likelihood from the distances to k neighbours.

    1/D is the mean of ln(r_k / r_j) over the points and over j = 1, …, k - 1. Defined in
    chapter 08.

    Args:
        distances: (n, k), k >= 2, for each point those to its k nearest others, ascending, all
            positive.

    Returns:
        The estimate.

    Raises:
        ValueError: the shape does not fit, or distances are not positive and ascending.

    Source:
        Levina and Bickel (2004), Maximum likelihood estimation of intrinsic dimension; the mean is
        taken of 1/D, not of D, as MacKay and Ghahramani (2005) propose.
    """
    expect_distances(distances)
    logs = np.log(distances[:, -1:] / distances[:, :-1])  # (n, k - 1)
    return float(1 / logs.mean())


def two_nn(distances: np.ndarray, discard: float = 0.1) -> float:
    """Estimate the dimension from the ratio of the distances to the two nearest neighbours.

    The share of points with a ratio of at most μ is 1 - μ⁻ᴰ, so -ln(1 - share) over ln μ is a line
    through the origin with slope D. The line is fitted by least squares. Defined in chapter 08.

    Args:
        distances: (n, k), k >= 2, for each point those to its k nearest others, ascending, all
            positive. Only the first two columns are used.
        discard: share of the largest ratios that the fit leaves out, in (0, 1).

    Returns:
        The estimate.

    Raises:
        ValueError: the shape does not fit, distances are not positive and ascending, or ``discard``
            is out of range.

    Source:
        Facco, d'Errico, Rodriguez and Laio (2017), Estimating the intrinsic dimension of datasets
        by a minimal neighborhood information.
    """
    expect_distances(distances)
    if not 0 < discard < 1:
        raise ValueError(f"discard must be in (0, 1), got {discard}")
    n = len(distances)
    kept = int(n * (1 - discard))
    log_ratio = np.sort(np.log(distances[:, 1] / distances[:, 0]))[:kept]
    share = np.arange(1, kept + 1) / n  # of the points with a ratio of at most this one
    height = -np.log(1 - share)
    return float(log_ratio @ height / (log_ratio @ log_ratio))


named_errors(globals())
