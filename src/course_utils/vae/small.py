"""What every VAE needs, and the small one of chapter 10."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.arguments import named_errors
from course_utils.autoencoders.vanilla import mlp
from course_utils.shapes import expect_shapes, expect_sizes


def reparameterize(mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw one code for each row, in a way that lets gradients pass. Defined in chapter 10.

    z = mu + exp(logvar / 2) ⊙ ε with ε ~ N(0, I), a fresh number for each entry. The factor is the
    standard deviation, not the variance.

    Args:
        mu, logvar: (n, k).
        generator: of the noise, on the device of ``mu``; None for PyTorch's own.

    Returns:
        (n, k). ∂z/∂mu = 1 and ∂z/∂logvar = ½ exp(logvar / 2) ε.

    Raises:
        ValueError: the shapes do not fit.

    Source:
        Kingma and Welling (2014), https://arxiv.org/abs/1312.6114; Rezende, Mohamed and Wierstra
        (2014), https://arxiv.org/abs/1401.4082.
    """
    expect_shapes("n k, n k", mu=mu, logvar=logvar)
    eps = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return mu + torch.exp(logvar / 2) * eps


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Compute KL(N(mu, diag(exp(logvar))) ‖ N(0, I)), for each row. Defined in chapter 10.

    ½ Σ_j [mu_j² + exp(logvar_j) − 1 − logvar_j], a sum over the row, in nats. The same as
    ``gaussians.kl_to_standard_normal``, for tensors.

    Args:
        mu, logvar: (n, k).

    Returns:
        (n,) nats, at least 0; 0 only where mu = 0 and logvar = 0.

    Raises:
        ValueError: the shapes do not fit.
    """
    expect_shapes("n k, n k", mu=mu, logvar=logvar)
    return 0.5 * (mu**2 + torch.exp(logvar) - 1 - logvar).sum(dim=1)


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


def negative_elbo(
    model: nn.Module, x: Tensor, generator: torch.Generator | None = None, *, beta: float = 1.0
) -> Tensor:
    """Compute the mean over rows of −ln p(x|z) + beta · KL, in nats. Defined in chapter 10.

    Each row gets one sampled code z. Both terms are sums, over the numbers of the sample and of the
    code. With beta = 1 the expectation is minus the evidence lower bound of chapter 11.

    Args:
        model: with ``encode`` to (mu, logvar), and ``log_likelihood``.
        x: (n, …); in [0, 1] where ``model.needs_unit_range``: ``training.fit`` checks that once for
            the whole data set.
        generator: of the noise.
        beta: weight of the KL, at least 0.

    Returns:
        One number.
    """
    mu, logvar = model.encode(x)
    z = reparameterize(mu, logvar, generator)
    return (beta * kl_divergence(mu, logvar) - model.log_likelihood(x, z)).mean()


named_errors(globals())
