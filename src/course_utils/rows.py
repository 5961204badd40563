"""What people have, as rows: arrays, tables, lists of images, data sets, images with labels."""

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from course_utils.flat_images import FlatImages
from course_utils.shapes import expect_numbers, shown


def as_rows(name: str, x: Any, model: nn.Module, *, unit_range: bool = False) -> Tensor:
    """Return data as one tensor of rows, of the model's type, on the CPU or where they lie.

    Args:
        name: of the argument, for the messages.
        x: (n, …) floats as an array, a tensor, a table (anything with ``to_numpy``), a list of
            images of one size, a ``Dataset`` or a ``DataLoader``, which is read once; what comes
            with an image there, its label, is left out. For a model with ``n_classes`` a pair
            (images, labels) becomes ``with_labels(images, labels, n_classes)``, and so do the
            pairs that a data set gives.
        model: whose rows they are to be.
        unit_range: whether they must lie in [0, 1].

    Returns:
        (n, …), n at least 1, finite.

    Raises:
        TypeError: something else, or no floats: bytes, text, objects. The message has the cure.
        ValueError: no rows, images of several sizes, an entry that is not finite or out of range.
    """
    values = _array(name, x, getattr(model, "n_classes", None))
    expect_numbers(name, values)
    with warnings.catch_warnings():  # that the array is read-only: nothing here writes to rows
        warnings.simplefilter("ignore", UserWarning)
        tensor = torch.as_tensor(values)
    if tensor.ndim < 2 or tensor.numel() == 0:
        raise ValueError(
            f"{name} must have shape (n, …) with n at least 1 and rows that are not empty,"
            f" got {tuple(tensor.shape)}"
        )
    low, high = float(tensor.min()), float(tensor.max())  # no copy, and nan where there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} must be finite, got nan or infinite entries")
    bytes_as_numbers = not tensor.is_floating_point() and hasattr(model, "likelihood")
    if (unit_range or bytes_as_numbers) and (low < 0 or high > 1):
        cure = f": {name} / 255" if high == 255 and low >= 0 else ""
        who = "loss" if unit_range else "model, whose mean is a sigmoid"
        who = "model" if getattr(model, "needs_unit_range", False) else who
        raise ValueError(f"{name} must lie in [0, 1] for this {who}, got {low:g} … {high:g}{cure}")
    return tensor.to(next((p.dtype for p in model.parameters()), torch.float32))


def _array(name: str, x: Any, n_classes: int | None) -> Any:
    if isinstance(x, Tensor):
        return x
    if isinstance(x, np.ndarray):
        return _plain(x)
    if isinstance(x, FlatImages):
        raise TypeError(f"{name} must be an array, got FlatImages: pass its x_train or x_test")
    if hasattr(x, "to_numpy"):
        return table_values(name, x)
    if isinstance(x, (Dataset, DataLoader)):
        return _read(name, x, n_classes)
    if is_pair(x):
        return _with_labels(name, x[0], x[1], n_classes)
    if isinstance(x, (list, tuple)) and len(x):
        return _stacked(name, x)
    raise TypeError(f"{name} must be an array or a tensor of floats, got {shown(x)}")


def _plain(x: np.ndarray) -> np.ndarray:
    """The same numbers as PyTorch takes them: own order of bytes, no backward strides."""
    native = x.astype(x.dtype.newbyteorder("=")) if not x.dtype.isnative else x
    return np.ascontiguousarray(native)


def table_values(name: str, x: Any) -> np.ndarray:
    """The numbers of a table; an error names the columns that hold others."""
    values = np.asarray(x.to_numpy())
    if values.dtype.kind not in "fiu" and hasattr(x, "dtypes") and hasattr(x, "columns"):
        kinds = zip(x.columns, x.dtypes, strict=True)
        bad = [str(c) for c, kind in kinds if getattr(kind, "kind", "O") not in "fiu"]
        raise TypeError(
            f"{name} must hold numbers in each column, got others in {', '.join(bad)[:80]}:"
            " leave them out, or make them columns of 0 and 1"
        )
    return _plain(values)


def is_pair(x: Any) -> bool:
    """Whether x is (images, labels), rather than a list of two images."""
    if not isinstance(x, (list, tuple)) or len(x) != 2:
        return False
    images, labels = x
    of_each = getattr(images, "ndim", 0) >= 2 and getattr(labels, "ndim", None) == 1
    return of_each and len(images) == len(labels)


def _with_labels(name: str, x: Any, y: Any, n_classes: int | None) -> np.ndarray:
    from course_utils.vae.conditional import with_labels

    if n_classes is None:
        raise TypeError(f"{name} must be images alone for this model, got a pair: leave labels out")
    images = np.asarray(x)
    expect_numbers(name, images)
    return with_labels(images.reshape(len(images), -1), np.asarray(y), n_classes)


def _read(name: str, data: Iterable, n_classes: int | None) -> Any:
    """All of a data set or of a loader's batches; with labels where the model has classes."""
    batched = isinstance(data, DataLoader)
    parts, labels = [], []
    items = data if batched else (item_of(name, data, i) for i in range(length(name, data)))
    for item in items:
        image, *rest = item if isinstance(item, (list, tuple)) else (item,)
        if not hasattr(image, "dtype"):
            raise TypeError(
                f"{name} must give tensors, got {shown(image)}: transform=torchvision.transforms"
                ".ToTensor() makes them of pictures"
            )
        parts.append(image if batched else image[None])
        labels.append(torch.as_tensor(rest[0]).reshape(-1) if rest else None)
    if not parts:
        raise ValueError(f"{name} must have at least one row, got an empty {type(data).__name__}")
    rows = torch.as_tensor(_joined(name, parts))
    if n_classes is None or labels[0] is None:
        return rows
    return _with_labels(name, rows.numpy(), torch.cat(labels).numpy(), n_classes)


def length(name: str, data: Any) -> int:
    """How many items a data set has that gives them by number.

    Raises:
        TypeError: it gives them in its own order only, or does not say how many they are.
    """
    if not isinstance(data, IterableDataset):
        try:
            return len(data)
        except (TypeError, NotImplementedError):
            pass
    raise TypeError(
        f"{name} must have a length and give items by number, got {shown(data)}, which does not:"
        f" DataLoader({name}) reads it once, in its own order"
    )


def item_of(name: str, data: Any, i: int) -> Any:
    """One item of a data set or a list; where it raises, the error names argument and item."""
    try:
        return data[i]
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0][:150]
        raise ValueError(f"{name}[{i}] must be readable, got {why}") from error


def _stacked(name: str, x: list | tuple) -> Any:
    if not all(hasattr(each, "dtype") for each in x):
        try:
            return np.array(x, dtype=np.float64)  # lists of numbers
        except (TypeError, ValueError):
            raise TypeError(
                f"{name} must hold numbers, rows of one length, got {shown(x)}"
            ) from None
    return _joined(name, [each[None] for each in x])


def _joined(name: str, parts: list) -> Any:
    sizes = [tuple(part.shape[1:]) for part in parts]
    other = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    if other is not None:
        which = f" (item {other})" if all(len(part) == 1 for part in parts) else ""
        raise ValueError(
            f"{name} must hold images of one size, got {sizes[0]} and {sizes[other]}{which}:"
            " resize them"
        )
    if all(isinstance(part, Tensor) for part in parts):
        return torch.cat(parts)
    return _plain(np.concatenate([np.asarray(part) for part in parts]))
