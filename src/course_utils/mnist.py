"""MNIST and Fashion-MNIST: fetched once, kept in a folder, checked whenever they are read.

The files lie as ``torchvision.datasets`` lays them out, so either reads what the other has fetched:
``MNIST/raw`` and ``FashionMNIST/raw`` in the folder that the environment variable ``COURSE_DATA``
names, else in the user's cache. Files under other names, or in a folder near by, are known by
their size and MD5. Mirrors and checksums of a download are torchvision's. It is
imported for a download only: that takes seconds, and reading the files takes a few lines of NumPy.

Nothing is read before its size and its MD5 are right. A download is checked in memory, written into
a private folder and moved to its place in one step. So a file under its own name is whole unless
somebody else damaged it, whoever was interrupted and however many processes fetch at once.
"""

import gzip
import hashlib
import http.client
import os
import queue
import ssl
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from course_utils import runtime
from course_utils.bars import tqdm
from course_utils.console import say
from course_utils.flat_images import FlatImages
from course_utils.folders import can_write as _writable
from course_utils.folders import data_folder as data_folder
from course_utils.stroke_digits import SIZE, stroke_digits

_PATIENCE = 10.0  # seconds for a mirror to answer, and for the next piece of a file to arrive
_SLOWEST = 20_000  # bytes a second that a mirror must keep up, after its first _PATIENCE seconds
_PIECE = 1 << 16  # bytes read at once
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
    """An uncompressed IDX file: a head of big-endian numbers, then one byte a value."""

    shape: tuple[int, ...]
    md5: str

    @property
    def head(self) -> bytes:
        """Two zeros, 8 for unsigned bytes, the number of axes, then each axis's length."""
        return bytes([0, 0, 8, len(self.shape)]) + np.array(self.shape, ">i4").tobytes()

    @property
    def size(self) -> int:
        return len(self.head) + int(np.prod(self.shape))


@dataclass(frozen=True)
class _Source:
    """A data set: its name, the class of ``torchvision.datasets`` that knows it, its four files."""

    name: str
    loader: str  # also the name of the folder
    files: dict[str, _File]

    @property
    def folder(self) -> Path:
        return data_folder() / self.loader / "raw"


def _source(name: str, loader: str, *md5: str) -> _Source:
    names = [f"{part}-{what}" for part in ("train", "t10k") for what in _KINDS]
    shapes = ((60_000, SIZE, SIZE), (60_000,), (10_000, SIZE, SIZE), (10_000,))
    files = [_File(shape, digest) for shape, digest in zip(shapes, md5, strict=True)]
    return _Source(name, loader, dict(zip(names, files, strict=True)))


_KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
_SOURCES = {
    source.name: source
    for source in (
        _source(
            "MNIST",
            "MNIST",
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        _source(
            "Fashion-MNIST",
            "FashionMNIST",
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    )
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
    _known(name)
    try:
        _expect_home()
    except DataUnavailable:
        return False
    contents, _ = _read_all(_SOURCES[name])
    return len(contents) == len(_SOURCES[name].files)


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
        np.frombuffer(contents.pop(name), np.uint8, offset=len(file.head)).reshape(file.shape)
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
    x_train, y_train = _drawn(n_train, seed=0)
    x_test, y_test = _drawn(n_test, seed=1)
    return FlatImages(
        x_train, y_train, x_test, y_test, height=SIZE, width=SIZE, name="stroke digits"
    )


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
    except _NotFetched as error:
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
        if len(content) in sizes and (name := by_md5.get(_md5(content))):
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
            return f"has {_grouped(size)} bytes in place of {_grouped(file.size)}"
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return "is damaged: its .gz cannot be unpacked"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if _md5(content) != file.md5:
        return f"is damaged: {path.name} has another MD5"
    return content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _grouped(n: int) -> str:
    return f"{n:,}".replace(",", " ")


# Fetching


class _NotFetched(Exception):
    """Why a file was not fetched, what to do, and what each mirror said."""

    def __init__(self, reason: str, advice: str, details: str = "") -> None:
        super().__init__(reason)
        self.reason, self.advice, self.details = reason, advice, details


class _NotTheFile(OSError):
    """A mirror answered with something else."""


def _fetch_all(source: _Source, names: list[str], progress: bool) -> dict[str, bytes]:
    """Fetch files, put each in its place, and return their contents."""
    contents: dict[str, bytes] = {}
    if not names:
        return contents
    another = "let the environment variable COURSE_DATA name a folder that can be written"
    if not _writable(source.folder):
        raise _NotFetched("the folder cannot be written", another)
    try:
        mirrors, checksums = _catalogue(source)
    except ImportError as error:
        advice = "install torchvision, which knows the mirrors (pip install torchvision)"
        raise _NotFetched("torchvision cannot be imported", advice, str(error)) from error
    for name in names:
        zipped = _fetch(f"{name}.gz", checksums[f"{name}.gz"], mirrors, source.name, progress)
        contents[name] = gzip.decompress(zipped)
        if _md5(contents[name]) != source.files[name].md5:
            advice = "update course_utils and torchvision"
            raise _NotFetched(f"torchvision's mirrors have another {name}", advice)
        try:
            _store(source.folder / name, contents[name])
        except OSError as error:
            if isinstance(_read(source.folder / name, source.files[name]), str):
                raise _NotFetched("the folder cannot be written", another, str(error)) from error
            # Another process has just put the file there, and on Windows still holds it.
    return contents


def _catalogue(source: _Source) -> tuple[list[str], dict[str, str]]:
    """Return torchvision's mirrors and its MD5 of each ``.gz`` file."""
    loader = getattr(runtime.torchvision().datasets, source.loader)
    return list(loader.mirrors), dict(loader.resources)


def _fetch(filename: str, md5: str, mirrors: list[str], title: str, progress: bool) -> bytes:
    """Return a ``.gz`` file from the first mirror that has it whole.

    A mirror that fails moves to the end of ``mirrors``: the next file asks it last.
    """
    failures: list[tuple[str, Exception]] = []
    for mirror in mirrors.copy():
        try:
            content = _get(mirror + filename, f"{title} {filename}", progress)
            if _md5(content) != md5:
                raise _NotTheFile(f"what came, {_grouped(len(content))} bytes, is not the file")
            return content
        except (OSError, http.client.HTTPException) as error:
            failures.append((mirror, error))
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            mirrors.append(mirrors.pop(mirrors.index(mirror)))
    details = "; ".join(f"{urlsplit(mirror).netloc}: {_words(e)}" for mirror, e in failures)
    answered = (_NotTheFile, urllib.error.HTTPError, http.client.HTTPException)
    if any(isinstance(error, answered) for _, error in failures):
        raise _NotFetched(f"no mirror gave {filename} whole", "try again later", details)
    raise _NotFetched("no network", "try again online", details)


def _get(url: str, title: str, progress: bool) -> bytes:
    """Return what is at an address; a bar on stdout tells how far it is, and vanishes."""
    content = bytearray()
    with (
        _open(url) as response,
        tqdm(
            desc=title,
            total=response.length,
            file=sys.stdout,
            leave=False,
            disable=not progress,
            unit="B",
            unit_scale=True,
        ) as bar,
    ):
        expected = response.length  # counts down while one reads
        start = time.monotonic()
        while piece := response.read1(_PIECE):  # what is there: read() would wait for a whole piece
            content += piece
            bar.update(len(piece))
            if len(content) < _SLOWEST * (time.monotonic() - start - _PATIENCE):
                raise TimeoutError(f"slower than {_grouped(_SLOWEST)} bytes a second")
    if expected is not None and len(content) < expected:
        came = f"{_grouped(len(content))} of {_grouped(expected)} bytes"
        raise _NotTheFile(f"the connection ended after {came}")
    return bytes(content)


def _open(url: str) -> http.client.HTTPResponse:
    """Open an address, without TLS where certificates fail: some Pythons have none.

    The checksum guards the file either way.
    """
    try:
        return _ask(url)
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLError):
            raise
        return _ask(url.replace("https:", "http:", 1))


def _ask(url: str) -> http.client.HTTPResponse:
    """Open an address, within ``_PATIENCE`` seconds in all.

    The time limit of ``urlopen`` alone holds for each of a host's addresses in turn, and not for
    the look-up of its name. A thread that nobody waits for any longer ends by itself.
    """
    answers: queue.SimpleQueue = queue.SimpleQueue()
    request = urllib.request.Request(url, headers={"User-Agent": "course-utils"})

    def open_() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=_PATIENCE))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=open_, daemon=True).start()
    try:
        answer = answers.get(timeout=_PATIENCE)
    except queue.Empty:
        raise TimeoutError(f"no answer within {_PATIENCE:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _words(error: Exception) -> str:
    """Say in a few words what went wrong: urllib wraps the error that tells."""
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        error = error.reason if isinstance(error.reason, Exception) else error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _store(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as own:
        part = Path(own) / path.name
        part.write_bytes(content)
        os.replace(part, path)


def _unavailable(source: _Source, faults: dict[str, str], why: _NotFetched) -> DataUnavailable:
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
