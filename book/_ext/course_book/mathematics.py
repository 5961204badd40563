r"""Formulas, drawn while the book is built: a page then needs no MathJax, and no script at all.

MathJax runs in V8, the engine of Chromium, which the package mini-racer carries; its own files come
from the package sphinx-mathjax-offline. Each formula becomes an SVG, and beside it MathML that only
screen readers see. The characters are drawn once a page, and the formulas refer to them.

The number of an equation, ``\tag{2.3}``, is text beside the formula: where a formula is wider than
a phone it scrolls, and its number stays in sight.
"""

from __future__ import annotations

import html
import json
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from docutils import nodes
from py_mini_racer import MiniRacer
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

from .equations import TAG

LOGGER = logging.getLogger(__name__)

PACKAGE = "sphinx-mathjax-offline"
COMPONENTS = (
    "startup.js",
    "core.js",
    "adaptors/liteDOM.js",
    "input/tex-full.js",
    "output/svg.js",
    "output/svg/fonts/tex.js",
    "a11y/assistive-mml.js",
)
USED = re.compile(r'href="#(MJX-[^"]+)"')


def setup(app: Sphinx) -> None:
    """Register the renderer; ``html_math_renderer: course`` in _config.yml chooses it."""
    app.add_html_math_renderer("course", (visit_inline, None), (visit_block, None))


@cache
def engine() -> MiniRacer:
    """Start V8 with MathJax in it."""
    # The package is a Sphinx extension too, but its folder has hyphens in its name and cannot be
    # imported: the list of installed files knows the place.
    try:
        installed = {str(file): file for file in files(PACKAGE) or []}
    except PackageNotFoundError:
        installed = {}
    ours = Path(__file__).with_name("typeset.js").read_text("utf-8")
    v8 = MiniRacer()
    v8.eval(ours)
    for name in COMPONENTS:
        found = [file for path, file in installed.items() if path.endswith(f"/mathjax/{name}")]
        if not found:
            raise ExtensionError(f"{name} not found: install the package {PACKAGE}")
        v8.eval(found[0].read_text("utf-8"))
    v8.eval("MathJax.startup.getComponents()")
    return v8


@cache
def typeset(tex: str, display: bool) -> dict[str, str]:
    """Return ``html`` and ``style`` of a formula, or the ``error`` in it."""
    return json.loads(str(engine().call("typeset", tex, display)))


def drawn(tex: str, display: bool, node: nodes.Node) -> dict[str, str]:
    """Return a formula as it goes into the page; one with a mistake is a warning, and shows it."""
    formula = typeset(tex, display)
    if "error" in formula:
        problem = f"{formula['error']} in the formula {tex}"
        LOGGER.warning(problem, location=node, type="course_book", subtype="formula")
        return {"html": f"<code>{html.escape(tex)}</code>", "style": ""}
    return formula


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(translator.starttag(node, "span", "", CLASS="math notranslate"))
    translator.body.append(drawn(node.astext(), False, node)["html"] + "</span>")
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on lines of its own, and its number."""
    tex = node.astext()
    tags = TAG.findall(tex)
    number = f'<span class="number">({tags[0]})</span>' if len(tags) == 1 else ""
    formula = drawn(TAG.sub("", tex) if number else tex, True, node)
    style = f' style="{formula["style"]}"' if formula["style"] else ""
    translator.body.append(translator.starttag(node, "div", "", CLASS="math notranslate"))
    translator.body.append(f'<div class="formula"><div{style}>{formula["html"]}</div></div>')
    translator.body.append(f"{number}</div>\n")
    raise nodes.SkipNode


def with_characters(page: str) -> str:
    """Add to a page the drawings of the characters that its formulas refer to."""
    used = sorted(set(USED.findall(page)))
    if not used:
        return page
    known = json.loads(str(engine().call("glyphs")))
    drawings = "".join(known[name] for name in used)
    body = page.index(">", page.index("<body")) + 1
    characters = f'<svg class="characters" aria-hidden="true"><defs>{drawings}</defs></svg>'
    return page[:body] + characters + page[body:]
