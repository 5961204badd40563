"""The plain autoencoder, and its two losses."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.arguments import named_errors
from course_utils.shapes import expect_shapes, expect_sizes


class Autoencoder(nn.Module):
    """An encoder and a decoder of dense layers, ReLU between them, none on the code.

    ``Autoencoder((784, 400, 20))`` encodes 784 → 400 → 20 and decodes 20 → 400 → 784. Where
    ``bernoulli`` is true the output is a probability for each pixel, computed from ``logits``.
    """

    def __init__(self, sizes: Sequence[int], *, bernoulli: bool = False) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            sizes: of the input, the hidden layers of the encoder and the code; the decoder mirrors
                them. At least two, each at least 1.
            bernoulli: whether outputs are probabilities; else they are any numbers.

        Raises:
            ValueError: fewer than two sizes, or one below 1.
        """
        super().__init__()
        expect_sizes("sizes", sizes, 2)
        self.sizes, self.bernoulli = tuple(sizes), bernoulli
        self.encoder = mlp(sizes)
        self.decoder = mlp(sizes[::-1])

    def encode(self, x: Tensor) -> Tensor:
        """Map data (n, d) to codes (n, k)."""
        expect_shapes(f"n {self.sizes[0]}", x=x)
        return self.encoder(x)

    def logits(self, z: Tensor) -> Tensor:
        """Map codes (n, k) to the decoder's last layer, (n, d), before any sigmoid."""
        return self.decoder(z)

    def decode(self, z: Tensor) -> Tensor:
        """Map codes (n, k) to reconstructions (n, d), in [0, 1] where ``bernoulli``."""
        return torch.sigmoid(self.logits(z)) if self.bernoulli else self.logits(z)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct: (n, d) -> (n, d)."""
        return self.decode(self.encode(x))


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Stack dense layers with ReLU between them: (n, sizes[0]) -> (n, sizes[-1]).

    Raises:
        ValueError: fewer than two sizes, or one below 1.
    """
    expect_sizes("sizes", sizes, 2)
    layers: list[nn.Module] = []
    for d_in, d_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(d_in, d_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def load_layers(model: nn.Sequential, layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Copy NumPy layers into a stack of dense layers.

    ``nn.Linear`` keeps its weights as (d_out, d_in) and computes x Wᵀ + b, hence the transpose.

    Args:
        model: what ``mlp`` returns.
        layers: pairs ``(w, b)`` of shapes (d_in, d_out) and (d_out,), as in ``numpy_nn``.

    Raises:
        ValueError: another number of layers, or a shape that does not fit.
    """
    linear = [module for module in model if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for module, (w, b) in zip(linear, layers, strict=True):
            d_in, d_out = module.in_features, module.out_features
            expect_shapes(f"{d_in} {d_out}, {d_out}", w=w, b=b)
            module.weight.copy_(torch.from_numpy(w.T))
            module.bias.copy_(torch.from_numpy(b))


def squared_error_loss(
    model: nn.Module, x: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Compute the mean over rows of ‖x − x̂‖², a sum over pixels: (n, d) -> one number."""
    return ((x - model(x)) ** 2).sum(dim=1).mean()


def cross_entropy_loss(
    model: Autoencoder, x: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Compute the mean over rows of −Σ_j [x_j ln p_j + (1 − x_j) ln(1 − p_j)], in nats.

    From logits, so that no logarithm of 0 comes up. ``x`` must lie in [0, 1]: ``training.fit``
    checks that once for the whole data set.

    Args:
        model: with ``encode`` and ``logits``.
        x: (n, d) in [0, 1].

    Returns:
        One number, at least the mean entropy of the pixels.
    """
    logits = model.logits(model.encode(x))
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1).mean()


cross_entropy_loss.needs_unit_range = True  # type: ignore[attr-defined]


named_errors(globals())
