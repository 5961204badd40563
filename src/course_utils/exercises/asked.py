"""What an exercise asks for, and answers that are something else: told before any call."""

import inspect
from typing import Any

from course_utils.exercises.values import in_words


def misplaced(number: str, asked: tuple[Any, ...], given: tuple[Any, ...]) -> tuple[str, ...]:
    """Return what to say of an answer of the wrong kind, nothing where it can be called.

    Args:
        number: of the exercise.
        asked: its solution, one function or value for each thing asked for.
        given: what the learner passed to ``check``, as many things.
    """
    if _swapped(asked, given):
        order = ", ".join(_name(part) for part in asked)
        return (f"expected  {order}, in this order", "actual    in another order")
    for i, (wanted, part) in enumerate(zip(asked, given, strict=True), start=1):
        which = f"{number}" if len(asked) == 1 else f"{number}, answer {i},"
        if callable(wanted) and (not callable(part) or isinstance(part, type)):
            what = in_words(part).removesuffix(": is the `return` missing?")
            own = _name(wanted)
            return (
                f"{which} asks for a function {signature(wanted)}, got {what}.",
                f"Pass the function itself, by its name: {own}, not {own}(…).",
            )
        if not callable(wanted) and callable(part):
            return (f"{which} asks for a value, got {in_words(part)}: call it.",)
        if callable(wanted) and not _takes(part, _positional(wanted)):
            return (
                f"expected  a function {signature(wanted)}",
                f"actual    {signature(part)}: it takes other arguments",
            )
    return ()


def order_of_arguments(asked: tuple[Any, ...], given: tuple[Any, ...]) -> str:
    """Say that a function has the right arguments in another order, "" where it has not."""
    for wanted, part in zip(asked, given, strict=True):
        names, have = _positional(wanted), _positional(part)
        if len(set(names)) > 1 and names != have and sorted(names) == sorted(have):
            return f"Arguments come in the order ({', '.join(names)}), yours are {signature(part)}."
    return ""


def signature(function: Any) -> str:
    """Write a function with its arguments, and without types: ``slope(x, x_hat)``."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return f"{_name(function)}(…)"
    shown = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return f"{_name(function)}{inspect.Signature(shown)}"


def _name(part: Any) -> str:
    return getattr(part, "__name__", None) or type(part).__name__


def _positional(function: Any) -> list[str]:
    """Return the names of the arguments that must be given by their place."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in kinds and p.default is p.empty]


def _takes(function: Any, names: list[str]) -> bool:
    """Tell whether a function can be called with so many arguments; where unknown, it can."""
    try:
        inspect.signature(function).bind(*names)
    except TypeError:
        return False
    except ValueError:  # some functions of compiled libraries do not say
        return True
    return True


def _swapped(asked: tuple[Any, ...], given: tuple[Any, ...]) -> bool:
    """Tell whether the answers have the names of what is asked for, in another order."""
    if len(asked) < 2 or not all(callable(part) for part in (*asked, *given)):
        return False
    names, have = [_name(part) for part in asked], [_name(part) for part in given]
    if sorted(names) == sorted(have) and names != have:
        return True
    # names of their own: swapped if each fits only in the other's place
    n_arguments = [len(_positional(part)) for part in asked]
    return len(set(n_arguments)) > 1 and all(
        not _takes(part, [""] * n) and _takes(part, [""] * m)
        for part, n, m in zip(given, n_arguments, n_arguments[::-1], strict=True)
    )
