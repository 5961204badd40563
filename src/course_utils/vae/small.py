"""The small VAE of chapter 10."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.arguments import named_errors
from course_utils.autoencoders.vanilla import mlp
from course_utils.shapes import expect_shapes, expect_sizes
from course_utils.vae.elbo import reparameterize


class SmallVAE(nn.Module):
    """An autoencoder whose encoder has two heads, a mean and a width. Defined in chapter 10.

    ``SmallVAE((10, 5, 2))`` is 10 → 5 → (2, 2) → 5 → 10 with ReLU on the hidden layers, none on the
    heads. The second head computes any number a, and σ = positive(a).
    """

    needs_unit_range = True

    def __init__(
        self, sizes: Sequence[int], *, positive: Callable[[Tensor], Tensor] = F.softplus
    ) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            sizes: of the input, the hidden layers of the encoder and the code; the decoder mirrors
                them. At least three, each at least 1.
            positive: makes σ of any number, entry by entry. Its values must be above 0.

        Raises:
            ValueError: fewer than three sizes, or one below 1.
        """
        super().__init__()
        expect_sizes("sizes", sizes, 3)
        self.sizes, self.positive = tuple(sizes), positive
        self.body = nn.Sequential(mlp(sizes[:-1]), nn.ReLU())
        self.to_mu = nn.Linear(*sizes[-2:])
        self.to_sigma = nn.Linear(*sizes[-2:])
        self.decoder = mlp(sizes[::-1])

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map data (n, d) to the distributions of their codes: mu and logvar, (n, k) each."""
        expect_shapes(f"n {self.sizes[0]}", x=x)
        h = self.body(x)
        return self.to_mu(h), 2 * torch.log(self.positive(self.to_sigma(h)))

    def logits(self, z: Tensor) -> Tensor:
        """Map codes (n, k) to the decoder's last layer, (n, d), before the sigmoid."""
        return self.decoder(z)

    def decode(self, z: Tensor) -> Tensor:
        """Map codes (n, k) to a probability for each pixel, (n, d)."""
        return torch.sigmoid(self.logits(z))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Compute ln p(x|z) = Σ_j [x_j ln p_j + (1 − x_j) ln(1 − p_j)], (n, d), (n, k) -> (n,).

        In nats, a sum over pixels, from logits; ``x`` in [0, 1].
        """
        logits = self.logits(z)
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)

    def forward(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct from one sampled code a row: (n, d) -> x_hat (n, d), mu, logvar (n, k)."""
        mu, logvar = self.encode(x)
        return self.decode(reparameterize(mu, logvar, generator)), mu, logvar


named_errors(globals())
