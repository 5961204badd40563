"""Right answers to the exercises of chapter 02 in float32, and points that are near a saddle."""

import numpy as np
import pytest

from course_utils.exercises import chapter02, check


def test_a_saddle_in_float32_is_one(capsys):
    check("02.5", lambda x, k: [part.astype(np.float32) for part in chapter02.stuck_start(x, k)])
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize("size", [1.0, 1e-2, 1e-4, 1e-6, 1e-9])
def test_small_random_weights_are_no_saddle_in_use(size, capsys):
    rng = np.random.default_rng(0)

    def start(x, k):
        return size * rng.normal(size=(x.shape[1], k)), size * rng.normal(size=(k, x.shape[1]))

    check("02.5", start)
    assert capsys.readouterr().out.startswith("✗")


def test_a_point_beside_the_saddle_is_refused(capsys):
    def beside(x, k):
        enc_w, dec_w = chapter02.stuck_start(x, k)
        return 1.001 * enc_w, dec_w

    check("02.5", beside)
    assert "a gradient of zero" in capsys.readouterr().out
