"""Chapter 20: quantisers, the prior over codes; other right answers pass, cheats do not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from course_utils.exercises import check
from course_utils.exercises.answers import find

torch = pytest.importorskip("torch")

from course_utils.discrete import (  # noqa: E402
    VQVAE,
    CodePrior,
    FiniteScalar,
    MovingQuantiser,
    VectorQuantiser,
    code_loss,
    nearest_value,
    perplexity,
    squares,
    straight_through,
    vq_loss,
)

SEEDS = st.integers(0, 1000)
few = settings(max_examples=20, deadline=None)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


# Choices -----------------------------------------------------------------------------------------
@few
@given(SEEDS, st.integers(1, 9), st.integers(1, 5))
def test_nearest_is_the_smallest_of_all_distances(seed, k, r):
    z, codebook = normal(4, 3, r, seed=seed), normal(k, r, seed=seed + 1)
    distances = ((z[..., None, :] - codebook) ** 2).sum(dim=-1)  # (4, 3, K)
    found = nearest_value(z, codebook)
    assert found.shape == (4, 3)
    assert torch.allclose(distances.gather(2, found[..., None])[..., 0], distances.amin(dim=2))


def test_straight_through_has_the_value_of_e_and_the_gradient_of_z():
    z, e = normal(5, 2).requires_grad_(), normal(5, 2, seed=1).requires_grad_()
    out = straight_through(z, e)
    assert torch.allclose(out, e)
    (out**3).sum().backward()
    assert torch.allclose(z.grad, 3 * e.detach() ** 2, atol=1e-5)
    assert e.grad is None
    with pytest.raises(ValueError, match=r"e must have the shape of z"):
        straight_through(z, e[:, :1])


@few
@given(SEEDS, st.integers(2, 20))
def test_perplexity_is_the_exponential_of_the_entropy(seed, k):
    codes = np.random.default_rng(seed).integers(0, k, size=(7, 4))
    shares = np.bincount(codes.ravel(), minlength=k) / codes.size
    found = perplexity(torch.from_numpy(codes), k)
    assert found == pytest.approx(np.exp(stats.entropy(shares)))
    assert 1 <= found <= k


def test_perplexity_of_one_value_and_of_all():
    assert perplexity(torch.zeros(3, 2, dtype=torch.long), 5) == pytest.approx(1)
    assert perplexity(torch.arange(5), 5) == pytest.approx(5)


@pytest.mark.parametrize("codes", [[-1, 0], [0, 3], []])
def test_perplexity_refuses_what_is_no_value(codes):
    with pytest.raises(ValueError, match=r"codes must be .* from 0 to 2"):
        perplexity(torch.tensor(codes, dtype=torch.long), 3)


# Codebooks ---------------------------------------------------------------------------------------
@few
@given(SEEDS, st.sampled_from([0.0, 0.25, 2.0]))
def test_gradients_are_those_of_the_exercise(seed, commitment):
    torch.manual_seed(seed)
    quantiser = VectorQuantiser(5, 3, commitment=commitment)
    z, upstream = normal(1, 7, 3, seed=seed).requires_grad_(), normal(1, 7, 3, seed=seed + 1)
    e, codes, penalty = quantiser(z)
    assert torch.equal(codes, nearest_value(z, quantiser.codebook))
    ((upstream * e).sum() + penalty).backward()
    inputs = (z.detach()[0], quantiser.codebook.detach(), upstream[0])
    expected = find("20.2").solution[0](*(a.numpy() for a in inputs), commitment)
    assert np.allclose(z.grad[0], expected[0], atol=1e-4)
    assert np.allclose(quantiser.codebook.grad, expected[1], atol=1e-4)


def test_the_penalty_is_a_sum_over_codes_and_a_mean_over_images():
    z = normal(4, 3, 2)
    quantiser = VectorQuantiser(6, 2, commitment=0.5)
    e = quantiser.codebook[nearest_value(z, quantiser.codebook)]
    assert quantiser(z)[2].item() == pytest.approx(1.5 * ((z - e) ** 2).sum().item() / 4, rel=1e-5)
    assert squares(z).item() == pytest.approx((z**2).sum().item() / 4, rel=1e-5)


@few
@given(SEEDS, st.floats(0, 0.999))
def test_moving_averages_take_the_step_of_20_10(seed, decay):
    torch.manual_seed(seed)
    quantiser = MovingQuantiser(4, 2, decay=decay)
    quantiser(normal(3, 5, 2, seed=seed))  # counts that are no longer equal
    before, counts = quantiser.codebook.clone(), quantiser.counts.clone()
    z = normal(20, 3, 2, seed=seed + 1)
    codes = nearest_value(z, before).flatten()
    quantiser(z)
    for j in range(4):
        chose = z.flatten(0, 1)[codes == j]
        if len(chose) == 0:
            assert torch.allclose(quantiser.codebook[j], before[j], atol=1e-5)
            continue
        step = (1 - decay) * len(chose) / (decay * counts[j] + (1 - decay) * len(chose))
        goal = before[j] + step * (chose.mean(dim=0) - before[j])
        assert torch.allclose(quantiser.codebook[j], goal, atol=1e-4)


def test_moving_averages_rest_in_evaluation_and_get_no_gradient():
    quantiser = MovingQuantiser(4, 2).eval()
    before = {name: value.clone() for name, value in quantiser.state_dict().items()}
    z = normal(3, 5, 2).requires_grad_()
    quantiser(z)[2].backward()
    assert all(torch.equal(value, before[name]) for name, value in quantiser.state_dict().items())
    assert quantiser.codebook.grad is None
    assert z.grad.abs().max() > 0


def test_a_row_that_is_idle_for_ever_stays_where_it_is():
    quantiser = MovingQuantiser(2, 1, decay=0.5)
    quantiser.place(torch.tensor([[0.0], [100.0]]))
    for _ in range(2000):  # 0.5 to this power is 0
        quantiser(torch.full((2, 1, 1), 0.3))
    assert quantiser.codebook[1].item() == pytest.approx(100)
    assert quantiser.codebook[0].item() == pytest.approx(0.3)


def test_restarts_place_idle_rows_on_vectors_of_the_batch_and_leave_the_others():
    quantiser = MovingQuantiser(3, 2, decay=0.9, restart=1.0)
    quantiser.place(torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]]))
    z = normal(10, 4, 2)
    quantiser(z, noise())
    rows = z.flatten(0, 1)
    for j in (1, 2):
        assert (rows - quantiser.codebook[j]).abs().sum(dim=1).min() < 1e-5
    step = 0.1 * 40 / (0.9 + 0.1 * 40)
    assert torch.allclose(quantiser.codebook[0], step * rows.mean(dim=0), atol=1e-5)
    assert torch.equal(quantiser.counts[1:], torch.ones(2))


def test_the_restarts_are_those_of_the_generator():
    def books(seed):
        torch.manual_seed(4)
        quantiser = MovingQuantiser(5, 2, restart=1.0)
        quantiser.place(30 + quantiser.codebook)
        quantiser(normal(10, 4, 2), noise(seed))
        return quantiser.codebook

    assert torch.equal(books(1), books(1))
    assert not torch.equal(books(1), books(2))


def test_a_codebook_is_placed_and_looked_up():
    quantiser = MovingQuantiser(3, 2)
    quantiser.place(normal(3, 2, seed=5))
    assert torch.equal(quantiser.codebook, normal(3, 2, seed=5))
    assert torch.equal(quantiser.lookup(torch.tensor([[2, 0]]))[0, 0], quantiser.codebook[2])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: VectorQuantiser(4, 2, commitment=-0.1), "commitment must be at least 0"),
        (lambda: VectorQuantiser(0, 2), "n_values"),
        (lambda: MovingQuantiser(4, 2, decay=1.0), r"decay must be in \[0, 1\)"),
        (lambda: MovingQuantiser(4, 2, restart=-1.0), "restart must be at least 0"),
        (lambda: FiniteScalar((4, 1)), "levels"),
        (lambda: CodePrior(3, 5, hidden=0), "hidden"),
    ],
)
def test_a_number_out_of_its_range_is_named(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# Finite scalars ----------------------------------------------------------------------------------
@few
@given(SEEDS, st.lists(st.integers(2, 6), min_size=1, max_size=4))
def test_finite_scalars_lie_on_their_levels_and_are_found_again(seed, levels):
    quantiser = FiniteScalar(levels)
    z = 2 * normal(6, 3, len(levels), seed=seed)
    e, codes, penalty = quantiser(z)
    assert torch.allclose(quantiser.lookup(codes), e, atol=1e-6)
    assert penalty == 0
    for i, n in enumerate(levels):
        grid = torch.linspace(-1, 1, n)
        gaps = (torch.tanh(z[..., i, None]) - grid).abs()
        assert torch.allclose(
            (e[..., i] - torch.tanh(z[..., i])).abs(), gaps.amin(dim=2), atol=1e-5
        )
    every = quantiser.lookup(torch.arange(quantiser.n_values)[None])[0]
    assert quantiser.n_values == math.prod(levels) == len(torch.unique(every, dim=0))


def test_the_gradient_of_a_finite_scalar_is_that_of_its_tanh():
    z = normal(2, 3, 2).requires_grad_()
    FiniteScalar((4, 5))(z)[0].sum().backward()
    assert torch.allclose(z.grad, 1 - torch.tanh(z.detach()) ** 2, atol=1e-6)


# The autoencoder and the prior -------------------------------------------------------------------
def test_the_loss_is_the_squared_error_of_what_the_codes_give_and_the_penalty():
    torch.manual_seed(3)
    model = VQVAE(6, 5, 3, VectorQuantiser(4, 2))
    x = normal(7, 6).sigmoid()
    codes = model.codes(x)
    assert codes.shape == (7, 3)
    x_hat = model.decode(model.quantiser.lookup(codes))
    expected = ((x - x_hat) ** 2).sum() / 7 + model.quantiser(model.encode(x))[2]
    assert vq_loss(model, x).item() == pytest.approx(expected.item(), rel=1e-5)


def lists(m, k):
    return torch.cartesian_prod(*[torch.arange(k)] * m).view(-1, m)


@few
@given(SEEDS, st.integers(1, 4), st.integers(2, 3))
def test_a_prior_gives_all_lists_together_probability_one(seed, m, k):
    torch.manual_seed(seed)
    prior = CodePrior(m, k, hidden=3).double()
    with torch.no_grad():
        log_p = [-code_loss(prior, one[None]).item() for one in lists(m, k)]
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-9)


def test_a_place_sees_all_places_before_it_and_no_other():
    torch.manual_seed(1)
    prior, codes = CodePrior(5, 4, hidden=8), torch.zeros(1, 5, dtype=torch.long)
    for i in range(5):
        changed = codes.clone()
        changed[0, i] = 2
        moved = (prior(changed) - prior(codes)).abs().amax(dim=(0, 2)) > 0
        assert moved.tolist() == [j > i for j in range(5)]


def test_samples_come_as_often_as_the_prior_says():
    torch.manual_seed(2)
    prior = CodePrior(2, 3, hidden=8)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.mul_(4)  # far from uniform
        p = np.exp([-code_loss(prior, one[None]).item() for one in lists(2, 3)])
    drawn = prior.sample(20_000, noise())
    shares = np.bincount((3 * drawn[:, 0] + drawn[:, 1]).numpy(), minlength=9) / 20_000
    assert np.abs(p - 1 / 9).max() > 0.05
    assert shares == pytest.approx(p, abs=0.015)


def test_the_loss_of_codes_is_the_bits_of_the_exercise_in_nats():
    torch.manual_seed(5)
    prior, codes = CodePrior(4, 6, hidden=5), torch.arange(12).view(3, 4) % 6
    with torch.no_grad():
        bits = find("20.4").solution[0](prior(codes).numpy(), codes.numpy())
        assert code_loss(prior, codes.float()).item() / math.log(2) == pytest.approx(bits, rel=1e-5)


# Exercises ---------------------------------------------------------------------------------------
def test_a_ball_that_rolls_comes_to_rest_where_the_exercise_says():
    for case in find("20.1").cases():
        values, slopes, commitment = (np.asarray(v) for v in case.values())
        expected = find("20.1").solution[0](values, slopes, commitment)
        for j, start in enumerate(values):
            z, left = float(start), False
            for _ in range(400):
                z -= 0.05 * (slopes[j] / (2 * commitment) + z - start)
                left = left or int(np.abs(z - values).argmin()) != j
            assert left == np.isinf(expected[j])
            assert left or z == pytest.approx(expected[j], abs=1e-3)


def test_the_limit_is_that_of_straight_through_gumbel():
    case = find("20.5").cases()[1]
    logits, values, slopes = (torch.from_numpy(v) for v in case.values())
    uniform = torch.rand(1_000_000, len(values), generator=noise(), dtype=torch.float64)
    noisy = logits - torch.log(-torch.log(uniform))
    y = torch.softmax(noisy / 0.03, dim=1)
    soft = y @ values
    sampled = slopes[noisy.argmax(dim=1)][:, None] * y * (values - soft[:, None]) / 0.03
    error = sampled.std(dim=0) / 1000
    off = (sampled.mean(dim=0).numpy() - find("20.5").solution[0](*case.values())) / error.numpy()
    assert np.abs(off).max() < 5


def loops_20_1(values, slopes, commitment):
    out = []
    for e, s in zip(values, slopes, strict=True):
        z = e - s / 2 / commitment
        inside = all(abs(z - e) <= abs(z - other) for other in values)
        out.append(float(z) if inside else math.inf)
    return out


def autograd_20_2(z, codebook, upstream, commitment):
    z = torch.tensor(np.asarray(z), requires_grad=True)
    book = torch.tensor(np.asarray(codebook), requires_grad=True)
    e = book[torch.cdist(z, book).argmin(dim=1)]
    loss = (torch.as_tensor(np.asarray(upstream)) * straight_through(z, e)).sum()
    loss = loss + ((z.detach() - e) ** 2).sum() + commitment * ((z - e.detach()) ** 2).sum()
    loss.backward()
    return z.grad, book.grad


def scipy_20_3(codes, n_values):
    def one(column):
        return np.exp(stats.entropy(np.unique(column, return_counts=True)[1]))

    return [one(column) for column in np.asarray(codes).T], one(codes)


def torch_20_4(logits, codes):
    table = torch.as_tensor(logits).transpose(1, 2)
    total = torch.nn.functional.cross_entropy(table, torch.as_tensor(codes), reduction="sum")
    return total / len(codes) / math.log(2)


def einsum_20_5(logits, values, slopes):
    p = special.softmax(logits)
    gaps = np.subtract.outer(values, values)
    return 0.5 * np.einsum("i,j,ij,ij->i", p, p, np.add.outer(slopes, slopes), gaps)


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("20.1", loops_20_1),
        ("20.2", autograd_20_2),
        ("20.3", scipy_20_3),
        ("20.4", torch_20_4),
        ("20.5", einsum_20_5),
        ("20.5", lambda *case: einsum_20_5(*case).astype(np.float32)),
    ],
)
def test_another_right_answer_passes(number, answer, capsys):
    check(number, answer)
    assert "is right" in capsys.readouterr().out


def always_rests_if_closest_is_far(values, slopes, commitment):
    places = values - slopes / (2 * commitment)
    return np.where(np.abs(places - values) < 1, places, math.inf)


def pulls_nearest_row_only_once(z, codebook, upstream, commitment):
    right = find("20.2").solution[0](z, codebook, upstream, commitment)
    return right[0], np.sign(right[1])


def pooled_is_the_largest(codes, n_values):
    each = find("20.3").solution[0](codes, n_values)[0]
    return each, each.max()


def without_the_first_place(logits, codes):
    return find("20.4").solution[0](logits[:, -1:], codes[:, -1:]) * codes.shape[1]


def exact_for_squares(logits, values, slopes):
    p = special.softmax(logits)
    return p * (values**2 - p @ values**2)


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("20.1", always_rests_if_closest_is_far),
        ("20.2", pulls_nearest_row_only_once),
        ("20.3", pooled_is_the_largest),
        ("20.4", without_the_first_place),
        ("20.5", exact_for_squares),
    ],
)
def test_a_cheat_is_refused(number, answer, capsys):
    check(number, answer)
    assert "is right" not in capsys.readouterr().out


def test_the_nearest_value_is_found_far_from_the_origin():
    """Beside many vectors cdist multiplies matrices, where numbers near 1000 hide distances."""
    noise = torch.Generator().manual_seed(0)
    z, values = (1000 + torch.randn(n, 4, generator=noise) for n in (500, 64))
    wanted = ((z[:, None].double() - values.double()) ** 2).sum(dim=2).argmin(dim=1)
    assert (nearest_value(z, values) == wanted).float().mean() > 0.99
