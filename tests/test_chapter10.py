"""Chapter 10: the variational pieces hold to their definitions; other right answers pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.exercises import check
from course_utils.exercises.answers import find
from course_utils.gaussians import kl_to_standard_normal
from course_utils.numpy_nn import numerical_gradient

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from course_utils.vae import SmallVAE, kl_divergence, negative_elbo, reparameterize  # noqa: E402


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussians(seed, n=6, k=3):
    rng = np.random.default_rng(seed)
    mu, logvar = rng.normal(size=(n, k)), rng.uniform(-5, 4, size=(n, k))  # far from logvar = 0
    return torch.tensor(mu, requires_grad=True), torch.tensor(logvar, requires_grad=True)


@settings(deadline=None)  # the first call of PyTorch takes its time
@given(st.integers(0, 1000))
def test_the_gradients_of_a_draw_are_one_and_half_sigma_eps(seed):
    mu, logvar = gaussians(seed)
    z = reparameterize(mu, logvar, generator(seed))
    z.sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones_like(mu))
    torch.testing.assert_close(logvar.grad, ((z - mu) / 2).detach())


def test_draws_have_the_mean_and_the_standard_deviation_asked_for():
    mu, logvar = (part.detach()[:1].expand(40_000, 3) for part in gaussians(3))
    eps = (reparameterize(mu, logvar, generator(1)) - mu) / torch.exp(logvar / 2)
    assert eps.mean(dim=0).abs().max() < 0.03
    assert (eps.std(dim=0) - 1).abs().max() < 0.03


def test_noise_is_independent_across_code_numbers_and_rows():
    zero = torch.zeros(40_000, 3)
    eps = reparameterize(zero, zero, generator(2))
    apart = torch.corrcoef(torch.cat([eps[1:], eps[:-1]], dim=1).T) - torch.eye(6)
    assert apart.abs().max() < 0.03


def test_equal_generators_give_equal_draws():
    mu, logvar = gaussians(4)
    first, second = (reparameterize(mu, logvar, generator(9)) for _ in range(2))
    torch.testing.assert_close(first, second)


@settings(deadline=None)  # the first call of PyTorch takes its time
@given(st.integers(0, 1000))
def test_the_kl_is_that_of_chapter_11_and_of_the_library(seed):
    mu, logvar = (part.detach() for part in gaussians(seed))
    ours = kl_divergence(mu, logvar)
    np.testing.assert_allclose(ours, kl_to_standard_normal(mu.numpy(), logvar.numpy()))
    q = torch.distributions.Normal(mu, torch.exp(logvar / 2))
    p = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(q, p).sum(dim=1))
    assert ours.min() > 0


def test_the_kl_is_zero_at_the_prior():
    zero = torch.zeros(4, 3)
    assert kl_divergence(zero, zero).abs().max() == 0


@pytest.mark.parametrize("function", [reparameterize, kl_divergence])
def test_shapes_that_do_not_fit_are_refused(function):
    with pytest.raises(ValueError, match="logvar must have shape"):
        function(torch.zeros(4, 3), torch.zeros(4, 1))


def test_a_small_vae_has_the_shapes_and_the_parameters_that_its_sizes_say():
    model = SmallVAE((10, 5, 2))
    x_hat, mu, logvar = model(torch.rand(7, 10), generator())
    assert x_hat.shape == (7, 10) and mu.shape == logvar.shape == (7, 2)
    assert 0 <= x_hat.min() and x_hat.max() <= 1
    assert sum(p.numel() for p in model.parameters()) == 11 * 5 + 2 * 6 * 2 + 3 * 5 + 6 * 10


def test_softplus_is_what_makes_sigma():
    model = SmallVAE((10, 8, 5, 2))
    x = torch.rand(7, 10)
    _, logvar = model.encode(x)
    torch.testing.assert_close(torch.exp(logvar / 2), F.softplus(model.to_sigma(model.body(x))))


@pytest.mark.parametrize("sizes", [(10, 2), (10, 0, 2)])
def test_sizes_out_of_range_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes must be"):
        SmallVAE(sizes)


def test_a_wrong_number_of_pixels_is_refused():
    with pytest.raises(ValueError, match="x must have shape"):
        SmallVAE((10, 5, 2))(torch.rand(7, 9))


def test_the_loss_is_cross_entropy_plus_beta_kl():
    model, x = SmallVAE((10, 5, 2)), torch.rand(7, 10)
    x_hat, mu, logvar = model(x, generator(5))
    error = -(x * x_hat.log() + (1 - x) * (1 - x_hat).log()).sum(dim=1).mean()
    for beta in (0.0, 1.0, 3.0):
        expected = error + beta * kl_divergence(mu, logvar).mean()
        torch.testing.assert_close(negative_elbo(model, x, generator(5), beta=beta), expected)


def test_every_parameter_gets_a_gradient():
    model = SmallVAE((10, 5, 2))
    negative_elbo(model, torch.rand(50, 10), generator()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_sigma_by_relu_makes_the_loss_infinite_and_a_dead_sigma_stays_dead():
    model = SmallVAE((10, 5, 2), positive=torch.relu)
    torch.nn.init.constant_(model.to_sigma.bias, -9.0)
    loss = negative_elbo(model, torch.rand(50, 10), generator())
    loss.backward()
    assert torch.isinf(loss)
    assert model.to_sigma.weight.grad.abs().max() == 0


# The exercises, by other roads ---------------------------------------------------------------
def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def slope_by_autograd(a):
    a = torch.tensor(a, requires_grad=True)
    zero = torch.zeros(a.numel(), 1)
    kl_divergence(zero, 2 * torch.log(F.softplus(a)).reshape(-1, 1)).sum().backward()
    return a.grad


def cubic_by_quadrature(mu, logvar):
    """Stein: E[f′(z)] is the gradient by mu, and half E[f″] σ² that by logvar."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    z = mu[:, None] + np.exp(logvar / 2)[:, None] * nodes
    weights = weights / weights.sum()
    return (3 * z**2) @ weights, np.exp(logvar) / 2 * ((6 * z) @ weights)


def score_by_library(f, z, mu, logvar):
    mu, logvar = (torch.tensor(part, requires_grad=True) for part in (mu, logvar))
    log_q = torch.distributions.Normal(mu, torch.exp(logvar / 2)).log_prob(torch.tensor(z))
    (torch.tensor(f) * log_q).mean().backward()
    return mu.grad, logvar.grad


def rate_by_differences(sigma, c):
    def loss(s):
        return float((c * s**2 / 2 + (s**2 - 1 - 2 * np.log(s)) / 2).sum())

    return sigma / numerical_gradient(loss, sigma.copy())


OTHER_ROADS = {
    "10.1": lambda mu, logvar, eps: mu + np.sqrt(np.exp(logvar)) * eps,
    "10.2": slope_by_autograd,
    "10.3": cubic_by_quadrature,
    "10.4": score_by_library,
    "10.5": rate_by_differences,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    assert said(capsys, number, OTHER_ROADS[number]).startswith(f"✓ {number} is right")


def test_a_detached_draw_of_tensors_still_counts_by_its_values(capsys):
    def with_torch(mu, logvar, eps):
        mu, logvar, eps = map(torch.tensor, (mu, logvar, eps))
        return mu + torch.exp(0.5 * logvar) * eps

    assert said(capsys, "10.1", with_torch).startswith("✓")


def test_at_the_killing_rate_sigma_is_zero_and_a_little_below_it_lives():
    rate = find("10.5").solution[0]
    sigma, c = np.array([0.7, 1.3]), 5.0
    gradient = (c + 1) * sigma - 1 / sigma
    np.testing.assert_allclose(sigma - rate(sigma, c) * gradient, 0, atol=1e-12)
    assert (sigma - 0.99 * rate(sigma, c) * gradient > 0).all()
