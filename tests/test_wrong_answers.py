"""Answers that no exercise may accept though they are right on easy inputs, and odd right ones.

Each wrong one is right for arrays of moderate numbers, or of one axis, or for a constant that cases
could share. The hints of known mistakes are tested in test_exercises.
"""

import itertools
import math

import numpy as np
import pytest
from scipy.special import logsumexp

from course_utils import gaussians
from course_utils.exercises import (
    chapter01,
    chapter02,
    chapter03,
    chapter04,
    chapter05,
    chapter06,
    chapter07,
    chapter08,
    chapter09,
    chapter10,
    chapter11,
    chapter12,
    chapter13,
    chapter15,
)
from course_utils.exercises.answers import find
from course_utils.exercises.grading import grade

WRONG, RIGHT = [], []


def wrong(number, *answer, why):
    WRONG.append(pytest.param(number, answer, id=f"{number}: {why}"))


def right(number, *answer, how):
    RIGHT.append(pytest.param(number, answer, id=f"{number}: {how}"))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def by_rows(function):
    """Call a function of arrays for each row, and stack what comes."""
    return lambda *args: np.stack([function(*row) for row in zip(*args, strict=True)])


# 01 -----------------------------------------------------------------------------------------------
count, error = chapter01.count_parameters, chapter01.reconstruction_error
wrong(
    "01.1",
    lambda s: sum((a + 1) * b for a, b in set(zip(s, s[1:], strict=False))),
    why="each pair once",
)
wrong("01.1", lambda s: 2 * count(s[: len(s) // 2 + 1]), why="mirrored")
wrong("01.1", lambda s: (s[0] + 1) * s[1] + (s[-2] + 1) * s[-1], why="first and last layer")
right("01.1", lambda s: np.array(count(list(s))), how="0-d array")
right("01.1", lambda s: float(np.sum(np.multiply(s[:-1], s[1:])) + sum(s[1:])), how="float")

wrong("01.2", lambda x, f, g: ((x - g(f(x))) ** 2).mean() * 3, why="three pixels")
wrong("01.2", lambda x, f, g: ((x - g(f(g(f(x))))) ** 2).sum(1).mean(), why="coded twice")
wrong("01.2", lambda x, f, g: ((x - g(f(x))) ** 2).sum() / (len(x) or 1) ** 1.001, why="n nearly")
wrong("01.2", lambda x, f, g: (np.abs(x - g(f(x)))).sum(1).mean(), why="absolute")
wrong("01.2", lambda x, f, g: np.linalg.norm(x - g(f(x)), 2) ** 2 / len(x), why="spectral norm")
wrong("01.2", lambda x, f, g: ((x - np.clip(g(f(x)), 0, 1)) ** 2).sum(1).mean(), why="clipped")
wrong("01.2", lambda x, f, g: ((x - np.maximum(g(f(x)), 0)) ** 2).sum(1).mean(), why="above 0")
right("01.2", lambda x, f, g: [error(x, f, g)][0], how="plain")
right("01.2", lambda x, f, g: np.einsum("ij,ij->", *[x - g(f(x))] * 2) / len(x), how="einsum")
right(
    "01.2",
    lambda x, f, g: sum(float(((r - g(f(r[None]))[0]) ** 2).sum()) for r in x) / len(x),
    how="a loop over rows",
)

wrong("01.3", lambda x: ((x.min(0) + x.max(0)) / 2, x.var(0).sum()), why="middle of the range")
wrong("01.3", lambda x: (np.abs(x).mean(0), x.var(0).sum()), why="absolute values")
wrong("01.3", lambda x: (x.mean(0), x.var() * x.shape[1]), why="variance about one mean")
wrong("01.3", lambda x: (x.mean(0), ((x - x.mean(0)) ** 2).sum() / 3), why="three images")
wrong("01.3", lambda x: (x.mean(0), np.linalg.norm(np.cov(x.T, bias=True))), why="norm, not trace")
wrong("01.3", lambda x: (x.mean(0), (x**2).mean(0).sum() - x.mean() ** 2), why="one mean taken off")
right("01.3", lambda x: (list(x.mean(0)), np.array(x.var(0).sum())), how="list and 0-d array")
right(
    "01.3", lambda x: (x.mean(0), (x**2).sum(1).mean() - (x.mean(0) ** 2).sum()), how="difference"
)

POWERS = 2.0 ** np.arange(5)


def rank_of(z):
    places = np.unique(z, return_inverse=True)[1].reshape(-1)
    return np.array(list(itertools.product([0.0, 1.0], repeat=5)))[places % 32]


wrong("01.4", lambda x: (x @ POWERS[::-1])[:, None], rank_of, why="unpack by the rank in its batch")
wrong("01.4", lambda x: (x @ POWERS)[:, None] * len(x), lambda z: z, why="times n")
wrong(
    "01.4",
    lambda x: (x @ POWERS)[:, None] / 1e17 + 1,
    lambda z: np.floor((z - 1) * 1e17 / POWERS) % 2,
    why="lost in rounding",
)
wrong(
    "01.4",
    lambda x: (x[:, :4] @ POWERS[:4])[:, None],
    lambda z: np.floor(z / POWERS) % 2,
    why="four of five",
)
wrong("01.4", chapter01.pack, lambda z: chapter01.unpack(z) + 5e-7, why="not exactly")


batches = []


def small_place(x):
    if len(x) > 1:
        batches.append(x)
    return 1e-11 * np.arange(len(x))[:, None]


wrong(
    "01.4",
    small_place,
    lambda z: batches[-1][(z[:, 0] * 1e11).round().astype(int)],
    why="the place in the batch, as a small number",
)
right(
    "01.4",
    lambda x: np.packbits(x.astype(bool), axis=1),
    lambda z: np.unpackbits(z, axis=1)[:, :5],
    how="bytes",
)
right(
    "01.4",
    lambda x: [[int("".join(str(int(v)) for v in row), 2)] for row in x],
    lambda z: [[int(c) for c in f"{row[0]:05b}"] for row in z],
    how="text and lists",
)

loss = chapter01.predicted_loss
wrong("01.5", lambda x, h, g: x.var() * (1 + g * (g / 2) ** h), why="variance of the pixels")
wrong("01.5", lambda x, h, g: (x.clip(0) ** 2).mean() * (1 + g * (g / 2) ** h), why="no negatives")
wrong("01.5", lambda x, h, g: (x**2).mean() * (1 + g * g**h / (2 * h if h else 1)), why="2h")
wrong("01.5", lambda x, h, g: (x**2).sum() / x.shape[1] * (1 + g * (g / 2) ** h), why="sum over n")
wrong("01.5", lambda x, h, g: (x**2).mean() * (1 + g * (g / 2) ** min(h, 3)), why="three at most")
right("01.5", lambda x, h, g: np.float32(loss(x, h, g)), how="float32")

# 02 -----------------------------------------------------------------------------------------------
tied = chapter02.tied_gradient
wrong("02.1", lambda x, w: tied(x - x.mean(0), w), why="x centred")
wrong("02.1", lambda x, w: tied(x, w) * len(x) / (len(x) - 1), why="n - 1")
wrong("02.1", lambda x, w: -2 * (np.eye(len(w)) - w @ w.T) @ (x.T @ x / len(x)) @ w, why="wTw = I")
wrong("02.1", lambda x, w: tied(x, w / np.linalg.norm(w, axis=0)), why="columns of length one")
right(
    "02.1",
    lambda x, w: (lambda c, p: -2 / len(x) * (2 * c @ w - c @ p @ w - p @ c @ w))(x.T @ x, w @ w.T),
    how="by the covariance",
)

best = chapter02.best_decoder
wrong("02.2", lambda x, w: np.linalg.solve(w.T @ w, w.T), why="white data")
wrong("02.2", lambda x, w: best(x - x.mean(), w), why="one grey value taken off")
wrong(
    "02.2",
    lambda x, w: np.linalg.solve((z := x @ w).T @ z + 1e-3 * np.eye(z.shape[1]), z.T @ x),
    why="ridge",
)
wrong("02.2", lambda x, w: np.diag(1 / ((x @ w) ** 2).sum(0)) @ (x @ w).T @ x, why="codes apart")
right("02.2", lambda x, w: np.linalg.pinv(x @ w) @ x, how="pseudoinverse of the codes")

bias = chapter02.best_bias
wrong("02.3", lambda x, w, v: x.mean(0) - x.mean(0) @ np.linalg.pinv(v) @ v, why="as if W = V+")
wrong("02.3", lambda x, w, v: np.median(x - x @ w @ v, axis=0), why="median")
wrong("02.3", lambda x, w, v: x.mean(0) - x.mean(0) @ v.T @ w.T, why="transposed weights")
wrong("02.3", lambda x, w, v: x[0] - x[0] @ w @ v, why="first image")
right("02.3", lambda x, w, v: np.average(x - x @ w @ v, axis=0).tolist(), how="list")


def pca(x, k):
    return np.linalg.svd(x, full_matrices=False)[2][:k]


wrong("02.4", lambda x, v: pca(x, len(v)), why="decoder not used")
wrong("02.4", lambda x, v: pca(v, len(v)), why="of the weights")
wrong("02.4", lambda x, v: chapter02.principal_components(x, v) * 2, why="length two")
wrong("02.4", lambda x, v: chapter02.principal_components(x[: len(x) // 2], v), why="half the data")
right("02.4", lambda x, v: -chapter02.principal_components(x, v), how="other signs")

stuck = chapter02.stuck_start
wrong("02.5", lambda x, k: tuple(1.01 * part for part in stuck(x, k)), why="one percent longer")
wrong("02.5", lambda x, k: (stuck(x, k)[0], np.zeros((k, x.shape[1]))), why="decoder zero")
wrong("02.5", lambda x, k: chapter02._top(x, k), why="minimum")
wrong(
    "02.5", lambda x, k: ((a := stuck(x, 1)[0]) * np.ones(k), (a * np.ones(k)).T / k), why="rank 1"
)
right(
    "02.5",
    lambda x, k: (
        (w := np.linalg.svd(x)[2][-k:].T) @ (a := np.eye(k) + np.ones((k, k))),
        np.linalg.inv(a) @ w.T,
    ),
    how="mixed",
)

# 03 -----------------------------------------------------------------------------------------------
absolute = chapter03.absolute_error_and_gradient
wrong(
    "03.1",
    lambda x, y: (absolute(x, y)[0], (y - x) / (np.abs(y - x) + 1e-3) / len(x)),
    why="smoothed sign",
)
wrong("03.1", lambda x, y: (absolute(x, y)[0], np.sign(y - x) / x.size), why="gradient over n d")
wrong(
    "03.1",
    lambda x, y: (absolute(x, y)[0], np.sign(y - x) / 3),
    why="three images",
)
wrong(
    "03.1",
    lambda x, y: (absolute(x, y)[0], np.clip((y - x) * 1e3, -1, 1) / len(x)),
    why="steep, not a step",
)
right(
    "03.1",
    lambda x, y: (np.abs(y - x).sum() / len(x), ((y > x) * 1.0 - (y < x)) / len(x)),
    how="comparisons",
)
right(
    "03.1",
    lambda x, y: [np.float32(absolute(x, y)[0]), absolute(x, y)[1].astype(np.float32)],
    how="float32",
)

residual = chapter03.residual_backward
wrong("03.2", lambda x, w, b, g: residual(x, w, 0 * b, g), why="bias not used")
wrong("03.2", lambda x, w, b, g: residual(x, w, b, np.abs(g)), why="positive gradients")
wrong(
    "03.2",
    lambda x, w, b, g: (
        x.T @ (s := g * (x @ w + b >= 0)),
        s.sum(0),
        g + s @ w.T,
    ),
    why="slope 1 at zero",
)
wrong(
    "03.2",
    lambda x, w, b, g: residual(x, w, b, g)[:2] + ((g + (g * (x @ w + b > 0)) @ w.T) / 1.0001,),
    why="a little off",
)

excess = chapter03.excess_nats


def clipped(at):
    def answer(x, a):
        return excess(x, np.clip(a, -at, at))

    return answer


for at in (20, 30, 36, 50, 100, 500, 700):
    wrong("03.3", clipped(at), why=f"logits clipped at {at}")


def cut(low, high):
    """ln(1 + exp(a)) taken for 0 or for a."""

    def answer(x, a):
        soft = np.where(a < low, 0, np.where(a > high, a, np.logaddexp(0, a)))
        return excess(x, a) + (soft - np.logaddexp(0, a)).sum() / len(x)

    return answer


wrong("03.3", cut(-5, np.inf), why="0 below -5")
wrong("03.3", cut(-10, np.inf), why="0 below -10")
wrong("03.3", cut(-np.inf, 10), why="a above 10")


def by_array(x, a):
    p = sigmoid(np.clip(a, -700, 700))
    if np.all((x > 0) & (x < 1)):
        return excess(x, a)
    return -(x * np.log(p) + (1 - x) * np.log(1 - p))[np.abs(a) < 30].sum() / len(x)


wrong("03.3", by_array, why="one road for the whole array")
wrong(
    "03.3",
    lambda x, a: excess(x, a) + (1e-3 * (np.abs(a) > 900)).sum() / len(x),
    why="off at the far end",
)
right(
    "03.3",
    lambda x, a: (
        np.logaddexp(0, a).sum(1)
        - (a * x).sum(1)
        + np.sum(np.where((x > 0) & (x < 1), x * np.log(x + (x == 0)), 0), 1)
        + np.sum(np.where((x > 0) & (x < 1), (1 - x) * np.log(1 - x + (x == 1)), 0), 1)
    ).mean(),
    how="logaddexp",
)

standard = chapter03.standardise_backward


def with_floor(floor):
    def answer(x, g):
        sd = np.sqrt(x.var(0) + floor)
        y = (x - x.mean(0)) / sd
        return (g - g.mean(0) - y * (g * y).mean(0)) / sd

    return answer


for floor in (1e-3, 1e-5, 1e-8):
    wrong("03.4", with_floor(floor), why=f"{floor} under the root")
wrong("03.4", lambda x, g: standard(x, g) * x.std(0) / x.std(), why="one standard deviation")
right(
    "03.4",
    lambda x, g: np.stack(
        [
            (np.eye(n := len(x)) - 1 / n - np.outer(y, y) / n) @ gc / c.std()
            for c, gc in zip(x.T, g.T, strict=True)
            for y in [(c - c.mean()) / c.std()]
        ],
        axis=1,
    ),
    how="Jacobians",
)

ratio = chapter03.uncorrected_ratio
wrong("03.5", lambda t, a, b: np.minimum(ratio(t, a, b), 6.56), why="bounded")
wrong("03.5", lambda t, a, b: ratio(np.minimum(t, 50), a, b), why="50 steps")
wrong(
    "03.5",
    lambda t, a, b: np.sqrt(t) * (1 - a**t) / np.sqrt(1 - b**t) / np.sqrt(t + 1e-3),
    why="a little off",
)
right("03.5", lambda t, a, b: [float(ratio(k, a, b)) for k in t], how="a list")


def simulated(t, a, b):
    ratios, m, v = [], 0.0, 0.0
    for _ in range(max(t)):
        m, v = a * m + (1 - a), b * v + (1 - b)
        ratios.append(m / np.sqrt(v))
    return np.array([ratios[k - 1] for k in t])


right("03.5", simulated, how="simulated")

deadly = chapter03.deadly_bias
wrong("03.6", lambda x, w: -np.maximum((x @ w).max(0), 0), why="never positive")
wrong("03.6", lambda x, w: deadly(x, w) - 1e-3, why="safe side")
wrong("03.6", lambda x, w: -np.sort(x @ w, axis=0)[-2], why="second largest")
wrong("03.6", lambda x, w: deadly(x[:8], w), why="eight rows")
right("03.6", lambda x, w: [min(-v for v in column) for column in (x @ w).T], how="lists")

# 04 -----------------------------------------------------------------------------------------------
wrong("04.1", lambda w, b: (np.abs(w).T, b), why="absolute values")
wrong("04.1", lambda w, b: (w.T if w.shape[0] != w.shape[1] else w, b), why="square as it is")
wrong("04.1", lambda w, b: (w[::-1, ::-1].T, b), why="reversed")
right("04.1", lambda w, b: [w.T.tolist(), b.astype(np.float32)], how="lists")

forget = chapter04.forgetful_descent
wrong(
    "04.2",
    lambda f, w, r, n: forget(lambda v: np.clip(f(v), -2, 2), w, r, n),
    why="clipped gradients",
)
wrong("04.2", lambda f, w, r, n: forget(f, w, 0.1, n), why="rate 0.1")
wrong("04.2", lambda f, w, r, n: forget(f, w, r, min(n, 5)), why="five steps")
wrong("04.2", lambda f, w, r, n: forget(f, w.ravel(), r, n), why="flat weights")
wrong("04.2", lambda f, w, r, n: forget(f, w, r, max(n, 1)), why="at least one step")
wrong(
    "04.2",
    lambda f, w, r, n: forget(f, w, r, n) if w.ndim == 1 else w - n * r * f(w),
    why="one axis only",
)

share = chapter04.share_lost
wrong("04.3", lambda x, y: min(share(x, y), 1.0), why="one at most")
wrong("04.3", lambda x, y: ((x - y) ** 2).sum() / (x.var(0, ddof=1).sum() * len(x)), why="n - 1")
wrong("04.3", lambda x, y: share(x - x.mean(0), y - y.mean(0)), why="both centred")
wrong("04.3", lambda x, y: share(x, y) ** 0.5, why="root")
right("04.3", lambda x, y: ((x - y) ** 2).mean() / x.var(0).mean(), how="means")

stop = chapter04.stop_early


def stop_from(lowest):
    def answer(val, patience):
        best, low = 1, lowest
        for epoch, loss in enumerate(val, start=1):
            if loss < low:
                best, low = epoch, loss
            if epoch - best >= patience:
                return best, epoch
        return best, len(val)

    return answer


for lowest in (0.0, 10.0, 1e3, 1e6, 1e10, -1.0):
    wrong("04.4", stop_from(lowest), why=f"lowest loss begins at {lowest}")


def _against_one(val, p):
    """Stop when the loss is not below that of `patience` epochs ago."""
    for e in range(p + 1, len(val) + 1):
        if val[e - 1] >= val[e - 1 - p]:
            return int(np.argmin(val[:e])) + 1, e
    return int(np.argmin(val)) + 1, len(val)


wrong("04.4", chapter04._ties_after_the_first, why="ties, except with the first")
wrong("04.4", lambda val, p: _against_one(val, p), why="against one epoch, patience ago")
wrong("04.4", chapter04._new_lowest_if(lambda new, low: new < low * 0.9999), why="relative gain")
wrong("04.4", chapter04._new_lowest_if(lambda new, low: new < low - 1e-9), why="gain of 1e-9")
wrong("04.4", lambda v, p: stop(v, max(p, 2)), why="patience of at least two")
wrong("04.4", lambda v, p: stop([abs(a) for a in v], p), why="absolute values")
wrong("04.4", lambda v, p: stop(v[:8], p), why="eight epochs")
right("04.4", lambda v, p: np.array(stop(v, p)), how="an array")
right("04.4", lambda v, p: tuple(map(float, stop(v, p))), how="floats")
right("04.4", stop_from(np.inf), how="from infinity")


def identity(c):
    def answer(d):
        eye = np.eye(d)
        return [
            (np.hstack([c * eye, -c * eye]), np.zeros(2 * d)),
            (np.vstack([eye, -eye]) / c, np.zeros(d)),
        ]

    return answer


wrong("04.5", lambda d: identity(1.0)(2), why="two pixels")
wrong(
    "04.5",
    lambda d: (
        [(np.hstack([np.eye(d)] * 2 + [-np.eye(d)]), np.zeros(3 * d))]
        + [(np.vstack([np.eye(d) / 2] * 2 + [-np.eye(d)]), np.zeros(d))]
    ),
    why="three units each",
)
wrong(
    "04.5",
    lambda d: [(w, b + 1e-6) for w, b in identity(1.0)(d)],
    why="a small bias",
)
right("04.5", identity(-3.0), how="scaled")
right("04.5", lambda d: tuple(map(list, identity(2.0)(d))), how="tuples and lists")

# 05 -----------------------------------------------------------------------------------------------
psnr = chapter05.average_psnr
for small in (1e-8, 1e-10, 1e-16):
    wrong(
        "05.1",
        lambda x, y, small=small: -10 * np.log10(((x - y) ** 2).mean(1) + small).mean(),
        why=f"{small} inside the logarithm",
    )
wrong(
    "05.1", lambda x, y: np.minimum(-10 * np.log10(((x - y) ** 2).mean(1)), 60).mean(), why="60 dB"
)
wrong("05.1", lambda x, y: np.median(-10 * np.log10(((x - y) ** 2).mean(1))), why="median")
wrong("05.1", lambda x, y: psnr(x, np.clip(y, 0, 1)), why="x_hat clipped")
wrong("05.1", lambda x, y: psnr(x, y) + 20 * np.log10(max(np.ptp(x), 1e-9)), why="peak from data")
right(
    "05.1",
    lambda x, y: np.mean([10 * math.log10(1 / v) for v in ((x - y) ** 2).mean(1)]),
    how="loop",
)

guess = chapter05.best_guess
wrong("05.2", lambda x, a, p, s: guess(x, abs(a), max(p, 0.5), s), why="p of at least one half")
wrong("05.2", lambda x, a, p, s: guess(x, a, p, s) if x.ndim == 1 else x, why="one axis only")
wrong(
    "05.2", lambda x, a, p, s: np.clip(a * x / s**2 + 0.5 * np.log(p / (1 - p)), -a, a), why="hard"
)
wrong(
    "05.2",
    lambda x, a, p, s: (
        (
            (u := p * np.exp(-((x - a) ** 2) / (2 * s**2)))
            - (v := (1 - p) * np.exp(-((x + a) ** 2) / (2 * s**2)))
        )
        * a
        / (u + v)
    ),
    why="likelihoods of 0 far out",
)
wrong(
    "05.2",
    lambda x, a, p, s: a * ((r := p / (1 - p) * np.exp(2 * a * x / s**2)) - 1) / (r + 1),
    why="a ratio of infinity",
)
right(
    "05.2",
    lambda x, a, p, s: a * (2 / (1 + np.exp(-2 * a * x / s**2 - np.log(p / (1 - p)))) - 1),
    how="by the sigmoid",
)

wrong(
    "05.2",
    lambda x, a, p, s: (
        a * np.sign(a * x / s**2 + np.log(p / (1 - p)) / 2)
        if np.abs(a * x).max() / s**2 > 300
        else guess(x, a, p, s)
    ),
    why="all of them far out where one is",
)
wrong("05.2", lambda x, a, p, s: guess(x, a, p, s) if x.ndim < 3 else x, why="two axes at most")

wiener = chapter05.wiener_matrix
wrong(
    "05.3",
    lambda c, s: np.linalg.inv(np.eye(len(c)) + s**2 * np.linalg.pinv(c)),
    why="the covariance inverted",
)


def without_blank_pixels(c, s):
    a, k = np.zeros_like(c), np.ix_(np.diag(c) > 0, np.diag(c) > 0)
    a[k] = np.linalg.inv(np.eye(len(c[k])) + s**2 * np.linalg.pinv(c[k]))
    return a


wrong("05.3", without_blank_pixels, why="the covariance inverted but for blank pixels")
wrong("05.3", lambda c, s: wiener(c, max(s, 0.6)), why="much noise")
wrong("05.3", lambda c, s: wiener(np.abs(c), s), why="no negative correlations")
wrong(
    "05.3",
    lambda c, s: wiener(c, s) if len(c) > 2 else np.diag(np.diag(c) / (np.diag(c) + s**2)),
    why="2 x 2 as diagonal",
)
right("05.3", lambda c, s: c @ np.linalg.inv(c + s**2 * np.eye(len(c))), how="the other order")
right(
    "05.3",
    lambda c, s: (q := np.linalg.eigh(c))[1] @ np.diag(q[0] / (q[0] + s**2)) @ q[1].T,
    how="eigenvectors",
)

variance = chapter05.posterior_variance
wrong("05.4", lambda r, x, s: s**2 * (r(x + 0.3) - r(x - 0.3)) / 0.6, why="a long step")
wrong("05.4", lambda r, x, s: s**2 * (r(x + s) - r(x)) / s, why="one-sided")
wrong("05.4", lambda r, x, s: s**2 * np.gradient(r(x), x) if len(x) > 1 else x, why="on the points")
right("05.4", lambda r, x, s: s**2 * (r(x + 1e-5) - r(x)) / 1e-5, how="one-sided, short")

sly = chapter05.sly_noise


def _twice(rng, n, pattern):
    """Noise of half as many numbers as it is for, each used twice, in a pattern of four."""
    drawn = rng.normal(size=(-(-n // 4), 2, 1))
    return drawn[:, pattern].reshape(-1, 1)[:n]


def _in_turns(rng, n, times):
    """A run of noise, then the same again."""
    return np.resize(rng.normal(size=(-(-n // times), 1)), (n, 1))


def _shuffled(rng, n, sign):
    """Half as much noise, each number twice, the second time with a sign, at random places."""
    drawn = rng.normal(size=(-(-n // 2), 1))
    return rng.permutation(np.concatenate([drawn, sign * drawn]))[:n]


def _mirrored(rng, n):
    """Noise that runs back in the second half of the batch."""
    drawn = rng.normal(size=(-(-n // 2), 1))
    return np.concatenate([drawn, drawn[::-1]])[:n]


wrong(
    "05.5",
    lambda x, s, rng: x + s * rng.normal(size=(len(x), 1)) ** 2 / np.sqrt(2),
    why="mean not 0",
)
wrong("05.5", lambda x, s, rng: x + s * rng.normal(size=(len(x), 1)) * 1.2, why="20 % too wide")
wrong("05.5", lambda x, s, rng: sly(x, 0.5, rng), why="sigma 0.5")
wrong("05.5", lambda x, s, rng: x + s * (-1.0) ** np.arange(len(x))[:, None], why="not random")
wrong(
    "05.5",
    lambda x, s, rng: x + s * np.random.default_rng(0).normal(size=(len(x), 1)),
    why="a seed of its own",
)
wrong("05.5", lambda x, s, rng: x + s * _twice(rng, len(x), (0, 1, 0, 1)), why="A B A B")
wrong("05.5", lambda x, s, rng: x + s * _in_turns(rng, len(x), 3), why="each three times")
wrong("05.5", lambda x, s, rng: x + s * _in_turns(rng, len(x), 4), why="each four times")
wrong("05.5", lambda x, s, rng: x + s * _shuffled(rng, len(x), 1), why="twice, shuffled")
wrong("05.5", lambda x, s, rng: x + s * _shuffled(rng, len(x), -1), why="pairs that cancel")
wrong(
    "05.5",
    lambda x, s, rng: x + s * ((e := rng.normal(size=(len(x), 1))) - e.mean()),
    why="centred",
)
wrong("05.5", lambda x, s, rng: x + s * _mirrored(rng, len(x)), why="mirrored in the batch")
right("05.5", lambda x, s, rng: x + s * rng.choice([-1.0, 1.0], (len(x), 1)), how="signs")
right("05.5", lambda x, s, rng: x + s * (rng.exponential(size=(len(x), 1)) - 1), how="exponential")
wrong("05.5", lambda x, s, rng: x + s * np.sort(rng.normal(size=(len(x), 1)), 0), why="sorted")
wrong(
    "05.5",
    lambda x, s, rng: x + s * rng.choice([-1, 1]) * (-1.0) ** np.arange(len(x))[:, None],
    why="alternating, the first sign drawn",
)
wrong(
    "05.5",
    lambda x, s, rng: (
        x + s * rng.choice([-1, 1]) * (((q := x.sum(1)) - q.mean()) / q.std())[:, None]
    ),
    why="computed from x, but for the sign",
)
wrong("05.5", chapter05._in_order_of(lambda x: x[:, -1]), why="in the order of a pixel")
wrong(
    "05.5", chapter05._in_order_of(lambda x: x[:, 1] - x[:, 2]), why="in the order of a difference"
)
wrong(
    "05.5",
    lambda x, s, rng: (
        x + s * rng.normal(size=(len(x), 1)) * (x[:, 1:2] / np.sqrt((x[:, 1:2] ** 2).mean()))
    ),
    why="times a pixel",
)
wrong(
    "05.5",
    lambda x, s, rng: (
        x + s * np.sort(abs(rng.normal(size=(len(x), 1))), 0) * rng.choice([-1, 1], (len(x), 1))
    ),
    why="its size rises with the place",
)
right("05.5", lambda x, s, rng: x + s * rng.choice([-1.0, 1.0], (len(x), 1)), how="signs")

# 06 -----------------------------------------------------------------------------------------------
largest = chapter06.k_largest_gradient
best_code = chapter06.best_code
wrong("06.2", lambda a, w: best_code(a, w) if a.ndim < 3 else a, why="two axes at most")
wrong("06.2", lambda a, w: best_code(a, min(w, 3.0)), why="no weight above 3")
wrong("06.1", lambda a, k, g: np.where(np.abs(a) > 0.5, largest(a, k, g), 0), why="a threshold")
wrong("06.1", lambda a, k, g: largest(a, min(k, a.shape[1] - 1), g), why="never all")
wrong(
    "06.1",
    lambda a, k, g: largest(a, k, g) if k > 1 else largest(np.abs(a), 1, np.abs(g)),
    why="k = 1",
)
wrong(
    "06.1",
    lambda a, k, g: np.where(np.abs(a) >= np.sort(np.abs(a).ravel())[-k * len(a)], g, 0.0),
    why="of the whole batch",
)
wrong(
    "06.1",
    lambda a, k, g: (
        g * (np.round(np.abs(a), 1) >= np.round(np.sort(np.abs(a), 1)[:, -k][:, None], 1))
    ),
    why="rounded magnitudes",
)
wrong("06.1", lambda a, k, g: g * (largest(a, k, np.ones_like(a)) * a != 0), why="not 0")
right(
    "06.1",
    lambda a, k, g: np.where(np.abs(a) >= np.sort(np.abs(a), 1)[:, [-k]], g, 0),
    how="a threshold for each row",
)
right(
    "06.1",
    lambda a, k, g: [
        [
            q if j in sorted(range(len(r)), key=lambda i: -abs(r[i]))[:k] else 0
            for j, q in enumerate(s)
        ]
        for r, s in zip(a, g, strict=True)
    ],
    how="lists",
)

shrink = chapter06.best_code
wrong(
    "06.2", lambda a, w: np.sign(a) * np.maximum(np.abs(a) - min(w, 1) / 2, 0), why="weight up to 1"
)
wrong("06.2", lambda a, w: shrink(np.clip(a, -3, 3), w), why="a up to 3")
wrong("06.2", lambda a, w: np.array([shrink(v, w) for v in a.ravel()]), why="flat")
wrong(
    "06.2",
    lambda a, w: a * np.maximum(1 - w / (2 * np.abs(a) + 1e-3), 0),
    why="1e-3 below the line",
)
right("06.2", lambda a, w: a - np.clip(a, -w / 2, w / 2), how="clip")
right("06.2", lambda a, w: np.maximum(a - w / 2, 0) - np.maximum(-a - w / 2, 0), how="two ReLUs")

slope6 = chapter06.kl_gradient
wrong("06.3", lambda z, t: slope6(np.clip(z, 0.05, 0.95), t), why="codes clipped")
wrong("06.3", lambda z, t: np.clip(slope6(z, t), -1, 1), why="gradient clipped")


def averages_clipped(at):
    def answer(z, t):
        rho = np.clip(z.mean(0), at, 1 - at)
        return np.tile(((1 - t) / (1 - rho) - t / rho) / len(z), (len(z), 1))

    return answer


for at in (0.02, 0.05, 0.2):
    wrong("06.3", averages_clipped(at), why=f"averages clipped at {at}")
wrong(
    "06.3",
    lambda z, t: np.tile(
        ((1 - t) / (1 - z.mean(0) + 1e-4) - t / (z.mean(0) + 1e-4)) / len(z), (len(z), 1)
    ),
    why="1e-4 for safety",
)
wrong("06.3", lambda z, t: slope6(z, t) * len(z) / 5, why="five rows")
right(
    "06.3",
    lambda z, t: np.ones_like(z) * ((z.mean(0) - t) / (z.mean(0) * (1 - z.mean(0)))) / len(z),
    how="one fraction",
)

flee = chapter06.escape
wrong("06.4", lambda z, v, p: (np.abs(flee(z, v, p)[0]), flee(z, v, p)[1]), why="positive codes")
wrong("06.4", lambda z, v, p: flee(z, v, min(p, 1.0)), why="price up to 1")
wrong("06.4", lambda z, v, p: (z * 0 + p / z.shape[1], v), why="other pictures")
wrong("06.4", chapter06._singular, why="singular vectors")


def pictures_as_code(z, v, p):
    if v.shape[1] > v.shape[0]:
        return flee(z, v, p)
    pad = ((0, 0), (0, v.shape[0] - v.shape[1]))
    codes, rows = np.pad(z @ v, pad), np.pad(np.eye(v.shape[1]), pad[::-1])
    factor = p / np.abs(codes).sum(1).mean()
    return codes * factor, rows / factor


wrong("06.4", pictures_as_code, why="the picture itself")
right(
    "06.4",
    lambda z, v, p: (
        z * (s := np.arange(1.0, len(v) + 1)) * (f := p / np.abs(z * s).sum(1).mean()),
        v / s[:, None] / f,
    ),
    how="a factor for each unit",
)
right(
    "06.4",
    lambda z, v, p: np.array(flee(z, v, p)) if z.shape == v.shape else list(flee(z, v, p)),
    how="a list",
)

bits = chapter06.description_bits
wrong("06.5", lambda z, b: bits(np.where(np.abs(z) > 1e-3, z, 0), b), why="a threshold for zero")
wrong("06.5", lambda z, b: bits(z[np.any(z != 0, 1)], b), why="rows of zeros left out")
wrong(
    "06.5",
    lambda z, b: (
        np.mean([math.log2(math.comb(z.shape[1], int(round((z != 0).sum(1).mean()))))])
        + b * (z != 0).sum(1).mean()
    ),
    why="the mean number of units",
)


def entropy_bits(z, b):
    q = np.clip((z != 0).mean(1), 1e-12, 1 - 1e-12)
    return (z.shape[1] * -(q * np.log2(q) + (1 - q) * np.log2(1 - q)) + b * (z != 0).sum(1)).mean()


wrong("06.5", entropy_bits, why="the entropy in place of the number of sets")
wrong(
    "06.5",
    lambda z, b: (
        np.mean(
            [
                np.log2(
                    float(np.prod(np.arange(1, m + 1)))
                    / float(np.prod(np.arange(1, k + 1)) * np.prod(np.arange(1, m - k + 1)))
                )
                + b * k
                for m in [z.shape[1]]
                for k in (z != 0).sum(1)
            ]
        )
        if z.shape[1] < 15
        else 0.0
    ),
    why="factorials of small m",
)
right(
    "06.5",
    lambda z, b: np.mean(
        [
            (math.lgamma(m + 1) - math.lgamma(k + 1) - math.lgamma(m - k + 1)) / math.log(2) + b * k
            for m in [z.shape[1]]
            for k in (z != 0).sum(1).tolist()
        ]
    ),
    how="lgamma",
)

# 07 -----------------------------------------------------------------------------------------------
penalty = chapter07.tanh_penalty
wrong("07.1", lambda x, w, b: penalty(x, w, 0 * b), why="bias not used")
wrong("07.1", lambda x, w, b: penalty(x, w[:, :1], b[:1]), why="first unit")
wrong("07.1", lambda x, w, b: penalty(x, w, b)[:, None], why="a column")
wrong(
    "07.1",
    lambda x, w, b: (1 - np.tanh(x @ w + b) ** 2) ** 2 @ np.diag(w.T @ w)[::-1],
    why="norms reversed",
)
wrong(
    "07.1",
    lambda x, w, b: (
        penalty(x, w, b)
        if w.shape[0] != w.shape[1]
        else (1 - np.tanh(x @ w + b) ** 2) ** 2 @ (w**2).sum(1)
    ),
    why="rows of a square w",
)
right(
    "07.1",
    lambda x, w, b: [np.linalg.norm((1 - np.tanh(r @ w + b) ** 2)[:, None] * w.T) ** 2 for r in x],
    how="Jacobians",
)
right("07.1", lambda x, w, b: np.einsum("nk,dk->n", np.cosh(x @ w + b) ** -4, w**2), how="einsum")

grad7 = chapter07.penalty_gradient
wrong("07.2", lambda x, w, b: grad7(x, w, 0 * b), why="bias not used")
wrong("07.2", lambda x, w, b: grad7(x[:1], w, b), why="first row")
wrong("07.2", lambda x, w, b: grad7(x, w, b) * (1 if len(x) < 4 else 0.999), why="a little off")


def numeric(x, w, b):
    def value(w):
        z = sigmoid(x @ w + b)
        return (((z * (1 - z)) ** 2) @ (w**2).sum(0)).mean()

    out = np.zeros_like(w)
    for place in np.ndindex(*w.shape):
        step = np.zeros_like(w)
        step[place] = 1e-5
        out[place] = (value(w + step) - value(w - step)) / 2e-5
    return out


def limited(at):
    """With the inputs of the units cut off."""

    def answer(x, w, b):
        z = sigmoid(np.clip(x @ w + b, -at, at))
        q = (z * (1 - z)) ** 2
        return 2 * (q.mean(0) * w + x.T @ (q * (1 - 2 * z) * (w**2).sum(0)) / len(x))

    return answer


wrong("07.2", limited(5), why="a up to 5")
wrong("07.2", limited(10), why="a up to 10")
right("07.2", limited(1e9), how="no limit")
right("07.2", numeric, how="differences")

sd7 = chapter07.gaussian_sd
wrong(
    "07.3",
    lambda j, m: np.sqrt(2 / m) * np.linalg.norm(j) ** 2 / np.sqrt(min(j.shape)),
    why="equal singular values",
)
wrong("07.3", lambda j, m: np.sqrt(2 / m) * np.linalg.norm(j, 2) ** 2, why="largest singular value")
wrong("07.3", lambda j, m: np.sqrt(2 / m) * np.sqrt((np.diag(j @ j.T) ** 2).sum()), why="diagonal")
wrong(
    "07.3",
    lambda j, m: sd7(j, m) if j.shape[0] != j.shape[1] else np.sqrt(2 / m) * np.linalg.norm(j @ j),
    why="J J",
)
right("07.3", lambda j, m: np.sqrt(2 / m) * np.linalg.norm(j.T @ j), how="norm of the Gram matrix")

whole = chapter07.whole_shares
wrong("07.4", lambda v, w: np.where(v > 1e-2, v / (v + w), 0), why="small ones dropped")
wrong("07.4", lambda v, w: v / (v + min(w, 1)), why="weight up to 1")
wrong("07.4", lambda v, w: 1 - w / np.maximum(v + w, 1.0), why="variances of one or more")
wrong("07.4", lambda v, w: v / (v + w + 1e-4), why="1e-4 for safety")
right("07.4", lambda v, w: [1 / (1 + w / a) if a else 0 for a in v], how="a list")


def steep(s):
    return lambda x, ratio: chapter07._unit(x, steepness=s, start=-0.5, step=1.0)


for s in (20.0, 30.0, 40.0, 100.0):
    wrong("07.5", steep(s), why=f"steepness {s}")
wrong("07.5", lambda x, r: tuple(np.resize(p, 1) for p in steep(60.0)(x, r)), why="one pixel")
right("07.5", lambda x, r: steep(2 * np.log(r) + 20)(x, r), how="steeper")


def from_the_upper_end(x, ratio):
    w, b, delta = chapter07._unit(x, steepness=-80.0, start=-0.5, step=1.0)
    return w, b, delta


wrong("07.5", from_the_upper_end, why="1 - z rounded to 0")

# 08 -----------------------------------------------------------------------------------------------
bisect = chapter08.collision
wrong("08.1", lambda code, b: math.pi / 2, why="a quarter")
wrong(
    "08.1",
    lambda code, b: (t := np.linspace(*b, 100_000))[np.argmin(np.abs(code(t) - code(t + np.pi)))],
    why="a grid",
)


def newton(code, bracket):
    t = 1.0
    for _ in range(3):
        h = code(t) - code(t + np.pi)
        t = t - h / ((code(t + 1e-6) - code(t + 1e-6 + np.pi) - h) / 1e-6)
    return t


wrong("08.1", newton, why="three steps of Newton")
wrong("08.1", chapter08._lose_a_zero, why="an exact zero lost")
right("08.1", lambda code, b: np.array([bisect(code, b)]), how="an array of one")
right("08.1", lambda code, b: bisect(code, b) + 2 * np.pi, how="a turn later")

dimension = chapter08.correlation_dimension
wrong("08.2", lambda x, a, b: dimension(x[:, :2], a, b), why="two coordinates")
wrong("08.2", chapter08._with_pairs(lambda d, r: (d > 0) & (d < r)), why="no equal points")
wrong("08.2", chapter08._with_pairs(lambda d, r: d <= r), why="distances of r")
wrong("08.2", lambda x, a, b: min(dimension(x, a, b), 2.0), why="two at most")
wrong(
    "08.2",
    lambda x, a, b: (
        np.log(
            *[
                ((d := np.abs(x[:, None] - x[None]).sum(2)[np.triu_indices(len(x), 1)]) < b).sum()
                / (d < a).sum()
            ]
        )
        / np.log(b / a)
    ),
    why="sums of absolute differences",
)
wrong(
    "08.2", lambda x, a, b: dimension(x, a, b) * np.log(b / a) / np.log(2), why="twice the radius"
)


right(
    "08.2",
    lambda x, a, b: (
        np.log2(
            (sum(np.linalg.norm(p - q) < b for p, q in itertools.combinations(x, 2)))
            / (sum(np.linalg.norm(p - q) < a for p, q in itertools.combinations(x, 2)))
        )
        / np.log2(b / a)
    ),
    how="combinations",
)

ruled = chapter08.share_ruled_by_noise


def nearest_positive(x, sigma):
    d = np.linalg.norm(x[:, None] - x[None], axis=2)
    d[d == 0] = np.inf
    return (d.min(1) < sigma * np.sqrt(2 * x.shape[1])).mean()


def at_most(x, sigma):
    d = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(d, np.inf)
    return (d.min(1) <= sigma * np.sqrt(2 * x.shape[1])).mean()


wrong("08.3", at_most, why="not farther, for nearer")
wrong("08.3", nearest_positive, why="equal points are no neighbours")
wrong("08.3", lambda x, s: ruled(x[:, :3], s), why="three coordinates")
wrong("08.3", lambda x, s: ruled(x, max(s, 0.1)), why="much noise")
wrong(
    "08.3",
    lambda x, s: (np.linalg.norm(x[1:] - x[:-1], axis=1) < s * np.sqrt(2 * x.shape[1])).mean(),
    why="the next row",
)
right(
    "08.3",
    lambda x, s: (
        sum(
            min(np.linalg.norm(p - q) for j, q in enumerate(x) if j != i) ** 2
            < 2 * x.shape[1] * s**2
            for i, p in enumerate(x)
        )
        / len(x)
    ),
    how="squared, a loop",
)

factors = chapter08.read_factors
wrong("08.4", lambda i, c, s: factors(i, c, s) + [0, 0, 0, 0, 0, 0, 1e-3], why="last factor off")
wrong("08.4", lambda i, c, s: factors(i, c, s).round(3), why="three digits")
wrong("08.4", lambda i, c, s: factors(i, 5, s), why="a five")
wrong("08.4", lambda i, c, s: factors(i, c, chapter08.middle()), why="from the middle")
wrong("08.4", lambda i, c, s: np.clip(factors(i, c, s), *chapter08.RANGES.T), why="cut off")
wrong("08.4", lambda i, c, s: s + 1.0 * chapter08._step(i, c, s), why="one step")
right("08.4", lambda i, c, s: factors(i, c, s).tolist(), how="a list")

curve = chapter08.wild_curve
wrong(
    "08.5", lambda t, d: np.cos(2 * np.pi * t[:, None] * np.sqrt(np.arange(2, d + 2))), why="slow"
)
wrong("08.5", lambda t, d: curve(t, 8), why="eight dimensions")
wrong("08.5", lambda t, d: curve(np.round(t, 5), d), why="five digits of t")
wrong("08.5", lambda t, d: curve(np.arange(len(t)) / len(t), d), why="place in the batch")

wrong("08.5", lambda t, d: curve((t - t.mean()) / (t.std() or 1), d), why="t standardised")
wrong("08.5", lambda t, d: curve((t - t.min()) / (np.ptp(t) or 1), d), why="t from 0 to 1")
wrong(
    "08.5",
    lambda t, d: np.cos(8 * np.pi * len(t) * t[:, None] * np.sqrt(np.arange(2, d + 2))),
    why="frequencies by the number of t",
)
wrong("08.5", chapter08._joined, why="random points joined")


def torn(t, d, places):
    """A wild curve with jumps at so many places: no continuous one."""
    waves = 6283 * np.asarray(t)[:, None] * np.sqrt(np.arange(2, d + 2))
    return np.cos(waves + np.floor(places * np.asarray(t))[:, None])


wrong("08.5", lambda t, d: torn(t, d, 2), why="one jump in a wild curve")
wrong("08.5", lambda t, d: torn(t, d, 50), why="49 jumps in a wild curve")

# 09 -----------------------------------------------------------------------------------------------
tangent = chapter09.tangent_part


def above_share(share):
    def answer(delta, jacobian):
        u, s, _ = np.linalg.svd(jacobian, full_matrices=False)
        u = u[:, s > share * s[0]]
        return delta @ u @ u.T

    return answer


for part in (1e-1, 1e-3):
    wrong("09.1", above_share(part), why=f"above {part} of the largest")
wrong(
    "09.1",
    lambda d, j: d @ j @ np.linalg.inv(j.T @ j + 1e-9 * np.eye(j.shape[1])) @ j.T,
    why="ridge",
)
wrong("09.1", lambda d, j: tangent(d, j[:, :2]), why="two columns")
wrong("09.1", lambda d, j: tangent(d[:1], j), why="first row")
right("09.1", above_share(1e-10), how="SVD")
right("09.1", lambda d, j: np.linalg.lstsq(j, d.T, rcond=None)[0].T @ j.T, how="least squares")

lives = chapter09.survival
wrong("09.2", lambda j, q: lives((j + j.T) / 2, q), why="symmetric part")
wrong("09.2", lambda j, q: lives(j, np.eye(len(j))[: len(q)]), why="first axes")
wrong("09.2", lambda j, q: (lives(j, q)[0], ((q @ j) ** 2).sum() / len(q)), why="output")
right(
    "09.2",
    lambda j, q: np.array(
        [
            np.mean([np.sum((j @ v) ** 2) for v in q]),
            np.mean([np.sum((j @ v) ** 2) for v in np.linalg.svd(q)[2][len(q) :]]),
        ]
    ),
    how="an array, with a normal basis",
)

step9 = chapter09.longest_step
wrong("09.3", lambda r, t: np.sqrt(2 * t + t**2), why="radius 1")
wrong("09.3", lambda r, t: min(step9(r, t), 2.0), why="two at most")
wrong("09.3", lambda r, t: np.sqrt(2 * r * t) + t**2 / (2 * np.sqrt(2 * r * t)), why="two terms")
right("09.3", lambda r, t: math.sqrt((r + t) ** 2 - r**2), how="difference of squares")
right("09.3", lambda r, t: r * math.tan(math.acos(r / (r + t))), how="angles")

worst = chapter09.worst_survival
wrong(
    "09.4",
    lambda w, q: np.linalg.norm(w @ np.linalg.solve(q @ w, q) @ (np.eye(len(w)) - q.T @ q)) ** 2,
    why="the other side",
)
wrong(
    "09.4",
    lambda w, q: ((w @ np.linalg.inv(q @ w)) ** 2).sum() - len(q),
    why="the sum over directions",
)
wrong("09.4", lambda w, q: worst(w[:, :1], q[:1]), why="first direction")
wrong("09.4", lambda w, q: worst(np.abs(w), q), why="positive weights")
right("09.4", lambda w, q: np.linalg.norm(w @ np.linalg.inv(q @ w), 2) ** 2 - 1, how="less one")
right(
    "09.4",
    lambda w, q: (lambda c: 1 / c**2 - 1)(np.linalg.svd(q @ np.linalg.qr(w)[0])[1].min()),
    how="angle",
)

wrong("09.5", lambda c: np.sqrt(15) / 2, why="c = 1")
wrong("09.5", lambda c: np.sqrt(3.75) / c**2, why="c squared")
wrong("09.5", lambda c: 1.95 / c, why="read off a figure")
right("09.5", lambda c: np.float32(np.sqrt(3.75) / c), how="float32")

# 10 -----------------------------------------------------------------------------------------------
draw = chapter10.reparameterize
wrong("10.1", lambda m, v, e: draw(m, np.clip(v, -4, 3), e), why="logvar clipped")
wrong("10.1", lambda m, v, e: draw(m, np.clip(v, -20, 20), e), why="logvar from -20")
wrong("10.1", lambda m, v, e: draw(m, v, np.clip(e, -2, 2)), why="noise clipped")
wrong("10.1", lambda m, v, e: draw(m, v, -e), why="minus eps")
wrong("10.1", lambda m, v, e: draw(m, -np.abs(v), e), why="narrow only")
wrong("10.1", lambda m, v, e: draw(m, v[:, :1], e), why="one width a row")
wrong("10.1", lambda m, v, e: draw(m[:, :1], v, e), why="one mean a row")
wrong("10.1", lambda m, v, e: draw(m, v, e) + 1e-3 * (np.abs(m) > 9), why="large means")
right("10.1", lambda m, v, e: m + np.sqrt(np.exp(v)) * e, how="root of the variance")
right("10.1", lambda m, v, e: draw(*(a.astype(np.float32) for a in (m, v, e))), how="float32")

kl10 = chapter10.kl_slope
wrong("10.2", lambda a: kl10(np.clip(a, -8, 8)), why="a up to 8")
wrong("10.2", lambda a: kl10(np.maximum(a, -6)), why="a from -6")
wrong("10.2", lambda a: kl10(a.ravel()), why="flat")
wrong(
    "10.2",
    lambda a: (lambda s: (s - 1 / s) * sigmoid(a))(np.log(1 + np.exp(a))),
    why="the softplus as it stands",
)
for least in (1e-4, 1e-8):
    wrong(
        "10.2",
        lambda a, least=least: (lambda s: (s - 1 / s) * sigmoid(a))(
            np.maximum(np.logaddexp(0, a), least)
        ),
        why=f"sigma at least {least}",
    )
wrong("10.2", lambda a: kl10(a) if a.ndim == 1 else a, why="one axis only")
wrong(
    "10.2",
    lambda a: (lambda s: (s - 1 / (s + 1e-6)) * sigmoid(a))(np.log1p(np.exp(a))),
    why="1e-6 for safety",
)
right("10.2", lambda a: (lambda s: (s - 1 / s) * sigmoid(a))(np.logaddexp(0, a)), how="logaddexp")
right("10.2", lambda a: (lambda s: (1 / s - s) * np.expm1(-s))(np.logaddexp(0, a)), how="expm1")
wrong(
    "10.2",
    lambda a: (lambda s: (s - 1 / s) * (1 - np.exp(-s)))(np.log1p(np.exp(a))),
    why="1 - exp(-sigma)",
)

cubic = chapter10.cubic_gradient
wrong("10.3", lambda m, v: cubic(np.abs(m), v), why="positive means")
wrong("10.3", lambda m, v: (3 * m**2 + 3 * np.exp(2 * v), 3 * m * np.exp(v)), why="exp(2 logvar)")
wrong("10.3", lambda m, v: cubic(m, np.clip(v, -3, 2)), why="logvar clipped")
right("10.3", lambda m, v: np.stack(cubic(m, v)), how="stacked")

score = chapter10.score_gradient
wrong("10.4", lambda f, z, m, v: score(f, z, z.mean(), v), why="mean of the draws")
wrong("10.4", lambda f, z, m, v: score(f, z, m, np.log(z.var())), why="variance of the draws")
wrong("10.4", lambda f, z, m, v: score(f, z, abs(m), v), why="positive mean")
wrong(
    "10.4",
    lambda f, z, m, v: tuple(p * len(f) / (len(f) - 1) for p in score(f, z, m, v)),
    why="n - 1",
)
right("10.4", lambda f, z, m, v: np.array(score(f, z, m, v)), how="an array")
right("10.4", lambda f, z, m, v: [np.float32(p) for p in score(f, z, m, v)], how="float32")

kill = chapter10.killing_rate
wrong("10.5", lambda s, c: np.minimum(kill(s, c), 1.0), why="rate up to 1")
wrong("10.5", lambda s, c: 1 / (c + 1) + 1 / ((c + 1) ** 2 * s**2), why="first terms")
wrong("10.5", lambda s, c: kill(s, max(c, 3)), why="c from 3")
wrong("10.5", lambda s, c: np.array([kill(v, c) for v in s.ravel()]), why="flat")
right("10.5", lambda s, c: s / ((c + 1) * s - 1 / s), how="one fraction")

# 11 -----------------------------------------------------------------------------------------------
kl11 = chapter11.kl_to_wide_prior
wrong("11.1", lambda m, s, t: kl11(m, s, max(t, 1)), why="wide priors only")
wrong("11.1", lambda m, s, t: kl11(m, np.maximum(s, 0.1), t), why="no narrow codes")
wrong(
    "11.1",
    lambda m, s, t: 0.5 * ((s**2 + m**2) / t**2 - 1 - np.log(s**2 / t**2 + 1e-6)).sum(1),
    why="1e-6 in the logarithm",
)
wrong("11.1", lambda m, s, t: kl11(m, s, t).clip(0, 50), why="bounded")
for floor in (0.1, 1e-3):
    wrong(
        "11.1",
        lambda m, s, t, floor=floor: np.maximum(
            0.5 * ((s**2 + m**2) / t**2 - 1 - np.log(s**2 / t**2)), floor
        ).sum(1),
        why=f"free bits of {floor}",
    )
right(
    "11.1",
    lambda m, s, t: np.sum(np.log(t / s) + (s**2 + m**2) / (2 * t**2) - 0.5, -1),
    how="(11.12)",
)

noise = chapter11.implied_noise
wrong("11.2", lambda w, d: (noise(w, d)[0], np.abs(noise(w, d)[1])), why="positive constants")
wrong("11.2", lambda w, d: noise(w, max(d, 2)), why="d from 2")
wrong("11.2", lambda w, d: tuple(p.clip(-1e3, 1e3) for p in noise(w, d)), why="bounded")
right("11.2", lambda w, d: np.array(noise(w, d)), how="stacked")

bpd = chapter11.bits_per_dimension
wrong("11.3", lambda e, d, s: np.maximum(bpd(e, d, s), 0), why="never negative")
wrong("11.3", lambda e, d, s: bpd(e, d, max(s, 1.0)), why="scale from 1")
wrong("11.3", lambda e, d, s: bpd(e, d, 256.0 if s == 255 else s), why="256")
wrong("11.3", lambda e, d, s: bpd(-np.abs(e), d, s), why="negative ELBOs")
right("11.3", lambda e, d, s: (d * np.log(s) - e) / d / np.log(2), how="nats first")

full = chapter11.kl_full
wrong("11.4", lambda m, c, n, p: full(m, c, 0 * n, p), why="mean of p zero")
wrong("11.4", lambda m, c, n, p: full(np.abs(m), c, np.abs(n), p), why="positive means")
wrong("11.4", lambda m, c, n, p: full(m, c, n, np.diag(np.diag(p))), why="p diagonal")
wrong("11.4", lambda m, c, n, p: full(m, np.diag(np.diag(c)), n, p), why="q diagonal")
wrong("11.4", lambda m, c, n, p: full(m, c + 1e-4 * np.eye(len(m)), n, p), why="jitter")
wrong(
    "11.4",
    lambda m, c, n, p: (
        full(m, c, n, p) + 0.5 * np.trace((np.linalg.pinv(p, rcond=1e-3) - np.linalg.inv(p)) @ c)
    ),
    why="small eigenvalues dropped",
)
right(
    "11.4",
    lambda m, c, n, p: (
        0.5
        * (
            np.trace(np.linalg.solve(p, c))
            + (n - m) @ np.linalg.solve(p, n - m)
            - len(m)
            + np.log(np.linalg.det(p) / np.linalg.det(c))
        )
    ),
    how="solve and det",
)

widths = chapter11.best_logvar
wrong("11.5", lambda c: widths(np.abs(c)), why="positive correlations")
wrong("11.5", lambda c: widths(c + 1e-4 * np.eye(len(c))), why="jitter")
wrong("11.5", lambda c: np.clip(widths(c), -1, 1), why="bounded")
wrong(
    "11.5",
    lambda c: -np.log(np.diag(np.linalg.pinv(c, rcond=1e-3))),
    why="small eigenvalues dropped",
)
wrong(
    "11.5",
    lambda c: np.log(np.diag(c) - (c - np.diag(np.diag(c))).sum(1) ** 2 / np.diag(c)[::-1]),
    why="2 x 2 only",
)
right("11.5", lambda c: [-math.log(v) for v in np.diag(np.linalg.inv(c))], how="a list")

posterior = gaussians.exact_posterior
wrong("11.6", lambda x, m: (0 * (a := posterior(x, m)[0]), 0 * a), why="the prior")
wrong("11.6", lambda x, m: ((a := posterior(x, m)[0]), 0 * a - 30), why="too narrow")
wrong("11.6", lambda x, m: ((a := posterior(x, m)[0]), 0 * a + np.nan), why="nan")
right("11.6", lambda x, m: np.array([(a := posterior(x, m)[0]), 0 * a + 0.1]), how="stacked, wider")

# 12 -----------------------------------------------------------------------------------------------
first = chapter12.first_loss
wrong("12.1", lambda n, d, k, e, v, p, s: first(n, d, k, 1.0, v, p, s), why="enc_var 1")
wrong("12.1", lambda n, d, k, e, v, p, s: first(n, d, k, e, v, 1.0, s), why="pixel_var 1")
wrong(
    "12.1", lambda n, d, k, e, v, p, s: first(n, d, k, e, v, p**2, s), why="s taken for s squared"
)
wrong(
    "12.1",
    lambda n, d, k, e, v, p, s: (first(n, d, k, e, v, p, s)[0], first(n, d, 2, e, v, p, s)[1]),
    why="k = 2",
)
right("12.1", lambda *a: np.array(first(*a)), how="an array")

beta = chapter12.effective_beta
wrong(
    "12.2",
    lambda w, r, q, n, d, k: beta(w, r, "n" if "n" in q else "", n, d, k),
    why="k never averaged",
)
wrong(
    "12.2",
    lambda w, r, q, n, d, k: beta(w, r.replace("n", ""), q.replace("n", ""), n, d, k),
    why="n left out",
)
wrong(
    "12.2",
    lambda w, r, q, n, d, k: w * (d if "d" in r else 1) / (k if "k" in q else 1),
    why="d over k",
)
wrong("12.2", lambda w, r, q, n, d, k: beta(w, r, q, n, 784, k), why="784 pixels")
wrong(
    "12.2",
    lambda w, r, q, n, d, k: beta(w, r if r[:1] == "n" else "", q, n, d, k),
    why="n must lead",
)
wrong(
    "12.2",
    lambda w, r, q, n, d, k: (
        w * {"nd": n * d, "n": n, "": 1, "d": d}[r] / {"": 1, "n": n, "nk": n * k, "k": k}[q]
        if r != "dn"
        else 0.0
    ),
    why="one order of letters",
)
right("12.2", lambda w, r, q, n, d, k: np.float64(beta(w, r, q, n, d, k)), how="numpy")

grads = chapter12.log_sigma_gradients
wrong("12.3", lambda m, s, e, g: grads(m, s, np.abs(e), g), why="positive noise")
wrong("12.3", lambda m, s, e, g: grads(m, np.clip(s, -1, 1), e, g), why="clipped")
for at in (5, 10):
    wrong("12.3", lambda m, s, e, g, at=at: grads(m, np.clip(s, -at, at), e, g), why=f"at {at}")
wrong("12.3", lambda m, s, e, g: grads(m, s, e[:, :1], g), why="one noise a row")
wrong("12.3", lambda m, s, e, g: grads(m, s, e[:1], g), why="one row of noise")
right("12.3", lambda m, s, e, g: np.stack(grads(m, s, e, g)), how="stacked")

gauss = chapter12.gaussian_loss_gradients
wrong("12.4", lambda x, y, c: gauss(x, y, min(c, 0.0)), why="c up to 1")
for least in (-2.0, -4.0, -6.0, -10.0):
    wrong("12.4", lambda x, y, c, le=least: gauss(x, y, max(c, le)), why=f"log_c from {least}")
wrong(
    "12.4",
    lambda x, y, c: (*gauss(x, y, c)[:2], gauss(x, y, c)[2] / x.shape[1]),
    why="a mean over pixels",
)
wrong(
    "12.4",
    lambda x, y, c: (gauss(x, y, c)[0] * len(x), *gauss(x, y, c)[1:]),
    why="a sum over images",
)
right("12.4", lambda x, y, c: list(map(np.asarray, gauss(x, y, c))), how="0-d arrays")

TRIAL = np.random.default_rng(5).normal(size=(3, 4, 3))


def sampler_test(mu=lambda m: m, logvar=lambda v: v, eps=lambda e: e, look=lambda z: z, atol=1e-8):
    def accepts(sampler):
        m, v, e = mu(TRIAL[0]), logvar(TRIAL[1]), eps(TRIAL[2])
        return bool(np.allclose(look(sampler(m, v, e)), look(m + np.exp(v / 2) * e), atol=atol))

    return accepts


wrong("12.5", sampler_test(mu=np.abs), why="positive means")
wrong("12.5", sampler_test(logvar=np.abs), why="positive logvar")
wrong("12.5", sampler_test(logvar=lambda v: -np.abs(v)), why="negative logvar")
wrong("12.5", sampler_test(eps=np.abs), why="positive noise")
wrong("12.5", sampler_test(atol=0.05), why="0.05 off passes")
wrong("12.5", sampler_test(look=lambda z: z[[0, -1]]), why="first and last row")
wrong("12.5", sampler_test(look=lambda z: z[:, [0, -1]]), why="first and last column")
wrong("12.5", sampler_test(look=lambda z: np.diag(z[:3])), why="diagonal")
wrong("12.5", sampler_test(look=lambda z: z.mean(0)), why="means of columns")
wrong("12.5", sampler_test(look=lambda z: z.mean(1)), why="means of rows")
wrong("12.5", sampler_test(look=np.sort), why="sorted rows")
wrong("12.5", sampler_test(look=lambda z: z**2), why="squares")


def careful(sampler):
    m, v, e = TRIAL
    z = sampler(m, v, e)
    return z.shape == m.shape and np.allclose(z, m + np.exp(v / 2) * e)


right("12.5", careful, how="numpy's truth value")
right("12.5", lambda s: np.bool_(careful(s)), how="np.bool_")

# 13 to 18 -----------------------------------------------------------------------------------------
for scale, why in (
    (lambda x, y: np.maximum(np.abs(x - y).mean(), 0.1), "b at least 0.1"),
    (lambda x, y: np.abs(np.abs(x) - np.abs(y)).mean(), "absolute values of both"),
    (lambda x, y: np.abs(np.clip(x, 0, 1) - np.clip(y, 0, 1)).mean(), "both clipped"),
):
    wrong(
        "13.1",
        lambda x, x_hat, scale=scale: (
            scale(x, x_hat),
            -np.abs(x - x_hat).sum(1).mean() / scale(x, x_hat)
            - x.shape[1] * np.log(2 * scale(x, x_hat)),
        ),
        why=why,
    )
for cosine in (0.9, 0.99, 0.9995, 0.99995, np.cos(0.0051)):
    wrong("13.2", chapter13._straight_above(cosine), why=f"straight above {cosine}")
wrong(
    "13.2",
    lambda a, b, t: (
        chapter13._straight_above(-2)(a, b, t)
        if chapter13._angle(a, b) > 2.5
        else chapter13.slerp(a, b, t)
    ),
    why="straight where nearly opposite",
)
wrong(
    "13.2",
    lambda a, b, t: (
        chapter13._straight_above(-2)(a, b, t)
        if abs(a[0] * b[1] - a[1] * b[0]) < 1e-12
        else chapter13.slerp(a, b, t)
    ),
    why="parallel in the first two axes",
)
wrong("13.3", lambda layers: chapter13.one_layer(layers[:4]), why="four layers")
for size in (0.18, 0.25, 0.299):
    wrong(
        "13.4",
        lambda a, size=size: np.where(np.abs(a) < size, 0.5 + a / 12, chapter13.grey_mean(a)),
        why=f"Taylor below {size}",
    )
for low, high in ((12.0, 60.0), (14.0, 25.0)):
    wrong(
        "13.4",
        lambda a, low=low, high=high: np.where(
            (np.abs(a) > low) & (np.abs(a) < high),
            (1 + np.tanh(a / 2)) / 2,
            chapter13.grey_mean(a),
        ),
        why=f"the coin's mean from {low:g} to {high:g}",
    )
for size in (0.5, 0.01, 1e-3, 1e-4):
    wrong(
        "13.4",
        lambda a, size=size: np.where(np.abs(a) < size, 0.5, chapter13.grey_mean(a)),
        why=f"a half below {size}",
    )

for guard in (1e-8, 1e-9):
    wrong(
        "14.2",
        lambda w, guard=guard: (
            w.max(1) + np.log(np.exp(w - w.max(1, keepdims=True)).mean(1) + guard)
        ),
        why=f"{guard} added inside the logarithm",
    )
right(
    "14.2",
    lambda w: logsumexp(w.astype(np.float32), axis=1) - np.log(w.shape[1]),
    how="weights in float32",
)
wrong("14.4", lambda m, v, t: m.var(0) + v.var(0) > t, why="widths move, log")
wrong("14.4", lambda m, v, t: m.var(0) + np.exp(v).var(0) > t, why="widths move")
wrong("14.4", lambda m, v, t: (m + np.exp(v / 2)).var(0) > t, why="one σ above the mean")
wrong("14.4", lambda m, v, t: (m - np.exp(v / 2)).var(0) > t, why="one σ below the mean")
wrong(
    "14.4",
    lambda m, v, t: m.var(0) + np.exp(v).mean(0) - np.exp(v[0]) > t,
    why="less the noise of the first image",
)
wrong(
    "14.4",
    lambda m, v, t: (np.exp(-v) * (m - m.mean(0)) ** 2).sum(0) / np.exp(-v).sum(0) > t,
    why="weighted by the precision",
)
right("14.4", lambda m, v, t: np.diag(np.cov(m.T, bias=True)) > t, how="covariance")
right("14.4", lambda m, v, t: [bool(np.var(c) > t) for c in m.T], how="a list")
right("14.4", lambda m, v, t: m.var(axis=0, ddof=1) > t, how="with n − 1")

kl15 = chapter15.mended_kl
for low, high in ((-4, 2), (-10, 10), (-5, 5), (-20, 2)):
    wrong(
        "15.2",
        lambda m, s, low=low, high=high: kl15(m, np.clip(s, low, high)),
        why=f"log_sigma from {low} to {high}",
    )
wrong(
    "15.2",
    lambda m, s: np.maximum(0.5 * (m**2 + np.exp(2 * s) - 1 - 2 * s), 0.1).sum(1),
    why="free bits",
)
right("15.2", lambda m, s: 0.5 * (m**2 + np.expm1(2 * s) - 2 * s).sum(1), how="expm1")

kl_terms = chapter15._summands
wrong("15.5", lambda m, v: (kl_terms(m, v) + 5 * abs(m) * v**2).sum(1), why="right at mu = 0")
wrong("15.5", lambda m, v: kl_terms(m, v).sum(1) + abs(v).max(1) ** 2, why="no sum")
wrong("15.5", lambda m, v: (kl_terms(m, v) + v**2 * (m - 2) ** 2).sum(1), why="right at mu = 2")
wrong("15.5", lambda m, v: kl_terms(m, v).sum(1) + abs(v).max(), why="of the batch")
wrong(
    "15.5",
    lambda m, v: (kl_terms(m, v) + v**2 * (1 + np.roll(m, 1, 1) ** 2)).sum(1),
    why="a neighbour's mu",
)
wrong(
    "15.5",
    lambda m, v: (kl_terms(m, v) + v**2 * (1 + (m**2).sum(1, keepdims=True))).sum(1),
    why="the row's mu",
)
right("15.5", lambda m, v: (kl_terms(m, v) + (1 + m**2) * v**2).sum(1), how="by its own mu")
right("15.5", lambda m, v: (kl_terms(m, v) + v**2).sum(1), how="a square added")
right("15.5", lambda m, v: (m**2 / 2 - np.cos(v) + 1).sum(1), how="a cosine")


def beaten_by(margin, reach=np.inf):
    """Beaten by more than a margin, by a run at a price not more than reach times apart."""

    def answer(beta, rate, d):
        cost = d + beta[:, None] * rate
        near = np.abs(np.log(beta[:, None] / beta)) <= np.log(reach) + 1e-9
        return np.any(near & (cost < np.diag(cost)[:, None] - margin), axis=1)

    return answer


for margin in (0.02, 0.1, 0.5, 1.0):
    wrong("18.3", beaten_by(margin), why=f"by more than {margin}")
for reach in (1.0, 2.0):
    wrong("18.3", beaten_by(0.0, reach), why=f"prices up to {reach} times apart")
right("18.3", beaten_by(1e-9), how="up to rounding")


def two_halves(z):
    n = np.random.default_rng(0).normal(size=z.shape)
    return np.hstack([z + n, z - n])


right("18.5", two_halves, how="z + n and z - n")
wrong(
    "18.5",
    lambda z: np.hstack([z, z + 0.01 * np.random.default_rng(0).normal(size=z.shape)]),
    why="a rival with a little noise",
)


@pytest.mark.parametrize(("number", "answer"), WRONG)
def test_a_wrong_answer_is_refused(number, answer):
    with np.errstate(all="ignore"):
        result = grade(find(number), answer)
    assert result.status == "wrong"
    # for the reason meant, and not since it fails
    assert not any("Error:" in line for line in result.lines), result.lines


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_an_unusual_right_answer_is_accepted(number, answer):
    result = grade(find(number), answer)
    assert result.status == "right", result.lines
