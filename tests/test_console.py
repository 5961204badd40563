"""What the course prints can be printed on any console, and is the same where UTF-8 is taken."""

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.console import MARKS, as_shown, readable, say
from course_utils.exercises import answers, check, hint
from course_utils.verify import ClaimError, verify

ROOT = Path(__file__).parents[1]
ENCODINGS = ["ascii", "cp1252", "cp437", "latin-1", "cp932", "gbk", "koi8-r", "utf-8", "utf-16"]


class Console(io.TextIOWrapper):
    """A console that refuses what its encoding lacks, as Python's own does."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="")

    def shown(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture
def on(monkeypatch):
    """Call something with a console in place of stdout, and return what the console shows."""

    def run(console, function, *args):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", console)
            function(*args)
        return console.shown()

    return run


def stored_text():
    """What the chapters print, each text with its notebook."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if output["output_type"] == "stream":
                    yield path.name, "".join(output["text"])


def everything(finding):
    check("01.1", lambda sizes: ...)
    check("01.1", lambda sizes: sum(sizes))
    check("01.1", answers.find("01.1").solution[0])
    for _ in range(9):
        hint("18.4")
    verify("18.2 β = 4, σ² ≤ ½ ‖x̂ − x‖ – “so”\u00a0it is: 漢", 1, 1, 1e-6)
    print(finding)
    print([finding])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_all_that_the_course_prints_can_be_printed(encoding, on, monkeypatch):
    diagnosis = pytest.importorskip("course_utils.diagnosis")
    monkeypatch.setattr(answers, "_unfolded", {})
    finding = diagnosis.Finding("β on the wrong term", "no weights of mu², σ² explain it", "½ Σ x")
    out = on(Console(encoding), everything, finding)
    takes_all = encoding.startswith("utf")
    assert takes_all == any(mark in out for mark in MARKS)
    assert takes_all != any(mark in out for mark in MARKS.values())
    assert len(out.splitlines()) > 15


def test_where_utf8_is_taken_every_stored_output_stays_as_it_is(on):
    texts = [text for _, text in stored_text()]
    assert any("β" in text for text in texts) and len(texts) > 500
    for text in texts:
        assert on(Console("utf-8"), say, text) == text + "\n"


def test_what_the_chapters_print_is_said_in_ascii_without_a_question_mark():
    for name, text in stored_text():
        said = readable(text, "ascii")
        assert said.isascii() and said.count("?") == text.count("?"), (name, text)


def test_no_string_of_the_package_becomes_a_question_mark():
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        said = readable(text, "ascii")
        assert said.isascii() and said.count("?") == text.count("?"), path.name


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("β² · (x − 1)", "ascii", "beta^2 * (x - 1)"),
        ("β² · (x − 1)", "cp1252", "beta² · (x - 1)"),
        ("βσ² · (x − 1)", "cp437", "beta σ² · (x - 1)"),
        ("wᵀx ≤ ½", "ascii", "w^T x <= 1/2"),
        ("10⁻² or 2⁵", "cp1252", "10^-2 or 2^5"),
        ("x₁₂", "ascii", "x_12"),
        ("σε, 2β, √2, √(2), 28×28", "ascii", "sigma epsilon, 2 beta, sqrt 2, sqrt(2), 28 x 28"),
        ("β_kl and β-VAE", "ascii", "beta_kl and beta-VAE"),
        ("‘a’ – “b”\u00a0— «c»\u2028…", "ascii", '\'a\' - "b" - "c"\n...'),
        ("‖x − x̂‖², x̃", "ascii", "||x - x_hat||^2, x_tilde"),
        ("Λ λ ς Ω µ", "ascii", "Lambda lambda sigma Omega mu"),
        ("Müller, Łódź, Ærø, naïve ﬁt", "ascii", "Muller, Lodz, Aero, naive fit"),
        ("a\u200bb\ufeff", "ascii", "ab"),
        ("漢 🙂 \udc80", "ascii", "? ? ?"),
        ("\udc80 β", "utf-8", "? β"),
        ("β", "no such codec", "beta"),
        ("✓ ½", "latin-1", "[ok] ½"),
        ("○ and ×", "cp932", "[..] and ×"),  # it has ○, but not ✓
        ("✓ ✗ ○", "ascii", "[ok] [no] [..]"),
    ],
)
def test_only_what_the_console_lacks_is_replaced(text, encoding, said):
    assert readable(text, encoding) == said


def test_the_message_of_a_claim_that_fails_keeps_its_signs(on):
    def fail():
        with pytest.raises(ClaimError, match="✗ β: 1 = 2 does not hold"):
            verify("β", 1, 2)

    assert on(Console("ascii"), fail) == ""


class Plain:
    """A stdout that somebody made: it can write, and says nothing of its encoding."""

    def __init__(self, codec="utf-8"):
        self.codec, self.text = codec, ""

    def write(self, text):
        self.text += text.encode(self.codec).decode(self.codec)

    def shown(self):
        return self.text


class Boaster(Plain):
    encoding = "utf-8"  # which it does not keep


class Odd(Plain):
    encoding = 7


@pytest.mark.parametrize(
    ("console", "said"),
    [
        (Plain(), "✓ β\n"),
        (Plain("ascii"), "[ok] beta\n"),
        (Boaster("ascii"), "[ok] beta\n"),
        (Odd(), "[ok] beta\n"),
    ],
)
def test_a_stream_that_hides_its_encoding_is_printed_to_all_the_same(console, said, on):
    assert on(console, verify, "β", 1, 1) == said


def test_without_a_console_nothing_is_printed_and_nothing_fails(monkeypatch):
    training = pytest.importorskip("course_utils.training")
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(sys, "stdout", None)  # both, as under pythonw
    monkeypatch.setattr(sys, "stderr", None)
    check("01.1", len)
    hint("01.1")
    verify("β", 1, 1)
    assert as_shown("β") == "β"
    model = torch.nn.Linear(2, 1)
    training.fit(model, lambda m, x, g: m(x).square().mean(), torch.ones(4, 2), epochs=1)


EVERY_EXERCISE = """
import importlib, pkgutil
from course_utils import exercises, verify
for module in pkgutil.iter_modules(exercises.__path__):
    if module.name.startswith("chapter"):
        for e in importlib.import_module("course_utils.exercises." + module.name).EXERCISES:
            exercises.check(e.number, *e.solution)
            exercises.check(e.number, *e.mistakes[0].answer)
            exercises.check(e.number, *[lambda *args: "β ✗ ½ 漢"] * len(e.solution))
            exercises.check(e.number, *[...] * len(e.solution))
            for _ in range(len(e.hints) + 1):
                exercises.hint(e.number)
verify.verify("18.2 β", 1, 1)
"""


def child(code, **environment):
    """Run code in a new Python; return its stdout as bytes, and its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True
    )
    return done.stdout, done.stderr.decode(errors="replace")


def test_every_exercise_answers_on_a_console_of_ascii():
    out, err = child(EVERY_EXERCISE, PYTHONIOENCODING="ascii:strict")
    lines = out.decode("ascii").splitlines()
    assert err == "" and lines[-1] == "[ok] 18.2 beta"
    n_right, n_wrong, n_open = (
        sum(line.startswith(mark) for line in lines) for mark in ("[ok]", "[no]", "[..]")
    )
    assert n_open > 90 and n_right == n_open + 1 and n_wrong == 2 * n_open
    assert sum("Known mistake: " in line for line in lines) >= n_open


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_a_redirected_stdout_takes_it_too(environment):
    code = r"from course_utils.verify import verify; verify('\u03b2\u00b2', 1, 1)"
    out, err = child(code, **environment)
    assert err == "" and out.split() in ([b"[ok]", b"beta\xb2"], [b"[ok]", b"beta^2"])


def test_the_package_prints_through_say_alone():
    own = {
        "console.py",  # say itself
        "training.py",  # a history, in ASCII; chapter 14 stores numbers with a hash of this code
    }
    for path in sorted((ROOT / "src").rglob("*.py")):
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
        ]
        to_stderr = [any(k.arg == "file" for k in call.keywords) for call in calls]
        assert path.name in own or all(to_stderr), path.name
