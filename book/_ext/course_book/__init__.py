"""The part of the book's rendering that Jupyter Book does not do by itself.

The notebooks hold plain Markdown, so that they read well in JupyterLab and on Colab. This Sphinx
extension turns their conventions into a book while it is built; it changes no file.

- ``notebooks``: folds solutions, hides the set-up, joins a figure with the caption below it.
- ``citations``: a link to a source of references.bib leads to its entry in the bibliography.
- ``equations``: equations reach MathJax untouched, and a numbered one can be linked to.
- ``checks``: the directive ``course-checks``, every claim that the stored outputs show as checked.
- ``explorables``: places for the drawings that readers move, and their scripts.
- ``downloads``: the portable chapters, behind each chapter's download button.
- ``pages``: MathJax from our own folder, and buttons only where they lead somewhere.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from . import checks, citations, downloads, equations, explorables, notebooks, pages


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the modules to Sphinx."""
    for module in (notebooks, citations, equations, checks, explorables, downloads, pages):
        module.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
