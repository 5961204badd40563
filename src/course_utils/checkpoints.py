"""A training that was stopped goes on: all that it needs, in one file that is always whole."""

import io
import itertools
import math
import os
import random
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from inspect import isfunction, ismethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.processes import Group, together
from course_utils.shapes import shown

FORMAT = 1
PLAIN = (int, float, str, bool, type(None), np.generic)
CONTAINERS = (Tensor, np.ndarray, list, tuple, dict, set, frozenset, deque)
LARGEST = 64 * 2**20  # bytes of an array in a loss that are looked at
OF_ITS_MODULE = " of its module"


@dataclass
class Checkpoint:
    """What ``fit`` keeps in a file after each epoch.

    Attributes:
        path: of the file.
        described: what the training is, as texts and numbers: what must agree to go on.
        parts: what has ``state_dict`` and ``load_state_dict``: the model, its optimiser, …
        loss: its state is kept where it has these two methods, too.
        generators: of random numbers, each another one on each rank or the same on all.
        group: the processes that train together; rank 0 reads and writes the file.
    """

    path: Path
    described: dict[str, Any]
    parts: dict[str, Any]
    loss: Any
    generators: list[torch.Generator]
    group: Group | None = None
    watched: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.path = Path(os.path.realpath(os.path.expanduser(self.path)))  # a link stays one
        self.watched = held(self.loss)
        self.parts = {name: part for name, part in self.parts.items() if part is not None}

    def resume(self, history: Any, epochs: int) -> dict[str, Tensor] | None:
        """Bring all to where the file left it, and fill in the history; the best weights so far.

        Where there is no file, nothing happens.

        Raises:
            ValueError: it is no such file, or one of another training or of more epochs.
        """
        content = self._read(epochs)
        if content is None:
            return None
        with together(self.group):
            self._go_on(content)
        vars(history).update(content["history"])
        return content["best"]

    def _go_on(self, content: dict[str, Any]) -> None:
        """Bring the parts, the loss and all random numbers of this rank to where they were."""
        self._load(content)
        own = content["ranks"][self.group.rank if self.group else 0]
        if own["loss"] is not None:
            self.loss.load_state_dict(own["loss"])
        for generator, state in zip(self.generators, own["generators"], strict=True):
            generator.set_state(state)
        torch.set_rng_state(own["global"])
        kind, words, *rest = own["NumPy's"]
        np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))
        version, words, last = own["Python's"]
        random.setstate((version, tuple(words), last))
        if own["global on GPU"] is not None:
            torch.cuda.set_rng_state(own["global on GPU"])

    def _load(self, content: dict[str, Any]) -> None:
        """Bring the parts to where the file left them; the model last, when the others could."""
        for name in sorted(self.parts, key="model".__eq__):
            try:
                self.parts[name].load_state_dict(content[name])
            except Exception as error:  # each part says in its own way that it cannot
                why = f"{type(error).__name__}: {error}".splitlines()[0][:150]
                wanted = f"checkpoint must be a file that fit has written, got {self.path.name}"
                raise ValueError(f"{wanted} with another state of the {name}: {why}") from error

    def write(self, history: Any, best: dict[str, Tensor] | None) -> None:
        """Write the file anew. Killed at any moment, this leaves the old one or the new one.

        Raises:
            TypeError: the loss, or a part, has a state that cannot be kept.
        """
        first = len(history.train) == 1
        with together(self.group):
            own = self._own_state(first=first)
        ranks = self.group.gather(own) if self.group else [own]
        with together(self.group):
            if self.group is None or self.group.rank == 0:
                states = {name: part.state_dict() for name, part in self.parts.items()}
                packed = io.BytesIO()
                torch.save(
                    states
                    | {"format": FORMAT, "described": self.described, "ranks": ranks}
                    | {"history": vars(history), "best": best},
                    packed,
                )
                if first:
                    _expect_readable(packed)
                write_whole(self.path, packed.getbuffer())

    def _read(self, epochs: int) -> dict[str, Any] | None:
        """The content of the file on rank 0, on all ranks."""
        content = None
        with together(self.group):
            if self.group is None or self.group.rank == 0:
                expect_file(self.path)
                content = read(self.path, "checkpoint") if self.path.exists() else None
            if content:
                expect_same(content["described"], self.described, self.path.name)
                if (done := len(content["history"]["train"])) > epochs:
                    raise ValueError(f"checkpoint must be of {epochs} epochs at most, got {done}")
        return self.group.from_first(content) if self.group else content

    def _own_state(self, *, first: bool) -> dict[str, Any]:
        keeps = has_state(self.loss)
        if first and not keeps:
            expect_no_state(self.loss, self.watched)
        on_gpu = next((g for g in self.generators if g.device.type == "cuda"), None)
        return {
            "loss": self.loss.state_dict() if keeps else None,
            "generators": [each.get_state() for each in self.generators],
            "global": torch.get_rng_state(),
            "NumPy's": [
                torch.from_numpy(value.astype(np.int64)) if isinstance(value, np.ndarray) else value
                for value in np.random.get_state()
            ],
            "Python's": list(random.getstate()),
            "global on GPU": torch.cuda.get_rng_state() if on_gpu else None,
        }


def best_weights(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the weights of the epoch with the lowest held-out loss, from the file of a ``fit``.

    ``model.load_state_dict(best_weights("run.pt"))`` takes them into a model. Where nothing was
    held out, they are those of the last epoch.

    Raises:
        ValueError: there is no such file, or it is none that ``fit`` has written.
    """
    content = read(path)
    return content["model"] if content["best"] is None else content["best"]


def read(path: str | os.PathLike, name: str = "path") -> dict[str, Any]:
    """Read a file that ``fit`` has written; nothing in it is run as a program.

    Raises:
        ValueError: it is no such file; calls it by the name that it has for the caller.
    """
    path = os.path.expanduser(path)
    try:
        with zipfile.ZipFile(path) as file:  # PyTorch does not look at the checksums in it
            if damaged := file.testzip():
                raise ValueError(f"its part {damaged} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch.load says of a file that is none of its own has no end
        why = f"{type(error).__name__}: {error}".splitlines()[0][:100]
        wanted = f"{name} must be a file that fit has written"
        raise ValueError(f"{wanted}, got {path}: {why}") from error
    needed = {"format", "described", "model", "optimizer", "ranks", "history", "best"}
    if not isinstance(content, dict) or not needed <= set(content) or content["format"] != FORMAT:
        raise ValueError(f"{name} must be a file that fit has written, got another: {path}")
    return content


def expect_file(path: Path) -> None:
    """Check that a file can be at this path.

    Raises:
        ValueError: a folder is, or its folder is not there or cannot be written to.
    """
    if path.is_dir() or not path.parent.is_dir():
        what = "a folder" if path.is_dir() else "one in a folder that is not there"
        raise ValueError(f"checkpoint must be the path of a file, got {what}: {path}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"checkpoint must be in a folder that can be written to, got {path}")


def write_whole(path: Path, content: Any) -> None:
    """Write bytes so that the file is the old one or the new one, whenever this is stopped.

    They are on the disk before the new file takes the old one's name, which happens in one step.

    Raises:
        OSError: they cannot be written; the old file is there, and no part of a new one.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        why = f"checkpoint cannot be written: {error.strerror or error}"
        raise OSError(error.errno, why, str(path)) from error
    if os.name == "posix":  # the name, too; elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def expect_same(there: dict[str, Any], here: dict[str, Any], file: str) -> None:
    """Check that a file is of this training.

    Raises:
        ValueError: it is not; names two things that differ at most.
    """
    if differs := differences(there, here, "in it", "here"):
        raise ValueError(f"checkpoint must be of this training, got {file} with {differs}")


def differences(one: dict[str, Any], other: dict[str, Any], in_one: str, in_other: str) -> str:
    """Say what differs between two descriptions, two things at most; "" where nothing does."""
    names = [name for name in {**other, **one} if one.get(name) != other.get(name)]
    said = [
        f"{name} {_short(one.get(name))} {in_one}, {_short(other.get(name))} {in_other}"
        for name in names[:2]
    ]
    return "; ".join(said) + (f"; and {len(names) - 2} more" if len(names) > 2 else "")


def describe(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable,
    schedule: Callable | None,
    epochs: int,
    **rows: Any,
) -> dict[str, Any]:
    """Say what a training is made of: two of which the same is said go the same way.

    Args:
        model, optimizer, loss, schedule: before anything is trained.
        epochs: how many; it matters where there is a schedule, which has as many steps.
        rows: the data by name: tensors or streamed rows, or None.
    """
    settings = {
        f"optimizer {name}" + (f" of group {i}" if i else ""): repr(value)
        for i, group in enumerate(optimizer.param_groups)
        for name, value in group.items()
        if name != "params"
    }
    weights = {
        f"weights {name}": f"{tuple(value.shape)} {value.dtype}"
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)
    }
    texts = {
        "model": type(model).__name__,
        "loss": named(loss),
        "schedule": schedule and named(schedule),
        "epochs": epochs if schedule else None,
        "optimizer": type(optimizer).__name__,
        **settings,
        **{name: print_of(values) for name, values in rows.items()},
    }
    frozen = [name for name, each in model.named_parameters() if not each.requires_grad]
    layers = {
        "layers": re.sub(r" at 0x[0-9a-f]+", "", repr(model)),
        "frozen weights": ", ".join(frozen) or "none",
    }
    return {**texts, **weights, **layers}


def print_of(x: Any) -> str | None:
    """How many rows of which shape, and a checksum of sixteen of them, spread over all.

    Rows that are given one by one have none: they may be drawn anew each time they are asked for.
    """
    if x is None:
        return None
    if not isinstance(x, Tensor) and not x.ahead:
        return f"{len(x)} rows"
    chosen = torch.linspace(0, len(x) - 1, 16, dtype=torch.float64).long().unique()
    some = x.index_select(0, chosen.to(x.device) if isinstance(x, Tensor) else chosen).cpu()
    check = zlib.crc32(some.contiguous().view(torch.uint8).numpy().tobytes())
    dealt = f", {x.at_once} at once" if not isinstance(x, Tensor) and x.dealt else ""
    return f"{len(x)} rows of shape {tuple(some.shape[1:])}, checksum {check:08x}{dealt}"


def named(loss: Any) -> str:
    """The name of a loss, and the numbers and texts that were given to it."""
    if isinstance(loss, partial):
        given = [*map(_short, loss.args), *(f"{k}={_short(v)}" for k, v in loss.keywords.items())]
        return f"{named(loss.func)}({', '.join(given)})"
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    if has_state(loss):
        return name
    values = {
        part: value
        for part, value in held(loss).items()
        if isinstance(value, str) and not _may_differ(part, value)
    }
    return f"{name} {values}" if values else name


def _may_differ(part: str, value: str) -> bool:
    """A list may be a record of what was seen; a module's variable may be a process's own."""
    return value.startswith("list of ") or part.endswith(OF_ITS_MODULE)


def has_state(loss: Any) -> bool:
    """Whether a loss says what it keeps between its calls."""
    return hasattr(loss, "state_dict") and hasattr(loss, "load_state_dict")


def expect_no_state(loss: Any, before: dict[str, Any]) -> None:
    """Check that a loss holds what it held before it was called, as far as that can be seen.

    Raises:
        TypeError: it does not, so that a training that goes on would have another loss.
    """
    after = held(loss)
    changed = [name for name, value in after.items() if not _same(before.get(name), value)]
    if changed:
        raise TypeError(
            "loss must have state_dict and load_state_dict to be kept in a checkpoint, got one that"
            f" holds {', '.join(changed)}, which changed while it was called"
        )


def held(loss: Any, prefix: str = "", depth: int = 4) -> dict[str, Any]:
    """The numbers, texts, counters, generators, arrays and containers of a loss, each as a text.

    They are in the variables that a function closes over or reads from its module, in its defaults,
    in what ``partial`` was given, and in the attributes of an object. What cannot be seen into, as
    an iterator, is never equal to itself. Weights that are trained, and modules, are passed over.
    """
    found: dict[str, Any] = {}
    for name, value in _inside(loss).items():
        if isinstance(value, Tensor) and value.requires_grad:
            continue
        if isinstance(value, (*PLAIN, itertools.count)):
            found[prefix + name] = repr(value)
        elif isinstance(value, (torch.Generator, np.random.Generator, *CONTAINERS)):
            found[prefix + name] = _digest(value)
        elif hasattr(value, "__next__"):
            found[prefix + name] = object()
        elif callable(value) and not isinstance(value, (type, nn.Module)) and depth:
            found |= held(value, f"{prefix}{name}.", depth - 1)
    return found


def _same(before: Any, after: Any) -> bool:
    """Whether a value is as before. A list that has grown is a record, which no loss depends on."""
    grown = str(before).startswith("list of ") and str(after).startswith("list of ")
    return before == after or (grown and before.split(":")[0] != after.split(":")[0])


def _digest(value: Any) -> str:
    """A short text that changes with the content of a generator, an array or a container."""
    if isinstance(value, torch.Generator):
        return f"{zlib.crc32(value.get_state().numpy().tobytes()):08x}"
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{type(value).__name__} of {tuple(value.shape)}: {zlib.crc32(_bytes(value)):08x}"
    check = zlib.crc32("".join(_items(value, 4)).encode())
    return f"{type(value).__name__} of {len(value)}: {check:08x}"


def _items(value: Any, depth: int) -> list[str]:
    """What a container holds, as texts that are the same in each run of a program."""
    if isinstance(value, dict):
        value = [each for pair in value.items() for each in pair]
    texts = []
    for each in value:
        if isinstance(each, (list, tuple, dict, set, frozenset, deque)):
            texts.append(f"[{len(each)}{''.join(_items(each, depth - 1))}]" if depth else "[]")
        elif isinstance(each, CONTAINERS):
            texts.append(_digest(each))
        else:
            texts.append(repr(each) if isinstance(each, PLAIN) else type(each).__name__)
    return sorted(texts) if isinstance(value, (set, frozenset)) else texts


def _bytes(values: Tensor | np.ndarray) -> bytes:
    """The bytes of an array, none where it holds objects, is trained, or is larger than 64 MB."""
    if isinstance(values, np.ndarray):
        return values.tobytes() if not values.dtype.hasobject and values.nbytes <= LARGEST else b""
    size = values.numel() * values.element_size()
    if values.requires_grad or values.layout != torch.strided or size > LARGEST:
        return b""
    return values.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def _inside(loss: Any) -> dict[str, Any]:
    if isinstance(loss, partial):
        given = {str(i): value for i, value in enumerate(loss.args)}
        return {"func": loss.func, **given, **loss.keywords}
    if ismethod(loss):
        inside = dict(getattr(loss.__self__, "__dict__", {}))
        if isinstance(loss.__self__, nn.Module):  # its weights are kept with the model
            own = {name for name in inside if name.startswith("_") or name == "training"}
            return {name: value for name, value in inside.items() if name not in own}
        return inside
    if isfunction(loss):
        return _inside_function(loss)
    return dict(getattr(loss, "__dict__", {}))


def _inside_function(loss: Any) -> dict[str, Any]:
    given = zip(_defaulted(loss), loss.__defaults__ or (), strict=True)
    found = {name: value for name, value in given if value is not None}
    found |= {k: v for k, v in (loss.__kwdefaults__ or {}).items() if v is not None}
    for name in sorted(set(loss.__code__.co_names) & set(loss.__globals__)):
        value = loss.__globals__[name]
        if isinstance(value, (*PLAIN, torch.Generator, np.random.Generator, *CONTAINERS)):
            found[name + OF_ITS_MODULE] = value
    for name, cell in zip(loss.__code__.co_freevars, loss.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    return found


def _defaulted(loss: Any) -> list[str]:
    """The names of the arguments that have a default, of those that may be given by place."""
    names = loss.__code__.co_varnames[: loss.__code__.co_argcount]
    return list(names[len(names) - len(loss.__defaults__ or ()) :])


def _expect_readable(packed: io.BytesIO) -> None:
    """What cannot be read again is refused now, and not when it is needed."""
    packed.seek(0)
    try:
        torch.load(packed, map_location="cpu", weights_only=True)
    except Exception as error:
        why = str(error).replace("\n", " ")[:150]
        raise TypeError(
            "schedule, optimizer and loss must have states of numbers, texts and tensors to be kept"
            f" in a checkpoint, got others: {why}"
        ) from error


def _short(value: Any) -> str:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return str(value)
    text = value if isinstance(value, str) else shown(value)
    return text if len(text) <= 90 else f"{text[:60]} … {zlib.crc32(text.encode()):08x}"


named_errors(globals())
