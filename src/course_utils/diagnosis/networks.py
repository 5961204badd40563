"""What can be seen of an encoder and a decoder from the outside."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from course_utils.diagnosis.probe import Finding, rows_of
from course_utils.vae.small import kl_divergence, reparameterize

ALMOST = {torch.float64: 1e-6, torch.float32: 1e-3}  # what rounding may leave of an exact zero


def check_range(model: nn.Module, batch: Tensor, needs_unit_range: bool) -> Iterator[Finding]:
    """Compare the range of the data with what the decoder can say."""
    low, high = float(batch.min()), float(batch.max())
    outputs = _decoded(model, batch, scale=3.0)
    bounded = bool(outputs.min() >= 0 and outputs.max() <= 1)
    if (low < 0 or high > 1) and (needs_unit_range or bounded):
        yield Finding(
            "input range",
            f"data from {low:g} to {high:g}; the decoder says {float(outputs.min()):.2f} to"
            f" {float(outputs.max()):.2f}",
            "divide bytes by 255; do not standardise data for a decoder that ends in a sigmoid",
        )
    elif 0 < high < 0.05 and low >= 0:
        yield Finding(
            "input range",
            f"the brightest pixel is {high:.3g}: divided by 255 twice?",
            "ToTensor divides already: scale to [0, 1] once",
        )
    if needs_unit_range and not bounded:
        share = float(((outputs < 0) | (outputs > 1)).double().mean())
        yield Finding(
            "no sigmoid",
            f"{share:.0%} of the decoder's outputs are no probabilities: {float(outputs.min()):.2f}"
            f" to {float(outputs.max()):.2f}",
            "decode ends in a sigmoid; the loss takes the logits before it",
        )


def check_heads(model: nn.Module, batch: Tensor) -> Iterator[Finding]:
    """Look for activations on the heads: numbers that are never negative, widths that are zero."""
    dice = torch.Generator().manual_seed(0)
    strange = 3 * torch.randn(batch.shape, generator=dice, dtype=batch.dtype)
    inputs = torch.cat([batch, strange])
    heads = dict(zip(("mean", "logvar"), model.encode(inputs), strict=True))
    nothing = torch.isneginf(heads["logvar"])
    if bool(nothing.any()):
        share = float(nothing.double().mean())
        yield Finding(
            "sigma is zero",
            f"{share:.0%} of the widths are exactly 0 (logvar = -inf)",
            "no ReLU on sigma: let the head give logvar, or use softplus",
        )
        del heads["logvar"]
    for name, head in heads.items():
        zero = float((head == 0).double().mean())
        if zero == 1 or not bool((head >= 0).all()):
            continue
        if zero > 0:
            evidence = f"{zero:.0%} of the numbers exactly 0, none below: a ReLU"
        elif _can_be_negative(model, batch, name):
            continue
        else:
            evidence = f"smallest {float(head.min()):.2g}, and no input makes it negative"
        yield Finding(
            f"{name} never negative", evidence, "no activation on the heads, mean and logvar alike"
        )


@torch.enable_grad()
def _can_be_negative(model: nn.Module, batch: Tensor, name: str) -> bool:
    """Search for an input with a negative number: steps downhill that grow."""
    x, step = batch.detach().clone(), 0.1
    for _ in range(30):
        x = x.detach().requires_grad_()
        head = model.encode(x)[name == "logvar"]
        if bool((head < 0).any()):
            return True
        (gradient,) = torch.autograd.grad(head.sum(), x)
        x = x - step * gradient / gradient.abs().max().clamp(min=1e-30)
        step *= 1.5
    return False


def check_randomness(model: nn.Module, batch: Tensor) -> Iterator[Finding]:
    """In evaluation mode, ask twice."""
    mu, _ = model.encode(batch)
    asks = {"encode": lambda: model.encode(batch)[0], "decode": lambda: model.decode(mu)}
    if callable(getattr(model, "reconstruct", None)):
        asks["reconstruct"] = lambda: model.reconstruct(batch)
    for name, ask in asks.items():
        difference = float((ask() - ask()).square().mean().sqrt())
        if difference > 0:
            yield Finding(
                "random at evaluation",
                f"two calls of {name} differ by {difference:.2g} a number (root mean square)",
                "for a code or a reconstruction use the mean, mu; draw only where a bound is meant",
            )


def check_nonlinearity(model: nn.Module, batch: Tensor, k: int) -> Iterator[Finding]:
    """Test whether the middle of two inputs goes to the middle of two outputs."""
    dice = torch.Generator().manual_seed(0)
    a, b = (
        5 * torch.randn((64, *batch.shape[1:]), generator=dice, dtype=batch.dtype) for _ in "ab"
    )
    ends = [model.encode(x) for x in (a, b, (a + b) / 2)]
    bends = [
        _bend(left, right, middle, torch.isfinite(left))
        for left, right, middle in zip(*ends, strict=True)
    ]
    if min(bends) < ALMOST[batch.dtype]:
        yield _affine("encoder", min(bends))
    a, b = (3 * torch.randn(64, k, generator=dice, dtype=batch.dtype) for _ in "ab")
    left, right, middle = outputs = [model.decode(z) for z in (a, b, (a + b) / 2)]
    bend = _bend(left, right, middle, torch.isfinite(left))
    edge = ALMOST[batch.dtype]
    inside = torch.stack([(p > edge) & (p < 1 - edge) for p in outputs]).all(dim=0)
    if float(inside.double().mean()) > 0.1:
        bend = min(bend, _bend(left.logit(), right.logit(), middle.logit(), inside))
    if bend < edge:
        yield _affine("decoder", bend)


def _bend(left: Tensor, right: Tensor, middle: Tensor, where: Tensor) -> float:
    """How far the middle is from the middle, relative to the distance of the ends."""
    off, apart = (middle - (left + right) / 2)[where], (left - right)[where]
    size = float(apart.abs().mean()) if apart.numel() else 0.0
    return float(off.abs().mean()) / size if size > 0 and math.isfinite(size) else math.inf


def _affine(name: str, bend: float) -> Finding:
    return Finding(
        f"{name} without nonlinearity",
        f"the middle of two inputs goes to the middle of two outputs, but for {bend:.0e} of their"
        " distance: however many layers, one matrix",
        "put an activation after each hidden layer",
    )


def check_likelihood(model: nn.Module, batch: Tensor) -> Iterator[Finding]:
    """Compare log_likelihood, as a function of x, with the image that decode gives."""
    x = 0.1 + 0.8 * rows_of(batch, max(64, len(batch))).clamp(0, 1)
    z = model.encode(rows_of(batch, len(x)))[0].detach()
    dice = torch.Generator().manual_seed(0)
    step = 1e-4 if x.dtype == torch.float64 else 1e-2
    v = torch.randint(0, 2, x.shape, generator=dice).to(x.dtype) * 2 - 1
    half = torch.randint(0, 2, x.shape[1:], generator=dice).to(x.dtype)

    def slope(at: Tensor, direction: Tensor) -> Tensor:
        up, down = (model.log_likelihood(at + s * step * direction, z) for s in (1, -1))
        return (up - down) / (2 * step)

    elsewhere = x + 0.1 * (1 - half) * (0.5 - x)
    one, other = slope(x, v * half), slope(elsewhere, v * half)
    if float((one - other).abs().max()) > 0.05 * float(one.abs().mean()):
        return  # pixels depend on each other given the code: there is no one image to compare with
    x_hat = model.decode(z).reshape(x.shape)
    if not bool(((x_hat > 0) & (x_hat < 1)).all()):
        return
    features = {
        "logit": torch.logit(x_hat),
        "difference": x_hat - x,
        "sign": torch.sign(x_hat - x),
        "probability": x_hat,
    }
    measured = slope(x, v).double()
    fits = {}
    for name, feature in features.items():
        expected = (v * feature).flatten(1).sum(dim=1).double()
        r = float((measured * expected).mean() / (expected**2).mean().clamp(min=1e-300))
        left = float(((measured - r * expected) ** 2).mean() / (measured**2).mean().clamp(1e-300))
        fits[name] = left, r
    (left, r), best = min((fits[name], name) for name in fits)
    d = math.prod(x.shape[1:])
    if left < 1e-4 and best == "probability":
        yield Finding(
            "sigmoid twice",
            "the cross-entropy takes the decoder's probabilities for logits:"
            f" its own probabilities reach from {0.5:.2f} to {1 / (1 + math.exp(-1)):.2f} only",
            "give the loss logits, or take the one that expects probabilities",
        )
    elif left < 1e-2 and r < 0:
        yield Finding(
            "sign of the log-likelihood",
            "it falls where the image comes nearer to the reconstruction",
            "ln p(x|z) is minus the error",
        )
    elif left < 1e-4 and best == "logit" and abs(r - 1) > 1e-2:
        mean = d > 1 and abs(r * d - 1) < 1e-2
        yield Finding(
            "scale of the log-likelihood",
            f"it is {r:.3g} times the sum over {d} pixels" + (": a mean" if mean else ""),
            "ln p(x|z) is a sum over pixels",
        )
    elif left > 0.5:
        yield Finding(
            "log_likelihood and decode disagree",
            f"the image of decode explains {1 - left:.0%} of how log_likelihood changes with x",
            "both must use the same network, with one sigmoid",
        )


def check_code_is_used(model: nn.Module, batch: Tensor) -> Iterator[Finding]:
    """Exchange the codes of different rows: does anybody notice?"""
    x = rows_of(batch, max(256, len(batch)))
    mu, logvar = model.encode(x)
    dice = torch.Generator().manual_seed(0)
    z = reparameterize(mu, logvar, dice)
    other = z.roll(1, dims=0)
    rate = float(kl_divergence(mu, logvar).mean())
    lost = float((_fit(model, x, z) - _fit(model, x, other)).mean())
    error = float((model.decode(mu).reshape(x.shape) - x).square().mean())
    spread = float((x - x.mean(dim=0)).square().mean())
    # a fresh network ignores its code too, and is healthy: it says 1/2 for every pixel
    trained = error < 1.5 * spread and error < 0.75 * float((x - 0.5).square().mean())
    if rate < 0.15 and abs(lost) < 0.25 and trained:
        yield Finding(
            "the code is ignored",
            f"rate {rate:.2f} nats; with another image's code ln p(x|z) falls by {lost:.2f} nats",
            "weaken the decoder or the weight of the KL; early in training, wait",
        )


def _fit(model: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    """ln p(x|z) for each row; where the model gives none, that of a Gaussian of variance 1."""
    if callable(getattr(model, "log_likelihood", None)):
        return model.log_likelihood(x, z)
    return -(model.decode(z).reshape(x.shape) - x).square().flatten(1).sum(dim=1) / 2


def _decoded(model: nn.Module, batch: Tensor, *, scale: float) -> Tensor:
    mu, _ = model.encode(batch)
    dice = torch.Generator().manual_seed(0)
    wide = scale * torch.randn((256, mu.shape[1]), generator=dice, dtype=mu.dtype)
    return model.decode(torch.cat([mu, wide]))
