"""One training on several processes: each computes on its part of every batch.

The gradients are averaged by one sum over the processes after the backward pass, with the numbers
of rows as weights. PyTorch's ``DistributedDataParallel`` sends the first gradients while the last
are still computed, which saves time with large models. It does not serve here. It divides by the
number of processes, whatever rows each had. It waits for each process in each backward pass, so
that a loss that raises an error on one leaves the others waiting; here that process takes part in
the sum, and says in it that it failed. And it has to be called as a module, while a loss here calls
those parts of a model that it needs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.checkpoints import differences
from course_utils.processes import Group
from course_utils.shards import ShardedRows
from course_utils.streaming import StreamedRows

Rows: TypeAlias = Tensor | StreamedRows


class Part(NamedTuple):
    """What one rank computes on in an epoch.

    Attributes:
        counts: rows of this rank in each batch.
        shares: the same as a part of the rows that all ranks have in that batch.
        batches: the rows, of one batch after another. Where the count is 0, one row all the same,
            which does not count: so the loss is called as often on each rank.
    """

    counts: list[int]
    shares: list[float]
    batches: Iterator[Tensor]


def noise_seed(seed: int, rank: int, stream: int = 0) -> int:
    """A seed for what one rank draws alone: another one for each three numbers."""
    return int(np.random.SeedSequence([seed, rank, stream]).generate_state(1)[0])


@contextmanager
def own_noise(group: Group | None, seed: int, place: torch.device) -> Iterator[None]:
    """Inside the block PyTorch's global generator, dropout's, is another one on each rank."""
    if group is None:
        yield
        return
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(noise_seed(seed, group.rank, stream=1))
        yield


def ways(
    group: Group | None,
    seed: int,
    place: torch.device,
    one_epoch: Callable[..., float],
    evaluate: Callable[..., float],
) -> tuple[Callable[..., float], Callable[..., float], list[torch.Generator]]:
    """What trains for an epoch, what computes the held-out loss, and the generators in use.

    Of these the first one is for noise; alone, for the order too.
    """
    order = torch.Generator(place).manual_seed(seed)
    if group is None:
        return one_epoch, evaluate, [order]
    noise = torch.Generator(place).manual_seed(noise_seed(seed, group.rank))
    return partial(epoch, group, order), partial(held_out_loss, group, evaluate), [noise, order]


def begin(
    group: Group, model: nn.Module, optimizer: torch.optim.Optimizer, described: dict[str, Any]
) -> None:
    """See that all ranks have been given the same, and give them the weights of rank 0.

    Raises:
        ValueError: a rank was given something else than rank 0; says what.
    """
    first = group.gather(described)[0]
    with group.together():
        if differs := differences(first, described, "on rank 0", f"on rank {group.rank}"):
            raise ValueError(f"all ranks must be given the same, got {differs}")
    group.copy_from_first([*model.parameters(), *model.buffers(), *parameters(optimizer)])


def placed(x: Rows, place: torch.device, group: Group | None) -> Rows:
    """Rows on the device; of several ranks each will copy what it needs of a tensor to its GPU."""
    part_of_it = group is not None and isinstance(x, Tensor) and place.type != "cpu"
    return x if part_of_it else x.to(place)


def epoch(
    group: Group,
    order: torch.Generator,
    model: nn.Module,
    loss: Callable[[nn.Module, Tensor, torch.Generator], Tensor],
    x: Rows,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    generator: torch.Generator,
    epoch: int,
) -> float:
    """Train as ``training._epoch`` does, on this rank's part; return the mean over all rows."""
    from course_utils.training import clear_denormals

    model.train()
    part = draw(group, order, x, batch_size, generator.device)
    average = Average(group, optimizer)
    values = torch.zeros(len(part.counts), device=generator.device)
    failed: Exception | None = None  # on this rank; the others hear of it in the next sum

    def compute(i: int) -> None:
        value = loss(model, next(part.batches), generator)
        value.backward()
        values[i] = value.detach()

    def step(i: int) -> None:
        optimizer.step()
        if scheduler:
            scheduler.step()
        if i % 100 == 0:
            clear_denormals(optimizer)

    for i, share in enumerate(part.shares):
        optimizer.zero_grad()
        failed = failed or _error_of(compute, i)
        look = values.is_cpu or i % 100 == 99 or i == len(values) - 1  # a GPU waits at each look
        if average(0.0 if failed else share, failed=failed is not None, look=look):
            group.tell(failed)
        failed = failed or _error_of(step, i)
    group.tell(failed)  # of the last step
    agree(group, model, optimizer)
    return mean(group, values.cpu(), part.counts, epoch)


def _error_of(act: Callable[[int], None], i: int) -> Exception | None:
    """Return the error of a call, or None without one."""
    try:
        act(i)
    except Exception as error:
        return error
    return None


class Average:
    """The mean over all rows of a batch of what each rank has computed for its own.

    One buffer holds all gradients, and behind them 1 for each parameter that has one, and 1 where
    this rank has failed. With shares that add up to 1, its sum over the ranks is the mean.
    """

    def __init__(self, group: Group, optimizer: torch.optim.Optimizer) -> None:
        self.group, self.parameters = group, parameters(optimizer)
        self.sizes = [each.numel() for each in self.parameters]
        with torch.no_grad():
            self.flags = torch.cat([each.new_ones(1) for each in self.parameters])
            self.has = [True] * len(self.parameters)  # what the flags say
            zeros = [torch.zeros_like(each).reshape(-1) for each in self.parameters]
            self.flat = torch.cat([*zeros, self.flags, self.flags[:1]])

    @torch.no_grad()
    def __call__(self, share: float, *, failed: bool, look: bool) -> bool:
        """Replace each gradient by the mean; tell, where one looks, whether any rank has failed."""
        has = [share > 0 and each.grad is not None for each in self.parameters]
        own = [
            _dense(each.grad).reshape(-1) if there else torch.zeros_like(each).reshape(-1)
            for each, there in zip(self.parameters, has, strict=True)
        ]
        if has != self.has:
            self.has, self.flags = has, torch.tensor(has).to(self.flags)
        torch.cat([*own, self.flags, self.flags.new_ones(1)], out=self.flat)
        self.flat[:-1] *= share
        self.flat[-1:] *= failed
        self.group.add(self.flat)
        if look and self.flat[-1] > 0:
            return True
        # what no rank has a gradient for, the optimiser passes over; a GPU waits where one asks
        given = zip(self.parameters, has, strict=True)
        known = all(there or not each.requires_grad for each, there in given)
        anyone = has if known else (self.flat[-1 - len(has) : -1] > 0).tolist()
        pieces = self.flat[: sum(self.sizes)].split(self.sizes)
        for each, piece, there in zip(self.parameters, pieces, anyone, strict=True):
            each.grad = piece.view_as(each).to(each.dtype) if there else None
        return False


def _dense(gradient: Any) -> Tensor:
    """A gradient as one number for each weight; that of an embedding may list those it has."""
    return gradient.to_dense() if gradient.is_sparse else gradient


def parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All that an optimiser moves."""
    return [each for group in optimizer.param_groups for each in group["params"]]


def draw(
    group: Group, order: torch.Generator, x: Rows, batch_size: int, place: torch.device
) -> Part:
    """Draw an epoch's order, the same on all ranks, and take this rank's part of each batch."""
    if isinstance(x, ShardedRows):
        return _dealt(group, order, x, batch_size)
    numbers = torch.randperm(len(x), generator=order, device=order.device)
    counts, shares, rows = [], [], []
    for batch in numbers.cpu().split(batch_size * group.size):
        start, stop = cut(len(batch), group.rank, group.size)
        counts.append(stop - start)
        shares.append((stop - start) / len(batch))
        rows.append(batch[start:stop] if stop > start else batch[:1])
    if isinstance(x, StreamedRows):
        return Part(counts, shares, x.batches(rows))
    if place.type == "cpu":
        return Part(counts, shares, (x.index_select(0, each) for each in rows))
    # of the rows, a GPU holds what its rank needs in this epoch
    own = x.index_select(0, torch.cat(rows).to(x.device)).to(place)
    return Part(counts, shares, iter(own.split([len(each) for each in rows])))


def _dealt(group: Group, order: torch.Generator, x: ShardedRows, batch_size: int) -> Part:
    """Where ranks are dealt files or blocks of them, each cuts its own rows in as many batches."""
    hands, steps = x.deal(order, group.size), -(-len(x) // (batch_size * group.size))
    held = [sum(map(len, hand)) for hand in hands]
    counts, shares = [], []
    for i in range(steps):
        bounds = [cut(n, i, steps) for n in held]
        sizes = [stop - start for start, stop in bounds]
        counts.append(sizes[group.rank])
        shares.append(sizes[group.rank] / sum(sizes))
    return Part(counts, shares, x.batches_of(hands[group.rank], counts))


def fewest_rows(x: Rows, batch_size: int, ranks: int) -> int:
    """How many rows the smallest batch of a rank has; where files are dealt, at least."""
    whole = batch_size * ranks
    if ranks > 1 and isinstance(x, ShardedRows):  # ranks differ by a block, batches by a row
        least = len(x) - (ranks - 1) * x.source.block
        return max(0, least) // ranks // -(-len(x) // whole)
    return (len(x) % whole or whole) // ranks


def cut(n: int, i: int, parts: int) -> tuple[int, int]:
    """Where part i of n rows starts and stops, cut in parts that differ by one row at most.

    >>> [cut(7, i, 3) for i in range(3)]
    [(0, 2), (2, 4), (4, 7)]
    """
    return n * i // parts, n * (i + 1) // parts


def agree(group: Group, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Give all ranks the same buffers: the mean of each; see that their weights are the same.

    Running means of a batch normalisation are buffers, and each rank has seen other rows.

    Raises:
        RuntimeError: weights differ by more than rounding on unlike machines explains.
    """
    with torch.no_grad():
        for each in model.buffers():
            if each.is_floating_point():
                values = each.detach().clone() / group.size
                group.add(values)
                each.copy_(values)
        group.copy_from_first(each for each in model.buffers() if not each.is_floating_point())
        norms = [float(each.double().norm()) for each in parameters(optimizer)]
    for rank, others in enumerate(group.gather(norms)):
        if not np.allclose(others, norms, rtol=1e-5, atol=0, equal_nan=True):
            raise RuntimeError(
                f"weights must be the same on all ranks, got others on rank {rank} than on rank"
                f" {group.rank}: does something change them apart from the optimiser?"
            )


def mean(group: Group, values: Tensor, counts: list[int], epoch: int) -> float:
    """The mean of an epoch's losses over the rows of all ranks.

    Raises:
        FloatingPointError: one is not finite; names the first such batch and its rank, on all.
    """
    values[torch.tensor(counts) == 0] = 0.0
    bad = (~torch.isfinite(values)).nonzero()
    first = (int(bad[0]), group.rank, float(values[bad[0]])) if len(bad) else None
    total = float((values.double() * torch.tensor(counts)).sum())
    told = group.gather((first, total, sum(counts)))
    if any(each for each, _, _ in told):
        i, rank, value = min(each for each, _, _ in told if each)
        why = "look for a logarithm or an exponential of a large number, or lower the rate"
        where = f"on rank {rank} in epoch {epoch}, batch {i + 1} of {len(values)}"
        raise FloatingPointError(f"the loss is {value} {where}: {why}")
    return sum(each for _, each, _ in told) / sum(n for _, _, n in told)


def held_out_loss(
    group: Group,
    evaluate: Callable[..., float],
    model: nn.Module,
    loss: Callable[[nn.Module, Tensor, torch.Generator], Tensor],
    x: Rows,
    *,
    seed: int,
) -> float:
    """The mean of a loss over all held-out rows, each rank evaluating its part of them."""
    start, stop = cut(len(x), group.rank, group.size)
    one = slice(start, stop) if stop > start else slice(0, 1)  # which does not count
    with group.together():
        part = x.part(one) if isinstance(x, StreamedRows) else x[one]
        value = evaluate(model, loss, part, seed=noise_seed(seed, group.rank))
    told = group.gather(value * (stop - start) if stop > start else 0.0)
    return sum(told) / len(x)
