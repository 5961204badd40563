"""Whether the networks bend, give the same answer twice, and read the code."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from course_utils.diagnosis.calls import has
from course_utils.diagnosis.faults import Finding, finding
from course_utils.diagnosis.probe import TINY, Probe
from course_utils.vae.elbo import kl_divergence, reparameterize


# Middles ----------------------------------------------------------------------------------------
@torch.no_grad()
def check_nonlinearity(probe: Probe) -> Iterator[Finding]:
    """Test whether the middle of two inputs goes to the middle of two outputs, at any distance.

    The inputs differ by the spread of the data, times 5, 500, …: an affine map is affine
    everywhere, and a smooth activation looks so between near points.
    """
    edge = 1e-6 if probe.exact else 1e-3
    dice = torch.Generator().manual_seed(0)
    bends = {"encoder": _encoder_bends(probe, dice), "decoder": _decoder_bends(probe, dice, edge)}
    for part, off in bends.items():
        if off < edge:
            text = (
                f"the middle of two inputs goes to the middle of two outputs, but for {off:.0e} of"
                " their distance: however many layers, one matrix"
            )
            yield finding(f"{part} without nonlinearity", text)


def _encoder_bends(probe: Probe, dice: torch.Generator) -> float:
    centre, spread = probe.x.mean(dim=0), probe.x.std(dim=0)
    u, v = torch.randn(2, 64, *probe.x.shape[1:], generator=dice, dtype=probe.x.dtype)
    bends = []
    for size in (5.0, 5e2, 5e4):
        a, b = (centre + size * spread * part for part in (u, v))
        ends = [probe.model.encode(x)[:2] for x in (a, b, (a + b) / 2)]
        bends.append([_bend(*parts) for parts in zip(*ends, strict=True)])
    return min(max(column) for column in zip(*bends, strict=True))


def _decoder_bends(probe: Probe, dice: torch.Generator, edge: float) -> float:
    low, high = probe.reaches("decode")
    u, v = torch.randn(2, 64, probe.k, generator=dice, dtype=probe.x.dtype)
    plain, before = [], []
    for size in (1.0, 3.0, 3e2, 3e4):
        outputs = [probe.model.decode(size * z) for z in (u, v, (u + v) / 2)]
        plain.append(_bend(*outputs))
        if probe.bounded and size <= 3:  # before a sigmoid or a tanh
            parts = [(p - low) / (high - low) for p in outputs]
            inside = torch.stack([(p > edge) & (p < 1 - edge) for p in parts]).all(dim=0)
            if float(inside.double().mean()) > 0.1:
                before.append(_bend(*(p[inside].logit() for p in parts)))
    return min(max(plain), max(before, default=math.inf))


def _bend(left: Tensor, right: Tensor, middle: Tensor) -> float:
    """How far the middle is from the middle, relative to the distance of the ends."""
    off, apart = middle - (left + right) / 2, left - right
    where = torch.isfinite(off) & torch.isfinite(apart)
    size = float(apart[where].abs().mean()) if bool(where.any()) else 0.0
    return float(off[where].abs().mean()) / size if size > 0 and math.isfinite(size) else math.inf


# Twice, and exchanged ---------------------------------------------------------------------------
@torch.no_grad()
def check_randomness(probe: Probe) -> Iterator[Finding]:
    """In evaluation mode, ask twice."""
    model, x = probe.model, probe.x
    mu = model.encode(x)[0]
    asks: dict[str, Callable[[], Tensor]] = {
        "encode": lambda: model.encode(x)[0],
        "decode": lambda: model.decode(mu),
    }
    if has(model, "reconstruct"):
        asks["reconstruct"] = lambda: model.reconstruct(x)
    for name, ask in asks.items():
        difference = float((ask() - ask()).square().mean().sqrt())
        if difference > 0:
            text = f"two calls of {name} differ by {difference:.2g} a number (root mean square)"
            yield finding("random at evaluation", text)


@torch.no_grad()
def check_code_is_used(probe: Probe) -> Iterator[Finding]:
    """Exchange the codes of different rows: does anybody notice? And are they of any use?"""
    x = probe.rows(max(256, len(probe.x)))
    mu, head = probe.model.encode(x)[:2]
    said = probe.model.decode(mu).reshape(x.shape)
    (scale, shift), logits = probe.error.target, probe.takes_logits
    image, wanted = said.sigmoid() if logits else said, scale * x + shift
    error = float((image - wanted).square().mean())
    spread = float((wanted - wanted.mean(dim=0)).square().mean())
    # a fresh network says what it would without weights, or hardly more: that is no fault
    fresh = float((wanted - (0.5 if logits else probe.blank)).square().mean())
    a, b = image - image.mean(), wanted - wanted.mean()
    agree = float((a * b).mean() / (a.std() * b.std()).clamp(min=TINY))
    contrary = agree < -0.5 and float(a.std()) > 0.5 * float(b.std())
    worse = (logits or probe.bounded) and error > 2 * fresh
    if error > 2 * spread and (contrary or worse):
        text = f"mean squared error {error:.3g}, the mean image's {spread:.3g}"
        yield finding("worse than the mean image", f"{text}; correlation with the data {agree:.2f}")
    if probe.drawn_as not in (None, "logvar"):
        return
    z = reparameterize(mu, head, torch.Generator().manual_seed(0))
    rate = float(kl_divergence(mu, head).mean())
    lost = float((_fit(probe, x, z) - _fit(probe, x, z.roll(1, dims=0))).mean())
    if not (rate < 0.15 and abs(lost) < 0.25):
        return
    if error < 1.5 * spread and error < 0.75 * fresh:
        text = f"rate {rate:.2f} nats; with another image's code ln p(x|z) falls by {lost:.2f} nats"
        yield finding("the code is ignored", text)
    else:
        text = "whether the code is read, which no fresh model does: train, ask again"
        probe.untested.append(text)


def _fit(probe: Probe, x: Tensor, z: Tensor) -> Tensor:
    """ln p(x|z) for each row; where the model gives none, that of a Gaussian of variance 1."""
    if has(probe.model, "log_likelihood"):
        return probe.model.log_likelihood(x, z)
    return -(probe.model.decode(z).reshape(x.shape) - x).square().flatten(1).sum(dim=1) / 2
