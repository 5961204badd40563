"""Exercises that answer back: ``check("01.1", answer)``, ``hint("01.1")``, ``solution("01.1")``.

The exercises of chapter NN live in ``chapterNN``; ``grading`` decides, ``answers`` talks, and
``solutions`` reads the text of a solution.
"""

from course_utils.exercises.answers import check, hint, solution

__all__ = ["check", "hint", "solution"]
