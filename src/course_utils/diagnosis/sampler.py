"""Is a code drawn as it should be? Experiments with an encoder that says what we want."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.diagnosis.probe import Finding, catch_code

LEVELS = (-4.0, -2.5, -1.0, 0.7, 1.5, 2.5)  # of logvar: far from 0, where most widths agree
ERRORS = 6.0  # standard errors: a healthy sampler is further off once in 500 million tests
Run = Callable[[nn.Module, int], Any]  # run(model, seed) calls the model, or a loss of it

# What the noise may have been scaled by. The logarithm of a standard normal number's size has the
# mean -0.635 and the standard deviation 1.11.
WIDTHS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp(logvar / 2)": lambda v: torch.exp(v / 2),
    "exp(logvar)": torch.exp,
    "exp(2 logvar)": lambda v: torch.exp(2 * v),
    "exp(logvar / 4)": lambda v: torch.exp(v / 4),
    "exp(-logvar / 2)": lambda v: torch.exp(-v / 2),
    "logvar": torch.abs,
    "2^(logvar / 2)": lambda v: 2 ** (v / 2),
    "2^logvar": lambda v: 2**v,
    "1": torch.ones_like,
}
RIGHT = "exp(logvar / 2)"
MEAN_LOG_SIZE, SD_LOG_SIZE = -0.6352, 1.1107


def check_sampler(
    run: Run, model: nn.Module, n: int, k: int, dtype: torch.dtype, where: str
) -> list[Finding]:
    """Look at the codes that ``run`` draws for known mu and logvar, (n, k) each of type ``dtype``.

    Nothing is found where ``run`` does not ask this encoder, or this decoder, or changes the shape.
    """
    dice = torch.Generator().manual_seed(n + k)
    mu = 3 * torch.randn(n, k, generator=dice, dtype=dtype)
    place = torch.randint(len(LEVELS), (n, k), generator=dice)
    logvar = torch.tensor(LEVELS, dtype=dtype)[place]
    mu.requires_grad_()
    logvar.requires_grad_()

    def draw(seed: int, m: Tensor = mu, v: Tensor = logvar) -> Tensor | None:
        return catch_code(lambda watched: run(watched, seed), model, m, v)

    z, another = draw(1), draw(2)
    if z is None or another is None:
        return []
    noise = (z - mu).detach()
    if not torch.isfinite(noise).all():
        share = float((~torch.isfinite(noise)).double().mean())
        return [
            Finding(
                "code not finite",
                f"{share:.0%} of the codes, for logvar from {LEVELS[0]:g} to {LEVELS[-1]:g}",
                "look for a logarithm or a root of a negative number between logvar and z",
            )
        ]
    if noise.abs().max() == 0:
        return [
            Finding(
                "no noise",
                f"in {where} z - mu is exactly 0 at every logvar: the mean code is decoded",
                "draw z = mu + exp(logvar / 2) * eps: at the mean code the loss is no bound",
            )
        ]
    found = list(_dependence(noise, (another - mu).detach(), place))
    found += _distribution(noise, mu.detach(), place, shared=bool(found))
    return found + list(_gradients(z, mu, logvar, draw))


def _dependence(noise: Tensor, another: Tensor, place: Tensor) -> Iterator[Finding]:
    """Compare signs of the noise, so that a wrong width does not matter."""
    signs = torch.sign(noise).double()
    limit = ERRORS / math.sqrt(len(signs) - 1)
    if torch.equal(noise, another):
        yield Finding(
            "the same noise at every call",
            "two calls with different seeds draw the same numbers",
            "seed once, at the start of the program, never inside the model",
        )
    signs = signs - signs.mean()  # noise that is always positive is not shared for that
    rows = float((signs[1:] * signs[:-1]).mean())
    if abs(rows) > limit or _same_down_the_rows(noise, place):
        yield Finding(
            "noise shared by rows",
            f"signs of the noise of neighbouring rows are correlated, {rows:.2f}",
            "draw eps of the shape of mu, (n, k)",
        )
    elif signs.shape[1] > 1:
        across = float((signs[:, 1:] * signs[:, :-1]).mean())
        if abs(across) > limit:
            yield Finding(
                "noise shared by code numbers",
                f"signs of the noise of neighbouring code numbers are correlated, {across:.2f}",
                "draw eps of the shape of mu, (n, k)",
            )


def _same_down_the_rows(noise: Tensor, place: Tensor) -> bool:
    """Tell whether the first column has one and the same number wherever logvar is the same."""
    column = noise[:, 0][place[:, 0] == 0]
    return float(column.max() - column.min()) < 1e-4 * float(column.abs().max())


def _distribution(noise: Tensor, mu: Tensor, place: Tensor, *, shared: bool) -> list[Finding]:
    """Find the width, then ask whether what is left is standard normal."""
    slope = float((noise * mu).mean() / (mu * mu).mean())
    error = float((noise * mu).std() / (mu * mu).mean()) / math.sqrt(len(mu))
    if abs(slope) > max(ERRORS * error, 1e-6):
        return [
            Finding(
                "mean of the code",
                f"z moves by {1 + slope:.2f} for each unit of mu, not by 1",
                "add the noise to mu: z = mu + exp(logvar / 2) * eps",
            )
        ]
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    sizes = noise.abs().double().clamp(min=1e-300).log()
    per_level = [sizes[place == i] for i in range(len(LEVELS))]
    means = torch.stack([part.mean() for part in per_level])
    errors = SD_LOG_SIZE / torch.tensor([len(part) for part in per_level]).double().sqrt()
    best, off = RIGHT, math.inf
    for name, width in WIDTHS.items():
        rest = means - width(levels).log()
        worst = float(((rest - rest.mean()) / errors).abs().max())
        if worst < off:
            best, off = name, worst
    if best != RIGHT and off < ERRORS:
        return [_wrong_width(best, float(means[0]), float(means[-1]))]
    if off >= ERRORS:
        steps = levels - levels.mean()
        slope = float((steps * means).sum() / (steps * steps).sum())
        return [
            Finding(
                "width of the noise",
                f"it grows like exp({slope:.2f} logvar), not like exp(logvar / 2)",
                "scale the noise by exp(logvar / 2)",
            )
        ]
    return [] if shared else _standard_normal(noise, levels[place])


def _wrong_width(name: str, low: float, high: float) -> Finding:
    mends = {
        "exp(logvar)": "exp(logvar) is the variance: take its root, exp(logvar / 2); or, if the"
        " head gives ln σ, let the KL know (2 ln σ is the logvar)",
        "1": "scale the noise by exp(logvar / 2): here σ is ignored",
    }
    sds = [math.exp(size - MEAN_LOG_SIZE) for size in (low, high)]
    return Finding(
        "width of the noise",
        f"it is {name}, not {RIGHT}: sd {sds[0]:.2g} and {sds[1]:.3g} at logvar {LEVELS[0]:g} and"
        f" {LEVELS[-1]:g}, where {math.exp(LEVELS[0] / 2):.2g} and {math.exp(LEVELS[-1] / 2):.3g}"
        " are right",
        mends.get(name, "scale the noise by exp(logvar / 2)"),
    )


def _standard_normal(noise: Tensor, logvar: Tensor) -> list[Finding]:
    eps = noise.double() / torch.exp(logvar / 2)
    count = eps.numel()
    mean, square = float(eps.mean()), float((eps**2).mean())
    fourth = float((eps**4).mean())
    off = (
        abs(mean) * math.sqrt(count),
        abs(square - 1) * math.sqrt(count / 2),
        abs(fourth - 3) * math.sqrt(count / 96),
    )
    if max(off) < ERRORS:
        return []
    return [
        Finding(
            "noise not standard normal",
            f"mean {mean:.2f}, mean square {square:.2f}, mean fourth power {fourth:.2f}:"
            " 0, 1, 3 are right",
            "draw eps with torch.randn",
        )
    ]


def _gradients(
    z: Tensor, mu: Tensor, logvar: Tensor, draw: Callable[..., Tensor | None]
) -> Iterator[Finding]:
    """Compare autograd with central differences of the same draw."""
    step = 1e-4 if mu.dtype == torch.float64 else 1e-2
    given: tuple[Tensor | None, ...] = (None, None)
    if z.requires_grad:
        given = torch.autograd.grad(z.sum(), (mu, logvar), allow_unused=True)
    with torch.no_grad():
        ends = [
            [draw(1, mu + s * step, logvar) for s in (1, -1)],
            [draw(1, mu, logvar + s * step) for s in (1, -1)],
        ]
    missing = []
    for name, gradient, (up, down) in zip(("mu", "logvar"), given, ends, strict=True):
        if up is None or down is None:
            return
        slope = (up - down) / (2 * step)
        have = torch.zeros_like(slope) if gradient is None else gradient
        size = float(slope.abs().mean())
        if size > 1e-6 and float(have.abs().mean()) < 1e-3 * size:
            missing.append(name)
        elif float((have - slope).abs().mean()) > 0.02 * max(size, 1e-3):
            yield Finding(
                "gradient of the sample",
                f"by {name}: autograd says {float(have.abs().mean()):.3g} on average, a small step"
                f" {size:.3g}",
                "compute z as mu + exp(logvar / 2) * eps from tensors that need gradients",
            )
    if missing:
        yield Finding(
            "detached sample" if "mu" in missing else "detached width",
            f"no gradient by {' and '.join(missing)}, though a step there moves the code",
            "write z = mu + exp(logvar / 2) * eps: no detach, no item, no torch.normal",
        )
