"""One file from the first of its mirrors that has it whole, held in memory until its MD5 is right.

No mirror is waited for longer than the limits below say. pooch and requests cannot promise that:
they limit the wait for a connection and for each piece of a file. The look-up of a name has no
limit there, and a mirror that drips keeps them for hours.
"""

import hashlib
import http.client
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from course_utils.bars import tqdm

_PATIENCE = 10.0  # seconds for a mirror to answer, and for the next piece of a file to arrive
_SLOWEST = 20_000  # bytes a second that a mirror must keep up, after its first _PATIENCE seconds
_PIECE = 1 << 16  # bytes read at once, at most


class NotFetched(Exception):
    """Why a file was not fetched, what to do, and what each mirror said."""

    def __init__(self, reason: str, advice: str, details: str = "") -> None:
        super().__init__(reason)
        self.reason, self.advice, self.details = reason, advice, details


def fetch(filename: str, md5: str, mirrors: list[str], title: str, progress: bool) -> bytes:
    """Return a file's content from the first mirror that has it whole.

    A mirror, an address that ends in a slash, moves to the end of ``mirrors`` where it fails: the
    next file asks it last. A bar shows how far a download is, unless ``progress`` is False.

    Raises:
        NotFetched: none has it.
    """
    failures: list[tuple[str, Exception]] = []
    for mirror in mirrors.copy():
        try:
            content = _get(mirror + filename, f"{title} {filename}", progress)
            if md5_of(content) != md5:
                came = f"what came, {grouped(len(content))} bytes, is not the file"
                raise http.client.HTTPException(came)
            return content
        except (OSError, http.client.HTTPException) as error:
            failures.append((mirror, error))
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            mirrors.append(mirrors.pop(mirrors.index(mirror)))
    details = "; ".join(f"{urlsplit(mirror).netloc}: {_words(e)}" for mirror, e in failures)
    answered = (urllib.error.HTTPError, http.client.HTTPException)
    if any(isinstance(error, answered) for _, error in failures):
        raise NotFetched(f"no mirror gave {filename} whole", "try again later", details)
    raise NotFetched("no network", "try again online", details)


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
        start = time.monotonic()
        while piece := response.read1(_PIECE):  # what is there: read() would wait for a whole piece
            content += piece
            bar.update(len(piece))
            if len(content) < _SLOWEST * (time.monotonic() - start - _PATIENCE):
                raise TimeoutError(f"slower than {grouped(_SLOWEST)} bytes a second")
        if left := response.length:  # it counts down while one reads
            came = f"{grouped(len(content))} of {grouped(len(content) + left)} bytes"
            raise http.client.HTTPException(f"the connection ended after {came}")
    return bytes(content)


def _open(url: str) -> http.client.HTTPResponse:
    """Open an address within ``_PATIENCE`` seconds; without TLS where that fails.

    The time limit of ``urlopen`` alone holds for each of a host's addresses in turn, and not for
    the look-up of its name. A thread that nobody waits for any longer ends by itself. Some Pythons
    have no certificates; the MD5 guards the file either way.
    """
    outcome: list[http.client.HTTPResponse | Exception] = []
    request = urllib.request.Request(url, headers={"User-Agent": "course-utils"})

    def ask() -> None:
        try:
            outcome.append(urllib.request.urlopen(request, timeout=_PATIENCE))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    answer = outcome[0] if outcome else TimeoutError(f"no answer within {_PATIENCE:g} s")
    if url.startswith("https:") and isinstance(getattr(answer, "reason", None), ssl.SSLError):
        return _open(url.replace("https:", "http:", 1))
    if isinstance(answer, Exception):
        raise answer
    return answer


def _words(error: Exception) -> str:
    """Say in a few words what went wrong: urllib wraps the error that tells."""
    reason = getattr(error, "reason", None)
    error = reason if isinstance(reason, Exception) else error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def md5_of(content: bytes) -> str:
    """Return the MD5 in hexadecimal digits."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def grouped(n: int) -> str:
    """Return a number with its digits in threes: 47 040 016."""
    return f"{n:,}".replace(",", " ")
