"""The exercises of chapter 08, answered by other roads."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import pdist
from sklearn.neighbors import NearestNeighbors

from course_utils.exercises import check
from course_utils.stroke_digits import draw, draw_jacobian


def by_root_finding(code, bracket):
    return brentq(lambda t: code(t + np.pi) - code(t), *bracket)


def on_a_fine_grid(code, bracket):
    t = np.linspace(*bracket, 1_000_001)
    h = code(t) - code(t + np.pi)
    i = np.flatnonzero(h[:-1] * h[1:] <= 0)[-1]
    return np.array([t[i] - h[i] * (t[i + 1] - t[i]) / (h[i + 1] - h[i])])


def by_a_fit(x, r_small, r_large):
    pairs = pdist(x)
    share = [np.mean(pairs < r) for r in (r_small, r_large)]
    return np.polyfit(np.log([r_small, r_large]), np.log(share), 1)[0]


def by_scikit_learn(x, sigma):
    nearest = NearestNeighbors(n_neighbors=1).fit(x).kneighbors()[0].ravel()
    return np.count_nonzero(nearest**2 < 2 * x.shape[1] * sigma**2) / len(x)


def by_normal_equations(image, label, start):
    h = np.array(start)
    for _ in range(60):
        j = draw_jacobian(np.full(1, label), h[None])[0]
        missing = image - draw(np.full(1, label), h[None])[0]
        h = h + np.linalg.solve(j.T @ j + 1e-6 * np.eye(7), j.T @ missing)
    return list(h)


def zigzag(t, d):
    return np.abs((t[:, None] * (997 + 101 * np.sqrt(np.arange(d)))) % 1 - 0.5)


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("08.1", by_root_finding),
        ("08.1", on_a_fine_grid),
        ("08.2", by_a_fit),
        ("08.3", by_scikit_learn),
        ("08.4", by_normal_equations),
        ("08.5", zigzag),
    ],
)
def test_a_right_answer_by_another_road_passes(number, answer, capsys):
    check(number, answer)
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("n_halvings", [8, 12, 16])
def test_a_search_for_the_collision_that_ends_too_early_is_told_so(n_halvings, end, capsys):
    def halve(code, bracket):
        low, high = bracket
        for _ in range(n_halvings):
            mid = (low + high) / 2
            same_sign = (code(low) - code(low + np.pi)) * (code(mid) - code(mid + np.pi)) > 0
            low, high = (mid, high) if same_sign else (low, mid)
        return (low, high)[end]

    check("08.1", halve)
    assert "the search ends too early" in capsys.readouterr().out
    check("08.1", lambda code, bracket: 0.0)
    assert "the search ends too early" not in capsys.readouterr().out


def test_a_wild_curve_must_not_depend_on_the_other_points(capsys):
    check("08.5", lambda t, d: zigzag(t, d) + np.arange(len(t))[:, None])
    assert "points that depend on their own t alone" in capsys.readouterr().out
