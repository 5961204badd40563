"""The course's figures: one style, one palette; functions take an Axes and return it."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes

from course_utils.shapes import expect_shapes

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
    page alike, where the figure stands as a card.
    """
    plt.rcdefaults()
    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.2),
            "figure.dpi": 120,  # sharp in the page's column, and an image stays small
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
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    signed: bool = False,
) -> Axes:
    """Draw images as tiles in reading order, on one Axes, with a thin gap between them.

    Args:
        images: (n, d) with d = height · width; values are clipped to [0, 1] (not where ``signed``).
        ax: where to draw.
        height, width: of one image, in pixels.
        n_columns: tiles a row; the last row may be shorter.
        row_labels, column_labels: none, or one for each row or column of tiles.
        signed: draw weights: zero is white, purple positive, orange negative, one scale for all.

    Returns:
        ``ax``.

    Raises:
        ValueError: the shapes or the numbers of labels do not fit.
    """
    expect_shapes(f"n {height * width}", images=images)
    n_rows = -(-len(images) // n_columns)
    for name, labels, n in (("row", row_labels, n_rows), ("column", column_labels, n_columns)):
        if len(labels) not in (0, n):
            raise ValueError(f"{name}_labels must be none or {n}, got {len(labels)}: {labels}")
    sheet = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
    for i, image in enumerate(images):
        top, left = (i // n_columns) * (height + 1), (i % n_columns) * (width + 1)
        sheet[top : top + height, left : left + width] = image.reshape(height, width)
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
