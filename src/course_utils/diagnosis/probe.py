"""A model whose encoder says what we want, so that one part can be watched at a time."""

import copy
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.console import as_shown


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        name: of the fault; always the same for the same fault.
        evidence: what was measured, with numbers.
        mend: what to do.
    """

    name: str
    evidence: str
    mend: str

    def __str__(self) -> str:
        return as_shown(f"{self.name}: {self.evidence}")

    def __repr__(self) -> str:  # print(diagnose(...)) must work on any console too
        return as_shown(f"Finding({self.name!r}, {self.evidence!r}, {self.mend!r})")


class CodeCaught(Exception):
    """A code on its way to the decoder; nothing after it is computed."""

    def __init__(self, z: Tensor) -> None:
        super().__init__("the code was caught")
        self.z = z


def stand_in(model: nn.Module, **methods: Callable[..., Any]) -> nn.Module:
    """Return a shallow copy of ``model`` with some methods replaced; weights are shared."""
    twin = copy.copy(model)
    for name, method in methods.items():
        object.__setattr__(twin, name, method)  # also where the model has a submodule of that name
    return twin


def catch_code(
    run: Callable[[nn.Module], Any], model: nn.Module, mu: Tensor, logvar: Tensor
) -> Tensor | None:
    """Return the code that ``run`` decodes when the encoder says (mu, logvar); None if it does not.

    Args:
        run: calls a model, or a loss of it.
        model: whose encoder is replaced.
        mu, logvar: (n, k), what the encoder says.
    """

    def decode(z: Tensor, *rest: Any, **options: Any) -> Tensor:
        raise CodeCaught(z)

    def log_likelihood(x: Tensor, z: Tensor, *rest: Any, **options: Any) -> Tensor:
        raise CodeCaught(z)

    watched = stand_in(
        model,
        encode=lambda *args, **options: (mu, logvar),
        decode=decode,
        log_likelihood=log_likelihood,
    )
    try:
        run(watched)
    except CodeCaught as caught:
        return caught.z if caught.z.shape == mu.shape else None
    return None


def run_forward(model: nn.Module, x: Tensor, generator: torch.Generator) -> Any:
    """Call ``model(x)``, with the generator where ``forward`` takes one."""
    seed_all(generator.initial_seed())  # for a sampler that takes no notice of it
    if "generator" in inspect.signature(model.forward).parameters:
        return model(x, generator=generator)
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


def rows_of(batch: Tensor, n: int) -> Tensor:
    """Return n rows, those of ``batch`` over and over."""
    return batch[torch.arange(n) % len(batch)]


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
