"""Principal angles against constructed angles and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from course_utils.manifold import principal_angles


@settings(max_examples=50, deadline=None)
@given(d=st.integers(2, 8), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_angles_agree_with_scipy(d, data, seed):
    k = data.draw(st.integers(1, d))
    a, b = np.random.default_rng(seed).normal(size=(2, k, d))
    np.testing.assert_allclose(principal_angles(a, b), subspace_angles(a.T, b.T)[::-1], atol=1e-7)


@pytest.mark.parametrize("angle", [1e-12, 1e-8, 1e-3, 0.7, np.pi / 2])
def test_a_constructed_angle_is_found_to_many_digits(angle):
    a = np.eye(5)[:2]
    b = np.array([[1.0, 0, 0, 0, 0], [0, np.cos(angle), np.sin(angle), 0, 0]])
    np.testing.assert_allclose(principal_angles(a, b), [0, angle], rtol=1e-6, atol=1e-15)


def test_the_basis_does_not_matter():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 3, 6))
    mix = rng.normal(size=(3, 3))
    np.testing.assert_allclose(principal_angles(mix @ a, b), principal_angles(a, b), atol=1e-10)
    np.testing.assert_allclose(principal_angles(mix @ a, a), 0, atol=1e-10)


@pytest.mark.parametrize(
    "shapes", [((2, 5), (3, 5)), ((2, 5), (2, 4)), ((6, 5), (6, 5)), ((5,), (5,))]
)
def test_shapes_that_do_not_fit_are_named(shapes):
    a, b = (np.random.default_rng(0).normal(size=s) for s in shapes)
    with pytest.raises(ValueError, match="a and b must have one shape"):
        principal_angles(a, b)


def test_dependent_rows_span_no_plane():
    a = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]])
    with pytest.raises(ValueError, match="linearly independent"):
        principal_angles(a, np.eye(3)[:2])
