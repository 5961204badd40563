"""The exercises of chapter 11: a right answer by another road passes."""

import numpy as np
import pytest

from course_utils.exercises import check
from course_utils.exercises.answers import find
from course_utils.gaussians import (
    exact_posterior,
    kl_to_standard_normal,
    log_density,
    log_marginal,
)


def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def kl_by_library(mu, sigma, tau):
    torch = pytest.importorskip("torch")
    normal = torch.distributions.Normal
    q = normal(torch.tensor(mu), torch.tensor(sigma))
    return torch.distributions.kl_divergence(q, normal(0.0, tau)).sum(dim=-1)


def kl_in_other_coordinates(mu, cov, mu_p, cov_p):
    """Make p standard normal first: a KL does not depend on the coordinates."""
    root = np.linalg.inv(np.linalg.cholesky(cov_p))
    s, m = root @ cov @ root.T, root @ (mu - mu_p)
    return (np.trace(s) + m @ m - len(m) - np.log(np.linalg.det(s))) / 2


def conditional_variances(cov):
    """One over the precision is the variance of one number, the others held still."""
    k, found = len(cov), []
    for j in range(k):
        rest = [i for i in range(k) if i != j]
        given = cov[j, rest] @ np.linalg.solve(cov[np.ix_(rest, rest)], cov[rest, j])
        found.append(np.log(cov[j, j] - given))
    return found


def least_squares_code(x, model):
    mu = np.linalg.lstsq(model.dec_w.T, (x - model.dec_b).T, rcond=None)[0].T
    return mu, 0 * mu


OTHER_ROADS = {
    "11.1": kl_by_library,
    "11.2": lambda w, d: [0.5 * d / w, 0.5 * d * (np.log(np.pi) + np.log(d) - np.log(w))],
    "11.3": lambda elbo, d, scale: -np.log2(np.exp(elbo / d) / scale),
    "11.4": kl_in_other_coordinates,
    "11.5": conditional_variances,
    "11.6": least_squares_code,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    if number == "11.1":
        pytest.importorskip("torch")  # beforehand: on a busy machine it may take ten seconds
    assert said(capsys, number, OTHER_ROADS[number]).startswith("✓")


def test_the_hint_of_the_gradient_solves_exercise_5():
    """Where the gradient for logvar of the chapter vanishes, logvar is the answer of 11.5."""
    case = find("11.6").cases()[1]
    _, cov = exact_posterior(case["x"], case["model"])
    w, c = case["model"].dec_w, case["model"].c
    from_gradient = -np.log(1 + (w**2).sum(axis=1) / c)
    np.testing.assert_allclose(find("11.5").solution[0](cov), from_gradient, rtol=1e-10)


@pytest.mark.parametrize("case", find("11.6").cases())
def test_the_mean_code_flatters_by_half_the_log_determinant_and_by_less_off_the_posterior(case):
    x, model = case["x"], case["model"]
    mu, logvar = find("11.6").solution[0](x, model)
    most = 0.5 * np.linalg.slogdet(np.eye(mu.shape[1]) + model.dec_w @ model.dec_w.T / model.c)[1]

    def excess(mu, logvar):
        x_hat, log_c = mu @ model.dec_w + model.dec_b, np.full(x.shape, np.log(model.c))
        fake = log_density(x, x_hat, log_c) - kl_to_standard_normal(mu, logvar)
        return fake - log_marginal(x, model)

    np.testing.assert_allclose(excess(mu, logvar), most, rtol=1e-9)
    for step in np.random.default_rng(1).normal(size=(9, 2, *mu.shape)):
        assert np.all(excess(mu + step[0], logvar + step[1]) < most)
