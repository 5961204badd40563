"""The files with hashes, the list of licences: they agree with constraints.txt and pyproject.toml.

Nothing here asks the network. `make lock` and `make licences` mend what these tests find.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from itertools import product
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import licences
import lock

ROOT = Path(__file__).parents[1]
HASHED = ("book", "test", "torch", "lock")
NAMES = {name: f"requirements/{name}.txt" for name in HASHED}
NAMES |= {"constraints": "constraints.txt", "pyproject": "pyproject.toml"}
NAMES |= {"licences": "requirements/licences.md"}
FILES = {name: (ROOT / path).read_text(encoding="utf-8") for name, path in NAMES.items()}
GROUPS = {"book": ["dependencies", "book"], "torch": ["torch", "lab", "pdf", "test"]}
ENVIRONMENTS = [
    {
        **default_environment(),
        **platform,
        "python_version": python,
        "python_full_version": f"{python}.{micro}",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for (platform, _), (python, micro) in product(
        licences.PLATFORMS, [("3.10", 0), ("3.11", 0), ("3.11", 9), ("3.12", 0), ("3.13", 0)]
    )
]


@cache
def requirements(text: str) -> list[Requirement]:
    """The requirements of a file, without their hashes."""
    return [Requirement(block.splitlines()[0].rstrip(" \\")) for block in lock.blocks(text)]


def counted(pins: Iterable[Requirement], environment: dict[str, str]) -> dict[str, str]:
    """What these pins install in an environment: the version of each package."""
    return {
        canonicalize_name(pin.name): str(pin.specifier)
        for pin in pins
        if not pin.marker or pin.marker.evaluate(environment)
    }


def asked(pyproject: str, lists: Iterable[str]) -> list[Requirement]:
    """What some of the lists in pyproject.toml ask for."""
    found = dict(re.findall(r"^(\w+) = \[\n(.*?)^\]", pyproject, flags=re.M | re.S))
    text = "".join(found[name] for name in lists)
    return [Requirement(line) for line in re.findall(r'^  "([\w.-]+[<>=].*?)",', text, flags=re.M)]


@cache
def faults_of_lines(name: str, text: str) -> list[str]:
    """What is wrong with a file of hashes by itself."""
    found = []
    for block in lock.blocks(text):
        first, *hashes = block.splitlines()
        if not re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [^\\;]+)? \\", first):
            found.append(f"no exact pin that hashes follow: {first}")
        if not hashes:
            found.append(f"no hash: {first}")
        for line in hashes:
            end = "" if line is hashes[-1] else r" \\"
            if not re.fullmatch(rf"    --hash=sha256:[0-9a-f]{{64}}{end}", line):
                found.append(f"a wrong hash: {line}")
    for line in lock.BLOCK.sub("", text).splitlines():
        if not (line.startswith("# ") or name == "test" and line == "-r book.txt"):
            found.append(f"an option: {line}")
    return found


def faults(files: dict[str, str]) -> list[str]:
    """What is wrong with the files, in words."""
    found = [f"{name}: {fault}" for name in HASHED for fault in faults_of_lines(name, files[name])]
    if found:
        return found
    pins = {name: requirements(files[name]) for name in (*HASHED, "constraints")}
    if "\n-r book.txt\n" not in files["test"]:
        found.append("test: does not read book.txt")
    if {pin.name for pin in pins["lock"]} != {"uv", "pip"}:
        found.append("lock: other programs than uv and pip")
    for pin in [*pins["book"], *pins["test"]]:
        if lock.PYTORCH.match(f"{pin.name}=="):
            found.append(f"book and test: {pin.name} belongs into torch.txt")
    everything = [*pins["book"], *pins["test"], *pins["torch"]]
    for environment in ENVIRONMENTS:
        right = counted(pins["constraints"], environment)
        if counted(everything, environment) != right:
            found.append("book, test and torch: not the pins of constraints.txt")
        if not counted(pins["book"], environment).items() <= right.items():
            found.append("book: not among the pins of constraints.txt")
        for name, lists in GROUPS.items():
            held = counted(pins["book"] if name == "book" else everything, environment)
            for wish in asked(files["pyproject"], lists):
                version = held.get(canonicalize_name(wish.name), "").removeprefix("==")
                if not version or not wish.specifier.contains(version):
                    found.append(f"{name}: {wish} is not met by {version or 'any pin'}")
    return list(dict.fromkeys(found + faults_of_licences(files, pins["constraints"])))


def faults_of_licences(files: dict[str, str], pins: list[Requirement]) -> list[str]:
    """What is wrong with the list of licences."""
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (\d.*?) \| (.*?) \| (\S+) \|$", files["licences"], re.M)
    listed = {(name, version) for name, versions, _, _ in rows for version in versions.split(", ")}
    pinned = {(canonicalize_name(pin.name), str(pin.specifier).removeprefix("==")) for pin in pins}
    found = [f"licences: {name} {version}" for name, version in sorted(listed ^ pinned)]
    intro, _, _ = files["licences"].partition("## All of them")
    for name, _, stated, file in rows:
        if not stated or not (licences.is_free(stated) or f"{name} ({file})" in intro):
            found.append(f"licences: nobody looked into {name}")
        if f"\n{name}==" not in files[file.removesuffix(".txt")]:
            found.append(f"licences: {name} is not in {file}")
    return found


def test_files_with_hashes_licences_constraints_and_ranges_agree():
    assert len(lock.blocks(FILES["book"])) > 100 and len(lock.blocks(FILES["torch"])) > 10
    assert not faults(FILES)


# The mistake: the file, what stands there, what somebody puts in its place; and what must be said.
MISTAKES = [
    ("book", r"^babel==.*? ", "babel==2.17.0 ", "not the pins of"),
    ("book", r"^babel==.*? ", "babel==2.17.0 ", "not among the pins of"),
    ("test", r"^anyio==\S+", "anyio==4.15.0", "not the pins of"),
    ("book", r"^babel==", "babel>=", "no exact pin"),
    ("torch", r"^torch==\S+", "torch @ https://example.com/torch.whl", "no exact pin"),
    ("book", r"^(babel==\S+) \\\n(    --hash.*\n)+", r"\1\n", "no hash"),
    ("book", r"^(babel==\S+ \\\n)(    --hash.*\n)+", r"\1", "no hash"),
    ("torch", r"(--hash=sha256:[0-9a-f]{63})[0-9a-f]", r"\1", "a wrong hash"),
    ("book", r"--hash=sha256:", "--hash=md5:", "a wrong hash"),
    ("book", r"^(babel.*\n    --hash=\S+ \\\n)    --hash=\S+\n", r"\1", "a wrong hash"),
    ("book", r"^(babel.*\n    --hash=\S+) \\\n", r"\1\n", "a wrong hash"),
    ("test", r"\A", "--index-url https://example.com/simple\n", "an option"),
    ("torch", r"\A", "-r book.txt\n", "an option"),
    ("test", r"^-r book.txt\n", "", "does not read book.txt"),
    ("lock", r"^uv==", "uw==", "other programs"),
    ("test", r"\Z", f"torch==2.13.0 \\\n    --hash=sha256:{'0' * 64}\n", "belongs into torch.txt"),
    ("book", r"^webencodings==(.*\n)(    .*\n)+", "", "not the pins of"),
    ("book", r"^colorama==(.*\n)(    .*\n)+", "", "not the pins of"),
    ("book", r"^(appnope==\S+) ;.*\\", r"\1 \\", "not the pins of"),
    ("book", r"^(tomli==\S+ ; python_full_version < '3.1)1", r"\g<1>0", "not the pins of"),
    ("book", r"^matplotlib==(.*\n)(    .*\n)+", "", "book: matplotlib>="),
    ("pyproject", r'"numpy>=[\d.]+"', '"numpy>=99"', "book: numpy>=99 is not met by 2"),
    ("pyproject", r'"torch>=[\d.]+"', '"torch>=99"', "torch: torch>=99 is not met by 2"),
    ("pyproject", r"^book = \[\n", 'book = [\n  "torch>=2",\n', "book: torch>=2 is not met by any"),
    ("constraints", r"^babel==.*", "babel==9.9", "not the pins of"),
    ("constraints", r"\Z", "zzz==1\n", "not the pins of"),
    ("licences", r"^\| babel .*\n", "", "licences: babel 2"),
    ("licences", r"^\| babel \| [\d.]+", "| babel | 1.0", "licences: babel 1.0"),
    ("licences", r"^(\| coverage \| )[\d.]+, ", r"\1", "licences: coverage"),
    ("licences", r"^(\| babel .*\| )BSD-3-Clause", r"\1AGPL-3.0", "nobody looked into babel"),
    ("licences", r"^(\| babel .*\| )BSD-3", r"\1BSD OR GPL-3.0", "nobody looked into babel"),
    ("licences", r"^(\| babel \| \S+ \|).*?\|", r"\1  |", "nobody looked into babel"),
    ("licences", r"^- docutils .*\n", "", "nobody looked into docutils"),
    ("licences", r"^(\| babel .*)book.txt", r"\1torch.txt", "babel is not in torch.txt"),
]


@pytest.mark.parametrize(("name", "pattern", "wrong", "said"), MISTAKES)
def test_a_mistake_in_any_of_them_is_found(name: str, pattern: str, wrong: str, said: str) -> None:
    text, made = re.subn(pattern, wrong, FILES[name], count=1, flags=re.M)
    assert made == 1 and text != FILES[name]
    found = faults(FILES | {name: text})
    assert any(said in fault for fault in found), found


def closure(wishes: Iterable[Requirement]) -> set[str]:
    """What these need here, with all that those need, as far as it is installed."""
    found: set[str] = set()
    done: set[tuple[str, str]] = set()
    waiting = [(wish, "") for wish in wishes]
    while waiting:
        wish, extra = waiting.pop()
        if wish.marker and not wish.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(wish.name)
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        found.add(name)
        for asked_extra in {"", *wish.extras} - {extra for known, extra in done if known == name}:
            done.add((name, asked_extra))
            waiting += [(line, asked_extra) for line in needed]
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_each_file_holds_all_that_its_packages_need_here(group: str) -> None:
    texts = ["book"] if group == "book" else ["book", "test", "torch"]
    pins = [pin for name in texts for pin in requirements(FILES[name])]
    held = set(counted(pins, dict(default_environment())))
    needed = closure(asked(FILES["pyproject"], GROUPS[group]))
    assert len(needed) > 50
    assert needed <= held, sorted(needed - held)


def test_pytorch_and_cuda_are_in_a_file_of_their_own_and_a_wider_marker_in_the_tests():
    book = "a==1 \\\n    --hash=x\nb==1 ; sys_platform == 'win32' \\\n    --hash=y\n"
    others = "b==1 \\\n    --hash=y\nnvidia-x==1 \\\n    --hash=z\ntorch==2 \\\n    --hash=z\n"
    files = lock.split(book, "a==1 \\\n    --hash=x\n" + others)
    bodies = {name: text.partition("hand.\n")[2] for name, text in files.items()}
    assert bodies == {
        "book": book,
        "test": "-r book.txt\nb==1 \\\n    --hash=y\n",
        "torch": others.partition("y\n")[2],
    }


def test_the_comment_above_the_pins_stays():
    assert lock.with_head("# one\n# two\na==1\n# three\n", "a==2\n") == "# one\n# two\na==2\n"
    assert lock.with_head("a==1\n", "a==2\n") == "a==2\n"


STATED = [
    ({"license_expression": "MIT", "license": "other"}, "MIT"),
    ({"license": "BSD-3-Clause", "classifier": ["License :: BSD License"]}, "BSD-3-Clause"),
    ({"license": "UNKNOWN", "classifier": ["License :: OSI Approved :: ISC"]}, "ISC"),
    ({"license": "A text\nof two lines", "classifier": ["License :: X :: BSD"]}, "BSD"),
    (
        {"license": "Apache 2.0", "classifier": ["License :: Proprietary"]},
        "Proprietary; Apache 2.0",
    ),
    ({"license": "mit license", "classifier": ["License :: MIT License"]}, "MIT License"),
    ({"classifier": ["Topic :: BSD"]}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("metadata", "expected"), STATED)
def test_the_licence_is_what_the_package_states(metadata: dict, expected: str) -> None:
    assert licences.licence({"name": "some", **metadata}) == expected


@pytest.mark.parametrize(
    ("stated", "free"),
    [
        ("MIT", True),
        ("Apache-2.0 WITH LLVM-exception AND BSD-2-Clause", True),
        ("BSD License; GNU General Public License (GPL)", False),
        ("MIT AND LGPL-2.1", False),
        ("MPL-2.0", False),
        ("LicenseRef-NVIDIA-Proprietary", False),
        ("Mitten", False),
    ],
)
def test_every_part_of_a_licence_must_be_free(stated: str, free: bool) -> None:
    assert licences.is_free(stated) == free


def test_a_licence_that_nobody_looked_into_stops_the_list() -> None:
    known = {"name": "babel", "version": "2.18.0", "license_expression": "MIT"}
    assert "| babel | 2.18.0 | MIT | book.txt |" in licences.document([known])
    for wrong in ({"license_expression": "AGPL-3.0-only"}, {"license_expression": None}):
        with pytest.raises(SystemExit, match="look into babel"):
            licences.document([{**known, **wrong}])


def test_the_tools_name_no_index() -> None:
    for text in FILES.values():
        assert not re.search(r"index-url|find-links|trusted-host|https?://", text), text[:80]
