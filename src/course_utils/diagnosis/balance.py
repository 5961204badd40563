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

``kl`` measures A, ``reconstruction`` R and e.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from course_utils.diagnosis.faults import Finding, finding
from course_utils.diagnosis.kl import Weights, check_kl, kl_weights
from course_utils.diagnosis.probe import POSITIVE, TINY, Error, Probe, rows_of
from course_utils.diagnosis.reconstruction import check_last_layer, measure_error, weight_at

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


# By experiment ----------------------------------------------------------------------------------
def check_loss(probe: Probe, beta: float) -> Iterator[Finding]:
    """Measure the KL that the loss uses, and its weight against the reconstruction."""
    most = min(probe.max_rows // 2, int(4e6) // probe.d)  # half: the batch is given twice over too
    x = probe.soft(probe.x[: max(2, most)])
    codes = torch.full((len(x), probe.k), 0.5, dtype=x.dtype)
    try:
        answer = probe.ask(x, codes, codes)
    except Exception:  # it refuses data as an image: a cross-entropy that scales them itself
        probe.half = True
        answer = probe.ask(x, codes, codes)
    if not (answer.decoded or answer.likelihood):
        probe.untested.append("the loss, which asks neither decode nor log_likelihood")
        return
    w = yield from check_kl(probe, x, beta)
    error = measure_error(probe, x)
    if error is None:
        probe.untested.append("the weights of the loss: it has none of the usual errors of decode")
        return
    probe.error = error
    if error.name == "exchanged":
        text = "the loss is linear in what the decoder says: it takes the image for the prediction"
        yield finding("arguments exchanged", text)
    elif error.name == "nothing":
        yield finding("no reconstruction", "no gradient by what the decoder says")
    else:
        yield from check_last_layer(probe, error)
        if error.weight < 0:
            text = f"the loss rises by {-error.weight * len(x):.3g} for each unit"
            yield finding("sign of the reconstruction", f"{text} that the error falls")
        elif w is not None and w.mean > 0:
            yield from _weight(probe, x, w, error, beta, learned=answer.others)


def _weight(
    probe: Probe, x: Tensor, w: Weights, error: Error, beta: float, *, learned: bool
) -> Iterator[Finding]:
    """Compare A/R with the weight that is meant; a learned width may bring any."""
    if not error.constant:  # a root or a logarithm of the sum: take it where the model is
        error = _here(probe, x, error)
    sums = _over_rows(probe, x, w, error)
    # both as sums within a row and means over rows, for the whole batch
    a, r = (
        v * len(x) * (probe.n / len(x)) ** is_sum
        for v, is_sum in zip((w.mean, error.weight), sums, strict=True)
    )
    likely = error.name == "log-likelihood" or error.name.startswith("cross-entropy")
    halves = (1.0,) if likely else (1.0, 0.5)  # a squared error may come with its ½ or without
    slack = max(1e-3, 4 * w.error / w.mean)

    def near(value: float, wanted: float, factors: tuple[float, ...] = (1.0,)) -> bool:
        return any(abs(value - wanted * f) <= slack * abs(wanted * f) for f in factors)

    if any(near(a * half / r, beta) for half in halves):
        return
    kl, weight = (v / (probe.n if is_sum else 1) for v, is_sum in zip((a, r), sums, strict=True))
    evidence = _evidence(probe, error, a, r, beta, sums)
    for wanted, with_weight, name in _reasons(probe, beta, kl, weight, sums):
        if near(kl, wanted) and near(weight, with_weight, halves):
            yield finding(name, evidence)
            return
    if not likely and sums[0] == sums[1] and any(near(kl, beta / m) for m in (1, probe.d, probe.n)):
        # the KL has the weight that is meant: then R says which variance, if it can be
        spread = error.target[0] ** 2 * float(x.flatten(1).double().var(dim=0).sum())
        implied = a / r / 2 / max(beta, TINY) if error.name == "squared error" else 0.0
        if implied <= spread or learned:
            return
        evidence += f"; above the variance of all data, {_number(spread)}, no code number pays"
    yield finding("weight of the KL", evidence)


def _evidence(
    probe: Probe, error: Error, a: float, r: float, beta: float, sums: tuple[bool, bool]
) -> str:
    text = (
        f"effective β {_number(a / r)} where {beta:g} is meant"
        f" (KL times {_number(a)}, {error.name} times {_number(r)})"
    )
    if error.name == "squared error":
        variance = _number(a / r / 2 / beta) if beta else "infinite"
        text += f": β = {_number(a / r / 2)} at variance 1, β = {beta:g} at variance {variance}"
    if sums[0] != sums[1]:
        text += f"; n = {probe.n}, and the {'KL' if sums[0] else 'reconstruction'} grows with it"
    return text


def _reasons(
    probe: Probe, beta: float, kl: float, weight: float, sums: tuple[bool, bool]
) -> list[tuple[float, float, str]]:
    """Return what the reductions would make of the two weights, each with its fault."""
    d, k = probe.d, probe.k
    if sums == (True, False):
        return [
            (beta / k, 1.0, "KL summed over the wrong axis"),
            (kl, weight, "KL summed over rows"),
        ]
    if sums == (False, True):
        return [(kl, weight, "reconstruction summed over rows")]
    return [
        (beta, 1 / d, "mean against sum"),
        (beta / k, 1 / d, "mean against mean"),
        (beta / k, 1.0, "KL averaged over code numbers"),
        (beta / d, 1.0, "KL divided by the number of pixels"),
        (2 * beta, 1.0, "KL without its ½"),
        (1.0, beta, "β on the wrong term"),
    ]


def _here(probe: Probe, x: Tensor, error: Error) -> Error:
    """Measure the weight of an error at the model's own images."""
    with torch.no_grad():
        image = probe.model.eval().decode(probe.model.encode(probe.x[: len(x)])[0])
    zero = torch.zeros(len(x), probe.k, dtype=x.dtype)
    pull = probe.ask(x, zero, zero, image).image.reshape(x.shape)
    return replace(error, weight=weight_at(error, x, image.reshape(x.shape), pull))


def _over_rows(probe: Probe, x: Tensor, w: Weights, error: Error) -> tuple[bool, bool]:
    """Tell for the KL and for the reconstruction whether it is a sum over rows, no mean.

    The batch is given twice over: a sum keeps the weight of each row, a mean halves it.
    """
    twice = rows_of(x, 2 * len(x))
    reading = probe.charged_as or "logvar"
    ends = probe.heads if reading == "logvar" else POSITIVE
    size, seeds = (0.5, 20) if w.error else (30.0, 1)
    try:
        again = kl_weights(probe, twice, size, ends, seeds, [reading])[reading].logarithm
        other = measure_error(probe, twice)
    except Exception:  # one number of rows only
        return False, False
    if other is None or not again or not w.logarithm:
        return False, False
    kept = again / w.logarithm, other.weight / error.weight
    kl, reconstruction = (round(1 + math.log2(abs(ratio))) == 1 for ratio in kept)
    return kl, reconstruction and error.constant


def _number(value: float) -> str:
    rounded = float(f"{value:.7g}")
    return f"{rounded:.0f}" if 1e4 <= rounded < 1e9 else f"{rounded:.4g}"
