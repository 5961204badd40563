"""verify says one line where a claim holds, and raises where it does not."""

import numpy as np
import pytest

from course_utils.verify import ClaimError, verify


def test_a_true_claim_prints_one_line_without_the_measured_difference(capsys):
    verify("2.1 nearly equal", [1.0, 2.0], [1.0, 2.0 + 1e-9], 1e-6)
    assert capsys.readouterr().out == "✓ 2.1 nearly equal (within 1e-06)\n"


def test_an_exact_claim_names_no_tolerance(capsys):
    verify("exact", np.arange(3), np.arange(3))
    verify("a condition", 2 > 1)
    assert capsys.readouterr().out == "✓ exact\n✓ a condition\n"


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "relation"),
    [
        (1.0, 1.1, 0.01, "="),
        ([1.0, 5.0], [1.0, 2.0], 1.0, "="),
        (np.nan, np.nan, 1.0, "="),
        (np.inf, 1.0, 1e9, "="),
        (2.0, 1.0, 0.0, "<"),
        (1.0, 1.0, 0.0, "<"),
        (1.0, 1.0, 0.0, ">"),
        (2.0, 1.0, 0.5, "<="),
        (1.0, 2.0, 0.5, ">="),
        (np.nan, 1.0, 0.0, "<"),
        (False, True, 0.0, "="),
    ],
)
def test_a_false_claim_raises_and_prints_nothing(left, right, tolerance, relation, capsys):
    with pytest.raises(ClaimError, match="does not hold"):
        verify("false", left, right, tolerance, relation=relation)
    assert capsys.readouterr().out == ""


def test_the_message_names_the_worst_entry():
    with pytest.raises(ClaimError, match=r"at \(1, 0\): 7 = 3 does not hold"):
        verify("table", np.array([[1.0, 2.0], [7.0, 4.5]]), np.array([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize("relation", ["=", "<=", ">="])
def test_infinities_are_equal_to_themselves(relation):
    if relation == "=":
        verify("infinite", np.inf, np.inf)
    else:
        verify("finite", 1.0, 1.0, relation=relation)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("", 1.0, 1.0), {}, "claim must be one non-empty line"),
        (("two\nlines", 1.0, 1.0), {}, "claim must be one non-empty line"),
        (("c", 1.0, 1.0, -1.0), {}, "tolerance must be at least 0"),
        (("c", 1.0, 1.0, float("nan")), {}, "tolerance must be at least 0"),
        (("c", [1.0, 2.0], [1.0, 2.0, 3.0], 1.0), {}, "of one shape"),
        (("c", [], []), {}, "non-empty"),
        (("c", "one", 1.0), {}, "left must hold real numbers"),
        (("c", 1.0, None), {}, "right must hold real numbers"),
        (("c", 1.0, 1.0), {"relation": "~"}, "relation must be one of"),
    ],
)
def test_bad_arguments_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        verify(*arguments, **options)


def test_a_torch_tensor_that_requires_gradients_is_read():
    torch = pytest.importorskip("torch")
    verify("tensor", torch.ones(3, requires_grad=True), np.ones(3))
