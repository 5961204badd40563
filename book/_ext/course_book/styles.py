"""One style sheet for all pages, without what no page uses.

The theme and its extensions bring eleven sheets of half a megabyte, Bootstrap and the icons' font
among them. A browser draws nothing before it has read them all.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import tinycss2
from sphinx.application import Sphinx

NAME = "all.css"
LINK = re.compile(r'[ \t]*<link(?=[^>]*rel="stylesheet")[^>]*href="(?P<href>[^"?]*)[^"]*"[^>]*>\n?')
SHEETS: dict[str, None] = {}  # those that this run's pages name, in order
OURS = ("course.css", "explore/explore.css")
MAKERS = ("sphinx-book-theme", "pydata-sphinx-theme", "sphinx-design", "myst-nb", "sphinx")


def setup(app: Sphinx) -> None:
    """Write the sheet when all pages are there, and the colours of code, which the theme writes."""
    app.connect("build-finished", write_sheet, priority=900)


def with_one_sheet(app: Sphinx, html: str) -> str:
    """Return a page that asks for the one sheet; which ones it stands for is kept in order."""
    root = re.search(r'data-content_root="([^"]*)"', html)
    sheets = [found["href"] for found in LINK.finditer(html) if "_static/" in found["href"]]
    if root is None or not sheets:
        return html
    for sheet in sheets:
        SHEETS.setdefault(sheet.partition("_static/")[2])
    made_of = [app.config.course_book_digest, *map(version, MAKERS)]
    stamp = hashlib.sha256("".join(made_of).encode()).hexdigest()[:8]
    link = f'<link rel="stylesheet" href="{root[1]}_static/{NAME}?v={stamp}" />\n'
    first = LINK.search(html)
    assert first is not None
    return html[: first.start()] + link + LINK.sub("", html[first.start() :])


def write_sheet(app: Sphinx, error: Exception | None) -> None:
    """Write the sheet: the rules of all sheets whose names a page or a script may use."""
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    used = names_used(Path(app.outdir))
    places = sorted(places_of(static / NAME), key=rank)
    parts = [f"/* {' '.join(places)} */"]
    parts += [slim(static, place, used) for place in places]
    (static / NAME).write_text("\n".join(parts), encoding="utf-8")


def slim(static: Path, place: str, used: set[str]) -> str:
    """A sheet, with those that it imports, as text that stands in the folder _static itself."""
    folder, parts, rest = posixpath.dirname(place), [], []
    for rule in tinycss2.parse_stylesheet((static / place).read_text("utf-8"), True, True):
        if rule.type == "at-rule" and rule.lower_at_keyword == "import":
            (address,) = (t.value for t in rule.prelude if t.type in ("string", "url"))
            parts.append(slim(static, posixpath.normpath(posixpath.join(folder, address)), used))
        else:
            rest.append(rule)
    # The course's own have nothing to spare, and their scripts make up names such as color-7.
    rules = (rule.serialize() for rule in rest) if place in OURS else kept(rest, used)
    return "".join([*parts, moved("".join(rules), folder)])


def places_of(sheet: Path) -> list[str]:
    """The sheets that pages name; a page that this run did not write was written by one before."""
    before = re.match(r"/\* (.*?) \*/", sheet.read_text("utf-8")) if sheet.exists() else None
    named = [*SHEETS, *(before[1].split() if before else ())]
    return [place for place in dict.fromkeys(named) if (sheet.parent / place).exists()]


def rank(place: str) -> int:
    """The course's own sheets come last, so that they win."""
    return 1 if place == "course.css" else 0


def names_used(html: Path) -> set[str]:
    """Every class and id of the pages, and every word of the scripts, which may set others."""
    names: set[str] = set()
    for page in html.rglob("*.html"):
        text = page.read_text("utf-8")
        for value in re.findall(r'\b(?:class|id)="([^"]*)"', text):
            names.update(value.split())
        for script in re.findall(r"<script[^>]*>(.+?)</script>", text, re.DOTALL):
            names.update(re.findall(r"[\w-]+", script))
    for script in (html / "_static").rglob("*.js"):
        if script.stat().st_size < 1_000_000 and "data" not in script.parts:
            names.update(re.findall(r"[\w-]+", script.read_text("utf-8")))
    return names


def kept(rules: Iterable[tinycss2.ast.Node], used: set[str]) -> Iterator[str]:
    """The text of the rules that may hold on some page."""
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [s for s in alternatives(rule.prelude) if may_match(s, used)]
            if selectors:
                yield f"{','.join(selectors)}{{{tinycss2.serialize(rule.content)}}}"
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports", "layer"):
            inner = "".join(kept(tinycss2.parse_rule_list(rule.content or [], True, True), used))
            if inner:
                prelude = tinycss2.serialize(rule.prelude)
                yield f"@{rule.at_keyword}{prelude}{{{inner}}}"
        elif rule.type == "at-rule" and rule.lower_at_keyword != "charset":
            yield rule.serialize()


def alternatives(prelude: list[tinycss2.ast.Node]) -> Iterator[str]:
    """The selectors of a rule, which commas part."""
    part: list[tinycss2.ast.Node] = []
    for token in prelude:
        if token == ",":
            yield tinycss2.serialize(part).strip()
            part = []
        else:
            part.append(token)
    yield tinycss2.serialize(part).strip()


def may_match(selector: str, used: set[str]) -> bool:
    """Tell whether the pages have every class and id that a selector asks for.

    What stands in brackets, as in :not(.open), is not asked for, or may be one of several.
    """
    plain = re.sub(r"\[[^\]]*\]", "", selector)
    while re.search(r"\([^()]*\)", plain):
        plain = re.sub(r"\([^()]*\)", "", plain)
    names = re.findall(r"[.#](-?[_a-zA-Z](?:[\w-]|\\.)*)", plain)
    return all(re.sub(r"\\(.)", r"\1", name) in used for name in names)


def moved(css: str, folder: str) -> str:
    """A sheet's text when it stands in _static itself: its relative addresses follow."""

    def follow(found: re.Match[str]) -> str:
        address = found["address"].strip("'\"")
        if re.match(r"data:|[a-z]+:|/|#", address):
            return found[0]
        return f"url({posixpath.normpath(posixpath.join(folder, address))})"

    return re.sub(r"url\((?P<address>[^)]*)\)", follow, css)
