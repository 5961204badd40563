"""A model whose encoder says what we want, so that one part can be watched at a time."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from course_utils.diagnosis.calls import in_mode, run_loss, stand_in
from course_utils.training import Loss

ANYWHERE = (-math.inf, math.inf)
POSITIVE = (0.05, 3.0)  # where second heads of ours lie if none may be negative
TINY = 1e-300  # instead of 0 in a denominator


@dataclass
class Answer:
    """What a loss says to a mean, a second head and an image of ours."""

    value: float
    mu: Tensor  # the gradients, in the shapes of what was said
    head: Tensor
    image: Tensor
    values: Tensor  # by the log-likelihoods, all said to be 0
    decoded: bool
    likelihood: bool
    others: bool  # whether weights outside encoder and decoder move the loss

    @property
    def finite(self) -> bool:
        """Whether the value and all gradients are."""
        parts = (self.mu, self.head, self.image, self.values)
        return math.isfinite(self.value) and all(bool(p.isfinite().all()) for p in parts)


@dataclass
class Error:
    """Which error of an image a loss has.

    Attributes:
        name: of it; empty: unknown.
        weight: R.
        target: (a, b) where the image is compared with a x + b.
        constant: whether the weight is the same for all images.
    """

    name: str = ""
    weight: float = 0.0
    target: tuple[float, float] = (1.0, 0.0)
    constant: bool = True


@dataclass
class Probe:
    """What all experiments share: a copy of the model, the batch, the loss, and what is known.

    Attributes:
        model, x, loss, seed: the copy and the batch, of one type; the loss may be None.
        n: rows of the caller's batch, of which ``x`` has at most ``max_rows``.
        max_rows: how many rows go through the model at a time.
        k: numbers of a code.
        image: one row's shape of what ``decode`` returns.
        reach: for "decode", "mean" and "width", the least and the largest number that it can say
            whatever its weights; missing where that is unknown.
        blank: what ``decode`` says, on average, where all weights are 0.
        drawn_as, charged_as: what the second head is to the sampler and to the KL; None: unknown.
        error: of an image, in the loss.
        half: whether the quiet image is 1/2 everywhere, for a loss that refuses the data as one.
        notes, untested: for the report.
    """

    model: nn.Module
    x: Tensor
    loss: Loss | None
    seed: int
    n: int
    max_rows: int
    k: int = 0
    image: tuple[int, ...] = ()
    reach: dict[str, tuple[float, float]] = field(default_factory=dict)
    blank: float = 0.0
    drawn_as: str | None = None
    charged_as: str | None = None
    error: Error = field(default_factory=Error)
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

    @cached_property
    def inside(self) -> bool:
        """Whether all data lie in [0, 1]."""
        return bool(self.x.min() >= 0) and bool(self.x.max() <= 1)

    def reaches(self, name: str) -> tuple[float, float]:
        """Between which numbers "decode", "mean" or "width" stays, whatever the weights."""
        return self.reach.get(name, ANYWHERE)

    @property
    def bounded(self) -> bool:
        """Whether no weights bring ``decode`` out of some interval."""
        return all(map(math.isfinite, self.reaches("decode")))

    @property
    def says_probabilities(self) -> bool:
        """Whether no weights bring ``decode`` out of [0, 1]."""
        low, high = self.reaches("decode")
        return low >= 0 and high <= 1

    @property
    def takes_logits(self) -> bool:
        """Whether the loss takes what ``decode`` says for logits, as it may be."""
        return self.error.name == "cross-entropy of logits" and not self.says_probabilities

    @property
    def heads(self) -> tuple[float, float]:
        """Between which numbers a second head of ours may lie: never negative if theirs is not."""
        return POSITIVE if self.reaches("width")[0] >= 0 else (-2.0, 1.0)

    def ends(self, target: tuple[float, float]) -> tuple[float, float]:
        """Return the least and the largest of the data, as a loss with this target takes them."""
        a, b = target if target[0] else (1.0, 0.0)
        low, high = sorted(a * float(end) + b for end in (self.x.min(), self.x.max()))
        return low, high

    def rows(self, n: int) -> Tensor:
        """Return n rows of the batch, over and over; at most ``max_rows``."""
        return rows_of(self.x, min(n, self.max_rows))

    def soft(self, x: Tensor) -> Tensor:
        """Return data off 0 and 1 where all lie in [0, 1]."""
        return 0.1 + 0.8 * x if self.inside else x

    def quiet(self, x: Tensor) -> Tensor:
        """Return an image near x: a reconstruction that hardly counts."""
        near = 0.5 + 0 * x if self.half else self.soft(x)
        return near.reshape(len(x), *self.image)

    def ask(
        self, x: Tensor, mu: Tensor, head: Tensor, image: Tensor | None = None, seed: int = 1
    ) -> Answer:
        """Let the encoder say (mu, head) and the decoder the image, or a quiet one.

        The log-likelihoods are said to be 0. Read the loss and its gradients.
        """
        assert self.loss is not None
        heard = [False, False]
        said = (mu, head, self.quiet(x) if image is None else image, x.new_zeros(len(x)))
        leaves = [t.detach().clone().requires_grad_() for t in said]

        def say(which: int, z: Tensor) -> Tensor:
            heard[which] = True
            rows = leaves[2 + which] + 0
            times = z[..., 0].numel() // len(rows)
            return rows if times == 1 else rows.repeat(times, *[1] * (rows.ndim - 1))

        twin = stand_in(
            in_mode(self.model, training=True),
            lambda: (leaves[0] + 0, leaves[1] + 0),
            lambda z: say(0, z),
            lambda z: say(1, z),
        )
        loss = run_loss(self.loss, twin, x, seed)
        weights = [w for w in self.model.parameters() if w.requires_grad]
        given: tuple[Tensor | None, ...] = (None,) * 4
        if loss.requires_grad:
            given = torch.autograd.grad(loss, [*leaves, *weights], allow_unused=True)
        a, b, c, d = (
            torch.zeros_like(t) if g is None else g for g, t in zip(given[:4], leaves, strict=True)
        )
        others = any(g is not None and bool(g.any()) for g in given[4:])
        return Answer(float(loss.detach()), a, b, c, d, heard[0], heard[1], others)


def rows_of(batch: Tensor, n: int) -> Tensor:
    """Return n rows, those of ``batch`` over and over."""
    return batch[torch.arange(n) % len(batch)]


def explain(parts: list[Tensor], y: Tensor) -> tuple[list[float], float]:
    """Fit y by a weighted sum of parts of its shape: the weights, and the share that is left."""
    columns, y = torch.stack([part.flatten() for part in parts], dim=1), y.flatten()
    if not bool(columns.isfinite().all() & y.isfinite().all()):  # LAPACK would print an error
        return [math.nan] * len(parts), math.nan
    weights = torch.linalg.lstsq(columns, y[:, None]).solution[:, 0]
    left = float((columns @ weights - y).norm()) / max(float(y.norm()), TINY)
    return weights.tolist(), left
