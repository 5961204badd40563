"""Is a code drawn as it should be? Experiments with an encoder that says what we want."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.diagnosis.calls import catch_code, in_mode, run_forward, run_loss
from course_utils.diagnosis.faults import Finding, finding
from course_utils.diagnosis.probe import Probe

LEVELS = (-4.0, -2.5, -1.0, 0.7, 1.5, 2.5)  # of logvar: far from 0, where most widths agree
POSITIVE = (0.02, 0.08, 0.3, 0.9, 2.0, 4.0)  # for a head that is never negative
ERRORS = 6.0  # standard errors: a healthy sampler is further off once in 500 million tests

# What the noise may have been scaled by, and what the head is where that is right (None: wrong).
# The logarithm of a standard normal number's size has the mean -0.635 and the standard deviation
# 1.11.
WIDTHS: dict[str, tuple[Callable[[Tensor], Tensor], str | None]] = {
    "exp(logvar / 2)": (lambda v: torch.exp(v / 2), "logvar"),
    "exp(logvar)": (torch.exp, "ln σ"),
    "exp(2 logvar)": (lambda v: torch.exp(2 * v), None),
    "exp(logvar / 4)": (lambda v: torch.exp(v / 4), None),
    "exp(-logvar / 2)": (lambda v: torch.exp(-v / 2), None),
    "logvar": (torch.abs, "σ"),
    "2^(logvar / 2)": (lambda v: 2 ** (v / 2), None),
    "2^logvar": (lambda v: 2**v, None),
    "1": (torch.ones_like, None),
    "softplus(logvar)": (F.softplus, "σ before softplus"),
    "sqrt(logvar)": (lambda v: torch.sqrt(v.abs()), "σ²"),
    "sqrt(softplus(logvar))": (lambda v: torch.sqrt(F.softplus(v)), "σ² before softplus"),
}
RIGHT = "exp(logvar / 2)"
MENDS = {
    "exp(logvar)": "exp(logvar) is the variance: take its root, exp(logvar / 2); or, if the head"
    " gives ln σ, let the KL know (2 ln σ is the logvar)",
    "1": "scale the noise by exp(logvar / 2): here σ is ignored",
}
MEAN_LOG_SIZE, SD_LOG_SIZE = -0.6352, 1.1107
ROWS = 4096  # codes drawn


def check_sampler(probe: Probe, where: str) -> Iterator[Finding]:
    """Look at the codes that are drawn for known mu and second head, (n, k) each.

    ``where``: "forward", "the loss" or "the loss, at evaluation". Nothing is found where it does
    not ask this encoder, or this decoder, or changes the shape.
    """
    n = ROWS if probe.d <= ROWS else ROWS // 4
    k, dtype = probe.k, probe.x.dtype
    levels = POSITIVE if probe.heads[0] > 0 else LEVELS
    dice = torch.Generator().manual_seed(n + k)
    mu = (3 * torch.randn(n, k, generator=dice, dtype=dtype)).requires_grad_()
    place = torch.randint(len(levels), (n, k), generator=dice)
    head = torch.tensor(levels, dtype=dtype)[place].requires_grad_()
    draw = partial(_draw, probe, where, probe.rows(n))
    z, another = draw(mu, head, 1), draw(mu, head, 2)
    if z is None or another is None:
        probe.untested.append(f"the noise in {where}: it does not decode one code a row of encode")
        return
    noise = (z - mu).detach()
    if not torch.isfinite(noise).all():
        share = float((~torch.isfinite(noise)).double().mean())
        text = f"{share:.0%} of the codes, for logvar from {levels[0]:g} to {levels[-1]:g}"
        yield finding("code not finite", text)
    elif noise.abs().max() == 0:
        text = f"in {where} z - mu is exactly 0 at every logvar: the mean code is decoded"
        yield finding("no noise", text)
    else:
        shared = list(_dependence(noise, (another - mu).detach(), place))
        yield from shared
        yield from _distribution(probe, noise, mu.detach(), place, levels, shared=bool(shared))
        yield from _gradients(z, mu, head, draw)


def _draw(
    probe: Probe, where: str, x: Tensor, mu: Tensor, head: Tensor, seed: int
) -> Tensor | None:
    """Draw a code for each row of mu and head, for as many at a time as x has rows."""

    def in_parts(x: Tensor) -> Tensor | None:
        parts = []
        for start in range(0, len(mu), len(x)):
            rows = torch.arange(start, start + len(x)) % len(mu)  # the last part goes round
            run = partial(_run, probe, where, x, 1000 * probe.seed + seed + 10 * start)
            parts.append(catch_code(run, probe.model, mu[rows], head[rows]))
        known = [part for part in parts if part is not None]
        return torch.cat(known)[: len(mu)] if len(known) == len(parts) else None

    try:
        return in_parts(x)
    except Exception:  # a model that takes one number of rows only: the caller's, many times
        return in_parts(probe.x)


def _run(probe: Probe, where: str, x: Tensor, seed: int, model: nn.Module) -> Any:
    in_mode(model, training=not where.endswith("evaluation"))
    if where == "forward" or probe.loss is None:
        return run_forward(model, x, seed)
    return run_loss(probe.loss, model, x, seed)


def _dependence(noise: Tensor, another: Tensor, place: Tensor) -> Iterator[Finding]:
    """Compare signs of the noise, so that a wrong width does not matter."""
    signs = torch.sign(noise).double()
    limit = ERRORS / math.sqrt(len(signs) - 1)
    if torch.equal(noise, another):
        text = "two calls with different seeds draw the same numbers"
        yield finding("the same noise at every call", text)
    signs = signs - signs.mean()  # noise that is always positive is not shared for that
    rows = float((signs[1:] * signs[:-1]).mean())
    if abs(rows) > limit or _same_down_the_rows(noise, place):
        text = f"signs of the noise of neighbouring rows are correlated, {rows:.2f}"
        yield finding("noise shared by rows", text)
    elif signs.shape[1] > 1:
        across = float((signs[:, 1:] * signs[:, :-1]).mean())
        if abs(across) > limit:
            text = f"signs of the noise of neighbouring code numbers are correlated, {across:.2f}"
            yield finding("noise shared by code numbers", text)


def _same_down_the_rows(noise: Tensor, place: Tensor) -> bool:
    """Tell whether the first column has one and the same number wherever logvar is the same."""
    column = noise[:, 0][place[:, 0] == 0]
    return float(column.max() - column.min()) < 1e-4 * float(column.abs().max())


def _distribution(
    probe: Probe,
    noise: Tensor,
    mu: Tensor,
    place: Tensor,
    levels: tuple[float, ...],
    *,
    shared: bool,
) -> Iterator[Finding]:
    """Find the width, then ask whether what is left is standard normal."""
    probe.drawn_as = None
    slope = float((noise * mu).mean() / (mu * mu).mean())
    error = float((noise * mu).std() / (mu * mu).mean()) / math.sqrt(len(mu))
    if abs(slope) > max(ERRORS * error, 1e-6):
        yield finding(
            "mean of the code", f"z moves by {1 + slope:.2f} for each unit of mu, not by 1"
        )
        return
    at = torch.tensor(levels, dtype=torch.float64)
    sizes = noise.abs().double().clamp(min=1e-300).log()
    per_level = [sizes[place == i] for i in range(len(levels))]
    means = torch.stack([part.mean() for part in per_level])
    errors = SD_LOG_SIZE / torch.tensor([len(part) for part in per_level]).double().sqrt()
    off = {}
    for name, (width, _) in WIDTHS.items():
        rest = means - width(at).log()
        off[name] = float(((rest - rest.mean()) / errors).abs().max())
    best = RIGHT if off[RIGHT] < ERRORS else min(off, key=lambda name: off[name])
    if off[best] >= ERRORS:
        steps = at - at.mean()
        slope = float((steps * means).sum() / (steps * steps).sum())
        text = f"it grows like exp({slope:.2f} logvar), not like {RIGHT}"
        yield finding("width of the noise", text)
        return
    probe.drawn_as = WIDTHS[best][1]
    if best != RIGHT:
        yield _wrong_width(best, levels, means)
    elif not shared:
        yield from _standard_normal(noise, at[place])


def _wrong_width(name: str, levels: tuple[float, ...], means: Tensor) -> Finding:
    low, high = levels[0], levels[-1]
    sds = [math.exp(float(means[i]) - MEAN_LOG_SIZE) for i in (0, -1)]
    text = (
        f"it is {name}, not {RIGHT}: sd {sds[0]:.2g} and {sds[1]:.3g} at logvar {low:g} and"
        f" {high:g}, where {math.exp(low / 2):.2g} and {math.exp(high / 2):.3g} are right"
    )
    return finding("width of the noise", text, MENDS.get(name, ""))


def _standard_normal(noise: Tensor, logvar: Tensor) -> Iterator[Finding]:
    eps = noise.double() / torch.exp(logvar / 2)
    mean, square, fourth = (float((eps**power).mean()) for power in (1, 2, 4))
    # the variances of the three means, for a standard normal eps, are 1, 2 and 96 by count
    off = (abs(mean), abs(square - 1) / math.sqrt(2), abs(fourth - 3) / math.sqrt(96))
    if max(off) * math.sqrt(eps.numel()) >= ERRORS:
        text = f"mean {mean:.2f}, mean square {square:.2f}, mean fourth power {fourth:.2f}"
        yield finding("noise not standard normal", text + ": 0, 1, 3 are right")


def _gradients(
    z: Tensor, mu: Tensor, head: Tensor, draw: Callable[[Tensor, Tensor, int], Tensor | None]
) -> Iterator[Finding]:
    """Compare autograd with central differences of the same draw."""
    step = 1e-4 if mu.dtype == torch.float64 else 1e-2
    given: tuple[Tensor | None, ...] = (None, None)
    if z.requires_grad:
        given = torch.autograd.grad(z.sum(), (mu, head), allow_unused=True)
    with torch.no_grad():
        by_mu = [draw(mu + s * step, head, 1) for s in (1, -1)]
        by_head = [draw(mu, head + s * step, 1) for s in (1, -1)]
    missing = []
    for name, gradient, (up, down) in zip(("mu", "logvar"), given, (by_mu, by_head), strict=True):
        if up is None or down is None:
            return
        slope = (up - down) / (2 * step)
        have = torch.zeros_like(slope) if gradient is None else gradient
        size, found = float(slope.abs().mean()), float(have.abs().mean())
        if size > 1e-6 and found < 1e-3 * size:
            missing.append(name)
        elif float((have - slope).abs().mean()) > 0.02 * max(size, 1e-3):
            text = f"by {name}: autograd says {found:.3g} on average, a small step {size:.3g}"
            yield finding("gradient of the sample", text)
    if missing:
        text = f"no gradient by {' and '.join(missing)}, though a step there moves the code"
        yield finding("detached sample" if "mu" in missing else "detached width", text)
