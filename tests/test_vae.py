"""The dense VAE: likelihoods with their constants, shapes, every size, weights that move."""

import copy
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.distributions import Bernoulli as TorchBernoulli  # noqa: E402
from torch.distributions import Laplace as TorchLaplace  # noqa: E402
from torch.distributions import Normal  # noqa: E402

from course_utils.training import evaluate, fit  # noqa: E402
from course_utils.vae import (  # noqa: E402
    VAE,
    Bernoulli,
    Decoder,
    Encoder,
    Gaussian,
    Laplace,
    kl_divergence,
    load_weights,
    negative_elbo,
    small,  # noqa: E402
)

LIKELIHOODS = {
    "Bernoulli": Bernoulli,
    "Gaussian": lambda: Gaussian(0.3),
    "Gaussian, learned": lambda: Gaussian(0.3, learned=True),
    "Laplace": lambda: Laplace(0.2),
    "Laplace, learned": lambda: Laplace(0.2, learned=True),
}
each_likelihood = pytest.mark.parametrize("make", LIKELIHOODS.values(), ids=LIKELIHOODS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(seed, n=4, d=6):
    """Grey values and logits far from zero, in float64."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.uniform(size=(n, d))), torch.tensor(4 * rng.normal(size=(n, d)))


def reference(likelihood, x, logits):
    """ln p(x|z) by torch.distributions: (n,)."""
    mean = torch.sigmoid(logits)
    if isinstance(likelihood, Gaussian):
        return Normal(mean, math.sqrt(likelihood.c)).log_prob(x).sum(dim=1)  # takes σ
    if isinstance(likelihood, Laplace):
        return TorchLaplace(mean, likelihood.b).log_prob(x).sum(dim=1)
    return TorchBernoulli(logits=logits, validate_args=False).log_prob(x).sum(dim=1)


# The likelihoods --------------------------------------------------------------------------------
@settings(deadline=None, max_examples=50)  # the first call of PyTorch takes its time
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_log_probs_are_those_of_the_library_with_every_constant(seed, width):
    x, logits = pixels(seed)
    for likelihood in (Bernoulli(), Gaussian(width), Laplace(width)):
        ours = likelihood.log_prob(x, logits)
        assert ours.shape == (4,)
        torch.testing.assert_close(ours, reference(likelihood, x, logits), rtol=1e-5, atol=1e-5)


@each_likelihood
def test_gradients_by_logits_are_those_of_the_library(make):
    likelihood = make()
    x, logits = pixels(1)
    logits.requires_grad_()
    slopes = [
        torch.autograd.grad(function.sum(), logits)[0]
        for function in (likelihood.log_prob(x, logits), reference(likelihood, x, logits))
    ]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-7)
    assert (slopes[0] != 0).all()


def test_gradients_by_logits_are_the_formulas_of_chapter_13():
    x, logits = pixels(2)
    p = torch.sigmoid(logits)
    formulas = {
        Bernoulli(): x - p,
        Gaussian(0.3): (x - p) * p * (1 - p) / 0.3,
        Laplace(0.2): torch.sign(x - p) * p * (1 - p) / 0.2,
    }
    for likelihood, formula in formulas.items():
        a = logits.clone().requires_grad_()
        likelihood.log_prob(x, a).sum().backward()
        torch.testing.assert_close(a.grad, formula, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", [Gaussian, Laplace])
def test_a_density_integrates_to_one(kind):
    grid = torch.linspace(-12, 13, 200_001, dtype=torch.float64)[:, None]
    density = kind(0.4).log_prob(grid, torch.zeros_like(grid)).exp()
    assert abs(float(density.sum()) * 25 / 200_000 - 1) < 1e-4


def test_a_coin_has_two_outcomes_whose_probabilities_add_up_to_one():
    _, logits = pixels(3, d=1)
    total = sum(Bernoulli().log_prob(torch.full_like(logits, x), logits).exp() for x in (0.0, 1.0))
    torch.testing.assert_close(total, torch.ones_like(total))


@each_likelihood
@pytest.mark.parametrize("extreme", [-1e4, -200.0, 200.0, 1e4])
def test_extreme_logits_give_finite_numbers_and_gradients(make, extreme):
    likelihood = make()
    logits = torch.full((2, 784), extreme, requires_grad=True)
    value = likelihood.log_prob(torch.rand(2, 784, generator=generator()), logits)
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(logits.grad).all()


def test_a_coin_that_is_sure_and_wrong_pays_its_logit_and_hears_it():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    value = Bernoulli().log_prob(torch.tensor([[0.0, 1.0]]), logits)
    value.sum().backward()
    torch.testing.assert_close(value, torch.tensor([-400.0]))
    torch.testing.assert_close(logits.grad, torch.tensor([[-1.0, 1.0]]))


@each_likelihood
def test_a_likelihood_refuses_shapes_that_would_broadcast(make):
    with pytest.raises(ValueError, match="logits must have shape"):
        make().log_prob(torch.rand(4, 6), torch.zeros(4, 1))


@pytest.mark.parametrize("kind", [Gaussian, Laplace])
@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_widths_that_are_none_are_refused(kind, width):
    with pytest.raises(ValueError, match="must be above 0 and finite"):
        kind(width)


@pytest.mark.parametrize(("kind", "name"), [(Gaussian, "c"), (Laplace, "b")])
def test_only_a_learned_width_is_trained_and_reads_back(kind, name):
    for learned in (False, True):
        likelihood = kind(0.25, learned=learned)
        assert getattr(likelihood, name) == pytest.approx(0.25)
        assert [p.requires_grad for p in likelihood.parameters()] == [learned]


@pytest.mark.parametrize(("kind", "power"), [(Gaussian, 2), (Laplace, 1)])
def test_a_learned_width_gets_its_gradient_and_goes_to_the_mean_error(kind, power):
    x, logits = pixels(5, n=50, d=20)
    likelihood = kind(learned=True)
    best = float(((x - torch.sigmoid(logits)).abs() ** power).mean())
    (width,) = likelihood.parameters()
    likelihood.log_prob(x, logits).mean().backward()
    # by ln c: ½ d (mse / c − 1); by ln b: d (mae / b − 1)
    assert width.grad.item() == pytest.approx(20 / power * (best - 1), rel=1e-4)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (-likelihood.log_prob(x, logits)).mean().backward()
        optimizer.step()
    assert math.exp(width.item()) == pytest.approx(best, rel=0.01)


# The networks -----------------------------------------------------------------------------------
@pytest.mark.parametrize("sizes", [(784, 400, 20), (784, 128, 64, 20), (6, 5, 4, 3, 2), (3, 1, 1)])
@pytest.mark.parametrize("n", [1, 7])
def test_shapes_follow_the_sizes_whatever_the_batch(sizes, n):
    model, x = VAE(*sizes), torch.rand(n, sizes[0], generator=generator())
    recon_x, mu, logvar = model(x, generator())
    assert recon_x.shape == x.shape and mu.shape == logvar.shape == (n, sizes[-1])
    assert 0 <= recon_x.min() and recon_x.max() <= 1
    assert model.log_likelihood(x, mu).shape == (n,)
    assert model.latent_dim == sizes[-1] and model.sizes == sizes


def test_the_default_is_784_400_20():
    model = VAE()
    assert sum(p.numel() for p in model.parameters()) == 652_824
    assert model.sizes == (784, 400, 20) and isinstance(model.likelihood, Bernoulli)


def test_heads_have_no_activation_and_hidden_layers_have_one_each():
    encoder, decoder = Encoder(784, 128, 64, 20), Decoder(20, 64, 128, 784)
    for part in (encoder, decoder):
        kinds = [type(layer) for layer in part.hidden]
        assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU]
    mu, logvar = encoder(torch.randn(200, 784, generator=generator()))
    assert mu.min() < 0 < mu.max() and logvar.min() < 0 < logvar.max()
    assert decoder.logits(mu).min() < 0


def test_images_are_the_sigmoid_of_logits():
    decoder, z = Decoder(2, 5, 6), torch.randn(4, 2, generator=generator())
    torch.testing.assert_close(decoder(z), torch.sigmoid(decoder.logits(z)))


def test_without_activations_the_encoder_is_one_affine_map():
    def additive(model):
        x, y = torch.randn(2, 9, 6, generator=generator())
        whole = model.encode((x + y) / 2)[0]
        return torch.allclose(whole, (model.encode(x)[0] + model.encode(y)[0]) / 2, atol=1e-6)

    assert additive(VAE(6, 5, 4, 2, activation=nn.Identity))
    assert not additive(VAE(6, 5, 4, 2))


@pytest.mark.parametrize("sizes", [(6, 2), (6,), (6, 0, 2)])
@pytest.mark.parametrize("kind", [Encoder, Decoder, VAE])
def test_sizes_out_of_range_are_refused(kind, sizes):
    with pytest.raises(ValueError, match="sizes must be"):
        kind(*sizes)


def test_a_wrong_number_of_pixels_is_refused():
    with pytest.raises(ValueError, match="x must have shape"):
        VAE(6, 5, 2)(torch.rand(3, 7))


@each_likelihood
def test_the_loss_is_minus_log_likelihood_plus_kl(make):
    model, x = VAE(6, 5, 2, likelihood=make()), torch.rand(7, 6, generator=generator())
    mu, logvar = model.encode(x)
    z = model.reparameterize(mu, logvar, generator(3))
    expected = (kl_divergence(mu, logvar) - model.log_likelihood(x, z)).mean()
    torch.testing.assert_close(negative_elbo(model, x, generator(3)), expected)
    recon_x, *_ = model(x, generator(3))
    torch.testing.assert_close(recon_x, model.decode(z))


@each_likelihood
def test_every_trainable_parameter_gets_a_gradient(make):
    model = VAE(6, 5, 2, likelihood=make())
    negative_elbo(model, torch.rand(50, 6, generator=generator()), generator()).backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert p.grad is not None and p.grad.abs().max() > 0, name
        else:
            assert p.grad is None, name


@each_likelihood
def test_training_lowers_the_loss_with_a_smaller_last_batch(make):
    torch.manual_seed(0)
    model, x = VAE(6, 16, 2, likelihood=make()), torch.rand(101, 6, generator=generator()).round()
    before = evaluate(model, negative_elbo, x)
    options = {"epochs": 20, "batch_size": 25, "rate": 1e-2, "device": "cpu", "progress": False}
    fit(model, negative_elbo, x, **options)
    assert evaluate(model, negative_elbo, x) < before - 0.1


def test_only_the_coin_asks_for_pixels_in_the_unit_interval():
    wide = torch.full((5, 6), 3.0)
    options = {"epochs": 1, "device": "cpu", "progress": False}
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        fit(VAE(6, 5, 2), negative_elbo, wide, **options)
    fit(VAE(6, 5, 2, likelihood=Gaussian()), negative_elbo, wide, **options)


# Weights that move ------------------------------------------------------------------------------
def state_of(model):
    return copy.deepcopy(model.state_dict())


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_saved_and_loaded_weights_give_the_same_images():
    model, file = VAE(6, 5, 4, 2), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = VAE(6, 5, 4, 2)
    load_weights(again, torch.load(file, weights_only=True))
    assert same(model.state_dict(), again.state_dict())
    z = torch.randn(3, 2, generator=generator())
    torch.testing.assert_close(again.decode(z), model.decode(z), rtol=0, atol=0)


@each_likelihood
@pytest.mark.parametrize("other", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_weights_move_between_any_two_likelihoods(make, other):
    source, target = VAE(6, 5, 2, likelihood=make()), VAE(6, 5, 2, likelihood=other())
    load_weights(target, source.state_dict())
    for name, value in source.state_dict().items():
        if not name.startswith("likelihood."):
            assert torch.equal(target.state_dict()[name], value)


def test_a_width_is_kept_where_none_comes_and_taken_where_one_does():
    target = VAE(6, 5, 2, likelihood=Gaussian(0.3))
    load_weights(target, VAE(6, 5, 2).state_dict())
    assert target.likelihood.c == pytest.approx(0.3)
    load_weights(target, VAE(6, 5, 2, likelihood=Gaussian(0.7)).state_dict())
    assert target.likelihood.c == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ((6, 5, 4, 2), "encoder.hidden.2.weight is unknown"),
        ((6, 5, 4, 2), r"encoder.fc_mu.weight must have shape \(2, 5\), got \(2, 4\)"),
        ((7, 5, 2), r"encoder.hidden.0.weight must have shape \(5, 6\), got \(5, 7\)"),
        ((6, 5, 3), r"encoder.fc_logvar.bias must have shape \(2,\), got \(3,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_nothing_changes(source, says):
    target = VAE(6, 5, 2)
    before = state_of(target)
    with pytest.raises(ValueError, match=f"does not fit this VAE: .*{says}"):
        load_weights(target, VAE(*source).state_dict())
    assert same(before, target.state_dict())


def test_every_missing_weight_is_named():
    target, state = VAE(6, 5, 2), VAE(6, 5, 2).state_dict()
    gone = {"encoder.fc_logvar.bias", "decoder.fc_out.weight"}
    before = state_of(target)
    with pytest.raises(ValueError) as error:
        load_weights(target, {name: v for name, v in state.items() if name not in gone})
    assert all(f"{name} is missing" in str(error.value) for name in gone)
    assert same(before, target.state_dict())


def test_loading_copies_and_does_not_tie_the_two_models():
    source, target = VAE(6, 5, 2), VAE(6, 5, 2)
    load_weights(target, source.state_dict())
    before = state_of(target)
    with torch.no_grad():
        for p in source.parameters():
            p.add_(1.0)
    assert same(before, target.state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_weights_from_a_gpu_load_on_the_cpu():
    source, target = VAE(6, 5, 2).cuda(), VAE(6, 5, 2)
    load_weights(target, source.state_dict())
    assert all(p.device.type == "cpu" for p in target.parameters())
    torch.testing.assert_close(
        target.state_dict()["encoder.fc_mu.weight"], source.encoder.fc_mu.weight.detach().cpu()
    )


def test_a_code_is_the_mean_and_the_width_times_the_noise():
    """The sign too: −ε has ε's distribution, so that no statistic tells."""
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, -1.0]])
    eps = torch.randn(1, 2, generator=torch.Generator().manual_seed(4))
    z = small.reparameterize(mu, logvar, torch.Generator().manual_seed(4))
    torch.testing.assert_close(z, mu + torch.exp(logvar / 2) * eps)


def test_the_small_vae_has_its_data_between_zero_and_one_and_three_sizes():
    assert small.SmallVAE((6, 4, 2)).needs_unit_range is True
    with pytest.raises(ValueError, match="^sizes must be three or more"):
        small.SmallVAE((6, 2))
