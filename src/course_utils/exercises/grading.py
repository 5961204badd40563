"""What an exercise is, and how an answer is graded: by values and shapes, never by its text."""

import copy
import inspect
import linecache
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Case = Mapping[str, Any]  # the arguments of one call, under their names
Judge = Callable[[Case, Any], None]  # returns if the answer is right, raises Wrong if not


class Wrong(Exception):
    """An answer is wrong: what was expected, and what came."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(expected, actual)
        self.expected, self.actual = expected, actual


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give, and the sentence that helps those who gave it."""

    hint: str
    answer: tuple[Any, ...]


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        number: "01.2": chapter, exercise.
        solution: the right answer, one function or value for each thing asked for.
        cases: makes the calls that decide, afresh each time; the first one is the easiest to read.
        mistakes: the known ones; an answer that gives the same values gets that mistake's hint.
        hints: unfolded one at a time.
        ask: calls the answer on a case; by default ``answer[0](**case)``, arguments in order.
        judge: decides on what came back; by default it must equal what the solution gives.
        rtol: relative tolerance of the default judge.
    """

    number: str
    solution: tuple[Any, ...]
    cases: Callable[[], Sequence[Case]]
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, ...]
    ask: Callable[[tuple[Any, ...], Case], Any] = field(
        default=lambda answer, case: answer[0](*case.values())
    )
    judge: Judge | None = None
    rtol: float = 1e-6


@dataclass(frozen=True)
class Grade:
    """What came of grading: ``status`` is "right", "wrong" or "not attempted"."""

    status: str
    n_cases: int = 0
    failed_case: int = 0  # counted from 1
    lines: tuple[str, ...] = ()


def grade(exercise: Exercise, answer: tuple[Any, ...]) -> Grade:
    """Grade an answer. Never raises because of what the answer does.

    Args:
        exercise: the exercise.
        answer: what the learner gave, as many things as ``exercise.solution`` has.

    Raises:
        TypeError: another number of things.
    """
    if len(answer) != len(exercise.solution):
        raise TypeError(
            f"check({exercise.number!r}, …) takes {len(exercise.solution)} answers,"
            f" got {len(answer)}"
        )
    if any(_untouched(part) for part in answer):
        return Grade("not attempted")
    cases = exercise.cases()
    for i, case in enumerate(cases, start=1):
        try:
            _grade_case(exercise, answer, case)
        except _NotFinished:
            return Grade("not attempted")
        except Wrong as wrong:
            lines = [f"input     {describe(case)}"] if case else []
            lines += [f"expected  {wrong.expected}", f"actual    {wrong.actual}"]
            return Grade("wrong", len(cases), i, (*lines, *_known_mistake(exercise, answer)))
    return Grade("right", len(cases))


class _NotFinished(Exception):
    """A ``...`` of the stub is still there."""


def _grade_case(exercise: Exercise, answer: tuple[Any, ...], case: Case) -> None:
    judge = exercise.judge or _equals_solution(exercise)
    given = copy.deepcopy(dict(case))
    try:
        came = exercise.ask(answer, given)
    except Wrong:
        raise
    except Exception as error:  # whatever the learner's code raises is an answer, not our failure
        if "ellipsis" in str(error).lower():
            raise _NotFinished from None
        raise Wrong("an answer", _describe_error(error, answer)) from None
    if came is Ellipsis or (isinstance(came, tuple) and any(part is Ellipsis for part in came)):
        raise _NotFinished
    if came is None:
        raise Wrong("an answer", "None: is the `return` missing?")
    changed = [name for name in case if not _same(given[name], case[name])]
    if changed:
        raise Wrong(
            f"{changed[0]} unchanged by the call",
            f"your code changed its argument {changed[0]} in place: work on a copy",
        )
    judge(case, came)


def _equals_solution(exercise: Exercise) -> Judge:
    def judge(case: Case, came: Any) -> None:
        expected = exercise.ask(exercise.solution, copy.deepcopy(dict(case)))
        compare(expected, came, rtol=exercise.rtol)

    return judge


def compare(expected: Any, came: Any, *, rtol: float) -> None:
    """Raise ``Wrong`` unless ``came`` has the shape and, within ``rtol``, the values expected.

    Args:
        expected: a number, an array, or a tuple of these.
        came: whatever the answer returned; PyTorch tensors count as arrays, lists as tuples.
        rtol: largest difference allowed, relative to the largest value expected.
    """
    if isinstance(expected, tuple):
        if not isinstance(came, (tuple, list)) or len(came) != len(expected):
            raise Wrong(f"{len(expected)} results", f"{type(came).__name__} {describe(came)}")
        for part, came_part in zip(expected, came, strict=True):
            compare(part, came_part, rtol=rtol)
        return
    want, have = np.asarray(expected, dtype=float), as_array(came)
    if have is None:
        raise Wrong(describe(expected), f"{type(came).__name__}: {came!r}"[:200])
    if have.shape != want.shape:
        raise Wrong(f"shape {want.shape}", f"shape {have.shape}")
    if not np.all(np.isfinite(have)):
        raise Wrong(describe(expected), f"{describe(have)}: not all numbers are finite")
    if np.max(np.abs(have - want), initial=0.0) > rtol * max(
        1e-3, np.max(np.abs(want), initial=0.0)
    ):
        raise Wrong(describe(expected), describe(have))


def as_array(value: Any) -> np.ndarray | None:
    """Return ``value`` as a float64 array, or None where it holds anything but real numbers."""
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError:  # ragged lists
        return None
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None


def describe(value: Any) -> str:
    """Show a value in one short line: small arrays whole, large ones by their shape and head."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {describe(part)}" for name, part in value.items())
    if isinstance(value, (tuple, list)) and not all(isinstance(part, int) for part in value):
        return "(" + ", ".join(describe(part) for part in value) + ")"
    if isinstance(value, float) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return f"{float(value):.6g}"
    if not isinstance(value, np.ndarray):
        return repr(value)[:200]
    if value.size > 12:
        head = ", ".join(f"{v:.4g}" for v in value.ravel()[:3])
        return f"array of shape {value.shape}, first numbers {head}"
    return np.array2string(value, precision=4, separator=", ").replace("\n", "")


def _known_mistake(exercise: Exercise, answer: tuple[Any, ...]) -> tuple[str, ...]:
    given = _results(exercise, answer)
    for mistake in exercise.mistakes:
        if _same(given, _results(exercise, mistake.answer)):
            return (f"Known mistake: {mistake.hint}",)
    return ()


def _results(exercise: Exercise, answer: tuple[Any, ...]) -> list[Any]:
    """Return what the answer gives on every case; an exception counts by its type and message."""
    results: list[Any] = []
    for case in exercise.cases():
        try:
            results.append(exercise.ask(answer, copy.deepcopy(dict(case))))
        except Exception as error:
            results.append((type(error).__name__, str(error)))
    return results


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    left, right = as_array(a), as_array(b)
    if left is None or right is None:
        return type(a) is type(b) and repr(a) == repr(b)
    return left.shape == right.shape and np.allclose(left, right, rtol=1e-6, equal_nan=True)


def _untouched(part: Any) -> bool:
    """Tell whether this is the stub as shipped: ``...``, or a function with nothing in it."""
    if part is Ellipsis:
        return True
    code = getattr(part, "__code__", None)
    if code is None or code.co_code not in (_empty.__code__.co_code, _documented.__code__.co_code):
        return False
    # functions that return some other constant differ from an empty one in their constants only
    constants = [c for c in code.co_consts if c is None or c != part.__doc__]
    return constants == [None]


def _empty() -> None: ...


def _documented() -> None:
    """A stub may have a docstring, which moves the None that it returns."""


def _describe_error(error: Exception, answer: tuple[Any, ...]) -> str:
    """Name the exception and the learner's own line in which it came up."""
    files = {
        inspect.unwrap(part).__code__.co_filename
        for part in answer
        if hasattr(inspect.unwrap(part) if callable(part) else part, "__code__")
    }
    text = f"{type(error).__name__}: {error}".splitlines()[0][:160]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files and frame.lineno is not None:
            line = linecache.getline(frame.filename, frame.lineno).strip()
            return f"{text}   <- your line {frame.lineno}" + (f": {line}" if line else "")
    return text
