"""What every loader of a data set returns: images as rows, split into a training and a test set."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class FlatImages:
    """Images as rows, split once and for all into a training and a test set.

    Attributes:
        x_train, x_test: (n, d) float32 in [0, 1], one image a row, pixels in reading order; of an
            image in colour first all its red, then all green, then all blue.
        y_train, y_test: (n,) int64, the class of each image.
        height, width: the image's size; ``d = channels * height * width``.
        name: what the images are, for a title or a caption.
        channels: 1 for grey, 3 for colour.
        classes: their names, in the order of the labels; empty where they have none but numbers.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    height: int
    width: int
    name: str
    channels: int = 1
    classes: tuple[str, ...] = ()
