"""Chapter 19: flows, losses of several draws, annealed chains, the strong run; right answers."""

import functools
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from course_utils.exercises import check
from course_utils.exercises.answers import find
from course_utils.gaussians import LinearGaussian, exact_posterior, log_marginal

torch = pytest.importorskip("torch")

from course_utils import annealed, recipe_iwae  # noqa: E402
from course_utils.annealed import annealed_weights  # noqa: E402
from course_utils.evaluation import log_importance_weights  # noqa: E402
from course_utils.iwae import negative_dreg, negative_iwae  # noqa: E402
from course_utils.recipe_iwae import Stage  # noqa: E402
from course_utils.vae import VAE  # noqa: E402
from course_utils.vae.flows import Coupling, Flow  # noqa: E402

SEEDS = st.integers(0, 1000)
few = settings(max_examples=15, deadline=None)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


class Linear(torch.nn.Module):
    """The linear-Gaussian model of seven pixels, with a q that is off by stretch and shift."""

    def __init__(self, k=2, *, stretch=1.0, shift=0.0, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        axes = np.linalg.qr(rng.normal(size=(7, k)))[0].T  # at right angles: no correlations
        self.known = LinearGaussian(1.3 * axes, rng.normal(size=7), 0.5)
        self.dec_w = torch.nn.Parameter(torch.from_numpy(self.known.dec_w))
        self.stretch, self.shift = stretch, torch.nn.Parameter(torch.tensor(float(shift)).double())

    def encode(self, x):
        mean, cov = exact_posterior(x.numpy(), self.known)
        logvar = np.tile(np.log(np.diag(cov) * self.stretch**2), (len(x), 1))
        return torch.from_numpy(mean) + self.shift, torch.from_numpy(logvar) + 0 * self.shift

    def log_likelihood(self, x, z):
        error = (x - z @ self.dec_w - torch.from_numpy(self.known.dec_b)).square().sum(dim=1)
        return -error / (2 * self.known.c) - 3.5 * math.log(2 * math.pi * self.known.c)


def images(n=3, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 7)))


# Flows -------------------------------------------------------------------------------------------
def far_from_identity(flow, seed):
    torch.manual_seed(seed)
    for weights in flow.parameters():
        torch.nn.init.normal_(weights, std=0.7)
    return flow.double()


@few
@given(SEEDS, st.integers(2, 6), st.integers(1, 3), st.integers(0, 2))
def test_the_log_determinant_of_a_flow_is_that_of_its_jacobian(seed, k, layers, n_context):
    flow = far_from_identity(Flow(k, 5, layers=layers, n_context=n_context), seed)
    z = torch.randn(3, k, generator=noise(seed), dtype=torch.float64)
    context = torch.randn(3, n_context, generator=noise(seed), dtype=torch.float64)
    given_context = context if n_context else None
    _, log_det = flow(z, given_context)
    for i in range(3):
        own = context[i : i + 1] if n_context else None
        jacobian = torch.autograd.functional.jacobian(lambda v, c=own: flow(v[None], c)[0][0], z[i])
        assert torch.linalg.slogdet(jacobian)[1] == pytest.approx(log_det[i].item(), abs=1e-8)


@few
@given(SEEDS, st.integers(2, 6), st.booleans())
def test_a_coupling_keeps_its_half_and_is_undone(seed, k, flip):
    layer = far_from_identity(Coupling(k, 4, flip=flip), seed)
    z = 3 * torch.randn(8, k, generator=noise(seed), dtype=torch.float64)
    bent, log_det = layer(z)
    kept = slice(k // 2, k) if flip else slice(0, k // 2)
    torch.testing.assert_close(bent[:, kept], z[:, kept])
    moved = (bent != z).any(dim=0).sum()
    assert moved == (k // 2 if flip else k - k // 2)
    torch.testing.assert_close(layer.inverse(bent), z)
    assert log_det.abs().max() <= 2 * (k - k // 2)  # each s lies between -2 and 2


def test_a_coupling_stretches_by_twice_the_tanh_of_half_its_output_and_shifts():
    layer, z = Coupling(3, 1), torch.tensor([[0.5, 1.0, -2.0]])  # the first of three stays
    with torch.no_grad():
        layer.out.bias.copy_(torch.tensor([5.0, 0.8, -1.6, 7.0, 0.3, -0.2]))  # three s, three t
        moved, log_det = layer(z)
    s = [2 * math.tanh(0.4), 2 * math.tanh(-0.8)]
    wanted = torch.tensor([[0.5, math.exp(s[0]) + 0.3, -2 * math.exp(s[1]) - 0.2]])
    torch.testing.assert_close(moved, wanted)
    torch.testing.assert_close(log_det, torch.tensor([sum(s)]))
    assert len(Flow(2, 1, layers=1).layers) == 1  # the smallest there is


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Coupling(1, 4), "k"),
        (lambda: Coupling(2, 0), "hidden"),
        (lambda: Coupling(2, 1, n_context=-1), "n_context"),
        (lambda: Flow(2, 1, layers=0), "layers"),
    ],
)
def test_the_first_number_outside_of_a_range_is_refused(make, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        make()


def test_a_new_flow_is_the_identity_and_its_layers_take_turns():
    flow, z = Flow(4, 6), torch.randn(5, 4, generator=noise())
    bent, log_det = flow(z)
    torch.testing.assert_close(bent, z)
    assert not log_det.any() and len(flow.layers) == 4
    halves = [layer.keeps.tolist() for layer in flow.layers]
    assert halves == [[1, 1, 0, 0], [0, 0, 1, 1]] * 2


@pytest.mark.parametrize("k", [2, 3, 5])
def test_two_layers_of_a_flow_move_each_number_once(k):
    keeps = [layer.keeps for layer in Flow(k, 4, layers=2).layers]
    assert torch.equal(keeps[0] + keeps[1], torch.ones(k))
    bent, _ = far_from_identity(Flow(k, 4, layers=2), 1)(z := torch.ones(1, k).double())
    assert (bent != z).all()


def test_the_context_tells_images_apart():
    flow = far_from_identity(Flow(2, 6, n_context=3), 1)
    z = torch.ones(2, 2, dtype=torch.float64)
    bent, _ = flow(z, torch.tensor([[1.0, 0, 0], [0, 0, 1.0]], dtype=torch.float64))
    assert (bent[0] - bent[1]).abs().max() > 0.01


# Losses of several draws -------------------------------------------------------------------------
@pytest.mark.parametrize("loss", [negative_iwae, negative_dreg])
def test_the_loss_is_minus_the_logarithm_of_the_mean_weight(loss):
    torch.manual_seed(0)
    model, x = VAE(6, 5, 2), (torch.rand(4, 6, generator=noise()) > 0.5).float()
    mu, logvar = model.encode(x)
    eps = torch.randn(4, 9, 2, generator=noise(3))
    w = log_importance_weights(model, x, mu, logvar, eps).exp()
    value = loss(model, x, noise(3), samples=9)
    torch.testing.assert_close(value, -w.mean(dim=1).log().mean())
    with torch.no_grad():  # as held-out losses are computed
        torch.testing.assert_close(loss(model, x, noise(3), samples=9), value)


def gradients(loss, model, x, samples, seed=3):
    model.zero_grad()
    loss(model, x, noise(seed), samples=samples).backward()
    return [p.grad.clone() for p in model.parameters()]


def test_the_doubly_reparameterised_gradient_by_hand():
    torch.manual_seed(1)
    model, x = VAE(6, 5, 2).double(), (torch.rand(3, 6, generator=noise()) > 0.5).double()
    mu, logvar = model.encode(x)
    eps = torch.randn(3, 4, 2, generator=noise(3), dtype=torch.float64)
    log_w = log_importance_weights(model, x, mu, logvar, eps).detach().numpy()
    z = (mu[:, None] + torch.exp(logvar / 2)[:, None] * eps).detach().requires_grad_()
    log_p = model.log_likelihood(x.repeat_interleave(4, dim=0), z.flatten(0, 1)).sum()
    still = (z - mu.detach()[:, None]) / torch.exp(logvar / 2).detach()[:, None]
    log_q = -0.5 * still.square().sum()
    (log_p - 0.5 * z.square().sum() - log_q).backward()
    sigma = torch.exp(logvar / 2).detach().numpy()
    by_mu, by_logvar = find("19.4").solution[0](log_w, z.grad.numpy(), sigma, eps.numpy())
    model.zero_grad()
    carried = (mu * torch.from_numpy(by_mu) + logvar * torch.from_numpy(by_logvar)).sum() / -3
    carried.backward()
    wanted = [p.grad.clone() for p in model.encoder.parameters()]
    gradients(negative_dreg, model, x, 4)
    for parameter, gradient in zip(model.encoder.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_both_losses_have_the_same_gradient_for_the_decoder():
    torch.manual_seed(2)
    model, x = VAE(6, 5, 2), (torch.rand(4, 6, generator=noise()) > 0.5).float()
    n = len(list(model.encoder.parameters()))
    plain, doubly = (gradients(loss, model, x, 5) for loss in (negative_iwae, negative_dreg))
    for a, b in zip(plain[n:], doubly[n:], strict=True):
        torch.testing.assert_close(a, b)
    assert any((a - b).abs().max() > 1e-4 for a, b in zip(plain[:n], doubly[:n], strict=True))


def test_both_gradients_have_one_mean_and_the_doubly_reparameterised_less_noise():
    model, x = Linear(stretch=1.3, shift=0.2), images(1)
    estimates = {}
    for loss in (negative_iwae, negative_dreg):
        found = []
        for seed in range(600):
            model.zero_grad()
            loss(model, x, noise(seed), samples=3).backward()
            found.append(model.shift.grad.item())
        estimates[loss] = np.array(found)
    plain, doubly = estimates[negative_iwae], estimates[negative_dreg]
    error = math.hypot(plain.std(), doubly.std()) / math.sqrt(600)
    assert abs(plain.mean() - doubly.mean()) < 4 * error
    assert abs(doubly.mean()) > 4 * error and doubly.var() < plain.var() / 2


def test_a_much_too_narrow_q_has_more_noise_in_the_doubly_reparameterised_gradient():
    model, x, variance = Linear(stretch=0.5, shift=0.2), images(1), {}
    for loss in (negative_iwae, negative_dreg):
        found = []
        for seed in range(400):
            model.zero_grad()
            loss(model, x, noise(seed), samples=1).backward()
            found.append(model.shift.grad.item())
        variance[loss] = np.var(found)
    assert variance[negative_dreg] > 2 * variance[negative_iwae]


def test_where_q_is_the_posterior_the_doubly_reparameterised_gradient_is_zero():
    model = Linear()
    model.zero_grad()
    negative_dreg(model, images(), noise(), samples=4).backward()
    assert abs(model.shift.grad.item()) < 1e-10
    negative_iwae(model, images(), noise(), samples=4).backward()
    assert abs(model.shift.grad.item()) > 0.01


# Annealed importance sampling --------------------------------------------------------------------
def test_one_step_is_plain_importance_sampling():
    model, x = Linear(stretch=1.5, shift=0.3), images()
    with torch.no_grad():
        mu, logvar = model.encode(x)
        found = annealed_weights(model, x, mu, logvar, chains=5, steps=1, seed=2)
        eps = torch.randn(3, 5, 2, generator=noise(5), dtype=torch.float64)
        wanted = log_importance_weights(model, x, mu, logvar, eps)
    torch.testing.assert_close(found.log_w, wanted)
    assert math.isnan(found.accepted)  # no move is made


def test_from_the_posterior_every_chain_weighs_p_of_x():
    model, x = Linear(), images()
    with torch.no_grad():
        found = annealed_weights(model, x, *model.encode(x), chains=3, steps=4)
    wanted = torch.from_numpy(log_marginal(x.numpy(), model.known))
    torch.testing.assert_close(found.log_w, wanted[:, None].expand(-1, 3))


@pytest.mark.parametrize("steps", [2, 6])
def test_the_mean_weight_is_p_of_x_whatever_the_steps(steps):
    model, x = Linear(), images(1)
    start = torch.zeros(1, 2, dtype=torch.float64)
    log_w = annealed_weights(model, x, start, start, chains=5000, steps=steps).log_w[0]
    w = np.exp(log_w.numpy() - log_marginal(x.numpy(), model.known)[0])
    assert abs(w.mean() - 1) < 4 * w.std() / math.sqrt(5000)


def test_walking_back_in_one_step_weighs_the_code_that_was_given():
    model, x = Linear(stretch=1.5, shift=0.3), images()
    codes = torch.from_numpy(np.random.default_rng(4).normal(size=(3, 5, 2)))
    with torch.no_grad():
        mu, logvar = model.encode(x)
        found = annealed_weights(model, x, mu, logvar, chains=5, steps=1, codes=codes).log_w
        q = torch.distributions.Normal(mu[:, None], torch.exp(logvar / 2)[:, None])
        prior = torch.distributions.Normal(torch.zeros(2).double(), 1.0)
        log_p = torch.stack([model.log_likelihood(x, codes[:, i]) for i in range(5)], dim=1)
        wanted = log_p + (prior.log_prob(codes) - q.log_prob(codes)).sum(dim=2)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("steps", [1, 5])
def test_chains_that_walk_back_weigh_one_over_p(steps):
    model, x = Linear(), images(1)
    start = torch.zeros(1, 2, dtype=torch.float64)
    mean, cov = exact_posterior(x.numpy(), model.known)
    draws = np.random.default_rng(0).multivariate_normal(mean[0], cov, size=5000)
    codes = torch.from_numpy(draws)[None]
    options = {"chains": 5000, "steps": steps, "codes": codes}
    log_w = annealed_weights(model, x, start, start, **options).log_w[0]
    back = np.exp(log_marginal(x.numpy(), model.known)[0] - log_w.numpy())
    assert abs(back.mean() - 1) < 4 * back.std() / math.sqrt(5000)


def test_the_way_back_takes_its_sizes_from_a_pilot_that_never_saw_where_it_starts(monkeypatch):
    model, x = Linear(), images(1)
    start, seen = torch.zeros(1, 2, dtype=torch.float64), []
    walk = annealed._Path.walk

    def watched(self, u, betas, generator, sizes, *, pilot):
        result = walk(self, u, betas, generator, sizes, pilot=pilot)
        seen.append((u.clone(), betas, [size.clone() for size in sizes]))
        return result

    monkeypatch.setattr(annealed._Path, "walk", watched)
    codes = torch.full((1, 3, 2), 0.7, dtype=torch.float64)
    annealed_weights(model, x, start, start, chains=3, steps=6, codes=codes)
    annealed_weights(model, x, start, start, chains=3, steps=6)
    (pilot, rising, sizes), (run, falling, reversed_sizes), (again, _, _), _ = seen
    assert torch.equal(pilot, again) and torch.equal(run, codes)  # q is the prior
    assert rising == falling[::-1] and len(sizes) == 5
    assert all(map(torch.equal, sizes, reversed_sizes[::-1]))


def test_a_longer_walk_has_weights_that_vary_less_and_the_model_is_as_before():
    model, x = Linear().train(), images(2)
    start = torch.zeros(2, 2, dtype=torch.float64)
    spread = [
        annealed_weights(model, x, start, start, chains=400, steps=n).log_w.std(dim=1).mean().item()
        for n in (1, 5, 25)
    ]
    assert spread[0] > 1.5 * spread[1] > 2 * spread[2], spread
    assert model.training and all(p.grad is None for p in model.parameters())
    same = [annealed_weights(model, x, start, start, chains=4, steps=3, seed=7) for _ in range(2)]
    assert torch.equal(same[0].log_w, same[1].log_w) and 0.3 < same[0].accepted <= 1


# What the chapter derives ------------------------------------------------------------------------
@few
@given(SEEDS)
def test_the_familys_part_is_the_least_divergence(seed):
    from course_utils.gaussians import kl_full

    rng = np.random.default_rng(seed)
    root = rng.normal(size=(3, 5))
    cov = root @ root.T / 5
    precision = np.linalg.inv(cov)
    part = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    zero, best = np.zeros(3), 1 / np.diag(precision)
    assert kl_full(zero, np.diag(best), zero, cov) == pytest.approx(part, abs=1e-9)
    for _ in range(5):
        other = best * np.exp(0.3 * rng.normal(size=3))
        assert kl_full(zero, np.diag(other), zero, cov) >= part - 1e-12


@pytest.mark.parametrize("r", [0.0, 0.2, -0.35])
def test_the_variance_of_the_best_weights_against_draws(r):
    cov = np.array([[1.0, 2 * r], [2 * r, 4.0]])
    precision = np.linalg.inv(cov)
    z = np.random.default_rng(1).normal(size=(400_000, 2)) / np.sqrt(np.diag(precision))
    log_p = -0.5 * ((z @ precision) * z).sum(axis=1) + 0.5 * np.linalg.slogdet(precision)[1]
    log_q = -0.5 * (z**2 @ np.diag(precision)) + 0.5 * np.log(np.diag(precision)).sum()
    w = np.exp(log_p - log_q)
    assert w.mean() == pytest.approx(1, abs=0.01)
    assert w.var() == pytest.approx(find("19.1").solution[0](cov), abs=0.03)


def test_from_a_correlation_of_one_half_on_the_best_weights_have_no_variance():
    weight_variance = find("19.1").solution[0]
    for r in (0.49, -0.499):
        assert 0 < weight_variance(np.array([[1.0, r], [r, 1.0]])) < math.inf
    for r in (0.501, -0.9):
        assert weight_variance(np.array([[1.0, r], [r, 1.0]])) == math.inf


# The strong run ----------------------------------------------------------------------------------
SMALL = (Stage(1, 2, 2e-3, 1e-3), Stage(3, 2, 1e-3, 1e-4))


def grey(n=60):
    return torch.rand(n, 784, generator=noise()) ** 3


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    train = partial(recipe_iwae.train, SMALL, grey(), sizes=(784, 8, 3), progress=False)
    whole, told = train()
    assert [(s["samples"], s["epochs"]) for s in told] == [(1, 2), (3, 2)]
    calls = []

    def stopped(*args, **options):
        calls.append(options["samples"])
        if len(calls) == 2:
            raise KeyboardInterrupt  # in the second stage, after its first epoch
        return negative_dreg(*args, **options)

    monkeypatch.setattr(recipe_iwae.iwae, "negative_dreg", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(folder=tmp_path)
    monkeypatch.setattr(recipe_iwae.iwae, "negative_dreg", negative_dreg)
    resumed, told_again = train(folder=tmp_path)
    assert [s["train_loss"] for s in told_again] == [s["train_loss"] for s in told]
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_step_size_falls_by_equal_factors_to_the_last_one():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    schedule = recipe_iwae.falling(optimizer, 4, first=1e-2, last=1e-4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(rates, 1e-2 * 10.0 ** -np.array([0, 0.5, 1, 1.5]))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_the_loss_of_a_stage_draws_the_pixels_and_is_its_bound():
    torch.manual_seed(0)
    model, x = VAE(784, 8, 3), (grey(5) > 0.3).float()  # zeros and ones stay what they are

    def after_pixels():
        generator = noise(4)
        torch.rand(x.shape, generator=generator)
        return generator

    with torch.no_grad():
        loss = recipe_iwae.stage_loss(Stage(6, 1, 1e-3, 1e-3), 10)
        wanted = negative_iwae(model, x, after_pixels(), samples=6)
        torch.testing.assert_close(loss(model, x, noise(4)), wanted)
        shades = [loss(model, 0 * x + 0.5, noise(seed)).item() for seed in (1, 2)]
    assert shades[0] != shades[1]
    first = recipe_iwae.stage_loss(Stage(1, 1, 1e-3, 1e-3), 10)
    assert isinstance(first, recipe_iwae.recipe.FreshAndWarmedUp) and first.steps == 5


def test_the_yardstick_holds_chains_beside_plain_draws():
    torch.manual_seed(0)
    model, x = VAE(6, 5, 2), (torch.rand(8, 6, generator=noise()) > 0.5).float()
    found = recipe_iwae.yardstick(model, x, samples=2000, chains=8, steps=20)
    assert found["n"] == 8 and 1 <= found["effective"] <= 8 and 0 < found["accepted"] <= 1
    assert found["annealed"] == pytest.approx(found["bound"], abs=0.05)


def test_the_stored_numbers_come_from_this_code_and_keep_their_promise():
    run, again = recipe_iwae.stored(), "run python -m course_utils.recipe_iwae again"
    assert recipe_iwae.fingerprint() == pytest.approx(run["fingerprint"], rel=1e-3), again
    assert run["seed"] == recipe_iwae.SEED
    assert run["bound"] > run["elbo"] and abs(run["elbo"] + run["rate"] + run["distortion"]) < 0.01
    assert run["seconds"] == sum(s["seconds"] for s in run["stages"])
    assert not run["small"], "the numbers are those of a trial"
    assert all("bound" in stage for stage in run["stages"])
    assert run["plan"] == [list(stage) for stage in recipe_iwae.STAGES], again
    assert run["n_test"] == 10_000 and run["samples"] == recipe_iwae.SAMPLES
    assert run["bound"] >= -84.8 and run["yardstick"]["n"] == recipe_iwae.N_ANNEALED


@functools.cache
def unchanged():
    return recipe_iwae.fingerprint()


@pytest.fixture
def fewer_draws(monkeypatch):
    """A plan with 6 draws in place of 50, whose fingerprint takes a fifth of the time."""
    stages = (*recipe_iwae.STAGES[:2], recipe_iwae.STAGES[2]._replace(samples=6))
    monkeypatch.setattr(recipe_iwae, "STAGES", stages)
    return unchanged()


@pytest.mark.parametrize(
    ("place", "name", "other"),
    [
        (recipe_iwae.iwae, "negative_dreg", negative_iwae),
        (recipe_iwae, "WARM_UP", 0.01),
        (recipe_iwae, "falling", lambda o, n, **rates: torch.optim.lr_scheduler.ConstantLR(o, 1)),
        (recipe_iwae.annealed, "FIRST_SIZE", 0.6),
    ],
)
def test_a_change_of_what_a_run_does_changes_its_fingerprint(
    monkeypatch, fewer_draws, place, name, other
):
    monkeypatch.setattr(place, name, other)
    changed = recipe_iwae.fingerprint()
    assert changed.keys() == fewer_draws.keys()
    assert changed != pytest.approx(fewer_draws, rel=1e-3)


# The exercises, by other roads -------------------------------------------------------------------
def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def variance_by_eigenvalues(cov):
    """In units of q: its precision is the identity, the posterior's A has ones on its diagonal."""
    precision = np.linalg.inv(cov)
    scale = 1 / np.sqrt(np.diag(precision))
    values = np.linalg.eigvalsh(scale[:, None] * precision * scale)
    if (values <= 0.5).any():
        return np.inf
    return np.prod(values / np.sqrt(2 * values - 1)) - 1


def planar_by_jacobian(z, u, w, b):
    jacobians = [np.eye(len(u)) + np.outer(u, w) / np.cosh(row @ w + b) ** 2 for row in z]
    return np.array([np.linalg.slogdet(j)[1] for j in jacobians])


def fold_by_root(w, b):
    from scipy.optimize import brentq

    a = brentq(lambda a: a - 3 * np.tanh(a), 1, 5, xtol=1e-14)
    u, across = -3 * w / (w @ w), np.ones_like(w) - w.sum() / (w @ w) * w
    first = -b * w / (w @ w) + across  # a = 0
    return [u.tolist(), (first + a * w / (w @ w)).tolist(), first.tolist()]


def dreg_by_einsum(log_w, slopes, sigma, eps):
    v = np.exp(2 * (log_w - special.logsumexp(log_w, axis=1, keepdims=True)))
    by_mu = np.einsum("nm,nmk->nk", v, slopes)
    return by_mu, np.einsum("nm,nmk,nk,nmk->nk", v, slopes, sigma / 2, eps)


def annealed_by_loops(log_w, betas):
    total = sum((betas[t + 1] - betas[t]) * log_w[:, :, t] for t in range(log_w.shape[2]))
    top = total.max(axis=1, keepdims=True)
    w = np.exp(total - top)
    return np.log(w.mean(axis=1)) + top[:, 0], w.sum(axis=1) ** 2 / (w**2).sum(axis=1)


ROADS = {
    "19.1": variance_by_eigenvalues,
    "19.2": planar_by_jacobian,
    "19.3": fold_by_root,
    "19.4": dreg_by_einsum,
    "19.5": annealed_by_loops,
}


@pytest.mark.parametrize("number", ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    assert said(capsys, number, ROADS[number]).startswith("✓")
