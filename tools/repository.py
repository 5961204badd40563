"""The repository's address, kept in _config.yml alone, and what follows from it.

python tools/repository.py                     derive everything again, as after adding a chapter
python tools/repository.py --url=ADDRESS       set https://github.com/OWNER/NAME, or none
python tools/repository.py --branch=BRANCH     the branch that Colab opens; with a new address and
                                               without it, the one that this clone is on
python tools/repository.py --check             say what does not follow from the address, exit 1

Two things follow: the first code cell of every notebook, which installs the package on Colab, and
the table of chapters in README.md.

PyYAML reads _config.yml and would write it without its comments; ruamel.yaml keeps them, but writes
lists and the mappings in them in another way. So one value is put into the text as it stands.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from sphinx_external_toc.api import SiteMap
from sphinx_external_toc.parsing import MalformedError, parse_toc_data

from bootstrap import checkout_source
from notebooks import ROOT, Refused, heading, load, normal_form, notebooks, store, tags

COLAB = "https://colab.research.google.com/github"
START, END = "<!-- badges:start -->", "<!-- badges:end -->"
PLACEHOLDER = "https://github.com/OWNER/NAME"  # as the messages here show it


# ---- the address -------------------------------------------------------------------------------


def clean_url(url: str) -> str:
    """The address without `.git` and a closing slash, "" for `none`; Refused for any other kind."""
    if url == "none":
        return ""
    if re.match(rf"{PLACEHOLDER}\b", url, re.IGNORECASE):
        raise Refused(f"URL={url}: put your own account for OWNER and your repository for NAME")
    found = re.fullmatch(
        r"(https://github\.com/[A-Za-z0-9][A-Za-z0-9_-]*/(?!\.{1,2}/?$|\.git/?$)[A-Za-z0-9._-]+?)(\.git)?/?",
        url,
    )
    if not found:
        raise Refused(
            f"URL={url}: expected https://github.com/OWNER/NAME, or none to unset it "
            "(Colab opens GitHub repositories only)"
        )
    return found[1]


def clean_branch(branch: str) -> str:
    """The name of a branch, Refused where it is none that an address can hold."""
    odd = ".." in branch or "//" in branch or branch.endswith(("/", ".lock"))
    if odd or not re.fullmatch(r"[A-Za-z0-9._][A-Za-z0-9._/-]*", branch):
        raise Refused(f"BRANCH={branch}: expected letters, digits, and the signs . _ / -")
    return branch


def current_branch(root: Path) -> str:
    """The branch that this clone is on, main where it is on none or is no clone."""
    command = ["git", "-C", str(root), "symbolic-ref", "--quiet", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:  # no git here
        return "main"
    return done.stdout.strip() or "main"


def address(config: str) -> tuple[str, str]:
    """The address ("" while unset) and the branch that _config.yml names."""
    repository = (parsed("_config.yml", config) or {}).get("repository") or {}
    return repository.get("url") or "", str(repository.get("branch") or "main")


def with_address(config: str, url: str, branch: str) -> str:
    """The text of _config.yml with this address; every other line stays as it is."""
    plain = yaml.safe_load(branch) == branch  # a branch called 1.0 or no needs quotes
    config = with_value(config, "url", f'"{url}"')
    return with_value(config, "branch", branch if plain else f'"{branch}"')


def with_value(config: str, key: str, value: str) -> str:
    """The text of _config.yml with another value in the block `repository`."""
    line = rf"(^repository:[^\n]*\n(?:(?:[ \t][^\n]*|[ \t]*#[^\n]*)?\n)*?[ \t]+{key}:[ \t]*)"
    pattern = re.compile(line + r"""("[^"\n]*"|'[^'\n]*'|[^\s#]*)""", re.MULTILINE)
    changed, count = pattern.subn(lambda found: found[1] + value, config, count=1)
    if count != 1:
        raise Refused(f"_config.yml: no line `{key}:` under `repository:`")
    return changed


# ---- what follows from it ----------------------------------------------------------------------


def with_bootstrap(nb: dict[str, Any], source: str) -> dict[str, Any]:
    """The notebook with this source in its first code cell; one without that cell gets it.

    The same object comes back where nothing is to change. Raises ValueError where the tag
    `bootstrap` is on a cell that is not the first code cell.
    """
    cells = nb["cells"]
    code = [index for index, cell in enumerate(cells) if cell["cell_type"] == "code"]
    tagged = [index for index, cell in enumerate(cells) if "bootstrap" in tags(cell)]
    if tagged and tagged != code[:1]:
        raise ValueError("the tag `bootstrap` belongs on the first code cell alone")
    new = {"cell_type": "code", "metadata": {"tags": ["bootstrap"]}, "source": source}
    if not tagged:
        first = code[0] if code else len(cells)
        return nb | {"cells": [*cells[:first], new, *cells[first:]]}
    old = cells[tagged[0]]
    if old["source"] == source and not old.get("outputs"):
        return nb
    return nb | {"cells": [old | new | {"outputs": []} if c is old else c for c in cells]}


def badges(chapters: list[tuple[str, str]], url: str, branch: str) -> str:
    """The table of chapters in Markdown, with a link to Colab where the address is set.

    chapters: the path from the root and the title of each.
    """
    rows = ["| Chapter | Run it |", "| --- | --- |"] if url else ["| Chapter |", "| --- |"]
    for path, title in chapters:
        row = f"| [{label(path, title)}]({path}) |"
        if url:
            place = url.removeprefix("https://github.com")
            row += f" [Open in Colab]({COLAB}{place}/blob/{branch}/{path}) |"
        rows.append(row)
    return "\n".join(rows)


def label(path: str, title: str) -> str:
    """A chapter's number and title, as a table cell."""
    number = Path(path).name[:2]
    title = title.replace("|", "\\|")
    return title if re.match(rf"0?{int(number)}\b", title) else f"{number} {title}"


def chapters_of(root: Path) -> list[tuple[str, str]]:
    """The path and the title of each chapter that _toc.yml lists, in its order."""
    chapters = []
    for file in contents(root):
        path = f"{file.removesuffix('.ipynb')}.ipynb"
        if path.startswith("notebooks/") and (root / path).exists():
            chapters.append((path, heading(load(root / path)["cells"]) or Path(path).stem))
    return chapters


def contents(root: Path) -> SiteMap:
    """What _toc.yml says, its pages in order; Refused where it is no table of contents."""
    try:
        return parse_toc_data(parsed("_toc.yml", read(root / "_toc.yml")))
    except MalformedError as error:
        raise Refused(f"_toc.yml: {error}") from None


def with_badges(readme: str, table: str) -> str:
    """The README with this table between its two markers."""
    if readme.count(START) != 1 or readme.count(END) != 1:
        raise Refused(f"README.md: expected one {START} and one {END}")
    before, rest = readme.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table}\n{END}{after}"


def derived(root: Path, url: str, branch: str) -> dict[Path, str]:
    """The text of every file that holds the address or follows from it."""
    files = {root / "_config.yml": with_address(read(root / "_config.yml"), url, branch)}
    source = checkout_source(url, branch)
    for path in notebooks(root):
        old = load(path)
        try:
            new = with_bootstrap(old, source)
        except ValueError as error:
            raise Refused(f"{path.name}: {error}") from None
        files[path] = read(path) if new is old else normal_form(new)
    table = badges(chapters_of(root), url, branch)
    files[root / "README.md"] = with_badges(read(root / "README.md"), table)
    return files


def parsed(name: str, content: str) -> Any:
    """What a YAML file says; Refused where it is not YAML."""
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise Refused(f"{name}: not YAML: {' '.join(str(error).split())}") from None


def read(path: Path) -> str:
    """The text of a file, its line ends as they are; Refused where it is missing."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise Refused(f"{path.name}: no such file") from None


# ---- the command -------------------------------------------------------------------------------


def run(root: Path, url: str | None, branch: str | None, check: bool) -> int:
    """Derive everything from the address, a new one or the one that is set; the exit status."""
    old_url, old_branch = address(read(root / "_config.yml"))
    if url is None:
        new_url, new_branch = old_url, clean_branch(branch or old_branch)
    else:
        new_url = clean_url(url)
        new_branch = clean_branch(branch or (current_branch(root) if new_url else "main"))
    files = derived(root, new_url, new_branch)
    differ = [path for path, content in files.items() if read(path) != content]
    for path in differ:
        name = path.relative_to(root).as_posix()
        if check:
            print(f"{name}: does not follow from the address; run make repository")
        else:
            store(path, files[path].encode())
            print(f"{name}: written")
    if not check:
        print(f"Address: {new_url or 'not set'}" + (f", branch {new_branch}" if new_url else ""))
    return int(check and bool(differ))


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser("repository.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="https://github.com/OWNER/NAME, or none")
    parser.add_argument("--branch", help="the branch that Colab opens")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit 1 if anything differs"
    )
    options = parser.parse_args(arguments)
    try:
        return run(root, options.url, options.branch, options.check)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
