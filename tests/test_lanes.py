"""The first lane of a chapter is short, and stands by itself."""

import re
from pathlib import Path

import pytest

import lanes
from lanes import Section
from notebooks import load, notebooks

ROOT = Path(__file__).parents[1]
CHAPTERS = {p.name[:2]: lanes.sections(load(p)["cells"]) for p in notebooks(ROOT)}
SHORT_WAY = ("01", "02", "04", "08", "10", "11", "12", "13")
each_chapter = pytest.mark.parametrize("number", CHAPTERS)


@each_chapter
def test_the_first_lane_is_short(number):
    assert lanes.first_lane_words(CHAPTERS[number]) <= 2_200


@each_chapter
def test_the_first_lane_leans_on_no_marked_section(number):
    others = [s for n, parts in CHAPTERS.items() if n != number for s in parts if s.marked]
    assert lanes.leaks(CHAPTERS[number], lanes.numbers(others)) == []


@each_chapter
def test_the_opening_says_what_the_mark_means_where_there_is_one(number):
    opening, *rest = CHAPTERS[number]
    said = re.search("marked ✦,?( which)? may be skipped", "\n".join(opening.prose)) is not None
    assert said is any(s.marked for s in rest)


def test_the_map_gives_the_short_way_with_its_words():
    page = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    words = {n: lanes.first_lane_words(parts) for n, parts in CHAPTERS.items()}
    way = page.split("**The short way**")[1].split("**")[0]
    assert tuple(re.findall(r"\[(\d\d)\]\(", way)) == SHORT_WAY
    told = [int(n) * 1000 for n in re.findall(r"(\d+)\u00a0000 words", page)]
    assert told == [round(sum(words[n] for n in SHORT_WAY), -3), round(sum(words.values()), -3)]


def of(*parts):
    """Sections from (heading, prose, code of one cell)."""
    return [Section(h, [text], [(f"cell-{i}", code)]) for i, (h, text, code) in enumerate(parts)]


def cell(kind, source):
    return {"cell_type": kind, "id": "a", "metadata": {}, "source": source}


def test_sections_begin_at_headings_also_inside_a_cell():
    text = "Opening words.\n\n## One\n\ntext $$x + y$$\n\n## Two ✦\n\nmore <!-- alt: a b c -->"
    found = lanes.sections([cell("markdown", text), cell("code", "x = 1")])
    assert [s.heading for s in found] == ["", "One", "Two ✦"]
    assert [s.words for s in found] == [2, 3, 4] and [s.marked for s in found] == [0, 0, 1]
    assert found[2].code == [("a", "x = 1")]


def test_each_exercise_is_a_section_and_counts_for_no_lane():
    text = "one two\n\n## Exercises\n\nwords\n\n### Exercise 01.1 ★ · 5 minutes ✦\n\nmany words"
    found = lanes.sections([cell("markdown", text)])
    assert found[-1].heading.startswith("Exercise 01.1") and found[-1].marked
    assert lanes.first_lane_words(found) == 2


@pytest.mark.parametrize(
    ("code", "leaking"),
    [
        ("y = a + 1", True),
        ("def f():\n    return a", True),
        ("a = a + 1", True),
        ("a = 1\ny = a", False),
        ("y = [a for a in range(3)]", False),
        ("def f(a):\n    return a", False),
        ("y = b", False),
        ("for a in range(3):\n    print(a)", False),
        ("for i in range(3):\n    print(a)", True),
    ],
)
def test_a_name_of_a_marked_section_leaks_where_it_is_used_before_it_is_set(code, leaking):
    parts = of(("One", "", "b = 1"), ("Two ✦", "", "a = 2"), ("Three", "", code))
    assert bool(lanes.leaks(parts)) is leaking


def test_a_name_that_a_marked_section_sets_anew_leaks_too():
    parts = of(("One", "", "model = 1"), ("Two ✦", "", "model = 2"), ("Three", "", "y = model"))
    assert lanes.leaks(parts) == ["cell cell-2 uses model, which 'Two ✦' sets"]


@pytest.mark.parametrize(
    ("text", "code", "leaking"),
    [
        ("By (8.5) it is so.", "", True),
        ("See Figure 8.2.", "", True),
        ("", 'verify("8.5 so", 1, 1)', True),
        ("✦ By (8.5) it is so.", "", False),
        ("- ✦ By (8.5) it is so.", "", False),
        ("By (8.4), and 8.5 nats.", "", False),
    ],
)
def test_a_result_of_a_marked_section_leaks_where_it_is_named(text, code, leaking):
    marked = ("Two ✦", "$$x \\tag{8.5}$$\n\n**Figure 8.2.** Dots.", "")
    assert bool(lanes.leaks(of(("One", text, code), marked))) is leaking
    assert bool(lanes.leaks(of(("One", text, code)), {"8.5", "Figure 8.2"})) is leaking
