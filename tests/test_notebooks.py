"""Every chapter keeps the rules of the house: form, budgets, shared code, claims, exercises."""

import ast
import base64
import builtins
import json
import re
import struct
from functools import cache
from pathlib import Path

import pytest
import yaml

from bootstrap import checkout_source
from notebooks import normal_form, picture, plain_python
from repository import address

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "course_utils"
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
TEXTS = [*PATHS, ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]
FIRST_TORCH_CHAPTER = 4


@cache
def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return set(cell["metadata"].get("tags", []))


def code_cells(path, tag=None):
    chosen = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    return [cell for cell in chosen if tag in tags(cell)] if tag else chosen


def bound(node):
    """The names that a node of a syntax tree binds."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(each.asname or each.name).split(".")[0] for each in node.names}
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.arg):
        return {node.arg}
    return {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else set()


def printed(cell):
    return "".join("".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream")


def pngs(cell):
    data = [o.get("data", {}) for o in cell["outputs"]]
    return [base64.b64decode("".join(d["image/png"])) for d in data if "image/png" in d]


def named(path, cell):
    return pytest.param(path, cell, id=f"{path.stem[:2]} {cell['id']}")


def prose(path):
    return "\n".join(source(cell) for cell in cells(path) if cell["cell_type"] == "markdown")


def code_lines(cell):
    return sum(1 for line in source(cell).splitlines() if line.strip())


def parsed(cell):
    plain = "\n".join(
        "pass" if line.lstrip().startswith("%") else line for line in source(cell).splitlines()
    )
    return ast.parse(re.sub(r"^(\s+)%.*$", r"\1pass", source(cell), flags=re.M) or plain)


def test_the_table_of_contents_lists_every_notebook_once():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    chapters = [name for name in listed if name.startswith("notebooks/")]
    assert chapters == [f"notebooks/{p.stem}" for p in PATHS]


@each_notebook
def test_a_notebook_is_stored_in_normal_form(path):
    text = path.read_text(encoding="utf-8")
    assert normal_form(json.loads(text)) == text, "run `make outputs` and commit what it wrote"


@each_notebook
def test_outputs_stay_inside_the_budget(path):
    assert path.stat().st_size <= 600_000
    for cell in code_cells(path):
        for output in cell["outputs"]:
            assert output["output_type"] != "error" and output.get("name") != "stderr"
            assert not any("widget" in mime for mime in output.get("data", {}))
        assert printed(cell).count("\n") <= 12
        assert len(pngs(cell)) <= 1
        assert all(len(png) <= 100_000 for png in pngs(cell)), cell["id"]


@each_notebook
def test_a_cell_that_speaks_has_a_stored_output(path):
    for cell in code_cells(path):
        if re.search(r"^(print|verify|check|plt\.show)\(", source(cell), flags=re.M):
            assert cell["outputs"], f"{cell['id']}: run `make outputs`"


@each_notebook
def test_a_cell_that_reads_mnist_says_so(path):
    for cell in code_cells(path):
        if "data.mnist(" in source(cell):
            assert "mnist" in tags(cell), f"{cell['id']}: says something else where it is not"


def test_the_page_on_running_names_the_chapters_that_read_mnist():
    page = (ROOT / "book" / "run_it.md").read_text(encoding="utf-8")
    reading = [p.stem[:2] for p in PATHS if any("mnist" in tags(c) for c in code_cells(p))]
    assert f"{', '.join(reading[:-1])} and {reading[-1]} read MNIST" in page


@each_notebook
def test_the_opening_is_title_box_bootstrap_setup(path):
    first, bootstrap, setup = cells(path)[:3]
    number = path.stem[:2]
    repository = address((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert source(first).startswith(f"# {number} · ")
    for promise in ("> **After this chapter you can**", "> **You need**", "> **Time**"):
        assert promise in source(first)
    assert tags(bootstrap) == {"bootstrap"} and tags(setup) == {"setup"}
    assert source(bootstrap) == checkout_source(*repository)
    assert source(setup).count("runtime.seed(") == 1
    everything = "\n".join(source(cell) for cell in code_cells(path))
    assert everything.count("runtime.seed(") == 1 and "np.random." not in re.sub(
        r"np\.random\.Generator", "", everything
    )


@each_notebook
def test_the_closing_is_summary_exercises_reading(path):
    headings = re.findall(r"^## (.+)$", prose(path), flags=re.M)
    assert headings[-3:] == ["What to remember", "Exercises", "Where to read on"]


@each_notebook
def test_cells_are_short(path):
    written = [cell for cell in code_cells(path) if "bootstrap" not in tags(cell)]
    lengths = sorted(code_lines(cell) for cell in written)
    assert lengths[-1] <= 30
    assert lengths[int(0.9 * len(lengths))] <= 16
    assert lengths[len(lengths) // 2] <= 8


@each_notebook
def test_plain_markdown_only(path):
    for line in prose(path).splitlines():
        assert not re.match(r"\s*(```|:::+)\s*\{", line), line
        assert not re.search(r"\{(ref|numref|cite[:\w]*|doc|eq|term|prf:ref)\}`", line), line


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_no_line_ends_inside_a_number(path):
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else prose(path)
    found = re.findall(r"(?<![\d.,])\d{1,3} \d{3}(?!\d).*", text)
    assert found == [], "between thousands and hundreds stands U+00A0, a space that does not break"


@each_notebook
def test_numpy_chapters_import_no_torch(path):
    if int(path.stem[:2]) >= FIRST_TORCH_CHAPTER:
        pytest.skip("PyTorch enters in chapter 04")
    assert not any(re.search(r"\btorch", source(cell)) for cell in code_cells(path))


def definitions(tree):
    """Return the top-level functions, classes and type aliases of a module, docstrings aside."""
    found = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for inner in ast.walk(node):
                if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(inner):
                    inner.body = inner.body[1:] or [ast.Pass()]
            found[node.name] = ast.dump(node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.dump(node)
    return found


@cache
def package_definitions():
    found = {}
    for module in set(PACKAGE.rglob("*.py")) - set(PACKAGE.glob("exercises/*.py")):
        for name, tree in definitions(ast.parse(module.read_text(encoding="utf-8"))).items():
            found.setdefault(name, []).append((module.relative_to(PACKAGE), tree))
    return found


SHARED = [named(path, cell) for path in PATHS for cell in code_cells(path, "shared")]


@pytest.mark.parametrize(("path", "cell"), SHARED)
def test_shared_code_is_the_same_in_the_chapter_and_in_the_package(path, cell):
    shown = definitions(ast.parse(source(cell)))
    assert shown, "a shared cell defines something"
    for name, tree in shown.items():
        places = package_definitions().get(name, [])
        assert len(places) == 1, f"{name} must be defined once in course_utils, found {places}"
        assert places[0][1] == tree, f"{name} differs from {places[0][0]}"


@each_notebook
def test_what_a_chapter_defines_again_is_tagged_shared(path):
    for cell in code_cells(path):
        # quoted: code as it circulates, under the name that it has there
        if not tags(cell) & {"shared", "exercise", "solution", "bootstrap", "quoted"}:
            again = set(definitions(parsed(cell))) & set(package_definitions())
            functions = {n for n in again if re.search(rf"^(def|class) {n}\b", source(cell), re.M)}
            assert not functions, f"{functions} in course_utils: tag the cell shared, or import"


@each_notebook
def test_every_claim_of_a_numbered_equation_names_an_equation_of_the_chapter(path):
    number = int(path.stem[:2])
    equations = re.findall(r"\\tag\{([\d.]+)\}", prose(path))
    assert len(set(equations)) == len(equations), "an equation number stands twice"
    assert equations == [f"{number}.{i}" for i in range(1, len(equations) + 1)]
    lines = "\n".join(map(printed, code_cells(path)))
    claims = re.findall(r"^✓ ([1-9]\d*\.\d+) ", lines, flags=re.M)
    assert claims and set(claims) <= set(equations)
    for mention in re.findall(r"(?<![\d\w])\((\d+\.\d+)\)", prose(path)):
        if mention.split(".")[0] == str(number):
            assert mention in equations, f"({mention}) is no equation here"


@each_notebook
def test_a_claim_and_an_answer_never_share_a_cell(path):
    for cell in code_cells(path):
        assert not ("verify(" in source(cell) and re.search(r"^check\(", source(cell), re.M))


@each_notebook
def test_figures_have_a_caption_and_alt_text_and_are_numbered_in_order(path):
    number, count = int(path.stem[:2]), 0
    for cell, following in zip(cells(path), [*cells(path)[1:], None], strict=True):
        if cell["cell_type"] == "code" and pngs(cell):
            count += 1
            assert source(cell).rstrip().endswith("plt.show()") or "plt.show()\n" in source(cell)
            pattern = rf"\*\*Figure {number}\.{count}\.\*\* .{{40,}}<!-- alt: .{{40,}} -->\s*$"
            assert following is not None, cell["id"]
            assert re.match(pattern, source(following), flags=re.S), cell["id"]
            (png,) = pngs(cell)
            width, height = struct.unpack(">II", png[16:24])
            (shown,) = (o["metadata"]["image/png"] for o in cell["outputs"] if "data" in o)
            assert 600 / 2 <= shown["width"] <= 850 and shown["height"] <= 850
            assert abs(width - 2 * shown["width"]) <= 1  # two dots for each pixel of the page
            assert abs(height - 2 * shown["height"]) <= 1


@each_notebook
def test_the_opening_gives_the_minutes_that_the_exercises_add_up_to(path):
    minutes = re.findall(r"^### Exercise [\d.]+ ★+ · (\d+) minutes", prose(path), re.M)
    (told,) = re.findall(r"^> \*\*Time\*\* .*? (\d+) minutes for the exercises", prose(path), re.M)
    assert int(told) == sum(map(int, minutes))


@each_notebook
def test_no_chapter_is_named_that_is_not_there(path):
    named = re.findall(r"[Cc]hapters? (\d\d)\b(?:(?:, | and | to )(\d\d)\b)?", prose(path))
    assert {int(n) for pair in named for n in pair if n} <= {int(p.stem[:2]) for p in PATHS}


@each_notebook
def test_exercises_are_heading_stub_solution_with_the_same_check(path):
    from course_utils.exercises.answers import find

    number = path.stem[:2]
    headings = re.findall(r"^### Exercise ([\d.]+) (★{1,3}) · (\d+) minutes", prose(path), re.M)
    assert 3 <= len(headings) <= 6
    assert [h[0] for h in headings] == [f"{number}.{i}" for i in range(1, len(headings) + 1)]
    assert f'`check` answers. Stuck? Run `hint("{number}.1")`' in prose(path)
    stubs, solutions = code_cells(path, "exercise"), code_cells(path, "solution")
    assert len(stubs) == len(solutions) == len(headings)
    for (exercise, _, _), stub, solution in zip(headings, stubs, solutions, strict=True):
        last = source(stub).rstrip().splitlines()[-1]
        assert last.startswith(f'check("{exercise}", ') and "..." in source(stub)
        assert source(solution).rstrip().splitlines()[-1] == last
        names = ", ".join(function.__name__ for function in find(exercise).solution)
        assert source(solution).startswith(
            f"# @title Solution {exercise}\n"
            f'# solution("{exercise}") prints it.\n'
            f"from course_utils.exercises.chapter{number} import {names}\n"
        )
        assert f"def {names.split(', ')[0]}(" in source(stub)
        assert printed(stub).startswith(f"○ {exercise} ")
        assert printed(solution).splitlines()[-1].startswith(f"✓ {exercise} ")
        assert cells(path).index(solution) == cells(path).index(stub) + 1


@each_notebook
def test_a_printed_solution_runs_where_the_chapter_has_run(path):
    from course_utils.exercises.answers import find
    from course_utils.exercises.solutions import solution_text

    code = "\n".join(plain_python(source(cell)) for cell in code_cells(path))
    known = {name for node in ast.walk(ast.parse(code)) for name in bound(node)} | set(
        dir(builtins)
    )
    for number in re.findall(r"^### Exercise ([\d.]+) ", prose(path), re.M):
        tree = ast.parse(solution_text(number))
        own = {name for node in ast.walk(tree) for name in bound(node)}
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert used <= known | own, f"{number}: {used - known - own} is not in the chapter"
        assert own & {function.__name__ for function in find(number).solution}


@each_notebook
def test_no_exercise_of_the_package_is_missing_from_its_chapter(path):
    from importlib import import_module

    known = import_module(f"course_utils.exercises.chapter{path.stem[:2]}").EXERCISES
    headings = re.findall(r"^### Exercise ([\d.]+) ", prose(path), re.M)
    assert [e.number for e in known] == headings


@each_notebook
def test_citations_are_in_the_bibliography(path):
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    known = set(re.findall(r"^\s*url\s*=\s*[{\"](.+?)[}\"]", bibliography, flags=re.M))
    cited = re.findall(r"\[([^\]]+\(\d{4}\))\]\((https?://[^\s]+?)\)(?=[\s.,;:)\]]|$)", prose(path))
    assert cited
    for text, url in cited:
        assert url in known, f"{text}: {url} is no url of an entry in references.bib"
    bare = re.sub(r"\[[^\]]+\]\([^\s]+\)", "", prose(path))
    assert not re.search(r"[A-Z][a-z]+ \(\d{4}\)", bare), "a citation without a link"


def test_the_picture_of_the_readme_is_the_stored_figure():
    stored = picture(ROOT / "notebooks")
    assert stored and (ROOT / "book" / "_static" / "picture.png").read_bytes() == stored


def test_every_source_of_the_bibliography_is_cited():
    text = "\n".join(map(prose, PATHS))
    text += "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "book").glob("*.md"))
    text += "\n".join(p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py"))
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"^@\w+\{(\w+),.*?^\s*url\s*=\s*\{(.+?)\}", bibliography, re.M | re.S)
    assert len(entries) == len(re.findall(r"^@", bibliography, re.M))
    for key, url in entries:
        assert url in text or f"`{key}`" in text or url.split("abs/")[-1] in text, (
            f"{key} is cited nowhere"
        )
