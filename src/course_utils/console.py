"""What the course prints, on any console: what a console lacks is said in ASCII.

Where the console takes UTF-8, as every notebook does, nothing changes. Nothing here needs more than
Python itself.
"""

from __future__ import annotations  # for the sake of a Python that is too old, which is told so

import re
import sys
import unicodedata
from itertools import groupby

MARKS = {"✓": "[ok]", "✗": "[no]", "○": "[..]"}

# Marks the edge of a word. It becomes a space where the word would grow into its neighbour:
# "σε" is "sigma epsilon", "√2" is "sqrt 2", and "√(2)" stays "sqrt(2)".
_EDGE = "\uffff"

# What Unicode's own tables do not tell.
_SPELLED = {
    "−": "-",
    "·": "*",
    "⋅": "*",
    "⊙": "*",
    "•": "*",
    "×": f"{_EDGE}x{_EDGE}",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~=",
    "∝": "~",
    "→": "->",
    "↦": "->",
    "←": "<-",
    "⟨": "<",
    "⟩": ">",
    "‖": "||",
    "∥": "||",
    "′": "'",
    "⁄": "/",
    "°": f"{_EDGE}deg{_EDGE}",
    "∂": "d",
    "∇": f"{_EDGE}grad{_EDGE}",
    "√": f"{_EDGE}sqrt{_EDGE}",
    "∑": f"{_EDGE}sum{_EDGE}",
    "∏": f"{_EDGE}prod{_EDGE}",
    "∫": f"{_EDGE}int{_EDGE}",
    "∞": f"{_EDGE}inf{_EDGE}",
    "∈": f"{_EDGE}in{_EDGE}",
    "\u0302": f"_hat{_EDGE}",  # the accents of x̂, x̃, x̄ where they stand by themselves
    "\u0303": f"_tilde{_EDGE}",
    "\u0304": f"_bar{_EDGE}",
}


def say(text: str, *, flush: bool = False) -> None:
    """Print a text and a newline; never fails because of what the console can show.

    Where there is no console (``sys.stdout`` is None, as under pythonw), nothing is printed.
    """
    try:
        print(as_shown(text), flush=flush)
    except UnicodeError:  # a stream that takes less than it says, or does not say
        print(readable(text, "ascii"), flush=flush)


def as_shown(text: str) -> str:
    """Return the text as ``sys.stdout`` can show it; unchanged where that is not known."""
    encoding = getattr(sys.stdout, "encoding", None)
    return text if encoding is None else readable(text, encoding)


def takes_marks(encoding: str) -> bool:
    """Tell whether all of ✓ ✗ ○ can be shown: one alone would look odd beside the others."""
    return _encodes("".join(MARKS), encoding)


def readable(text: str, encoding: str) -> str:
    """Return the text with ASCII in place of what an encoding lacks.

    Args:
        text: any text.
        encoding: the name of a codec; an unknown one counts as ASCII.

    >>> readable("✓ β² ≤ ½ σε", "ascii")
    '[ok] beta^2 <= 1/2 sigma epsilon'
    >>> readable("✓ β² ≤ ½ σε", "cp1252")
    '[ok] beta² <= ½ sigma epsilon'
    """
    marks = takes_marks(encoding)
    if marks and _encodes(text, encoding):
        return text
    parts = []
    for script, group in groupby(text, _script):
        run = "".join(group)
        if script and not _encodes(run, encoding):  # all of ⁻², also where ² alone could be shown
            run = script + "".join(map(_spell, run)) + _EDGE
        elif not script:
            run = "".join(
                c if _encodes(c, encoding) and (marks or c not in MARKS) else _spell(c) for c in run
            )
        parts.append(run)
    joined = ""
    for piece in re.split(f"{_EDGE}+", "".join(parts)):
        apart = _in_word(joined[-1:]) and _in_word(piece[:1])
        joined += (" " if apart else "") + piece
    return joined


def _in_word(char: str) -> bool:
    return char.isalpha() or char.isdecimal()  # but no ² or ½


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError, TypeError):
        return False
    return True


def _script(char: str) -> str:
    """Return "^" for a superscript, "_" for a subscript, "" for all else."""
    form = unicodedata.decomposition(char).split(" ")[0]
    return {"<super>": "^", "<sub>": "_"}.get(form, "")


def _spell(char: str) -> str:
    """Return ASCII for one character, "?" where nothing is known of it."""
    if char in MARKS:
        return MARKS[char]
    if char in _SPELLED:
        return _SPELLED[char]
    if char.isascii():
        return char
    parts = unicodedata.normalize("NFKD", char)
    if parts != char:  # é is e with an accent, … three dots, ½ one, a slash and two
        edge = _EDGE if unicodedata.decomposition(char).startswith("<fraction>") else ""
        return edge + "".join(_spell(c) for c in parts if not unicodedata.combining(c)) + edge
    name, category = unicodedata.name(char, ""), unicodedata.category(char)
    letter = re.match(r"(GREEK|LATIN) (SMALL|CAPITAL) LETTER .*?(\w+)$", name.split(" WITH ")[0])
    if letter:
        word = "lambda" if letter[3] == "LAMDA" else letter[3].lower()
        word = word.capitalize() if letter[2] == "CAPITAL" else word
        return f"{_EDGE}{word}{_EDGE}" if letter[1] == "GREEK" else word
    if "QUOTATION MARK" in name:
        return "'" if "SINGLE" in name else '"'
    by_category = {"Pd": "-", "Zs": " ", "Zl": "\n", "Zp": "\n", "Cf": "", "Mn": ""}
    return by_category.get(category, "?")
