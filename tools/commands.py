"""What programs of this folder share: one line for a refusal, other programs, environments.

venv makes an environment and pip fills it. What is ours is the note of what one was made of, by
which it is kept or made anew: pip has none. uv has one, but it would have to be here already, and
it lies in such an environment itself. Python's own library alone, since make lock runs without
.venv.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PIP = ["-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]


class Refused(Exception):
    """Something that the caller can mend; the message is what to print."""


def run(command: Sequence[str], what: str, **options: Any) -> str:
    """What a command prints, without the ends.

    what: the command in the words of the message; options: those of subprocess.run. Raises Refused
    with the last line that the command said, where it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing said"]
        raise Refused(f"{what} failed: {said[-1]}")
    return done.stdout.strip()


def environment(
    folder: Path,
    python: str,
    installs: Sequence[Sequence[str]],
    *,
    also: str = "",
    variables: dict[str, str] | None = None,
    ours: Sequence[str] = (),
) -> Path:
    """Make the virtual environment in folder unless it is there as it should be; its Python.

    installs: what pip is asked for, one call after the other; also: what it follows from besides,
    such as the text of a file that a call names; variables: pip's environment, by default ours;
    ours: packages of this environment that are there before pip is asked, see ``share``. Raises
    Refused where pip fails.
    """
    asked = run([python, "-VV"], python, env=variables)
    mark, made_of = folder / ".made-of", repr((asked, [list(each) for each in installs], also))
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if inside.exists() and mark.is_file() and mark.read_text(encoding="utf-8") == made_of:
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    run([python, "-m", "venv", str(folder)], "-m venv …", env=variables)
    for name in ours:
        share(name, inside)
    for wanted in installs:
        run([str(inside), *PIP, *wanted], "-m pip install …", env=variables)
    mark.write_text(made_of, encoding="utf-8")
    return inside


def packages_of(inside: Path) -> Path:
    """The folder in which the packages of an environment lie, from its Python."""
    ask = [str(inside), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(run(ask, "python -c …"))


def share(name: str, inside: Path) -> None:
    """Put a package of this environment into the one of another Python of the same version.

    Its files are links to ours, or copies where the disk has none: pip would unpack them anew.
    Programs outside of the folder of packages are left out.
    """
    packages = packages_of(inside)
    for file in metadata.distribution(name).files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            place = packages / file
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file.locate(), place)
            except OSError:
                shutil.copy2(file.locate(), place)
