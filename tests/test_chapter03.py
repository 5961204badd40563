"""Right answers to the exercises of chapter 03 by another road, and the facts that they rest on."""

import numpy as np
import pytest

from course_utils import numpy_nn as nn
from course_utils.exercises import chapter03, check


def absolute_error(x, x_hat):
    return np.linalg.norm((x - x_hat).ravel(), 1) / len(x), [
        [((b > a) * 1.0 - (b < a)) / len(x) for a, b in zip(one, two, strict=True)]
        for one, two in zip(x, x_hat, strict=True)
    ]


def residual_by_rows(x, w, b, output_gradient):
    dw, db, dx = np.zeros_like(w), np.zeros_like(b), np.zeros_like(x)
    for i, (row, g) in enumerate(zip(x, output_gradient, strict=True)):
        jacobian = np.where(row @ w + b > 0, w, 0)  # of the ReLU's output, (d_in, d_out)
        dw += np.outer(row, g * (row @ w + b > 0))
        db += g * (row @ w + b > 0)
        dx[i] = (np.eye(len(b)) + jacobian) @ g
    return dw, db, dx


def excess_by_limits(x, logits):
    near = np.clip(x, 1e-12, 1 - 1e-12)
    at_best = nn.cross_entropy(x, np.log(near) - np.log1p(-near))
    return np.mean(nn.cross_entropy(x, logits) - at_best)


def standardise_by_jacobian(x, output_gradient):
    n, y, s = len(x), (x - x.mean(0)) / x.std(0), x.std(0)
    return np.stack(
        [
            (np.eye(n) - 1 / n - np.outer(y[:, j], y[:, j]) / n) @ output_gradient[:, j] / s[j]
            for j in range(x.shape[1])
        ],
        axis=1,
    )


def ratio_by_steps(t, beta1, beta2):
    m = v = 0.0
    seen = []
    for _ in range(int(max(t))):
        m, v = beta1 * m + (1 - beta1), beta2 * v + (1 - beta2)
        seen.append(m / v**0.5)
    return [seen[int(step) - 1] for step in t]


def deadly_by_sorting(x, w):
    return [-sorted(x @ w[:, j])[-1] for j in range(w.shape[1])]


OTHER_ROADS = {
    "03.1": absolute_error,
    "03.2": residual_by_rows,
    "03.3": excess_by_limits,
    "03.4": standardise_by_jacobian,
    "03.5": ratio_by_steps,
    "03.6": deadly_by_sorting,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    check(number, OTHER_ROADS[number])
    out = capsys.readouterr().out
    assert out.startswith("✓"), out


def test_every_exercise_has_another_road():
    assert list(OTHER_ROADS) == [exercise.number for exercise in chapter03.EXERCISES]


def test_the_solutions_are_the_gradients_of_their_layers():
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    w, b = rng.normal(size=(4, 4)), rng.normal(size=4)

    def residual(x, w, b):
        return (g * (x + nn.relu(x @ w + b))).sum()

    def standardised(x):
        return (g * (x - x.mean(axis=0)) / x.std(axis=0)).sum()

    dw, db, dx = chapter03.residual_backward(x, w, b, g)
    for ours, theirs in (
        (dw, nn.numerical_gradient(lambda w: residual(x, w, b), w)),
        (db, nn.numerical_gradient(lambda b: residual(x, w, b), b)),
        (dx, nn.numerical_gradient(lambda x: residual(x, w, b), x)),
        (chapter03.standardise_backward(x, g), nn.numerical_gradient(standardised, x)),
    ):
        assert nn.relative_error(ours, theirs) < 1e-6


def test_excess_nats_is_zero_exactly_at_the_pixels():
    x = np.random.default_rng(1).uniform(0.01, 0.99, (3, 5))
    logits = np.log(x / (1 - x))
    assert chapter03.excess_nats(x, logits) == pytest.approx(0, abs=1e-12)
    assert chapter03.excess_nats(x, logits + 0.1) > 1e-4


def test_a_larger_bias_than_the_deadly_one_wakes_a_unit():
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(20, 5)), rng.normal(size=(5, 3))
    b = chapter03.deadly_bias(x, w)
    assert not nn.relu(x @ w + b - 1e-9).any()
    assert (nn.relu(x @ w + b + 1e-6) > 0).any(axis=0).all()
