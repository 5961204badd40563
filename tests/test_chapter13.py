"""Chapter 13: what its text derives, and right answers to its exercises by other roads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from course_utils.exercises import check
from course_utils.exercises.answers import find


def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def solution(number):
    return find(number).solution[0]


# The exercises, by other roads ------------------------------------------------------------------
def laplace_by_search(x, x_hat):
    def minus(log_b):
        return -stats.laplace(x_hat, np.exp(log_b)).logpdf(x).sum(axis=1).mean()

    best = optimize.minimize_scalar(
        minus, bounds=(-10, 5), method="bounded", options={"xatol": 1e-9}
    )
    return float(np.exp(best.x)), -float(best.fun)


def slerp_by_rotation(a, b, t):
    """Turn a's direction in the plane of a and b; scale as (13.5) does."""
    norm_a, norm_b = np.linalg.norm(a), np.linalg.norm(b)
    u, rest = a / norm_a, b - (a @ b) / norm_a**2 * a
    if np.linalg.norm(rest) < 1e-9 * norm_b:
        return np.outer(1 - t, a) + np.outer(t, b)
    v = rest / np.linalg.norm(rest)
    angle = np.arctan2(b @ v, b @ u)
    along = norm_a * np.sin((1 - t) * angle) / np.sin(angle) + norm_b * np.sin(t * angle) / np.tan(
        angle
    )
    across = norm_b * np.sin(t * angle)
    return np.outer(along, u) + np.outer(across, v)


def layer_by_probing(layers):
    def stack(x):
        for w, b in layers:
            x = x @ w + b
        return x

    d = len(layers[0][0])
    b = stack(np.zeros((1, d)))[0]
    return stack(np.eye(d)) - b, b


def grey_mean_by_quadrature(a):
    nodes, weights = np.polynomial.legendre.leggauss(400)  # on [-1, 1]
    x = (nodes + 1) / 2
    exponent = np.asarray(a, dtype=np.float64)[..., None] * x
    density = np.exp(exponent - exponent.max(axis=-1, keepdims=True))
    return (density * x) @ weights / (density @ weights)


def logit_by_counting(bits):
    """Bisection in exact arithmetic of a float with so many fraction bits."""
    from fractions import Fraction

    half_spacing = Fraction(1, 2 ** (bits + 1))
    low, high = 0.0, 100.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if Fraction(np.exp(-middle)) > half_spacing else (low, middle)
    return low


def mean_by_two_steps(rate, clip, decay, n):
    """Read the three numbers off the step of one weight, below and above the clip."""

    def step(g, w=0.0):
        return rate * (min(1.0, clip / abs(g)) * g + decay * w) if g else rate * decay * w

    slope = step(1e-3 * clip) / (1e-3 * clip / n)
    limit = step(1e6 * clip) / slope
    return slope, limit, step(0.0, 1.0) / slope


OTHER_ROADS = {
    "13.1": laplace_by_search,
    "13.2": slerp_by_rotation,
    "13.3": layer_by_probing,
    "13.4": grey_mean_by_quadrature,
    "13.5": logit_by_counting,
    "13.6": mean_by_two_steps,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    assert said(capsys, number, OTHER_ROADS[number]).startswith(f"✓ {number} is right")


@pytest.mark.parametrize(("dtype", "bits"), [(np.float16, 10), (np.float32, 23), (np.float64, 52)])
def test_the_safe_logit_is_where_floats_round_one_plus_to_one(dtype, bits):
    one, logit = dtype(1), solution("13.5")(bits)
    assert one + np.exp(dtype(-logit * 0.999)) > one
    assert one + np.exp(dtype(-logit * 1.001)) == one


def test_bfloat16_breaks_at_five_and_a_half():
    torch = pytest.importorskip("torch")
    one = torch.tensor(1.0, dtype=torch.bfloat16)
    assert solution("13.5")(7) == pytest.approx(5.545, abs=1e-3)
    assert one + torch.tensor(np.exp(-5.5), dtype=torch.bfloat16) > 1
    assert one + torch.tensor(np.exp(-5.6), dtype=torch.bfloat16) == 1


def test_torch_sigmoid_in_bfloat16_gives_one_at_six_and_a_quarter():
    torch = pytest.importorskip("torch")
    at = 9 * np.log(2)  # (bits + 2) ln 2: p alone is rounded, and below 1 floats are closer
    logits = torch.tensor([at - 0.06, at + 0.06]).bfloat16()
    assert (torch.sigmoid(logits) == 1).tolist() == [False, True]


@given(st.floats(-30, 30))
def test_the_grey_mean_is_between_one_half_and_the_coin(a):
    mean, coin = float(solution("13.4")(np.array([a]))[0]), 1 / (1 + np.exp(-a))
    assert min(0.5, coin) - 1e-9 <= mean <= max(0.5, coin) + 1e-9


@given(st.floats(1e-6, 1 - 1e-6))
def test_the_grey_mass_of_a_pixel_is_at_most_one_half(p):
    mass = integrate.quad(lambda x: p**x * (1 - p) ** (1 - x), 0, 1)[0]
    assert mass <= 0.5 + 1e-9
    if abs(p - 0.5) > 1e-3:
        assert mass == pytest.approx((2 * p - 1) / (np.log(p) - np.log(1 - p)), rel=1e-6)


def test_a_spherical_path_between_codes_of_one_norm_keeps_it():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 20))
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    path = solution("13.2")(a, b, np.linspace(0, 1, 11))
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), np.linalg.norm(a))
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps[0])  # and turns evenly


def test_nearly_parallel_codes_go_straight():
    a = np.array([1.0, 2.0, -1.0])
    b = 2 * a + np.array([1e-9, 0, 0])
    path = solution("13.2")(a, b, np.array([0.3]))
    np.testing.assert_allclose(path[0], 0.7 * a + 0.3 * b, atol=1e-8)


def test_a_straight_midpoint_is_a_draw_of_half_the_variance():
    a, b = np.random.default_rng(1).normal(size=(2, 20_000, 20))
    middle = (a + b) / 2
    assert middle.var() == pytest.approx(0.5, abs=0.01)
    shrunk = np.sqrt(stats.chi2(20, scale=0.5).mean())  # root of the mean squared norm
    assert np.sqrt((middle**2).sum(axis=1).mean()) == pytest.approx(shrunk, rel=0.01)


@pytest.mark.parametrize("k", [5, 20, 500])
def test_the_norm_of_a_code_is_near_the_root_of_k_minus_a_half(k):
    norm = stats.chi(k)
    assert norm.mean() == pytest.approx(np.sqrt(k - 0.5), abs=0.02)
    assert norm.std() == pytest.approx(np.sqrt(0.5), abs=0.02)


def test_adam_moves_a_number_by_its_rate_whatever_the_gradient():
    torch = pytest.importorskip("torch")
    for scale in (1e-3, 1.0, 1e6):
        number = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.Adam([number], lr=1e-3)
        for _ in range(100):
            optimizer.zero_grad()
            (scale * number).sum().backward()
            optimizer.step()
        assert number.item() == pytest.approx(-0.1, rel=1e-3)


def test_cross_entropy_of_a_double_sigmoid_never_falls_below_ln_2_for_black():
    torch = pytest.importorskip("torch")
    from torch.nn import functional as F

    a = torch.linspace(-50, 50, 1001)
    loss = F.binary_cross_entropy_with_logits(
        torch.sigmoid(a), torch.zeros_like(a), reduction="none"
    )
    assert loss.min() >= np.log(2) - 1e-6
