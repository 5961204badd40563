"""The part of the book's rendering that Jupyter Book does not do by itself.

The notebooks hold plain Markdown, so that they read well in JupyterLab and on Colab. This Sphinx
extension turns their conventions into a book while it is built; it changes no file.

- ``notebooks``: folds solutions, hides the set-up, joins a figure with the caption below it.
- ``citations``: a link to a source of references.bib leads to its entry in the bibliography.
- ``equations``: a numbered equation can be linked to.
- ``mathematics``: formulas become SVG, and MathML for screen readers, while the book is built.
- ``checks``: the directive ``course-checks``, every claim that the stored outputs show as checked.
- ``explorables``: places for the drawings that readers move, and their scripts.
- ``downloads``: the portable chapters, behind each chapter's download button.
- ``references``: "(13.2)", "Figure 8.1", "chapter 12" and the glossary's terms lead there.
- ``searching``: both spellings, and other names, find their section.
- ``styles``: one style sheet for all pages, without what no page uses.
- ``pages``: what a page loads, and buttons only where they lead somewhere.
"""

from __future__ import annotations

import gc
from typing import Any

from sphinx.application import Sphinx

from . import (
    checks,
    citations,
    downloads,
    equations,
    explorables,
    mathematics,
    notebooks,
    pages,
    references,
    searching,
    styles,
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the modules to Sphinx."""
    # A build makes millions of small objects and drops few: looking through them all for circles,
    # as often as Python does by itself, is a quarter of its time.
    gc.set_threshold(50_000, 20, 100)
    for module in (
        notebooks,
        citations,
        references,
        equations,
        mathematics,
        checks,
        explorables,
        downloads,
        searching,
        styles,
        pages,
    ):
        module.setup(app)
    # V8, once started, does not answer in a forked process.
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
