"""List the licence of every package in constraints.txt: python tools/licences.py.

It writes requirements/licences.md. pip tells what each package states of itself, for every version,
platform and Python in constraints.txt, and installs nothing. Where the package index offers a
package's metadata by itself, pip fetches that alone; else it fetches the package.

A package that states no licence, or one that is not known to allow every use, stops the list until
a person has looked into it and has written what was found into SAID or REVIEWED below.

pip-licenses reads what is installed, so that it sees one platform and one Python.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from commands import ROOT
from lock import environment

LIST = ROOT / "requirements" / "licences.md"
NEWEST_FIRST = ("3.13", "3.12", "3.11", "3.10")
# Each platform by what markers see of it, with the names that its files have.
PLATFORMS = [
    (
        {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
        ["manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in range(17, 40))],
    ),
    (
        {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
        ["macosx_15_0_arm64"],
    ),
    ({"sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt"}, ["win_amd64"]),
]

SOURCES_ALONE = ("yattag",)  # no wheel: pip builds the metadata, the same on every platform

# What packages whose metadata state nothing say in another place, and where.
SAID = {
    "axe-playwright-python": "MIT",  # the file LICENSE in the package
    "cuda-toolkit": "none stated",  # neither in its metadata nor in a file
}
# Licences that allow every use, and ask for no more than that their text stays with a copy.
FREE = re.compile(
    r"(MIT|BSD|0BSD|Apache|ISC|PSFL?|Python Software Foundation|Zlib|CC0|BSL|Public Domain)\b", re.I
)
MPL = "MPL-2.0: a changed file of it stays under it. The course changes none and ships none."
NVIDIA = (
    "NVIDIA's own licence, with conditions on use and on passing on: not free software. It comes "
    "with the PyTorch of the package index, on Linux alone. PyTorch loads it; the course neither "
    "imports nor ships it, and a PyTorch for the CPU does without it."
)
REVIEWED = {
    "certifi": MPL,
    "docutils": "In the public domain, but for some files. One of them is under the GPL, a mode "
    "for the editor Emacs in the source package; the package that pip installs is without it.",
    "fqdn": MPL,
    "hypothesis": MPL,
    "pathspec": MPL,
    "pikepdf": MPL,
    "tqdm": "MPL-2.0 for a part, MIT for the rest. The course changes nothing of it.",
    "yattag": "LGPL. Cosmic Ray's reports import it; the course neither imports nor ships it.",
    "axe-playwright-python": "MIT, and axe-core in it is under MPL-2.0. Tests run it; no page "
    "of the book holds it.",
    "cuda-toolkit": "A list of NVIDIA's packages, with no file of its own.",
}
HEAD = """# Licences of the packages that the course installs

Made by `make licences` from `constraints.txt` and from what each package states in its metadata;
not to be changed by hand. A version in the list has the licence beside it; where another version
states it in other words, that version has its own row. The last column is the file beside this one
that brings the package: `book.txt` for the book, `test.txt` for JupyterLab, the PDF and the tests,
`torch.txt` for PyTorch and CUDA.

None of these packages is part of the course: pip fetches each from the package index. A page of the
book carries style sheets and scripts of Sphinx, of its themes and of its extensions, all of them
under MIT, BSD or Apache licences.

A package may carry libraries of others, each with a licence of its own, whose text is in the
package. NumPy, SciPy and scikit-learn carry parts of GCC (libgfortran, libquadmath, libgomp), under
the GPL with the exception that lets any program use them, or under the LGPL.

## What asks for more than its text beside a copy

"""
TABLE = ["| package | versions | licence | file |", "| --- | --- | --- | --- |"]


def pins() -> list[Requirement]:
    """The lines of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def holds(pin: Requirement, python: str, platform: dict[str, str]) -> bool:
    """Whether a pin counts for this Python on this platform."""
    full = {"python_version": python, "python_full_version": f"{python}.9"}
    cpython = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return not pin.marker or pin.marker.evaluate({**full, **cpython, **platform})


def told(asked: list[Requirement], python: str, tags: Iterable[str]) -> list[dict[str, Any]]:
    """The metadata of these versions, from pip; of their sources where python is ""."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [str(environment() / "python"), "-m", "pip", "install", "--quiet"]
        command += ["--disable-pip-version-check", "--dry-run", "--ignore-installed", "--no-deps"]
        command += ["--report", str(report)]
        if python:
            command += ["--only-binary=:all:", "--python-version", python]
            command += [f"--platform={tag}" for tag in tags]
        command += [f"{pin.name}{pin.specifier}" for pin in asked]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"licences.py: pip failed.\n{done.stderr.rstrip()}")
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [package["metadata"] for package in found]


def all_told() -> list[dict[str, Any]]:
    """The metadata of every pin, asked for the first platform and Python that it is for."""
    sources = [pin for pin in pins() if pin.name in SOURCES_ALONE]
    left, found = [pin for pin in pins() if pin not in sources], told(sources, "", [])
    for platform, tags in PLATFORMS:
        for python in NEWEST_FIRST:
            now = [pin for pin in left if holds(pin, python, platform)]
            left = [pin for pin in left if pin not in now]
            if now:
                print(f"Asking pip about {len(now)} versions ...", flush=True)
                found += told(now, python, tags)
    if left:
        sys.exit(f"licences.py: for no platform: {', '.join(map(str, left))}")
    return found


def licence(metadata: dict[str, Any]) -> str:
    """The licence that a package states; "" where it states none.

    It may stand in three places, the newest first: an expression, classifiers, a free text. The
    text may be a name, the whole licence, or nothing of use.
    """
    if metadata.get("license_expression"):
        return str(metadata["license_expression"])
    free = (metadata.get("license") or "").strip()
    if "\n" in free or free in ("UNKNOWN", "Dual License"):
        free = ""
    if re.fullmatch(r"[\w.+-]+( (AND|OR|WITH) [\w.+-]+)*", free):
        return free
    classified = [
        line.rpartition(" :: ")[2]
        for line in metadata.get("classifier", [])
        if line.startswith("License :: ")
    ]
    if free and free.lower() not in (name.lower() for name in classified):
        classified.append(free)
    return "; ".join(classified) or SAID.get(canonicalize_name(metadata["name"]), "")


def is_free(name: str) -> bool:
    """Whether each part of a stated licence is one of those that allow every use."""
    return all(FREE.match(part) for part in re.split(r" AND | OR |; ", name))


def group(name: str) -> str:
    """The first requirement file that names a package."""
    for file in ("book", "test", "torch"):
        text = (ROOT / "requirements" / f"{file}.txt").read_text(encoding="utf-8")
        if re.search(rf"^{re.escape(name)}==", text, flags=re.M):
            return f"{file}.txt"
    raise SystemExit(f"licences.py: no file with hashes names {name}; run make lock first")


def note(name: str) -> str:
    """What a person found about a package whose licence asks for more, "" where nobody looked."""
    return NVIDIA if name.startswith("nvidia-") else REVIEWED.get(name, "")


def document(found: Iterable[dict[str, Any]]) -> str:
    """The list, from the metadata of all packages; the program ends at what nobody looked into."""
    rows: dict[tuple[str, str], list[str]] = {}
    for metadata in found:
        name, stated = str(canonicalize_name(metadata["name"])), licence(metadata)
        if not stated or not (is_free(stated) or note(name)):
            sys.exit(f"licences.py: look into {name}: it states {stated or 'no licence'}")
        rows.setdefault((name, stated), []).append(metadata["version"])
    same: dict[str, list[str]] = {}
    for name in sorted({name for name, _ in rows if note(name)}):
        same.setdefault(note(name), []).append(f"{name} ({group(name)})")
    lines = [f"- {', '.join(names)}. {text}" for text, names in same.items()]
    lines += ["", "## All of them", "", *TABLE]
    for (name, stated), versions in sorted(rows.items()):
        in_order = ", ".join(sorted(versions, key=Version))
        lines.append(f"| {name} | {in_order} | {stated} | {group(name)} |")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    LIST.write_text(document(all_told()), encoding="utf-8")
    print(f"The list: {LIST.relative_to(ROOT)}")
