"""Mini-batches, and the steps downhill. Parameters are a list of arrays, gradients one like it.

A step returns new arrays and a new state, and changes none that it was given.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from course_utils.arguments import named_errors


def batches(n: int, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Deal the numbers 0 … n − 1 into batches at random, each number once. Defined in chapter 03.

    Args:
        n: how many, at least 1. batch_size: at least 1.
        rng: the generator that shuffles.

    Returns:
        Arrays of row numbers, each of ``batch_size`` but the last, which may be smaller.

    Raises:
        ValueError: ``n`` or ``batch_size`` below 1.
    """
    if n < 1 or batch_size < 1:
        raise ValueError(f"n and batch_size must be at least 1, got {n} and {batch_size}")
    order = rng.permutation(n)
    return [order[start : start + batch_size] for start in range(0, n, batch_size)]


def expect_gradients(params: Sequence[np.ndarray], gradients: Sequence[np.ndarray]) -> None:
    """Check that there is one gradient for each parameter, of its shape. Defined in chapter 03.

    A bias gradient of shape (1, d) would else be broadcast without a word.

    Raises:
        ValueError: the numbers or the shapes differ.
    """
    wanted, got = [p.shape for p in params], [g.shape for g in gradients]
    if wanted != got:
        raise ValueError(f"gradients must have the shapes of params, {wanted}, got {got}")


def sgd_step(
    params: Sequence[np.ndarray],
    gradients: Sequence[np.ndarray],
    velocity: Sequence[np.ndarray] | None = None,
    *,
    rate: float,
    momentum: float = 0.0,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Take one step of gradient descent with momentum. Defined in chapter 03.

    v ← μ v + g, w ← w − η v. A steady gradient ends in steps of η / (1 − μ) times itself.

    Args:
        params: arrays, not changed. gradients: one for each, of its shape.
        velocity: what the step before returned; None before the first step.
        rate: η, above 0. momentum: μ in [0, 1).

    Returns:
        The new parameters and the new velocity.

    Raises:
        ValueError: the gradients do not fit the parameters.
    """
    expect_gradients(params, gradients)
    if velocity is None:
        velocity = [np.zeros_like(p) for p in params]
    velocity = [momentum * v + g for v, g in zip(velocity, gradients, strict=True)]
    return [p - rate * v for p, v in zip(params, velocity, strict=True)], velocity


class AdamState(NamedTuple):
    """What Adam remembers. Defined in chapter 03.

    Attributes:
        t: steps taken.
        m: running means of the gradients. v: of their squares. One array for each parameter.
    """

    t: int
    m: list[np.ndarray]
    v: list[np.ndarray]


def adam_step(
    params: Sequence[np.ndarray],
    gradients: Sequence[np.ndarray],
    state: AdamState | None = None,
    *,
    rate: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[list[np.ndarray], AdamState]:
    """Take one step of Adam. Defined in chapter 03.

    m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², and with t counted from 1
    w ← w − η m̂ / (√v̂ + ε), m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ).

    Args:
        params: arrays, not changed. gradients: one for each, of its shape.
        state: what the step before returned; None before the first step.
        rate: η, above 0. beta1, beta2: in [0, 1). eps: ε, above 0.

    Returns:
        The new parameters and the new state.

    Raises:
        ValueError: the gradients do not fit the parameters.

    Source:
        Kingma and Ba (2015), Adam: A method for stochastic optimization, arXiv 1412.6980.
    """
    expect_gradients(params, gradients)
    zeros = [np.zeros_like(p) for p in params]
    t, m, v = state or AdamState(0, zeros, zeros)
    t = t + 1
    m = [beta1 * old + (1 - beta1) * g for old, g in zip(m, gradients, strict=True)]
    v = [beta2 * old + (1 - beta2) * g**2 for old, g in zip(v, gradients, strict=True)]
    mean = [each / (1 - beta1**t) for each in m]
    size = [np.sqrt(each / (1 - beta2**t)) + eps for each in v]
    moved = [p - rate * a / s for p, a, s in zip(params, mean, size, strict=True)]
    return moved, AdamState(t, m, v)


named_errors(globals())
