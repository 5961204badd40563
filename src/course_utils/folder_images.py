"""A folder of one's own pictures as rows, with a fixed split."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from course_utils.console import say
from course_utils.flat_images import FlatImages
from course_utils.shapes import expect_whole

KINDS = (".png", ".jpg", ".jpeg")


def images(
    folder: str | Path,
    *,
    size: tuple[int, int] | None = None,
    colour: bool | None = None,
    every: int = 5,
) -> FlatImages:
    """Load the pictures of a folder: PNG and JPEG, of one size or brought to one.

    Pictures in subfolders belong to the class that the subfolder names; those in the folder itself
    are of class 0 where there is no subfolder. The split needs no random numbers: within each
    class, in the order of the names, every fifth picture is a test picture. A file that cannot be
    read is left out, and one line names it. Transparent places become white.

    Args:
        folder: with the pictures, or with one subfolder a class.
        size: (height, width) to bring each picture to: scaled until it covers that size, then cut
            to its middle. None: all must be of one size.
        colour: True for three channels, False for grey; None for colour where any picture has it.
        every: which picture of a class goes into the test set, at least 2.

    Returns:
        ``FlatImages`` with ``d = channels · height · width`` in that order: for colour,
        ``x.reshape(n, 3, height, width)``. Grey values 0 … 255 are divided by 255. ``classes`` are
        the names of the subfolders, in order; ``name`` is that of the folder.

    Raises:
        ValueError: no such folder, no picture in it, fewer than ``every`` of them, pictures of
            several sizes without ``size``, or an argument out of its range.
    """
    root = _folder(folder)
    expect_whole("every", every, 2)
    if size is not None:
        if len(size) != 2:
            raise ValueError(f"size must be (height, width), got {size}")
        for side in size:
            expect_whole("size", side, 1)
    classes = tuple(
        sorted(path.name for path in root.iterdir() if path.is_dir() and any(_in(path)))
    )
    loose = list(_in(root))
    if classes and loose:
        raise ValueError(
            f"folder must hold pictures or subfolders with pictures, got both: {loose[0].name} and"
            f" {classes[0]}"
        )
    paths = [(path, label) for label, c in enumerate(classes) for path in _in(root / c)]
    paths = paths or [(path, 0) for path in loose]
    pictures, labels = _read_all(paths, size)
    if len(pictures) < every:
        raise ValueError(f"folder must hold at least {every} pictures, got {len(pictures)}: {root}")
    if colour is None:
        colour = any(not _is_grey(picture) for picture in pictures)
    shapes = sorted({(picture.height, picture.width) for picture in pictures})
    if len(shapes) > 1:
        raise ValueError(
            f"size must be given: the pictures have {len(shapes)} sizes, got {shapes[0]} and"
            f" {shapes[-1]} (height, width)"
        )
    (height, width), channels = shapes[0], 3 if colour else 1
    x = np.stack([_row(picture, colour) for picture in pictures])
    y = np.array(labels, dtype=np.int64)
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        test[np.flatnonzero(y == label)[every - 1 :: every]] = True
    if not test.any():
        raise ValueError(f"every must be at most the size of the largest class, got {every}")
    split = (x[~test], y[~test], x[test], y[test])
    return FlatImages(
        *split, height=height, width=width, name=root.name, channels=channels, classes=classes
    )


def _folder(folder: str | Path) -> Path:
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ValueError(f"folder must be a folder that is there, got {str(folder)[:200]!r}")
    return root


def _in(folder: Path) -> Iterator[Path]:
    names = sorted(path for path in folder.iterdir() if path.suffix.lower() in KINDS)
    return (path for path in names if path.is_file() and not path.name.startswith("."))


def _read_all(
    paths: list[tuple[Path, int]], size: tuple[int, int] | None
) -> tuple[list[Image.Image], list[int]]:
    pictures, labels, bad = [], [], []
    for path, label in paths:
        try:
            with Image.open(path) as file:
                picture = _opaque(ImageOps.exif_transpose(file))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            bad.append(path.name)
            continue
        if size is not None:
            picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.LANCZOS)
        pictures.append(picture)
        labels.append(label)
    if bad:
        say(f"left out, as they cannot be read: {', '.join(bad[:5])}{_more(len(bad) - 5)}")
    return pictures, labels


def _more(n: int) -> str:
    return f" and {n} more" if n > 0 else ""


def _opaque(picture: Image.Image) -> Image.Image:
    """In colours of 8 bits, on white paper where it is transparent."""
    if picture.mode in ("I", "I;16", "F"):  # 16 bits of grey: Pillow would cut, not scale, them
        values = np.asarray(picture, dtype=np.float64)
        top = 255.0 if values.max() <= 255 else 65535.0
        return Image.fromarray(np.round(255 * values / top).astype(np.uint8)).convert("RGB")
    with_alpha = picture.convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(paper, with_alpha).convert("RGB")


def _is_grey(picture: Image.Image) -> bool:
    red, green, blue = (np.asarray(band, dtype=np.int16) for band in picture.split())
    return bool((abs(red - green) <= 2).all() and (abs(green - blue) <= 2).all())


def _row(picture: Image.Image, colour: bool) -> np.ndarray:
    """(channels · height · width,) float32 in [0, 1], channel by channel."""
    values = np.asarray(picture if colour else picture.convert("L"), dtype=np.float32) / 255
    return (values.transpose(2, 0, 1) if colour else values).ravel()
