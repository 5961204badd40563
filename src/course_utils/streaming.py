"""Rows that stay where they are, and are fetched a batch at a time: data larger than the memory."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from course_utils.rows import as_rows, is_pair, item_of, length, table_values
from course_utils.shapes import expect_whole

COPIES = 3  # of a batch: its items, the same joined, and the batch before, still in use
T = TypeVar("T")


@dataclass(frozen=True)
class StreamedRows:
    """In place of one tensor of rows: what a training loop asks of it, fetched when asked for.

    Attributes:
        n: number of rows.
        fetch: gives the rows of a list of numbers, as one tensor.
        at_once: rows that fit in the memory allowed.
        device: where fetched rows go.
        ahead: whether a thread may fetch the next rows while these are in use. Only where nothing
            but NumPy and PyTorch runs in it: what somebody's data set draws at random in a thread
            would depend on chance.
        dealt: whether the order of an epoch is this object's own, see ``shards.ShardedRows``.
    """

    n: int
    fetch: Callable[[list[int]], Tensor]
    at_once: int
    device: str | torch.device = "cpu"
    ahead: bool = False
    dealt: ClassVar[bool] = False

    def __len__(self) -> int:
        return self.n

    def to(self, device: str | torch.device) -> "StreamedRows":
        """Fetch to this device from now on."""
        return replace(self, device=device)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Fetch these rows; ``dim`` is 0."""
        return self.fetch(rows.tolist()).to(self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """Fetch all rows in order, ``size`` at a time, or as many as fit."""
        size = min(size, self.at_once)
        return self.batches(
            torch.arange(start, min(start + size, self.n)) for start in range(0, self.n, size)
        )

    def batches(self, numbers: Iterable[Tensor]) -> Iterator[Tensor]:
        """Fetch the rows of these numbers, one batch after another."""
        fetch = partial(self.index_select, 0)
        return in_advance(fetch, numbers) if self.ahead else map(fetch, numbers)

    def part(self, rows: slice) -> "StreamedRows":
        """Only these rows, as if there were no others."""
        chosen = range(self.n)[rows]

        def fetch(numbers: list[int]) -> Tensor:
            return self.fetch([chosen[i] for i in numbers])

        return replace(self, n=len(chosen), fetch=fetch)

    def drawn(
        self, batch_size: int, generator: torch.Generator
    ) -> tuple[list[int], Iterator[Tensor]]:
        """Draw the batches of an epoch, as the function ``drawn`` does."""
        order = torch.randperm(self.n, generator=generator, device=generator.device)
        numbers = order.cpu().split(batch_size)
        return [len(each) for each in numbers], self.batches(numbers)


def in_advance(fetch: Callable[[T], Tensor], requests: Iterable[T]) -> Iterator[Tensor]:
    """Answer requests one after another; a thread fetches the next while this one is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = None
        for request in requests:
            ready = coming and coming.result()
            coming = thread.submit(fetch, request)
            if ready is not None:
                yield ready
        if coming:
            yield coming.result()


def drawn(
    x: Tensor | StreamedRows, batch_size: int, generator: torch.Generator
) -> tuple[list[int], Iterator[Tensor]]:
    """Draw the batches of an epoch in a random order: how many rows each has, and the rows."""
    if isinstance(x, StreamedRows):
        return x.drawn(batch_size, generator)
    numbers = torch.randperm(len(x), generator=generator, device=x.device).split(batch_size)
    # index_select is x[each], a little quicker
    return [len(each) for each in numbers], (x.index_select(0, each) for each in numbers)


def rows_within(
    name: str,
    x: Any,
    model: nn.Module,
    *,
    unit_range: bool = False,
    max_bytes: int | None = None,
    at_least: int = 1,
) -> Tensor | StreamedRows:
    """Return ``as_rows`` where that takes at most ``max_bytes``, else rows that are streamed.

    A path is one to a folder of .npy files: see ``shards.rows_of_folder``.

    Of streamed rows there are never so many at once that they take more, the copies counted that
    are made while a batch is put together. What lies in memory already, an array or a list, is
    streamed too: then what is spared is the copy of the model's type on its device. A table is
    first made an array. Rows are counted in the model's type: items of a wider type, as float64,
    take twice that while they are joined.

    Args:
        name, x, model, unit_range: as in ``as_rows``.
        max_bytes: the most that the rows may take; None for any size.
        at_least: rows that are needed at once, a batch.

    Raises:
        TypeError, ValueError: as ``as_rows``, of the first row before anything is streamed, of
            each other one when it is fetched: ``x_train[713] must …``. Or ``max_bytes`` is no
            whole number, or too small for ``at_least`` rows.
    """
    if isinstance(x, StreamedRows):
        return x
    if isinstance(x, (str, os.PathLike)):
        from course_utils.shards import rows_of_folder  # which is made of what is here

        return rows_of_folder(
            name, x, model, unit_range=unit_range, max_bytes=max_bytes, at_least=at_least
        )
    if max_bytes is None:
        return as_rows(name, x, model, unit_range=unit_range)
    expect_whole("max_bytes", max_bytes, 1)
    x = table_values(name, x) if hasattr(x, "to_numpy") else x
    if is_pair(x):  # a column of a table would pick rows by its index
        x = tuple(np.asarray(part) if hasattr(part, "to_numpy") else part for part in x)
    n = _number_of_rows(name, x)
    if n == 0:
        return as_rows(name, x, model, unit_range=unit_range)  # which says what is missing
    first = as_rows(name, _pick(name, x, [0]), model, unit_range=unit_range)
    size = max(1, first.numel() * first.element_size())
    by_item = not isinstance(x, (np.ndarray, Tensor)) and not is_pair(x)
    if (2 if by_item else 1) * n * size <= max_bytes:  # items, and the same joined
        return as_rows(name, x, model, unit_range=unit_range)
    needed = min(at_least, n)
    if max_bytes < COPIES * size * needed:
        raise ValueError(
            f"max_bytes must hold {needed} rows of {name} at once, {COPIES} times {needed * size}"
            f" bytes, got {max_bytes}"
        )
    fetch = partial(_fetch, name, x, model, tuple(first.shape[1:]), unit_range)
    return StreamedRows(n, fetch, max_bytes // (COPIES * size), ahead=not by_item)


def _fetch(
    name: str, x: Any, model: nn.Module, shape: tuple, unit_range: bool, numbers: list[int]
) -> Tensor:
    """The rows of these numbers, each of this shape; an error names the first row to blame."""

    def rows(name: str, numbers: list[int]) -> Tensor:
        found = as_rows(name, _pick(name, x, numbers), model, unit_range=unit_range)
        if found.shape[1:] != shape:
            got = tuple(found.shape[1:])
            raise ValueError(f"{name} must have the first row's shape {shape}, got {got}")
        return found

    try:
        return rows(name, numbers)
    except Exception:
        for i in numbers:  # alone, the row to blame names itself
            rows(f"{name}[{i}]", [i])
        raise


def _number_of_rows(name: str, x: Any) -> int:
    """How many rows can be asked for by number; 0 where ``as_rows`` is to say what is wrong."""
    if isinstance(x, DataLoader):
        return _number_of_items(name, x)
    if isinstance(x, Dataset):
        return length(name, x)
    if is_pair(x):
        return len(x[0])
    many = isinstance(x, (np.ndarray, Tensor)) and x.ndim > 1 or isinstance(x, (list, tuple))
    return len(x) if many else 0


def _number_of_items(name: str, loader: DataLoader) -> int:
    """How many items a loader's data set has, where the loader gives each of them once."""
    if getattr(loader, "drop_last", False):
        raise TypeError(
            f"{name} must give each of its items to be streamed under max_bytes, got a DataLoader"
            " with drop_last=True: pass its data set, or no max_bytes"
        )
    plain = type(loader.batch_sampler) is BatchSampler and (
        type(loader.sampler) is SequentialSampler
        or (type(loader.sampler) is RandomSampler and not loader.sampler.replacement)
    )
    if plain and not isinstance(loader.dataset, IterableDataset):
        return length(name, loader.dataset)
    sampler = loader.batch_sampler if type(loader.batch_sampler) is not BatchSampler else None
    what = loader.dataset if isinstance(loader.dataset, IterableDataset) else sampler
    raise TypeError(
        f"{name} must give each of its items by number to be streamed under max_bytes, got a"
        f" DataLoader with {type(what or loader.sampler).__name__}: pass a Dataset with items by"
        " number, or no max_bytes"
    )


def _pick(name: str, x: Any, numbers: list[int]) -> Any:
    """Some rows of x, as something that ``as_rows`` takes."""
    if is_pair(x):
        return x[0][numbers], x[1][numbers]
    if isinstance(x, (np.ndarray, Tensor)):
        return x[numbers]
    whole = name.partition("[")[0]
    if isinstance(x, DataLoader):
        items = _Items([item_of(whole, x.dataset, i) for i in numbers])
        seedless = torch.Generator()  # so that the loader draws nothing from the global one
        return DataLoader(items, batch_size=len(items), collate_fn=x.collate_fn, generator=seedless)
    rows = [item_of(whole, x, i) for i in numbers]
    return _Items(rows) if isinstance(x, Dataset) else rows


class _Items(Dataset):
    """Items that have been read."""

    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        return self.items[i]
