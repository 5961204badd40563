"""``diagnose``: the experiments, one after the other."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.diagnosis import density, networks, reach
from course_utils.diagnosis.balance import check_loss
from course_utils.diagnosis.calls import (
    has,
    in_mode,
    private_copy,
    quiet_random_numbers,
    seed_all,
)
from course_utils.diagnosis.faults import Finding, finding
from course_utils.diagnosis.probe import Probe
from course_utils.diagnosis.report import Report
from course_utils.diagnosis.running import first_line, first_trouble, raised
from course_utils.diagnosis.sampler import check_sampler
from course_utils.shapes import expect_whole
from course_utils.training import Loss

# Of a model or a loss that raises or gives nan, these may be the cause.
CAUSES = {"no sigmoid", "input range", "arguments exchanged"}
CAUSES |= {"logarithm of a negative head", "sigma is zero"}


def diagnose(
    model: nn.Module,
    batch: Tensor,
    *,
    loss: Loss | None = None,
    beta: float = 1.0,
    max_rows: int = 4096,
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

    On one core, a VAE 784 → 400 → 20 and its loss take 1.5 seconds of the processor and
    90 MB beside model and batch for 256 images, 6 seconds and 0.5 GB for 4096. Half of the 6 goes
    into running everything once in both types and into small steps of log_likelihood.

    Args:
        model: with ``encode(x)`` to (mu, logvar), ``decode(z)`` and ``forward(x)`` to
            (recon_x, mu, logvar); perhaps ``log_likelihood(x, z)`` and ``reconstruct(x)``. The
            second head may be ln σ, σ or σ² where sampler and KL agree. Works on a copy: weights,
            gradients, modes and random numbers stay as they are. A conditional model follows this
            protocol once a wrapper fixes its label.
        batch: (n, …) data as the model is trained on, n at least 2; a hundred rows are enough.
        loss: ``loss(model, x, generator)``, as for ``training.fit``; None: do not test one.
        beta: the weight of the KL that is meant.
        max_rows: the most rows that are examined, at least 64; bounds the memory. Of a longer
            batch these are the first ones, and the last line says so.
        seed: of the experiments. The same seed, the same findings.

    Returns:
        A list of the findings, causes first, empty where there is none. Printed, it is one line
        for each, then notes on what is unusual and no fault; the last line says what was not
        tested. Never raises because of what the model or the loss does: an exception is a finding.

    Raises:
        ValueError: ``batch`` is no tensor with at least two rows, or ``max_rows`` is below 64.
    """
    if not isinstance(batch, Tensor) or batch.ndim < 2 or len(batch) < 2:
        shape = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
        raise ValueError(f"batch must be a tensor of shape (n, …) with n at least 2, got {shape}")
    expect_whole("max_rows", max_rows, 64)
    with quiet_random_numbers(seed):
        return _examine(model, batch.detach(), loss, beta, max_rows, seed)


def _examine(
    model: nn.Module, batch: Tensor, loss: Loss | None, beta: float, max_rows: int, seed: int
) -> Report:
    """Run everything once in the model's own type, then experiment in the widest type that runs."""
    findings: list[Finding] = []
    if not batch.is_floating_point():
        text = f"data of type {batch.dtype}, from {float(batch.min()):g} to {float(batch.max()):g}"
        findings.append(finding("input range", text, "x.float() / 255"))
    if not bool(torch.isfinite(batch).all()):
        return Report([finding("data not finite", "nan or infinite entries")])
    x = batch[:max_rows].cpu()
    floats = [w.dtype for w in model.parameters() if w.is_floating_point()]
    own = floats[0] if floats else batch.dtype if batch.is_floating_point() else torch.float32
    for dtype in dict.fromkeys((own, torch.float64, torch.float32)):
        try:
            copy = private_copy(model).to(dtype)
        except Exception as error:
            return Report([*findings, raised("copy.deepcopy", error)])
        here = Probe(copy, x.to(dtype), loss, seed, len(batch), max_rows)
        trouble = first_trouble(here, with_loss=dtype == own)
        if dtype == own:
            probe, problems = here, trouble
        elif here.k:
            probe = here
        if probe.exact:
            break
    if len(x) < len(batch):
        probe.untested.append(f"the rows after the first {max_rows}")
    if any("not implemented for" in f.evidence for f in problems):  # half precision
        problems = []
        probe.untested.append(f"the model in its own type, {own}, which this machine cannot run")
    if probe.k == 0:
        return Report(findings + problems)
    needs = any(bool(getattr(part, "needs_unit_range", False)) for part in (model, loss))
    findings += _experiments(probe, needs, beta, any("recon_x" in f.evidence for f in problems))
    explained = CAUSES & {f.name for f in findings}
    late = [f for f in problems if f.name in ("exception", "not finite")]
    early = [f for f in problems if f not in late]
    return Report(early + findings + ([] if explained else late), probe.notes, probe.untested)


def _experiments(probe: Probe, needs: bool, beta: float, diverged: bool) -> list[Finding]:
    """Make the experiments that make sense.

    Where the networks say nan only, sampler and loss can still be examined. What the second head is
    to the sampler, and which error the loss has, must be known before the networks are examined.
    """
    if not diverged:
        _attempt(probe, "what the last layers can say", reach.measure_reach)
    heard: list[Finding] = []
    draws = ("forward", "the loss", "the loss, at evaluation")
    for where in draws if probe.loss is not None else draws[:1]:
        heard += _attempt(probe, f"the noise in {where}", check_sampler, where)
    if probe.loss is not None:
        heard += _attempt(probe, "the weights of the loss", check_loss, beta)
    seen: list[Finding] = []
    if not diverged:
        seen += _attempt(probe, "the range", reach.check_reach, needs)
        seen += _attempt(probe, "the range", reach.check_range_is_used)
        seen += _attempt(probe, "the heads", reach.check_heads)
        likely = probe.error.name in ("", "log-likelihood")
        if needs and likely and not probe.says_probabilities:
            seen += _attempt(probe, "the range", reach.check_probabilities)
    findings = seen + _agreed(probe, heard)
    if not diverged:
        findings += _attempt(probe, "activations", networks.check_nonlinearity)
        findings += _attempt(probe, "evaluation", networks.check_randomness)
        if has(probe.model, "log_likelihood"):
            findings += _attempt(probe, "log_likelihood", density.check_likelihood)
        findings += _attempt(probe, "the code", networks.check_code_is_used)
    return findings


def _attempt(
    probe: Probe, name: str, check: Callable[..., Iterable[Finding] | None], *args: Any
) -> list[Finding]:
    """Make one experiment; one that fails is not tested, and no finding."""
    in_mode(probe.model, training=False)
    seed_all(probe.seed)
    try:
        return list(check(probe, *args) or ())
    except Exception as problem:
        probe.untested.append(f"{name} ({type(problem).__name__}: {first_line(problem)})")
        return []


def _agreed(probe: Probe, findings: list[Finding]) -> list[Finding]:
    """Drop what is no fault: a second head that sampler and KL read alike, whatever it is."""
    drawn, charged = probe.drawn_as, probe.charged_as
    positive = probe.reaches("width")[0] >= 0
    alike = drawn == charged or (charged is None and positive and drawn in ("σ", "σ²"))
    if drawn in (None, "logvar") or not alike:
        return findings
    mend = {"ln σ": "2 ln σ", "σ": "2 ln σ", "σ²": "ln σ²"}.get(str(drawn), "the logvar")
    probe.notes.append(
        f"the second head is {drawn} throughout: consistent; return {mend} from encode, so that"
        " others can read it"
    )
    misread = ("width of the noise", "KL reads logvar otherwise")
    return [f for f in findings if f.name not in misread]
