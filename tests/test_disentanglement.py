"""Scores of codes against known factors: known answers, invariances, biases, libraries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mutual_info_score

from course_utils.disentanglement import (
    dci,
    entropies,
    importances,
    into_bins,
    mutual_information,
    mutual_information_gap,
    turning_cost,
)

SEEDS = st.integers(0, 1000)


def made(seed, n=2000, m=4):
    rng = np.random.default_rng(seed)
    return rng.random((n, m)) - 0.5, rng.normal(size=(n, m)), rng


def mig(z, factors):
    return mutual_information_gap(mutual_information(z, factors), entropies(factors)).mean()


def orthogonal(rng, k):
    return np.linalg.qr(rng.normal(size=(k, k)))[0]


# Bins and entropies --------------------------------------------------------------------------
@given(SEEDS, st.integers(2, 20))
def test_bins_hold_equally_many(seed, bins):
    values = np.random.default_rng(seed).normal(size=(997, 3))
    for column in into_bins(values, bins).T:
        counts = np.bincount(column, minlength=bins)
        assert len(counts) == bins and np.ptp(counts) <= 2


def test_bins_follow_the_order_of_the_numbers():
    values = np.array([[3.0], [-1.0], [100.0], [0.0]])
    np.testing.assert_array_equal(into_bins(values, 2)[:, 0], [1, 0, 1, 0])


def test_equal_numbers_share_a_bin_and_different_ones_do_not():
    values = np.repeat([1.0, 2.0, 5.0], [30, 50, 40])[:, None]
    cut = into_bins(values, 10)[:, 0]
    assert len(np.unique(cut)) == 3
    assert all(len(np.unique(cut[values[:, 0] == v])) == 1 for v in (1.0, 2.0, 5.0))


def test_the_entropy_of_a_continuous_factor_is_ln_of_the_bins():
    factors = made(1)[0]
    np.testing.assert_allclose(entropies(factors, bins=8), np.log(8), atol=1e-5)


def test_the_entropy_of_few_values_is_theirs():
    values = np.repeat([0.0, 1.0, 2.0], [600, 300, 100])[:, None]
    np.testing.assert_allclose(entropies(values), stats.entropy([0.6, 0.3, 0.1]))


# Mutual information --------------------------------------------------------------------------
@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(2, 12))
def test_mutual_information_is_scikit_learns_on_the_same_bins(seed, bins):
    factors, noise, _ = made(seed, n=300)
    z = factors[:, ::-1] + 0.3 * noise
    ours = mutual_information(z, factors[:, :3], bins=bins)
    for j, i in np.ndindex(ours.shape):
        a, b = into_bins(z, bins)[:, j], into_bins(factors, bins)[:, i]
        assert ours[j, i] == pytest.approx(mutual_info_score(a, b), abs=1e-10)


def test_rows_are_code_numbers_and_columns_are_factors():
    factors, noise, _ = made(2)
    information = mutual_information(np.hstack([noise, factors[:, [1]]]), factors)
    assert information.shape == (5, 4)
    assert np.unravel_index(information.argmax(), (5, 4)) == (4, 1)


def test_a_number_knows_all_of_itself():
    factors = made(3)[0]
    np.testing.assert_allclose(np.diag(mutual_information(factors, factors)), entropies(factors))


@pytest.mark.parametrize("bins", [5, 10, 20])
def test_chance_alone_gives_about_the_degrees_of_freedom_over_2n(bins):
    rng = np.random.default_rng(4)
    estimates = mutual_information(
        rng.normal(size=(4000, 12)), rng.normal(size=(4000, 12)), bins=bins
    )
    assert estimates.mean() == pytest.approx((bins - 1) ** 2 / 8000, rel=0.15)


def test_few_bins_lose_information_of_correlated_normal_numbers():
    a, b = np.random.default_rng(5).normal(size=(2, 50_000, 1))
    truth = -0.5 * np.log(1 - 0.8**2)
    found = [mutual_information(a, 0.8 * a + 0.6 * b, bins=m)[0, 0] for m in (3, 6, 12, 24)]
    assert found == sorted(found) and found[-1] < truth
    assert found[-1] == pytest.approx(truth, abs=0.03)


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_monotone_maps_signs_and_scales_change_no_information(seed):
    factors, noise, rng = made(seed, n=997)
    z = factors + 0.2 * noise
    plain = mutual_information(z, factors)
    changed = np.column_stack([5 * z[:, 0] + 3, -z[:, 1], z[:, 2] ** 3, np.exp(z[:, 3])])
    np.testing.assert_allclose(mutual_information(changed, factors), plain, atol=0.03)
    order = rng.permutation(4)
    np.testing.assert_allclose(mutual_information(z[:, order], factors), plain[order])


# MIG -----------------------------------------------------------------------------------------
def test_one_number_a_factor_scores_near_one_and_noise_near_zero():
    factors, noise, rng = made(6, n=4000)
    assert mig(np.hstack([noise, factors]), factors) > 0.97
    assert mig(rng.normal(size=(4000, 8)), factors) < 0.01


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_order_sign_and_scale_change_no_mig(seed):
    factors, noise, rng = made(seed)
    z = np.hstack([factors + 0.1 * noise, noise])
    changed = (z * rng.uniform(0.1, 9, size=8) * rng.choice([-1, 1], size=8))[:, rng.permutation(8)]
    assert mig(changed, factors) == pytest.approx(mig(z, factors), abs=0.02)


def test_the_mig_falls_as_the_code_turns_and_comes_back_after_a_quarter():
    factors, noise, _ = made(7, n=4000, m=2)
    found = []
    for angle in np.linspace(0, np.pi / 4, 5):
        c, s = np.cos(angle), np.sin(angle)
        found.append(mig(factors @ np.array([[c, s], [-s, c]]), factors))
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.95 and found[-1] < 0.03
    assert mig(factors[:, ::-1] * [1, -1], factors) == pytest.approx(found[0], abs=0.01)


def test_a_factor_said_twice_has_no_gap():
    factors = made(8)[0]
    assert mig(np.hstack([factors, factors]), factors) == pytest.approx(0, abs=1e-12)


def test_the_gap_by_hand():
    information = np.array([[1.0, 0.1], [0.4, 0.3], [0.1, 0.9]])
    gaps = mutual_information_gap(information, np.array([2.0, 3.0]))
    np.testing.assert_allclose(gaps, [0.3, 0.2])


def test_the_mig_never_exceeds_the_rate_by_the_entropies():
    rng = np.random.default_rng(9)
    for sigma in (0.1, 0.3, 0.6, 0.9):  # z = mu + σ ε with mu² + σ² = 1 on average: rate -ln σ each
        factors = rng.normal(size=(20_000, 3))
        z = np.sqrt(1 - sigma**2) * factors + sigma * rng.normal(size=(20_000, 3))
        assert mig(z, factors) <= -np.log(sigma) / np.log(10) + 0.01


# DCI -----------------------------------------------------------------------------------------
def test_dci_by_hand():
    assert dci(np.eye(3)) == pytest.approx((1, 1))
    assert dci(np.ones((4, 3))) == pytest.approx((0, 0))
    twice = np.vstack([np.eye(2), np.eye(2)]) / 2  # two numbers a factor: half of ln 4 is lost
    assert dci(twice) == pytest.approx((1, 0.5))
    one_for_all = np.array([[1.0, 1.0], [0.0, 0.0]])  # complete, and not disentangled
    assert dci(one_for_all) == pytest.approx((0, 1))


@given(SEEDS)
def test_dci_lies_in_the_unit_interval_and_order_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    importance = rng.exponential(size=(6, 4)) ** 3
    scores = np.array(dci(importance))
    assert np.all((scores >= -1e-12) & (scores <= 1 + 1e-12))
    mixed = importance[rng.permutation(6)][:, rng.permutation(4)]
    np.testing.assert_allclose(dci(mixed), scores)
    np.testing.assert_allclose(dci(3 * importance), scores)


def test_completeness_of_the_transpose_is_the_plain_disentanglement():
    importance = np.random.default_rng(10).dirichlet(np.ones(4), size=5)  # rows of equal weight
    assert dci(importance)[0] == pytest.approx(dci(importance.T)[1])


def test_forests_find_which_number_carries_which_factor():
    factors, noise, _ = made(11)
    z = np.hstack([noise, factors[:, [2, 0, 3, 1]]])
    importance, r2 = importances(z, factors)
    np.testing.assert_allclose(importance.sum(axis=0), 1)
    np.testing.assert_array_equal(importance.argmax(axis=0), [5, 7, 4, 6])
    assert r2.min() > 0.98
    assert min(dci(importance)) > 0.95
    again = importances(z, factors)
    np.testing.assert_array_equal(again[0], importance)


def test_forests_find_nothing_in_noise():
    factors, noise, _ = made(12)
    importance, r2 = importances(noise, factors)
    assert r2.max() < 0.05 and max(dci(importance)) < 0.05


def test_forests_still_find_all_after_a_turn_that_halves_disentanglement():
    factors, _, rng = made(13)
    importance, r2 = importances(factors @ orthogonal(rng, 4), factors)
    assert r2.min() > 0.9 and dci(importance)[0] < 0.7


# A turn of the code ---------------------------------------------------------------------------
@given(SEEDS)
def test_a_turn_costs_what_the_full_kl_says(seed):
    from course_utils.gaussians import kl_full

    rng = np.random.default_rng(seed)
    logvar, q = rng.uniform(-4, 1, size=(1, 4)), orthogonal(rng, 4)
    posterior = q @ np.diag(np.exp(logvar[0])) @ q.T
    best = np.diag(1 / np.diag(np.linalg.inv(posterior)))
    zero = np.zeros(4)
    cost = turning_cost(logvar, q)[0]
    assert cost == pytest.approx(kl_full(zero, best, zero, posterior), abs=1e-8)
    assert cost >= -1e-12
    for _ in range(5):  # and no other diagonal is better
        other = best * np.diag(rng.uniform(0.7, 1.4, size=4))
        assert kl_full(zero, other, zero, posterior) >= cost - 1e-9


def test_a_turn_costs_nothing_where_widths_are_equal_or_only_names_change():
    rng = np.random.default_rng(14)
    np.testing.assert_allclose(
        turning_cost(np.full((3, 4), -2.2), orthogonal(rng, 4)), 0, atol=1e-12
    )
    swap = np.eye(4)[[2, 0, 3, 1]] * [1, -1, 1, -1]
    np.testing.assert_allclose(turning_cost(rng.normal(size=(3, 4)), swap), 0, atol=1e-12)


# Refusals -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda z: into_bins(z, 1), "bins must be from 2 to"),
        (lambda z: into_bins(z[:5], 6), "bins must be from 2 to"),
        (lambda z: into_bins(z[:, 0], 6), "values must have shape"),
        (lambda z: mutual_information(z, z[:-1]), "factors must have shape"),
        (lambda z: mutual_information_gap(np.ones((3, 2)), np.ones(3)), "entropy must have shape"),
        (lambda z: mutual_information_gap(np.ones((1, 2)), np.ones(2)), "at least two rows"),
        (lambda z: importances(z[:10], z[:10]), "at least 20 rows"),
        (lambda z: dci(np.ones((1, 3))), "importance must be"),
        (lambda z: dci(-np.eye(3)), "importance must be"),
        (lambda z: dci(np.eye(3)[:, [0, 0, 1]] * [1, 1, 0]), "importance must be"),
        (lambda z: turning_cost(z, 2 * np.eye(3)), "orthogonal"),
        (lambda z: turning_cost(z, np.eye(4)), "rotation must have shape"),
    ],
)
def test_what_does_not_fit_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call(np.random.default_rng(15).normal(size=(40, 3)))


def test_information_of_columns_with_ties_is_scikit_learns():
    """Ties fill the bins unequally: then the shares of rows and columns are told apart."""
    rng = np.random.default_rng(11)
    a = rng.choice([0.0, 1.0, 2.0], p=[0.6, 0.3, 0.1], size=400)
    b = np.where(rng.uniform(size=400) < 0.7, a, rng.choice([0.0, 5.0], p=[0.2, 0.8], size=400))
    ours = mutual_information(a[:, None], b[:, None], bins=4)
    cut = [into_bins(column[:, None], 4)[:, 0] for column in (a, b)]
    shares = [np.bincount(column, minlength=4) / 400 for column in cut]
    assert np.abs(shares[0] - shares[1]).max() > 0.1
    np.testing.assert_allclose(ours, [[mutual_info_score(*cut)]], rtol=1e-12)


def test_no_information_is_zero_and_not_below():
    constant, other = np.ones((40, 1)), np.arange(40.0)[:, None]
    assert mutual_information(constant, other, bins=2) == 0


def test_a_number_that_serves_nothing_has_no_weight():
    """By hand: rows (3, 1) and (0, 0); the second row's shares count as even, with weight 0."""
    importance = np.array([[3.0, 1.0], [0.0, 0.0]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    disentangled, complete = dci(importance)
    assert disentangled == pytest.approx(1 - entropy / np.log(2), rel=1e-12)
    assert complete == pytest.approx(1, rel=1e-12)


def test_importances_below_zero_and_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="no entry below 0"):
        dci(np.array([[1.0, 1.0], [1.0, -0.5]]))
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20, 2))
    importances(z, z)
    with pytest.raises(ValueError, match="at least 20 rows, got 19"):
        importances(z[:19], z[:19])
    with pytest.raises(ValueError, match="seed"):
        importances(z, z, seed=-1)


def test_the_forests_are_those_that_the_docstring_names():
    """Half of the rows train ten trees with at least five rows in a leaf; the others test them."""
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(5)
    z = rng.normal(size=(60, 3))
    factor = z[:, 0] ** 2 + 0.1 * rng.normal(size=60)
    importance, scores = importances(z, factor[:, None], seed=7)
    forest = RandomForestRegressor(n_estimators=10, min_samples_leaf=5, random_state=7)
    forest.fit(z[:30], factor[:30])
    np.testing.assert_allclose(importance[:, 0], forest.feature_importances_)
    np.testing.assert_allclose(scores, [forest.score(z[30:], factor[30:])])


def test_a_matrix_that_stretches_is_no_rotation():
    with pytest.raises(ValueError, match="orthogonal"):
        turning_cost(np.zeros((2, 2)), np.eye(2) * 1.2)


def test_columns_without_relation_have_no_information_below_zero():
    """Two digits in base 5 of 0 … 24: rounding alone would leave -2e-16."""
    i = np.arange(25.0)
    information = mutual_information((i % 5)[:, None], (i // 5)[:, None], bins=5)
    assert 0 <= information[0, 0] < 1e-15


def test_importances_of_zero_give_no_warning():
    with np.errstate(all="raise"):
        assert dci(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])) == (1.0, 1.0)
