"""Which exercises are right: noted by ``check``, listed by ``python -m course_utils progress``.

One small text file holds a line for each, ``01.1 2026-11-26``, and nothing else. Lines are only
appended, each in one call, so that two notebooks at once spoil nothing. Nothing here needs more
than Python itself.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import os
import re
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from course_utils.console import say
from course_utils.folders import progress_file

_LINE = re.compile(r"(\d\d\.\d+) (\d{4}-\d\d-\d\d)\s*")
_PACKAGE = os.path.dirname(__file__) + os.sep
_SOLUTION = "# @title Solution"  # how the cell of a shipped solution begins


def note_right(number: str, answer: tuple[Any, ...]) -> None:
    """Note that an exercise is right, where it is not noted yet. Never raises, never prints.

    The shipped solution does not count: not in its cell, where "run all" checks it, and not where
    its function is checked again from another cell.

    Args:
        number: of the exercise, "01.1".
        answer: what was checked.
    """
    try:
        path = progress_file()
        if path is None or _is_shipped(answer):
            return
        before = _content(path)
        if number not in _dates(before):
            # Somebody may have edited the file and left its last line open.
            end = "\n" if before and not before.endswith("\n") else ""
            _append(path, f"{end}{number} {date.today().isoformat()}\n")
    except Exception:  # a note that cannot be made must not cost the learner the verdict
        pass


def main() -> int:
    """Print the exercises, chapter by chapter, with what is right; the exit status."""
    try:
        path = progress_file()
        noted = _dates(_content(path)) if path else {}
        where = f"It is noted in {path}; delete that file to start afresh."
    except (OSError, RuntimeError, ValueError) as error:
        noted, where = {}, f"What is noted cannot be read: {error}"
    else:
        if path is None:
            where = "Nothing is noted: COURSE_PROGRESS is off."
    total = n_right = 0
    for chapter, title, numbers in exercises():
        right = [number for number in numbers if number in noted]
        say(f"{chapter} {title}: {len(right)} of {len(numbers)}")
        for number in numbers:
            say(f"  ✓ {number} {noted[number]}" if number in noted else f"  ○ {number}")
        total, n_right = total + len(numbers), n_right + len(right)
    say(f"{n_right} of {total} exercises are right.")
    say(where)
    return 0


def exercises() -> Iterator[tuple[str, str, list[str]]]:
    """Give each chapter, "01", with its title and the numbers of its exercises.

    Read from the sources: importing them would take NumPy.
    """
    folder = files("course_utils") / "exercises"
    for source in sorted(folder.iterdir(), key=lambda source: source.name):
        if found := re.fullmatch(r"chapter(\d\d)\.py", source.name):
            tree = ast.parse(source.read_text(encoding="utf-8"))
            title = (ast.get_docstring(tree) or "").split(", ", 1)[-1].rstrip(".")
            calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
            named = (keyword for call in calls for keyword in call.keywords)
            numbers = [
                keyword.value.value
                for keyword in named
                if keyword.arg == "number" and isinstance(keyword.value, ast.Constant)
            ]
            yield found[1], title, sorted(map(str, numbers))


def _content(path: Path) -> str:
    """Return what the file holds, "" where it is not there.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    if not path.exists():
        return ""
    if not path.is_file():  # a pipe would wait for ever
        raise OSError(f"{path} is no file")
    return path.read_text(encoding="ascii", errors="replace")


def _dates(content: str) -> dict[str, str]:
    """Return the first date noted for each exercise; lines of another form do not count."""
    dates: dict[str, str] = {}
    for line in content.splitlines():
        if found := _LINE.fullmatch(line):
            dates.setdefault(found[1], found[2])
    return dates


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, text.encode("ascii"))
    finally:
        os.close(handle)


def _is_shipped(answer: tuple[Any, ...]) -> bool:
    """Tell whether the cell that calls ``check``, or one that defines the answer, is a solution's.

    Jupyter keeps the source of each cell in ``linecache``, under the file name of its code.
    """
    frame = inspect.currentframe()
    while frame and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    cells = {frame.f_code.co_filename} if frame else set()
    sources = {name for part in answer for name in _source_names(part)}
    return any(name.startswith(_PACKAGE) for name in sources) or any(
        "".join(linecache.getlines(name)).lstrip().startswith(_SOLUTION) for name in cells | sources
    )


def _source_names(part: Any) -> set[str]:
    """Return the file names of the code of a function, a method, or a class and its instances."""
    while isinstance(part, functools.partial):
        part = part.func
    part = inspect.unwrap(part) if callable(part) else part
    if not hasattr(part, "__code__"):
        owner = part if isinstance(part, type) else type(part)
        return {m.__code__.co_filename for m in vars(owner).values() if hasattr(m, "__code__")}
    return {part.__code__.co_filename}
