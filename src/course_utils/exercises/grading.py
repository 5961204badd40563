"""What an exercise is, and how an answer is graded: by values and shapes, never by its text."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from course_utils.exercises.asked import misplaced, order_of_arguments
from course_utils.exercises.errors import error_in_words, message
from course_utils.exercises.fresh import fresh
from course_utils.exercises.limits import Budget, NoEnd, in_seconds
from course_utils.exercises.output import quiet
from course_utils.exercises.values import (
    Wrong,
    as_array,
    as_parts,
    compare,
    describe,
    has_nan,
    in_words,
    same,
)

__all__ = [
    "Case",
    "Exercise",
    "Grade",
    "Judge",
    "Mistake",
    "Wrong",
    "as_array",
    "as_parts",
    "compare",
    "describe",
    "grade",
]

Case = Mapping[str, Any]  # the arguments of one call, under their names
Judge = Callable[[Case, Any], None]  # returns if the answer is right, raises Wrong if not


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
        judge: decides on what came back; by default it must equal what the solution gives. It may
            fail on a value of another kind than asked for: that counts as wrong.
        rtol: relative tolerance of the default judge.
        same_again: what must come again when a case is asked a second time, of a copy of the answer
            that remembers nothing of the first; "" where another right answer may come.
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
    same_again: str = ""


@dataclass(frozen=True)
class Grade:
    """What came of grading: ``status`` is "right", "wrong" or "not attempted"."""

    status: str
    n_cases: int = 0
    failed_case: int = 0  # counted from 1
    lines: tuple[str, ...] = ()


def grade(exercise: Exercise, answer: tuple[Any, ...]) -> Grade:
    """Grade an answer. Never raises because of what the answer does.

    All cases are asked once, in order, and then once more from the last to the first: an answer
    that remembers earlier calls gives something else then.

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
    again = fresh(answer) if exercise.same_again else answer
    lines = misplaced(exercise.number, exercise.solution, answer)
    if lines:
        return Grade("wrong", len(cases), 0, lines)
    trial, place = _Trial(exercise, answer), 0
    try:
        for place in range(len(cases)):
            trial.grade(cases[place])
        repeated = _Trial(exercise, again, trial.budget)
        with quiet():
            for place in reversed(range(len(cases))):
                repeated.grade_again(cases[place], trial.results[place])
    except _NotFinished:
        return Grade("not attempted")
    except Wrong as wrong:
        case = cases[place]
        lines = (f"input     {describe(case)}",) if case else ()
        lines += (f"expected  {wrong.expected}", f"actual    {wrong.actual}")
        lines += (wrong.note,) if wrong.note else ()
        return Grade("wrong", len(cases), place + 1, (*lines, *_help(exercise, trial, cases)))
    return Grade("right", len(cases))


class _NotFinished(Exception):
    """A ``...`` of the stub is still there."""


class _Trial:
    """One answer, what it gave on the cases so far, and the time that it has left."""

    def __init__(
        self, exercise: Exercise, answer: tuple[Any, ...], budget: Budget | None = None
    ) -> None:
        self.exercise, self.answer = exercise, answer
        self.budget = budget or Budget()
        self.results: list[Any] = []  # an exception counts by its type and message
        self.ended = True

    def ask(self, case: Case) -> tuple[Any, dict[str, Any]]:
        """Call the answer on a copy of a case; return what came, and the copy."""
        given = copy.deepcopy(dict(case))
        try:
            came = self.budget.call(self.exercise.ask, self.answer, given)
        except Exception as error:  # what the learner's code raises is an answer, not our failure
            self.ended = not isinstance(error, NoEnd)
            self.results.append((type(error).__name__, message(error)))
            raise
        self.results.append(came)
        return came, given

    def grade(self, case: Case) -> None:
        """Raise ``Wrong`` or ``_NotFinished`` unless the answer is right on this case."""
        try:
            came, given = self.ask(case)
        except Wrong:
            raise
        except Exception as error:
            raise self._failed(error) from None
        if came is Ellipsis or (isinstance(came, tuple) and any(part is ... for part in came)):
            raise _NotFinished
        if came is None:
            raise Wrong("an answer", in_words(came))
        changed = [name for name in case if not same(given[name], case[name])]
        if changed:
            raise Wrong(
                f"{changed[0]} unchanged by the call",
                f"your code changed its argument {changed[0]} in place: work on a copy",
            )
        self._judge(case, came)

    def grade_again(self, case: Case, first: Any) -> None:
        """Grade a case a second time, in words that say so."""
        again = "It was right when first asked: your code remembers an earlier call, or draws."
        try:
            self.grade(case)
        except Wrong as wrong:
            note = wrong.note if not self.ended else again
            raise Wrong(wrong.expected, wrong.actual, note) from None
        wanted = self.exercise.same_again
        if wanted and not same(self.results[-1], first):
            raise Wrong(wanted, "something else when asked a second time, in another order")

    def _judge(self, case: Case, came: Any) -> None:
        judge = self.exercise.judge
        if judge is None:
            expected = self.exercise.ask(self.exercise.solution, copy.deepcopy(dict(case)))
            self._decide(lambda: compare(expected, came, rtol=self.exercise.rtol))
            return
        if self.budget.call(has_nan, came):
            raise Wrong("numbers", f"{describe(came)}: not all numbers are finite")
        self._decide(lambda: judge(case, came))

    def _decide(self, decision: Callable[[], None]) -> None:
        try:
            self.budget.call(decision)
        except Wrong:
            raise
        except NoEnd as error:
            raise self._failed(error) from None
        except Exception:  # the judge met a value of a kind that it cannot handle
            raise Wrong("an answer of the form asked for", in_words(self.results[-1])) from None

    def _failed(self, error: Exception) -> Exception:
        if "ellipsis" in message(error).lower():
            return _NotFinished()
        self.ended = not isinstance(error, NoEnd)
        wanted = "an answer"
        if isinstance(error, NoEnd):
            wanted += f" within {in_seconds(error.seconds)}"
        return Wrong(wanted, error_in_words(error, self.answer))


def _help(exercise: Exercise, trial: _Trial, cases: Sequence[Case]) -> tuple[str, ...]:
    """Return the hint of a known mistake, or what else is seen."""
    order = order_of_arguments(exercise.solution, trial.answer)
    if order:
        return (order,)
    for case in cases[len(trial.results) :]:
        if not trial.ended:
            break
        try:
            with quiet():
                trial.ask(case)
        except Exception:  # is among the results
            pass
    if not trial.ended:
        return ()
    for mistake in exercise.mistakes:
        gives = _results(exercise, mistake.answer)
        if all(same(came, one) for came, one in zip(trial.results, gives, strict=True)):
            return (f"Known mistake: {mistake.hint}",)
    return ()


def _results(exercise: Exercise, answer: tuple[Any, ...]) -> Iterator[Any]:
    """Give what a known mistake gives on each case, and print nothing.

    One after the other: most mistakes differ from the answer on the first case, and then the
    others need no time.
    """
    for case in exercise.cases():
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                result = exercise.ask(answer, copy.deepcopy(dict(case)))
        except Exception as error:
            result = type(error).__name__, message(error)
        yield result


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
