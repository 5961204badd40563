"""Numbers of a chapter's own run for the drawings of the book that readers move.

A chapter calls ``share`` once for each such drawing. In a reader's session it does nothing. While
``make outputs`` runs, it writes the file from which the page's script reads. While the tests run,
it compares the run with that file, and a chapter that no longer gives those numbers fails.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from course_utils.arguments import named_errors
from course_utils.shapes import expect_finite

VARIABLE = "COURSE_EXPLORE"  # "write FOLDER" or "compare FOLDER"; else nothing is done
TYPES = {"uint8": "u1", "float16": "<f2", "float32": "<f4"}


def share(
    name: str,
    numbers: dict[str, Any],
    *,
    tolerance: float = 1e-3,
    kinds: dict[str, str] | None = None,
    shown: dict[str, tuple[float, float]] | None = None,
) -> None:
    """Give the page's drawing ``name`` its numbers.

    Args:
        name: of the drawing, and of the file: letters, digits and hyphens.
        numbers: by name, arrays of any shape; Python's numbers and text, and lists of these.
        tolerance: how far a later run may be off, as a share of an array's largest entry.
        kinds: how an array is stored, "uint8" (256 steps from its smallest to its largest entry),
            "float16" or, by default, "float32".
        shown: for networks, whose weights differ from machine to machine: what they lead to, each
            with its tolerance. Then these are compared, and of the arrays only the shapes.

    Raises:
        ValueError: for an unknown kind or numbers that are not finite.
        AssertionError: where the tests compare and this run gives other numbers than the page has.
    """
    task, _, folder = os.environ.get(VARIABLE, "").partition(" ")
    if not task:
        return
    kinds, shown = kinds or {}, shown or {}
    stored = {key: encoded(key, value, kinds.get(key, "float32")) for key, value in numbers.items()}
    if shown:
        stored["shown"] = {key: [float(value), float(off)] for key, (value, off) in shown.items()}
    path = Path(folder) / f"{name}.js"
    if task == "write":
        rows = ",\n".join(
            f'"{key}": {json.dumps(value, allow_nan=False)}' for key, value in stored.items()
        )
        path.write_text(f'course.data("{name}", {{\n{rows}\n}});\n', encoding="utf-8")
    elif task == "compare":
        expect_alike(name, stored, read(path), tolerance)


def read(path: Path) -> dict[str, Any]:
    """The numbers of a drawing's file, arrays still encoded; raises FileNotFoundError."""
    written = path.read_text(encoding="utf-8")
    return dict(json.loads(written[written.index("{") : written.rindex("}") + 1]))


def encoded(name: str, value: Any, kind: str) -> Any:
    """A value as JSON holds it: an array as its bytes in base64, all else as it is."""
    if not isinstance(value, np.ndarray):
        return value
    if kind not in TYPES:
        raise ValueError(f"{name} must be stored as one of {', '.join(TYPES)}, got {kind!r}")
    expect_finite(**{name: value})
    form: dict[str, Any] = {"shape": list(value.shape), "type": kind}
    if kind == "uint8":
        low, high = float(value.min()), float(value.max())
        form |= {"low": low, "high": high}
        value = np.round(255 * (value - low) / ((high - low) or 1.0))
    return form | {"base64": base64.b64encode(value.astype(TYPES[kind]).tobytes()).decode()}


def decoded(form: dict[str, Any]) -> np.ndarray:
    """The array that ``encoded`` wrote, float64."""
    raw = np.frombuffer(base64.b64decode(form["base64"]), dtype=TYPES[form["type"]])
    values = raw.astype(np.float64).reshape(form["shape"])
    if form["type"] == "uint8":
        values = form["low"] + (form["high"] - form["low"]) * values / 255
    return values


def expect_alike(name: str, now: Any, before: Any, tolerance: float) -> None:
    """Raise AssertionError where this run's numbers are not those of the page."""
    cure = f"(drawing {name}): run `make outputs` and look at what changed"
    if now.keys() != before.keys():
        raise AssertionError(f"got {sorted(now)}, the page has {sorted(before)} {cure}")
    shown, known = now.get("shown", {}), before.get("shown", {})
    if shown.keys() != known.keys():
        raise AssertionError(f"shown {sorted(shown)}, {sorted(known)} in the page {cure}")
    for key, (value, off) in shown.items():
        if not abs(value - known[key][0]) <= off:
            raise AssertionError(f"{key}: {value:g}, {known[key][0]:g} in the page {cure}")
    for key in now.keys() - {"shown"}:
        new, old = now[key], before[key]
        if isinstance(new, dict) and "base64" in new:
            if new["shape"] != old["shape"] or not (shown or close(new, old, tolerance)):
                raise AssertionError(f"{key} is not what the page has {cure}")
        elif not alike(new, old, tolerance):
            raise AssertionError(f"{key}: {new!r}, {old!r} in the page {cure}"[:300])


def close(new: dict[str, Any], old: dict[str, Any], tolerance: float) -> bool:
    """Tell whether two encoded arrays agree, up to a share of the largest entry."""
    a, b = decoded(new), decoded(old)
    steps = (new["high"] - new["low"]) / 255 if new["type"] == "uint8" else 0.0
    return bool(np.abs(a - b).max(initial=0) <= tolerance * np.abs(b).max(initial=0) + steps)


def alike(new: Any, old: Any, tolerance: float) -> bool:
    """Tell whether two values of JSON agree, numbers up to a share of their size."""
    if isinstance(new, list | tuple) and isinstance(old, list | tuple):
        return len(new) == len(old) and all(
            alike(a, b, tolerance) for a, b in zip(new, old, strict=True)
        )
    if isinstance(new, float) or isinstance(old, float):
        return bool(abs(new - old) <= tolerance * max(abs(old), 1e-9))
    return bool(new == old)


named_errors(globals())
