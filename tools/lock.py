"""Make constraints.txt and the requirement files with hashes anew: python3 tools/lock.py.

python tools/lock.py                     what a changed range in pyproject.toml asks for, no more
python tools/lock.py --upgrade           the newest versions that the ranges allow
python tools/lock.py --upgrade-package=NAME   the newest version of one package; may be repeated

Three files come of it. Each names every file that the package index has of a version by its hash:

requirements/book.txt    what the book is built with
requirements/test.txt    reads book.txt, and adds what the tests and JupyterLab need, less PyTorch
requirements/torch.txt   PyTorch as the index has it, with CUDA on Linux. It is a file of its own
                         because many take another build of PyTorch, one for the CPU alone, say:
                         such a build has other hashes, and needs no CUDA.

uv does the work, in an environment of its own: .venv may be unable to exist before this has run.
requirements/lock.txt holds uv itself with its hashes, and the pip that tools/licences.py asks.
What is ours is to share out what uv finds: its --no-emit-package leaves out packages that are named
one by one, and which of NVIDIA's come along changes with each PyTorch.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import commands
from commands import ROOT, Refused

COMPILE = ["pip", "compile", "--quiet", "--no-config", "--universal", "--python-version", "3.10"]
COMPILE += ["--no-header", "--no-annotate"]
BLOCK = re.compile(r"^[^\s#-].*\n(?:[ ]+\S.*\n)*", re.M)
PYTORCH = re.compile(r"(torch|torchvision|triton|cuda-.+|nvidia-.+)==")
HEADS = {
    "book": "# What make book needs, with hashes.",
    "test": "# What make test needs, with hashes, less PyTorch.",
    "torch": "# PyTorch as the package index has it, with hashes. On Linux it brings CUDA.",
    "lock": "# What make lock and make licences need, with hashes.",
}
MADE = "# Made by make lock from pyproject.toml and constraints.txt; not to be changed by hand.\n"


def blocks(text: str) -> list[str]:
    """Each requirement of a file, with the lines of hashes that go on from it."""
    return BLOCK.findall(text)


def split(book: str, everything: str) -> dict[str, str]:
    """The three files with hashes, from what uv found for the book and for everything.

    A package may be in both with different markers: cffi, which the book needs on PyPy alone, and
    JupyterLab everywhere. test.txt then names it a second time, with the wider marker.
    """
    in_book = blocks(book)
    others = [block for block in blocks(everything) if block not in in_book]
    files = {
        "book": in_book,
        "test": ["-r book.txt\n", *(block for block in others if not PYTORCH.match(block))],
        "torch": [block for block in others if PYTORCH.match(block)],
    }
    return {name: f"{HEADS[name]}\n{MADE}{''.join(body)}" for name, body in files.items()}


def with_head(head_of: str, pins: str) -> str:
    """The pins, below the comment that stands above those of `head_of`."""
    head = re.match(r"(?:#.*\n)*", head_of)
    return (head[0] if head else "") + pins


def environment() -> Path:
    """The folder of the programs of requirements/lock.txt, installed there with hashes compared."""
    wanted = ROOT / "requirements" / "lock.txt"
    hashed = ["--require-hashes", "-r", str(wanted)]
    text = wanted.read_text(encoding="utf-8")
    try:
        return commands.environment(
            ROOT / "_build" / "lock", sys.executable, [hashed], also=text
        ).parent
    except Refused as refused:
        sys.exit(f"requirements/lock.txt could not be installed: {refused}")


def uv(*arguments: str, stdin: str | None = None) -> str:
    """What uv prints; the program ends with uv's own complaint where it fails."""
    command = [str(environment() / "uv"), *arguments]
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"lock.py: uv failed, and no file was changed.\n{done.stderr.rstrip()}")
    return done.stdout


def renewed(name: str, source: str, options: list[str], stdin: str | None = None) -> str:
    """What uv makes of `source`, keeping each version of the file `name` that may stay."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pins.txt"  # uv reads the old versions where it writes the new ones
        shutil.copyfile(ROOT / name, copy)
        uv(*COMPILE, *options, "--output-file", str(copy), source, stdin=stdin)
        return copy.read_text(encoding="utf-8")


def lock(upgrades: list[str]) -> dict[str, str]:
    """The text of each file, by its name."""
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = renewed("constraints.txt", "pyproject.toml", ["--all-extras", *upgrades])
    with tempfile.TemporaryDirectory() as folder:
        limits = Path(folder) / "constraints.txt"
        limits.write_text(pins, encoding="utf-8")
        hashed = [*COMPILE, "--generate-hashes", "-c", str(limits), "pyproject.toml"]
        files = split(uv(*hashed, "--extra", "book"), uv(*hashed, "--all-extras"))
    own = renewed("requirements/lock.txt", "-", ["--generate-hashes", *upgrades], stdin="uv\npip\n")
    files["lock"] = f"{HEADS['lock']}\n{MADE}{own}"
    made = {f"requirements/{name}.txt": text for name, text in files.items()}
    return {"constraints.txt": with_head(constraints, pins), **made}


def main(arguments: list[str]) -> None:
    """Make all files, then write those that changed."""
    parser = argparse.ArgumentParser(prog="lock.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="the newest versions of all")
    parser.add_argument(
        "--upgrade-package", action="append", default=[], metavar="NAME", help="of one"
    )
    asked = parser.parse_args(arguments)
    upgrades = ["--upgrade"] * asked.upgrade
    upgrades += [f"--upgrade-package={name}" for name in asked.upgrade_package]
    for name, text in lock(upgrades).items():
        path = ROOT / name
        changed = path.read_text(encoding="utf-8") != text if path.exists() else True
        if changed:
            path.write_text(text, encoding="utf-8")
        print(f"{name}: {'changed' if changed else 'as it was'}")


if __name__ == "__main__":
    main(sys.argv[1:])
