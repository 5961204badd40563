"""How well do code numbers line up with known factors? Two measures, and what a turn costs.

Rows are samples: codes z (n, k), factors (n, m). Information is in nats. Factors must be known, so
this is for data that somebody made.
"""

import numpy as np

from course_utils.arguments import named_errors
from course_utils.shapes import expect_finite, expect_shapes, expect_whole


def into_bins(values: np.ndarray, bins: int) -> np.ndarray:
    """Replace each number by its bin; in each column the bins hold equally many. From chapter 18.

    The edges are the column's own quantiles, so that no shift, scale or bend of a column matters.
    Equal numbers share a bin: a factor with few values, none of them rare, keeps its values apart.

    Args:
        values: (n, k) real numbers. bins: at least 2.

    Returns:
        (n, k) whole numbers, 0 to bins − 1.

    Raises:
        ValueError: ``bins`` is out of its range, or ``values`` are no matrix or have fewer rows.
    """
    expect_shapes("n k", values=values)
    expect_finite(values=values)
    expect_whole("bins", bins, 2, len(values))
    edges = np.quantile(values, np.arange(1, bins) / bins, axis=0)  # (bins - 1, k)
    columns = zip(edges.T, values.T, strict=True)
    return np.stack([np.searchsorted(e, v, side="right") for e, v in columns], axis=1)


def entropies(values: np.ndarray, *, bins: int = 10) -> np.ndarray:
    """Estimate the entropy of each column, cut into bins. Defined in chapter 18.

    −Σ_a p_a ln p_a, with p_a the share of rows in bin a; at most ln(bins).

    Args:
        values: (n, m). bins: as in ``into_bins``.

    Returns:
        (m,) nats.
    """
    shares = [np.bincount(column) / len(column) for column in into_bins(values, bins).T]
    return np.array([-(p[p > 0] * np.log(p[p > 0])).sum() for p in shares])


def mutual_information(z: np.ndarray, factors: np.ndarray, *, bins: int = 10) -> np.ndarray:
    """Estimate the mutual information of each code number and each factor. Defined in chapter 18.

    I = Σ_ab p_ab ln(p_ab / (p_a p_b)), with p_ab the share of rows in bin a of the code number and
    bin b of the factor. Two biases: a cut loses information, and n rows pretend to some, about
    (bins − 1)² / 2n nats where there is none.

    Args:
        z: (n, k) codes, drawn from q(z|x). Means instead would count numbers that the noise hides.
        factors: (n, m).
        bins: for either, as in ``into_bins``.

    Returns:
        (k, m) nats, at least 0.

    Raises:
        ValueError: the shapes do not fit, or ``bins`` is out of its range.
    """
    expect_shapes("n k, n m", z=z, factors=factors)
    information = np.zeros((z.shape[1], factors.shape[1]))
    for j, a in enumerate(into_bins(z, bins).T):
        for i, b in enumerate(into_bins(factors, bins).T):
            p = np.bincount(a * bins + b, minlength=bins**2).reshape(bins, bins) / len(z)
            independent = p.sum(axis=1, keepdims=True) * p.sum(axis=0)  # (bins, bins)
            seen = p > 0
            information[j, i] = (p[seen] * np.log(p[seen] / independent[seen])).sum()
    return np.maximum(information, 0.0)  # rounding may leave -1e-17


def mutual_information_gap(information: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    """Compute how far the best code number is ahead of the second, by factor. From chapter 18.

    (largest − second largest of a column) / entropy of the factor. Its mean is the MIG.

    Args:
        information: (k, m) of code number j and factor i, k at least 2. entropy: (m,), same unit.

    Returns:
        (m,), 0 to 1 where the entropy is that of the same bins.

    Raises:
        ValueError: the shapes do not fit, or there is one code number alone.

    Source:
        Chen, Li, Grosse and Duvenaud (2018), https://arxiv.org/abs/1802.04942.
    """
    expect_shapes("k m, m", information=information, entropy=entropy)
    if len(information) < 2:
        raise ValueError(f"information must have at least two rows, got {len(information)}")
    second, first = np.sort(information, axis=0)[-2:]
    return (first - second) / entropy


def importances(
    z: np.ndarray, factors: np.ndarray, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Ask a random forest how much it needs each code number to predict each factor.

    Half of the rows train one forest a factor, the other half tests it. Importance is the share of
    the factor's variance that splits on the code number take away, over all splits.

    Args:
        z: (n, k) codes. factors: (n, m). seed: of the forests.

    Returns:
        importance (k, m), columns that sum to one, and the test R² of each factor, (m,): 1 is a
        perfect prediction, 0 as good as the mean.

    Raises:
        ValueError: the shapes do not fit, or there are fewer than 20 rows.

    Source:
        Eastwood and Williams (2018), https://openreview.net/forum?id=By-7dz-AZ.
    """
    from sklearn.ensemble import RandomForestRegressor  # a second, paid only where it is needed

    expect_shapes("n k, n m", z=z, factors=factors)
    expect_finite(z=z, factors=factors)
    expect_whole("seed", seed, 0)
    if len(z) < 20:
        raise ValueError(f"z must have at least 20 rows, got {len(z)}")
    half = len(z) // 2
    columns, scores = [], []
    for factor in factors.T:
        forest = RandomForestRegressor(n_estimators=10, min_samples_leaf=5, random_state=seed)
        forest.fit(z[:half], factor[:half])
        columns.append(forest.feature_importances_)
        scores.append(forest.score(z[half:], factor[half:]))
    return np.stack(columns, axis=1), np.array(scores)


def dci(importance: np.ndarray) -> tuple[float, float]:
    """Compute disentanglement and completeness. Defined in chapter 18.

    Disentanglement: does a code number serve one factor? 1 − entropy of its row (as shares, in
    units of ln m), a mean weighted by what the number matters. Completeness: does a factor use one
    code number? 1 − entropy of its column (in units of ln k), a plain mean.

    Args:
        importance: (k, m), at least 0, k and m at least 2; no column all zero.

    Returns:
        Two numbers from 0 to 1.

    Raises:
        ValueError: the shape does not fit, or an entry or a column's sum is out of its range.

    Source:
        Eastwood and Williams (2018), https://openreview.net/forum?id=By-7dz-AZ.
    """
    expect_shapes("k m", importance=importance)
    if min(importance.shape) < 2 or importance.min() < 0 or not (importance.sum(axis=0) > 0).all():
        raise ValueError(
            "importance must be (k, m), both at least 2, no entry below 0 and no column of zeros,"
            f" got {importance.shape} with least entry {importance.min():.3g}"
        )
    by_number = 1 - _entropy_of_shares(importance) / np.log(importance.shape[1])  # (k,)
    by_factor = 1 - _entropy_of_shares(importance.T) / np.log(importance.shape[0])  # (m,)
    weight = importance.sum(axis=1) / importance.sum()
    return float(weight @ by_number), float(by_factor.mean())


def _entropy_of_shares(rows: np.ndarray) -> np.ndarray:
    total = rows.sum(axis=1, keepdims=True)
    p = np.divide(rows, total, out=np.full(rows.shape, 1 / rows.shape[1]), where=total > 0)
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0).sum(axis=1)


def turning_cost(logvar: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Compute what a turned code pays for an encoder without correlations. Defined in chapter 18.

    The widths exp(logvar) turned by Q are the covariance S = Q diag(exp(logvar)) Qᵀ. The best
    Gaussian without correlations keeps the precisions, the diagonal of S⁻¹ (chapter 11). A mean
    over codes of the gap, ½ [ln det S + Σ_j ln (S⁻¹)_jj], is what the ELBO loses where S is the
    posterior's covariance; 0 where all widths are equal.

    Args:
        logvar: (n, k). rotation: (k, k) orthogonal, acts on rows as z Qᵀ.

    Returns:
        (n,) nats, at least 0.

    Raises:
        ValueError: the shapes do not fit, or ``rotation`` is not orthogonal.

    Source:
        Rolínek, Zietlow and Martius (2019), https://arxiv.org/abs/1812.06775.
    """
    expect_shapes("n k, k k", logvar=logvar, rotation=rotation)
    if not np.allclose(rotation @ rotation.T, np.eye(len(rotation)), atol=1e-6):
        raise ValueError(f"rotation must be orthogonal, got {rotation.shape} that is not")
    precisions = np.exp(-logvar) @ (rotation**2).T  # (n, k): the diagonal of Q diag(1/σ²) Qᵀ
    return 0.5 * (logvar + np.log(precisions)).sum(axis=1)


named_errors(globals())
