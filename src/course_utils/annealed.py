"""Annealed importance sampling: ln p(x) of one image by chains that walk to its posterior.

A chain begins as a draw from q and ends near the posterior, in many small steps. Works with every
model that has ``log_likelihood(x, z)``, in nats, on the device of ``mu``. Nothing here trains.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.evaluation import evaluating, expect_positive, log_importance_weights
from course_utils.shapes import expect_shapes

FIRST_SIZE, RISE, FALL, WANTED = 0.2, 1.05, 0.95, 0.65  # of the pilot's moves


class Annealed(NamedTuple):
    """What the chains bring back.

    Attributes:
        log_w: (n, chains) logarithms of the weights.
        accepted: share of the moves that were accepted, a mean over chains, images and steps; nan
            with one step, where no move is made.
    """

    log_w: Tensor
    accepted: float


def annealed_weights(
    model: nn.Module,
    x: Tensor,
    mu: Tensor,
    logvar: Tensor,
    *,
    chains: int,
    steps: int,
    leapfrog: int = 5,
    seed: int = 0,
    codes: Tensor | None = None,
) -> Annealed:
    """Weigh chains that walk from q = N(mu, diag(exp(logvar))) to p(z|x). Defined in chapter 19.

    The path is ln f_β(z) = ln q(z) + β ln w(z), with ln w = ln p(x, z) − ln q(z) and β = (i/steps)²
    for i from 0 to ``steps``. At each rise from β to β' a chain takes (β' − β) ln w(z), then makes
    one move of Hamiltonian Monte Carlo that leaves f_β' as it is. exp(log_w) has the mean p(x). One
    step is plain importance sampling, ``evaluation.log_importance_weights``. A pilot run from q,
    with noise of its own, finds how large moves may be; in the run that counts their sizes are
    fixed, also on the way back.

    Args:
        model: with ``log_likelihood``, differentiable in z.
        x: (n, …) images.
        mu, logvar: (n, k), where chains begin; zeros for the prior.
        chains: an image, at least 1.
        steps: rises of β, at least 1.
        leapfrog: gradients in one move, at least 1.
        seed: of the noise.
        codes: (n, chains, k) exact draws from p(z|x), such as the codes that made the images. The
            chains then walk back from them to q, and exp(−log_w) has the mean 1 / p(x).

    Returns:
        The logarithms of the weights, and the share of accepted moves.

    Raises:
        ValueError: an argument is out of its range, or the shapes do not fit.

    Source:
        Neal (2001), https://doi.org/10.1023/A:1008923215028; for VAEs, both ways, Wu et al. (2017),
        https://arxiv.org/abs/1611.04273.
    """
    expect_positive(chains=chains, steps=steps, leapfrog=leapfrog)
    expect_shapes("n k, n k", mu=mu, logvar=logvar)
    path = _Path(model, x, mu, logvar, leapfrog)
    betas = [(i / steps) ** 2 for i in range(steps + 1)]  # small near q
    size = (len(mu), chains, mu.shape[1])
    if codes is not None:
        expect_shapes(f"{len(mu)} {chains} {mu.shape[1]}", codes=codes)
    sizes: list[Tensor] = []  # of the move that keeps f_β, for each β between 0 and 1
    for run in ("pilot", "run"):
        generator = torch.Generator(mu.device).manual_seed(2 * seed + (run == "run"))
        u = torch.randn(size, generator=generator, device=mu.device, dtype=mu.dtype)
        if codes is not None and run == "run":  # the pilot never sees where these chains start
            u = (codes - mu[:, None]) / torch.exp(logvar / 2)[:, None]
            betas, sizes = betas[::-1], sizes[::-1]
        with evaluating(model):
            log_w, accepted = path.walk(u, betas, generator, sizes, pilot=run == "pilot")
    return Annealed(log_w if codes is None else -log_w, accepted)


class _Path:
    """The densities between q and the posterior, in units of q: z = mu + exp(logvar / 2) ⊙ u."""

    def __init__(
        self, model: nn.Module, x: Tensor, mu: Tensor, logvar: Tensor, leapfrog: int
    ) -> None:
        self.model, self.x, self.mu, self.logvar = model, x.to(mu), mu, logvar
        self.leapfrog = leapfrog

    def log_w(self, u: Tensor) -> Tensor:
        """Compute ln p(x, z) − ln q(z): (n, chains, k) -> (n, chains)."""
        return log_importance_weights(self.model, self.x, self.mu, self.logvar, u)

    def slope(self, u: Tensor, beta: float) -> Tensor:
        """Compute the gradient of ln f_β(u) = −½ ‖u‖² + β ln w(u), up to a constant."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_w(u).sum(), u)
        return beta * gradient - u.detach()

    def walk(
        self,
        u: Tensor,
        betas: list[float],
        generator: torch.Generator,
        sizes: list[Tensor],
        *,
        pilot: bool,
    ) -> tuple[Tensor, float]:
        """Walk along ``betas``; the pilot writes the sizes of the moves that the run reads."""
        total, shares = torch.zeros_like(u[:, :, 0]), []
        size = FIRST_SIZE * torch.ones_like(u[:, 0, 0])
        log_w = self.log_w(u)
        for i, (beta, following) in enumerate(zip(betas[:-1], betas[1:], strict=True)):
            total = total + (following - beta) * log_w
            if i == len(betas) - 2:
                break  # the last weight is taken; where the chain ends plays no part
            size = size if pilot else sizes[i]
            u, log_w, accepted = self.move(u, log_w, following, size, generator)
            shares.append(accepted.mean().item())
            if pilot:
                sizes.append(size)
                size = size * torch.where(accepted > WANTED, RISE, FALL)
        return total, sum(shares) / len(shares) if shares else math.nan

    def move(
        self, u: Tensor, log_w: Tensor, beta: float, size: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make one move of Hamiltonian Monte Carlo: u and ln w there, and the share accepted."""
        step = size[:, None, None]  # (n, 1, 1)
        start = torch.randn(u.shape, generator=generator, device=u.device, dtype=u.dtype)
        v, place = start + step / 2 * self.slope(u, beta), u
        for i in range(self.leapfrog):
            place = place + step * v
            last = i == self.leapfrog - 1
            v = v + (step / 2 if last else step) * self.slope(place, beta)
        there = self.log_w(place)
        gain = beta * (there - log_w) - 0.5 * (
            place.square() + v.square() - u.square() - start.square()
        ).sum(dim=2)
        luck = torch.rand(gain.shape, generator=generator, device=u.device, dtype=u.dtype)
        taken = torch.log(luck) < gain  # nan, from a step that flew away, is never taken
        u = torch.where(taken[:, :, None], place, u)
        return u, torch.where(taken, there, log_w), taken.to(u.dtype).mean(dim=1)


named_errors(globals())
