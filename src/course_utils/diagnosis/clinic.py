"""``diagnose``: the experiments, one after the other."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.diagnosis import networks
from course_utils.diagnosis.balance import Error, check_loss
from course_utils.diagnosis.faults import finding
from course_utils.diagnosis.probe import (
    Finding,
    Probe,
    Report,
    has,
    private_copy,
    quiet_random_numbers,
    run_forward,
    run_loss,
    seed_all,
)
from course_utils.diagnosis.sampler import check_sampler
from course_utils.training import Loss


def diagnose(
    model: nn.Module,
    batch: Tensor,
    *,
    loss: Loss | None = None,
    beta: float = 1.0,
    seed: int = 0,
) -> Report:
    """Look for the faults of a VAE that can be seen from the outside. Chapter 15.

    First everything runs once in the model's own type on this batch. Then, in double precision
    where that is possible, the encoder is made to say what we want and the answer is compared with
    the formula: codes drawn at logvar far from 0, gradients against small steps, middles of inputs
    against middles of outputs, the pull of the loss at chosen codes and images against the closed
    form, and what the last layers can say whatever their weights. No part of the source is read.
    ``faults.FAULTS`` is the table of all faults that it names.

    It cannot see what happens outside model and loss: gradients that are never set to zero, a
    wrong learning rate, test data among the training data. Nor, inside: a missing activation among
    several, gradients cut or one head used twice inside ``encode``, a ``forward`` or a loss that
    goes round ``encode``, ``decode`` and ``log_likelihood``; nor which quantity a caller asks for,
    except in a method ``reconstruct``. A KL that is estimated by sampling is tested for its sign
    and its weight, to a few per cent, where the prior is N(0, I). A Gaussian decoder may mean any
    variance: a squared error is named where the KL has not the weight that is meant, or where no
    code number could pay. A fresh model ignores its code: only a trained one is blamed for it.
    What a fault brings about is listed too, after its causes.

    Args:
        model: with ``encode(x)`` to (mu, logvar), ``decode(z)`` and ``forward(x)`` to
            (recon_x, mu, logvar); perhaps ``log_likelihood(x, z)`` and ``reconstruct(x)``. The
            second head may be ln σ, σ or σ² where sampler and KL agree. Works on a copy: weights,
            gradients, modes and random numbers stay as they are. A conditional model follows this
            protocol once a wrapper fixes its label.
        batch: (n, …) data as the model is trained on, n at least 2; a hundred rows are enough.
        loss: ``loss(model, x, generator)``, as for ``training.fit``; None: do not test one.
        beta: the weight of the KL that is meant.
        seed: of the experiments. The same seed, the same findings.

    Returns:
        A list of the findings, causes first, empty where there is none. Printed, it is one line
        for each, then notes on what is unusual and no fault; the last line says what was not
        tested. Never raises because of what the model or the loss does: an exception is a finding.

    Raises:
        ValueError: ``batch`` is no tensor with at least two rows.
    """
    if not isinstance(batch, Tensor) or batch.ndim < 2 or len(batch) < 2:
        shape = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
        raise ValueError(f"batch must be a tensor of shape (n, …) with n at least 2, got {shape}")
    with quiet_random_numbers(seed):
        return _examine(model, batch.detach().cpu(), loss, beta, seed)


def _examine(model: nn.Module, batch: Tensor, loss: Loss | None, beta: float, seed: int) -> Report:
    findings: list[Finding] = []
    if not batch.is_floating_point():
        text = f"data of type {batch.dtype}, from {float(batch.min()):g} to {float(batch.max()):g}"
        findings.append(finding("input range", text, "x.float() / 255"))
    if not bool(torch.isfinite(batch.double()).all()):
        return Report([finding("data not finite", "nan or infinite entries")])
    floats = [w.dtype for w in model.parameters() if w.is_floating_point()]
    own = floats[0] if floats else batch.dtype if batch.is_floating_point() else torch.float32
    probe, problems = None, list[Finding]()
    for dtype in dict.fromkeys((own, torch.float64, torch.float32)):
        try:
            copy = private_copy(model).to(dtype)
        except Exception as error:
            return Report([*findings, _raised("copy.deepcopy", error)])
        here = Probe(copy, batch.to(dtype), loss, seed)
        trouble = _runs_at_all(here)
        if dtype == own:
            probe, problems = here, trouble
        elif here.k and not (probe and probe.exact):
            probe = _better(probe, here)
    assert probe is not None
    missing = [f for f in problems if "not implemented for" in f.evidence]
    if missing:  # half precision on a machine that cannot
        problems = [f for f in problems if f not in missing]
        probe.untested.append(f"the model in its own type, {own}, which this machine cannot run")
    if probe.k == 0:
        return Report(findings + problems)
    needs = any(bool(getattr(part, "needs_unit_range", False)) for part in (model, loss))
    findings += _experiments(probe, needs, beta, any("recon_x" in f.evidence for f in problems))
    causes = {
        "no sigmoid",
        "input range",
        "arguments exchanged",
        "logarithm of a negative head",
        "sigma is zero",
    }
    explained = causes & {f.name for f in findings}
    late = [f for f in problems if f.name == "exception" or f.name == "not finite"]
    early = [f for f in problems if f not in late]
    return Report(early + findings + ([] if explained else late), probe.notes, probe.untested)


def _better(old: Probe | None, new: Probe) -> Probe:
    """Return the probe of the wider type; the old one's own type may be half."""
    return new if old is None or not old.k or new.exact or old.x.dtype.itemsize < 4 else old


def _experiments(probe: Probe, needs: bool, beta: float, diverged: bool) -> list[Finding]:
    """Make the experiments that make sense; one that fails is not tested, and no finding."""
    findings: list[Finding] = []
    loss, error = probe.loss, Error("", 0.0)

    def attempt(name: str, experiment: Callable[..., Any], *args: Any) -> Any:
        probe.model.eval()
        seed_all(probe.seed)
        try:
            result = experiment(*args)
            return result if isinstance(result, tuple | None) else list(result)
        except Exception as problem:
            why = f"{type(problem).__name__}: {_first_line(problem)}"
            probe.untested.append(f"{name} ({why})")
            return []

    def sampler(where: str, training: bool) -> list[Finding]:
        def run(model: nn.Module, x: Tensor, s: int) -> Any:
            model.train(training)
            seed = 1000 * probe.seed + s
            if where == "forward":
                return run_forward(model, x, seed)
            assert loss is not None
            return run_loss(loss, model, x, seed)

        return attempt(f"the noise in {where}", check_sampler, probe, run, where)

    if not diverged:
        attempt("what the last layers can say", networks.measure_reach, probe)
    noise = sampler("forward", True)
    if loss is not None:
        noise += sampler("the loss", True) + sampler("the loss, at evaluation", False)
    weights: list[Finding] = []
    if loss is not None:
        answer = attempt("the weights of the loss", check_loss, probe, beta)
        if answer:
            weights, error = answer[0], answer[1] or error
    if not diverged:
        findings += attempt("the range", networks.check_reach, probe, needs, error.target)
        findings += attempt("the range", _unused, probe, error)
        findings += attempt("the heads", networks.check_heads, probe)
        if needs and error.name in ("", "log-likelihood") and not probe.says_probabilities:
            findings += attempt("the range", _no_probabilities, probe)
    findings += _agreed(probe, noise + weights)
    if diverged:  # the networks say nothing; sampler and loss could still be examined
        return findings
    findings += attempt("activations", networks.check_nonlinearity, probe)
    findings += attempt("evaluation", networks.check_randomness, probe)
    if has(probe.model, "log_likelihood"):
        findings += attempt("log_likelihood", networks.check_likelihood, probe)
    logits = error.name == "cross-entropy of logits" and not probe.says_probabilities
    findings += attempt("the code", networks.check_code_is_used, probe, error.target, logits)
    return findings


def _agreed(probe: Probe, findings: list[Finding]) -> list[Finding]:
    """Drop what is no fault: a second head that sampler and KL read alike, whatever it is."""
    drawn, charged = probe.drawn_as, probe.charged_as
    positive = probe.reach.get("width", (-1.0, 1.0))[0] >= 0
    alike = drawn not in (None, "logvar") and (
        drawn == charged or (charged is None and positive and drawn in ("σ", "σ²"))
    )
    if not alike:
        return findings
    mend = {"ln σ": "2 ln σ", "σ": "2 ln σ", "σ²": "ln σ²"}.get(str(drawn), "the logvar")
    probe.notes.append(
        f"the second head is {drawn} throughout: consistent; return {mend} from encode, so that"
        " others can read it"
    )
    return [
        f for f in findings if f.name not in ("width of the noise", "KL reads logvar otherwise")
    ]


def _unused(probe: Probe, error: Error) -> Iterable[Finding]:
    """Compare ranges where it is known what the loss compares the image with."""
    if error.name in ("squared error", "absolute error"):
        yield from networks.check_range_is_used(probe, error.target)
    elif error.name == "" and not has(probe.model, "log_likelihood"):
        if networks.range_half_used(probe, (1.0, 0.0)):
            probe.untested.append(
                "whether the decoder's range is the data's: what its image is compared with"
            )


def _no_probabilities(probe: Probe) -> Iterable[Finding]:
    with torch.no_grad():
        mu = probe.model.encode(probe.x)[0]
        wide = 3 * torch.randn(256, probe.k, dtype=mu.dtype)
        said = probe.model.decode(torch.cat([mu, wide]))
    if bool(((said < 0) | (said > 1)).any()):
        share = float(((said < 0) | (said > 1)).double().mean())
        text = f"{share:.0%} of the decoder's outputs are no probabilities: {float(said.min()):.2f}"
        yield finding("no sigmoid", f"{text} to {float(said.max()):.2f}")


# Does it run? -----------------------------------------------------------------------------------
def _runs_at_all(probe: Probe) -> list[Finding]:
    """Call everything as training does, then as evaluation does; say what went wrong."""
    model, x, part = probe.model, probe.x, "encode"
    n = len(x)
    try:
        for training in (True, False):
            model.train(training)
            part = "encode"
            heads = model.encode(x)
            pair = isinstance(heads, tuple | list) and len(heads) == 2
            if not pair or not all(isinstance(h, Tensor) for h in heads):
                return [_shapes("encode", heads, f"two of shape ({n}, k)")]
            mu, head = heads
            if mu.ndim != 2 or mu.shape != head.shape or len(mu) != n:
                return [_shapes("encode", heads, f"two of shape ({n}, k)")]
            part = "decode"
            image = model.decode(mu)
            if not isinstance(image, Tensor) or image.numel() != x.numel() or len(image) != n:
                return [_shapes("decode", image, str(tuple(x.shape)))]
            part = "forward"
            outputs = run_forward(model, x, probe.seed)
            if not isinstance(outputs, tuple | list) or len(outputs) != 3:
                return [_shapes("forward", outputs, "three: recon_x, mu, logvar")]
            if has(model, "log_likelihood"):
                part = "log_likelihood"
                value = model.log_likelihood(x, mu)
                if not isinstance(value, Tensor) or value.shape != (n,):
                    return [_shapes("log_likelihood", value, f"({n},), one for each row")]
    except Exception as error:
        return [_raised(part, error)]
    probe.k, probe.image = mu.shape[1], tuple(image.shape[1:])
    for name, tensor in {"mu": mu, "recon_x": image}.items():
        if not bool(torch.isfinite(tensor).all()):
            share = float((~torch.isfinite(tensor)).double().mean())
            text = f"{share:.0%} of {name} is nan or infinite (recon_x needs mu)"
            return [finding("not finite", text, "lower the rate; look for log(0)")]
    return [] if probe.loss is None else _loss_runs(probe, head)


def _loss_runs(probe: Probe, head: Tensor) -> list[Finding]:
    assert probe.loss is not None
    x, kind = probe.x, str(probe.x.dtype).removeprefix("torch.")
    try:
        for seed in range(3):
            value = run_loss(probe.loss, probe.model.train(), x, seed)
            if not isinstance(value, Tensor):
                if isinstance(value, float | int):
                    return [
                        finding("loss without gradient", f"the loss is a {type(value).__name__}")
                    ]
                return [
                    _shapes("loss", value, "one number, a tensor: the total that is trained on")
                ]
            if value.numel() != 1:
                return [_shapes("loss", value, "one number")]
            if not value.requires_grad:
                return [finding("loss without gradient", "no weight moves the loss")]
            weights = [w for w in probe.model.parameters() if w.requires_grad]
            pulls = torch.autograd.grad(value, weights, allow_unused=True) if weights else ()
            number = float(value.detach())
            what = "" if math.isfinite(number) else f"the loss is {number:g}"
            if not what and not all(bool(g.isfinite().all()) for g in pulls if g is not None):
                what = "a gradient of the loss is nan or infinite"
            if what:
                limit = math.log(torch.finfo(x.dtype).max)
                low, high = float(head.detach().min()), float(head.detach().max())
                text = (
                    f"in {kind} {what}; the second head reaches from {low:.3g} to {high:.3g}"
                    f" (exp leaves the range of {kind} at {limit:.1f})"
                )
                mend = "scale the data, or clamp logvar" if max(-low, high) > limit else ""
                least = torch.finfo(x.dtype).eps
                usual = f"1 + 1e-8 is 1 in {kind} (steps of {least:.1g}): take the loss from logits"
                return [finding("not finite", text, mend or usual)]
    except Exception as error:
        return [_raised("loss", error)]
    return []


def _shapes(name: str, given: Any, expected: str) -> Finding:
    if isinstance(given, Tensor):
        shapes = str(tuple(given.shape))
    elif isinstance(given, tuple | list) and all(isinstance(t, Tensor) for t in given):
        shapes = f"{len(given)} tensors, {', '.join(str(tuple(t.shape)) for t in given)}"
    else:
        shapes = f"a {type(given).__name__}"
        if isinstance(given, dict):
            shapes += f" of {', '.join(map(str, given))}"
    return finding("shapes", f"{name} gives {shapes}, expected {expected}", f"return {expected}")


def _raised(where: str, error: Exception) -> Finding:
    return finding("exception", f"{where}: {type(error).__name__}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else ""
