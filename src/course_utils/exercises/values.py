"""Values that answers give: what counts as a number, what counts as equal, how they are shown."""

import numbers
import types
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

# Relative tolerance for answers in float32, which has seven digits and loses one or two in sums.
_RTOL_OF_SINGLE = 1e-5
_SHOWN_WHOLE = 12  # entries of an array; of a larger one only the first are shown


class Wrong(Exception):
    """An answer is wrong: what was expected, what came, and a sentence that helps, if any."""

    def __init__(self, expected: str, actual: str, note: str = "") -> None:
        super().__init__(expected, actual, note)
        self.expected, self.actual, self.note = expected, actual, note


def compare(expected: Any, came: Any, *, rtol: float) -> None:
    """Raise ``Wrong`` unless ``came`` has the shape and, within ``rtol``, the values expected.

    The tolerance is relative to each entry, and at least to a thousandth of the largest one.
    nan equals nothing, and infinity only itself. What comes in float32 may be off by 1e-5 of the
    largest entry.

    Args:
        expected: a number, an array, or a tuple of these.
        came: whatever the answer returned; PyTorch tensors and lists count as arrays, and lists
            and arrays as tuples.
        rtol: largest relative difference allowed.
    """
    if isinstance(expected, tuple):
        parts = as_parts(came, len(expected))
        for i, (part, came_part) in enumerate(zip(expected, parts, strict=True), start=1):
            try:
                compare(part, came_part, rtol=rtol)
            except Wrong as wrong:
                which = f"{wrong.expected}   (result {i} of {len(expected)})"
                raise Wrong(which, wrong.actual, wrong.note) from None
        return
    raw, want = _native(came), np.asarray(expected)
    if raw is None or (raw.dtype.kind == "b" and raw.ndim == 0 and want.dtype.kind != "b"):
        raise Wrong(describe(want), in_words(came))
    expected_is_truth = want.dtype.kind == "b"
    want, have = want.astype(float), raw.astype(float)
    if have.shape != want.shape:
        raise Wrong(_shape(want), _shape(have))
    digits = np.finfo(raw.dtype).precision if raw.dtype.kind == "f" else 15
    if digits < 10:
        rtol = max(rtol, _RTOL_OF_SINGLE)
    finite = np.isfinite(want)
    size = np.max(np.abs(want), initial=1e-6, where=finite)
    floor = size if digits < 10 else max(1e-3 * size, 1e-6)
    allowed = rtol * np.maximum(np.where(finite, np.abs(want), 0.0), floor)
    with np.errstate(invalid="ignore"):  # inf − inf
        off = np.where(finite, np.abs(have - want), np.where(have == want, 0.0, np.inf))
    off = np.where(np.isnan(off), np.inf, off)
    if np.all(off <= allowed):
        return
    worst = np.unravel_index(np.argmax(off / allowed), want.shape)
    whole = 0 < want.size <= _SHOWN_WHOLE and describe(want) != describe(have)
    seen = whole and off[worst] > 1e-3 * size  # in the arrays themselves
    note = "" if seen else _difference(want[worst], have[worst], allowed[worst], worst)
    if digits < 10:
        note += f" {raw.dtype} has about {digits + 1} digits: compute in float64."
    actual = describe(have)
    if not np.all(np.isfinite(have) | (have == want)):
        actual += ": not all numbers are finite"
    if want.ndim == 0 and expected_is_truth:
        raise Wrong(describe(expected), describe(raw))
    if want.ndim == 0 and np.isfinite(have):
        raise Wrong(*apart(float(want), float(have)), note)
    raise Wrong(describe(want), actual, note)


def _difference(want: float, have: float, allowed: float, place: tuple[Any, ...]) -> str:
    """Name the entry that is farthest off, unless there is one only, and the tolerance."""
    off = f"off by {abs(have - want):.2g}; {allowed:.2g} is allowed."
    if not place:
        return off.capitalize()
    first, second = apart(want, have)
    index = ", ".join(str(int(i)) for i in place)
    return f"Farthest off is entry [{index}]: {first} expected, {second} came; {off}"


def apart(want: float, have: float) -> tuple[str, str]:
    """Show two different numbers with as many digits as make them differ."""
    for digits in range(6, 18):
        first, second = _number(want, digits), _number(have, digits)
        if first != second:
            break
    return first, second


def _number(value: float, digits: int) -> str:
    whole = np.isfinite(value) and value == int(value) and abs(value) < 1e15
    return str(int(value)) if whole else f"{value:.{digits}g}"


def _shape(array: np.ndarray) -> str:
    return f"shape {array.shape}" if array.ndim else "one number, shape ()"


def as_parts(came: Any, n: int, names: str = "") -> list[Any]:
    """Return the ``n`` results that came as a tuple, a list, an array or a tensor.

    Args:
        came: what the answer returned.
        n: how many results are asked for.
        names: what they are, "two arrays, codes and rows".

    Raises:
        Wrong: it is something else, or another number of them.
    """
    names = names or f"{n} results"
    if isinstance(came, (tuple, list)):
        parts = list(came)
    elif hasattr(came, "shape") and hasattr(came, "__iter__"):  # arrays, tensors, columns of pandas
        parts = list(came) if len(came.shape) else [came]
    else:
        raise Wrong(names, in_words(came))
    if len(parts) != n:
        raise Wrong(names, f"{len(parts)}: {in_words(came)}")
    return parts


def as_array(value: Any) -> np.ndarray | None:
    """Return ``value`` as a float64 array, or None where it holds anything but real numbers."""
    array = _native(value)
    return None if array is None else array.astype(np.float64)


def _native(value: Any) -> np.ndarray | None:
    """Return ``value`` as an array of its own precision, None where it is not of real numbers."""
    try:
        return _real(_without_torch(value))
    except Exception:  # ragged lists, and objects that will not be arrays
        return None


def _without_torch(value: Any) -> Any:
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        tensor = value.detach().cpu()
        try:
            return tensor.numpy()
        except TypeError:  # bfloat16, which NumPy has not
            return tensor.float().numpy()
    if isinstance(value, (tuple, list)):
        return [_without_torch(part) for part in value]
    return value


def _real(value: Any) -> np.ndarray | None:
    array = np.asarray(value)
    if array.dtype.kind == "O" and all(
        isinstance(part, (numbers.Real, Decimal)) for part in array.ravel()
    ):
        array = array.astype(np.float64)  # fractions, and whole numbers beyond 64 bits
    return array if array.dtype.kind in "biuf" else None


def describe(value: Any) -> str:
    """Show a value in one short line: small arrays whole, large ones by their shape and head."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {describe(part)}" for name, part in value.items())
    if isinstance(value, (tuple, list)) and not all(isinstance(part, int) for part in value):
        return (
            "("
            + ", ".join(describe(part) for part in value[:8])
            + (")" if len(value) <= 8 else f", … {len(value)} in all)")
        )
    if hasattr(value, "detach"):
        value = as_array(value) if as_array(value) is not None else value
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = value + 0.0  # −0 becomes 0
    if isinstance(value, (float, np.floating)) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind == "f"
    ):
        return f"{float(value) + 0.0:.6g}"
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return _shown(value.item())
    if isinstance(value, types.FunctionType):
        return value.__name__.strip("_")
    if not isinstance(value, np.ndarray):
        return _shown(value)
    if value.dtype.kind == "O":
        return f"array of shape {value.shape}, of objects"
    if value.size > _SHOWN_WHOLE:
        head = ", ".join(f"{v:.4g}" for v in value.ravel()[:3])
        return f"array of shape {value.shape}, first numbers {head}"
    return np.array2string(value, precision=4, separator=", ").replace("\n", "")[:200]


def _shown(value: Any) -> str:
    try:
        return " ".join(repr(value)[:2000].split())[:200]
    except Exception:  # its repr fails
        return f"<{type(value).__name__}>"


_NAMES = {"c": "complex numbers", "b": "truth values", "U": "text", "S": "bytes", "O": "objects"}


def in_words(value: Any) -> str:
    """Say what a value is: its kind, and the value."""
    if value is None:
        return "None: is the `return` missing?"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if callable(value) and not hasattr(value, "shape"):
        return f"the function {getattr(value, '__name__', type(value).__name__)}"
    if isinstance(value, (bool, np.bool_)):
        return f"the truth value {value}"
    if isinstance(value, (int, float, np.integer, np.floating)):
        return f"the number {describe(value)}"
    if isinstance(value, (complex, np.complexfloating)):
        return f"the complex number {value:.6g}"
    if isinstance(value, str):
        return f"text, {_shown(value)}"
    if _native(value) is not None and hasattr(value, "shape"):
        what = "a tensor" if hasattr(value, "detach") else "an array"
        shape = tuple(value.shape)
        return f"{what} of shape {shape}" if shape else f"the number {describe(value)}"
    try:
        kind = str(np.asarray(_without_torch(value)).dtype.kind)
    except Exception:
        kind = ""
    if hasattr(value, "shape") and kind in _NAMES:
        return f"an array of {_NAMES[kind]}, {_shown(value)}"[:200]
    if isinstance(value, (tuple, list)):
        if kind in "biuf" and kind:
            return f"{type(value).__name__} {describe(value)}"[:200]
        inside = f" with {_NAMES[kind]} in it" if kind in _NAMES and kind != "O" else ""
        return f"a {type(value).__name__}{inside}, {describe(value)}"[:200]
    article = "an" if type(value).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(value).__name__}, {_shown(value)}"[:200]


def has_nan(value: Any) -> bool:
    """Tell whether there is a nan anywhere in numbers, arrays, and lists and tuples of these."""
    if isinstance(value, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in value):
        return any(has_nan(part) for part in value)
    array = _native(value)
    if array is not None:
        return bool(np.any(np.isnan(array)))
    return isinstance(value, (tuple, list)) and any(has_nan(part) for part in value)


def same(a: Any, b: Any) -> bool:
    """Tell whether two results are the same, up to rounding; nan counts as equal to itself."""
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    left, right = _native(a), _native(b)
    if left is None or right is None:
        return type(a) is type(b) and _shown(a) == _shown(b)
    single = any(x.dtype.kind == "f" and x.dtype.itemsize < 8 for x in (left, right))
    left, right = left.astype(float), right.astype(float)
    rtol = _RTOL_OF_SINGLE if single else 1e-6
    return left.shape == right.shape and np.allclose(left, right, rtol=rtol, equal_nan=True)
