"""The convolutional and the conditional VAE: shapes, structure, and the protocol of the others."""

import math
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from course_utils import evaluation  # noqa: E402
from course_utils.training import fit  # noqa: E402
from course_utils.vae import Gaussian, kl_divergence, negative_elbo, reparameterize  # noqa: E402
from course_utils.vae.conditional import ConditionalVAE, with_labels  # noqa: E402
from course_utils.vae.convolutional import (  # noqa: E402
    ConvDecoder,
    ConvEncoder,
    ConvVAE,
    feature_shape,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def count(module):
    return sum(p.numel() for p in module.parameters())


# The convolutional VAE ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("height", "width", "channels"), [(28, 28, (16, 32)), (12, 20, (3, 5)), (8, 16, (2, 3, 4))]
)
def test_rows_come_in_and_rows_of_the_same_length_go_out(height, width, channels):
    model = ConvVAE(height, width, latent_dim=6, channels=channels)
    x = torch.rand(7, height * width)
    recon_x, mu, logvar = model(x, generator())
    assert recon_x.shape == x.shape and mu.shape == logvar.shape == (7, 6)
    assert 0 <= recon_x.min() and recon_x.max() <= 1
    assert model.latent_dim == 6 and model.log_likelihood(x, mu).shape == (7,)


@pytest.mark.parametrize("image_channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("height", "width", "channels"), [(32, 32, (4, 8)), (12, 20, (5,)), (16, 8, (2, 3, 4))]
)
def test_images_of_several_channels_come_and_go_as_rows(height, width, channels, image_channels):
    options = {"channels": channels, "image_channels": image_channels}
    model = ConvVAE(height, width, latent_dim=6, **options)
    x = torch.rand(7, image_channels * height * width)
    recon_x, mu, logvar = model(x, generator())
    assert recon_x.shape == x.shape and mu.shape == logvar.shape == (7, 6)
    assert model.sizes == (x.shape[1], 6) and model.log_likelihood(x, mu).shape == (7,)
    grey = ConvVAE(height, width, latent_dim=6, channels=channels)
    more = (image_channels - 1) * 16 * channels[0]  # kernels that read, and kernels that paint
    assert count(model.encoder) - count(grey.encoder) == more
    assert count(model.decoder) - count(grey.decoder) == more + image_channels - 1


def test_one_channel_named_is_one_channel_by_default():
    models = []
    for options in ({}, {"image_channels": 1}):
        torch.manual_seed(5)
        models.append(ConvVAE(8, 12, channels=(2, 3), **options))
    for one, other in zip(*(m.state_dict().values() for m in models), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_row_holds_all_red_then_all_green_then_all_blue():
    """What each kernel reads: a picture of one colour gives what its kernel alone gives."""
    encoder = ConvEncoder(12, 20, 2, (3,), 3).double()
    picture = torch.rand(12, 20, generator=generator(), dtype=torch.float64)
    layer = encoder.features[1]
    for c in range(3):
        row = torch.zeros(1, 3, 12, 20, dtype=torch.float64)
        row[0, c] = picture
        expected = F.conv2d(
            picture[None, None], layer.weight[:, c : c + 1], layer.bias, stride=2, padding=1
        )
        torch.testing.assert_close(encoder.features[:2](row.reshape(1, -1)), expected)


def test_the_decoder_paints_each_channel_into_its_third_of_the_row():
    decoder = ConvDecoder(8, 12, 2, (3,), 3)
    with torch.no_grad():
        decoder.layers[-2].weight.zero_()
        decoder.layers[-2].bias.copy_(torch.tensor([-1.0, 0.0, 2.0]))
        image = decoder.logits(torch.zeros(1, 2))
    assert image.view(3, 96).unique(dim=1).flatten().tolist() == [-1.0, 0.0, 2.0]


@pytest.mark.parametrize("part", [ConvVAE, ConvEncoder, ConvDecoder])
@pytest.mark.parametrize("wrong", [0, -1, 2.5, "3", True, None, (3,)])
def test_image_channels_that_are_no_number_of_channels_are_refused(part, wrong):
    with pytest.raises(ValueError, match="image_channels must be .*, got "):
        part(8, 12, latent_dim=2, channels=(3,), image_channels=wrong)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "28", True, None])
def test_a_side_that_is_no_whole_number_is_refused(wrong):
    for name in ("height", "width"):
        with pytest.raises(ValueError, match=f"{name} must be .*, got "):
            ConvVAE(**{name: wrong})


def test_the_channels_of_the_image_given_for_those_of_the_maps_name_the_other_argument():
    with pytest.raises(ValueError, match=r"channels must be .*got int: 3; .* image_channels"):
        ConvVAE(28, 28, channels=3)


def test_the_default_has_a_sixth_of_the_parameters_of_the_dense_one():
    model = ConvVAE()
    encoder = 16 * 17 + 32 * (256 + 1) + 2 * 20 * (1568 + 1)
    decoder = 1568 * 21 + 16 * (512 + 1) + 256 + 1
    assert (count(model.encoder), count(model.decoder)) == (encoder, decoder)
    assert 5.7 < 652_824 / count(model) < 5.9


def test_height_and_width_are_where_they_belong():
    """Rolled down by two rows of an oblong image, the maps of the first layer move down by one."""
    encoder = ConvEncoder(12, 20, 2, (3,)).double()
    x = torch.rand(1, 12, 20, generator=generator(), dtype=torch.float64)

    def maps(image):
        return encoder.features[:2](image.flatten(1))[0]  # without the SiLU

    moved = maps(torch.roll(x, 2, dims=1))
    torch.testing.assert_close(moved[:, 2:-1], torch.roll(maps(x), 1, dims=1)[:, 2:-1])
    moved = maps(torch.roll(x, 2, dims=2))
    torch.testing.assert_close(moved[:, :, 2:-1], torch.roll(maps(x), 1, dims=2)[:, :, 2:-1])


def test_the_decoder_paints_rows_and_columns_where_they_belong():
    """One cell of the smallest maps reaches a 4 × 4 patch of an oblong image."""
    decoder = ConvDecoder(12, 20, 60, (1,))
    with torch.no_grad():
        decoder.layers[0].weight.copy_(torch.eye(60))
        decoder.layers[0].bias.zero_()
        decoder.layers[-2].weight.fill_(1.0)
        decoder.layers[-2].bias.zero_()
        code = torch.zeros(1, 60)
        code[0, 2 * 10 + 7] = 1.0  # row 2, column 7 of 6 × 10
        image = decoder.logits(code).view(12, 20)
    rows, columns = (torch.nonzero(image.abs().sum(dim=d)).flatten().tolist() for d in (1, 0))
    assert rows == [3, 4, 5, 6] and columns == [13, 14, 15, 16]


@pytest.mark.parametrize("size", [(27, 28), (28, 30), (2, 28)])
def test_a_size_that_cannot_be_halved_is_refused(size):
    with pytest.raises(ValueError, match="must be a multiple of 4"):
        ConvVAE(*size)


@pytest.mark.parametrize("channels", [(), (0,), (4, -1)])
def test_channels_out_of_range_are_refused(channels):
    with pytest.raises(ValueError, match="channels must be"):
        feature_shape(28, 28, channels)


def test_a_wrong_number_of_pixels_is_refused():
    with pytest.raises(ValueError, match="x must have shape"):
        ConvVAE(12, 20)(torch.rand(3, 784))
    with pytest.raises(ValueError, match=r"x must have shape \(n, 720\), got \(3, 240\)"):
        ConvVAE(12, 20, image_channels=3)(torch.rand(3, 240))


def test_the_likelihood_is_exchanged_like_in_the_dense_one():
    model, x = ConvVAE(8, 8, channels=(2,), likelihood=Gaussian(0.1)), torch.rand(5, 64)
    z = torch.randn(5, 20, generator=generator())
    error = (x - model.decode(z)).square().sum(dim=1)
    expected = -error / 0.2 - 32 * math.log(2 * math.pi * 0.1)
    torch.testing.assert_close(model.log_likelihood(x, z), expected)
    assert not model.needs_unit_range and ConvVAE(8, 8).needs_unit_range


def test_every_parameter_gets_a_gradient():
    for model, x in (
        (ConvVAE(8, 12, channels=(3, 4)), torch.rand(50, 96)),
        (
            ConvVAE(8, 12, channels=(3,), image_channels=3, likelihood=Gaussian(learned=True)),
            torch.rand(50, 288),
        ),
        (ConditionalVAE(96, 9, 3, n_classes=4), torch.rand(50, 100)),
    ):
        negative_elbo(model, x, generator()).backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


# The conditional VAE --------------------------------------------------------------------------
def labelled(n=40, d=12, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (n, d)).astype(np.float32), rng.integers(0, n_classes, n)


def test_labels_stand_behind_the_image_in_the_column_of_their_class():
    x, y = labelled(n_classes=3)
    rows = with_labels(x, y, 5)
    assert rows.shape == (40, 17) and rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:, :12], x)
    np.testing.assert_array_equal(rows[:, 12:], np.eye(5)[y])


@pytest.mark.parametrize("y", [np.array([0, 3]), np.array([-1, 0]), np.array([0.5, 1.0])])
def test_labels_that_are_no_classes_are_refused(y):
    with pytest.raises(ValueError, match="y must be whole numbers from 0 to 2"):
        with_labels(np.zeros((2, 4)), y, 3)


def test_as_many_labels_as_images():
    with pytest.raises(ValueError, match="y must have shape"):
        with_labels(np.zeros((2, 4)), np.array([0]), 3)


@pytest.mark.parametrize("sizes", [(12, 3), (12, 0, 3)])
def test_sizes_out_of_range_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes must be"):
        ConditionalVAE(*sizes)


def test_the_bound_is_the_cross_entropy_of_the_image_alone_and_the_kl():
    x, y = labelled()
    model, rows = ConditionalVAE(12, 8, 2, n_classes=3), torch.from_numpy(with_labels(x, y, 3))
    recon_x, mu, logvar = model(rows, generator(3))
    assert recon_x.shape == (40, 12)
    z = reparameterize(mu, logvar, generator(3))
    torch.testing.assert_close(model.generate(torch.from_numpy(y), z), recon_x)
    error = F.binary_cross_entropy(recon_x, torch.from_numpy(x), reduction="none").sum(dim=1)
    expected = (error + kl_divergence(mu, logvar)).mean()
    torch.testing.assert_close(negative_elbo(model, rows, generator(3)), expected)


def test_encoder_and_decoder_are_told_the_class():
    # Of few hidden units, all that see a label may be off at an image of zeros: chance, no fault.
    model = ConditionalVAE(12, 64, 2, n_classes=3)
    x = np.zeros((3, 12))
    mu, _ = model.encode(torch.from_numpy(with_labels(x, np.arange(3), 3)))
    images = model.generate(torch.arange(3), torch.zeros(3, 2))
    for part in (mu, images):
        assert torch.pdist(part).min() > 1e-4


@pytest.mark.parametrize(
    ("y", "z"), [(torch.zeros(3, 1).long(), torch.zeros(3, 2)), (torch.arange(3), torch.ones(3, 5))]
)
def test_shapes_that_do_not_fit_are_refused(y, z):
    with pytest.raises(ValueError, match="must have shape"):
        ConditionalVAE(12, 8, 2, n_classes=3).generate(y, z)


def test_a_row_without_its_label_is_refused():
    with pytest.raises(ValueError, match="rows must have shape"):
        ConditionalVAE(12, 8, 2, n_classes=3).encode(torch.zeros(4, 12))


def test_a_class_that_is_all_the_image_says_is_drawn_on_request():
    """Images that are their class: after training, each request is answered, whatever the code."""
    torch.manual_seed(0)
    y = np.arange(300) % 3
    x = np.eye(3, dtype=np.float32)[y].repeat(4, axis=1)
    model = ConditionalVAE(12, 16, 2, n_classes=3)
    fit(model, negative_elbo, with_labels(x, y, 3), epochs=40, rate=1e-2, progress=False)
    asked = torch.arange(3).repeat(100)
    place = next(model.parameters()).device
    z = torch.randn(300, 2, generator=generator()).to(place)
    with torch.no_grad():
        images = model.generate(asked.to(place), z).cpu()
    np.testing.assert_array_equal(images > 0.5, np.eye(3)[asked].repeat(4, axis=1))
    bound = evaluation.elbo(model, with_labels(x, y, 3))
    assert bound.value > -0.7 and bound.rate < 0.3  # nothing is left for the code to say


def test_fit_and_evaluation_take_both_with_a_smaller_last_batch():
    x, y = labelled(n=50, d=64, n_classes=10)
    for model, rows in (
        (ConvVAE(8, 8, channels=(3,), latent_dim=2), x),
        (ConditionalVAE(64, 8, 2), with_labels(x, y)),
    ):
        history = fit(
            model, partial(negative_elbo, beta=2.0), rows, epochs=2, batch_size=16, progress=False
        )
        assert np.isfinite(history.train).all()
        assert evaluation.elbo(model, rows).values.shape == (50,)
        assert evaluation.importance_weighted_bound(model, rows, samples=3).shape == (50,)
        assert evaluation.active_units(model, rows).shape == (2,)


def test_the_conditional_decoder_mirrors_the_encoder():
    model = ConditionalVAE(12, 8, 5, 2, n_classes=3)
    decoder = [tuple(p.shape) for p in model.decoder.parameters() if p.ndim == 2]
    assert decoder == [(5, 2 + 3), (8, 5), (12, 8)]


def test_one_class_is_enough_and_none_is_not():
    assert ConditionalVAE(6, 4, 2, n_classes=1).n_classes == 1
    assert with_labels(torch.zeros(2, 3), torch.tensor([0, 0]), n_classes=1).shape == (2, 4)
    for call in (
        lambda: ConditionalVAE(6, 4, 2, n_classes=0),
        lambda: with_labels(torch.zeros(2, 3), torch.tensor([0, 0]), n_classes=0),
    ):
        with pytest.raises(ValueError, match="n_classes"):
            call()
    with pytest.raises(ValueError, match=r"^sizes must be three or more .* got tuple: \(6, 2\)"):
        ConditionalVAE(6, 2)


def test_an_image_of_one_row_is_refused_for_its_halves_and_not_as_too_small():
    for height, width in ((1, 4), (4, 1)):
        with pytest.raises(ValueError, match="multiple of 2"):
            feature_shape(height, width, (3,))
