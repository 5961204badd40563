"""The dense VAE of chapter 13, shallow or deep."""

import torch
from torch import Tensor, nn
from torch.nn import Module

from course_utils.arguments import named_errors
from course_utils.shapes import expect_shapes, expect_sizes
from course_utils.vae.elbo import reparameterize
from course_utils.vae.likelihoods import Bernoulli


class Encoder(Module):
    """Map an image to the distribution of its code. Defined in chapter 13.

    ``Encoder(784, 400, 20)`` is 784 → 400 → (20, 20): hidden layers with an activation after each,
    then two heads without any, ``fc_mu`` and ``fc_logvar``.
    """

    def __init__(self, *sizes: int, activation: type[Module] = nn.ReLU) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            sizes: of the image, the hidden layers and the code; at least three, each at least 1.
            activation: of the hidden layers.

        Raises:
            ValueError: fewer than three sizes, or one below 1.
        """
        super().__init__()
        self.hidden = hidden_layers(sizes, activation)
        self.fc_mu = nn.Linear(*sizes[-2:])
        self.fc_logvar = nn.Linear(*sizes[-2:])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mu and logvar: (n, d) -> (n, k), (n, k)."""
        h = self.hidden(x)
        return self.fc_mu(h), self.fc_logvar(h)


class Decoder(Module):
    """Map a code to an image. Defined in chapter 13.

    ``Decoder(20, 400, 784)`` is 20 → 400 → 784, a sigmoid on the last layer. Losses use ``logits``,
    what the sigmoid gets: its logarithm is then never that of a rounded 0.
    """

    def __init__(self, *sizes: int, activation: type[Module] = nn.ReLU) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            sizes: of the code, the hidden layers and the image; at least three, each at least 1.
            activation: of the hidden layers.

        Raises:
            ValueError: fewer than three sizes, or one below 1.
        """
        super().__init__()
        self.hidden = hidden_layers(sizes, activation)
        self.fc_out = nn.Linear(*sizes[-2:])

    def logits(self, z: Tensor) -> Tensor:
        """Compute the last layer before the sigmoid: (n, k) -> (n, d), any numbers."""
        return self.fc_out(self.hidden(z))

    def forward(self, z: Tensor) -> Tensor:
        """Decode: (n, k) -> (n, d), in [0, 1]."""
        return torch.sigmoid(self.logits(z))


class VAE(Module):
    """A variational autoencoder of dense layers. Defined in chapter 13.

    ``VAE()`` is 784 → 400 → (20, 20), 20 → 400 → 784; ``VAE(784, 128, 64, 20)`` has two hidden
    layers on either side. Its loss is ``negative_elbo``. ``latent_dim`` is k.
    """

    def __init__(
        self, *sizes: int, likelihood: Module | None = None, activation: type[Module] = nn.ReLU
    ) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            sizes: of the image, the encoder's hidden layers and the code; the decoder mirrors them.
                None stands for 784, 400, 20.
            likelihood: ``Bernoulli()`` (the default), ``Gaussian(…)`` or ``Laplace(…)``.
            activation: of the hidden layers.

        Raises:
            ValueError: one or two sizes, or one below 1.
        """
        super().__init__()
        self.sizes = sizes or (784, 400, 20)
        self.latent_dim = self.sizes[-1]
        self.encoder = Encoder(*self.sizes, activation=activation)
        self.decoder = Decoder(*self.sizes[::-1], activation=activation)
        self.likelihood = likelihood or Bernoulli()

    @property
    def needs_unit_range(self) -> bool:
        """Whether pixels must lie in [0, 1]."""
        return self.likelihood.needs_unit_range

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images to the distributions of their codes: (n, d) -> mu, logvar, (n, k) each."""
        expect_shapes(f"n {self.sizes[0]}", x=x)
        return self.encoder(x)

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw one code for each row: (n, k), (n, k) -> (n, k)."""
        return reparameterize(mu, logvar, generator)

    def decode(self, z: Tensor) -> Tensor:
        """Map codes to images: (n, k) -> (n, d), in [0, 1]."""
        return self.decoder(z)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Compute ln p(x|z): (n, d), (n, k) -> (n,) nats, a sum over pixels, constants included."""
        return self.likelihood.log_prob(x, self.decoder.logits(z))

    def forward(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct from one drawn code a row: (n, d) -> recon_x (n, d), mu, logvar (n, k)."""
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar, generator)), mu, logvar


def hidden_layers(sizes: tuple[int, ...], activation: type[Module]) -> nn.Sequential:
    """Stack all dense layers but the last, an activation after each: (n, d) -> (n, sizes[-2]).

    Raises:
        ValueError: fewer than three sizes, or one below 1.
    """
    expect_sizes("sizes", sizes, 3)
    layers: list[Module] = []
    for d_in, d_out in zip(sizes[:-2], sizes[1:-1], strict=True):
        layers += [nn.Linear(d_in, d_out), activation()]
    return nn.Sequential(*layers)


named_errors(globals())
