"""The doctor runs where nothing else does, finds what is missing, and says what mends it."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils import __main__ as commands
from course_utils import doctor, mnist, requirements, runtime
from course_utils.doctor import Line

SRC = Path(__file__).parents[1] / "src"
# A Python that sees the package and nothing else: no site-packages, no environment variables.
BARE = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1));"
    "runpy.run_module('course_utils', run_name='__main__', alter_sys=True)"
)


def bare(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", BARE, str(SRC), *arguments],
        env=os.environ | {"PYTHONWARNINGS": "error"} | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def marked(lines, mark):
    return [line.text for line in lines if line.mark == mark]


def test_it_runs_with_nothing_installed_and_names_each_missing_package(tmp_path):
    done = bare("doctor", COURSE_DATA=str(tmp_path))
    assert done.stderr == "" and done.returncode == 1
    for requirement in requirements.BASE + requirements.TORCH:
        assert f"✗ {requirement.name} is missing: {requirement.lowest} or newer" in done.stdout
        assert f'"{requirement}"' in done.stdout
    assert f"data: {tmp_path} cannot be read" in done.stdout
    assert "✗ ipykernel is missing" in done.stdout
    n = sum(line.startswith("✗") for line in done.stdout.splitlines())
    assert n >= 9 and done.stdout.splitlines()[-1] == f"{n} problems."


def test_every_problem_is_followed_by_a_command_and_each_package_by_one():
    lines = bare("doctor").stdout.splitlines()
    for line, after in zip(lines, lines[1:], strict=False):
        if line.startswith("✗"):
            assert after.startswith(("✗", "      ")), line
    installs = [line for line in lines if " -m pip install " in line]
    assert len(installs) == 3  # for all chapters, from chapter 04 on, the kernel


def test_the_other_commands_run_with_nothing_installed_too():
    done = bare("progress")
    assert done.returncode == 0 and done.stderr == "" and "18.5" in done.stdout
    done = bare()
    assert done.returncode == 0 and "doctor" in done.stdout and "progress" in done.stdout


@pytest.mark.parametrize("arguments", [["docter"], ["doctor", "now"], ["-x"]])
def test_an_unknown_command_is_one_line_that_says_what_there_is(arguments, capsys):
    assert commands.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err == f"expected doctor or progress, got {' '.join(arguments)!r}\n"


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A machine on which nothing is missing, with an empty data folder."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(doctor, "_import_error", lambda requirement: "")
    monkeypatch.setattr(requirements, "version", lambda requirement: "99.0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(doctor, "_device", lambda failing: iter(()))
    return tmp_path


def test_a_machine_that_has_all_has_no_problem(here, capsys):
    assert doctor.main() == 0
    out = capsys.readouterr().out
    assert "✗" not in out and out.endswith("\nNo problems.\n")
    assert f"from {SRC / 'course_utils'}\n" in out


def test_one_problem_is_counted_as_one(here, capsys, monkeypatch):
    monkeypatch.setattr(
        requirements, "version", lambda r: "1.2" if r.name == "scikit-learn" else "99"
    )
    assert doctor.main() == 1
    out = capsys.readouterr().out
    assert "✗ scikit-learn is 1.2, too old: 1.3 or newer is needed\n" in out
    assert out.endswith("\n1 problem.\n")
    (command,) = re.findall("^      (.* -m pip install .*)$", out, re.M)
    assert shlex.split(command)[-1] == "scikit-learn>=1.3"


def test_a_python_that_is_too_old_is_a_problem(here, monkeypatch):
    monkeypatch.setattr(requirements, "PYTHON", (99, 1))
    (text,) = marked(doctor.examine(), "✗")
    assert text.endswith("99.1 or newer is needed")


def test_a_package_that_fails_at_import_is_one_line(here, monkeypatch):
    monkeypatch.setattr(
        doctor, "_import_error", lambda r: "OSError: c10.dll" if r.name == "torch" else ""
    )
    lines = list(doctor.examine())
    (line,) = [line for line in lines if line.mark == "✗"]
    assert line.text == "torch 99.0 cannot be imported: OSError: c10.dll"
    assert "--force-reinstall" in line.mend and '"torch>=2.2"' in line.mend
    assert "torchvision 99.0: cannot be tried before torch is mended" in marked(lines, "○")


def test_a_torch_that_raises_anything_is_said_in_one_line(tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libc10.so: no\\nsuch file')")
    (tmp_path / "torch-2.2.0.dist-info").mkdir()
    (tmp_path / "torch-2.2.0.dist-info" / "METADATA").write_text("Name: torch\nVersion: 2.2.0\n")
    done = subprocess.run(
        [sys.executable, "-m", "course_utils", "doctor"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(SRC)])},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 1 and done.stderr == ""
    assert "✗ torch 2.2.0 cannot be imported: OSError: libc10.so: no\n" in done.stdout
    assert "such file" not in done.stdout
    assert "device: not known without PyTorch" in done.stdout


def test_torchvision_is_imported_as_the_course_does(monkeypatch):
    def fails():
        raise RuntimeError("the course failed")

    monkeypatch.setattr(runtime, "torchvision", fails)
    error = doctor._import_error(requirements.TORCH[1])
    assert error == "RuntimeError: the course failed"


def test_the_device_is_that_of_the_course():
    torch = pytest.importorskip("torch")
    (line,) = doctor._device(set())
    assert line.mark == "✓" and str(runtime.device()) in line.text and torch
    assert marked(doctor._device({"torch"}), "○") == ["device: not known without PyTorch"]


# Data


def data_lines():
    return {line.text.split(":")[0]: line for line in doctor._data()}


def test_data_that_are_not_there_are_no_problem_and_may_be_fetched(here):
    lines = data_lines()
    for name, function in (("MNIST", "mnist"), ("Fashion-MNIST", "fashion_mnist")):
        assert lines[name].mark == "○"
        assert lines[name].mend.endswith(f'-c "from course_utils import data; data.{function}()"')
    assert lines["data folder"].mark == "✓" and str(here / "data") in lines["data folder"].text
    assert not (here / "data").exists()  # looking makes nothing


def test_data_that_are_whole_need_no_room_and_no_right_to_write(here, monkeypatch):
    monkeypatch.setattr(mnist, "available", lambda name: True)
    monkeypatch.setattr(doctor, "can_write", lambda folder: False)
    assert {line.mark for line in doctor._data()} == {"✓"}


def test_damaged_and_missing_files_are_named(here):
    raw = here / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-labels-idx1-ubyte").write_bytes(b"half")
    line = data_lines()["MNIST"]
    assert line.mark == "✗" and "train-labels-idx1-ubyte has 4 bytes in place of" in line.text
    assert "t10k-images-idx3-ubyte is missing" in line.text and "data.mnist()" in line.mend


def test_a_folder_that_cannot_be_written_is_a_problem(here, monkeypatch):
    (here / "file").write_text("")
    monkeypatch.setenv("COURSE_DATA", str(here / "file" / "below"))
    line = data_lines()["data folder"]
    assert line.mark == "✗" and "cannot be written" in line.text
    assert "named by COURSE_DATA" in line.text and "COURSE_DATA" in line.mend


def test_a_disk_that_is_full_is_a_problem(here, monkeypatch):
    usage = doctor.shutil.disk_usage(here)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage._replace(free=9_000_000))
    line = data_lines()["data folder"]
    assert line.mark == "✗" and "9 MB free: 120 MB are needed" in line.text


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    (line,) = doctor._data()
    assert line.mark == "✗" and "COURSE_DATA" in line.mend


# Console, kernel, commands


def test_it_says_which_marks_the_console_takes():
    done = bare("doctor", PYTHONIOENCODING="ascii")
    assert "✓ console: utf-8" in done.stdout  # -I ignores the variable
    command = [sys.executable, "-S", "-m", "course_utils", "doctor"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(SRC)}
    out = subprocess.run(command, env=environment, capture_output=True, encoding="ascii").stdout
    assert "[..] console: ascii, so the marks are [ok] [no] [..];" in out
    assert "[no] numpy is missing" in out


def test_a_missing_kernel_is_a_problem(here, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (text,) = marked(doctor.examine(), "✗")
    assert text.startswith("ipykernel is missing")


@pytest.mark.parametrize(
    ("system", "executable", "on_path", "said"),
    [
        ("posix", "/env/bin/python", "/env/bin/python", "python"),
        ("posix", "/env/bin/python", "/usr/bin/python", "/env/bin/python"),
        ("posix", "/my env/bin/python", None, "'/my env/bin/python'"),
        ("nt", r"C:\env\python.exe", None, r"C:\env\python.exe"),
        ("nt", r"C:\My Env\python.exe", None, r'"C:\My Env\python.exe"'),
        ("posix", "", None, "python"),
    ],
)
def test_the_command_calls_this_python(system, executable, on_path, said, monkeypatch):
    monkeypatch.setattr(doctor, "_WINDOWS", system == "nt")
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(doctor.shutil, "which", lambda n: on_path if n == "python" else None)
    assert doctor.program() == said


@pytest.mark.parametrize(
    ("windows", "command"),
    [(False, "export COURSE_DATA='/my data'"), (True, 'setx COURSE_DATA "/my data"')],
)
def test_a_variable_is_set_as_the_system_does(windows, command, monkeypatch):
    monkeypatch.setattr(doctor, "_WINDOWS", windows)
    assert doctor._set_variable("COURSE_DATA", "/my data") == command


def test_a_python_of_the_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(doctor, "_is_the_systems", lambda: True)
    assert doctor._pip_install('"numpy>=1.26"').endswith(
        ' -m venv .venv && .venv/bin/python -m pip install "numpy>=1.26"'
    )


def test_a_missing_pip_comes_before_the_commands_that_need_it(here, monkeypatch):
    monkeypatch.setattr(doctor, "_is_the_systems", lambda: False)
    monkeypatch.setattr(requirements, "version", lambda requirement: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "pip" else object())
    problems = [line for line in doctor.examine() if line.mark == "✗"]
    assert problems[0] == Line("✗", "pip is missing", problems[0].mend)
    assert problems[0].mend.endswith(" -m ensurepip --upgrade")


def test_the_pages_that_send_readers_to_the_doctor_name_its_command():
    root = SRC.parent
    page = (root / "book" / "how_to_use.md").read_text(encoding="utf-8")
    assert "python -m course_utils doctor" in page and "course_utils.runtime" not in page
    assert "python -m course_utils progress" in page and "COURSE_PROGRESS" in page
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert "course_utils doctor" in readme and "course_utils progress" in readme


def test_in_a_notebook_a_problem_is_a_report_and_no_failure(tmp_path):
    """%run shows an exit status as a traceback."""
    look = "runpy.run_module('course_utils', run_name='__main__')\n"
    code = "import builtins, runpy, sys\nsys.argv = ['course_utils', 'doctor']\n"
    code += f"builtins.get_ipython = lambda: None\n{look}print('went on')\n"
    code += f"del builtins.get_ipython\n{look}print('went on')\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "COURSE_DATA": os.devnull},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    in_notebook, mark, in_terminal = done.stdout.partition("went on\n")
    for printed in (in_notebook, in_terminal):
        assert re.search(r"^[1-9]\d* problems?\.$", printed, re.M), done
    assert mark and "went on" not in in_terminal and done.returncode == 1
