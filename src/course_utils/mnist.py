"""MNIST and Fashion-MNIST: fetched once, kept in a folder, checked whenever they are read.

The files lie as ``torchvision.datasets`` lays them out, so either reads what the other has fetched:
``MNIST/raw`` and ``FashionMNIST/raw`` in the folder that the environment variable ``COURSE_DATA``
names, else in the user's cache. Files under other names, or in a folder near by, are known by
their size and MD5. Mirrors and checksums of a download are torchvision's. It is imported for a
download only: that takes seconds, and reading the files takes a few lines of NumPy.

Nothing is read before its size and its MD5 are right. A download is checked in memory, written into
a private folder and moved to its place in one step. So a file under its own name is whole unless
somebody else damaged it, whoever was interrupted and however many processes fetch at once.
"""

import gzip
import math
import os
import tempfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils import runtime
from course_utils.console import say
from course_utils.flat_images import FlatImages
from course_utils.folders import can_write as _writable
from course_utils.folders import data_folder as data_folder
from course_utils.mirrors import NotFetched, fetch, grouped, md5_of
from course_utils.stroke_digits import SIZE, stroke_digits

_DRAWN_AT_ONCE = 2_000  # stroke digits


class DataUnavailable(RuntimeError):
    """A data set is not on this machine and could not be fetched.

    Attributes:
        reason: why, in a few words.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class _File(NamedTuple):
    """An uncompressed IDX file: 4 bytes, the length of each axis in 4 more, then a byte a value."""

    shape: tuple[int, ...]
    md5: str

    @property
    def head(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def size(self) -> int:
        return self.head + math.prod(self.shape)


class _Source(NamedTuple):
    """A data set: its name, the class of ``torchvision.datasets`` that knows it, its four files."""

    name: str
    loader: str  # also the name of the folder
    files: dict[str, _File]

    @property
    def folder(self) -> Path:
        return data_folder() / self.loader / "raw"


_SHAPES = {
    "train-images-idx3-ubyte": (60_000, SIZE, SIZE),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, SIZE, SIZE),
    "t10k-labels-idx1-ubyte": (10_000,),
}


def _source(name: str, loader: str, *md5: str) -> _Source:
    files = zip(_SHAPES.items(), md5, strict=True)
    return _Source(name, loader, {file: _File(shape, digest) for (file, shape), digest in files})


_SOURCES = {
    "MNIST": _source(
        "MNIST",
        "MNIST",
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "Fashion-MNIST": _source(
        "Fashion-MNIST",
        "FashionMNIST",
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}


def mnist(*, fallback: bool = False, progress: bool = True) -> FlatImages:
    """Load MNIST, 70 000 handwritten digits, 28 × 28 pixels, in its canonical split.

    Read from the disk, in less than a second, where the files lie in ``data_folder()``; fetched
    once, 12 MB, where they do not. A damaged file is fetched anew, and a line says so.

    Args:
        fallback: where MNIST cannot be had, print one line and return stroke digits: same shapes,
            same classes, the same images each time, ``name`` "stroke digits".
        progress: show a bar during a download.

    Returns:
        ``FlatImages`` with 60 000 images to train on and 10 000 to test on, ``d = 784``, grey
        values 0 … 255 divided by 255; labels 0 to 9; ``name`` "MNIST". New arrays at each call.

    Raises:
        DataUnavailable: the data are not here and cannot be fetched, and ``fallback`` is False. The
            message says what failed and what to do. A mirror that does not answer within 10 s, or
            is slower than 20 kB a second after that, is given up.

    Source:
        LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document
        recognition, https://doi.org/10.1109/5.726791.

    >>> mnist().x_train.shape  # doctest: +SKIP
    (60000, 784)
    """
    return _load(_SOURCES["MNIST"], fallback, progress)


def fashion_mnist(*, fallback: bool = False, progress: bool = True) -> FlatImages:
    """Load Fashion-MNIST, 70 000 pictures of ten kinds of garment, as ``mnist`` loads MNIST.

    The classes are 0 T-shirt or top, 1 trousers, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt,
    7 sneaker, 8 bag, 9 ankle boot. A download takes 31 MB.

    Args:
        fallback: where it cannot be had, print one line and return stroke digits: same shapes.
        progress: show a bar during a download.

    Returns:
        ``FlatImages`` with the shapes and ranges of ``mnist``; ``name`` "Fashion-MNIST".

    Raises:
        DataUnavailable: as for ``mnist``.

    Source:
        Xiao, Rasul and Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking
        machine learning algorithms, https://arxiv.org/abs/1708.07747.
    """
    return _load(_SOURCES["Fashion-MNIST"], fallback, progress)


def available(name: str) -> bool:
    """Tell whether ``mnist`` or ``fashion_mnist`` would find all files here, whole. Fetch nothing.

    Args:
        name: "MNIST" or "Fashion-MNIST".

    Raises:
        ValueError: another name.
    """
    source = _known(name)
    try:
        return _read_all(source)[0].keys() == source.files.keys()
    except RuntimeError:  # nothing tells where the home folder is
        return False


def faults(name: str) -> dict[str, str]:
    """Return what is wrong with which file of a data set here: "is missing", or how it is damaged.

    Args:
        name: "MNIST" or "Fashion-MNIST".

    Raises:
        ValueError: another name.
    """
    return _read_all(_known(name))[1]


def _known(name: str) -> _Source:
    if name not in _SOURCES:
        raise ValueError(f"name must be one of {', '.join(_SOURCES)}, got {name!r}")
    return _SOURCES[name]


def _load(source: _Source, fallback: bool, progress: bool) -> FlatImages:
    try:
        _expect_home()
        contents = _contents(source, progress)
    except DataUnavailable as error:
        if not fallback:
            raise
        say(
            f"{source.name} cannot be had here ({error.reason}): stroke digits stand in, "
            "same shapes."
        )
        n_train, _, n_test, _ = (file.shape[0] for file in source.files.values())
        return _stand_in(n_train, n_test)
    values = [
        np.frombuffer(contents.pop(name), np.uint8, offset=file.head).reshape(file.shape)
        for name, file in source.files.items()
    ]
    x_train, x_test = (_rows(images) for images in values[::2])
    y_train, y_test = (labels.astype(np.int64) for labels in values[1::2])
    return FlatImages(x_train, y_train, x_test, y_test, height=SIZE, width=SIZE, name=source.name)


def _expect_home() -> None:
    """Raise DataUnavailable where nothing tells in which folder the data sets lie."""
    try:
        data_folder()
    except RuntimeError as error:
        message = f"{error} Let the environment variable COURSE_DATA name a folder for the data."
        raise DataUnavailable(message, "no home folder") from None


def _rows(images: np.ndarray) -> np.ndarray:
    """(n, h, w) bytes -> (n, h w) float32 in [0, 1], without a second array of floats."""
    return np.divide(images.reshape(len(images), -1), np.float32(255), dtype=np.float32)


def _stand_in(n_train: int, n_test: int) -> FlatImages:
    """Draw stroke digits for a training and a test set."""
    sets = *_drawn(n_train, seed=0), *_drawn(n_test, seed=1)
    return FlatImages(*sets, height=SIZE, width=SIZE, name="stroke digits")


def _drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n stroke digits, (n, 784) float32, and their labels: as many of each, in any order."""
    y = np.random.default_rng(seed).permutation(np.arange(n) % 10)
    x = np.empty((n, SIZE * SIZE), np.float32)
    for start in range(0, n, _DRAWN_AT_ONCE):  # in parts, each with its seed: they come as float64
        part = slice(start, start + _DRAWN_AT_ONCE)
        digits = stroke_digits(len(y[part]), seed=1_000_000 * seed + start, labels=y[part])
        x[part] = digits.images
    return x, y.astype(np.int64)


# Reading


def _contents(source: _Source, progress: bool) -> dict[str, bytes]:
    """Return the four files' contents; mend what is damaged or missing, where that is possible."""
    contents, faults = _read_all(source)
    lost = [name for name in faults if name not in contents]
    try:
        contents |= _fetch_all(source, lost, progress)
    except NotFetched as error:
        raise _unavailable(source, faults, error) from error
    for name in faults.keys() - lost:  # the .gz is whole: enough to read, if not to mend
        try:
            _store(source.folder / name, contents[name])
        except OSError:
            del faults[name]
    mended = [f"{name} {fault}" for name, fault in faults.items() if fault != _MISSING]
    if mended:
        say(f"{source.name}: {'; '.join(mended)}. Mended.")
    return contents


_MISSING = "is missing"


def _read_all(source: _Source) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the contents that can be had here, and what is wrong with which file.

    A damaged file with a whole ``.gz`` beside it is in both.
    """
    contents: dict[str, bytes] = {}
    faults: dict[str, str] = {}
    for name, file in source.files.items():
        plain = _read(source.folder / name, file)
        if isinstance(plain, bytes):
            contents[name] = plain
            continue
        zipped = _read(source.folder / f"{name}.gz", file)
        if isinstance(zipped, bytes):
            contents[name] = zipped
        fault = zipped if plain == _MISSING else plain
        if isinstance(fault, str):
            faults[name] = fault
    for name, content in _found_near(source, [n for n in faults if n not in contents]).items():
        contents[name] = content
        if faults[name] == _MISSING:
            del faults[name]
    return contents, faults


def _found_near(source: _Source, names: list[str]) -> dict[str, bytes]:
    """Return files that lie here under another name, or a folder up or down: the MD5 tells."""
    found: dict[str, bytes] = {}
    by_md5 = {source.files[name].md5: name for name in names}
    sizes = {source.files[name].size for name in names}
    for path in _files_near(source) if names else ():
        try:
            if path.suffix == ".gz":
                content = gzip.decompress(path.read_bytes())
            else:
                content = path.read_bytes() if path.stat().st_size in sizes else b""
        except (OSError, EOFError, zlib.error):
            continue
        if len(content) in sizes and (name := by_md5.get(md5_of(content))):
            found[name] = content
    return found


def _files_near(source: _Source) -> Iterator[Path]:
    """Give the files of the folders where people keep a data set, at most 1 000 of each."""
    root = data_folder()
    own = [root, root / source.loader, root / "raw", source.folder]
    deeper = [below for folder in own for below in _listed(folder) if below.is_dir()]
    raw = [folder / part for folder in deeper for part in ("raw", f"{source.loader}/raw")]
    for folder in dict.fromkeys([source.folder, *own, *deeper, *raw]):
        yield from (path for path in _listed(folder) if path.is_file())


def _listed(folder: Path) -> list[Path]:
    try:
        return list(islice(sorted(folder.iterdir()), 1_000))
    except OSError:  # none, or none of ours
        return []


def _read(path: Path, file: _File) -> bytes | str:
    """Return the content of a file, ``.gz`` or not, or what is wrong with it in words."""
    try:
        size = path.stat().st_size
        if path.suffix != ".gz" and size != file.size:
            return f"has {grouped(size)} bytes in place of {grouped(file.size)}"
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return "is damaged: its .gz cannot be unpacked"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if md5_of(content) != file.md5:
        return f"is damaged: {path.name} has another MD5"
    return content


# Fetching


def _fetch_all(source: _Source, names: list[str], progress: bool) -> dict[str, bytes]:
    """Fetch files, put each in its place, and return their contents."""
    contents: dict[str, bytes] = {}
    if not names:
        return contents
    another = "let the environment variable COURSE_DATA name a folder that can be written"
    if not _writable(source.folder):
        raise NotFetched("the folder cannot be written", another)
    try:
        mirrors, checksums = _catalogue(source)
    except ImportError as error:
        advice = "install torchvision, which knows the mirrors (pip install torchvision)"
        raise NotFetched("torchvision cannot be imported", advice, str(error)) from error
    for name in names:
        zipped = fetch(f"{name}.gz", checksums[f"{name}.gz"], mirrors, source.name, progress)
        contents[name] = gzip.decompress(zipped)
        if md5_of(contents[name]) != source.files[name].md5:
            advice = "update course_utils and torchvision"
            raise NotFetched(f"torchvision's mirrors have another {name}", advice)
        try:
            _store(source.folder / name, contents[name])
        except OSError as error:
            if isinstance(_read(source.folder / name, source.files[name]), str):
                raise NotFetched("the folder cannot be written", another, str(error)) from error
            # Another process has just put the file there, and on Windows still holds it.
    return contents


def _catalogue(source: _Source) -> tuple[list[str], dict[str, str]]:
    """Return torchvision's mirrors and its MD5 of each ``.gz`` file."""
    loader = getattr(runtime.torchvision().datasets, source.loader)
    return list(loader.mirrors), dict(loader.resources)


def _store(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as own:
        part = Path(own) / path.name
        part.write_bytes(content)
        os.replace(part, path)


def _unavailable(source: _Source, faults: dict[str, str], why: NotFetched) -> DataUnavailable:
    wrong = "; ".join(f"{name} {fault}" for name, fault in faults.items())
    damaged = [f"{name} {fault}" for name, fault in faults.items() if fault != _MISSING]
    if len(faults) == len(source.files) and not damaged:
        wrong = "none of its files is there"
    details = f" ({why.details})" if why.details else ""
    message = (
        f"{source.name} cannot be read from {source.folder}: {wrong}.\n"
        f"It cannot be downloaded: {why.reason}{details}.\n"
        f"What to do: {why.advice}; or copy {', '.join(source.files)}, as they are or as .gz, into "
        f"that folder; or let COURSE_DATA name a folder that holds {source.loader}/raw with them."
    )
    return DataUnavailable(message, "; ".join([*damaged, why.reason]))
