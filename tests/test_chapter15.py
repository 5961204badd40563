"""Chapter 15: what the text says of the patients holds; other right answers pass."""

import numpy as np
import pytest
from scipy import optimize

from course_utils.exercises import check
from course_utils.exercises.answers import find
from course_utils.gaussians import kl_to_standard_normal

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from course_utils.diagnosis import patients as ward  # noqa: E402
from course_utils.diagnosis.patients import PATIENTS, vae_loss  # noqa: E402
from course_utils.vae import VAE, kl_divergence, load_weights, negative_elbo  # noqa: E402


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def codes(n=7, k=5, seed=0):
    return torch.randn(2, n, k, generator=generator(seed), dtype=torch.float64)


@pytest.fixture
def images():
    return torch.rand(30, 16, generator=generator(3)).round()


def test_there_are_twelve_patients_with_names_of_their_own():
    assert len(PATIENTS) == 12 == len({patient.name for patient in PATIENTS})


def test_the_loss_with_two_open_places_is_the_negative_elbo(images):
    model = VAE(16, 8, 3)
    ours, theirs = (loss(model, images, generator(1)) for loss in (vae_loss, negative_elbo))
    torch.testing.assert_close(ours, theirs)


def test_patient_1_and_a_kl_that_takes_ln_sigma_for_logvar_are_one_program(images):
    """Head ℓ = ln σ, z = mu + e^ℓ ε, and a KL that reads ℓ as logvar."""
    model = ward.VarianceAsWidth(16, 8, 3)
    mu, ell = model.encode(images)
    z = mu + torch.exp(ell) * torch.randn(mu.shape, generator=generator(1))
    twin = kl_divergence(mu, ell).mean() - model.log_likelihood(images, z).mean()
    torch.testing.assert_close(vae_loss(model, images, generator(1)), twin)


def test_equation_2_is_the_kl_of_what_is_drawn_minus_the_kl_charged():
    mu, a = codes()
    short = 0.5 * (torch.exp(2 * a) - torch.exp(a) - a).sum(dim=1)
    torch.testing.assert_close(kl_divergence(mu, 2 * a) - kl_divergence(mu, a), short)


def test_the_kl_in_two_units_is_least_at_1_44_and_negative_there():
    def value(v):
        variance = torch.tensor([[v]], dtype=torch.float64)
        return float(ward.kl_in_two_units(0 * variance, variance.log()))

    best = optimize.minimize_scalar(value, bounds=(0.1, 5), method="bounded")
    assert best.x == pytest.approx(1 / np.log(2), abs=1e-4)
    assert best.fun == pytest.approx(-0.043, abs=5e-4)


def test_the_kl_without_its_minus_is_minus_the_kl():
    torch.testing.assert_close(ward.kl_without_its_minus(*codes()), -kl_divergence(*codes()))


@pytest.mark.parametrize("n", [1, 4, 9])
def test_the_kl_down_the_rows_has_n_over_k_times_the_weight(n):
    mu, logvar = codes(n=n, k=4)
    ratio = ward.kl_down_the_rows(mu, logvar).mean() / kl_divergence(mu, logvar).mean()
    assert float(ratio) == pytest.approx(n / 4)


def logits_of(model, x, z):
    h = torch.relu(F.linear(x, model.seen.weight * model.may_see, model.seen.bias))
    return model.decoder.logits(z) + F.linear(h, model.told.weight * model.may_tell)


def test_no_pixel_of_the_strong_decoder_sees_itself_or_a_later_one(images):
    model = ward.SeesThePixels(16, 8, 3, n_units=64)
    z = torch.randn(30, 3, generator=generator())
    before = logits_of(model, images, z)
    for j in range(16):
        changed = images.clone()
        changed[:, j:] = 1 - changed[:, j:]
        after = logits_of(model, changed, z)
        torch.testing.assert_close(after[:, : j + 1], before[:, : j + 1])
        assert j == 15 or (after[:, j + 1 :] != before[:, j + 1 :]).any()


@torch.no_grad()
def test_the_strong_decoder_is_a_distribution():
    """Over all images of four pixels the probabilities add up to one."""
    model = ward.SeesThePixels(4, 6, 2, n_units=24)
    torch.nn.init.normal_(model.told.weight)
    every = torch.tensor([[i >> j & 1 for j in range(4)] for i in range(16)]).float()
    z = torch.randn(1, 2, generator=generator()).expand(16, 2)
    assert float(model.log_likelihood(every, z).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_its_decode_fills_in_what_its_log_likelihood_predicts():
    model = ward.SeesThePixels(6, 6, 2, n_units=30)
    torch.nn.init.normal_(model.told.weight)
    z = torch.randn(3, 2, generator=generator())
    x_hat = model.decode(z)
    logits = logits_of(model, x_hat, z)
    torch.testing.assert_close(torch.sigmoid(logits), x_hat)


@pytest.mark.parametrize("patient", PATIENTS[:11], ids=lambda p: p.name)
def test_the_weights_of_a_patient_fit_the_healthy_model(patient):
    healthy = VAE(16, 8, 3)
    load_weights(healthy, patient.build(16, 8, 3).state_dict())


# The exercises, by other roads ---------------------------------------------------------------
def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def exponent_by_polyfit(mu, logvar, z):
    return np.polyfit(logvar.ravel(), np.log((z - mu) ** 2).ravel() / 2, 1)[0]


def kl_of_the_course(mu, log_sigma):
    return kl_to_standard_normal(mu, 2 * log_sigma)


def beta_by_regression(loss, x, k):
    """Many random experiments, one least-squares fit."""
    rng = np.random.default_rng(0)
    rows, values = [], []
    for _ in range(12):
        mu, logvar = rng.normal(size=(2, len(x), k))
        x_hat = x + rng.normal(size=x.shape)
        error = ((x - x_hat) ** 2).sum(axis=1).mean()
        rows.append([error, kl_to_standard_normal(mu, logvar).mean(), 1.0])
        values.append(loss(x, x_hat, mu, logvar))
    r_1, r_2, _ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return r_2 / r_1


def widths_by_search(c):
    def least(width_of, each):
        def total(a):
            return each / 2 * width_of(a) ** 2 + (np.exp(a) - 1 - a) / 2

        a = optimize.minimize_scalar(total, bounds=(-30, 5), method="bounded").x
        a = optimize.minimize_scalar(total, bracket=(a - 1e-2, a, a + 1e-2), tol=1e-14).x
        return width_of(a)

    pairs = [(least(lambda a: np.exp(a / 2), each), least(np.exp, each)) for each in c]
    return tuple(np.array(pairs).T)


def width_left_out(mu, logvar):
    return 0.5 * (mu**2).sum(axis=1)


OTHER_ROADS = {
    "15.1": exponent_by_polyfit,
    "15.2": kl_of_the_course,
    "15.3": beta_by_regression,
    "15.5": width_left_out,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    assert said(capsys, number, OTHER_ROADS[number]).startswith(f"✓ {number} is right")


def test_the_settled_widths_are_the_minima():
    c = np.array([0.3, 1.0, 7.0, 40.0])
    np.testing.assert_allclose(find("15.4").solution[0](c), widths_by_search(c), rtol=1e-5)


def test_patient_1_settles_narrower_wherever_blur_costs():
    healthy, patient = find("15.4").solution[0](np.linspace(0.05, 500, 200))
    assert (patient < healthy).all()


def test_a_sly_kl_with_a_slope_at_zero_is_caught(capsys):
    def with_slope(mu, logvar):
        return 0.5 * (mu**2 + np.exp(logvar) - 1 - 1.5 * logvar).sum(axis=1)

    out = said(capsys, "15.5", with_slope)
    assert out.startswith("✗") and "near logvar = 0" in out
