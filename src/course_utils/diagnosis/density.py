"""How log_likelihood changes with x, against the image that decode gives."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.diagnosis.faults import Finding, finding
from course_utils.diagnosis.probe import TINY, Probe, explain
from course_utils.diagnosis.reach import half_unused

LEFT = 1e-4  # what may be left unexplained, as a share of the mean square slope


@torch.no_grad()
def check_likelihood(probe: Probe) -> Iterator[Finding]:
    """Compare the slope of log_likelihood by x with what each usual error would have."""
    rows = probe.rows(max(64, len(probe.x)))
    x, z = probe.soft(rows), probe.model.encode(rows)[0]
    dice = torch.Generator().manual_seed(0)
    step = 1e-4 if probe.exact else 1e-2
    if not probe.inside:
        step *= float(x.std().clamp(min=TINY))
    v = torch.randint(0, 2, x.shape, generator=dice).to(x.dtype) * 2 - 1
    half = torch.randint(0, 2, x.shape[1:], generator=dice).to(x.dtype)

    def slope(at: Tensor, direction: Tensor) -> Tensor:
        up, down = (probe.model.log_likelihood(at + s * step * direction, z) for s in (1, -1))
        return (up - down) / (2 * step)

    elsewhere = x + 0.1 * (1 - half) * (x.mean() - x)
    one, other = slope(x, v * half), slope(elsewhere, v * half)
    if float((one - other).abs().max()) > 0.05 * float(one.abs().mean()):
        return  # pixels depend on each other given the code: there is no one image to compare with
    said = probe.model.decode(z).reshape(x.shape)
    measured, fits = slope(x, v).double(), {}
    for name, feature in _features(probe, x, said).items():
        expected = (v * feature).flatten(1).sum(dim=1).double()
        (r,), left = explain([expected], measured)
        fits[name] = left**2, r, name
    # Where pixels are nearly 0 or 1, the exchanged ones are a multiple of the difference.
    usual = min(fits["difference"], fits["sign"])
    yield from _named(probe, said, *(usual if usual[0] < LEFT else min(fits.values())))


def _features(probe: Probe, x: Tensor, said: Tensor) -> dict[str, Tensor]:
    """Return the slopes by x that a log_likelihood may have, but for a factor."""
    features = {"difference": said - x, "sign": torch.sign(said - x)}
    if bool(((said > 0) & (said < 1)).all()):
        features["logit"] = torch.logit(said)
    if probe.inside:
        features["as it is"] = said
        features["exchanged"] = (said - x) / (x * (1 - x))
        features["exchanged logits"] = said - torch.sigmoid(x)
    return features


def _named(probe: Probe, said: Tensor, left: float, r: float, best: str) -> Iterator[Finding]:
    """Name the fault that the best feature tells of; r is its factor, ``left`` what it leaves."""
    if left < LEFT and best in ("difference", "sign") and r > 0:
        yield from half_unused(probe, (1.0, 0.0))
    if left < LEFT and best == "as it is":
        yield _last_sigmoid(probe, said)
    elif left < LEFT and best.startswith("exchanged"):
        yield finding("arguments exchanged", "log_likelihood takes the image for the prediction")
    elif left < 1e-2 and r < 0:
        text = "it falls where the image comes nearer to the reconstruction"
        yield finding("sign of the log-likelihood", text)
    elif left < LEFT and best == "logit" and abs(r - 1) > 1e-2 and probe.inside:
        mean = probe.d > 1 and abs(r * probe.d - 1) < 1e-2
        text = f"it is {r:.3g} times the sum over {probe.d} pixels" + (": a mean" if mean else "")
        yield finding("scale of the log-likelihood", text)
    elif left > 0.5 and bool(((said > 0) & (said < 1)).all()):
        text = f"the image of decode explains {1 - left:.0%} of how log_likelihood changes with x"
        yield finding("log_likelihood and decode disagree", text)


def _last_sigmoid(probe: Probe, said: Tensor) -> Finding:
    """The likelihood is linear in what decode says, as a cross-entropy is in logits."""
    if probe.says_probabilities:
        text = (
            "the cross-entropy takes the decoder's probabilities for logits: its own"
            f" probabilities reach from {0.5:.2f} to {1 / (1 + math.exp(-1)):.2f} only"
        )
        return finding("sigmoid twice", text)
    text = f"log_likelihood is right for logits, and decode gives them, from {said.min():.2f}"
    return finding("no sigmoid", f"{text} to {said.max():.2f}: what is drawn is no image")
