"""Denoising: three corruptions, the loss that asks for the clean input, and a measure in decibels.

A corruption is a function of the data and a generator. Fix its strength with ``partial``:
``denoising_loss(partial(masking_noise, share=0.5))``.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.shapes import expect_shapes


def gaussian_noise(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add independent normal noise to every number: x̃ = x + σ ε, ε ~ N(0, I).

    Nothing is clipped: cut to [0, 1], the noise would no longer be normal.

    Args:
        x: floats of any shape.
        sigma: standard deviation of the noise, finite, at least 0; not its variance.
        generator: on the device of ``x``.

    Returns:
        A new tensor of the shape, type and device of ``x``.

    Raises:
        ValueError: ``sigma`` is out of its range.

    Source:
        Defined in chapter 05.
    """
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma must be finite and at least 0, got {sigma}")
    eps = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return x + sigma * eps


def masking_noise(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Set each number to 0 with probability ``share``, independently; keep the others as they are.

    x̃ = m ⊙ x with m_j = 0 or 1. Nothing is scaled up, unlike in dropout.

    Args:
        x: floats of any shape.
        share: probability of being erased, in [0, 1]; not of being kept.
        generator: on the device of ``x``.

    Returns:
        A new tensor of the shape, type and device of ``x``.

    Raises:
        ValueError: ``share`` is out of its range.

    Source:
        Defined in chapter 05.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    u = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return torch.where(u < share, 0.0, x)


def salt_and_pepper(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Set each number, with probability ``share``, to 0 or to 1, either equally likely.

    Args:
        x: floats of any shape, meant to lie in [0, 1].
        share: probability of being replaced, in [0, 1]: one half of it by 0, one half by 1.
        generator: on the device of ``x``.

    Returns:
        A new tensor of the shape, type and device of ``x``.

    Raises:
        ValueError: ``share`` is out of its range.

    Source:
        Defined in chapter 05.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    u = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return torch.where(u < share / 2, 0.0, torch.where(u < share, 1.0, x))


def denoising_loss(
    corrupt: Callable[..., Tensor],
) -> Callable[[nn.Module, Tensor, torch.Generator], Tensor]:
    """Make the loss of a denoising autoencoder: mean over rows of ‖x − r(x̃)‖², a sum over pixels.

    The model sees the corrupted input and is compared with the clean one. The corruption is drawn
    anew at each call.

    Args:
        corrupt: called as ``corrupt(x, generator=generator)``; (n, d) -> (n, d).

    Returns:
        ``loss(model, x, generator)`` for ``training.fit``; ``x`` is the clean data, (n, d). It
        raises ValueError where the corruption or the model changes the shape.

    Source:
        Vincent et al. (2010), https://jmlr.org/papers/v11/vincent10a.html. Defined in chapter 05.
    """

    def loss(model: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
        x_noisy = corrupt(x, generator=generator)
        x_hat = model(x_noisy)
        expect_shapes("n d, n d, n d", x=x, x_noisy=x_noisy, x_hat=x_hat)
        return ((x - x_hat) ** 2).sum(dim=1).mean()

    return loss


def psnr(x: Tensor, x_hat: Tensor) -> float:
    """Compute the peak signal-to-noise ratio, 10 log10(1 / MSE), in decibels, for a peak of 1.

    MSE is the mean of (x − x̂)² over all pixels of all images together: this is the PSNR of the
    mean error. The mean of the PSNR of single images is another number, never a smaller one.

    Args:
        x, x_hat: (n, d), tensors or arrays, images with values from 0 to 1; at least one row.

    Returns:
        Decibels: more is better, infinite where the two agree.

    Raises:
        ValueError: the shapes differ, or there are no images.

    Source:
        Defined in chapter 05.

    >>> x = torch.zeros(2, 4)
    >>> round(psnr(x, x + 0.1), 3)
    20.0
    """
    expect_shapes("n d, n d", x=x, x_hat=x_hat)
    mse = float(((x - x_hat) ** 2).mean())
    return -10 * math.log10(mse) if mse != 0 else math.inf  # nan stays nan


named_errors(globals())
