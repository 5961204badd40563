"""Is a code drawn as it should be? Experiments with an encoder that says what we want."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.diagnosis.faults import finding
from course_utils.diagnosis.probe import Finding, Probe, catch_code, rows_of

LEVELS = (-4.0, -2.5, -1.0, 0.7, 1.5, 2.5)  # of logvar: far from 0, where most widths agree
POSITIVE = (0.02, 0.08, 0.3, 0.9, 2.0, 4.0)  # for a head that is never negative
ERRORS = 6.0  # standard errors: a healthy sampler is further off once in 500 million tests
Run = Callable[[nn.Module, Tensor, int], Any]  # run(model, x, seed) calls the model, or a loss

# What the noise may have been scaled by, and what the head is where that is right. The logarithm of
# a standard normal number's size has the mean -0.635 and the standard deviation 1.11.
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
    "softplus(logvar)": F.softplus,
    "sqrt(logvar)": lambda v: torch.sqrt(v.abs()),
    "sqrt(softplus(logvar))": lambda v: torch.sqrt(F.softplus(v)),
}
RIGHT = "exp(logvar / 2)"
MEANING = {
    "exp(logvar / 2)": "logvar",
    "exp(logvar)": "ln σ",
    "logvar": "σ",
    "sqrt(logvar)": "σ²",
    "softplus(logvar)": "σ before softplus",
    "sqrt(softplus(logvar))": "σ² before softplus",
}
MEAN_LOG_SIZE, SD_LOG_SIZE = -0.6352, 1.1107
ROWS = 4096  # codes drawn


def check_sampler(probe: Probe, run: Run, where: str) -> list[Finding]:
    """Look at the codes that ``run`` draws for known mu and second head, (n, k) each.

    Nothing is found where ``run`` does not ask this encoder, or this decoder, or changes the shape.
    """
    n = ROWS if probe.d <= ROWS else ROWS // 4
    x, k, dtype = rows_of(probe.x, n), probe.k, probe.x.dtype
    levels = POSITIVE if probe.heads[0] > 0 else LEVELS
    dice = torch.Generator().manual_seed(n + k)
    mu = 3 * torch.randn(n, k, generator=dice, dtype=dtype)
    place = torch.randint(len(levels), (n, k), generator=dice)
    head = torch.tensor(levels, dtype=dtype)[place]
    mu.requires_grad_()
    head.requires_grad_()

    def draw(seed: int, m: Tensor = mu, v: Tensor = head) -> Tensor | None:
        try:
            return catch_code(lambda watched: run(watched, x, seed), probe.model, m, v)
        except Exception:  # a model that takes one number of rows only: the caller's, many times
            own = len(probe.x)
            parts = [
                catch_code(
                    lambda watched, s=seed + 10 * i: run(watched, probe.x, s),  # type: ignore[misc]
                    probe.model,
                    m.roll(-i, 0)[:own],
                    v.roll(-i, 0)[:own],
                )
                for i in range(0, n, own)
            ]
            known = [part for part in parts if part is not None]
            return torch.cat(known)[:n] if len(known) == len(parts) else None

    z, another = draw(1), draw(2)
    if z is None or another is None:
        probe.untested.append(f"the noise in {where}: it does not decode one code a row of encode")
        return []
    noise = (z - mu).detach()
    if not torch.isfinite(noise).all():
        share = float((~torch.isfinite(noise)).double().mean())
        text = f"{share:.0%} of the codes, for logvar from {levels[0]:g} to {levels[-1]:g}"
        return [finding("code not finite", text)]
    if noise.abs().max() == 0:
        text = f"in {where} z - mu is exactly 0 at every logvar: the mean code is decoded"
        return [finding("no noise", text)]
    findings = list(_dependence(noise, (another - mu).detach(), place))
    width, name = _distribution(noise, mu.detach(), place, levels, shared=bool(findings))
    probe.drawn_as = MEANING.get(name)
    return findings + width + list(_gradients(z, mu, head, draw))


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
    noise: Tensor, mu: Tensor, place: Tensor, levels: tuple[float, ...], *, shared: bool
) -> tuple[list[Finding], str]:
    """Find the width, then ask whether what is left is standard normal. Return the width too."""
    slope = float((noise * mu).mean() / (mu * mu).mean())
    error = float((noise * mu).std() / (mu * mu).mean()) / math.sqrt(len(mu))
    if abs(slope) > max(ERRORS * error, 1e-6):
        text = f"z moves by {1 + slope:.2f} for each unit of mu, not by 1"
        return [finding("mean of the code", text)], ""
    at = torch.tensor(levels, dtype=torch.float64)
    sizes = noise.abs().double().clamp(min=1e-300).log()
    per_level = [sizes[place == i] for i in range(len(levels))]
    means = torch.stack([part.mean() for part in per_level])
    errors = SD_LOG_SIZE / torch.tensor([len(part) for part in per_level]).double().sqrt()
    off = {}
    for name, width in WIDTHS.items():
        rest = means - width(at).log()
        off[name] = float(((rest - rest.mean()) / errors).abs().max())
    best = RIGHT if off[RIGHT] < ERRORS else min(off, key=lambda name: off[name])
    if off[best] >= ERRORS:
        steps = at - at.mean()
        slope = float((steps * means).sum() / (steps * steps).sum())
        text = f"it grows like exp({slope:.2f} logvar), not like exp(logvar / 2)"
        return [finding("width of the noise", text)], ""
    if best != RIGHT:
        return [_wrong_width(best, levels, means)], best
    return ([] if shared else _standard_normal(noise, at[place])), best


def _wrong_width(name: str, levels: tuple[float, ...], means: Tensor) -> Finding:
    mends = {
        "exp(logvar)": "exp(logvar) is the variance: take its root, exp(logvar / 2); or, if the"
        " head gives ln σ, let the KL know (2 ln σ is the logvar)",
        "1": "scale the noise by exp(logvar / 2): here σ is ignored",
    }
    low, high = levels[0], levels[-1]
    sds = [math.exp(float(means[i]) - MEAN_LOG_SIZE) for i in (0, -1)]
    text = (
        f"it is {name}, not {RIGHT}: sd {sds[0]:.2g} and {sds[1]:.3g} at logvar {low:g} and"
        f" {high:g}, where {math.exp(low / 2):.2g} and {math.exp(high / 2):.3g} are right"
    )
    return finding("width of the noise", text, mends.get(name, ""))


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
    text = f"mean {mean:.2f}, mean square {square:.2f}, mean fourth power {fourth:.2f}"
    return [finding("noise not standard normal", text + ": 0, 1, 3 are right")]


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
            text = (
                f"by {name}: autograd says {float(have.abs().mean()):.3g} on average, a small step"
            )
            yield finding("gradient of the sample", f"{text} {size:.3g}")
    if missing:
        text = f"no gradient by {' and '.join(missing)}, though a step there moves the code"
        yield finding("detached sample" if "mu" in missing else "detached width", text)
