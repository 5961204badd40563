"""Contractive autoencoders: norms against definitions, losses against their parts, and escapes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils import data, training
from course_utils.autoencoders import Autoencoder, squared_error_loss
from course_utils.autoencoders.contractive import (
    TiedAutoencoder,
    contractive_loss,
    contractive_penalty,
    jacobian,
    jacobian_norm,
    projected_jacobian_norm,
)
from course_utils.exercises import check

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=25, deadline=None)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tied(d, k, seed):
    """A network with biases, in float64, so that differences can be taken."""
    model = TiedAutoencoder(d, k, generator(seed)).double()
    with torch.no_grad():
        model.b += torch.randn(k, generator=generator(seed + 1), dtype=torch.float64)
        model.c += torch.randn(d, generator=generator(seed + 2), dtype=torch.float64)
    return model


def points(n, d, seed):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def deep(d=5, k=3):
    torch.manual_seed(0)
    layers = (torch.nn.Linear(d, 7), torch.nn.Tanh(), torch.nn.Linear(7, k))
    return torch.nn.Sequential(*layers).double()


@few
@given(n=sizes, d=sizes, k=sizes, seed=seeds)
def test_the_jacobian_equals_central_differences(n, d, k, seed):
    model, x, step = tied(d, k, seed), points(n, d, seed + 3), 1e-5
    found = jacobian(model.encode, x)
    assert found.shape == (n, k, d)
    for j in range(d):
        nudge = torch.zeros(d, dtype=torch.float64)
        nudge[j] = step
        slope = (model.encode(x + nudge) - model.encode(x - nudge)) / (2 * step)
        torch.testing.assert_close(found[:, :, j], slope, rtol=1e-6, atol=1e-8)


@few
@given(n=sizes, d=sizes, k=sizes, seed=seeds)
def test_the_penalty_of_one_layer_is_the_exact_norm(n, d, k, seed):
    model, x = tied(d, k, seed), points(n, d, seed + 3)
    penalty = contractive_penalty(model.encode(x), model.w)
    torch.testing.assert_close(penalty, jacobian_norm(model.encode, x))
    by_definition = [sum(v**2 for v in one.flatten()) for one in jacobian(model.encode, x)]
    torch.testing.assert_close(penalty, torch.stack(by_definition))


def test_the_norm_is_the_sum_of_the_squared_singular_values():
    f, x = deep(), points(4, 5, 1)
    gamma = torch.linalg.svdvals(jacobian(f, x))
    torch.testing.assert_close(jacobian_norm(f, x), (gamma**2).sum(dim=1))


def test_a_saturated_unit_and_an_unseen_direction_do_not_move():
    w = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    z = torch.tensor([[1.0, 0.5], [0.0, 0.2]])
    torch.testing.assert_close(contractive_penalty(z, w), torch.zeros(2))


@few
@given(seed=seeds)
def test_with_orthogonal_rows_of_the_jacobian_one_projection_is_exact(seed):
    w = torch.linalg.qr(points(5, 3, seed))[0]  # (d, k), orthonormal columns: J Jᵀ is diagonal
    guess = projected_jacobian_norm(lambda x: x @ w, points(4, 5, seed + 1), generator(seed))
    torch.testing.assert_close(guess, torch.full((4,), 3.0, dtype=torch.float64))


def test_projections_are_right_on_average_with_the_stated_variance():
    f, one, repeats = deep(), points(1, 5, 2), 20000
    gram = jacobian(f, one)[0] @ jacobian(f, one)[0].T
    variance = (2 * ((gram**2).sum() - (gram.diagonal() ** 2).sum())).detach()
    for m in (1, 4):
        many = projected_jacobian_norm(
            f, one.expand(repeats, 5), generator(3), n_projections=m
        ).detach()
        off = (many.mean() - gram.trace().detach()) / (variance / m / repeats).sqrt()
        assert abs(off) < 4  # standard errors
        assert float(many.var() / (variance / m)) == pytest.approx(1, abs=0.1)


def test_rows_and_projections_draw_their_own_signs():
    f, x = deep(), points(1, 5, 4).expand(50, 5)
    assert len(projected_jacobian_norm(f, x, generator(5)).unique()) > 1
    g = generator(6)
    assert not torch.equal(projected_jacobian_norm(f, x, g), projected_jacobian_norm(f, x, g))
    same = [projected_jacobian_norm(f, x, generator(7)) for _ in range(2)]
    torch.testing.assert_close(*same, rtol=0, atol=0)


@pytest.mark.parametrize("n_projections", [None, 2])
@pytest.mark.parametrize("whole", [False, True])
def test_the_loss_is_the_error_plus_the_weighted_norm(whole, n_projections):
    model, x = Autoencoder((6, 5, 3)), torch.rand(4, 6, generator=generator(8))
    f = model if whole else model.encode
    loss = contractive_loss(0.7, whole=whole, n_projections=n_projections)
    if n_projections is None:
        norm = jacobian_norm(f, x)
    else:
        norm = projected_jacobian_norm(f, x, generator(9), n_projections=n_projections)
    expected = squared_error_loss(model, x) + 0.7 * norm.mean()
    torch.testing.assert_close(loss(model, x, generator(9)), expected)


def test_the_loss_of_a_tied_network_is_the_same_by_formula_and_by_autograd():
    model, x = tied(5, 4, 10), points(3, 5, 11)
    by_formula = contractive_loss(0.4)(model, x, generator())
    norm = jacobian_norm(model.encode, x).mean()
    torch.testing.assert_close(by_formula, squared_error_loss(model, x) + 0.4 * norm)


@pytest.mark.parametrize("options", [{}, {"whole": True}, {"n_projections": 3}])
def test_the_gradient_of_the_penalty_equals_central_differences(options):
    model, x, step = tied(4, 3, 12), points(5, 4, 13), 1e-5
    loss = contractive_loss(2.0, **options)
    loss(model, x, generator(14)).backward()
    for parameter in model.parameters():
        for index in np.ndindex(*parameter.shape):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter[index] += sign * step
                    values.append(loss(model, x, generator(14)).item())
                    parameter[index] -= sign * step
            slope = (values[0] - values[1]) / (2 * step)
            assert float(parameter.grad[index]) == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_one_projection_has_the_gradient_of_the_exact_penalty_on_average():
    f, one = deep(), points(1, 5, 15)
    exact = torch.autograd.grad(jacobian_norm(f, one).mean(), f[0].weight)[0]
    guess = projected_jacobian_norm(f, one.expand(20000, 5), generator(16)).mean()
    found = torch.autograd.grad(guess, f[0].weight)[0]
    assert ((found - exact).norm() / exact.norm()).item() < 0.03


def test_shrinking_the_code_escapes_the_penalty_of_the_encoder_but_not_of_the_whole():
    torch.manual_seed(17)
    model, x = Autoencoder((6, 5, 3)), torch.rand(4, 6, generator=generator(17))
    losses = contractive_loss(1.0), contractive_loss(1.0, whole=True)
    error = squared_error_loss(model, x).item()
    before = [loss(model, x, generator()).item() - error for loss in losses]
    with torch.no_grad():
        model.encoder[-1].weight *= 0.1
        model.encoder[-1].bias *= 0.1
        model.decoder[0].weight *= 10
    assert squared_error_loss(model, x).item() == pytest.approx(error, rel=1e-4)
    after = [loss(model, x, generator()).item() - error for loss in losses]
    assert after[0] == pytest.approx(before[0] / 100, rel=1e-2)
    assert after[1] == pytest.approx(before[1], rel=1e-2)


def test_a_tied_network_decodes_with_the_transpose():
    model, x = tied(5, 3, 18), points(4, 5, 19)
    z = model.encode(x)
    assert z.shape == (4, 3) and float(z.detach().min()) > 0 and float(z.detach().max()) < 1
    torch.testing.assert_close(model(x), z @ model.w.T + model.c)
    for a, b in zip(model.parameters(), tied(5, 3, 18).parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_norms_and_losses_work_where_gradients_are_off():
    model, x = tied(5, 3, 20), points(4, 5, 21)
    with torch.no_grad():
        norm = projected_jacobian_norm(model.encode, x, generator(), n_projections=3)
        assert not norm.requires_grad and not jacobian_norm(model.encode, x).requires_grad
    assert not x.requires_grad
    for options in ({}, {"whole": True}, {"n_projections": 1}):
        value = training.evaluate(model.float(), contractive_loss(1.0, **options), x)
        assert np.isfinite(value)


def test_training_contracts():
    digits = data.digits()
    x, norms = torch.from_numpy(digits.x_train[:400]), []
    for weight in (0.0, 1.0):
        model = TiedAutoencoder(64, 32, generator(22))
        loss = contractive_loss(weight)
        training.fit(model, loss, x, epochs=60, rate=3e-3, device="cpu", progress=False)
        norms.append(jacobian_norm(model.encode, x).mean().item())
    assert norms[1] < norms[0] / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: contractive_loss(-1.0), "weight must be at least 0"),
        (lambda: contractive_loss(float("nan")), "weight must be at least 0"),
        (lambda: jacobian(lambda x: x, torch.ones(3)), "x must have shape"),
        (lambda: projected_jacobian_norm(lambda x: x, torch.ones(3), generator()), "x must have"),
        (
            lambda: projected_jacobian_norm(
                lambda x: x, torch.ones(3, 2), generator(), n_projections=0
            ),
            "n_projections must be at least 1",
        ),
        (lambda: contractive_penalty(torch.ones(3, 2), torch.ones(2, 3)), "w must have shape"),
        (lambda: tied(5, 3, 0).encode(torch.ones(2, 4)), "w must have shape"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def broken_by_a_diagonal_step(x, ratio):
    steepness = 2 * np.log(ratio) + 20
    direction = np.ones(len(x)) / np.sqrt(len(x))
    return [
        -steepness * direction[:, None],
        np.array([steepness * (x @ direction + 0.5)]),
        direction,
    ]


def tanh_by_jacobian(x, w, b):
    one_minus = np.cosh(x @ w + b) ** -2.0  # tanh' = 1 / cosh²
    return np.array([np.linalg.norm(row[:, None] * w.T) ** 2 for row in one_minus])


def gradient_by_autograd(x, w, b):
    x, w, b = (torch.from_numpy(a) for a in (x, w, b))
    w.requires_grad_()
    contractive_penalty(torch.sigmoid(x @ w + b), w).mean().backward()
    return w.grad


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("07.1", tanh_by_jacobian),
        ("07.2", gradient_by_autograd),
        ("07.3", lambda j, m: np.linalg.norm(j.T @ j) * np.sqrt(2 / m)),
        ("07.4", lambda v, weight: 1 - weight / (weight + v)),
        ("07.5", broken_by_a_diagonal_step),
    ],
)
def test_a_right_answer_by_another_road_passes(number, answer, capsys):
    check(number, answer)
    assert capsys.readouterr().out.startswith("✓")


def test_a_tied_network_starts_with_columns_of_length_one_on_average():
    w = TiedAutoencoder(784, 50, torch.Generator().manual_seed(2)).w
    assert w.std().item() == pytest.approx(1 / 28, rel=0.02)


def test_the_bias_is_added():
    model = TiedAutoencoder(3, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.b.copy_(torch.tensor([0.5, -2.0]))
    x = torch.tensor([[0.1, 0.2, 0.3]])
    torch.testing.assert_close(model.encode(x), torch.sigmoid(x @ model.w + model.b))


def test_the_whole_map_of_a_tied_network_is_penalised_where_that_is_asked_for():
    model = TiedAutoencoder(4, 3, torch.Generator().manual_seed(1))
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(2))
    error = contractive_loss(0.0)(model, x, torch.Generator())
    for whole, f in ((True, model), (False, model.encode)):
        loss = contractive_loss(1.0, whole=whole)(model, x, torch.Generator())
        torch.testing.assert_close(loss - error, jacobian_norm(f, x).mean())
