"""The exercises of chapter 13, A full VAE in PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake

Layer = tuple[np.ndarray, np.ndarray]


# 13.1 --------------------------------------------------------------------------------------------
# With S the mean over images of Σ|x − x̂|: the mean of ln p is −S/b − d ln(2b), its derivative
# S/b² − d/b. So b = S/d, and −S/b is −d whatever the residuals.
def best_laplace(x: np.ndarray, x_hat: np.ndarray) -> tuple[float, float]:
    """Best scale b for these residuals, and the mean over images of ln p(x|z) at it, in nats."""
    b = np.abs(x - x_hat).mean()
    return b, -x.shape[1] * (1 + np.log(2 * b))


def _images(seed: int, n: int, d: int, off: float) -> Case:
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, d))
    return {"x": x, "x_hat": x + off * rng.normal(size=(n, d))}


def _laplace_at(scale: Callable[[np.ndarray], float]) -> Any:
    def wrong(x: np.ndarray, x_hat: np.ndarray) -> tuple[float, float]:
        error, b = np.abs(x - x_hat), scale(np.abs(x - x_hat))
        return b, float(np.mean(-error.sum(axis=1) / b - x.shape[1] * np.log(2 * b)))

    return wrong


EXERCISE_1 = Exercise(
    number="13.1",
    solution=(best_laplace,),
    cases=lambda: [
        {"x": np.array([[0.0, 1.0], [0.5, 0.5]]), "x_hat": np.array([[0.1, 0.9], [0.8, 0.4]])},
        _images(131, 5, 7, off=0.01),
        _images(132, 30, 4, off=2.0),  # far outside [0, 1]
    ],
    mistakes=(
        Mistake(
            "the scale is a mean over images and pixels: b belongs to one pixel.",
            (_laplace_at(lambda error: error.sum(axis=1).mean()),),
        ),
        Mistake(
            "the root of the mean square is the best σ of a Gaussian.",
            (_laplace_at(lambda error: np.sqrt((error**2).mean())),),
        ),
        Mistake(
            "the median of the residuals is not their best scale. Set the derivative by b to zero.",
            (_laplace_at(lambda error: float(np.median(error))),),
        ),
        Mistake(
            "a mean over pixels too. ln p(x|z) of an image is the sum over its d pixels.",
            (lambda x, x_hat: tuple(best_laplace(x, x_hat) / np.array([1, x.shape[1]])),),
        ),
        Mistake(
            "the constant is missing: each pixel brings −ln(2b).",
            (lambda x, x_hat: (best_laplace(x, x_hat)[0], -x.shape[1] * 1.0),),
        ),
        Mistake(
            "the constant came once. Each of the d pixels has its own.",
            (
                lambda x, x_hat: (
                    best_laplace(x, x_hat)[0],
                    -x.shape[1] - np.log(2 * best_laplace(x, x_hat)[0]),
                ),
            ),
        ),
        Mistake(
            "the constant is ln(2b), not ln b: the density has two sides.",
            (
                lambda x, x_hat: (
                    best_laplace(x, x_hat)[0],
                    -x.shape[1] * (np.log(best_laplace(x, x_hat)[0]) + 1),
                ),
            ),
        ),
        Mistake(
            "a sum over images. The loss is a mean over images.",
            (
                lambda x, x_hat: (
                    best_laplace(x, x_hat)[0],
                    len(x) * best_laplace(x, x_hat)[1],
                ),
            ),
        ),
    ),
    hints=(
        "For one image ln p = −Σ|x − x̂| / b − d ln(2b). Take the mean over images first.",
        "Its derivative by b is S / b² − d / b, with S the mean over images of Σ|x − x̂|.",
        "So b = S / d, the mean absolute error per pixel, and the first term is −d there.",
    ),
)


# 13.2 --------------------------------------------------------------------------------------------
# For small ω the sine is its argument, and (13.5) becomes the straight path.
def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Spherical path from a to b (k,) at t (m,): (m, k); straight where the two are parallel."""
    t = t[:, None]
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    angle = np.arccos(np.clip(cosine, -1, 1))  # rounding may push a cosine beyond 1
    if np.sin(angle) < 1e-6:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def _slerp_with(angle_of: Callable[[np.ndarray, np.ndarray], float]) -> Any:
    def wrong(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
        angle, t = angle_of(a, b), t[:, None]
        return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)

    return wrong


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def _quiet(function: Any) -> Any:
    def wrong(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return function(a, b, t)

    return wrong


def _parallel_with_a_cosine_above_one() -> np.ndarray:
    """A code whose cosine with twice itself is rounded above 1, in either order of dividing."""
    rng = np.random.default_rng(1303)
    for _ in range(10_000):  # about one in ten does
        a = rng.normal(size=3)
        norms, b = (np.linalg.norm(a), np.linalg.norm(2 * a)), 2 * a
        if a @ b / (norms[0] * norms[1]) > 1 and a @ b / norms[0] / norms[1] > 1:
            break
    return a


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(1302)
    a, b = rng.normal(size=(2, 20))
    c = _parallel_with_a_cosine_above_one()
    near = 2 * np.array([np.cos(0.005), np.sin(0.005)])
    return [
        {"a": np.array([2.0, 0.0]), "b": np.array([0.0, 1.0]), "t": np.array([0.0, 0.5, 1.0])},
        {"a": a, "b": b, "t": np.array([0.1, 0.3, 0.7])},
        {"a": np.array([3.0, -4.0]), "b": np.array([6.0, -8.0]), "t": np.array([0.25, 0.5])},
        {"a": np.array([1.0, 0.0]), "b": near, "t": np.array([0.2, 0.5])},
        {"a": c, "b": 2 * c, "t": np.array([0.5])},
        {"a": np.array([1.0, 2.0, 2.0]), "b": np.array([0.5, 1.0, -1.0]), "t": np.array([0.4])},
        {"a": a, "b": 0.5 * b - 3 * a, "t": np.linspace(0, 1, 6)},  # nearly opposite
    ]


def _without_clip(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    cosine, t = a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), t[:, None]
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def _straight_above(cosine: float) -> Any:
    def wrong(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
        if np.cos(_angle(a, b)) > cosine:
            return (1 - t[:, None]) * a + t[:, None] * b
        return slerp(a, b, t)

    return wrong


EXERCISE_2 = Exercise(
    number="13.2",
    solution=(slerp,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "this is the straight path.",
            (lambda a, b, t: (1 - t[:, None]) * a + t[:, None] * b,),
        ),
        Mistake(
            "the parallel case: sin ω = 0 there. Its limit is the straight path.",
            (_quiet(_slerp_with(_angle)),),
        ),
        Mistake(
            "rounding can give parallel codes a cosine above 1, and its arccos is nan. Clip it.",
            (_quiet(_without_clip),),
        ),
        Mistake(
            "the straight path is the limit for ω → 0 only. At an angle of 0.02 the two differ in"
            " the fifth digit, and sin ω is far from rounding.",
            (_straight_above(0.9995),),
        ),
        Mistake(
            "the cosine needs vectors of length one: divide by both norms.",
            (_quiet(_slerp_with(lambda a, b: float(np.arccos(np.clip(a @ b, -1, 1))))),),
        ),
        Mistake(
            "this goes from b to a.",
            (lambda a, b, t: slerp(b, a, t),),
        ),
        Mistake(
            "the codes have lost their lengths: normalise for the angle only.",
            (lambda a, b, t: slerp(a / np.linalg.norm(a), b / np.linalg.norm(b), t),),
        ),
    ),
    hints=(
        "cos ω = a · b / (‖a‖ ‖b‖). Clip it to [−1, 1]: rounding can push it out.",
        "Give t the shape (m, 1), so that it multiplies rows.",
        "As ω → 0, sin((1 − t) ω) / sin ω → 1 − t. So return the straight path for tiny sin ω.",
    ),
)


# 13.3 --------------------------------------------------------------------------------------------
# What a layer adds passes through all layers after it.
def one_layer(layers: Sequence[Layer]) -> Layer:
    """One (w, b) with the same outputs x w + b as all the affine layers in turn."""
    w, b = layers[0]
    for next_w, next_b in layers[1:]:
        w, b = w @ next_w, b @ next_w + next_b
    return w, b


def _layers(seed: int, *sizes: int) -> tuple[Layer, ...]:
    rng = np.random.default_rng(seed)
    shapes = zip(sizes[:-1], sizes[1:], strict=True)
    return tuple((rng.normal(size=shape), rng.normal(size=shape[1])) for shape in shapes)


def _last_bias_only(layers: Sequence[Layer]) -> Layer:
    return one_layer(layers)[0], layers[-1][1]


def _first_bias_only(layers: Sequence[Layer]) -> Layer:
    b = layers[0][1]
    for next_w, _ in layers[1:]:
        b = b @ next_w
    return one_layer(layers)[0], b


def _column_order(layers: Sequence[Layer]) -> Layer:
    w, b = layers[0]
    for next_w, next_b in layers[1:]:
        w, b = next_w @ w, next_w @ b + next_b
    return w, b


def _product_on_bias(layers: Sequence[Layer]) -> Layer:
    w, b = layers[0]
    for next_w, next_b in layers[1:]:
        w = w @ next_w
        b = b @ w + next_b if b.shape[0] == w.shape[0] else b @ next_w + next_b
    return w, b


def _three_at_most(layers: Sequence[Layer]) -> Layer:
    return one_layer(layers[:3])


EXERCISE_3 = Exercise(
    number="13.3",
    solution=(one_layer,),
    cases=lambda: [
        {"layers": _layers(1330, 3, 3, 3)},
        {"layers": _layers(1331, 5, 4, 3, 2)},
        {"layers": _layers(1332, 2, 6)},
        {"layers": _layers(1333, 1, 2, 1, 2, 1, 3, 2)},
    ],
    mistakes=(
        Mistake(
            "the biases of the earlier layers went missing: later weights act on them too.",
            (_last_bias_only,),
        ),
        Mistake(
            "the biases of the later layers went missing.",
            (_first_bias_only,),
        ),
        Mistake(
            "this order is for columns, W x + b. Data are rows here: the first layer stands left.",
            (_column_order,),
        ),
        Mistake(
            "a bias meets the weights of the layers after it, not all that came before.",
            (_product_on_bias,),
        ),
        Mistake(
            "only the first three layers are used. There may be any number.",
            (_three_at_most,),
        ),
    ),
    hints=(
        "Put the first layer into the second: (x w₁ + b₁) w₂ + b₂. Multiply out.",
        "Two layers make w = w₁ w₂ and b = b₁ w₂ + b₂. Go on with these two as the first layer.",
    ),
)


# 13.4 --------------------------------------------------------------------------------------------
# The density is eᵃˣ / Z with Z = (eᵃ − 1)/a, and its mean is d ln Z / da = 1/(1 − e⁻ᵃ) − 1/a.
# 1/(1 − e⁻ᵃ) = ½ + ½ coth(a/2), which never overflows; near 0 the difference cancels: Taylor.
# It is nearer to ½ than p = σ(a): a picture of p is not the mean image of this model.
def grey_mean(a: np.ndarray) -> np.ndarray:
    """Mean of the density on [0, 1] that is proportional to p^x (1 − p)^(1 − x), p = sigmoid(a)."""
    a = np.asarray(a, dtype=np.float64)
    small = np.abs(a) < 1e-3
    safe = np.where(small, 1.0, a)
    return np.where(small, 0.5 + a / 12, 0.5 + 0.5 / np.tanh(safe / 2) - 1 / safe)


def _silent(function: Callable[[np.ndarray], np.ndarray]) -> Any:
    def wrong(a: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return function(a)

    return wrong


EXERCISE_4 = Exercise(
    number="13.4",
    solution=(grey_mean,),
    cases=lambda: [
        {"a": np.array([2.0, -3.0])},
        {"a": np.array([0.0, 0.7, -0.7])},
        {"a": np.append(np.linspace(-12, 12, 25), [13.0, -20.0, 30.0, -50.0])},
        {"a": np.array([[0.3, -1e-10, 2e-6, -9e-5], [0.004, 0.0, -0.2, 0.17]])},
        {"a": np.array([800.0, -800.0, 0.5, 9e-4])},
        {"a": np.array([[[0.002], [-5.0]], [[1e-7], [60.0]]], dtype=np.float32)},
    ],
    mistakes=(
        Mistake(
            "sigmoid(a) is the mean of a pixel that is 0 or 1. Here x takes all values between.",
            (_silent(lambda a: 1 / (1 + np.exp(-a))),),
        ),
        Mistake(
            "a = 0: zero over zero. The density is flat there, and its mean is ½.",
            (_silent(lambda a: 1 / (1 - np.exp(-a)) - 1 / a),),
        ),
        Mistake(
            "close to 0 two large numbers cancel. Take ½ + a / 12 there, not at 0 alone.",
            (
                _silent(
                    lambda a: np.where(
                        a == 0, 0.5, 1 / (1 - np.exp(-np.where(a, a, 1))) - 1 / np.where(a, a, 1)
                    )
                ),
            ),
        ),
        Mistake(
            "½ is the mean at a = 0 only. Its slope there is 1/12.",
            (lambda a: np.where(np.abs(a) < 0.5, 0.5, grey_mean(a)),),
        ),
        Mistake(
            "eᵃ overflows at 800, and infinity over infinity is nan. Use e⁻ᵃ, or the tanh.",
            (
                _silent(
                    lambda a: np.where(
                        np.abs(a) < 1e-3,
                        0.5 + a / 12,
                        np.exp(a.astype(float)) / np.expm1(a.astype(float)) - 1 / np.where(a, a, 1),
                    )
                ),
            ),
        ),
        Mistake(
            "in float32 the two terms cancel to four digits near a = 0.002. Compute in float64.",
            (
                _silent(
                    lambda a: np.where(
                        np.abs(a) < 1e-3,
                        0.5 + a / 12,
                        1 / (1 - np.exp(-a)) - 1 / np.where(a, a, np.ones_like(a)),
                    )
                ),
            ),
        ),
        Mistake(
            "this integral of x eᵃˣ still wants the division by that of eᵃˣ.",
            (
                _silent(
                    lambda a: np.where(
                        a == 0, 0.5, (np.exp(a) * (a - 1) + 1) / np.where(a, a, 1) ** 2
                    )
                ),
            ),
        ),
        Mistake(
            "the sign of a: large a must give means near 1.",
            (lambda a: grey_mean(-a),),
        ),
        Mistake(
            "the −1/a is missing. Derive the whole logarithm of the integral.",
            (_silent(lambda a: np.where(a == 0, 0.5, 1 / -np.expm1(-np.where(a, a, 1.0)))),),
        ),
    ),
    hints=(
        "p^x (1 − p)^(1 − x) = (1 − p) eᵃˣ, since a = ln p − ln(1 − p). So the density is ∝ eᵃˣ.",
        "Z(a) = ∫₀¹ eᵃˣ dx = (eᵃ − 1) / a, and the mean is d ln Z / da.",
        "1 / (1 − e⁻ᵃ) − 1 / a, in float64. The limit at 0 is ½; near it take ½ + a / 12.",
    ),
    rtol=1e-5,
)


# 13.5 --------------------------------------------------------------------------------------------
# Above 1 the floats are 2^(−bits) apart; at most half of that is rounded away. e⁻ᵃ = 2^(−bits − 1).
# In bfloat16 that is 5.5, and our trained decoder has logits above 6. On 16 bits torch.sigmoid
# rounds p alone: below 1 floats lie twice as close, so it gives 1 from about (bits + 2) ln 2 on,
# 6.2 in bfloat16 and 8.3 in float16.
def largest_safe_logit(bits: int) -> float:
    """Logit from which on 1 / (1 + e⁻ᵃ) is rounded to 1 in floats with so many fraction bits."""
    return float((bits + 1) * np.log(2))


EXERCISE_5 = Exercise(
    number="13.5",
    solution=(largest_safe_logit,),
    cases=lambda: [{"bits": 23}, {"bits": 10}, {"bits": 7}, {"bits": 52}],
    mistakes=(
        Mistake(
            "rounding goes to the nearest number: half the spacing is enough to be lost.",
            (lambda bits: bits * np.log(2),),
        ),
        Mistake(
            "that is in powers of two. A logit is a natural logarithm.",
            (lambda bits: bits + 1.0,),
        ),
        Mistake(
            "this is the spacing itself; the logit is minus the logarithm of half of it.",
            (lambda bits: 2.0**-bits,),
        ),
        Mistake(
            "that is in powers of ten. A logit is a natural logarithm.",
            (lambda bits: (bits + 1) * np.log10(2),),
        ),
        Mistake(
            "this is for 16 bits in torch.sigmoid, which rounds p alone. Here 1 + e⁻ᵃ is rounded.",
            (lambda bits: (bits + 2) * np.log(2),),
        ),
    ),
    hints=(
        "Floats just above 1 are 2^(−bits) apart. When does adding e⁻ᵃ to 1 change nothing?",
        "When e⁻ᵃ is at most half the spacing, 2^(−bits − 1). Take logarithms.",
    ),
)


# 13.6 --------------------------------------------------------------------------------------------
# g = n ḡ, so min(1, clip/‖g‖) g = n min(1, (clip/n)/‖ḡ‖) ḡ. Take n out of the bracket: the rate is
# n times as large, and what is left of the decay is decay/n.
def for_the_mean(rate: float, clip: float, decay: float, n: int) -> tuple[float, float, float]:
    """Rate, clip and decay that make the same steps from the mean loss as these from the sum."""
    return n * rate, clip / n, decay / n


EXERCISE_6 = Exercise(
    number="13.6",
    solution=(for_the_mean,),
    cases=lambda: [
        {"rate": 1e-5, "clip": 640.0, "decay": 0.0, "n": 128},
        {"rate": 0.002, "clip": 5.0, "decay": 0.1, "n": 64},
        {"rate": 3.0, "clip": 0.7, "decay": 2.0, "n": 5},
    ],
    mistakes=(
        Mistake(
            "nothing changed. That is (nearly) so for Adam; SGD and clipping see the factor n.",
            (lambda rate, clip, decay, n: (rate, clip, decay),),
        ),
        Mistake(
            "the mean's gradient is n times smaller, so the rate must be larger, not smaller.",
            (lambda rate, clip, decay, n: (rate / n, clip / n, decay / n),),
        ),
        Mistake(
            "the clip is compared with the norm of a gradient that is n times smaller.",
            (lambda rate, clip, decay, n: (n * rate, clip, decay / n),),
        ),
        Mistake(
            "the clip goes the other way: ‖g‖ = n ‖ḡ‖, so clip / ‖g‖ = (clip / n) / ‖ḡ‖.",
            (lambda rate, clip, decay, n: (n * rate, n * clip, decay / n),),
        ),
        Mistake(
            "the decay is multiplied by the new rate too, n times as large.",
            (lambda rate, clip, decay, n: (n * rate, clip / n, decay),),
        ),
        Mistake(
            "a sum of n gradients is n times their mean, not √n times.",
            (
                lambda rate, clip, decay, n: (
                    np.sqrt(n) * rate,
                    clip / np.sqrt(n),
                    decay / np.sqrt(n),
                ),
            ),
        ),
    ),
    hints=(
        "Write g = n ḡ, with ḡ the gradient of the mean, and put it into the step.",
        "min(1, clip / (n ‖ḡ‖)) n ḡ = n · min(1, (clip / n) / ‖ḡ‖) ḡ. Take n out of the bracket.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5, EXERCISE_6)
