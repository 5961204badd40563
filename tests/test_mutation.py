"""The tool behind make mutation: which changes it makes, and what it takes for noticed."""

import subprocess
import sys
from pathlib import Path

import pytest
from cosmic_ray.mutating import mutate_code

import mutation

ROOT = Path(__file__).parents[1]


def changes(tmp_path, source):
    """Every text that the tool makes of a module's."""
    path = tmp_path / "module.py"
    path.write_text(source)
    found = []
    for spec in mutation.specs(path):
        code = mutate_code(source, mutation.operator(spec.operator_name), spec.occurrence)
        found.append(" ".join(code.split()))
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("y = a + b", "y = a - b"),
        ("y = a * b", "y = a / b"),
        ("y = a ** 2", "y = a * 2"),
        ("y = -a", "y = +a"),
        ("y = a.sum(1)", "y = a.mean(1)"),
        ("y = a.sum(axis=1)", "y = a.sum(axis= 2)"),
        ("y = a.sum(axis=1)", "y = a.sum(axis= 0)"),
        ("y = np.max(a)", "y = np.min(a)"),
        ("y = reduce(np.sum, a)", "y = reduce(np.mean, a)"),
        ("y = a < b", "y = a <= b"),
        ("y = a < b", "y = a > b"),
        ("y = a == b", "y = a != b"),
        ("y = a and b", "y = a or b"),
        ("y = not a", "y = a"),
        ("y = True", "y = False"),
        ("y = a @ b", "y = a * b"),
        ("y += a", "y -= a"),
        ("y = np.exp(a)", "y = np.expm1(a)"),
        ("y = 0.5 * a", "y = 1.5 * a"),
    ],
)
def test_it_changes(tmp_path, before, after):
    assert after in changes(tmp_path, before)


@pytest.mark.parametrize(
    "source",
    [
        "from sums import sum",
        "x: int | None = y",
        "def f(a: int | float, *, b) -> int | None: pass",
        "raise ValueError(f'{a + 1} is below 0')",
        "'''The sum is 1 + 1.'''",
        "@cache\ndef sum(a): pass",
    ],
)
def test_it_leaves_alone(tmp_path, source):
    assert changes(tmp_path, source) == []


TINY = """\
def double(x):
    return 2 * x


def unused(x):
    return x + 1
"""
RUN = """\
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import mutation
mutation.ROOT = Path(sys.argv[2])
mutation.SESSIONS = mutation.ROOT / "_build" / "mutation"
mutation.UNNOTICED = mutation.ROOT / "tests" / "unnoticed.txt"
mutation.TESTS = {"tiny": "tiny"}
mutation.load_libraries = lambda: None
sys.exit(mutation.main(sys.argv[3:]))
"""


@pytest.fixture
def tiny(tmp_path):
    """A course of one module and one test; a function that runs the tool there."""
    (tmp_path / "src" / "course_utils").mkdir(parents=True)
    (tmp_path / "src" / "course_utils" / "__init__.py").touch()
    (tmp_path / "src" / "course_utils" / "tiny.py").write_text(TINY)
    (tmp_path / "tests").mkdir()
    test = "import sys\nsys.path.insert(0, {!r})\nfrom course_utils.tiny import double\n\n"
    test = test.format(str(tmp_path / "src")) + "def test_double():\n    assert double(3) == 6\n"
    (tmp_path / "tests" / "test_tiny.py").write_text(test)

    def run(*arguments):
        command = [sys.executable, "-c", RUN, str(ROOT / "tools"), str(tmp_path), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    return run


def test_what_no_test_notices_is_listed_and_a_second_run_goes_on(tiny, tmp_path):
    status, said = tiny("--workers", "2")
    assert status == 1
    assert "tiny                         6 changes,     3 noticed" in said
    assert "tiny: return x + 1  →  return x - 1  (line 6)" in said
    assert "return 2 / x" not in said
    # Nothing is tried twice; what was not noticed is, where that is asked for.
    more = tmp_path / "tests" / "test_tiny.py"
    before = more.read_text()
    more.write_text(before + "    import course_utils.tiny as t\n    assert t.unused(1) == 2\n")
    assert "6 changes,     3 noticed" in tiny()[1]
    assert "6 changes,     6 noticed" in tiny("--again")[1]


def test_tests_that_fail_without_a_change_notice_nothing(tiny, tmp_path):
    broken = tmp_path / "tests" / "test_tiny.py"
    broken.write_text(broken.read_text().replace("== 6", "== 7"))
    status, said = tiny()
    assert status == 1 and "its tests fail without a change" in said
    assert "noticed" not in said


def test_a_reason_that_is_given_counts_and_another_module_is_done_anew(tiny, tmp_path):
    open_ = [line for line in tiny()[1].splitlines() if line.startswith("tiny: ")]
    reasons = "\n".join(line.rpartition("  (line")[0] for line in open_)
    (tmp_path / "tests" / "unnoticed.txt").write_text(f"[nobody calls it]\n{reasons}\n")
    status, said = tiny()
    assert (status, "3 without effect,   0 not noticed" in said) == (0, True)
    module = tmp_path / "src" / "course_utils" / "tiny.py"
    module.write_text(module.read_text().replace("x + 1", "x + 1 + 1"))
    assert "tiny                         9 changes" in tiny()[1]


def test_every_reason_is_of_a_line_that_is_there():
    for (module, line, _), reason in mutation.explained().items():
        path = ROOT / "src" / "course_utils" / f"{module.replace('.', '/')}.py"
        assert line in [part.strip() for part in path.read_text("utf-8").splitlines()], line
        assert len(reason.split()) >= 4
