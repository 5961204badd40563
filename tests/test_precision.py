"""Reduced precision: in the layers' products alone, while a model trains, and never in a check."""

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.precision import LAYERS, products
from course_utils.training import evaluate, fit
from course_utils.vae import VAE, ConvVAE, negative_elbo

X = torch.from_numpy(np.random.default_rng(0).random((64, 30), dtype=np.float32))


def vae():
    torch.manual_seed(0)
    return VAE(30, 20, 4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(9, 5),
        nn.Conv1d(3, 4, 3),
        nn.Conv2d(3, 4, 3),
        nn.ConvTranspose1d(3, 4, 3),
        nn.ConvTranspose2d(3, 4, 3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_bfloat16_rounds_the_factors_of_a_layer(layer):
    shapes = {nn.Linear: (7, 9), nn.Conv1d: (7, 3, 9), nn.ConvTranspose1d: (7, 3, 9)}
    x = torch.rand(shapes.get(type(layer), (7, 3, 9, 9)))
    with products(layer, "bfloat16") as chosen:
        y = layer(x)
    assert chosen == "bfloat16" and y.dtype == torch.float32
    assert not torch.equal(y, layer(x))
    assert torch.equal(y, layer.bfloat16()(x.bfloat16()).float())
    layer.float()


def test_a_loss_gets_float32_and_so_do_the_weights():
    model, seen = vae(), []

    def loss(model, x, generator):
        mu, logvar = model.encode(x)
        seen.extend(t.dtype for t in (x, mu, logvar, model.log_likelihood(x, mu)))
        return negative_elbo(model, x, generator)

    fit(model, loss, X, epochs=1, precision="bfloat16", progress=False)
    assert set(seen) == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def conv():
    return ConvVAE(8, 8, latent_dim=3, channels=(4,))


SMOOTH = {"activation": nn.SiLU}  # a ReLU near its corner may be on in one precision alone


@pytest.mark.parametrize("make", [lambda: VAE(30, 20, 4, **SMOOTH), conv])
def test_gradients_are_those_of_float32_to_the_rounding(make):
    torch.manual_seed(0)
    model = make()
    x = X if type(model) is VAE else torch.rand(64, 64)
    gradients = []
    for precision in ("highest", "bfloat16"):
        model.zero_grad()
        with products(model, precision):
            generator = torch.Generator().manual_seed(1)
            negative_elbo(model, x, generator).backward()
        gradients.append(torch.cat([p.grad.ravel() for p in model.parameters()]))
    exact, rounded = gradients
    assert 1e-5 < (rounded - exact).norm() / exact.norm() < 0.03


@pytest.mark.parametrize("error", [None, KeyError])
def test_every_layer_is_as_before_afterwards(error):
    model = vae()
    model.encoder.fc_mu.forward = own = model.encoder.fc_mu.forward
    before, values = torch.get_float32_matmul_precision(), model.encode(X)[0]
    try:
        with products(model, "bfloat16"):
            assert "forward" in vars(model.encoder.fc_logvar)
            assert not torch.equal(model.encode(X)[0], values)
            if error:
                raise error
    except KeyError:
        pass
    layers = [part for part in model.modules() if isinstance(part, LAYERS)]
    assert [layer for layer in layers if "forward" in vars(layer)] == [model.encoder.fc_mu]
    assert model.encoder.fc_mu.forward is own
    assert torch.equal(model.encode(X)[0], values)
    assert torch.get_float32_matmul_precision() == before


def test_held_out_losses_are_computed_without_rounding():
    model = vae()
    history = fit(model, negative_elbo, X, X[:20], epochs=1, precision="bfloat16", progress=False)
    assert history.precision == "bfloat16"
    assert history.val == [evaluate(model, negative_elbo, X[:20])]
    with products(model, "bfloat16"):
        assert history.val != [evaluate(model, negative_elbo, X[:20])]


def test_the_history_says_what_fast_stood_for(monkeypatch):
    monkeypatch.setattr("course_utils.runtime.fast_precision", lambda: "bfloat16")
    assert fit(vae(), negative_elbo, X, epochs=1, progress=False).precision == "highest"
    fast = fit(vae(), negative_elbo, X, epochs=1, precision="fast", progress=False)
    rounded = fit(vae(), negative_elbo, X, epochs=1, precision="bfloat16", progress=False)
    assert fast.precision == "bfloat16" and fast.train == rounded.train


def test_it_learns_as_much():
    losses = []
    for precision in ("highest", "bfloat16"):
        model = vae()
        fit(model, negative_elbo, X, epochs=60, rate=3e-3, precision=precision, progress=False)
        losses.append(evaluate(model, negative_elbo, X))
    assert losses[1] == pytest.approx(losses[0], rel=5e-3) and losses[0] < 20.75
