"""Calls of a model, whole or with parts of ours in it, that leave no trace in the caller's."""

import copy
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.training import Loss


def has(model: object, name: str) -> bool:
    """Tell whether there is such a method."""
    return callable(getattr(model, name, None))


def in_mode(model: nn.Module, *, training: bool) -> nn.Module:
    """Put all of a model in this mode, where a part of it is not; return it.

    ``train`` sets it anew in every part, which takes longer than a small model's answer.
    """
    if any(part.training != training for part in model.modules()):
        model.train(training)
    return model


def stand_in(
    model: nn.Module,
    encode: Callable[[], tuple[Tensor, Tensor]],
    decode: Callable[[Tensor], Tensor],
    log_likelihood: Callable[[Tensor], Tensor],
) -> nn.Module:
    """Return a shallow copy of ``model``, its weights shared, whose parts say what we want.

    ``decode`` and ``log_likelihood`` get the codes; other arguments of the methods are dropped.
    """
    methods: dict[str, Callable[..., Any]] = {
        "encode": lambda *args, **options: encode(),
        "decode": lambda z, *rest, **options: decode(z),
        "log_likelihood": lambda x, z, *rest, **options: log_likelihood(z),
    }
    twin = copy.copy(model)
    for name, method in methods.items():
        if has(model, name):  # also where the model has a submodule of that name
            object.__setattr__(twin, name, method)
    return twin


class CodeCaught(BaseException):
    """A code on its way to the decoder; nothing after it is computed.

    No ``Exception``: what a model or the course's own functions do about errors is not done.
    """

    def __init__(self, z: Tensor) -> None:
        super().__init__("the code was caught")
        self.z = z


def catch_code(
    run: Callable[[nn.Module], Any], model: nn.Module, mu: Tensor, head: Tensor
) -> Tensor | None:
    """Return the code that ``run`` decodes when the encoder says (mu, head); None if it does not.

    Args:
        run: calls a model, or a loss of it.
        model: whose encoder is replaced.
        mu, head: (n, k), what the encoder says.
    """

    def catch(z: Tensor) -> Tensor:
        raise CodeCaught(z)

    try:
        run(stand_in(model, lambda: (mu, head), catch, catch))
    except CodeCaught as caught:
        return caught.z if caught.z.shape == mu.shape else None
    return None


def run_loss(loss: Loss, model: nn.Module, x: Tensor, seed: int) -> Tensor:
    """Call the loss with a generator of this seed, after all others got it too."""
    seed_all(seed)
    return loss(model, x, torch.Generator().manual_seed(seed))


def run_forward(model: nn.Module, x: Tensor, seed: int) -> Any:
    """Call ``model(x)``, with a generator where ``forward`` takes one."""
    seed_all(seed)  # for a sampler that takes no notice of it
    if "generator" in inspect.signature(model.forward).parameters:
        return model(x, generator=torch.Generator().manual_seed(seed))
    return model(x)


def seed_all(seed: int) -> None:
    """Seed the global generators of PyTorch (on the CPU), NumPy and Python."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def private_copy(model: nn.Module) -> nn.Module:
    """Return a deep copy on the CPU; tensors that PyTorch refuses to copy are detached first."""
    memo: dict[int, Any] = {}
    for part in model.modules():
        for value in vars(part).values():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo).cpu()


@contextmanager
def quiet_random_numbers(seed: int) -> Iterator[None]:
    """Seed all global generators inside the block; leave them as they were."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        seed_all(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
