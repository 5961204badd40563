"""Which error of an image a loss has, recognised by its gradient at images of ours."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.diagnosis.faults import Finding, finding
from course_utils.diagnosis.probe import TINY, Answer, Error, Probe, explain

EXACT = 1e-3  # what may be left unexplained, as a share of the gradient
VALUES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # of the target t and the image p
    "cross-entropy": lambda t, p: -(t * torch.log(p) + (1 - t) * torch.log(1 - p)),
    "cross-entropy of logits": lambda t, p: F.softplus(p) - t * p,
    "squared error": lambda t, p: (t - p) ** 2,
    "absolute error": lambda t, p: (t - p).abs(),
}
Feature = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
# Of an image p and the gradient g by it: s and y with y = R (s - target), R doubled for a square.
FEATURES: dict[str, Feature] = {
    "squared error": lambda p, g: (p, g),
    "cross-entropy": lambda p, g: (p, g * p * (1 - p)),
    "cross-entropy of logits": lambda p, g: (torch.sigmoid(p), g),
}


def value_of(error: Error, x: Tensor, image: Tensor) -> float:
    """Sum an error of weight 1 over the batch."""
    t, p = error.target[0] * x + error.target[1], image.reshape(x.shape)
    return float(VALUES[error.name](t, p).sum()) if error.name in VALUES else math.nan


def measure_error(probe: Probe, x: Tensor) -> Error | None:
    """Recognise the error by its gradient at images of ours; None where it is none of the usual."""
    n = len(x)
    dice = torch.Generator().manual_seed(n)
    zero = torch.zeros(n, probe.k, dtype=x.dtype)
    head = zero + (0.5 if probe.heads[0] > 0 or probe.charged_as not in (None, "logvar") else 0.0)
    wide = (0.0, 1.0) if probe.inside else (float(x.min()), float(x.max()))
    for low, high in (wide, (0.0, 1.0)):
        share = 0.05 + 0.9 * torch.rand(2, n, *probe.image, generator=dice, dtype=x.dtype)
        images = low + (high - low) * share
        try:
            one, two = (probe.ask(x, zero, head, image) for image in images)
        except Exception:  # a cross-entropy that refuses them
            continue
        if one.finite and two.finite:
            return _recognise(x, images, one, two)
    return None


def _recognise(x: Tensor, images: Tensor, one: Answer, two: Answer) -> Error | None:
    if one.likelihood and bool(one.values.any()):
        return Error("log-likelihood", -float(one.values.mean()))
    if not one.decoded or one.likelihood:
        return None
    p, q, g, h = (t.reshape(x.shape) for t in (images[0], images[1], one.image, two.image))
    if not g.any():
        return Error("nothing")
    (r,), left = explain([torch.sign(p - x)], g)
    if left < EXACT:
        return Error("absolute error", r)
    if float((g - h).norm()) < EXACT * float(g.norm()):  # the image enters as a factor
        a, b = x - x.mean(), g - g.mean()
        exchanged = float((a * b).sum() / (a.norm() * b.norm()).clamp(min=TINY)) < -0.9
        return Error("exchanged", 1.0) if exchanged else None
    best, least = None, 5e-3
    for name in FEATURES:
        error, left = _fitted(name, x, p, g)
        if left < least and error.weight != 0:
            other = weight_at(error, x, q, h)
            error.constant = abs(other / error.weight - 1) < 1e-2
            best, least = error, left
    return best


def _fitted(name: str, x: Tensor, p: Tensor, g: Tensor) -> tuple[Error, float]:
    """Fit the weight and the target of an error to its gradient g at the image p."""
    s, y = FEATURES[name](p, g)
    scale, size = max(float(s.norm()), TINY), math.sqrt(x.numel())
    (r, by_x, by_one), left = explain([s / scale, x / scale, torch.ones_like(x) / size], y)
    if r == 0:
        return Error(name), left
    target = -by_x / r, -by_one / r * scale / size
    if abs(target[0] - 1) < 1e-3 and abs(target[1]) < 1e-3 * float(x.abs().max()):
        target = 1.0, 0.0
    return Error(name, r / scale / _factor(name), target), left


def weight_at(error: Error, x: Tensor, image: Tensor, pull: Tensor) -> float:
    """Return the weight of the error at another image, with the gradient by it."""
    s, y = FEATURES[error.name](image, pull)
    apart = s - error.target[0] * x
    (r,), _ = explain([apart - apart.mean()], y - y.mean())
    return r / _factor(error.name)


def _factor(name: str) -> int:
    return 2 if name == "squared error" else 1


def check_last_layer(probe: Probe, error: Error) -> Iterator[Finding]:
    """Compare what the loss takes the image for with what the decoder can say."""
    if not error.name.startswith("cross-entropy"):
        return
    low, high = probe.reaches("decode")
    says = f"the loss takes what decode says for {{}}, and it says {low:.4g} to {high:.4g}"
    least, most = probe.ends(error.target)
    in_range = least > -1e-3 and most < 1 + 1e-3  # else that is the fault
    if error.name == "cross-entropy" and "decode" in probe.reach and not probe.says_probabilities:
        text = f"{says.format('probabilities')}, whatever its weights"
        yield finding("no sigmoid", text)
    if error.name == "cross-entropy of logits" and probe.says_probabilities:
        text = f"{says.format('logits')}: its own probabilities reach from 0.50 to 0.73 only"
        yield finding("sigmoid twice", text)
    if error.name == "cross-entropy of logits" and not probe.says_probabilities and in_range:
        a, b = torch.sigmoid(torch.tensor([low, high], dtype=torch.float64)).tolist()
        slack = 0.05 * (most - least)
        if least < a - slack or most > b + slack:
            text = f"{says.format('logits')}, whatever weights"
            text += f": probabilities from {a:.2f} to {b:.2f} only"
            yield finding("decoder cannot reach the data", text)
    if not in_range:
        text = f"a cross-entropy of data from {least:.3g} to {most:.3g}"
        yield finding("input range", text)
