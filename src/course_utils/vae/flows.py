"""A posterior that bends: an invertible map of Gaussian draws, and what it does to their density.

If z = f(u) with u drawn from a density q and f invertible, z has the density
ln q(u) − ln |det ∂f/∂u|. The layer here has a determinant that costs one sum.
"""

import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.shapes import expect_shapes, expect_whole


class Coupling(nn.Module):
    """Scale and shift one half of a code by functions of the other. Defined in chapter 19.

    z_a stays, z_b' = z_b ⊙ exp(s) + t with (s, t) = net(z_a, context) and s between −2 and 2. So
    the Jacobian is triangular, ln |det| = Σ_j s_j, and the inverse is as cheap. The last layer
    begins at zero: a new layer changes nothing.

    Source:
        Dinh, Sohl-Dickstein and Bengio (2017), https://arxiv.org/abs/1605.08803.
    """

    keeps: Tensor

    def __init__(self, k: int, hidden: int, *, n_context: int = 0, flip: bool = False) -> None:
        """Build the layer, with PyTorch's initial weights, from its global generator.

        Args:
            k: numbers in a code, at least 2; the first k // 2 stay.
            hidden: units of the network, at least 1.
            n_context: numbers that tell the layer which image it is, at least 0.
            flip: let the others stay in place of the first k // 2.

        Raises:
            ValueError: a number is out of its range.
        """
        super().__init__()
        expect_whole("k", k, 2)
        expect_whole("hidden", hidden, 1)
        expect_whole("n_context", n_context, 0)
        self.k = k
        kept = torch.arange(k) < k // 2
        self.register_buffer("keeps", (~kept if flip else kept).float())  # (k,)
        self.hidden = nn.Linear(k + n_context, hidden)
        self.out = nn.Linear(hidden, 2 * k)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map codes (n, k) to codes (n, k) and the logarithm of the determinant, (n,).

        ``context`` is (n, n_context), or None where there is none.
        """
        expect_shapes(f"n {self.k}", z=z)
        s, t = self._scale_and_shift(z, context)
        return z * torch.exp(s) + t, s.sum(dim=1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map codes back: (n, k) -> (n, k)."""
        expect_shapes(f"n {self.k}", z=z)
        s, t = self._scale_and_shift(z, context)  # the same: they see only what stays
        return (z - t) * torch.exp(-s)

    def _scale_and_shift(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        seen = z * self.keeps if context is None else torch.cat([z * self.keeps, context], dim=1)
        s, t = self.out(torch.tanh(self.hidden(seen))).chunk(2, dim=1)
        moves = 1 - self.keeps
        return 2 * torch.tanh(s / 2) * moves, t * moves


class Flow(nn.Module):
    """Couplings one after another, the halves by turns. Defined in chapter 19."""

    def __init__(self, k: int, hidden: int, *, layers: int = 4, n_context: int = 0) -> None:
        """Build the layers; ``layers`` is at least 1, the rest is as in ``Coupling``.

        Raises:
            ValueError: a number is out of its range.
        """
        super().__init__()
        expect_whole("layers", layers, 1)
        flips = [i % 2 == 1 for i in range(layers)]
        self.layers = nn.ModuleList(
            Coupling(k, hidden, n_context=n_context, flip=flip) for flip in flips
        )

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map codes (n, k) to codes (n, k) and the logarithm of the determinant, (n,)."""
        log_det = torch.zeros_like(z[:, 0])
        for layer in self.layers:
            z, more = layer(z, context)
            log_det = log_det + more
        return z, log_det


named_errors(globals())
