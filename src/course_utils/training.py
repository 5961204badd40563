"""One training loop for every model and every loss of the course."""

import copy
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import parallel, runtime
from course_utils.arguments import named_errors
from course_utils.bars import tqdm
from course_utils.checkpoints import Checkpoint, describe
from course_utils.plots import COLORS
from course_utils.precision import products
from course_utils.processes import join, together
from course_utils.shapes import expect_whole
from course_utils.streaming import StreamedRows, drawn, rows_within

Loss = Callable[[nn.Module, Tensor, torch.Generator], Tensor]
Schedule = Callable[[torch.optim.Optimizer, int], torch.optim.lr_scheduler.LRScheduler]


@dataclass
class History:
    """What happened while a model was trained.

    Attributes:
        train: mean loss of each epoch, over its rows, while the weights were moving.
        val: loss on held-out data after each epoch; empty where there was none.
        best_epoch: the epoch (from 1) with the lowest held-out loss, or the last one without any.
        restored: whether the model has the weights of ``best_epoch`` rather than the last ones.
        seconds: of training, without the held-out losses.
        precision: in which the products were computed; for "fast", what that stood for.
    """

    train: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)
    best_epoch: int = 0
    restored: bool = False
    seconds: float = 0.0
    precision: str = "highest"

    def plot(self, ax: Axes, *, label: str = "loss") -> Axes:
        """Draw the losses over epochs on ``ax``, the best epoch marked; return ``ax``."""
        above = bool(self.val) and self.val[-1] > self.train[-1]
        for values, name, color, up in (
            (self.train, "training", 0, not above),
            (self.val, "held out", 6, above),
        ):
            if values:  # each curve's name at its end, the upper one's above it
                ax.plot(range(1, len(values) + 1), values, color=COLORS[color])
                ax.annotate(
                    name,
                    (len(values), values[-1]),
                    (6, 3 if up else -3),
                    textcoords="offset points",
                    va="bottom" if up else "top",
                    color=COLORS[color],
                    weight="bold",
                )
        if self.val:
            ax.plot(self.best_epoch, self.val[self.best_epoch - 1], "o", color=COLORS[6])
        ax.set_xlabel("epoch")
        ax.set_ylabel(label)
        return ax

    def __str__(self) -> str:
        text = f"{len(self.train)} epochs: training loss {self.train[-1]:.2f}"
        if self.val:
            text += f", held-out loss {self.val[-1]:.2f}, best {self.val[self.best_epoch - 1]:.2f}"
            text += f" in epoch {self.best_epoch}" + (" (restored)" if self.restored else "")
        return text


def fit(
    model: nn.Module,
    loss: Loss,
    x_train: Any,
    x_val: Any = None,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    rate: float = 1e-3,
    patience: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    schedule: Schedule | None = None,
    precision: str = "highest",
    max_bytes: int | None = None,
    checkpoint: str | os.PathLike | None = None,
    timeout: float = 300.0,
    progress: bool = True,
) -> History:
    """Train ``model`` in place to make ``loss`` small on ``x_train``; report and return a history.

    The data lie in one tensor on the device, and batches are drawn by index. Data that would take
    more than ``max_bytes`` stay where they are, and the rows of each batch are fetched. The
    training loss is read back once an epoch, so that a GPU does not wait at each step. The same
    seed, weights, data, machine and number of threads give the same result, on a GPU inside
    ``runtime.deterministic``, also where data are streamed; from a folder the rows come in another
    order then, which ``max_bytes`` decides.

    Started by ``torchrun --nproc-per-node=2 script.py``, or in a process group that is there, the
    same call trains one model on several processes, see ``parallel``. Each is given the same data,
    computes on its part of every batch, and ends with the same weights and history; one shows the
    bar. Where one process would train on batches of 128, two do it on 64 each, with the same losses
    but for rounding and noise. Each holds all rows in its memory; only what is streamed, and what
    lies on GPUs, is shared out among them. A loader that shuffles must do it alike: call
    ``torch.manual_seed`` in each process before, or take ``shuffle=False``.

    Args:
        model: any module; moved to the device.
        loss: ``loss(model, x, generator)`` returns the mean over the rows of ``x``, one number.
            Where it or the model has a true attribute ``needs_unit_range``, all data must lie in
            [0, 1].
        x_train, x_val: (n, …) floats, at least one row: arrays, tensors, tables, lists of images,
            data sets and loaders, which are read once, and for a conditional model pairs (images,
            labels); see ``rows.as_rows``. Or the path of a folder of .npy files, which
            ``shards.rows_of_folder`` reads. ``x_val`` is held out.
        epochs, batch_size: at least 1. The last batch of an epoch may be smaller. Of several
            processes each has ``batch_size`` rows at once; those of a batch normalisation are its
            own.
        rate: step size of Adam, above 0.
        patience: stop after this many epochs without a lower held-out loss, and go back to the
            weights of the best epoch, also where training ends in an error. A held-out loss that
            is not finite is no lower one. None: never stop early, keep the last weights.
        seed: of the order of the data and of any noise in the loss, which is another one in each
            process.
        device: None for a GPU if there is one, else the CPU. None and "cuda" are another GPU for
            each process of a machine.
        optimizer: in place of Adam; made from this model's parameters, on this device.
        schedule: called once with the optimiser and the number of steps to come; what it returns,
            one of ``torch.optim.lr_scheduler``, changes the step size after each step.
        precision: of the model's products while training, see ``precision.products``: "highest",
            "high", "medium", "bfloat16", or "fast", the quickest of them by the rule of
            ``runtime.fast_precision``. The history says which. Held-out losses are computed as
            outside ``fit``.
        max_bytes: the most that the rows of ``x_train`` may take, and those of ``x_val``; None for
            any size. What takes more is streamed: see ``streaming.rows_within``. Of a loader
            the data set and its ``collate_fn`` are used, with the order and the batches of this
            function, in this process. A row that cannot be used is named when it is first
            fetched: ``x_train[713] must …``. Held-out rows are evaluated 1000 at a time; where
            fewer fit, their loss differs in its rounding and its noise.
        checkpoint: the path of a file, written anew after each epoch, in one step: stopped at any
            moment, there is the old one or the new one. Where it is there at the start, training
            goes on from it, on the same machine to the same weights as if it had never stopped; a
            finished one is read and nothing trained. ``checkpoints.best_weights`` gives the best
            weights so far. Without a schedule, ``epochs`` may be more than they were. A loss with a
            state needs ``state_dict`` and ``load_state_dict``; a list that only grows is a record,
            and no state. The global generators of PyTorch, NumPy and Python go on where they were.
            Of several processes, which all must be given one, the first reads and writes it; with
            ``torchrun --max-restarts=3`` a killed one does not end all.
        timeout: seconds that a process waits for another one, where this call is the first to need
            it; then, or as soon as the connection breaks, ``ProcessLost`` names who did not answer.
            The file of ``checkpoint`` has the epochs before.
        progress: show a bar while training, and one line at the end.

    Raises:
        ValueError: an argument is out of its range; data are empty, not finite, or outside [0, 1]
            where the loss needs that; ``patience`` without ``x_val``; the file of ``checkpoint`` is
            of another training, says which; processes were given different things.
        TypeError: data are not of numbers; or a loss has a state that ``checkpoint`` would forget,
            says which; or the model's weights are in parts (``fully_shard``).
        OSError: the file of ``checkpoint`` cannot be written; the one before is whole.
        FloatingPointError: the loss is no longer finite; names the first such epoch and batch, and
            the process. Or the held-out loss was not finite after any epoch.
        RuntimeError: another process has stopped; says which, and why.
        ProcessLost: another process is gone, or later than ``timeout``.
    """
    group = join(timeout)  # None: this process is alone
    ranks = group.size if group else 1
    with together(group):
        _check(epochs=epochs, batch_size=batch_size, rate=rate, patience=patience, x_val=x_val)
        name = None if device is None else str(device)
        place = group.device(name) if group else runtime.device(name)
        _check_whole(model)
        model.to(place)
        unit_range = _needs_unit_range(model, loss)
        rows = partial(rows_within, model=model, unit_range=unit_range, max_bytes=max_bytes)
        x = parallel.placed(rows("x_train", x_train, at_least=batch_size), place, group)
        _check_last_batch(model, x, batch_size, ranks)
        held_out = None if x_val is None else parallel.placed(rows("x_val", x_val), place, group)
        optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=rate, fused=True)
        run: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "patience": patience}
        run |= {"precision": precision, "processes": ranks}
        if group or checkpoint is not None:
            run |= describe(model, optimizer, loss, schedule, epochs, x_train=x, x_val=held_out)
    if group:
        alike = {"epochs": epochs, "checkpoint": "none" if checkpoint is None else "given"}
        parallel.begin(group, model, optimizer, run | alike)
    one_epoch, held_out_loss, generators = parallel.ways(group, seed, place, _epoch, evaluate)
    steps = epochs * -(-len(x) // (batch_size * ranks))
    with together(group):
        scheduler = schedule(optimizer, steps) if schedule else None
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    kept = None
    if checkpoint is not None:
        kept = Checkpoint(Path(checkpoint), run, parts, loss, generators, group)
    history, best, lowest = History(), None, math.inf
    progress = progress and (group is None or group.rank == 0)
    bar = tqdm(total=epochs, file=sys.stdout, leave=False, disable=not progress, unit="epoch")
    try:
        with bar, parallel.own_noise(group, seed, place):
            if kept:
                best = kept.resume(history, epochs)
                lowest = history.val[history.best_epoch - 1] if best else math.inf
                bar.update(len(history.train))
            for epoch in range(len(history.train) + 1, epochs + 1):
                if patience and epoch - 1 - history.best_epoch >= patience:
                    break
                start = time.perf_counter()
                with products(model, precision) as history.precision:
                    history.train.append(
                        one_epoch(
                            model, loss, x, batch_size, optimizer, scheduler, generators[0], epoch
                        )
                    )
                history.seconds += time.perf_counter() - start
                if held_out is None:
                    history.best_epoch = epoch
                else:
                    history.val.append(held_out_loss(model, loss, held_out, seed=seed))
                    if -math.inf < history.val[-1] < lowest:  # a tie is no gain; nan is never lower
                        lowest, history.best_epoch = history.val[-1], epoch
                        best = copy.deepcopy(model.state_dict()) if patience or kept else None
                if kept:
                    kept.write(history, best)
                bar.set_postfix_str(f"loss {history.train[-1]:.4g}", refresh=False)
                bar.update()
    finally:
        if patience and best is not None:
            model.load_state_dict(best)
            history.restored = history.best_epoch < len(history.train)
    if held_out is not None and not history.best_epoch:
        raise FloatingPointError(
            f"the held-out loss was not finite after any of {len(history.val)} epochs; look at the"
            " loss of each row of x_val"
        )
    if progress:
        print(history)
    return history


def evaluate(
    model: nn.Module,
    loss: Loss,
    x: Any,
    *,
    batch_size: int = 1000,
    seed: int = 0,
    max_bytes: int | None = None,
) -> float:
    """Compute the mean of ``loss`` over the rows of ``x``, without gradients, in evaluation mode.

    Any noise in the loss is the same at each call. The model's mode is as before afterwards.

    Args:
        model, loss: as in ``fit``.
        x: (n, …), at least one row; as in ``fit``.
        batch_size: rows at a time; fewer where ``max_bytes`` holds fewer.
        seed: of any noise in the loss.
        max_bytes: as in ``fit``.

    Raises:
        ValueError: ``x`` is empty, not finite, or outside [0, 1] where the loss needs that;
            ``batch_size`` or ``max_bytes`` is out of its range.
    """
    expect_whole("batch_size", batch_size, 1)
    place = next((p.device for p in model.parameters()), torch.device("cpu"))
    unit_range = _needs_unit_range(model, loss)
    data = rows_within("x", x, model, unit_range=unit_range, max_bytes=max_bytes).to(place)
    generator = torch.Generator(place).manual_seed(seed)
    training = model.training
    model.eval()
    with torch.no_grad():
        values = [
            float(loss(model, part, generator)) * len(part) for part in data.split(batch_size)
        ]
    model.train(training)
    return sum(values) / len(data)


def clear_denormals(optimizer: torch.optim.Optimizer) -> None:
    """Set what is left of long past gradients in Adam's running means, below 1e-33, to zero.

    A unit that is off for all data gets no gradient, and Adam's mean of its gradients shrinks by a
    tenth at each step: after some 800 steps it is below 1.2e-38, a *denormal* number, with which
    many processors are slow. It stays one, as 0.9 times four of the smallest steps rounds to four.
    From 1e-33 it takes 100 steps to get there, so once in 100 steps is enough. No weight changes:
    with the usual β₁ = 0.9 and ε = 1e-8, all steps to come would have moved it by less than
    rate · 1e-23 together, far below the last digit of a weight.

    Source:
        Kingma and Ba (2015), Algorithm 1, https://arxiv.org/abs/1412.6980.
    """
    for state in optimizer.state.values():
        if "exp_avg" in state:
            state["exp_avg"].copy_(F.hardshrink(state["exp_avg"], 1e-33))


def _epoch(
    model: nn.Module,
    loss: Loss,
    x: Tensor | StreamedRows,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    generator: torch.Generator,
    epoch: int,
) -> float:
    """Take one step for each batch of a random order; return the mean loss over rows."""
    model.train()
    counts, batches = drawn(x, batch_size, generator)
    values = torch.empty(len(counts), device=x.device)
    for i, rows in enumerate(batches):
        value = loss(model, rows, generator)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        if i % 100 == 0:
            clear_denormals(optimizer)
        values[i] = value.detach()
    sizes = torch.tensor(counts, dtype=torch.float32)
    values = values.cpu()  # the only wait of the epoch
    if not torch.isfinite(values).all():
        first = int((~torch.isfinite(values)).nonzero()[0])
        raise FloatingPointError(
            f"the loss is {float(values[first])} in epoch {epoch}, batch {first + 1} of"
            f" {len(counts)}: look for a logarithm or an exponential of a large number,"
            " or lower the rate"
        )
    return float((values * sizes).sum() / sizes.sum())


def _needs_unit_range(model: nn.Module, loss: Loss) -> bool:
    return any(getattr(part, "needs_unit_range", False) for part in (model, loss))


def _check(
    *, epochs: int, batch_size: int, rate: float, patience: int | None, x_val: object
) -> None:
    expect_whole("epochs", epochs, 1)
    expect_whole("batch_size", batch_size, 1)
    if not 0 < rate < math.inf:
        raise ValueError(f"rate must be above 0 and finite, got {rate}")
    if patience is not None:
        expect_whole("patience", patience, 1)
        if x_val is None:
            raise ValueError(f"patience must come with x_val, got patience = {patience} alone")


def _check_whole(model: nn.Module) -> None:
    how = "train such a model in a loop of your own, see chapter 22"
    for name, weights in model.named_parameters():
        if hasattr(weights, "device_mesh"):  # a DTensor; PyTorch 2.2 keeps the class elsewhere
            raise TypeError(
                f"model must have whole weights, got {name} in parts, as fully_shard cuts it: {how}"
            )
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules()):
        raise TypeError(f"model must have whole weights, got FullyShardedDataParallel: {how}")


def _check_last_batch(
    model: nn.Module, x: Tensor | StreamedRows, batch_size: int, ranks: int
) -> None:
    """One row alone has no variance for a batch normalisation to divide by."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    if batch_size == 1 or not any(isinstance(part, kinds) for part in model.modules()):
        return
    if parallel.fewest_rows(x, batch_size, ranks) < 2:
        # all rows in one batch are the last to try
        larger = range(batch_size + 1, max(-(-len(x) // ranks), batch_size + 1) + 1)
        serves = (size for size in larger if parallel.fewest_rows(x, size, ranks) > 1)
        size = next(serves, None)
        cure = f"take {size}" if size else "no other serves: take more rows or fewer processes"
        processes = f" and {ranks} processes" if ranks > 1 else ""
        raise ValueError(
            f"batch_size must leave no batch of one row to a model with BatchNorm, got {batch_size}"
            f" for {len(x)} rows{processes}: {cure}"
        )


named_errors(globals())
