"""Notebook conventions, rewritten in memory as what myst-nb understands.

============================================  ==================================================
in the notebook                               on the page
============================================  ==================================================
code cell tagged ``bootstrap``, ``explore``   nothing
code cell tagged ``setup``                    folded, "Imports and seed"
code cell tagged ``solution``                 folded, code and output, "Solution 01.2", the text
                                              of its first line ``# @title Solution 01.2``; in
                                              place of the import, the functions themselves
one image, then a cell ``**Figure 1.2.** …``  a figure with that caption, the alt text of the
                                              comment ``<!-- alt: … -->`` at its end, and the
                                              anchor ``fig-1-2``
printed lines that begin with ✓, ✗ or ○       in the colours of right, wrong and not attempted
============================================  ==================================================
"""

from __future__ import annotations

import re

import nbformat
from myst_nb.sphinx_ import HideCodeCellNode, depart_HideCellInput, visit_HideCellInput
from nbformat import NotebookNode
from pygments.lexer import RegexLexer
from pygments.token import Comment, Generic, Text
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

from course_utils.exercises.solutions import solution_text

LOGGER = logging.getLogger(__name__)

# Colab shows this comment as the title of a folded cell, the page as the title of the fold.
FORM_TITLE = re.compile(r"#\s*@title\s+(?P<title>.+?)\s*(?:\n+|$)")
SOLUTION = re.compile(r'# solution\("([\d.]+)"\) prints it\.\nfrom course_utils\.exercises\..+\n')
CAPTION = re.compile(r"\*\*Figure (?P<chapter>\w+)\.(?P<number>\w+)\.\*\*")
ALT_TEXT = re.compile(r"\s*<!--\s*alt:\s*(?P<alt>.*?)\s*-->\s*\Z", re.DOTALL)


class OutputLexer(RegexLexer):
    """What verify and check print, told apart from all other output."""

    name = "Output of a course notebook"
    tokens = {
        "root": [
            (r"✓.*\n?", Generic.Inserted),
            (r"✗.*\n?", Generic.Deleted),
            (r"○.*\n?", Comment),
            (r".*\n|.+", Text),
        ]
    }


def setup(app: Sphinx) -> None:
    """Rewrite each notebook between reading and parsing."""
    app.add_lexer("course-output", OutputLexer)
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_HideCellInput))
    app.connect("source-read", rewrite_source)


def rewrite_source(app: Sphinx, docname: str, content: list[str]) -> None:
    """Replace the notebook's JSON by the rewritten one, before myst-nb parses it."""
    if not str(app.env.doc2path(docname)).endswith(".ipynb"):
        return
    notebook = nbformat.reads(content[0], as_version=4)
    for problem in rewrite(notebook):
        LOGGER.warning(problem, location=docname, type="course_book", subtype="figure")
    content[0] = nbformat.writes(notebook)


def rewrite(notebook: NotebookNode) -> list[str]:
    """Apply every convention in place and return what is wrong, for whoever can mend it."""
    fold_cells(notebook)
    return join_figures(notebook)


def fold_cells(notebook: NotebookNode) -> None:
    """Remove what is not for readers of the page; fold set-up and solution cells."""
    kept = [cell for cell in notebook.cells if not {"bootstrap", "explore"} & set(tags(cell))]
    for cell in kept:
        if "setup" in tags(cell):
            fold(cell, "Imports and seed")
        elif "solution" in tags(cell):
            fold(cell, take_title(cell) or "Show the solution")
            show_solution(cell)
    notebook.cells = kept


def join_figures(notebook: NotebookNode) -> list[str]:
    """Give each figure the caption of the cell below it, drop that cell, and return what fails."""
    kept: list[NotebookNode] = []
    problems = []
    for cell in notebook.cells:
        caption = CAPTION.match(cell.source) if cell.cell_type == "markdown" else None
        if caption is None:
            kept.append(cell)
        elif not kept or not shows_one_image(kept[-1]):
            problems.append(
                f"{caption[0]} follows no code cell whose stored output shows exactly one image"
            )
        elif not (alt := ALT_TEXT.search(cell.source)):
            problems.append(f"{caption[0]} does not end in <!-- alt: … -->")
        else:
            options = settings(kept[-1])
            options["image"] = {"alt": " ".join(alt["alt"].split())}
            options["figure"] = {
                "caption": cell.source[: alt.start()].strip(),
                "name": f"fig-{caption['chapter']}-{caption['number']}",
            }
    notebook.cells = kept
    return problems


def shows_one_image(cell: NotebookNode) -> bool:
    """Tell whether a code cell shows one thing, an image; what it prints beside it is no matter."""
    shown = [output for output in cell.get("outputs", []) if output.output_type != "stream"]
    return len(shown) == 1 and "image/png" in shown[0].get("data", {})


def take_title(cell: NotebookNode) -> str | None:
    """Remove the line ``# @title …`` that a cell begins with; return the title, or None."""
    found = FORM_TITLE.match(cell.source)
    if found is None:
        return None
    cell.source = cell.source[found.end() :]
    return found["title"]


def show_solution(cell: NotebookNode) -> None:
    """Put the functions of a solution in the place of the lines that import them."""
    cell.source = SOLUTION.sub(lambda found: solution_text(found[1]) + "\n", cell.source)


def fold(cell: NotebookNode, prompt: str) -> None:
    """Let myst-nb put the whole cell, code and output, behind a line that reads ``prompt``."""
    cell.metadata["tags"] = [*tags(cell), "hide-cell"]
    settings(cell).update(code_prompt_show=prompt, code_prompt_hide=prompt)


def visit_fold(translator: HTML5Translator, node: HideCodeCellNode) -> None:
    """Open a fold as myst-nb does, but let a screen reader read its title.

    The label that myst-nb gives to every fold, "Toggle hidden content", would be read instead.
    """
    start = len(translator.body)
    visit_HideCellInput(translator, node)
    label = ' aria-label="Toggle hidden content"'
    translator.body[start:] = [part.replace(label, "") for part in translator.body[start:]]


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def settings(cell: NotebookNode) -> NotebookNode:
    """Return the part of a cell's metadata that myst-nb reads."""
    return cell.metadata.setdefault("mystnb", NotebookNode())
