"""The digits: real, split once and for all, in [0, 1]; and images of zeros and ones."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from course_utils.data import binarise, digits


@pytest.fixture(scope="module")
def split():
    return digits()


def test_images_are_float32_rows_in_the_unit_interval(split):
    for x in (split.x_train, split.x_test):
        assert x.dtype == np.float32 and x.shape[1] == split.height * split.width == 64
        assert x.min() == 0.0 and x.max() == 1.0
    assert split.name == "digits"
    for x, y in ((split.x_train, split.y_train), (split.x_test, split.y_test)):
        assert y.dtype == np.int64 and y.shape == (len(x),)


def test_every_digit_of_the_file_is_in_exactly_one_set(split):
    both = np.concatenate([split.x_train, split.x_test])
    raw = (load_digits().data / 16).astype(np.float32)
    assert len(both) == len(raw) == 1797
    np.testing.assert_array_equal(both[np.lexsort(both.T)], raw[np.lexsort(raw.T)])


def test_images_keep_their_labels(split):
    raw = load_digits()
    label = {
        row.tobytes(): y
        for row, y in zip((raw.data / 16).astype(np.float32), raw.target, strict=True)
    }
    for x, y in ((split.x_train, split.y_train), (split.x_test, split.y_test)):
        assert [label[row.tobytes()] for row in x] == y.tolist()


def test_each_class_is_split_four_to_one(split):
    train, test = np.bincount(split.y_train), np.bincount(split.y_test)
    np.testing.assert_array_equal(test, (train + test) // 5)


def test_the_split_is_the_same_at_each_call_and_arrays_are_new(split):
    again = digits()
    np.testing.assert_array_equal(split.x_test, again.x_test)
    again.x_test[:] = 7.0
    assert split.x_test.max() == 1.0 and digits().x_test.max() == 1.0


def grey(n=2_000, seed=3):
    return np.random.default_rng(seed).random((n, 5)).astype(np.float32)


def test_a_binarised_pixel_is_one_as_often_as_its_grey_value_says():
    p = np.array([0.0, 0.01, 0.3, 0.5, 0.99, 1.0])
    drawn = binarise(np.tile(p, (40_000, 1)), seed=1)
    assert drawn.dtype == np.float32 and set(np.unique(drawn)) == {0.0, 1.0}
    assert not drawn[:, 0].any() and drawn[:, -1].all()  # black and white stay
    deviation = np.sqrt(p * (1 - p) / len(drawn))
    assert np.all(np.abs(drawn.mean(axis=0) - p) <= 4 * deviation)


def test_binarised_pixels_are_independent():
    drawn = binarise(np.full((40_000, 4), 0.3), seed=2)
    correlation = np.corrcoef(np.hstack([drawn[1:], drawn[:-1]]).T)  # within a row, and to the next
    assert np.abs(correlation - np.eye(8)).max() < 5 / np.sqrt(len(drawn))


def test_a_seed_fixes_the_binarised_images_however_many_rows_there_are():
    x = grey()
    np.testing.assert_array_equal(binarise(x, seed=4), binarise(x.copy(), seed=4))
    np.testing.assert_array_equal(binarise(x, seed=4)[:7], binarise(x[:7], seed=4))
    assert np.any(binarise(x, seed=4) != binarise(x, seed=5))
    np.testing.assert_array_equal(x, grey())  # the grey images stay as they are


@pytest.mark.parametrize(
    "x, seed, says",
    [
        (np.array([[0.0, 1.5]]), 0, r"x must lie in \[0, 1\], got values from 0 to 1.5"),
        (np.array([[-1e-6, 1.0]]), 0, r"x must lie in \[0, 1\]"),
        (np.array([[0.0, np.nan]]), 0, r"x must lie in \[0, 1\], got values from nan"),
        (np.zeros(3), 0, r"x must have shape \(n, d\)"),
        (np.zeros((2, 3)), -1, "seed must be a whole number, at least 0, got -1"),
        (np.zeros((2, 3)), True, "seed must be a whole number"),
    ],
)
def test_what_cannot_be_binarised_is_named(x, seed, says):
    with pytest.raises(ValueError, match=says):
        binarise(x, seed)
