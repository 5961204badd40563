"""How an answer is graded, whatever it is: what ends it, what it prints, what counts as equal."""

import dataclasses
import functools
import io
import os
import pkgutil
import signal
import sys
import threading
import time
import warnings
from fractions import Fraction

import numpy as np
import pytest

import course_utils.exercises as exercises
from course_utils.exercises import answers, check, limits
from course_utils.exercises.fresh import fresh
from course_utils.exercises.grading import (
    Exercise,
    Grade,
    Mistake,
    Wrong,
    as_parts,
    compare,
    grade,
)
from course_utils.exercises.values import apart, as_array, has_nan

CHAPTERS = [
    m.name for m in pkgutil.iter_modules(exercises.__path__) if m.name.startswith("chapter")
]

HAS_ALARM = hasattr(signal, "setitimer")
needs_alarm = pytest.mark.skipif(not HAS_ALARM, reason="no signal ends code on Windows")


def said(capsys, number, *answer):
    check(number, *answer)
    return " ".join(capsys.readouterr().out.split())


def exercise(*solution, cases=({"x": 1.0},), **options):
    """Make an exercise that asks for functions of one number."""
    return Exercise("01.1", solution, lambda: [dict(case) for case in cases], (), (), **options)


def wrong_lines(made, *answer):
    result = grade(made, answer)
    assert result.status == "wrong"
    return " ".join(result.lines)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.3)


def in_a_thread(call):
    """Do something off the main thread, and return its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    return results[0]


# Answers that never end ---------------------------------------------------------------------------
def spin(*args):
    while True:
        pass


def sleep(*args):
    time.sleep(1000)


def catch_exceptions(*args):
    while True:
        try:
            time.sleep(0.001)
        except Exception:
            pass


def catch_everything(*args):
    caught = []
    while True:
        try:
            try:
                while True:
                    sum(range(1000))
            except BaseException as error:
                caught.append(error)
        except BaseException:
            continue


def catch_and_answer(sizes):
    try:
        spin()
    except BaseException:
        return sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))


@needs_alarm
@pytest.mark.parametrize(
    "answer", [spin, sleep, catch_exceptions, catch_everything, catch_and_answer]
)
def test_an_answer_without_end_gets_a_verdict(answer, short, capsys):
    begin = time.monotonic()
    out = said(capsys, "01.1", answer)
    assert time.monotonic() - begin < 5
    assert out.startswith("✗ 01.1 is not right yet: case 1 of")
    assert "did not end within 0.3 s <- your line" in out


def test_the_limit_is_said_in_whole_seconds_and_kept():
    assert limits.SECONDS < 10 and str(limits.NoEnd(limits.SECONDS, [])) == (
        "did not end within 10 s"
    )


@pytest.mark.parametrize("answer", [spin, catch_exceptions, catch_and_answer])
def test_off_the_main_thread_an_answer_without_end_is_stopped(answer, short):
    before = threading.active_count()
    made = answers.find("01.1")
    result = in_a_thread(lambda: grade(made, (answer,)))
    assert "did not end within 0.3 s" in " ".join(result.lines)
    assert "background" not in " ".join(result.lines)
    assert threading.active_count() == before


def test_what_no_thread_can_stop_is_abandoned_and_said(short, monkeypatch):
    monkeypatch.setattr(limits, "_ABANDONED_AFTER", 0.1)
    made = answers.find("01.1")
    result = in_a_thread(lambda: grade(made, (lambda sizes: time.sleep(3),)))
    text = " ".join(result.lines)
    assert "did not end within 0.3 s" in text and "goes on in the background" in text


def test_without_an_alarm_the_main_thread_waits_for_another(short, monkeypatch):
    monkeypatch.setattr(limits, "_has_alarm", lambda: False)
    text = wrong_lines(answers.find("01.1"), spin)
    assert "did not end within 0.3 s" in text
    seen = []
    with np.errstate(divide="raise"):
        budget = limits.Budget()
        budget.call(lambda: seen.append(np.geterr()["divide"]))
    assert seen == ["raise"]


def test_all_cases_together_have_one_limit(monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    cases = [{"x": float(i)} for i in range(20)]
    made = exercise(lambda x: x, cases=cases)
    begin = time.monotonic()
    text = wrong_lines(made, lambda x: time.sleep(0.1) or x)
    assert "did not end" in text and time.monotonic() - begin < 2


def test_the_solutions_time_does_not_count(short):
    made = exercise(lambda x: time.sleep(0.4) or x)
    assert grade(made, (lambda x: x,)).status == "right"


@needs_alarm
def test_the_search_for_a_known_mistake_ends_too(short):
    def first_only(x):
        return 0.0 if x == 1.0 else spin()

    begin = time.monotonic()
    made = exercise(lambda x: x, cases=({"x": 1.0}, {"x": 2.0}))
    assert "expected  1" in wrong_lines(made, first_only) and time.monotonic() - begin < 2


@needs_alarm
def test_the_earlier_handlers_and_timer_are_put_back(short):
    rung = []
    alarm = signal.signal(signal.SIGALRM, lambda *args: rung.append(time.monotonic()))
    interrupt = signal.getsignal(signal.SIGINT)
    handler = signal.getsignal(signal.SIGALRM)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 50)
        grade(answers.find("01.1"), (spin,))  # until after that time
        assert signal.getsignal(signal.SIGALRM) is handler
        assert signal.getsignal(signal.SIGINT) is interrupt
        time.sleep(0.01)
        assert len(rung) == 1 and signal.getitimer(signal.ITIMER_REAL)[1] == 50
        signal.setitimer(signal.ITIMER_REAL, 100)
        grade(answers.find("01.1"), answers.find("01.1").solution)
        assert 90 < signal.getitimer(signal.ITIMER_REAL)[0] < 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)


@pytest.fixture
def keyboard():
    """Ctrl-C interrupts, as it does for a user; a shell lets its background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@needs_alarm
@pytest.mark.parametrize("answer", [sleep, catch_everything])
def test_the_user_can_still_interrupt(answer, monkeypatch, keyboard):
    monkeypatch.setattr(limits, "SECONDS", 2)
    press = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    press.start()
    with pytest.raises(KeyboardInterrupt):
        grade(answers.find("01.1"), (answer,))
    press.join()


KERNEL = """
from course_utils.exercises import check, limits
limits.SECONDS = 1
def spin(sizes):
    while True:
        try:
            while True: pass
        except BaseException: pass
def sleep(sizes):
    import time
    time.sleep(1000)
def stop(sizes):
    quit()
"""


@pytest.mark.skipif(os.name == "nt", reason="a kernel is interrupted in another way there")
def test_in_a_jupyter_kernel_the_verdict_comes_and_the_kernel_goes_on():
    manager = pytest.importorskip("jupyter_client.manager")
    kernel, client = manager.start_new_kernel(kernel_name="python3")
    try:

        def run(code, timeout=60):
            printed = []

            def keep(message):
                printed.append(message["content"].get("text", ""))

            reply = client.execute_interactive(code, timeout=timeout, output_hook=keep)
            return reply["content"]["status"], "".join(printed)

        assert run(KERNEL) == ("ok", "")
        for name in ("spin", "sleep"):
            status, printed = run(f'check("01.1", {name})')
            assert status == "ok" and "did not end within 1 s" in printed
            assert "your line" in printed
        status, printed = run('check("01.1", stop)')
        assert status == "ok" and "SystemExit" in printed
        threading.Timer(0.7, kernel.interrupt_kernel).start()
        assert run('limits.SECONDS = 50; check("01.1", sleep)')[0] == "error"
        assert run("print(6 * 7)") == ("ok", "42\n")
        assert kernel.is_alive()
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


# Answers that would end Python --------------------------------------------------------------------
def again_and_again(*args):
    return again_and_again(*args)


def raises(error):
    def answer(sizes):
        raise error

    return answer


class CannotBePrinted(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda sizes: sys.exit("bye"), "SystemExit: your code ends Python"),
        (lambda sizes: exec("quit()"), "SystemExit: your code ends Python"),
        (raises(KeyboardInterrupt), "KeyboardInterrupt: your code raises it itself"),
        (raises(GeneratorExit), "GeneratorExit"),
        (raises(MemoryError), "MemoryError: your code asks for more memory than there is"),
        (lambda sizes: np.ones((10**8, 10**8)), "asks for more memory than there is"),
        (again_and_again, "RecursionError: a function calls itself without end"),
        (raises(CannotBePrinted), "CannotBePrinted"),
        (lambda sizes: input("?"), "EOFError"),
    ],
)
@pytest.mark.parametrize("alarm", [True, False])
def test_what_would_end_python_is_told_in_words(answer, words, alarm, capsys, monkeypatch):
    if not alarm:
        monkeypatch.setattr(limits, "_has_alarm", lambda: False)
    keyboard = io.StringIO("typed")
    monkeypatch.setattr(sys, "stdin", keyboard)
    out = said(capsys, "01.1", answer)
    assert "✗ 01.1 is not right yet: case 1" in out and words in out and "your line" in out
    assert sys.stdin is keyboard and not keyboard.closed


# What an answer prints ----------------------------------------------------------------------------
def printing(*lines, stream="stdout"):
    def answer(sizes):
        for line in lines:
            print(line, file=getattr(sys, stream))
        return 0

    return answer


def test_little_is_shown_whole_and_once_for_each_case_asked(capsys):
    check("01.1", printing("a look inside"))
    assert capsys.readouterr().out.startswith("a look inside\n✗ 01.1 is not right yet: case 1")
    solution = answers.find("01.1").solution[0]
    check("01.1", lambda sizes: print(sizes) or solution(sizes))
    assert capsys.readouterr().out.count("[3, 2]") == 1


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_is_cut_after_twenty_lines_and_counted(stream, capsys):
    check("01.1", printing(*range(5000), stream=stream))
    out, err = capsys.readouterr()
    flood = (out if stream == "stdout" else err).split("✗")[0]
    assert flood.splitlines()[:20] == [str(i) for i in range(20)] and "20\n" not in flood
    assert "… 4 980 more lines" in out and len((out + err).splitlines()) < 30


def test_a_long_line_is_cut_after_two_thousand_characters_and_counted(capsys):
    check("01.1", printing("a" * 102_000))
    out = capsys.readouterr().out
    assert 2000 <= out.count("a" * 10) * 10 <= 2001 or "a" * 2000 in out
    assert "a" * 2001 not in out and "… 1 more line, 100 001 characters" in out


def test_the_cases_of_a_flood_share_one_limit(capsys):
    made = answers.find("01.1")
    check("01.1", lambda sizes: print("line\n" * 15, end="") or made.solution[0](sizes))
    out = capsys.readouterr().out
    more = 15 * len(made.cases()) - 20
    assert out.count("line\n") == 20 and f"… {more} more lines" in out


def test_warnings_are_shown_too(capsys):
    def warn(sizes):
        warnings.warn("be careful", stacklevel=1)
        return 0

    with warnings.catch_warnings():  # pytest keeps warnings to itself
        warnings.simplefilter("always")
        warnings.showwarning = lambda text, *place: print(text, file=sys.stderr)
        check("01.1", warn)
    assert "be careful" in capsys.readouterr().err


def test_the_verdict_begins_a_line_of_its_own(capsys):
    check("01.1", lambda sizes: print("no end", end="") or 0)
    assert "no end\n✗ 01.1" in capsys.readouterr().out


def test_an_answer_cannot_close_the_output(capsys):
    check("01.1", lambda sizes: sys.stdout.close() or print("still here", flush=True) or 0)
    out = capsys.readouterr().out
    assert out.startswith("still here\n✗ 01.1") and "ValueError" not in out


# Another thing than asked for ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (8, "got the number 8."),
        (None, "got None."),
        (np.ones(3), "got an array of shape (3,)."),
        ("x", "got text, 'x'."),
        (int, "got the class int."),
        ([1, 2], "got list [1, 2]."),
        (np.float32(2), "got the number 2."),
        (True, "got the truth value True."),
    ],
)
def test_a_value_in_place_of_a_function_is_told(answer, got, capsys):
    out = said(capsys, "01.1", answer)
    assert f"✗ 01.1 is not right yet. 01.1 asks for a function count_parameters(sizes), {got}" in (
        out
    )
    assert "Pass the function itself, by its name: count_parameters, not count_parameters(…)" in out


def test_a_function_in_place_of_a_value_is_told():
    made = Exercise("01.1", (1.0,), lambda: [{}], (), (), ask=lambda answer, case: answer[0])
    assert "asks for a value, got the function spin: call it" in wrong_lines(made, spin)
    assert grade(made, (1.0,)).status == "right"


def test_another_number_of_arguments_is_told_with_those_expected(capsys):
    out = said(capsys, "01.2", lambda x, x_hat: 0.0)
    assert "expected a function reconstruction_error(x, encode, decode)" in out
    assert "actual <lambda>(x, x_hat): it takes other arguments" in out
    assert "reconstruction_error(x, encode, decode)" in said(capsys, "01.2", lambda *, x: 0.0)


def test_more_arguments_with_defaults_are_no_mistake(capsys):
    solution = answers.find("01.2").solution[0]
    out = said(capsys, "01.2", lambda x, f, g, verbose=False: solution(x, f, g))
    assert out.startswith("✓")


def test_arguments_in_another_order_are_told(capsys):
    out = said(capsys, "01.2", lambda encode, decode, x: 0.0)
    assert "Arguments come in the order (x, encode, decode)" in out


def test_answers_in_another_order_are_told(capsys):
    def pack(x):
        return x[:, :1]

    def unpack(z):
        return z

    assert "expected pack, unpack, in this order" in said(capsys, "01.4", unpack, pack)
    made = exercise(lambda x: x, lambda x, y: x, ask=lambda answer, case: 1.0)
    assert "in another order" in wrong_lines(made, lambda a, b: 1.0, lambda a: 1.0)


def test_objects_that_can_be_called_count_as_functions(capsys):
    solution = answers.find("01.5").solution[0]

    class Answer:
        def __call__(self, x, n_hidden, gain):
            return solution(x, n_hidden, gain)

        def method(self, x, n_hidden, gain):
            return solution(x, n_hidden, gain)

    for answer in (Answer(), Answer().method, functools.partial(solution)):
        assert said(capsys, "01.5", answer).startswith("✓")


# Values -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("expected", "came"),
    [
        ((1.0, 2.0), np.array([1.0, 2.0])),
        ((1.0, 2.0), [1.0, 2.0]),
        ((1, 2), np.array([1.0, 2.0])),
        ((np.ones(3), np.zeros(3)), np.array([[1.0] * 3, [0.0] * 3])),
        ((1.0, np.ones(2)), [np.array(1.0), [1, 1]]),
        (1.0, np.array(1.0)),
        (1.0, 1),
        (1.0, np.float32(1)),
        (2.0, Fraction(2)),
        (np.array([1.0, 2.0]), [1, np.float64(2)]),
        (np.inf, np.inf),
        (np.array([-np.inf, 1.0]), np.array([-np.inf, 1.0])),
        (True, np.True_),
        (1.0, np.float32(1 + 8e-6)),
        (np.array([1.0, 1e-6]), np.array([1.0, 1e-6 + 9e-10])),
    ],
)
def test_what_counts_as_equal(expected, came):
    compare(expected, came, rtol=1e-6)


@pytest.mark.parametrize("kind", ["float64", "float32", "bfloat16", "int64"])
def test_tensors_count_as_numbers_arrays_and_tuples(kind):
    torch = pytest.importorskip("torch")
    kind = getattr(torch, kind)
    compare(2.0, torch.tensor(2, dtype=kind), rtol=1e-6)
    compare((1.0, 2.0), torch.tensor([1, 2], dtype=kind), rtol=1e-6)
    compare(np.array([1.0, 2.0]), [torch.tensor(1, dtype=kind), 2.0], rtol=1e-6)
    compare(1.0, torch.tensor(1.0, requires_grad=True), rtol=1e-6)


@pytest.mark.parametrize(
    ("expected", "came", "says"),
    [
        (1.0, np.nan, "nan"),
        (np.ones(2), np.array([1.0, np.nan]), "not all numbers are finite"),
        (np.inf, -np.inf, "-inf"),
        (np.inf, 1e300, "1e+300"),
        (1.0, np.inf, "inf"),
        (np.array([np.inf, 1.0]), np.array([np.inf, 2.0]), "[inf,  2.]"),
        (1.0, 1j, "complex number"),
        (np.ones(2), np.ones(2) + 0j, "an array of complex numbers"),
        (1.0, True, "the truth value True"),
        (1.0, "1.0", "text, '1.0'"),
        (np.ones(2), np.array(["1", "1"]), "an array of text"),
        (np.ones(2), np.array([1.0, None]), "an array of objects"),
        (1.0, None, "None: is the `return` missing?"),
        (1.0, spin, "the function spin"),
        (1.0, {"a": 1}, "a dict, {'a': 1}"),
        ((1.0, 2.0), 1.0, "the number 1"),
        ((1.0, 2.0), (1.0,), "1: "),
        ((1.0, 2.0), np.ones(3), "3: "),
        ((1.0, 2.0), (1.0, 3.0), "result 2 of 2"),
        (np.ones(2), [1.0, [2.0, 3.0]], "a list"),
        (np.array([1e6, 1e-3]), np.array([1e6, 0.5]), "entry [1]: 0.001 expected, 0.5 came"),
        (1.0, np.float16(1.001), "float16 has about"),
        (True, 0, "0"),
        (np.ones(2), np.array([1.0, 2.0]), "[1., 2.]"),
    ],
)
def test_what_counts_as_different_and_what_is_said(expected, came, says):
    with pytest.raises(Wrong) as caught:
        compare(expected, came, rtol=1e-6)
    wrong = caught.value
    assert says in f"{wrong.expected} {wrong.actual} {wrong.note}" and wrong.expected


def test_a_difference_that_six_digits_hide_is_shown():
    with pytest.raises(Wrong) as caught:
        compare(1 / 3, 1 / 3 + 4e-7, rtol=1e-6)
    wrong = caught.value
    assert (wrong.expected, wrong.actual) == ("0.333333", "0.333334")
    assert wrong.note == "Off by 4e-07; 3.3e-07 is allowed."
    with pytest.raises(Wrong) as caught:
        compare(2 / 3, 2 / 3 + 7e-9, rtol=1e-9)
    assert (caught.value.expected, caught.value.actual) == ("0.666666667", "0.666666674")


def test_of_an_array_the_entry_that_is_farthest_off_is_shown():
    want = np.arange(12.0).reshape(3, 4)
    have = want + 1e-6 * (want == 6) + 1e-4 * (want == 9)
    with pytest.raises(Wrong) as caught:
        compare(want, have, rtol=1e-6)
    assert caught.value.note == (
        "Farthest off is entry [2, 1]: 9 expected, 9.0001 came; off by 0.0001; 9e-06 is allowed."
    )


@pytest.mark.parametrize("off", [1e-1, 1e-5, 1e-9, 1e-14, np.inf, np.nan])
def test_numbers_apart_never_look_alike(off):
    first, second = apart(1 / 3, 1 / 3 + off)
    assert first != second


def test_every_exercise_shows_where_it_differs_when_off_by_a_little():
    """None may print the same thing as expected and as actual, and no digit that tells them apart.

    Exercises with a judge of their own have no one right answer, and are left out.
    """
    import importlib

    for name in CHAPTERS:
        for made in importlib.import_module(f"course_utils.exercises.{name}").EXERCISES:

            def off(value):
                if isinstance(value, tuple):
                    return tuple(map(off, value))
                return value if isinstance(value, bool) else np.asarray(value) * (1 + 2e-3)

            result = grade(
                made,
                tuple(functools.wraps(f)(lambda *args, f=f: off(f(*args))) for f in made.solution),
            )
            if made.judge or result.status == "right":
                assert made.judge or made.number == "12.5", made.number
                continue
            said_of = dict(line.split(maxsplit=1) for line in result.lines[1:3])
            assert said_of["expected"] != said_of["actual"] or any(
                "Farthest off" in line for line in result.lines
            ), made.number


def test_as_parts_says_what_is_asked_for():
    assert as_parts(np.eye(2), 2)[1].tolist() == [0, 1]
    with pytest.raises(Wrong) as caught:
        as_parts(1.0, 2, "two arrays, mu and logvar")
    assert caught.value.expected == "two arrays, mu and logvar"


def test_has_nan_looks_everywhere():
    assert has_nan(np.nan) and has_nan([(np.ones(2), np.array([1, np.nan]))]) and has_nan([np.nan])
    assert not has_nan("nan") and not has_nan([np.inf, None, "x"]) and not has_nan(np.ones(3))


class Odd:
    """An object on which everything fails."""

    def __repr__(self):
        raise RuntimeError

    def __array__(self, *args, **kwargs):
        raise RuntimeError

    def __len__(self):
        raise RuntimeError

    def __iter__(self):
        raise RuntimeError


EVERY = [
    made
    for name in CHAPTERS
    for made in __import__(f"course_utils.exercises.{name}", fromlist=["x"]).EXERCISES
]


ODD = [
    Odd(),
    Odd,
    {"a": 1},
    "text",
    [],
    (),
    np.array(None),
    (None, None),
    [["a"], 1],
    1j,
    iter([1]),
    (np.ones(2), "b"),
    ([1, [2, 3]], 1, 2),
    np.ones((0, 3)),
]


@pytest.mark.parametrize("made", EVERY, ids=lambda made: made.number)
def test_an_odd_answer_is_wrong_and_raises_nothing(made):
    for came in ODD:
        result = grade(made, (lambda *args, came=came: came,) * len(made.solution))
        assert result.status == "wrong" and len(result.lines) >= 2


@pytest.mark.parametrize("made", EVERY, ids=lambda made: made.number)
def test_nan_of_the_right_shape_never_passes(made):
    def spoilt(value):
        if isinstance(value, (tuple, list)):
            return type(value)(map(spoilt, value))
        if isinstance(value, (bool, np.bool_)) or as_array(value) is None:
            return None
        return np.asarray(value) * np.nan

    spoil = tuple(functools.wraps(f)(lambda *args, f=f: spoilt(f(*args))) for f in made.solution)
    assert grade(made, spoil).status == "wrong"


# Answers that remember ----------------------------------------------------------------------------
def test_an_answer_that_counts_its_calls_is_found():
    calls = []

    def counting(x):
        calls.append(x)
        return x if len(calls) < 3 else 0.0

    made = exercise(lambda x: x, cases=({"x": 1.0}, {"x": 2.0}))
    assert "remembers an earlier call" in wrong_lines(made, counting)


def test_an_answer_that_draws_where_it_should_use_the_generator_is_found(capsys):
    def sly_noise(x, sigma, rng):
        return x + sigma * np.random.normal(size=(len(x), 1))

    assert "the same noise from a generator" in said(capsys, "05.5", sly_noise)


def test_a_dictionary_that_is_kept_between_calls_is_no_code(capsys):
    codes = {}

    def pack(x):
        return np.array([[float(codes.setdefault(tuple(row), len(codes)))] for row in x])

    def unpack(z):
        rows = {number: row for row, number in codes.items()}
        return np.array([rows[number] for number in z[:, 0]])

    out = said(capsys, "01.4", pack, unpack)
    assert "✗" in out and "the same code for a row, whatever was packed before" in out


_COUNT, _ROWS = 0, {}


def _with_globals(x):
    global _COUNT
    _COUNT += 1
    _ROWS[_COUNT] = x
    return len(_ROWS)


def _helped(x):
    return _with_globals(x)


def test_fresh_copies_remember_nothing_and_share_what_they_shared():
    kept = {"n": 0}

    def count(step=1, seen=[]):  # noqa: B006
        kept["n"] += step
        seen.append(step)
        return kept["n"], len(seen)

    def look():
        return kept["n"]

    new_count, new_look = fresh((count, look))
    assert [count(), count()] == [(1, 1), (2, 2)] and look() == 2
    assert new_look() == 0 and new_count() == (1, 1) and new_look() == 1 and kept == {"n": 2}
    (new_helped,) = fresh((_helped,))
    assert _helped(0) == 1 and _helped(0) == 2 and new_helped(0) == 1 and _COUNT == 2

    class Counter:
        def __init__(self):
            self.n = 0

        def up(self):
            self.n += 1
            return self.n

    one = Counter()
    (up,) = fresh((one.up,))
    assert one.up() == 1 and up() == 1 and fresh((np.sin, 3)) == (np.sin, 3)


def test_a_grade_counts_cases_from_one_and_says_none_where_no_case_decided():
    made = exercise(lambda x: x, cases=[{"x": value} for value in (1.0, 2.0, 3.0)])
    for answer, counts in (
        (lambda x: x, ("right", 3, 0)),
        (lambda x: -x, ("wrong", 3, 1)),
        (lambda x: min(x, 1.0), ("wrong", 3, 2)),
        (lambda x: min(x, 2.0), ("wrong", 3, 3)),
        (4.0, ("wrong", 3, 0)),  # no function: found before any case is asked
        (..., ("not attempted", 0, 0)),
    ):
        result = grade(made, (answer,))
        assert (result.status, result.n_cases, result.failed_case) == counts


@pytest.mark.parametrize(
    ("made", "name"),
    [(Mistake("", ()), "hint"), (exercise(abs), "rtol"), (Grade("right"), "status")],
)
def test_what_an_exercise_says_cannot_be_changed(made, name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, None)


# Stubs, parts, and the hint of a mistake that raises ----------------------------------------------
def documented(x):
    """Return something."""


def documented_constant(x):
    """Return 3."""
    return 3


def constant(x):
    return 3


def bare(x): ...


def test_a_stub_is_one_with_a_docstring_too_and_a_constant_is_an_answer():
    made = exercise(lambda x: 3)
    assert grade(made, (documented,)).status == "not attempted"
    assert grade(made, (bare,)).status == "not attempted"
    assert grade(made, (documented_constant,)).status == "right"
    assert grade(made, (constant,)).status == "right"


def test_dots_that_come_back_are_not_attempted_alone_or_among_others():
    made = exercise(lambda x: (x, 2 * x))

    def began(x):
        return x, ...

    def began_with_a_line(x):
        x = 2 * x
        return ...

    for answer in (began, began_with_a_line):
        assert grade(made, (answer,)).status == "not attempted"


def test_what_must_come_again_is_compared_with_what_came_for_that_case():
    made = exercise(lambda x: x, cases=({"x": 1.0}, {"x": 2.0}), judge=lambda case, came: None)
    made = dataclasses.replace(made, same_again="the same numbers")
    assert grade(made, (lambda x: x,)).status == "right"
    draw = np.random.default_rng(0).random
    assert "the same numbers" in wrong_lines(made, lambda x: x + draw())


def test_one_stub_among_two_parts_is_not_attempted():
    made = exercise(lambda x: x, lambda x: 2 * x)
    assert grade(made, (lambda x: x, documented)).status == "not attempted"
    assert grade(made, (documented, lambda x: 2 * x)).status == "not attempted"


def test_of_two_parts_the_first_is_called_where_nothing_else_is_said():
    made = exercise(lambda x: x, lambda x: 2 * x)
    assert grade(made, (lambda x: x, lambda x: 0)).status == "right"
    assert grade(made, (lambda x: 2 * x, lambda x: 2 * x)).status == "wrong"


def test_a_mistake_that_raises_on_a_later_case_gets_its_hint():
    def mistake(x):
        return 7 if x == 1 else 1 / (x - 2)  # raises for 2

    made = dataclasses.replace(
        exercise(lambda x: x, cases=({"x": 1.0}, {"x": 2.0})),
        mistakes=(Mistake("seven, then a division by zero.", (mistake,)),),
    )
    lines = wrong_lines(made, mistake)
    assert "Known mistake: seven" in lines


def test_a_mistake_that_raises_on_the_first_case_gets_its_hint():
    def mistake(x):
        return 1 / (x - 2)

    made = dataclasses.replace(
        exercise(lambda x: x, cases=({"x": 2.0}, {"x": 3.0})),
        mistakes=(Mistake("a division by zero.", (mistake,)),),
    )
    lines = wrong_lines(made, mistake)  # they quote the line of the answer that raises
    assert "Known mistake: a division" in lines


def test_an_answer_that_does_not_end_on_a_later_case_gets_no_hint(short):
    made = dataclasses.replace(
        exercise(lambda x: x, cases=({"x": 1.0}, {"x": 2.0})),
        mistakes=(Mistake("seven.", (lambda x: 7,)),),
    )
    assert "Known mistake: seven" in wrong_lines(made, lambda x: 7)
    assert "Known mistake" not in wrong_lines(made, lambda x: 7 if x == 1 else spin())
