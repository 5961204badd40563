"""Named mistakes, made on purpose: each must break the claims that it is written for.

python tools/mutants.py [NB ...]      make every mistake of these chapters, print what came of it
    --to-end      run each to the end of its chapter, to see all the claims that it breaks
    --only TEXT   those mistakes whose name holds this text
    --jobs N      chapters side by side, by default 2
    --unbroken    list the claims of these chapters that no mistake has broken

A mistake replaces some text in one cell of the chapter, or in one file of the package, as a student
or a careless editor would. The chapter's code then runs as it stands, and `verify` notes what fails
instead of stopping. A mistake in a cell starts from the state that the cells before it left: the
process forks there, so that nothing runs twice. `tests/mistakes/chapterNN.py` holds the mistakes.

Cosmic Ray, which tools/mutation.py uses, and mutmut make changes of their own to modules, one
operator at a time. They know neither the cells of a chapter nor its claims.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import multiprocessing
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from notebooks import ROOT, Refused, load, plain_python, select, tags

SECONDS = 900  # at most, for one mistake
LIBRARIES = ("numpy", "matplotlib.pyplot", "sklearn.datasets", "torch")  # what takes long to load
Cells = list[tuple[str, str]]  # the id and the source of each


@dataclass(frozen=True)
class Mistake:
    """One mistake that somebody makes.

    Attributes:
        name: what was done wrong, in words.
        where: the id of a cell of the chapter, or a file of the package such as "vae/elbo.py".
        old: text that stands there exactly once.
        new: what stands there instead.
        breaks: beginnings of the claims that must fail, as `verify` prints them.
    """

    name: str
    where: str
    old: str
    new: str
    breaks: tuple[str, ...]


@dataclass
class Outcome:
    """What came of one mistake: the claims that held and failed, and the error that stopped it."""

    failed: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    def survivors(self, mistake: Mistake) -> list[str]:
        """The claims that should have failed and did not."""
        return [b for b in mistake.breaks if not any(c.startswith(b) for c in self.failed)]


class Broken(Exception):
    """A mistake that cannot be made as written, or a chapter that fails without one."""


# ---- the lists -----------------------------------------------------------------------------------


def mistakes_of(number: str, root: Path = ROOT) -> list[Mistake]:
    """The mistakes of a chapter, "07"; none where it has no list."""
    path = root / "tests" / "mistakes" / f"chapter{number}.py"
    if not path.exists():
        return []
    return list(runpy.run_path(str(path))["MISTAKES"])


def code_of(path: Path) -> Cells:
    """The cells that make a chapter's state, as (id, source): no first cell, no stubs."""
    cells = [c for c in load(path)["cells"] if c["cell_type"] == "code"]
    kept = [c for c in cells if not tags(c) & {"bootstrap", "exercise"}]
    return [(c["id"], c["source"]) for c in kept]


def claims_of(path: Path) -> list[str]:
    """The claims that a chapter's stored outputs hold, without their tolerances."""
    outputs = [o for c in load(path)["cells"] for o in c.get("outputs", []) if "text" in o]
    printed = "".join(o["text"] for o in outputs)
    lines = re.findall(r"^✓ (?!\d\d\.\d is right)(.*)$", printed, flags=re.MULTILINE)
    return [re.sub(r" \(within [^()]*\)$", "", line) for line in lines]


def altered(source: str, mistake: Mistake) -> str:
    """The source with the mistake in it; Broken where the text does not stand there once."""
    count = source.count(mistake.old)
    if count != 1:
        raise Broken(f"{mistake.name}: {mistake.old!r} stands {count} times in {mistake.where}")
    return source.replace(mistake.old, mistake.new)


def in_package(mistake: Mistake) -> bool:
    """Whether the mistake is made in the package and not in a cell."""
    return mistake.where.endswith(".py")


def check_list(path: Path, mistakes: list[Mistake]) -> None:
    """Raise Broken where a mistake cannot be made, or names a claim that is not there."""
    cells, claims = dict(code_of(path)), claims_of(path)
    for mistake in mistakes:
        if in_package(mistake):
            source = (ROOT / "src" / "course_utils" / mistake.where).read_text(encoding="utf-8")
        elif mistake.where in cells:
            source = cells[mistake.where]
        else:
            raise Broken(f"{mistake.name}: {path.name} has no cell {mistake.where}")
        altered(source, mistake)
        for claim in mistake.breaks:
            if not any(c.startswith(claim) for c in claims):
                raise Broken(f"{mistake.name}: no claim of {path.name} begins with {claim!r}")


# ---- running -------------------------------------------------------------------------------------


def run_cell(id_: str, source: str, names: dict[str, Any]) -> None:
    """Execute one cell as a notebook would, figures thrown away."""
    exec(compile(plain_python(source), f"<{id_}>", "exec"), names)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def recording(outcome: Outcome) -> Callable[..., None]:
    """A `verify` that notes whether the claim holds and goes on."""
    from course_utils import verify as module

    original = module.verify

    def verify(claim: str, *arguments: Any, **options: Any) -> None:
        try:
            original(claim, *arguments, **options)
        except module.ClaimError:
            outcome.failed.append(claim)
        else:
            outcome.held.append(claim)

    return verify


def follow(
    cells: Cells, mistake: Mistake, names: dict[str, Any], end: bool, outcome: Outcome
) -> None:
    """Run cells until the claims of the mistake have failed, or to the end."""
    for id_, source in cells:
        try:
            run_cell(id_, source, names)
        except Exception as error:
            outcome.error = f"{id_}: {type(error).__name__}: {error}"[:200]
            return
        if not end and not outcome.survivors(mistake):
            return


def in_a_fork(job: Callable[[Outcome], None], outcome: Outcome) -> Outcome:
    """Do the job in a copy of this process; what came of it, also where it dies."""
    fork, started = multiprocessing.get_context("fork"), time.monotonic()
    receiver, sender = fork.Pipe(duplex=False)

    def work() -> None:
        job(outcome)
        sender.send(outcome)

    child = fork.Process(target=work)
    child.start()
    sender.close()  # the copy's alone, so that its end is seen here
    try:
        made = receiver.recv() if receiver.poll(SECONDS) else None
    except EOFError:
        made = None
    if made is None:
        child.kill()
    child.join()
    if made is None:
        return Outcome(error=f"its process died with status {child.exitcode}")
    return replace(made, seconds=time.monotonic() - started)


def run_chapter(
    path: Path, mistakes: list[Mistake], end: bool
) -> Iterator[tuple[Mistake, Outcome]]:
    """Make each mistake; the chapter itself runs once, as far as the last cell with a mistake.

    Raises Broken where a cell fails, or a claim, without any mistake.
    """
    cells = code_of(path)
    os.chdir(path.parent)
    source_root = ROOT / "src"
    if sum(in_package(m) for m in mistakes) > 1:
        load_libraries(cells)
    for mistake in (m for m in mistakes if in_package(m)):
        yield mistake, in_a_fork(partial(_in_package, mistake, cells, end), Outcome())
    sys.path.insert(0, str(source_root))
    import course_utils.verify as module

    outcome, names = Outcome(), {"__name__": "__main__"}
    module.verify = recording(outcome)  # type: ignore[assignment]
    left = {m.where for m in mistakes if not in_package(m)}
    for i, (id_, source) in enumerate(cells):
        if not left:
            return
        for mistake in (m for m in mistakes if m.where == id_):
            rest = [(id_, altered(source, mistake)), *cells[i + 1 :]]
            outcome.failed.clear()
            outcome.held.clear()
            yield mistake, in_a_fork(partial(follow, rest, mistake, names, end), outcome)
        left -= {id_}
        try:
            run_cell(id_, source, names)
        except Exception as error:
            raise Broken(f"{path.name}, {id_}: {type(error).__name__}: {error}") from None
        if outcome.failed:
            raise Broken(f"{path.name}, {id_}: fails without a mistake: {outcome.failed[0]}")


def load_libraries(cells: Cells) -> None:
    """Load once what each copy of this process would load by itself, and nothing of the course."""
    for name in LIBRARIES:
        if name != "torch" or any("torch" in source for _, source in cells):
            importlib.import_module(name)
    gc.freeze()  # nothing that is here now will be dropped: no copy need look through it


def _in_package(mistake: Mistake, cells: Cells, end: bool, outcome: Outcome) -> None:
    """Run the chapter from its start with a package that holds the mistake."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "course_utils")
        shutil.copytree(ROOT / "src" / "course_utils", copy)
        file = copy / mistake.where
        file.write_text(altered(file.read_text(encoding="utf-8"), mistake), encoding="utf-8")
        sys.path.insert(0, folder)
        import course_utils.verify as module

        assert Path(module.__file__).is_relative_to(folder)
        module.verify = recording(outcome)  # type: ignore[assignment]
        follow(cells, mistake, {"__name__": "__main__"}, end, outcome)


# ---- the command ---------------------------------------------------------------------------------


def report(path: Path, only: str, end: bool, unbroken: bool) -> bool:
    """Make the mistakes of one chapter and print its table; True if all were noticed."""
    chosen = [m for m in mistakes_of(path.name[:2]) if only in m.name]
    well, broken, out = True, set(), sys.stdout
    sys.stdout = open(os.devnull, "w")  # the chapter's own prints
    try:
        check_list(path, chosen)
        for mistake, outcome in run_chapter(path, chosen, end):
            survivors = outcome.survivors(mistake)
            broken |= set(outcome.failed)
            well &= not survivors
            mark = "NOT NOTICED" if survivors else "noticed"
            print(
                f"{path.name[:2]}  {mark:<11} {outcome.seconds:5.1f} s  {mistake.name}"
                f" ({mistake.where}): {len(set(outcome.failed))} claims fail",
                file=out,
                flush=True,
            )
            for claim in survivors:
                print(f"        should fail: {claim}", file=out)
            if survivors and outcome.error:
                print(f"        stopped by {outcome.error}", file=out)
    except Broken as problem:
        print(f"{path.name[:2]}  {problem}", file=out)
        return False
    claims = list(dict.fromkeys(claims_of(path)))
    left = [c for c in claims if c not in broken]
    print(
        f"{path.name[:2]}  {len(chosen)} mistakes, {len(claims) - len(left)} of {len(claims)}"
        " claims broken by at least one",
        file=out,
        flush=True,
    )
    for claim in left if unbroken else []:
        print(f"        unbroken: {claim}", file=out)
    return well


def main(arguments: list[str] | None = None) -> int:
    """Make the mistakes of the chapters named, of all without a name."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("chapters", nargs="*", metavar="NB")
    parser.add_argument("--only", default="")
    parser.add_argument("--to-end", action="store_true")
    parser.add_argument("--unbroken", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    try:
        paths = select(ROOT, options.chapters)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    if len(paths) == 1:
        return 0 if report(paths[0], options.only, options.to_end, options.unbroken) else 1
    flags = ["--only", options.only] + ["--to-end"] * options.to_end
    flags += ["--unbroken"] * options.unbroken
    commands = [[sys.executable, __file__, p.name[:2], *flags] for p in paths]
    return max(side_by_side(commands, options.jobs), default=0)


def side_by_side(commands: list[list[str]], jobs: int) -> list[int]:
    """Run commands, so many at a time; print what each says when it has ended; their statuses."""
    from concurrent.futures import ThreadPoolExecutor

    def run(command: list[str]) -> int:
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout + done.stderr, end="", flush=True)
        return done.returncode

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(run, commands))


if __name__ == "__main__":
    sys.modules["mutants"] = sys.modules["__main__"]  # the lists import Mistake from here
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ |= {
        "MPLBACKEND": "agg",
        "COURSE_PROGRESS": "off",
        "COURSE_EXPLORE": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    sys.exit(main())
