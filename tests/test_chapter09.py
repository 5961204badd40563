"""Right answers to the exercises of chapter 09 by another road, and the facts that it rests on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.exercises import chapter09, check
from course_utils.manifold import principal_angles
from course_utils.stroke_digits import draw, draw_jacobian, stroke_digits

seeds = st.integers(0, 2**32 - 1)


def tangent_by_least_squares(delta, jacobian):
    return [jacobian @ np.linalg.lstsq(jacobian, row, rcond=None)[0] for row in delta]


def survival_with_a_normal_basis(j, q):
    full = np.linalg.qr(q.T, mode="complete")[0].T  # (d, d): the first m rows span the tangents
    squares = (full @ j.T) ** 2
    return squares[: len(q)].sum(axis=1).mean(), squares[len(q) :].sum(axis=1).mean()


def step_by_bisection(radius, tolerance):
    low, high = 0.0, 10 * (radius + tolerance)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if np.hypot(radius, middle) - radius < tolerance else (low, middle)
        )
    return low


def worst_by_angles(w, q):
    return np.tan(principal_angles(w.T, q)[-1]) ** 2


def width_by_bisection(c):
    t = np.linspace(-1, 1, 20_001)
    low, high = 1e-3, 1e3
    for _ in range(100):
        w = (low + high) / 2
        low, high = (w, high) if np.var(w * t) > np.var(c * (w * t) ** 2) else (low, w)
    return low


OTHER_ROADS = {
    "09.1": tangent_by_least_squares,
    "09.2": survival_with_a_normal_basis,
    "09.3": step_by_bisection,
    "09.4": worst_by_angles,
    "09.5": width_by_bisection,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    check(number, OTHER_ROADS[number])
    assert capsys.readouterr().out.startswith(f"✓ {number} ")


def test_every_exercise_has_another_road():
    assert set(OTHER_ROADS) == {exercise.number for exercise in chapter09.EXERCISES}


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 4), st.integers(0, 3))
def test_the_two_parts_are_at_right_angles_and_splitting_twice_changes_nothing(seed, m, extra):
    rng = np.random.default_rng(seed)
    d = m + extra
    delta, jacobian = rng.normal(size=(3, d)), rng.normal(size=(d, m))
    tangent = chapter09.tangent_part(delta, jacobian)
    assert np.allclose((tangent * (delta - tangent)).sum(axis=1), 0, atol=1e-8)
    assert np.allclose(chapter09.tangent_part(tangent, jacobian), tangent, atol=1e-8)
    assert np.allclose((delta - tangent) @ jacobian, 0, atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 3), st.integers(1, 4))
def test_a_perfect_map_has_a_squared_jacobian_norm_of_at_least_m(seed, m, extra):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(m + extra, m)))[0].T
    w = rng.normal(size=(m + extra, m)) + 3 * q.T  # keeps q @ w away from singular
    r = w @ np.linalg.solve(q @ w, q)
    assert np.allclose(q @ r, q)
    assert (r**2).sum() >= m - 1e-9
    along, off = chapter09.survival(r.T, q)
    assert np.isclose(m * along + extra * off, (r**2).sum())
    assert np.isclose(along, 1)


def test_the_projection_alone_reaches_that_norm():
    q = np.linalg.qr(np.random.default_rng(9).normal(size=(6, 2)))[0].T
    assert np.isclose(((q.T @ q) ** 2).sum(), 2)
    assert np.allclose(chapter09.survival(q.T @ q, q), (1, 0))


def test_the_tangent_plane_of_the_generator_misses_with_the_square_of_the_step():
    data = stroke_digits(5, seed=9, labels=3, free=("rotation", "shift_x"))
    tangents = draw_jacobian(data.labels, data.factors)[:, :, 1]
    start, missed = draw(data.labels, data.factors), []
    for step in (0.01, 0.02):
        h = data.factors.copy()
        h[:, 1] += step
        missed.append(np.linalg.norm(draw(data.labels, h) - start - step * tangents, axis=1))
    assert np.allclose(missed[1] / missed[0], 4, rtol=0.05)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_nothing_but_the_tangent_of_the_largest_angle_decides_what_survives(seed):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(6, 2)))[0].T
    w = rng.normal(size=(6, 2)) + 2 * q.T
    expected = np.tan(principal_angles(w.T, q)[-1]) ** 2
    assert np.isclose(chapter09.worst_survival(w, q), expected, rtol=1e-6)
