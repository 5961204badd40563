"""Run the package's tests and the NumPy chapters with the oldest allowed versions, or the newest.

python tools/versions.py oldest|newest [--python PYTHON]

oldest: the lower bounds of pyproject.toml, on Python 3.10; newest: what the package index has, on
Python 3.13. What needs PyTorch runs a second time beside it, with the Python of .venv and its
PyTorch: for Linux the package index has the builds for NVIDIA's GPUs alone, which take gigabytes.

Tests of the package are those that import nothing of tools/ and nothing that builds the book.

venv, pip and pytest do the work. tox and nox would run it too, but would have to be told which
tests need what: here it is read from the imports, so that a new test runs where it belongs.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import elsewhere
import portable
from course_utils.requirements import BASE, TORCH
from elsewhere import PYTORCH, clean_variables, environment, pyenv
from notebooks import ROOT, Refused, load, notebooks

PYTHONS = {"oldest": "3.10", "newest": "3.13"}
TESTERS = ("pytest", "hypothesis", "scikit-dimension", *elsewhere.KERNEL)
# What tests of the book and of the repository import, beside the modules of tools/.
NOT_PACKAGE = {"bs4", "nbformat", "yaml", "course_book", "docutils", "packaging", "playwright"}
# Tests of the repository's form; they run one of its programs and need no import for it.
OF_THE_REPOSITORY = {"test_stale_outputs.py", "test_project.py", "test_supply.py"}


def tests(root: Path, torch: bool) -> list[Path]:
    """The files with tests of the package, those that need PyTorch or those that do not."""
    ours = {path.stem for path in (root / "tools").glob("*.py")} | NOT_PACKAGE
    chosen = []
    for path in sorted((root / "tests").glob("test_*.py")):
        imports = portable.imports_of(ast.parse(path.read_text("utf-8")))
        if {name.split(".")[0] for name in imports} & ours or path.name in OF_THE_REPOSITORY:
            continue
        if any(n.split(".")[0] == "torch" for n in portable.reached(root, imports)) == torch:
            chosen.append(path)
    return chosen


def packages(which: str, torch: bool) -> dict[str, str]:
    """The version of each package; "" stands for the newest."""
    wanted = {r.name: r.lowest if which == "oldest" else "" for r in BASE}
    if torch:
        wanted |= {r.name: r.lowest if which == "oldest" else "" for r in TORCH}
        wanted |= {name: elsewhere.packages("oldest", ["torch"])[name] for name in PYTORCH}
    return wanted | dict.fromkeys(TESTERS, "")


def run_tests(root: Path, python: Path, files: list[Path]) -> int:
    """Run the tests in these files; pytest's exit status."""
    variables = clean_variables(Path.home()) | {"OMP_NUM_THREADS": "1"}
    variables["PYTHONPATH"] = os.pathsep.join(str(root / f) for f in ("src", "tests"))
    command = [str(python), "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-W", "ignore", *map(str, files)], cwd=root, env=variables
    ).returncode


def run_chapters(root: Path, python: Path) -> int:
    """Run the chapters that need no PyTorch, and compare; how many differ."""
    chapters = {path.name: load(path) for path in notebooks(root)}
    variables = clean_variables(Path.home()) | {"PYTHONPATH": str(root / "src")}
    return elsewhere.failures(
        (name, partial(elsewhere.trial, nb, lambda home: variables, python=str(python)))
        for name, nb in chapters.items()
        if "torch" not in portable.needs(nb, root)
    )


def python_of(which: str) -> str:
    """The Python that these versions are for. Raises Refused where it is not here."""
    found = pyenv(PYTHONS[which])
    if not found:
        raise Refused(f"the {which} versions are for Python {PYTHONS[which]}; name it by --python")
    return found[-1]


def installed(python: Path) -> str:
    """The version of this Python and those of the course's packages in it, as one line."""

    def said(*arguments: str) -> list[str]:
        run = subprocess.run([str(python), *arguments], capture_output=True, text=True)
        return run.stdout.split()

    listed = said("-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    known = {r.name for r in BASE + TORCH}
    return " ".join(said("-V") + [line for line in listed if line.split("==")[0] in known])


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser("versions.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("which", choices=PYTHONS)
    parser.add_argument("--python", help="the Python for what needs no PyTorch")
    options = parser.parse_args(arguments)
    start, failed = time.perf_counter(), 0
    try:
        plain = options.python or python_of(options.which)
        for python, torch in ((plain, False), (sys.executable, True)):
            folder = root / "_build" / "elsewhere" / f"tests-{options.which}{'-torch' * torch}"
            inside = environment(folder, python, packages(options.which, torch), None)
            print(installed(inside), flush=True)
            failed += run_tests(root, inside, tests(root, torch)) != 0
            failed += 0 if torch else run_chapters(root, inside)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    minutes = (time.perf_counter() - start) / 60
    print(f"{options.which}: {'failed' if failed else 'all passed'}, in {minutes:.0f} minutes")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
