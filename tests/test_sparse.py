"""Sparse autoencoders against definitions, differences and reference implementations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

torch = pytest.importorskip("torch")

from course_utils import training  # noqa: E402
from course_utils.autoencoders import sparse as sp  # noqa: E402
from course_utils.autoencoders import squared_error_loss  # noqa: E402
from course_utils.exercises import check  # noqa: E402

seeds = st.integers(0, 2**32 - 1)
# few values, both signs: magnitudes tie all the time
tied = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.sampled_from([-2.0, -1.0, 1.0, 2.0]),
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    from course_utils import runtime

    with runtime.threads(1):
        yield


def drawn(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=shape)) for shape in shapes]


# k_largest ---------------------------------------------------------------------------------------
@given(a=tied, data=st.data())
@settings(deadline=None)
def test_exactly_k_numbers_a_row_survive_ties_included(a, data):
    k = data.draw(st.integers(1, a.shape[1]))
    z = sp.k_largest(torch.from_numpy(a), k).numpy()
    np.testing.assert_array_equal((z != 0).sum(axis=1), k)
    assert np.all((z == 0) | (z == a))


@given(a=tied, data=st.data())
@settings(deadline=None)
def test_the_survivors_are_largest_in_magnitude(a, data):
    k = data.draw(st.integers(1, a.shape[1]))
    z = sp.k_largest(torch.from_numpy(a), k).numpy()
    np.testing.assert_array_equal(
        np.sort(np.abs(z), axis=1)[:, ::-1][:, :k], np.sort(np.abs(a), axis=1)[:, ::-1][:, :k]
    )


@given(a=tied, data=st.data(), seed=seeds)
@settings(deadline=None)
def test_gradient_is_the_one_from_above_where_a_number_survived_and_zero_elsewhere(a, data, seed):
    k = data.draw(st.integers(1, a.shape[1]))
    a = torch.from_numpy(a).requires_grad_()
    (upstream,) = drawn(seed, a.shape)
    z = sp.k_largest(a, k)
    z.backward(upstream)
    assert torch.equal(a.grad, torch.where(z != 0, upstream, 0.0))
    assert torch.equal((a.grad != 0).sum(dim=1), torch.full((len(a),), k))


def test_gradient_agrees_with_central_differences():
    (a,) = drawn(1, (6, 9))
    assert torch.autograd.gradcheck(lambda a: sp.k_largest(a, 4), a.requires_grad_())


def test_k_equal_to_the_width_changes_nothing_and_the_argument_stays_as_it_was():
    (a,) = drawn(2, (3, 5))
    before = a.clone()
    assert torch.equal(sp.k_largest(a, 5), a)
    sp.k_largest(a, 2)
    assert torch.equal(a, before)


def test_infinite_numbers_are_large_and_do_not_become_nan():
    a = torch.tensor([[1.0, -math.inf, 2.0]])
    assert torch.equal(sp.k_largest(a, 1), torch.tensor([[0.0, -math.inf, 0.0]]))


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_out_of_range_is_named(k):
    with pytest.raises(ValueError, match=f"k must be from 1 to 3, the number of units, got {k}"):
        sp.k_largest(torch.ones(2, 3), k)


def test_codes_must_be_a_matrix():
    with pytest.raises(ValueError, match="a must have shape"):
        sp.k_largest(torch.ones(3), 1)


@given(seed=seeds, k=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_for_orthonormal_directions_no_other_choice_is_better(seed, k):
    """Equation 6.1: keeping the k largest in magnitude is the best k-term approximation."""
    x, basis = drawn(seed, (1, 5), (5, 5))
    u = torch.linalg.qr(basis).Q
    c = x @ u.T
    best = ((x - sp.k_largest(c, k) @ u) ** 2).sum()
    for chosen in itertools.combinations(range(5), k):
        x_hat = c[:, list(chosen)] @ u[list(chosen)]
        assert best <= ((x - x_hat) ** 2).sum() + 1e-12


# the model ---------------------------------------------------------------------------------------
@given(n=st.integers(1, 5), d=st.integers(1, 6), m=st.integers(1, 9), data=st.data())
@settings(max_examples=25, deadline=None)
def test_the_model_is_its_equation(n, d, m, data):
    k = data.draw(st.integers(1, m))
    model = sp.SparseAutoencoder(d, m, k=k).double()
    (x,) = drawn(3, (n, d))
    w, b = model.encoder.weight.T, model.encoder.bias
    v = model.directions / model.directions.norm(dim=1, keepdim=True)
    expected = sp.k_largest(x @ w + b, k) @ v + model.offset
    torch.testing.assert_close(model(x), expected)
    assert model(x).shape == (n, d) and model.encode(x).shape == (n, m)


@pytest.mark.parametrize("length", [1.0, 0.3, 5.0])
def test_rows_have_their_length_whatever_training_does_to_the_directions(length):
    model = sp.SparseAutoencoder(6, 9, row_length=length)
    with torch.no_grad():
        model.directions.mul_(7.0).add_(0.1)
    torch.testing.assert_close(model.rows().norm(dim=1), torch.full((9,), length))


def test_free_rows_are_the_parameter_itself():
    model = sp.SparseAutoencoder(6, 9, row_length=None)
    assert model.rows() is model.directions


def test_without_k_all_numbers_pass_through_the_activation():
    model = sp.SparseAutoencoder(6, 9, activation=torch.relu)
    (x,) = drawn(4, (5, 6))
    x = x.float()
    torch.testing.assert_close(model.encode(x), torch.relu(model.encoder(x)))


@pytest.mark.parametrize("k", [0, 10, -2])
def test_a_model_refuses_a_k_out_of_range(k):
    with pytest.raises(ValueError, match="k must be from 1 to 9"):
        sp.SparseAutoencoder(6, 9, k=k)


def test_data_of_another_width_are_refused():
    with pytest.raises(ValueError, match="x must have shape"):
        sp.SparseAutoencoder(6, 9).encode(torch.ones(2, 5))


@pytest.mark.parametrize(
    ("k", "activation", "bias"),
    [(None, None, 0.0), (3, None, 0.0), (None, torch.relu, 0.0), (None, torch.sigmoid, -3.0)],
)
def test_start_points_both_halves_one_way(k, activation, bias):
    model = sp.SparseAutoencoder(6, 9, k=k, activation=activation)
    directions, x = (part.float() for part in drawn(5, (9, 6), (40, 6)))
    sp.start_from(model, 3 * directions, x - x.mean(dim=0), bias=bias)
    unit = directions / directions.norm(dim=1, keepdim=True)
    torch.testing.assert_close(model.rows(), unit)
    factors = (model.encoder.weight * unit).sum(dim=1)
    torch.testing.assert_close(model.encoder.weight, factors.mean() * unit)
    assert factors.min() > 0 and torch.all(model.encoder.bias == bias)


@pytest.mark.parametrize(("k", "activation"), [(None, None), (3, None), (None, torch.relu)])
def test_the_first_reconstructions_have_the_right_size(k, activation):
    model = sp.SparseAutoencoder(6, 9, k=k, activation=activation)
    directions, x = (part.float() for part in drawn(6, (9, 6), (40, 6)))
    x = x - x.mean(dim=0)
    sp.start_from(model, directions, x)
    x_hat = model(x) - model(x).mean(dim=0)
    torch.testing.assert_close((x * x_hat).sum(), (x_hat**2).sum())  # least-squares factor 1


def test_start_refuses_directions_of_another_shape():
    with pytest.raises(ValueError, match="directions must have shape"):
        sp.start_from(sp.SparseAutoencoder(6, 9), torch.ones(8, 6), torch.ones(3, 6))


def test_unused_units_are_those_that_are_zero_for_every_row():
    model = sp.SparseAutoencoder(4, 30, k=2)
    (x,) = drawn(7, (6, 4))
    x = x.float()
    unused = sp.unused_units(model, x)
    codes = model.encode(x).detach().numpy()
    np.testing.assert_array_equal(unused.numpy(), ~codes.any(axis=0))
    assert 30 - 2 * len(x) <= unused.sum() < 30 and not unused.requires_grad


def test_a_unit_that_is_never_kept_gets_no_gradient():
    model = sp.SparseAutoencoder(4, 30, k=2)
    (x,) = drawn(8, (6, 4))
    squared_error_loss(model, x.float()).backward()
    unused = sp.unused_units(model, x.float())
    assert unused.any()
    for gradient in (model.encoder.weight.grad, model.encoder.bias.grad, model.directions.grad):
        assert not gradient[unused].any()


def test_it_trains_and_every_code_keeps_k_numbers():
    torch.manual_seed(0)
    x = torch.randn(200, 3) @ torch.randn(3, 12)
    x = x - x.mean(dim=0)
    model = sp.SparseAutoencoder(12, 20, k=3)
    sp.start_from(model, x[:20], x)
    before = float(squared_error_loss(model, x).detach())
    training.fit(model, squared_error_loss, x, epochs=60, rate=1e-2, progress=False, device="cpu")
    assert float(squared_error_loss(model, x).detach()) < before / 2
    assert torch.all((model.encode(x) != 0).sum(dim=1) == 3)


# penalties ---------------------------------------------------------------------------------------
inside = st.floats(0.001, 0.999)


@given(target=inside, average=inside)
@settings(deadline=None)
def test_kl_of_two_coins_is_pytorchs(target, average):
    coin = torch.distributions.Bernoulli
    double = {"dtype": torch.float64}
    p, q = torch.tensor(target, **double), torch.tensor(average, **double)
    library = torch.distributions.kl_divergence(coin(p), coin(q))
    torch.testing.assert_close(sp.bernoulli_kl(target, q), library, rtol=1e-6, atol=1e-9)


@given(target=inside, average=inside)
@settings(deadline=None)
def test_kl_is_positive_and_zero_only_at_the_target(target, average):
    q = torch.tensor([average, target], dtype=torch.float64)
    apart, same = sp.bernoulli_kl(target, q)
    assert same == pytest.approx(0, abs=1e-12) and apart >= -1e-12
    if abs(target - average) > 1e-3:
        assert apart > 1e-7


def test_kl_in_nats_at_a_known_point():
    # a fair coin as seen from a biased one: 0.9 ln 1.8 + 0.1 ln 0.2
    value = sp.bernoulli_kl(0.9, torch.tensor(0.5, dtype=torch.float64))
    assert float(value) == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2), rel=1e-12)


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_target_must_be_a_probability_that_is_neither_0_nor_1(target):
    with pytest.raises(ValueError, match="target must lie inside"):
        sp.bernoulli_kl(target, torch.tensor(0.5))


@given(target=inside, shift=st.sampled_from([-1e-4, 1e-4]))
@settings(deadline=None)
def test_near_the_target_kl_is_the_squared_gap_over_twice_the_variance(target, shift):
    target = min(max(target, 0.05), 0.95)
    q = torch.tensor(target + shift, dtype=torch.float64)
    ratio = sp.bernoulli_kl(target, q) / sp.squared_gap(target, q)
    assert float(ratio) == pytest.approx(1 / (2 * target * (1 - target)), rel=1e-2)


GAPS = [sp.bernoulli_kl, sp.absolute_gap, sp.squared_gap]
each_gap = pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.__name__)


@each_gap
def test_units_that_idle_at_the_target_pay_nothing(gap):
    z = torch.full((10, 4), 0.05, dtype=torch.float64)
    torch.testing.assert_close(
        sp.on_average(gap, 0.05)(z), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0
    )


@each_gap
@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_batches_pay_at_least_what_all_the_data_pay(gap, seed):
    z = torch.sigmoid(drawn(seed, (12, 5))[0])
    penalty = sp.on_average(gap, 0.2)
    batches = torch.stack([penalty(part) for part in z.split(3)]).mean(dim=0)
    assert torch.all(batches >= penalty(z) - 1e-12)


@given(seed=seeds, n=st.integers(1, 6), m=st.integers(1, 6))
@settings(deadline=None)
def test_penalties_on_each_number_are_means_over_rows(seed, n, m):
    (z,) = drawn(seed, (n, m))
    np.testing.assert_allclose(sp.l1_penalty(z), np.abs(z.numpy()).sum(axis=0) / n)
    np.testing.assert_allclose(sp.l2_penalty(z), np.square(z.numpy()).sum(axis=0) / n)


def test_for_codes_that_are_not_negative_l1_on_each_number_is_l1_on_averages_with_target_zero():
    z = torch.relu(drawn(9, (8, 5))[0])
    torch.testing.assert_close(sp.on_average(sp.absolute_gap, 0.0)(z), sp.l1_penalty(z))


@pytest.mark.parametrize("weight", [0.7, torch.arange(9.0, dtype=torch.float64)])
def test_the_loss_is_mean_error_plus_weighted_sum_over_units(weight):
    model = sp.SparseAutoencoder(6, 9, activation=torch.sigmoid).double()
    (x,) = drawn(10, (7, 6))
    z, x_hat = model.encode(x).detach().numpy(), model(x).detach().numpy()
    error = sum(np.linalg.norm(a - b) ** 2 for a, b in zip(x.numpy(), x_hat, strict=True)) / 7
    weights = np.broadcast_to(np.asarray(weight), 9)
    penalty = sum(w * (0.05 - rho) ** 2 for w, rho in zip(weights, z.mean(axis=0), strict=True))
    loss = sp.sparse_loss(sp.on_average(sp.squared_gap, 0.05), weight)
    assert float(loss(model, x).detach()) == pytest.approx(error + penalty, rel=1e-10)


@pytest.mark.parametrize(
    "penalty", [sp.on_average(sp.bernoulli_kl, 0.1), sp.l1_penalty, sp.l2_penalty]
)
def test_gradients_of_the_loss_agree_with_central_differences(penalty):
    model = sp.SparseAutoencoder(4, 6, activation=torch.sigmoid).double()
    (x,) = drawn(11, (5, 4))
    loss = sp.sparse_loss(penalty, 0.5)

    def of_directions(directions):
        return torch.func.functional_call(
            _Loss(model, loss, x), {"model.directions": directions}, ()
        )

    directions = model.directions.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(of_directions, directions)
    loss(model, x).backward()
    w = model.encoder.weight
    step = 1e-6
    with torch.no_grad():
        w[2, 1] += step
        up = loss(model, x)
        w[2, 1] -= 2 * step
        down = loss(model, x)
    assert float(w.grad[2, 1]) == pytest.approx(float((up - down) / (2 * step)), rel=1e-5, abs=1e-8)


class _Loss(torch.nn.Module):
    def __init__(self, model, loss, x):
        super().__init__()
        self.model, self.loss, self.x = model, loss, x

    def forward(self):
        return self.loss(self.model, self.x)


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.__name__)
def test_training_brings_every_unit_to_the_stated_average(gap):
    torch.manual_seed(1)
    x = torch.rand(300, 8) - 0.5
    model = sp.SparseAutoencoder(8, 16, activation=torch.sigmoid)
    loss = sp.sparse_loss(sp.on_average(gap, 0.2), 5.0)
    training.fit(model, loss, x, epochs=60, rate=2e-2, progress=False, device="cpu")
    averages = model.encode(x).detach().mean(dim=0)
    torch.testing.assert_close(averages, torch.full((16,), 0.2), atol=0.05, rtol=0)


# right answers by another road -------------------------------------------------------------------
def _put(a, k, upstream):
    places = np.argsort(np.abs(a), axis=1)[:, -k:]
    gradient = np.zeros_like(a)
    np.put_along_axis(gradient, places, np.take_along_axis(upstream, places, axis=1), axis=1)
    return gradient


def _autograd(a, k, upstream):
    a = torch.tensor(a, requires_grad=True)
    sp.k_largest(a, k).backward(torch.tensor(upstream))
    return a.grad


def _kl_autograd(z, target):
    z = torch.tensor(z, requires_grad=True)
    sp.on_average(sp.bernoulli_kl, target)(z).sum().backward()
    return z.grad


def _factor_by_factor(z, rows, price):
    factors = np.linspace(1, 2, z.shape[1])  # another factor for each unit
    factors *= price / (np.abs(z) * factors).sum(axis=1).mean()
    return [z * factors, rows / factors[:, None]]


def _bits_by_gamma(z, bits):
    m, k = z.shape[1], np.count_nonzero(z, axis=1)
    ln = [math.lgamma(m + 1) - math.lgamma(i + 1) - math.lgamma(m - i + 1) for i in k]
    return np.mean(np.array(ln) / np.log(2) + k * bits)


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("06.1", _put),
        ("06.1", _autograd),
        ("06.2", lambda a, w: np.where(a > w / 2, a - w / 2, np.where(a < -w / 2, a + w / 2, 0))),
        ("06.2", lambda a, w: a - np.clip(a, -w / 2, w / 2)),
        ("06.3", _kl_autograd),
        ("06.4", _factor_by_factor),
        ("06.5", _bits_by_gamma),
    ],
)
def test_a_right_answer_by_another_road_passes(number, answer, capsys):
    check(number, answer)
    assert capsys.readouterr().out.startswith("✓")


def test_a_code_of_zeros_gives_the_offset():
    model = sp.SparseAutoencoder(3, 4)
    with torch.no_grad():
        model.offset.copy_(torch.tensor([1.0, -2.0, 3.0]))
    torch.testing.assert_close(model.decode(torch.zeros(1, 4)), model.offset[None])


def test_a_code_has_a_number_at_least():
    with pytest.raises(ValueError, match="n_units"):
        sp.SparseAutoencoder(3, 0)
