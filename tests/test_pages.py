"""Pages beside the chapters that say what other files say: held to them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from course_utils.diagnosis.faults import FAULTS

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"


def rows(page: str) -> list[list[str]]:
    """The rows of the page's tables, their cells without blanks at the ends."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [
        [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]


def test_the_index_of_mistakes_is_the_table_by_which_diagnose_works() -> None:
    page = (BOOK / "mistakes.md").read_text("utf-8").partition("## In a VAE")[2]
    found = [row for row in rows(page) if row[0] not in ("you see", "---")]
    expected = [[f.symptom, f.experiment, name, f.mend] for name, f in FAULTS.items()]
    assert sorted(found) == sorted(expected)


def test_the_example_of_the_index_runs(capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    vae = pytest.importorskip("course_utils.vae")
    block = re.findall(r"```python\n(.*?)```", (BOOK / "mistakes.md").read_text("utf-8"), re.S)[0]
    exec(block, {"model": vae.VAE(8, 6, 2), "x": torch.rand(20, 8), "loss": vae.negative_elbo})
    assert "not tested: " in capsys.readouterr().out


def test_the_index_explains_every_experiment() -> None:
    page = (BOOK / "mistakes.md").read_text("utf-8").partition("## The tests")[2]
    used = {name for fault in FAULTS.values() for name in fault.experiment.split(", ")}
    assert used == set(re.findall(r"- \*\*(\w+)\*\*", page))


def test_the_plan_for_teachers_names_exercises_that_there_are() -> None:
    page = (BOOK / "teaching.md").read_text("utf-8")
    asked = set(re.findall(r"\b\d\d\.\d\b", page))
    there = {
        number
        for path in (ROOT / "notebooks").glob("*.ipynb")
        for number in re.findall(r"### Exercise (\d\d\.\d)", path.read_text("utf-8"))
    }
    assert len(asked) > 20
    assert asked <= there


def test_the_script_for_teachers_counts_what_is_right(tmp_path: Path) -> None:
    script = re.findall(r"```python\n(.*?)```", (BOOK / "teaching.md").read_text("utf-8"), re.S)[0]
    cell = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook(
        cells=[
            cell(
                "a", outputs=[nbformat.v4.new_output("stream", text=text)], metadata={"tags": [tag]}
            )
            for text, tag in (
                ("✓ 01.1", "exercise"),
                ("✗ 01.2 …", "exercise"),
                ("mine: 3\n✓ 01.3", "exercise"),
                ("✓ 01.2", "solution"),
            )
        ]
    )
    nbformat.write(notebook, tmp_path / "anna.ipynb")
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "anna.ipynb 2 of 3\n"


def test_a_changed_drawing_is_noticed_and_a_compiled_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BOOK / "_ext"))
    from course_book.pages import note_digest

    (tmp_path / "static" / "explore").mkdir(parents=True)
    script = tmp_path / "static" / "explore" / "drawing.js"
    config = SimpleNamespace(html_static_path=["static"], course_book_digest="")
    seen = []
    for name, text in ((script, "one"), (script, "two"), (script.with_suffix(".pyc"), "three")):
        name.write_text(text)
        note_digest(SimpleNamespace(confdir=tmp_path), config)
        seen.append(config.course_book_digest)
    assert seen[0] != seen[1] == seen[2]


def test_a_mistake_in_a_formula_is_shown_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BOOK / "_ext"))
    from course_book import mathematics
    from docutils import nodes

    assert "error" not in mathematics.typeset(r"a < b", False)
    shown = mathematics.drawn(r"\nosuch a < b & c", False, nodes.math())["html"]
    assert shown == r"<code>\nosuch a &lt; b &amp; c</code>"
