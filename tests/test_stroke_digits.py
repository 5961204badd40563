"""Stroke digits: formula, Jacobian, symmetries, and the same images on every machine."""

import hashlib
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from course_utils import stroke_digits as sd
from course_utils.stroke_digits import NAMES, RANGES, draw, draw_jacobian, middle, stroke_digits

SPANS = RANGES[:, 1] - RANGES[:, 0]
seeds = st.integers(0, 2**32 - 1)


def drawn_factors(seed, n):
    return RANGES[:, 0] + SPANS * np.random.default_rng(seed).random((n, 7))


def with_factors(label, **values):
    """One image at the middle of the ranges, but for the factors given."""
    h = middle()
    for name, value in values.items():
        h[NAMES.index(name)] = value
    return draw(np.array([label]), h[None]).reshape(28, 28)


def straight(label, **values):
    return with_factors(label, **({"slant": 0.0, "rotation": 0.0, "bend": 0.0} | values))


@settings(max_examples=20, deadline=None)
@given(label=st.integers(0, 9), seed=seeds)
def test_an_image_is_the_formula_of_the_docstring(label, seed):
    slant, rotation, scale, thickness, shift_x, shift_y, bend = h = drawn_factors(seed, 1)[0]
    (x, y), step = sd._PATHS[label].T, sd._LENGTHS[label]
    x = x + bend * (y**2 - 0.4) - slant * y
    height = 7.8 * scale
    big_x = shift_x + height * (np.cos(rotation) * x + np.sin(rotation) * y)
    big_y = shift_y + height * (-np.sin(rotation) * x + np.cos(rotation) * y)
    tau = thickness / np.sqrt(2 * np.log(4 / np.log(2)))
    amount = 4 * height * step / (np.sqrt(2 * np.pi) * tau)
    centres = np.arange(28) - 13.5
    image = [
        [
            1
            - np.exp(-np.sum(amount * np.exp(-((p - big_x) ** 2 + (q - big_y) ** 2) / 2 / tau**2)))
            for p in centres
        ]
        for q in centres
    ]
    np.testing.assert_allclose(draw(np.array([label]), h[None])[0], np.ravel(image), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_the_jacobian_equals_central_differences_in_every_factor(seed):
    labels, h = np.arange(10), drawn_factors(seed, 10)
    jacobian = draw_jacobian(labels, h)
    for j, name in enumerate(NAMES):
        e = np.zeros(7)
        e[j] = 1e-5
        slope = (draw(labels, h + e) - draw(labels, h - e)) / 2e-5
        error = np.linalg.norm(slope - jacobian[:, :, j]) / np.linalg.norm(slope)
        assert error < 1e-6, name


def test_the_jacobian_equals_autograd():
    torch = pytest.importorskip("torch")
    label, h = 5, drawn_factors(3, 1)[0]
    x, y = (torch.from_numpy(sd._PATHS[label][:, i]) for i in range(2))
    step = torch.from_numpy(sd._LENGTHS[label])
    pixels = torch.arange(28, dtype=torch.float64) - 13.5

    def image(h):
        slant, rotation, scale, thickness, shift_x, shift_y, bend = h
        moved = x + bend * (y**2 - 0.4) - slant * y
        turned = torch.polar(7.8 * scale, -rotation) * torch.complex(moved, y)
        tau = thickness / np.sqrt(2 * np.log(4 / np.log(2)))
        column = torch.exp(-((pixels[:, None] - turned.real - shift_x) ** 2) / (2 * tau**2))
        row = torch.exp(-((pixels[:, None] - turned.imag - shift_y) ** 2) / (2 * tau**2))
        amount = 4 * 7.8 * scale * step / (np.sqrt(2 * np.pi) * tau)
        return (1 - torch.exp(-(row * amount) @ column.T)).flatten()

    theirs = torch.autograd.functional.jacobian(image, torch.from_numpy(h))
    ours = draw_jacobian(np.array([label]), h[None])[0]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-11)


def test_drawing_many_is_drawing_each():
    labels, h = np.arange(150) % 10, drawn_factors(1, 150)  # more than one batch
    both = draw(labels, h), draw_jacobian(labels, h)
    for i in (0, 63, 64, 149):
        one = labels[i : i + 1], h[i : i + 1]
        np.testing.assert_allclose(draw(*one)[0], both[0][i], atol=1e-14)
        np.testing.assert_allclose(draw_jacobian(*one)[0], both[1][i], atol=1e-12)


def test_a_shift_by_a_pixel_moves_the_image_by_a_pixel():
    np.testing.assert_allclose(
        with_factors(3, shift_x=1.0)[:, 3:-3], with_factors(3, shift_x=0.0)[:, 2:-4], atol=1e-12
    )
    np.testing.assert_allclose(
        with_factors(3, shift_y=-1.0)[3:-3], with_factors(3, shift_y=0.0)[4:-2], atol=1e-12
    )


def test_a_quarter_turn_is_a_quarter_turn_anticlockwise():
    still = with_factors(4, rotation=0.0, shift_x=0.0, shift_y=0.0)
    quarter = with_factors(4, rotation=np.pi / 2, shift_x=0.0, shift_y=0.0)
    np.testing.assert_allclose(quarter, np.rot90(still), atol=1e-12)
    whole = with_factors(4, rotation=2 * np.pi, shift_x=0.0, shift_y=0.0)
    np.testing.assert_allclose(whole, still, atol=1e-12)


def test_slant_leans_to_the_right_and_bend_bows_top_and_bottom_to_the_right():
    def mean_column(rows):
        return (rows * np.arange(28)).sum() / rows.sum()

    upright, slanted, bent = straight(8), straight(8, slant=0.4), straight(8, bend=0.2)
    assert mean_column(slanted[:10]) > mean_column(upright[:10]) + 1
    assert mean_column(slanted[-10:]) < mean_column(upright[-10:]) - 1
    assert mean_column(bent[:8]) > mean_column(upright[:8]) + 0.3
    assert mean_column(bent[-8:]) > mean_column(upright[-8:]) + 0.3
    assert mean_column(bent[12:16]) < mean_column(upright[12:16]) - 0.3


@pytest.mark.parametrize("thickness", [0.9, 1.35, 1.8])
def test_thickness_is_half_the_width_at_half_the_grey(thickness):
    row = straight(1, thickness=thickness)[16]  # the middle of the straight stem
    left, right = np.flatnonzero(row > 0.5)[[0, -1]]
    left_edge = left - (row[left] - 0.5) / (row[left] - row[left - 1])
    right_edge = right + (row[right] - 0.5) / (row[right] - row[right + 1])
    assert right_edge - left_edge == pytest.approx(2 * thickness, rel=0.08)


def test_scale_scales():
    def height(image):
        rows = np.flatnonzero(image.max(axis=1) > 0.5)
        return rows[-1] - rows[0]

    small, large = (straight(0, scale=s, thickness=0.9) for s in (0.6, 1.2))
    assert height(large) == pytest.approx(2 * height(small), abs=2)


def test_images_are_float32_in_the_unit_interval_with_ink_and_paper():
    data = stroke_digits(200, seed=0)
    assert data.images.shape == (200, 784) and data.images.dtype == np.float32
    assert data.images.min() == 0.0 and 0.9 < data.images.max() <= 1.0
    assert data.height * data.width == 784 and data.names == NAMES
    assert data.labels.dtype == np.int64 and data.factors.dtype == np.float64
    np.testing.assert_array_equal(data.labels, np.arange(200) % 10)
    assert np.all((data.factors >= RANGES[:, 0]) & (data.factors <= RANGES[:, 1]))
    np.testing.assert_allclose(data.factors.mean(axis=0), middle(), atol=0.1 * SPANS.max())
    np.testing.assert_allclose(draw(data.labels, data.factors), data.images, atol=2.0**-16)


def test_a_seed_gives_the_same_images_on_every_machine():
    data = stroke_digits(30, seed=1)
    whole = (data.images.astype(np.float64) * 2**16).astype("<u4")
    np.testing.assert_array_equal(whole / 2**16, data.images)
    digest = hashlib.sha256(whole.tobytes()).hexdigest()
    assert digest.startswith("f16b49832cd7bb17")


def test_few_images_are_the_first_of_many_and_free_factors_do_not_depend_on_the_others():
    few, many = stroke_digits(7, seed=5), stroke_digits(20, seed=5)
    np.testing.assert_array_equal(few.images, many.images[:7])
    two = stroke_digits(7, seed=5, free=("bend", "scale"))
    for j, name in enumerate(NAMES):
        expected = few.factors[:, j] if name in ("bend", "scale") else middle()[j]
        np.testing.assert_allclose(two.factors[:, j], expected, atol=1e-15)
    assert not np.array_equal(few.images, stroke_digits(7, seed=6).images)


def test_labels_can_be_chosen():
    np.testing.assert_array_equal(stroke_digits(3, seed=0, labels=7).labels, [7, 7, 7])
    chosen = stroke_digits(3, seed=0, labels=[2, 0, 2])
    np.testing.assert_array_equal(chosen.labels, [2, 0, 2])
    np.testing.assert_array_equal(chosen.images[1], stroke_digits(3, seed=0, labels=0).images[1])


def test_no_digit_touches_the_frame_in_the_middle_of_the_ranges_and_few_do_elsewhere():
    def frame(images):
        pictures = images.reshape(-1, 28, 28)
        sides = [pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1]]
        return np.max(sides, axis=(0, 2))

    assert frame(draw(np.arange(10), np.tile(middle(), (10, 1)))).max() < 1e-3
    assert (frame(stroke_digits(2000, seed=2).images) > 0.1).mean() < 0.04


def test_every_factor_matters_at_every_digit():
    data = stroke_digits(300, seed=3)
    jacobian = draw_jacobian(data.labels, data.factors) * SPANS
    assert np.linalg.svd(jacobian, compute_uv=False)[:, -1].min() > 0.3


def test_the_kinds_of_digits_are_told_apart_by_their_nearest_neighbour():
    learn, test = stroke_digits(2000, seed=4), stroke_digits(300, seed=5)
    gram = test.images @ learn.images.T - (learn.images**2).sum(axis=1) / 2
    assert np.mean(learn.labels[gram.argmax(axis=1)] == test.labels) > 0.99


def test_ten_thousand_images_take_less_than_three_seconds():
    spent = []
    for _ in range(3):
        start = time.process_time()
        stroke_digits(10_000, seed=0)
        spent.append(time.process_time() - start)
        if spent[-1] < 3:
            return
    raise AssertionError(f"seconds of processor time: {spent}")


def test_constants_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        RANGES[0, 0] = 7.0
    h = middle()
    h[0] = 7.0
    assert middle()[0] != 7.0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: stroke_digits(0, seed=0), "n must be a whole number, at least 1, got 0"),
        (lambda: stroke_digits(1.5, seed=0), "n must be"),
        (lambda: stroke_digits(1, seed=-1), "seed must be"),
        (lambda: stroke_digits(1, seed=0, free=("colour",)), "free must be names"),
        (lambda: stroke_digits(1, seed=0, free="bend"), "free must be names"),
        (lambda: stroke_digits(2, seed=0, labels=[1, 2, 3]), "labels must be one digit or n = 2"),
        (lambda: stroke_digits(2, seed=0, labels=10), "labels must be whole numbers from 0 to 9"),
        (lambda: draw(np.array([1.5]), middle()[None]), "labels must be whole numbers"),
        (lambda: draw(np.array([1, 2]), middle()[None]), "labels must have shape"),
        (lambda: draw(np.array([1]), middle()[None, :6]), "factors must have shape"),
        (lambda: draw(np.array([1]), np.full((1, 7), np.nan)), "factors must be finite"),
        (lambda: draw_jacobian(np.array([1]), np.zeros((1, 7))), "must be positive"),
    ],
)
def test_what_does_not_fit_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def idx(path):
    """Read an array in MNIST's own format: big-endian sizes, then the bytes."""
    raw = path.read_bytes()
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def test_a_classifier_taught_by_stroke_digits_reads_real_mnist_as_chapter_08_says():
    folder = Path(os.environ.get("COURSE_DATA", "")) / "MNIST" / "raw"
    if not (folder / "t10k-images-idx3-ubyte").is_file():
        pytest.skip("needs real MNIST in the folder that COURSE_DATA names")
    images = idx(folder / "t10k-images-idx3-ubyte").reshape(10_000, 784) / np.float32(255)
    labels = idx(folder / "t10k-labels-idx1-ubyte")
    taught = stroke_digits(10_000, seed=8)
    chapter = Path(__file__).parents[1] / "notebooks" / "08_the_manifold_hypothesis.ipynb"
    stated = re.search(
        r"3 nearest neighbours read (\d+)% .* \(logistic regression\) (\d+)%",
        chapter.read_text(encoding="utf-8"),
    )
    for classifier, percent in zip(
        (
            KNeighborsClassifier(3, algorithm="brute"),
            LogisticRegression(C=0.01, max_iter=1000),  # to its minimum, in every version
        ),
        stated.groups(),
        strict=True,
    ):
        read = classifier.fit(taught.images, taught.labels).score(images, labels)
        assert read == pytest.approx(int(percent) / 100, abs=0.01)
