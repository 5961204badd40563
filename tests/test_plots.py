"""Figures: the right pixels in the right place, on the Axes that was given."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils import plots

matplotlib.use("Agg")


@pytest.fixture
def ax():
    plots.use_style()
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def sheet(ax):
    return ax.images[0].get_array().filled(np.nan)


def test_tiles_are_in_reading_order_and_images_upright(ax):
    images = np.arange(18.0).reshape(3, 6) / 18  # three images, 2 high and 3 wide
    assert plots.image_grid(images, ax, height=2, width=3, n_columns=2) is ax
    drawn = sheet(ax)
    assert drawn.shape == (5, 7)  # two rows, two columns, one pixel between
    np.testing.assert_array_equal(drawn[:2, :3], images[0].reshape(2, 3))
    np.testing.assert_array_equal(drawn[:2, 4:], images[1].reshape(2, 3))
    np.testing.assert_array_equal(drawn[3:, :3], images[2].reshape(2, 3))
    assert np.isnan(drawn[2]).all() and np.isnan(drawn[3:, 4:]).all()


def test_grey_values_are_clipped_and_zero_is_black(ax):
    plots.image_grid(np.array([[-1.0, 2.0]]), ax, height=1, width=2, n_columns=1)
    np.testing.assert_array_equal(sheet(ax), [[0.0, 1.0]])
    assert ax.images[0].get_clim() == (0, 1)


def test_signed_weights_have_white_at_zero_and_one_scale(ax):
    plots.image_grid(np.array([[-3.0, 1.0]]), ax, height=1, width=2, n_columns=1, signed=True)
    assert ax.images[0].get_clim() == (-3.0, 3.0)
    red, green, blue, _ = ax.images[0].cmap(0.5)
    assert min(red, green, blue) > 0.95


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.ones((2, 5)), {}, r"images must have shape \(n, 6\)"),
        (np.ones((3, 6)), {"row_labels": ["one"]}, "row_labels must be none or 2"),
        (np.ones((3, 6)), {"column_labels": ["a", "b", "c"]}, "column_labels must be none or 2"),
    ],
)
def test_what_does_not_fit_is_named(ax, images, options, message):
    with pytest.raises(ValueError, match=message):
        plots.image_grid(images, ax, height=2, width=3, n_columns=2, **options)


def test_ten_classes_have_ten_colours_that_ink_and_paper_set_off():
    assert len(set(plots.COLORS)) == 10
    luminance = {
        c: np.dot(matplotlib.colors.to_rgb(c), (0.2126, 0.7152, 0.0722))
        for c in (plots.INK, plots.PAPER)
    }
    assert luminance[plots.PAPER] - luminance[plots.INK] > 0.7
