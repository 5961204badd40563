"""What decoder and heads can say whatever their weights, and whether the data need more or less."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.diagnosis.calls import has
from course_utils.diagnosis.faults import Finding, finding
from course_utils.diagnosis.probe import Probe

LEAST_MEAN, LEAST_LOGVAR = 2.0, -1.5  # a code must reach ±2, two of the prior's widths, and σ < 1/2


@torch.no_grad()
def measure_reach(probe: Probe) -> None:
    """Find what decoder and heads can say whatever their weights, by random weights of all sizes.

    A sigmoid stays in [0, 1] however large the weights are, a ReLU at 0 and above; a linear layer
    goes anywhere. What still grows with the weights counts as infinite. A part that no weight moves
    is left out.
    """
    weights = list(probe.model.parameters())
    before = [w.clone() for w in weights]
    dice = torch.Generator().manual_seed(0)
    _, middle, last = (_said(probe, weights, size, dice) for size in (1.0, 1e2, 1e4))
    for w in weights:
        w.zero_()
    codes = torch.zeros(2, probe.k, dtype=probe.x.dtype)
    probe.blank = float(probe.model.decode(codes).mean())
    for w, old in zip(weights, before, strict=True):
        w.copy_(old)
    for name in last:
        low, high = (
            sign * math.inf if sign * b > 10 * abs(a) and abs(b) > 10 else b
            for sign, a, b in zip((-1, 1), middle[name], last[name], strict=True)
        )
        if low < high:
            probe.reach[name] = low, high


def _said(
    probe: Probe, weights: list[Tensor], size: float, dice: torch.Generator
) -> dict[str, tuple[float, float]]:
    """Return the ends of what each part says with random weights of this size."""
    x = probe.x[:32]
    draws = int(min(12, max(3, 4e6 / (1 + sum(w.numel() for w in weights)))))
    said: dict[str, list[Tensor]] = {"decode": [], "mean": [], "width": []}
    for i in range(2 * draws):
        for w in weights:
            w.normal_(generator=dice).mul_(size if i % 2 else -size)
        z = 3 * torch.randn(32, probe.k, generator=dice, dtype=x.dtype)
        parts = (probe.model.decode(z), *probe.model.encode(x)[:2])
        for values, part in zip(said.values(), parts, strict=True):
            values.append(part.flatten().nan_to_num(0, math.inf, -math.inf))
    every = {name: torch.cat(values) for name, values in said.items()}
    return {name: (float(values.min()), float(values.max())) for name, values in every.items()}


# The decoder ------------------------------------------------------------------------------------
def check_reach(probe: Probe, needs: bool) -> Iterator[Finding]:
    """Compare the data, as the loss takes them, with what the decoder can say.

    ``needs`` says whether the model or the loss asks for data in [0, 1].
    """
    low, high = probe.ends(probe.error.target)
    if "decode" not in probe.reach:
        probe.untested.append("what the decoder can say: no weight moves it")
        return
    least, most = probe.reach["decode"]
    slack = 0.01 * (high - low)
    if low < least - slack or high > most + slack:
        says = f"data from {low:g} to {high:g}; decode says {least:.4g} to {most:.4g}"
        name = "input range" if probe.says_probabilities else "decoder cannot reach the data"
        yield finding(name, f"{says}, whatever weights")
    elif needs and (low < 0 or high > 1):
        yield finding("input range", f"data from {low:g} to {high:g}: a cross-entropy needs [0, 1]")
    elif probe.says_probabilities and most > 0.5 and 0 < high < 0.05 and low >= 0:
        text = f"the brightest pixel is {high:.3g}: divided by 255 twice?"
        yield finding("input range", text, "ToTensor divides already: scale to [0, 1] once")


def check_range_is_used(probe: Probe) -> Iterator[Finding]:
    """Ask ``half_unused`` where the loss has an error; ``density`` asks for a log_likelihood."""
    if probe.error.name in ("squared error", "absolute error"):
        yield from half_unused(probe, probe.error.target)
    elif probe.error.name == "" and not has(probe.model, "log_likelihood"):
        if _half_of_it(probe, (1.0, 0.0)):
            text = "whether the decoder's range is the data's: what its image is compared with"
            probe.untested.append(text)


@torch.no_grad()
def half_unused(probe: Probe, target: tuple[float, float]) -> Iterator[Finding]:
    """Name a decoder half of whose range no data have, compared with a x + b for target (a, b)."""
    if _half_of_it(probe, target):
        (least, most), x = probe.reach["decode"], probe.x
        below = probe.model.decode(probe.model.encode(x)[0]) < -0.01 * most
        text = f"data from {float(x.min()):.3g} to {float(x.max()):.3g}; decode reaches"
        text += f" {least:.4g} to {most:.4g}, whatever weights, and"
        text += f" {float(below.double().mean()):.0%} of what it says now lies below 0"
        yield finding("half of the decoder's range unused", text)


def _half_of_it(probe: Probe, target: tuple[float, float]) -> bool:
    """Whether decode reaches as far below 0 as above it, and the data fill the upper half alone.

    As a tanh does whose data lie in [0, 1]. Data that stay far from 0, or far from the upper end,
    may be a part of others that have both signs.
    """
    least, most = probe.reaches("decode")
    if not probe.bounded or most <= 0 or abs(least + most) >= 0.01 * most:
        return False
    low, high = (end / most for end in probe.ends(target))
    return -0.01 < low < 0.05 and 0.95 < high < 1.01


@torch.no_grad()
def check_probabilities(probe: Probe) -> Iterator[Finding]:
    """Look for outputs outside [0, 1] of a decoder that is said to give probabilities."""
    mu = probe.model.encode(probe.x)[0]
    wide = 3 * torch.randn(min(256, probe.max_rows), probe.k, dtype=mu.dtype)
    said = torch.cat([probe.model.decode(z) for z in (mu, wide)])
    share = float(((said < 0) | (said > 1)).double().mean())
    if share > 0:
        text = f"{share:.0%} of the decoder's outputs are no probabilities: {float(said.min()):.2f}"
        yield finding("no sigmoid", f"{text} to {float(said.max()):.2f}")


# The heads --------------------------------------------------------------------------------------
@torch.no_grad()
def check_heads(probe: Probe) -> Iterator[Finding]:
    """Look for activations on the heads: numbers that are bounded, widths that are zero."""
    x, dice = probe.x, torch.Generator().manual_seed(0)
    noise = torch.randn(x.shape, generator=dice, dtype=x.dtype)
    said = [probe.model.encode(part) for part in (x, x.mean() + 3 * x.std() * noise)]
    mean, width = (torch.cat(parts) for parts in zip(*said, strict=True))
    a_width = probe.drawn_as in ("σ", "σ²")
    nothing = torch.isneginf(width) | ((width == 0) & a_width)
    if bool(nothing.any()):
        share = float(nothing.double().mean())
        yield finding("sigma is zero", f"{share:.0%} of the widths are exactly 0 (logvar = -inf)")
    (low, high), least = probe.reaches("mean"), probe.reaches("width")[0]
    narrow = []
    if low >= 0:
        text = f"smallest {float(mean.min()):.2g}, whatever the weights"
        yield finding("mean never negative", text)
    elif low > -LEAST_MEAN or high < LEAST_MEAN:
        narrow.append(f"mean from {low:.3g} to {high:.3g}")
    if least >= 0 and probe.drawn_as in (None, "logvar"):
        text = f"smallest {float(width.min()):.2g}, whatever the weights"
        yield finding("logvar never negative", text)
    if 0 > least > (LEAST_LOGVAR / 2 if probe.drawn_as == "ln σ" else LEAST_LOGVAR):
        narrow.append("logvar from {:.3g} to {:.3g}".format(*probe.reach["width"]))
    if narrow:
        text = f"{' and '.join(narrow)}, whatever input and weights"
        yield finding("activation on the heads", text)
