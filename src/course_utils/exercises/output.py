"""What an answer prints while it is graded: recorded, and shown afterwards, cut."""

import io
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from course_utils.console import readable

LINES, CHARACTERS = 20, 2000  # shown of what an answer prints, on both streams together


class Recording:
    """The first lines of what is written, and how much more there was."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, str]] = []  # the stream's name, and text
        self._lines = self._characters = 0  # kept
        self._more_lines = self._more_characters = 0  # not kept
        self._open = False  # the last line that was not kept has no end yet

    def write(self, stream: str, text: str) -> None:
        kept = ""
        if not self._more_characters:
            lines = text.splitlines(keepends=True)
            kept = "".join(lines[: max(LINES - self._lines, 0)])
            kept = kept[: CHARACTERS - self._characters]
            self._lines += kept.count("\n")
            self._characters += len(kept)
            if kept:
                self._parts.append((stream, kept))
        rest = text[len(kept) :]
        if rest:
            self._more_characters += len(rest)
            self._more_lines += rest.count("\n")
            self._open = not rest.endswith("\n")

    def show(self) -> None:
        """Write what was kept to the streams where it belongs, and say what is left out."""
        for name, text in self._parts:
            _write(name, text)
        if self._ends_open("stdout"):
            _write("stdout", "\n")  # the verdict has lines of its own
        n_lines, n_characters = self._more_lines + self._open, _grouped(self._more_characters)
        lines = f"{_grouped(n_lines)} more line{'s' if n_lines > 1 else ''}"
        if n_lines:
            _write("stdout", f"… {lines}, {n_characters} characters, of what your code prints.\n")

    def _ends_open(self, stream: str) -> bool:
        texts = [text for name, text in self._parts if name == stream]
        return bool(texts) and not texts[-1].endswith("\n")


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _write(name: str, text: str) -> None:
    stream = getattr(sys, name)
    if stream is not None:  # there is none under pythonw
        stream.write(readable(text, getattr(stream, "encoding", None) or "utf-8"))
        stream.flush()


class _Tap(io.TextIOBase):
    """A stream that hands all that is written to a recording."""

    encoding = "utf-8"

    def __init__(self, recording: Recording, name: str) -> None:
        self._recording, self._name = recording, name

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._recording.write(self._name, text)
        return len(text)

    def close(self) -> None:
        pass  # an answer that closes its output has closed nothing


@contextmanager
def recorded() -> Iterator[None]:
    """Record what is printed inside, warnings too, and show it, cut, at the end."""
    recording = Recording()
    try:
        with _recorded_by(recording):
            yield
    finally:
        recording.show()


def quiet() -> AbstractContextManager[None]:
    """Show nothing of what is printed inside: it was shown before."""
    return _recorded_by(Recording())


@contextmanager
def _recorded_by(recording: Recording) -> Iterator[None]:
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Tap(recording, "stdout"), _Tap(recording, "stderr")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
