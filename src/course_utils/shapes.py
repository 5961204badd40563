"""Shapes and kinds of numbers, said and checked where arrays enter."""

from typing import Any, NoReturn

import numpy as np

_NUMBERS = ("float16", "bfloat16", "float32", "float64", "float96", "float128", "int32", "int64")


def expect_shapes(shapes: str, **arrays: Any) -> None:
    """Check that each array has its shape; one letter stands for one size throughout.

    Works for NumPy arrays and PyTorch tensors. A size may be a letter or a number.

    Args:
        shapes: one shape an array, separated by commas, in the order of ``arrays``: ``"n d, d k"``.
            An empty entry stands for a single number.
        arrays: the arrays under their names.

    Raises:
        ValueError: an array has another shape, or is empty; the message names it and both shapes.
        TypeError: something that is no array, or an array of something that one cannot compute
            with: see ``expect_numbers``.

    >>> import numpy as np
    >>> expect_shapes("n d, d k, k", x=np.ones((5, 3)), w=np.ones((3, 2)), b=np.ones(2))
    >>> expect_shapes("n d, d k", x=np.ones((5, 3)), w=np.ones((2, 3)))
    Traceback (most recent call last):
    ValueError: w must have shape (d, k) with d = 3, got (2, 3)
    """
    sizes: dict[str, int] = {}
    for (name, array), letters in zip(arrays.items(), shapes.split(","), strict=True):
        expect_numbers(name, array)
        if 0 in tuple(array.shape):
            _refuse(ValueError, array, f"{name} must not be empty, got {tuple(array.shape)}")
        wanted = letters.split()
        known = {
            s: int(s) if s.isdigit() else sizes[s] for s in wanted if s.isdigit() or s in sizes
        }
        actual = tuple(array.shape)
        fits = len(actual) == len(wanted) and all(
            known.setdefault(letter, size) == size
            for letter, size in zip(wanted, actual, strict=True)
        )
        if not fits:
            given = [f"{s} = {sizes[s]}" for s in dict.fromkeys(wanted) if s in sizes]
            tail = f" with {', '.join(given)}" if given else ""
            shape = f"({', '.join(wanted)}{',' if len(wanted) == 1 else ''})"
            _refuse(ValueError, array, f"{name} must have shape {shape}{tail}, got {actual}")
        sizes.update(known)


def expect_numbers(name: str, array: Any) -> None:
    """Check that ``array`` is an array or a tensor of numbers that one can compute with.

    Floats, and whole numbers of 32 bits or more. Bytes wrap around at 256, so that a difference or
    a square of them is silently wrong; booleans cannot be subtracted.

    Args:
        name: of the argument, for the message.
        array: of NumPy, of PyTorch, or of a library whose arrays have ``shape`` and ``dtype``.

    Raises:
        TypeError: it is none, or holds text, objects, complex numbers, booleans or small integers.

    >>> import numpy as np
    >>> expect_numbers("x", np.array([3, 250], dtype=np.uint8))
    Traceback (most recent call last):
    TypeError: x must hold floats, got uint8, whose sums and squares overflow; for bytes: x / 255
    """
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        cure = f"; pass {name}.to_numpy()" if hasattr(array, "to_numpy") else ""
        _refuse(TypeError, array, f"{name} must be an array, got {shown(array)}{cure}")
    kind = str(getattr(array.dtype, "name", array.dtype)).removeprefix("torch.")
    if kind in _NUMBERS:
        return
    if kind in ("uint8", "int8", "uint16", "int16", "uint32", "uint64"):
        cure = f"; for bytes: {name} / 255" if kind == "uint8" else ""
        message = f"{name} must hold floats, got {kind}, whose sums and squares overflow{cure}"
        _refuse(TypeError, array, message)
    kind = "text" if kind.startswith("str") else kind
    _refuse(TypeError, array, f"{name} must hold real numbers, got {kind}: make it floats first")


def expect_finite(**arrays: Any) -> None:
    """Check that no entry of these arrays is nan or infinite.

    Raises:
        ValueError: one is; the message names the array and counts them.

    >>> import numpy as np
    >>> expect_finite(x=np.array([1.0, np.nan]))
    Traceback (most recent call last):
    ValueError: x must be finite, got 1 entry that is nan or infinite, of 2
    """
    for name, array in arrays.items():
        good = abs(array) < float("inf")  # nan is not
        if not good.all():
            n, total = int((~good).sum()), int(good.reshape(-1).shape[0])
            what = "entry that is" if n == 1 else "entries that are"
            message = f"{name} must be finite, got {n} {what} nan or infinite, of {total}"
            _refuse(ValueError, array, message)


def expect_unit_range(**arrays: Any) -> None:
    """Check that each entry of these arrays lies in [0, 1]; nan does not.

    Raises:
        ValueError: one does not; the message names the array and gives its least and largest.

    >>> import numpy as np
    >>> expect_unit_range(x=np.array([0.5, 2.0]))
    Traceback (most recent call last):
    ValueError: x must lie in [0, 1], got values from 0.5 to 2
    """
    for name, array in arrays.items():
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            message = f"{name} must lie in [0, 1], got values from {low:.3g} to {high:.3g}"
            _refuse(ValueError, array, message)


def as_labels(name: str, labels: Any, n: int, n_classes: int) -> np.ndarray:
    """Return labels as whole numbers, (n,) int64: each from 0 to ``n_classes`` − 1.

    Whole numbers of any type, bytes too, and floats that are whole.

    Raises:
        ValueError: another number of labels, or one that is no such number.

    >>> as_labels("y", [3, 11], 2, 10)
    Traceback (most recent call last):
    ValueError: y must be whole numbers from 0 to 9, got 11
    """
    if hasattr(labels, "detach"):  # a torch tensor, without importing torch
        labels = labels.detach().cpu().numpy()
    array, wanted = np.asarray(labels), f"whole numbers from 0 to {n_classes - 1}"
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape (n,) with n = {n}, got {array.shape}")
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be {wanted}, got {array.dtype}")
    bad = array[~((array >= 0) & (array < n_classes) & (array % 1 == 0))]
    if len(bad):
        raise ValueError(f"{name} must be {wanted}, got {bad[0]:g}")
    return array.astype(np.int64)


def expect_whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Check that ``value`` is a whole number from ``least`` to ``most``, or without an upper end.

    Raises:
        ValueError: it is another number, or none.

    >>> expect_whole("k", 2.5, 1, 9)
    Traceback (most recent call last):
    ValueError: k must be a whole number, got float: 2.5
    """
    whole = not isinstance(value, (bool, np.bool_)) and isinstance(value, (int, np.integer))
    if not whole:
        raise ValueError(f"{name} must be a whole number, got {shown(value)}")
    if not (least <= value and (most is None or value <= most)):
        wanted = f"from {least} to {most}" if most is not None else f"at least {least}"
        raise ValueError(f"{name} must be {wanted}, got {value}")


def expect_sizes(name: str, sizes: Any, least: int) -> None:
    """Check that ``sizes`` are ``least`` or more whole numbers, each at least 1.

    Args:
        name: of the argument, for the message.
        sizes: what came.
        least: 1, 2 or 3.

    Raises:
        ValueError: they are not.

    >>> expect_sizes("sizes", (784, 0), 2)
    Traceback (most recent call last):
    ValueError: sizes must be two or more numbers of at least 1, got tuple: (784, 0)
    """
    try:
        if isinstance(sizes, (str, bytes)) or len(sizes) < least:
            raise ValueError
        for size in sizes:
            expect_whole(name, size, 1)
    except (TypeError, ValueError):
        wanted = f"{('one', 'two', 'three')[least - 1]} or more numbers of at least 1"
        raise ValueError(f"{name} must be {wanted}, got {shown(sizes)}") from None


def _refuse(kind: type[Exception], array: Any, message: str) -> NoReturn:
    """Raise, with the array at hand for whoever knows it by another name (see ``arguments``)."""
    error = kind(message)
    error.culprit = array  # type: ignore[attr-defined]
    raise error


def shown(value: Any) -> str:
    """Say what a value is, in at most 80 characters: its type, and what it holds where short.

    >>> shown("three"), shown([1, 2])
    ("text: 'three'", 'list: [1, 2]')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and type {value.dtype}"[:80]
    name = "text" if isinstance(value, str) else type(value).__name__
    if isinstance(value, type) or not isinstance(
        value, (str, bytes, int, float, complex, bool, list, tuple, dict, type(None))
    ):
        return name
    long = isinstance(value, (str, bytes, list, tuple, dict)) and len(value) > 20
    text = "…" if long else repr(value).replace("\n", " ")
    return name if value is None else f"{name}: {text if len(text) <= 50 else text[:49] + '…'}"
