"""The exercises of chapter 05, Denoising autoencoders."""

from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array
from course_utils.exercises.values import same

Map = Callable[[np.ndarray], np.ndarray]


# 05.1 --------------------------------------------------------------------------------------------
# -log10 is convex, so the mean of -log10(MSE_i) is at least -log10 of the mean MSE (Jensen).
# Images with small errors count more: one perfect image would make it infinite.
def average_psnr(x: np.ndarray, x_hat: np.ndarray) -> float:
    """(1/n) Σ_i 10 log10(1 / MSE_i), with MSE_i the mean over the pixels of image i."""
    mse = ((x - x_hat) ** 2).mean(axis=1)  # (n,)
    return float(-10 * np.log10(mse).mean())


def _cases_1() -> list[Case]:
    rng = np.random.default_rng(51)
    cases: list[Case] = [{"x": np.zeros((2, 4)), "x_hat": np.array([[0.1] * 4, [0.01] * 4])}]
    for n, d in ((3, 5), (6, 8)):
        x = rng.random((n, d))
        cases.append({"x": x, "x_hat": x + rng.normal(size=(n, d)) * rng.random((n, 1))})
    x = np.array([[0.0, 0.0, 0.0], [0.2, 0.9, 0.5]])
    x_hat = np.array([[1e-7, -1e-7, 2e-7], [3.0, 0.0, -1.0]])  # nearly perfect; worse than none
    cases.append({"x": x, "x_hat": x_hat})
    return cases


EXERCISE_1 = Exercise(
    number="05.1",
    solution=(average_psnr,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "the PSNR of the mean error, equation (5.1). Here each image has a PSNR of its own, and"
            " the mean comes last.",
            (lambda x, y: -10 * np.log10(((x - y) ** 2).mean()),),
        ),
        Mistake(
            "the natural logarithm. Decibels use log10.",
            (lambda x, y: -10 * np.log(((x - y) ** 2).mean(1)).mean(),),
        ),
        Mistake(
            "a factor 20 belongs to the root of the MSE; the MSE itself takes 10.",
            (lambda x, y: -20 * np.log10(((x - y) ** 2).mean(1)).mean(),),
        ),
        Mistake(
            "the sum over pixels. The MSE is a mean over them.",
            (lambda x, y: -10 * np.log10(((x - y) ** 2).sum(1)).mean(),),
        ),
        Mistake(
            "the peak of bytes, 255. Here pixels run from 0 to 1, so the peak is 1.",
            (lambda x, y: (10 * np.log10(255**2 / ((x - y) ** 2).mean(1))).mean(),),
        ),
        Mistake(
            "a small number is added to the MSE. It bounds what a good reconstruction can get.",
            (lambda x, y: -10 * np.log10(((x - y) ** 2).mean(1) + 1e-8).mean(),),
        ),
        Mistake(
            "the sign: a smaller error is more decibels.",
            (lambda x, y: -average_psnr(x, y),),
        ),
        Mistake(
            "the wrong axis: one PSNR for each pixel. Axis 1 runs over the pixels of one image.",
            (lambda x, y: -10 * np.log10(((x - y) ** 2).mean(0)).mean(),),
        ),
    ),
    hints=(
        "First the mean squared error of each image: (n, d) -> (n,).",
        "Turn each of these n numbers into decibels: 10 log10(1 / MSE) = −10 log10(MSE).",
        "Then take the mean of the n results. In (5.1) the mean came before the logarithm.",
    ),
)


# 05.2 --------------------------------------------------------------------------------------------
# The odds of +a to -a are p/(1 - p) · exp(2 a x̃ / σ²) =: e^(2u), and the mean is a tanh(u).
# tanh overflows nowhere; a quotient of the two likelihoods is 0/0 far out.
def best_guess(x_noisy: np.ndarray, a: float, p: float, sigma: float) -> np.ndarray:
    """a tanh(a x̃/σ² + ½ ln(p/(1 − p)))."""
    return a * np.tanh(a * x_noisy / sigma**2 + 0.5 * np.log(p / (1 - p)))


def _cases_2() -> list[Case]:
    return [
        {"x_noisy": np.array([-1.0, 0.0, 0.5]), "a": 1.0, "p": 0.75, "sigma": 1.0},
        {"x_noisy": np.linspace(-2, 2, 7), "a": 0.6, "p": 0.2, "sigma": 0.8},
        {"x_noisy": np.array([0.3, -0.4]), "a": 1.7, "p": 0.5, "sigma": 1.5},
        {
            "x_noisy": np.array([[[0.0, 6.0, -0.02]], [[-5.0, 0.01, 0.3]]]),
            "a": 2.0,
            "p": 0.9,
            "sigma": 0.7,
        },
        {"x_noisy": np.array([[0.003, 3.0, -3.0]]), "a": 1.0, "p": 0.3, "sigma": 0.05},  # far out
    ]


def _by_likelihoods(x: np.ndarray, a: float, p: float, s: float) -> np.ndarray:
    plus = p * np.exp(-((x - a) ** 2) / (2 * s**2))
    minus = (1 - p) * np.exp(-((x + a) ** 2) / (2 * s**2))
    with np.errstate(invalid="ignore"):
        return a * (plus - minus) / (plus + minus)


def _by_the_ratio(x: np.ndarray, a: float, p: float, s: float) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = p / (1 - p) * np.exp(2 * a * x / s**2)
        return a * (ratio - 1) / (ratio + 1)


EXERCISE_2 = Exercise(
    number="05.2",
    solution=(best_guess,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "the prior is missing: before x̃ is seen, +a has probability p already.",
            (lambda x, a, p, s: a * np.tanh(a * x / s**2),),
        ),
        Mistake(
            "the more probable value. It has more hits, but a larger squared error than the mean.",
            (lambda x, a, p, s: np.where(a * x / s**2 + np.log(p / (1 - p)) / 2 > 0, a, -a),),
        ),
        Mistake(
            "the probability of +a. The answer is the mean, a P(+a) − a P(−a).",
            (lambda x, a, p, s: 1 / (1 + (1 - p) / p * np.exp(-2 * a * x / s**2)),),
        ),
        Mistake(
            "the standard deviation where the variance belongs: divide by sigma**2.",
            (lambda x, a, p, s: a * np.tanh(a * x / s + 0.5 * np.log(p / (1 - p))),),
        ),
        Mistake(
            "a half is lost: the exponents differ by 2 a x̃/σ², and tanh(u) belongs to a ratio of"
            " e^(2u). The prior's part is ½ ln(p/(1 − p)).",
            (lambda x, a, p, s: a * np.tanh(a * x / s**2 + np.log(p / (1 - p))),),
        ),
        Mistake(
            "the prior's sign: where p is large, the answer moves towards +a.",
            (lambda x, a, p, s: a * np.tanh(a * x / s**2 - 0.5 * np.log(p / (1 - p))),),
        ),
        Mistake(
            "the values are ±a, not ±1: a stands in front of the tanh and inside it.",
            (lambda x, a, p, s: np.tanh(x / s**2 + 0.5 * np.log(p / (1 - p))),),
        ),
        Mistake(
            "right on paper. Many σ from both values both likelihoods are 0 in floating point, and"
            " 0/0 is no number: cancel the squares first.",
            (_by_likelihoods,),
        ),
        Mistake(
            "right on paper. Where the ratio is infinite, infinity over infinity is no number: use"
            " the tanh.",
            (_by_the_ratio,),
        ),
    ),
    hints=(
        "Bayes: P(+a | x̃) is proportional to p · exp(−(x̃ − a)²/(2σ²)), P(−a | x̃) to"
        " (1 − p) · exp(−(x̃ + a)²/(2σ²)).",
        "Their ratio is p/(1 − p) · exp(2 a x̃/σ²): the squares cancel.",
        "The mean is a (ratio − 1)/(ratio + 1), and tanh(u) = (e^(2u) − 1)/(e^(2u) + 1).",
    ),
)


# 05.3 --------------------------------------------------------------------------------------------
# E[x̃ᵀx̃] A = E[x̃ᵀx] with E[x̃ᵀx̃] = C + σ² I and E[x̃ᵀx] = C. Along an eigenvector it multiplies by
# λ/(λ + σ²). A variance far above that of the noise passes nearly whole, one far below is nearly
# lost, and of an equal one half is left: a soft PCA.
def wiener_matrix(covariance: np.ndarray, sigma: float) -> np.ndarray:
    """(C + σ² I)⁻¹ C."""
    return np.linalg.solve(covariance + sigma**2 * np.eye(len(covariance)), covariance)


def _cases_3() -> list[Case]:
    cases: list[Case] = [{"covariance": np.array([[2.0, 0.0], [0.0, 0.5]]), "sigma": 0.5}]
    for d, sigma, seed in ((3, 0.7, 53), (5, 2.0, 54)):
        a = np.random.default_rng(seed).normal(size=(d + 3, d))
        cases.append({"covariance": a.T @ a / (d + 3), "sigma": sigma})
    cases.append({"covariance": np.array([[1.0, -0.6], [-0.6, 0.5]]), "sigma": 0.1})
    twins = np.array([[1.0, 0.5, 0.5], [0.5, 2.0, 2.0], [0.5, 2.0, 2.0]])  # two always equal
    cases.append({"covariance": np.pad(twins, (0, 1)), "sigma": 0.3})  # and one always dark
    return cases


def _by_the_inverse(c: np.ndarray, s: float) -> np.ndarray:
    return np.linalg.inv(np.eye(len(c)) + s**2 * np.linalg.inv(c))


EXERCISE_3 = Exercise(
    number="05.3",
    solution=(wiener_matrix,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the standard deviation where the variance belongs: the noise adds sigma**2.",
            (lambda c, s: np.linalg.solve(c + s * np.eye(len(c)), c),),
        ),
        Mistake(
            "the covariance of the noisy data is C + σ² I. You have only the clean one: this is the"
            " identity.",
            (lambda c, s: np.eye(len(c)),),
        ),
        Mistake(
            "the noise is added to every entry. It is independent: only the diagonal grows.",
            (lambda c, s: np.linalg.solve(c + s**2, c),),
        ),
        Mistake(
            "the part that is taken away. The denoiser keeps the rest, I minus this.",
            (lambda c, s: np.eye(len(c)) - wiener_matrix(c, s),),
        ),
        Mistake(
            "the inverse alone: the right-hand side, E[x̃ᵀ x] = C, is missing.",
            (lambda c, s: np.linalg.inv(c + s**2 * np.eye(len(c))),),
        ),
        Mistake(
            "the ratio is upside down: this one amplifies. Where a direction has no variance, the"
            " denoiser must give 0.",
            (lambda c, s: np.linalg.solve(c, c + s**2 * np.eye(len(c))),),
        ),
        Mistake(
            "the covariance is inverted, and a pixel that never varies, or two that are always"
            " equal, make it singular. Only C + σ² I can always be inverted.",
            (_by_the_inverse,),
        ),
        Mistake(
            "each pixel by itself. The other pixels know something about it: use all of C.",
            (lambda c, s: np.diag(np.diag(c) / (np.diag(c) + s**2)),),
        ),
    ),
    hints=(
        "Least squares with very many rows: E[x̃ᵀ x̃] A = E[x̃ᵀ x].",
        "With x̃ = x + σ ε and ε independent of x: E[x̃ᵀ x̃] = C + σ² I, and E[x̃ᵀ x] = C.",
        "np.linalg.solve(covariance + sigma**2 * np.eye(d), covariance).",
    ),
)


# 05.4 --------------------------------------------------------------------------------------------
# r* = ∫ x N p dx / ∫ N p dx, and dN/dx̃ = N (x - x̃)/σ². The quotient rule leaves
# dr*/dx̃ = (E[x²|x̃] - E[x|x̃]²)/σ². The slope says how sure it is: flat means sure.
def posterior_variance(denoise: Map, x_noisy: np.ndarray, sigma: float) -> np.ndarray:
    """σ² dr*/dx̃, the derivative by a central difference."""
    step = 1e-4 * sigma
    slope = (denoise(x_noisy + step) - denoise(x_noisy - step)) / (2 * step)
    return sigma**2 * slope


def _two_values(sigma: float) -> Map:
    return lambda x_noisy: np.tanh(x_noisy / sigma**2)


def _normal(variance: float, sigma: float) -> Map:
    return lambda x_noisy: x_noisy * variance / (variance + sigma**2)


def _three_values(sigma: float) -> Map:
    values, prior = np.array([-1.5, 0.0, 1.0]), np.array([0.2, 0.5, 0.3])

    def denoise(x_noisy: np.ndarray) -> np.ndarray:
        w = prior * np.exp(-((x_noisy[:, None] - values) ** 2) / (2 * sigma**2))  # (m, 3)
        return w @ values / w.sum(axis=1)

    return denoise


def _cases_4() -> list[Case]:
    points = np.array([-1.2, -0.3, 0.1, 0.8])
    return [
        {"denoise": _two_values(0.8), "x_noisy": points[:3], "sigma": 0.8},
        {"denoise": _normal(2.0, 1.5), "x_noisy": points, "sigma": 1.5},
        {"denoise": _three_values(0.6), "x_noisy": points, "sigma": 0.6},
    ]


def _slope(denoise: Map, x: np.ndarray) -> np.ndarray:
    return posterior_variance(denoise, x, 1.0)


EXERCISE_4 = Exercise(
    number="05.4",
    solution=(posterior_variance,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "the slope of the denoiser alone. The variance is σ² times it.",
            (lambda r, x, s: _slope(r, x),),
        ),
        Mistake(
            "the standard deviation of the noise where its variance belongs: sigma**2.",
            (lambda r, x, s: s * _slope(r, x),),
        ),
        Mistake(
            "the variance of the noise, whatever was seen. Some x̃ leave less doubt than others.",
            (lambda r, x, s: np.full(x.shape, s**2),),
        ),
        Mistake(
            "1 − r² is right where the values are ±1, and only there.",
            (lambda r, x, s: 1 - r(x) ** 2,),
        ),
        Mistake(
            "the squared distance that the denoiser moves. How far it moves does not say how sure"
            " it is.",
            (lambda r, x, s: (r(x) - x) ** 2,),
        ),
        Mistake(
            "σ² (1 − slope): a denoiser that does not move with x̃, slope 0, is sure of its answer.",
            (lambda r, x, s: s**2 * (1 - _slope(r, x)),),
        ),
    ),
    hints=(
        "r*(x̃) is a quotient: ∫ x N(x̃; x, σ²) p(x) dx over ∫ N(x̃; x, σ²) p(x) dx. Differentiate.",
        "d/dx̃ of N(x̃; x, σ²) is N · (x − x̃)/σ². The quotient rule gives two means.",
        "What is left is (E[x² | x̃] − E[x | x̃]²)/σ²: the slope is the variance over σ². Take the"
        " slope by a central difference with a step of 1e-4 σ.",
    ),
    rtol=1e-3,
)


# 05.5 --------------------------------------------------------------------------------------------
# One number an image, shared by its pixels. The missing test: noise in two pixels is uncorrelated.
def sly_noise(x: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """One number of noise for each image, the same in all its pixels."""
    return x + sigma * rng.normal(size=(len(x), 1))


def _cases_5() -> list[Case]:
    cases: list[Case] = []
    for d, sigma, seed in ((3, 0.5, 55), (8, 2.0, 56)):
        x = np.random.default_rng(seed).random((4000, d))
        x[:, 0] = 0.0
        cases.append({"x": x, "sigma": sigma, "seed": seed})
    return cases


def _ask_5(answer: tuple[Any, ...], case: Case) -> Any:
    """Ask with two generators, what comes must depend on them; and of other images, it must not."""
    x, sigma, seed = case["x"], case["sigma"], case["seed"]
    seeds = seed, seed + 1000
    drawn = [answer[0](x, sigma, np.random.default_rng(seed)) for seed in seeds]
    if drawn[0] is None:
        return None
    others = answer[0](_other_images(x), sigma, np.random.default_rng(seed))
    return [*drawn, others, answer[0](x[:1], sigma, np.random.default_rng(seed))]


def _other_images(x: np.ndarray) -> np.ndarray:
    """As many, with another law; the first pixel is blank here too."""
    other = np.random.default_rng(57).normal(2.0, 3.0, size=x.shape)
    other[:, 0] = 0.0
    return other


def _judge_5(case: Case, came: Any) -> None:
    x, sigma = case["x"], case["sigma"]
    came, other, elsewhere, alone = came
    x_noisy = as_array(came)
    if x_noisy is None or x_noisy.shape != x.shape:
        raise Wrong(f"noisy images of shape {x.shape}", f"{type(came).__name__}, {np.shape(came)}")
    if not np.all(np.isfinite(x_noisy)):
        raise Wrong("finite numbers", "some are not")
    eps = (x_noisy - x) / sigma
    bias, spread = np.abs(eps.mean(axis=0)).max(), eps.std(axis=0)
    if bias > 0.1:  # six standard errors, 1/√4000 each
        raise Wrong("noise of mean 0 over the images, in each pixel", f"a mean of {bias:.2g} sigma")
    if np.abs(spread - 1).max() > 0.1:  # nine standard errors, 1/√8000 each
        raise Wrong(
            "noise of standard deviation sigma over the images, in each pixel",
            f"{spread.min():.3g} to {spread.max():.3g} times sigma",
        )
    left = np.abs(x_noisy - x_noisy[:, :1] - x).max()
    if left > 1e-6:
        raise Wrong(
            "x back from x_noisy - x_noisy[:, :1]", f"a pixel that is off by {left:.3g}: not undone"
        )
    if same(came, other):
        raise Wrong(
            "other noise from another generator", "the same noise: it is not drawn from rng"
        )
    eps, ink, place = eps[:, 0], x.sum(axis=1), np.arange(len(x))
    again = (np.asarray(other, dtype=np.float64) - x)[:, 0] / sigma  # from the other generator
    size = np.abs(eps)
    for pair, name in (
        ((eps, place), "their place in the batch"),
        ((eps, again), "their place in the batch"),
        ((eps[1:], eps[:-1]), "the image before"),
        ((eps, eps[::-1]), "another image"),
        ((eps, ink), "the images"),
        ((size, place), "their place in the batch"),
        ((size, np.abs(again)), "their place in the batch"),
        ((size[1:], size[:-1]), "the image before"),
    ):
        if np.ptp(pair[0]) < 1e-9:  # as for signs, which are all of one size
            continue
        correlation = np.corrcoef(*pair)[0, 1]
        if abs(correlation) > 0.1:  # four standard errors and more
            raise Wrong(
                f"noise that is independent of {name}", f"a correlation of {correlation:.2f}"
            )
    echo = np.fft.irfft(np.abs(np.fft.rfft(eps - eps.mean())) ** 2)  # at every distance
    if np.abs(echo[1:]).max() > 0.1 * echo[0]:
        raise Wrong("noise that is independent of another image's", "it comes again in the batch")
    times = np.unique(size.round(9), return_counts=True)[1]  # how often each size comes
    if len(times) > 10 and times.min() == times.max() > 1:
        raise Wrong("noise drawn afresh for each image", f"each size {times[0]} times")
    if np.abs((elsewhere - _other_images(x))[:, 0] / sigma - eps).max() > 1e-6:
        raise Wrong(
            "the same noise from a generator, for any images", "other noise from the same rng"
        )
    change = np.asarray(alone, dtype=np.float64) - x[:1]
    if change.shape != x[:1].shape or not np.abs(change).min() > 0:
        raise Wrong("noise for one image alone, too", "no noise, or another shape")


def _in_order_of(key: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Draw the right numbers, and give them to the images in the order of a key."""

    def wrong(x: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
        eps = np.empty((len(x), 1))
        eps[np.argsort(key(x)), 0] = np.sort(rng.normal(size=len(x)))
        return x + sigma * eps

    return wrong


def _signs_by_place(x: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Two up, two down: neighbours are uncorrelated, and the place tells the sign."""
    signs = np.array([1.0, 1.0, -1.0, -1.0])[np.arange(len(x)) % 4]
    return x + sigma * (signs * np.abs(rng.normal(size=len(x))))[:, None]


EXERCISE_5 = Exercise(
    number="05.5",
    solution=(sly_noise,),
    cases=_cases_5,
    ask=_ask_5,
    judge=_judge_5,
    same_again="the same noise from a generator with the same seed",
    mistakes=(
        Mistake(
            "this is honest noise, fresh in each pixel: no pixel tells anything about another's.",
            (lambda x, s, rng: x + s * rng.normal(size=x.shape),),
        ),
        Mistake(
            "one number for all images. Within one batch its mean is not 0: the test sees it.",
            (lambda x, s, rng: x + s * rng.normal(),),
        ),
        Mistake(
            "one number for each pixel, shared by all images: the mean over images shows it.",
            (lambda x, s, rng: x + s * rng.normal(size=(1, x.shape[1])),),
        ),
        Mistake(
            "sigma is missing: the noise has standard deviation 1.",
            (lambda x, s, rng: x + rng.normal(size=(len(x), 1)),),
        ),
        Mistake(
            "the variance where the standard deviation belongs: multiply by sigma.",
            (lambda x, s, rng: x + s**2 * rng.normal(size=(len(x), 1)),),
        ),
        Mistake(
            "the noise does not come from rng: it is the same at every call.",
            (lambda x, s, rng: sly_noise(x, s, np.random.default_rng(0)),),
        ),
        Mistake(
            "the noise is sorted: it rises with the place in the batch.",
            (_in_order_of(lambda x: np.arange(len(x))),),
        ),
        Mistake(
            "the sign goes by the place in the batch: every generator gives the same one there.",
            (_signs_by_place,),
        ),
        Mistake(
            "the noise goes by the image: who knows x knows it.",
            (_in_order_of(lambda x: x.sum(axis=1)),),
        ),
        Mistake(
            "there is no noise: the test asks for a standard deviation of sigma.",
            (lambda x, s, rng: x + 0.0,),
        ),
    ),
    hints=(
        "The test looks at one pixel at a time. What does it not look at?",
        "Within one image, x_noisy - x_noisy[:, :1] must remove the noise: it is the same in all"
        " pixels. Between images it must differ.",
        "Draw noise of shape (n, 1), and let it spread over the pixels.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
