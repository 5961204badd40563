"""What a page loads, and which buttons it has."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

MATHJAX_PACKAGE = "sphinx-mathjax-offline"


def setup(app: Sphinx) -> None:
    """Complete the configuration."""
    app.add_config_value("course_book_digest", "", "env", [str])
    app.connect("config-inited", note_digest)
    app.connect("config-inited", add_mathjax)
    app.connect("config-inited", set_buttons)


def note_digest(app: Sphinx, config: Config) -> None:
    """Have every page built anew when this extension or the style sheet changes.

    Sphinx looks at the sources of the pages alone, and copies no file where no page changed.
    """
    folders = [Path(__file__).parent, *(Path(app.confdir, p) for p in config.html_static_path)]
    digest = hashlib.sha256()
    for path in sorted(p for folder in folders for p in folder.glob("*.*") if p.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    config.course_book_digest = digest.hexdigest()


def add_mathjax(app: Sphinx, config: Config) -> None:
    """Have the one MathJax file that the pages use copied into the book.

    The package is a Sphinx extension too, but one that copies eight versions of MathJax. Its folder
    has hyphens in its name and cannot be imported: the list of installed files knows the place.
    """
    name = config.mathjax_path
    try:
        found = [f for f in files(MATHJAX_PACKAGE) or [] if f.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        raise ExtensionError(f"{name} not found: install the package {MATHJAX_PACKAGE}")
    config.html_static_path.append(str(Path(str(found[0].locate()))))


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
