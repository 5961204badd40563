"""A chapter runs wherever its reader is: from a checkout in any editor, and far from one."""

import ast
import bz2
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import bootstrap
import commands
import elsewhere
import notebooks
import portable
from course_utils import requirements
from notebooks import load, tags

ROOT = Path(__file__).resolve().parents[1]
URL = "https://github.com/someone/course"
PATHS = notebooks.notebooks(ROOT)
BARE = [sys.executable, "-I", "-S"]  # Python alone: no site-packages, no working directory


@pytest.fixture(scope="module")
def archive():
    return portable.package_archive(ROOT)


@pytest.fixture(scope="module")
def files():
    return portable.chapters(ROOT)


@pytest.fixture(scope="module")
def chapters(files):
    return {name: nbformat.reader.reads(content.decode()) for name, content in files.items()}


def first_code(nb):
    return next(cell["source"] for cell in nb["cells"] if cell["cell_type"] == "code")


def python(source, cwd, *, command=BARE, **variables):
    """Run source as a cell of its own and return the process; variables join the environment."""
    cell = cwd / "cell.py"
    cell.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [*command, str(cell)],
        cwd=cwd,
        env={**elsewhere.clean_variables(cwd), **variables},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    cell.unlink()
    return done


def last_line(done):
    assert done.returncode != 0, done.stdout
    return done.stderr.strip().splitlines()[-1]


# ---- the first cell of a checkout ----------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like a checkout, with a package that only tells where it lies."""
    package = tmp_path / "a course" / "src" / "course_utils"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "requirements.py").write_text("def need():\n    print('found', __file__)\n")
    (tmp_path / "a course" / "notebooks").mkdir()
    (tmp_path / "far").mkdir()
    return tmp_path / "a course"


SOURCE = bootstrap.checkout_source("", "main")


@pytest.mark.parametrize("start", ["notebooks", ".", "src/course_utils"])
def test_a_checkout_is_found_from_any_folder_in_it(checkout, start):
    done = python(SOURCE, checkout / start)
    assert done.stdout == f"found {checkout / 'src' / 'course_utils' / 'requirements.py'}\n", done


def test_a_checkout_is_found_where_the_editor_tells_the_notebooks_place(checkout):
    path = str(checkout / "notebooks" / "01_one.ipynb")
    far = checkout.parent / "far"
    assert "found" in python(SOURCE, far, JPY_SESSION_NAME=path).stdout
    assert "found" in python(f"__vsc_ipynb_file__ = {path!r}\n{SOURCE}", far).stdout
    assert "found" not in python(SOURCE, far).stdout


def test_a_checkout_goes_before_a_package_that_is_installed(checkout):
    installed = checkout.parent / "installed" / "course_utils"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    (installed / "requirements.py").write_text("def need():\n    print('installed')\n")
    there = f"import sys\nsys.path.insert(0, {str(installed.parent)!r})\n{SOURCE}"
    assert "found" in python(there, checkout / "notebooks").stdout
    assert python(there, checkout.parent / "far").stdout == "installed\n"


def test_another_thing_of_the_packages_name_is_not_taken_for_it(checkout):
    (checkout.parent / "far" / "course_utils").mkdir()
    (checkout / "notebooks" / "course_utils").mkdir()
    here = "import sys\nsys.path.insert(0, '')\n" + SOURCE
    assert "found" in python(here, checkout / "notebooks").stdout
    said = last_line(python(here, checkout.parent / "far"))
    assert "neither in a checkout around this notebook nor installed" in said


def test_a_link_into_a_checkout_is_followed(checkout):
    notebook = checkout / "notebooks" / "01_one.ipynb"
    notebook.write_text("{}")
    link = checkout.parent / "far" / "mine.ipynb"
    link.symlink_to(notebook)
    assert "found" in python(SOURCE, checkout.parent, JPY_SESSION_NAME=str(link)).stdout


def test_where_neither_is_there_one_sentence_says_what_to_do(tmp_path):
    said = last_line(python(SOURCE, tmp_path))
    assert "neither in a checkout" in said and "download button" in said


FAKE_PIP = """\
import pathlib, sys
print("a warning of pip's", file=sys.stderr)
assert sys.argv[1:3] == ["install", "-q"]
if sys.argv[3] != "course-utils @ git+https://github.com/someone/course@trunk":
    sys.exit("another address: " + sys.argv[3])
package = pathlib.Path(__file__).parent / "course_utils"
package.mkdir()
(package / "__init__.py").write_text("")
(package / "requirements.py").write_text("def need():\\n    print('from the repository')\\n")
"""


def with_pip(tmp_path, source, fake=FAKE_PIP):
    """Run a cell where `python -m pip` is this program."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "pip.py").write_text(fake)
    work = tmp_path / "work"
    work.mkdir()
    return python(source, work, command=[sys.executable, "-S"], PYTHONPATH=str(site))


def test_with_an_address_the_package_comes_from_the_repository(tmp_path):
    done = with_pip(tmp_path, bootstrap.checkout_source(URL, "trunk"))
    assert done.stdout == "from the repository\n" and done.stderr == "", done


def test_where_pip_fails_the_cell_stops_with_one_sentence(tmp_path):
    said = last_line(with_pip(tmp_path, bootstrap.checkout_source(URL, "gone")))
    assert f"another address: course-utils @ git+{URL}@gone. Is there a network" in said
    assert f"address {URL} (branch gone) right and public?" in said


def test_a_cell_that_stops_shows_its_sentence_and_no_traceback(tmp_path):
    shell = "from IPython.core.interactiveshell import InteractiveShell as Shell\n"
    shell += f"result = Shell.instance().run_cell({SOURCE!r})\nprint('went on', result.success)\n"
    # As in a folder without the course: what is installed here is not found.
    hide = "import importlib.util as u\nreal = u.find_spec\n"
    hide += "u.find_spec = lambda name, *r: None if 'course_utils' in name else real(name, *r)\n"
    done = python(hide + shell, tmp_path, command=[sys.executable])
    shown = [line for line in done.stdout.splitlines() if line.strip()]
    assert len(shown) == 2 and shown[1] == "went on False", done
    assert shown[0].startswith("The package course_utils is neither in a checkout")
    assert "Traceback" not in done.stdout + done.stderr


def test_the_first_cell_of_a_checkout_is_the_same_in_every_chapter_and_folded():
    sources = {first_code(load(path)) for path in PATHS}
    assert len(sources) == 1
    for path in PATHS:
        cell = next(cell for cell in load(path)["cells"] if "bootstrap" in tags(cell))
        assert cell["metadata"]["cellView"] == "form"
        assert cell["metadata"]["jupyter"] == {"source_hidden": True}


# ---- the first cell of a portable chapter --------------------------------------------------------


@pytest.fixture(scope="module")
def cell(archive):
    return bootstrap.portable_source(archive, ["scikit-image"])


def folders(work):
    return sorted(path.name for path in work.rglob("course_utils-*"))


SHOW = "\nimport course_utils\nprint(course_utils.__file__)\n"


def test_a_portable_chapter_names_what_is_missing_in_one_line(cell, tmp_path):
    said = last_line(python(cell, tmp_path))
    assert said == (
        "course_utils.requirements.Unmet: This chapter needs numpy, matplotlib, pillow, tqdm, "
        "scipy, scikit-learn, scikit-image. Run this in a cell, restart the kernel and begin "
        'again: %pip install "numpy>=1.26" "matplotlib>=3.8" "pillow>=9.1" "tqdm>=4.66" '
        '"scipy>=1.11" "scikit-learn>=1.3" "scikit-image>=0.22"'
    )


def test_the_package_is_imported_from_a_temporary_folder_that_goes(cell, tmp_path):
    unpack = cell.partition("from course_utils import requirements")[0]
    tmp, work = tmp_path / "tmp", tmp_path / "work"
    tmp.mkdir()
    work.mkdir()
    done = python(unpack + unpack + SHOW, work, TMPDIR=str(tmp), TEMP=str(tmp), TMP=str(tmp))
    place = Path(done.stdout.strip())
    assert tmp in place.parents and not place.exists(), done
    assert list(tmp.iterdir()) == list(work.iterdir()) == []


def test_a_portable_chapter_takes_what_it_carries_before_what_is_installed(cell, tmp_path):
    unpack = cell.partition("from course_utils import requirements")[0]
    before = "from course_utils import data\n"
    done = python(before + unpack + SHOW, tmp_path, command=[sys.executable])
    assert "course_utils-" in done.stdout and str(ROOT) not in done.stdout, done
    children = "import subprocess\nprint(subprocess.run([sys.executable, '-c', 'import course_utils"
    children += " as c; print(c.__file__)'], capture_output=True, text=True).stdout)\n"
    done = python(f"import sys\n{unpack}{children}", tmp_path, command=[sys.executable])
    assert "course_utils-" in done.stdout, done


def test_odd_entries_of_the_path_are_no_trouble(cell, tmp_path):
    unpack = cell.partition("from course_utils import requirements")[0]
    odd = "import pathlib, sys\nsys.path.append(pathlib.Path('/x'))\n"
    assert "course_utils-" in python(odd + unpack + SHOW, tmp_path).stdout


def test_a_process_that_a_chapter_starts_has_a_folder_of_its_own(cell, tmp_path):
    unpack = cell.partition("from course_utils import requirements")[0]
    (tmp_path / "child.py").write_text(unpack + SHOW)
    start = "import subprocess\nsubprocess.run([sys.executable, 'child.py'], check=True)\n"
    fork = (
        "import os\nif os.fork() == 0:\n    sys.exit()\nos.wait()\nfrom course_utils import data\n"
    )
    done = python("import sys\n" + unpack + SHOW + start, tmp_path)
    mine, its = done.stdout.split()
    assert mine != its, done
    if hasattr(os, "fork"):
        done = python(f"import sys\n{unpack}{fork}", tmp_path, command=[sys.executable])
        assert done.returncode == 0, done


def altered(cell, kind):
    (package,) = re.findall(r'^    "([^"\s]{1000,})",$', cell, flags=re.M)
    middle = len(package) // 2
    other = "A" if package[middle] != "A" else "B"
    return cell.replace(
        package,
        {
            "altered": package[:middle] + other + package[middle + 1 :],
            "cut off": package[:middle],
            "cut within a byte": package[: middle - middle % 5 + 1],
            "not ASCII": package[:middle] + "é" + package[middle + 1 :],
            "empty": "",
        }[kind],
    )


@pytest.mark.parametrize("kind", ["altered", "cut off", "cut within a byte", "not ASCII", "empty"])
def test_a_package_that_was_cut_off_or_altered_is_not_unpacked(cell, tmp_path, kind):
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    done = python(altered(cell, kind), tmp_path, TMPDIR=str(tmp), TEMP=str(tmp))
    assert "was cut off or altered: get the file once more." in last_line(done)
    assert list(tmp.iterdir()) == []


@pytest.mark.parametrize(
    "fault",
    [
        "import tempfile\ntempfile.mkdtemp = fail\n",
        "import zipfile\nreal = zipfile.ZipFile._extract_member\nseen = []\n"
        "def some(*rest):\n    seen.append(1)\n"
        "    return real(*rest) if len(seen) < 9 else fail()\n"
        "zipfile.ZipFile._extract_member = some\n",
    ],
    ids=["read-only", "disk full on the way"],
)
def test_where_nothing_can_be_written_one_line_says_so_and_nothing_is_left(cell, tmp_path, fault):
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    fail = "def fail(*rest, **more):\n    raise OSError(28, 'No space left on device')\n"
    done = python(fail + fault + cell, tmp_path, TMPDIR=str(tmp), TEMP=str(tmp))
    said = last_line(done)
    assert "No folder for temporary files" in said and "No space left on device" in said
    assert list(tmp.iterdir()) == []


def test_a_home_that_does_not_exist_is_no_trouble(cell, tmp_path):
    unpack = cell.partition("from course_utils import requirements")[0]
    plotting = unpack + SHOW + "import matplotlib.pyplot\n"
    homeless = {"HOME": "/nowhere", "USERPROFILE": "/nowhere"}
    done = python(plotting, tmp_path, command=[sys.executable], **homeless)
    assert "course_utils-" in done.stdout and done.stderr == "", done


# ---- portable chapters ---------------------------------------------------------------------------


def test_every_chapter_has_a_portable_form_with_its_outputs(chapters):
    assert list(chapters) == [path.name for path in PATHS]
    for path in PATHS:
        stored, carried = load(path), chapters[path.name]
        for old, new in zip(stored["cells"], carried["cells"], strict=True):
            assert old["id"] == new["id"] and old.get("outputs") == new.get("outputs")
            if old["cell_type"] == "code" and "bootstrap" not in tags(old):
                assert old["source"] == new["source"]


def test_the_first_cell_is_a_few_lines_and_one_long_string(chapters):
    for nb in chapters.values():
        lines = first_code(nb).splitlines()
        long = [line for line in lines if len(line) > 100]
        assert lines[0].startswith("# @title ") and len(lines) <= 54
        assert len(long) == 1 and len(long[0]) <= 290_000


def test_two_runs_write_the_same_bytes(tmp_path):
    first = {path.name: path.read_bytes() for path in portable.write(ROOT, tmp_path)}
    (tmp_path / "99_gone.ipynb").write_text("{}")
    again = {path.name: path.read_bytes() for path in portable.write(ROOT, tmp_path)}
    assert first == again and not (tmp_path / "99_gone.ipynb").exists()
    with zipfile.ZipFile(tmp_path / f"{portable.BUNDLE}.zip") as bundle:
        inside = {Path(name).name: bundle.read(name) for name in bundle.namelist()}
    assert {name for name in inside if name.endswith(".ipynb")} == {path.name for path in PATHS}
    assert all(inside[path.name] == first[path.name] for path in PATHS) and "LICENSE" in inside


def test_the_archive_holds_the_package_its_version_and_its_licence(archive, tmp_path):
    (tmp_path / "a.zip").write_bytes(bz2.decompress(archive))
    names = set(zipfile.ZipFile(tmp_path / "a.zip").namelist())
    source = ROOT / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("course_utils/**/*.py")}
    assert modules <= names and "course_utils/stored/recipe_mnist.json" in names
    assert not any("__pycache__" in name for name in names)
    record = "import sys\nsys.path.insert(0, 'a.zip')\nimport importlib.metadata as m\n"
    done = python(record + "print(m.version('course-utils'))", tmp_path)
    assert f'version = "{done.stdout.strip()}"' in (ROOT / "pyproject.toml").read_text(), done
    assert {name.rpartition("/")[2] for name in names} >= {"LICENSE", "METADATA", "py.typed"}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_chapter_needs_what_it_imports(path):
    needed = portable.needs(load(path), ROOT)
    statements = ast.unparse(portable.code_of(load(path)))
    written = set(re.findall(r"^\s*(?:import|from) (\w+)", statements, flags=re.M))
    for requirement in requirements.TORCH:
        assert requirement.name in needed or requirement.module not in written
    if int(path.stem[:2]) in (1, 2, 3, 8):
        assert "torch" not in needed
    assert ("torchvision" in needed) == ("data.mnist(" in statements)
    assert ("scikit-image" in needed) == ("skimage" in statements)


def test_what_a_module_imports_in_turn_is_needed_too(tmp_path):
    package = tmp_path / "src" / "course_utils"
    (package / "deep").mkdir(parents=True)
    (package / "deep" / "__init__.py").write_text("from course_utils import other\n")
    (package / "other.py").write_text("import torch.nn\n\ndef f():\n    import skimage\n")
    cells = [
        {"cell_type": "code", "metadata": {}, "source": "%pip list\nfrom course_utils import deep"}
    ]
    needed = portable.needs({"cells": cells}, tmp_path)
    assert "torch" in needed and "scikit-image" not in needed and "torchvision" not in needed


def test_links_to_pages_of_the_book_lead_to_the_repository_or_nowhere():
    markdown = "see [speed](../book/speed.md#a), [02](02_x.ipynb) and [w](https://w.org)"
    near = "[02](02_x.ipynb) and [w](https://w.org)"
    assert portable.with_far_links(markdown, "", "main") == f"see speed, {near}"
    far = f"[speed]({URL}/blob/dev/book/speed.md#a)"
    assert portable.with_far_links(markdown, URL, "dev") == f"see {far}, {near}"


def test_the_command_takes_no_unknown_word(capsys):
    assert portable.main(["tset"]) == 2
    assert capsys.readouterr().err == "portable.py: got tset, expected push or nothing\n"


# ---- what the course needs -----------------------------------------------------------------------


def pyproject_ranges():
    content = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    blocks = re.findall(r"^(?:dependencies|torch) = \[\n(.*?)^\]", content, flags=re.M | re.S)
    return [Requirement(found) for found in re.findall(r'^  "(.+?)"', "".join(blocks), flags=re.M)]


def test_the_list_of_requirements_is_that_of_pyproject():
    listed = [f"{r.name}>={r.lowest}" for r in requirements.BASE + requirements.TORCH]
    assert listed == [str(r) for r in pyproject_ranges()]


def test_colabs_versions_lie_inside_the_ranges():
    colab = elsewhere.versions("colab")
    for requirement in pyproject_ranges():
        assert requirement.specifier.contains(Version(colab[requirement.name])), requirement
    header = (ROOT / "tools" / "colab.txt").read_text().splitlines()[0]
    assert re.search(r"as of \d{4}-\d\d-\d\d: Python 3\.\d+", header)
    assert f"Python {elsewhere.PYTHONS['colab'][0]}." in header


def test_need_names_what_is_too_old_and_refuses_unknown_names(monkeypatch):
    versions = {"numpy": "1.25.9", "tqdm": None}
    real = requirements.version
    monkeypatch.setattr(requirements, "version", lambda r: versions.get(r.name, real(r)))
    with pytest.raises(requirements.Unmet) as caught:
        requirements.need()
    assert "needs numpy (here is 1.25.9), tqdm." in str(caught.value)
    assert '"numpy>=1.26" "tqdm>=4.66"' in str(caught.value)
    assert caught.value._render_traceback_() == [str(caught.value)]
    with pytest.raises(ValueError, match="names must be among numpy.*got 'nump'"):
        requirements.need("nump")


def test_need_is_content_where_everything_is_installed():
    requirements.need("scikit-image")


def test_an_empty_folder_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "no_such_package").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    lacking = requirements.Requirement("no-such-package", "no_such_package", "1")
    assert requirements.unmet([lacking]) == [(lacking, None)]


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(requirements.Unmet, match="needs Python 3.10 or newer; .* Python 3.9"):
        requirements.need()


# ---- runs where no checkout is -------------------------------------------------------------------


def test_a_python_that_has_not_the_versions_is_told_so(monkeypatch):
    monkeypatch.setattr(elsewhere, "pyenv", lambda version: [])
    monkeypatch.setattr(elsewhere.shutil, "which", lambda name: None)
    for which, minor in (("colab", 10), ("oldest", 12)):
        monkeypatch.setattr(sys, "version_info", (3, minor, 1))
        with pytest.raises(notebooks.Refused, match=f"{which} versions are made for Python 3"):
            elsewhere.python_for(which, ["torch"])
    monkeypatch.setattr(sys, "version_info", (3, 11, 1))
    assert elsewhere.python_for("colab", ["torch"]) == sys.executable


def test_a_package_of_this_environment_is_there_before_pip_is_asked(tmp_path):
    variables = elsewhere.clean_variables(tmp_path)
    inside = commands.environment(
        tmp_path / "it", sys.executable, [], variables=variables, ours=("packaging", "pytest")
    )
    ask = "import packaging, sysconfig; print(sysconfig.get_path('purelib'), packaging.__file__)"
    folder, file = commands.run([str(inside), "-c", ask], "ask").split()
    assert Path(file).is_relative_to(folder) and Path(folder).is_relative_to(tmp_path)
    listed = [str(inside), "-m", "pip", "list", "--format=freeze"]
    assert f"packaging=={metadata.version('packaging')}" in commands.run(listed, "list").split()
    assert not list((tmp_path / "it").glob("*/pytest*"))  # a program; its module is there
    assert (Path(folder) / "pytest" / "__init__.py").exists()
    (Path(folder) / "packaging" / "__init__.py").unlink()  # theirs; ours stays
    assert all(file.locate().exists() for file in metadata.files("packaging"))


def test_without_links_files_are_copied(tmp_path, monkeypatch):
    def no_link(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(commands, "run", lambda *_: str(tmp_path))  # where its packages lie
    commands.share("packaging", Path(sys.executable))
    for file in metadata.files("packaging"):
        copied = tmp_path / file
        assert "__pycache__" in file.parts or copied.read_bytes() == file.locate().read_bytes()


def ran(*printed, name="stdout", cell_tags=()):
    outputs = [{"output_type": "stream", "name": name, "text": line} for line in printed]
    cell = {"cell_type": "code", "id": "a", "metadata": {"tags": list(cell_tags)}, "source": ""}
    return {"cells": [cell | {"outputs": outputs}]}


def test_a_run_that_prints_otherwise_is_told_from_one_that_does_not():
    stored = ran("✓ one\n", "✓ two\n")
    assert elsewhere.differences(stored, stored, True) == []
    assert elsewhere.differences(stored, ran("✓ one\n✓ 2\n"), True) == [
        "cell a: '✓ two' is now '✓ 2'"
    ]
    assert elsewhere.differences(stored, ran("✓ one\n"), True) == [
        "cell a: '✓ two' is now 'nothing'"
    ]
    assert elsewhere.differences(ran(), ran("old\n", name="stderr"), True) == [
        "cell a: 'nothing' is now 'stderr: old'"
    ]
    assert elsewhere.differences(ran("1", cell_tags=["nbval-ignore-output"]), ran("2"), True) == []
    of_mnist = ran("1", cell_tags=["mnist"])
    assert elsewhere.differences(of_mnist, ran("2"), False) == []
    assert elsewhere.differences(of_mnist, ran("2"), True) != []


def runs(which, name, content):
    """The trouble of a portable chapter in that environment, a line for each thing."""
    try:
        return elsewhere.try_chapter(ROOT, name, content, which, None)
    except notebooks.Refused as refused:
        offline = "pip install" in str(refused) and not os.environ.get("CI")
        if offline or "versions are made for Python" in str(refused):
            pytest.skip(f"the environment cannot be made here: {refused}")
        raise


def no_cuda():
    import torch

    return torch.version.cuda is None


@pytest.mark.parametrize(
    ("which", "number"),
    [
        ("colab", "01"),
        pytest.param(
            "colab",
            "10",
            marks=pytest.mark.skipif(not no_cuda(), reason="PyTorch with CUDA takes gigabytes"),
        ),
        ("oldest", "01"),
    ],
)
def test_a_portable_chapter_gives_its_outputs_with_other_versions_far_from_here(
    which, number, files
):
    (name,) = [name for name in files if name.startswith(number)]
    assert runs(which, name, files[name]) == []


def test_the_environment_of_such_a_run_reaches_no_network_and_no_checkout(tmp_path):
    folder = max((ROOT / "_build" / "elsewhere").glob("colab-numpy-*"), default=None)
    if folder is None:
        pytest.skip("no environment has been made")
    inside = next(
        path for path in (folder / "bin/python", folder / "Scripts/python.exe") if path.exists()
    )
    ask = "import importlib.util, socket\nprint(importlib.util.find_spec('course_utils'))\n"
    ask += "for call in (lambda: socket.socket().connect(('192.0.2.1', 80)),\n"
    ask += "             lambda: socket.getaddrinfo('example.org', 80)):\n"
    ask += "    try:\n        call()\n        print('reached')\n"
    ask += "    except OSError as error:\n        print(error.strerror)\n"
    done = python(ask, tmp_path, command=[str(inside)])
    assert done.stdout.splitlines() == [
        "None",
        "Network is unreachable",
        "Temporary failure in name resolution",
    ], done
