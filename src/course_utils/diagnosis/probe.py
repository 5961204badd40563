"""A model whose encoder says what we want, so that one part can be watched at a time."""

import copy
import inspect
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.console import as_shown
from course_utils.training import Loss


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


class Report(list[Finding]):
    """The findings, causes first, with what else is to be said. Prints one line each.

    Attributes:
        notes: what is unusual and no fault.
        untested: what could not be tested here, and why. The last line says it.
    """

    def __init__(
        self, found: Iterable[Finding], notes: Iterable[str] = (), untested: Iterable[str] = ()
    ) -> None:
        first: dict[str, Finding] = {}
        for finding in found:
            first.setdefault(finding.name, finding)
        super().__init__(first.values())
        self.notes, self.untested = list(dict.fromkeys(notes)), list(dict.fromkeys(untested))

    def __str__(self) -> str:
        lines = [str(finding) for finding in self] or ["no finding in what was tested"]
        lines += [f"note: {note}" for note in self.notes]
        here = "".join(f"{text}; " for text in self.untested)
        return as_shown("\n".join([*lines, f"not tested: {here}{NEVER_SEEN}"]))

    __repr__ = __str__


NEVER_SEEN = (
    "the training loop and its rate, test data among the training data, one activation missing"
    " among several, gradients cut or a head used twice inside encode, an encoder blind to x"
)


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
    run: Callable[[nn.Module], Any], model: nn.Module, mu: Tensor, head: Tensor
) -> Tensor | None:
    """Return the code that ``run`` decodes when the encoder says (mu, head); None if it does not.

    Args:
        run: calls a model, or a loss of it.
        model: whose encoder is replaced.
        mu, head: (n, k), what the encoder says.
    """

    def decode(z: Tensor, *rest: Any, **options: Any) -> Tensor:
        raise CodeCaught(z)

    def log_likelihood(x: Tensor, z: Tensor, *rest: Any, **options: Any) -> Tensor:
        raise CodeCaught(z)

    methods: dict[str, Callable[..., Any]] = {
        "encode": lambda *args, **options: (mu, head),
        "decode": decode,
    }
    if has(model, "log_likelihood"):
        methods["log_likelihood"] = log_likelihood
    try:
        run(stand_in(model, **methods))
    except CodeCaught as caught:
        return caught.z if caught.z.shape == mu.shape else None
    return None


@dataclass
class Answer:
    """What a loss says to mean, second head, image and likelihoods of ours."""

    value: float
    mu: Tensor  # the gradients, in the shapes of what was said
    head: Tensor
    image: Tensor
    values: Tensor
    decoded: bool
    likelihood: bool
    others: bool  # whether weights outside encoder and decoder move the loss

    @property
    def finite(self) -> bool:
        """Whether the value and all gradients are."""
        parts = (self.mu, self.head, self.image, self.values)
        return math.isfinite(self.value) and all(bool(p.isfinite().all()) for p in parts)


@dataclass
class Probe:
    """What all experiments share: a copy of the model, the batch, the loss, and what is known.

    Attributes:
        model, x, loss, seed: the copy and the batch, of one type; the loss may be None.
        k: numbers of a code.
        image: one row's shape of what ``decode`` returns.
        reach: for "decode", "mean" and "width", the least and the largest number that it can say
            whatever its weights; missing where that is unknown.
        blank: what ``decode`` says, on average, where all weights are 0.
        drawn_as, charged_as: what the second head is to the sampler and to the KL; None: unknown.
        half: whether the quiet image is 1/2 everywhere, for a loss that refuses the data as one.
        notes, untested: for the report.
    """

    model: nn.Module
    x: Tensor
    loss: Loss | None
    seed: int
    k: int = 0
    image: tuple[int, ...] = ()
    reach: dict[str, tuple[float, float]] = field(default_factory=dict)
    blank: float = 0.0
    drawn_as: str | None = None
    charged_as: str | None = None
    half: bool = False
    notes: list[str] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)

    @property
    def d(self) -> int:
        """Numbers of a sample."""
        return math.prod(self.x.shape[1:])

    @property
    def exact(self) -> bool:
        """Whether rounding does not matter."""
        return self.x.dtype == torch.float64

    @property
    def says_probabilities(self) -> bool:
        """Whether no weights bring ``decode`` out of [0, 1]."""
        low, high = self.reach.get("decode", (-math.inf, math.inf))
        return low >= 0 and high <= 1

    @property
    def inside(self) -> bool:
        """Whether all data lie in [0, 1]."""
        return bool(self.x.min() >= 0) and bool(self.x.max() <= 1)

    @property
    def heads(self) -> tuple[float, float]:
        """Between which numbers a second head of ours may lie: never negative if theirs is not."""
        return (0.05, 3.0) if self.reach.get("width", (-1.0, 1.0))[0] >= 0 else (-2.0, 1.0)

    def soft(self) -> Tensor:
        """Return the batch, off 0 and 1 where it lies in [0, 1]."""
        return 0.1 + 0.8 * self.x if self.inside else self.x

    def ask(
        self, x: Tensor, mu: Tensor, head: Tensor, image: Tensor, values: Tensor, seed: int = 1
    ) -> Answer:
        """Let encoder and decoder say (mu, head) and the image, and read value and gradients."""
        assert self.loss is not None
        heard = {"decode": False, "log_likelihood": False}
        leaves = [t.detach().clone().requires_grad_() for t in (mu, head, image, values)]

        def say(name: str, of: int, z: Tensor) -> Tensor:
            heard[name] = True
            rows = leaves[of] + 0
            times = z[..., 0].numel() // len(rows)
            return rows if times == 1 else rows.repeat(times, *[1] * (rows.ndim - 1))

        methods: dict[str, Callable[..., Any]] = {
            "encode": lambda *args, **options: (leaves[0] + 0, leaves[1] + 0),
            "decode": lambda z, *rest, **options: say("decode", 2, z),
        }
        if has(self.model, "log_likelihood"):
            methods["log_likelihood"] = lambda x, z, *r, **o: say("log_likelihood", 3, z)
        loss = run_loss(self.loss, stand_in(self.model.train(), **methods), x, seed)
        given: Sequence[Tensor | None] = [None] * 4
        weights = [w for w in self.model.parameters() if w.requires_grad]
        if loss.requires_grad:
            given = torch.autograd.grad(loss, [*leaves, *weights], allow_unused=True)
        others = any(g is not None and bool(g.any()) for g in given[4:])
        pulls = [
            torch.zeros_like(t) if g is None else g for g, t in zip(given[:4], leaves, strict=True)
        ]
        a, b, c, d = pulls
        return Answer(
            float(loss.detach()), a, b, c, d, heard["decode"], heard["log_likelihood"], others
        )


def has(model: object, name: str) -> bool:
    """Tell whether there is such a method."""
    return callable(getattr(model, name, None))


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
