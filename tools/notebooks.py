"""The notebooks as they are stored: their normal form, and the outputs that they hold.

python tools/notebooks.py normalize [FILES]   rewrite notebooks in normal form, executing nothing
python tools/notebooks.py outputs [NB ...]    execute notebooks (02 05, or those that changed)

The normal form holds what a reader needs and nothing that changes by itself: no execution counts,
no timings, no editor's metadata. A diff then shows what somebody changed.

nbformat reads and writes notebooks, nbclient executes them. What stays in one is chosen here.
nbstripout drops fields by their names, so that those of the next editor stay; nb-clean keeps fields
by their names, as this does, but leaves streams in pieces and a cell without an id as it is, for
which nbformat has ids by chance alone; jupytext filters metadata only. nbconvert joins streams as
this does, but comes with JupyterLab and not with the book.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from commands import ROOT, Refused

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# What folds a cell: Colab reads cellView, JupyterLab reads source_hidden.
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}
TO_FOLD = {"bootstrap", "solution"}  # the tags of the cells that are folded
SECONDS_PER_CELL = 600
BYTES_PER_PNG = 50_000  # a figure over this gets fewer colours


# ---- the normal form ---------------------------------------------------------------------------


def normal_form(nb: dict[str, Any]) -> str:
    """The text of a notebook in the course's normal form; for nb and what is raised see normal."""
    return nbformat.v4.writes(normal(nb)) + "\n"


def normal(nb: dict[str, Any]) -> nbformat.NotebookNode:
    """A notebook in the course's normal form.

    nb: a notebook of nbformat 4, as json.load or nbformat.read gives it; it is not changed.
    Raises ValueError where nb is of another major format.
    """
    if nb.get("nbformat") != 4:
        raise ValueError(f"nb: nbformat is {nb.get('nbformat')!r}, expected 4")
    cells = nbformat.v4.to_notebook_json(nb)["cells"]  # a copy, its lists of lines as strings
    normal_cells = [normal_cell(c, id_) for c, id_ in zip(cells, cell_ids(cells), strict=True)]
    whole = {"cells": normal_cells, "metadata": {"kernelspec": KERNEL}}
    return nbformat.from_dict(whole | {"nbformat": 4, "nbformat_minor": 5})


def normal_cell(cell: dict[str, Any], id_: str) -> dict[str, Any]:
    """One cell in normal form, under the given id."""
    normal = {
        "cell_type": cell["cell_type"],
        "id": id_,
        "metadata": normal_metadata(tags(cell)),
        "source": cell["source"],
    }
    if cell.get("attachments"):
        normal["attachments"] = cell["attachments"]
    if cell["cell_type"] == "code":
        normal["execution_count"] = None
        normal["outputs"] = normal_outputs(cell.get("outputs", []))
    return normal


def normal_metadata(cell_tags: set[str]) -> dict[str, Any]:
    """A cell's metadata: its tags, and what folds it where it is a solution or the first cell."""
    metadata: dict[str, Any] = {"tags": sorted(cell_tags)} if cell_tags else {}
    return metadata | FOLDED if cell_tags & TO_FOLD else metadata


def normal_outputs(outputs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A cell's outputs in normal form, neighbouring streams of one name made one."""
    kept: list[dict[str, Any]] = []
    for one in filter(None, map(normal_output, outputs)):
        if kept and one["output_type"] == "stream" and kept[-1].get("name") == one["name"]:
            kept[-1]["text"] += one["text"]
        else:
            kept.append(one)
    for one in kept:
        if one["output_type"] == "stream":
            one["text"] = as_seen(one["text"])
    return kept


def normal_output(output: dict[str, Any]) -> dict[str, Any] | None:
    """One output in normal form, a stream as it was sent; None where nothing is left."""
    kind = output["output_type"]
    if kind == "stream":
        stream = {"output_type": kind, "name": output["name"], "text": output["text"]}
        return stream if stream["text"] else None
    if kind == "error":
        traceback = [re.sub(r"\bIn ?\[\d+\]", "In [ ]", line) for line in output["traceback"]]
        error = {"ename": output["ename"], "evalue": output["evalue"], "traceback": traceback}
        return {"output_type": kind, **error}
    data = {mime: normal_data(mime, value) for mime, value in output["data"].items()}
    data = {mime: value for mime, value in data.items() if not mime.startswith("application/vnd.")}
    if not data:
        return None
    sizes = {mime: size for mime, size in output.get("metadata", {}).items() if mime in data}
    normal = {"output_type": kind, "data": data, "metadata": sizes}
    return normal | {"execution_count": None} if kind == "execute_result" else normal


def normal_data(mime: str, value: Any) -> Any:
    """What an output shows in one format: a picture as one line of base64, all else as it is."""
    picture = mime.startswith("image/") and mime != "image/svg+xml"
    return "".join(value.split()) if picture else value


def as_seen(stream: str) -> str:
    """A stream's text as a terminal leaves it: what a carriage return overwrites is gone."""
    return re.sub(r"^.*\r(?=[^\n])", "", stream, flags=re.MULTILINE)


def tags(cell: dict[str, Any]) -> set[str]:
    """The tags of a cell."""
    return set(cell.get("metadata", {}).get("tags", []))


def heading(cells: list[dict[str, Any]]) -> str | None:
    """The first top heading of a notebook, its title."""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            found = re.search(r"^# +(.+?) *$", cell["source"], re.MULTILINE)
            if found:
                return found[1]
    return None


def cell_ids(cells: list[dict[str, Any]]) -> list[str]:
    """An id for each cell: its own where that is valid and not taken, else one made from its text.

    A made id depends on the chapter's title and the cell's text alone, so that two people who bring
    the same notebook into normal form get the same file.
    """
    kept: list[str | None] = []
    for cell in cells:
        own = cell.get("id")
        valid = isinstance(own, str) and re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", own)
        kept.append(own if valid and own not in kept else None)
    used = {id_ for id_ in kept if id_ is not None}
    title = heading(cells) or ""
    ids = []
    for cell, id_ in zip(cells, kept, strict=True):
        copy = 0
        while id_ is None:
            seed = "\0".join([title, cell["cell_type"], cell["source"], str(copy)])
            made = hashlib.sha256(seed.encode()).hexdigest()[:8]
            id_ = None if made in used else made
            copy += 1
        used.add(id_)
        ids.append(id_)
    return ids


def plain_python(source: str) -> str:
    """A cell's code without IPython's commands: those lines do nothing."""
    return re.sub(r"^(\s*)(?:%%?|!)[a-z].*$", r"\1pass", source, flags=re.MULTILINE)


# ---- files -------------------------------------------------------------------------------------


def notebooks(root: Path) -> list[Path]:
    """The chapters, in order."""
    return sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def load(path: Path) -> nbformat.NotebookNode:
    """The notebook in a file, its texts as strings; Refused where the file does not hold one.

    nbformat.read would give cells without an id one by chance, and write warnings of its own.
    """
    try:
        nb = nbformat.reader.reads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refused(f"{path}: no such file") from None
    except (ValueError, AttributeError) as error:  # no JSON, or without what a notebook has
        raise Refused(f"{path}: not a notebook: {error}") from None
    if nb.get("nbformat") != 4:
        raise Refused(f"{path}: not a notebook of format 4")
    return nb


def store(path: Path, content: bytes) -> bool:
    """Put content into path in one step, so that nobody reads half of it; False if it is there."""
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return True


def picture(folder: Path) -> bytes | None:
    """The PNG of the one cell tagged `picture` in a folder of notebooks; None if no cell is.

    Raises Refused where more than one cell is tagged, or the cell does not hold exactly one PNG.
    """
    found = [
        (path, cell)
        for path in sorted(folder.glob("*.ipynb"))
        for cell in load(path)["cells"]
        if "picture" in tags(cell)
    ]
    if not found:
        return None
    if len(found) > 1:
        where = ", ".join(path.name for path, _ in found)
        raise Refused(f"{len(found)} cells are tagged `picture` ({where}), expected one")
    path, cell = found[0]
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    pngs = [shown["image/png"] for shown in data if "image/png" in shown]
    if len(pngs) != 1:
        raise Refused(f"{path.name}: the cell tagged `picture` holds {len(pngs)} PNGs, expected 1")
    return base64.b64decode(pngs[0])


# ---- executing ---------------------------------------------------------------------------------


def execute(
    nb: dict[str, Any],
    folder: Path,
    python: str = sys.executable,
    environment: dict[str, str] | None = None,
) -> nbformat.NotebookNode:
    """The notebook, in normal form, with the outputs of a run in folder.

    python: the Python that runs it, with ipykernel; environment: its variables, by default ours.
    Raises Refused with the cell and the exception where a cell fails.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    fresh = normal(nb)
    started: list[int] = []
    client = NotebookClient(
        fresh,
        km=kernel_of(python),
        timeout=SECONDS_PER_CELL,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=lambda cell, cell_index: started.append(cell_index),
    )
    with tempfile.TemporaryDirectory() as profile:
        try:
            client.execute(env=kernel_environment(profile, environment), cleanup_kc=True)
        except CellExecutionError as error:
            problem = f"{error.ename}: {error.evalue}"
        except CellTimeoutError:
            problem = f"still running after {SECONDS_PER_CELL} s"
        except DeadKernelError:
            problem = "the kernel died (out of memory?)"
        else:
            return normal(with_small_pngs(fresh))
    raise Refused(failure(fresh["cells"], started[-1] if started else 0, problem))


def kernel_of(python: str) -> Any:
    """What nbclient starts the kernel of a Python by, where no kernel has been registered."""
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class OnlyThis(KernelSpecManager):
        """Knows one kernel, that of python, and never another one of this machine."""

        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            command = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, **KERNEL)

    return AsyncKernelManager(kernel_name="python3", kernel_spec_manager=OnlyThis())


def with_small_pngs(nb: dict[str, Any]) -> dict[str, Any]:
    """The notebook with its figures in at most 256 colours: a third of the size."""
    for cell in nb["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = small_png(output["data"]["image/png"])
    return nb


def small_png(encoded: str) -> str:
    """A PNG in base64 with a palette of its own; as it is where that is no smaller.

    256 colours, and 64 where the figure is large otherwise: sheets of grey digits, dense scatters.
    """
    from PIL import Image  # comes with matplotlib

    png = base64.b64decode(encoded)
    flat = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 64):
        small = io.BytesIO()
        # The colours farthest apart first: else a rare one, a dark pixel of a weight, turns grey.
        farthest = Image.Quantize.MAXCOVERAGE
        few = flat.quantize(colours, farthest, kmeans=1, dither=Image.Dither.NONE)
        few.save(small, "PNG", optimize=True)
        if len(small.getvalue()) <= BYTES_PER_PNG:
            break
    return base64.b64encode(min(small.getvalue(), png, key=len)).decode()


def kernel_environment(profile: str, variables: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a kernel whose outputs depend on the notebook and not on who runs it.

    profile: an empty folder, which takes the place of the user's IPython profile; variables: what
    the environment holds besides, by default what ours holds.
    """
    inherited = os.environ if variables is None else variables
    environment = {**inherited, "PYTHONHASHSEED": "0", "IPYTHONDIR": profile}
    environment["COURSE_PROGRESS"] = "off"  # nobody has done these exercises
    environment.pop("MPLBACKEND", None)  # the kernel draws inline
    return environment


def failure(cells: list[dict[str, Any]], index: int, problem: str) -> str:
    """A few lines that say which cell failed and how."""
    source = cells[index]["source"].splitlines()
    head = [f"    {line}" for line in source[:3]] + ["    ..."] * (len(source) > 3)
    said = [f"  {line}" for line in problem.strip().splitlines()[:6]]
    return "\n".join([f"cell {index + 1} of {len(cells)} failed:", *head, *said])


def code_hash(root: Path, nb: dict[str, Any]) -> str:
    """A hash of all that a notebook's outputs follow from, and of the outputs themselves.

    The cell tagged `bootstrap` does not count: where the course is installed it does nothing.
    """
    digest = hashlib.sha256()
    for path in [root / "constraints.txt", *sorted((root / "src/course_utils").rglob("*.py"))]:
        if path.exists():
            digest.update(path.read_bytes() + b"\0")
    for cell in json.loads(normal_form(nb))["cells"]:
        if cell["cell_type"] == "code" and "bootstrap" not in tags(cell):
            stored = ["".join(cell["source"]), cell["outputs"]]
            digest.update(json.dumps(stored, sort_keys=True).encode() + b"\0")
    return digest.hexdigest()


def refresh(root: Path, path: Path, known: dict[str, str], always: bool) -> str:
    """Bring one notebook up to date and say what was done; known is updated.

    known: the hash of each notebook as this command last stored it.
    """
    before, nb = path.read_bytes(), load(path)
    start = time.perf_counter()
    if not always and known.get(path.name) == code_hash(root, nb):
        changed = store(path, normal_form(nb).encode())
        return "put in normal form, not executed" if changed else "up to date"
    drawings = root / "book" / "_static" / "explore" / "data"
    to_share = {"COURSE_EXPLORE": f"write {drawings}"} if drawings.is_dir() else {}
    fresh = execute(nb, path.parent, environment={**os.environ, **to_share})
    if path.read_bytes() != before:
        raise Refused("changed on disk while it ran; its outputs are not stored")
    changed = store(path, normal_form(fresh).encode())
    known[path.name] = code_hash(root, fresh)
    result = "executed, outputs stored" if changed else "executed, outputs as before"
    return f"{result}, {time.perf_counter() - start:.1f} s"


def select(root: Path, numbers: list[str]) -> list[Path]:
    """The notebooks of these numbers, all of them without a number; Refused for an unknown one."""
    paths = notebooks(root)
    known = sorted({path.name[:2] for path in paths})
    wanted = {number.zfill(2) for number in numbers}
    unknown = sorted(wanted - set(known))
    if unknown:
        there = " ".join(known) or "none"
        raise Refused(f"no notebook has the number {' '.join(unknown)}; there are: {there}")
    return [path for path in paths if not wanted or path.name[:2] in wanted]


# ---- the commands ------------------------------------------------------------------------------


def outputs(root: Path, numbers: list[str]) -> int:
    """Execute the notebooks of these numbers, or those that changed; the exit status."""
    try:
        chosen = select(root, numbers)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    record = root / "_build" / "outputs.json"
    known = known_hashes(record)
    failed = False
    for path in chosen:
        try:
            print(f"{path.name}: {refresh(root, path, known, always=bool(numbers))}", flush=True)
        except Refused as refused:
            print(f"{path.name}: {refused}", file=sys.stderr, flush=True)
            failed = True
        store(record, json.dumps(known, indent=1, sort_keys=True).encode())
    try:
        png = picture(root / "notebooks")
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    if png is not None and store(root / "book" / "_static" / "picture.png", png):
        print("book/_static/picture.png: stored")
    return int(failed)


def known_hashes(record: Path) -> dict[str, str]:
    """What an earlier run recorded; nothing where the record is missing or broken."""
    try:
        known = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def normalize(root: Path, files: list[str]) -> int:
    """Rewrite these notebooks, or all, in normal form; the exit status."""
    failed = False
    for path in [Path(file) for file in files] or notebooks(root):
        try:
            if store(path, normal_form(load(path)).encode()):
                print(f"{path.name}: put in normal form")
        except Refused as refused:
            print(refused, file=sys.stderr)
            failed = True
    return int(failed)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command line; the exit status."""
    commands = {"outputs": outputs, "normalize": normalize}
    if not arguments or arguments[0] not in commands:
        got = " ".join(arguments) or "nothing"
        print(f"notebooks.py: got {got}, expected outputs or normalize", file=sys.stderr)
        return 2
    try:
        return commands[arguments[0]](root, arguments[1:])
    except KeyboardInterrupt:
        print("interrupted; what was not stored stays as it was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
