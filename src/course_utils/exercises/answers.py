"""What the learner meets: ``check``, ``hint`` and ``solution``, and what they print."""

import importlib
import textwrap
from typing import Any

from course_utils import progress
from course_utils.console import say
from course_utils.exercises.grading import Exercise, Grade, grade
from course_utils.exercises.output import recorded
from course_utils.exercises.solutions import solution_text

_WIDTH = 92
_unfolded: dict[str, int] = {}


def check(number: str, *answer: Any) -> None:
    """Grade the answer to an exercise and print what came of it. Never raises for a wrong answer.

    An untouched stub is "not attempted yet". A wrong answer is shown the first case that fails,
    with what went in, what was expected and what came, and a hint where the mistake is known. A
    right one is noted for ``python -m course_utils progress``.

    The verdict comes within ten seconds, also for an answer that never ends or ends Python; of what
    it prints the first lines are shown.

    Args:
        number: of the exercise, "01.1".
        answer: the function or value asked for; several where the exercise says so.

    Raises:
        ValueError: there is no such exercise.
        TypeError: another number of answers than the exercise asks for.
    """
    exercise = find(number)
    with recorded():
        result = grade(exercise, answer)
    say("\n".join(_speak(exercise, result)))
    if result.status == "right":
        progress.note_right(number, answer)


def hint(number: str) -> None:
    """Print the next hint of an exercise: one more at each call.

    Raises:
        ValueError: there is no such exercise.
    """
    hints = find(number).hints
    shown = _unfolded.get(number, 0)
    if shown == len(hints):
        say(f'{number}: that was the last hint. solution("{number}") prints the solution.')
        return
    _unfolded[number] = shown + 1
    say(_wrap(f"Hint {shown + 1} of {len(hints)}: {hints[shown]}"))


def solution(number: str) -> None:
    """Print the solution of an exercise: its functions, with the reasons in comments.

    Raises:
        ValueError: there is no such exercise.
    """
    say(solution_text(find(number).number))


def find(number: str) -> Exercise:
    """Return the exercise of that number.

    Raises:
        ValueError: there is none; the message lists those of the chapter.
    """
    chapter = str(number).split(".")[0]
    try:
        module = importlib.import_module(f"course_utils.exercises.chapter{chapter}")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("course_utils"):  # a package that the chapter needs
            raise
        raise ValueError(f"number must be that of an exercise, as '01.1', got {number!r}") from None
    exercises: dict[str, Exercise] = {e.number: e for e in module.EXERCISES}
    if number not in exercises:
        known = ", ".join(exercises)
        raise ValueError(f"number must be one of {known} in chapter {chapter}, got {number!r}")
    return exercises[number]


def _speak(exercise: Exercise, result: Grade) -> list[str]:
    number = exercise.number
    if result.status == "not attempted":
        return [f"○ {number} not attempted yet: write your lines in place of ... and run the cell."]
    if result.status == "right":
        return [f"✓ {number} is right, in all {result.n_cases} cases."]
    where = f": case {result.failed_case} of {result.n_cases}" if result.failed_case else ""
    head = f"✗ {number} is not right yet{where}."
    body = [_wrap(line, indent="  ") for line in result.lines]
    return [head, *body, f'  Stuck? hint("{number}") unfolds one hint at a time.']


def _wrap(text: str, indent: str = "") -> str:
    wide = textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "          "
    )
    return "\n".join(wide)
