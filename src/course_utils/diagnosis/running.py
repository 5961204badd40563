"""Does everything run, in the shapes of the protocol, without nan?"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_utils.diagnosis.calls import has, in_mode, run_forward, run_loss
from course_utils.diagnosis.faults import Finding, finding
from course_utils.diagnosis.probe import Probe


class Trouble(Exception):
    """What went wrong first; nothing after it is called."""

    def __init__(self, found: Finding) -> None:
        super().__init__(str(found))
        self.finding = found


def first_trouble(probe: Probe, *, with_loss: bool) -> list[Finding]:
    """Call everything as training does, then as evaluation does, then the loss, if asked.

    The number of code numbers and the shape of an image become known to the probe.
    """
    try:
        head = _run_parts(probe)
        if with_loss and probe.loss is not None:
            for seed in range(3):
                _run_loss(probe, head, seed)
    except Trouble as trouble:
        return [trouble.finding]
    return []


def _run_parts(probe: Probe) -> Tensor:
    """Call the parts of the model and return the second head."""
    model, x = probe.model, probe.x
    for training in (True, False):
        model.train(training)
        mu, head = _codes(_call("encode", lambda: model.encode(x)), len(x))
        image = _call("decode", lambda mu=mu: model.decode(mu))  # type: ignore[misc]
        if not isinstance(image, Tensor) or image.numel() != x.numel() or len(image) != len(x):
            raise _shapes("decode", image, str(tuple(x.shape)))
        outputs = _call("forward", lambda: run_forward(model, x, probe.seed))
        if not isinstance(outputs, tuple | list) or len(outputs) != 3:
            raise _shapes("forward", outputs, "three: recon_x, mu, logvar")
        if has(model, "log_likelihood"):
            values = _call("log_likelihood", lambda mu=mu: model.log_likelihood(x, mu))  # type: ignore[misc]
            if not isinstance(values, Tensor) or values.shape != (len(x),):
                raise _shapes("log_likelihood", values, f"({len(x)},), one for each row")
    probe.k, probe.image = mu.shape[1], tuple(image.shape[1:])
    for name, tensor in {"mu": mu, "recon_x": image}.items():
        if not bool(torch.isfinite(tensor).all()):
            share = float((~torch.isfinite(tensor)).double().mean())
            text = f"{share:.0%} of {name} is nan or infinite (recon_x needs mu)"
            raise Trouble(finding("not finite", text, "lower the rate; look for log(0)"))
    return head


def _codes(heads: Any, n: int) -> tuple[Tensor, Tensor]:
    """Return what ``encode`` gave, if it is two tensors of shape (n, k)."""
    if isinstance(heads, tuple | list) and len(heads) == 2:
        mu, head = heads
        if isinstance(mu, Tensor) and isinstance(head, Tensor):
            if mu.ndim == 2 and mu.shape == head.shape and len(mu) == n:
                return mu, head
    raise _shapes("encode", heads, f"two of shape ({n}, k)")


def _run_loss(probe: Probe, head: Tensor, seed: int) -> None:
    """Call the loss and its gradients."""
    loss, x = probe.loss, probe.x
    assert loss is not None
    value = _call("loss", lambda: run_loss(loss, in_mode(probe.model, training=True), x, seed))
    if isinstance(value, float | int):
        raise Trouble(finding("loss without gradient", f"the loss is a {type(value).__name__}"))
    if not isinstance(value, Tensor):
        raise _shapes("loss", value, "one number, a tensor: the total that is trained on")
    if value.numel() != 1:
        raise _shapes("loss", value, "one number")
    if not value.requires_grad:
        raise Trouble(finding("loss without gradient", "no weight moves the loss"))
    weights = [w for w in probe.model.parameters() if w.requires_grad]
    pulls: tuple[Tensor | None, ...] = ()
    if weights:
        pulls = _call("loss", lambda: torch.autograd.grad(value, weights, allow_unused=True))
    number = float(value.detach())
    if not math.isfinite(number):
        raise _not_finite(f"the loss is {number:g}", x.dtype, head)
    if not all(bool(g.isfinite().all()) for g in pulls if g is not None):
        raise _not_finite("a gradient of the loss is nan or infinite", x.dtype, head)


def _not_finite(what: str, dtype: torch.dtype, head: Tensor) -> Trouble:
    """Say where exp leaves the range of the type: at ln of its largest number."""
    kind, limit = str(dtype).removeprefix("torch."), math.log(torch.finfo(dtype).max)
    low, high = float(head.detach().min()), float(head.detach().max())
    text = (
        f"in {kind} {what}; the second head reaches from {low:.3g} to {high:.3g}"
        f" (exp leaves the range of {kind} at {limit:.1f})"
    )
    steps = f"steps of {torch.finfo(dtype).eps:.1g}"
    mend = f"1 + 1e-8 is 1 in {kind} ({steps}): take the loss from logits"
    if max(-low, high) > limit:
        mend = "scale the data, or clamp logvar"
    return Trouble(finding("not finite", text, mend))


def _call(name: str, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:
        raise Trouble(raised(name, error)) from error


def raised(where: str, error: Exception) -> Finding:
    """Make the finding of an exception."""
    return finding("exception", f"{where}: {type(error).__name__}: {first_line(error)}")


def first_line(error: Exception) -> str:
    """Return the beginning of what an exception says."""
    return str(error).splitlines()[0][:120] if str(error) else ""


def _shapes(name: str, given: Any, expected: str) -> Trouble:
    if isinstance(given, Tensor):
        shapes = str(tuple(given.shape))
    elif isinstance(given, tuple | list) and all(isinstance(t, Tensor) for t in given):
        shapes = f"{len(given)} tensors, {', '.join(str(tuple(t.shape)) for t in given)}"
    else:
        shapes = f"a {type(given).__name__}"
        if isinstance(given, dict):
            shapes += f" of {', '.join(map(str, given))}"
    text = f"{name} gives {shapes}, expected {expected}"
    return Trouble(finding("shapes", text, f"return {expected}"))
