"""Layers, losses and gradients against definitions, differences and reference implementations."""

import time
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from course_utils import data
from course_utils import numpy_nn as nn

ACTIVATIONS = {"relu": nn.RELU, "sigmoid": nn.SIGMOID, "tanh": nn.TANH, "softplus": nn.SOFTPLUS}
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


# ---- activations ---------------------------------------------------------------------------------


@given(a=st.floats(-30, 30))
def test_softplus_and_sigmoid_are_what_they_say(a):
    assert nn.softplus(np.array(a)) == pytest.approx(np.log1p(np.exp(a)), rel=1e-12)
    assert nn.sigmoid(np.array(a)) == pytest.approx(1 / (1 + np.exp(-a)), rel=1e-12)


def test_softplus_and_sigmoid_never_overflow():
    a = np.array([-1e4, -745.0, 745.0, 1e4])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_allclose(nn.softplus(a), [0, 0, 745, 1e4], atol=1e-300)
        np.testing.assert_allclose(nn.sigmoid(a), [0, 0, 1, 1], atol=1e-300)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
@given(a=st.floats(-6, 6))
def test_a_slope_is_the_derivative_read_from_the_output(activation, a):
    assume(abs(a) > 1e-4)
    up, down = (activation.value(np.array(a + sign * 1e-5)) for sign in (1, -1))
    slope = activation.slope(activation.value(np.array(a)))
    assert slope == pytest.approx((up - down) / 2e-5, abs=1e-9)


def test_the_slope_of_relu_is_zero_at_its_kink():
    assert nn.RELU.slope(nn.relu(np.array([0.0, -0.0]))).tolist() == [0.0, 0.0]


def test_slopes_keep_the_type_of_the_output():
    for activation in ACTIVATIONS.values():
        assert activation.slope(np.ones(2, np.float32)).dtype == np.float32


# ---- backwards -----------------------------------------------------------------------------------


def network(layer_sizes, seed):
    """Draw layers with biases: at zero, a row whose units are all off sits on the next kink."""
    rng = np.random.default_rng(seed)
    return [(w, rng.normal(size=b.shape)) for w, b in nn.init_layers(layer_sizes, rng)]


def away_from_kinks(x, layers, activation):
    outputs = nn.forward_with(x, layers, activation)
    inner = [nn.dense(h, *layer) for h, layer in zip(outputs, layers[:-1], strict=False)]
    return all(np.abs(a).min() > 1e-3 for a in inner)


def numerical_gradients(loss, layers):
    params = nn.flatten_layers(layers)
    return [
        nn.numerical_gradient(
            lambda p, i=i: loss(nn.unflatten_layers([*params[:i], p, *params[i + 1 :]])), param
        )
        for i, param in enumerate(params)
    ]


def close(ours, theirs):
    return np.abs(ours - theirs).max() <= 1e-6 * max(1e-2, np.abs(theirs).max())


@settings(max_examples=40, deadline=None)
@given(n=sizes, d_in=sizes, d_out=sizes, seed=seeds)
def test_the_three_gradients_of_a_dense_layer_equal_central_differences(n, d_in, d_out, seed):
    x, w, b, g = drawn(seed, (n, d_in), (d_in, d_out), (d_out,), (n, d_out))
    dw, db, dx = nn.dense_backward(x, w, g)
    assert close(dw, nn.numerical_gradient(lambda w: (g * nn.dense(x, w, b)).sum(), w))
    assert close(db, nn.numerical_gradient(lambda b: (g * nn.dense(x, w, b)).sum(), b))
    assert close(dx, nn.numerical_gradient(lambda x: (g * nn.dense(x, w, b)).sum(), x))


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
@settings(max_examples=25, deadline=None)
@given(n=sizes, layer_sizes=st.lists(sizes, min_size=2, max_size=5), seed=seeds)
def test_backward_equals_central_differences_for_any_network(activation, n, layer_sizes, seed):
    layers = network(layer_sizes, seed)
    x, g = drawn(seed + 1, (n, layer_sizes[0]), (n, layer_sizes[-1]))
    assume(activation is not nn.RELU or away_from_kinks(x, layers, activation))

    def loss(layers, x=x):
        return (g * nn.forward_with(x, layers, activation)[-1]).sum()

    outputs = nn.forward_with(x, layers, activation)
    gradients, dx = nn.backward(layers, outputs, g, activation)
    for ours, theirs in zip(
        nn.flatten_layers(gradients), numerical_gradients(loss, layers), strict=True
    ):
        assert close(ours, theirs)
    assert close(dx, nn.numerical_gradient(lambda x: loss(layers, x), x))


@given(n=sizes, layer_sizes=st.lists(sizes, min_size=2, max_size=5), seed=seeds)
def test_forward_with_relu_is_forward(n, layer_sizes, seed):
    layers, (x,) = network(layer_sizes, seed), drawn(seed, (n, layer_sizes[0]))
    for ours, theirs in zip(
        nn.forward_with(x, layers, nn.RELU), nn.forward(x, layers), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_a_network_and_its_gradients_equal_pytorchs(name, seed):
    torch = pytest.importorskip("torch")
    layers, (x, g) = network((6, 5, 2, 4), seed), drawn(seed + 9, (7, 6), (7, 4))
    params = [torch.from_numpy(p.copy()).requires_grad_() for p in nn.flatten_layers(layers)]
    inputs = torch.from_numpy(x).requires_grad_()
    h = inputs
    for i, (w, b) in enumerate(zip(params[::2], params[1::2], strict=True)):
        h = h @ w + b
        if i < len(layers) - 1:
            h = getattr(torch.nn.functional, name)(h)
    (h * torch.from_numpy(g)).sum().backward()
    outputs = nn.forward_with(x, layers, ACTIVATIONS[name])
    gradients, dx = nn.backward(layers, outputs, g, ACTIVATIONS[name])
    np.testing.assert_allclose(outputs[-1], h.detach().numpy(), rtol=1e-6, atol=1e-9)
    for ours, theirs in zip(nn.flatten_layers(gradients), params, strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(dx, inputs.grad.numpy(), rtol=1e-6, atol=1e-9)


def test_backward_changes_nothing_that_it_is_given():
    layers, (x, g) = network((3, 4, 2), 1), drawn(2, (5, 3), (5, 2))
    outputs = nn.forward(x, layers)
    before = [a.copy() for a in (*outputs, *nn.flatten_layers(layers), g)]
    nn.backward(layers, outputs, g)
    for old, new in zip(before, (*outputs, *nn.flatten_layers(layers), g), strict=True):
        np.testing.assert_array_equal(old, new)


def test_backward_wants_the_outputs_of_every_layer():
    layers, (x, g) = network((3, 4, 2), 1), drawn(2, (5, 3), (5, 2))
    with pytest.raises(ValueError, match="outputs must hold 3 arrays, got 1"):
        nn.backward(layers, nn.forward(x, layers)[-1:], g)


def test_flattened_layers_come_back():
    layers = network((3, 4, 2), 1)
    for (w, b), (w2, b2) in zip(
        layers, nn.unflatten_layers(nn.flatten_layers(layers)), strict=True
    ):
        assert w is w2 and b is b2
    with pytest.raises(ValueError, match="."):
        nn.unflatten_layers(nn.flatten_layers(layers)[:-1])


# ---- losses --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(n=sizes, d=sizes, seed=seeds)
def test_loss_gradients_equal_central_differences(n, d, seed):
    x, output = drawn(seed, (n, d), (n, d))
    value, gradient = nn.squared_error_and_gradient(x, output)
    assert value == pytest.approx(nn.squared_error(x, output).mean())
    assert close(gradient, nn.numerical_gradient(lambda a: nn.squared_error(x, a).mean(), output))
    grey = nn.sigmoid(x)
    value, gradient = nn.cross_entropy_and_gradient(grey, output)
    assert value == pytest.approx(nn.cross_entropy(grey, output).mean())
    assert close(
        gradient, nn.numerical_gradient(lambda a: nn.cross_entropy(grey, a).mean(), output)
    )


@given(n=sizes, d=sizes, seed=seeds)
def test_cross_entropy_is_its_definition_where_that_can_be_computed(n, d, seed):
    x, logits = drawn(seed, (n, d), (n, d))
    x, p = nn.sigmoid(3 * x), nn.sigmoid(3 * logits)
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1)
    np.testing.assert_allclose(nn.cross_entropy(x, 3 * logits), expected, rtol=1e-9)


def test_cross_entropy_is_finite_and_right_for_huge_logits():
    x, logits = np.array([[0.0], [1.0], [0.0], [1.0]]), np.array([[1e4], [1e4], [-40.0], [40.0]])
    with np.errstate(all="raise", under="ignore"):
        value, gradient = nn.cross_entropy_and_gradient(x, logits)
        each = nn.cross_entropy(x, logits)
    np.testing.assert_allclose(each, [1e4, 0, np.exp(-40), np.exp(-40)], rtol=1e-12)
    assert value == pytest.approx(2500) and gradient[0, 0] == pytest.approx(0.25)


@given(x=st.floats(0.001, 0.999), logit=st.floats(-20, 20))
def test_cross_entropy_is_at_least_the_entropy_of_the_pixel(x, logit):
    entropy = -x * np.log(x) - (1 - x) * np.log(1 - x)
    assert nn.cross_entropy(np.array([[x]]), np.array([[logit]]))[0] >= entropy - 1e-12
    at_x = nn.cross_entropy(np.array([[x]]), np.log(np.array([[x / (1 - x)]])))[0]
    assert at_x == pytest.approx(entropy, abs=1e-12)


def test_losses_equal_pytorchs():
    torch = pytest.importorskip("torch")
    x, output = drawn(3, (5, 4), (5, 4))
    x = nn.sigmoid(x)
    target, given = torch.from_numpy(x), torch.from_numpy(output).requires_grad_()
    theirs = {
        nn.squared_error_and_gradient: torch.nn.functional.mse_loss,
        nn.cross_entropy_and_gradient: torch.nn.functional.binary_cross_entropy_with_logits,
    }
    for ours, loss in theirs.items():
        value = loss(given, target, reduction="sum") / len(x)
        (gradient,) = torch.autograd.grad(value, given)
        assert ours(x, output)[0] == pytest.approx(value.item(), rel=1e-9)
        np.testing.assert_allclose(ours(x, output)[1], gradient.numpy(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_cross_entropy_refuses_pixels_outside_zero_and_one(bad):
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\]"):
        nn.cross_entropy(np.array([[0.5, bad]]), np.zeros((1, 2)))


# ---- batches and steps ---------------------------------------------------------------------------


@given(n=st.integers(1, 50), batch_size=st.integers(1, 60), seed=seeds)
def test_batches_deal_every_row_once(n, batch_size, seed):
    dealt = nn.batches(n, batch_size, np.random.default_rng(seed))
    assert sorted(np.concatenate(dealt)) == list(range(n))
    assert {len(rows) for rows in dealt[:-1]} <= {batch_size} and 1 <= len(dealt[-1]) <= batch_size
    again = nn.batches(n, batch_size, np.random.default_rng(seed))
    assert all(np.array_equal(one, two) for one, two in zip(dealt, again, strict=True))


def test_batches_are_shuffled():
    assert not np.array_equal(nn.batches(100, 100, np.random.default_rng(1))[0], np.arange(100))


@pytest.mark.parametrize(("n", "batch_size"), [(0, 5), (5, 0), (5, -1)])
def test_batches_need_rows_and_a_size(n, batch_size):
    with pytest.raises(ValueError, match="n and batch_size must be at least 1"):
        nn.batches(n, batch_size, np.random.default_rng(0))


STEPS = {
    "sgd": partial(nn.sgd_step, rate=0.1),
    "momentum": partial(nn.sgd_step, rate=0.1, momentum=0.9),
    "adam": partial(nn.adam_step, rate=0.01),
    "adam, other constants": partial(nn.adam_step, rate=0.3, beta1=0.5, beta2=0.9, eps=1e-3),
}


@pytest.mark.parametrize("name", STEPS)
def test_thirty_steps_equal_pytorchs(name):
    torch = pytest.importorskip("torch")
    params = [torch.tensor(p, requires_grad=True) for p in drawn(4, (3, 2), (2,))]
    optimiser = {
        "sgd": lambda: torch.optim.SGD(params, lr=0.1),
        "momentum": lambda: torch.optim.SGD(params, lr=0.1, momentum=0.9),
        "adam": lambda: torch.optim.Adam(params, lr=0.01),
        "adam, other constants": lambda: torch.optim.Adam(params, 0.3, (0.5, 0.9), 1e-3),
    }[name]()
    ours, state = drawn(4, (3, 2), (2,)), None
    for i in range(30):
        gradients = drawn(100 + i, (3, 2), (2,))
        ours, state = STEPS[name](ours, gradients, state)
        for param, gradient in zip(params, gradients, strict=True):
            param.grad = torch.from_numpy(gradient)
        optimiser.step()
        for one, two in zip(ours, params, strict=True):
            np.testing.assert_allclose(one, two.detach().numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_changes_nothing_that_it_is_given(step):
    params, gradients = drawn(1, (3, 2), (2,)), drawn(2, (3, 2), (2,))
    _, state = step(params, gradients)
    memory = state if isinstance(state, list) else [*state.m, *state.v]
    before = [a.copy() for a in (*params, *gradients, *memory)]
    step(params, gradients, state)
    for old, new in zip(before, (*params, *gradients, *memory), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_refuses_gradients_of_another_shape(step):
    params = drawn(1, (3, 2), (2,))
    for gradients in (drawn(2, (3, 2), (1, 2)), drawn(2, (3, 2)), drawn(2, (2,), (3, 2))):
        with pytest.raises(ValueError, match="gradients must have the shapes of params"):
            step(params, gradients)


@given(size=st.floats(1e-4, 1e4), sign=st.sampled_from([-1, 1]), n_steps=st.integers(1, 20))
def test_adam_steps_by_its_rate_under_a_steady_gradient_of_any_size(size, sign, n_steps):
    params, state = [np.zeros(1)], None
    for _ in range(n_steps):
        params, state = nn.adam_step(params, [np.array([sign * size])], state, rate=0.1)
    assert params[0][0] == pytest.approx(-0.1 * sign * n_steps, rel=1e-3)
    assert state.t == n_steps


def test_momentum_lengthens_the_step_under_a_steady_gradient():
    params, velocity = [np.zeros(1)], None
    for _ in range(400):
        last = params[0]
        params, velocity = nn.sgd_step(params, [np.ones(1)], velocity, rate=0.1, momentum=0.9)
    assert params[0] - last == pytest.approx(-0.1 / (1 - 0.9))


# ---- the deep autoencoder ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
@settings(max_examples=10, deadline=None)
@given(n=sizes, d=sizes, hidden=sizes, k=sizes, seed=seeds)
def test_autoencoder_gradients_equal_central_differences(name, n, d, hidden, k, seed):
    activation = ACTIVATIONS[name]
    encoder, decoder = network((d, hidden, k), seed), network((k, hidden, d), seed + 1)
    x = nn.sigmoid(drawn(seed + 2, (n, d))[0])
    z = nn.forward_with(x, encoder, activation)[-1]
    assume(away_from_kinks(x, encoder, activation) and away_from_kinks(z, decoder, activation))
    for loss in (nn.squared_error_and_gradient, nn.cross_entropy_and_gradient):

        def value(layers, loss=loss):
            return loss(x, nn.autoencode(x, layers[:2], layers[2:], activation))[0]

        came, *gradients = nn.autoencoder_gradients(
            x, encoder, decoder, loss=loss, activation=activation
        )
        assert came == pytest.approx(value(encoder + decoder))
        for ours, theirs in zip(
            nn.flatten_layers(gradients[0] + gradients[1]),
            numerical_gradients(value, encoder + decoder),
            strict=True,
        ):
            assert close(ours, theirs)


def test_training_leaves_its_start_alone_and_reports_the_losses_of_what_it_returns():
    x, x_test = drawn(1, (20, 5), (6, 5))
    encoder, decoder = network((5, 4, 2), 1), network((2, 4, 5), 2)
    before = [a.copy() for a in nn.flatten_layers(encoder + decoder)]
    runs = [
        nn.train_autoencoder(
            x, x_test, encoder, decoder, np.random.default_rng(3), n_epochs=3, batch_size=8
        )
        for _ in range(2)
    ]
    for old, new in zip(before, nn.flatten_layers(encoder + decoder), strict=True):
        np.testing.assert_array_equal(old, new)
    (trained_encoder, trained_decoder, history), (_, _, again) = runs
    np.testing.assert_array_equal(history, again)
    assert history.shape == (3, 2) and history[-1, 0] < history[0, 0]
    for column, images in enumerate((x, x_test)):
        x_hat = nn.autoencode(images, trained_encoder, trained_decoder)
        assert history[-1, column] == nn.squared_error(images, x_hat).mean()


def test_a_deep_autoencoder_beats_pca_on_held_out_digits_within_ten_seconds():
    digits = data.digits()
    mean = digits.x_train.astype(np.float64).mean(axis=0)
    x, x_test, k = digits.x_train - mean, digits.x_test - mean, 8
    u = np.linalg.svd(x, full_matrices=False)[2][:k]
    rng = np.random.default_rng(5)
    start = nn.init_layers((64, 128, 64, k), rng), nn.init_layers((k, 64, 128, 64), rng)
    begin = time.process_time()
    step = partial(nn.adam_step, rate=2e-3)
    history = nn.train_autoencoder(x, x_test, *start, rng, n_epochs=40, step=step)[2]
    assert time.process_time() - begin < 10
    assert history[-1, 1] < 2 / 3 * nn.squared_error(x_test, x_test @ u.T @ u).mean()


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
        (lambda: nn.dense_backward(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3))), "w"),
        (
            lambda: nn.dense_backward(np.ones((2, 3)), np.ones((3, 4)), np.ones((1, 4))),
            "output_gradient",
        ),
        (lambda: nn.cross_entropy(np.ones((2, 3)), np.ones((2, 1))), "logits"),
        (lambda: nn.squared_error_and_gradient(np.ones((2, 3)), np.ones((1, 3))), "x_hat"),
    ],
)
def test_an_array_that_does_not_fit_is_named(call, name):
    with pytest.raises(ValueError, match=f"^{name} must have shape"):
        call()


@pytest.mark.parametrize("number", [1, 3])
def test_a_state_of_another_number_of_arrays_is_refused(number):
    two, other = [np.ones(2)] * 2, [np.ones(2)] * number
    for step in (
        lambda: nn.sgd_step(two, two, other, rate=0.1),
        lambda: nn.adam_step(two, two, nn.AdamState(1, other, two)),
        lambda: nn.adam_step(two, two, nn.AdamState(1, two, other)),
    ):
        with pytest.raises(ValueError, match="shorter|longer"):
            step()
