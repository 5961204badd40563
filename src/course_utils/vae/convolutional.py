"""The convolutional VAE of chapter 17: flat rows outside, images inside."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.shapes import expect_sizes, expect_whole
from course_utils.vae.dense import VAE
from course_utils.vae.likelihoods import Bernoulli


class ConvEncoder(nn.Module):
    """Map a flat image to the distribution of its code. Defined in chapter 17.

    Each convolution has a 4 × 4 kernel, stride 2 and padding 1: it halves height and width. A SiLU
    follows each. Two dense heads without any, ``fc_mu`` and ``fc_logvar``, read the last maps.
    """

    def __init__(self, height: int, width: int, latent_dim: int, channels: Sequence[int]) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            height, width: of the image, each a multiple of 2 to the number of convolutions.
            latent_dim: numbers in a code, at least 1.
            channels: maps after each convolution, at least one number.

        Raises:
            ValueError: an argument is out of its range.
        """
        super().__init__()
        n_features = math.prod(feature_shape(height, width, channels))
        layers: list[nn.Module] = [nn.Unflatten(1, (1, height, width))]  # (n, d) -> (n, 1, h, w)
        for c_in, c_out in pairwise((1, *channels)):
            layers += [nn.Conv2d(c_in, c_out, 4, stride=2, padding=1), nn.SiLU()]
        self.features = nn.Sequential(*layers, nn.Flatten())  # … -> (n, n_features)
        self.fc_mu = nn.Linear(n_features, latent_dim)
        self.fc_logvar = nn.Linear(n_features, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mu and logvar: (n, height · width) -> (n, k), (n, k)."""
        h = self.features(x)
        return self.fc_mu(h), self.fc_logvar(h)


class ConvDecoder(nn.Module):
    """Map a code to a flat image: ``ConvEncoder`` mirrored. Defined in chapter 17.

    A dense layer makes the smallest maps. Each transposed convolution, with a SiLU before it,
    doubles height and width; the last one gives one number a pixel, the logit.
    """

    def __init__(self, height: int, width: int, latent_dim: int, channels: Sequence[int]) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            height, width, latent_dim, channels: as in ``ConvEncoder``, channels in its order.

        Raises:
            ValueError: an argument is out of its range.
        """
        super().__init__()
        maps = feature_shape(height, width, channels)
        layers: list[nn.Module] = [nn.Linear(latent_dim, math.prod(maps)), nn.Unflatten(1, maps)]
        for c_in, c_out in pairwise((*reversed(channels), 1)):
            layers += [nn.SiLU(), nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers, nn.Flatten())  # (n, 1, h, w) -> (n, d) at the end

    def logits(self, z: Tensor) -> Tensor:
        """Compute the last layer before the sigmoid: (n, k) -> (n, height · width)."""
        return self.layers(z)

    def forward(self, z: Tensor) -> Tensor:
        """Decode: (n, k) -> (n, height · width), in [0, 1]."""
        return torch.sigmoid(self.logits(z))


class ConvVAE(VAE):
    """Chapter 13's VAE with convolutions in place of dense layers. Defined in chapter 17.

    Images come and go as flat rows, pixels in reading order, as for the dense one.
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
        likelihood: nn.Module | None = None,
    ) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            height, width: of the image, each a multiple of 2 to the number of convolutions.
            latent_dim: numbers in a code, at least 1.
            channels: maps after each convolution of the encoder; the decoder mirrors them.
            likelihood: ``Bernoulli()`` (the default), ``Gaussian(…)`` or ``Laplace(…)``.

        Raises:
            ValueError: an argument is out of its range.
        """
        nn.Module.__init__(self)  # not VAE's: that would build its dense layers
        self.sizes, self.latent_dim = (height * width, latent_dim), latent_dim
        self.encoder = ConvEncoder(height, width, latent_dim, channels)
        self.decoder = ConvDecoder(height, width, latent_dim, channels)
        self.likelihood = likelihood or Bernoulli()


def feature_shape(height: int, width: int, channels: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of the encoder's last maps: channels, height, width.

    Raises:
        ValueError: ``channels`` is empty or holds a number below 1; ``height`` or ``width`` is no
            positive multiple of 2 to the number of channels.

    >>> feature_shape(28, 20, (16, 32))
    (32, 7, 5)
    """
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
