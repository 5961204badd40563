"""Broken VAEs that only the tests of ``diagnose`` use: relatives of the patients of chapter 15."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.vae.dense import VAE


class DetachedWidth(VAE):
    """A width that the reconstruction cannot move."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw with a width that is a number."""
        return mu + (super().reparameterize(mu, logvar, generator) - mu).detach()


class OneNoiseForAll(VAE):
    """One row of noise for all rows."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw (k,)."""
        return mu + torch.exp(logvar / 2) * torch.randn(mu.shape[1], generator=generator)


class SameNoise(VAE):
    """Seeded at every call."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw the same numbers again."""
        return super().reparameterize(mu, logvar, torch.Generator().manual_seed(0))


class UniformNoise(VAE):
    """rand for randn."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw between 0 and 1."""
        return mu + torch.exp(logvar / 2) * torch.rand(mu.shape, generator=generator)


class LogvarAsWidth(VAE):
    """The head's number itself as the width."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw with a width that may be negative."""
        return mu + logvar * torch.randn(mu.shape, generator=generator)


class NoWidth(VAE):
    """σ ignored."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw with width one."""
        return mu + torch.randn(mu.shape, generator=generator)


class NoNoise(VAE):
    """A plain autoencoder with a KL."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean."""
        return mu


class MeanAtEvaluation(VAE):
    """Draws in training only: its test "ELBO" is none."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw, or not."""
        return super().reparameterize(mu, logvar, generator) if self.training else mu


class ReluOnSigma(VAE):
    """Widths of exactly zero."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode; σ is a ReLU of the head."""
        mu, a = super().encode(x)
        return mu, 2 * torch.log(torch.relu(a))


class SoftplusOnMean(VAE):
    """Never negative, and never zero."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode; every mean is above zero."""
        mu, logvar = super().encode(x)
        return F.softplus(mu), logvar


class AveragedLikelihood(VAE):
    """A mean over pixels inside the model."""

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Compute the cross-entropy per pixel."""
        return super().log_likelihood(x, z) / x.shape[1]


class LinearDecoder(VAE):
    """A nonlinear encoder, a decoder of one matrix."""

    def __init__(self, *sizes: int) -> None:
        """Build the VAE, then take the activations out of the decoder."""
        super().__init__(*sizes)
        self.decoder.hidden = nn.Sequential(
            *(part for part in self.decoder.hidden if isinstance(part, nn.Linear))
        )


class DropoutForEver(VAE):
    """Dropout that does not know the mode."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a thinned image."""
        return super().encode(F.dropout(x, 0.1, training=True))


def kl_without_half(mu: Tensor, logvar: Tensor) -> Tensor:
    """Forget the ½."""
    return (mu**2 + torch.exp(logvar) - 1 - logvar).sum(dim=1)


def kl_averaged(mu: Tensor, logvar: Tensor) -> Tensor:
    """Take the mean over code numbers."""
    return 0.5 * (mu**2 + torch.exp(logvar) - 1 - logvar).mean(dim=1)


def kl_with_plus_logvar(mu: Tensor, logvar: Tensor) -> Tensor:
    """Turn one sign."""
    return 0.5 * (mu**2 + torch.exp(logvar) - 1 + logvar).sum(dim=1)


def kl_over_everything(mu: Tensor, logvar: Tensor) -> Tensor:
    """Sum over rows too."""
    return 0.5 * (mu**2 + torch.exp(logvar) - 1 - logvar).sum()


def mean_against_mean(
    model: VAE, x: Tensor, generator: torch.Generator | None = None, *, beta: float = 1.0
) -> Tensor:
    """Average the squared error over pixels and the KL over code numbers."""
    recon_x, mu, logvar = model(x, generator)
    return F.mse_loss(recon_x, x) + beta * kl_averaged(mu, logvar).mean()
