"""One letter, one size."""

import numpy as np
import pytest

from course_utils.shapes import expect_shapes


def test_fitting_shapes_pass_in_silence():
    expect_shapes(
        "n d, d k, k, ", x=np.ones((4, 3)), w=np.ones((3, 2)), b=np.ones(2), c=np.ones(())
    )
    expect_shapes("n 2", z=np.ones((5, 2)))


@pytest.mark.parametrize(
    ("shapes", "arrays", "message"),
    [
        (
            "n d, d k",
            {"x": np.ones((4, 3)), "w": np.ones((2, 3))},
            r"w must have shape \(d, k\) with d = 3, got \(2, 3\)",
        ),
        ("n d", {"x": np.ones(3)}, r"x must have shape \(n, d\), got \(3,\)"),
        ("d d", {"c": np.ones((2, 3))}, r"c must have shape \(d, d\), got \(2, 3\)"),
        ("n 2", {"z": np.ones((4, 3))}, r"z must have shape \(n, 2\), got \(4, 3\)"),
        (
            "n d, n",
            {"x": np.ones((4, 3)), "y": np.ones(5)},
            r"y must have shape \(n,\) with n = 4, got \(5,\)",
        ),
    ],
)
def test_the_array_that_does_not_fit_is_named(shapes, arrays, message):
    with pytest.raises(ValueError, match=message):
        expect_shapes(shapes, **arrays)


def test_what_is_no_array_is_named():
    with pytest.raises(TypeError, match="x must be an array, got list"):
        expect_shapes("n", x=[1.0, 2.0])


def test_as_many_shapes_as_arrays():
    with pytest.raises(ValueError):
        expect_shapes("n d", x=np.ones((4, 3)), y=np.ones(4))
