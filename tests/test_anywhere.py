"""The tool behind make test-anywhere: it makes the conditions it says, and sees what they break."""

import json
import subprocess
from pathlib import Path

import pytest

import anywhere
from notebooks import normal_form


def notebook(source, stored):
    """A notebook of one cell and what it prints, in normal form."""
    output = {"name": "stdout", "output_type": "stream", "text": stored}
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "only",
        "metadata": {},
        "outputs": [output] if stored else [],
        "source": source,
    }
    nb = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return normal_form(nb)


@pytest.fixture
def course(tmp_path):
    """A checkout with a package of one module; a function that runs one cell from it."""
    root = tmp_path / "root"
    (root / "src" / "course_utils").mkdir(parents=True)
    (root / "src" / "course_utils" / "__init__.py").write_text("WHERE = __file__\n")
    (root / "notebooks").mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    count = iter(range(9))

    def run(source, stored, threads=1):
        (root / "notebooks" / "01_one.ipynb").write_text(notebook(source, stored), "utf-8")
        copy = tmp_path / f"copy{next(count)}"
        copy.mkdir()
        anywhere.copy_of(root, copy)
        found = anywhere.try_notebook(copy, "01_one.ipynb", threads)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755)
        return found

    return run


CONDITIONS = """\
import locale, os, socket, time
from pathlib import Path
import course_utils
print("HOME" in os.environ, os.environ["OMP_NUM_THREADS"], os.environ["TZ"])
print("/root/" in course_utils.WHERE, os.access(course_utils.WHERE, os.W_OK) and os.getuid() > 0)
print(Path.cwd() in Path(course_utils.WHERE).parents, os.listdir())
print(locale.getpreferredencoding(False) in ("US-ASCII", "ascii", "ANSI_X3.4-1968"))
try:
    socket.create_connection(("192.0.2.1", 80), timeout=1)
except OSError as error:
    print(error.errno in (101, -3))
"""
SAID = """\
False 1 Pacific/Chatham
False False
False []
True
True
"""


def test_the_conditions_are_what_is_said(course):
    assert course(CONDITIONS, SAID) == []


def test_an_output_that_depends_on_them_is_found(course):
    source = "import os\nprint(os.environ['LC_ALL'], os.environ['OMP_NUM_THREADS'])"
    assert course(source, "POSIX 1\n", threads=1) == []
    (line,) = course(source, "POSIX 1\n", threads=4)
    assert "'POSIX 1' is now 'tr_TR.UTF-8 4'" in line


def test_what_a_notebook_leaves_behind_is_found(course):
    (line,) = course("from pathlib import Path\n_ = Path('left.txt').write_text('x')", "")
    assert line == "left left.txt in its working directory"


def test_a_checkout_that_is_written_to_is_found(course):
    source = (
        "import course_utils, os\nfrom pathlib import Path\nhere = Path(course_utils.WHERE)\n"
        "os.chmod(here.parent, 0o755)\n_ = (here.parent / 'new.txt').write_text('x')"
    )
    assert any(line.endswith("course_utils/new.txt") for line in course(source, ""))


def test_the_numbers_of_notebooks_are_checked(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_one.ipynb").write_text(json.dumps({}))
    assert anywhere.main(["02"], tmp_path) == 2
    assert "02" in capsys.readouterr().err


def test_copies_hold_what_git_would_take_and_no_more(tmp_path):
    root, copy = tmp_path / "root", tmp_path / "copy"
    root.mkdir()
    copy.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / ".gitignore").write_text("left/\n")
    (root / "left").mkdir()
    (root / "left" / "a.txt").write_text("x")
    (root / "b.txt").write_text("x")
    anywhere.copy_of(root, copy)
    files = {str(p.relative_to(copy)) for p in Path(copy).rglob("*") if p.is_file()}
    assert files == {".gitignore", "b.txt"}
    assert (copy / "b.txt").stat().st_mode & 0o222 == 0
    copy.chmod(0o755)
