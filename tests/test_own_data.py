"""The page "Bring your own data": its code runs as it stands, and does what the page says."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.checkpoints import best_weights

PAGE = Path(__file__).resolve().parents[1] / "book" / "own_data.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
N, NOISE = 2_500, 0.3


def normal_columns(rng):
    """Five columns that two normal numbers explain, in units far from one another."""
    weights = np.array([[1.0, 0.5, -1.0, 0.3, 0.0], [0.0, 0.8, 0.6, -0.9, 1.0]])
    rows = rng.normal(size=(N, 2)) @ weights + NOISE * rng.normal(size=(N, 5))
    scale, shift = np.array([1.0, 100.0, 0.01, 5.0, 3.0]), np.array([0.0, 300.0, -2.0, 5.0, 1.0])
    covariance = (weights.T @ weights + NOISE**2 * np.eye(5)) * np.outer(scale, scale)
    return rows * scale + shift, covariance


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The names that the page's code leaves behind, run in a folder with small files."""
    folder, rng = tmp_path_factory.mktemp("page"), np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for i in range(60):  # a coloured square on grey, somewhere
        image = np.full((32, 40, 3), 100, dtype=np.uint8)
        y, x = rng.integers(4, 20, size=2)
        image[y : y + 8, x + 4 : x + 12] = (200, 60, 20 * (i % 10))
        Image.fromarray(image).save(folder / "pictures" / f"{i:02}.png")
    rows, covariance = normal_columns(rng)
    np.save(folder / "pixels.npy", rng.random((1_500, 400), dtype=np.float32))  # 2.4 MB
    header = "a,b,c,d,e"
    np.savetxt(folder / "table.csv", rows, delimiter=",", header=header, comments="")
    names = {"covariance": covariance, "__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in BLOCKS:
            exec(compile(block, str(PAGE), "exec"), names)
        names["folder"], names["checkpoint"] = folder / "rows", folder / "long_run.pt"
    return names


def test_the_page_trains_on_a_folder_of_coloured_pictures(page):
    assert page["pictures"].channels == 3 and page["d"] != page["pictures"].x_train.shape[1]
    assert page["pictures"].x_train.shape == (48, 3 * 28 * 28)
    assert page["history"].val[-1] < page["history"].val[0]


def test_the_convolutional_one_takes_these_pictures_once_told_their_channels(page):
    from course_utils.vae import ConvVAE

    pictures = page["pictures"]
    rows = torch.from_numpy(pictures.x_test)
    call = re.search(r"`(ConvVAE\(pictures.*?\))`", PAGE.read_text(encoding="utf-8"))[1]
    model = eval(call.replace("…", "Gaussian(0.05)"), page | {"ConvVAE": ConvVAE})
    assert model(rows)[0].shape == rows.shape and model.latent_dim == 20
    with pytest.raises(ValueError, match="x must have shape"):
        ConvVAE(pictures.height, pictures.width)(rows)


def test_the_bound_of_the_table_lies_just_below_the_true_log_density(page):
    test, cov = page["test"], page["covariance"]
    centred = test - page["rows"].mean(axis=0)
    distance = (centred * np.linalg.solve(cov, centred.T).T).sum(axis=1)
    truth = -0.5 * (distance + np.linalg.slogdet(2 * np.pi * cov)[1]).mean()
    bound = page["bound"] - np.log(page["spread"]).sum()
    assert truth - 0.4 < bound < truth + 0.1


def test_the_widths_and_reconstructions_of_the_table_are_those_of_its_noise(page):
    model, test = page["table_vae"], page["test"]
    widths = model.likelihood.log_c.detach().exp().sqrt().numpy() * page["spread"]
    np.testing.assert_allclose(widths / np.array([1.0, 100.0, 0.01, 5.0, 3.0]), NOISE, rtol=0.35)
    rows = torch.tensor((test - page["mean"]) / page["spread"], dtype=torch.float32)
    with torch.no_grad():
        x_hat = model.decoder.logits(model.encode(rows)[0]).numpy() * page["spread"] + page["mean"]
    error = (x_hat - test).std(axis=0) / test.std(axis=0)
    assert error.max() < 0.4


def test_a_column_of_few_values_is_the_trap_that_the_page_names(page):
    from course_utils.training import fit
    from course_utils.vae import VAE, negative_elbo

    rng = np.random.default_rng(1)
    few = rng.integers(0, 2, size=(500, 1)) * 2.0 - 1
    torch.manual_seed(1)
    model = VAE(1, 16, 1, likelihood=page["FreeGaussian"](1))
    history = fit(model, negative_elbo, few, epochs=300, rate=0.02, progress=False)
    assert model.likelihood.log_c.item() < -3
    assert min(history.train) < history.train[40] - 0.5, "the last epochs are noisy: their best"


def test_the_page_streams_what_is_larger_than_the_memory_that_it_names(page):
    from course_utils.streaming import StreamedRows, rows_within
    from course_utils.training import evaluate, fit
    from course_utils.vae import VAE, negative_elbo

    pixels = page["pixels"]
    assert isinstance(pixels, np.memmap)
    rows = rows_within("x", pixels, page["large"], max_bytes=1_000_000)
    assert isinstance(rows, StreamedRows)
    torch.manual_seed(0)
    resident = VAE(400, 64, 8)
    fit(resident, negative_elbo, np.array(pixels), epochs=2, progress=False)
    assert evaluate(resident, negative_elbo, pixels[:500]) == evaluate(
        page["large"], negative_elbo, pixels[:500]
    )
    assert len(page["streamed_history"].train) == 2


def test_the_page_reads_a_folder_of_files_and_a_stopped_run_goes_on(page):
    assert len(page["long_history"].train) == 2 and len(list(page["folder"].glob("*.npy"))) == 10
    best = best_weights(page["checkpoint"])
    assert all(torch.equal(best[k], v) for k, v in page["long_run"].state_dict().items())
