"""The rendered book: what a reader of its pages can count on.

The book is built once, as `make book` builds it, and once more from a changed copy of its sources.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import gc
import gzip
import http.server
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import nbformat
import pikepdf
import pytest
import yaml
from bs4 import BeautifulSoup, NavigableString, Tag
from PIL import Image
from playwright.sync_api import TimeoutError, sync_playwright
from pybtex.database import parse_file
from sphinx.search.en import SearchEnglish

import pdf
from course_utils.exercises.answers import find

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = "https://github.com/someone/course"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium to open the pages with")


# ---- the sources -------------------------------------------------------------------------------


def documents(toc: dict[str, Any]) -> list[str]:
    """The pages of a table of contents, in its order."""
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *(chapter["file"] for chapter in chapters)]


DOCUMENTS = documents(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8")))
CHAPTERS = [name for name in DOCUMENTS if (ROOT / f"{name}.ipynb").is_file()]
REFERENCES = parse_file(str(ROOT / "book/references.bib")).entries


@functools.cache
def cells(chapter: str) -> list[Any]:
    return nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells


def tagged(chapter: str, tag: str) -> list[Any]:
    return [cell for cell in cells(chapter) if tag in cell.metadata.get("tags", [])]


def markdown(chapter: str) -> str:
    return "\n\n".join(cell.source for cell in cells(chapter) if cell.cell_type == "markdown")


def checked_lines(chapter: str) -> list[str]:
    """The lines that `verify` printed, as the notebook stores them."""
    outputs = [o for c in cells(chapter) if "verify(" in c.source for o in c.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    return [line for line in printed.splitlines() if line.startswith("✓ ")]


# ---- the built book ----------------------------------------------------------------------------


def build(sources: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = "from jupyter_book.cli.main import main; main()"
    arguments = ["build", str(sources), "--path-output", str(out), "-n", *options]
    return subprocess.run(
        [sys.executable, "-c", command, *arguments],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the book, and what its build said if it failed."""
    out = tmp_path_factory.mktemp("book")
    done = build(ROOT, out, "-W", "--keep-going")
    return out / "_build/html", done.stdout + done.stderr if done.returncode else ""


@pytest.fixture(scope="session")
def book(built: tuple[Path, str]) -> Path:
    return built[0]


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """What is made within stays to the end: the garbage collector need not search its millions."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


@functools.cache
def soup(path: Path) -> BeautifulSoup:
    with kept():
        return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def page(book: Path, name: str) -> BeautifulSoup:
    return soup(book / f"{name}.html")


def pages(book: Path) -> list[Path]:
    """Every page of the book; what lies in _static are templates that the themes leave there."""
    return [path for path in sorted(book.rglob("*.html")) if "_static" not in path.parts]


def article(book: Path, name: str) -> Tag:
    found = page(book, name).select_one("article.bd-article")
    assert found is not None
    return found


def text(tag: Tag | None) -> str:
    assert tag is not None
    return " ".join(tag.get_text().split())


def with_attributes(path: Path, *names: str) -> Iterator[Tag]:
    """The tags of a page that have one of these; CSS selectors take ten times as long for it."""
    for tag in soup(path).descendants:
        if isinstance(tag, Tag) and not tag.attrs.keys().isdisjoint(names):
            yield tag


@functools.cache
def ids(path: Path) -> set[str]:
    return {str(tag["id"]) for tag in with_attributes(path, "id")}


def test_book_builds_without_a_warning(built: tuple[Path, str]) -> None:
    assert not built[1], built[1]


def test_entry_leads_to_the_first_page(book: Path) -> None:
    refresh = soup(book / "index.html").select_one("meta[http-equiv]")
    assert refresh is not None
    target = str(refresh["content"]).partition("url=")[2]
    assert target == f"{DOCUMENTS[0]}.html"
    assert (book / target).is_file()


LINKS = ("href", "src")


def leads_somewhere(path: Path, address: str) -> bool:
    """Whether what a page names is there; of other hosts that is not asked."""
    url, anchor = urldefrag(address)
    if urlsplit(url).scheme or url.startswith("//"):
        return True
    # Without "..": else a page that is named from two folders is parsed twice.
    target = Path(os.path.normpath(path.parent / unquote(urlsplit(url).path))) if url else path
    if not target.is_file():
        return False
    return not anchor or target.suffix != ".html" or unquote(anchor) in ids(target)


def test_every_internal_link_leads_somewhere(book: Path) -> None:
    dead = []
    for path in pages(book):
        # Many times each: a formula names its characters.
        named = {str(t.get("href") or t.get("src") or "") for t in with_attributes(path, *LINKS)}
        dead += [(path.name, address) for address in named if not leads_somewhere(path, address)]
    assert not dead


@pytest.mark.parametrize("address", ["nowhere.html", "#nowhere", "../book/glossary.html#nowhere"])
def test_a_link_that_leads_nowhere_is_told(book: Path, address: str) -> None:
    assert not leads_somewhere(book / f"{CHAPTERS[0]}.html", address)


# ---- nothing from elsewhere --------------------------------------------------------------------

# What a browser fetches without being asked to; an ordinary link is not among it.
FETCHED = {
    "src": ("script", "img", "iframe", "embed", "source", "track", "audio", "video", "input"),
    "srcset": ("img", "source"),
    "poster": ("video",),
    "data": ("object",),
    "href": ("link", "image", "use"),  # but for rel="canonical"
    "xlink:href": ("image", "use"),
}
ELSEWHERE = re.compile(r"(?:https?:)?//\w", re.IGNORECASE)
CSS_FETCH = re.compile(r"""(?:url\(|@import)\s*["']?\s*(?:https?:)?//""", re.IGNORECASE)


def fetched(path: Path) -> Iterator[str]:
    """Everything that a page names for the browser to fetch, and its inline scripts and styles."""
    for tag in soup(path).find_all(True):
        if tag.get("rel") != ["canonical"]:
            yield from (str(tag[a]) for a in FETCHED.keys() & tag.attrs if tag.name in FETCHED[a])
        if tag.name in ("script", "style"):
            yield tag.get_text()
        yield str(tag.get("style", ""))


def test_no_page_names_another_host(book: Path, changed: tuple[Path, Path, str]) -> None:
    found = {
        f"{path.name}: {what[:100]}"
        for path in (*pages(book), changed[1] / f"{ODD}.html")
        for what in fetched(path)
        if ELSEWHERE.search(what)
    }
    assert not found, "\n".join(sorted(found))


def test_no_style_sheet_names_another_host(book: Path) -> None:
    assert not [path for path in book.rglob("*.css") if CSS_FETCH.search(path.read_text("utf-8"))]


def test_no_page_loads_a_script_for_formulas_or_icons_or_a_search_it_has_not(book: Path) -> None:
    for path in pages(book):
        loaded = {Path(urlsplit(str(t["src"])).path).name for t in soup(path).select("script[src]")}
        assert not [name for name in loaded if re.search("mathjax|^tex-|fontawesome", name)]
        searching = {"searchtools.js", "searchindex.js", "language_data.js"}
        assert loaded & searching == (searching if path.name == "search.html" else set()), path.name
        held_up = [t for t in soup(path).select("head script[src]") if not t.has_attr("defer")]
        assert {Path(urlsplit(str(t["src"])).path).name for t in held_up} <= (
            {"documentation_options.js"} | (searching if path.name == "search.html" else set())
        )


def test_every_icon_is_drawn(book: Path, changed: tuple[Path, Path, str]) -> None:
    for path in (*pages(book), *(changed[0] / f"{name}.html" for name in (ODD, "book/index"))):
        assert not soup(path).select("i[class*='fa-'], span[class*='fa-']"), path.name
        for icon in soup(path).select("svg.svg-inline--fa path"):
            assert len(str(icon["d"])) > 20


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_shared_address_shows_title_description_and_picture(book: Path, name: str) -> None:
    said = {str(t.get("property") or t.get("name")): t for t in page(book, name).select("meta")}
    assert len(str(said["og:description"]["content"])) > 40
    assert said["description"]["content"] == said["og:description"]["content"]
    assert str(said["og:title"]["content"]) and said["og:image"]


# What a page and all that it names weigh as a server sends them, in kB.
HEAVIEST = {"book/index": 350} | dict.fromkeys(CHAPTERS, 650)
PACKED = {".html", ".css", ".js", ".svg"}


@pytest.mark.parametrize("name", HEAVIEST)
def test_a_page_is_light(book: Path, name: str) -> None:
    path = book / f"{name}.html"
    named = {
        (path.parent / urlsplit(str(tag.get("href") or tag.get("src"))).path).resolve()
        for tag in soup(path).select("link[rel='stylesheet'], link[rel='icon'], script[src], img")
    }
    sent = [f.read_bytes() for f in named if f.suffix not in PACKED]
    sent += [gzip.compress(f.read_bytes()) for f in (path, *named) if f.suffix in PACKED]
    assert sum(map(len, sent)) < HEAVIEST[name] * 1000


def test_every_image_says_its_size_and_the_later_ones_wait(book: Path) -> None:
    for name in DOCUMENTS:
        images = article(book, name).select("img")
        for image in images:
            with Image.open((book / f"{name}.html").parent / str(image["src"])) as picture:
                for side, dots in zip(("width", "height"), picture.size, strict=True):
                    assert abs(2 * int(str(image[side])) - dots) <= 3, (name, image["src"])
            assert "style" not in image.attrs and image.parent.name == "figure"
        assert all(image.get("loading") == "lazy" for image in images[1:]), name


# ---- the notebooks' conventions ----------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_figure_has_a_caption_and_a_text_for_those_who_cannot_see_it(
    book: Path, name: str
) -> None:
    for image in article(book, name).select("img"):
        assert len(str(image.get("alt", ""))) > 20, image
    for figure in article(book, name).select("figure"):
        assert text(figure.select_one("figcaption")).rstrip("#"), figure


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_image_of_a_chapter_is_the_figure_that_its_caption_names(
    book: Path, chapter: str
) -> None:
    captions = re.findall(r"^\*\*Figure (\d+)\.(\d+)\.\*\*", markdown(chapter), re.MULTILINE)
    figures = article(book, chapter).select("figure")
    assert [figure["id"] for figure in figures] == [f"fig-{a}-{b}" for a, b in captions]
    assert len(article(book, chapter).select("img")) == len(captions)
    assert not re.search(r"alt:", text(article(book, chapter)))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_solution_is_folded_under_its_title(book: Path, chapter: str) -> None:
    titles = [re.match(r"# @title (.+)", c.source) for c in tagged(chapter, "solution")]
    folds = article(book, chapter).select(".tag_solution > details:only-child:not([open])")
    prompts = [fold.select_one("summary .collapsed") for fold in folds]
    assert [text(p) for p in prompts] == [
        t[1].strip() if t else "Show the solution" for t in titles
    ]
    assert not any(fold.select("summary[aria-label]") for fold in folds)
    assert "@title" not in text(article(book, chapter))
    for fold, title in zip(folds, titles, strict=True):  # the functions, not their import
        names = [f.__name__ for f in find(title[1].split()[1]).solution]
        shown = fold.select_one(".cell_input").get_text()
        assert all(shown.count(f"def {name}(") == 1 for name in names)
        assert "prints it" not in shown and "import" not in shown


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_set_up_is_folded_and_bootstrap_is_not_on_the_page(book: Path, chapter: str) -> None:
    shown = article(book, chapter)
    assert len(shown.select(".tag_setup > details:not([open])")) == len(tagged(chapter, "setup"))
    assert not shown.select(".tag_bootstrap")
    code = [cell for cell in cells(chapter) if cell.cell_type == "code"]
    hidden = len(tagged(chapter, "bootstrap")) + len(tagged(chapter, "explore"))
    assert not shown.select(".tag_explore")
    assert len(shown.select("div.cell")) == len(code) - hidden


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_download_button_gives_the_portable_chapter(book: Path, chapter: str) -> None:
    (button,) = page(book, chapter).select(".btn-download-notebook-button")
    name = f"{Path(chapter).name}.ipynb"
    assert button["href"] == f"../portable/{name}" and button["download"] == name
    assert not page(book, chapter).select(".btn-download-source-button")
    carried = nbformat.read(book / "portable" / name, as_version=4)
    assert "unpack_course(" in carried.cells[1].source
    shown = [cell.get("outputs") for cell in carried.cells]
    assert shown == [cell.get("outputs") for cell in cells(chapter)]


def test_a_page_of_prose_has_no_notebook_to_download(book: Path) -> None:
    assert not page(book, "book/notation").select(".btn-download-notebook-button")


def test_the_page_run_it_hands_out_every_chapter_and_a_zip(book: Path) -> None:
    links = [str(link["href"]) for link in article(book, "book/run_it").select("a[download]")]
    names = [f"../portable/{Path(chapter).name}.ipynb" for chapter in CHAPTERS]
    assert links == ["../portable/autoencoders-course.zip", *names]
    for name in ("index", "how_to_use"):
        leads = {str(link.get("href")) for link in article(book, f"book/{name}").select("a")}
        assert "run_it.html" in leads, name


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_citation_leads_to_the_bibliography(book: Path, chapter: str) -> None:
    keys = {entry.fields["url"]: key for key, entry in REFERENCES.items()}
    links = re.findall(r"\[([^\]]+)\]\((https?://(?:[^()\s]|\([^()\s]*\))+)\)", markdown(chapter))
    written = {(words, keys[url]) for words, url in links if url in keys}
    shown = {
        (text(tag), urldefrag(str(tag["href"]))[1])
        for tag in article(book, chapter).select("a.citation-link")
        if urljoin(f"{chapter}.html", urldefrag(str(tag["href"]))[0]) == "book/references.html"
    }
    assert shown == written


def test_every_source_is_in_the_bibliography_with_its_address(book: Path) -> None:
    bibliography = article(book, "book/references")
    for key, entry in REFERENCES.items():
        item = bibliography.find(id=key)
        assert isinstance(item, Tag), key
        assert entry.fields["url"] in [link["href"] for link in item.select("a[href]")]


# ---- what the course checks --------------------------------------------------------------------


def shown_checks(checks: Tag) -> list[tuple[str, list[str]]]:
    """For each table of the page, where its heading leads, and its rows as they were printed."""
    shown = []
    for section in checks.select("section section"):
        rows = [[text(cell) for cell in row.select("td")] for row in section.select("tbody tr")]
        lines = [
            " ".join(filter(None, ["✓", number, claim, f"({tolerance})" if tolerance else ""]))
            for number, claim, tolerance in rows
        ]
        heading = section.select_one("h2 a:not(.headerlink)")
        assert heading is not None
        shown.append((str(heading["href"]), lines))
    return shown


def test_checks_page_shows_exactly_what_verify_printed(book: Path) -> None:
    printed = [(f"../{c}.html", checked_lines(c)) for c in CHAPTERS if checked_lines(c)]
    checks = article(book, "book/checks")
    assert shown_checks(checks) == printed
    total = sum(len(lines) for _, lines in printed)
    assert f"{total} claim{'s' * (total != 1)} in {len(CHAPTERS)} chapter" in text(checks)


def test_number_of_a_check_leads_to_its_equation(book: Path) -> None:
    for row in article(book, "book/checks").select("tbody tr"):
        number = row.select_one("td")
        if text(number) in numbered():
            assert number is not None and number.select_one("a[href*='#equation-']")


# ---- search ------------------------------------------------------------------------------------


def words(chapter: str) -> list[str]:
    """The longest plain words of a chapter's title, longest first."""
    title = re.search(r"^# (.+)$", markdown(chapter), re.MULTILINE)
    assert title is not None
    return sorted(re.findall(r"[a-z]{4,}", title[1].lower()), key=len, reverse=True)


def test_search_index_knows_every_chapter(book: Path) -> None:
    index = json.loads((book / "searchindex.js").read_text("utf-8")[len("Search.setIndex(") : -1])
    stem = SearchEnglish({}).stem
    for chapter in CHAPTERS:
        place = index["docnames"].index(chapter)
        terms = index["titleterms"].get(stem(words(chapter)[0]), [])
        assert place in (terms if isinstance(terms, list) else [terms]), chapter


# ---- a changed copy: the repository's address, and a notebook full of oddities -------------------

ODD = "notebooks/99_odd"
PIXEL = base64.b64encode(bytes.fromhex("89504e470d0a1a0a")).decode()
ODD_LINES = [
    r"✓ 99.1 |a| < *b* & $c_d$ `e` <b>bold</b> \alpha [x](y) (within 1e-06)",
    "✓ no number (f(x) = y), and 3 'quotes' \"here\" -- as printed",
    "✓ 99.2 not an equation of this chapter",
]


# Each of these fails where Sphinx or MyST adds something of its own to an equation.
ODD_FORMULAS = r"""# 99 · An odd chapter

$$
\begin{aligned} a &= \lVert \boldsymbol{x} \rVert^2 \\ &= \operatorname{tr}(x x^\top) \end{aligned}
\tag{99.1}
$$

A mistake: $\nosuchmacro$.

In the middle $$x \in \mathbb{R}^d \tag{99.3}$$ of a line.

\begin{align}
c &= \mathbb{E}[x] \tag{99.4} \\
d &= \tfrac12 c \tag{99.5}
\end{align}
"""


def odd_notebook() -> Any:
    code, output = nbformat.v4.new_code_cell, nbformat.v4.new_output
    picture = output("display_data", data={"image/png": PIXEL, "text/plain": "<Figure>"})
    caption = "**Figure 99.{}.** A caption"
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(ODD_FORMULAS),
            code("verify()", outputs=[output("stream", text="\n".join(["x", *ODD_LINES, "y"]))]),
            code("print()", outputs=[output("stream", text="✓ printed by no check")]),
            code("plt.show()", outputs=[picture, picture]),
            nbformat.v4.new_markdown_cell(caption.format(1) + " <!-- alt: two pictures -->"),
            code("plt.show()", outputs=[picture]),
            nbformat.v4.new_markdown_cell(caption.format(2)),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            # With this, myst-nb loads two scripts from CDNs unless it is told not to.
            "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"a": {}}}},
        },
    )


@pytest.fixture(scope="session")
def changed_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prose pages, the first chapter, an odd one, and what portable chapters are made of."""
    sources = tmp_path_factory.mktemp("sources")
    for folder in ("src", "tools"):
        shutil.copytree(ROOT / folder, sources / folder)
    for file in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / file, sources / file)
    shutil.copytree(ROOT / "book", sources / "book")
    (sources / "notebooks").mkdir()
    shutil.copy(ROOT / f"{CHAPTERS[0]}.ipynb", sources / f"{CHAPTERS[0]}.ipynb")
    nbformat.write(odd_notebook(), sources / f"{ODD}.ipynb")
    root, *prose = (name for name in DOCUMENTS if name not in CHAPTERS)
    chapters = [{"file": name} for name in (*prose, CHAPTERS[0], ODD)]
    toc = {"format": "jb-book", "root": root, "parts": [{"chapters": chapters}]}
    (sources / "_toc.yml").write_text(yaml.safe_dump(toc), "utf-8")
    return sources


@pytest.fixture(scope="session")
def changed(
    changed_sources: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, str]:
    """Their book with an address, then the same one without; and what the first build said."""
    out = tmp_path_factory.mktemp("changed")
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    said = []
    for url in (ADDRESS, ""):
        config["repository"] = {"url": url, "branch": "main"}
        (changed_sources / "_config.yml").write_text(yaml.safe_dump(config), "utf-8")
        done = build(changed_sources, out)
        said.append(done.stdout + done.stderr)
        shutil.copytree(out / "_build/html", out / ("with" if url else "without"))
    return out / "with", out / "without", said[0]


def buttons(book: Path, name: str) -> list[str]:
    """Where the buttons above a page lead, the downloads aside."""
    links = page(book, name).select(".header-article-items__end a[href]")
    return [str(link["href"]) for link in links if not str(link["href"]).startswith("..")]


def test_without_an_address_no_button_leads_anywhere(changed: tuple[Path, Path, str]) -> None:
    for name in (CHAPTERS[0], DOCUMENTS[0]):
        assert buttons(changed[1], name) == []


def test_with_an_address_the_buttons_lead_to_it(changed: tuple[Path, Path, str]) -> None:
    first = CHAPTERS[0]
    colab = ADDRESS.replace("https://github.com", "https://colab.research.google.com/github")
    leads = buttons(changed[0], first)
    assert leads[:3] == [
        f"{colab}/blob/main/{first}.ipynb",
        ADDRESS,
        f"{ADDRESS}/edit/main/{first}.ipynb",
    ]
    assert [lead for lead in leads[3:] if lead.startswith(f"{ADDRESS}/issues/new")] == leads[3:]
    assert len(leads) == 4
    prose = buttons(changed[0], DOCUMENTS[0])
    assert prose[:2] == [ADDRESS, f"{ADDRESS}/edit/main/{DOCUMENTS[0]}.md"]


def test_colab_opens_portable_chapters_where_a_branch_holds_them(
    changed_sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    config["repository"] = {"url": ADDRESS, "branch": "main"}
    (changed_sources / "_config.yml").write_text(yaml.safe_dump(config), "utf-8")
    parts = [{"chapters": [{"file": CHAPTERS[0]}]}]
    toc = {"format": "jb-book", "root": DOCUMENTS[0], "parts": parts}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), "utf-8")  # the two pages it is about
    monkeypatch.setenv("COURSE_COLAB_BRANCH", "portable")
    build(changed_sources, tmp_path, "--toc", str(tmp_path / "_toc.yml"))
    colab = ADDRESS.replace("https://github.com", "https://colab.research.google.com/github")
    opened = f"{colab}/blob/portable/{Path(CHAPTERS[0]).name}.ipynb"
    leads = buttons(tmp_path / "_build/html", CHAPTERS[0])
    assert leads[:3] == [opened, ADDRESS, f"{ADDRESS}/edit/main/{CHAPTERS[0]}.ipynb"]


def test_claims_appear_as_they_were_printed(changed: tuple[Path, Path, str]) -> None:
    checks = article(changed[0], "book/checks")
    assert shown_checks(checks)[-1] == (f"../{ODD}.html", ODD_LINES)
    last = checks.select("section section")[-1]
    assert [str(link["href"]) for link in last.select("td a")] == [f"../{ODD}.html#equation-99-1"]


def test_a_mistake_in_a_formula_is_a_warning_and_shows_what_was_written(
    changed: tuple[Path, Path, str],
) -> None:
    assert r"Undefined control sequence \nosuchmacro in the formula \nosuchmacro" in changed[2]
    assert text(article(changed[0], ODD).select_one(".math > code")) == r"\nosuchmacro"


def test_a_caption_without_its_figure_or_alt_text_is_a_warning(
    changed: tuple[Path, Path, str],
) -> None:
    assert "**Figure 99.1.** follows no code cell" in changed[2]
    assert "**Figure 99.2.** does not end in <!-- alt:" in changed[2]


# ---- formulas, numbers and terms, without a browser ----


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_formula_finds_its_characters_and_has_words_for_screen_readers(
    book: Path, name: str
) -> None:
    known = ids(book / f"{name}.html")
    for formula in article(book, name).select(".math"):
        assert formula.select_one("mjx-assistive-mml > math"), formula
        for use in formula.select("use"):
            assert str(use["href"]).removeprefix("#") in known


@functools.cache
def numbered() -> set[str]:
    """The numbers of all equations."""
    return set(re.findall(r"\\tag\{([^}]+)\}", "\n".join(map(markdown, CHAPTERS))))


APART = {"pre", "code", "h1", "h2", "h3", "h4", "h5", "table", "template"}


def prose(tag: Tag, linked: list[Tag]) -> str:
    """The words of a tag without its formulas, code, headings and tables, and without links."""
    if any(tag is link for link in linked):
        return "linked"
    if tag.name in APART or "math" in tag.get("class", []):
        return ""
    words = (
        prose(child, linked) if isinstance(child, Tag) else child
        for child in tag.children
        if isinstance(child, Tag) or type(child) is NavigableString  # and no comment
    )
    return "".join(words)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_number_in_brackets_leads_to_its_equation(book: Path, chapter: str) -> None:
    shown = article(book, chapter)
    links = shown.select("p a[href*='#equation-'], figcaption a[href*='#equation-']")
    for link in links:
        assert str(link["href"]).endswith("#equation-" + text(link).replace(".", "-"))
    left = set(re.findall(r"\((\d+\.\d+[a-z]?)\)", prose(shown, links))) & numbered()
    assert not left


def test_a_link_to_another_page_brings_what_it_leads_to(book: Path) -> None:
    brought = 0
    for chapter in CHAPTERS:
        for link in article(book, chapter).select("p a[href*='.html#']"):
            name = urldefrag(str(link["href"]))[1]
            if re.match("equation-|fig-|term-", name) and link.get("class") != ["headerlink"]:
                kept = page(book, chapter).find("template", id=f"preview-{name}")
                if "term-link" in (link.get("class") or []) or name.startswith("equation-"):
                    assert isinstance(kept, Tag) and kept.find(True), name
                    brought += 1
    assert brought > 200


# ---- in a browser ------------------------------------------------------------------------------

# Opens pages one after another, 390 pixels wide as a phone is, waits a second, looks, widens the
# page to a desk's 1400, looks for formulas that are wider than their column, and leaves what it saw
# as JSON in its own text.
HARNESS = """<!doctype html><meta charset="utf-8"><body><script>
const pages = PAGES, seen = {}
function look(frame) {
  const d = frame.contentDocument, all = s => [...d.querySelectorAll(s)]
  return {
    formulas: all("article .math").length,
    undrawn: all("article .math").filter(m => {
      const { width, height } = m.querySelector("svg")?.getBoundingClientRect() ?? {}
      return !(width > 1 && height > 1 && m.querySelector("mjx-assistive-mml > math"))
    }).map(m => m.textContent),
    numbers: all("article .math > .number, article mlabeledtr > mtd:first-child")
      .map(e => e.textContent),
    wider: d.documentElement.scrollWidth - d.documentElement.clientWidth,
    found: all("#search-results li a").map(a => a.getAttribute("href")),
    asked: frame.contentWindow.asked || [],
  }
}
function broad(frame) {
  const width = e => e.getBoundingClientRect().width
  return [...frame.contentDocument.querySelectorAll("article div.math > .formula")]
    .filter(e => width(e.querySelector("svg")) > width(e) + 1)
    .map(e => e.textContent)
}
async function open(page) {
  const frame = document.createElement("iframe")
  frame.style = "width: 390px; height: 800px"
  frame.src = page
  document.body.append(frame)
  await new Promise(done => frame.onload = done)
  await new Promise(done => setTimeout(done, 1000))
  seen[page] = look(frame)
  frame.style.width = "1400px"
  await new Promise(done => setTimeout(done, 100))
  seen[page].broad = broad(frame)
  frame.remove()
}
(async () => {
  for (const page of pages) await open(page)
  document.body.innerHTML = "<pre id=seen></pre>"
  document.getElementById("seen").textContent = JSON.stringify(seen)
})()
</script>"""


def browse(address: str, profile: Path) -> dict[str, Any]:
    """Open the harness in a Chromium that may not use the network, and return what it saw."""
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--allow-file-access-from-files",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=120000",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = BeautifulSoup(done.stdout, "html.parser").select_one("#seen")
    assert found is not None, done.stdout[-500:] + done.stderr[-2000:]
    return json.loads(found.get_text())


@pytest.fixture(scope="session")
def from_a_folder(
    book: Path, changed: tuple[Path, Path, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a browser sees of every page, and of a search for each chapter, over file://."""
    folder = tmp_path_factory.mktemp("browser")
    pages = {name: f"{book.as_uri()}/{name}.html" for name in DOCUMENTS}
    pages |= {f"?{c}": f"{book.as_uri()}/search.html?q={words(c)[0]}" for c in CHAPTERS}
    pages[ODD] = f"{changed[1].as_uri()}/{ODD}.html"
    harness = folder / "harness.html"
    harness.write_text(HARNESS.replace("PAGES", json.dumps(list(pages.values()))), "utf-8")
    seen = browse(harness.as_uri(), folder / "profile")
    return {name: seen[page] for name, page in pages.items()}


@needs_chromium
@pytest.mark.parametrize("name", [*DOCUMENTS, ODD])
def test_formulas_show_from_a_folder(
    book: Path, changed: tuple[Path, Path, str], from_a_folder: dict[str, Any], name: str
) -> None:
    seen = from_a_folder[name]
    assert seen["undrawn"] == ([r"\nosuchmacro"] if name == ODD else [])
    source = changed[1] if name == ODD else book
    assert seen["formulas"] == len(article(source, name).select(".math"))


@needs_chromium
def test_equations_have_the_numbers_that_were_written(from_a_folder: dict[str, Any]) -> None:
    assert from_a_folder[ODD]["numbers"] == ["(99.1)", "(99.3)", "(99.4)", "(99.5)"]


@needs_chromium
@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_page_is_wider_than_a_phone(from_a_folder: dict[str, Any], name: str) -> None:
    assert from_a_folder[name]["wider"] <= 0


@needs_chromium
@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_equation_is_wider_than_its_column_on_a_desk(
    from_a_folder: dict[str, Any], name: str
) -> None:
    assert from_a_folder[name]["broad"] == []


@needs_chromium
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_search_finds_the_chapter_from_a_folder(
    from_a_folder: dict[str, Any], chapter: str
) -> None:
    assert any(f"{chapter}.html" in link for link in from_a_folder[f"?{chapter}"]["found"])


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Serves the book so that a page that asks another host is told no, and keeps the address."""

    POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
    WATCH = (
        "<script>asked = []; addEventListener('securitypolicyviolation',"
        " e => asked.push(e.blockedURI))</script>"
    )
    extra: dict[str, str] = {}

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html":
            return super().do_GET()
        body = self.extra.get(path.name) or path.read_text("utf-8")
        sent = re.sub("<head>", f"<head>{self.WATCH}", body, count=1).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", self.POLICY)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@needs_chromium
def test_no_page_asks_another_host_for_anything(book: Path, tmp_path: Path) -> None:
    names = [path.relative_to(book).as_posix() for path in pages(book)]
    control = "<html><head></head><body><img src='http://elsewhere.invalid/x.png'></body></html>"

    class Handler(Guarded):
        extra = {
            "harness.html": HARNESS.replace("PAGES", json.dumps([*names, "control.html"])),
            "control.html": control,
        }

    serve = functools.partial(Handler, directory=str(book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen = browse(f"http://127.0.0.1:{server.server_port}/harness.html", tmp_path / "profile")
        server.shutdown()
    assert seen.pop("control.html")["asked"] == ["http://elsewhere.invalid/x.png"]
    assert {name: view["asked"] for name, view in seen.items() if view["asked"]} == {}


# ---- in a browser, one page at a time ----------------------------------------------------------

AXE = find_spec("axe_playwright_python")
SAMPLE = [DOCUMENTS[0], CHAPTERS[1], CHAPTERS[12], CHAPTERS[15]]
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(book: Path, chromium: Any) -> Iterator[Any]:
    """Opens a page of the book: visit(name, viewport=…, and what else a context takes)."""
    contexts = []

    def opened(name: str, query: str = "", **options: Any) -> Any:
        contexts.append(chromium.new_context(**options))
        tab = contexts[-1].new_page()
        tab.goto(f"{(book / name).as_uri()}.html{query}")
        return tab

    yield opened
    for context in contexts:
        context.close()


# axe looks at each of the ten thousand elements of a chapter. Nine in ten are letters of formulas,
# strokes of the sign on a button, and coloured words of code of which the first of each colour
# stands for all.
THIN = """() => {
  const drawn = ".math svg > *, .math math > *, article button svg > :not(title)"
  document.querySelectorAll(drawn).forEach(e => e.remove())
  const met = new Set()
  for (const word of document.querySelectorAll("article .highlight span")) {
    const kind = word.className + !!word.closest(".cell_output") + !!word.closest(".tag_exercise")
    if (met.has(kind)) word.replaceWith(word.textContent)
    met.add(kind)
  }
}"""
# What the theme does 300 ms after a window is resized, it does at once.
AT_ONCE = "{ const later = setTimeout; setTimeout = (task, _, ...rest) => later(task, 0, ...rest) }"
# A resized window and a fold that opens are drawn with the next frame, in which the page's script
# marks the formulas that scroll; what it put off comes before the task that is put off here.
SETTLED = """async () => {
  for (const _ of "12") await new Promise(requestAnimationFrame)
  await new Promise(done => setTimeout(done))
}"""
# Colours take axe as long as all else, and the pages share them. Of the texts of one colour on the
# same grounds, small or large, it looks at the first three (it leaves one undecided that is partly
# scrolled away), and at none where it has passed one, here or on an earlier page. Of links, which
# must differ from the words around them, it looks at all whose like it has not passed.
AXE_SETUP = """() => axe.configure({
  reporter: (results, options, done) => done(results),  // as they are: the others take seconds
  rules: [
    { id: "color-contrast", selector: "[data-text]" },
    { id: "link-in-text-block", selector: "[data-link]" },
  ],
})"""
FOUND_BY_AXE = """async ([passed, coloursAlone]) => {
  const grounds = new Map([[null, ""]]), met = {}
  for (const kind of passed) met[kind] = 3
  const text = element => {
    const { color, fontSize, fontWeight, textShadow } = getComputedStyle(element)
    const large = parseFloat(fontSize) >= (fontWeight >= 700 ? 18.66 : 24)
    return [element.localName, color, large, textShadow, grounds.get(element)].join()
  }
  const link = element => {
    const style = getComputedStyle(element)
    const look = `color font-family font-size font-style font-weight text-decoration border-top
      border-bottom outline`.split(/\\s+/).map(name => style.getPropertyValue(name))
    const around = style.display.startsWith("inline") ? link(element.parentElement) : ""
    return [element.localName, ...look, grounds.get(element), "in", around].join()
  }
  const marked = { "color-contrast": new Map(), "link-in-text-block": new Map() }
  for (const element of document.body.querySelectorAll("*")) {
    const style = getComputedStyle(element)
    const own = [style.backgroundColor, style.backgroundImage, style.opacity, style.filter]
    const under = grounds.get(element.parentElement) ?? ""
    const ground = own.join() === "rgba(0, 0, 0, 0),none,1,none" ? under : `${under}/${own}`
    grounds.set(element, ground)
    if (!element.checkVisibility({ visibilityProperty: true })) continue
    if (!coloursAlone && element.matches("a[href], [role=link]")) {
      const kind = link(element)
      if (!met[kind]) {
        element.dataset.link = ""
        marked["link-in-text-block"].set(element, kind)
      }
    }
    if (![...element.childNodes].some(n => n.nodeType === 3 && /[\\p{L}\\p{N}]/u.test(n.data)))
      continue
    const kind = text(element)
    if (met[kind] === 3 || element.getBoundingClientRect().bottom + scrollY <= 0) continue
    met[kind] = (met[kind] ?? 0) + 1
    element.dataset.text = ""
    marked["color-contrast"].set(element, kind)
  }
  const rules = { "label-content-name-mismatch": { enabled: true } } // off unless asked for
  const results = !coloursAlone ? await axe.run({ rules })
    : marked["color-contrast"].size ? await axe.run({ runOnly: ["color-contrast"] }) : []
  document.querySelectorAll("[data-text], [data-link]").forEach(element => {
    delete element.dataset.text
    delete element.dataset.link
  })
  return {
    passed: results.filter(r => r.id in marked)
      .flatMap(r => r.passes.map(pass => marked[r.id].get(pass.node.element))),
    found: results
      .filter(r => r.violations.length)
      .filter(r => ["serious", "critical"].includes(r.impact) || r.id === "region")
      .map(r => [r.id, r.violations.length, r.violations[0].node.source.slice(0, 150)]),
  }
}"""


@pytest.fixture(scope="module")
def axe(chromium: Any) -> Iterator[tuple[Any, set[str]]]:
    """A tab in which axe looks at one page after the other, and the colours that it has passed."""
    context = chromium.new_context(viewport=WIDE, color_scheme="light")
    context.add_init_script(AT_ONCE)
    yield context.new_page(), set()
    context.close()


def axe_on(tab: Any, name: str, passed: set[str]) -> list[Any]:
    """What axe finds on an open page, light and dark, wide and narrow, folds closed and open.

    All but colours it looks at with closed folds on a desk and with open ones on a phone: what
    shows or scrolls in an open fold on a desk does so on a phone.
    """
    assert AXE is not None and AXE.origin is not None
    found = []
    tab.evaluate(THIN)
    tab.evaluate(Path(AXE.origin).with_name("axe.min.js").read_text("utf-8") + "; 0")
    tab.evaluate(AXE_SETUP)
    still = ("content-visibility: visible", "transition: none", "animation: none")
    tab.add_style_tag(content="* { " + "".join(f"{rule} !important; " for rule in still) + "}")
    for size, viewport in (("wide", WIDE), ("narrow", NARROW)):
        tab.set_viewport_size(viewport)
        for opened in (False, True):
            tab.evaluate(
                "open => document.querySelectorAll('details').forEach(d => d.open = open)", opened
            )
            tab.evaluate(SETTLED)
            for theme in ("light", "dark"):
                tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
                # Whether the theme is light or dark, all but the colours is the same.
                colours_alone = theme == "dark" or opened != (size == "narrow")
                seen = tab.evaluate(FOUND_BY_AXE, [sorted(passed), colours_alone])
                passed.update(seen["passed"])
                found += [(name, theme, size, opened, *problem) for problem in seen["found"]]
    return found


@needs_chromium
@pytest.mark.parametrize("name", [*DOCUMENTS, "search", "genindex"])
def test_axe_finds_nothing_that_shuts_a_reader_out(
    book: Path, axe: tuple[Any, set[str]], name: str
) -> None:
    tab, passed = axe
    tab.set_viewport_size(WIDE)
    tab.goto(f"{(book / name).as_uri()}.html")
    found = axe_on(tab, name, passed)
    assert not found, "\n".join(map(str, found))


@needs_chromium
@pytest.mark.parametrize("name", SAMPLE)
def test_nothing_moves_while_a_page_loads(visit: Any, name: str) -> None:
    tab = visit(name, viewport=NARROW)
    moved = tab.evaluate(
        """new Promise(done => {
          let sum = 0
          new PerformanceObserver(list => list.getEntries().forEach(e => sum += e.value))
            .observe({ type: "layout-shift", buffered: true })
          setTimeout(() => done(sum), 1000)
        })"""
    )
    assert moved < 0.05


def test_the_course_s_own_style_sheets_are_kept_whole(book: Path) -> None:
    """Their scripts make up names, as color-7, that no look at the scripts' words finds."""
    kept = (book / "_static/all.css").read_text("utf-8")
    for sheet in ("course.css", "explore/explore.css"):
        source = (ROOT / "book/_static" / sheet).read_text("utf-8")
        asked = set(
            re.findall(r"\.[a-z][\w-]*", re.sub(r"/\*.*?\*/|url\([^)]*\)", "", source, flags=re.S))
        )
        assert not {name for name in asked if name not in kept}


@needs_chromium
def test_each_class_of_digits_has_a_colour_of_its_own(visit: Any) -> None:
    tab = visit(CHAPTERS[12], color_scheme="dark")
    place = tab.locator("#explore-plane")
    for _ in range(50):  # what stands above gets its height as it comes into view, and pushes
        place.evaluate("p => p.scrollIntoView()")
        tab.wait_for_timeout(100)
        if place.locator("[class*=color-]").count():
            break
    colours = place.evaluate(
        "p => [...p.querySelectorAll('[class*=color-]')].map(e => [...e.classList].find(c => "
        "c.startsWith('color-')) + ' ' + getComputedStyle(e).fill)"
    )
    by_class = {c.split(" ", 1)[0]: c.split(" ", 1)[1] for c in colours}
    assert len(by_class) == len(set(by_class.values())) == 10
    assert "rgb(0, 0, 0)" not in by_class.values()


@needs_chromium
def test_a_formula_is_drawn_as_it_should_be(visit: Any) -> None:
    """A brace that is stretched is cut where its ends begin; a table leaves formulas their size."""
    tab = visit(CHAPTERS[10])
    inner = tab.locator(".math svg svg")
    assert inner.count() > 0
    assert set(inner.evaluate_all("all => all.map(e => getComputedStyle(e).overflow)")) == {
        "hidden"
    }
    for viewport in (WIDE, NARROW):
        tab = visit(CHAPTERS[0], viewport=viewport)
        widths = tab.locator("td span.math > svg").evaluate_all(
            "all => all.map(e => e.getBoundingClientRect().width / "
            "(parseFloat(e.getAttribute('width')) * parseFloat(getComputedStyle(e).fontSize)))"
        )
        assert len(widths) >= 5  # an ex of the page's font is the same share of its size in each
        assert max(widths) - min(widths) < 0.02


@needs_chromium
def test_a_page_complains_of_nothing(visit: Any) -> None:
    tab = visit(DOCUMENTS[0])
    said: list[str] = []
    tab.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    tab.reload()
    tab.wait_for_timeout(500)
    assert said == []


def test_a_name_in_the_bibliography_is_no_term(book: Path) -> None:
    assert page(book, "book/references").select(".citation .term-link") == []


def test_the_index_has_each_letter_once(book: Path) -> None:
    letters = [a.get_text() for a in page(book, "genindex").select(".genindex-jumpbox a")]
    assert len(letters) > 15
    assert all(letter.isascii() for letter in letters)


@needs_chromium
def test_code_has_a_copy_button_and_output_has_none(visit: Any) -> None:
    tab = visit(CHAPTERS[1])
    tab.wait_for_selector(".copybtn", state="attached")
    assert tab.locator(".cell_input .copybtn").count() == tab.locator(".cell_input pre").count()
    assert tab.locator(".cell_output .copybtn").count() == 0


@needs_chromium
def test_the_keyboard_scrolls_a_formula_that_is_wider_than_a_phone(visit: Any) -> None:
    tab = visit(CHAPTERS[1], viewport=NARROW)
    tab.wait_for_selector(".formula.wide")
    tab.wait_for_function(  # sections are laid out, and marked, as they come near
        """() => [...document.querySelectorAll("div.math > .formula")].every(
            e => (e.tabIndex === 0) === (e.scrollWidth > e.clientWidth + 1))""",
        timeout=10_000,
    )
    first = tab.locator(".formula.wide").first
    assert re.match(r"Formula \(\d+\.\d+\) scrolls", str(first.get_attribute("aria-label")))
    assert first.evaluate("e => getComputedStyle(e).backgroundImage") != "none"  # the shade
    first.focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_timeout(500)
    assert first.evaluate("e => e.scrollLeft") > 0
    gap = first.evaluate(
        "e => { e.scrollLeft = 0; return e.querySelector('svg').getBoundingClientRect().left"
        " - e.getBoundingClientRect().left }"
    )
    assert gap < 2


@needs_chromium
def test_text_and_code_have_a_readable_width_on_a_desk(visit: Any) -> None:
    tab = visit(CHAPTERS[1], viewport=WIDE)
    letters = tab.evaluate(
        """() => [...document.querySelectorAll("article section > p")]
          .filter(p => !p.querySelector(".math, code")).map(p => {
            const range = document.createRange()
            range.selectNodeContents(p)
            const lines = new Set([...range.getClientRects()].map(r => Math.round(r.bottom / 12)))
            return lines.size > 2 ? p.innerText.length / lines.size : 0
          }).filter(Boolean)"""
    )
    assert letters and 55 < statistics.median(letters) < 78
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    cut = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
    assert tab.locator(".cell_input pre").evaluate_all(cut) == []
    sizes = "all => all.map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert statistics.median(tab.locator(".cell_input pre").evaluate_all(sizes)) > 12.4


@needs_chromium
def test_a_figure_opens_large_and_closes(visit: Any) -> None:
    tab = visit(CHAPTERS[1], viewport=NARROW)
    figure = tab.locator("article figure .enlarge").first
    figure.scroll_into_view_if_needed()
    small = figure.locator("img").evaluate("e => e.getBoundingClientRect().width")
    figure.press("Enter")
    large = tab.locator("dialog.large[open] img")
    assert large.evaluate("e => e.getBoundingClientRect().width") > 1.5 * small
    tab.keyboard.press("Escape")
    assert tab.locator("dialog.large").count() == 0


@needs_chromium
def test_a_number_shows_its_equation_where_it_is_pointed_at(visit: Any) -> None:
    tab = visit(CHAPTERS[12], viewport=WIDE)
    box = tab.locator("#preview")
    for kind in ("a[href^='#equation-']", "a.term-link", "a.citation-link"):
        link = tab.locator(f"article {kind}").first
        for patience in (2_000, 5_000, 30_000):  # ms; a late event of scrolling hides a preview
            link.hover()
            with contextlib.suppress(TimeoutError):
                box.wait_for(state="visible", timeout=patience)
                break
            tab.mouse.move(0, 0)
        assert box.is_visible()
        assert box.evaluate("e => e.querySelector('svg') ? 99 : e.textContent.length") > 15
        tab.mouse.move(0, 0)
        box.wait_for(state="hidden")


@needs_chromium
def test_a_first_tap_shows_and_a_second_follows(visit: Any) -> None:
    tab = visit(CHAPTERS[12], viewport=NARROW, has_touch=True)
    link = tab.locator("article a.term-link").first
    before = tab.url
    link.tap()
    tab.locator("#preview").wait_for(state="visible")
    assert tab.url == before
    link.tap()
    tab.wait_for_url("**/glossary.html#*")


@needs_chromium
def test_a_search_opens_at_the_passage_with_the_words_marked(visit: Any) -> None:
    tab = visit("search", "?q=covariance+matrix", viewport=WIDE)
    tab.locator("#search-results li > a").first.click()
    tab.wait_for_selector("article .highlighted")
    tab.wait_for_timeout(300)
    together = """() => [...document.querySelectorAll("article p")].some(p => {
      const words = [...p.querySelectorAll(".highlighted")].map(m => m.textContent.toLowerCase())
      const { top, bottom } = p.getBoundingClientRect()
      return new Set(words).size === 2 && top > 0 && bottom < innerHeight
    })"""
    assert tab.evaluate(together)


FOUND = {
    "reparameterise": "#the-gradient-that-sampling-blocks|10_from",
    "reparametrization trick": "10_from_points_to_distributions.html#the-gradient",
    "variational inference": "11_the_elbo_every_step.html#a-family",
    "evidence lower bound": "11_the_elbo_every_step.html#the-derivation",
    "latent space": "10_from_points_to_distributions.html#|13_a_full",
    "KL annealing": "14_how_good_is_it.html#two-cures",
    "annealing": "14_how_good_is_it.html#two-cures",
    "aggregated posterior": "#will-it-obey",
    "normalize": r"\.html",
}


@needs_chromium
@pytest.mark.parametrize("words", FOUND)
def test_both_spellings_and_other_names_find_their_section(visit: Any, words: str) -> None:
    tab = visit("search", "?q=" + words.replace(" ", "+"))
    tab.wait_for_selector("#search-results li > a")
    tab.wait_for_timeout(300)
    links = tab.locator("#search-results li > a").evaluate_all(
        "all => all.map(a => a.getAttribute('href'))"
    )
    assert any(re.search(FOUND[words], link) for link in links[:4]), links[:4]


@needs_chromium
@pytest.mark.parametrize("pair", [("reparameterise", "reparameterize"), ("colour", "color")])
def test_both_spellings_find_the_same(visit: Any, pair: tuple[str, str]) -> None:
    found = []
    for word in pair:
        tab = visit("search", f"?q={word}")
        tab.wait_for_timeout(600)
        found.append(
            set(
                tab.locator("#search-results li > a").evaluate_all(
                    "all => all.map(a => a.getAttribute('href'))"
                )
            )
        )
    assert found[0] == found[1] != set()


@needs_chromium
def test_without_scripts_a_page_reads_complete(visit: Any) -> None:
    tab = visit(CHAPTERS[12], viewport=WIDE, java_script_enabled=False)
    with_scripts = visit(CHAPTERS[12], viewport=WIDE)
    drawn = "article .math svg"
    assert tab.locator(drawn).count() == with_scripts.locator(drawn).count() > 50
    assert tab.locator(drawn).last.bounding_box()["height"] > 3
    fold = tab.locator("article details.hide").last
    fold.locator("summary").click()
    assert fold.locator("pre").first.is_visible()


# A page of Letter paper between margins of 1 cm, in CSS pixels.
PAPER = {"width": 740, "height": 980}


@needs_chromium
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_nothing_is_cut_on_paper_and_solutions_print(visit: Any, chapter: str) -> None:
    tab = visit(chapter, viewport=PAPER)
    tab.emulate_media(media="print")
    cut = """() => [...document.querySelectorAll("article :is(pre, .formula, table, figure)")]
      .filter(e => e.offsetParent && (e.scrollWidth > e.clientWidth + 2
        || e.getBoundingClientRect().right > innerWidth + 1))
      .map(e => e.textContent.slice(0, 80))"""
    assert tab.evaluate(cut) == []
    heights = tab.locator("article details pre").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect().height)"
    )
    assert all(height > 5 for height in heights)


# ---- one style sheet ---------------------------------------------------------------------------

# The selectors of a sheet, one by one, without what only some moment makes true.
SELECTORS = """text => {
  const sheet = new CSSStyleSheet(), found = []
  sheet.replaceSync(text)
  const walk = rules => {
    for (const rule of rules) {
      if (rule.selectorText) found.push(rule.selectorText)
      else if (rule.cssRules) walk(rule.cssRules)
    }
  }
  walk(sheet.cssRules)
  return found
}"""
MATCHED = """([all, kept]) => all.filter(s => !kept.includes(s)).filter(s => {
  const plain = s.replace(/::?(before|after|marker|placeholder|-[\\w-]+)/g, "")
    .replace(/:(hover|focus|active|focus-visible|focus-within|visited|checked|disabled)/g, "")
  try { return plain && document.querySelector(plain) } catch { return false }
})"""


def alone(selectors: list[str]) -> set[str]:
    """Each of several selectors that share a rule, for itself."""
    return {
        part.strip()
        for each in selectors
        for part in re.split(r",(?![^(]*\))", each)
        if part.strip()
    }


@needs_chromium
def test_no_page_lacks_a_rule_that_the_one_sheet_left_out(book: Path, visit: Any) -> None:
    static = book / "_static"
    one = (static / "all.css").read_text("utf-8")
    places = re.match(r"/\* (.*?) \*/", one)[1].split()  # type: ignore[index]
    assert len(places) > 8 and places[-1] == "course.css"
    tab = visit(DOCUMENTS[0], viewport=WIDE)
    kept = alone(tab.evaluate(SELECTORS, one))
    texts = [(static / place).read_text("utf-8") for place in (*places, "basic.css")]
    everything = set().union(*(alone(tab.evaluate(SELECTORS, text)) for text in texts))
    assert len(everything) > 2 * len(kept) > 1000
    for name in (*SAMPLE, "search", "genindex", "book/glossary", "book/run_it"):
        tab = visit(name, viewport=NARROW)
        assert tab.evaluate(MATCHED, [sorted(everything), sorted(kept)]) == [], name


def test_a_page_asks_for_one_style_sheet_that_is_light(book: Path) -> None:
    for path in pages(book):
        sheets = [str(link["href"]) for link in soup(path).select("link[rel=stylesheet]")]
        if path.name == "index.html" and not sheets:  # leads on to the first page
            continue
        assert [sheet.partition("?")[0].rpartition("/")[2] for sheet in sheets] == ["all.css"], path
    sheet = (book / "_static" / "all.css").read_text("utf-8")
    assert len(gzip.compress(sheet.encode())) < 35_000 and "@import" not in sheet
    for address in re.findall(r"url\(([^)]*)\)", sheet):
        plain = re.split("[?#]", address.strip("'\""))[0]
        assert plain.startswith("data:") or (book / "_static" / plain).exists(), address


@needs_chromium
def test_colours_are_known_before_the_scripts_come(book: Path, chromium: Any) -> None:
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme, viewport=NARROW)
        tab = context.new_page()
        tab.route("**/*.js*", lambda route: route.abort())
        tab.goto(f"{(book / CHAPTERS[15]).as_uri()}.html")
        assert tab.evaluate("document.documentElement.dataset.theme") == scheme
        notch = "getComputedStyle(document.querySelector('article blockquote')).borderLeftWidth"
        assert tab.evaluate(notch) == "4px"
        context.close()


# ---- the book as one PDF -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def whole(book: Path) -> BeautifulSoup:
    with kept():
        return pdf.whole_book(book)


def test_the_pdf_holds_every_page_once_and_its_links_lead_somewhere(whole: BeautifulSoup) -> None:
    ids = [str(tag["id"]) for tag in whole.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert {pdf.slug(name) for name in DOCUMENTS} <= set(ids)
    links = [str(a["href"]) for a in whole.find_all("a", href=True)]
    inside = {link[1:] for link in links if link.startswith("#")}
    assert len(inside) > 500 and inside <= set(ids)
    assert all(re.match("https?:|mailto:", link) for link in links if not link.startswith("#"))
    drawn = {str(use["href"])[1:] for use in whole.find_all("use")}
    assert len(drawn) > 100 and drawn <= set(ids)  # each character of each formula


def test_the_pdf_has_solutions_and_answers_in_its_appendices(whole: BeautifulSoup) -> None:
    all_cells = [cell for chapter in CHAPTERS for cell in cells(chapter)]
    exercises = sum("solution" in cell.metadata.get("tags", []) for cell in all_cells)
    questions = sum(cell.source.count('class="answer"') for cell in all_cells)
    answers, solutions = (
        [part for part in appendix.find_all("section") if part.find("h4")]
        for appendix in whole.select(".appendix")
    )
    assert len(answers) == questions and len(solutions) == exercises
    assert all(len(text(part)) > 60 for part in (*answers, *solutions))
    places = {str(tag["id"]): tag for tag in whole.find_all("p", id=True)}
    for part in (*answers, *solutions):  # there and back
        place = places[str(part.h4.a["href"])[1:]]
        assert place.a["href"] == f"#{part['id']}" and not place.find_parent(class_="appendix")
    assert not whole.select("details.answer, .tag_solution details")


@pytest.fixture
def short_book(book: Path, tmp_path: Path) -> Path:
    """A course of three pages, whose PDF is made in seconds."""
    toc = {"format": "jb-book", "root": "book/index"}
    chapters = [{"file": CHAPTERS[0]}, {"file": CHAPTERS[10]}]
    toc["parts"] = [{"caption": "Part I: A beginning", "chapters": chapters}]
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    shutil.copy(ROOT / "_config.yml", tmp_path)
    (tmp_path / "_build").mkdir()
    (tmp_path / "_build" / "html").symlink_to(book)
    return tmp_path


@needs_chromium
def test_the_pdf_has_an_outline_and_the_contents_name_its_leaves(short_book: Path) -> None:
    assert pdf.main(short_book) == 0
    whole = pdf.whole_book(short_book / "_build" / "html", short_book)
    result = short_book / "_build" / "autoencoders.pdf"
    where = pdf.leaves(result)
    with pikepdf.open(result) as opened:
        pages = len(opened.pages)
        with opened.open_outline() as outline:
            titles = {str(o.title): [str(c.title)[:2] for c in o.children] for o in outline.root}
        assert str(opened.docinfo["/Title"]) == whole.title.string
    assert titles["Part I: A beginning"] == ["01", "11"]
    assert {"Contents", "Appendix"} <= titles.keys()
    rows = [str(span["data-of"]) for span in whole.select(".contents .leaf")]
    leaves = [where[anchor] for anchor in rows]
    assert leaves == sorted(leaves) and 1 < leaves[0] and leaves[-1] <= pages
    assert where[pdf.slug(CHAPTERS[10])] - where[pdf.slug(CHAPTERS[0])] > 10
    assert not list((short_book / "_build" / "html").glob(".whole-book*"))


@needs_chromium
def test_nothing_runs_off_the_leaves(whole: BeautifulSoup, book: Path, visit: Any) -> None:
    source = book / "whole-book.html"
    source.write_text(str(whole), encoding="utf-8")
    tab = visit("whole-book", viewport={"width": 665, "height": 1000})  # A4 without its margins
    tab.emulate_media(media="print")
    wide = """() => [...document.querySelectorAll("article :is(pre, .formula, table, img, svg, p)")]
      .filter(e => e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 1)
      .map(e => e.outerHTML.slice(0, 80))"""
    assert tab.evaluate(wide) == []
    source.unlink()


def test_without_a_browser_or_a_book_the_pdf_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    shutil.copy(ROOT / "_config.yml", tmp_path)
    monkeypatch.setattr(pdf, "browser", lambda: "chromium")
    assert pdf.main(tmp_path) == 1
    assert "run `make book`" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    if sys.platform != "darwin":
        assert pdf.main(tmp_path) == 1
        assert "install chromium" in capsys.readouterr().err
