"""What GitHub reads: the workflow, the forms for issues, the citation, the pages around the course.

GitHub itself is not here. So the workflow is held to rules that can be read off its text, its
condition for publishing is evaluated, and the step that can run here does run, in a copy.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import yaml

import portable
import repository

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "course.yml"
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / ".github").glob("*.md"))]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


MAKEFILE, PYPROJECT = read("Makefile"), read("pyproject.toml")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, flags=re.MULTILINE))
EXTRAS = set(re.findall(r"^([a-z]+) = \[$", PYPROJECT, flags=re.MULTILINE)) - {"dependencies"}
TEXT = WORKFLOW.read_text(encoding="utf-8")
COURSE = yaml.safe_load(TEXT)
COURSE["on"] = COURSE.pop(True)  # YAML 1.1 takes the word on for true, GitHub does not
JOBS = COURSE["jobs"]
STEPS = [(name, step) for name, job in JOBS.items() for step in job["steps"]]
RUNS = [(name, step["run"]) for name, step in STEPS if "run" in step]


# ---- the workflow --------------------------------------------------------------------------------


def test_every_action_is_pinned_by_a_commit_with_its_version_beside_it():
    used = [step["uses"] for _, step in STEPS if "uses" in step]
    lines = [line for line in TEXT.splitlines() if re.match(r"\s*(- )?uses:", line)]
    assert len(lines) == len(used) > 0
    for line in lines:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
    versions = {line.partition("uses: ")[2] for line in lines}
    assert len(versions) == len({version.partition("@")[0] for version in versions}), versions


def test_it_runs_on_pushes_to_branches_on_pull_requests_and_by_hand():
    assert COURSE["on"] == {
        "push": {"branches": ["**"]},
        "pull_request": None,
        "workflow_dispatch": None,
    }


def test_no_command_holds_an_expression_that_github_would_paste_into_it():
    for name, command in RUNS:
        assert "${{" not in command, (name, command)
        bare = re.sub(r'"[^"]*"', "", command)
        assert "$" not in bare and "`" not in command, f"{name}: a variable without quotes"
    # An own environment or shell of a step, job or workflow would need rules of its own here.
    for name, step in STEPS:
        assert not {"env", "shell"} & step.keys(), (name, step)
    assert "defaults" not in TEXT and "env" not in COURSE


def test_every_command_is_one_make_target_or_the_python_command_of_a_tool():
    assert RUNS
    for name, command in RUNS:
        assert not re.search(r"[;&|<>\n]", command), f"{name}: more than one command: {command}"
        program, *arguments = shlex.split(command)
        if program == "make":
            target, *settings = arguments
            assert target in TARGETS, command
            for setting in settings:
                assert re.search(rf"^{setting.split('=')[0]} :=", MAKEFILE, re.MULTILINE), setting
        elif arguments[:2] == ["-m", "pip"]:
            extras = re.fullmatch(r"\.\[([a-z,]+)\]", arguments[-1])
            assert arguments[2:-1] == ["install", "-c", "constraints.txt"], command
            assert set(extras[1].split(",")) <= EXTRAS, command
        else:
            assert program == "python" and (ROOT / arguments[0]).is_file(), command


def test_each_job_runs_the_commands_that_it_is_for():
    commands = {job: [shlex.split(run) for name, run in RUNS if name == job] for job in JOBS}
    assert commands["test"] == [["make", "test"]]
    assert [run[:2] for run in commands["book"]] == [["make", "repository"], ["make", "book"]]
    assert commands["publish"] == []
    assert [run[:2] for run in commands["colab"]] == [
        ["make", "repository"],
        ["make", "push-portable"],
    ]
    _, chapters = commands["windows"]
    assert chapters[:2] == ["python", "tools/elsewhere.py"]
    for number in chapters[2:]:
        assert list((ROOT / "notebooks").glob(f"{number}_*.ipynb")), number


def test_what_windows_runs_is_what_stands_behind_the_make_target():
    recipe = re.search(r"^test-portable:.*\n((?:[\t#].*\n)+)", MAKEFILE, flags=re.MULTILINE)
    assert recipe and "tools/elsewhere.py" in recipe[1]


def test_permissions_are_the_least():
    assert COURSE["permissions"] == {"contents": "read"}
    own = {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job}
    assert own == {
        "publish": {"pages": "write", "id-token": "write"},
        "colab": {"contents": "write"},
    }
    assert JOBS["publish"]["environment"]["name"] == "github-pages"
    assert "secrets." not in TEXT and "pull_request_target" not in TEXT
    for name, step in STEPS:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is (name == "colab"), name


def test_every_job_ends_by_itself_and_an_old_run_gives_way():
    assert all(0 < job["timeout-minutes"] <= 90 for job in JOBS.values())
    assert "github.ref" in COURSE["concurrency"]["group"]
    # A run on the default branch may be publishing.
    assert COURSE["concurrency"]["cancel-in-progress"] == (
        "${{ github.ref_name != github.event.repository.default_branch }}"
    )


def test_it_covers_the_platforms_and_pythons_that_the_course_promises():
    oldest = re.search(r'^requires-python = ">=([\d.]+)"$', PYPROJECT, re.MULTILINE)[1]
    newest = re.search(r"a tested Python \([\d.]+ to ([\d.]+)\)", read("tools/setup.py"))[1]
    assert f"Python {oldest} or newer" in read("README.md")
    tested = {(run["os"], run["python"]) for run in JOBS["test"]["strategy"]["matrix"]["include"]}
    assert tested == {
        ("ubuntu-latest", oldest),
        ("ubuntu-latest", newest),
        ("macos-latest", newest),
    }
    assert JOBS["test"]["runs-on"] == "${{ matrix.os }}"
    assert JOBS["windows"]["runs-on"] == "windows-latest"
    pythons = [
        step["with"]["python-version"]
        for _, step in STEPS
        if step.get("uses", "").startswith("actions/setup-python@")
    ]
    assert pythons == ["${{ matrix.python }}", newest, newest, newest]  # text: 3.10 is no number


def test_mnist_is_kept_between_runs_where_the_tests_look_for_it():
    (kept,) = [step["with"] for _, step in STEPS if "actions/cache@" in step.get("uses", "")]
    assert JOBS["test"]["env"]["COURSE_DATA"] == f"${{{{ github.workspace }}}}/{kept['path']}"
    (source,) = re.findall(r"hashFiles\('(.+?)'\)", kept["key"])
    assert "md5" in read(source)
    ignored = subprocess.run(["git", "check-ignore", "-q", kept["path"] + "/x"], cwd=ROOT)
    assert ignored.returncode in (0, 128)  # 128: no git checkout


def test_pip_keeps_what_it_fetched_except_where_pytorch_brings_cuda():
    for name, step in STEPS:
        if step.get("uses", "").startswith("actions/setup-python@"):
            assert step["with"]["cache-dependency-path"].split() == [
                "constraints.txt",
                "pyproject.toml",
            ]
            linux_alone = "${{ matrix.os != 'ubuntu-latest' && 'pip' || '' }}"
            assert step["with"]["cache"] == (linux_alone if name == "test" else "pip")
    no_cache = JOBS["test"]["env"]["PIP_NO_CACHE_DIR"]
    assert no_cache == "${{ matrix.os == 'ubuntu-latest' && '1' || '' }}"


# ---- publishing ----------------------------------------------------------------------------------


def holds(condition, github):
    """Whether an `if:` holds; for the few operators of GitHub's language that this one uses."""
    python = condition.replace("&&", " and ").replace("||", " or ")
    return bool(eval(python, {"github": github, "format": lambda text, *args: text.format(*args)}))


def event(name, ref, has_pages=True):
    """What GitHub tells a run of such an event, in a repository whose default branch is trunk."""
    default = types.SimpleNamespace(default_branch="trunk", has_pages=has_pages)
    about = types.SimpleNamespace(repository=default)
    short = re.sub("^refs/(heads|tags|pull)/", "", ref)
    return types.SimpleNamespace(event_name=name, ref=ref, ref_name=short, event=about)


@pytest.mark.parametrize(
    ("name", "ref", "has_pages", "published"),
    [
        ("push", "refs/heads/trunk", True, True),
        ("push", "refs/heads/trunk", False, False),
        ("push", "refs/heads/idea", True, False),
        ("push", "refs/tags/trunk", True, False),
        ("pull_request", "refs/pull/12/merge", True, False),
        ("pull_request", "refs/heads/trunk", True, False),
        ("workflow_dispatch", "refs/heads/trunk", True, True),
        ("workflow_dispatch", "refs/heads/trunk", False, True),
        ("workflow_dispatch", "refs/heads/idea", True, False),
    ],
)
def test_the_book_is_published_from_the_default_branch_where_pages_is_on(
    name, ref, has_pages, published
):
    assert holds(JOBS["publish"]["if"], event(name, ref, has_pages)) is published
    assert JOBS["colab"]["if"] == JOBS["publish"]["if"]


def test_only_a_book_that_has_passed_every_test_is_published():
    assert set(JOBS["publish"]["needs"]) == set(JOBS) - {"publish"}
    assert set(JOBS["colab"]["needs"]) == set(JOBS) - {"publish", "colab"}
    assert all("if" not in job for name, job in JOBS.items() if name not in ("publish", "colab"))
    assert "continue-on-error" not in TEXT


def test_what_is_published_is_what_make_book_writes():
    (folder,) = [
        step["with"]["path"]
        for _, step in STEPS
        if "actions/upload-pages-artifact@" in step.get("uses", "")
    ]
    assert f"{folder}/index.html" in re.search("^book:.*$", MAKEFILE, re.MULTILINE)[0]
    (deploy,) = JOBS["publish"]["steps"]
    assert f"steps.{deploy['id']}.outputs" in JOBS["publish"]["environment"]["url"]


# The Python of a .venv that is there already, as far as the Makefile can see: that of these tests.
PYTHON = '#!/bin/sh\nexec "{python}" "$@"\n'


@pytest.fixture(scope="module")
def fork(tmp_path_factory):
    """A copy of what is tracked here, with a .venv that needs no set-up."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode != 0 or not shutil.which("make") or not shutil.which("bash"):
        pytest.skip("needs a git checkout, make and bash")
    root = tmp_path_factory.mktemp("fork") / "course"
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    binaries = root / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").write_text(PYTHON.format(python=sys.executable))
    (binaries / "python").chmod(0o755)
    version = "{}.{}".format(*sys.version_info[:2])
    (root / ".venv" / ".made-for").write_text(f"{root.resolve()}\n{version}\n")
    (root / ".venv" / ".ready-book").touch()
    return root


def address_step(root, branch):
    """Run the step that sets the address as GitHub does, in this copy."""
    (command,) = [run for name, run in RUNS if name == "book" and "repository" in run]
    environment = {key: text for key, text in os.environ.items() if not key.startswith("MAKE")}
    environment |= {"GITHUB_REPOSITORY": "someone/their-fork", "GITHUB_REF_NAME": branch}
    return subprocess.run(
        ["bash", "-e", "-c", command], cwd=root, env=environment, capture_output=True, text=True
    )


def test_the_book_of_a_fork_leads_to_the_fork(fork):
    done = address_step(fork, "trunk")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Setting up" not in done.stdout
    config = (fork / "_config.yml").read_text(encoding="utf-8")
    assert repository.address(config) == ("https://github.com/someone/their-fork", "trunk")
    colab = "https://colab.research.google.com/github/someone/their-fork/blob/trunk/notebooks/"
    chapters = list((fork / "notebooks").glob("*.ipynb"))
    readme = (fork / "README.md").read_text(encoding="utf-8")
    assert all(f"({colab}{path.name})" in readme for path in chapters) and chapters
    for path in chapters:
        assert "git+https://github.com/someone/their-fork@trunk" in path.read_text("utf-8")
    assert repository.main(["--check"], fork) == 0


def test_colabs_buttons_lead_to_the_branch_that_is_pushed():
    assert JOBS["book"]["env"] == {"COURSE_COLAB_BRANCH": portable.BRANCH}


def test_the_portable_chapters_are_pushed_to_a_branch_of_their_own(fork, tmp_path):
    git = ["git", "-C", str(fork), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "there")], check=True)
    subprocess.run([*git, "init", "-q"], check=True)
    failing = subprocess.run(["make", "push-portable"], cwd=fork, capture_output=True, text=True)
    assert failing.returncode != 0 and "git rev-parse HEAD failed: " in failing.stderr
    subprocess.run([*git, "add", "README.md"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    subprocess.run([*git, "remote", "add", "origin", str(tmp_path / "there")], check=True)
    for _ in range(2):  # the second push replaces the first
        done = subprocess.run(["make", "push-portable"], cwd=fork, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    there = ["git", "-C", str(tmp_path / "there")]
    listed = subprocess.check_output([*there, "ls-tree", "--name-only", portable.BRANCH], text=True)
    names = sorted(path.name for path in (fork / "notebooks").glob("*.ipynb"))
    assert listed.split() == names
    show = [*there, "show", f"{portable.BRANCH}:{names[0]}"]
    assert subprocess.check_output(show) == (fork / "_build/portable" / names[0]).read_bytes()
    count = [*there, "rev-list", "--count", portable.BRANCH]
    assert subprocess.check_output(count, text=True) == "1\n"
    status = subprocess.check_output([*git, "status", "--short", "README.md"], text=True)
    assert status == ""


def test_a_pull_request_can_build_its_book(fork):
    done = address_step(fork, "12/merge")
    assert done.returncode == 0 and "branch 12/merge" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "ref", "reaches"),
    [
        ("push", "refs/heads/trunk", True),
        ("workflow_dispatch", "refs/heads/trunk", True),
        ("pull_request", "refs/pull/12/merge", True),
        ("push", "refs/heads/a';touch$$IFS''x;'", False),
        ("workflow_dispatch", "refs/heads/idea#3", False),
    ],
)
def test_no_name_that_a_stranger_chose_for_a_branch_reaches_the_makefile(name, ref, reaches):
    (step,) = [step for job, step in STEPS if job == "book" and "repository" in step.get("run", "")]
    assert holds(step["if"], event(name, ref)) is reaches
    # The name that GitHub gives to the copy of a pull request; the stranger's own is head_ref.
    assert "head_ref" not in TEXT and "GITHUB_HEAD_REF" not in TEXT


# ---- the citation and the forms ------------------------------------------------------------------


def test_the_citation_names_the_course_its_version_and_no_invented_person():
    citation = parsed(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # the format's rule
    assert citation["cff-version"] == "1.2.0" and citation["type"] in ("software", "dataset")
    version = re.search(r'^version = "(.+)"$', PYPROJECT, re.MULTILINE)[1]
    assert citation["version"] == version
    assert citation["title"] == parsed(ROOT / "_config.yml")["title"]
    assert citation["authors"] == [{"name": "The contributors of the course"}]
    assert not {"doi", "identifiers", "contact"} & citation.keys()
    assert "MIT License" in read("LICENSE") and citation["license"] == "MIT"


def is_text(value):
    return isinstance(value, str) and bool(value.strip())


def faults(form):
    """What GitHub would refuse in a form for issues."""
    if not isinstance(form, dict):
        return ["no mapping"]
    found = [f"{key}: no text" for key in ("name", "description") if not is_text(form.get(key))]
    known = {"name", "description", "body", "title", "labels", "assignees", "projects", "type"}
    found += [f"{key}: not a key of a form" for key in form.keys() - known]
    if not isinstance(form.get("body"), list) or not form["body"]:
        return [*found, "body: no list"]
    for element in form["body"]:
        found += element_faults(element)
    asked = [element for element in form["body"] if element.get("type") != "markdown"]
    found += [] if asked else ["body: asks for nothing"]
    for what in ("id", "label"):
        given = [e.get("id") if what == "id" else e["attributes"].get("label") for e in asked]
        found += [] if len(set(given)) == len(given) else [f"{what}: not unique"]
    return found


def element_faults(element):
    kind, attributes = element.get("type"), element.get("attributes") or {}
    if kind == "markdown":
        return [] if is_text(attributes.get("value")) else ["markdown: no value"]
    if kind not in ("input", "textarea", "dropdown", "checkboxes"):
        return [f"{kind}: no type of element"]
    known = {"type", "id", "attributes", "validations"}
    found = [f"{key}: not a key of an element" for key in element.keys() - known]
    if not re.fullmatch(r"[A-Za-z0-9_-]+", str(element.get("id", ""))):
        found.append(f"{kind}: no id that GitHub takes")
    if not is_text(attributes.get("label")):
        found.append(f"{kind}: no label")
    if kind in ("dropdown", "checkboxes"):
        options = attributes.get("options") or []
        texts = [o.get("label") if kind == "checkboxes" else o for o in options]
        if not texts or not all(map(is_text, texts)) or len(set(texts)) != len(texts):
            found.append(f"{kind}: options are missing, not text, or not unique")
    required = (element.get("validations") or {}).get("required", False)
    return found if isinstance(required, bool) else [*found, "required: neither true nor false"]


@pytest.mark.parametrize("name", ["formula", "notebook"])
def test_a_form_is_one_that_github_takes(name):
    assert faults(parsed(ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml")) == []


def test_there_is_a_form_for_a_formula_and_one_for_a_notebook_and_they_ask_what_is_needed():
    forms = {path.stem: parsed(path) for path in FORMS}
    assert forms["formula"]["name"] == "A formula or a statement is wrong"
    assert forms["notebook"]["name"] == "A notebook fails"
    (doctor,) = [e for e in forms["notebook"]["body"] if e.get("id") == "doctor"]
    assert "`python -m course_utils doctor`" in doctor["attributes"]["description"]
    assert doctor["validations"]["required"] is True
    for name in ("formula", "notebook"):
        assert forms[name]["name"] in read("CONTRIBUTING.md")
    assert forms["config"] == {"blank_issues_enabled": True}
    assert set(forms) == {"formula", "notebook", "config"}


# ---- the pages around the course -----------------------------------------------------------------


def without_code(markdown):
    return re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.DOTALL)


def anchors(markdown):
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub("```.*?```", "", markdown, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if not re.match("https?:", link):
            place, _, anchor = link.partition("#")
            target = (page.parent / place).resolve() if place else page
            assert target.exists() and target.is_relative_to(ROOT), link
            assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    code = "\n".join(block or inline for block, inline in found)
    assert set(re.findall(r"^make ([a-z][a-z-]*)", code, re.MULTILINE)) <= TARGETS
    for tool in re.findall(r"python (tools/\S+)", code):
        assert (ROOT / tool).is_file(), tool
    for extras in re.findall(r"\.\[([a-z,]+)\]", code):
        assert set(extras.split(",")) <= EXTRAS, extras


def test_every_page_that_a_reader_looks_for_is_there_and_the_readme_leads_to_it():
    readme = read("README.md")
    for name in ("CONTRIBUTING.md", "CITATION.cff", ".github/SECURITY.md", "LICENSE"):
        assert (ROOT / name).is_file() and f"]({name})" in readme, name


def test_the_table_of_places_names_what_is_there():
    for row in re.findall(r"^\| (`.+?) \|", read("CONTRIBUTING.md"), re.MULTILINE):
        for name in re.findall("`([^`]+)`", row):
            assert (ROOT / name).exists(), name
