"""Digits drawn by a smooth function of known factors: x = g(label, h).

A digit is a few pen strokes. Seven continuous factors h say how it is written. The image follows
from them by a formula that can be differentiated as often as one likes, so whatever somebody says
about "the manifold of digits" can be compared with the truth. Used from chapter 08 on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from course_utils.arguments import named_errors
from course_utils.shapes import as_labels, expect_finite, expect_shapes

NAMES = ("slant", "rotation", "scale", "thickness", "shift_x", "shift_y", "bend")
RANGES = np.array(
    [
        [-0.1, 0.5],  # slant: pixels to the right for each pixel upwards
        [-0.2, 0.2],  # rotation: radians, anticlockwise
        [0.85, 1.15],  # scale: 1 is a digit about 18 pixels high
        [0.9, 1.8],  # thickness: half the width of a stroke, in pixels
        [-1.5, 1.5],  # shift_x: pixels to the right
        [-1.5, 1.5],  # shift_y: pixels downwards
        [-0.2, 0.2],  # bend: how far top and bottom bow to the right, in half heights
    ]
)
RANGES.flags.writeable = False

SIZE = 28  # pixels a side
HALF_HEIGHT = 7.8  # of a digit at scale 1, in pixels
_N_POINTS = 96  # of the pen's path, at equal steps: less than a pixel apart
INK = 4.0  # in the middle of a long straight stroke, where the image is 1 - exp(-4) = 0.98
WIDTHS = float(np.sqrt(2 * np.log(INK / np.log(2))))  # at this many deviations it is one half
_PIXELS = np.arange(SIZE) - (SIZE - 1) / 2  # pixel centres; the image's middle is 0
_IMAGES_AT_ONCE = 64  # so many at a time stay in the processor's cache

# Each stroke is a list of points (x to the right, y down) that a smooth curve runs through. Where
# the pen turns a corner, a new stroke begins. y runs from -1, the top, to 1, the bottom.
_Stroke = Sequence[tuple[float, float]]
_STROKES: tuple[tuple[_Stroke, ...], ...] = (
    (  # 0
        (
            (0.25, -0.94), (-0.12, -0.97), (-0.53, -0.55), (-0.67, 0.15), (-0.41, 0.80),
            (0.06, 1.00), (0.52, 0.68), (0.69, 0.02), (0.53, -0.62), (0.12, -0.97), (-0.18, -0.84),
        ),
    ),
    (  # 1
        ((-0.30, -0.62), (-0.05, -0.80), (0.10, -1.00)),
        ((0.10, -1.00), (0.07, 0.00), (0.06, 1.00)),
    ),
    (  # 2
        (
            (-0.58, -0.58), (-0.39, -0.90), (0.06, -1.00), (0.48, -0.78), (0.48, -0.36),
            (0.12, 0.14), (-0.35, 0.60), (-0.69, 0.92),
        ),
        ((-0.69, 0.92), (-0.23, 0.86), (0.23, 0.93), (0.71, 0.88)),
    ),
    (  # 3
        (
            (-0.58, -0.78), (-0.21, -0.98), (0.25, -0.94), (0.48, -0.62), (0.30, -0.24),
            (-0.16, -0.06),
        ),
        (
            (-0.16, -0.06), (0.35, 0.02), (0.62, 0.36), (0.46, 0.80), (0.00, 1.00), (-0.41, 0.94),
            (-0.67, 0.72),
        ),
    ),
    (  # 4
        ((-0.32, -0.98), (-0.48, -0.45), (-0.64, 0.14)),
        ((-0.64, 0.14), (0.00, 0.10), (0.71, 0.06)),
        ((0.39, -0.92), (0.32, 0.00), (0.28, 1.00)),
    ),
    (  # 5
        ((0.60, -0.98), (0.12, -0.95), (-0.39, -0.94)),
        ((-0.39, -0.94), (-0.48, -0.50), (-0.53, -0.14)),
        (
            (-0.53, -0.14), (-0.09, -0.28), (0.39, -0.12), (0.60, 0.32), (0.37, 0.80),
            (-0.12, 1.00), (-0.62, 0.84),
        ),
    ),
    (  # 6
        (
            (0.39, -0.98), (-0.07, -0.74), (-0.41, -0.28), (-0.58, 0.30), (-0.39, 0.82),
            (0.06, 1.00), (0.46, 0.78), (0.53, 0.36), (0.23, 0.04), (-0.18, 0.14), (-0.51, 0.50),
        ),
    ),
    (  # 7
        ((-0.62, -0.86), (0.00, -0.90), (0.64, -0.96)),
        ((0.64, -0.96), (0.30, -0.30), (0.05, 0.32), (-0.12, 1.00)),
    ),
    (  # 8
        (
            (0.46, -0.78), (0.09, -1.00), (-0.35, -0.84), (-0.35, -0.46), (0.00, -0.12),
            (0.39, 0.24), (0.51, 0.62), (0.23, 0.96), (-0.21, 0.98), (-0.51, 0.66), (-0.37, 0.28),
            (0.02, -0.08), (0.39, -0.42), (0.48, -0.74), (0.35, -0.93),
        ),
    ),
    (  # 9
        (
            (0.46, -0.70), (0.18, -0.98), (-0.23, -0.92), (-0.48, -0.56), (-0.35, -0.18),
            (0.05, -0.14), (0.37, -0.42), (0.48, -0.80),
        ),
        ((0.48, -0.80), (0.44, -0.20), (0.32, 0.40), (0.18, 1.00)),
    ),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class StrokeDigits:
    """Images of digits together with what they were drawn from.

    Attributes:
        images: (n, 784) float32 in [0, 1], one image a row, pixels in reading order.
        labels: (n,) int64, the digit, 0 to 9.
        factors: (n, 7) float64, one column for each of ``names``.
        names: the factors' names.
        ranges: (7, 2) float64, the least and the greatest value of each factor.
        height, width: the image's size, 28 and 28.
    """

    images: np.ndarray
    labels: np.ndarray
    factors: np.ndarray
    names: tuple[str, ...]
    ranges: np.ndarray
    height: int
    width: int


def stroke_digits(
    n: int,
    *,
    seed: int,
    labels: int | Sequence[int] | np.ndarray | None = None,
    free: Sequence[str] = NAMES,
) -> StrokeDigits:
    """Draw ``n`` digits with factors that are uniform in their ranges and independent.

    The same seed gives the same images on every machine: the images are rounded to multiples of
    2⁻¹⁶, so that the last bit of an exponential does not show. The factors of image i do not depend
    on ``n``, nor the free ones on which others are free.

    Args:
        n: number of images, at least 1.
        seed: a whole number, at least 0.
        labels: one digit for all images, or n of them. By default 0, 1, …, 9, 0, 1, … in turn.
        free: names of the factors that vary. The others stay in the middle of their range.

    Returns:
        ``StrokeDigits``.

    Raises:
        ValueError: ``n`` or ``seed`` is out of range, ``free`` names an unknown factor, or
            ``labels`` are not n digits.

    >>> data = stroke_digits(5, seed=1, labels=3, free=("rotation", "bend"))
    >>> data.images.shape, data.images.dtype, data.labels
    ((5, 784), dtype('float32'), array([3, 3, 3, 3, 3]))
    >>> data.factors[:, 0]  # the slant is not free: it keeps the middle of [-0.1, 0.5]
    array([0.2, 0.2, 0.2, 0.2, 0.2])
    """
    for name, value, least in (("n", n, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
    unknown = [name for name in free if name not in NAMES]
    if isinstance(free, str) or unknown:
        raise ValueError(f"free must be names out of {NAMES}, got {free!r}")
    chosen = np.arange(n) % 10 if labels is None else np.asarray(labels)
    if chosen.ndim == 0:
        chosen = np.full(n, chosen)
    if len(chosen) != n:
        raise ValueError(f"labels must be one digit or n = {n} of them, got {len(chosen)}")
    position = np.random.default_rng(seed).random((n, len(NAMES)))  # in [0, 1)
    fixed = [i for i, name in enumerate(NAMES) if name not in free]
    position[:, fixed] = 0.5
    factors = RANGES[:, 0] + position * (RANGES[:, 1] - RANGES[:, 0])
    images = np.round(draw(chosen, factors) * 2.0**16) / 2.0**16
    return StrokeDigits(
        images.astype(np.float32),
        chosen.astype(np.int64),
        factors,
        names=NAMES,
        ranges=RANGES,
        height=SIZE,
        width=SIZE,
    )


def middle() -> np.ndarray:
    """Return the factors in the middle of their ranges, (7,): a digit as one would teach it."""
    return RANGES.mean(axis=1)


def draw(labels: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Compute g: the images of digits with the given factors.

    The pen visits points c_s = (x_s, y_s), each with its length of path ℓ_s, in half heights. First
    bend, then slant, then rotation and scale, then shift move them, with H = 7.8 · scale:

        x′_s = x_s + bend · (y_s² − 0.4) − slant · y_s
        X_s = shift_x + H · ( cos(rotation) · x′_s + sin(rotation) · y_s)
        Y_s = shift_y + H · (−sin(rotation) · x′_s + cos(rotation) · y_s)

    Each visit leaves a round blot of ink. Ink adds up; paper that is black stays black:

        ink(p, q) = Σ_s 4 · H ℓ_s / (√(2π) τ) · exp(−[(p − X_s)² + (q − Y_s)²] / (2 τ²))
        image(p, q) = 1 − exp(−ink(p, q)),    τ = thickness / √(2 ln(4 / ln 2))

    at the pixel centres (p, q). A long straight stroke has the value 1 − e⁻⁴ in its middle and one
    half at the distance ``thickness`` from there. The exponential of a sum is a product of one
    factor for columns and one for rows, so an image is a matrix product (28, S) · (S, 28).

    Args:
        labels: (n,) integers, 0 to 9.
        factors: (n, 7), columns as in ``NAMES``; any finite values with positive scale and
            thickness, also outside the ranges.

    Returns:
        (n, 784) float64 in [0, 1].

    Raises:
        ValueError: a shape does not fit, a label is no digit, a scale or thickness is not positive.
    """
    labels, factors = _checked(labels, factors)
    images = np.empty((len(labels), SIZE, SIZE))
    for part in _parts(len(labels)):
        blots = _blots(labels[part], factors[part])
        images[part] = -np.expm1(-_rows(blots) @ blots.column)
    return images.reshape(len(labels), SIZE * SIZE)


def draw_jacobian(labels: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Compute the Jacobian of ``draw``: how each pixel answers to each factor.

    By the chain rule ∂image = exp(−ink) · ∂ink, and each blot contributes to ∂ink its own ink times
    the relative change of its amount, the shift of its place and the change of its width.

    Args:
        labels: (n,) integers, 0 to 9.
        factors: (n, 7), columns as in ``NAMES``.

    Returns:
        (n, 784, 7) float64: entry [i, p, j] is ∂ images[i, p] / ∂ factors[i, j].

    Raises:
        ValueError: as for ``draw``.
    """
    labels, factors = _checked(labels, factors)
    jacobian = np.empty((len(labels), SIZE, SIZE, len(NAMES)))
    for part in _parts(len(labels)):
        blots = _blots(labels[part], factors[part])
        column, row = blots.column, _rows(blots)
        # the ink's derivatives with respect to the place of a blot: its ink times (p - X) / τ² or
        # (q - Y) / τ²; with respect to its width: its ink times squared distance / τ³
        tau = blots.tau[:, :, None]
        along_x = column * (blots.to_column / tau)
        along_y = row * (blots.to_row / tau).transpose(0, 2, 1)
        wider_x = column * (blots.to_column**2 / tau)
        wider_y = row * (blots.to_row**2 / tau).transpose(0, 2, 1)
        ink = row @ column
        paper = np.exp(-ink)  # what is left of the white
        for j, (d_x, d_y) in enumerate(_velocities(blots, factors[part])):
            change = (row * d_x[:, None, :]) @ along_x + (along_y * d_y[:, None, :]) @ column
            jacobian[part, :, :, j] = change * paper
        size, width = factors[part, 2, None, None], factors[part, 3, None, None]
        jacobian[part, :, :, 2] += paper * ink / size  # a longer path carries more ink
        widening = row @ wider_x + wider_y @ column
        jacobian[part, :, :, 3] = paper * (widening / WIDTHS - ink / width)
    return jacobian.reshape(len(labels), SIZE * SIZE, len(NAMES))


def pen_path(label: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places that the pen visits for a digit, before any factor moves them.

    Args:
        label: the digit, 0 to 9.

    Returns:
        (96, 2) float64, c_s = (x_s, y_s), and (96,), the lengths ℓ_s, both in half heights of the
        digit, as ``draw`` uses them.

    Raises:
        ValueError: ``label`` is no digit.
    """
    digit = as_labels("label", np.array([label]), 1, 10)[0]
    return _PATHS[digit].copy(), _LENGTHS[digit].copy()


class _Blots(NamedTuple):
    """The ink of S blots for each of n images, taken apart into columns and rows."""

    column: np.ndarray  # (n, S, 28): exp(-(p - X)² / 2τ²) for each pixel column p
    row: np.ndarray  # (n, S, 28): the same for pixel rows
    to_column: np.ndarray  # (n, S, 28): (p - X) / τ
    to_row: np.ndarray
    amount: np.ndarray  # (n, S): ink in the middle of the blot
    tau: np.ndarray  # (n, 1): standard deviation of the blot, in pixels
    place: tuple[np.ndarray, np.ndarray]  # (n, S) each: X and Y without shift, in pixels
    pen: tuple[np.ndarray, np.ndarray]  # (n, S) each: x and y of the digit's own path


def _blots(labels: np.ndarray, factors: np.ndarray) -> _Blots:
    slant, rotation, scale, thickness, shift_x, shift_y, bend = factors.T[:, :, None]  # (n, 1)
    x, y = _PATHS[labels, :, 0], _PATHS[labels, :, 1]  # (n, S)
    moved = x + bend * (y**2 - 0.4) - slant * y
    height = HALF_HEIGHT * scale
    place_x = height * (np.cos(rotation) * moved + np.sin(rotation) * y)
    place_y = height * (np.cos(rotation) * y - np.sin(rotation) * moved)
    tau = thickness / WIDTHS
    to_column = (_PIXELS - (place_x + shift_x)[:, :, None]) / tau[:, :, None]
    to_row = (_PIXELS - (place_y + shift_y)[:, :, None]) / tau[:, :, None]
    amount = INK * height * _LENGTHS[labels] / (np.sqrt(2 * np.pi) * tau)
    column, row = np.exp(-0.5 * to_column**2), np.exp(-0.5 * to_row**2)
    return _Blots(column, row, to_column, to_row, amount, tau, (place_x, place_y), (x, y))


def _rows(blots: _Blots) -> np.ndarray:
    """Return the rows with their ink, (n, 28, S): what multiplies ``column`` from the left."""
    return (blots.row * blots.amount[:, :, None]).transpose(0, 2, 1)


def _velocities(blots: _Blots, factors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, for each factor, how fast the blots move: ∂X and ∂Y, (n, S) each."""
    (place_x, place_y), (_, y) = blots.place, blots.pen
    rotation, scale = factors[:, 1, None], factors[:, 2, None]
    right_x = HALF_HEIGHT * scale * np.cos(rotation)  # where a step of the pen to the right leads
    right_y = -HALF_HEIGHT * scale * np.sin(rotation)
    still, one = np.zeros_like(y), np.ones_like(y)
    yield -right_x * y, -right_y * y  # slant
    yield place_y, -place_x  # rotation
    yield place_x / scale, place_y / scale  # scale
    yield still, still  # thickness
    yield one, still  # shift_x
    yield still, one  # shift_y
    yield right_x * (y**2 - 0.4), right_y * (y**2 - 0.4)  # bend


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, _IMAGES_AT_ONCE):
        yield slice(start, min(start + _IMAGES_AT_ONCE, n))


def _checked(labels: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    expect_shapes(f"n {len(NAMES)}", factors=factors)
    labels = as_labels("labels", labels, len(factors), 10)
    factors = np.asarray(factors, dtype=np.float64)
    expect_finite(factors=factors)
    if np.any(factors[:, 2:4] <= 0):
        raise ValueError(f"scale and thickness must be positive, got {factors[:, 2:4].min()}")
    return labels, factors


def _curve(knots: _Stroke) -> np.ndarray:
    """Return a dense polyline, (400, 2), on a smooth curve through the knots.

    Between two knots it is the cubic that has, at both, the slope of the parabola through three
    neighbouring knots. Time runs with the root of the distance, which avoids loops at close knots.
    """
    k = np.array(knots)
    time = np.append(0, np.sqrt(np.linalg.norm(np.diff(k, axis=0), axis=1)).cumsum())
    slope = np.gradient(k, time, axis=0, edge_order=2)
    t = np.linspace(0, time[-1], 400)
    i = np.clip(np.searchsorted(time, t, side="right") - 1, 0, len(time) - 2)
    step = (time[i + 1] - time[i])[:, None]
    u = (t - time[i])[:, None] / step  # from 0 to 1 between two knots
    from_first = (1 + 2 * u) * (1 - u) ** 2 * k[i] + u * (1 - u) ** 2 * step * slope[i]
    return from_first + u**2 * (3 - 2 * u) * k[i + 1] - u**2 * (1 - u) * step * slope[i + 1]


def _path(strokes: Sequence[_Stroke]) -> tuple[np.ndarray, np.ndarray]:
    """Return S points at equal steps along the strokes, (S, 2), and the length of each step, (S,).

    The middle of the path, by length, is moved to the origin.
    """
    curves = [_curve(stroke) for stroke in strokes]
    along = [
        np.append(0, np.linalg.norm(np.diff(curve, axis=0), axis=1).cumsum()) for curve in curves
    ]
    lengths = np.array([a[-1] for a in along])
    ends = np.round(np.append(0, lengths.cumsum()) / lengths.sum() * _N_POINTS).astype(int)
    points, steps = [], []
    for curve, a, m in zip(curves, along, np.diff(ends), strict=True):
        at = (np.arange(m) + 0.5) / m * a[-1]  # the middles of m equal pieces
        points.append(np.stack([np.interp(at, a, curve[:, i]) for i in range(2)], axis=1))
        steps.append(np.full(m, a[-1] / m))
    path, step = np.concatenate(points), np.concatenate(steps)
    return path - step @ path / step.sum(), step


_PATHS = np.stack([_path(strokes)[0] for strokes in _STROKES])  # (10, S, 2)
_LENGTHS = np.stack([_path(strokes)[1] for strokes in _STROKES])  # (10, S)


named_errors(globals())
