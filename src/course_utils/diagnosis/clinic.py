"""``diagnose``: the experiments, one after the other."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.diagnosis import balance, networks
from course_utils.diagnosis.probe import (
    Finding,
    private_copy,
    quiet_random_numbers,
    rows_of,
    run_forward,
    seed_all,
)
from course_utils.diagnosis.sampler import check_sampler
from course_utils.training import Loss

_ROWS = 4096  # codes drawn in the tests of the sampler


def diagnose(
    model: nn.Module,
    batch: Tensor,
    *,
    loss: Loss | None = None,
    beta: float = 1.0,
    seed: int = 0,
) -> list[Finding]:
    """Look for the faults of a VAE that can be seen from the outside. Chapter 15.

    The encoder is made to say what we want and the answer is compared with the formula: codes drawn
    at logvar far from 0, gradients against small steps, middles of inputs against middles of
    outputs, the loss at chosen codes against the closed form. No part of the source is read.

    It cannot see what happens outside model and loss: gradients that are never set to zero, a
    wrong learning rate, test data among the training data; nor a missing activation among several;
    nor which quantity a caller asks for, except in a method ``reconstruct``. A KL that is estimated
    by sampling is not tested. What a fault brings about (a code that is ignored) is listed too,
    after its causes.

    Args:
        model: with ``encode(x)`` to (mu, logvar), ``decode(z)`` and ``forward(x)`` to
            (recon_x, mu, logvar); perhaps ``log_likelihood(x, z)`` and ``reconstruct(x)``. Works on
            a copy: weights, gradients, modes and random numbers stay as they are. A conditional
            model follows this protocol once a wrapper fixes its label.
        batch: (n, …) data as the model is trained on, n at least 2; a hundred rows are enough.
        loss: ``loss(model, x, generator)``, as for ``training.fit``; None: do not test one.
        beta: the weight of the KL that is meant.
        seed: of the experiments. The same seed, the same findings.

    Returns:
        The findings, causes first; empty for a healthy model. Never raises because of what the
        model or the loss does: an exception is a finding.

    Raises:
        ValueError: ``batch`` is no tensor with at least two rows.
    """
    if not isinstance(batch, Tensor) or batch.ndim < 2 or len(batch) < 2:
        shape = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
        raise ValueError(f"batch must be a tensor of shape (n, …) with n at least 2, got {shape}")
    with quiet_random_numbers(seed):
        return _examine(model, batch.detach().cpu(), loss, beta, seed)


def _examine(
    model: nn.Module, batch: Tensor, loss: Loss | None, beta: float, seed: int
) -> list[Finding]:
    found: list[Finding] = []
    if not batch.is_floating_point():
        found.append(
            Finding(
                "input range",
                f"data of type {batch.dtype}, from {float(batch.min()):g} to"
                f" {float(batch.max()):g}",
                "x.float() / 255",
            )
        )
    if not bool(torch.isfinite(batch.double()).all()):
        return [Finding("data not finite", "nan or infinite entries", "clean the data first")]
    for dtype in (torch.float64, torch.float32):  # where rounding does not matter, if it can be had
        x = batch.to(dtype)
        try:
            twin = private_copy(model).to(dtype)
        except Exception as error:
            return [*found, _raised("copy.deepcopy", error)]
        problems, k = _runs_at_all(twin, x, loss, seed)
        if not problems:
            break
    found += problems
    if k == 0:
        return found
    needs = any(bool(getattr(part, "needs_unit_range", False)) for part in (model, loss))
    for experiment in _experiments(twin, x, loss, k, needs, bool(problems), beta, seed):
        twin.eval()
        seed_all(seed)
        try:
            found.extend(experiment())
        except Exception as error:
            found.append(_raised("an experiment", error))
    first: dict[str, Finding] = {}
    for finding in found:
        first.setdefault(finding.name, finding)
    return list(first.values())


def _experiments(
    model: nn.Module,
    x: Tensor,
    loss: Loss | None,
    k: int,
    needs: bool,
    diverged: bool,
    beta: float,
    seed: int,
) -> Iterable[Callable[[], Iterable[Finding]]]:
    rows = rows_of(x, _ROWS if x[0].numel() <= 4096 else _ROWS // 4)

    def forward(probed: nn.Module, s: int) -> Any:
        return run_forward(probed.train(), rows, _generator(seed, s))

    def training(probed: nn.Module, s: int) -> Any:
        seed_all(seed + s)
        assert loss is not None
        return loss(probed.train(), rows, _generator(seed, s))

    def evaluation(probed: nn.Module, s: int) -> Any:
        seed_all(seed + s)
        assert loss is not None
        return loss(probed.eval(), rows, _generator(seed, s))

    if not diverged:
        yield _without_gradients(networks.check_range, model, x, needs)
        yield _without_gradients(networks.check_heads, model, x)
    runs = {"forward": forward}
    if loss is not None:
        runs |= {"the loss": training, "the loss, at evaluation": evaluation}
    for where, run in runs.items():
        yield partial(check_sampler, run, model, len(rows), k, x.dtype, where)
    if loss is not None:
        yield lambda: balance.check_balance(loss, model, x, k, beta)
        yield _without_gradients(_check_finite, loss, model, x, seed)
    if diverged:  # the networks say nothing; sampler and loss could still be examined
        return
    yield _without_gradients(networks.check_nonlinearity, model, x, k)
    yield _without_gradients(networks.check_randomness, model, x)
    if callable(getattr(model, "log_likelihood", None)):
        yield _without_gradients(networks.check_likelihood, model, x)
    yield _without_gradients(networks.check_code_is_used, model, x)


def _check_finite(loss: Loss, model: nn.Module, x: Tensor, seed: int) -> Iterable[Finding]:
    value = float(loss(model, x, _generator(seed, 0)))
    if math.isnan(value):
        yield Finding("not finite", "the loss is nan", "look for log(0) or 0 times inf in it")


def _without_gradients(
    check: Callable[..., Iterable[Finding]], *args: Any
) -> Callable[[], Iterable[Finding]]:
    def run() -> Iterable[Finding]:
        with torch.no_grad():
            yield from check(*args)

    return run


def _generator(seed: int, s: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 * seed + s)


def _runs_at_all(
    model: nn.Module, x: Tensor, loss: Loss | None, seed: int
) -> tuple[list[Finding], int]:
    """Call everything once; return what went wrong, and the number of code numbers."""
    generator = _generator(seed, 0)
    part = "encode"
    try:
        model.eval()
        mu, logvar = model.encode(x)
        if mu.ndim != 2 or mu.shape != logvar.shape or len(mu) != len(x):
            return [_shapes("encode", (mu, logvar), f"two of shape ({len(x)}, k)")], 0
        part = "decode"
        image = model.decode(mu)
        if image.numel() != x.numel():
            return [_shapes("decode", (image,), str(tuple(x.shape)))], 0
        part = "forward"
        outputs = run_forward(model, x, generator)
        if len(outputs) != 3:
            return [_shapes("forward", tuple(outputs), "three: recon_x, mu, logvar")], 0
        if callable(getattr(model, "log_likelihood", None)):
            part = "log_likelihood"
            value = model.log_likelihood(x, mu)
            if value.shape != (len(x),):
                return [_shapes("log_likelihood", (value,), f"({len(x)},), one for each row")], 0
        if loss is not None:
            part = "loss"
            value = loss(model, x, generator)
            if value.numel() != 1:
                return [_shapes("loss", (value,), "one number")], 0
    except Exception as error:
        return [_raised(part, error)], 0
    bad = {"mu": mu, "recon_x": image}
    for name, tensor in bad.items():
        if not bool(torch.isfinite(tensor).all()):
            share = float((~torch.isfinite(tensor)).double().mean())
            evidence = f"{share:.0%} of {name} is nan or infinite"
            found = Finding("not finite", evidence, "lower the rate; look for log(0)")
            return [found], mu.shape[1]
    return [], mu.shape[1]


def _shapes(name: str, tensors: tuple[Tensor, ...], expected: str) -> Finding:
    shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
    return Finding("shapes", f"{name} gives {shapes}, expected {expected}", f"mend {name}")


def _raised(where: str, error: Exception) -> Finding:
    message = str(error).splitlines()[0][:120] if str(error) else ""
    return Finding("exception", f"{where}: {type(error).__name__}: {message}", "read the message")
