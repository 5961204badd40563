"""The first lane of a chapter is short, and stands by itself."""

import pytest

import lanes
from lanes import Section


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
