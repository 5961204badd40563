r"""Equations: what stands between the dollars is drawn as JupyterLab draws it.

Numbers are written by hand, ``\tag{2.3}``, and each makes an anchor ``equation-2-3`` on its page.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

BEFORE = re.compile(r"[^\w\s]+\Z")
AFTER = re.compile(r"\A[^\w\s]+")
TAG = re.compile(r"\\tag\*?\{(?P<number>[^{}]+)\}")


def setup(app: Sphinx) -> None:
    """Treat the equations of each page just before it is written."""
    app.connect("doctree-resolved", anchor_equations)
    app.connect("doctree-resolved", keep_punctuation)


def anchor_equations(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Undo what MyST adds to an equation, and give it its anchors.

    MyST numbers each ``align`` on its own, beside our numbers, under an id made of random digits,
    so that no two builds were the same.
    """
    for equation in doctree.findall(nodes.math_block):
        equation["ids"] = [anchor(number) for number in numbers(equation.astext())]


def keep_punctuation(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Bind a formula in a line to the signs around it: to a browser it is a picture, after which
    a line may end, and the next one would begin with the comma.
    """
    for formula in list(doctree.findall(nodes.math)):
        siblings = formula.parent.children
        place = siblings.index(formula)
        before = take(siblings, place - 1, BEFORE) if place else ""
        after = take(siblings, place + 1, AFTER) if place + 1 < len(siblings) else ""
        if before or after:
            bound = nodes.inline("", "", classes=["unbroken"])
            formula.parent.replace(formula, bound)
            bound += [nodes.Text(before), formula, nodes.Text(after)]


def take(siblings: list[nodes.Node], place: int, signs: re.Pattern[str]) -> str:
    """Cut signs off a text and return them; "" where there are none, or no text."""
    text = siblings[place]
    found = signs.search(text) if isinstance(text, nodes.Text) else None
    if found is None:
        return ""
    text.parent.replace(text, nodes.Text(text[: found.start()] + text[found.end() :]))
    return found[0]


def numbers(markdown: str) -> list[str]:
    """Return the numbers of the equations in a text, in their order."""
    return [found["number"] for found in TAG.finditer(markdown)]


def anchor(number: str) -> str:
    """Return the id of the equation with this number."""
    return nodes.make_id(f"equation-{number}")
