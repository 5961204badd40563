"""The questions at the end of the sections of the first lane."""

import re
from pathlib import Path

import pytest

import lanes
from lanes import NOT_PROSE, QUESTION
from notebooks import load, notebooks

ROOT = Path(__file__).parents[1]
CHAPTERS = {p.name[:2]: lanes.sections(load(p)["cells"]) for p in notebooks(ROOT)}
each_chapter = pytest.mark.parametrize("number", CHAPTERS)


def questions(sections):
    """(number, question, title, answer) of each question, in order."""
    return [found for s in sections for found in QUESTION.findall("\n".join(s.prose))]


def first_lane(number):
    """The sections after which a chapter asks."""
    left_out = (*NOT_PROSE, "What to remember", "Exercise")
    named = [s for s in CHAPTERS[number][1:] if not s.heading.startswith(left_out)]
    return [s for s in named if not s.marked]


def words(text):
    """The words of a text, without marks: what two texts are compared by."""
    return re.findall(r"\w+", text.lower())


@each_chapter
def test_each_section_of_the_first_lane_ends_with_its_questions(number):
    for section in first_lane(number):
        asked = questions([section])
        assert 2 <= len(asked) <= 3, section.heading
        # Nothing follows the questions.
        assert "\n".join(section.prose).rstrip().endswith("</details>"), section.heading
    elsewhere = [s for s in CHAPTERS[number] if s not in first_lane(number)]
    assert questions(elsewhere) == []


@each_chapter
def test_questions_are_numbered_and_their_answers_named(number):
    asked = questions(CHAPTERS[number])
    assert [q[0] for q in asked] == [f"{int(number)}.{i}" for i in range(1, len(asked) + 1)]
    assert all(title == f"Answer to question {n}" for n, _, title, _ in asked)
    text = "\n".join(part for s in CHAPTERS[number] for part in s.prose)
    assert text.count("**Question ") == text.count('<details class="answer">') == len(asked)


def test_there_are_a_hundred_and_more():
    assert sum(len(questions(parts)) for parts in CHAPTERS.values()) >= 100


@each_chapter
def test_a_question_is_short_and_its_answer_says_why(number):
    for n, question, _, answer in questions(CHAPTERS[number]):
        assert question.count("?") >= 1 and len(question.split()) <= 50, n
        assert 25 <= len(answer.split()) <= 100, n
        assert len(re.findall(r"[.!?:]\)?(?=\s|$)", answer)) >= 2, n  # an answer and a reason


def given_away(text, answer, run=8):
    """Words of an answer, eight in a row, that stand in the text above it; "" where none do."""
    said, told = words(text), words(answer)
    above = {tuple(said[i : i + run]) for i in range(len(said) - run + 1)}
    for i in range(len(told) - run + 1):
        if tuple(told[i : i + run]) in above:
            return " ".join(told[i : i + run])
    return ""


@each_chapter
def test_the_text_above_gives_no_answer_word_for_word(number):
    whole = "\n".join(part for s in CHAPTERS[number] for part in s.prose)
    for found in QUESTION.finditer(whole):
        above = QUESTION.sub("", whole[: found.start()])
        stolen = given_away(above, found["answer"])
        assert stolen == "", f"{found['number']}: {stolen}"


def test_an_answer_that_the_text_gives_is_found():
    text = "The risk is then larger, because each of the three lamps costs more than before. More."
    assert given_away(text, "Larger: because each of the three lamps costs more, as the text says.")
    assert not given_away(text, "Larger: each lamp costs its own probability of being wrong.")


@each_chapter
def test_formulas_are_whole_and_nothing_shows_its_source(number):
    for n, question, _, answer in questions(CHAPTERS[number]):
        for part in (question, answer):
            assert part.replace("$$", "").count("$") % 2 == 0, n
            assert not re.search(r"<(?!!--)\w|\\tag|^#|^\s*```|!\[", part, re.M), n
            assert not re.search(r"^\d+[.)] ", part, re.M), n  # Markdown would begin a list


def test_words_of_a_section_do_not_count_its_questions():
    asked = '**Question 1.1.** Why?\n\n<details class="answer"><summary>Answer to question 1.1'
    asked += "</summary>\n\nBecause.\n\n</details>"
    assert lanes.Section("", [f"Two words.\n\n{asked}"]).words == 2
