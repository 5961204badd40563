"""fit: any model, any loss, reproducible, with clear errors; and the plain autoencoder."""

import io
import math
import time
from contextlib import redirect_stdout

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from course_utils import numpy_nn, runtime, training
from course_utils.autoencoders import Autoencoder, cross_entropy_loss, squared_error_loss
from course_utils.autoencoders.vanilla import load_layers, mlp
from course_utils.plots import COLORS
from course_utils.precision import products
from course_utils.training import History, clear_denormals, evaluate, fit


def images(n=50, d=6, seed=1):
    return np.random.default_rng(seed).random((n, d)).astype(np.float32)


def model(seed=0, **options):
    torch.manual_seed(seed)
    return Autoencoder((6, 5, 2), **options)


def quiet(*args, **options):
    return fit(*args, progress=False, **options)


def test_training_makes_the_loss_small():
    net = model()
    before = evaluate(net, squared_error_loss, images())
    history = quiet(net, squared_error_loss, images(), epochs=60, batch_size=16, rate=1e-2)
    after = evaluate(net, squared_error_loss, images())
    assert after < 0.6 * before
    assert len(history.train) == 60 and history.best_epoch == 60 and history.seconds > 0


def test_one_step_is_one_step_of_adam_on_the_mean_over_the_batch():
    ours, theirs = model(), model()
    quiet(ours, squared_error_loss, images(8), epochs=1, batch_size=8, rate=0.01)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    x = torch.from_numpy(images(8))
    ((x - theirs(x)) ** 2).sum(1).mean().backward()
    optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_schedule_sets_the_step_size_of_every_step():
    net, rates = model(), []
    optimizer = torch.optim.SGD(net.parameters(), lr=8.0)

    def loss(net, x, generator):
        rates.append(optimizer.param_groups[0]["lr"])
        return squared_error_loss(net, x) * 1e-3

    def halve(optimizer, steps):
        assert steps == 6  # two epochs of three batches, the last one smaller
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    quiet(net, loss, images(10), epochs=2, batch_size=4, optimizer=optimizer, schedule=halve)
    assert rates == [8.0, 4.0, 2.0, 1.0, 0.5, 0.25]


def test_every_row_is_seen_once_an_epoch_and_the_last_batch_may_be_smaller():
    seen = []

    def loss(net, x, generator):
        seen.append(x.detach().clone())
        return squared_error_loss(net, x)

    quiet(model(), loss, images(10), epochs=2, batch_size=4)
    assert [len(batch) for batch in seen] == [4, 4, 2, 4, 4, 2]
    for epoch in (seen[:3], seen[3:]):
        rows = torch.cat(epoch).numpy()
        np.testing.assert_array_equal(
            rows[np.lexsort(rows.T)], images(10)[np.lexsort(images(10).T)]
        )
    assert not torch.equal(seen[0], seen[3]), "the order is new in each epoch"


def noisy_loss(net, x, generator):
    noise = torch.randn(x.shape, generator=generator)
    return ((x - net(x + 0.3 * noise)) ** 2).sum(1).mean()


def test_equal_seeds_give_equal_weights_also_with_noise_and_other_seeds_others():
    nets = [model() for _ in range(3)]
    for net, seed in zip(nets, (5, 5, 6), strict=True):
        torch.rand(seed)  # the global generator must not matter
        quiet(net, noisy_loss, images(), epochs=2, seed=seed)
    one, two, other = (torch.cat([p.flatten() for p in net.parameters()]) for net in nets)
    assert torch.equal(one, two) and not torch.equal(one, other)


def denormals(optimizer):
    """Count, in Adam's means of gradients, the numbers that are denormal, 0 aside."""
    means = torch.cat([s["exp_avg"].ravel() for s in optimizer.state.values()]).abs()
    return int(((means > 0) & (means < torch.finfo(torch.float32).tiny)).sum())


def train_with_a_unit_that_dies(step_by_hand):
    """Train 12 epochs of 100 batches, a unit off from the second on; weights and optimiser."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 6))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    x = torch.from_numpy(images(400))
    for epoch in range(12):
        if epoch == 1:
            with torch.no_grad():
                net[0].bias[2] = -10.0
        options = {"epochs": 1, "batch_size": 4, "seed": epoch, "optimizer": optimizer}
        if not step_by_hand:
            quiet(net, squared_error_loss, x, **options)
            continue
        generator = torch.Generator().manual_seed(epoch)
        for rows in torch.randperm(400, generator=generator).split(4):
            optimizer.zero_grad()
            squared_error_loss(net, x[rows]).backward()
            optimizer.step()
    return torch.cat([p.detach().ravel() for p in net.parameters()]), optimizer


def test_denormal_numbers_are_cleared_while_training_and_no_weight_changes():
    plain, optimizer = train_with_a_unit_that_dies(step_by_hand=True)
    assert denormals(optimizer) == 6 + 1 + 6, "the weights into the unit, its bias, those out of it"
    trained, ours = train_with_a_unit_that_dies(step_by_hand=False)
    assert denormals(ours) == 0 and torch.equal(trained, plain)
    clear_denormals(optimizer)
    assert denormals(optimizer) == 0


def test_clearing_denormals_leaves_what_an_optimiser_needs():
    weight = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.tensor([1e-32, -1e-33, 3e-31, 0.0])  # its mean is a tenth of it
    optimizer.step()
    clear_denormals(optimizer)
    kept = optimizer.state[weight]["exp_avg"]
    torch.testing.assert_close(kept, torch.tensor([0.0, 0.0, 3e-32, 0.0]), rtol=1e-6, atol=0)
    clear_denormals(torch.optim.SGD([weight], lr=0.1))  # has no such means: nothing to do


def test_early_stopping_goes_back_to_the_best_weights():
    net = model()
    x, held_out = images(12), images(200, seed=2)
    history = quiet(
        net, squared_error_loss, x, held_out, epochs=3000, batch_size=12, rate=0.03, patience=40
    )
    assert len(history.train) < 3000 and history.restored
    assert len(history.val) == history.best_epoch + 40
    assert min(history.val) == history.val[history.best_epoch - 1]
    assert evaluate(net, squared_error_loss, held_out) == pytest.approx(min(history.val), rel=1e-6)


def scripted(values):
    """A loss whose held-out values come from a list; in training, it moves the weights."""
    coming = iter(values)

    def loss(net, x, generator):
        if not net.training:
            return torch.tensor(next(coming))
        return squared_error_loss(net, x)

    return loss


@pytest.mark.parametrize(
    "values, best, epochs",
    [
        ([3.0, 2.0, 2.0, 2.0], 2, 4),  # a tie is no gain: patience counts from the first
        ([math.nan, 2.0, math.nan, 3.0], 2, 4),
        ([2.0, math.inf, math.nan], 1, 3),
        ([2.0, -math.inf, 1.0, 1.0, 1.0], 3, 5),
    ],
)
def test_patience_counts_from_the_first_lowest_finite_loss(values, best, epochs):
    history = quiet(
        model(), scripted(values), images(), images(seed=2), epochs=len(values), patience=2
    )
    assert history.best_epoch == best and len(history.train) == epochs
    assert history.restored and f"best {values[best - 1]:.2f}" in str(history)


def test_a_held_out_loss_that_is_never_finite_is_an_error():
    for patience in (2, None):
        with pytest.raises(FloatingPointError, match="held-out loss was not finite after any of"):
            quiet(
                model(),
                scripted([math.nan] * 5),
                images(),
                images(seed=2),
                epochs=3,
                patience=patience,
            )


def test_an_error_in_training_also_goes_back_to_the_best_weights():
    net, kept = model(), {}

    def loss(net, x, generator):
        epoch = len(kept)
        if not net.training:
            kept[epoch] = {k: v.clone() for k, v in net.state_dict().items()}
            return torch.tensor(float(epoch))  # the first epoch stays the best
        value = squared_error_loss(net, x)
        return value * math.nan if epoch == 2 else value

    with pytest.raises(FloatingPointError, match="epoch 3"):
        quiet(net, loss, images(), images(seed=2), epochs=5, patience=4)
    for name, weight in net.state_dict().items():
        assert torch.equal(weight, kept[0][name]), name
        assert not torch.equal(weight, kept[1][name]), name


def test_without_patience_the_last_weights_stay():
    net = model()
    history = quiet(net, squared_error_loss, images(), images(seed=2), epochs=3)
    assert not history.restored and len(history.val) == 3
    assert evaluate(net, squared_error_loss, images(seed=2)) == pytest.approx(history.val[-1])


def test_evaluation_is_the_mean_over_rows_whatever_the_batch_size_and_keeps_the_mode():
    net = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))
    net.train()
    x = images(23)
    values = [evaluate(net, squared_error_loss, x, batch_size=b) for b in (1, 5, 23, 100)]
    assert np.ptp(values) < 1e-5 and net.training
    net.eval()
    with torch.no_grad():
        whole = squared_error_loss(net, torch.from_numpy(x)).item()
    assert values[0] == pytest.approx(whole, rel=1e-5)


def test_a_loss_that_is_not_finite_names_epoch_and_batch():
    count = 0

    def loss(net, x, generator):
        nonlocal count
        count += 1
        return squared_error_loss(net, x) * (math.nan if count == 6 else 1.0)

    with pytest.raises(FloatingPointError, match="nan in epoch 2, batch 2 of 4"):
        quiet(model(), loss, images(16), epochs=3, batch_size=4)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (
            np.zeros((0, 6)),
            {},
            r"x_train must have shape \(n, …\) with n at least 1 .*, got \(0, 6\)",
        ),
        (np.zeros(6), {}, r"x_train must have shape"),
        (np.zeros((3, 0)), {}, r"x_train must have shape .* rows that are not empty, got \(3, 0\)"),
        (np.zeros((3, 5)), {}, r"x must have shape \(n, 6\), got \(3, 5\)"),
        (np.full((3, 6), np.nan), {}, "x_train must be finite"),
        (np.zeros((3, 6)), {"x_val": np.full((1, 6), np.inf)}, "x_val must be finite"),
        (np.zeros((3, 6)), {"epochs": 0}, "epochs must be at least 1, got 0"),
        (np.zeros((3, 6)), {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (np.zeros((3, 6)), {"rate": 0.0}, "rate must be above 0"),
        (np.zeros((3, 6)), {"patience": 3}, "patience must come with x_val"),
        (np.zeros((3, 6)), {"precision": "low"}, "precision must be"),
        (np.zeros((3, 6)), {"device": "toaster"}, "device of this machine"),
    ],
)
def test_bad_arguments_are_named(x, options, message):
    with pytest.raises(ValueError, match=message):
        quiet(model(), squared_error_loss, x, **options)


@pytest.mark.parametrize("bad", [-0.1, 1.1])
def test_cross_entropy_needs_data_in_the_unit_interval(bad):
    x = images()
    x[3, 2] = bad
    with pytest.raises(ValueError, match=r"x_train must lie in \[0, 1\] for this loss"):
        quiet(model(bernoulli=True), cross_entropy_loss, x)


def test_fit_computes_in_the_precision_asked_for_and_a_check_after_it_does_not(monkeypatch):
    before, inside = torch.get_float32_matmul_precision(), []
    monkeypatch.setattr("course_utils.runtime.fast_precision", lambda: "medium")

    def loss(net, x, generator):
        inside.append(torch.get_float32_matmul_precision())
        return squared_error_loss(net, x)

    assert quiet(model(), loss, images(), epochs=1, precision="fast").precision == "medium"
    assert quiet(model(), loss, images(), epochs=1, precision="high").precision == "high"
    assert set(inside) == {"medium", "high"} and torch.get_float32_matmul_precision() == before
    with pytest.raises(ValueError, match="precision must be"):
        quiet(model(), loss, images(), epochs=1, precision="low")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_trains_as_the_cpu_does_and_twice_alike_where_asked():
    results = []
    for device in ("cpu", "cuda", "cuda"):
        net = model()
        with runtime.deterministic():
            quiet(net, squared_error_loss, images(), epochs=5, batch_size=50, device=device)
        results.append(torch.cat([p.detach().cpu().ravel() for p in net.parameters()]))
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-3)
    assert torch.equal(results[1], results[2])


def test_precision_is_restored_also_after_an_error():
    before = torch.get_float32_matmul_precision()
    inside = []
    with pytest.raises(KeyError), products(model(), "medium"):
        inside.append(torch.get_float32_matmul_precision())
        raise KeyError
    assert inside == ["medium"] and torch.get_float32_matmul_precision() == before


def test_the_report_is_one_line_once_the_bar_is_gone():
    out = io.StringIO()
    with redirect_stdout(out):
        fit(model(), squared_error_loss, images(), images(seed=2), epochs=3)
    seen = out.getvalue().rpartition("\r")[2]
    assert seen.startswith("3 epochs: training loss ") and seen.count("\n") == 1


def test_the_history_plots_itself():
    history = History([3.0, 2.0, 1.0], [3.5, 2.5, 2.7], best_epoch=2)
    fig, ax = plt.subplots()
    assert history.plot(ax) is ax
    drawn = [line.get_xydata().tolist() for line in ax.lines]
    assert drawn == [[[1, 3], [2, 2], [3, 1]], [[1, 3.5], [2, 2.5], [3, 2.7]], [[2, 2.5]]]
    plt.close(fig)


def test_numpy_layers_give_the_same_numbers_in_pytorch():
    rng = np.random.default_rng(3)
    layers = [(w, rng.normal(size=b.shape)) for w, b in numpy_nn.init_layers((6, 5, 2), rng)]
    net = mlp((6, 5, 2)).double()
    load_layers(net, layers)
    x = rng.normal(size=(4, 6))
    np.testing.assert_allclose(
        net(torch.from_numpy(x)).detach(), numpy_nn.forward(x, layers)[-1], rtol=1e-12
    )


def test_cross_entropy_is_the_sum_over_pixels_in_nats_and_stable_for_large_logits():
    net = model(bernoulli=True).double()
    x = torch.from_numpy(images().astype(np.float64))
    p = net(x)
    expected = -(x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean()
    torch.testing.assert_close(cross_entropy_loss(net, x), expected)
    with torch.no_grad():
        net.decoder[-1].bias.fill_(1e4)
    assert torch.isfinite(cross_entropy_loss(net, x))


def test_outputs_are_probabilities_where_asked_for_and_any_numbers_else():
    x = 100 * torch.from_numpy(images())
    assert (model()(x) < 0).any()
    probabilities = model(bernoulli=True)(x)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


@pytest.mark.parametrize("sizes", [(), (5,), (5, 0)])
def test_an_autoencoder_needs_two_sizes(sizes):
    with pytest.raises(ValueError, match="sizes must be two or more numbers"):
        Autoencoder(sizes)


def test_a_decoder_mirrors_its_encoder_and_two_sizes_are_the_least():
    shapes = [tuple(p.shape) for p in Autoencoder((6, 4, 2)).decoder.parameters() if p.ndim == 2]
    assert shapes == [(4, 2), (6, 4)]
    assert [tuple(p.shape) for p in mlp((3, 2)).parameters()] == [(2, 3), (2,)]
    for make in (lambda: mlp((3,)), lambda: Autoencoder((3,))):
        with pytest.raises(ValueError, match="^sizes must be two or more"):
            make()


class Told(nn.Module):
    """A model whose loss is the mean of the numbers that it is given, whatever its weight."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))


def told(model, x, generator):
    return x.mean() + 0 * model.w.sum()


def test_the_training_loss_is_a_mean_over_rows_also_where_batches_differ():
    x = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])
    history = fit(Told(), told, x, epochs=1, batch_size=2, progress=False)
    assert history.train == pytest.approx([31 / 5])


def test_denormals_are_cleared_once_in_a_hundred_steps(monkeypatch):
    steps, cleared = [], []
    monkeypatch.setattr(training, "clear_denormals", lambda _: cleared.append(len(steps)))

    def loss(model, x, generator):
        steps.append(None)
        return told(model, x, generator)

    fit(Told(), loss, torch.zeros(250, 1), epochs=1, batch_size=1, progress=False)
    assert cleared == [1, 101, 201]


def test_the_optimiser_is_adam_fused_at_the_stated_rate():
    seen = []

    def schedule(optimizer, steps):
        seen.append((type(optimizer), optimizer.defaults["lr"], optimizer.defaults["fused"], steps))

    x = torch.zeros(5, 1)
    fit(Told(), told, x, epochs=3, batch_size=2, schedule=schedule, progress=False)
    assert seen == [(torch.optim.Adam, 1e-3, True, 9)]


def test_the_best_epoch_is_restored_unless_it_was_the_last():
    x = torch.zeros(4, 1)
    falling, rising = iter([3.0, 2.0, 1.0]), iter([1.0, 2.0, 3.0])

    def scripted(values):
        def loss(model, x, generator):
            return told(model, x, generator) + (0 if model.training else next(values))

        return loss

    for values, best, restored in ((falling, 3, False), (rising, 1, True)):
        history = fit(Told(), scripted(values), x, x, epochs=3, patience=3, progress=False)
        assert (history.best_epoch, history.restored) == (best, restored)


def test_the_time_is_that_of_training():
    start = time.perf_counter()
    history = fit(Told(), told, torch.zeros(64, 1), epochs=2, progress=False)
    assert 0 < history.seconds < time.perf_counter() - start
    assert History().seconds == 0


class Bar:
    """In place of tqdm's: keeps what it was told."""

    made: list = []

    def __init__(self, **options):
        self.options, self.said = options, []
        Bar.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def set_postfix_str(self, text, refresh):
        assert not refresh, "update() draws it, ten times a second at most"
        self.said.append(text)

    def update(self):
        pass


def test_the_bar_shows_the_last_loss_and_is_off_without_progress(monkeypatch, capsys):
    monkeypatch.setattr(training, "tqdm", Bar)
    x, values = torch.zeros(4, 1), iter([3.0, 2.0])

    def loss(model, x, generator):
        return told(model, x, generator) + next(values)

    fit(Told(), loss, x, epochs=2, batch_size=4)
    assert Bar.made[-1].said == ["loss 3", "loss 2"]
    assert Bar.made[-1].options["disable"] is False
    fit(Told(), told, x, epochs=1, progress=False)
    assert Bar.made[-1].options["disable"] is True
    assert capsys.readouterr().out == "2 epochs: training loss 2.00\n"


def test_a_history_says_its_last_losses():
    history = History(train=[5.0, 4.0, 3.0], val=[9.0, 7.0, 8.0], best_epoch=2, restored=True)
    text = "3 epochs: training loss 3.00, held-out loss 8.00, best 7.00 in epoch 2 (restored)"
    assert str(history) == text


@pytest.mark.parametrize("val", [[1.0, 9.0, 2.0], [9.0, 0.5, 4.0], [7.0, 9.0, 3.0]])
def test_the_curves_are_named_on_their_outer_sides(val):
    """The name of the upper curve stands above its end, that of the lower one below its own."""
    history = History(train=[8.0, 0.0, 3.0], val=val, best_epoch=1)
    ax = history.plot(plt.figure().subplots())
    names = {text.get_text(): text for text in ax.texts}
    upper = "held out" if val[-1] > 3.0 else "training"
    for name, values, color in (("training", history.train, 0), ("held out", val, 6)):
        up = name == upper
        assert names[name].xy == (3, values[-1])
        assert names[name].get_position() == (6, 3 if up else -3)
        assert names[name].get_va() == ("bottom" if up else "top")
        assert names[name].get_color() == COLORS[color]
    assert {line.get_color() for line in ax.lines} == {COLORS[0], COLORS[6]}
    alone = History(train=[2.0, 1.0], best_epoch=2).plot(plt.figure().subplots())
    assert [text.get_va() for text in alone.texts] == ["bottom"]
    plt.close("all")


def test_rates_patience_and_batches_have_their_bounds():
    x = torch.zeros(4, 1)
    fit(Told(), told, x, x, epochs=1, patience=1, progress=False)
    for wrong in ({"rate": math.inf}, {"rate": 0.0}, {"patience": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fit(Told(), told, x, x, epochs=1, progress=False, **wrong)
    with pytest.raises(ValueError, match="batch_size"):
        evaluate(Told(), told, x, batch_size=0)


@pytest.mark.parametrize("given", [1, 3])
def test_another_number_of_layers_is_refused(given):
    layers = [(np.ones(shape), np.ones(shape[1])) for shape in ((3, 2), (2, 1), (1, 1))]
    with pytest.raises(ValueError, match="shorter|longer"):
        load_layers(mlp((3, 2, 1)), layers[:given])
