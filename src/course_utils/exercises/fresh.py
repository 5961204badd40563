"""Copies of functions that remember nothing of what the originals were called with."""

import copy
import functools
import types
from typing import Any

import numpy as np

_CHANGEABLE = (dict, list, set, bytearray)
_LARGEST = 1_000_000  # numbers in an array: a larger one is data, and nobody's memory


def fresh(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copy functions together with what they can change: a dictionary, a list, a counter.

    Functions of one answer share their copies as they share the originals. What cannot be copied
    stays as it is, and so do modules, classes, and functions from elsewhere.
    """
    try:
        copier = _Copier({_module(part) for part in answer})
        return tuple(copier.copy(part) for part in answer)
    except Exception:
        return answer


def _module(part: Any) -> str:
    part = getattr(part, "func", part)  # functools.partial
    return str(getattr(part, "__module__", None) or type(part).__module__)


class _Copier:
    def __init__(self, modules: set[str]) -> None:
        self._modules = modules  # where the answer was written
        self._memo: dict[int, Any] = {}  # of deepcopy, and of our own
        self._globals: dict[int, dict[str, Any]] = {}

    def copy(self, value: Any) -> Any:
        if id(value) in self._memo:
            return self._memo[id(value)]
        if isinstance(value, functools.partial):
            keywords = {name: self.copy(part) for name, part in value.keywords.items()}
            return functools.partial(self.copy(value.func), *map(self.copy, value.args), **keywords)
        if isinstance(value, types.FunctionType):
            return self._function(value) if value.__module__ in self._modules else value
        if isinstance(value, types.MethodType):
            return types.MethodType(value.__func__, self.copy(value.__self__))
        small = isinstance(value, np.ndarray) and value.size <= _LARGEST
        own = type(value).__module__ in self._modules
        if not (small or own or isinstance(value, _CHANGEABLE)):
            return value
        try:
            return copy.deepcopy(value, self._memo)
        except Exception:
            return value

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        names = self._globals.setdefault(id(function.__globals__), dict(function.__globals__))
        cells = tuple(self._cell(cell) for cell in function.__closure__ or ())
        new = types.FunctionType(function.__code__, names, function.__name__, None, cells)
        self._memo[id(function)] = new
        new.__defaults__ = function.__defaults__ and tuple(map(self.copy, function.__defaults__))
        new.__kwdefaults__ = {k: self.copy(v) for k, v in (function.__kwdefaults__ or {}).items()}
        vars(new).update({name: self.copy(value) for name, value in vars(function).items()})
        for name in _names(function.__code__) & names.keys():
            if names[name] is function.__globals__[name]:
                names[name] = self.copy(names[name])
        return new

    def _cell(self, cell: types.CellType) -> types.CellType:
        if id(cell) not in self._memo:
            self._memo[id(cell)] = new = types.CellType()
            try:
                new.cell_contents = self.copy(cell.cell_contents)
            except ValueError:  # empty
                pass
        return self._memo[id(cell)]


def _names(code: types.CodeType) -> set[str]:
    """Return the names that a function and the functions inside it look up."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names
