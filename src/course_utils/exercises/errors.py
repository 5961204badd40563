"""What an answer raised, in words, and the learner's own line in which it came up."""

import inspect
import linecache
import traceback
from collections.abc import Iterable
from typing import Any

from course_utils.exercises.limits import Escape, NoEnd, Place

_WORDS = {
    "SystemExit": "your code ends Python; let it return the answer instead",
    "KeyboardInterrupt": "your code raises it itself",
    "RecursionError": "a function calls itself without end",
    "MemoryError": "your code asks for more memory than there is",
}


def error_in_words(error: Exception, answer: tuple[Any, ...]) -> str:
    """Name the exception and the learner's own line in which it came up."""
    if isinstance(error, NoEnd):
        text = str(error) + _line(error.places, answer)
        if error.abandoned:
            text += ". It cannot be interrupted and goes on in the background: restart the kernel"
        return text
    raised = error.error if isinstance(error, Escape) else error
    kind, said = type(raised).__name__, message(raised)
    for known, words in _WORDS.items():
        if any(known == base.__name__ for base in type(raised).__mro__):
            said = f"{words} ({said})" if said else words
    text = " ".join(f"{kind}: {said}".split())[:200] if said else kind
    steps = traceback.extract_tb(raised.__traceback__)
    return text + _line([(s.filename, s.lineno or 0) for s in reversed(steps)], answer)


def message(error: BaseException) -> str:
    """Return the first line of what an exception says, "" where it cannot be said."""
    try:
        lines = str(error).splitlines()
    except Exception:  # an exception of the learner's, which cannot be printed
        return ""
    return lines[0][:160] if lines else ""


def _line(places: Iterable[Place], answer: tuple[Any, ...]) -> str:
    """Return the innermost line that is in a file, or cell, of the answer."""
    files = {code.co_filename for part in answer if (code := _code(part)) is not None}
    for name, number in places:
        if name in files:
            line = linecache.getline(name, number).strip()
            return f"   <- your line {number}" + (f": {line}" if line else "")
    return ""


def _code(part: Any) -> Any:
    part = inspect.unwrap(part) if callable(part) else part
    part = getattr(part, "func", part)  # functools.partial
    return getattr(part, "__code__", None)
