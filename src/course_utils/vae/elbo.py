"""The loss of every VAE and its parts: a sampled code, the KL, the negative ELBO."""

import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.shapes import expect_shapes


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
