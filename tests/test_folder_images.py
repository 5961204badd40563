"""A folder of pictures: the pixels that are in the files, whatever their kind."""

import numpy as np
import pytest
from PIL import Image

from course_utils import data, plots

rng = np.random.default_rng(5)


def grey(height=6, width=4):
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


def red(height=6, width=4):
    return np.stack([grey(height, width), 0 * grey(height, width), grey(height, width)], axis=2)


def write(folder, arrays, kind="png", **options):
    folder.mkdir(parents=True, exist_ok=True)
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{i:03}.{kind}", **options)


def test_grey_pictures_are_the_pixels_of_their_files_in_the_order_of_the_names(tmp_path):
    arrays = [grey() for _ in range(12)]
    write(tmp_path, arrays)
    found = data.images(tmp_path)
    assert (found.height, found.width, found.channels, found.classes) == (6, 4, 1, ())
    assert found.name == tmp_path.name and found.x_train.dtype == np.float32
    rows = np.stack(arrays).reshape(12, -1) / 255
    test = np.arange(12) % 5 == 4
    np.testing.assert_allclose(found.x_test, rows[test], atol=1e-6)
    np.testing.assert_allclose(found.x_train, rows[~test], atol=1e-6)
    assert not found.y_train.any() and found.y_train.dtype == np.int64


def test_colours_come_channel_by_channel_and_one_picture_in_colour_decides(tmp_path):
    arrays = [grey(), red(), grey(), grey(), grey()]
    write(tmp_path, arrays)
    found = data.images(tmp_path)
    assert found.channels == 3 and found.x_train.shape == (4, 72)
    image = found.x_train[1].reshape(3, 6, 4)
    np.testing.assert_allclose(image.transpose(1, 2, 0), arrays[1] / 255, atol=1e-6)
    assert data.images(tmp_path, colour=False).channels == 1
    write(tmp_path / "all grey", arrays[2:3] * 5)
    assert data.images(tmp_path / "all grey").channels == 1
    assert data.images(tmp_path / "all grey", colour=True).channels == 3


def test_subfolders_are_classes_and_each_is_split(tmp_path):
    write(tmp_path / "cat", [grey() for _ in range(10)])
    write(tmp_path / "ant", [grey() for _ in range(5)])
    (tmp_path / "empty").mkdir()
    found = data.images(tmp_path)
    assert found.classes == ("ant", "cat")
    assert np.bincount(found.y_train).tolist() == [4, 8] and found.y_test.tolist() == [0, 1, 1]
    assert np.bincount(data.images(tmp_path, every=2).y_test).tolist() == [2, 5]


def test_pictures_are_scaled_to_cover_the_size_and_cut_to_the_middle(tmp_path):
    wide = np.zeros((10, 30), dtype=np.uint8)
    wide[:, 10:20] = 255
    write(tmp_path, [wide] * 4 + [np.full((7, 9), 255, dtype=np.uint8)])
    with pytest.raises(ValueError, match=r"2 sizes, got \(7, 9\) and \(10, 30\)"):
        data.images(tmp_path)
    found = data.images(tmp_path, size=(10, 10))
    assert found.x_train.shape == (4, 100) and found.x_train.min() > 0.9
    assert data.images(tmp_path, size=(5, 8)).height == 5


@pytest.mark.parametrize(
    "picture, expected",
    [
        (Image.fromarray(np.full((4, 4), 128, np.uint8)), 128 / 255),
        (Image.fromarray(np.full((4, 4), 128, np.uint8)).convert("P"), 128 / 255),
        (Image.fromarray(np.full((4, 4), 255, np.uint8)).convert("1"), 1.0),
        (Image.fromarray(np.full((4, 4), 32768, np.uint16)), 32768 / 65535),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), 1.0),  # clear: the paper shows
        (Image.new("RGBA", (4, 4), (0, 0, 0, 255)), 0.0),
        (Image.new("LA", (4, 4), (0, 128)), 127 / 255),
    ],
)
def test_every_kind_of_png_keeps_its_grey(picture, expected, tmp_path):
    for i in range(5):
        picture.save(tmp_path / f"{i}.png")
    found = data.images(tmp_path)
    assert found.channels == 1
    np.testing.assert_allclose(found.x_train, expected, atol=3 / 255)


def test_jpeg_is_read_with_its_turn(tmp_path):
    image = Image.fromarray(np.repeat([[0], [255]], [8, 8], axis=0).astype(np.uint8).repeat(8, 1))
    exif = Image.Exif()
    exif[274] = 3  # upside down
    for i in range(5):
        image.save(tmp_path / f"{i}.JPG", exif=exif, quality=95)
    top = data.images(tmp_path).x_train.reshape(4, 16, 8)[:, :6]
    assert top.min() > 0.9


def test_what_cannot_be_read_is_left_out_and_named(tmp_path, capsys):
    write(tmp_path, [grey() for _ in range(6)])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    whole = (tmp_path / "000.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("no picture either")
    (tmp_path / ".hidden.png").write_bytes(b"")
    found = data.images(tmp_path)
    assert len(found.x_train) + len(found.x_test) == 6
    assert capsys.readouterr().out == "left out, as they cannot be read: broken.png, cut.png\n"


def test_what_is_no_folder_of_pictures_is_named(tmp_path):
    write(tmp_path / "few", [grey()] * 3)
    write(tmp_path / "both", [grey()] * 5)
    write(tmp_path / "both" / "class", [grey()] * 5)
    (tmp_path / "file").write_text("")
    write(tmp_path / "thin" / "a", [grey()] * 3)
    write(tmp_path / "thin" / "b", [grey()] * 3)
    for arguments, message in (
        ((tmp_path / "nowhere",), "folder must be a folder that is there, got"),
        ((tmp_path / "file",), "folder must be a folder that is there, got"),
        ((tmp_path / "few",), "folder must hold at least 5 pictures, got 3"),
        ((tmp_path / "both",), "got both: 000.png and class"),
        ((tmp_path / "thin",), "every must be at most the size of the largest class, got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            data.images(*arguments)
    for options, message in (
        ({"size": (4,)}, "size must be"),
        ({"size": (4, 0)}, "size must be at least 1, got 0"),
        ({"size": (4.5, 4)}, "size must be a whole number"),
        ({"every": 1}, "every must be at least 2, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            data.images(tmp_path / "few", **options)


def test_names_of_classes_serve_as_labels_of_a_figure(tmp_path):
    write(tmp_path / "cat", [grey() for _ in range(5)])
    write(tmp_path / "ant", [grey() for _ in range(5)])
    found = data.images(tmp_path)
    import matplotlib.pyplot as plt

    names = np.array(found.classes)[found.y_train]
    ax = plots.latent_scatter(rng.normal(size=(8, 2)), names, plt.figure().subplots())
    assert [text.get_text() for text in ax.texts] == ["ant", "cat"]
    plt.close("all")
