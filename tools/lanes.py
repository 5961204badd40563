"""The two lanes of a chapter: what a first reading needs, and the sections marked ✦.

python tools/lanes.py [NB ...]    words of each section, and what leaks into the first lane

A section is a heading of the second level with all that follows it; the exercises are sections of
their own, a heading of the third level each. Nothing in the first lane may use a name that only a
marked section defines, a number of its equations or a number of its figures. A paragraph that
begins with ✦ itself may.

Linters (F821 in pyflakes and ruff) see a name that nothing sets, but not one that a marked section
sets anew. symtable would tell the names that a cell sets, but from Python 3.12 on it counts those
inside a comprehension too. So names are read from the syntax tree here.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from notebooks import ROOT, Refused, load, notebooks, plain_python, select, tags

MARK = "✦"
# A question that asks for a prediction: its number, its words, its folded answer.
QUESTION = re.compile(
    r"\*\*Question (?P<number>\d+\.\d+)\.\*\* (?P<asked>.*?)\n\n"
    r'<details class="answer"><summary>(?P<title>.*?)</summary>\n\n(?P<answer>.*?)\n\n</details>',
    re.DOTALL,
)
NOT_PROSE = ("Exercises", "Where to read on")  # read for another reason than the text


@dataclass
class Section:
    """A section: its heading ("" before the first), its prose, its code as (id, source)."""

    heading: str
    prose: list[str] = field(default_factory=list)
    code: list[tuple[str, str]] = field(default_factory=list)

    @property
    def marked(self) -> bool:
        """Whether the section may be skipped at a first reading."""
        return self.heading.endswith(MARK)

    @property
    def words(self) -> int:
        """Words of its prose, without what stands between two $$, pictures' texts and questions."""
        told = QUESTION.sub("", "\n".join(self.prose))
        plain = re.sub(r"\$\$.*?\$\$|<!--.*?-->", "", told, flags=re.DOTALL)
        return len(plain.split())


def sections(cells: list[dict[str, Any]]) -> list[Section]:
    """The sections of a chapter, in order."""
    found = [Section("")]
    for cell in cells:
        if cell["cell_type"] == "code":
            if "bootstrap" not in tags(cell):
                found[-1].code.append((cell["id"], cell["source"]))
            continue
        for part in re.split(r"^(?=#{2,3} )", cell["source"], flags=re.MULTILINE):
            head = re.match(r"## +(.+?) *$|### +(Exercise .+?) *$", part, flags=re.MULTILINE)
            if head:
                found.append(Section(head[1] or head[2]))
            found[-1].prose.append(part)
    return found


def first_lane_words(parts: list[Section]) -> int:
    """Words of the first lane: all but the marked sections, the exercises and the reading list."""
    aside = [p for p in parts if p.marked or p.heading.startswith(("Exercise ", *NOT_PROSE))]
    return sum(p.words for p in parts if p not in aside)


def leaks(parts: list[Section], elsewhere: Iterable[str] = ()) -> list[str]:
    """What the first lane takes from a marked section, one line each.

    elsewhere: equations ("8.5") and figures ("Figure 8.2") of marked sections of other chapters.
    """
    hidden = set(elsewhere) | numbers([p for p in parts if p.marked])
    return names_that_leak(parts) + results_that_leak(parts, hidden)


def numbers(parts: list[Section]) -> set[str]:
    """The equations ("8.5") and figures ("Figure 8.2") that these sections number."""
    prose = "\n".join("\n".join(p.prose) for p in parts)
    equations = re.findall(r"\\tag\{([\d.]+)\}", prose)
    return set(equations) | set(re.findall(r"\*\*(Figure \d+\.\d+)\.\*\*", prose))


def names_that_leak(parts: list[Section]) -> list[str]:
    """Names that a cell of the first lane uses and that only a marked section has given it."""
    from_marked: dict[str, str] = {}
    found = []
    for part in parts:
        for id_, source in part.code:
            given, used = names_of(source)
            if part.marked:
                from_marked |= dict.fromkeys(given, part.heading)
                continue
            for name in sorted(used):
                if name in from_marked:
                    found.append(f"cell {id_} uses {name}, which {from_marked[name]!r} sets")
            for name in given:
                from_marked.pop(name, None)
    return found


def names_of(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell sets at its top level, and those that it uses before it sets them."""
    given: set[str] = set()
    used: set[str] = set()
    for node in ast.parse(plain_python(source)).body:
        loads = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
        read = {n.id for n in loads if isinstance(n.ctx, ast.Load)}
        own = top_level_targets(node) if isinstance(node, (ast.For, ast.With)) else set()
        used |= read - given - own - local_names(node)
        given |= top_level_targets(node)
    return given, used


def top_level_targets(node: ast.stmt) -> set[str]:
    """The names that a statement of the top level sets there."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(a.asname or a.name).split(".")[0] for a in node.names}
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            found.add(inner.id)
        if isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
            found.add(inner.name)
    return found


def local_names(node: ast.stmt) -> set[str]:
    """Names that belong to a function, a lambda or a comprehension inside a statement."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.arg):
            found.add(inner.arg)
        if isinstance(inner, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            for generator in inner.generators:
                found |= {n.id for n in ast.walk(generator.target) if isinstance(n, ast.Name)}
        if isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
            for deep in ast.walk(inner):
                if isinstance(deep, ast.Name) and isinstance(deep.ctx, ast.Store):
                    found.add(deep.id)
    return found


def results_that_leak(parts: list[Section], hidden: set[str]) -> list[str]:
    """Equations and figures of marked sections that the text or a claim of the first lane names."""
    found = []
    for part in parts:
        if part.marked:
            continue
        for paragraph in re.split(r"\n\s*\n|\n(?=[-*] |\d\. )", "\n\n".join(part.prose)):
            if re.match(rf"\s*(>\s*)?([-*] |\d\. )?{MARK}", paragraph):
                continue
            named = set(re.findall(r"(?<![\w.])\((\d+\.\d+)\)", paragraph))
            named |= set(re.findall(r"Figure \d+\.\d+", paragraph))
            for number in sorted(named & hidden):
                found.append(
                    f"{part.heading or 'the opening'!r} names {number}: {paragraph[:60]!r}"
                )
        for id_, source in part.code:
            claims = re.findall(r'verify\(\s*f?"(\d+\.\d+) ', source)
            found += [f"cell {id_} claims {n}" for n in claims if n in hidden]
    return found


def main(arguments: list[str]) -> int:
    """Print the sections of the chapters named, of all without a name, and what leaks."""
    try:
        wanted = [path.name[:2] for path in select(ROOT, arguments)]
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    chapters = {p.name[:2]: sections(load(p)["cells"]) for p in notebooks(ROOT)}
    everywhere = {n: numbers([s for s in parts if s.marked]) for n, parts in chapters.items()}
    found = 0
    for number in wanted:
        parts = chapters[number]
        print(f"{number}: {first_lane_words(parts)} words in the first lane")
        for part in parts:
            if not part.heading.startswith("Exercise "):
                print(f"    {part.words:5}  {part.heading or '(opening)'}")
        others = set().union(*(v for n, v in everywhere.items() if n != number))
        for line in leaks(parts, others):
            found += 1
            print(f"    leak: {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
