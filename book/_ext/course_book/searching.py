"""The search: one spelling for two, and the other names of what the course explains.

"Reparameterise" finds what is written "reparameterize", since words are brought to one spelling
before they are stemmed, here while the index is made and in the browser when a word is looked for.
book/search_names.yml says under which other names a section is to be found.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.search import languages
from sphinx.search.en import SearchEnglish
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
NAMES = "book/search_names.yml"
# British endings and the American ones. Python and the browser read the same patterns.
SPELLINGS = (
    ("is(e|ed|es|er|ers|ing|ation|ations)$", "iz"),
    ("ys(e|ed|es|er|ers|ing)$", "yz"),
    ("our(s|ed|ing|al|able|hood|hoods)?$", "or"),
    ("ll(ed|ing|er|ers)$", "l"),
    ("tre(s|d)?$", "ter"),
)


def one_spelling(word: str) -> str:
    """Return a word with the American ending."""
    for pattern, ending in SPELLINGS:
        word = re.sub(pattern, rf"{ending}\1", word)
    return word


class TwoEnglishes(SearchEnglish):
    """The English of Sphinx's search, deaf to the difference of the two spellings."""

    js_stemmer_code = (
        SearchEnglish.js_stemmer_code
        + """
var PorterStemmer = Stemmer;
Stemmer = function () {
  const porter = new PorterStemmer();
  const spellings = SPELLINGS;
  this.stemWord = (word) => porter.stemWord(spellings.reduce(
    (w, [pattern, ending]) => w.replace(new RegExp(pattern), (_, rest) => ending + (rest || "")),
    word));
};
""".replace("SPELLINGS", json.dumps(SPELLINGS))
    )

    def __init__(self, options: dict[str, str]) -> None:
        """Have each word's stem found once: the pages say the same few thousand again and again."""
        super().__init__(options)
        porter = super().stem
        self.stem_of = cache(lambda word: porter(one_spelling(word)))

    def stem(self, word: str) -> str:
        """Return the stem of a word in either spelling."""
        return self.stem_of(word.lower())


def setup(app: Sphinx) -> None:
    """Have the search use this English, and find the other names."""
    languages["en"] = TwoEnglishes
    app.connect("doctree-read", add_names)


def add_names(app: Sphinx, doctree: nodes.document) -> None:
    """Give the sections of a page their other names, as entries of the index."""
    path = Path(app.srcdir, NAMES)
    if not path.is_file():
        return
    app.env.note_dependency(str(path))
    names = yaml.safe_load(path.read_text("utf-8")).get(app.env.docname, {})
    sections = {name: s for s in doctree.findall(nodes.section) for name in s["ids"]}
    for anchor, others in names.items():
        section = sections.get(anchor)
        if section is None:
            message = f"{NAMES}: {app.env.docname} has no section #{anchor}"
            LOGGER.warning(message, type="course_book", subtype="search")
            continue
        entries = [("single", other, anchor, "main", None) for other in others]
        section.insert(1, addnodes.index(entries=entries))
