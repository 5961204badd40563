"""Figures: the right pixels in the right place, on the Axes that was given."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy import special

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


def test_colour_rows_are_drawn_channel_by_channel_and_the_paper_shows_in_the_gaps(ax):
    images = np.random.default_rng(0).random((3, 18)) * 1.4 - 0.2  # three images, 2 high and 3 wide
    plots.image_grid(images, ax, height=2, width=3, n_columns=2, channels=3)
    drawn = sheet(ax)
    assert drawn.shape == (5, 7, 4)
    for image, top, left in zip(images, (0, 0, 3), (0, 4, 0), strict=True):
        tile = drawn[top : top + 2, left : left + 3]
        for c in range(3):  # red, green, blue
            expected = np.clip(image[6 * c : 6 * c + 6].reshape(2, 3), 0, 1)
            np.testing.assert_array_equal(tile[..., c], expected)
        np.testing.assert_array_equal(tile[..., 3], 1)
    assert (drawn[2, :, 3] == 0).all() and (drawn[:, 3, 3] == 0).all()
    assert (drawn[3:, 4:, 3] == 0).all()


def test_grey_in_three_channels_is_drawn_as_the_grey_image(ax):
    grey = torch.rand(2, 6)
    plots.image_grid(grey, ax, height=2, width=3, n_columns=2)
    plots.image_grid(grey.repeat(1, 3), ax, height=2, width=3, n_columns=2, channels=3)
    one, three = (image.make_image(None, unsampled=True)[0] for image in ax.images)
    inside = three[..., 3] > 0
    np.testing.assert_allclose(one[inside].astype(int), three[inside], atol=1)  # two roundings


@pytest.mark.parametrize("channels", [0, -1, 2, 4, 2.5, "3", True, None])
def test_images_are_of_one_channel_or_three(ax, channels):
    message = "channels must be .*, got "
    with pytest.raises(ValueError, match=message):
        plots.image_grid(np.ones((2, 12)), ax, height=2, width=3, n_columns=1, channels=channels)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.ones((2, 5)), {}, r"images must have shape \(n, 6\)"),
        (np.ones((2, 6)), {"channels": 3}, r"images must have shape \(n, 18\)"),
        (np.ones((2, 18)), {"channels": 3, "signed": True}, "channels must be 1 where signed"),
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


def texts(ax):
    return {text.get_text(): text.get_position() for text in ax.texts}


def test_a_scatter_draws_every_code_in_the_colour_of_its_class(ax):
    rng = np.random.default_rng(0)
    mu, y = rng.normal(size=(50, 2)), np.repeat([3, 7], 25)
    assert plots.latent_scatter(mu, y, ax) is ax
    drawn = {line.get_color(): line.get_xydata() for line in ax.lines}
    assert set(drawn) == {plots.COLORS[3], plots.COLORS[7]}
    np.testing.assert_array_equal(drawn[plots.COLORS[7]], mu[y == 7])


def test_a_class_is_named_at_one_of_its_own_codes(ax):
    ring = np.stack([np.cos(np.arange(7)), np.sin(np.arange(7))], axis=1)  # its mean is empty
    plots.latent_scatter(ring, np.full(7, 5), ax)
    (at,) = texts(ax).values()
    assert set(texts(ax)) == {"5"} and np.abs(ring - at).sum(axis=1).min() == 0


def test_a_large_class_is_named_too(ax):
    mu = np.random.default_rng(1).normal(size=(2_000, 2))
    plots.latent_scatter(mu, np.zeros(2_000, dtype=int), ax)
    assert np.abs(texts(ax)["0"]).max() < 0.3  # the middle of a round cloud


def test_shares_of_the_prior_fill_the_unit_square(ax):
    mu = np.random.default_rng(2).normal(size=(4_000, 2))
    plots.latent_scatter(mu, np.zeros(4_000, dtype=int), ax, as_share=True)
    counts, _, _ = np.histogram2d(*ax.lines[0].get_xydata().T, bins=4, range=[[0, 1]] * 2)
    assert counts.sum() == 4_000 and counts.min() > 180  # 250 expected in each
    assert ax.get_xlim() == ax.get_ylim() == (0, 1)


def test_the_plane_is_even_under_the_prior_and_z2_grows_upwards(ax):
    def decode(z):  # an image of two pixels: the codes themselves, as shares
        seen.append(z)
        return special.ndtr(z)

    seen = []
    assert plots.decoded_plane(decode, ax, height=1, width=2, side=4) is ax
    (z,) = seen
    assert z.shape == (16, 2) and z.dtype == np.float32
    drawn = sheet(ax)[::2].reshape(4, -1)
    middles = [0.125, 0.375, 0.625, 0.875]
    steps = np.tile(np.round(15 * np.array(middles)) / 15, (4, 1))  # of grey
    np.testing.assert_allclose(drawn[:, 0::3], steps)  # z1 grows to the right
    np.testing.assert_allclose(drawn[:, 1::3], steps.T[::-1])
    assert list(ax.images[0].get_extent()) == [0, 1, 0, 1]


def test_scatter_and_plane_share_their_axes():
    fig, axes = plt.subplots(1, 2)
    plots.latent_scatter(np.zeros((1, 2)), np.zeros(1, dtype=int), axes[0], as_share=True)
    plots.decoded_plane(lambda z: np.zeros((9, 6)), axes[1], height=2, width=3, side=3)
    assert axes[0].get_xlim() == axes[1].get_xlim() and axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[0].get_xlabel() == axes[1].get_xlabel() == "share of the prior, $z_1$"
    plt.close(fig)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda ax: plots.latent_scatter(np.ones((3, 3)), np.ones(3, int), ax),
            "mu must have shape",
        ),
        (
            lambda ax: plots.latent_scatter(np.ones((3, 2)), np.ones(4, int), ax),
            "y must have shape",
        ),
        (
            lambda ax: plots.latent_scatter(np.ones((21, 2)), np.arange(21), ax),
            "y must have at most 20 classes, got 21",
        ),
        (
            lambda ax: plots.latent_scatter(np.full((1, 2), np.nan), np.array([1]), ax),
            "mu must be finite, got 2 entries",
        ),
        (
            lambda ax: plots.decoded_plane(lambda z: z, ax, height=2, width=2, side=3),
            r"images must have shape \(9, 4\)",
        ),
        (
            lambda ax: plots.decoded_plane(lambda z: z, ax, height=1, width=2, side=0),
            "side must be at least 1",
        ),
    ],
)
def test_a_plane_or_scatter_that_does_not_fit_is_named(ax, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(ax)


def test_names_of_classes_in_one_place_stand_apart(ax):
    rng = np.random.default_rng(2)
    mu, y = rng.normal(size=(600, 2)), np.arange(600) % 3
    plots.latent_scatter(mu, y, ax)
    at = np.stack(list(texts(ax).values()))
    gaps = np.linalg.norm(at[:, None] - at, axis=2)[np.triu_indices(3, 1)]
    assert gaps.min() >= 0.07 * np.ptp(mu, axis=0).max()


def test_classes_are_numbers_text_or_booleans_and_the_book_s_digits_keep_their_colours():
    mu = np.random.default_rng(0).normal(size=(40, 2))
    digits = np.arange(40) % 4 + 3
    for y, names in (
        (digits, ["3", "4", "5", "6"]),
        (digits.astype(float), ["3", "4", "5", "6"]),
        (digits.astype(np.uint8), ["3", "4", "5", "6"]),
        (np.array(["coat", "bag", "shoe", "shirt"])[digits - 3], ["bag", "coat", "shirt", "shoe"]),
        (digits > 4, ["False", "True"]),
        (np.array([0.5, 1.5, 2.5, 3.5])[digits - 3], ["0.5", "1.5", "2.5", "3.5"]),
        (np.arange(40) % 20, [str(i) for i in range(20)]),
        (torch.tensor(digits), ["3", "4", "5", "6"]),
    ):
        ax = plots.latent_scatter(mu, y, plt.figure().subplots())
        assert [text.get_text() for text in ax.texts] == names
        counts = [len(line.get_xdata()) for line in ax.lines]
        assert sum(counts) == 40 and min(counts) > 0
        looks = {(line.get_color(), line.get_marker()) for line in ax.lines}
        assert len(looks) == len(names)
    ax = plots.latent_scatter(mu, digits, plt.figure().subplots())
    assert [line.get_color() for line in ax.lines] == list(plots.COLORS[3:7])
    plt.close("all")


def test_each_curve_has_its_colour_and_its_name_stands_where_it_was_put(ax):
    x, series = np.arange(3.0), {"up": np.arange(3.0), "down": -np.arange(3.0)}
    places = ((0.5, 1.0), (1.5, -2.0))
    assert plots.named_lines(x, series, ax, colors=(6, 0), places=places, style="o-") is ax
    for line, text, (name, values), color, place in zip(
        ax.lines, ax.texts, series.items(), (6, 0), places, strict=True
    ):
        np.testing.assert_array_equal(line.get_xydata(), np.stack([x, values], axis=1))
        assert text.get_text() == name and text.get_position() == place
        assert line.get_color() == text.get_color() == plots.COLORS[color]
        assert (line.get_marker(), line.get_linestyle()) == ("o", "-")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colors": (1, 2)}, "colors must be 1, one for each of series, got 2"),
        ({"colors": (10,)}, "colors must be .*, got 10"),
        ({"places": ((0, 0), (1, 1))}, r"places must have shape \(1, 2\)"),
        ({"places": ((0, np.inf),)}, "places must be finite"),
        ({"series": {"one": np.ones(4)}}, r"series must have shape \(n,\) with n = 3, got \(4,\)"),
        ({"series": {"one": np.array([1, np.nan, 1])}}, "series must be finite"),
    ],
)
def test_named_lines_that_do_not_fit_are_named(ax, change, message):
    good = {"x": np.arange(3.0), "series": {"one": np.ones(3)}, "colors": (1,), "places": ((0, 0),)}
    with pytest.raises(ValueError, match=message):
        plots.named_lines(ax=ax, **good | change)


def test_logarithmic_axes_have_the_ticks_that_are_given_and_no_others(ax):
    ax.plot([1, 300], [0.02, 7])
    assert plots.log_axes(ax, x=(1, 30, 300), y={0.1: "a tenth", 5.0: "5 nats"}) is ax
    ax.figure.canvas.draw()
    assert ax.get_xscale() == ax.get_yscale() == "log"
    np.testing.assert_array_equal(ax.get_xticks(), [1, 30, 300])
    np.testing.assert_array_equal(ax.get_yticks(), [0.1, 5])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "30", "300"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a tenth", "5 nats"]
    assert len(ax.get_xticks(minor=True)) == len(ax.get_yticks(minor=True)) == 0


def test_an_axis_without_ticks_keeps_its_scale_and_its_ticks(ax):
    before = ax.get_yticks()
    plots.log_axes(ax, x=np.array([1.0, 2.5]))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    np.testing.assert_array_equal(ax.get_yticks(), before)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "2.5"]


@pytest.mark.parametrize("tick", [0, -1, np.inf, np.nan])
def test_a_tick_of_a_logarithmic_axis_is_above_zero_and_finite(ax, tick):
    with pytest.raises(ValueError, match="y must be ticks above 0 and finite, got"):
        plots.log_axes(ax, y=(1, tick))


def test_a_table_is_drawn_with_its_numbers_light_on_dark_fields(ax):
    values = np.array([[0.0, 0.5, 1.3], [1.35, 2.0, 1.5]])
    assert plots.number_map(values, ax, most=2.5, decimals=1, size=8, cmap="Purples") is ax
    np.testing.assert_array_equal(ax.images[0].get_array(), values)
    assert ax.images[0].get_clim() == (0, 2.5) and ax.images[0].cmap.name == "Purples"
    drawn = {text.get_position(): text for text in ax.texts}
    assert len(drawn) == 6 and len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    for (row, column), value in np.ndenumerate(values):
        text = drawn[column, row]
        assert text.get_text() == f"{value:.1f}" and text.get_size() == 8
        assert text.get_color() == (plots.PAPER if value > 1.325 else plots.INK)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.ones(3), {}, "values must have shape"),
        (np.full((1, 1), np.nan), {}, "values must be finite"),
        (np.ones((2, 2)), {"most": 0.0}, "most must be above 0 and finite, got 0"),
        (np.ones((2, 2)), {"decimals": -1}, "decimals must be"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_named(ax, values, options, message):
    with pytest.raises(ValueError, match=message):
        plots.number_map(values, ax, **{"most": 1.0} | options)
