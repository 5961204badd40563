"""Citations: plain links in the notebooks, references in the book.

A notebook cites with a Markdown link, ``[Baldi and Hornik (1989)](https://doi.org/…)``, which
reads well anywhere. Where references.bib has an entry with this address, the link leads to the
entry in the bibliography instead, and the entry leads to the source. The text of the link stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote, urlsplit

from docutils import nodes
from pybtex.backends.plaintext import Backend as PlainText
from sphinx.application import Sphinx
from sphinxcontrib.bibtex.domain import BibtexDomain, Citation
from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle


def round_brackets() -> BracketStyle:
    """Return the brackets of "Baldi and Hornik (1989)"; the default style has square ones."""
    return BracketStyle(left="(", right=")")


@dataclass
class CourseReferenceStyle(AuthorYearReferenceStyle):
    """How ``{cite:t}`` and ``{cite:p}`` read on the pages that are not notebooks."""

    bracket_textual: BracketStyle = field(default_factory=round_brackets)
    bracket_parenthetical: BracketStyle = field(default_factory=round_brackets)
    bracket_year: BracketStyle = field(default_factory=round_brackets)


def setup(app: Sphinx) -> None:
    """Register the reference style and the step that turns links into citations."""
    register_plugin("sphinxcontrib.bibtex.style.referencing", "course", CourseReferenceStyle)
    app.connect("source-read", depend_on_references)
    app.connect("doctree-resolved", link_citations)


def depend_on_references(app: Sphinx, docname: str, content: list[str]) -> None:
    """Have a page built anew when a file of references changes."""
    for path in app.config.bibtex_bibfiles:
        app.env.note_dependency(str(app.srcdir / path))


def link_citations(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Point each link to a source of the bibliography to its entry there."""
    domain = cast(BibtexDomain, app.env.get_domain("cite"))
    known = {source_key(c.entry.fields.get("url", "")): c for c in domain.citations}
    for link in doctree.findall(nodes.reference):
        citation = known.get(source_key(link.get("refuri", "")))
        if citation and docname != citation.bibliography_key.docname:
            page = app.builder.get_relative_uri(docname, citation.bibliography_key.docname)
            link["refuri"] = f"{page}#{citation.citation_id}"
            link["reftitle"] = tooltip(citation)
            link["internal"] = True
            link["classes"] = ["citation-link"]


def source_key(url: str) -> str:
    """Reduce an address to what identifies the source, or to "" where it names no host.

    DOIs ignore case, and their brackets may be percent-encoded. Where there is a query, it names
    the source, as on OpenReview.
    """
    parts = urlsplit(unquote(url))
    host = parts.netloc.removeprefix("www.")
    query = f"?{parts.query}" if parts.query else ""
    return f"{host}{parts.path.rstrip('/')}{query}".casefold() if host else ""


def tooltip(citation: Citation) -> str:
    """Return the whole reference, less its address, as plain text."""
    text = str(citation.formatted_entry.text.render(PlainText()))
    return text.partition(" URL:")[0]
