"""What a page loads, and which buttons it has."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

from . import mathematics, styles

LOGGER = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Complete the configuration, and what the theme makes of a page."""
    app.add_config_value("course_book_digest", "", "env", [str])
    app.connect("config-inited", note_digest)
    app.connect("config-inited", set_buttons)
    app.connect("builder-inited", finish_pages)


def finish_pages(app: Sphinx) -> None:
    """Have each page finished before it is written: no event of Sphinx sees a page whole."""
    if app.builder.format != "html":
        return
    render: Callable[..., str] = app.builder.templates.render

    def finished(template: str, context: dict[str, Any]) -> str:
        html = render(template, context)
        return finish(app, html, context["pagename"]) if "</body>" in html else html

    app.builder.templates.render = finished


def finish(app: Sphinx, html: str, pagename: str) -> str:
    """Return a page as a reader gets it: light, open to all, with what its formulas refer to."""
    html = lighten(html, pagename)
    html = draw_icons(html, pagename)
    html = size_images(app, html)
    html = styles.with_one_sheet(app, html)
    for pattern, instead in ACCESS:
        html = re.sub(pattern, instead, html)
    html = html.replace("</body>", f"{THANKS}</body>")
    return mathematics.with_characters(html)


# What keeps a page from those who read it with the keyboard or with their ears.
ACCESS = (
    # A button is called what is written on it.
    (r'(<button class="btn search-button[^>]*?)\s+aria-label="Search"', r"\1"),
    # The title of the book stands in the sidebar, outside of every landmark.
    (r'(<div id="pst-primary-sidebar")', r'\1 role="complementary" aria-label="Sidebar"'),
    # A list has items; the role of a bibliography's entry was taken back.
    (r'role="doc-biblioentry"', 'role="listitem"'),
)


# The theme learns light or dark when all else has come, where nobody has chosen. Until then its
# colours are not defined, and what has a coloured border is narrower: the text would move.
EARLY = re.compile(r'(dataset\.theme = localStorage\.getItem\("theme"\) \|\| )""')
BY_SYSTEM = r'\1(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")'
# Without a choice the theme's script finds no word for the mode, and complains on the console.
MODE = re.compile(r'(dataset\.mode = localStorage\.getItem\("mode"\) \|\| )""')


# What the theme loads on every page: its icons as one script of 1.5 MB, and what the search page
# alone needs. (Where that is loaded, Sphinx marks no word that was searched for.)
ICONS = re.compile(r"[ \t]*<script[^>]*/fontawesome\.js[^>]*></script>\n?")
SEARCH = re.compile(
    r"[ \t]*<script[^>]*\b(?:searchtools|language_data|searchindex)\.js[^>]*></script>\n?"
)
WAITS = re.compile(r'<script (?=[^>]*src="(?![^"]*documentation_options))(?![^>]*\bdefer)')


def lighten(html: str, pagename: str) -> str:
    """Drop the scripts that a page has no use for, and let no other hold up its drawing.

    The scripts in the lines of the page need documentation_options.js before them.
    """
    html = MODE.sub(r'\1"auto"', EARLY.sub(BY_SYSTEM, ICONS.sub("", html)))
    if pagename != "search":
        html = SEARCH.sub("", html)
    return WAITS.sub("<script defer ", html)


THANKS = "<!-- Icons: Font Awesome Free, CC BY 4.0. Formulas: drawn by MathJax. -->"
ICON = re.compile(
    r'<(?P<tag>i|span) class="(?P<classes>[^"]*\bfa-[^"]*)"(?P<rest>[^>]*)></(?P=tag)>'
)
PREFIXES = {"fas": "fas", "fa-solid": "fas", "fab": "fab", "fa-brands": "fab", "far": "far"}


def draw_icons(html: str, pagename: str) -> str:
    """Put the drawing of each icon where the theme's script would put it in the browser."""

    def draw(found: re.Match[str]) -> str:
        classes = found["classes"].split()
        prefix = next((PREFIXES[name] for name in classes if name in PREFIXES), "fas")
        for name in classes:
            if drawing := icons().get((prefix, name.removeprefix("fa-"))):
                width, height, path = drawing
                return (
                    f'<svg class="svg-inline--fa {found["classes"]}"{found["rest"]} '
                    f'aria-hidden="true" viewBox="0 0 {width} {height}">'
                    f'<path fill="currentColor" d="{path}"/></svg>'
                )
        message = f"the theme has no drawing for the icon {found['classes']}"
        LOGGER.warning(message, location=pagename, type="course_book", subtype="icon")
        return found[0]

    return ICON.sub(draw, html)


@cache
def icons() -> dict[tuple[str, str], tuple[str, str, str]]:
    """Return width, height and outline of each icon, by style and name, from the theme's script."""
    place = "static/scripts/fontawesome.js"
    script = next(f for f in files("pydata-sphinx-theme") or [] if str(f).endswith(place))
    known = {}
    for drawings, prefix in re.findall(
        r'var p=\{(.*?)\};.*?\w\("(fa[brs])",p\)', script.read_text("utf-8"), re.DOTALL
    ):
        for name, width, height, others, path in re.findall(
            r'"?([\w-]+)"?:\[(\d+),(\d+),\[([^\]]*)\],"\w+","([^"]*)"\]', drawings
        ):
            for each in (name, *re.findall(r'"([^"]+)"', others)):
                known[prefix, each] = (width, height, path)
    return known


STYLED = re.compile(r'style="width: (?P<width>\d+)px;')
SIZES = re.compile(r' ?(?:style|width|height)="[^"]*"')
IMAGE = re.compile(r'<img (?P<rest>[^>]*src="(?:\.\./)*_images/(?P<name>[^"]+)"[^>]*>)')


def size_images(app: Sphinx, html: str) -> str:
    """Say how large each image is, so that no text moves when it comes; the later ones wait."""
    places = {name: source for source, name in app.builder.images.items()}
    first = True

    def sized(found: re.Match[str]) -> str:
        nonlocal first
        waits, first = "" if first else ' loading="lazy"', False
        size = png_size(Path(app.srcdir, places.get(found["name"], "")))
        style = STYLED.search(found["rest"])
        if size is None or (" width=" in found[0] and not style):
            return found[0]
        # What the notebook says: half the dots of a figure that is drawn for fine screens.
        width = int(style["width"]) if style else size[0]
        height = round(width * size[1] / size[0])
        return f'<img width="{width}" height="{height}"{waits} {SIZES.sub("", found["rest"])}'

    return IMAGE.sub(sized, html)


def png_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of a PNG, which its first bytes say; None for what is none."""
    if path.suffix != ".png" or not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(24)
    size = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    return size if all(size) else None


def note_digest(app: Sphinx, config: Config) -> None:
    """Have every page built anew when this extension, a script or the style sheet changes.

    Sphinx looks at the sources of the pages alone, and copies no file where no page changed.
    """
    folders = [Path(__file__).parent, *(Path(app.confdir, p) for p in config.html_static_path)]
    digest = hashlib.sha256()
    found = (path for folder in folders for path in folder.rglob("*.*") if path.is_file())
    for path in sorted(path for path in found if path.suffix != ".pyc"):
        digest.update(path.name.encode() + path.read_bytes())
    config.course_book_digest = digest.hexdigest()


def set_buttons(app: Sphinx, config: Config) -> None:
    """Show the repository, edit, issue and Colab buttons if _config.yml has an address, else none.

    Jupyter Book refuses a configuration that asks for buttons without an address, so the request
    is made here.
    """
    options = config.html_theme_options
    url = (options.pop("repository_url", "") or "").strip().rstrip("/").removesuffix(".git")
    if url:
        buttons = ("use_repository_button", "use_edit_page_button", "use_issues_button")
        options.update(dict.fromkeys(buttons, True), repository_url=url)
    if "github.com" not in url:  # Colab opens notebooks from GitHub alone
        options.pop("launch_buttons", None)
