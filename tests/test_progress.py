"""What check notes of right answers: the number and the date, and nothing for shipped solutions."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

import notebooks
from course_utils import folders, progress
from course_utils.exercises import answers, check

ROOT = Path(__file__).parents[1]
TODAY = "2027-03-09"


class Calendar(date):
    """A day that no midnight ends while tests run."""

    @classmethod
    def today(cls):
        return cls.fromisoformat(TODAY)


@pytest.fixture(autouse=True)
def calendar(monkeypatch):
    monkeypatch.setattr(progress, "date", Calendar)


def count_parameters(sizes):
    return sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))


def reconstruction_error(x, encode, decode):
    return ((x - decode(encode(x))) ** 2).sum(axis=1).mean()


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "new" / "progress.txt"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    return path


def listed(capsys):
    capsys.readouterr()
    assert progress.main() == 0
    return capsys.readouterr().out


def test_a_right_answer_is_noted_once_with_its_date_and_nothing_else(file):
    check("01.2", reconstruction_error)
    check("01.1", count_parameters)
    check("01.2", reconstruction_error)
    assert file.read_text() == f"01.2 {TODAY}\n01.1 {TODAY}\n"


def test_other_answers_are_not_noted(file):
    check("01.1", lambda sizes: sum(sizes))
    check("01.1", lambda sizes: ...)
    check("01.1", ...)
    assert not file.exists()


def test_the_packages_own_solution_is_not_noted(file):
    check("01.1", *answers.find("01.1").solution)
    assert not file.exists()


def test_the_file_is_appended_to_and_never_rewritten(file):
    file.parent.mkdir()
    file.write_text("mine\n01.2 2020-02-29\r\n01.1 soon\n\n01.3 2020-01-01 and more\n01.5")
    check("01.2", reconstruction_error)
    before = file.read_bytes()
    check("01.1", count_parameters)
    assert file.read_bytes() == before + f"\n01.1 {TODAY}\n".encode()


def test_a_file_of_anything_is_read_and_only_its_good_lines_count(file, capsys):
    file.parent.mkdir()
    file.write_bytes(b"\xff\x00 01.1\n 01.3 2020-01-01\n99.9 2020-01-01\n01.2 2020-02-29\n")
    out, total = listed(capsys), sum(len(numbers) for _, _, numbers in progress.exercises())
    assert "✓ 01.2 2020-02-29\n" in out and out.count("✓") == 1 and f"\n1 of {total} " in out


def test_the_list_has_every_exercise_its_chapter_the_totals_and_the_place(file, capsys):
    numbers = [number for _, _, numbers in progress.exercises() for number in numbers]
    assert len(numbers) == len(set(numbers)) > 90
    for chapter, _, those in progress.exercises():
        module = answers.importlib.import_module(f"course_utils.exercises.chapter{chapter}")
        assert those == sorted(e.number for e in module.EXERCISES)
    check("01.1", count_parameters)
    out = listed(capsys)
    assert out.startswith(f"01 What is an autoencoder?: 1 of 5\n  ✓ 01.1 {TODAY}\n  ○ 01.2\n")
    assert out.endswith(
        f"1 of {len(numbers)} exercises are right.\n"
        f"It is noted in {file}; delete that file to start afresh.\n"
    )


def test_titles_are_those_of_the_chapters():
    for path, (chapter, title, _) in zip(
        notebooks.notebooks(ROOT), progress.exercises(), strict=True
    ):
        assert path.name.startswith(chapter)
        assert notebooks.heading(notebooks.load(path)["cells"]).endswith(title)


def test_off_notes_nothing_and_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    check("01.1", count_parameters)
    assert "COURSE_PROGRESS is off" in listed(capsys) and not list(tmp_path.iterdir())


def test_tests_and_stored_outputs_note_nothing(tmp_path):
    assert os.environ["COURSE_PROGRESS"] == "off"  # set by conftest.py
    os.environ["COURSE_PROGRESS"] = "elsewhere"
    try:
        assert notebooks.kernel_environment(str(tmp_path))["COURSE_PROGRESS"] == "off"
    finally:
        os.environ["COURSE_PROGRESS"] = "off"


# Where it lies


@pytest.mark.parametrize(
    ("platform", "variable", "below"),
    [
        ("linux", "XDG_DATA_HOME", ".local/share"),
        ("darwin", None, "Library/Application Support"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
    ],
)
def test_it_lies_in_the_users_data(platform, variable, below, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("COURSE_PROGRESS")
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    usual = Path.home() / below / "course_utils" / "progress.txt"
    assert folders.progress_file() == usual
    other = {"XDG_DATA_HOME", "LOCALAPPDATA"} - {variable}
    for name in other:  # belongs to another system
        monkeypatch.setenv(name, str(tmp_path))
    assert folders.progress_file() == usual
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
        assert folders.progress_file() == tmp_path / "course_utils" / "progress.txt"
        monkeypatch.setenv(variable, "here")  # not absolute: no answer, says XDG
        assert folders.progress_file() == usual


def test_course_progress_names_another_file(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "~/mine.txt")
    assert folders.progress_file() == Path.home() / "mine.txt"


# Where it cannot be


def no_home():
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("trouble", ["a folder", "below a file", "no home", "a pipe", "unwritable"])
def test_where_nothing_can_be_noted_check_answers_as_before(trouble, monkeypatch, tmp_path, capsys):
    path = tmp_path / "file"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    if trouble == "a folder":
        path.mkdir()
    elif trouble == "below a file":
        path.write_text("")
        monkeypatch.setenv("COURSE_PROGRESS", str(path / "below"))
    elif trouble == "no home":
        monkeypatch.delenv("COURSE_PROGRESS")
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        monkeypatch.setattr(Path, "home", no_home)
    elif trouble == "a pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes with names here")
        os.mkfifo(path)
    else:

        def refuse(*args):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    check("01.1", count_parameters)
    out, err = capsys.readouterr()
    assert out == "✓ 01.1 is right, in all 5 cases.\n" and err == ""
    assert listed(capsys).count("✓") == 0


def test_an_answer_that_resists_being_looked_at_is_still_right(file, capsys):
    class Sly:
        def __call__(self, sizes):
            return count_parameters(sizes)

        def __getattr__(self, name):
            if name == "__code__":
                raise KeyError(name)
            raise AttributeError(name)

    progress.note_right("01.1", (Sly(),))
    assert capsys.readouterr() == ("", "")


def test_many_at_once_leave_whole_lines(file):
    numbers = [number for _, _, numbers in progress.exercises() for number in numbers]
    file.parent.mkdir()
    code = (
        "import sys; from pathlib import Path; from course_utils import progress\n"
        "for n in sys.argv[2:]: progress._append(Path(sys.argv[1]), n + ' 2026-11-26\\n')"
    )
    command = [sys.executable, "-c", code, str(file), *numbers]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: subprocess.run(command, check=True), range(3)))
    lines = file.read_text().splitlines()
    assert len(lines) == 3 * len(numbers) and {line[:5].strip() for line in lines} == set(numbers)


def test_a_line_is_one_write_at_the_end_of_the_file(file, monkeypatch):
    writes, flags = [], []
    real_open, real_write = os.open, os.write
    monkeypatch.setattr(os, "write", lambda h, b: writes.append(b) or real_write(h, b))
    monkeypatch.setattr(os, "open", lambda p, f, *m: flags.append(f) or real_open(p, f, *m))
    progress.note_right("01.1", (count_parameters,))
    assert writes == [f"01.1 {TODAY}\n".encode()] and flags[0] & os.O_APPEND


# In a notebook

SOLUTION = """# @title Solution 01.1
def count_parameters(sizes):
    return sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:]))


check("01.1", count_parameters)"""
LEARNER = SOLUTION.replace("# @title Solution 01.1\n", "")
OTHERS = """
def from_cell(check, f): check("01.1", f)
class Answer:
    def __call__(self, sizes): return sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:]))
"""
IMPORTS = "from functools import partial\nfrom course_utils.exercises import check"
RECHECK = 'check("01.1", count_parameters)'


@pytest.mark.parametrize(
    ("cells", "noted"),
    [
        (["def count_parameters(sizes): ...\n\n" + RECHECK, SOLUTION], False),  # run all
        ([SOLUTION, RECHECK], False),
        ([SOLUTION, 'check("01.1", partial(count_parameters))'], False),
        (["\n" + SOLUTION], False),
        (["# @title Solution 01.1" + OTHERS + 'check("01.1", Answer())'], False),
        (["# @title Solution 01.1" + OTHERS, 'check("01.1", Answer())'], False),
        ([LEARNER.replace("check(", "0 and check("), "# @title Solution 01.1\n" + RECHECK], False),
        ([SOLUTION, LEARNER], True),
        ([LEARNER, SOLUTION], True),
        ([OTHERS + 'check("01.1", Answer())'], True),
        (["f = lambda s: sum((a + 1) * b for a, b in zip(s, s[1:]))", 'check("01.1", f)'], True),
        (["# see the Solution\n" + LEARNER], True),
    ],
)
def test_only_the_learners_own_answer_is_noted_in_ipython(cells, noted, file, ipython):
    ipython.run_cell(IMPORTS, store_history=True)
    for cell in cells:
        assert ipython.run_cell(cell, store_history=True).success
    assert file.exists() == noted


@pytest.fixture
def ipython(tmp_path, monkeypatch):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    config = pytest.importorskip("traitlets.config").Config()
    config.HistoryManager.hist_file = ":memory:"  # else its end writes into a folder that has gone
    yield shell.instance(config=config)
    shell.clear_instance()


def test_a_real_kernel_keeps_the_two_apart(file, monkeypatch, tmp_path):
    pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")

    def run(*sources):
        nb = nbformat.v4.new_notebook()
        nb.cells = [nbformat.v4.new_code_cell(source) for source in sources]
        notebooks.execute(nb, tmp_path)

    real = notebooks.kernel_environment
    monkeypatch.setattr(
        notebooks,
        "kernel_environment",
        lambda *given: real(*given) | {"COURSE_PROGRESS": str(file)},
    )
    run(IMPORTS, SOLUTION, RECHECK)
    assert not file.exists()
    before = date.today()
    run(IMPORTS, SOLUTION, LEARNER)
    assert file.read_text() in {f"01.1 {day}\n" for day in (before, date.today())}


def test_every_solution_cell_begins_as_the_recorder_expects():
    for path in notebooks.notebooks(ROOT):
        for cell in notebooks.load(path)["cells"]:
            source = cell["source"]
            is_solution = "solution" in notebooks.tags(cell)
            assert is_solution == source.startswith(progress._SOLUTION), (path.name, source[:60])
