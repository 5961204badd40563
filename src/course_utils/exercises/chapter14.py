"""The exercises of chapter 14, How good is it?"""

from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake


# 14.1 --------------------------------------------------------------------------------------------
# How hard an image is cancels in its difference, before anything is squared.
def paired_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean of a − b over images, and its standard error; (n,) each."""
    d = a - b
    return d.mean(), d.std(ddof=1) / np.sqrt(len(d))


def _cases_1() -> list[Case]:
    rng = np.random.default_rng(141)
    hard = rng.normal(-100, 30, size=50)  # images differ far more than models do
    return [
        {"a": np.array([-90.0, -120.0, -60.0]), "b": np.array([-93.0, -122.0, -64.0])},
        {"a": hard + rng.normal(1, 2, size=50), "b": hard},
        {"a": rng.normal(size=7), "b": rng.normal(size=7)},
    ]


EXERCISE_1 = Exercise(
    number="14.1",
    solution=(paired_difference,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "this is the standard deviation of one image. The mean of n is √n times as sure.",
            (lambda a, b: ((a - b).mean(), (a - b).std(ddof=1)),),
        ),
        Mistake(
            "divided by n. Variances of a sum add up, so the error of a mean falls with √n.",
            (lambda a, b: ((a - b).mean(), (a - b).std(ddof=1) / len(a)),),
        ),
        Mistake(
            "both errors added in squares, as for two different sets of images. The images are"
            " the same: take the differences first.",
            (
                lambda a, b: (
                    (a - b).mean(),
                    np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a)),
                ),
            ),
        ),
        Mistake(
            "the variance with 1/n. From n images, whose mean is estimated too, divide by n − 1.",
            (lambda a, b: ((a - b).mean(), (a - b).std() / np.sqrt(len(a))),),
        ),
        Mistake(
            "b − a. Asked is by how much a is higher.",
            (lambda a, b: ((b - a).mean(), paired_difference(a, b)[1]),),
        ),
    ),
    hints=(
        "One number for each image: a − b. Everything follows from these.",
        "The standard error of a mean is the standard deviation, with n − 1, by √n.",
        "d = a - b; d.mean(), d.std(ddof=1) / np.sqrt(len(d)).",
    ),
)


# 14.2 --------------------------------------------------------------------------------------------
# The largest exponent becomes exp(0) = 1: nothing overflows, and not everything underflows.
def bound_of_weights(log_w: np.ndarray) -> np.ndarray:
    """ln of the mean weight of each image: (n, K) -> (n,)."""
    top = log_w.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.exp(log_w - top).mean(axis=1))


def _unstable(log_w: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.log(np.exp(log_w).mean(axis=1))


def _shifted(log_w: np.ndarray, out: np.ndarray, extra: float = 0.0) -> np.ndarray:
    with np.errstate(all="ignore"):
        mean = np.exp(log_w - out).mean(axis=1)
        return np.log(mean + extra) + np.broadcast_to(out, (len(log_w), 1))[:, 0]


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(142)
    return [
        {"log_w": np.log([[1.0, 3.0], [2.0, 8.0], [5.0, 5.0]])},
        {"log_w": rng.normal(-900, 20, size=(4, 30))},  # e^-900 is 0 in float64
        {"log_w": rng.normal(800, 5, size=(3, 7))},  # e^800 is infinite
        {"log_w": _all_at_once()},
        {"log_w": np.array([[np.log(20_000) + 1] + [-2000.0] * 19_999])},  # one weight of many
    ]


def _all_at_once() -> np.ndarray:
    """One array with rows near −900 and 800, rows as wide as 2 000 nats, and weights of zero."""
    rows = np.random.default_rng(1422).normal(0, 3, size=(5, 4000))
    rows[0] -= 900
    rows[1] += 800
    rows[2, ::2] -= 2000  # far below the mean, and the first draw with it
    rows[3, 1:] -= 1500  # one draw carries the average
    rows[4, :3] = -np.inf
    return rows


EXERCISE_2 = Exercise(
    number="14.2",
    solution=(bound_of_weights,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "a sum of weights: ln K is too much. Subtract it.",
            (lambda log_w: bound_of_weights(log_w) + np.log(log_w.shape[1]),),
        ),
        Mistake(
            "the mean of the logarithms is the ELBO. The mean goes inside the logarithm.",
            (lambda log_w: log_w.mean(axis=1),),
        ),
        Mistake(
            "right on paper. exp(-900) is 0 and exp(800) is infinite: take the largest out first.",
            (_unstable,),
        ),
        Mistake(
            "averaged over images, for each draw. Draws are the columns: axis 1.",
            (lambda log_w: bound_of_weights(log_w.T),),
        ),
        Mistake(
            "the best draw alone. That is up to ln K above the bound, and none itself.",
            (lambda log_w: log_w.max(axis=1),),
        ),
        Mistake(
            "one maximum for all images: those far below it underflow to −∞. Take each row's own.",
            (lambda log_w: _shifted(log_w, log_w.max()),),
        ),
        Mistake(
            "the row's mean is taken out. A draw 710 nats above it overflows; take the largest.",
            (lambda log_w: _shifted(log_w, log_w.mean(axis=1, keepdims=True)),),
        ),
        Mistake(
            "the first draw is taken out. It may lie far below the others, or be −∞.",
            (lambda log_w: _shifted(log_w, log_w[:, :1]),),
        ),
        Mistake(
            "a small number is added inside the logarithm. Once the largest is out the mean is at"
            " least 1/K: nothing is to be guarded, and the number shifts the result.",
            (lambda log_w: _shifted(log_w, log_w.max(axis=1, keepdims=True), 1e-8),),
        ),
        Mistake(
            "one number for all images: it mixes their weights, and the likeliest image wins.",
            (lambda log_w: bound_of_weights(log_w.reshape(1, -1))[0],),
        ),
    ),
    hints=(
        "Asked is ln((w₁ + … + w_K) / K), row by row, where ln w is given.",
        "ln Σ exp(a_k) = m + ln Σ exp(a_k − m) for any m. Take m = max a_k.",
        "m = log_w.max(axis=1, keepdims=True), and scipy.special.logsumexp does it for you.",
    ),
)


# 14.3 --------------------------------------------------------------------------------------------
# s_j = 1 / (1 + ‖V_j‖²/c) is the posterior's variance. The prior's variance of 1 is the mean of
# s_j plus the variance of mu_j over images, so E[mu_j²] = 1 - s_j, and the KL is
# ½ [(1 - s_j) + s_j - 1 - ln s_j] = -½ ln s_j. Averaged over the model's images the posterior is
# the prior: there is no mismatch in (14.3).
def information(dec_w: np.ndarray, c: float) -> float:
    """Mean rate of the exact posterior over the model's own images, rows at right angles."""
    return 0.5 * np.log(1 + (dec_w**2).sum(axis=1) / c).sum()


def _cases_3() -> list[Case]:
    q, _ = np.linalg.qr(np.random.default_rng(143).normal(size=(9, 9)))
    return [
        {"dec_w": np.array([[1.0, 0.0]]), "c": 1 / 3},
        {"dec_w": np.array([2.0, 0.7, 0.1])[:, None] * q[:3], "c": 0.25},
        {"dec_w": np.array([0.5, 3.0, 1.1, 0.0])[:, None] * q[3:7], "c": 2.0},
    ]


EXERCISE_3 = Exercise(
    number="14.3",
    solution=(information,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the ½ of the Gaussian is missing.",
            (lambda dec_w, c: 2 * information(dec_w, c),),
        ),
        Mistake(
            "a row's length, not squared: variances belong here.",
            (lambda dec_w, c: 0.5 * np.log(1 + np.sqrt((dec_w**2).sum(axis=1)) / c).sum(),),
        ),
        Mistake(
            "c is a variance already: do not square it.",
            (lambda dec_w, c: 0.5 * np.log(1 + (dec_w**2).sum(axis=1) / c**2).sum(),),
        ),
        Mistake(
            "these are bits. A nat is the natural logarithm's.",
            (lambda dec_w, c: information(dec_w, c) / np.log(2),),
        ),
        Mistake(
            "one number of the code after the other: their variances do not add up, their rates"
            " do.",
            (lambda dec_w, c: 0.5 * np.log(1 + (dec_w**2).sum() / c),),
        ),
        Mistake(
            "the KL of an image whose code has mean zero. The means vary: by what, over images?",
            (
                lambda dec_w, c: (
                    0.5
                    * (
                        1 / (1 + (dec_w**2).sum(axis=1) / c)
                        - 1
                        + np.log(1 + (dec_w**2).sum(axis=1) / c)
                    ).sum()
                ),
            ),
        ),
        Mistake(
            "a mean over code numbers. Their rates add up.",
            (lambda dec_w, c: information(dec_w, c) / len(dec_w),),
        ),
    ),
    hints=(
        "With rows at right angles the posterior's variances are s_j = 1 / (1 + ‖V_j‖² / c).",
        "The prior has variance 1 = mean of the posterior's variance + variance of its mean.",
        "So the mean of mu_j² is 1 − s_j, and the KL comes down to −½ ln s_j for each j.",
    ),
)


# 14.4 --------------------------------------------------------------------------------------------
def active(mu: np.ndarray, logvar: np.ndarray, threshold: float) -> np.ndarray:
    """Mark units whose mean varies over images by more than threshold: (n, k) -> (k,)."""
    return mu.var(axis=0) > threshold  # (14.5) asks for mu, not for logvar


def _cases_4() -> list[Case]:
    rng = np.random.default_rng(144)
    signs = np.repeat([[1.0], [-1.0]], 3, axis=0)  # variance 1
    spread = np.array([0.11, 0.09, 0.005, 1.0, 0.02])
    offset = np.array([0.0, 3.0, -2.0, 0.0, 0.4])
    logvar = np.array([-3.0, 0.0, 1.0, -2.0, 0.0])
    # not square, and so that rows vary in another way than columns
    noisy = rng.normal(size=(400, 5)) * np.array([0.6, 0.15, 0.006, 0.02, 2.0])
    strict = rng.normal(size=(300, 6)) * np.array([0.25, 0.15, 0.2, 0.3, 1.5, 0.9])
    return [
        {"mu": signs * [0.2, 0.05], "logvar": np.full((6, 2), [-1.0, 0.0]), "threshold": 0.01},
        {
            "mu": signs * spread + offset,
            "logvar": np.broadcast_to(logvar, (6, 5)).copy(),
            "threshold": 0.01,
        },
        {
            "mu": noisy + [0.0, 0.0, 1.0, 0.0, 0.0],
            "logvar": np.broadcast_to(logvar, (400, 5)).copy(),
            "threshold": 0.01,
        },
        {  # thresholds other than the chapter's
            "mu": strict + 1,
            "logvar": np.tile([-3.0, -3.0, -2.5, 2.0, 1.0, -4.0], (300, 1)),
            "threshold": 0.05,
        },
        {"mu": strict, "logvar": np.tile([0.0, -1, -2, -3, 3, -4], (300, 1)), "threshold": 1.0},
        _widths_that_move(),
    ]


def _widths_that_move() -> Case:
    """Eight images whose widths differ: alone, with the mean, against it, or where the mean is far.

    The fourth mean is off for two images: its variance is just below the threshold, with n − 1
    too, and its mean square about the median just above.
    """
    sign = np.array([1.0, -1, 1, -1, -1, 1, -1, 1])
    pair, two = np.eye(8)[3] + np.eye(8)[6], np.eye(8)[3] - np.eye(8)[6]
    mu = np.array([0 * sign + 0.3, 0.15 * sign, 0.08 * sign, 0.21 * pair, 0.3 * two]).T
    width = np.array([0.6 - 0.3 * sign, 0.8 - mu[:, 1], 0.8 + mu[:, 2], 0 * pair + 0.9])
    logvar = np.concatenate([2 * np.log(width), [3 * two**2 - 1]]).T
    return {"mu": mu, "logvar": logvar, "threshold": 0.01}


EXERCISE_4 = Exercise(
    number="14.4",
    solution=(active,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "the standard deviation against a threshold for variances: 0.05 varies by 0.0025 only.",
            (lambda mu, logvar, threshold: mu.std(axis=0) > threshold,),
        ),
        Mistake(
            "the variance of z, noise included. An idle unit has a variance of one: all noise.",
            (
                lambda mu, logvar, threshold: (
                    mu.var(axis=0) + np.exp(logvar).mean(axis=0) > threshold
                ),
            ),
        ),
        Mistake(
            "a unit whose width moves counts too. Its width does depend on the image, but (14.5)"
            " asks for the mean alone.",
            (
                lambda mu, logvar, threshold: (
                    (mu.var(axis=0) > threshold) | (logvar.var(axis=0) > threshold)
                ),
            ),
        ),
        Mistake(
            "the squares about the median. A variance is taken about the mean.",
            (
                lambda mu, logvar, threshold: (
                    ((mu - np.median(mu, axis=0)) ** 2).mean(axis=0) > threshold
                ),
            ),
        ),
        Mistake(
            "over the units of one image. Asked is how one unit varies over images: axis 0.",
            (lambda mu, logvar, threshold: mu.var(axis=1) > threshold,),
        ),
        Mistake(
            "the mean square. A unit that says 3 for every image says nothing: subtract its mean.",
            (lambda mu, logvar, threshold: (mu**2).mean(axis=0) > threshold,),
        ),
        Mistake(
            "how many. Asked is which.",
            (lambda mu, logvar, threshold: (mu.var(axis=0) > threshold).sum(),),
        ),
        Mistake(
            "0.01 always. The threshold is an argument.",
            (lambda mu, logvar, threshold: mu.var(axis=0) > 0.01,),
        ),
        Mistake(
            "the range, from the smallest mean to the largest. It grows with the number of images;"
            " asked is the variance.",
            (lambda mu, logvar, threshold: np.ptp(mu, axis=0) > threshold,),
        ),
        Mistake(
            "the variance of the mean against the noise of the unit. (14.5) compares it with the"
            " threshold alone.",
            (
                lambda mu, logvar, threshold: (
                    mu.var(axis=0) / np.exp(logvar).mean(axis=0) > threshold
                ),
            ),
        ),
        Mistake(
            "the share of the mean in the variance of z. (14.5) takes the variance of the mean"
            " itself.",
            (
                lambda mu, logvar, threshold: (
                    mu.var(axis=0) / (mu.var(axis=0) + np.exp(logvar).mean(axis=0)) > threshold
                ),
            ),
        ),
        Mistake(
            "the mean absolute deviation, squared: for normal means that is 0.64 of the variance.",
            (
                lambda mu, logvar, threshold: (
                    np.abs(mu - mu.mean(axis=0)).mean(axis=0) ** 2 > threshold
                ),
            ),
        ),
    ),
    hints=(
        "(14.5) is about one of the two arrays. Which?",
        "One number for each unit, over all images: axis 0.",
        "mu.var(axis=0) > threshold.",
    ),
)


# 14.5 --------------------------------------------------------------------------------------------
def free_bits(kl: np.ndarray, floor: float) -> float:
    """Mean over images, floor, sum over units: (n, k) -> one number."""
    return np.maximum(kl.mean(axis=0), floor).sum()


def _cases_5() -> list[Case]:
    kl = np.random.default_rng(145).gamma(0.5, size=(12, 6)) * np.array([0.1, 0.2, 3, 1, 0.5, 0])
    return [
        {"kl": np.array([[0.0, 2.0, 0.0], [0.4, 4.0, 1.4]]), "floor": 0.5},  # silent for some
        {"kl": kl, "floor": 0.25},
        {"kl": kl, "floor": 0.6},
    ]


EXERCISE_5 = Exercise(
    number="14.5",
    solution=(free_bits,),
    cases=_cases_5,
    mistakes=(
        Mistake(
            "the floor under the total: one loud unit pays for all, and the others may sleep.",
            (lambda kl, floor: max(kl.sum(axis=1).mean(), kl.shape[1] * floor),),
        ),
        Mistake(
            "one floor under the sum of all units. λ is the floor of each unit by itself.",
            (lambda kl, floor: max(kl.mean(axis=0).sum(), floor),),
        ),
        Mistake(
            "min for max: this frees what lies above the floor, and the KL has no price any more.",
            (lambda kl, floor: np.minimum(kl.mean(axis=0), floor).sum(),),
        ),
        Mistake(
            "the floor image by image. Take the mean over the batch first: some images may need"
            " less of a unit than others.",
            (lambda kl, floor: np.maximum(kl, floor).mean(axis=0).sum(),),
        ),
        Mistake(
            "a mean over units. The KL is a sum over them.",
            (lambda kl, floor: np.maximum(kl.mean(axis=0), floor).mean(),),
        ),
        Mistake(
            "a sum over images. The loss is a mean over them.",
            (lambda kl, floor: np.maximum(kl.sum(axis=0), floor).sum(),),
        ),
        Mistake(
            "the mean over the images for which a unit speaks. It goes over all of the batch.",
            (
                lambda kl, floor: np.maximum(
                    kl.sum(axis=0) / np.maximum((kl > 0).sum(axis=0), 1), floor
                ).sum(),
            ),
        ),
        Mistake(
            "the free nats subtracted: that differs by a constant, k times the floor.",
            (lambda kl, floor: np.maximum(kl.mean(axis=0) - floor, 0).sum(),),
        ),
    ),
    hints=(
        "First one number for each unit: its mean over the images.",
        "Then the larger of it and the floor, unit by unit.",
        "np.maximum(kl.mean(axis=0), floor).sum().",
    ),
)


# 14.6 --------------------------------------------------------------------------------------------
# D + βR is error/(2c) + βR and a constant. Divided by β it is, up to a constant, minus the ELBO of
# a model with noise βc. Its best decoder has ‖V_j‖² = max(λ_j - βc, 0), and the data vary as it
# believes wherever λ_j > βc, so exercise 14.3 gives ½ ln(1 + ‖V_j‖²/(βc)) = ½ ln(λ_j/(βc)).
# Unit j dies at β = λ_j/c, the weakest first.
def rates_at(eigenvalues: np.ndarray, c: float, beta: float) -> np.ndarray:
    """Rate of each unit of the best linear-Gaussian model of the loss D + beta · R, noise c."""
    return 0.5 * np.log(np.maximum(eigenvalues / (beta * c), 1.0))


def _rates(by: Any) -> tuple[Any]:
    return (lambda eigenvalues, c, beta: by(eigenvalues, beta * c),)


EXERCISE_6 = Exercise(
    number="14.6",
    solution=(rates_at,),
    cases=lambda: [
        {"eigenvalues": np.array([8.0, 2.0, 0.5]), "c": 1.0, "beta": 1.0},
        {"eigenvalues": np.array([0.7, 0.4, 0.25, 0.06, 0.02]), "c": 0.03, "beta": 4.0},
        {"eigenvalues": np.geomspace(5, 0.01, 12), "c": 0.2, "beta": 0.5},
        {"eigenvalues": np.array([0.2, 3.0, 1e-9, 0.6, 0.6]), "c": 0.15, "beta": 2.0},
    ],
    mistakes=(
        Mistake(
            "a rate below zero? Where the noise is larger than the data's variance, the best"
            " decoder has a row of zeros.",
            _rates(lambda e, c: 0.5 * np.log(e / c)),
        ),
        Mistake(
            "the code supplies λ − βc, not λ: noise is in every direction already (11.15).",
            _rates(lambda e, c: 0.5 * np.log(1 + e / c)),
        ),
        Mistake(
            "the ½ is missing.",
            _rates(lambda e, c: np.log(np.maximum(e / c, 1.0))),
        ),
        Mistake(
            "c divided by beta. A dearer code acts like more noise, not like less.",
            (lambda eigenvalues, c, beta: rates_at(eigenvalues, c / beta**2, beta),),
        ),
        Mistake(
            "beta left the model as it was: at the optimum the decoder knows its price.",
            (lambda eigenvalues, c, beta: rates_at(eigenvalues, c, 1.0),),
        ),
        Mistake(
            "the sum. Asked is the rate of each unit, to see which are dead.",
            (lambda eigenvalues, c, beta: rates_at(eigenvalues, c, beta).sum(),),
        ),
        Mistake(
            "bits. Nats use the natural logarithm.",
            (lambda eigenvalues, c, beta: rates_at(eigenvalues, c, beta) / np.log(2),),
        ),
        Mistake(
            "the noise variance c is missing: unit j dies at β = λ_j / c, not at λ_j.",
            (lambda eigenvalues, c, beta: rates_at(eigenvalues, 1.0, beta),),
        ),
    ),
    hints=(
        "D is error / (2c) and a constant. Divide D + βR by β: which c does the loss believe in?",
        "So the model is that of (11.15) with βc for c: ‖V_j‖² = max(λ_j − βc, 0).",
        "Put it into the result of exercise 14.3.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5, EXERCISE_6)
