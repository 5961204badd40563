"""Run portable chapters where no checkout is, and compare their outputs with the stored ones.

python tools/elsewhere.py [NB ...] [--versions colab|oldest] [--python PYTHON]

Each run has a virtual environment that holds a chapter's packages and a kernel and nothing of this
checkout, no network, and a working directory and a home of its own. The versions are those of
Colab's runtime (tools/colab.txt) or the oldest that pyproject.toml allows.

PyTorch is an exception: for Linux, the package index has the builds for NVIDIA's GPUs alone, which
take gigabytes. So chapters with PyTorch run with the Python that runs this and the version that it
has, beside the other packages in the versions asked for.

venv, pip and nbclient do the work. nbval compares outputs too, but it would have to be in each of
these environments, with pytest, and does not say what a run leaves behind. tox and nox make
environments and know nothing of notebooks. tools/anywhere.py and tools/versions.py run theirs by
this module.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import commands
import portable
from course_utils import data
from course_utils.requirements import BASE, TORCH
from notebooks import ROOT, Refused, execute, load, select, tags

HERE = Path(__file__).resolve().parent
KERNEL = ("ipykernel", "ipython")
# The Pythons that have these versions, the environment's own one first.
PYTHONS = {"colab": ("3.13", "3.12", "3.11"), "oldest": ("3.10", "3.11")}
PYTORCH = ("torch", "torchvision")
# Put into the environment: nothing but this machine can be reached, not even a name server.
NO_NETWORK = """\
import socket

_connect = socket.socket.connect


def connect(self, address):
    if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in ("127.0.0.1", "::1"):
        raise OSError(101, "Network is unreachable")
    return _connect(self, address)


def getaddrinfo(host, *rest, **more):
    if host not in ("localhost", "127.0.0.1", "::1", None):
        raise socket.gaierror(-3, "Temporary failure in name resolution")
    return _getaddrinfo(host, *rest, **more)


_getaddrinfo, socket.getaddrinfo = socket.getaddrinfo, getaddrinfo
socket.socket.connect = connect
"""


# ---- the environment -----------------------------------------------------------------------------


def versions(which: str) -> dict[str, str]:
    """The version of each package in the environment called colab or oldest."""
    if which == "oldest":
        return {r.name: r.lowest for r in BASE + TORCH}
    lines = (HERE / "colab.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name: version for name, version in pins}


def packages(which: str, needs: list[str]) -> dict[str, str]:
    """The version of each package to install for a chapter that needs these."""
    asked = versions(which)
    wanted = {name: asked[name] for name in needs}
    if "torch" in needs:
        wanted |= {name: importlib.metadata.version(name).split("+")[0] for name in PYTORCH}
    return wanted | {name: asked.get(name, "") for name in KERNEL}


def python_for(which: str, needs: list[str]) -> str:
    """The Python that runs a chapter: the environment's own where it is here, else this one.

    Raises Refused where this one has not the versions.
    """
    own, *others = PYTHONS[which]
    for found in filter(None, [shutil.which(f"python{own}"), *pyenv(own)]):
        answers = subprocess.run([found, "-c", "import venv, ensurepip"], capture_output=True)
        if "torch" not in needs and answers.returncode == 0:
            return found
    if "{}.{}".format(*sys.version_info) not in (own, *others):
        raise Refused(f"the {which} versions are made for Python {', '.join((own, *others))}")
    return sys.executable


def pyenv(version: str) -> list[str]:
    """The Pythons of a version that pyenv keeps, which are on no search path."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return [str(path) for path in sorted(root.glob(f"versions/{version}.*/bin/python{version}"))]


def environment(
    folder: Path, python: str, wanted: dict[str, str], constraints: Path | None
) -> Path:
    """Make the virtual environment in folder unless it is there as it should be; its Python.

    It reaches no network. Raises Refused where pip cannot install the packages.
    """
    exact = [f"{name}=={version}" if version else name for name, version in wanted.items()]
    first = [package for package in exact if package.split("==")[0] in PYTORCH]
    others = [package for package in exact if package not in first]
    limits = ["-c", str(constraints)] if constraints else []
    # PyTorch by itself: torchvision's own constraints would ask for another build of it. Both are
    # there already where this Python runs the chapter; pip adds what PyTorch needs.
    installs = [first[:1], ["--no-deps", *first[1:]]] if first else []
    ours = PYTORCH if first and python == sys.executable else ()
    inside = commands.environment(
        folder,
        python,
        [*installs, [*limits, *others]],
        also=constraints.read_text(encoding="utf-8") if constraints else "",
        variables=clean_variables(Path.home()),
        ours=ours,
    )
    packages = commands.packages_of(inside)
    (packages / "no_network.py").write_text(NO_NETWORK, encoding="utf-8")
    (packages / "no_network.pth").write_text("import no_network\n", encoding="utf-8")
    return inside


def clean_variables(home: Path) -> dict[str, str]:
    """The environment variables of somebody who has no checkout and whose home is this folder."""
    ours = re.compile(r"PYTHON|VIRTUAL_ENV|COURSE_|JPY_|IPYTHON|JUPYTER|MPL|XDG_|PYTEST|CONDA")
    kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
    kept |= {"HOME": str(home), "USERPROFILE": str(home)}
    kept["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # the debugger of old kernels talks at every start
    kept["COURSE_DATA"] = str(data.data_folder())  # that home has no data
    return kept


# ---- a run, and what differs ---------------------------------------------------------------------


def differences(stored: dict[str, Any], fresh: dict[str, Any], with_mnist: bool) -> list[str]:
    """What a run printed otherwise than the stored outputs say, a line for each cell.

    Pictures are not compared; nor are cells that vary from machine to machine, and, where MNIST is
    not at hand, those that speak of it.
    """
    passed_over = {"bootstrap", "nbval-ignore-output"} | (set() if with_mnist else {"mnist"})
    found = []
    for old, new in zip(stored["cells"], fresh["cells"], strict=True):
        if old["cell_type"] == "code" and not tags(old) & passed_over:
            before, after = said(old), said(new)
            if before != after:
                found.append(f"cell {old['id']}: {first_difference(before, after)}")
    return found


def said(cell: dict[str, Any]) -> list[str]:
    """The lines of text among a cell's outputs; what went to stderr is marked."""
    lines = []
    for output in cell["outputs"]:
        marked = "stderr: " if output.get("name") == "stderr" else ""
        shown = output.get("text") or output.get("data", {}).get("text/plain", "")
        if "image/png" not in output.get("data", {}):
            lines += [marked + line for line in shown.splitlines()]
    return lines


def first_difference(before: list[str], after: list[str]) -> str:
    """The first line that differs, as it was and as it is."""
    longest = max(len(before), len(after))
    padded = [lines + ["nothing"] * (longest - len(lines)) for lines in (before, after)]
    was, now = next(pair for pair in zip(*padded, strict=True) if pair[0] != pair[1])
    return f"{was[:120]!r} is now {now[:120]!r}"


def trial(
    stored: dict[str, Any],
    variables: Callable[[Path], dict[str, str]],
    *,
    python: str = sys.executable,
    carried: dict[str, Any] | None = None,
) -> list[str]:
    """Run a notebook in an empty folder; a line for each thing that is not as it should be.

    variables: the kernel's environment, from an empty folder that may be its home; carried: what to
    run in place of the notebook itself, with the same cells. Raises Refused where a cell fails.
    """
    with tempfile.TemporaryDirectory() as empty:
        home, work = Path(empty, "home"), Path(empty, "work")
        home.mkdir()
        work.mkdir()
        fresh = execute(carried or stored, work, python, variables(home))
        left = [f"left {path.name} in its working directory" for path in work.iterdir()]
    return differences(stored, fresh, data.available("MNIST")) + left


def failures(trials: Iterable[tuple[str, Callable[[], list[str]]]]) -> int:
    """Make trials, each a name and what gives its trouble, and print a line of each; how many fail.

    The last line counts them and gives the time.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a chapter prints, on any console
    passed = failed = 0
    start = time.perf_counter()
    for name, attempt in trials:
        began = time.perf_counter()
        try:
            trouble = attempt()
        except Refused as refused:
            trouble = [str(refused)]
        passed, failed = passed + (not trouble), failed + bool(trouble)
        took = time.perf_counter() - began
        result = "\n  ".join(trouble) or "as stored"
        print(f"{name}: {result} ({took:.0f} s)", flush=True)
    print(f"{passed} passed, {failed} failed, in {time.perf_counter() - start:.0f} s")
    return failed


def try_chapter(root: Path, name: str, content: bytes, which: str, python: str | None) -> list[str]:
    """Run one portable chapter; a line for each thing that is not as it should be."""
    nb = load(root / "notebooks" / name)
    needs = portable.needs(nb, root)
    chosen = python or python_for(which, needs)
    tag = subprocess.run([chosen, "-V"], capture_output=True, text=True).stdout.split()[-1]
    group = "torch" if "torch" in needs else "numpy"
    folder = root / "_build" / "elsewhere" / f"{which}-{group}-{tag}"
    wanted = packages(which, [r.name for r in (BASE + TORCH if group == "torch" else BASE)])
    # What the packages need in turn fits the environment's own Python only.
    exact = which == "colab" and tag.startswith(PYTHONS[which][0])
    inside = environment(folder, chosen, wanted, HERE / "colab.txt" if exact else None)
    carried = json.loads(content)
    return trial(nb, clean_variables, python=str(inside), carried=carried)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser("elsewhere.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("numbers", nargs="*", metavar="NB", help="chapters, as 01 10; default all")
    parser.add_argument("--versions", choices=sorted(PYTHONS), default="colab")
    parser.add_argument("--python", help="the Python to run them with, in place of the usual one")
    options = parser.parse_args(arguments)
    try:
        chosen = select(root, options.numbers)
        files = portable.chapters(root)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    how = (options.versions, options.python)
    names = [path.name for path in chosen]
    failed = failures((n, partial(try_chapter, root, n, files[n], *how)) for n in names)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
