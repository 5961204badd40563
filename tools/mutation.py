"""Change the package's mathematics in one place at a time, and see that some test notices.

python tools/mutation.py [MODULE ...] [--again] [--workers N]

Cosmic Ray (https://cosmic-ray.readthedocs.io) finds the places, makes the changes and keeps the
results. Its own runner starts a new process for each change, which then loads PyTorch: three
seconds, some thousand times. Here a process that has loaded the libraries, and nothing of the
course, is copied for each change; the copy loads the changed module in place of the true one.

The results lie in _build/mutation, one session a module, under a name that holds a digest of the
module: a run that was stopped goes on where it was, and a module that changed is done anew.
--again tries those once more that no test noticed. tests/unnoticed.txt lists the changes that no
test can notice, each with its reason; they must be such that nothing changes for a reader.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import gc
import hashlib
import importlib
import importlib.util
import multiprocessing
import os
import re
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import (
    MutationSpec,
    TestOutcome,
    WorkerOutcome,
    WorkItem,
    WorkResult,
)

ROOT = Path(__file__).resolve().parents[1]
SESSIONS = ROOT / "_build" / "mutation"
UNNOTICED = ROOT / "tests" / "unnoticed.txt"
# What the tests need, and nothing of the course; loaded once, before the first change.
LIBRARIES = (
    *("numpy", "scipy.stats", "scipy.ndimage", "scipy.optimize", "skimage.metrics"),
    *("sklearn.datasets", "sklearn.decomposition", "sklearn.ensemble", "sklearn.manifold"),
    *("sklearn.neighbors", "torch", "matplotlib.pyplot", "hypothesis", "pytest", "nbformat"),
)
LIMIT = 300.0  # seconds for the tests of one change; a change may make a loop endless

# What is changed, and the tests that should notice; the first of them notice most.
TESTS = {
    "gaussians": "gaussians evaluation disentanglement numpy_vae defaults",
    "vae.elbo": "chapter10 vae defaults",
    "vae.small": "chapter10 vae defaults",
    "vae.dense": "vae rows defaults",
    "vae.likelihoods": "vae rows defaults",
    "vae.weights": "vae defaults",
    "vae.conditional": "conv_vae chapter17 defaults",
    "vae.convolutional": "conv_vae chapter17 defaults",
    "vae.flows": "chapter19 defaults wrong_input",
    "iwae": "chapter19 defaults wrong_input",
    "annealed": "chapter19 defaults wrong_input",
    "discrete": "chapter20 defaults wrong_input",
    "diffusion": "chapter21 defaults wrong_input",
    "sample_quality": "chapter21 chapter14 wrong_input",
    "evaluation": "evaluation gaussians chapter11 defaults",
    "numpy_nn.layers": "numpy_nn numpy_vae defaults",
    "numpy_nn.losses": "numpy_nn numpy_vae defaults",
    "numpy_nn.optimisers": "numpy_nn numpy_vae defaults",
    "numpy_nn.gradients": "numpy_nn numpy_vae defaults",
    "numpy_nn.autoencoders": "numpy_nn defaults",
    "numpy_vae": "numpy_vae defaults",
    "autoencoders.vanilla": "training contractive sparse denoising defaults",
    "autoencoders.denoising": "denoising defaults",
    "autoencoders.contractive": "contractive defaults",
    "autoencoders.sparse": "sparse defaults",
    "manifold": "manifold chapter09 defaults",
    "disentanglement": "disentanglement defaults",
    "training": "training rows vae defaults",
    "exercises.grading": "grading defaults",
}


# ---- what is changed -----------------------------------------------------------------------------

BINARY = "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul BitAnd_BitOr BitOr_BitAnd"
COMPARISON = (
    "Lt_LtE Lt_Gt LtE_Lt LtE_Gt Gt_GtE Gt_Lt GtE_Gt GtE_Lt Eq_NotEq NotEq_Eq Is_IsNot IsNot_Is"
)
OFFERED = [
    *(f"core/ReplaceBinaryOperator_{pair}" for pair in BINARY.split()),
    *(f"core/ReplaceComparisonOperator_{pair}" for pair in COMPARISON.split()),
    "core/ReplaceUnaryOperator_USub_UAdd",
    "core/ReplaceUnaryOperator_Delete_Not",
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
    "core/NumberReplacer",
]


class Exchange(Operator):
    """Puts another word in the place of a name, or another sign: what Cosmic Ray does not offer."""

    words: dict[str, str] = {}

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """The place of a word, once."""
        if node.type in ("name", "operator") and node.value in self.words and self.fits(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The word exchanged."""
        node.value = self.words[node.value]
        return node

    def fits(self, node: Any) -> bool:
        """Whether the word is one that is meant."""
        return True

    @classmethod
    def examples(cls) -> Iterable[Example]:
        """None: tests/test_mutation.py has them."""
        return ()


class Reduction(Exchange):
    """Another reduction: the mean for the sum, the least for the greatest."""

    words = {
        **{"sum": "mean", "mean": "sum", "max": "min", "min": "max", "amax": "amin"},
        **{"amin": "amax", "std": "var", "var": "std", "any": "all", "all": "any"},
        **{"argmax": "argmin", "argmin": "argmax", "median": "mean", "prod": "sum"},
        **{"logsumexp": "logcumsumexp", "cumsum": "cumprod", "maximum": "minimum"},
        **{"minimum": "maximum", "norm": "sum", "sqrt": "square", "exp": "expm1", "log": "log1p"},
    }

    def fits(self, node: Any) -> bool:
        """A method or function that is called, or handed on, but no keyword and no definition."""
        if node.parent.type in ("param", "funcdef", "import_from", "import_name"):
            return False
        follows = node.get_next_leaf()
        return bool(follows is not None and follows.value in "(),")


class Assignment(Exchange):
    """Another sign in a sum that grows, and products for matrix products."""

    words = {"+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "@": "*"}

    def fits(self, node: Any) -> bool:
        """Not the @ of a decorator."""
        return bool(node.parent.type != "decorator")


Span = tuple[tuple[int, int], tuple[int, int]]
OURS = {"course/Reduction": Reduction, "course/Assignment": Assignment}


def operator(name: str) -> Operator:
    """An operator by its name, of Cosmic Ray or ours."""
    return (OURS[name] if name in OURS else get_operator(name))()


class Places(Visitor):
    """Collects the places at which an operator can change a module."""

    def __init__(self, name: str, path: Path, left_out: list[Span]) -> None:
        self.name, self.path, self.left_out = name, path, left_out
        self.operator, self.count = operator(name), 0
        self.specs: list[MutationSpec] = []

    def visit(self, node: Any) -> Any:
        """Note the places of one node; their count is how they are found again."""
        for start, end in self.operator.mutation_positions(node):
            star = node.type == "operator" and node.parent.type == "parameters"  # def f(x, *, y)
            if not star and not any(first <= start < last for first, last in self.left_out):
                self.specs.append(MutationSpec(self.path, self.name, self.count, start, end))
            self.count += 1
        return node


def without_effect(source: str) -> list[Span]:
    """Where imports, type hints and the making of errors stand: no mathematics."""
    spans: list[Any] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Raise)):
            spans.append(node)
        elif isinstance(node, (ast.arg, ast.AnnAssign)):
            spans.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            spans.append(node.returns)
    return [((s.lineno, s.col_offset), (s.end_lineno, s.end_col_offset)) for s in spans if s]


def specs(path: Path) -> list[MutationSpec]:
    """Every change of a module."""
    source = path.read_text("utf-8")
    found = []
    for name in [*OFFERED, *OURS]:
        places = Places(name, path, without_effect(source))
        places.walk(get_ast(source))
        found += places.specs
    return found


# ---- one change, in a copy of a process that has loaded the libraries ----------------------------


class Changed(SourceFileLoader):
    """Loads a module from other text than its file's."""

    code = ""

    def get_code(self, fullname: str) -> Any:
        """The changed text, compiled."""
        return compile(self.code, self.path, "exec")


class Finder:
    """Finds the changed module where the true one is asked for."""

    def __init__(self, name: str, path: Path, code: str) -> None:
        self.name, self.path, self.code = name, path, code

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The changed module's spec under its own name, nothing under another one."""
        if name != self.name:
            return None
        loader = Changed(name, str(self.path))
        loader.code = self.code
        inside = [str(self.path.parent)] if self.path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, self.path, loader=loader, submodule_search_locations=inside
        )


def run_tests(name: str, path: Path, code: str, tests: list[str]) -> None:
    """Run in the copy: the tests, with the change. The exit status is pytest's."""
    import pytest
    from hypothesis import Phase, settings

    os.setpgid(0, 0)  # what the tests start is stopped with them
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.meta_path.insert(0, Finder(name, path, code))
    # A failing example need not be made small.
    settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutation")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # these tests need none, and each costs
    without = ["-p", "no:cacheprovider", "-p", "no:unraisableexception"]
    options = ["-x", "-q", "-o", "addopts=", *without]
    # The first file notices most; only where it does not are the others read.
    status = pytest.main([*options, tests[0]])
    if status == 0 and tests[1:]:
        status = pytest.main([*options, *tests[1:]])
    os._exit(int(status))


def load_libraries() -> None:
    """Load LIBRARIES, and see that nothing of the course came along."""
    for name in LIBRARIES:
        importlib.import_module(name)
    assert not any(name.split(".")[0] == "course_utils" for name in sys.modules)
    gc.freeze()  # nothing that is here now will be dropped: no copy need look through it


class Session:
    """The changes of one module, and what became of each."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.name = f"course_utils.{module}"
        place = ROOT / "src" / Path(*self.name.split("."))
        self.path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        self.source = self.path.read_text("utf-8")
        offered = repr([OFFERED, *(ours.words for ours in OURS.values())])
        digest = hashlib.sha256((self.source + offered).encode()).hexdigest()[:10]
        SESSIONS.mkdir(parents=True, exist_ok=True)
        self.db = WorkDB(SESSIONS / f"{module}-{digest}.sqlite", WorkDB.Mode.create)
        if not self.db.num_work_items:
            items = [WorkItem.single(uuid.uuid4().hex, spec) for spec in specs(self.path)]
            self.db.add_work_items(items)
        self.tests = [str(ROOT / "tests" / f"test_{n}.py") for n in TESTS[module].split()]

    def pending(self, again: bool) -> list[WorkItem]:
        """The changes to try."""
        done = dict(self.db.results)
        if again:
            kept = {j for j, r in done.items() if r.test_outcome != TestOutcome.SURVIVED}
        else:
            kept = set(done)
        return [item for item in self.db.work_items if item.job_id not in kept]

    def changed(self, item: WorkItem) -> str:
        """The module's text with a change."""
        (spec,) = item.mutations
        code = mutate_code(self.source, operator(spec.operator_name), spec.occurrence)
        if code is None:
            raise RuntimeError(f"{self.module}: no place {spec.occurrence} of {spec.operator_name}")
        return str(code)

    def note(self, item: WorkItem, code: str, status: int | None) -> None:
        """Keep what became of a change; status is None where the tests took too long."""
        outcome = TestOutcome.SURVIVED if status == 0 else TestOutcome.KILLED
        output = "too long" if status is None else f"exit status {status}"
        lines = difflib.unified_diff(self.source.splitlines(), code.splitlines(), n=0, lineterm="")
        result = WorkResult(WorkerOutcome.NORMAL, output, outcome, "\n".join(lines))
        self.db.set_result(item.job_id, result)

    def unnoticed(self) -> list[tuple[int, str, str]]:
        """Line number, line and changed line of what no test noticed."""
        lines, found = self.source.splitlines(), []
        places = {item.job_id: item.mutations[0] for item in self.db.work_items}
        for job, result in self.db.results:
            if result.test_outcome == TestOutcome.SURVIVED:
                number = places[job].start_pos[0]
                diff = (result.diff or "").splitlines()
                new = [line[1:].strip() for line in diff if re.match(r"\+(?!\+\+)", line)]
                found.append((number, lines[number - 1].strip(), " ".join(new)))
        return sorted(found)


def work(session: Session, workers: int, again: bool) -> None:
    """Try what has not been tried, some at a time."""
    todo = session.pending(again)
    context = multiprocessing.get_context("fork")
    if todo:
        expect_passing(session)
    running: dict[Any, tuple[WorkItem, str, float]] = {}
    for i, item in enumerate([*todo, None]):
        if item is not None:
            code = session.changed(item)
            child = context.Process(
                target=run_tests, args=(session.name, session.path, code, session.tests)
            )
            child.start()
            running[child] = (item, code, time.monotonic())
            show(f"{session.module}: {i + 1} of {len(todo)}")
        while len(running) >= (workers if item is not None else 1):
            time.sleep(0.02)
            for child, (one, code, since) in list(running.items()):
                late = time.monotonic() - since > LIMIT
                if child.is_alive() and not late:
                    continue
                if late:
                    stop(child.pid)
                child.join()
                session.note(one, code, None if late else child.exitcode)
                del running[child]


def expect_passing(session: Session) -> None:
    """End the program where the tests fail without a change: each change would count as noticed."""
    given = (session.name, session.path, session.source, session.tests)
    child = multiprocessing.get_context("fork").Process(target=run_tests, args=given)
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(f"{session.module}: its tests fail without a change; make test says which")


def stop(pid: int) -> None:
    """End a copy and what it started."""
    try:
        os.killpg(pid, 9)
    except ProcessLookupError:
        os.kill(pid, 9)


def show(text: str) -> None:
    """One line that the next one overwrites, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:60}", end="", file=sys.stderr, flush=True)


# ---- the report ----------------------------------------------------------------------------------


def explained() -> dict[tuple[str, str, str], str]:
    """(module, line, changed line) of the changes that nothing can notice, and the reason of each.

    A line of tests/unnoticed.txt is a reason, in brackets; under it stand its changes, each as
    `module: line  →  changed line`.
    """
    reasons, reason = {}, ""
    for line in UNNOTICED.read_text("utf-8").splitlines() if UNNOTICED.exists() else []:
        if line.startswith("["):
            reason = line.strip("[]")
        elif line and not line.startswith("#"):
            module, rest = line.split(": ", 1)
            old, new = rest.split("  →  ")
            reasons[module, old.strip(), new.strip()] = reason
    return reasons


def report(sessions: list[Session]) -> tuple[int, int, list[str]]:
    """Changes in all, those that were noticed or can't be, and a line for each that is left."""
    total = noticed = 0
    known, left = explained(), []
    for session in sessions:
        missed = session.unnoticed()
        open_ = [m for m in missed if (session.module, m[1], m[2]) not in known]
        done = session.db.num_results
        total += done
        noticed += done - len(missed)
        left += [f"{session.module}: {old}  →  {new}  (line {n})" for n, old, new in open_]
        print(
            f"{session.module:24} {done:5} changes, {done - len(missed):5} noticed, "
            f"{len(missed) - len(open_):3} without effect, {len(open_):3} not noticed"
        )
    return total, noticed, left


def main(arguments: list[str]) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TESTS))
    parser.add_argument("--again", action="store_true", help="try again what no test noticed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--report", action="store_true", help="show what is known, try nothing")
    options = parser.parse_args(arguments)
    unknown = set(options.modules) - set(TESTS)
    if unknown:
        parser.error(f"got {', '.join(sorted(unknown))}, expected some of {', '.join(TESTS)}")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    sessions = [Session(module) for module in options.modules or TESTS]
    start = time.monotonic()
    if not options.report:
        load_libraries()
        for session in sessions:
            work(session, options.workers, options.again)
    total, noticed, left = report(sessions)
    print("\n".join(left))
    share = noticed / total if total else 0.0
    minutes = (time.monotonic() - start) / 60
    print(f"{noticed} of {total} noticed ({share:.1%}), {len(left)} open; {minutes:.0f} minutes")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
