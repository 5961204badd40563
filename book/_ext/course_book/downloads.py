"""The portable chapters: written beside the pages, and handed out by their download buttons.

Where they lie on a branch of the repository too, which the variable COURSE_COLAB_BRANCH of the
environment names, Colab buttons open them from there, and not the notebooks of the checkout.
The directive ``course-downloads`` lists them all, and the zip of all of them.
"""

from __future__ import annotations

import html
import os
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

FOLDER = "portable"
BUTTON = "download-notebook-button"


def setup(app: Sphinx) -> None:
    """Register the directive and the steps that change buttons and write the files."""
    app.add_directive("course-downloads", CourseDownloads)
    branch = os.environ.get("COURSE_COLAB_BRANCH", "")
    app.add_config_value("course_book_colab_branch", branch, "env", [str])
    app.connect("html-page-context", offer_portable, priority=600)  # after the theme's buttons
    app.connect("build-finished", write_portable)


def tools(app: Sphinx) -> Any:
    """Import tools/portable.py of the course that is built, which no package holds."""
    folder = str(Path(app.srcdir) / "tools")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import portable

    return portable


def write_portable(app: Sphinx, exception: Exception | None) -> None:
    """Write the portable chapters into the book."""
    if exception or app.builder.format != "html":
        return
    portable = tools(app)
    try:
        portable.write(Path(app.srcdir), Path(app.outdir) / FOLDER)
    except portable.Refused as refused:
        raise ExtensionError(str(refused)) from None


def offer_portable(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Have a chapter's download button give the portable chapter; printing stays."""
    if doctree is None or not is_chapter(app, pagename):
        return
    for group in context.get("header_buttons", []):
        if group.get("label") == "download-buttons":
            place = context["pathto"](f"{FOLDER}/{file_name(pagename)}", 1)
            offer = {
                "type": "link",
                # The theme's template writes the address as it is: so a browser saves the file.
                "url": f'{place}" download="{file_name(pagename)}',
                "text": ".ipynb",
                "icon": "fas fa-code",
                "tooltip": "Download this chapter as a notebook that runs anywhere",
                "label": BUTTON,
            }
            printing = [b for b in group["buttons"] if b.get("label") == "download-pdf-button"]
            group["buttons"] = [offer, *printing]
        branch = app.config.course_book_colab_branch
        for button in group.get("buttons", []) if branch else []:
            if button.get("text") == "Colab":
                place = f"/blob/{branch}/{file_name(pagename)}"
                button["url"] = re.sub(r"/blob/.*", place, button["url"])


def is_chapter(app: Sphinx, docname: str) -> bool:
    """Tell whether a page is made from a notebook."""
    return str(app.env.doc2path(docname)).endswith(".ipynb")


def file_name(docname: str) -> str:
    """Return the name of a chapter's portable file."""
    return f"{Path(docname).name}.ipynb"


class CourseDownloads(SphinxDirective):
    """A list of links: the zip of all chapters, then each portable chapter."""

    def run(self) -> list[nodes.Node]:
        """Build the list; its links save the files, which Markdown's cannot say."""
        portable = tools(self.env.app)
        root = Path(self.env.srcdir)
        named = [(f"{portable.BUNDLE}.zip", "All chapters in one zip")]
        named += [(Path(path).name, title) for path, title in portable.chapters_of(root)]
        self.env.note_dependency(str(root / "_toc.yml"))
        up = "../" * self.env.docname.count("/")
        items = "".join(
            f'<li><a href="{up}{FOLDER}/{name}" download="{name}">{html.escape(title)}</a></li>'
            for name, title in named
        )
        return [nodes.raw("", f'<ul class="simple">{items}</ul>', format="html")]
