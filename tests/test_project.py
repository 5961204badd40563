"""What holds for the project as a whole: versions, style, types, what the README says."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def closure(names: Iterable[str]) -> set[str]:
    """These distributions and all that they require, by their normal names."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name in found or requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            waiting += requires(name) or []
        except PackageNotFoundError:
            continue
        found.add(name)
    return found


@pytest.mark.parametrize(
    ("group", "files"), [("book", "book/_ext/**/*.py"), ("pdf", "tools/pdf.py")]
)
def test_what_a_group_installs_holds_all_that_its_programs_import(group: str, files: str) -> None:
    lists = dict(re.findall(r"^(\w+) = \[\n(.*?)^\]", PYPROJECT, flags=re.M | re.S))
    asked = "".join(lists[name] for name in ("dependencies", "book", group))
    installed = closure(re.findall(r'^  "([\w.-]+[<>=].*?)",', asked, flags=re.M))
    owners = packages_distributions()
    for path in ROOT.glob(files):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                named = [node.module]
            for top in {name.partition(".")[0] for name in named} - set(sys.stdlib_module_names):
                makers = {canonicalize_name(owner) for owner in owners.get(top, [])}
                ours = (ROOT / "tools" / f"{top}.py").exists() or top == "course_utils"
                assert ours or makers & installed, f"{path.name} imports {top}"
