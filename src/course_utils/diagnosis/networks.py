"""What can be seen of an encoder and a decoder from the outside."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from course_utils.diagnosis.faults import finding
from course_utils.diagnosis.probe import Finding, Probe, has, rows_of
from course_utils.vae.elbo import kl_divergence, reparameterize

LEAST_MEAN, LEAST_LOGVAR = 2.0, -1.5  # a code must reach ±2, two of the prior's widths, and σ < 1/2


# Reach ------------------------------------------------------------------------------------------
@torch.no_grad()
def measure_reach(probe: Probe) -> None:
    """Find what decoder and heads can say whatever their weights, by random weights of all sizes.

    A sigmoid stays in [0, 1] however large the weights are, a ReLU at 0 and above; a linear layer
    goes anywhere. What still grows with the weights counts as infinite. A part that no weight moves
    is left out.
    """
    weights = list(probe.model.parameters())
    before = [w.clone() for w in weights]
    draws = int(min(12, max(3, 4e6 / (1 + sum(w.numel() for w in weights)))))
    dice = torch.Generator().manual_seed(0)
    x = probe.x[:32]
    ends: dict[str, list[tuple[float, float]]] = {"decode": [], "mean": [], "width": []}
    for size in (1.0, 1e2, 1e4):
        said: dict[str, list[Tensor]] = {name: [] for name in ends}
        for i in range(2 * draws):
            for w in weights:
                noise = torch.randn(w.shape, generator=dice, dtype=w.dtype)
                w.copy_(size * (noise if i % 2 else -noise))
            z = 3 * torch.randn(32, probe.k, generator=dice, dtype=x.dtype)
            parts = (probe.model.decode(z), *probe.model.encode(x)[:2])
            for name, part in zip(said, parts, strict=True):
                said[name].append(part.flatten().nan_to_num(0, math.inf, -math.inf))
        for name, values in said.items():
            every = torch.cat(values)
            ends[name].append((float(every.min()), float(every.max())))
    for w in weights:
        w.zero_()
    probe.blank = float(probe.model.decode(torch.zeros(2, probe.k, dtype=x.dtype)).mean())
    for w, old in zip(weights, before, strict=True):
        w.copy_(old)
    for name, (_, middle, last) in ends.items():
        low, high = (
            sign * math.inf if sign * b > 10 * abs(a) and abs(b) > 10 else b
            for sign, a, b in zip((-1, 1), middle, last, strict=True)
        )
        if low < high:
            probe.reach[name] = low, high


def check_reach(probe: Probe, needs: bool, target: tuple[float, float]) -> Iterator[Finding]:
    """Compare the data, as the loss takes them, (1, 0) times x, with what the decoder can say."""
    if not target[0]:
        target = (1.0, 0.0)
    low, high = sorted(target[0] * float(end) + target[1] for end in (probe.x.min(), probe.x.max()))
    if "decode" not in probe.reach:
        probe.untested.append("what the decoder can say: no weight moves it")
        return
    least, most = probe.reach["decode"]
    slack = 0.01 * (high - low)
    says = f"data from {low:g} to {high:g}; decode says {least:.4g} to {most:.4g}, whatever weights"
    if low < least - slack or high > most + slack:
        name = "input range" if (least, most) == (0, 1) else "decoder cannot reach the data"
        yield finding("input range" if probe.says_probabilities else name, says)
    elif needs and (low < 0 or high > 1):
        yield finding("input range", f"data from {low:g} to {high:g}: a cross-entropy needs [0, 1]")
    elif probe.says_probabilities and most > 0.5 and 0 < high < 0.05 and low >= 0:
        text = f"the brightest pixel is {high:.3g}: divided by 255 twice?"
        yield finding("input range", text, "ToTensor divides already: scale to [0, 1] once")


def range_half_used(probe: Probe, target: tuple[float, float]) -> bool:
    """Whether decode reaches as far below 0 as above it, and the data fill the upper half alone.

    As a tanh does whose data lie in [0, 1]. Data that stay far from 0, or far from the upper end,
    may be a part of others that have both signs.
    """
    least, most = probe.reach.get("decode", (-math.inf, math.inf))
    ends = sorted(target[0] * float(end) + target[1] for end in (probe.x.min(), probe.x.max()))
    low, high = (end / most if math.isfinite(most) and most > 0 else math.nan for end in ends)
    symmetric = math.isfinite(least) and abs(least + most) < 0.01 * most
    return symmetric and -0.01 < low < 0.05 and 0.95 < high < 1.01


@torch.no_grad()
def check_range_is_used(probe: Probe, target: tuple[float, float]) -> Iterator[Finding]:
    """Name a decoder half of whose range no data have."""
    if range_half_used(probe, target):
        (least, most), x = probe.reach["decode"], probe.x
        below = probe.model.decode(probe.model.encode(x)[0]) < -0.01 * most
        text = f"data from {float(x.min()):.3g} to {float(x.max()):.3g}; decode reaches"
        text += f" {least:.4g} to {most:.4g}, whatever weights, and"
        text += f" {float(below.double().mean()):.0%} of what it says now lies below 0"
        yield finding("half of the decoder's range unused", text)


@torch.no_grad()
def check_heads(probe: Probe) -> Iterator[Finding]:
    """Look for activations on the heads: numbers that are bounded, widths that are zero."""
    dice = torch.Generator().manual_seed(0)
    noise = torch.randn(probe.x.shape, generator=dice, dtype=probe.x.dtype)
    mean, width = probe.model.encode(
        torch.cat([probe.x, probe.x.mean() + 3 * probe.x.std() * noise])
    )
    a_width = probe.drawn_as in ("σ", "σ²")
    nothing = torch.isneginf(width) | ((width == 0) & a_width)
    if bool(nothing.any()):
        share = float(nothing.double().mean())
        yield finding("sigma is zero", f"{share:.0%} of the widths are exactly 0 (logvar = -inf)")
    reach = {name: probe.reach.get(name, (-math.inf, math.inf)) for name in ("mean", "width")}
    usual = not a_width and probe.drawn_as in (None, "logvar")
    if reach["mean"][0] >= 0:
        yield finding(
            "mean never negative", f"smallest {float(mean.min()):.2g}, whatever the weights"
        )
    if reach["width"][0] >= 0 and usual:
        yield finding(
            "logvar never negative", f"smallest {float(width.min()):.2g}, whatever the weights"
        )
    narrow = {}
    if reach["mean"][0] < 0 and (reach["mean"][0] > -LEAST_MEAN or reach["mean"][1] < LEAST_MEAN):
        narrow["mean"] = reach["mean"]
    if 0 > reach["width"][0] > (LEAST_LOGVAR if probe.drawn_as != "ln σ" else LEAST_LOGVAR / 2):
        narrow["logvar"] = reach["width"]
    if narrow:
        text = " and ".join(f"{name} from {a:.3g} to {b:.3g}" for name, (a, b) in narrow.items())
        yield finding("activation on the heads", f"{text}, whatever input and weights")


# Middles ----------------------------------------------------------------------------------------
@torch.no_grad()
def check_nonlinearity(probe: Probe) -> Iterator[Finding]:
    """Test whether the middle of two inputs goes to the middle of two outputs, at any distance.

    The inputs differ by the spread of the data, times 5, 500, …: an affine map is affine
    everywhere, and a smooth activation looks so between near points.
    """
    edge = 1e-6 if probe.exact else 1e-3
    dice = torch.Generator().manual_seed(0)
    centre, spread = probe.x.mean(dim=0), probe.x.std(dim=0)
    u, v = torch.randn(2, 64, *probe.x.shape[1:], generator=dice, dtype=probe.x.dtype)
    bends = []
    for size in (5.0, 5e2, 5e4):
        a, b = (centre + size * spread * part for part in (u, v))
        ends = [probe.model.encode(x)[:2] for x in (a, b, (a + b) / 2)]
        bends.append([_bend(*parts) for parts in zip(*ends, strict=True)])
    least = min(max(column) for column in zip(*bends, strict=True))
    if least < edge:
        yield finding("encoder without nonlinearity", _affine(least))
    low, high = probe.reach.get("decode", (-math.inf, math.inf))
    bounded = math.isfinite(low) and math.isfinite(high)
    u, v = torch.randn(2, 64, probe.k, generator=dice, dtype=probe.x.dtype)
    plain, before = [], []
    for size in (1.0, 3.0, 3e2, 3e4):
        outputs = [probe.model.decode(size * z) for z in (u, v, (u + v) / 2)]
        plain.append(_bend(*outputs))
        if bounded and size <= 3:  # before a sigmoid or a tanh
            parts = [(p - low) / (high - low) for p in outputs]
            inside = torch.stack([(p > edge) & (p < 1 - edge) for p in parts]).all(dim=0)
            if float(inside.double().mean()) > 0.1:
                before.append(_bend(*(p[inside].logit() for p in parts)))
    bend = min(max(plain), max(before, default=math.inf))
    if bend < edge:
        yield finding("decoder without nonlinearity", _affine(bend))


def _bend(left: Tensor, right: Tensor, middle: Tensor) -> float:
    """How far the middle is from the middle, relative to the distance of the ends."""
    off, apart = middle - (left + right) / 2, left - right
    where = torch.isfinite(off) & torch.isfinite(apart)
    size = float(apart[where].abs().mean()) if bool(where.any()) else 0.0
    return float(off[where].abs().mean()) / size if size > 0 and math.isfinite(size) else math.inf


def _affine(bend: float) -> str:
    return (
        f"the middle of two inputs goes to the middle of two outputs, but for {bend:.0e} of their"
        " distance: however many layers, one matrix"
    )


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
def check_code_is_used(
    probe: Probe, target: tuple[float, float], logits: bool
) -> Iterator[Finding]:
    """Exchange the codes of different rows: does anybody notice? And are they of any use?"""
    x = rows_of(probe.x, max(256, len(probe.x)))
    mu, head = probe.model.encode(x)[:2]
    said = probe.model.decode(mu).reshape(x.shape)
    image, wanted = said.sigmoid() if logits else said, target[0] * x + target[1]
    error = float((image - wanted).square().mean())
    spread = float((wanted - wanted.mean(dim=0)).square().mean())
    # a fresh network says what it would without weights, or hardly more: that is no fault
    low, high = (0.0, 1.0) if logits else probe.reach.get("decode", (-math.inf, math.inf))
    bounded = math.isfinite(low) and math.isfinite(high)
    fresh = float((wanted - (0.5 if logits else probe.blank)).square().mean())
    a, b = image - image.mean(), wanted - wanted.mean()
    agree = float((a * b).mean() / (a.std() * b.std()).clamp(min=1e-300))
    contrary = agree < -0.5 and float(a.std()) > 0.5 * float(b.std())
    if error > 2 * spread and (contrary or (bounded and error > 2 * fresh)):
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
        probe.untested.append(
            "whether the code is read, which no fresh model does: train, ask again"
        )


def _fit(probe: Probe, x: Tensor, z: Tensor) -> Tensor:
    """ln p(x|z) for each row; where the model gives none, that of a Gaussian of variance 1."""
    if has(probe.model, "log_likelihood"):
        return probe.model.log_likelihood(x, z)
    return -(probe.model.decode(z).reshape(x.shape) - x).square().flatten(1).sum(dim=1) / 2


# The density ------------------------------------------------------------------------------------
@torch.no_grad()
def check_likelihood(probe: Probe) -> Iterator[Finding]:
    """Compare log_likelihood, as a function of x, with the image that decode gives."""
    model, rows = probe.model, rows_of(probe.x, max(64, len(probe.x)))
    x = 0.1 + 0.8 * rows if probe.inside else rows
    unit = 1.0 if probe.inside else float(x.std().clamp(min=1e-300))
    z = model.encode(rows)[0]
    dice = torch.Generator().manual_seed(0)
    step = (1e-4 if probe.exact else 1e-2) * unit
    v = torch.randint(0, 2, x.shape, generator=dice).to(x.dtype) * 2 - 1
    half = torch.randint(0, 2, x.shape[1:], generator=dice).to(x.dtype)

    def slope(at: Tensor, direction: Tensor) -> Tensor:
        up, down = (model.log_likelihood(at + s * step * direction, z) for s in (1, -1))
        return (up - down) / (2 * step)

    elsewhere = x + 0.1 * (1 - half) * (x.mean() - x)
    one, other = slope(x, v * half), slope(elsewhere, v * half)
    if float((one - other).abs().max()) > 0.05 * float(one.abs().mean()):
        return  # pixels depend on each other given the code: there is no one image to compare with
    said = model.decode(z).reshape(x.shape)
    features = {"difference": said - x, "sign": torch.sign(said - x)}
    probable = bool(((said > 0) & (said < 1)).all())
    if probable:
        features["logit"] = torch.logit(said)
    if probe.inside:
        features["as it is"] = said
        features["exchanged"] = (said - x) / (x * (1 - x))
        features["exchanged logits"] = said - torch.sigmoid(x)
    measured = slope(x, v).double()
    fits = {}
    for name, feature in features.items():
        expected = (v * feature).flatten(1).sum(dim=1).double()
        r = float((measured * expected).mean() / (expected**2).mean().clamp(min=1e-300))
        left = float(((measured - r * expected) ** 2).mean() / (measured**2).mean().clamp(1e-300))
        fits[name] = left, r
    (left, r), best = min((fits[name], name) for name in fits)
    # Where pixels are nearly 0 or 1, the exchanged ones are a multiple of the difference.
    usual = min((fits[name], name) for name in ("difference", "sign"))
    if usual[0][0] < 1e-4:
        (left, r), best = usual
    d = probe.d
    if left < 1e-4 and best in ("difference", "sign") and r > 0:
        yield from check_range_is_used(probe, (1.0, 0.0))
    if left < 1e-4 and best == "as it is":
        if probe.says_probabilities:
            text = (
                "the cross-entropy takes the decoder's probabilities for logits: its own"
                f" probabilities reach from {0.5:.2f} to {1 / (1 + math.exp(-1)):.2f} only"
            )
            yield finding("sigmoid twice", text)
        else:
            text = (
                f"log_likelihood is right for logits, and decode gives them, from {said.min():.2f}"
            )
            yield finding("no sigmoid", f"{text} to {said.max():.2f}: what is drawn is no image")
    elif left < 1e-4 and best.startswith("exchanged"):
        yield finding("arguments exchanged", "log_likelihood takes the image for the prediction")
    elif left < 1e-2 and r < 0:
        text = "it falls where the image comes nearer to the reconstruction"
        yield finding("sign of the log-likelihood", text)
    elif left < 1e-4 and best == "logit" and abs(r - 1) > 1e-2 and probe.inside:
        mean = d > 1 and abs(r * d - 1) < 1e-2
        text = f"it is {r:.3g} times the sum over {d} pixels" + (": a mean" if mean else "")
        yield finding("scale of the log-likelihood", text)
    elif left > 0.5 and probable:
        text = f"the image of decode explains {1 - left:.0%} of how log_likelihood changes with x"
        yield finding("log_likelihood and decode disagree", text)
