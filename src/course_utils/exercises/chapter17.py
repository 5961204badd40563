"""The exercises of chapter 17, Convolutional and conditional VAEs."""

from itertools import pairwise
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake


# 17.1 --------------------------------------------------------------------------------------------
def sizes(size: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Side of the output of a convolution, and of the transposed one, for the same input side."""
    down = (size + 2 * padding - kernel) // stride + 1
    return down, (size - 1) * stride + kernel - 2 * padding


def _sizes(convolution: Any, transposed: Any) -> Any:
    def answer(size: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
        right = sizes(size, kernel, stride, padding)
        return (
            convolution(size, kernel, stride, padding) if convolution else right[0],
            transposed(size, kernel, stride, padding) if transposed else right[1],
        )

    return answer


EXERCISE_1 = Exercise(
    number="17.1",
    solution=(sizes,),
    cases=lambda: [
        {"size": 28, "kernel": 4, "stride": 2, "padding": 1},
        {"size": 12, "kernel": 5, "stride": 3, "padding": 2},
        {"size": 9, "kernel": 3, "stride": 4, "padding": 0},
        {"size": 31, "kernel": 6, "stride": 1, "padding": 3},
        {"size": 5, "kernel": 7, "stride": 2, "padding": 1},  # one window fits, and no step
        {"size": 2, "kernel": 5, "stride": 3, "padding": 2},
    ],
    mistakes=(
        Mistake(
            "the padding is on both sides: 2p.",
            (_sizes(lambda n, k, s, p: (n + p - k) // s + 1, None),),
        ),
        Mistake(
            "no padding in the convolution's size.",
            (_sizes(lambda n, k, s, p: (n - k) // s + 1, None),),
        ),
        Mistake(
            "rounded up. A window that does not fit whole is not used: round down.",
            (_sizes(lambda n, k, s, p: -(-(n + 2 * p - k) // s) + 1, None),),
        ),
        Mistake(
            "not rounded. A size is a whole number: // in place of /.",
            (_sizes(lambda n, k, s, p: (n + 2 * p - k) / s + 1, None),),
        ),
        Mistake(
            "one short: with room for 0 steps there is still the first window.",
            (_sizes(lambda n, k, s, p: (n + 2 * p - k) // s, None),),
        ),
        Mistake(
            "the transposed size is not always size times stride: that holds for k = s + 2p.",
            (_sizes(None, lambda n, k, s, p: n * s),),
        ),
        Mistake(
            "a transposed convolution crops by p on each side, it does not add.",
            (_sizes(None, lambda n, k, s, p: (n - 1) * s + 2 * p + k),),
        ),
        Mistake(
            "n kernels laid down with stride s start at 0, s, …, (n − 1) s, not n s.",
            (_sizes(None, lambda n, k, s, p: n * s - 2 * p + k),),
        ),
    ),
    hints=(
        "Convolution: the first window starts at 0, the last at or before size + 2p − k.",
        "Transposed: each of the inputs lays down a kernel; the last one starts at (size − 1) s.",
        "(size + 2p − k) // s + 1 and (size − 1) s + k − 2p.",
    ),
)


# 17.2 --------------------------------------------------------------------------------------------
def count_parameters(
    height: int, width: int, latent_dim: int, channels: tuple[int, ...]
) -> tuple[int, int]:
    """Parameters of a ConvVAE's encoder and decoder: 4 × 4 kernels, stride 2, padding 1."""
    shrink = 2 ** len(channels)
    n_features = channels[-1] * (height // shrink) * (width // shrink)
    encoder = 2 * latent_dim * (n_features + 1)  # two heads
    decoder = n_features * (latent_dim + 1)
    for small, large in pairwise((1, *channels)):
        encoder += 16 * small * large + large  # a bias for each map that is made
        decoder += 16 * small * large + small
    return encoder, decoder


def _count(
    height: int,
    width: int,
    latent_dim: int,
    channels: tuple[int, ...],
    *,
    taps: int = 16,
    bias: int = 1,
    heads: int = 2,
    halves: int | None = None,
    out_bias_of_input: bool = False,
) -> tuple[int, int]:
    side = 2 ** (len(channels) if halves is None else halves)
    n_features = channels[-1] * (height // side) * (width // side)
    pairs = list(zip((1, *channels[:-1]), channels, strict=True))
    encoder = sum(taps * a * b + bias * b for a, b in pairs) + heads * latent_dim * (
        n_features + bias
    )
    decoder = sum(taps * a * b + bias * (b if out_bias_of_input else a) for a, b in pairs)
    return encoder, decoder + n_features * (latent_dim + bias)


EXERCISE_2 = Exercise(
    number="17.2",
    solution=(count_parameters,),
    cases=lambda: [
        {"height": 8, "width": 8, "latent_dim": 2, "channels": (4,)},
        {"height": 28, "width": 20, "latent_dim": 5, "channels": (3, 7)},
        {"height": 32, "width": 16, "latent_dim": 9, "channels": (6, 5, 11)},
    ],
    mistakes=(
        Mistake("no biases.", (lambda *case: _count(*case, bias=0),)),
        Mistake("the encoder has two heads.", (lambda *case: _count(*case, heads=1),)),
        Mistake(
            "a kernel of side 4 has 4 × 4 weights for each pair of channels.",
            (lambda *case: _count(*case, taps=4),),
        ),
        Mistake(
            "the maps that the heads read are smaller: each convolution halves both sides.",
            (lambda *case: _count(*case, halves=0),),
        ),
        Mistake(
            "a transposed convolution has a bias for each map that it makes, not that it reads.",
            (lambda *case: _count(*case, out_bias_of_input=True),),
        ),
    ),
    hints=(
        "A convolution from a to b channels: 16 a b weights and b biases.",
        "After m convolutions the maps have height / 2^m rows and width / 2^m columns.",
        "Decoder: a dense layer to the maps, then transposed convolutions down to one channel.",
    ),
)


# 17.3 --------------------------------------------------------------------------------------------
def conv_transpose_1d(y: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Lay down y_i w at i · stride, add up, crop p on either side: (m,), (k,) -> one row."""
    out = np.zeros((len(y) - 1) * stride + len(w))
    for i, value in enumerate(y):
        out[i * stride : i * stride + len(w)] += value * w
    return out[padding : len(out) - padding]  # not [padding:-padding]: that is empty for 0


def _overwriting(y: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    out = np.zeros((len(y) - 1) * stride + len(w))
    for i, value in enumerate(y):
        out[i * stride : i * stride + len(w)] = value * w
    return out[padding : len(out) - padding]


def _cases_3() -> list[Case]:
    rng = np.random.default_rng(173)
    return [
        {"y": np.array([1.0, 10.0]), "w": np.array([1.0, 2.0, 3.0]), "stride": 2, "padding": 0},
        {"y": rng.normal(size=5), "w": rng.normal(size=4), "stride": 2, "padding": 1},
        {"y": rng.normal(size=6), "w": rng.normal(size=5), "stride": 3, "padding": 2},
        {"y": rng.normal(size=4), "w": rng.normal(size=2), "stride": 3, "padding": 0},  # gaps
        {"y": rng.normal(size=1), "w": rng.normal(size=3), "stride": 2, "padding": 1},
        {"y": rng.normal(size=7), "w": rng.normal(size=5), "stride": 1, "padding": 2},  # five deep
    ]


def _cropped_by_a_slice(y: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    return conv_transpose_1d(y, w, stride, 0)[padding:-padding]


def _cropped_at_the_end(y: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    full = conv_transpose_1d(y, w, stride, 0)
    return full[: len(full) - 2 * padding]


def _at_most_two(y: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    short = w[: 2 * stride]
    full = np.zeros((len(y) - 1) * stride + len(w))
    part = conv_transpose_1d(y, short, stride, 0)
    full[: len(part)] = part
    return full[padding : len(full) - padding]


EXERCISE_3 = Exercise(
    number="17.3",
    solution=(conv_transpose_1d,),
    cases=_cases_3,
    mistakes=(
        Mistake("where kernels overlap they add up; here the later one wins.", (_overwriting,)),
        Mistake(
            "more than two copies overlap where the kernel is longer than twice the stride.",
            (_at_most_two,),
        ),
        Mistake(
            "the kernel is laid down mirrored.",
            (lambda y, w, s, p: conv_transpose_1d(y, w[::-1], s, p),),
        ),
        Mistake(
            "not cropped: padding takes p numbers off either end.",
            (lambda y, w, s, p: conv_transpose_1d(y, w, s, 0),),
        ),
        Mistake(
            "[padding:-padding] is empty where padding is 0.",
            (_cropped_by_a_slice,),
        ),
        Mistake(
            "cropped at one end only: padding takes p numbers off either end.",
            (_cropped_at_the_end,),
        ),
        Mistake(
            "the stride is that of the output: kernel i begins at i · stride.",
            (lambda y, w, s, p: conv_transpose_1d(y, w, 1, p),),
        ),
        Mistake(
            "this is the convolution, which makes a short row shorter.",
            (lambda y, w, s, p: np.correlate(np.pad(y, p), w, "valid")[::s],),
        ),
    ),
    hints=(
        "Start from zeros of length (m − 1) · stride + k.",
        "For each i add y[i] · w at the places i · stride … i · stride + k − 1.",
        "At the end drop `padding` numbers on either side; mind padding = 0.",
    ),
)


# 17.4 --------------------------------------------------------------------------------------------
def rows_with_labels(x: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Append one-hot labels: (n, d), (n,) -> (n, d + n_classes)."""
    return np.hstack([x, np.eye(n_classes)[y]])


def _cases_4() -> list[Case]:
    x = np.random.default_rng(174).random((4, 4))
    return [
        {"x": np.array([[0.5, 0.25], [0.1, 0.9]]), "y": np.array([2, 0]), "n_classes": 3},
        {"x": x, "y": np.array([1, 1, 0, 2]), "n_classes": 4},
        {"x": x[:3], "y": np.array([0, 1, 0]), "n_classes": 3},
        {"x": -3 * x[:1], "y": np.array([4]), "n_classes": 6},  # one row, below 0
    ]


EXERCISE_4 = Exercise(
    number="17.4",
    solution=(rows_with_labels,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "the classes were counted in y: a batch without the last class gets too few columns.",
            (lambda x, y, n: rows_with_labels(x, y, int(y.max()) + 1),),
        ),
        Mistake(
            "the label as one number: class 2 would be twice class 1.",
            (lambda x, y, n: np.concatenate([x, y[:, None]], axis=1),),
        ),
        Mistake(
            "counted from 1: label 0 is the first column.",
            (lambda x, y, n: rows_with_labels(x, y - 1, n),),
        ),
        Mistake(
            "one-hot along the wrong axis: each row is an image, not a class.",
            (
                lambda x, y, n: np.concatenate(
                    [x, rows_with_labels(x, y, len(y))[:, -len(y) :].T], axis=1
                ),
            ),
        ),
        Mistake(
            "the classes that came by, not all classes: np.unique leaves out the others.",
            (
                lambda x, y, n: np.concatenate(
                    [x, (y[:, None] == np.unique(y)).astype(float)], axis=1
                ),
            ),
        ),
        Mistake(
            "the label stands before the image.",
            (lambda x, y, n: np.roll(rows_with_labels(x, y, n), n, axis=1),),
        ),
    ),
    hints=(
        "np.eye(n_classes) has the one-hot vector of class c as row c.",
        "np.eye(n_classes)[y] picks a row for each label: (n, n_classes).",
        "np.hstack puts it beside the images.",
    ),
)


# 17.5 --------------------------------------------------------------------------------------------
# ln p(x|y) = ln Σ_z q(z) p(z) p(x|z, y) / q(z) ≥ Σ_z q(z) ln [p(z) p(x|z, y) / q(z)], by Jensen.
# Split the logarithm: the reconstruction, less the KL.
def conditional_elbo(
    x: int, y: int, prior: np.ndarray, p_x: np.ndarray, q: np.ndarray
) -> tuple[float, float]:
    """Conditional ELBO and ln p(x|y) of a discrete model, p_x[y, z, x] = p(x|z, y)."""
    given = p_x[y, :, x]  # p(x|z, y) for every z
    return q @ np.log(given) - q @ np.log(q / prior), np.log(prior @ given)


def _tables(seed: int, n_y: int, n_z: int, n_x: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        rng.dirichlet(np.ones(n_z)),
        rng.dirichlet(np.ones(n_x), size=(n_y, n_z)),
        rng.dirichlet(np.ones(n_z)),
    )


def _cases_5() -> list[Case]:
    found: list[Case] = [
        {
            "x": 0,
            "y": 1,
            "prior": np.array([0.5, 0.5]),
            "p_x": np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.7, 0.3]]]),
            "q": np.array([0.25, 0.75]),
        }
    ]
    for seed, x, y, shape in ((1751, 3, 0, (2, 3, 5)), (1752, 1, 3, (4, 6, 3))):
        prior, p_x, q = _tables(seed, *shape)
        found.append({"x": x, "y": y, "prior": prior, "p_x": p_x, "q": q})
    return found


def _elbo(value: Any) -> Any:
    def answer(
        x: int, y: int, prior: np.ndarray, p_x: np.ndarray, q: np.ndarray
    ) -> tuple[float, float]:
        return value(x, y, prior, p_x, q), conditional_elbo(x, y, prior, p_x, q)[1]

    return answer


EXERCISE_5 = Exercise(
    number="17.5",
    solution=(conditional_elbo,),
    cases=_cases_5,
    mistakes=(
        Mistake(
            "the KL has the wrong sign: a wide q is paid for, not rewarded.",
            (_elbo(lambda x, y, prior, p_x, q: q @ np.log(p_x[y, :, x]) + q @ np.log(q / prior)),),
        ),
        Mistake(
            "averaged over z under the prior. The bound's mean is under q.",
            (_elbo(lambda x, y, prior, p_x, q: prior @ np.log(prior * p_x[y, :, x] / q)),),
        ),
        Mistake(
            "the class was averaged out. Given y, only the table p_x[y] counts.",
            (
                lambda x, y, prior, p_x, q: conditional_elbo(
                    x, 0, prior, p_x.mean(axis=0, keepdims=True), q
                ),
            ),
        ),
        Mistake(
            "ln p(y) of equal classes is in it: that bounds ln p(x, y), not ln p(x|y).",
            (lambda *case: tuple(part - np.log(len(case[3])) for part in conditional_elbo(*case)),),
        ),
        Mistake(
            "the KL is missing: reconstruction only.",
            (_elbo(lambda x, y, prior, p_x, q: q @ np.log(p_x[y, :, x])),),
        ),
        Mistake(
            "log2 gives bits. The bound is in nats.",
            (lambda *case: tuple(part / np.log(2) for part in conditional_elbo(*case)),),
        ),
        Mistake(
            "the other class's table: p_x[y, z, x] has the class first.",
            (lambda x, y, prior, p_x, q: conditional_elbo(x, (y + 1) % len(p_x), prior, p_x, q),),
        ),
        Mistake(
            "q for the prior in p(x|y): the mean over codes is under p(z).",
            (
                lambda x, y, prior, p_x, q: (
                    conditional_elbo(x, y, prior, p_x, q)[0],
                    np.log(q @ p_x[y, :, x]),
                ),
            ),
        ),
        Mistake(
            "the logarithm stands outside of the mean over q.",
            (_elbo(lambda x, y, prior, p_x, q: np.log(q @ p_x[y, :, x]) - q @ np.log(q / prior)),),
        ),
        Mistake(
            "the KL turned round, of the prior to q. Its mean is under q, too.",
            (
                _elbo(
                    lambda x, y, prior, p_x, q: q @ np.log(p_x[y, :, x]) - prior @ np.log(prior / q)
                ),
            ),
        ),
    ),
    hints=(
        "Pick p(x|z, y) for every z: p_x[y, :, x], a vector.",
        "ELBO = Σ_z q(z) [ln p(z) + ln p(x|z, y) − ln q(z)].",
        "p(x|y) = Σ_z p(z) p(x|z, y), and its logarithm comes last.",
    ),
)


# 17.6 --------------------------------------------------------------------------------------------
# For square images it is the mirror image at the diagonal: a round 0 looks right. And training of
# dense layers does not notice at all where encoder and decoder make the same mistake.
def as_shown(images: np.ndarray) -> np.ndarray:
    """What is seen where images were flattened column by column and shown row by row."""
    n, height, width = images.shape
    return images.transpose(0, 2, 1).reshape(n, height, width)


def _cases_6() -> list[Case]:
    images = np.random.default_rng(176).random((3, 4, 6))
    return [
        {"images": np.arange(6.0).reshape(1, 2, 3)},
        {"images": images},
        {"images": images[:2, :, :3]},
        {"images": images[:, :, :4] - 0.5},  # square: the mirror image
    ]


EXERCISE_6 = Exercise(
    number="17.6",
    solution=(as_shown,),
    cases=_cases_6,
    mistakes=(
        Mistake(
            "nothing is broken here: flattened row by row, shown row by row.",
            (lambda images: images.reshape(images.shape),),
        ),
        Mistake(
            "only turned over. The row of numbers is still cut into rows of the image's width.",
            (lambda images: images.transpose(0, 2, 1),),
        ),
        Mistake(
            "the order of the numbers is unchanged: first change it (columns first), then cut.",
            (lambda images: images.reshape(len(images), images.shape[2], images.shape[1]),),
        ),
        Mistake(
            "the images among themselves were mixed up: keep the first axis.",
            (lambda images: images.transpose(2, 1, 0).reshape(images.shape),),
        ),
        Mistake(
            "the other way round: flattened row by row, shown column by column.",
            (
                lambda images: images.reshape(
                    len(images), images.shape[2], images.shape[1]
                ).transpose(0, 2, 1),
            ),
        ),
    ),
    hints=(
        "Column by column: swap the last two axes, then flatten.",
        "Shown row by row: reshape the flat numbers to (n, height, width).",
        "images.transpose(0, 2, 1).reshape(n, height, width).",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5, EXERCISE_6)
