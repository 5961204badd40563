"""One PDF of the whole book: the pages of `make book`, one after the other, printed by Chromium.

python tools/pdf.py        write it to _build/autoencoders.pdf

Chromium and not TeX: the pages hold every formula, figure and coloured line as they are to look, so
that nothing is set a second time, and a browser is a smaller thing to install than TeX. Solutions
and answers, which are folded on the page, stand in two appendices.

jupyter-book's own pdfhtml builds the book a second time, as one page by Sphinx's singlehtml, and
prints that: without the numbers of leaves in the contents, without running heads or an appendix.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pikepdf
import yaml
from bs4 import BeautifulSoup, Tag

import repository
from notebooks import ROOT, Refused

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 600
SOLUTION = ".tag_solution > details"
# What paper has no use for: marks to click, drawings to drag, formulas spelt for a screen reader.
ON_SCREEN = (
    "template, script, button, .headerlink, .explore, .tag_explore, .tag_bootstrap,"
    " .toctree-wrapper, mjx-assistive-mml"
)
STYLE = """
@page { size: A4; margin: 21mm 17mm 20mm; @bottom-center { content: counter(page); } }
@page { @top-center { color: #555b66; font-size: 8.5pt; } }
@page front { @bottom-center { content: none; } }
html { font-size: 11.5pt; scroll-padding: 0; }
body { background: none; margin: 0; }
.front { break-after: page; page: front; padding-top: 70mm; text-align: center; }
.front h1 { font-size: 2rem; }
.part-title { break-before: page; padding-top: 80mm; text-align: center; page: front; }
.document { break-before: page; }
.contents li { display: flex; gap: 0.5em; list-style: none; }
.contents .dots { border-bottom: 1px dotted #888; flex: 1; margin-bottom: 0.35em; }
.contents ul { margin: 0 0 0.8em; padding: 0; }
.bd-article pre { font-size: 7.5pt; }
.appendix h4 { font-size: 10.5pt; margin: 1em 0 0.2em; }
.appendix :is(h4, .admonition) { break-after: avoid; }
.leaf { font-variant-numeric: tabular-nums; }
.see { font-size: 9pt; margin: -0.5em 0 1em; }
"""


FRONT = """<!doctype html>
<html lang="en" data-theme="light">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><svg class="characters" aria-hidden="true"><defs></defs></svg>
<article class="bd-article"><section class="front">
<h1>{title}</h1><p>{author}</p><p class="see">{foot}</p>
</section></article></body></html>
"""


# ---- from the pages to one ----------------------------------------------------------------------


def parts(root: Path) -> list[tuple[str, list[str]]]:
    """The book's parts in order: the heading, then the names of its pages; the first is ""."""
    whole = repository.contents(root).root
    trees = [(str(tree.caption), list(map(str, tree.items))) for tree in whole.subtrees]
    return [("", [whole.docname]), *trees]


def slug(name: str) -> str:
    """What the anchors of a page begin with."""
    return "page-" + name.rpartition("/")[2].replace("_", "-")


def read_page(html: Path, name: str) -> BeautifulSoup:
    """A page of the built book."""
    path = html / f"{name}.html"
    if not path.exists():
        raise Refused(f"{path} is not there: run `make book`")
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def made_for_all(soup: BeautifulSoup, name: str, names: set[str]) -> Tag:
    """One page of the book, its anchors and links made for a document that holds all pages.

    A link to a page that the document does not hold (the index of searches, a download) stays as
    its words.
    """
    found = soup.select_one("article > section")
    if found is None:
        raise Refused(f"{name}: no article with a section in the built page")
    for gone in found.select(ON_SCREEN):
        gone.decompose()
    for tag in found.find_all(True):
        if "id" in tag.attrs:
            tag["id"] = f"{slug(name)}--{tag['id']}"
        for named in ("aria-describedby", "aria-labelledby", "loading"):
            tag.attrs.pop(named, None)
        if tag.name == "a" and "href" in tag.attrs:
            address = target(str(tag["href"]), name, names)
            if address is None:
                tag.unwrap()
            else:
                tag["href"] = address
        elif tag.name == "img":
            tag["src"] = posixpath.normpath(
                posixpath.join(posixpath.dirname(name), str(tag["src"]))
            )
        elif tag.name == "details":
            tag["open"] = ""
        elif re.fullmatch("h[1-5]", tag.name):  # a part is above its pages
            tag.name = f"h{int(tag.name[1]) + 1}"
    found["class"] = ["document"]
    found["id"] = slug(name)
    return found


def target(address: str, name: str, names: set[str]) -> str | None:
    """Where a link of a page leads in the one document; None where that is not in it."""
    if re.match(r"[a-z]+:", address):
        return address
    path, _, anchor = address.partition("#")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
    there = there.removesuffix(".html")
    if there not in names:
        return None
    return f"#{slug(there)}--{anchor}" if anchor else f"#{slug(there)}"


def leaf(soup: BeautifulSoup, anchor: str) -> Tag:
    """The number of the page on which an anchor stands, put in when it is known."""
    return soup.new_tag("span", attrs={"class": "leaf", "data-of": anchor}, string="000")


def take_out(soup: BeautifulSoup, document: Tag, kind: str, titles: list[str]) -> Iterator[Tag]:
    """What is folded away on a page, moved out of it: each under its title, a link in its place."""
    for fold, title in zip(document.select(kind), titles, strict=True):
        anchor = re.sub(r"\W+", "-", title.lower())
        moved = soup.new_tag("section", attrs={"id": anchor})
        back = soup.new_tag("a", attrs={"href": f"#at-{anchor}"}, string=title)
        heading = soup.new_tag("h4")
        heading.append(back)
        see = soup.new_tag("p", attrs={"class": "see", "id": f"at-{anchor}"})
        link = soup.new_tag("a", attrs={"href": f"#{anchor}"}, string=f"{title}: page ")
        link.append(leaf(soup, anchor))
        see.append(link)
        fold.insert_before(see)
        for summary in fold.select("summary"):
            summary.decompose()
        fold.name = "div"  # nothing to unfold
        moved.extend([heading, fold.extract()])
        yield moved


def contents(soup: BeautifulSoup, book: list[tuple[str, list[Tag]]]) -> Tag:
    """The list of parts and pages with the numbers of their leaves."""
    whole = soup.new_tag("section", attrs={"class": "document contents", "id": "contents"})
    whole.append(soup.new_tag("h1", string="Contents"))
    for caption, documents in book:
        whole.append(soup.new_tag("p", string=caption))
        rows = soup.new_tag("ul")
        for document in documents:
            row = soup.new_tag("li")
            words = document.find(["h1", "h2"]).get_text()
            row.append(soup.new_tag("a", attrs={"href": f"#{document['id']}"}, string=words))
            row.extend(
                [soup.new_tag("span", attrs={"class": "dots"}), leaf(soup, str(document["id"]))]
            )
            rows.append(row)
        whole.append(rows)
    return whole


def whole_book(html: Path, root: Path = ROOT) -> BeautifulSoup:
    """The document to print: title, contents, parts, appendices."""
    order = parts(root)
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    pages = {name: read_page(html, name) for _, names in order for name in names}
    soup = BeautifulSoup(FRONT.format(**config, foot=config["html"]["extra_footer"]), "html.parser")
    head, body, article = (soup.select_one(name) for name in ("head", "body", "article"))
    assert head and body and article
    sheets: dict[str, Tag] = {}  # each style sheet once, and each character of a formula
    characters: dict[str, Tag] = {}
    for name, found in pages.items():
        for sheet in found.find_all("link", rel="stylesheet"):
            place = posixpath.join(posixpath.dirname(name), str(sheet["href"]))
            sheet["href"] = posixpath.normpath(place)
            sheets.setdefault(sheet["href"], sheet)
        drawn = found.find("svg", class_="characters")
        for character in drawn.find_all(id=True) if isinstance(drawn, Tag) else ():
            characters.setdefault(str(character["id"]), character)
    head.extend(sheets.values())
    body.find("defs").extend(characters.values())
    book = [
        (caption, [made_for_all(pages[name], name, set(pages)) for name in names])
        for caption, names in order
    ]
    put_apart(soup, book)
    head.append(soup.new_tag("style", string=STYLE + "".join(running_heads(book))))
    article.append(contents(soup, book[1:]))
    for caption, documents in book:
        if caption:
            article.append(soup.new_tag("h1", attrs={"class": "part-title"}, string=caption))
        article.extend(documents)
    return soup


def put_apart(soup: BeautifulSoup, book: list[tuple[str, list[Tag]]]) -> None:
    """Move the solutions and the answers of all chapters into two documents of an appendix."""
    appendix = []
    for title, kind in (("Answers to the questions", "details.answer"), ("Solutions", SOLUTION)):
        document = soup.new_tag("section", attrs={"class": "document appendix"})
        document["id"] = re.sub(r"\W+", "-", title.lower())
        document.append(soup.new_tag("h2", string=title))
        for chapter in [document for _, documents in book for document in documents]:
            folds = chapter.select(kind)
            if not folds:
                continue
            titles = [f.select_one("summary").get_text(" ").strip() for f in folds]
            titles = [re.sub(r"^(.+) \1$", r"\1", re.sub(r"\s+", " ", t)) for t in titles]
            name = chapter.find("h2").get_text()
            document.append(soup.new_tag("h3", string=name))
            document.extend(list(take_out(soup, chapter, kind, titles)))
        if document.find("h3"):
            appendix.append(document)
    if appendix:
        book.append(("Appendix", appendix))


def running_heads(book: list[tuple[str, list[Tag]]]) -> Iterator[str]:
    """A style for each page of the book: its title stands at the head of its leaves."""
    for document in (document for _, documents in book for document in documents):
        name = document["id"]
        words = document.find(["h1", "h2"]).get_text().replace('"', r"\"")
        yield f"#{name} {{ page: {name}; }}\n"
        yield f'@page {name} {{ @top-center {{ content: "{words}"; }} }}\n'


# ---- from one page to the PDF -------------------------------------------------------------------


def browser() -> str:
    """The path of an installed Chromium; raises Refused where there is none."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    mac = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    if mac.exists():
        return str(mac)
    raise Refused(f"no browser found that prints ({', '.join(BROWSERS)}): install chromium")


def printed(soup: BeautifulSoup, folder: Path, chromium: str, *, last: bool = False) -> Path:
    """The PDF of a document, whose images and styles lie in folder.

    last: with an outline, and with tags for a screen reader, which take as long as all else.
    """
    source, pdf = folder / ".whole-book.html", folder / ".whole-book.pdf"
    source.write_text(str(soup), encoding="utf-8")
    with tempfile.TemporaryDirectory() as profile:
        call = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        call += ["--disable-background-networking", f"--user-data-dir={profile}"]
        call += ["--generate-pdf-document-outline"] if last else ["--disable-pdf-tagging"]
        call += ["--no-pdf-header-footer", f"--print-to-pdf={pdf}", source.as_uri()]
        pdf.unlink(missing_ok=True)
        try:
            done = subprocess.run(call, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise Refused(f"{chromium} was still printing after {SECONDS} s") from None
    if done.returncode or not pdf.exists():
        raise Refused(f"{chromium} printed nothing:\n{done.stderr[-1000:]}")
    return pdf


def leaves(pdf: Path) -> dict[str, int]:
    """The number of the leaf of each anchor that a link leads to, counted from 1."""
    with pikepdf.open(pdf) as opened:
        numbers = {page.objgen: i for i, page in enumerate(opened.pages, 1)}
        places = opened.Root.get("/Dests", {})
        return {name.removeprefix("/"): numbers[place[0].objgen] for name, place in places.items()}


def shrink(pdf: Path, result: Path) -> None:
    """Write a PDF again with its objects packed: a third of the size, nothing lost."""
    part = result.with_name(f".{result.name}.part")  # never half a PDF
    with pikepdf.open(pdf) as opened:
        opened.save(part, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    part.replace(result)


def number(soup: BeautifulSoup, where: dict[str, int]) -> None:
    """Write the numbers of the leaves into the document."""
    for span in soup.select("span.leaf"):
        anchor = str(span["data-of"])
        if anchor not in where:
            raise Refused(f"the PDF has no place for {anchor}")
        span.string = str(where[anchor])


def main(root: Path = ROOT) -> int:
    """Write the PDF; the exit status."""
    html, result = root / "_build" / "html", root / "_build" / "autoencoders.pdf"
    try:
        chromium = browser()
        soup = whole_book(html, root)
        number(soup, leaves(printed(soup, html, chromium)))
        pdf = printed(soup, html, chromium, last=True)
        where = leaves(pdf)
        if any(int(span.string) != where[span["data-of"]] for span in soup.select(".leaf")):
            raise Refused("the numbers of the leaves moved when they were written in")
        shrink(pdf, result)
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for left in html.glob(".whole-book.*"):
            left.unlink()
    print(f"The PDF: {result}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
