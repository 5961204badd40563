"""How a loss weighs its two terms: by the formula, and by experiment."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from course_utils.diagnosis.probe import Finding, rows_of, seed_all, stand_in
from course_utils.training import Loss

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


@dataclass
class Heard:
    """What a loss asked the model for."""

    decoded: bool = False
    likelihood: bool = False


class Scale:
    """A loss under experiment: encoder and decoder say what we want, and the loss is read off.

    Args:
        loss: ``loss(model, x, generator)``, one number.
        model: whose methods are replaced.
        batch: data, one sample a row.
        k: numbers of a code.
    """

    def __init__(self, loss: Loss, model: nn.Module, batch: Tensor, k: int) -> None:
        self.loss, self.model, self.batch, self.k = loss, model, batch, k
        self.heard = Heard()

    def __call__(
        self,
        mu: Tensor,
        logvar: Tensor,
        *,
        image: Tensor | None = None,
        values: Tensor | None = None,
        seed: int = 1,
    ) -> float:
        """Return the loss where the codes are (mu, logvar) and the decoder does not look at z."""
        x = rows_of(self.batch, len(mu))
        fixed = torch.full_like(x, 0.5) if image is None else image
        zeros = x.new_zeros(len(x)) if values is None else values

        def decode(*args: Any, **options: Any) -> Tensor:
            self.heard.decoded = True
            return fixed

        def log_likelihood(*args: Any, **options: Any) -> Tensor:
            self.heard.likelihood = True
            return zeros

        twin = stand_in(
            self.model,
            encode=lambda *args, **options: (mu, logvar),
            decode=decode,
            log_likelihood=log_likelihood,
        )
        seed_all(seed)
        with torch.no_grad():
            return float(self.loss(twin, x, torch.Generator().manual_seed(seed)))


@dataclass
class Weights:
    """The weights of Σ mu²/2, Σ (σ² − 1)/2 and −Σ ln σ² / 2 in a loss, means over rows."""

    mean: float
    variance: float
    logarithm: float
    off: float  # what they leave unexplained, as a share
    at_prior: float


READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "logvar": lambda v: v,
    "2 logvar": lambda v: 2 * v,
    "logvar / 2": lambda v: v / 2,
}


def kl_weights(scale: Scale, n: int, dtype: torch.dtype, reading: str = "logvar") -> Weights:
    """Fit the three weights to the loss at random codes of n rows, by least squares."""
    dice = torch.Generator().manual_seed(n)
    zero = torch.zeros(n, scale.k, dtype=dtype)
    start = scale(zero, zero)
    rows, values = [], []
    for _ in range(24):
        mu = torch.randn(n, scale.k, generator=dice, dtype=dtype)
        logvar = 3 * torch.rand(n, scale.k, generator=dice, dtype=dtype) - 2
        v = READINGS[reading](logvar)
        rows.append([float(part.sum()) / (2 * n) for part in (mu**2, torch.exp(v) - 1, -v)])
        values.append(scale(mu, logvar) - start)
    a, b = torch.tensor(rows, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    fit = torch.linalg.lstsq(a, b[:, None]).solution[:, 0]
    off = float((a @ fit - b).norm() / b.norm().clamp(min=1e-300))
    mean, variance, logarithm = fit.tolist()
    return Weights(mean, variance, logarithm, off, start)


def reconstruction_weight(scale: Scale, n: int, dtype: torch.dtype) -> tuple[str, float]:
    """Return which error the loss has, and its weight as a sum over pixels and mean over rows."""
    zero = torch.zeros(n, scale.k, dtype=dtype)
    dice = torch.Generator().manual_seed(n)
    x = rows_of(scale.batch, n)
    if scale.heard.likelihood and not scale.heard.decoded:
        values = torch.randn(n, generator=dice, dtype=dtype) + 3
        change = scale(zero, zero, values=values) - scale(zero, zero)
        return "log-likelihood", -change / float(values.mean())
    images = [0.1 + 0.8 * torch.rand(x.shape, generator=dice, dtype=dtype) for _ in range(8)]
    values = torch.tensor([scale(zero, zero, image=p) for p in images], dtype=torch.float64)
    best = ("", math.nan, 1e-4)
    for name, error in ERRORS.items():
        sums = torch.stack([error(x, p).sum() / n for p in images]).double()
        a, b = sums - sums[0], values - values[0]
        weight = float((a @ b) / (a @ a))
        off = float((weight * a - b).norm() / b.norm().clamp(min=1e-300))
        if off < best[2]:
            best = (name, weight, off)
    return best[:2]


ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": lambda x, p: -(x * torch.log(p) + (1 - x) * torch.log(1 - p)),
    "squared error": lambda x, p: (x - p) ** 2,
    "absolute error": lambda x, p: (x - p).abs(),
}


def check_balance(
    loss: Loss, model: nn.Module, batch: Tensor, k: int, beta: float
) -> Iterator[Finding]:
    """Measure the KL that the loss uses, and its weight against the reconstruction."""
    n, d, dtype = 24, math.prod(batch.shape[1:]), batch.dtype
    scale = Scale(loss, model, batch, k)
    generous = torch.ones(n, k, dtype=dtype)
    if not abs(scale(generous, generous) - scale(generous, generous, seed=2)) <= 1e-6:
        return  # a KL by sampling, or nan: nothing to compare with
    exact = 1e-6 if dtype == torch.float64 else 1e-3
    weights, reading = kl_weights(scale, n, dtype), "logvar"
    for other in ("2 logvar", "logvar / 2"):
        if weights.off > exact:
            guess = kl_weights(scale, n, dtype, other)
            if guess.off < exact:
                weights, reading = guess, other
    if weights.off > exact:
        yield Finding(
            "KL not in closed form",
            f"no weights of mu², σ² and ln σ² explain it: {weights.off:.1%} are left",
            "½ Σ (mu² + exp(logvar) - 1 - logvar), summed over all code numbers",
        )
        return
    yield from _form(weights, reading, k)
    error, r = reconstruction_weight(scale, n, dtype)
    half = kl_weights(scale, n // 2, dtype, reading)
    a = weights.mean
    if error and r and a > 0 and math.isfinite(r):
        grows = half.mean / a < 0.75 and reconstruction_weight(scale, n // 2, dtype)[1] / r > 0.75
        per_row = 1 / n if grows else 0.0
        yield from _weight(a, r, error, per_row, len(batch), d, k, beta)


def _form(w: Weights, reading: str, k: int) -> Iterator[Finding]:
    if reading != "logvar":
        what = "log σ" if reading == "2 logvar" else "twice the log-variance"
        yield Finding(
            "KL reads logvar otherwise",
            f"its variance is exp({reading}): it takes logvar for {what}",
            "one meaning for the second head: sampler exp(logvar / 2), KL exp(logvar)",
        )
    parts = {"mu²": w.mean, "σ²": w.variance, "-ln σ²": w.logarithm}
    size = max(abs(value) for value in parts.values())
    if size == 0:
        yield Finding("no KL", "the loss does not depend on mu and logvar", "add the KL")
        return
    if all(value < 0 for value in parts.values()):
        yield Finding(
            "sign of the KL",
            f"it falls by {-w.mean:.3g} for each ½ mu²: the loss has no lower bound",
            "add the KL, or -½ Σ (1 + logvar - mu² - exp(logvar)) with its minus",
        )
        return
    usual = sorted(parts.values())[1]
    for name, value in parts.items():
        ratio = value / usual if usual else math.inf
        if abs(ratio - 1) < 1e-2:
            continue
        if name == "-ln σ²" and abs(ratio * math.log(2) - 1) < 1e-2:
            yield Finding(
                "log2 in the KL",
                f"the weight of ln σ² is {ratio:.3f} = 1/ln 2 times that of the others: the least"
                f" KL is at σ² = {ratio:.2f}",
                "torch.log, not torch.log2; or logvar itself",
            )
        else:
            yield Finding(
                "form of the KL",
                f"{name} has {ratio:.3g} times the weight of the other terms",
                "½ Σ (mu² + exp(logvar) - 1 - logvar)",
            )
    offset = w.at_prior / w.mean if w.mean else 0.0
    if any(abs(offset - m / 2) < 1e-6 for m in (k, 1)):
        yield Finding(
            "KL without its -1",
            f"at the prior it is {w.at_prior:.3g} nats, not 0",
            "½ Σ (mu² + exp(logvar) - 1 - logvar)",
        )


def _weight(
    a: float, r: float, error: str, per_row: float, n: int, d: int, k: int, beta: float
) -> Iterator[Finding]:
    """Name the reductions that explain the weights a of the KL and r of the reconstruction.

    Where the KL grows with the batch, ``per_row`` is one over the rows that gave a; n is the number
    of rows in the batch of the caller.
    """
    grows = per_row > 0
    if grows:
        a *= n * per_row
    ratio, likely = a / r, error in ("log-likelihood", "cross-entropy")
    halves = (1.0,) if likely else (1.0, 0.5)  # a squared error may come with its ½ or without

    def near(value: float, wanted: float) -> bool:
        return abs(value - wanted) <= 1e-3 * abs(wanted)

    if r < 0:
        yield Finding(
            "sign of the reconstruction",
            f"the loss rises by {-r:.3g} for each unit that the error falls",
            "minus the log-likelihood, plus the KL",
        )
        return
    if any(near(ratio * half, beta) for half in halves):
        return
    evidence = (
        f"effective β {ratio:.4g} where {beta:g} is meant (KL times {a:.4g}, {error} times {r:.4g})"
    )
    reasons = [  # weight of the KL, weight of the reconstruction, name, mend
        (beta * n / k, 1.0, "KL summed over the wrong axis", "kl.sum(dim=1), then the mean"),
        (beta * n, 1.0, "KL summed over rows", "sum over code numbers, mean over rows"),
    ] * grows
    reasons += [
        (beta, 1 / d, "mean against sum", "sum the reconstruction over pixels"),
        (beta / k, 1 / d, "mean against mean", "sum over pixels and over code numbers"),
        (beta / k, 1.0, "KL averaged over code numbers", "sum the KL over code numbers"),
        (beta / d, 1.0, "KL divided by the number of pixels", "divide neither term by it"),
        (2 * beta, 1.0, "KL without its ½", "½ Σ (mu² + exp(logvar) - 1 - logvar)"),
        (1.0, beta, "β on the wrong term", "multiply the KL by β, not the reconstruction"),
    ]
    for kl_weight, weight, name, mend in reasons:
        if near(a, kl_weight) and any(near(r, weight * half) for half in halves):
            also = f"; n = {n}, and the KL grows with it" if grows else ""
            yield Finding(name, evidence + also, mend)
            return
    if likely:
        yield Finding(
            "weight of the KL",
            evidence,
            "sum both within a sample; or say which β you mean: diagnose(…, beta=…)",
        )
