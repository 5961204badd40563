"""The directive ``course-checks``: what ``verify`` found, chapter by chapter.

A check is a line that a code cell which calls ``verify`` printed into its stored output: the number
of the equation, if it has one, the claim, and the tolerance, if it is not zero::

    ✓ 2.4 loss after descent = sum of the trailing eigenvalues (within 1e-06)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from docutils import nodes
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import equations

MARK = "✓ "
CHECK = re.compile(
    r"(?P<equation>\d+\.\d+\w?(?!\S))?\s*(?P<claim>.*?)\s*(?:\((?P<tolerance>within [^()]+)\))?"
)
HEADINGS = ("Equation", "Claim", "Tolerance")


@dataclass(frozen=True)
class Check:
    """One claim that held when the notebook was executed."""

    equation: str
    claim: str
    tolerance: str


@dataclass(frozen=True)
class Chapter:
    """What the page of checks shows of a notebook."""

    docname: str
    title: str
    equations: frozenset[str]
    checks: tuple[Check, ...]


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("course-checks", CourseChecks)


class CourseChecks(SphinxDirective):
    """A sentence with the totals, then a table of checks for each chapter."""

    def run(self) -> list[nodes.Node]:
        """Read every notebook of the table of contents and build the nodes."""
        chapters = [self.chapter(docname) for docname in self.notebooks()]
        return [summary(chapters), *(self.section(c) for c in chapters if c.checks)]

    def notebooks(self) -> Iterator[str]:
        """Yield the names of the notebooks in the order of the table of contents."""
        site_map = self.config.external_site_map
        to_visit = [site_map.root.docname]
        while to_visit:
            docname = to_visit.pop(0)
            to_visit[:0] = site_map[docname].child_files() if docname in site_map else []
            if docname in self.env.found_docs and self.path(docname).suffix == ".ipynb":
                yield docname

    def path(self, docname: str) -> Path:
        """Return the path of a page's source."""
        return Path(self.env.doc2path(docname))

    def chapter(self, docname: str) -> Chapter:
        """Read a notebook, and have this page built anew when it changes."""
        self.env.note_dependency(str(self.path(docname)))
        notebook = nbformat.reads(self.path(docname).read_text("utf-8"), as_version=4)
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        numbers = frozenset(equations.numbers(text))
        return Chapter(docname, title(text), numbers, tuple(checks(notebook)))

    def section(self, chapter: Chapter) -> nodes.section:
        """Build a chapter's heading, which links to the chapter, and its table."""
        heading = nodes.title("", "", self.link(chapter, chapter.title))
        section = nodes.section("", heading, table(self.rows(chapter)))
        section["ids"] = [nodes.make_id(f"checks-{chapter.title}")]
        return section

    def rows(self, chapter: Chapter) -> Iterator[list[nodes.Node]]:
        """Yield the three cells of each check; the number leads to the equation if it is there."""
        for check in chapter.checks:
            number: nodes.Node = nodes.Text(check.equation)
            if check.equation in chapter.equations:
                number = self.link(chapter, check.equation, equations.anchor(check.equation))
            yield [number, nodes.Text(check.claim), nodes.Text(check.tolerance)]

    def link(self, chapter: Chapter, text: str, anchor: str = "") -> nodes.Element:
        """Build a link to a chapter or to an equation in it."""
        page = self.env.app.builder.get_relative_uri(self.env.docname, chapter.docname)
        return nodes.reference("", text, refuri=f"{page}#{anchor}".rstrip("#"), internal=True)


def checks(notebook: NotebookNode) -> Iterator[Check]:
    """Yield the checks that the stored outputs of a notebook show."""
    for cell in notebook.cells:
        if cell.cell_type != "code" or "verify(" not in cell.source:
            continue
        printed = "".join(o.text for o in cell.outputs if o.output_type == "stream")
        yield from (parse(line) for line in printed.splitlines() if line.startswith(MARK))


def parse(line: str) -> Check:
    """Split a printed line into equation, claim and tolerance."""
    found = CHECK.fullmatch(line.removeprefix(MARK).strip())
    assert found is not None  # every part is optional, so every line matches
    return Check(found["equation"] or "", found["claim"], found["tolerance"] or "")


def title(markdown: str) -> str:
    """Return the text of the first level-one heading."""
    found = re.search(r"^# +(.+?)\s*$", markdown, re.MULTILINE)
    if found is None:
        raise ValueError("a chapter needs a title: a Markdown line that begins with '# '")
    return found[1]


def summary(chapters: list[Chapter]) -> nodes.paragraph:
    """Say how many claims are checked in how many chapters."""
    n_claims = sum(len(chapter.checks) for chapter in chapters)
    claims = f"{n_claims} claim{'s' * (n_claims != 1)}"
    return nodes.paragraph(
        "", f"{claims} in {len(chapters)} chapter{'s' * (len(chapters) != 1)}, all of which hold."
    )


def table(rows: Iterable[list[nodes.Node]]) -> nodes.table:
    """Build a table from nodes, so that no character of a claim needs escaping."""
    group = nodes.tgroup(cols=len(HEADINGS))
    group += [nodes.colspec(colwidth=width) for width in (10, 65, 25)]
    group += nodes.thead("", row([nodes.Text(heading) for heading in HEADINGS]))
    group += nodes.tbody("", *map(row, rows))
    # The claims appear as they were printed, with straight quotes.
    return nodes.table("", group, classes=["checks"], support_smartquotes=False)


def row(cells: Iterable[nodes.Node]) -> nodes.row:
    """Build a row of cells that hold one line each."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))
