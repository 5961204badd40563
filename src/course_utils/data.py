"""The data sets of the course, each with one fixed split."""

import numpy as np

from course_utils.arguments import named_errors
from course_utils.flat_images import FlatImages as FlatImages
from course_utils.folder_images import images as images
from course_utils.mnist import DataUnavailable as DataUnavailable
from course_utils.mnist import available as available
from course_utils.mnist import data_folder as data_folder
from course_utils.mnist import fashion_mnist as fashion_mnist
from course_utils.mnist import mnist as mnist
from course_utils.shapes import expect_shapes, expect_unit_range
from course_utils.stroke_digits import StrokeDigits as StrokeDigits
from course_utils.stroke_digits import stroke_digits as stroke_digits


def digits() -> FlatImages:
    """Load 1 797 real handwritten digits, 8 × 8 pixels: 1 442 to train on, 355 to test on.

    They are scikit-learn's copy of the UCI optical digits, so no network is needed. Grey values
    0 … 16 are divided by 16. The split needs no random numbers: within each class, in the order of
    the file, every fifth image is a test image. So both sets hold every class in the same share.

    Returns:
        ``FlatImages`` with ``d = 64``; new arrays at each call.

    Source:
        Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning
        Repository, https://doi.org/10.24432/C50P49.

    >>> data = digits()
    >>> data.x_train.shape, data.x_test.shape, data.x_train.dtype
    ((1442, 64), (355, 64), dtype('float32'))
    """
    from sklearn.datasets import load_digits  # half a second, paid only by chapters that need it

    raw = load_digits()
    x = (raw.data / 16.0).astype(np.float32)  # (1797, 64), in [0, 1]
    y = raw.target.astype(np.int64)
    test = _every_fifth_of_each_class(y)
    return FlatImages(x[~test], y[~test], x[test], y[test], height=8, width=8, name="digits")


def binarise(x: np.ndarray, seed: int) -> np.ndarray:
    """Make images of zeros and ones: each pixel is 1 with its grey value as probability.

    Drawn once and then kept: every model and every epoch sees the same images. Drawing anew in each
    epoch is the other custom, and likelihoods of the two cannot be compared, nor those of two
    seeds to the last digit. The image in row i does not depend on how many rows follow.

    Args:
        x: (n, d), grey values in [0, 1].
        seed: a whole number, at least 0.

    Returns:
        (n, d) float32, zeros and ones.

    Raises:
        ValueError: a value lies outside [0, 1] or is nan, or ``x`` or ``seed`` does not fit.

    Source:
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks,
        https://doi.org/10.1145/1390156.1390266, for the probabilities. Burda, Grosse and
        Salakhutdinov (2016), Importance weighted autoencoders, https://arxiv.org/abs/1509.00519,
        give results for both customs.

    >>> binarise(np.array([[0.0, 0.5, 0.5, 1.0]]), seed=5)
    array([[0., 0., 1., 1.]], dtype=float32)
    """
    expect_shapes("n d", x=x)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a whole number, at least 0, got {seed!r}")
    x = np.asarray(x)
    expect_unit_range(x=x)
    drawn = np.random.default_rng(seed).random(x.shape, dtype=np.float32)  # in [0, 1)
    return np.less(drawn, x, out=drawn)


def _every_fifth_of_each_class(y: np.ndarray) -> np.ndarray:
    """Mark the 5th, 10th, … member of each class: (n,) labels -> (n,) booleans."""
    test = np.zeros(y.shape, dtype=bool)
    for label in np.unique(y):
        test[np.flatnonzero(y == label)[4::5]] = True
    return test


named_errors(globals())
