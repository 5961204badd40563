"""Drawings that readers move, at the place where the text speaks of them.

A line ``<!-- explore: name · what it is for a reader who cannot move it -->`` of a chapter, which
JupyterLab and Colab do not show, becomes a place on the page. The page then loads core.js, which
loads the numbers of data/name.js and the drawing, name.js, when a reader comes near. Without
scripts its words stand alone; in print the place is left out. The chapter's own figure shows the
same.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform

COMMENT = re.compile(r"\s*<!--\s*explore:\s*(?P<name>[\w-]+)\s*·\s*(?P<words>.+?)\s*-->\s*", re.S)
FOLDER = Path(__file__).resolve().parents[2] / "_static" / "explore"


def setup(app: Sphinx) -> None:
    """Replace the comments, and load scripts where they are needed."""
    app.add_post_transform(Places)
    app.connect("html-page-context", load_scripts)


class Places(SphinxPostTransform):
    """Makes a place of each comment. The readers of MyST keep comments of HTML as raw nodes."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Change the page's tree; raises ExtensionError for a drawing that there is not."""
        for raw in list(self.document.findall(nodes.raw)):
            found = COMMENT.fullmatch(raw.astext())
            if found is None:
                continue
            if not (FOLDER / f"{found['name']}.js").is_file():
                raise ExtensionError(f"{self.env.docname}: no drawing {found['name']} to explore")
            raw.replace_self(nodes.raw("", place(**found.groupdict()), format="html"))


def place(name: str, words: str) -> str:
    """The HTML of a drawing's place."""
    name, words = html.escape(name), html.escape(" ".join(words.split()))
    return (
        f'<div class="explore" id="explore-{name}" data-explore="{name}" role="group" '
        f'aria-label="Drawing to move"><p class="explore-words"><span>Try it.</span> {words}</p>'
        '<p class="explore-still">The drawing that moves needs JavaScript.</p></div>'
    )


def load_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Add core.js to a page with drawings; it loads the others as their places come into view."""
    if 'data-explore="' in context.get("body", ""):
        app.add_css_file("explore/explore.css")
        app.add_js_file("explore/core.js", loading_method="defer")
