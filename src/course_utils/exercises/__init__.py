"""Exercises that answer back: ``check("01.1", answer)`` and ``hint("01.1")``.

The exercises of chapter NN live in ``chapterNN``; ``grading`` decides, ``answers`` talks.
"""

from course_utils.exercises.answers import check, hint

__all__ = ["check", "hint"]
