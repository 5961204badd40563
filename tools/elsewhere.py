"""Run portable chapters where no checkout is, and compare their outputs with the stored ones.

python tools/elsewhere.py [NB ...] [--versions colab|oldest] [--python PYTHON]

Each run has a virtual environment that holds a chapter's packages and a kernel and nothing of this
checkout, no network, and a working directory and a home of its own. The versions are those of
Colab's runtime (tools/colab.txt) or the oldest that pyproject.toml allows.

PyTorch is an exception: for Linux, the package index has the builds for NVIDIA's GPUs alone, which
take gigabytes. So chapters with PyTorch run with the Python that runs this and the version that it
has, beside the other packages in the versions asked for.
"""

from __future__ import annotations

import argparse
import hashlib
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
from pathlib import Path
from typing import Any

import portable
from course_utils import data
from course_utils.requirements import BASE, TORCH
from notebooks import ROOT, Refused, execute, load, normal_form, select, tags, text

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

    Raises Refused where pip cannot install the packages.
    """
    asked = subprocess.run([python, "-VV"], capture_output=True, text=True).stdout
    seed = [asked, *sorted(wanted.items()), NO_NETWORK, constraints and constraints.read_text()]
    mark, made = folder / ".made-of", hashlib.sha256(repr(seed).encode()).hexdigest()
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if mark.is_file() and mark.read_text() == made and inside.exists():
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    run([python, "-m", "venv", str(folder)])
    limits = ["-c", str(constraints)] if constraints else []
    exact = [f"{name}=={version}" if version else name for name, version in wanted.items()]
    pip = [str(inside), "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check"]
    first = [package for package in exact if package.split("==")[0] in PYTORCH]
    if first:  # torchvision's own constraints would ask for another build of PyTorch
        run([*pip, first[0]])
        run([*pip, "--no-deps", *first[1:]])
    run([*pip, *limits, *[package for package in exact if package not in first]])
    (site_packages(inside) / "no_network.py").write_text(NO_NETWORK)
    (site_packages(inside) / "no_network.pth").write_text("import no_network\n")
    mark.write_text(made)
    return inside


def site_packages(python: Path) -> Path:
    """Where the packages of a virtual environment lie."""
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())


def run(command: list[str]) -> None:
    """Run a command; Refused, with the last line that it said, where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=clean_variables(Path.home()))
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing said"]
        raise Refused(f"{' '.join(command[1:4])} … failed: {said[-1]}")


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
            lines += [marked + line for line in text(shown).splitlines()]
    return lines


def first_difference(before: list[str], after: list[str]) -> str:
    """The first line that differs, as it was and as it is."""
    longest = max(len(before), len(after))
    padded = [lines + ["nothing"] * (longest - len(lines)) for lines in (before, after)]
    was, now = next(pair for pair in zip(*padded, strict=True) if pair[0] != pair[1])
    return f"{was[:120]!r} is now {now[:120]!r}"


def try_chapter(root: Path, name: str, content: bytes, which: str, python: str | None) -> str:
    """Run one portable chapter; "" where its outputs are as stored, else what differs."""
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
    with tempfile.TemporaryDirectory() as empty:
        home, work = Path(empty, "home"), Path(empty, "work")
        home.mkdir()
        work.mkdir()
        carried = json.loads(content)
        fresh = execute(carried, work, str(inside), clean_variables(home))
        left = [path.name for path in work.iterdir()]
    found = differences(nb, json.loads(normal_form(fresh)), data.available("MNIST"))
    return "\n".join(found + [f"left {name} in its working directory" for name in left])


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser("elsewhere.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("numbers", nargs="*", metavar="NB", help="chapters, as 01 10; default all")
    parser.add_argument("--versions", choices=sorted(PYTHONS), default="colab")
    parser.add_argument("--python", help="the Python to run them with, in place of the usual one")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a chapter prints, on any console
    failed = 0
    start = time.perf_counter()
    try:
        chosen = select(root, options.numbers)
        files = portable.chapters(root)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    for path in chosen:
        began = time.perf_counter()
        try:
            trouble = try_chapter(
                root, path.name, files[path.name], options.versions, options.python
            )
        except Refused as refused:
            trouble = str(refused)
        failed += bool(trouble)
        result = trouble or "as stored"
        print(f"{path.name}: {result} ({time.perf_counter() - began:.0f} s)", flush=True)
    seconds = time.perf_counter() - start
    print(f"{len(chosen) - failed} passed, {failed} failed in {seconds:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
