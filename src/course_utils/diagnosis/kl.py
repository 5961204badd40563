"""Which KL a loss charges: the weights of its three parts, and what its second head is.

The weights of mu², σ² and -ln σ² are fitted to the gradients by means and second heads of ours,
once for each thing that the second head may be. They agree if it is a KL; ``balance`` has the
formulas.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.diagnosis.faults import Finding, finding
from course_utils.diagnosis.probe import POSITIVE, Answer, Probe, explain
from course_utils.diagnosis.reconstruction import EXACT, measure_error, value_of

READINGS: dict[str, Callable[[Tensor], Tensor]] = {  # logvar, where the second head is …
    "logvar": lambda h: h,
    "ln σ": lambda h: 2 * h,
    "2 logvar": lambda h: h / 2,
    "σ": lambda h: 2 * torch.log(h.abs()),
    "σ²": lambda h: torch.log(h.abs()),
    "σ before softplus": lambda h: 2 * torch.log(F.softplus(h)),
    "σ² before softplus": lambda h: torch.log(F.softplus(h)),
}
WORDS = {"logvar": "logvar", "ln σ": "2 logvar", "2 logvar": "logvar / 2"}


@dataclass
class Weights:
    """The weights of Σ mu²/2, Σ σ²/2 and -Σ ln σ² / 2 in a loss, for each row."""

    mean: float
    variance: float
    logarithm: float
    off: float = 0.0  # what they leave unexplained, as a share
    error: float = 0.0  # standard error of the least certain, where the loss draws
    shifted: bool = False  # least at another mean than 0

    @property
    def parts(self) -> tuple[float, float, float]:
        """The three."""
        return self.mean, self.variance, self.logarithm

    @property
    def equal(self) -> bool:
        """Whether it is a KL: the three agree."""
        return max(self.parts) - min(self.parts) <= max(1e-2 * abs(self.mean), 5 * self.error)

    def agrees(self, other: "Weights") -> bool:
        """Whether all three are the other's, as far as can be told."""
        gap = max(abs(a - b) for a, b in zip(self.parts, other.parts, strict=True))
        return gap < 0.01 * max(map(abs, self.parts)) + 5 * math.hypot(self.error, other.error)


# Measured ---------------------------------------------------------------------------------------
def kl_weights(
    probe: Probe,
    x: Tensor,
    size: float,
    ends: tuple[float, float],
    seeds: int = 1,
    readings: Iterable[str] = tuple(READINGS),
) -> dict[str, Weights]:
    """Fit the three weights, for each reading of the head, at means of ± size to 2 size.

    A loss that draws is asked with many seeds. Empty where an answer is not finite.
    """
    n, k = len(x), probe.k
    dice = torch.Generator().manual_seed(n + k)
    fits: dict[str, list[Weights]] = {name: [] for name in readings}
    for seed in range(seeds):
        u = size * (1 + torch.rand(n, k, generator=dice, dtype=x.dtype))
        mu = u * (2 * torch.randint(0, 2, (n, k), generator=dice).to(x.dtype) - 1)
        head = _between(ends, mu, dice)
        there, back = (probe.ask(x, m, head, seed=seed + 1) for m in (mu, -mu))
        if not (there.finite and back.finite):
            return {}
        # half the difference: wherever the prior's mean is, even of each row its own
        pull, mean = (there.mu - back.mu) / 2, (there.mu + back.mu) / 2
        (a,), miss = explain([mu], pull)
        shifted = float(mean.norm()) > 0.01 * float(pull.norm())
        turns = (there.head + back.head) / 2
        for name, fit in fits.items():
            b, c, off = _of_the_head(READINGS[name], head, turns)
            fit.append(Weights(a, b, c, max(off, miss), shifted=shifted))
    return {name: _averaged(fit) for name, fit in fits.items()}


def _between(ends: tuple[float, float], like: Tensor, dice: torch.Generator) -> Tensor:
    low, high = ends
    return low + (high - low) * torch.rand(like.shape, generator=dice, dtype=like.dtype)


def _of_the_head(
    reading: Callable[[Tensor], Tensor], head: Tensor, turns: Tensor
) -> tuple[float, float, float]:
    """Fit the weights of Σ σ²/2 and -Σ ln σ² / 2 to the gradients by the head; what is left."""
    h = head.clone().requires_grad_()
    v = reading(h)
    (turn,) = torch.autograd.grad(v.sum(), h)
    (b, c), off = explain([v.detach().exp() * turn / 2, -turn / 2], turns)
    return b, c, off


def _averaged(fits: list[Weights]) -> Weights:
    """Average over draws, with the standard error."""
    table = torch.tensor([fit.parts for fit in fits], dtype=torch.float64)
    error = float(table.std(dim=0).max()) / math.sqrt(len(fits)) if len(fits) > 1 else 0.0
    mean, variance, logarithm = table.mean(dim=0).tolist()
    off, shifted = max(fit.off for fit in fits), any(fit.shifted for fit in fits)
    return Weights(mean, variance, logarithm, off, error, shifted)


def _first_look(probe: Probe, x: Tensor, *, positive: bool = False) -> tuple[Answer, Answer]:
    """Ask twice, with other noise, at codes like those of the prior."""
    dice = torch.Generator().manual_seed(3)
    mu = torch.randn(len(x), probe.k, generator=dice, dtype=x.dtype)
    head = _between(probe.heads, mu, dice)
    head = head.abs() + 0.05 if positive else head
    one, two = (probe.ask(x, mu, head, seed=seed) for seed in (1, 2))
    return one, two


def _drawn(probe: Probe, x: Tensor, ends: tuple[float, float]) -> tuple[dict[str, Weights], str]:
    """Measure a KL at drawn codes: its mean over many draws is the same.

    A KL to N(0, I), right or wrong, keeps its weights wherever the means are.
    """
    seeds = min(200, max(8, 40_000 // (len(x) * probe.k)))
    names = dict.fromkeys((probe.drawn_as or "logvar", "logvar", "ln σ"))
    near, far = (kl_weights(probe, x, size, ends, seeds, names) for size in (0.5, 1.5))
    steady = {name: near[name] for name in names if far and near and near[name].agrees(far[name])}
    known = {name: w for name, w in steady.items() if w.equal and w.error < abs(w.mean) / 10}
    return known or dict(list(steady.items())[:1]), ""


def _closed(probe: Probe, x: Tensor, ends: tuple[float, float]) -> tuple[dict[str, Weights], str]:
    """Measure it far from the prior, where free bits and a capacity are passed; or else near it."""
    left = ""
    for size in (30.0, 0.5):
        fits = kl_weights(probe, x, size, ends)
        known = {name: w for name, w in fits.items() if w.off < EXACT}
        if known:
            return known, ""
        left = f": {fits['logvar'].off:.1%} of its gradient are left" if fits else left
    return {}, left


# Judged -----------------------------------------------------------------------------------------
def check_kl(probe: Probe, x: Tensor, beta: float) -> Generator[Finding, None, Weights | None]:
    """Find the weights of the KL, and what its form is. Return None where they are not known."""
    ends = probe.heads
    first, second = _first_look(probe, x)
    if not first.finite:
        ends = POSITIVE
        first, second = _first_look(probe, x, positive=True)
        if not first.finite:
            probe.untested.append("the KL: nan or infinite at codes like those of the prior")
            return None
        if probe.heads[0] < 0:
            text = "the loss is nan where the second head is negative"
            yield finding("logarithm of a negative head", f"{text}, and the encoder can make it so")
    size = float(torch.cat([first.mu, first.head]).abs().max())
    if size == 0:
        if beta != 0:
            yield finding("no KL", "no gradient of the loss by mu and the second head")
        return None
    gap = float(torch.cat([first.mu - second.mu, first.head - second.head]).abs().max())
    draws = gap > (1e-9 if probe.exact else 1e-4) * size
    known, left = (_drawn if draws else _closed)(probe, x, ends)
    if known:
        return (yield from _judge(probe, x, known, draws=draws))
    text = "no weights of mu², σ² and ln σ² explain it"
    if left:
        yield finding("KL not in closed form", text + left)
    else:
        probe.untested.append(f"the KL, which is drawn or of another prior: {text}")
    return None


def _judge(
    probe: Probe, x: Tensor, known: dict[str, Weights], *, draws: bool
) -> Generator[Finding, None, Weights]:
    """Say what the second head is to the KL, and what is wrong with its weights."""
    reading = "logvar" if "logvar" in known else next(iter(known))
    w = known[reading]
    probe.charged_as = reading
    if reading not in ("logvar", probe.drawn_as):
        text = f"it takes the second head for {reading}: its logvar is "
        text += WORDS.get(reading, "that of " + reading)
        yield finding("KL reads logvar otherwise", text)
    if w.shifted and w.mean:
        probe.notes.append("the KL is least at another mean than 0: a prior with a mean of its own")
    plain = False  # whether it is the plain KL at the prior too
    if reading == "logvar" and not draws:
        near = kl_weights(probe, x, 0.02, (-0.1, 0.1), readings=[reading])[reading]
        plain = abs(near.mean - w.mean) <= 0.01 * abs(w.mean) and near.off <= EXACT
        if not plain:
            probe.notes.append(
                "near the prior it is not the plain KL (free bits, a capacity): weights are those"
                " of codes far from it"
            )
    plain = plain and not w.shifted
    if all(part < 0 for part in w.parts):
        text = f"it falls by {-w.mean * len(x):.3g} for each ½ mu²: the loss has no lower bound"
        yield finding("sign of the KL", text)
    elif not (plain and _other_variance(probe, x, w)):
        yield from _form(probe, x, w, plain=plain)
    return w


def _other_variance(probe: Probe, x: Tensor, w: Weights) -> bool:
    """Tell whether it is the KL to a prior of another variance, and take its weight as that's."""
    if w.equal or w.logarithm <= 0 or w.mean <= 0 or abs(w.variance / w.mean - 1) >= 1e-2:
        return False
    ratio = w.logarithm / w.mean
    if not abs(_at(probe, x, math.log(ratio))) < 1e-3 * w.mean:
        return False
    probe.notes.append(f"the prior has the variance {ratio:.3g}: the KL is 0 there")
    w.mean = w.variance = w.logarithm
    return True


def _form(probe: Probe, x: Tensor, w: Weights, *, plain: bool) -> Iterator[Finding]:
    """Compare the three weights, and what is charged at the prior with 0."""
    parts = dict(zip(("mu²", "σ²", "-ln σ²"), w.parts, strict=True))
    slight = max(1e-2 * max(map(abs, w.parts)), 5 * w.error)
    gone = [name for name, value in parts.items() if abs(value) < slight]
    if len(gone) == 2:
        text = f"it does not depend on {' and '.join(gone)}: a part is missing"
        yield finding("form of the KL", f"{text}, as the prior's in a KL that is drawn")
        return
    usual = sorted(w.parts)[1]
    for name, value in parts.items():
        ratio = value / usual if usual else math.inf
        if abs(ratio - 1) < max(1e-2, 5 * w.error / abs(usual or 1)):
            continue
        if name == "-ln σ²" and abs(ratio * math.log(2) - 1) < 1e-2:
            text = f"the weight of ln σ² is {ratio:.3f} = 1/ln 2 times that of the others"
            yield finding("log2 in the KL", f"{text}: the least KL is at σ² = {ratio:.2f}")
        else:
            text = f"{name} has {ratio:.3g} times the weight of the other terms"
            yield finding("form of the KL", text)
    rest = _at(probe, x, 0.0) if plain else math.nan
    if w.mean and any(abs(rest / w.mean - m / 2) < 1e-3 for m in (probe.k, 1)):
        text = f"at the prior it is {rest * len(x):.3g} nats, not 0"
        yield finding("KL without its -1", text)


def _at(probe: Probe, x: Tensor, v: float) -> float:
    """Return the loss at mu = 0, logvar = v, without the reconstruction, for one row; or nan."""
    codes = torch.zeros(len(x), probe.k, dtype=x.dtype)
    value, error = probe.ask(x, codes, codes + v).value, measure_error(probe, x)
    if error is None:
        return math.nan
    if error.name != "log-likelihood":
        value -= error.weight * value_of(error, x, probe.quiet(x))
    return value / len(x)
