"""How near is a set of samples to a set of real images, in the features of some classifier?"""

import numpy as np
from scipy.spatial.distance import cdist  # type: ignore[import-untyped]

from course_utils.arguments import named_errors
from course_utils.shapes import expect_finite, expect_shapes, expect_whole


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the Fréchet distance of two sets, squared, as papers print it. Defined in chapter 14.

    ‖m_1 − m_2‖² + tr(C_1 + C_2 − 2 (C_1 C_2)^½): both sets are taken for Gaussians.

    Args:
        a, b: (n, k) and (m, k) features, n and m at least 2, k at least 2.

    Returns:
        One number, at least 0 but for rounding.

    Raises:
        ValueError: the shapes do not fit, or a set has fewer than 2 rows or features.

    Source:
        Heusel et al. (2017), https://arxiv.org/abs/1706.08500.
    """
    expect_shapes("n k, m k", a=a, b=b)
    if min(*a.shape, *b.shape) < 2:
        raise ValueError(f"a and b must be 2 × 2 or larger, got shapes {a.shape} and {b.shape}")
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real.clip(0)).sum()  # its trace
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * root


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Compute how much of each set lies in a ball of the other. Defined in chapter 14.

    The ball of a point reaches its k-th neighbour in its own set. Precision is the share of samples
    in a ball of a real image, recall the share of real images in a ball of a sample.

    Args:
        real, fake: (n, d) and (m, d) features, more than k rows each.
        k: neighbours, at least 1.

    Returns:
        Precision and recall, in [0, 1].

    Raises:
        ValueError: the shapes do not fit, a number is not finite, or k is out of its range.

    Source:
        Kynkäänniemi et al. (2019), https://arxiv.org/abs/1904.06991.
    """
    expect_shapes("n d, m d", real=real, fake=fake)
    expect_finite(real=real, fake=fake)
    expect_whole("k", k, 1)
    if k >= min(len(real), len(fake)):
        raise ValueError(f"k must be below the {len(real)} and {len(fake)} rows, got {k}")
    reach_real, reach_fake = (
        np.sort(cdist(points, points), axis=1)[:, k] for points in (real, fake)
    )
    between = cdist(real, fake)
    inside_real, inside_fake = between <= reach_real[:, None], between <= reach_fake
    return inside_real.any(axis=0).mean(), inside_fake.any(axis=1).mean()


named_errors(globals())
