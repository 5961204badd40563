"""Losses of several draws: the importance-weighted bound to train on, and its better gradient.

Both are for ``training.fit``, with ``functools.partial(…, samples=K)``, and for every model that
has ``encode`` to (mu, logvar) and ``log_likelihood``. In nats, a mean over images.
"""

import math

import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.evaluation import expect_positive, log_importance_weights


def negative_iwae(
    model: nn.Module, x: Tensor, generator: torch.Generator | None = None, *, samples: int
) -> Tensor:
    """Compute the mean over rows of −ln (1/K) Σ_i w_i, from K codes a row. Defined in chapter 19.

    With K = 1 it is a negative ELBO whose KL is sampled. The value is an estimate of −L_K
    (chapter 14), its gradient one of the gradient of −L_K, both right in the mean.

    Args:
        model: with ``encode`` and ``log_likelihood``.
        x: (n, …) images.
        generator: of the noise.
        samples: K, codes an image, at least 1.

    Returns:
        One number.

    Raises:
        ValueError: ``samples`` is below 1.

    Source:
        Burda, Grosse and Salakhutdinov (2016), https://arxiv.org/abs/1509.00519.
    """
    expect_positive(samples=samples)
    mu, logvar = model.encode(x)
    eps = torch.randn(
        len(x), samples, mu.shape[1], generator=generator, device=mu.device, dtype=mu.dtype
    )
    log_w = log_importance_weights(model, x, mu, logvar, eps)
    return (math.log(samples) - torch.logsumexp(log_w, dim=1)).mean()


def negative_dreg(
    model: nn.Module, x: Tensor, generator: torch.Generator | None = None, *, samples: int
) -> Tensor:
    """Compute the same number as ``negative_iwae``, with another gradient. Defined in chapter 19.

    Doubly reparameterised: the encoder's gradient is Σ_i v_i² (∂ ln w_i / ∂z_i)(∂z_i / ∂φ) with the
    shares v_i = w_i / Σ_j w_j, and φ enters through z_i alone. The mean is the same as that of
    ``negative_iwae``, the variance lower near the posterior and for a q wider than it; for a much
    narrower q it can be higher. The decoder's gradient is the same.

    Args:
        model: with ``encode`` and ``log_likelihood``.
        x: (n, …) images.
        generator: of the noise.
        samples: K, codes an image, at least 1.

    Returns:
        One number.

    Raises:
        ValueError: ``samples`` is below 1.

    Source:
        Tucker, Lawson, Gu and Maddison (2019), https://arxiv.org/abs/1810.04152.
    """
    expect_positive(samples=samples)
    mu, logvar = model.encode(x)
    noise = torch.randn(
        len(x), samples, mu.shape[1], generator=generator, device=mu.device, dtype=mu.dtype
    )
    z = mu[:, None] + torch.exp(logvar / 2)[:, None] * noise
    mu, logvar = mu.detach(), logvar.detach()  # from here on the encoder speaks through z alone
    eps = (z - mu[:, None]) / torch.exp(logvar / 2)[:, None]
    log_w = log_importance_weights(model, x, mu, logvar, eps)
    shares = torch.softmax(log_w.detach(), dim=1)[:, :, None]  # (n, K, 1)
    if z.requires_grad:  # the loss brings each share once; the encoder's gradient needs its square
        z.register_hook(lambda gradient: shares * gradient)
    return (math.log(samples) - torch.logsumexp(log_w, dim=1)).mean()


named_errors(globals())
