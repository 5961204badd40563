"""The data sets of the course, each with one fixed split."""

from dataclasses import dataclass

import numpy as np

from course_utils.stroke_digits import StrokeDigits as StrokeDigits
from course_utils.stroke_digits import stroke_digits as stroke_digits


@dataclass(frozen=True, eq=False)
class FlatImages:
    """Grey images as rows, split once and for all into a training and a test set.

    Attributes:
        x_train, x_test: (n, d) float32 in [0, 1], one image a row, pixels in reading order.
        y_train, y_test: (n,) int64, the class of each image.
        height, width: the image's size; ``d = height * width``.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    height: int
    width: int


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
    return FlatImages(x[~test], y[~test], x[test], y[test], height=8, width=8)


def _every_fifth_of_each_class(y: np.ndarray) -> np.ndarray:
    """Mark the 5th, 10th, … member of each class: (n,) labels -> (n,) booleans."""
    test = np.zeros(y.shape, dtype=bool)
    for label in np.unique(y):
        test[np.flatnonzero(y == label)[4::5]] = True
    return test
