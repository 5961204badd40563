"""What two processes do in tests/test_distributed.py: cases by name, results in a folder.

python -m torch.distributed.run --nproc-per-node=2 tests/team.py FOLDER CASE [CASE …]
"""

import io
import math
import os
import signal
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from course_utils import data, parallel, processes, recipe, shards, training
from course_utils.autoencoders import Autoencoder, squared_error_loss
from course_utils.vae import VAE, Gaussian

RANK = int(os.environ.get("RANK", 0))
SIZE = int(os.environ.get("WORLD_SIZE", 1))
X = np.random.default_rng(3).random((1025, 6)).astype(np.float32)  # 8 times 128, and one row


def fit(*args, **options):
    return training.fit(*args, **{"progress": False, "timeout": 60} | options)


def model(seed=0):
    torch.manual_seed(seed)
    return Autoencoder((6, 5, 2))


def weights(net):
    return torch.cat([p.detach().ravel() for p in net.parameters()])


def batch(whole):
    return whole // SIZE


def failure(act):
    try:
        act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def curves(dtype=torch.float32, n=1025, **options):
    """Train without noise on batches of 128 in all; where there is one process, these are whole."""
    net = model().to(dtype)
    options = {"epochs": 4, "batch_size": batch(128), "rate": 1e-2, "seed": 5} | options
    history = fit(net, squared_error_loss, X[:n], X[:101], **options)
    return {"train": history.train, "val": history.val, "weights": weights(net)}


def equal_curves():
    return {
        "single": curves(),
        "double": curves(torch.float64),
        "uneven": curves(torch.float64, n=105),
        "few": curves(torch.float64, n=3),
        "streamed": curves(max_bytes=1000 * 24),
        "schedule": curves(
            torch.float64,
            schedule=lambda optimizer, steps: torch.optim.lr_scheduler.LinearLR(
                optimizer, 1.0, 0.1, steps
            ),
        ),
    }


def with_given_noise(net, rows, generator=None):
    """The loss of a VAE whose noise comes with the rows, behind the pixels."""
    mu, logvar = net.encode(rows[:, :6])
    z = mu + torch.exp(logvar / 2) * rows[:, 6:]
    kl = 0.5 * (mu**2 + torch.exp(logvar) - 1 - logvar).sum(dim=1)
    return (kl - net.log_likelihood(rows[:, :6], z)).mean()


def gradient(n):
    """What one step of size 1 moves: the gradient of one batch of n rows."""
    torch.manual_seed(1)
    net = VAE(6, 5, 2, likelihood=Gaussian(0.5))
    before = weights(net)
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    noise = np.random.default_rng(4).normal(size=(n, 2)).astype(np.float32)
    rows = np.concatenate([X[:n], noise], axis=1)
    fit(net, with_given_noise, rows, epochs=1, batch_size=n, optimizer=sgd)
    return before - weights(net)


def gradients():
    return {n: gradient(n) for n in (1, 2, 7, 8)}


class WholeLoss(nn.Module):
    """A loss as the forward of a module, which DistributedDataParallel needs."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, rows):
        return with_given_noise(self.net, rows)


def ddp():
    """The gradient of the same eight rows as PyTorch's own engine averages it."""
    processes.join(60)
    torch.manual_seed(1)
    net = VAE(6, 5, 2, likelihood=Gaussian(0.5))
    noise = np.random.default_rng(4).normal(size=(8, 2)).astype(np.float32)
    rows = torch.from_numpy(np.concatenate([X[:8], noise], axis=1))
    engine = nn.parallel.DistributedDataParallel(WholeLoss(net))
    engine(rows[RANK::2]).backward()
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
    return torch.cat([each.ravel() for each in found])


def noise_and_print():
    """Ranks start with other weights and the same global generator."""
    net, seen = model(seed=RANK), []

    def loss(net, rows, generator):
        seen.append((torch.rand(1, generator=generator).item(), torch.rand(1).item(), len(rows)))
        return squared_error_loss(net, rows)

    torch.manual_seed(7)
    out = io.StringIO()
    with redirect_stdout(out):
        history = fit(net, loss, X, epochs=2, batch_size=64, progress=True)
    after = torch.rand(1).item()
    seconds = processes.join().seconds
    return {"seen": seen, "after": after, "printed": out.getvalue(), "weights": weights(net)} | {
        "train": history.train,
        "seconds": seconds,
    }


def early_stopping():
    net = model()
    options = {"epochs": 3000, "batch_size": 6, "rate": 0.03, "patience": 10}
    history = fit(net, squared_error_loss, X[:12], X[-201:], **options)
    best = training.evaluate(net, squared_error_loss, X[-201:])
    return {"history": vars(history) | {"seconds": 0}, "best": best, "weights": weights(net)}


def failing(what, rank=1, at=20):
    """A loss in which one rank does something at one of its calls; each epoch has nine."""
    calls = 0

    def loss(net, rows, generator):
        nonlocal calls
        calls += 1
        value = squared_error_loss(net, rows)
        return what(net, value) if (RANK, calls) == (rank, at) else value

    return loss


def raising(net, value):
    raise KeyError("no such pixel")


def change(net, value):
    with torch.no_grad():
        net.encoder[0].bias += 1e-2
    return value


def layers(activation):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), activation, nn.Linear(6, 6))


def weighted(weights):
    return lambda net, rows, generator: (weights * (net(rows) - rows) ** 2).sum(1).mean()


def schedule_of_one(optimizer, steps):
    if RANK == 1:
        raise KeyError("schedule")
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)


def optimizer_with_hook(net, at):
    """An optimiser with a hook of its script, which fails on one rank after one of its steps."""
    optimizer, calls = torch.optim.Adam(net.parameters(), lr=1e-3), 0

    def hook(*_):
        nonlocal calls
        calls += 1
        if (RANK, calls) == (1, at):
            raise KeyError("no such step")

    optimizer.register_step_post_hook(hook)
    return optimizer


def hooked(at):
    net = model()
    optimizer = optimizer_with_hook(net, at)
    options = {"epochs": 1, "batch_size": 64, "optimizer": optimizer}
    return failure(lambda: fit(net, squared_error_loss, X, **options))


class Counting:
    """A loss that counts its calls; one rank cannot take its state back."""

    calls = 0

    def __call__(self, net, rows, generator):
        return squared_error_loss(net, rows)

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        if RANK == 1:
            raise KeyError("no such state")


def errors(folder):
    other, bad = X.copy(), X.copy()
    other[0] += RANK
    bad[5, 3] = math.nan if RANK == 1 else 0.5
    norm = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    options = {"epochs": 4, "batch_size": 64}
    given = lambda x, loss=squared_error_loss, net=None, **more: failure(  # noqa: E731
        lambda: fit(net or model(), loss, x, **options | more)
    )
    return {
        "nan": given(X, failing(lambda net, value: value * math.nan)),
        "raises": given(X, failing(raising)),
        "raises at once": given(X, failing(raising, at=1)),
        "moved": given(X, failing(change)),
        "bad row": given(bad),
        "other rows": given(other),
        "fewer rows": given(X[RANK:]),
        "other seed": given(X, seed=RANK),
        "other model": given(X, net=Autoencoder((6, 5 + RANK, 2))),
        "other epochs": given(X, epochs=3 + RANK),
        "other layers": given(X, net=layers(nn.ReLU() if RANK else nn.Tanh())),
        "other loss": given(X, weighted(torch.full((6,), 1.0 + RANK))),
        "same loss": given(X, weighted(torch.full((6,), 2.0))),
        "schedule": given(X, schedule=schedule_of_one),
        "bfloat16": given(X, net=model().bfloat16()),
        "one row each": given(X[:130], net=norm),
        "two rows each": given(X[:132], net=norm),
        "held-out loss": given(X, failing(raising, at=10), x_val=X[:9]),
        "step": hooked(at=3),
        "last step": hooked(at=9),
        "state": [given(X, Counting(), checkpoint=folder / "counting.pt") for _ in range(2)][1],
        "checkpoint": given(X, checkpoint=Path("no such folder") / "run.pt"),
        "none": given(X),
    }


def unused():
    """A parameter that no loss reaches is passed over, weight decay or not; buffers agree."""
    net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    net.spare = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.5)
    fit(net, squared_error_loss, X, epochs=2, batch_size=50, optimizer=optimizer)
    return {"spare": net.spare.detach(), "state": net.state_dict()}


class Table(nn.Module):
    """Rows of a table, of which a batch asks for few: their gradient may be sparse."""

    def __init__(self, *, sparse):
        super().__init__()
        self.table = nn.Embedding(50, 6, sparse=sparse)
        self.frozen = nn.Parameter(torch.ones(6), requires_grad=False)

    def forward(self, rows):
        return self.frozen * self.table((10 * rows[:, 0]).long())


def sparse():
    found = {}
    for kind in (True, False):
        torch.manual_seed(1)
        net = Table(sparse=kind)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        options = {"epochs": 2, "batch_size": 64, "optimizer": optimizer}
        found["sparse" if kind else "dense"] = {
            "said": failure(lambda: fit(net, weighted(1.0), X, **options)),  # noqa: B023
            "weights": weights(net),
        }
    return found


def noisy(net, rows, generator):
    mask = torch.nn.functional.dropout(torch.ones_like(rows), 0.1)  # of the global generator
    noise = torch.randn(rows.shape, generator=generator)
    return ((rows - net(mask * rows + 0.1 * noise)) ** 2).sum(1).mean()


def resumed(path, epochs, **options):
    net = model(seed=9)
    options = {"batch_size": 64, "patience": 9, "checkpoint": path} | options
    history = fit(net, noisy, X[:300], X[:51], epochs=epochs, **options)
    return {"weights": weights(net), "train": history.train, "val": history.val}


def checkpoints(folder):
    path, gather, files = folder / "team.pt", processes.Group.gather, []

    def noted(group, value):
        files.append(isinstance(value, dict) and "ranks" in value)
        return gather(group, value)

    stopped = resumed(path, 2)
    processes.Group.gather = noted
    on = resumed(path, 5)
    processes.Group.gather = gather
    found = {"stopped": stopped, "on": on, "whole": resumed(None, 5), "gathered": sum(files)}
    return found | {"of one": failure(lambda: resumed(None if RANK else path, 6))}


def shard_files(folder):
    """Rows in files, of each rank its own blocks; the loss sees each of them once an epoch."""
    inside = folder / "shards"
    with processes.together(processes.join(60)):
        if RANK == 0:
            inside.mkdir()
            for i, rows in enumerate(np.split(X, [300, 301, 700])):
                np.save(inside / f"{i}.npy", rows)
    rows_of, most = [], []

    def loss(net, rows, generator):
        if net.training:
            rows_of.append(rows.clone())
        return squared_error_loss(net, rows)

    read = shards._Source.read

    def counted(source, numbers, into):
        most.append(len(numbers))
        return read(source, numbers, into)

    shards._Source.read = counted
    options = {"epochs": 2, "batch_size": 64, "max_bytes": 400 * 24}
    history = fit(model(), loss, inside, inside, **options)
    shards._Source.read = read
    options["max_bytes"] += 100 * 24 * RANK
    refused = failure(lambda: fit(model(), squared_error_loss, inside, **options))
    found = {"rows": rows_of, "most": max(most), "refused": refused}
    return found | {"train": history.train, "val": history.val}


def small_recipe(folder):
    recipe.RECIPES = {"short": recipe.Recipe(2, 2, (784, 8, 8, 2), batch_size=32)}
    recipe.SAMPLES = 5
    recipe._file = lambda: folder / "stored" / "recipe.json"
    images = np.random.default_rng(0).random((100, 784)).astype(np.float32)
    data.mnist = lambda: type("Images", (), {"x_train": images, "x_test": images[:20]})
    recipe.measure.__kwdefaults__["samples"] = 5
    out = io.StringIO()
    with redirect_stdout(out):
        recipe.main(["short"])
    refused = failure(
        lambda: recipe.train(recipe.Recipe(1, 2, batch_size=33), torch.from_numpy(images))
    )
    return {"printed": out.getvalue(), "refused": refused}


def started_by_others():
    """The last case of a run: the group that fit has started ends, and another one begins."""
    processes._end()
    store = dist.FileStore(os.environ["TEAM_STORE"], SIZE)
    dist.init_process_group("gloo", store=store, rank=RANK, world_size=SIZE)
    group = processes.join(1.0)
    result = curves()
    return {"kept": dist.is_initialized(), "store": group.store, **result}


# Faults: each ends the run ------------------------------------------------------------------------
def killed(folder):
    """Rank 1 is killed in its third epoch, the first time; started again, both go on."""
    path, seen = folder / "killed.pt", 0
    once = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"

    def loss(net, rows, generator):
        nonlocal seen
        seen += net.training
        if once and RANK == 1 and seen == 8:  # three batches an epoch
            os.kill(os.getpid(), signal.SIGKILL)
        return noisy(net, rows, generator)

    net = model(seed=9)
    loss.state_dict, loss.load_state_dict = dict, lambda state: None  # what it counts is no state
    options = {"batch_size": 64, "patience": 9, "checkpoint": path, "epochs": 5}
    history = fit(net, loss, X[:300], X[:51], **options)
    return {"weights": weights(net), "train": history.train, "seen": seen}


def lost(folder):
    """Rank 1 is killed or asleep; rank 0 says so, and has its best weights."""
    kept, net = [], model()
    asleep = folder.name == "asleep"

    def loss(net, rows, generator):
        if not net.training:
            kept.append(weights(net))
            return torch.tensor(float(len(kept)))  # the first epoch stays the best
        if len(kept) == 2 and RANK == 1:
            os.kill(os.getpid(), signal.SIGSTOP if asleep else signal.SIGKILL)
        return squared_error_loss(net, rows)

    start = []

    def train():
        processes.join(5 if asleep else 60)
        start.append(time.monotonic())
        fit(net, loss, X[:100], X[:51], epochs=9, batch_size=64, patience=8)

    said = failure(train)
    took = time.monotonic() - start[0]
    return {"said": said, "took": took, "best": torch.equal(weights(net), kept[0])}


def main(folder, *names):
    folder, results = Path(folder), {}
    for name in names:
        case = globals()[name]
        results[name] = case(folder) if case.__code__.co_argcount else case()
        torch.save(results, folder / f"rank{RANK}.pt")


if __name__ == "__main__":
    assert parallel.cut(5, 0, 2) == (0, 2)
    main(*sys.argv[1:])
