"""Which packages the course needs, what is missing here, and the command that brings it.

Nothing here needs more than Python itself: it is what runs where the rest cannot.
"""

from __future__ import annotations  # for the sake of a Python that is too old, which is told so

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

PYTHON = (3, 10)  # the oldest that will do


@dataclass(frozen=True)
class Requirement:
    """A package: its name for pip, its name for ``import``, the oldest version that will do."""

    name: str
    module: str
    lowest: str

    def __str__(self) -> str:
        return f"{self.name}>={self.lowest}"


# The same as in pyproject.toml, which a notebook far from its checkout cannot read.
BASE = (
    Requirement("numpy", "numpy", "1.26"),
    Requirement("matplotlib", "matplotlib", "3.8"),
    Requirement("pillow", "PIL", "9.1"),
    Requirement("tqdm", "tqdm", "4.66"),
    Requirement("scipy", "scipy", "1.11"),
    Requirement("scikit-learn", "sklearn", "1.3"),
)
TORCH = (  # from chapter 04 on
    Requirement("torch", "torch", "2.2"),
    Requirement("torchvision", "torchvision", "0.17"),
    Requirement("scikit-image", "skimage", "0.22"),
)


class Unmet(ImportError):
    """The course cannot run here; the message is one line that says what to do."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows in place of a traceback."""
        return [str(self)]


def version(requirement: Requirement) -> str | None:
    """Return the version that is installed, None where the package is not there."""
    try:
        return importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        # Some distributions bring a package without pip's record of it.
        found = importlib.util.find_spec(requirement.module)
        return "unknown" if found and found.origin else None  # an empty folder has no origin


def too_old(found: str, lowest: str) -> bool:
    """Tell whether a version is older than the lowest that will do.

    >>> too_old("1.9.3", "1.26"), too_old("2.0.0rc1", "1.26"), too_old("1.26", "1.26.0")
    (True, False, False)
    """
    have, need = ([int(n) for n in re.findall(r"\d+", text)[:3]] for text in (found, lowest))
    return bool(have) and have + [0] * (3 - len(have)) < need + [0] * (3 - len(need))


def unmet(requirements: Iterable[Requirement]) -> list[tuple[Requirement, str | None]]:
    """Return those that are missing, with None, and those that are too old, with their version."""
    found = [(requirement, version(requirement)) for requirement in requirements]
    return [(r, v) for r, v in found if v is None or too_old(v, r.lowest)]


def pip_arguments(requirements: Iterable[Requirement]) -> str:
    """Return what follows ``pip install``, quoted for every shell.

    >>> pip_arguments(TORCH[2:])
    '"scikit-image>=0.22"'
    """
    return " ".join(f'"{requirement}"' for requirement in requirements)


def need(*names: str) -> None:
    """Return where what every chapter needs, and these, are installed; stop where they are not.

    Args:
        names: of packages that only some chapters need, as pip knows them.

    Raises:
        ValueError: no chapter needs a package of that name.
        Unmet: Python is too old, or a package is missing or too old.
    """
    if sys.version_info < PYTHON:
        have, least = (".".join(map(str, v[:2])) for v in (sys.version_info, PYTHON))
        raise Unmet(f"The course needs Python {least} or newer; this kernel runs Python {have}.")
    known = {requirement.name: requirement for requirement in BASE + TORCH}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"names must be among {', '.join(known)}, got {unknown[0]!r}")
    lacking = unmet([r for r in known.values() if r in BASE or r.name in names])
    if lacking:
        said = ", ".join(f"{r.name} (here is {v})" if v else r.name for r, v in lacking)
        raise Unmet(
            f"This chapter needs {said}. Run this in a cell, restart the kernel and begin again: "
            f"%pip install {pip_arguments(r for r, _ in lacking)}"
        )
