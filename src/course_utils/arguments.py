"""Errors that name the argument: what a function says of something that it cannot use.

Formulas stay free of checks. ``named_errors`` looks at the arguments only after a call has failed,
compares them with the type hints, and says which one it was, what came and what was expected.
"""

import collections.abc
import functools
import inspect
import numbers
import operator
import re
import types
import typing
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from course_utils.shapes import expect_numbers, shown

_IN_WORDS = {
    np.ndarray: "an array",
    "Tensor": "a tensor",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    "Module": "a module of PyTorch",
    np.random.Generator: "a generator of NumPy, as from np.random.default_rng(0)",
    collections.abc.Callable: "a function",
    collections.abc.Sequence: "a list or a tuple",
    collections.abc.Mapping: "a dictionary",
    types.NoneType: "None",
}


def named_errors(module: dict[str, Any]) -> None:
    """Let every public function and class of a module name the argument that makes it fail.

    The last line of a module: ``named_errors(globals())``. A call that succeeds is as it was. After
    an error, the first argument that does not fit its type hint, or is no array of finite numbers
    where an array is asked for, is named; where all fit, the error stays what it was.

    Args:
        module: the module's ``globals()``; functions are replaced in it, methods in their classes.
    """
    for name, value in list(module.items()):
        if name.startswith("_") or getattr(value, "__module__", None) != module["__name__"]:
            continue
        if inspect.isfunction(value):
            module[name] = _named(value)
        elif inspect.isclass(value) and not issubclass(value, (tuple, Exception)):
            for key, method in list(vars(value).items()):
                if inspect.isfunction(method) and (key == "__init__" or not key.startswith("_")):
                    setattr(value, key, _named(method))


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            given = _given(function, args, kwargs)
            for problem in _renamed(error, given):
                raise problem from error
            if not _names_one(error, given):
                for problem in chain(_problems(function, given), _shapes(error, given)):
                    raise problem from error
            raise

    return call


def _given(function: Callable[..., Any], args: tuple, kwargs: dict) -> dict[str, Any]:
    """The arguments of a call by name; of ``*sizes`` each is an entry, "sizes[0]"."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:  # a wrong number of arguments: Python's own message names them
        return {}
    given: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            given |= {f"{name}[{i}]": each for i, each in enumerate(value)}
        else:
            given |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return given


def _names_one(error: Exception, given: dict[str, Any]) -> bool:
    """Whether the message is one of ours, "mu must …", and about an argument of this call."""
    found = re.match(r"(?:the )?([\w ,\[\]]*?) must ", str(error))
    names = {name.split("[")[0] for name in given}
    return found is not None and any(word in names for word in re.findall(r"\w+", found[1]))


def _problems(function: Callable[..., Any], given: dict[str, Any]) -> Iterator[Exception]:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    for name, value in given.items():
        hint = hints.get(name.split("[")[0], Any)
        if not _fits(value, hint):
            yield TypeError(f"{name} must be {_in_words(hint)}, got {shown(value)}")
        for path, part in _parts(name, value):
            yield from _bad_numbers(path, part)


def _shapes(error: Exception, given: dict[str, Any]) -> Iterator[Exception]:
    """Say the shapes that a method was given, where a library stumbles over them."""
    about = isinstance(error, (RuntimeError, IndexError, ValueError))
    if not about or not re.search(r"shape|size|dimension", str(error), flags=re.I):
        return
    arrays = {name: value.shape for name, value in given.items() if hasattr(value, "shape")}
    if "self" in given and arrays:
        names, shapes = " and ".join(arrays), " and ".join(str(tuple(s)) for s in arrays.values())
        fitting = "a shape that fits" if len(arrays) == 1 else "shapes that fit"
        why = str(error).splitlines()[0][:120]
        yield ValueError(
            f"{names} must have {fitting} this {type(given['self']).__name__}, got {shapes}: {why}"
        )


def _renamed(error: Exception, given: dict[str, Any]) -> Iterator[Exception]:
    """Say the array of an inner function by the name that it has in this call."""
    if not hasattr(error, "culprit"):
        return
    culprit, first = error.culprit, str(error).split(" ")[0]
    for name, value in given.items():
        for path, part in _parts(name, value):
            if part is culprit and path != first:
                word = rf"(?<!\w){re.escape(first)}(?!\w)"  # not the letter in another word
                problem = type(error)(re.sub(word, path, str(error)))
                problem.culprit = culprit  # type: ignore[attr-defined]
                yield problem


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, (list, tuple)):
        names = getattr(value, "_fields", None)
        for i, part in enumerate(value[:100]):
            yield from _parts(f"{path}.{names[i]}" if names else f"{path}[{i}]", part)


def _bad_numbers(name: str, value: Any) -> Iterator[Exception]:
    """What is wrong with an array, if anything: no numbers, none at all, or not finite ones."""
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return
    try:
        expect_numbers(name, value)
    except (TypeError, ValueError) as error:
        yield error
        return
    if str(value.dtype) in ("torch.int32", "torch.int64"):
        yield TypeError(f"{name} must hold floats, got {value.dtype}: {name}.float()")
    elif 0 in tuple(value.shape):
        yield ValueError(f"{name} must not be empty, got shape {tuple(value.shape)}")
    elif not bool((abs(value) < float("inf")).all()):
        yield ValueError(f"{name} must be finite, got nan or infinite entries")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value may stand for a type hint; generous where the hint says little."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if hint is None or hint is types.NoneType:
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is typing.Literal:
        return value in parts
    if hint is np.ndarray:  # tensors and the arrays of other libraries serve as well
        return hasattr(value, "shape") and hasattr(value, "dtype")
    if hint is int:
        return _is_index(value)
    if hint is float:
        return isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return callable(value)
    if origin in (collections.abc.Sequence, list):
        a_list = hasattr(value, "__len__") and hasattr(value, "__getitem__")
        return (
            a_list
            and not isinstance(value, (str, dict))
            and all(_fits(each, parts[0]) for each in list(value)[:100])
        )
    if origin is tuple and parts:
        if Ellipsis in parts and hasattr(value, "__len__"):
            parts = (parts[0],) * len(value)
        return (
            isinstance(value, (tuple, list))
            and len(value) == len(parts)
            and all(map(_fits, value, parts))
        )
    kind = origin or hint
    return isinstance(value, kind) if isinstance(kind, type) else True


def _is_index(value: Any) -> bool:
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return not isinstance(value, (bool, np.bool_))


def _in_words(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_in_words, parts)))
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, parts))
    if origin is type:
        return "a class"
    if origin in (collections.abc.Sequence, list, tuple) and parts:
        of = {int: " of whole numbers", np.ndarray: " of arrays", str: " of texts"}
        return "a list or a tuple" + of.get(parts[0], "")
    kind = origin or hint
    name = getattr(kind, "__name__", str(kind))
    return _IN_WORDS.get(kind) or _IN_WORDS.get(name) or f"a {name}"
