"""Principal angles and estimators of dimension, against constructions and reference libraries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import subspace_angles
from scipy.stats import kstest
from sklearn.neighbors import NearestNeighbors

from course_utils.manifold import (
    expect_distances,
    levina_bickel,
    local_pca_dimension,
    nearest_neighbours,
    principal_angles,
    sphere,
    swiss_roll,
    two_nn,
)
from course_utils.stroke_digits import NAMES, draw, stroke_digits


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


# ---- sets of known dimension -------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 20), m=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_points_of_a_sphere_have_length_one(n, m, seed):
    x = sphere(n, m, np.random.default_rng(seed))
    assert x.shape == (n, m + 1)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-12)


def test_a_sphere_is_evenly_covered():
    x = sphere(20_000, 2, np.random.default_rng(2))
    # Archimedes: each coordinate of a point on the sphere in R³ is uniform in [-1, 1]
    for coordinate in x.T:
        assert kstest(coordinate, "uniform", args=(-1, 2)).pvalue > 1e-3


def test_a_swiss_roll_is_a_spiral_across_and_even_by_area():
    x = swiss_roll(20_000, np.random.default_rng(3))
    radius = np.hypot(x[:, 0], x[:, 2])
    np.testing.assert_allclose(x[:, 0], radius * np.cos(radius), atol=1e-4)
    np.testing.assert_allclose(x[:, 2], radius * np.sin(radius), atol=1e-4)
    assert 1.5 * np.pi <= radius.min() and radius.max() <= 4.5 * np.pi
    grid = np.linspace(1.5 * np.pi, 4.5 * np.pi, 100_000)
    speed = np.sqrt(1 + grid**2)  # of the spiral r = φ: √(r² + r'²)
    length = np.append(0, ((speed[1:] + speed[:-1]) / 2 * np.diff(grid)).cumsum())
    along = np.interp(radius, grid, length) / length[-1]
    assert kstest(along, "uniform").pvalue > 1e-3
    assert kstest(x[:, 1] / 21, "uniform").pvalue > 1e-3


# ---- neighbours --------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 40), d=st.integers(1, 5), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_neighbours_agree_with_sorting_all_distances(n, d, data, seed):
    k = data.draw(st.integers(1, n - 1))
    x = np.random.default_rng(seed).normal(size=(n, d))
    distances, indices = nearest_neighbours(x, k)
    for i in range(n):
        all_of_them = np.linalg.norm(np.delete(x, i, axis=0) - x[i], axis=1)
        np.testing.assert_allclose(distances[i], np.sort(all_of_them)[:k], rtol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(x[indices[i]] - x[i], axis=1), distances[i])
        assert i not in indices[i] and len(set(indices[i])) == k


def test_neighbours_agree_with_scikit_learn_beyond_one_batch():
    x = np.random.default_rng(4).normal(size=(700, 6))
    theirs, at = NearestNeighbors(n_neighbors=8, algorithm="brute").fit(x).kneighbors()
    ours, indices = nearest_neighbours(x, 8)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    np.testing.assert_array_equal(indices, at)


def test_close_points_far_from_the_origin_keep_their_digits():
    x = 1e6 + 1e-3 * np.random.default_rng(5).normal(size=(50, 3))
    pairs = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(pairs, np.inf)
    distances, _ = nearest_neighbours(x, 3)
    np.testing.assert_allclose(distances, np.sort(pairs, axis=1)[:, :3], rtol=1e-6)


# ---- estimators --------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 8), k=st.integers(2, 6), seed=st.integers(0, 2**32 - 1))
def test_levina_bickel_is_its_formula(n, k, seed):
    r = np.sort(np.random.default_rng(seed).uniform(0.1, 1, size=(n, k)), axis=1)
    logs = [np.log(r[i, k - 1] / r[i, j]) for i in range(n) for j in range(k - 1)]
    assert levina_bickel(r) == pytest.approx(1 / (sum(logs) / len(logs)), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(k=st.integers(3, 12), dimension=st.integers(1, 12))
def test_levina_bickel_is_right_for_an_even_ball(k, dimension):
    rng = np.random.default_rng(dimension)
    r = np.sort(rng.random((20_000, k)) ** (1 / dimension), axis=1)
    assert levina_bickel(r) == pytest.approx(dimension, rel=0.03)


@settings(max_examples=40, deadline=None)
@given(dimension=st.floats(0.5, 20), n=st.integers(20, 200))
def test_two_nn_finds_the_exponent_of_exact_quantiles(dimension, n):
    share = np.arange(1, n + 1) / n
    ratio = (1 - share[:-1]) ** (-1 / dimension)
    r = np.stack([np.ones(n), np.append(ratio, 2 * ratio[-1])], axis=1)
    shuffled = np.random.default_rng(n).permutation(r)
    assert two_nn(shuffled) == pytest.approx(dimension, rel=1e-9)


def test_two_nn_does_not_look_at_the_largest_ratios_nor_at_a_third_neighbour():
    rng = np.random.default_rng(6)
    r = np.sort(rng.random((100, 3)) + 0.1, axis=1)
    spoilt = r.copy()
    largest = np.argsort(r[:, 1] / r[:, 0])[-10:]
    spoilt[largest, 1:] *= 1000
    assert two_nn(spoilt) == pytest.approx(two_nn(r), rel=1e-12)
    assert two_nn(r[:, :2]) == two_nn(r)


@settings(max_examples=40, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**32 - 1))
def test_estimates_from_distances_do_not_depend_on_the_unit(scale, seed):
    r = np.sort(np.random.default_rng(seed).uniform(0.1, 1, size=(30, 4)), axis=1)
    assert levina_bickel(scale * r) == pytest.approx(levina_bickel(r), rel=1e-9)
    assert two_nn(scale * r) == pytest.approx(two_nn(r), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(m=st.integers(1, 4), d=st.integers(4, 10), seed=st.integers(0, 2**32 - 1))
def test_local_pca_counts_the_directions_of_a_flat_set(m, d, seed):
    rng = np.random.default_rng(seed)
    flat = rng.normal(size=(400, m)) @ np.linalg.qr(rng.normal(size=(d, m)))[0].T
    _, indices = nearest_neighbours(flat, 60)
    assert local_pca_dimension(flat, indices[:50]) == pytest.approx(m, abs=0.05)


def test_local_pca_counts_what_is_above_the_threshold():
    x = np.array([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0.5], [0, 0, -0.5]])
    everything = np.arange(6)[None]  # variances in the ratio 4 : 1 : ¼
    assert [local_pca_dimension(x, everything, t) for t in (0.05, 0.1, 0.5)] == [3, 2, 1]


def estimates(x):
    distances, indices = nearest_neighbours(x, 20)
    return [
        local_pca_dimension(x, indices[:300]),
        levina_bickel(distances[:, :10]),
        two_nn(distances),
    ]


@pytest.mark.parametrize("dimension", [1, 2, 4, 6])
def test_all_three_find_the_dimension_of_a_sphere_however_it_is_placed(dimension):
    rng = np.random.default_rng(dimension)
    x = sphere(2000, dimension, rng)
    turn = np.linalg.qr(rng.normal(size=(12, dimension + 1)))[0].T
    found = estimates(x)
    np.testing.assert_allclose(found, dimension, rtol=0.12)
    np.testing.assert_allclose(estimates(5 + 3 * x @ turn), found, rtol=1e-6)


def test_all_three_find_the_dimension_of_a_swiss_roll():
    np.testing.assert_allclose(estimates(swiss_roll(2000, np.random.default_rng(7))), 2, rtol=0.12)


@pytest.mark.parametrize("n_free", [1, 2, 3, 4, 5, 6])
def test_all_three_count_the_free_factors_of_stroke_digits(n_free):
    sample = stroke_digits(1500, seed=n_free, labels=2, free=NAMES[-n_free:])
    x = draw(sample.labels, sample.factors)
    np.testing.assert_allclose(estimates(x), n_free, rtol=0.2)


def test_estimates_agree_with_scikit_dimension():
    import skdim  # compiles for some seconds: only here

    rng = np.random.default_rng(8)
    for x in (sphere(500, 3, rng), swiss_roll(500, rng), rng.normal(size=(300, 10))):
        distances, indices = nearest_neighbours(x, 20)
        mle = skdim.id.MLE(K=20).fit(x, n_neighbors=20).dimension_
        assert levina_bickel(distances) == pytest.approx(mle, rel=1e-9)
        theirs = skdim.id.TwoNN(discard_fraction=0.1).fit(x).dimension_
        assert two_nn(distances) == pytest.approx(theirs, rel=1e-9)
        local = skdim.id.lPCA(ver="FO", alphaFO=0.1).fit_transform_pw(x, n_neighbors=20).mean()
        assert local_pca_dimension(x, indices) == pytest.approx(local, rel=1e-9)


good = np.array([[1.0, 2.0], [1.0, 3.0]])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sphere(5, 0, np.random.default_rng(0)), "dimension must be at least 1"),
        (lambda: nearest_neighbours(np.ones(4), 1), "x must have shape"),
        (lambda: nearest_neighbours(np.ones((4, 2)), 4), "k must be from 1 to n - 1 = 3, got 4"),
        (lambda: nearest_neighbours(np.ones((4, 2)), 0), "k must be from 1"),
        (lambda: levina_bickel(good[:, 0]), "distances must have shape"),
        (lambda: levina_bickel(good[:, :1]), "two or more columns"),
        (lambda: levina_bickel(good[:, ::-1]), "ascending"),
        (lambda: two_nn(good - 1), "distances must be positive"),
        (lambda: two_nn(good * [[1, np.nan]]), "finite"),
        (lambda: two_nn(good, discard=1.0), "discard must be in"),
        (lambda: local_pca_dimension(good, np.array([0, 1])), "indices must have shape"),
        (lambda: local_pca_dimension(good, np.array([[0, 1]]), 0.0), "threshold must be in"),
        (lambda: expect_distances(np.ones((2, 2)) * -1), "positive"),
    ],
)
def test_what_does_not_fit_an_estimator_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


class Even:
    """In place of a generator: the numbers from low to high at equal distances."""

    def uniform(self, low, high, size):
        return np.linspace(low, high, size)


def test_a_swiss_roll_lies_evenly_along_its_spiral():
    x = swiss_roll(400, Even())
    phi = np.hypot(x[:, 0], x[:, 2])
    np.testing.assert_allclose(phi[[0, -1]], [1.5 * np.pi, 4.5 * np.pi], rtol=1e-9)
    lengths = [quad(lambda p: np.sqrt(1 + p**2), phi[0], end)[0] for end in phi]
    np.testing.assert_allclose(lengths, np.linspace(0, lengths[-1], 400), atol=1e-4)


@pytest.mark.parametrize("make", [sphere, swiss_roll])
def test_one_point_is_enough_and_none_is_not(make):
    rng = np.random.default_rng(0)
    one = make(1, 2, rng) if make is sphere else make(1, rng)
    assert len(one) == 1
    with pytest.raises(ValueError, match="n must be"):
        make(0, 2, rng) if make is sphere else make(0, rng)


def test_one_bad_row_of_distances_is_enough_to_be_refused():
    good = np.array([[1.0, 2.0, 2.0], [0.5, 0.5, 3.0]])  # ties may be
    expect_distances(good)
    for bad, words in (([0.0, 2.0, 2.0], "positive"), ([1.0, 0.5, 2.0], "ascending")):
        with pytest.raises(ValueError, match=words):
            expect_distances(np.array([bad, good[1]]))


def test_thresholds_and_shares_lie_strictly_between_zero_and_one():
    x = np.random.default_rng(1).normal(size=(40, 3))
    distances, indices = nearest_neighbours(x, 8)
    for threshold in (1.0, 1.5, 0.0):
        with pytest.raises(ValueError, match="threshold"):
            local_pca_dimension(x, indices, threshold)
    for discard in (0.0, -0.5, 1.0):
        with pytest.raises(ValueError, match="discard"):
            two_nn(distances, discard=discard)
    assert local_pca_dimension(x, indices, 0.999) >= 1
    assert two_nn(distances, discard=0.001) > 0


@pytest.mark.parametrize("n", [2, 3, 5, 6, 20, 300])
def test_with_k_one_less_than_n_the_neighbours_are_all_the_others(n):
    x = np.random.default_rng(n).normal(size=(n, 3))
    x = x[np.argsort(x[:, 0])]
    distances, indices = nearest_neighbours(x, n - 1)
    others = [np.delete(np.arange(n), i) for i in range(n)]
    np.testing.assert_array_equal(np.sort(indices, axis=1), others)
    expected = np.linalg.norm(x[:, None] - x, axis=2)
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, 1:], rtol=1e-12)


def test_equal_points_fill_no_direction():
    assert local_pca_dimension(np.ones((5, 3)), np.array([[0, 1, 2, 3]])) == 0


def test_the_search_needs_no_more_than_argpartition_promises(monkeypatch):
    """Smaller numbers before place k, larger ones after it; on either side in any order."""

    def backwards(a, k, axis):
        order = np.argsort(a, axis=axis)
        return np.hstack([order[:, :k][:, ::-1], order[:, k : k + 1], order[:, :k:-1]])

    x = np.random.default_rng(3).normal(size=(9, 2))
    expected = [nearest_neighbours(x, k)[1] for k in range(1, 9)]
    monkeypatch.setattr(np, "argpartition", backwards)
    for k in range(1, 9):
        np.testing.assert_array_equal(nearest_neighbours(x, k)[1], expected[k - 1])
