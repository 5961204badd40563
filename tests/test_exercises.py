"""Each exercise in three passes: as shipped, with the solution, with every known mistake."""

import copy
import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp

import course_utils.exercises as exercises
from course_utils.exercises import answers, check, hint, solution
from course_utils.exercises.grading import compare, describe, grade
from course_utils.exercises.solutions import solution_text

CHAPTERS = [
    m.name for m in pkgutil.iter_modules(exercises.__path__) if m.name.startswith("chapter")
]
ALL = [
    exercise
    for name in CHAPTERS
    for exercise in importlib.import_module(f"course_utils.exercises.{name}").EXERCISES
]
MISTAKES = [
    pytest.param(exercise, mistake, id=f"{exercise.number}: {mistake.hint[:40]}")
    for exercise in ALL
    for mistake in exercise.mistakes
]
each_exercise = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.number)


def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def stub(*args): ...


def documented_stub(*args):
    """Return the answer."""
    ...


def half_written(*args):
    return 2 * ...


@each_exercise
def test_a_stub_is_not_attempted_yet(exercise, capsys):
    for part in (stub, documented_stub, half_written, ...):
        out = said(capsys, exercise.number, *[part] * len(exercise.solution))
        assert out.startswith(f"○ {exercise.number} not attempted yet") and out.count("\n") == 1


@each_exercise
def test_the_solution_is_right(exercise, capsys):
    out = said(capsys, exercise.number, *exercise.solution)
    assert out.startswith(f"✓ {exercise.number} is right, in all") and out.count("\n") == 1


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES)
def test_a_known_mistake_fails_and_gets_its_own_hint(exercise, mistake, capsys):
    out = said(capsys, exercise.number, *mistake.answer)
    assert out.startswith(f"✗ {exercise.number} is not right yet")
    assert "Known mistake: " + mistake.hint in " ".join(out.split())
    assert out.count("\n") <= 12


@each_exercise
def test_an_exercise_knows_mistakes_and_hints_and_has_several_cases(exercise):
    assert len(exercise.mistakes) >= 3 and len({m.hint for m in exercise.mistakes}) >= 3
    assert len(exercise.hints) >= 2 and len(exercise.cases()) >= 2


NONSENSE = [
    (lambda *args: print(end=""), "return"),
    (lambda *args: "a string", "expected"),
    (lambda *args: np.full((2, 2), np.nan), "expected"),
    (lambda *args: np.zeros((1, 1, 1, 1)), "expected"),
    (lambda: 0, "it takes other arguments"),
]


@each_exercise
def test_nonsense_is_wrong_and_never_raises(exercise, capsys):
    for answer, says in NONSENSE:
        out = said(capsys, exercise.number, *[answer] * len(exercise.solution))
        assert out.startswith("✗") and says in out


@each_exercise
def test_an_in_place_change_is_named(exercise, capsys):
    def spoil(*args):
        whole = copy.deepcopy(args)
        for arg in args:
            if isinstance(arg, np.ndarray):
                arg += arg.dtype.type(1)  # whole numbers and booleans too
            elif isinstance(arg, list):
                arg.append(1)
        return exercise.solution[0](*whole)

    case = exercise.cases()[0]
    if not any(isinstance(value, (np.ndarray, list)) for value in case.values()):
        pytest.skip("nothing that could be changed goes in")
    out = said(capsys, exercise.number, spoil, *exercise.solution[1:])
    assert out.startswith("✗") and "in place" in out


def test_an_exception_is_shown_with_the_learners_own_line(capsys):
    def count_parameters(sizes):
        return sizes[100]

    out = said(capsys, "01.1", count_parameters)
    assert "IndexError: list index out of range" in out and "return sizes[100]" in out


def mig_of_pairs(information, entropy_bits):
    k, m = information.shape
    shares = information / np.log(2) / entropy_bits
    gaps = [[shares[i, j] - np.delete(shares[:, j], i).max() for i in range(k)] for j in range(m)]
    return sum(max(gap) for gap in gaps) / m


def water_by_directions(eigenvalues, beta, c):
    kept = eigenvalues[eigenvalues > beta * c]
    lost = eigenvalues[eigenvalues <= beta * c]
    rate = 0.5 * np.log(kept / (beta * c)).sum()
    return rate, (len(kept) * beta * c + lost.sum()) / (2 * c)


def residual_by_hand(x, w, b, g):
    inner = g * (x @ w + b > 0)
    return x.T @ inner, inner.sum(axis=0), g + inner @ w.T


def won_pairs(scores, anomalous):
    difference = scores[anomalous][:, None] - scores[~anomalous]
    return (np.sign(difference) / 2 + 0.5).mean()


def precise_turn(sigma_1, sigma_2, alpha):
    p_1, p_2 = sigma_1**-2.0, sigma_2**-2.0
    c, s = np.cos(alpha) ** 2, np.sin(alpha) ** 2
    return 0.5 * np.log((c * p_1 + s * p_2) * (s * p_1 + c * p_2) / (p_1 * p_2))


def wiener_by_axes(covariance, sigma):
    values, axes = np.linalg.eigh(covariance)
    return axes @ np.diag(values / (values + sigma**2)) @ axes.T


def information_of_gaussians(dec_w, c):  # ½ ln of the prior's volume over the posterior's
    s = c / (c + np.linalg.norm(dec_w, axis=1) ** 2)
    return -np.log(s).sum() / 2


def runs_beaten(beta, rate, distortion):
    runs = zip(beta, rate, distortion, strict=True)
    return np.array([np.any(distortion + b * rate < d + b * r) for b, r, d in runs])


OTHER_ROADS = {
    "01.1": lambda sizes: int(np.dot(np.array(sizes[:-1]) + 1, sizes[1:])),
    "01.2": lambda x, f, g: np.linalg.norm(x - g(f(x))) ** 2 / len(x),
    "01.3": lambda x: [np.average(x, axis=0), np.trace(np.cov(x.T, bias=True))],
    "01.5": lambda x, h, g: np.float32((x * x).sum() / x.size * (1 + g ** (h + 1) * 0.5**h)),
    "02.1": lambda x, w: (-2 / len(x)) * (x.T @ (r := x - x @ w @ w.T) @ w + r.T @ x @ w),
    "02.2": lambda x, w: np.linalg.solve(w.T @ x.T @ x @ w, w.T @ x.T @ x),
    "02.3": lambda x, w, v: x.mean(0) @ (np.eye(len(w)) - w @ v),
    "02.4": lambda x, v: np.linalg.svd(x @ np.linalg.pinv(v) @ v, full_matrices=False)[2][: len(v)],
    "02.5": lambda x, k: [a := np.linalg.svd(x)[2][-k:].T, a.T],
    "03.2": residual_by_hand,
    "03.6": lambda x, w: (-x @ w).min(axis=0),
    "05.3": wiener_by_axes,
    "06.2": lambda a, w: np.where(2 * abs(a) > w, a - w / 2 * np.sign(a), 0.0),
    "07.3": lambda j, m: np.sqrt(2 / m * (np.linalg.svd(j, compute_uv=False) ** 4).sum()),
    "09.1": lambda delta, j: delta @ np.linalg.pinv(j).T @ j.T,
    "10.5": lambda sigma, c: sigma**2 / ((c + 1) * sigma**2 - 1),
    "14.2": lambda log_w: logsumexp(log_w, axis=1) - np.log(log_w.shape[1]),
    "14.3": information_of_gaussians,
    "15.1": lambda mu, logvar, z: np.polyfit(logvar.ravel(), np.log(np.abs(z - mu)).ravel(), 1)[0],
    "16.2": won_pairs,
    "17.4": lambda x, y, n: np.concatenate([x, y[:, None] == np.arange(n)], axis=1),
    "17.5": lambda x, y, prior, p, q: (
        q @ np.log(prior * p[y, :, x] / q),
        np.log(p[y, :, x] @ prior),
    ),
    "18.1": mig_of_pairs,
    "18.2": water_by_directions,
    "18.3": runs_beaten,
    "18.4": precise_turn,
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    assert said(capsys, number, OTHER_ROADS[number]).startswith("✓")


def test_another_code_for_five_lamps_passes(capsys):
    weights = 3.0 ** np.arange(5)[::-1]

    def pack(x):
        return (x @ weights - 7).reshape(-1, 1)

    def unpack(z):
        rest, bits = z[:, 0] + 7, []
        for weight in weights:
            bits.append((rest >= weight).astype(float))
            rest = rest - weight * bits[-1]
        return np.stack(bits, axis=1)

    assert said(capsys, "01.4", pack, unpack).startswith("✓")


def test_pytorch_tensors_count_as_arrays(capsys):
    torch = pytest.importorskip("torch")
    out = said(
        capsys,
        "01.3",
        lambda x: (torch.tensor(x).mean(0), torch.tensor(x).var(0, correction=0).sum()),
    )
    assert out.startswith("✓")


@pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.number)
def test_the_solution_is_printed_as_it_stands_in_the_package(exercise, capsys):
    solution(exercise.number)
    printed = capsys.readouterr().out
    for function in exercise.solution:
        assert function.__doc__ in printed
        assert (inspect.getcomments(function) or "").split("----\n")[-1] in printed
    assert "----" not in printed
    names = vars(importlib.import_module(exercise.solution[0].__module__)).copy()
    exec(printed, names)
    read = [names[function.__name__] for function in exercise.solution]
    assert not any(function.__annotations__ for function in read)
    assert grade(exercise, tuple(read)).status == "right"


@pytest.mark.parametrize("number", ["99.1", "01.99", "1", "", "x.y", "../01.1", 1.1])
def test_the_solution_of_an_unknown_number_is_named(number):
    with pytest.raises(ValueError, match="number must be"):
        solution(number)
    with pytest.raises(ValueError, match="number must be that of an exercise"):
        solution_text(number)


def test_hints_unfold_one_at_a_time(capsys, monkeypatch):
    monkeypatch.setattr(answers, "_unfolded", {})
    hints = answers.find("01.1").hints
    for i, text in enumerate(hints, start=1):
        hint("01.1")
        out = " ".join(capsys.readouterr().out.split())
        assert out == f"Hint {i} of {len(hints)}: {text}"
    hint("01.1")
    assert 'solution("01.1") prints the solution' in capsys.readouterr().out


@pytest.mark.parametrize("number", ["99.1", "01.99", "1", "", "x.y", 1.1])
def test_an_unknown_number_is_named(number):
    with pytest.raises(ValueError, match="number must be"):
        check(number, stub)


def test_the_wrong_number_of_answers_is_named():
    with pytest.raises(TypeError, match="takes 2 answers, got 1"):
        check("01.4", stub)


def test_a_failure_in_a_later_case_is_counted(capsys):
    def right_only_for_one_layer(sizes):
        return (sizes[0] + 1) * sizes[1]

    assert "case 2 of 5" in said(capsys, "01.1", right_only_for_one_layer)


@pytest.mark.parametrize(
    ("expected", "came"),
    [
        (1.0, 1.0 + 1e-5),
        (np.ones(3), np.ones((3, 1))),
        (1.0, np.inf),
        (1.0, True + 1),
        ((1.0, 2.0), (1.0,)),
    ],
)
def test_values_and_shapes_decide(expected, came):
    with pytest.raises(Exception, match="."):
        compare(expected, came, rtol=1e-6)


def test_descriptions_are_one_short_line():
    for value in (
        np.arange(1000.0),
        np.eye(3),
        [1, 2],
        (1.0, np.ones(2)),
        {"x": np.ones((2, 2))},
        "s" * 999,
    ):
        assert "\n" not in describe(value) and len(describe(value)) <= 201


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-0.0, "0"),
        (np.float32(-0.0), "0"),
        (np.array(-0.0), "0"),
        (np.array([-0.0, -0.5]), "[ 0. , -0.5]"),
        (np.full(20, -0.0), "array of shape (20,), first numbers 0, 0, 0"),
    ],
)
def test_a_zero_is_shown_without_a_sign(value, shown):
    assert describe(value) == shown


def test_grading_leaves_the_exercise_as_it_was():
    exercise = answers.find("01.2")
    first = grade(exercise, exercise.solution)
    assert grade(exercise, exercise.solution) == first


def test_the_example_of_the_how_to_page_is_what_check_prints(capsys):
    page = (Path(__file__).parents[1] / "book" / "how_to_use.md").read_text(encoding="utf-8")
    mistake = answers.find("01.1").mistakes[0]
    assert said(capsys, "01.1", *mistake.answer).strip() in page
