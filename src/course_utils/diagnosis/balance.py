"""How a loss weighs its two terms: by the formula, and by experiment.

The experiment lets the encoder say mu and a second head of ours, and the decoder an image of ours,
for the n rows of the caller's batch, and reads the *gradient* of the loss by each: what pulls at
them in training. With v = logvar, and per row and number,

    ∂/∂mu = A mu,   ∂/∂v = A (exp(v) - 1) / 2,   ∂/∂x̂ = R e'(x̂, x)

where e is the error of one pixel. So the loss is Σ over rows of [R Σ_pixels e + A KL] wherever this
holds, and its minimum is that of Σ e + (A/R) KL: the effective β is A/R, the weight of the KL once
both terms are sums within a sample and are reduced alike over rows. The reductions give

    term             sum over pixels / code   mean over them    sum over rows   mean over rows
    reconstruction   R = 1                    R = 1/d           times 1         times 1/n
    KL               A = β                    A = β/k           times 1         times 1/n

    A/R = β · (d if pixels are averaged) / (k if code numbers are averaged)
            · (n if the reconstruction alone is averaged over rows, 1/n if the KL alone is).

n is the number of rows of the batch that is given. For the cross-entropy e = -ln p, and A/R is the
β of the β-VAE. For e = (x - x̂)², -ln p of a Gaussian of variance c is e/(2c) and a constant: the
loss with weight β has A/R = 2cβ. So A/(2R) is β where the variance is 1, and it is the variance
where β = 1: both readings are printed. For e = |x - x̂| and a Laplace of scale b, A/R = bβ.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.diagnosis.faults import finding
from course_utils.diagnosis.probe import Answer, Finding, Probe, rows_of

Reduction = Literal["sum", "mean"]


def effective_beta(
    d: int,
    k: int,
    *,
    reconstruction: Reduction = "sum",
    kl: Reduction = "sum",
    beta: float = 1.0,
) -> float:
    """Compute the weight of the KL once both terms are sums. Defined in chapter 15.

    A mean over d pixels divides the reconstruction by d, a mean over k code numbers the KL by k.
    Multiply the loss by what divides the reconstruction: the minimum stays where it is, and the KL
    has the weight beta · (d or 1) / (k or 1).

    Args:
        d, k: numbers of a sample and of a code, at least 1.
        reconstruction, kl: "sum" or "mean", over the numbers of one sample and of one code. Both
            terms are means over samples.
        beta: factor before the KL as written, at least 0.

    Returns:
        The weight against −ln p(x|z) where the reconstruction is a cross-entropy. A squared error
        ‖x − x̂‖² is twice −ln p of a Gaussian of variance 1: there the weight is half of this.

    Raises:
        ValueError: a size, a reduction or beta is out of its range.

    >>> round(effective_beta(784, 5, reconstruction="mean", kl="mean", beta=0.1), 2)
    15.68
    """
    if d < 1 or k < 1 or not beta >= 0:
        raise ValueError(f"d and k must be at least 1 and beta at least 0, got {d}, {k}, {beta}")
    for name, value in (("reconstruction", reconstruction), ("kl", kl)):
        if value not in ("sum", "mean"):
            raise ValueError(f"{name} must be 'sum' or 'mean', got {value!r}")
    return beta * (d if reconstruction == "mean" else 1) / (k if kl == "mean" else 1)


# The KL -----------------------------------------------------------------------------------------
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
EXACT = 1e-3  # what may be left unexplained, as a share of the gradient


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
    def equal(self) -> bool:
        """Whether it is a KL: the three agree."""
        parts = (self.mean, self.variance, self.logarithm)
        return max(parts) - min(parts) <= max(1e-2 * abs(self.mean), 5 * self.error)

    def agrees(self, other: "Weights") -> bool:
        """Whether all three are the other's, as far as can be told."""
        gaps = (
            self.mean - other.mean,
            self.variance - other.variance,
            self.logarithm - other.logarithm,
        )
        size = max(abs(self.mean), abs(self.variance), abs(self.logarithm))
        return max(map(abs, gaps)) < 0.01 * size + 5 * math.hypot(self.error, other.error)


def kl_weights(
    probe: Probe, x: Tensor, size: float, ends: tuple[float, float], seeds: int = 1
) -> dict[str, Weights]:
    """Fit the three weights, for each reading of the head, at means of ± size to 2 size."""
    n, k, dtype = len(x), probe.k, x.dtype
    dice = torch.Generator().manual_seed(n + k)
    image, values = _quiet(probe, x)
    sums: dict[str, list[Tensor]] = {name: [] for name in READINGS}
    left: dict[str, float] = dict.fromkeys(READINGS, 0.0)
    shifted = False
    for seed in range(seeds):
        u = size * (1 + torch.rand(n, k, generator=dice, dtype=dtype))
        mu = u * (2 * torch.randint(0, 2, (n, k), generator=dice).to(dtype) - 1)
        head = ends[0] + (ends[1] - ends[0]) * torch.rand(n, k, generator=dice, dtype=dtype)
        there, back = (probe.ask(x, m, head, image, values, seed + 1) for m in (mu, -mu))
        if not (there.finite and back.finite):
            return {}
        # half the difference: wherever the prior's mean is, even of each row its own
        pull, mean = (there.mu - back.mu) / 2, (there.mu + back.mu) / 2
        shifted |= float(mean.norm()) > 0.01 * float(pull.norm())
        a = float((pull * mu).sum() / (mu * mu).sum())
        miss = float((pull - a * mu).norm()) / max(float(pull.norm()), 1e-300)
        by_head = ((there.head + back.head) / 2).flatten()
        for name, reading in READINGS.items():
            h = head.clone().requires_grad_()
            v = reading(h)
            (turn,) = torch.autograd.grad(v.sum(), h)
            parts = torch.stack([(v.exp() * turn).flatten() / 2, -turn.flatten() / 2], 1).detach()
            fit = torch.linalg.lstsq(parts, by_head[:, None]).solution[:, 0]
            off = float((parts @ fit - by_head).norm()) / max(float(by_head.norm()), 1e-300)
            sums[name].append(torch.tensor([a, *fit.tolist()], dtype=torch.float64))
            left[name] = max(left[name], off, miss)
    result = {}
    for name, every in sums.items():
        table = torch.stack(every)
        error = float(table.std(dim=0).max()) / math.sqrt(seeds) if seeds > 1 else 0.0
        mean, variance, logarithm = table.mean(dim=0).tolist()
        result[name] = Weights(mean, variance, logarithm, left[name], error, shifted)
    return result


def _quiet(probe: Probe, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return an image near x and log-likelihoods of 0: a reconstruction that hardly counts."""
    near = 0.5 + 0 * x if probe.half else 0.1 + 0.8 * x if probe.inside else x
    return near.reshape(len(x), *probe.image), x.new_zeros(len(x))


def _refuses(probe: Probe, x: Tensor) -> bool:
    """Tell whether the loss refuses data as an image: a cross-entropy that scales them itself."""
    codes = torch.full((len(x), probe.k), 0.5, dtype=x.dtype)
    try:
        probe.ask(x, codes, codes, *_quiet(probe, x))
    except Exception:
        return True
    return False


def check_kl(probe: Probe, x: Tensor, beta: float) -> tuple[list[Finding], Weights | None]:
    """Find the weights of the KL, and what its form is. None: they could not be measured."""
    n, k = len(x), probe.k
    image, values = _quiet(probe, x)
    dice = torch.Generator().manual_seed(3)
    mu = torch.randn(n, k, generator=dice, dtype=x.dtype)
    low, high = ends = probe.heads
    head = low + (high - low) * torch.rand(n, k, generator=dice, dtype=x.dtype)
    findings: list[Finding] = []
    first, second = (probe.ask(x, mu, head, image, values, seed) for seed in (1, 2))
    if not first.finite:
        ends = (0.05, 3.0)
        first, second = (probe.ask(x, mu, head.abs() + 0.05, image, values, s) for s in (1, 2))
        if not first.finite:
            probe.untested.append("the KL: nan or infinite at codes like those of the prior")
            return [], None
        if low < 0:
            text = (
                "the loss is nan where the second head is negative, and the encoder can make it so"
            )
            findings.append(finding("logarithm of a negative head", text))
    size = float(torch.cat([first.mu, first.head]).abs().max())
    if size == 0 or (not first.mu.any() and not first.head.any()):
        if beta == 0:
            return findings, None
        return [
            *findings,
            finding("no KL", "no gradient of the loss by mu and the second head"),
        ], None
    gap = float(torch.cat([first.mu - second.mu, first.head - second.head]).abs().max())
    draws = gap > 1e-9 * size if probe.exact else gap > 1e-4 * size
    if draws:  # a KL at drawn codes: its mean over many draws is the same
        seeds = min(200, max(8, 40_000 // (n * k)))
        fits = kl_weights(probe, x, 0.5, ends, seeds)
        # a KL to N(0, I), right or wrong, keeps its weights wherever the means are
        far = kl_weights(probe, x, 1.5, ends, seeds) if fits else {}
        names = dict.fromkeys((probe.drawn_as or "logvar", "logvar", "ln σ"))
        steady = {name: fits[name] for name in names if far and fits[name].agrees(far[name])}
        known = {name: w for name, w in steady.items() if w.equal and w.error < abs(w.mean) / 10}
        if not known and steady:
            known = dict([next(iter(steady.items()))])
    else:  # far from the prior, where free bits and a capacity are passed; or else near it
        fits = kl_weights(probe, x, 30.0, ends)
        known = {name: w for name, w in fits.items() if w.off < EXACT}
        if not known:
            fits = kl_weights(probe, x, 0.5, ends) or fits
            known = {name: w for name, w in fits.items() if w.off < EXACT}
    if not known:
        text = "no weights of mu², σ² and ln σ² explain it"
        if draws or not fits:
            probe.untested.append(f"the KL, which is drawn or of another prior: {text}")
        else:
            text += f": {fits['logvar'].off:.1%} of its gradient are left"
            findings.append(finding("KL not in closed form", text))
        return findings, None
    reading = "logvar" if "logvar" in known else next(iter(known))
    w = known[reading]
    probe.charged_as = reading
    if reading not in ("logvar", probe.drawn_as):
        text = f"it takes the second head for {reading}: its logvar is "
        findings.append(
            finding("KL reads logvar otherwise", text + WORDS.get(reading, "that of " + reading))
        )
    if w.shifted and w.mean:
        probe.notes.append("the KL is least at another mean than 0: a prior with a mean of its own")
    if reading == "logvar" and not draws:
        near = kl_weights(probe, x, 0.02, (-0.1, 0.1))["logvar"]
        if abs(near.mean - w.mean) > 0.01 * abs(w.mean) or near.off > EXACT:
            probe.notes.append(
                "near the prior it is not the plain KL (free bits, a capacity): weights are those"
                " of codes far from it"
            )
            near = Weights(0, 0, 0, math.inf)
    else:
        near = Weights(0, 0, 0, math.inf)
    findings += _form(probe, x, w, plain=near.off < EXACT and not w.shifted)
    return findings, w


def _form(probe: Probe, x: Tensor, w: Weights, *, plain: bool) -> Iterator[Finding]:
    parts = {"mu²": w.mean, "σ²": w.variance, "-ln σ²": w.logarithm}
    if all(value < 0 for value in parts.values()):
        text = f"it falls by {-w.mean * len(x):.3g} for each ½ mu²: the loss has no lower bound"
        yield finding("sign of the KL", text)
        return
    rest = _at(probe, x, 0.0) if plain else math.nan  # what is charged at the prior, per row
    if not w.equal and w.logarithm > 0 and w.mean > 0 and abs(w.variance / w.mean - 1) < 1e-2:
        ratio = w.logarithm / w.mean
        if plain and abs(_at(probe, x, math.log(ratio))) < 1e-3 * w.mean:
            probe.notes.append(f"the prior has the variance {ratio:.3g}: the KL is 0 there")
            w.mean = w.variance = w.logarithm
            return
    largest = max(map(abs, parts.values()))
    slight = max(1e-2 * largest, 5 * w.error)
    gone = [name for name, value in parts.items() if abs(value) < slight]
    if len(gone) == 2:
        text = f"it does not depend on {' and '.join(gone)}: a part is missing"
        yield finding("form of the KL", f"{text}, as the prior's in a KL that is drawn")
        return
    usual = sorted(parts.values())[1]
    for name, value in parts.items():
        ratio = value / usual if usual else math.inf
        if abs(ratio - 1) < max(1e-2, 5 * w.error / abs(usual or 1)):
            continue
        if name == "-ln σ²" and abs(ratio * math.log(2) - 1) < 1e-2:
            text = (
                f"the weight of ln σ² is {ratio:.3f} = 1/ln 2 times that of the others: the least"
            )
            yield finding("log2 in the KL", f"{text} KL is at σ² = {ratio:.2f}")
        else:
            text = f"{name} has {ratio:.3g} times the weight of the other terms"
            yield finding("form of the KL", text)
    if w.mean and any(abs(rest / w.mean - m / 2) < 1e-3 for m in (probe.k, 1)):
        text = f"at the prior it is {rest * len(x):.3g} nats, not 0"
        yield finding("KL without its -1", text)


def _at(probe: Probe, x: Tensor, v: float) -> float:
    """Return the loss at mu = 0, logvar = v, without the reconstruction, for one row; or nan."""
    image, values = _quiet(probe, x)
    codes = torch.zeros(len(x), probe.k, dtype=x.dtype)
    answer = probe.ask(x, codes, codes + v, image, values)
    error = measure_error(probe, x)
    if error is None:
        return math.nan
    charged = 0.0 if error.name == "log-likelihood" else error.weight * error.of(x, image)
    return (answer.value - charged) / len(x)


# The reconstruction -----------------------------------------------------------------------------
@dataclass
class Error:
    """Which error of an image a loss has.

    Attributes:
        name: of it.
        weight: R.
        target: (a, b) where the image is compared with a x + b.
        constant: whether the weight is the same for all images.
    """

    name: str
    weight: float
    target: tuple[float, float] = (1.0, 0.0)
    constant: bool = True

    def of(self, x: Tensor, image: Tensor) -> float:
        """Sum the error over the batch."""
        t, p = self.target[0] * x + self.target[1], image.reshape(x.shape)
        return float(VALUES[self.name](t, p).sum()) if self.name in VALUES else math.nan


VALUES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": lambda t, p: -(t * torch.log(p) + (1 - t) * torch.log(1 - p)),
    "cross-entropy of logits": lambda t, p: F.softplus(p) - t * p,
    "squared error": lambda t, p: (t - p) ** 2,
    "absolute error": lambda t, p: (t - p).abs(),
}


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
            one, two = (probe.ask(x, zero, head, p, x.new_zeros(n)) for p in images)
        except Exception:  # a cross-entropy that refuses them
            continue
        if one.finite and two.finite:
            return _recognise(probe, x, images, one, two)
    return None


def _recognise(probe: Probe, x: Tensor, images: Tensor, one: Answer, two: Answer) -> Error | None:
    if one.likelihood and bool(one.values.any()):
        return Error("log-likelihood", -float(one.values.mean()))
    if not one.decoded or one.likelihood:
        return None
    p, q, g, h = (t.reshape(x.shape) for t in (images[0], images[1], one.image, two.image))
    if not g.any():
        return Error("nothing", 0.0)
    signs = torch.sign(p - x)
    r = float((g * signs).mean())
    if float((g - r * signs).norm()) < EXACT * float(g.norm()):
        return Error("absolute error", r)
    if float((g - h).norm()) < EXACT * float(g.norm()):  # the image enters as a factor
        a, b = x - x.mean(), g - g.mean()
        exchanged = float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-300)) < -0.9
        return Error("exchanged", 1.0) if exchanged else None
    best, left = None, 5e-3
    for name, feature in {
        "squared error": lambda p, g: (p, g),
        "cross-entropy": lambda p, g: (p, g * p * (1 - p)),
        "cross-entropy of logits": lambda p, g: (torch.sigmoid(p), g),
    }.items():
        s, y = feature(p, g)
        scale = max(float(s.norm()), 1e-300)
        parts = torch.stack([s / scale, x / scale, torch.ones_like(x) / math.sqrt(x.numel())])
        parts = parts.flatten(1).T
        fit = torch.linalg.lstsq(parts, y.reshape(-1, 1)).solution[:, 0]
        off = float((parts @ fit - y.flatten()).norm() / y.norm().clamp(min=1e-300))
        r = float(fit[0]) / scale
        if off < left and r != 0:
            other = _weight_at(feature, q, h, x, -float(fit[1] / fit[0]))
            target = -float(fit[1] / fit[0]), -float(fit[2] / fit[0]) * scale / math.sqrt(x.numel())
            halves = 2 if name == "squared error" else 1
            best, left = Error(name, r / halves, target, abs(other / r - 1) < 1e-2), off
    if (
        best
        and abs(best.target[0] - 1) < 1e-3
        and abs(best.target[1]) < 1e-3 * float(x.abs().max())
    ):
        best.target = 1.0, 0.0
    return best


def _weight_at(
    feature: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    p: Tensor,
    g: Tensor,
    x: Tensor,
    a: float,
) -> float:
    """Return the weight at another image."""
    s, y = feature(p, g)
    apart = s - a * x
    apart = apart - apart.mean()
    return float((apart * (y - y.mean())).sum() / (apart * apart).sum().clamp(min=1e-300))


# Both -------------------------------------------------------------------------------------------
def check_loss(probe: Probe, beta: float) -> tuple[list[Finding], Error | None]:
    """Measure the KL that the loss uses, and its weight against the reconstruction."""
    rows = max(2, min(len(probe.x), int(4e6) // probe.d))
    x = probe.soft()[:rows]
    probe.half = _refuses(probe, x)
    codes = torch.full((rows, probe.k), 0.5, dtype=x.dtype)
    answer = probe.ask(x, codes, codes, *_quiet(probe, x))
    if not (answer.decoded or answer.likelihood):
        probe.untested.append("the loss, which asks neither decode nor log_likelihood")
        return [], None
    findings, w = check_kl(probe, x, beta)
    error = measure_error(probe, x)
    if error is None:
        probe.untested.append("the weights of the loss: it has none of the usual errors of decode")
        return findings, None
    if error.name == "exchanged":
        text = "the loss is linear in what the decoder says: it takes the image for the prediction"
        return [*findings, finding("arguments exchanged", text)], error
    if error.name == "nothing":
        return [
            *findings,
            finding("no reconstruction", "no gradient by what the decoder says"),
        ], error
    findings += _last_layer(probe, error)
    if error.weight < 0:
        text = f"the loss rises by {-error.weight * rows:.3g} for each unit that the error falls"
        return [*findings, finding("sign of the reconstruction", text)], error
    if w is not None and w.mean > 0:
        findings += _weight(probe, x, w, error, beta)
    return findings, error


def _last_layer(probe: Probe, error: Error) -> Iterator[Finding]:
    low, high = probe.reach.get("decode", (-math.inf, math.inf))
    if error.name == "cross-entropy" and "decode" in probe.reach and not probe.says_probabilities:
        text = "the loss takes what decode says for probabilities, and it says"
        yield finding("no sigmoid", f"{text} {low:.4g} to {high:.4g}, whatever its weights")
    says = f"the loss takes what decode says for logits, and it says {low:.4g} to {high:.4g}"
    if error.name == "cross-entropy of logits" and probe.says_probabilities:
        text = f"{says}: its own probabilities reach from 0.50 to 0.73 only"
        yield finding("sigmoid twice", text)
    ends = [error.target[0] * float(e) + error.target[1] for e in (probe.x.min(), probe.x.max())]
    if error.name == "cross-entropy of logits" and not probe.says_probabilities:
        least, most = torch.sigmoid(torch.tensor([low, high], dtype=torch.float64)).tolist()
        slack = 0.05 * (max(ends) - min(ends))
        in_range = min(ends) > -1e-3 and max(ends) < 1 + 1e-3  # else that is the fault
        if in_range and (min(ends) < least - slack or max(ends) > most + slack):
            text = f"{says}, whatever weights: probabilities from {least:.2f} to {most:.2f} only"
            yield finding("decoder cannot reach the data", text)
    if error.name.startswith("cross-entropy"):
        if min(ends) < -1e-3 or max(ends) > 1 + 1e-3:
            text = f"a cross-entropy of data from {min(ends):.3g} to {max(ends):.3g}"
            yield finding("input range", text)


def _weight(probe: Probe, x: Tensor, w: Weights, error: Error, beta: float) -> Iterator[Finding]:
    """Name the reductions that explain the weights A of the KL and R of the reconstruction."""
    n, d, k = len(probe.x), probe.d, probe.k
    if not error.constant:  # a root or a logarithm of the sum: take it where the model is
        error = _here(probe, x, error)
    over_rows = _over_rows(probe, x, w, error)
    # both as sums within a row and means over rows, for the whole batch
    a, r = (
        v * len(x) * (n / len(x)) ** power
        for v, power in zip((w.mean, error.weight), over_rows, strict=True)
    )
    likely = error.name == "log-likelihood" or error.name.startswith("cross-entropy")
    halves = (1.0,) if likely else (1.0, 0.5)  # a squared error may come with its ½ or without
    slack = max(1e-3, 4 * w.error / w.mean)

    def near(value: float, wanted: float) -> bool:
        return abs(value - wanted) <= slack * abs(wanted)

    if any(near(a * half / r, beta) for half in halves):
        return
    evidence = (
        f"effective β {_number(a / r)} where {beta:g} is meant"
        f" (KL times {_number(a)}, {error.name} times {_number(r)})"
    )
    if error.name == "squared error":
        variance = _number(a / r / 2 / beta) if beta else "infinite"
        evidence += f": β = {_number(a / r / 2)} at variance 1, β = {beta:g} at variance {variance}"
    a_rows, r_rows = (n if power == 1 else 1 for power in over_rows)
    kl, weight = a / a_rows, r / r_rows
    if a_rows != r_rows:
        evidence += f"; n = {n}, and the {'KL' if a_rows > 1 else 'reconstruction'} grows with it"
    reasons = [  # weight of the KL, of the reconstruction, name
        (beta, 1 / d, "mean against sum"),
        (beta / k, 1 / d, "mean against mean"),
        (beta / k, 1.0, "KL averaged over code numbers"),
        (beta / d, 1.0, "KL divided by the number of pixels"),
        (2 * beta, 1.0, "KL without its ½"),
        (1.0, beta, "β on the wrong term"),
    ]
    if a_rows > r_rows:
        reasons = [(beta / k, 1.0, "KL summed over the wrong axis")]
        reasons += [(kl, weight, "KL summed over rows")]
    elif r_rows > a_rows:
        reasons = [(kl, weight, "reconstruction summed over rows")]
    for wanted, with_weight, name in reasons:
        if near(kl, wanted) and any(near(weight, with_weight * half) for half in halves):
            yield finding(name, evidence)
            return
    chosen = not likely and any(near(kl, beta / m) for m in (1, d, n)) and a_rows == r_rows
    if chosen:  # the KL has the weight that is meant: then R says which variance, if it can be
        spread = _variance(x, error)
        implied = a / r / 2 / max(beta, 1e-300) if error.name == "squared error" else 0.0
        if implied <= spread or _learned(probe, x):
            return
        evidence += f"; above the variance of all data, {_number(spread)}, no code number pays"
    yield finding("weight of the KL", evidence)


def _here(probe: Probe, x: Tensor, error: Error) -> Error:
    """Measure the weight of a squared error at the model's own images."""
    with torch.no_grad():
        image = probe.model.eval().decode(probe.model.encode(probe.x[: len(x)])[0])
    zero = torch.zeros(len(x), probe.k, dtype=x.dtype)
    answer = probe.ask(x, zero, zero, image, x.new_zeros(len(x)))
    apart = image.reshape(x.shape) - (error.target[0] * x + error.target[1])
    pull = answer.image.reshape(x.shape)
    weight = float((pull * apart).sum() / (apart * apart).sum().clamp(min=1e-300))
    halves = 2 if error.name == "squared error" else 1
    return Error(error.name, weight / halves, error.target, constant=False)


def _over_rows(probe: Probe, x: Tensor, w: Weights, error: Error) -> tuple[int, int]:
    """Tell for the KL and for the reconstruction: 0, a mean over rows; 1, a sum.

    The batch is given twice over: a sum keeps the weight of each row, a mean halves it.
    """
    twice = rows_of(x, 2 * len(x))
    try:
        reading = probe.charged_as or "logvar"
        ends = probe.heads if reading == "logvar" else (0.05, 3.0)
        size, seeds = (0.5, 20) if w.error else (30.0, 1)
        again = kl_weights(probe, twice, size, ends, seeds)[reading].logarithm
        other = measure_error(probe, twice)
    except Exception:  # one number of rows only
        return 0, 0
    if other is None or not again or not w.logarithm:
        return 0, 0
    if not error.constant:
        return round(1 + math.log2(abs(again / w.logarithm))), 0
    return (
        round(1 + math.log2(abs(again / w.logarithm))),
        round(1 + math.log2(abs(other.weight / error.weight))),
    )


def _variance(x: Tensor, error: Error) -> float:
    """Return the variance of the data, a sum over pixels: no direction has more."""
    return error.target[0] ** 2 * float(x.flatten(1).double().var(dim=0).sum())


def _learned(probe: Probe, x: Tensor) -> bool:
    """Tell whether weights outside encoder and decoder move the loss: a width that is learned."""
    codes = torch.full((len(x), probe.k), 0.5, dtype=x.dtype)
    return probe.ask(x, codes, codes, *_quiet(probe, x)).others


def _number(value: float) -> str:
    rounded = float(f"{value:.7g}")
    return f"{rounded:.0f}" if 1e4 <= rounded < 1e9 else f"{rounded:.4g}"
