"""The convolutional VAE of chapter 17: flat rows outside, images inside."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.shapes import expect_sizes, expect_whole, shown
from course_utils.vae.dense import VAE
from course_utils.vae.likelihoods import Bernoulli


class ConvEncoder(nn.Module):
    """Map a flat image to the distribution of its code. Defined in chapter 17.

    Each convolution has a 4 × 4 kernel, stride 2 and padding 1: it halves height and width. A SiLU
    follows each. Two dense heads without any, ``fc_mu`` and ``fc_logvar``, read the last maps.
    """

    def __init__(
        self,
        height: int,
        width: int,
        latent_dim: int,
        channels: Sequence[int],
        image_channels: int = 1,
    ) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            height, width: of the image, each a multiple of 2 to the number of convolutions.
            latent_dim: numbers in a code, at least 1.
            channels: maps after each convolution, at least one number.
            image_channels: of the image, 1 for grey, 3 for colour.

        Raises:
            ValueError: an argument is out of its range.
        """
        super().__init__()
        n_features = math.prod(feature_shape(height, width, channels))
        expect_whole("image_channels", image_channels, 1)
        # (n, d) -> (n, image_channels, h, w)
        layers: list[nn.Module] = [nn.Unflatten(1, (image_channels, height, width))]
        for c_in, c_out in pairwise((image_channels, *channels)):
            layers += [nn.Conv2d(c_in, c_out, 4, stride=2, padding=1), nn.SiLU()]
        self.features = nn.Sequential(*layers, nn.Flatten())  # … -> (n, n_features)
        self.fc_mu = nn.Linear(n_features, latent_dim)
        self.fc_logvar = nn.Linear(n_features, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mu and logvar: (n, d) -> (n, k), (n, k), d = image_channels · height · width."""
        h = self.features(x)
        return self.fc_mu(h), self.fc_logvar(h)


class ConvDecoder(nn.Module):
    """Map a code to a flat image: ``ConvEncoder`` mirrored. Defined in chapter 17.

    A dense layer makes the smallest maps. Each transposed convolution, with a SiLU before it,
    doubles height and width; the last one gives one number a pixel and channel of the image, the
    logit.
    """

    def __init__(
        self,
        height: int,
        width: int,
        latent_dim: int,
        channels: Sequence[int],
        image_channels: int = 1,
    ) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            height, width, latent_dim, channels, image_channels: as in ``ConvEncoder``, channels in
                its order.

        Raises:
            ValueError: an argument is out of its range.
        """
        super().__init__()
        maps = feature_shape(height, width, channels)
        expect_whole("image_channels", image_channels, 1)
        layers: list[nn.Module] = [nn.Linear(latent_dim, math.prod(maps)), nn.Unflatten(1, maps)]
        for c_in, c_out in pairwise((*reversed(channels), image_channels)):
            layers += [nn.SiLU(), nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers, nn.Flatten())  # … -> (n, d) at the end

    def logits(self, z: Tensor) -> Tensor:
        """Compute the last layer before the sigmoid: (n, k) -> (n, d)."""
        return self.layers(z)

    def forward(self, z: Tensor) -> Tensor:
        """Decode: (n, k) -> (n, d), in [0, 1]."""
        return torch.sigmoid(self.logits(z))


class ConvVAE(VAE):
    """Chapter 13's VAE with convolutions in place of dense layers. Defined in chapter 17.

    Images come and go as flat rows, pixels in reading order, as for the dense one; of an image in
    colour first all its red, then all green, then all blue, as ``data.images`` loads them.
    """

    encoder: nn.Module
    decoder: nn.Module

    def __init__(
        self,
        height: int = 28,
        width: int = 28,
        *,
        latent_dim: int = 20,
        channels: Sequence[int] = (16, 32),
        image_channels: int = 1,
        likelihood: nn.Module | None = None,
    ) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            height, width: of the image, each a multiple of 2 to the number of convolutions.
            latent_dim: numbers in a code, at least 1.
            channels: maps after each convolution of the encoder; the decoder mirrors them.
            image_channels: of the image, 1 for grey, 3 for colour.
            likelihood: ``Bernoulli()`` (the default), ``Gaussian(…)`` or ``Laplace(…)``.

        Raises:
            ValueError: an argument is out of its range.
        """
        nn.Module.__init__(self)  # not VAE's: that would build its dense layers
        self.encoder = ConvEncoder(height, width, latent_dim, channels, image_channels)
        self.decoder = ConvDecoder(height, width, latent_dim, channels, image_channels)
        self.sizes, self.latent_dim = (image_channels * height * width, latent_dim), latent_dim
        self.likelihood = likelihood or Bernoulli()


def feature_shape(height: int, width: int, channels: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of the encoder's last maps: their number, height, width.

    Raises:
        ValueError: ``channels`` is empty or holds a number below 1; ``height`` or ``width`` is no
            positive multiple of 2 to the number of channels.

    >>> feature_shape(28, 20, (16, 32))
    (32, 7, 5)
    """
    if isinstance(channels, int):
        raise ValueError(
            "channels must be the numbers of maps after each convolution, such as (16, 32), got"
            f" {shown(channels)}; the channels of the image itself are image_channels"
        )
    expect_sizes("channels", channels, 1)
    expect_whole("height", height, 1)
    expect_whole("width", width, 1)
    factor = 2 ** len(channels)
    for name, size in (("height", height), ("width", width)):
        if size % factor:
            raise ValueError(
                f"{name} must be a multiple of {factor}: {len(channels)} convolutions halve it"
                f" each; got {size}"
            )
    return channels[-1], height // factor, width // factor


named_errors(globals())
