"""A training that was stopped goes on as if it had not been, from a file that is always whole."""

import io
import itertools
import multiprocessing
import os
import random
import signal
import sys
import time
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from course_utils import checkpoints, recipe, training  # noqa: E402
from course_utils.autoencoders import Autoencoder, squared_error_loss  # noqa: E402
from course_utils.checkpoints import best_weights, expect_no_state, held  # noqa: E402
from course_utils.vae import VAE, negative_elbo  # noqa: E402

X = np.random.default_rng(6).random((100, 6)).astype(np.float32)
HELD_OUT = X[:31]


class Stop(Exception):
    """In place of a machine that is switched off."""


class Stopping:
    """A loss that stops a training at one of its calls; how often it was called is no state."""

    def __init__(self, loss, at=None):
        self.loss, self.at, self.seen = loss, [at], []  # in a list, as it is no setting of a loss

    def __call__(self, model, x, generator):
        self.seen.append(len(x))
        if len(self.seen) == self.at[0]:
            raise Stop
        return self.loss(model, x, generator)


def noisy(model, x, generator):
    noise = torch.randn(x.shape, generator=generator)
    return ((x - model(x + 0.1 * noise)) ** 2).sum(1).mean()


def plain():
    return Autoencoder((6, 5, 2))


def with_dropout():
    return nn.Sequential(nn.Linear(6, 9), nn.Dropout(0.3), nn.BatchNorm1d(9), nn.Linear(9, 6))


def one_cycle(optimizer, steps):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)


def trained(path, make=plain, loss=noisy, sgd=False, x=X, x_val=HELD_OUT, **options):
    torch.manual_seed(2)
    model = make()
    if sgd:
        options["optimizer"] = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    options = {"epochs": 6, "batch_size": 16, "progress": False} | options
    history = training.fit(model, loss, x, x_val, checkpoint=path, **options)
    return model.state_dict(), history


def assert_same(one, two):
    assert one[0].keys() == two[0].keys()
    for name, value in one[0].items():
        assert torch.equal(value, two[0][name]), name
    facts = [{**vars(each[1]), "seconds": 0} for each in (one, two)]
    assert facts[0] == facts[1]


KINDS = {
    "Adam": {},
    "momentum": {"sgd": True},
    "dropout and batch normalisation": {"make": with_dropout},
    "schedule": {"schedule": one_cycle},
    "patience": {"patience": 2, "rate": 0.3},
    "nothing held out": {"x_val": None},
    "in memory": {"x": torch.from_numpy(X)},
    "streamed": {"max_bytes": 60 * 24},
    "a VAE": {"make": lambda: VAE(6, 5, 2), "loss": negative_elbo},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [9, 20])  # of seven batches an epoch, and one held out
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(kind, at, tmp_path):
    options = dict(KINDS[kind])
    loss, path = options.pop("loss", noisy), tmp_path / "run.pt"
    whole = trained(None, loss=Stopping(loss), **options)
    with pytest.raises(Stop):
        trained(path, loss=Stopping(loss, at), **options)
    assert path.exists() and not path.with_name("run.pt.part").exists()
    again = Stopping(loss)
    assert_same(trained(path, loss=again, **options), whole)
    assert 0 < len(again.seen) < 8 * 6 - 7, "what was done is not done again"
    finished = Stopping(loss)
    assert_same(trained(str(path), loss=finished, **options), whole)
    assert not finished.seen, "a finished training is read, not trained"


def test_a_checkpoint_changes_nothing_of_a_training(tmp_path):
    assert_same(trained(tmp_path / "run.pt", patience=3), trained(None, patience=3))


def test_more_epochs_go_on_where_there_is_no_schedule(tmp_path):
    trained(tmp_path / "run.pt", epochs=2)
    assert_same(trained(tmp_path / "run.pt", epochs=5), trained(None, epochs=5))
    with pytest.raises(ValueError, match="checkpoint must be of 3 epochs at most, got 5"):
        trained(tmp_path / "run.pt", epochs=3)


def test_a_training_that_has_lost_patience_stays_stopped(tmp_path):
    options = {"patience": 2, "rate": 0.3}
    stopped = trained(tmp_path / "run.pt", loss=Stopping(noisy), epochs=40, **options)
    assert len(stopped[1].train) < 40 and stopped[1].restored
    again = Stopping(noisy)
    assert_same(trained(tmp_path / "run.pt", loss=again, epochs=60, **options), stopped)
    assert not again.seen, "it does not go on"


def test_the_best_weights_so_far_are_in_the_file(tmp_path):
    path, kept = tmp_path / "run.pt", []

    def loss(model, x, generator):
        if model.training:
            return squared_error_loss(model, x)
        kept.append({name: value.clone() for name, value in model.state_dict().items()})
        return torch.tensor([3.0, 1.0, 2.0][len(kept) - 1])

    final, history = trained(path, loss=loss, epochs=3)
    assert history.best_epoch == 2 and not history.restored
    for name, value in best_weights(path).items():
        assert torch.equal(value, kept[1][name]) and torch.equal(final[name], kept[2][name])
    final, _ = trained(tmp_path / "other.pt", x_val=None)
    for name, value in best_weights(str(tmp_path / "other.pt")).items():
        assert torch.equal(value, final[name]), "nothing held out: the last ones"


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, model, x, generator):
        return self.factor * squared_error_loss(model, x)


# Another training ---------------------------------------------------------------------------------
def scaled(factor):
    return lambda model, x, generator: factor * squared_error_loss(model, x)


def with_tanh():
    model = plain()
    model.encoder[1] = nn.Tanh()
    return model


def frozen():
    model = plain()
    model.encoder[0].bias.requires_grad_(False)
    return model


def with_default(factor):
    def loss(model, x, generator, beta=factor):
        return beta * squared_error_loss(model, x)

    return loss


def with_weights(weights):
    return lambda model, x, generator: (weights * (model(x) - x) ** 2).sum(1).mean()


def with_settings(settings):
    return lambda model, x, generator: settings["beta"] * squared_error_loss(model, x)


OTHER = {
    "another width": (
        {"make": lambda: Autoencoder((6, 7, 2))},
        "weights encoder.0.weight",
    ),
    "another class": ({"make": lambda: nn.Sequential(nn.Linear(6, 6))}, "model Autoencoder in it"),
    "batches": ({"batch_size": 20}, "batch_size 16 in it, 20 here"),
    "seed": ({"seed": 1}, "seed 0 in it, 1 here"),
    "rate": ({"rate": 0.5}, "optimizer lr 0.001 in it, 0.5 here"),
    "optimiser": ({"sgd": True}, "optimizer Adam in it, SGD here"),
    "patience": ({"patience": 3}, "patience NoneType in it, 3 here"),
    "precision": ({"precision": "high"}, "precision highest in it, high here"),
    "loss": ({"loss": squared_error_loss}, "loss noisy in it, squared_error_loss here"),
    "schedule": (
        {"schedule": one_cycle},
        "schedule NoneType in it, one_cycle here; epochs NoneType in it, 6 here",
    ),
    "rows": ({"x": X[1:]}, "x_train 100 rows of shape"),
    "values": ({"x": X + 0.5}, "x_train 100 rows of shape"),
    "held out": ({"x_val": X[:30]}, "x_val 31 rows of shape"),
    "activation": ({"make": with_tanh}, "with layers Autoencoder"),
    "frozen": ({"make": frozen}, "frozen weights none in it, encoder.0.bias here"),
}


@pytest.mark.parametrize("kind", OTHER)
def test_a_file_of_another_training_is_refused_and_what_differs_is_named(kind, tmp_path):
    options, message = OTHER[kind]
    trained(tmp_path / "run.pt", epochs=1)
    before = (tmp_path / "run.pt").read_bytes()
    with pytest.raises(ValueError, match="checkpoint must be of this training, got run.pt") as got:
        trained(tmp_path / "run.pt", **options)
    assert got.match(message) and len(str(got.value)) < 400
    assert (tmp_path / "run.pt").read_bytes() == before


def test_the_numbers_given_to_a_loss_are_part_of_what_it_is(tmp_path):
    losses = {
        "closed over": (scaled(1.0), scaled(2.0)),
        "partial": (partial(negative_elbo, beta=1.0), partial(negative_elbo, beta=4.0)),
        "an object's": (Scaled(1.0), Scaled(2.0)),
        "a default": (with_default(1.0), with_default(2.0)),
        "a tensor": (with_weights(torch.ones(6)), with_weights(torch.arange(6.0))),
        "a dictionary": (with_settings({"beta": 1.0}), with_settings({"beta": 2.0})),
    }
    for name, (one, other) in losses.items():
        path = tmp_path / f"{name}.pt"
        make = (lambda: VAE(6, 5, 2)) if name == "partial" else plain
        trained(path, loss=one, make=make, epochs=1)
        trained(path, loss=one, make=make, epochs=2)
        with pytest.raises(ValueError, match="got .* with loss"):
            trained(path, loss=other, make=make, epochs=2)


def test_what_is_equal_is_no_other_loss():
    """Where it lies in memory, and in which order a set has it, is not what it is."""
    pairs = [
        (torch.arange(6.0), torch.arange(12.0)[::2] / 2),
        (np.arange(6), np.arange(12)[::2] // 2),
        ({"a": [1.0, torch.ones(2)]}, {"a": [1.0, torch.ones(4)[:2]]}),
        ({0, 8}, {8, 0}),  # of eight places, both numbers want the same one
    ]
    assert list({0, 8}) != list({8, 0})
    for one, other in pairs:
        told = checkpoints.named(with_weights(one))
        assert told == checkpoints.named(with_weights(other)) != with_weights(one).__qualname__
    weight = nn.Linear(2, 2).weight
    assert held(with_weights(weight)) == {}, "what is trained changes, and is kept with the model"


def test_a_model_in_bfloat16_has_checkpoints(tmp_path):
    options = {"make": lambda: plain().bfloat16(), "loss": squared_error_loss}
    trained(tmp_path / "run.pt", epochs=2, **options)
    assert_same(trained(tmp_path / "run.pt", **options), trained(None, **options))


class WithLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.beta = nn.Linear(6, 6), 1.0

    def forward(self, x):
        return self.layer(x)

    def loss(self, model, x, generator):
        return self.beta * ((self(x) - x) ** 2).sum(1).mean()


def test_a_method_of_the_model_may_be_its_loss(tmp_path):
    model = WithLoss().eval()
    options = {"epochs": 2, "progress": False, "checkpoint": tmp_path / "run.pt"}
    history = training.fit(model, model.loss, X, **options)
    assert len(history.train) == 2
    model.beta = 2.0
    with pytest.raises(
        ValueError, match=r"with loss WithLoss.loss .*'1.0'.* in it, .*'2.0'.* here"
    ):
        training.fit(model, model.loss, X, **options)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    trained(path, epochs=1)
    whole = path.read_bytes()
    torch.save({"weights": torch.ones(3)}, tmp_path / "theirs.pt")
    theirs = (tmp_path / "theirs.pt").read_bytes()
    for content in (b"", b"weights", whole[: len(whole) // 2], theirs):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="checkpoint must be a file that fit has written, got"):
            trained(path)
        with pytest.raises(ValueError, match="path must be a file that fit has written, got"):
            best_weights(path)
        assert path.read_bytes() == content
    with pytest.raises(ValueError, match="path must be a file that fit has written, got"):
        best_weights(tmp_path / "none.pt")
    for bad in (tmp_path, tmp_path / "no folder" / "run.pt"):
        with pytest.raises(ValueError, match="checkpoint must be the path of a file, got"):
            trained(bad)


def test_a_damaged_checkpoint_is_refused_and_the_model_stays(tmp_path):
    path, damaged = tmp_path / "run.pt", tmp_path / "damaged.pt"
    trained(path, epochs=1)
    content = torch.load(path)
    weights = next(iter(content["model"].values())).numpy().tobytes()
    whole = path.read_bytes()
    i = whole.index(weights) + 5
    damaged.write_bytes(whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :])
    wanted = "checkpoint must be a file that fit has written, got "
    with pytest.raises(ValueError, match=f"{wanted}.*damaged.pt: .* is damaged"):
        trained(damaged)
    torch.save({name: part for name, part in content.items() if name != "ranks"}, damaged)
    with pytest.raises(ValueError, match=f"{wanted}another"):
        trained(damaged)
    content["optimizer"]["param_groups"] = []
    torch.save(content, damaged)
    model = plain()
    before = [each.detach().clone() for each in model.parameters()]
    options = {"batch_size": 16, "progress": False, "checkpoint": damaged}
    with pytest.raises(ValueError, match=f"{wanted}damaged.pt with another state of the optimizer"):
        training.fit(model, noisy, X, HELD_OUT, **options)
    assert all(map(torch.equal, before, model.parameters()))


def test_a_link_stays_a_link_and_a_home_is_found(tmp_path, monkeypatch):
    trained(tmp_path / "run.pt", epochs=1)
    link = tmp_path / "link.pt"
    link.symlink_to(tmp_path / "run.pt")
    trained(link, epochs=2)
    assert link.is_symlink()
    assert len(checkpoints.read(tmp_path / "run.pt")["history"]["train"]) == 2
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    trained("~/run.pt", epochs=3)
    assert len(checkpoints.read("~/run.pt")["history"]["train"]) == 3
    assert best_weights("~/run.pt").keys() == plain().state_dict().keys()


def test_a_folder_that_cannot_be_written_to_is_named_before_anything_is_trained(
    tmp_path, monkeypatch
):
    loss = Stopping(noisy)
    monkeypatch.setattr("course_utils.checkpoints.os.access", lambda path, mode: False)
    with pytest.raises(ValueError, match="checkpoint must be in a folder that can be written to"):
        trained(tmp_path / "run.pt", loss=loss)
    assert not loss.seen


class Program:
    """Runs as a program where it is read by pickle."""

    def __reduce__(self):
        return (os.mkdir, (os.environ["PROGRAM"],))


def test_no_program_in_a_file_is_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PROGRAM", str(tmp_path / "made"))
    torch.save({"format": 1, "best": Program()}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="path must be a file"):
        best_weights(tmp_path / "run.pt")
    assert not (tmp_path / "made").exists()
    torch.load(tmp_path / "run.pt", weights_only=False)
    assert (tmp_path / "made").exists(), "what the check would have been fooled by"


# A loss with a state ------------------------------------------------------------------------------
def with_count():
    count = itertools.count()
    return lambda model, x, generator: squared_error_loss(model, x) / (1 + next(count))


def with_number():
    calls = 0

    def loss(model, x, generator):
        nonlocal calls
        calls += 1
        return squared_error_loss(model, x) / calls

    return loss


def with_generator():
    own = torch.Generator().manual_seed(1)
    return lambda model, x, generator: noisy(model, x, own)


def with_numpy():
    rng = np.random.default_rng(1)
    return lambda model, x, generator: squared_error_loss(model, x) * float(rng.random())


def with_iterator():
    weights = iter([1.0] * 1000)
    return lambda model, x, generator: squared_error_loss(model, x) * next(weights)


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, model, x, generator):
        self.calls += 1
        return squared_error_loss(model, x) / self.calls


def with_list():
    calls = [0]

    def loss(model, x, generator):
        calls[0] += 1
        return squared_error_loss(model, x) / calls[0]

    return loss


def with_dict():
    state = {"step": 0}

    def loss(model, x, generator):
        state["step"] += 1
        return squared_error_loss(model, x) / state["step"]

    return loss


def with_tensor():
    average = torch.zeros(())

    def loss(model, x, generator):
        value = squared_error_loss(model, x)
        average.mul_(0.9).add_(0.1 * value.detach())
        return value / (1 + average)

    return loss


STEP = 0


def with_global():
    def loss(model, x, generator):
        global STEP
        STEP += 1
        return squared_error_loss(model, x) / STEP

    return loss


OF_ALL = np.random.default_rng(1)


def with_global_generator():
    return lambda model, x, generator: squared_error_loss(model, x) * float(OF_ALL.random())


def inside_another():
    inner = with_number()
    return partial(lambda factor, model, x, generator: factor * inner(model, x, generator), 2.0)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (with_count, "count"),
        (with_number, "calls"),
        (with_generator, "own"),
        (with_numpy, "rng"),
        (with_iterator, "weights"),
        (Counting, "calls"),
        (lambda: Counting().__call__, "calls"),
        (inside_another, "func.inner.calls"),
        (with_list, "calls"),
        (with_dict, "state"),
        (with_tensor, "average"),
        (with_global, "STEP of its module"),
        (with_global_generator, "OF_ALL of its module"),
    ],
)
def test_a_loss_whose_state_would_be_forgotten_is_refused(make, name, tmp_path):
    with pytest.raises(TypeError, match=f"must have state_dict .* holds {name}, which changed"):
        trained(tmp_path / "run.pt", loss=make())
    assert not (tmp_path / "run.pt").exists()
    trained(None, loss=make(), epochs=1)  # without a checkpoint it is a loss as any other


def numpys(model, x, generator):
    return squared_error_loss(model, x) * np.random.rand() + np.random.randn()  # noqa: NPY002


def pythons(model, x, generator):
    return squared_error_loss(model, x) * random.random() + random.gauss(0.0, 1.0)


@pytest.mark.parametrize("loss", [numpys, pythons])
def test_the_global_generators_of_numpy_and_python_go_on_where_they_were(loss, tmp_path):
    def run(path, epochs=6):
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        return trained(path, loss=loss, epochs=epochs)

    run(tmp_path / "run.pt", epochs=3)
    assert_same(run(tmp_path / "run.pt"), run(None))


def test_a_loss_that_only_holds_what_it_was_given_has_no_state():
    for loss in (scaled(2.0), partial(negative_elbo, beta=2.0), Stopping(noisy), negative_elbo):
        before = held(loss)
        of_autoencoder = isinstance(loss, Stopping) or "scaled" in getattr(loss, "__qualname__", "")
        loss(plain() if of_autoencoder else VAE(6, 5, 2), torch.from_numpy(X), torch.Generator())
        expect_no_state(loss, before)
    assert held(scaled(2.0)) == {"factor": "2.0"} != held(scaled(3.0))


def test_the_warm_up_of_the_recipe_goes_on_where_it_stopped(tmp_path):
    def run(path, at=None, steps=20):
        torch.manual_seed(1)
        model, loss = VAE(6, 5, 2), recipe.FreshAndWarmedUp(steps)
        count = itertools.count(1)

        def stop(optimizer):
            if next(count) == at:
                raise Stop

        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        optimizer.register_step_post_hook(lambda *_: stop(optimizer))
        options = {"epochs": 4, "batch_size": 16, "progress": False, "optimizer": optimizer}
        history = training.fit(model, loss, X, checkpoint=path, **options)
        return model.state_dict(), history

    whole = run(None)
    with pytest.raises(Stop):
        run(tmp_path / "run.pt", at=17)
    assert_same(run(tmp_path / "run.pt"), whole)
    with pytest.raises(ValueError, match="steps must be 30, got 20 in the state"):
        run(tmp_path / "run.pt", steps=30)


def test_a_state_that_cannot_be_kept_is_refused_in_the_first_epoch(tmp_path):
    class Factor:
        def __init__(self):
            self.lock = Program()

        def __call__(self, step):
            return 1.0

    def schedule(optimizer, steps):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, Factor())

    os.environ.pop("PROGRAM", None)
    with pytest.raises((TypeError, KeyError), match="schedule, optimizer and loss must|PROGRAM"):
        trained(tmp_path / "run.pt", schedule=schedule)
    assert not (tmp_path / "run.pt").exists()


# Whole at any moment ------------------------------------------------------------------------------
@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_where_writing_fails_the_file_before_stays(broken, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    trained(path, epochs=1)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"course_utils.checkpoints.os.{broken}", full)
    with pytest.raises(OSError, match="checkpoint cannot be written: No space left.*run.pt"):
        trained(path, epochs=3)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.pt"]
    monkeypatch.undo()
    assert_same(trained(path, epochs=3), trained(None, epochs=3))


def test_the_bytes_are_on_the_disk_before_the_name_is_theirs(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def noted(*args, real=real, name=name):
            calls.append((name, os.stat(args[0]).st_size if name == "fsync" else None))
            return real(*args)

        monkeypatch.setattr(f"course_utils.checkpoints.os.{name}", noted)
    checkpoints.write_whole(tmp_path / "a", b"seven b")
    assert [name for name, _ in calls][:2] == ["fsync", "replace"] and calls[0][1] == 7
    assert (tmp_path / "a").read_bytes() == b"seven b" and os.listdir(tmp_path) == ["a"]


def short_epochs(path):
    sys.stdout = io.StringIO()
    torch.manual_seed(0)
    model = Autoencoder((6, 300, 300, 2))  # a file of some megabytes: long enough to be hit
    training.fit(model, noisy, X, epochs=80, batch_size=100, progress=False, checkpoint=path)


@pytest.mark.skipif(sys.platform != "linux", reason="a process in the middle of this one")
def test_killed_at_random_moments_it_leaves_a_whole_file_and_ends_as_if_it_had_not_been(tmp_path):
    path, whole = tmp_path / "run.pt", tmp_path / "whole.pt"
    context, chance, done = multiprocessing.get_context("fork"), random.Random(0), []
    for _ in range(300):
        process = context.Process(target=short_epochs, args=(path,))
        process.start()
        process.join(chance.uniform(0.02, 0.25))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        if path.exists():
            done.append(len(checkpoints.read(path)["history"]["train"]))
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        time.sleep(0)
    assert process.exitcode == 0 and done == sorted(done) and done[-1] == 80
    assert len(set(done)) > 3, "it was killed at several epochs"
    saved = sys.stdout
    short_epochs(whole)
    sys.stdout = saved
    one, two = (checkpoints.read(each) for each in (path, whole))
    assert one["history"]["train"] == two["history"]["train"]
    for name, value in one["model"].items():
        assert torch.equal(value, two["model"][name])
