"""What holds for the project as a whole: versions, style, types, what the README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
ASKED = [
    (Requirement(text), comment)
    for text, comment in re.findall(r'^  "([\w.-]+[<>=].*?)",(.*)$', PYPROJECT, flags=re.M)
]


def test_every_dependency_is_a_range_with_a_reason():
    assert {r.name for r, _ in ASKED} >= {"numpy", "matplotlib", "jupyter-book", "nbval", "torch"}
    for requirement, comment in ASKED:
        assert str(requirement.specifier).startswith((">=", "<")), requirement
        assert re.match(r"\s*# \w", comment) or "torch" in requirement.name, requirement


def test_every_pin_is_exact():
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in PINS)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_every_dependency_has_one_pin_inside_its_range(python, platform):
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
        "platform_machine": "x86_64",
    }
    for requirement, _ in ASKED:
        pins = [
            pin
            for pin in PINS
            if pin.name.lower() == requirement.name.lower()
            and (pin.marker is None or pin.marker.evaluate(environment))
        ]
        assert len(pins) == 1, requirement
        (version,) = (specifier.version for specifier in pins[0].specifier)
        assert requirement.specifier.contains(version), (requirement, version)


@pytest.mark.parametrize("command", [["format", "--check", "."], ["check", "."]])
def test_code_and_notebooks_are_formatted_and_linted(command):
    run([sys.executable, "-m", "ruff", *command])


def test_types_hold():
    run([sys.executable, "-m", "mypy"])


def run(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def tracked_text():
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if names.returncode != 0:
        pytest.skip("not a git checkout")
    for name in names.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix != ".png":
            yield name, path.read_text(encoding="utf-8")


def test_readme_commands_exist_and_its_files_too():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"`?make ([a-z-]+)", readme)) - {"sure"} <= targets
    for link in re.findall(r"\]\(((?!https?:)[^)]+)\)", readme):
        assert (ROOT / link).exists(), link


def test_every_module_is_named_in_no_grab_bag():
    names = {path.stem for path in (ROOT / "src").rglob("*.py")}
    assert not names & {"utils", "helpers", "common", "misc"}


def test_text_files_end_in_one_newline_and_hold_no_tabs_or_trailing_blanks():
    for name, text in tracked_text():
        if name.endswith((".py", ".md", ".toml", ".yml", ".css", ".txt")):
            assert text.endswith("\n") and not text.endswith("\n\n"), name
            assert "\t" not in text and not re.search(r" +$", text, flags=re.M), name
