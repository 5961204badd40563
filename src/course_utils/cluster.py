"""A cluster, as messages and clocks: the ring all-reduce, and the seconds that a step takes."""

from collections.abc import Generator
from typing import Any

import numpy as np

from course_utils.arguments import named_errors
from course_utils.shapes import expect_shapes


def ring(x: np.ndarray, rank: int, p: int) -> Generator[np.ndarray, Any, np.ndarray]:
    """One process of a ring all-reduce: the numbers of p processes, added up. From chapter 22.

    The generator yields each piece that the process sends to its right neighbour, rank + 1, takes
    (by ``send``) the piece that came from its left neighbour, rank − 1, and returns the sums. In
    p − 1 rounds each piece is collected by one process; in p − 1 more it is passed on to all.

    Args:
        x: (n,), the numbers of this process; not changed. rank: from 0 to p − 1.
        p: how many processes, at least 1.

    Returns:
        The generator. Each piece has n / p numbers, rounded up; zeros fill up the last one.

    Source:
        Patarasuk and Yuan (2009), https://doi.org/10.1016/j.jpdc.2008.09.002.
    """
    pieces = np.pad(x, (0, -len(x) % p)).reshape(p, -1)
    for step in range(p - 1):  # collect: the next process adds its own
        arrived = yield pieces[(rank - step) % p]
        pieces[(rank - step - 1) % p] += arrived
    for step in range(p - 1):  # pass on: the next process keeps what is complete
        arrived = yield pieces[(rank + 1 - step) % p]
        pieces[(rank - step) % p] = arrived
    return pieces.reshape(-1)[: len(x)]


def ring_all_reduce(arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Let simulated processes add up their arrays by a ring, and count. From chapter 22.

    Args:
        arrays: (p, n), one row a process; not changed.

    Returns:
        The sums as each process has them in the end, (p, n); the bytes that each has sent, (p,).

    Raises:
        ValueError: it is no such array.
    """
    expect_shapes("p n", arrays=arrays)
    p = len(arrays)
    processes = [ring(x, rank, p) for rank, x in enumerate(arrays)]
    sent = np.zeros(p, dtype=int)
    came: list[Any] = [None] * p
    for _ in range(2 * (p - 1)):
        pieces = [process.send(piece) for process, piece in zip(processes, came, strict=True)]
        sent += [piece.nbytes for piece in pieces]
        came = pieces[-1:] + pieces[:-1]  # what the left neighbour of each has sent
    return np.stack([finish(*pair) for pair in zip(processes, came, strict=True)]), sent


def finish(process: Generator[Any, Any, np.ndarray], piece: np.ndarray | None) -> np.ndarray:
    """Hand a process its last piece; return the sums that it ends with.

    Raises:
        ValueError: the process has more to send.
    """
    try:
        process.send(piece)
    except StopIteration as done:
        return done.value
    raise ValueError("process must have one piece left to take, got one that sends on")


def expect_times(
    *, compute: np.ndarray, n_bytes: float, latency: np.ndarray, bandwidth: np.ndarray
) -> None:
    """Check what a step is made of: finite numbers, bandwidths above 0, all else at least 0.

    Args:
        compute, latency, bandwidth: (p,). n_bytes: one number.

    Raises:
        ValueError: the shapes differ, or a number is out of its range.
    """
    expect_shapes("p, p, p", compute=compute, latency=latency, bandwidth=bandwidth)
    if np.ndim(n_bytes):
        raise ValueError(f"n_bytes must be one number, got shape {np.shape(n_bytes)}")
    if not np.all((bandwidth > 0) & np.isfinite(bandwidth)):
        raise ValueError(f"bandwidth must be above 0 and finite, got {bandwidth}")
    for name, value in (("compute", compute), ("n_bytes", n_bytes), ("latency", latency)):
        if not np.all(np.greater_equal(value, 0) & np.isfinite(value)):
            raise ValueError(f"{name} must be at least 0 and finite, got {value}")


def step_seconds(
    compute: np.ndarray, n_bytes: float, latency: np.ndarray, bandwidth: np.ndarray
) -> np.ndarray:
    """Simulate a data-parallel step: when does each process have the sums? From chapter 22.

    Each of p processes computes, then takes part in a ring all-reduce: in each of 2 (p − 1) rounds
    it sends a piece of n_bytes / p to its right neighbour and waits for one from its left. Sending
    keeps the link busy for piece / bandwidth; the piece arrives latency later. Nothing is sent
    while a process still computes.

    Args:
        compute: (p,), seconds that each process computes.
        n_bytes: of all that is summed, at least 0.
        latency: (p,), seconds, of the link from each process to its right neighbour.
        bandwidth: (p,), bytes a second, above 0, of the same link.

    Returns:
        (p,), seconds since the step began.

    Raises:
        ValueError: the shapes differ, or a number is not finite or out of its range.
    """
    expect_times(compute=compute, n_bytes=n_bytes, latency=latency, bandwidth=bandwidth)
    p, clock = len(compute), compute.astype(float)
    sending = n_bytes / p / bandwidth  # (p,) seconds that a piece keeps each link busy
    for _ in range(2 * (p - 1)):
        arrival = np.roll(clock + latency + sending, 1)  # from the left neighbour
        clock = np.maximum(clock + sending, arrival)
    return clock


named_errors(globals())
