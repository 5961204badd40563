"""Contractive autoencoders: codes that move little when the input moves.

Norms are squared Frobenius norms of a Jacobian, one for each row of the data: the sum of the
squares of all k · d derivatives. Their root is what multiplies ‖δ‖ in a first-order bound.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from course_utils.arguments import named_errors
from course_utils.autoencoders.vanilla import squared_error_loss
from course_utils.shapes import expect_shapes
from course_utils.training import Loss


class TiedAutoencoder(nn.Module):
    """One sigmoid layer, z = s(xW + b), and its transpose as the decoder, x̂ = zWᵀ + c.

    With one matrix for both halves a small W cannot be made good by a large decoder, so a penalty
    on the code's derivatives cannot be escaped by rescaling. Defined in chapter 07.

    Source:
        Rifai et al. (2011), Contractive auto-encoders. (With a sigmoid on the output too.)
    """

    def __init__(self, d: int, k: int, generator: torch.Generator) -> None:
        """Draw the weights from N(0, 1/d); biases are zero.

        Args:
            d: numbers in a sample. k: numbers in a code. Each at least 1.
            generator: of the weights, on the CPU.
        """
        super().__init__()
        self.w = nn.Parameter(torch.randn(d, k, generator=generator) / d**0.5)
        self.b = nn.Parameter(torch.zeros(k))
        self.c = nn.Parameter(torch.zeros(d))

    def encode(self, x: Tensor) -> Tensor:
        """Map data (n, d) to codes (n, k) in (0, 1)."""
        expect_shapes("n d, d k", x=x, w=self.w)
        return torch.sigmoid(x @ self.w + self.b)

    def decode(self, z: Tensor) -> Tensor:
        """Map codes (n, k) to reconstructions (n, d), any numbers."""
        return z @ self.w.T + self.c

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct: (n, d) -> (n, d)."""
        return self.decode(self.encode(x))


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute ∂f_i/∂x_j at every row of ``x``, by automatic differentiation.

    Costs one backward pass for each of the k outputs, and n · k · d numbers of memory. Can be
    differentiated once more. Defined in chapter 07.

    Args:
        f: maps (n, d) to (n, k), each row by itself (no normalisation over the batch).
        x: (n, d).

    Returns:
        (n, k, d): outputs down, inputs across.
    """
    expect_shapes("n d", x=x)
    return vmap(jacrev(lambda row: f(row[None])[0]))(x)


def jacobian_norm(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute the *squared* Frobenius norm ‖∂f/∂x‖² at every row of ``x``: exact, for any ``f``.

    A sum over all k · d derivatives, a value for each row. Defined in chapter 07.

    Args:
        f: maps (n, d) to (n, k), each row by itself.
        x: (n, d).

    Returns:
        (n,), at least 0.
    """
    return (jacobian(f, x) ** 2).sum(dim=(1, 2))


def contractive_penalty(z: Tensor, w: Tensor) -> Tensor:
    """Compute ‖J‖² for one sigmoid layer from its output: Σ_i [z_i (1 − z_i)]² ‖W_·i‖².

    No Jacobian is formed: k · d multiplications for the norms of the columns, 3 k for each row.
    For sigmoid units alone: another activation has another derivative. Defined in chapter 07.

    Args:
        z: (n, k), the output s(xW + b), in [0, 1].
        w: (d, k), the weights, one unit a column.

    Returns:
        (n,), at least 0.

    Source:
        Rifai et al. (2011), Contractive auto-encoders.
    """
    expect_shapes("n k, d k", z=z, w=w)
    return ((z * (1 - z)) ** 2) @ (w**2).sum(dim=0)


def projected_jacobian_norm(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    generator: torch.Generator,
    *,
    n_projections: int = 1,
) -> Tensor:
    """Estimate ‖∂f/∂x‖² at every row of ``x`` without forming the Jacobian: the mean of ‖vJ‖².

    v is a row of k random signs, new for each row of ``x`` and each projection. Right on average;
    variance (2/m) Σ_{i≠j} (JJᵀ)_ij² for m projections, at most (2/m) Σ γ_i⁴ with J's singular
    values γ_i. One backward pass a projection. Can be differentiated once more, except where
    gradients are switched off. Defined in chapter 07.

    Args:
        f: maps (n, d) to (n, k), each row by itself.
        x: (n, d).
        generator: of the signs, on the device of ``x``.
        n_projections: m, at least 1; from k on, ``jacobian_norm`` is exact for the same cost.

    Returns:
        (n,), at least 0.

    Raises:
        ValueError: ``n_projections`` is below 1.

    Source:
        Hutchinson (1990), A stochastic estimator of the trace of the influence matrix for Laplacian
        smoothing splines.
    """
    expect_shapes("n d", x=x)
    if n_projections < 1:
        raise ValueError(f"n_projections must be at least 1, got {n_projections}")
    keep, total = torch.is_grad_enabled(), torch.zeros(len(x), device=x.device)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        z = f(x)  # (n, k)
        for _ in range(n_projections):
            v = 2.0 * torch.randint(2, z.shape, generator=generator, device=z.device) - 1
            (pulled,) = torch.autograd.grad(z, x, v.to(z), create_graph=keep, retain_graph=True)
            total = total + (pulled**2).sum(dim=1)  # (n, d) -> (n,)
    return total / n_projections


def contractive_loss(
    weight: float, *, whole: bool = False, n_projections: int | None = None
) -> Loss:
    """Make the loss ‖x − x̂‖² + weight · ‖J‖², a mean over rows, for ``training.fit``.

    The encoder's Jacobian can be made small by rescaling the code, unless encoder and decoder share
    their weights; the whole reconstruction's cannot. Defined in chapter 07.

    Args:
        weight: of the penalty, at least 0.
        whole: penalise ∂x̂/∂x, (d, d), in place of the encoder's ∂z/∂x, (k, d).
        n_projections: None for the exact norm (by formula for a ``TiedAutoencoder``), else the
            number of random projections that estimate it.

    Raises:
        ValueError: ``weight`` is below 0.

    Source:
        Rifai et al. (2011) for the encoder; Alain and Bengio (2014) for the whole.
    """
    if not weight >= 0:
        raise ValueError(f"weight must be at least 0, got {weight}")

    def loss(model: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
        f = model if whole else model.encode
        if n_projections is not None:
            norm = projected_jacobian_norm(f, x, generator, n_projections=n_projections)
        elif isinstance(model, TiedAutoencoder) and not whole:
            norm = contractive_penalty(model.encode(x), model.w)
        else:
            norm = jacobian_norm(f, x)
        return squared_error_loss(model, x) + weight * norm.mean()

    return loss


named_errors(globals())
