"""Portable chapters: each carries the course's package inside itself and runs without a checkout.

python tools/portable.py        write them to _build/portable, and a zip of all of them
python tools/portable.py push   and push them to a branch of their own, from which Colab opens them

What a chapter needs is read from its imports and from those of the modules that these load.
Python's modulefinder counts imports inside functions too, and follows those of PyTorch. The package
is no wheel, which setuptools would make: a wheel is compressed file by file, which makes every
chapter larger.
"""

from __future__ import annotations

import ast
import bz2
import io
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from bootstrap import portable_source
from commands import run
from course_utils.requirements import TORCH, Requirement
from notebooks import ROOT, Refused, load, normal_form, plain_python, store, tags
from repository import address, chapters_of, read, with_bootstrap

BUNDLE = "autoencoders-course"  # the folder in the zip of all chapters, and the zip's name
STAMP = (1980, 1, 1, 0, 0, 0)  # one date for all, so that the same content gives the same bytes
BRANCH = "portable"  # holds the portable chapters and nothing else
PACKAGE_FILES = ("*.py", "*.json", "py.typed")


# ---- what a chapter carries and needs ------------------------------------------------------------


def zipped(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these files, the same for the same content; how: deflated each, or stored."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, STAMP)
            entry.external_attr = 0o644 << 16
            opened.writestr(entry, files[name], how, compresslevel=9)
    return archive.getvalue()


def package_archive(root: Path) -> bytes:
    """The package as a compressed zip: its modules, its licence, and the record of its version.

    The zip is compressed as a whole by bzip2, which makes it a third smaller than file by file.
    """
    source = root / "src"
    paths = [path for kind in PACKAGE_FILES for path in (source / "course_utils").rglob(kind)]
    files = {path.relative_to(source).as_posix(): path.read_bytes() for path in paths}
    found = re.search(r'^version = "(.+)"$', read(root / "pyproject.toml"), re.MULTILINE)
    if found is None:
        raise Refused('pyproject.toml: no line `version = "…"`')
    record = f"course_utils-{found[1]}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: course-utils\nVersion: {found[1]}\n"
    files[f"{record}/METADATA"] = metadata.encode()
    files[f"{record}/LICENSE"] = (root / "LICENSE").read_bytes()
    return bz2.compress(zipped(files, zipfile.ZIP_STORED))


def needs(nb: dict[str, Any], root: Path) -> list[str]:
    """The packages of a chapter beside those of every chapter, as pip knows them.

    What the chapter and the modules that it imports import, and torchvision where MNIST is read:
    its mirrors are needed for the download.
    """
    found = reached(root, imports_of(code_of(nb)))
    if any("mnist" in tags(cell) for cell in nb["cells"]):
        found.add("torchvision")
    return [r.name for r in TORCH if uses(found, r)]


def reached(root: Path, names: set[str]) -> set[str]:
    """These modules, and those that they import when they are loaded, and so on."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting |= set(imports_at_load(root, name))
    return found


def uses(modules: set[str], requirement: Requirement) -> bool:
    """Whether one of the modules is the package's own or lies in it."""
    return any(module.split(".")[0] == requirement.module for module in modules)


def code_of(nb: dict[str, Any]) -> ast.Module:
    """The code cells of a notebook as one module, without IPython's commands."""
    cells = [cell["source"] for cell in nb["cells"] if cell["cell_type"] == "code"]
    return ast.parse(plain_python("\n".join(cells)))


def imports_of(tree: ast.AST) -> set[str]:
    """The modules that the statements of a tree import, those of functions too."""
    return {name for node in ast.walk(tree) for name in imported(node)}


def imports_at_load(root: Path, name: str) -> Iterator[str]:
    """The modules that a module of course_utils imports when it is loaded; none for another one."""
    if name.split(".")[0] != "course_utils":
        return
    path = root / "src" / Path(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            yield from imported_by(file.read_text(encoding="utf-8"))


@cache
def imported_by(source: str) -> tuple[str, ...]:
    """The modules that a module's own statements import; kept, since chapters share modules."""
    return tuple(name for node in ast.parse(source).body for name in imported(node))


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that one statement imports; of `from a import b` both a and a.b."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


# ---- portable chapters ---------------------------------------------------------------------------


def portable(nb: dict[str, Any], archive: bytes, root: Path) -> dict[str, Any]:
    """The chapter with the package in its first code cell, its outputs as they are stored."""
    carrying = with_bootstrap(nb, portable_source(archive, needs(nb, root)))
    url, branch = address(read(root / "_config.yml"))
    cells = [
        cell | {"source": with_far_links(cell["source"], url, branch)}
        if cell["cell_type"] == "markdown"
        else cell
        for cell in carrying["cells"]
    ]
    return carrying | {"cells": cells}


def with_far_links(markdown: str, url: str, branch: str) -> str:
    """The text with links to the book's pages leading to the repository, or, without one, nowhere.

    Links between chapters stay: chapters that were taken together lie side by side.
    """
    place = rf"[\1]({url}/blob/{branch}/book/\2)" if url else r"\1"
    return re.sub(r"\[([^\]]+)\]\(\.\./book/([^)\s]+)\)", place, markdown)


def chapters(root: Path) -> dict[str, bytes]:
    """The portable form of each chapter of the table of contents, under its file's name."""
    archive = package_archive(root)
    paths = [root / path for path, _ in chapters_of(root)]
    return {p.name: normal_form(portable(load(p), archive, root)).encode() for p in paths}


def write(root: Path, folder: Path) -> list[Path]:
    """Write the portable chapters and the zip of all of them into folder; their paths.

    What lies there from chapters that have gone is removed.
    """
    files = chapters(root)
    bundled = {f"{BUNDLE}/{name}": content for name, content in files.items()}
    bundled[f"{BUNDLE}/LICENSE"] = (root / "LICENSE").read_bytes()
    files[f"{BUNDLE}.zip"] = zipped(bundled)
    for name, content in files.items():
        store(folder / name, content)
    for path in {*folder.glob("*.ipynb"), *folder.glob("*.zip")} - {
        folder / name for name in files
    }:
        path.unlink()
    return [folder / name for name in files]


def push(root: Path, folder: Path) -> None:
    """Make the branch `portable` of the remote `origin` hold these chapters, and nothing else.

    Colab opens notebooks from GitHub alone, and those of a checkout need its address in their first
    cell. The branch has no history: each push replaces it. Raises Refused where git fails.
    """
    with tempfile.TemporaryDirectory() as empty:
        variables = {**os.environ, "GIT_INDEX_FILE": str(Path(empty, "index"))}

        def git(*words: str) -> str:
            what = f"git {' '.join(words)[:60]}"
            return run(["git", "-C", str(root), *words], what, env=variables)

        for path in sorted(folder.glob("*.ipynb")):
            blob = git("hash-object", "-w", "--no-filters", str(path))
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path.name}")
        head = git("rev-parse", "HEAD")
        name, email = git("log", "-1", "--format=%cn%n%ce").splitlines()  # who made HEAD
        who = ("-c", f"user.name={name}", "-c", f"user.email={email}")
        message = f"Portable chapters of {head}"
        commit = git(*who, "commit-tree", git("write-tree"), "-m", message)
        git("push", "--quiet", "--force", "origin", f"{commit}:refs/heads/{BRANCH}")


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command line; the exit status."""
    if arguments not in ([], ["push"]):
        print(f"portable.py: got {' '.join(arguments)}, expected push or nothing", file=sys.stderr)
        return 2
    folder = root / "_build" / "portable"
    try:
        if arguments:  # a repository without a commit is told before the chapters are written
            run(["git", "-C", str(root), "rev-parse", "HEAD"], "git rev-parse HEAD")
        paths = write(root, folder)
        if arguments:
            push(root, folder)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in paths if path.suffix == ".ipynb")
    print(f"_build/portable: {len(paths) - 1} chapters, {size / 1e6:.1f} MB, and {BUNDLE}.zip")
    if arguments:
        print(f"Pushed to the branch {BRANCH} of origin.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
