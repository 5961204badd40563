"""How good is a VAE? The test ELBO in its two parts, a tighter bound, and the code's live units.

Works with every model that has ``encode(x)`` to (mu, logvar) and ``log_likelihood(x, z)`` to (n,).
Nothing here trains: no gradients, evaluation mode, and each part of the model goes back to the mode
that it had. The noise is fixed by ``seed``. Bounds and their parts are in nats, on the CPU.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.rows import as_rows
from course_utils.shapes import expect_finite, expect_shapes, expect_whole
from course_utils.vae.elbo import kl_divergence, reparameterize


@dataclass(frozen=True, eq=False)
class Elbo:
    """The evidence lower bound of each image, in its two parts.

    Attributes:
        rates: (n,) KL(q(z|x) ‖ p(z)), in closed form, at least 0.
        distortions: (n,) −E_q ln p(x|z), estimated from sampled codes.
    """

    rates: Tensor
    distortions: Tensor

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.rates)

    @property
    def values(self) -> Tensor:
        """The bound of each image, −(rate + distortion): (n,)."""
        return -(self.rates + self.distortions)

    @property
    def rate(self) -> float:
        """Mean rate."""
        return self.rates.mean().item()

    @property
    def distortion(self) -> float:
        """Mean distortion."""
        return self.distortions.mean().item()

    @property
    def value(self) -> float:
        """Mean of the bound: −(rate + distortion), at most the mean of ln p(x) but for noise."""
        return self.values.mean().item()

    @property
    def standard_error(self) -> float:
        """Of ``value``: the images' standard deviation by √n. nan for one image."""
        return self.values.std().item() / math.sqrt(self.n) if self.n > 1 else math.nan


def elbo(
    model: nn.Module,
    x: np.ndarray | Tensor,
    *,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = 1000,
) -> Elbo:
    """Estimate the ELBO of each image from sampled codes; never from the mean code.

    E_q ln p(x|z) − KL(q(z|x) ‖ p(z)). The mean code in place of a sample gives no bound: the number
    may lie above ln p(x).

    Args:
        model: with ``encode`` and ``log_likelihood``.
        x: (n, …) images, n at least 1; whatever ``rows.as_rows`` takes.
        samples: codes an image; more of them lower the noise and leave the mean as it is.
        seed: of the noise. batch_size: images at a time; bounds the memory and changes nothing.

    Raises:
        ValueError: an argument is out of its range.
    """
    expect_positive(samples=samples, batch_size=batch_size)
    images = as_rows("x", x, model)
    mu, logvar = posteriors(model, images, batch_size=batch_size)
    generator = torch.Generator(mu.device).manual_seed(seed)
    distortions = torch.zeros(len(mu), dtype=mu.dtype)
    with evaluating(model):
        for _ in range(samples):
            z = reparameterize(mu, logvar, generator)  # for all images: whatever the batch size
            parts = zip(images.split(batch_size), z.split(batch_size), strict=True)
            log_p = torch.cat(
                [model.log_likelihood(part.to(codes), codes) for part, codes in parts]
            )
            distortions -= log_p.cpu() / samples
    return Elbo(kl_divergence(mu, logvar).cpu(), distortions)


def log_importance_weights(
    model: nn.Module, x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor
) -> Tensor:
    """Compute ln p(x, z) − ln q(z|x) at z = mu + exp(logvar / 2) ⊙ eps. Defined in chapter 14.

    ln p(z) − ln q(z|x) = ½ Σ_j [logvar_j + eps_j² − z_j²]: the constants cancel.

    Args:
        model: with ``log_likelihood``.
        x: (n, …) images.
        mu, logvar: (n, k) what the encoder says of them.
        eps: (n, m, k) noise, m draws an image.

    Returns:
        (n, m) nats.

    Raises:
        ValueError: the shapes do not fit.
    """
    expect_shapes("n k, n k, n m k", mu=mu, logvar=logvar, eps=eps)
    if x.ndim < 2 or len(x) != len(mu):
        raise ValueError(f"x must have shape (n, …) with n = {len(mu)}, got {tuple(x.shape)}")
    n, m, _ = eps.shape
    z = mu[:, None] + torch.exp(logvar / 2)[:, None] * eps  # (n, m, k)
    log_ratio = 0.5 * (logvar[:, None] + eps**2 - z**2).sum(dim=2)  # ln p(z) - ln q(z|x)
    repeated = x[:, None].expand(n, m, *x.shape[1:]).flatten(0, 1)  # (n m, …)
    return model.log_likelihood(repeated, z.flatten(0, 1)).view(n, m) + log_ratio


def importance_weighted_bound(
    model: nn.Module, x: np.ndarray | Tensor, *, samples: int, seed: int = 0, rows: int = 2000
) -> Tensor:
    """Estimate the importance-weighted bound L_K of each image. Defined in chapter 14.

    L_K = ln (1/K) Σ_k w_k with w_k = p(x, z_k) / q(z_k|x) and z_k drawn from q(z|x). In the mean it
    is at most ln p(x), does not fall with K, and is the ELBO for K = 1.

    Args:
        model: with ``encode`` and ``log_likelihood``.
        x: (n, …) images, n at least 1.
        samples: K, codes an image.
        seed: of the noise.
        rows: pairs (image, code) decoded at a time; bounds the memory, and changes the result only
            by rounding. The noise of one image, K · k numbers, is always drawn in one piece.

    Returns:
        (n,) nats.

    Raises:
        ValueError: an argument is out of its range.

    Source:
        Burda, Grosse and Salakhutdinov (2016), https://arxiv.org/abs/1509.00519.
    """
    expect_positive(samples=samples, rows=rows)
    x = as_rows("x", x, model)
    mu, logvar = posteriors(model, x, batch_size=rows)
    generator = torch.Generator().manual_seed(seed)
    size = max(1, rows // samples)  # images at a time
    bounds = []
    with evaluating(model):
        for start in range(0, len(mu), size):
            part = slice(start, start + size)
            images = x[part].to(mu)
            noise = image_noise((len(images), samples, mu.shape[1]), generator).to(mu)
            total = torch.full_like(mu[part, 0], -math.inf)
            for eps in noise.split(rows, dim=1):
                log_w = log_importance_weights(model, images, mu[part], logvar[part], eps)
                total = torch.logaddexp(total, torch.logsumexp(log_w, dim=1))
            bounds.append(total.cpu() - math.log(samples))
    return torch.cat(bounds)


def image_noise(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Draw standard normal noise (n, m, k), m draws an image, for n images at once or in parts.

    Drawing for 2 images and then for 3 gives the numbers of drawing for 5. By itself PyTorch would
    not: on the CPU it draws in blocks of 16 numbers, and the last block anew where it is not whole.
    Here each image gets whole blocks.

    Args:
        shape: n, m, k, each at least 1.
        generator: of the CPU; it moves on by n · m · k numbers, rounded up to whole blocks an
            image.

    Returns:
        (n, m, k) float32.

    Raises:
        ValueError: ``shape`` does not hold three such lengths.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape must hold three lengths of at least 1, got {shape}")
    n, m, k = shape
    blocks = -(-m * k // 16)
    return torch.randn(n, 16 * blocks, generator=generator)[:, : m * k].reshape(shape)


def active_units(
    model: nn.Module, x: np.ndarray | Tensor, *, threshold: float = 1e-2, batch_size: int = 1000
) -> Tensor:
    """Mark the code's units whose mean mu_j varies from image to image. Defined in chapter 14.

    Unit j is active where the variance of mu_j over images is above ``threshold``.

    Args:
        model: with ``encode``.
        x: (n, …) images, n at least 2.
        threshold: of the variance, not of the standard deviation.
        batch_size: images at a time.

    Returns:
        (k,) booleans.

    Raises:
        ValueError: an argument is out of its range.

    Source:
        Burda, Grosse and Salakhutdinov (2016), section 5.2, https://arxiv.org/abs/1509.00519.
    """
    if not 0 <= threshold < math.inf:
        raise ValueError(f"threshold must be finite and at least 0, got {threshold}")
    x = as_rows("x", x, model)
    if len(x) < 2:
        raise ValueError(f"x must have two images or more to vary, got {len(x)}")
    mu, _ = posteriors(model, x, batch_size=batch_size)
    expect_finite(mu=mu)
    return (mu.var(dim=0, correction=0) > threshold).cpu()


def posteriors(
    model: nn.Module, x: np.ndarray | Tensor, *, batch_size: int = 1000
) -> tuple[Tensor, Tensor]:
    """Encode images part by part: (n, …) -> mu, logvar, (n, k) each, on the model's device.

    Raises:
        ValueError: ``x`` is empty, not finite, or outside [0, 1] where ``model.needs_unit_range``;
            ``batch_size`` is below 1.
    """
    expect_positive(batch_size=batch_size)
    images = as_rows("x", x, model, unit_range=getattr(model, "needs_unit_range", False))
    like = next(model.parameters(), torch.empty(0))
    with evaluating(model):
        pairs = [model.encode(part.to(like)) for part in images.split(batch_size)]
    mu, logvar = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return mu, logvar


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside the block: evaluation mode and no gradients. Afterwards each module's mode is back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def expect_positive(**values: int) -> None:
    """Check that each number is at least 1.

    Raises:
        ValueError: one is not; the message names it.
    """
    for name, value in values.items():
        expect_whole(name, value, 1)


named_errors(globals())
