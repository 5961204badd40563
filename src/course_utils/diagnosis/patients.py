"""The broken VAEs of chapter 15: each is the healthy one with one wrong line.

``PATIENTS`` holds the twelve of the chapter; the relatives that it shows come after it. Nothing but
the chapter and the tests should import them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.training import Loss
from course_utils.vae.dense import VAE
from course_utils.vae.elbo import kl_divergence


def vae_loss(
    model: VAE,
    x: Tensor,
    generator: torch.Generator | None = None,
    *,
    kl: Callable[[Tensor, Tensor], Tensor] = kl_divergence,
) -> Tensor:
    """Compute ``negative_elbo`` with the model's own sampler and any KL. Defined in chapter 15."""
    mu, logvar = model.encode(x)
    z = model.reparameterize(mu, logvar, generator)
    return kl(mu, logvar).mean() - model.log_likelihood(x, z).mean()


# The twelve -------------------------------------------------------------------------------------
class VarianceAsWidth(VAE):
    """Patient 1: the noise is scaled by the variance."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw with the wrong width."""
        return mu + torch.exp(logvar) * torch.randn(mu.shape, generator=generator)


def kl_in_two_units(mu: Tensor, logvar: Tensor) -> Tensor:
    """Patient 2: a logarithm to base 2 among natural ones."""
    variance = torch.exp(logvar)
    return 0.5 * (mu**2 + variance - 1 - torch.log2(variance)).sum(dim=1)


class ReluOnMean(VAE):
    """Patient 3: an activation on the head."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode; no mean is below zero."""
        mu, logvar = super().encode(x)
        return torch.relu(mu), logvar


def kl_without_its_minus(mu: Tensor, logvar: Tensor) -> Tensor:
    """Patient 4: −½ Σ (1 + logvar − mu² − σ²) has lost its first sign."""
    return 0.5 * (1 + logvar - mu**2 - torch.exp(logvar)).sum(dim=1)


def mean_against_sum(model: VAE, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Patient 5: the library's default is a mean, over pixels too."""
    recon_x, mu, logvar = model(x, generator)
    return F.binary_cross_entropy(recon_x, x) + kl_divergence(mu, logvar).mean()


def kl_down_the_rows(mu: Tensor, logvar: Tensor) -> Tensor:
    """Patient 6: the sum over images, so that ``.mean()`` is over code numbers."""
    return 0.5 * (mu**2 + torch.exp(logvar) - 1 - logvar).sum(dim=0)


class NoSigmoid(VAE):
    """Patient 8: the cross-entropy of numbers that are no probabilities."""

    def decode(self, z: Tensor) -> Tensor:
        """Decode to any numbers."""
        return self.decoder.logits(z)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Compute the cross-entropy of what is left after a cut."""
        p = self.decode(z).clamp(1e-6, 1 - 1e-6)  # "so that the logarithm does not complain"
        return -F.binary_cross_entropy(p, x, reduction="none").sum(dim=1)


class DrawnReconstruction(VAE):
    """Patient 9: asked for a reconstruction, it draws."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """Reconstruct from one draw, another one at each call."""
        return self(x)[0]


class Forgetful(torch.optim.Adam):
    """Patient 10: gradients add up from step to step."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget to do it."""


class AnyRange(VAE):
    """Patient 11: pixels in the units of the file, 0 … 16, and the check of the range silenced."""

    needs_unit_range = False


class SeesThePixels(VAE):
    """Patient 12: each pixel is predicted from the code and from all pixels before it."""

    def __init__(self, *sizes: int, n_units: int = 1024) -> None:
        """Build the VAE, and a hidden layer whose unit h sees the pixels up to last[h] only."""
        super().__init__(*sizes)
        d = sizes[0]
        self.seen, self.told = nn.Linear(d, n_units), nn.Linear(n_units, d, bias=False)
        last = torch.arange(n_units) * (d - 1) // n_units
        self.register_buffer("may_see", (torch.arange(d) <= last[:, None]).float())
        self.register_buffer("may_tell", (last < torch.arange(d)[:, None]).float())

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Compute ln p(x|z), a sum over pixels in reading order."""
        h = torch.relu(F.linear(x, self.seen.weight * self.may_see, self.seen.bias))
        logits = self.decoder.logits(z) + F.linear(h, self.told.weight * self.may_tell)
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """Fill in one pixel after the other, each with its probability."""
        seen, told = self.seen.weight * self.may_see, self.told.weight * self.may_tell
        logits, before, pixels = self.decoder.logits(z), self.seen.bias.expand(len(z), -1), []
        for j in range(self.sizes[0]):
            pixels.append(torch.sigmoid(logits[:, j] + torch.relu(before) @ told[j]))
            before = before + pixels[-1][:, None] * seen[:, j]
        return torch.stack(pixels, dim=1)


@dataclass(frozen=True)
class Patient:
    """A broken VAE, and how it is trained.

    Attributes:
        name: of the fault.
        build: makes the model from its sizes.
        loss: as for ``training.fit``.
        scale: what its grey values are multiplied by.
        optimizer: the class.
    """

    name: str
    build: Callable[..., VAE] = VAE
    loss: Loss = vae_loss
    scale: float = 1.0
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam


PATIENTS = (
    Patient("variance as width", VarianceAsWidth),
    Patient("log2 in the KL", loss=partial(vae_loss, kl=kl_in_two_units)),
    Patient("ReLU on the mean", ReluOnMean),
    Patient("sign of the KL", loss=partial(vae_loss, kl=kl_without_its_minus)),
    Patient("mean against sum", loss=mean_against_sum),
    Patient("KL over the wrong axis", loss=partial(vae_loss, kl=kl_down_the_rows)),
    Patient("no nonlinearity", partial(VAE, activation=nn.Identity)),
    Patient("no sigmoid", NoSigmoid),
    Patient("drawn at evaluation", DrawnReconstruction),
    Patient("zero_grad forgotten", optimizer=Forgetful),
    Patient("pixels 0 to 16", AnyRange, scale=16.0),
    Patient("decoder too strong", SeesThePixels),
)


# Relatives, named before any training -------------------------------------------------------------
class DetachedCode(VAE):
    """No gradient through the sample."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw, and cut the graph."""
        return super().reparameterize(mu, logvar, generator).detach()


class LibraryNormal(VAE):
    """The library's own draw, whose gradient is zero."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw from mu and sigma."""
        return torch.normal(mu, torch.exp(logvar / 2), generator=generator)


class OneNoisePerRow(VAE):
    """One number of noise for all code numbers of a row."""

    def reparameterize(
        self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw (n, 1)."""
        return mu + torch.exp(logvar / 2) * torch.randn(len(mu), 1, generator=generator)


class ReluOnLogvar(VAE):
    """No code is narrower than the prior."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode; no logvar is below zero."""
        mu, logvar = super().encode(x)
        return mu, torch.relu(logvar)


class SigmoidTwice(VAE):
    """Probabilities where the loss expects logits."""

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Compute the cross-entropy of the wrong numbers."""
        p = self.decode(z)
        return -F.binary_cross_entropy_with_logits(p, x, reduction="none").sum(dim=1)


def kl_of_log_sigma(mu: Tensor, logvar: Tensor) -> Tensor:
    """Read the second head as ln σ."""
    return 0.5 * (mu**2 + torch.exp(2 * logvar) - 1 - 2 * logvar).sum(dim=1)


def kl_without_one(mu: Tensor, logvar: Tensor) -> Tensor:
    """Forget the −1: the same gradients, another number."""
    return 0.5 * (mu**2 + torch.exp(logvar) - logvar).sum(dim=1)


def beta_on_the_wrong_term(
    model: VAE, x: Tensor, generator: torch.Generator | None = None, *, beta: float = 4.0
) -> Tensor:
    """Multiply the reconstruction."""
    mu, logvar = model.encode(x)
    z = model.reparameterize(mu, logvar, generator)
    return (kl_divergence(mu, logvar) - beta * model.log_likelihood(x, z)).mean()


def loss_of_the_mean_code(
    model: VAE, x: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Decode mu: no bound."""
    mu, logvar = model.encode(x)
    return (kl_divergence(mu, logvar) - model.log_likelihood(x, mu)).mean()
