"""Shapes, said and checked where arrays enter."""

from typing import Any


def expect_shapes(shapes: str, **arrays: Any) -> None:
    """Check that each array has its shape; one letter stands for one size throughout.

    Works for NumPy arrays and PyTorch tensors. A size may be a letter or a number.

    Args:
        shapes: one shape an array, separated by commas, in the order of ``arrays``: ``"n d, d k"``.
            An empty entry stands for a single number.
        arrays: the arrays under their names.

    Raises:
        ValueError: an array has another shape; the message names it and both shapes.
        TypeError: something that is no array.

    >>> import numpy as np
    >>> expect_shapes("n d, d k, k", x=np.ones((5, 3)), w=np.ones((3, 2)), b=np.ones(2))
    >>> expect_shapes("n d, d k", x=np.ones((5, 3)), w=np.ones((2, 3)))
    Traceback (most recent call last):
    ValueError: w must have shape (d, k) with d = 3, got (2, 3)
    """
    sizes: dict[str, int] = {}
    for (name, array), letters in zip(arrays.items(), shapes.split(","), strict=True):
        if not hasattr(array, "shape"):
            raise TypeError(f"{name} must be an array, got {type(array).__name__}: {array!r}")
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
            raise ValueError(f"{name} must have shape {shape}{tail}, got {actual}")
        sizes.update(known)
