"""The processes that train together: who they are, what they tell one another, who is missing.

``torchrun --nproc-per-node=2 script.py`` starts a script twice, and tells each process its number,
its *rank*, in the environment. Groups, sums and messages are those of ``torch.distributed``: gloo
on CPUs, NCCL on GPUs. Added here is what a training needs when something goes wrong: an error on
one rank ends all, and a rank that is gone or late is named, instead of a wait without an end.
"""

import atexit
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from course_utils import runtime
from course_utils.arguments import named_errors

ANSWER_WITHIN = 1.0  # seconds for the others to say that they are there, once a rank is missed
T = TypeVar("T")


class ProcessLost(RuntimeError):
    """A rank is gone, or too late. What it had not told the others is lost.

    A rank that computes for longer than ``ANSWER_WITHIN`` at that moment is named with it.
    """


@dataclass
class Group:
    """Processes that train one model together, seen from one of them.

    Attributes:
        rank: the number of this process, from 0 to ``size`` − 1. Rank 0 prints and writes files.
        size: how many there are, at least 2.
        seconds: spent in sums over the ranks so far; waits for slower ranks are in it.
        store: where ranks leave notes that outlive a broken connection; None where the group was
            started by somebody else.
    """

    rank: int
    size: int
    seconds: float = 0.0
    store: Any = field(default=None, repr=False)

    def device(self, name: str | None = None) -> torch.device:
        """Return the device of this rank: its own GPU where there are some, else the CPU.

        Args:
            name: as in ``runtime.device``; None and "cuda" stand for the rank's own GPU.
        """
        if name not in (None, "cuda") or not torch.cuda.is_available():
            return runtime.device(name or "cpu")  # not Apple's GPU, which no backend knows
        local = int(os.environ.get("LOCAL_RANK", self.rank)) % torch.cuda.device_count()
        torch.cuda.set_device(local)
        return torch.device("cuda", local)

    def add(self, values: Tensor) -> None:
        """Replace ``values`` by their sum over the ranks; each ends with the same bits."""
        start = time.perf_counter()
        self._call(lambda: dist.all_reduce(values))
        self.seconds += time.perf_counter() - start

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite these tensors by those of rank 0."""
        with torch.no_grad():
            for each in tensors:
                values = each.detach().contiguous()
                self._call(partial(dist.broadcast, values, 0))
                each.copy_(values)

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of their numbers."""
        values: list[Any] = [None] * self.size
        self._call(lambda: dist.all_gather_object(values, value))
        return values

    def from_first(self, value: T) -> T:
        """Return the value of rank 0."""
        values: list[Any] = [value]
        self._call(lambda: dist.broadcast_object_list(values, 0))
        return values[0]

    def tell(self, error: Exception | None) -> None:
        """Raise an error that any rank has: here its own, on the others one that names the rank.

        All ranks must call it. Without an error nothing happens.
        """
        if isinstance(error, ProcessLost):
            raise error  # nobody is there to listen
        said = error and f"{type(error).__name__}: {error}"
        for rank, message in enumerate(self.gather(said)):
            if error is not None:
                raise error
            if message is not None:
                raise RuntimeError(f"rank {rank} of {self.size} stopped all: {message}")

    @contextmanager
    def together(self) -> Iterator[None]:
        """At the end of the block, which all ranks enter, an error that one has had ends all."""
        caught = None
        try:
            yield
        except Exception as error:
            caught = error
        self.tell(caught)

    def _call(self, communicate: Callable[[], Any]) -> None:
        try:
            communicate()
        except RuntimeError as error:  # the base of all errors of torch.distributed
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> ProcessLost:
        """Say which ranks do not answer; this one's connections are closed, so that all notice."""
        why = str(error).splitlines()[0][:150]
        silent = []
        if self.store is not None:
            _end()
            ask = partial(absent, self.store, "missed", self.rank, self.size, ANSWER_WITHIN)
            silent = _within(ANSWER_WITHIN + 5.0, ask) or []  # or who keeps the notes is gone
        who = f"{_ranks(silent)} of {self.size}" if silent else "a rank"
        return ProcessLost(f"{who} did not answer rank {self.rank}, which cannot go on: {why}")


def join(timeout: float = 300.0) -> Group | None:
    """Return the group that this process belongs to, or None where it is alone.

    Processes started by torchrun form a group at the first call. A group that is there already is
    used as it is, with its own timeout.

    Args:
        timeout: seconds that one rank waits for another, above 0: for it to come here, and later
            in each sum or message. On GPUs PyTorch itself ends a process that has waited so long.

    Raises:
        ValueError: ``timeout`` is no such number, or the environment names more than one process
            and not all that torchrun says of them.
        ProcessLost: a rank has not come within ``timeout``; says which, where torchrun keeps the
            notes.
    """
    if not 0 < timeout < math.inf:
        raise ValueError(f"timeout must be above 0 and finite, got {timeout}")
    if dist.is_available() and dist.is_initialized():
        size = dist.get_world_size()
        theirs = Group(dist.get_rank(), size) if size > 1 else None
        return _STARTED.get(dist.group.WORLD, theirs)
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    missing = [n for n in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(n)]
    what = f"no {' and no '.join(missing)}" if missing else _bad_number()
    if what or not dist.is_available():
        raise ValueError(
            "the environment must be one that torchrun makes, or have no WORLD_SIZE, got"
            f" WORLD_SIZE={os.environ['WORLD_SIZE']} and {what or 'a PyTorch for one process'}"
        )
    return _start(timeout)


def _bad_number() -> str:
    """What in the environment is no number, or none that can be; "" where nothing is."""
    size, rank, port = (os.environ[name] for name in ("WORLD_SIZE", "RANK", "MASTER_PORT"))
    if not size.isdecimal() or int(size) < 1:
        return "no number of processes"
    if not rank.isdecimal() or int(rank) >= int(size):
        return f"RANK={rank}"
    return "" if port.isdecimal() else f"MASTER_PORT={port}"


def together(group: Group | None) -> AbstractContextManager:
    """Return ``group.together()``, or a block that does nothing where a process is alone."""
    return nullcontext() if group is None else group.together()


_STARTED: dict[Any, Group] = {}
_GROUPS = itertools.count()  # notes of a group that has ended are not read by the next one


def _start(timeout: float) -> Group:
    """Wait for all ranks that torchrun has announced, and connect them."""
    wait, size, number = timedelta(seconds=timeout), int(os.environ["WORLD_SIZE"]), next(_GROUPS)
    try:
        shared, rank, size = next(dist.rendezvous("env://", timeout=wait))
        # where torchrun starts all again, the notes of those that were lost are still there
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"course_utils/{again}/{size}/{number}", shared)
        late = absent(store, "come", rank, size, timeout)
        if late:
            raise ProcessLost(f"{_ranks(late)} of {size} did not come within {timeout:g} s")
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=wait)
    except ProcessLost:
        raise
    except RuntimeError as error:  # rank 0 keeps the notes where torchrun does not; one is missing
        why = str(error).splitlines()[0][:150]
        raise ProcessLost(f"not all of {size} ranks came within {timeout:g} s: {why}") from error
    atexit.register(_end)
    group = Group(rank, size, store=store)
    _STARTED.clear()
    _STARTED[dist.group.WORLD] = group
    return group


def _end() -> None:
    _STARTED.clear()  # which held the connections open
    if dist.is_initialized():
        dist.destroy_process_group()


def absent(store: Any, what: str, rank: int, size: int, seconds: float) -> list[int]:
    """Note in the store that this rank is here; return the ranks that do not within some seconds.

    Empty, too, where the store itself is gone.
    """
    try:
        store.set(f"{what}/{rank}", "here")
        end = time.monotonic() + seconds
        notes = {other: f"{what}/{other}" for other in range(size) if other != rank}
        while not store.check(list(notes.values())):  # one question, however many they are
            if time.monotonic() > end:
                return [other for other, note in notes.items() if not store.check([note])]
            time.sleep(0.05)
        return []
    except RuntimeError:
        return []


def _within(seconds: float, ask: Callable[[], T]) -> T | None:
    """What a call returns, or None where it takes longer: a store's host may be what is gone."""
    answer: list[T] = []
    thread = threading.Thread(target=lambda: answer.append(ask()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else None


def _ranks(numbers: list[int]) -> str:
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


named_errors(globals())
