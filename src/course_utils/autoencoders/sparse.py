"""Sparse autoencoders: many units, few of them on; by cutting (k-sparse) or by asking (penalties).

A penalty takes the codes of a batch, (n, m), and returns one number for each unit, (m,).
``sparse_loss`` weights them, adds them up over units, and adds the squared error.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import training
from course_utils.arguments import named_errors
from course_utils.shapes import expect_finite, expect_numbers, expect_shapes, expect_whole

Penalty = Callable[[Tensor], Tensor]  # codes (n, m) -> (m,)


def k_largest(a: Tensor, k: int) -> Tensor:
    """Keep the k numbers of each row that are largest in magnitude; the others become 0.

    z = mask ⊙ a, and the mask is a constant for the gradient: ∂L/∂a = mask ⊙ ∂L/∂z. Exactly k
    places a row are kept, also where magnitudes tie; which of the tied ones is arbitrary. (A kept
    number may itself be 0.) Defined in chapter 06.

    Args:
        a: (n, m) numbers.
        k: from 1 to m.

    Returns:
        (n, m), at most k nonzero numbers a row.

    Raises:
        ValueError: ``a`` is no matrix, or k is out of its range.

    Source:
        Makhzani and Frey (2014), k-Sparse autoencoders, arXiv 1312.5663, who keep the k highest.

    >>> k_largest(torch.tensor([[0.5, -3.0, 1.0, 2.0]]), 2)
    tensor([[ 0., -3.,  0.,  2.]])
    """
    expect_shapes("n m", a=a)
    if not 1 <= k <= a.shape[1]:
        raise ValueError(f"k must be from 1 to {a.shape[1]}, the number of units, got {k}")
    kept = a.abs().topk(k, dim=1).indices  # (n, k): exactly k places a row, ties or not
    mask = torch.zeros_like(a, dtype=torch.bool).scatter(1, kept, True)
    return a.masked_fill(~mask, 0.0)


class SparseAutoencoder(nn.Module):
    """One layer up to many units, one layer back: z = act(x W + b), x̂ = z V + v₀.

    The rows of V, one image a unit, are its dictionary. They have a fixed length, so that a small
    number in the code means a small part of the picture. Where ``k`` is given, the code keeps its
    k largest numbers. Defined in chapter 06.
    """

    def __init__(
        self,
        n_inputs: int,
        n_units: int,
        *,
        k: int | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
        row_length: float | None = 1.0,
    ) -> None:
        """Draw encoder and dictionary independently, from PyTorch's global generator.

        Args:
            n_inputs: d. n_units: m. At least 1; more units than inputs is the usual case.
            k: how many numbers of the code to keep, from 1 to m; None keeps all.
            activation: on the code before that, elementwise; None is linear.
            row_length: length of every row of the dictionary, above 0; None lets training choose.

        Raises:
            ValueError: k is out of its range.
        """
        super().__init__()
        expect_whole("n_units", n_units, 1)
        expect_whole("k", n_units if k is None else k, 1, n_units)
        self.k, self.row_length = k, row_length
        self.activation = activation or nn.Identity()
        self.encoder = nn.Linear(n_inputs, n_units)
        self.directions = nn.Parameter(F.normalize(torch.randn(n_units, n_inputs)))
        self.offset = nn.Parameter(torch.zeros(n_inputs))

    def rows(self) -> Tensor:
        """Return the dictionary V, (m, d)."""
        if self.row_length is None:
            return self.directions
        return self.row_length * F.normalize(self.directions)

    def encode(self, x: Tensor) -> Tensor:
        """Map data (n, d) to codes (n, m)."""
        expect_shapes(f"n {self.encoder.in_features}", x=x)
        a = self.activation(self.encoder(x))  # (n, d) -> (n, m)
        return a if self.k is None else k_largest(a, self.k)

    def decode(self, z: Tensor) -> Tensor:
        """Map codes (n, m) to reconstructions (n, d)."""
        return z @ self.rows() + self.offset

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct: (n, d) -> (n, d)."""
        return self.decode(self.encode(x))


def start_from(
    model: SparseAutoencoder, directions: Tensor, x: Tensor, *, bias: float = 0.0
) -> None:
    """Point encoder and dictionary of each unit one way, with x̂ about as large as x.

    Units whose encoder asks for one thing and whose row draws another are seldom kept, and what is
    never kept never learns. Defined in chapter 06.

    Args:
        model: changed in place.
        directions: (m, d), no row zero; only their directions count. Training images serve.
        x: (n, d), centred: the encoder is scaled by the least-squares factor from x̂ to these.
        bias: of every unit. For a sigmoid, the logit of the activation to start from.
    """
    expect_shapes("m d, m d, n d", rows=model.directions, directions=directions, x=x)
    with torch.no_grad():
        model.directions.copy_(F.normalize(directions))
        model.encoder.weight.copy_(model.directions)  # nn.Linear keeps the transpose of W, (m, d)
        model.encoder.bias.fill_(bias)
        x_hat = model(x) - model(x).mean(dim=0)
        model.encoder.weight.mul_((x * x_hat).sum() / (x_hat**2).sum())


def unused_units(model: SparseAutoencoder, x: Tensor) -> Tensor:
    """Mark the units that are zero for every row of ``x``: dead, if ``x`` is the training data.

    Args:
        model: in any mode; nothing of it changes. x: (n, d).

    Returns:
        (m,) booleans.
    """
    with torch.no_grad():
        z = model.encode(x)
    expect_finite(z=z)
    return (z == 0).all(dim=0)


def bernoulli_kl(target: float, average: Tensor) -> Tensor:
    """Compute KL(Bernoulli(target) ‖ Bernoulli(average)) in nats, entry by entry.

    target · ln(target / average) + (1 − target) · ln((1 − target) / (1 − average)); at least 0,
    and 0 only where they agree. Infinite or nan where an average is not inside (0, 1): units need
    an activation such as the sigmoid. Defined in chapter 06.

    Args:
        target: ρ̂, inside (0, 1).
        average: ρ, inside (0, 1), any shape.

    Returns:
        The same shape.

    Raises:
        ValueError: ``target`` is not inside (0, 1).
    """
    expect_numbers("average", average)
    if not 0 < target < 1:
        raise ValueError(f"target must lie inside (0, 1), got {target}")
    on = target * (math.log(target) - average.log())
    off = (1 - target) * (math.log(1 - target) - torch.log1p(-average))
    return on + off


def absolute_gap(target: float, average: Tensor) -> Tensor:
    """Compute |target − average|, entry by entry: any shape -> the same. Defined in chapter 06."""
    return (target - average).abs()


def squared_gap(target: float, average: Tensor) -> Tensor:
    """Compute (target − average)², entry by entry. Defined in chapter 06.

    Source:
        Lee, Ekanadham and Ng (2008), Sparse deep belief net model for visual area V2.
    """
    return (target - average) ** 2


def on_average(gap: Callable[[float, Tensor], Tensor], target: float) -> Penalty:
    """Make the penalty s(ρ̂, ρ_j) on the average activation ρ_j of each unit over the batch.

    It says nothing about single images: a unit that is always at ``target`` pays nothing. Defined
    in chapter 06.

    Args:
        gap: s, for example ``bernoulli_kl``.
        target: ρ̂, the desired average activation.
    """
    return lambda z: gap(target, z.mean(dim=0))


def l1_penalty(z: Tensor) -> Tensor:
    """Compute the mean over rows of |z|, for each unit: (n, m) -> (m,). Defined in chapter 06."""
    return z.abs().mean(dim=0)


def l2_penalty(z: Tensor) -> Tensor:
    """Compute the mean over rows of z², for each unit: (n, m) -> (m,). Defined in chapter 06."""
    return (z**2).mean(dim=0)


def sparse_loss(penalty: Penalty, weight: float | Tensor) -> training.Loss:
    """Make the loss: mean over rows of ‖x − x̂‖², plus Σ_j w_j · penalty_j, a sum over units.

    Args:
        penalty: takes codes (n, m), returns (m,).
        weight: one w for all units, or (m,), one for each; at least 0.

    Returns:
        ``loss(model, x, generator)`` for ``training.fit``; the model has ``encode`` and ``decode``.
        Defined in chapter 06.
    """

    def loss(
        model: SparseAutoencoder, x: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        z = model.encode(x)
        error = ((x - model.decode(z)) ** 2).sum(dim=1).mean()
        return error + (weight * penalty(z)).sum()

    return loss


named_errors(globals())
