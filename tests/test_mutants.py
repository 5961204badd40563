"""Named mistakes: the tool notices what they break, and each chapter notices its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mutants
from mutants import Broken, Mistake, Outcome
from notebooks import notebooks

ROOT = Path(__file__).parents[1]
SMALL = {
    "setup": "from course_utils.verify import verify\nx = [1.0, 3.0]",
    "mean": "mean = sum(x) / len(x)",
    "claims": 'verify("1.1 the mean", mean, 2.0)\nverify("the sum", sum(x), 4.0)',
    "later": 'verify("twice the mean", 2 * mean, 4.0)',
}


def chapter(folder, cells):
    """A notebook of these cells, with the lines that its claims would have printed."""
    claims = ["1.1 the mean", "the sum", "twice the mean"]
    stream = {"output_type": "stream", "name": "stdout", "text": [f"✓ {c}\n" for c in claims]}
    written = [
        {"cell_type": "code", "id": id_, "metadata": {}, "source": [source], "outputs": []}
        for id_, source in cells.items()
    ]
    written[-1]["outputs"] = [stream]
    path = folder / "99_small.ipynb"
    path.write_text(json.dumps({"cells": written, "metadata": {}, "nbformat": 4}))
    return path


def outcomes(path, *mistakes, end=False):
    """What came of each, from a process of its own: the tool forks and changes directory."""
    program = (
        "import json, sys; from pathlib import Path; import mutants\n"
        "path, listed, end = json.loads(sys.stdin.read())\n"
        "made = [mutants.Mistake(*m) for m in listed]\n"
        "done = mutants.run_chapter(Path(path), made, end)\n"
        "print(json.dumps([[m.name, o.failed, o.held, o.error] for m, o in done]))"
    )
    listed = [[m.name, m.where, m.old, m.new, m.breaks] for m in mistakes]
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([str(path), listed, end]),
        capture_output=True,
        text=True,
        cwd=ROOT / "tools",
    )
    assert done.returncode == 0, done.stderr
    return [line[1:] for line in json.loads(done.stdout.splitlines()[-1])]


def test_a_mistake_in_a_cell_fails_its_claim_and_leaves_the_next_one_alone(tmp_path):
    path = chapter(tmp_path, SMALL)
    sum_for_mean = Mistake("sum for mean", "mean", " / len(x)", "", ("1.1",))
    another = Mistake("another number", "setup", "3.0", "2.0", ("the sum",))
    by_cell = outcomes(path, sum_for_mean, another)
    assert by_cell == [
        [["1.1 the mean", "the sum"], [], ""],
        [["1.1 the mean"], ["the sum"], ""],  # and not the claim of the cell after
    ]


def test_to_the_end_finds_all_that_a_mistake_breaks(tmp_path):
    sum_for_mean = Mistake("sum for mean", "mean", " / len(x)", "", ("1.1",))
    ((failed, held, _),) = outcomes(chapter(tmp_path, SMALL), sum_for_mean, end=True)
    assert failed == ["1.1 the mean", "twice the mean"] and held == ["the sum"]


def test_a_crash_is_no_failed_claim(tmp_path):
    crash = Mistake("a name misspelt", "mean", "sum(x)", "summ(x)", ("1.1",))
    ((failed, _, error),) = outcomes(chapter(tmp_path, SMALL), crash)
    assert failed == [] and error.startswith("mean: NameError")
    assert Outcome(failed=failed).survivors(crash) == ["1.1"]


def test_a_mistake_that_ends_its_process_is_told_and_stops_no_other(tmp_path):
    deadly = Mistake("the end", "mean", "mean = ", "import os\nos._exit(3)\nmean = ", ("1.1",))
    sum_for_mean = Mistake("sum for mean", "mean", " / len(x)", "", ("1.1",))
    dead, other = outcomes(chapter(tmp_path, SMALL), deadly, sum_for_mean)
    assert dead == [[], [], "its process died with status 3"]
    assert other[0] == ["1.1 the mean"]


def test_a_mistake_in_the_package_reaches_the_chapter_and_not_the_one_after(tmp_path):
    cells = SMALL | {"setup": SMALL["setup"] + "\nfrom course_utils.gaussians import log_marginal"}
    path = chapter(tmp_path, cells)
    blind = Mistake("nothing holds", "verify.py", "if not np.all(holds)", "if True", ("1.1",))
    harmless = Mistake("the same", "mean", "mean = ", "mean = 1 * ", ("1.1",))
    package, cell = outcomes(path, blind, harmless, end=True)
    assert package[0] == ["1.1 the mean", "the sum", "twice the mean"]
    assert cell[0] == [] and len(cell[1]) == 3


def test_a_chapter_that_fails_by_itself_is_told(tmp_path):
    path = chapter(tmp_path, SMALL | {"mean": "mean = 7.0"})
    late = Mistake("late", "later", "2 * mean", "3 * mean", ("twice",))
    with pytest.raises(AssertionError, match="fails without a mistake: 1.1 the mean"):
        outcomes(path, late)


@pytest.mark.parametrize(
    ("mistake", "problem"),
    [
        (Mistake("m", "mean", "x", "y", ("1.1",)), "stands 2 times"),
        (Mistake("m", "nowhere", "x", "y", ("1.1",)), "has no cell nowhere"),
        (Mistake("m", "mean", "sum", "max", ("1.2",)), "no claim of"),
    ],
)
def test_a_mistake_that_cannot_be_made_is_told(tmp_path, mistake, problem):
    with pytest.raises(Broken, match=problem):
        mutants.check_list(chapter(tmp_path, SMALL), [mistake])


@pytest.mark.parametrize("path", notebooks(ROOT), ids=lambda p: p.stem)
def test_a_chapter_has_mistakes_that_can_be_made(path):
    mistakes = mutants.mistakes_of(path.name[:2])
    assert len(mistakes) >= 8 and len({m.name for m in mistakes}) == len(mistakes)
    assert all(m.breaks for m in mistakes)
    mutants.check_list(path, mistakes)


@pytest.mark.parametrize("number", ["01", "02", "11"])
def test_the_mistakes_of_a_quick_chapter_break_what_they_name(number):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "mutants.py", number], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" noticed ") == len(mutants.mistakes_of(number))
