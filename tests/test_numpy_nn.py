"""Layers, losses and gradients against definitions, differences and reference implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils import numpy_nn as nn

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


@given(n=sizes, d_in=sizes, d_out=sizes, seed=seeds)
def test_dense_is_the_affine_map_row_by_row(n, d_in, d_out, seed):
    x, w, b = drawn(seed, (n, d_in), (d_in, d_out), (d_out,))
    expected = [
        [sum(x[i, j] * w[j, o] for j in range(d_in)) + b[o] for o in range(d_out)] for i in range(n)
    ]
    np.testing.assert_allclose(nn.dense(x, w, b), expected, rtol=1e-12, atol=1e-12)


def test_relu_keeps_what_is_positive():
    np.testing.assert_array_equal(nn.relu(np.array([-2.0, -0.0, 0.5])), [0.0, 0.0, 0.5])


@given(n=sizes, d=sizes, seed=seeds)
def test_squared_error_is_a_sum_over_pixels_for_each_row(n, d, seed):
    x, x_hat = drawn(seed, (n, d), (n, d))
    expected = [np.linalg.norm(a - b) ** 2 for a, b in zip(x, x_hat, strict=True)]
    np.testing.assert_allclose(nn.squared_error(x, x_hat), expected, rtol=1e-12)
    assert nn.squared_error(x, x).max() == 0.0


def test_initial_weights_have_variance_one_over_fan_in_and_biases_are_zero():
    layers = nn.init_layers((400, 300, 200), np.random.default_rng(3))
    assert [(w.shape, b.shape) for w, b in layers] == [((400, 300), (300,)), ((300, 200), (200,))]
    for w, b in layers:
        # the sample variance of m normal numbers has relative standard deviation √(2/m)
        assert abs(w.var() * w.shape[0] - 1) < 4 * np.sqrt(2 / w.size)
        assert not b.any()


def test_equal_generators_give_equal_layers():
    one, two = (nn.init_layers((5, 3, 2), np.random.default_rng(7)) for _ in range(2))
    for (w1, _), (w2, _) in zip(one, two, strict=True):
        np.testing.assert_array_equal(w1, w2)


@pytest.mark.parametrize("bad", [(), (5,), (5, 0), (5, -1, 2)])
def test_a_network_needs_two_sizes_of_at_least_one(bad):
    with pytest.raises(ValueError, match="sizes must be two or more numbers"):
        nn.init_layers(bad, np.random.default_rng(0))


def test_forward_has_relu_after_every_layer_but_the_last():
    x = np.array([[1.0, -2.0]])
    layers = [(np.eye(2), np.zeros(2)), (-np.eye(2), np.array([0.0, 0.5]))]
    outputs = nn.forward(x, layers)
    np.testing.assert_array_equal(outputs[0], x)
    np.testing.assert_array_equal(outputs[1], [[1.0, 0.0]])
    np.testing.assert_array_equal(outputs[2], [[-1.0, 0.5]])


def test_forward_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    layers = [(w, rng.normal(size=b.shape)) for w, b in nn.init_layers((6, 5, 2, 5, 6), rng)]
    x = rng.normal(size=(3, 6))
    h = torch.from_numpy(x)
    for i, (w, b) in enumerate(layers):
        h = torch.nn.functional.linear(h, torch.from_numpy(w.T), torch.from_numpy(b))
        h = h if i == len(layers) - 1 else torch.relu(h)
    np.testing.assert_allclose(nn.forward(x, layers)[-1], h.numpy(), rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(n=sizes, d=sizes, k=sizes, seed=seeds)
def test_linear_gradients_equal_central_differences(n, d, k, seed):
    x, enc_w, dec_w = drawn(seed, (n, d), (d, k), (k, d))
    enc_gradient, dec_gradient = nn.linear_autoencoder_gradients(x, enc_w, dec_w)
    enc = nn.numerical_gradient(lambda w: nn.linear_autoencoder_loss(x, w, dec_w), enc_w)
    dec = nn.numerical_gradient(lambda v: nn.linear_autoencoder_loss(x, enc_w, v), dec_w)
    assert nn.relative_error(enc_gradient, enc) < 1e-6
    assert nn.relative_error(dec_gradient, dec) < 1e-6


def test_linear_gradients_equal_autograd():
    torch = pytest.importorskip("torch")
    x, enc_w, dec_w = drawn(5, (7, 4), (4, 2), (2, 4))
    w, v = (torch.from_numpy(a).requires_grad_() for a in (enc_w, dec_w))
    loss = ((torch.from_numpy(x) - torch.from_numpy(x) @ w @ v) ** 2).sum(dim=1).mean()
    loss.backward()
    assert loss.item() == pytest.approx(nn.linear_autoencoder_loss(x, enc_w, dec_w), rel=1e-12)
    for ours, theirs in zip(
        nn.linear_autoencoder_gradients(x, enc_w, dec_w), (w.grad, v.grad), strict=True
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10, atol=1e-12)


def test_numerical_gradient_leaves_its_argument_alone():
    w = np.array([1.0, -2.0])
    np.testing.assert_allclose(nn.numerical_gradient(lambda v: float(v @ v), w), 2 * w, rtol=1e-8)
    np.testing.assert_array_equal(w, [1.0, -2.0])


def test_relative_error_is_zero_for_equal_and_two_for_opposite():
    a = np.array([3.0, 4.0])
    assert nn.relative_error(a, a) == 0.0 == nn.relative_error(0 * a, 0 * a)
    assert nn.relative_error(a, -a) == 2.0
    assert nn.relative_error(a, 0 * a) == 1.0


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: nn.dense(np.ones((2, 3)), np.ones((4, 2)), np.ones(2)), "w"),
        (lambda: nn.dense(np.ones((2, 3)), np.ones((3, 2)), np.ones(3)), "b"),
        (lambda: nn.squared_error(np.ones((2, 3)), np.ones((2, 1))), "x_hat"),
        (
            lambda: nn.linear_autoencoder_loss(np.ones((2, 3)), np.ones((3, 2)), np.ones((3, 2))),
            "dec_w",
        ),
        (
            lambda: nn.linear_autoencoder_gradients(
                np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3))
            ),
            "enc_w",
        ),
    ],
)
def test_an_array_that_does_not_fit_is_named(call, name):
    with pytest.raises(ValueError, match=f"^{name} must have shape"):
        call()
