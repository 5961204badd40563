"""The tools keep their promises: set-up, notebooks, repository address, make help."""

import ast
import base64
import copy
import fcntl
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import bootstrap
import notebooks
import repository

ROOT = Path(__file__).resolve().parents[1]
URL = "https://github.com/someone/course"


# ---- building blocks ---------------------------------------------------------------------------


def markdown(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def code(source, *, tags=(), outputs=(), **more):
    cell = {"cell_type": "code", "execution_count": 7, "metadata": {}, "source": source}
    cell["outputs"] = list(outputs)
    if tags:
        cell["metadata"]["tags"] = list(tags)
    return cell | more


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def shown(kind="display_data", **data):
    data = {key.replace("_", "/", 1): value for key, value in data.items()}
    return {"output_type": kind, "data": data, "metadata": {"needs_background": "light"}}


def notebook(*cells):
    return {
        "cells": list(cells),
        "metadata": {"language_info": {"version": "3.11.7"}, "widgets": {}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def normal(*cells):
    return json.loads(notebooks.normal_form(notebook(*cells)))


def only_outputs(*outputs):
    return normal(code("1", outputs=outputs))["cells"][0]["outputs"]


# ---- the normal form ---------------------------------------------------------------------------


@pytest.fixture
def messy():
    """A notebook with everything that an editor or a kernel leaves in one."""
    timing = {"execution": {"iopub.execute_input": "2024-01-01T00:00:00Z"}, "trusted": True}
    return notebook(
        markdown("# A title\n\nText with ∂ and $x$"),
        code("import course_utils", tags=["bootstrap"]),
        code(
            "print(1)\n2",
            metadata=timing | {"tags": ["b", "a"]},
            outputs=[
                stream("1\n"),
                stream("2\r3\n"),
                shown("execute_result", text_plain="2", text_html="<b>2</b>"),
            ],
        ),
        code("3", tags=["solution"]),
        code("3", metadata={"cellView": "form", "jupyter": {"source_hidden": True}}),
    )


def test_normal_form_of_a_normal_form_is_itself(messy):
    once = notebooks.normal_form(messy)
    assert notebooks.normal_form(json.loads(once)) == once


def test_normal_form_is_a_valid_notebook_as_nbformat_writes_it(messy):
    text = notebooks.normal_form(messy)
    nb = nbformat.reads(text, as_version=4)
    nbformat.validate(nb)
    assert nbformat.writes(nb) + "\n" == text


def test_normal_form_leaves_its_argument_alone(messy):
    before = copy.deepcopy(messy)
    notebooks.normal_form(messy)
    assert messy == before


def test_normal_form_drops_counts_timings_and_the_editors_metadata(messy):
    text = notebooks.normal_form(messy)
    nb = json.loads(text)
    assert set(nb["metadata"]) == {"kernelspec"}
    assert not re.search("iopub|trusted|needs_background|language_info|2024", text)
    assert re.findall(r'"execution_count": (\S+?),?\n', text) == ["null"] * 5


def test_normal_form_keeps_tags_in_order_and_folds_solutions_and_the_first_cell(messy):
    cells = json.loads(notebooks.normal_form(messy))["cells"]
    assert cells[2]["metadata"] == {"tags": ["a", "b"]}
    assert cells[3]["metadata"] == {
        "cellView": "form",
        "jupyter": {"source_hidden": True},
        "tags": ["solution"],
    }
    assert cells[4]["metadata"] == {}


def test_normal_form_keeps_ids_and_gives_missing_and_repeated_ones_a_lasting_id():
    cells = [code("1", id="mine"), code("2", id="mine"), code("2"), code("2"), code("3", id="a b")]
    ids = [cell["id"] for cell in normal(*cells)["cells"]]
    assert ids[0] == "mine"
    assert len(set(ids)) == 5
    assert ids == [cell["id"] for cell in normal(*cells)["cells"]]


def test_normal_form_merges_neighbouring_streams_of_one_name():
    a, b, c, d = stream("a\n"), stream(["b", "c\n"]), stream("x\n", "stderr"), stream("d\n")
    assert [output["text"] for output in only_outputs(a, b, c, d)] == [
        ["a\n", "bc\n"],
        ["x\n"],
        ["d\n"],
    ]


def test_normal_form_keeps_of_a_progress_bar_what_is_left_to_see():
    bar = [stream("\r 10%"), stream("\r 50%"), stream("\r100%\n"), stream("done\n")]
    assert only_outputs(*bar)[0]["text"] == ["100%\n", "done\n"]


def test_normal_form_drops_widgets_and_keeps_html_beside_text():
    widget = "application/vnd.jupyter.widget-view+json"
    both = shown(text_plain="1", text_html="<b>1</b>")
    alone = {"output_type": "display_data", "data": {widget: {"model_id": "x"}}, "metadata": {}}
    assert [set(output["data"]) for output in only_outputs(alone, both)] == [
        {"text/plain", "text/html"}
    ]


def test_normal_form_stores_a_picture_as_one_line():
    assert only_outputs(shown(image_png="abcd\nefgh\n"))[0]["data"]["image/png"] == "abcdefgh"


def test_normal_form_drops_the_execution_count_in_a_traceback():
    error = {"output_type": "error", "ename": "E", "evalue": "e", "traceback": ["Cell In[12], 1"]}
    assert only_outputs(error)[0]["traceback"] == ["Cell In [ ], 1"]


def test_normal_form_refuses_another_format():
    with pytest.raises(ValueError, match="nbformat is 3, expected 4"):
        notebooks.normal_form({"nbformat": 3, "worksheets": []})


# ---- executing ---------------------------------------------------------------------------------


def tiny_png():
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def course(tmp_path):
    """A course of two chapters, the second with a cell that fails."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (tmp_path / "src" / "course_utils").mkdir(parents=True)
    (tmp_path / "src" / "course_utils" / "data.py").write_text("x = 1\n")
    chapters = {
        "01_one.ipynb": [
            markdown("# One"),
            code("print('hi')", tags=["bootstrap"]),
            code(f"from IPython.display import Image\nImage({tiny_png()!r}, format='png')"),
        ],
        "02_two.ipynb": [markdown("# Two"), code("a = 1\nb = 0\na / b\n# never", tags=["x"])],
    }
    chapters["01_one.ipynb"][2]["metadata"] = {"tags": ["picture"]}
    for name, cells in chapters.items():
        (folder / name).write_text(notebooks.normal_form(notebook(*cells)))
    return tmp_path


def test_an_unknown_number_gets_one_line_that_lists_the_known_ones(course, capsys):
    assert notebooks.main(["outputs", "09"], course) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "no notebook has the number 09; there are: 01 02\n")


def test_outputs_stores_runs_again_only_what_changed_and_leaves_a_failing_notebook(course, capsys):
    one, two = sorted((course / "notebooks").iterdir())
    before = two.read_bytes()

    assert notebooks.main(["outputs"], course) == 1
    out, err = capsys.readouterr()
    assert re.search(r"^01_one.ipynb: executed, outputs stored, [\d.]+ s$", out, re.MULTILINE)
    assert err.splitlines() == [
        "02_two.ipynb: cell 2 of 2 failed:",
        "    a = 1",
        "    b = 0",
        "    a / b",
        "    ...",
        "  ZeroDivisionError: division by zero",
    ]
    assert two.read_bytes() == before
    assert one.read_text() == notebooks.normal_form(json.loads(one.read_text()))
    shown = (course / "book/_static/picture.png").read_bytes()
    assert shown.startswith(b"\x89PNG") and shown == notebooks.picture(course / "notebooks")

    two.unlink()
    assert notebooks.main(["outputs"], course) == 0
    assert capsys.readouterr().out == "01_one.ipynb: up to date\n"

    known = json.loads((course / "_build/outputs.json").read_text())
    (course / "src/course_utils/data.py").write_text("x = 2\n")
    assert known["01_one.ipynb"] != notebooks.code_hash(course, notebooks.load(one))


def test_another_bootstrap_cell_asks_for_no_new_run(course):
    one = notebooks.load(course / "notebooks" / "01_one.ipynb")
    other = copy.deepcopy(one)
    other["cells"][1]["source"] = "another address"
    assert notebooks.code_hash(course, one) == notebooks.code_hash(course, other)
    other["cells"][2]["source"] = "another cell"
    assert notebooks.code_hash(course, one) != notebooks.code_hash(course, other)


def test_normalize_mends_the_form_and_names_what_is_no_notebook(course, capsys):
    one, two = sorted((course / "notebooks").iterdir())
    text = one.read_text()
    one.write_text(json.dumps(json.loads(text), indent=4))
    two.write_text("<<<<<<< HEAD\n")
    assert notebooks.main(["normalize"], course) == 1
    out, err = capsys.readouterr()
    assert out == "01_one.ipynb: put in normal form\n"
    assert "02_two.ipynb: not a notebook" in err and err.count("\n") == 1
    assert one.read_text() == text


def test_picture_is_one_png_of_one_cell(tmp_path):
    def put(*outputs, name="01_one.ipynb"):
        cell = code("1", tags=["picture"], outputs=outputs)
        (tmp_path / name).write_text(notebooks.normal_form(notebook(cell)))

    assert notebooks.picture(tmp_path) is None
    put()
    with pytest.raises(notebooks.Refused, match="01_one.ipynb: .* holds 0 PNGs, expected 1"):
        notebooks.picture(tmp_path)
    put(shown(image_png="AAAA"))
    assert notebooks.picture(tmp_path) == bytes(3)
    put(shown(image_png="AAAA"), name="02_two.ipynb")
    with pytest.raises(notebooks.Refused, match="2 cells are tagged"):
        notebooks.picture(tmp_path)


# ---- the repository's address ------------------------------------------------------------------


@pytest.fixture
def addressed(course):
    """The course with the files that hold the address, all in the state that follows from none."""
    (course / "_config.yml").write_text(
        "title: T  # url: no\nrepository:\n  # where it lives\n"
        '  url: ""  # set by make repository\n\n  branch: main\nhtml:\n  url: "x"\n'
    )
    (course / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n- caption: I\n  chapters:\n"
        "  - file: notebooks/02_two\n  - file: notebooks/01_one.ipynb\n  - file: book/glossary\n"
    )
    (course / "README.md").write_text(
        f"# T\n\n{repository.START}\nold\n{repository.END}\nrest, ünd so weiter\n"
    )
    assert repository.main([], course) == 0
    return course


def files(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_setting_and_unsetting_the_address_restores_every_byte(addressed):
    before = files(addressed)
    assert repository.main([f"--url={URL}.git", "--branch=1.0"], addressed) == 0
    changed = {path.name for path, content in files(addressed).items() if before[path] != content}
    assert changed == {"_config.yml", "README.md", "01_one.ipynb", "02_two.ipynb"}
    assert repository.main(["--check"], addressed) == 0
    assert repository.main(["--url=none"], addressed) == 0
    assert files(addressed) == before


def test_the_address_is_set_in_its_block_and_the_comments_stay(addressed):
    repository.main([f"--url={URL}/"], addressed)
    assert (addressed / "_config.yml").read_text() == (
        "title: T  # url: no\nrepository:\n  # where it lives\n"
        f'  url: "{URL}"  # set by make repository\n\n  branch: main\nhtml:\n  url: "x"\n'
    )


def test_the_table_follows_the_contents_and_opens_each_notebook_itself(addressed):
    def table():
        text = (addressed / "README.md").read_text()
        return text.split(repository.START)[1].split(repository.END)[0].strip().splitlines()[2:]

    assert table() == [
        "| [02 Two](notebooks/02_two.ipynb) |",
        "| [01 One](notebooks/01_one.ipynb) |",
    ]
    repository.main([f"--url={URL}", "--branch=dev"], addressed)
    colab = "https://colab.research.google.com/github/someone/course/blob/dev"
    assert table()[0] == (
        f"| [02 Two](notebooks/02_two.ipynb) | [Open in Colab]({colab}/notebooks/02_two.ipynb) |"
    )


def test_check_names_each_file_that_does_not_follow(addressed, capsys):
    assert repository.main(["--check"], addressed) == 0
    path = addressed / "notebooks" / "01_one.ipynb"
    path.write_text(path.read_text().replace("neither in", "lost in"))
    capsys.readouterr()
    assert repository.main(["--check"], addressed) == 1
    assert re.match("notebooks/01_one.ipynb: [^\n]+\n$", capsys.readouterr().out)


@pytest.mark.parametrize("toc", ["", "- a list", "root: book/index\nchapter: []", "a: [b", None])
def test_what_is_no_table_of_contents_is_refused_in_one_line(addressed, capsys, toc):
    (addressed / "_toc.yml").unlink()
    if toc is not None:
        (addressed / "_toc.yml").write_text(toc)
    before = files(addressed)
    capsys.readouterr()
    assert repository.main([], addressed) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("_toc.yml: ") and err.count("\n") == 1
    assert files(addressed) == before


@pytest.mark.parametrize(
    "url",
    [
        "https://gitlab.com/a/b",
        "git@github.com:a/b.git",
        "github.com/a/b",
        f"{URL}/tree/x",
        "x",
        "https://github.com/a/..",
        "https://github.com/-a/b",
    ],
)
def test_another_kind_of_address_is_refused_in_one_line(addressed, capsys, url):
    before = files(addressed)
    capsys.readouterr()
    assert repository.main([f"--url={url}"], addressed) == 1
    err = capsys.readouterr().err
    assert url in err and "https://github.com/OWNER/NAME" in err and err.count("\n") == 1
    assert files(addressed) == before


@pytest.mark.parametrize("url", ["", URL])
def test_the_bootstrap_cell_is_clean(tmp_path, url):
    path = tmp_path / "01_one.ipynb"
    cell = code(bootstrap.checkout_source(url, "main"), tags=["bootstrap"])
    path.write_text(notebooks.normal_form(notebook(cell)))
    for command in (["check", "--select=E,F,W,I,UP,B"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length=100", path]
        done = subprocess.run(ruff, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["OWNER/NAME", "owner/name.git", "OWNER/NAME/"])
def test_the_placeholder_is_no_address(addressed, capsys, name):
    before = files(addressed)
    capsys.readouterr()
    assert repository.main([f"--url=https://github.com/{name}"], addressed) == 1
    err = capsys.readouterr().err
    assert "put your own account for OWNER and your repository for NAME" in err
    assert err.count("\n") == 1 and files(addressed) == before


def branch_of(root):
    return repository.address((root / "_config.yml").read_text())[1]


def test_the_branch_is_that_of_the_clone_unless_one_is_given(addressed):
    assert repository.main([f"--url={URL}"], addressed) == 0
    assert branch_of(addressed) == "main"  # no clone
    git = ["git", "-C", str(addressed)]
    subprocess.run([*git, "init", "-q", "-b", "master"], check=True)
    assert repository.main([], addressed) == 0
    assert branch_of(addressed) == "main"  # the address is as it was
    assert repository.main([f"--url={URL}"], addressed) == 0
    assert branch_of(addressed) == "master"
    assert f'git+{URL}@master"' in (addressed / "notebooks" / "01_one.ipynb").read_text().replace(
        "\\", ""
    )
    assert repository.main([f"--url={URL}", "--branch=dev"], addressed) == 0
    assert branch_of(addressed) == "dev"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    assert repository.main([f"--url={URL}"], addressed) == 0
    assert branch_of(addressed) == "main"  # on no branch


def test_every_file_of_this_course_follows_from_its_address(capsys):
    assert repository.main(["--check"]) == 0, capsys.readouterr()


# ---- the set-up --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def setup_script():
    spec = importlib.util.spec_from_file_location("course_setup", ROOT / "tools" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_set_up_is_written_in_what_every_python_can_read():
    tree = ast.parse((ROOT / "tools" / "setup.py").read_text())
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Nonlocal, ast.Match)
    for node in ast.walk(tree):
        assert not isinstance(node, newer), f"line {node.lineno}: {type(node).__name__}"
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            assert not node.returns and not any(argument.annotation for argument in arguments)
            assert not node.args.kwonlyargs and not node.args.posonlyargs
        if isinstance(node, ast.Raise):
            assert node.cause is None


def test_an_old_python_is_told_what_was_found_what_is_needed_and_how_to_name_another(setup_script):
    line = setup_script.too_old((3, 9, 18), "book")
    assert "3.9.18" in line and "3.10" in line and "make book PYTHON=python3.12" in line
    assert "\n" not in line
    assert "PYTHON=python3.11" in setup_script.too_old((2, 7, 18), "test", "python3.11")
    assert setup_script.too_old((3, 10, 0), "book") is None
    assert setup_script.too_old((3, 13, 1), "book") is None


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("NewConnectionError: Failed to establish a new connection", "no network"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "secure"),
        ("ERROR: No matching distribution found for torch==9\n", "has no torch==9 for Python"),
        ("WARNING: Retrying (Retry(total=4)) after Read timed out\nERROR: odd\n", "odd ("),
        ("...\nERROR: something else.\n", "something else"),
        ("", "pip failed"),
    ],
)
def test_each_way_for_pip_to_fail_has_its_line(setup_script, monkeypatch, tmp_path, log, line):
    monkeypatch.setattr(setup_script, "VENV", str(tmp_path))
    said = setup_script.explain(log)
    assert line in said and "setup.log" in said and "\n" not in said


def wheel(path, files):
    """Write a wheel with these files; RECORD is made here."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        info = next(name for name in files if name.endswith("METADATA")).rpartition("/")[0]
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in files))


BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = "tiny-1-py3-none-any.whl", "tiny-1.dist-info"
    files = {"tiny.pth": ".", info + "/METADATA": METADATA, info + "/WHEEL": WHEEL}
    with zipfile.ZipFile(folder + "/" + name, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(info + "/RECORD", "".join(path + ",,\\n" for path in files))
    return name

METADATA = "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\nProvides-Extra: book\\n"
WHEEL = "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
"""


def tiny_project(folder):
    """A project that tools/setup.py can set up without a network, from a wheel made here."""
    root, wheels = folder / "tiny", folder / "wheels"
    (root / "tools").mkdir(parents=True)
    wheels.mkdir()
    shutil.copy(ROOT / "tools" / "setup.py", root / "tools")
    (root / "constraints.txt").write_text("setuptools==999\n")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "tiny"\nversion = "1"\noptional-dependencies = { book = [] }\n'
    )
    info = "setuptools-999.dist-info"
    wheel(
        wheels / "setuptools-999-py3-none-any.whl",
        {
            "setuptools/__init__.py": "",
            "setuptools/build_meta.py": BACKEND,
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: setuptools\nVersion: 999\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        },
    )
    return root


def start_set_up(root, group="book", *, network=True):
    """Start the set-up of this project with nothing of this machine's pip settings."""
    environment = {key: text for key, text in os.environ.items() if not key.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    if network:
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(root.parent / "wheels")}
    else:  # nothing listens there
        environment |= {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    command = [sys.executable, root / "tools" / "setup.py", group]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def set_up(root, group="book", *, network=True):
    """Run the set-up of this project: its exit status, what it printed, what it complained of."""
    process = start_set_up(root, group, network=network)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture
def tiny(tmp_path):
    return tiny_project(tmp_path)


@pytest.fixture(scope="module")
def recovered(tmp_path_factory):
    """A project whose set-up was cut off and then called again, and what that call printed."""
    root = tiny_project(tmp_path_factory.mktemp("recovered"))
    (root / ".venv" / "lib").mkdir(parents=True)
    (root / ".venv" / "lib" / "half").touch()
    (root / ".venv" / ".installing").touch()
    status, out, err = set_up(root)
    assert status == 0, err + (root / ".venv" / "setup.log").read_text()
    return root, out


def test_a_set_up_that_was_cut_off_starts_over(recovered):
    root, out = recovered
    assert "cut off: starting over" in out
    assert (root / ".venv" / ".ready-book").exists()
    assert not (root / ".venv" / ".installing").exists()
    assert not (root / ".venv" / "lib" / "half").exists()


def test_a_set_up_that_is_there_costs_nothing(recovered):
    assert set_up(recovered[0], network=False) == (0, "", "")


def test_a_change_that_needs_no_package_needs_no_network(recovered):
    os.utime(recovered[0] / "pyproject.toml")
    status, out, err = set_up(recovered[0], network=False)
    assert (status, err) == (0, "")
    assert out.startswith("Setting up .venv for make book")


def test_a_set_up_waits_for_another_one(recovered):
    with (recovered[0] / "_build" / "setup.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = start_set_up(recovered[0], network=False)
        assert waiting.stdout.readline() == "Another set-up runs in this folder: waiting for it.\n"
        assert waiting.poll() is None
    assert waiting.communicate() == ("", "")
    assert waiting.returncode == 0


def test_a_folder_that_moved_gets_a_set_up_of_its_own(recovered):
    moved = recovered[0].with_name("moved")
    shutil.copytree(recovered[0], moved, symlinks=True)
    status, out, err = set_up(moved)
    assert (status, err) == (0, "")
    assert "another folder or Python: making it anew" in out


def test_a_first_set_up_without_a_network_says_so_in_one_line(tiny):
    status, _, err = set_up(tiny, network=False)
    assert status == 1
    assert re.fullmatch("Set-up failed: no network: .*setup.log.*\n", err)
    assert "127.0.0.1" in (tiny / ".venv" / "setup.log").read_text()
    assert not (tiny / ".venv" / ".installing").exists()


def test_a_folder_that_is_no_virtual_environment_is_left_alone(tiny):
    (tiny / ".venv").mkdir()
    (tiny / ".venv" / "thesis.txt").write_text("precious")
    status, _, err = set_up(tiny)
    assert status == 1
    assert re.fullmatch("Set-up failed: .*not a virtual environment.*\n", err)
    assert (tiny / ".venv" / "thesis.txt").read_text() == "precious"


def test_an_unknown_group_gets_one_line(tiny):
    error = "setup.py: got boook, expected one of book, lab, pdf, test\n"
    assert set_up(tiny, "boook") == (2, "", error)


# ---- make --------------------------------------------------------------------------------------


def make(*arguments):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    environment = {key: text for key, text in os.environ.items() if not key.startswith("MAKE")}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_make_help_lists_each_target_once_on_one_line():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    targets = re.search(r"^\.PHONY: (help .*)$", makefile, re.MULTILINE)
    listed = re.findall(r"^make ([\w-]+) +\S.*$", make("help").stdout, re.MULTILINE)
    assert sorted(listed) == sorted(targets[1].split())
    assert make().stdout == make("help").stdout


def test_what_make_repository_is_given_is_never_run_as_a_command():
    done = make("repository", f"URL={URL}", "BRANCH=x';echo run;'")
    assert done.returncode != 0 and "BRANCH=x';echo run;': expected letters" in done.stderr
    assert "\nrun" not in f"\n{done.stdout}"


def test_a_missing_python_command_gets_one_line():
    done = make("--always-make", "-o", "Makefile", "book", "PYTHON=no-such-python")
    ours = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(ours) == 1
    assert "no-such-python is not there" in ours[0] and "make book PYTHON=python3.12" in ours[0]


def test_a_stored_figure_is_small_and_looks_the_same():
    grey = np.linspace(0, 255, 200).astype(np.uint8)
    pixels = np.dstack([np.tile(grey, (80, 1))] * 3)
    pixels[:, :20] = (63, 144, 218)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    before = base64.b64encode(buffer.getvalue()).decode()
    after = notebooks.small_png(before)
    assert len(after) < len(before) and notebooks.small_png(after) == after
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(after))).convert("RGB")).astype(int)
    assert abs(seen - pixels.astype(int)).max() <= 6


def test_a_stored_figure_that_would_be_too_large_has_fewer_colours():
    pixels = np.random.default_rng(0).integers(0, 256, size=(280, 280)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    after = base64.b64decode(notebooks.small_png(base64.b64encode(buffer.getvalue()).decode()))
    seen = Image.open(io.BytesIO(after))
    assert len(seen.getcolors()) <= 64 and len(after) < 0.9 * len(buffer.getvalue())
    assert abs(np.asarray(seen.convert("L")).astype(int) - pixels).max() <= 12


def test_a_rare_colour_is_not_turned_grey():
    greys = np.random.default_rng(1).integers(0, 256, size=(40, 400, 1)).repeat(3, axis=2)
    pixels = np.concatenate([greys, greys // 2 + 100]).astype(np.uint8)
    pixels[50:53, 50:53] = (127, 59, 8)  # one dark pixel of a weight
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    after = base64.b64decode(notebooks.small_png(base64.b64encode(buffer.getvalue()).decode()))
    seen = np.asarray(Image.open(io.BytesIO(after)).convert("RGB")).astype(int)
    assert abs(seen[51, 51] - (127, 59, 8)).max() <= 8
