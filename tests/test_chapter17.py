"""The exercises of chapter 17: a right answer by another road passes, and the answers agree."""

import numpy as np
import pytest

from course_utils.exercises import check
from course_utils.exercises.answers import find

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from course_utils.vae.conditional import with_labels  # noqa: E402
from course_utils.vae.convolutional import ConvVAE  # noqa: E402


def said(capsys, number, *answer):
    check(number, *answer)
    return capsys.readouterr().out


def sizes_by_library(size, kernel, stride, padding):
    options = {"stride": stride, "padding": padding}
    row = torch.zeros(1, 1, size)
    layers = nn.Conv1d(1, 1, kernel, **options), nn.ConvTranspose1d(1, 1, kernel, **options)
    return tuple(layer(row).shape[2] for layer in layers)


def count_by_building(height, width, latent_dim, channels):
    model = ConvVAE(height, width, latent_dim=latent_dim, channels=channels)
    return tuple(
        sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.decoder)
    )


def transposed_by_zeros(y, w, stride, padding):
    """Spread the input with zeros between, and convolve."""
    spread = np.zeros((len(y) - 1) * stride + 1)
    spread[::stride] = y
    full = np.convolve(spread, w)
    return full[padding : len(full) - padding]


def elbo_by_gap(x, y, prior, p_x, q):
    """ln p(x|y) less the KL to the exact posterior."""
    joint = prior * p_x[y, :, x]
    evidence = joint.sum()
    return np.log(evidence) - q @ np.log(q * evidence / joint), np.log(evidence)


OTHER_ROADS = {
    "17.1": sizes_by_library,
    "17.2": count_by_building,
    "17.3": transposed_by_zeros,
    "17.4": with_labels,
    "17.5": elbo_by_gap,
    "17.6": lambda images: np.stack([i.flatten(order="F").reshape(i.shape) for i in images]),
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    assert said(capsys, number, OTHER_ROADS[number]).startswith(f"✓ {number} is right")


@pytest.mark.parametrize("case", find("17.3").cases())
def test_the_transposed_convolution_is_the_librarys_and_the_transpose(case):
    y, w, stride, padding = case.values()
    ours = find("17.3").solution[0](y, w, stride, padding)
    options = {"stride": stride, "padding": padding}
    kernel = torch.from_numpy(w)[None, None]
    library = F.conv_transpose1d(torch.from_numpy(y)[None, None], kernel, **options)[0, 0]
    np.testing.assert_allclose(ours, library)
    x = np.random.default_rng(0).normal(size=len(ours))
    down = F.conv1d(torch.from_numpy(x)[None, None], kernel, **options)[0, 0]
    np.testing.assert_allclose(down @ torch.from_numpy(y), x @ ours)


@pytest.mark.parametrize("case", find("17.5").cases())
def test_the_conditional_bound_is_below_and_tight_at_the_posterior(case):
    answer = find("17.5").solution[0]
    x, y, prior, p_x, q = case.values()
    bound, evidence = answer(x, y, prior, p_x, q)
    assert bound < evidence
    joint = prior * p_x[y, :, x]
    np.testing.assert_allclose(answer(x, y, prior, p_x, joint / joint.sum())[0], evidence)


def test_a_swapped_reshape_of_a_square_image_is_its_mirror_image():
    images = np.random.default_rng(0).random((2, 5, 5))
    np.testing.assert_array_equal(find("17.6").solution[0](images), images.transpose(0, 2, 1))
