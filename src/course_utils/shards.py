"""Rows in a folder of .npy files, *shards*: more than the memory holds, read block by block.

To draw each row at random from a disk costs one search a row. Here the shards are cut in *blocks*
of rows that follow one another. An epoch takes the blocks in a random order, several at a time, and
shuffles the rows of these. While they are in use, a thread reads the next ones.
"""

import io
import itertools
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.rows import as_rows
from course_utils.shapes import expect_whole
from course_utils.streaming import StreamedRows, in_advance

BLOCKS_AT_ONCE = 64  # whose rows are shuffled together, where a block need not be less than a row
LARGEST_BLOCK = 4 * 2**20  # bytes: a disk is long at full speed then
POOLS = 3  # the blocks in use, the next ones, and of held-out rows the same in the order asked for


class Shard(NamedTuple):
    """A file of rows: where they begin in it, how many they are, and what tells it from another."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    stamp: tuple[int, int, int]


def rows_of_folder(
    name: str,
    folder: str | os.PathLike,
    model: nn.Module,
    *,
    unit_range: bool = False,
    max_bytes: int | None = None,
    at_least: int = 1,
) -> "Tensor | ShardedRows":
    """Return the rows of a folder's .npy files, in the order of their names.

    They come as one tensor where that takes at most ``max_bytes``, else as rows that are read while
    they are used: of these there are never so many in memory that they take more.

    Args:
        name, model, unit_range, max_bytes, at_least: as in ``streaming.rows_within``.
        folder: of files that ``np.save`` has written, each an array (n, …) of floats whose rows
            have one shape. Other files in it are left alone. For a conditional model the rows are
            those of ``with_labels``.

    Raises:
        TypeError, ValueError: there is no such folder, or a shard cannot be used: its file is named
            before anything is trained, ``x_train['part-03.npy'] must …``, and its row, where that
            is not finite or out of range, when it is read: ``x_train['part-03.npy'][17] must …``.
            So is a file that was changed or taken away since.
    """
    shards = _opened(name, folder)
    starts = [0, *np.cumsum([shard.shape[0] for shard in shards]).tolist()]
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    dtype = dtype if dtype in (torch.float64, torch.float16) else torch.float32  # NumPy has these
    size = dtype.itemsize * int(np.prod(shards[0].shape[1:]))
    source = _Source(name, shards, starts, dtype, model, unit_range, LARGEST_BLOCK // size or 1)
    if max_bytes is None:
        return source.read(np.arange(starts[-1]), source.room(starts[-1]))
    expect_whole("max_bytes", max_bytes, 1)
    if starts[-1] * size <= max_bytes:
        return source.read(np.arange(starts[-1]), source.room(starts[-1]))
    needed = min(at_least, starts[-1])
    pool = (max_bytes // size - 2 * needed) // POOLS  # beside a batch in use, and the next one
    if pool < 1:
        least = 2 * needed + POOLS
        raise ValueError(
            f"max_bytes must hold {least} rows of {name} at once, {least * size} bytes,"
            f" got {max_bytes}"
        )
    source.block = min(source.block, max(1, pool // BLOCKS_AT_ONCE))
    return ShardedRows(starts[-1], source.fetch, pool, ahead=True, source=source)


@dataclass
class Pool:
    """Blocks of rows that are read at once, and the seed of the order in which they are used.

    The numbers of its rows, which may take more than narrow rows, are there while it is.
    """

    blocks: list[range]
    seed: int | None = None  # None: in order

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def numbers(self) -> Tensor:
        """The numbers of the rows, in the order of their use."""
        numbers = torch.cat([torch.arange(block.start, block.stop) for block in self.blocks])
        if self.seed is None:
            return numbers
        return numbers[_permutation(len(numbers), torch.Generator().manual_seed(self.seed))]


@dataclass(frozen=True)
class ShardedRows(StreamedRows):
    """Rows in files. What is random in the order of an epoch is said at the top of this module."""

    source: Any = field(default=None, repr=False)
    first: int = 0
    dealt: ClassVar[bool] = True

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Read these rows; ``dim`` is 0."""
        return super().index_select(dim, rows + self.first)

    def part(self, rows: slice) -> "ShardedRows":
        """Only these rows, to go through them in order."""
        chosen = range(self.n)[rows]
        return replace(self, n=len(chosen), first=self.first + chosen.start)

    def split(self, size: int) -> Iterator[Tensor]:
        """Read all rows in order, ``size`` at a time, or as many as fit."""
        last, step = self.first + self.n, min(size, self.at_once)
        pools = [
            Pool([range(start, min(start + step, last))]) for start in range(self.first, last, step)
        ]
        return self.batches_of(pools, list(map(len, pools)))

    def deal(self, generator: torch.Generator, ranks: int = 1) -> list[list[Pool]]:
        """Deal the blocks to so many ranks in a random order: of each, its pools.

        Each block goes to the rank that has the fewest rows, so that they differ by one block.
        """
        blocks = self.source.blocks()
        hands: list[list[Pool]] = [[] for _ in range(ranks)]
        held = [0] * ranks
        for i in _permutation(len(blocks), generator).tolist():
            rank, block = held.index(min(held)), range(*blocks[i])
            if not hands[rank] or len(hands[rank][-1]) + len(block) > self.at_once:
                hands[rank].append(Pool([]))
            hands[rank][-1].blocks.append(block)
            held[rank] += len(block)
        for pool in itertools.chain(*hands):
            pool.seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        return hands

    def drawn(
        self, batch_size: int, generator: torch.Generator
    ) -> tuple[list[int], Iterator[Tensor]]:
        """Draw the batches of an epoch, as ``streaming.drawn`` does."""
        full, rest = divmod(self.n, batch_size)
        counts = [batch_size] * full + [rest] * (rest > 0)
        return counts, self.batches_of(self.deal(generator)[0], counts)

    def batches_of(self, pools: list[Pool], counts: list[int]) -> Iterator[Tensor]:
        """The rows of these pools in turn, so many in each batch; where that is 0, one row."""
        # two pools of memory in turns: what is taken anew and given back for each adds up
        memory = [self.source.room(max(map(len, pools))) for _ in pools[:2]]
        requests = zip((pool.numbers() for pool in pools), itertools.cycle(memory))
        read = in_advance(lambda request: self.source.pool(*request), requests)
        left, order = self.source.room(0), torch.empty(0, dtype=torch.int64)  # to come of a pool
        for count in counts:
            pieces: list[Tensor] = []
            missing = count
            while missing > 0:
                if not len(order):
                    left, order = next(read)
                pieces.append(left.index_select(0, order[:missing]))
                order = order[missing:]
                missing -= len(pieces[-1])
            yield (torch.cat(pieces) if count else self.fetch([0])).to(self.device)


class _Source:
    """Reads rows by their numbers, and says which file is to blame."""

    def __init__(
        self,
        name: str,
        shards: list[Shard],
        starts: list[int],
        dtype: torch.dtype,
        model: nn.Module,
        unit_range: bool,
        block: int,
    ) -> None:
        self.name, self.shards, self.starts, self.dtype = name, shards, starts, dtype
        self.check = partial(as_rows, model=model, unit_range=unit_range)
        self.block, self.shape = block, shards[0].shape[1:]

    def blocks(self) -> list[tuple[int, int]]:
        """Where each block starts and stops; none reaches over the end of a shard."""
        return [
            (start, min(start + self.block, stop))
            for first, stop in zip(self.starts[:-1], self.starts[1:], strict=True)
            for start in range(first, stop, self.block)
        ]

    def room(self, n: int) -> Tensor:
        """Memory for n rows."""
        return torch.empty((n, *self.shape), dtype=self.dtype)

    def fetch(self, numbers: list[int]) -> Tensor:
        """The rows of these numbers."""
        rows, order = self.pool(torch.tensor(numbers), self.room(len(numbers)))
        return rows.index_select(0, order)

    def pool(self, numbers: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of these numbers as they lie in the files, and the order that was asked for."""
        ascending, order = np.unique(numbers.numpy(), return_inverse=True)
        return self.read(ascending, memory[: len(ascending)]), torch.from_numpy(order)

    def read(self, numbers: np.ndarray, rows: Tensor) -> Tensor:
        """Read rows of ascending numbers; neighbours in one piece, of a block at most."""
        ends = np.isin(numbers[1:], self.starts) | (np.diff(numbers) != 1)
        cuts = [0, *(np.flatnonzero(ends) + 1).tolist(), len(numbers)]
        with ExitStack() as stack:
            file = None
            for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
                shard, first = self.place(int(numbers[start]))
                if file is None or file.name != str(shard.path):
                    stack.close()
                    file = stack.enter_context(self.open(shard))
                for i in range(start, stop, self.block):
                    into = rows[i : min(i + self.block, stop)]
                    if not _read_piece(file, shard, first + i - start, into):
                        end = f"an end before its row {first + stop - start - 1}"
                        raise self.changed(shard, end)
        try:
            return self.check(self.name, rows)
        except ValueError:
            for number, row in zip(numbers.tolist(), rows, strict=True):
                shard, first = self.place(number)  # alone, the row to blame names itself
                self.check(f"{self.name}[{shard.path.name!r}][{first}]", row[None])
            raise

    def open(self, shard: Shard) -> io.BufferedReader:
        """Open a file that is still the one that was looked into."""
        try:
            file = open(str(shard.path), "rb")
        except OSError as error:
            raise self.changed(shard, f"{error.strerror}") from error
        if _stamp(os.fstat(file.fileno())) != shard.stamp:
            file.close()
            raise self.changed(shard, "one that has been written since")
        return file

    def changed(self, shard: Shard, got: str) -> ValueError:
        """The error that a file is no longer what it was."""
        file = f"{self.name}[{shard.path.name!r}]"
        return ValueError(f"{file} must stay as it was when the training began, got {got}")

    def place(self, number: int) -> tuple[Shard, int]:
        """The file of a row, and its number there."""
        i = bisect_right(self.starts, number) - 1
        return self.shards[i], number - self.starts[i]


def _read_piece(file: io.BufferedReader, shard: Shard, first: int, rows: Tensor) -> bool:
    """Read rows that follow one another; False where the file ends before.

    They are read, as a file that is mapped takes memory that nobody counts.
    """
    file.seek(shard.offset + first * shard.dtype.itemsize * int(np.prod(shard.shape[1:])))
    target = rows.numpy()
    if shard.dtype == target.dtype:
        return file.readinto(target.reshape(-1).view(np.uint8)) == target.nbytes
    values = np.fromfile(file, shard.dtype, target.size)
    if len(values) == target.size:
        with np.errstate(over="ignore"):  # what is too large is named as infinite
            target[:] = values.reshape(target.shape)
    return len(values) == target.size


def _opened(name: str, folder: str | os.PathLike) -> list[Shard]:
    """Look into each file of a folder, without reading its rows."""
    paths = sorted(Path(folder).glob("*.npy"))
    if not paths:
        what = "no .npy file in it" if Path(folder).is_dir() else "no such folder"
        if Path(folder).is_file():
            what = "a file; give its folder, or np.load of it"
        raise ValueError(
            f"{name} must be an array, or a folder of .npy files, got {str(folder)!r}: {what}"
        )
    shards = [_shard(f"{name}[{path.name!r}]", path) for path in paths]
    for shard in shards:
        if shard.shape[1:] != shards[0].shape[1:]:
            raise ValueError(
                f"{name}[{shard.path.name!r}] must have rows of shape {shards[0].shape[1:]}, as"
                f" {paths[0].name!r} has, got {shard.shape[1:]}"
            )
    return shards


def _shard(name: str, path: Path) -> Shard:
    try:
        stamp = _stamp(os.stat(path))
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        why = str(error).splitlines()[0][:120]
        raise ValueError(f"{name} must be a file of np.save, got one that is not: {why}") from error
    if array.dtype.kind != "f":
        cure = "; for bytes: x / 255, as float32" if array.dtype == np.uint8 else ""
        raise TypeError(f"{name} must hold floats, got {array.dtype}{cure}")
    if array.ndim < 2 or array.size == 0:
        raise ValueError(
            f"{name} must have shape (n, …) with n at least 1 and rows that are not empty, got"
            f" {array.shape}"
        )
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{name} must have its rows one after another, got them column by column (Fortran's"
            " order): save np.ascontiguousarray(x)"
        )
    return Shard(path, array.shape, array.dtype, array.offset, stamp)


def _stamp(of: os.stat_result) -> tuple[int, int, int]:
    """What changes where a file is written anew or another one takes its name."""
    return of.st_size, of.st_mtime_ns, of.st_ino


def _permutation(n: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(n, generator=generator, device=generator.device).cpu()
