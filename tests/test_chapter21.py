"""Chapter 21: levels, bound and samplers where all is known; right answers by other roads."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, linalg, special

from course_utils.exercises import check
from course_utils.exercises.answers import find

torch = pytest.importorskip("torch")

from course_utils.diffusion import (  # noqa: E402
    Denoiser,
    guess,
    level_terms,
    noise_loss,
    noised,
    sample,
    schedule,
    step_back,
)
from course_utils.sample_quality import frechet, precision_recall  # noqa: E402

SEEDS = st.integers(0, 1000)
few = settings(max_examples=15, deadline=None)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def best_for(variance):
    """The best guess of the noise for data from N(0, variance)."""

    def predict(z, alpha):
        var = 1 - alpha**2
        return var.sqrt() * z / (alpha**2 * variance + var)

    return predict


# Levels ------------------------------------------------------------------------------------------
@few
@given(st.integers(2, 50), st.floats(1, 12), st.floats(-12, 0))
def test_a_schedule_falls_by_equal_steps_of_the_logarithm(steps, first, last):
    alpha = schedule(steps, first=first, last=last)
    ratio = torch.log(alpha**2 / (1 - alpha**2))
    assert len(alpha) == steps and alpha.dtype == torch.float64
    torch.testing.assert_close(ratio, torch.linspace(first, last, steps, dtype=torch.float64))


def test_a_level_has_its_mean_and_its_noise():
    x = torch.tensor([[2.0, -1.0]]).double().expand(50_000, 2)
    z, eps = noised(x, torch.tensor(0.6).double().expand(50_000, 1), noise())
    torch.testing.assert_close(z, 0.6 * x + 0.8 * eps)
    assert (eps.mean(dim=0).abs() < 0.02).all() and (eps.var(dim=0) - 1).abs().max() < 0.03


@few
@given(SEEDS)
def test_a_step_back_is_bayes_rule(seed):
    rng = np.random.default_rng(seed)
    before, alpha = np.sort(rng.uniform(0.05, 0.98, size=2))[::-1].copy()
    x, z = (torch.from_numpy(rng.normal(size=(5, 3))) for _ in range(2))
    a, levels = alpha / before, [torch.tensor(v) for v in (before, alpha)]
    mean, var = step_back(x, z, *levels)
    precision = 1 / (1 - before**2) + a**2 / (1 - a**2)
    wanted = (before * x / (1 - before**2) + a * z / (1 - a**2)) / precision
    torch.testing.assert_close(mean, wanted)
    assert var.item() == pytest.approx(1 / precision)


def test_a_guess_undoes_the_noise():
    z, eps = noised(torch.ones(4, 2), torch.full((4, 1), 0.3), noise())
    x_hat, same = guess(lambda z, alpha: eps, z, torch.full((4, 1), 0.3))
    torch.testing.assert_close(x_hat, torch.ones(4, 2))
    assert same is eps


# The bound ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("variance", [0.3, 1.0, 5.0])
def test_the_terms_of_gaussian_data_are_those_of_the_exercise(variance):
    alpha = schedule(6, first=4, last=-3)
    x = math.sqrt(variance) * torch.randn(40_000, 1, generator=noise(), dtype=torch.float64)
    terms = level_terms(best_for(variance), x, alpha, noise(1))
    wanted = find("21.4").solution[0](variance, alpha.numpy())
    error = terms.std(dim=0).numpy() / 200
    assert (np.abs(terms.mean(dim=0).numpy() - wanted) < 4.5 * error + 1e-9).all()


def test_a_perfect_guess_leaves_the_constants_alone():
    alpha, x = schedule(5), torch.randn(3, 2, generator=noise())
    terms = level_terms(lambda z, a: (z - a * x) / (1 - a**2).sqrt(), x, alpha)
    ratio = (alpha[0] ** 2 / (1 - alpha[0] ** 2)).item()
    torch.testing.assert_close(terms[:, 0], torch.full((3,), math.log(2 * math.pi / ratio)))
    assert terms[:, 1:-1].abs().max() < 1e-4
    var = (1 - alpha[-1] ** 2).item()
    kl = 0.5 * (alpha[-1].item() ** 2 * x.square().sum(dim=1) + 2 * (var - 1 - math.log(var)))
    torch.testing.assert_close(terms[:, -1], kl)


def test_more_levels_come_closer_to_the_entropy_of_gaussian_data():
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.5)
    gaps = [
        find("21.4").solution[0](0.5, schedule(t, first=12, last=-12).numpy()).sum() - entropy
        for t in (20, 200, 2000)
    ]
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2] > 0


# The loss ----------------------------------------------------------------------------------------
def test_the_simple_loss_is_a_mean_over_levels_and_a_sum_over_numbers():
    alpha = torch.tensor([0.9, 0.5, 0.2])
    x = torch.randn(60_000, 2, generator=noise())
    zero = noise_loss(lambda z, a: 0 * z, x, noise(1), alpha=alpha)
    assert zero.item() == pytest.approx(2, abs=0.05)
    seen = []

    def predict(z, a):
        seen.append(a)
        return 0 * z + a  # the square of alpha on top of 1, twice

    loss = noise_loss(predict, x, noise(1), alpha=alpha)
    assert loss.item() == pytest.approx(2 + 2 * (alpha**2).mean().item(), abs=0.06)
    counts = [(seen[0] == a).float().mean().item() for a in alpha]
    assert counts == pytest.approx([1 / 3] * 3, abs=0.02)


def test_training_by_the_simple_loss_finds_the_best_guess():
    from functools import partial

    from course_utils.training import fit

    torch.manual_seed(0)
    x, net = torch.randn(4000, 1, generator=noise()), Denoiser(1, 16, blocks=1)
    loss = partial(noise_loss, alpha=schedule(20, first=3, last=-3))
    fit(net, loss, 2 * x, epochs=15, batch_size=200, rate=5e-3, progress=False, device="cpu")
    z, alpha = torch.linspace(-2, 2, 9)[:, None], torch.full((9, 1), 0.7)
    with torch.no_grad():
        off = net(z, alpha) - best_for(4.0)(z, alpha)
    assert off.abs().max() < 0.15


def test_at_large_noise_a_new_network_says_nearly_the_point():
    z = torch.randn(5, 3, generator=noise())
    with torch.no_grad():
        said = Denoiser(3, 8)(z, torch.full((5, 1), 1e-3))
    torch.testing.assert_close(said, z, atol=5e-3, rtol=0)


# The samplers ------------------------------------------------------------------------------------
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samples_of_gaussian_data_have_their_variance(eta):
    start = torch.randn(20_000, 1, generator=noise(), dtype=torch.float64)
    drawn = sample(best_for(0.25), start, schedule(200), noise(1), eta=eta)
    assert drawn.var().item() == pytest.approx(0.25, rel=0.05)
    correlated = abs(np.corrcoef(start[:, 0], drawn[:, 0])[0, 1])
    assert (correlated > 0.99) == (eta == 0) and (correlated < 0.1 or eta < 1)


def test_two_levels_of_ancestral_steps_have_the_mean_and_variance_of_a_step_back():
    alpha = torch.tensor([0.9, 0.4], dtype=torch.float64)
    z = torch.tensor([[1.5]]).double().expand(100_000, 1)
    seen = []

    def predict(z, a):
        seen.append(z)
        return 0.3 * z

    sample(predict, z, alpha, noise())
    x_hat, _ = guess(lambda z, a: 0.3 * z, z[:1], alpha[1:, None])
    mean, var = step_back(x_hat, z[:1], alpha[0], alpha[1])
    assert seen[1].mean().item() == pytest.approx(mean.item(), abs=0.01)
    assert seen[1].var().item() == pytest.approx(var.item(), rel=0.02)


# Measures of samples -----------------------------------------------------------------------------
def test_the_sampler_adds_fresh_noise_of_the_size_that_was_asked_for():
    z, alpha = torch.tensor([[0.4, -1.0]]), torch.tensor([0.9, 0.3])
    fresh = torch.randn(z.shape, generator=torch.Generator().manual_seed(3))
    _, var = step_back(z / 0.3, z, torch.tensor(0.9), torch.tensor(0.3))
    for eta in (0.0, 0.5, 1.0):  # a guess of no noise: z / α each time
        drawn = sample(lambda z, a: 0 * z, z, alpha, torch.Generator().manual_seed(3), eta=eta)
        wanted = (0.9 * z / 0.3 + eta * var.sqrt() * fresh) / 0.9
        torch.testing.assert_close(drawn, wanted)


def test_each_part_of_the_network_does_what_its_line_says():
    net, z, alpha = Denoiser(4, 4, blocks=1), torch.ones(2, 4), torch.tensor([[0.6], [0.9]])
    sigma = (1 - alpha**2).sqrt()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.end[1].bias.copy_(torch.arange(4.0))
        torch.testing.assert_close(net(z, alpha), sigma * z + alpha * torch.arange(4.0))
        net.end[1].bias.zero_()
        net.end[1].weight.copy_(torch.eye(4))
        net.blocks[0][3].bias.fill_(0.7)  # all that a block adds
        silu = torch.nn.functional.silu
        torch.testing.assert_close(net(z, alpha), sigma + alpha * silu(torch.full((2, 4), 0.7)))
        net.blocks[0][3].bias.zero_()
        net.start.weight[:, 4:8] = torch.eye(4)  # the sines of the level
        level = torch.log(alpha**2 / sigma**2) / 8  # times 1, 2, 4 and 8
        sines = torch.sin(level * torch.tensor([1.0, 2.0, 4.0, 8.0]))
        torch.testing.assert_close(net(z, alpha), sigma + alpha * silu(sines))


def test_frechet_of_known_gaussians():
    a = np.random.default_rng(0).normal(size=(500, 3))
    assert frechet(a, a) == pytest.approx(0, abs=1e-8)
    assert frechet(a, a + [3.0, 4.0, 0.0]) == pytest.approx(25)
    centred = a - a.mean(axis=0)
    assert frechet(centred, 3 * centred) == pytest.approx(4 * np.trace(np.cov(a.T)))
    turned = a * [1.0, 2.0, 0.5] @ np.array([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1]])
    wide = a * [1.0, 3.0, 1.0]  # covariances that do not commute
    cov, other = np.cov(wide.T), np.cov(turned.T)
    moved = ((wide.mean(axis=0) - turned.mean(axis=0)) ** 2).sum()
    wanted = moved + np.trace(cov + other - 2 * linalg.sqrtm(cov @ other).real)
    assert frechet(wide, turned) == pytest.approx(wanted)


def test_the_smallest_sets_have_a_distance_and_the_edge_of_a_ball_is_in_it():
    two = np.array([[0.0, 1.0], [2.0, 0.0]])
    assert frechet(two, two + 3) == pytest.approx(18)
    real, fake = np.array([[0.0], [1.0], [2.0]]), np.array([[-1.0], [-3.0], [-5.0]])
    assert precision_recall(real, fake, k=1) == (1 / 3, 2 / 3)


def test_precision_and_recall_on_a_line():
    line = np.arange(20.0)[:, None]
    assert precision_recall(line, line[:10]) == (1.0, 0.65)
    assert precision_recall(line, line + 1000) == (0, 0)
    assert precision_recall(line, line[:10], k=1) == (1.0, 0.55)
    apart = np.array([1.5, 8, 10, 12, 14])[:, None]
    assert precision_recall(line[:5], apart) == (0.2, 1.0)


@pytest.mark.parametrize(
    ("measure", "sizes", "options", "says"),
    [
        (frechet, ((1, 3), (5, 3)), {}, "a and b must be 2 × 2 or larger"),
        (frechet, ((5, 1), (5, 1)), {}, "a and b must be 2 × 2 or larger"),
        (precision_recall, ((5, 2), (5, 2)), {"k": 0}, "k must"),
        (precision_recall, ((5, 2), (5, 2)), {"k": -1}, "k must"),
        (precision_recall, ((5, 2), (3, 2)), {"k": 3}, "k must be below the 5 and 3 rows, got 3"),
    ],
)
def test_a_measure_of_too_few_points_is_refused(measure, sizes, options, says):
    with pytest.raises(ValueError, match=says):
        measure(*(np.zeros(size) for size in sizes), **options)


# The exercises, by other roads -------------------------------------------------------------------
def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def translate_by_torch(z, eps_hat, alpha):
    z, e, a = (torch.as_tensor(v, dtype=torch.float64) for v in (z, eps_hat, alpha))
    s = (1 - a**2).sqrt()[:, None]
    return [(z - s * e) / a[:, None], -e / s]


def gain_by_quad(mu, logvar):
    def density(z):
        return np.mean(np.exp(-((z - mu) ** 2) / (2 * np.exp(logvar))) / np.exp(logvar / 2))

    def inside(z):
        q = density(z)
        return special.xlogy(q, q) / math.sqrt(2 * math.pi) + q * z**2 / 2 / math.sqrt(2 * math.pi)

    ends = (min(mu - 9 * np.exp(logvar / 2)), max(mu + 9 * np.exp(logvar / 2)))
    return integrate.quad(inside, *ends, points=sorted(mu), limit=400)[0]


def gain_by_a_guarded_sum(mu, logvar):
    z = np.linspace(-12, 12, 40_001)
    each = np.exp(-((z[:, None] - mu) ** 2) / (2 * np.exp(logvar)) - logvar / 2)
    q = each.mean(axis=1) / math.sqrt(2 * math.pi)
    log_p = -(z**2) / 2 - math.log(2 * math.pi) / 2
    return (q * (np.log(q + 1e-10) - log_p)).sum() * (z[1] - z[0])


def jump_of_coefficients(z, eps_hat, alpha, before, eta, noise):
    a, var, below = before / alpha, 1 - alpha**2, 1 - before**2
    fresh = eta**2 * (1 - 1 / a**2) * below / var
    return a * z + (math.sqrt(below - fresh) - a * math.sqrt(var)) * eps_hat + fresh**0.5 * noise


def weights_by_loop(alpha):
    found = [0.5]
    for before, after in zip(alpha[:-1], alpha[1:], strict=True):
        found.append(0.5 * (before**2 * (1 - after**2) / ((1 - before**2) * after**2) - 1))
    return found


def terms_by_loop(variance, alpha):
    found = []
    for t, a in enumerate(alpha):
        var = 1 - a**2
        error = 1 / (1 / variance + a**2 / var)
        if t == 0:
            found.append(0.5 * (error * a**2 / var + math.log(2 * math.pi * var / a**2)))
        else:
            b2, kept = 1 - (a / alpha[t - 1]) ** 2, 1 - alpha[t - 1] ** 2
            found.append(error * (alpha[t - 1] * b2 / var) ** 2 / (2 * b2 * kept / var))
    return [*found, 0.5 * (a**2 * variance + var - 1 - math.log(var))]


def jump_by_step_back(z, eps_hat, alpha, before, eta, noise):
    x_hat = (z - math.sqrt(1 - alpha**2) * eps_hat) / alpha
    tensors = [torch.from_numpy(v) for v in (x_hat, z)]
    mean, var = step_back(*tensors, torch.tensor(before), torch.tensor(alpha))
    if eta == 1:
        return mean + var.sqrt() * torch.from_numpy(noise)
    fresh = eta * var.sqrt().item()
    return before * x_hat + math.sqrt(1 - before**2 - fresh**2) * eps_hat + fresh * noise


ROADS = [
    ("21.1", translate_by_torch),
    ("21.2", gain_by_quad),
    ("21.2", gain_by_a_guarded_sum),
    ("21.3", weights_by_loop),
    ("21.4", terms_by_loop),
    ("21.5", jump_by_step_back),
    ("21.5", jump_of_coefficients),
]


@pytest.mark.parametrize(("number", "answer"), ROADS)
def test_a_right_answer_by_another_road_passes(number, answer, capsys):
    assert said(capsys, number, answer).startswith("✓")


def gain_by_one_sum(mu, logvar):
    z = np.linspace(-12, 12, 241)  # too coarse for narrow posteriors
    each = np.exp(-((z[:, None] - mu) ** 2) / (2 * np.exp(logvar)) - logvar / 2)
    q = each.mean(axis=1) / math.sqrt(2 * math.pi)
    return float(special.xlogy(q, q).sum() + (q * (z**2 + math.log(2 * math.pi)) / 2).sum()) * 0.1


CHEATS = {
    "21.1": [
        lambda z, eps_hat, alpha: (z, -eps_hat),
        lambda z, eps_hat, alpha: (
            (z - np.sqrt(1 - alpha[:, None] ** 2) * eps_hat) / alpha[:, None],
            -z,
        ),
        lambda z, eps_hat, alpha: translate_by_torch(z, eps_hat, alpha[:1].repeat(len(alpha))),
    ],
    "21.2": [gain_by_one_sum, lambda mu, logvar: 0.0, lambda mu, logvar: np.nan],
    "21.3": [
        lambda alpha: np.full(len(alpha), 0.5),
        lambda alpha: np.array(weights_by_loop(alpha))[::-1],
        lambda alpha: weights_by_loop(alpha)[1:],
        lambda alpha: np.r_[0.5, np.full(len(alpha) - 1, weights_by_loop(alpha)[1])],
    ],
    "21.4": [
        lambda variance, alpha: terms_by_loop(1.0, alpha),
        lambda variance, alpha: terms_by_loop(math.sqrt(variance), alpha),
        lambda variance, alpha: terms_by_loop(variance, alpha)[::-1],
        lambda variance, alpha: sum(terms_by_loop(variance, alpha)),
    ],
    "21.5": [
        lambda z, eps_hat, alpha, before, eta, noise: z,
        lambda z, eps_hat, alpha, before, eta, noise: jump_by_step_back(
            z, eps_hat, alpha, before, 1.0, noise
        ),
        lambda z, eps_hat, alpha, before, eta, noise: jump_by_step_back(
            z, eps_hat, alpha, before, eta, 0 * noise
        ),
    ],
}


@pytest.mark.parametrize(("number", "i"), [(n, i) for n in CHEATS for i in range(len(CHEATS[n]))])
def test_a_wrong_answer_does_not_pass(number, i, capsys):
    assert said(capsys, number, CHEATS[number][i]).startswith("✗")
