"""The digits: real, split once and for all, in [0, 1]."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from course_utils.data import digits


@pytest.fixture(scope="module")
def split():
    return digits()


def test_images_are_float32_rows_in_the_unit_interval(split):
    for x in (split.x_train, split.x_test):
        assert x.dtype == np.float32 and x.shape[1] == split.height * split.width == 64
        assert x.min() == 0.0 and x.max() == 1.0
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
