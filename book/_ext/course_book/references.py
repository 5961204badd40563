"""Links that nobody has to write: "(13.2)", "Figure 8.1", "chapter 12", terms of the glossary.

The notebooks name an equation, a figure or a chapter by its number, which reads well anywhere. On
the page the number leads there, and so does the first mention of each term of the glossary. What a
link leads to comes along in a ``<template>``, and course.js shows it where the link is pointed at.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from . import equations, mathematics

EQUATION = r"(?<=\()(?P<equation>\d+\.\d+[a-z]?)(?=\))"
FIGURE = r"\b[Ff]igure\s(?P<figure>\d+\.\d+)"
CHAPTER = r"\b[Cc]hapter\s(?P<chapter>\d\d)\b"
CLOSED = (
    nodes.citation,
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.raw,
    nodes.term,
    nodes.title,
    addnodes.pending_xref,
)
# Terms that the chapters use in their everyday sense too: no program can tell which.
EVERYDAY = {
    "baseline",
    "chart",
    "code",
    "corruption",
    "dictionary",
    "evidence",
    "gap",
    "head",
    "normal part",
    "probe",
    "projection",
    "rate",
    "risk",
    "score",
    "stride, padding",
}


@dataclass
class Targets:
    """What a page holds that others refer to, by number."""

    equations: dict[str, str] = field(default_factory=dict)
    figures: dict[str, tuple[str, str]] = field(default_factory=dict)
    title: str = ""


def setup(app: Sphinx) -> None:
    """Note targets while pages are read; link to them while pages are written."""
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("doctree-read", note_targets)
    app.connect("doctree-resolved", link_numbers, priority=400)  # before the equations' own steps


def all_targets(env: BuildEnvironment) -> dict[str, Targets]:
    """Return the targets of all pages by the name of the page."""
    if not hasattr(env, "course_targets"):
        env.course_targets = {}  # type: ignore[attr-defined]
    return env.course_targets


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop what a page held before it is read anew."""
    all_targets(env).pop(docname, None)


def merge(app: Sphinx, env: BuildEnvironment, docnames: list[str], other: BuildEnvironment) -> None:
    """Take over what another process has read."""
    all_targets(env).update({name: all_targets(other)[name] for name in docnames})


def note_targets(app: Sphinx, doctree: nodes.document) -> None:
    """Note the numbered equations and figures of a page."""
    targets = all_targets(app.env)[app.env.docname] = Targets()
    title = next(doctree.findall(nodes.title), None)
    targets.title = title.astext() if title else ""
    for block in doctree.findall(nodes.math_block):
        tex = block.astext()
        targets.equations.update(dict.fromkeys(equations.numbers(tex), tex))
    for figure in doctree.findall(nodes.figure):
        image = next(figure.findall(nodes.image), None)
        for name in figure["ids"]:
            if image and (found := re.fullmatch(r"fig-(\d+)-(\d+)", name)):
                targets.figures[f"{found[1]}.{found[2]}"] = (image["uri"], image.get("alt", ""))


@dataclass
class Linker:
    """Makes the links of one page, and keeps what they lead to."""

    app: Sphinx
    docname: str
    previews: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Gather what the pages hold, by number, and the terms that this page has not met."""
        self.equations: dict[str, tuple[str, str]] = {}
        self.figures: dict[str, tuple[str, str, str]] = {}
        self.chapters: dict[str, tuple[str, str]] = {}
        for docname, targets in all_targets(self.app.env).items():
            self.equations.update({n: (docname, tex) for n, tex in targets.equations.items()})
            self.figures.update({n: (docname, *image) for n, image in targets.figures.items()})
            if found := re.match(r"(\d\d)_", Path(docname).name):
                self.chapters[found[1]] = (docname, targets.title)
        terms = glossary(self.app)
        self.terms = {} if any(docname == self.docname for docname, *_ in terms.values()) else terms
        words = "|".join(re.escape(term) for term in sorted(self.terms, key=len, reverse=True))
        term = rf"|(?<![\w-])(?P<term>{words})(?:s)?(?![\w-])" if words else ""
        self.pattern = re.compile(f"{EQUATION}|{FIGURE}|{CHAPTER}{term}", re.IGNORECASE)

    def link(self, found: re.Match[str]) -> nodes.reference | None:
        """Return the link for what was found in a text; None where there is nothing to lead to."""
        groups = found.groupdict()
        if (number := groups["equation"]) in self.equations:
            docname, tex = self.equations[number]
            return self.reference(
                found[0], docname, equations.anchor(number), lambda: equation_preview(tex, number)
            )
        if (number := groups["figure"]) in self.figures:
            docname, uri, alt = self.figures[number]
            name = f"fig-{number.replace('.', '-')}"
            return self.reference(found[0], docname, name, lambda: self.picture(uri, alt, number))
        if (number := groups["chapter"]) in self.chapters:
            docname, title = self.chapters[number]
            if docname == self.docname:
                return None
            link = self.reference(found[0], docname, "", None)
            link["reftitle"] = title
            return link
        if term := groups.get("term"):
            written = self.terms.pop(known(term, self.terms), None)
            if written is None:
                return None
            docname, name, definition = written
            link = self.reference(found[0], docname, name, lambda: definition)
            link["classes"] = ["term-link"]
            return link
        return None

    def reference(self, text: str, docname: str, name: str, preview: Any) -> nodes.reference:
        """Build a link; keep what it leads to unless that is on this page."""
        page = self.app.builder.get_relative_uri(self.docname, docname)
        uri = f"{page}#{name}".rstrip("#")
        if docname == self.docname:
            uri = f"#{name}"
        elif preview and name not in self.previews:
            self.previews[name] = preview()
        return nodes.reference("", text, refuri=uri, internal=True)

    def picture(self, uri: str, alt: str, number: str) -> str:
        """Return a figure of another page, as HTML."""
        name = self.app.env.images[uri][1] if uri in self.app.env.images else Path(uri).name
        up = "../" * self.docname.count("/")
        source = f"{up}{self.app.builder.imagedir}/{name}"
        alt = html.escape(alt)
        return f'<strong>Figure {number}</strong><img loading="lazy" src="{source}" alt="{alt}">'


def link_numbers(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn the numbers and terms in the paragraphs of a page into links."""
    if app.builder.format != "html":
        return
    linker = Linker(app, docname)
    for text in list(open_texts(doctree)):
        parts: list[nodes.Node] = []
        end = 0
        for found in linker.pattern.finditer(text):
            if link := linker.link(found):
                parts += [nodes.Text(text[end : found.start()]), link]
                end = found.end()
        if parts:
            parts.append(nodes.Text(text[end:]))
            text.parent.replace(text, [part for part in parts if part.astext()])
    kept = "".join(
        f'<template id="preview-{name}">{preview}</template>'
        for name, preview in linker.previews.items()
    )
    if kept:
        doctree += nodes.raw("", kept, format="html")


def open_texts(doctree: nodes.document) -> Iterator[nodes.Text]:
    """Yield the texts of paragraphs and captions in which a link can stand."""
    blocks = (nodes.paragraph, nodes.caption)
    for text in doctree.findall(nodes.Text):
        above = list(ancestors(text))
        kinds = [type(node) for node in above]
        if not any(isinstance(node, blocks) for node in above) or any(
            isinstance(node, CLOSED) for node in above
        ):
            continue
        if nodes.caption in kinds and nodes.strong in kinds:  # the caption's own number
            continue
        yield text


def ancestors(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield what a node stands in."""
    while node := node.parent:
        yield node


def equation_preview(tex: str, number: str) -> str:
    """Return an equation of another page, as HTML."""
    drawn = mathematics.typeset(equations.TAG.sub("", tex), True)
    return f"<div>{drawn.get('html', '')}</div>({number})"


def glossary(app: Sphinx) -> dict[str, tuple[str, str, str]]:
    """Return the page, the anchor and the definition (HTML) of each term of the glossary."""
    objects = app.env.domaindata["std"]["objects"]
    places = {name: place for (kind, name), place in objects.items() if kind == "term"}
    cached = getattr(app, "course_glossary", None)
    if cached is None:
        cached = {}
        for docname in {docname for docname, _ in places.values()}:
            for item in app.env.get_doctree(docname).findall(nodes.definition_list_item):
                definition = "".join(as_html(n) for n in item.findall(nodes.definition))
                for term in item.findall(nodes.term):
                    cached.update({(docname, name): definition for name in term["ids"]})
        app.course_glossary = cached  # type: ignore[attr-defined]
    return {
        term: (*place, cached.get(place, ""))
        for term, place in places.items()
        if term not in EVERYDAY
    }


def known(written: str, terms: dict[str, Any]) -> str:
    """Return the term of the glossary that was written, in whatever case."""
    if written in terms:
        return written
    return next((term for term in terms if term.casefold() == written.casefold()), "")


def as_html(node: nodes.Node) -> str:
    """Return a definition as HTML: its text and its formulas, without its links."""
    if isinstance(node, nodes.math):
        drawn = mathematics.typeset(node.astext(), False)
        return f'<span class="math">{drawn.get("html", "")}</span>'
    if isinstance(node, nodes.Text):
        return html.escape(node.astext())
    inner = "".join(as_html(child) for child in node.children)
    return f"<p>{inner}</p>" if isinstance(node, nodes.paragraph) else inner
