"""What a decoder's numbers mean: three distributions of an image, each with its constant.

A likelihood gets x and the decoder's last layer ``logits``, (n, d) each; the reconstruction is
sigmoid(logits) for all three, so one decoder serves them all. ``log_prob`` is a sum over pixels,
in nats, with every constant: numbers of different widths can be compared.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.arguments import named_errors
from course_utils.shapes import expect_shapes


class Bernoulli(nn.Module):
    """Each pixel is 1 with probability sigmoid(logit): the binary cross-entropy. Chapter 13.

    ln p(x|z) = Σ_j [x_j ln p_j + (1 − x_j) ln(1 − p_j)]. A log-probability where x is 0 or 1. For
    grey x, taken as means, it is a loss only: e^ln p does not sum to one over grey images
    (Loaiza-Ganem and Cunningham, 2019, https://arxiv.org/abs/1907.06845).
    """

    needs_unit_range = True

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        """Compute ln p(x|z): (n, d), (n, d) -> (n,) nats, at most 0; x in [0, 1]."""
        expect_shapes("n d, n d", x=x, logits=logits)
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)


class Gaussian(nn.Module):
    """Each pixel is normal around sigmoid(logit) with variance c: the squared error. Chapter 13.

    ln p(x|z) = −‖x − x̂‖² / (2c) − (d/2) ln(2πc), a density. With ``learned``, c is trained with the
    network; for a fixed network the best one is the mean squared error per pixel.
    """

    needs_unit_range = False

    def __init__(self, c: float = 1.0, *, learned: bool = False) -> None:
        """Set the variance c, above 0; where ``learned`` it is where training starts.

        Raises:
            ValueError: c is not above 0.
        """
        super().__init__()
        self.log_c = _log_width("c", c, learned)

    @property
    def c(self) -> float:
        """The variance, one number for all pixels."""
        return math.exp(self.log_c.item())

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        """Compute ln p(x|z): (n, d), (n, d) -> (n,) nats; a log-density, which may be positive."""
        expect_shapes("n d, n d", x=x, logits=logits)
        error = (x - torch.sigmoid(logits)).square().sum(dim=1)
        constant = x.shape[1] / 2 * (math.log(2 * math.pi) + self.log_c)
        return -error / (2 * self.log_c.exp()) - constant


class Laplace(nn.Module):
    """Each pixel is Laplace around sigmoid(logit) with scale b: the absolute error. Chapter 13.

    ln p(x|z) = −Σ_j |x_j − x̂_j| / b − d ln(2b), a density. With ``learned``, b is trained with the
    network; for a fixed network the best one is the mean absolute error per pixel.
    """

    needs_unit_range = False

    def __init__(self, b: float = 1.0, *, learned: bool = False) -> None:
        """Set the scale b, above 0; where ``learned`` it is where training starts.

        Raises:
            ValueError: b is not above 0.
        """
        super().__init__()
        self.log_b = _log_width("b", b, learned)

    @property
    def b(self) -> float:
        """The scale, one number for all pixels."""
        return math.exp(self.log_b.item())

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        """Compute ln p(x|z): (n, d), (n, d) -> (n,) nats; a log-density, which may be positive."""
        expect_shapes("n d, n d", x=x, logits=logits)
        error = (x - torch.sigmoid(logits)).abs().sum(dim=1)
        constant = x.shape[1] * (math.log(2) + self.log_b)
        return -error / self.log_b.exp() - constant


def _log_width(name: str, value: float, learned: bool) -> nn.Parameter:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be above 0 and finite, got {value}")
    return nn.Parameter(torch.tensor(math.log(value)), requires_grad=learned)


named_errors(globals())
