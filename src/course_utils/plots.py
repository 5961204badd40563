"""The course's figures: one style, one palette; functions take an Axes and return it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from scipy import special  # type: ignore[import-untyped]

from course_utils.arguments import named_errors
from course_utils.shapes import expect_finite, expect_shapes, expect_whole

# Class c has the colour COLORS[c] in the whole book. Readers with any colour vision can tell them
# apart: Petroff (2021), Accessible color sequences for data visualization, arXiv 2107.02270.
COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
DIVERGING = "PuOr"  # for signed weights, white at zero
PAPER, INK = "#fcfcfa", "#2b2f36"


def use_style() -> None:
    """Set the course's look for all figures that follow.

    The background is a light paper, not transparent: dark ink on it reads on a light and on a dark
    page alike, where the figure stands as a card. In a notebook a figure has two dots for each
    pixel of the page: sharp on fine screens and in print.
    """
    plt.rcdefaults()
    if "ipykernel" in sys.modules:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")
    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.2),
            "figure.dpi": 100,  # as wide as the page's column; a notebook draws twice as fine
            "figure.facecolor": PAPER,
            "figure.constrained_layout.use": True,
            "axes.facecolor": PAPER,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=COLORS),
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "font.size": 11,
            "lines.linewidth": 2.0,
            "legend.frameon": False,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
        }
    )


def image_grid(
    images: np.ndarray,
    ax: Axes,
    *,
    height: int,
    width: int,
    n_columns: int,
    channels: int = 1,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    signed: bool = False,
) -> Axes:
    """Draw images as tiles in reading order, on one Axes, with a thin gap between them.

    Args:
        images: (n, d) with d = channels · height · width, in that order: of a colour image first
            all its red, then all green, then all blue. Values are clipped to [0, 1] (not where
            ``signed``).
        ax: where to draw.
        height, width: of one image, in pixels.
        n_columns: tiles a row; the last row may be shorter.
        channels: 1 for grey, 3 for colour.
        row_labels, column_labels: none, or one for each row or column of tiles.
        signed: draw weights of one channel: zero is white, purple positive, orange negative, one
            scale for all.

    Returns:
        ``ax``.

    Raises:
        ValueError: the shapes or the numbers of labels do not fit, ``channels`` is neither 1 nor 3,
            or ``signed`` weights have three.
    """
    expect_whole("height", height, 1)
    expect_whole("width", width, 1)
    expect_whole("channels", channels, 1)
    if channels not in ((1,) if signed else (1, 3)):
        wanted = "1 where signed" if signed else "1 for grey or 3 for colour"
        raise ValueError(f"channels must be {wanted}, got {channels}")
    expect_shapes(f"n {channels * height * width}", images=images)
    expect_whole("n_columns", n_columns, 1)
    expect_finite(images=images)
    n_rows = -(-len(images) // n_columns)
    for name, labels, n in (("row", row_labels, n_rows), ("column", column_labels, n_columns)):
        if len(labels) not in (0, n):
            raise ValueError(f"{name}_labels must be none or {n}, got {len(labels)}: {labels}")
    if channels == 3:
        bands = np.asarray(images).reshape(-1, 3, height * width).swapaxes(0, 1)
        sheet = np.stack([_tiled(band, height, width, n_columns) for band in bands], axis=-1)
        gap = np.isnan(sheet[..., :1])  # a fourth number says how opaque: the paper shows
        sheet = np.concatenate([np.nan_to_num(sheet), 1.0 - gap], axis=-1)
    else:
        sheet = _tiled(images, height, width, n_columns)
    limit = float(np.nanmax(np.abs(sheet))) if signed else 1.0
    ax.imshow(  # nan, the gap, is drawn in no colour: the paper shows
        sheet if signed else np.clip(sheet, 0, 1),
        vmin=-limit if signed else 0,
        vmax=limit,
        cmap=DIVERGING if signed else "gray",
    )
    ax.set_yticks((height + 1) * np.arange(len(row_labels)) + (height - 1) / 2, row_labels)
    ax.set_xticks((width + 1) * np.arange(len(column_labels)) + (width - 1) / 2, column_labels)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    return ax


def latent_scatter(mu: np.ndarray, y: np.ndarray, ax: Axes, *, as_share: bool = False) -> Axes:
    """Draw codes of two numbers as points, each class in its colour and named at its middle.

    The name stands at the class's most central code, the one with the least summed distance to the
    others: inside the class even where its mean is not. Where another name is in the way, it stands
    at the next one that is free.

    Args:
        mu: (n, 2), mean codes.
        y: (n,), classes: whole numbers, text or booleans, at most 20 of them. Numbers from 0 to 9
            have the colours of the book. Other classes take the colours in their order, and from
            the eleventh on open marks.
        ax: where to draw.
        as_share: draw Φ(mu), the share of a standard normal prior that lies below, so that the
            prior fills the unit square evenly and the axes are those of ``decoded_plane``.

    Returns:
        ``ax``.

    Raises:
        ValueError: the shapes do not fit, a code is not finite, or there are more classes.
    """
    expect_shapes("n 2", mu=mu)
    expect_finite(mu=mu)
    y, classes = _classes(y, len(mu))
    points = special.ndtr(mu) if as_share else np.asarray(mu)
    apart = 0.07 * np.ptp(points, axis=0).max() if len(points) else 0.0  # the width of a name
    places: list[np.ndarray] = []
    for number, label in classes:
        own, color = points[y == label], COLORS[number % len(COLORS)]
        if number < len(COLORS):
            ax.plot(*own.T, ".", color=color, ms=3, mew=0)
        else:
            ax.plot(*own.T, "o", color=color, mfc="none", ms=3, mew=0.7)
        candidates = own[:: -(-len(own) // 300)]  # of a large class every other, or third, …
        distance = np.abs(candidates[:, None] - candidates).sum(axis=(1, 2))
        free = [all(np.linalg.norm(c - p) >= apart for p in places) for c in candidates]
        x, height = candidates[np.where(free, distance, distance + distance.max() + 1).argmin()]
        places.append(np.array([x, height]))
        name = ax.text(x, height, str(label), weight="bold", size=14, ha="center", va="center")
        name.set_path_effects([withStroke(linewidth=3, foreground=PAPER)])
    return _name_axes(ax, as_share)


def decoded_plane(
    decode: Callable[[np.ndarray], np.ndarray],
    ax: Axes,
    *,
    height: int,
    width: int,
    side: int = 12,
) -> Axes:
    """Draw what a decoder makes of the plane of its two code numbers, evenly under the prior.

    The standard normal distribution of each code number is cut into ``side`` parts of equal
    probability, and the middle of each is decoded: every tile stands for one code in side². The
    first number grows to the right, the second upwards; axes as in ``latent_scatter`` with
    ``as_share``. Tiles are drawn in 16 steps of grey, so that the stored picture stays small.

    Args:
        decode: maps codes (side², 2), float32, to images (side², height · width) in [0, 1].
        ax: where to draw.
        height, width: of one image, in pixels.
        side: tiles a row, at least 1.

    Returns:
        ``ax``.

    Raises:
        ValueError: ``side`` is below 1, or the images have another shape.
    """
    for name, value in (("height", height), ("width", width), ("side", side)):
        expect_whole(name, value, 1)
    middles = special.ndtri((np.arange(side) + 0.5) / side)
    z1, z2 = np.meshgrid(middles, middles[::-1])  # the top row has the largest z2
    images = decode(np.stack([z1.ravel(), z2.ravel()], axis=1).astype(np.float32))
    expect_shapes(f"{side**2} {height * width}", images=images)
    sheet = np.clip(_tiled(images, height, width, side), 0, 1)
    ax.imshow(np.round(15 * sheet) / 15, vmin=0, vmax=1, extent=(0, 1, 0, 1))
    return _name_axes(ax, as_share=True)


def named_lines(
    x: np.ndarray,
    series: Mapping[str, np.ndarray],
    ax: Axes,
    *,
    colors: Sequence[int],
    places: np.ndarray | Sequence[tuple[float, float]],
    style: str = "-",
) -> Axes:
    """Draw several curves over one axis, each in its colour, with its name beside it.

    Args:
        x: (n,), where the curves are known.
        series: the curves, (n,) each, under their names.
        ax: where to draw.
        colors: for each curve, the place of its colour in ``COLORS``.
        places: (k, 2), where each of k names begins, in the numbers that the axes show.
        style: Matplotlib's short form of a line: ``"o-"`` marks the points too.

    Returns:
        ``ax``.

    Raises:
        ValueError: the shapes or the numbers of colours and places do not fit, a value is not
            finite, or there is no such colour.
    """
    if len(colors) != len(series):
        raise ValueError(f"colors must be {len(series)}, one for each of series, got {len(colors)}")
    points = np.asarray(places)
    expect_shapes(f"{len(series)} 2", places=points)
    expect_finite(places=points)
    for values, color in zip(series.values(), colors, strict=True):
        expect_shapes("n, n", x=x, series=values)
        expect_finite(x=x, series=values)
        expect_whole("colors", color, 0, len(COLORS) - 1)
    for (curve, values), color, (across, up) in zip(series.items(), colors, points, strict=True):
        ax.plot(x, values, style, color=COLORS[color], ms=4)
        ax.text(across, up, curve, color=COLORS[color], weight="bold")
    return ax


def log_axes(
    ax: Axes,
    *,
    x: np.ndarray | Sequence[float] | Mapping[float, str] = (),
    y: np.ndarray | Sequence[float] | Mapping[float, str] = (),
) -> Axes:
    """Make axes logarithmic, with the ticks that are given and no others.

    Other axes that share one of these follow. Minor ticks are taken off both axes.

    Args:
        ax: whose axes to set.
        x, y: the ticks of each axis: numbers above 0, written with at most six digits, or a
            dictionary from each number to its text. Without ticks an axis keeps its scale and its
            major ticks.

    Returns:
        ``ax``.

    Raises:
        ValueError: a tick is not above 0 and finite.

    >>> ax = log_axes(plt.figure().subplots(), x=(1, 10), y={0.5: "half"})
    >>> [text.get_text() for text in ax.get_xticklabels() + ax.get_yticklabels()]
    ['1', '10', 'half']
    """
    for axis, ticks in (("x", x), ("y", y)):
        texts = ticks if isinstance(ticks, Mapping) else {tick: f"{tick:g}" for tick in ticks}
        for tick in texts:
            if not 0 < tick < float("inf"):
                raise ValueError(f"{axis} must be ticks above 0 and finite, got {tick}")
        if texts:
            ax.set(**{f"{axis}scale": "log"})
            getattr(ax, f"set_{axis}ticks")(list(texts), list(texts.values()))
    ax.minorticks_off()
    return ax


def number_map(
    values: np.ndarray,
    ax: Axes,
    *,
    most: float,
    decimals: int = 2,
    size: float = 11.0,
    cmap: str = "Blues",
) -> Axes:
    """Draw a table as fields of one colour, the darker the larger, with its numbers in them.

    What is below 0 is as light as 0, what is above ``most`` as dark as ``most``.

    Args:
        values: (m, n), row 0 on top.
        ax: where to draw; it has no ticks afterwards.
        most: the value of the darkest colour; 0 has the lightest. Numbers stand light on what is
            darker than about half of it.
        decimals: how many of each number stand behind the point.
        size: of the numbers, in points.
        cmap: Matplotlib's name of a sequential map, light to dark.

    Returns:
        ``ax``.

    Raises:
        ValueError: ``values`` is no finite table, ``most`` is not above 0 and finite, or
            ``decimals`` is no whole number of at least 0.
    """
    expect_shapes("m n", values=values)
    expect_finite(values=values)
    expect_whole("decimals", decimals, 0)
    if not 0 < most < float("inf"):
        raise ValueError(f"most must be above 0 and finite, got {most}")
    ax.imshow(values, cmap=cmap, vmin=0, vmax=most)
    for (row, column), value in np.ndenumerate(np.asarray(values)):
        shade = PAPER if value > 0.53 * most else INK
        written = f"{value:.{decimals}f}"
        ax.text(column, row, written, ha="center", va="center", color=shade, size=size)
    ax.set(xticks=(), yticks=())
    return ax


def _classes(y: np.ndarray, n: int) -> tuple[np.ndarray, list[tuple[int, Any]]]:
    """The labels (n,) as they are to be named, and each class with the number of its colour."""
    y = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    if y.shape != (n,):
        raise ValueError(f"y must have shape (n,) with n = {n}, got {y.shape}")
    if y.dtype.kind == "f" and (y % 1 == 0).all():
        y = y.astype(np.int64)  # from a table, where one gap makes a column float
    elif y.dtype.kind not in "iubU":
        y = y.astype(str)
    found, limit = np.unique(y), 2 * len(COLORS)
    if len(found) > limit:
        raise ValueError(f"y must have at most {limit} classes, got {len(found)}: group some")
    own = y.dtype.kind in "iu" and found[0] >= 0 and found[-1] < len(COLORS)
    return y, [(int(c) if own else i, c) for i, c in enumerate(found)]


def _name_axes(ax: Axes, as_share: bool) -> Axes:
    if as_share:
        ax.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    what = "share of the prior, " if as_share else ""
    ax.set(aspect="equal", xlabel=what + "$z_1$", ylabel=what + "$z_2$")
    return ax


def _tiled(images: np.ndarray, height: int, width: int, n_columns: int) -> np.ndarray:
    """Lay images out in reading order, nan in the gaps of one pixel."""
    n_rows = -(-len(images) // n_columns)
    sheet = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
    for i, image in enumerate(images):
        top, left = (i // n_columns) * (height + 1), (i % n_columns) * (width + 1)
        sheet[top : top + height, left : left + width] = image.reshape(height, width)
    return sheet


named_errors(globals())
