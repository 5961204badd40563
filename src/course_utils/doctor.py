"""What the course needs, what is here, and what mends the rest: ``python -m course_utils doctor``.

Nothing here needs more than Python itself: packages are imported only where they are found, and a
package that fails at import is a line of the report.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from course_utils import requirements
from course_utils.console import say, takes_marks
from course_utils.folders import can_write, data_folder
from course_utils.requirements import BASE, TORCH, Requirement, pip_arguments

_WINDOWS = os.name == "nt"
_NEEDED = 120  # MB on the disk: both data sets, unpacked
_SETS = (  # name, folder, function of course_utils.data, MB to fetch
    ("MNIST", "MNIST", "mnist", 12),
    ("Fashion-MNIST", "FashionMNIST", "fashion_mnist", 31),
)


class Line(NamedTuple):
    """One line of the report.

    Attributes:
        mark: ✓ as it should be, ✗ a problem, ○ good to know.
        text: what was found.
        mend: the command that mends it, and the problems right before it that have none.
    """

    mark: str
    text: str
    mend: str = ""


def main() -> int:
    """Print the report, each line as soon as it is known; 1 where there is a problem, else 0."""
    problems = 0
    for line in examine():
        say(f"{line.mark} {line.text}", flush=True)
        if line.mend:
            say(f"      {line.mend}", flush=True)
        problems += line.mark == "✗"
    say(f"{problems or 'No'} problem{'' if problems == 1 else 's'}.")
    return int(problems > 0)


def examine() -> Iterator[Line]:
    """Look at one thing after the other."""
    yield _python()
    yield Line("✓", f"course_utils {_course_version()}, from {Path(__file__).parent}")
    failing: set[str] = set()
    yield from _pip()
    yield from _packages(BASE, failing)
    yield from _packages(TORCH, failing, " (from chapter 04 on)")
    yield from _device(failing)
    yield from _data()
    yield _console()
    yield _kernel()


def program() -> str:
    """Return how to call this Python: ``python`` where a shell finds this one under that name."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and _same(found, sys.executable):
            return name
    path = sys.executable or "python"
    if not _WINDOWS:
        return shlex.quote(path)
    return f'"{path}"' if " " in path else path  # PowerShell wants an & before the quotes


def _same(one: str, other: str) -> bool:
    """Compare paths as they are: a virtual environment's Python may be a link to another one."""
    return os.path.normcase(os.path.abspath(one)) == os.path.normcase(os.path.abspath(other))


def _pip_install(packages: str, option: str = "") -> str:
    """Return the command that installs packages; into a new environment beside a system Python."""
    if _is_the_systems():
        return f"{program()} -m venv .venv && .venv/bin/python -m pip install {packages}"
    return f"{program()} -m pip install {option}{packages}"


def _is_the_systems() -> bool:
    """Tell whether this Python belongs to the system, which then lets pip install nothing."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return sys.prefix == sys.base_prefix and marker.is_file()


def _set_variable(name: str, value: str) -> str:
    """Return the command that sets an environment variable; on Windows, for new windows."""
    if _WINDOWS:
        return f'setx {name} "{value}"'
    return f"export {name}={shlex.quote(value)}"


def _python() -> Line:
    least = ".".join(map(str, requirements.PYTHON))
    here = f"Python {platform.python_version()} on {platform.platform()}"
    if sys.version_info < requirements.PYTHON:
        mend = f"install Python {least} or newer: https://www.python.org/downloads/"
        return Line("✗", f"{here}: {least} or newer is needed", mend)
    return Line("✓", f"{here}, {sys.executable}")


def _course_version() -> str:
    try:
        return importlib.metadata.version("course-utils")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed by pip)"


def _pip() -> Iterator[Line]:
    """Say where the commands below have no pip to run."""
    if not requirements.unmet(BASE + TORCH) or _is_the_systems():
        return
    if importlib.util.find_spec("pip") is None:
        yield Line("✗", "pip is missing", f"{program()} -m ensurepip --upgrade")


def _packages(group: tuple[Requirement, ...], failing: set[str], when: str = "") -> Iterator[Line]:
    """Look at packages; the names of those that are missing, too old or broken go to failing."""
    lacking = dict(requirements.unmet(group))
    failing |= {requirement.name for requirement in lacking}
    broken: dict[Requirement, str] = {}
    for requirement in group:
        if requirement in lacking:
            continue
        text = f"{requirement.name} {requirements.version(requirement)}"
        waits = _waits_for(requirement, failing)
        error = None if waits else _import_error(requirement)
        if waits:
            yield Line("○", f"{text}: cannot be tried before {waits} is mended")
        elif error:
            failing.add(requirement.name)
            broken[requirement] = f"{text} cannot be imported: {error}"
        else:
            yield Line("✓", text)
    for requirement, found in lacking.items():
        what = f"is {found}, too old" if found else "is missing"
        text = f"{requirement.name} {what}: {requirement.lowest} or newer is needed{when}"
        last = requirement == list(lacking)[-1]
        yield Line("✗", text, _pip_install(pip_arguments(lacking)) if last else "")
    for requirement, text in broken.items():
        again = _pip_install(pip_arguments(broken), "--force-reinstall ")
        yield Line("✗", text, again if requirement == list(broken)[-1] else "")


def _waits_for(requirement: Requirement, failing: set[str]) -> str:
    """Return what has to be mended before this package can be imported at all."""
    needs = {"numpy": (), "tqdm": (), "torch": (), "torchvision": ("numpy", "torch")}
    return next((name for name in needs.get(requirement.name, ("numpy",)) if name in failing), "")


def _import_error(requirement: Requirement) -> str:
    """Return in one line why a package cannot be imported, "" where it can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if requirement.name == "torchvision":
                from course_utils import runtime

                runtime.torchvision()
            else:
                importlib.import_module(requirement.module)
    except Exception as error:
        return _in_one_line(error)
    return ""


def _in_one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:160] if lines else type(error).__name__


def _device(failing: set[str]) -> Iterator[Line]:
    if "torch" in failing:
        yield Line("○", "device: not known without PyTorch")
    elif "numpy" in failing:
        yield Line("○", "device: cannot be asked for before numpy is mended")
    else:
        try:
            from course_utils import runtime

            device = runtime.device()
            torch = sys.modules["torch"]
            gpu = f" {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
            yield Line("✓", f"device: {device}{gpu}")
        except Exception as error:
            without = _set_variable("CUDA_VISIBLE_DEVICES", "")  # the CPU will do
            yield Line("✗", f"device: {_in_one_line(error)}", without)


def _data() -> Iterator[Line]:
    try:
        folder = data_folder()
    except RuntimeError as error:  # nothing tells where the home is
        yield Line("✗", f"data: {error}", _another_folder())
        return
    mnist: ModuleType | None = None
    try:
        mnist = importlib.import_module("course_utils.mnist")
    except Exception:  # the packages' own lines say why
        yield Line("○", f"data: {folder} cannot be read before the packages above are mended")
    lacks = False
    for name, below, function, size in _SETS:
        raw = folder / below / "raw"
        if mnist is None:
            lacks |= not os.path.isdir(raw)
        elif mnist.available(name):
            yield Line("✓", f"{name}: whole, in {raw}")
        else:
            lacks = True
            fetch = f'{program()} -c "from course_utils import data; data.{function}()"'
            faults = mnist.faults(name)
            if list(faults.values()) != ["is missing"] * 4:
                said = "; ".join(f"{file} {fault}" for file, fault in faults.items())
                yield Line("✗", f"{name}: not whole, in {raw}: {said}", fetch)
            else:
                text = f"{name}: not in {raw} yet; a chapter that needs it fetches {size} MB"
                yield Line("○", text, fetch)
    yield _room(folder, lacks)


def _room(folder: Path, lacks: bool) -> Line:
    """Say whether the folder takes what it lacks."""
    named = "named by COURSE_DATA" if os.environ.get("COURSE_DATA") else "the user's cache"
    text = f"data folder: {folder}, {named}"
    there = next((path for path in (folder, *folder.parents) if os.path.exists(path)), folder)
    try:
        free = shutil.disk_usage(there).free // 1_000_000
    except OSError as error:
        return Line("✗", f"{text}, cannot be looked at: {error.strerror}", _another_folder())
    writable = can_write(folder)
    text += f"; {'can' if writable else 'cannot'} be written, {free} MB free"
    if lacks and not writable:
        return Line("✗", text, _another_folder())
    if lacks and free < _NEEDED:
        return Line("✗", f"{text}: {_NEEDED} MB are needed", _another_folder())
    return Line("✓", text)


def _another_folder() -> str:
    try:
        folder = Path.home() / "course_data"
    except RuntimeError:
        folder = Path(tempfile.gettempdir()) / "course_data"
    return _set_variable("COURSE_DATA", str(folder))


def _console() -> Line:
    encoding = getattr(sys.stdout, "encoding", None)
    if encoding is None:
        return Line("○", "console: does not name its encoding")
    if takes_marks(encoding):
        return Line("✓", f"console: {encoding}, takes all marks")
    text = f"console: {encoding}, so the marks are ✓ ✗ ○; signs that it lacks are spelled in ASCII"
    return Line("○", text, _set_variable("PYTHONIOENCODING", "utf-8"))


def _kernel() -> Line:
    if importlib.util.find_spec("ipykernel") is None:
        text = "ipykernel is missing: notebooks cannot run on this Python"
        return Line("✗", text, _pip_install("ipykernel"))
    try:
        return Line("✓", f"notebook kernel: ipykernel {importlib.metadata.version('ipykernel')}")
    except importlib.metadata.PackageNotFoundError:
        return Line("✓", "notebook kernel: ipykernel")
