"""Many levels with fixed encoders: a diffusion model, its bound and its samplers.

Level t of T is z_t = α_t x + σ_t ε with α_t² + σ_t² = 1, and α falls from nearly 1 to nearly 0. A
schedule is the array of the α_t, (T,), level 1 first. What is learned is one function, ``predict``:
from noisy points z, (n, d), and the α of each, (n, 1), to a guess of their noise ε, (n, d).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors
from course_utils.shapes import expect_numbers, expect_shapes, expect_sizes, expect_whole

Predict = Callable[[Tensor, Tensor], Tensor]


def schedule(steps: int, *, first: float = 9.0, last: float = -7.0) -> Tensor:
    """Make T levels whose ln(α²/σ²) falls in equal steps. Defined in chapter 21.

    Args:
        steps: T, at least 2.
        first, last: ln(α²/σ²) of level 1 and of level T; ``first`` is the larger.

    Returns:
        (T,) float64, the α_t, falling.

    Raises:
        ValueError: an argument is out of its range.
    """
    expect_whole("steps", steps, 2)
    if not -math.inf < last < first < math.inf:
        raise ValueError(f"first must be above last, both finite, got {first} and {last}")
    return torch.sigmoid(torch.linspace(first, last, steps, dtype=torch.float64)).sqrt()


def noised(
    x: Tensor, alpha: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw z = α x + σ ε, a level at once, and return it with its noise. Defined in chapter 21.

    Args:
        x: (n, d). alpha: (n, 1), in (0, 1). generator: of the noise.

    Returns:
        z and ε, (n, d) each.
    """
    expect_shapes("n d, n 1", x=x, alpha=alpha)
    eps = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return alpha * x + (1 - alpha**2).sqrt() * eps, eps


def guess(predict: Predict, z: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Return the guessed clean points and noise, (n, d) each. Defined in chapter 21.

    x̂ = (z − σ ε̂)/α with ε̂ = predict(z, α).

    Args:
        predict: the noise of a point.
        z: (n, d).
        alpha: (n, 1), in (0, 1).

    Raises:
        ValueError: a shape does not fit, or a level lies outside (0, 1).
    """
    expect_shapes("n d, n 1", z=z, alpha=alpha)
    expect_inside(alpha=alpha)
    eps_hat = predict(z, alpha)
    return (z - (1 - alpha**2).sqrt() * eps_hat) / alpha, eps_hat


def step_back(x: Tensor, z: Tensor, before: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and variance of the level before, given z_t and x. Defined in chapter 21.

    q(z_{t−1} | z_t, x) is normal with mean (α_{t−1} b² x + a σ_{t−1}² z_t)/σ_t² and variance
    b² σ_{t−1}²/σ_t², where a = α_t/α_{t−1} and b² = 1 − a².

    Args:
        x: (n, d) clean points. z: (n, d) their level t.
        before, alpha: α_{t−1} and α_t, numbers or (n, 1); ``before`` is the larger.

    Returns:
        The mean, (n, d), and the variance, a number or (n, 1).

    Raises:
        ValueError: a shape does not fit, or a level lies outside (0, 1).
    """
    expect_shapes("n d, n d", x=x, z=z)
    expect_inside(before=before, alpha=alpha)
    a = alpha / before
    b2, var_before, var = 1 - a**2, 1 - before**2, 1 - alpha**2
    return (before * b2 * x + a * var_before * z) / var, b2 * var_before / var


def level_terms(
    predict: Predict, x: Tensor, alpha: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Estimate the terms of −ELBO of each point, one draw a level. Defined in chapter 21.

    Column 0 is −ln p(x | z_1) with p normal around the guess, variance σ_1²/α_1². Columns 1 to
    T − 1 are KL(q(z_{t−1} | z_t, x) ‖ p(z_{t−1} | z_t)) for t = 2 … T, in closed form:
    ½ (α_{t−1}²/σ_{t−1}² − α_t²/σ_t²) ‖x − x̂‖². Column T is KL(q(z_T | x) ‖ N(0, I)).

    Args:
        predict: the noise of a point.
        x: (n, d).
        alpha: (T,), falling.
        generator: of the noise.

    Returns:
        (n, T + 1) nats; a row adds up to an estimate of −ELBO.

    Raises:
        ValueError: ``alpha`` does not fall inside (0, 1), or a shape does not fit.

    Source:
        Kingma, Salimans, Poole and Ho (2021), https://arxiv.org/abs/2107.00630.
    """
    expect_shapes("n d", x=x)
    expect_falling(alpha)
    var = 1 - alpha**2
    ratio = (alpha**2 / var).to(x)
    weights = 0.5 * torch.cat([ratio[:1], -ratio.diff()])  # (T,)
    errors = []
    for a in alpha.to(x):
        level = a.expand(len(x), 1)
        x_hat, _ = guess(predict, noised(x, level, generator)[0], level)
        errors.append((x - x_hat).square().sum(dim=1))
    terms = torch.stack(errors, dim=1) * weights
    terms[:, 0] += 0.5 * x.shape[1] * torch.log(2 * math.pi / ratio[0])
    kl = 0.5 * ((alpha[-1] * x) ** 2 + var[-1] - 1 - torch.log(var[-1])).sum(dim=1, keepdim=True)
    return torch.cat([terms, kl.to(x)], dim=1)


def noise_loss(
    predict: nn.Module, x: Tensor, generator: torch.Generator | None = None, *, alpha: Tensor
) -> Tensor:
    """Compute the mean over rows of ‖ε − ε̂‖², a level drawn for each row. Defined in chapter 21.

    Args:
        predict: the noise of a point.
        x: (n, d).
        generator: of the levels and the noise.
        alpha: (T,), from which levels are drawn with equal probability.

    Returns:
        One number, a sum over the d numbers and a mean over rows.

    Raises:
        ValueError: ``alpha`` does not fall inside (0, 1), or a shape does not fit.

    Source:
        Ho, Jain and Abbeel (2020), equation 14, https://arxiv.org/abs/2006.11239.
    """
    expect_shapes("n d", x=x)
    expect_falling(alpha)
    drawn = torch.rand((len(x), 1), generator=generator, device=x.device) * len(alpha)
    levels = alpha.to(x)[drawn.long()]  # (n, 1)
    z, eps = noised(x, levels, generator)
    return (eps - predict(z, levels)).square().sum(dim=1).mean()


@torch.no_grad()
def sample(
    predict: Predict,
    z: Tensor,
    alpha: Tensor,
    generator: torch.Generator | None = None,
    *,
    eta: float = 1.0,
) -> Tensor:
    """Walk from level T back to a clean point. Defined in chapter 21.

    A step goes to α_{t−1} x̂ + √(σ_{t−1}² − κ²) ε̂ + κ ε with κ² = eta² times the variance of
    ``step_back``. With ``eta=1`` that is an ancestral step, a draw from p(z_{t−1} | z_t). With
    ``eta=0`` the draws have no weight: the deterministic sampler. The last step returns x̂.

    Args:
        predict: the noise of a point.
        z: (n, d) draws from N(0, I).
        alpha: (T,), falling; any levels between those of the training.
        generator: of the noise.
        eta: in [0, 1]: the fresh noise has eta times the standard deviation of an ancestral step's.

    Returns:
        (n, d).

    Raises:
        ValueError: an argument is out of its range.

    Source:
        Song, Meng and Ermon (2021), https://arxiv.org/abs/2010.02502.
    """
    expect_shapes("n d", z=z)
    expect_falling(alpha)
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1], got {eta}")
    z = 1.0 * z  # whole numbers become floats
    levels = alpha.to(z).flip(0)
    for a, before in zip(levels[:-1], levels[1:], strict=True):
        x_hat, eps_hat = guess(predict, z, a.expand(len(z), 1))
        _, var = step_back(x_hat, z, before, a)
        kept = (1 - before**2 - eta**2 * var).sqrt()
        fresh = torch.randn(z.shape, generator=generator, dtype=z.dtype, device=z.device)
        z = before * x_hat + kept * eps_hat + eta * var.sqrt() * fresh
    return guess(predict, z, levels[-1].expand(len(z), 1))[0]


class Denoiser(nn.Module):
    """Guess the noise: ε̂ = σ z + α net(z, level), a residual network. Defined in chapter 21.

    At the last levels σ z is nearly the answer, so the network has little to add there. It sees
    the level as ln(α²/σ²) by sines and cosines. ``net`` learns α ε − σ x.

    Source:
        Salimans and Ho (2022), appendix D, for α ε − σ x, https://arxiv.org/abs/2202.00512.
    """

    def __init__(self, d: int, hidden: int, *, blocks: int = 2) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            d: numbers of a point. hidden: units. blocks: residual blocks; each at least 1.

        Raises:
            ValueError: a number is below 1.
        """
        super().__init__()
        expect_sizes("d, hidden, blocks", (d, hidden, blocks), 3)
        self.start = nn.Linear(d + 8, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
            )
            for _ in range(blocks)
        )
        self.end = nn.Sequential(nn.SiLU(), nn.Linear(hidden, d))

    def forward(self, z: Tensor, alpha: Tensor) -> Tensor:
        """Compute ε̂: (n, d), (n, 1) -> (n, d)."""
        expect_shapes("n d, n 1", z=z, alpha=alpha)
        sigma = (1 - alpha**2).sqrt()
        angle = torch.log(alpha / sigma) / 4 * torch.tensor([1.0, 2.0, 4.0, 8.0]).to(z)  # (n, 4)
        h = self.start(torch.cat([z, angle.sin(), angle.cos()], dim=1))
        for block in self.blocks:
            h = h + block(h)
        return sigma * z + alpha * self.end(h)


def expect_falling(alpha: Tensor) -> None:
    """Check that a schedule falls and lies inside (0, 1).

    Raises:
        ValueError: it does not.
    """
    expect_shapes("t", alpha=alpha)
    if len(alpha) < 2 or not bool(((alpha > 0) & (alpha < 1)).all() and (alpha.diff() < 0).all()):
        raise ValueError(f"alpha must hold 2 or more numbers that fall inside (0, 1), got {alpha}")


def expect_inside(**values: Tensor) -> None:
    """Check that each holds numbers inside (0, 1), one alone or one a row, (n, 1).

    Raises:
        ValueError: one does not; the message names it.
    """
    for name, value in values.items():
        expect_numbers(name, value)
        if value.ndim and (value.ndim != 2 or value.shape[1] != 1 or not len(value)):
            raise ValueError(f"{name} must be one number or (n, 1), got shape {tuple(value.shape)}")
        if not bool(((value > 0) & (value < 1)).all()):
            raise ValueError(f"{name} must lie inside (0, 1), got {value}")


named_errors(globals())
