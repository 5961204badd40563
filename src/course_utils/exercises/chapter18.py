"""The exercises of chapter 18, β-VAE and disentanglement."""

from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array


# 18.1 --------------------------------------------------------------------------------------------
def mig(information: np.ndarray, entropy_bits: np.ndarray) -> np.floating:
    """Mutual information gap: (k, m) nats, (m,) bits -> one number."""
    second, first = np.sort(information, axis=0)[-2:]  # along the code numbers
    return ((first - second) / (entropy_bits * np.log(2))).mean()


def _cases_1() -> list[Case]:
    rng = np.random.default_rng(181)
    return [
        {
            "information": np.array([[1.2, 0.1], [0.4, 0.3], [0.1, 0.9]]),
            "entropy_bits": np.array([2.0, 3.0]),
        },
        {
            "information": rng.uniform(0.05, 1.5, size=(6, 4)),
            "entropy_bits": rng.uniform(1, 4, size=4),
        },
        {
            "information": rng.uniform(0.05, 1.5, size=(4, 4)),
            "entropy_bits": rng.uniform(1, 4, size=4),
        },
        {  # a tie for the first place, a factor that nobody knows
            "information": np.array([[0.9, 0.0, 0.3], [0.9, 0.0, 1.1], [0.2, 0.0, 0.7]]),
            "entropy_bits": np.array([2.0, 1.5, 3.0]),
        },
        {
            "information": rng.uniform(0.05, 1.5, size=(2, 5)),
            "entropy_bits": rng.uniform(1, 4, size=5),
        },
    ]


def _with_gap(gap: Any) -> Any:
    return lambda information, bits: (gap(np.sort(information, axis=0)) / bits / np.log(2)).mean()


def _next_smaller(information: np.ndarray, bits: np.ndarray) -> np.ndarray:
    gaps = []
    for column in information.T:
        ordered = np.unique(column)
        gaps.append(ordered[-1] - ordered[-2] if len(ordered) > 1 else 0.0)
    return (np.array(gaps) / (np.log(2) * bits)).mean()


def _by_numbers(information: np.ndarray, bits: np.ndarray) -> np.ndarray:
    ordered = np.sort(information, axis=1)
    return ((ordered[:, -1] - ordered[:, -2]).mean() / (bits * np.log(2))).mean()


EXERCISE_1 = Exercise(
    number="18.1",
    solution=(mig,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "the largest minus the smallest. The gap is to the second largest: the nearest rival.",
            (_with_gap(lambda s: s[-1] - s[0]),),
        ),
        Mistake(
            "a tie skipped. Where two numbers know equally much the gap is 0.",
            (_next_smaller,),
        ),
        Mistake(
            "the best number's information alone, without the gap.",
            (_with_gap(lambda s: s[-1]),),
        ),
        Mistake(
            "nats over bits. 1 bit = ln 2 = 0.693 nats: multiply the entropies by ln 2.",
            (lambda information, bits: np.log(2) * mig(information, bits),),
        ),
        Mistake(
            "multiplied by the wrong side: a bit is less than a nat, so bits become fewer nats.",
            (lambda information, bits: np.log(2) ** 2 * mig(information, bits),),
        ),
        Mistake(
            "not divided by the entropy: a gap in nats, not a share.",
            (lambda information, bits: np.log(2) * mig(information, np.ones_like(bits)),),
        ),
        Mistake(
            "sorted along the factors. The rivals are code numbers, the rows: axis 0.",
            (_by_numbers,),
        ),
        Mistake(
            "a sum over factors. The MIG is a mean.",
            (lambda information, bits: len(bits) * mig(information, bits),),
        ),
        Mistake(
            "the mean gap over the mean entropy. Each factor's gap has its own entropy.",
            (
                lambda information, bits: (
                    mig(information, np.ones_like(bits)) / np.asarray(bits).mean()
                ),
            ),
        ),
    ),
    hints=(
        "Sort each column: np.sort(information, axis=0). The last two rows are what you need.",
        "One bit is ln 2 nats. Bring the entropies to nats first.",
        "The mean over factors of (best − second best) / entropy.",
    ),
)


# 18.2 --------------------------------------------------------------------------------------------
# A kept direction has the posterior variance s = βc/λ. Averaged over images mu² is 1 − s, so the KL
# is ½ (1 − s + s − 1 − ln s) = ½ ln(λ/βc). Its error is βc, the water: s ‖V‖² = s (λ − βc) for the
# blur, and s² λ that the mean code loses. A dropped one loses all, λ.
def water(
    eigenvalues: np.ndarray, beta: float, c: float
) -> tuple[np.floating | float, np.floating | float]:
    """Rate and distortion (constant aside) of the best linear β-VAE."""
    level = beta * c
    rate = 0.5 * np.log(np.maximum(eigenvalues, level) / level).sum()
    return rate, np.minimum(eigenvalues, level).sum() / (2 * c)


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(182)
    return [
        {"eigenvalues": np.array([2.0, 0.9, 0.1]), "beta": 4.0, "c": 0.1},
        {"eigenvalues": rng.exponential(size=12), "beta": 2.5, "c": 0.2},
        {"eigenvalues": rng.exponential(size=30), "beta": 0.5, "c": 0.7},
        {"eigenvalues": np.array([0.3, 0.05, 0.0, 0.4]), "beta": 8.0, "c": 0.05},
        {"eigenvalues": np.array([0.3, 0.05, 0.2]), "beta": 8.0, "c": 0.1},  # all under water
    ]


def _water_with(rate: Any = None, distortion: Any = None) -> Any:
    def answer(eigenvalues: np.ndarray, beta: float, c: float) -> tuple[Any, Any]:
        right = water(eigenvalues, beta, c)
        level = beta * c
        return (
            rate(eigenvalues, level, c) if rate else right[0],
            distortion(eigenvalues, level, c) if distortion else right[1],
        )

    return answer


EXERCISE_2 = Exercise(
    number="18.2",
    solution=(water,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "directions under water have a negative rate here. They are dropped: their rate is 0.",
            (
                _water_with(
                    rate=lambda v, level, c: 0.5 * np.log(np.maximum(v, 1e-300) / level).sum()
                ),
            ),
        ),
        Mistake(
            "the rate lacks its ½: the KL is ½ ln of a ratio of variances.",
            (_water_with(rate=lambda v, level, c: np.log(np.maximum(v, level) / level).sum()),),
        ),
        Mistake(
            "log2 gives bits. The course counts in nats.",
            (
                _water_with(
                    rate=lambda v, level, c: 0.5 * np.log2(np.maximum(v, level) / level).sum()
                ),
            ),
        ),
        Mistake(
            "½ ln(1 + λ/βc) is the rate of a noisy channel. The data's variance holds the noise.",
            (_water_with(rate=lambda v, level, c: 0.5 * np.log1p(v / level).sum()),),
        ),
        Mistake(
            "a dropped direction loses all its variance λ, not βc.",
            (_water_with(distortion=lambda v, level, c: len(v) * level / (2 * c)),),
        ),
        Mistake(
            "a kept direction is not free: its error is the water level.",
            (_water_with(distortion=lambda v, level, c: v[v <= level].sum() / (2 * c)),),
        ),
        Mistake(
            "the error of the mean code. Decoded from a draw, a kept direction has the error βc.",
            (
                _water_with(
                    distortion=lambda v, level, c: (
                        (np.where(v > level, level**2 / np.maximum(v, level), v)).sum() / (2 * c)
                    )
                ),
            ),
        ),
        Mistake(
            "divided by c. (18.4) is the squared error; the distortion divides it by 2c.",
            (_water_with(distortion=lambda v, level, c: np.minimum(v, level).sum() / c),),
        ),
        Mistake(
            "the water stands at c. The price raises it to βc.",
            (lambda v, beta, c: water(v, 1.0, c),),
        ),
        Mistake(
            "divided by 2βc. That is the distortion in the eyes of the noise βc; D has 2c.",
            (_water_with(distortion=lambda v, level, c: np.minimum(v, level).sum() / (2 * level)),),
        ),
    ),
    hints=(
        "A kept direction has variance λ in the data and βc / λ in the posterior. What is its KL,"
        " averaged over images, where the mean of mu² is 1 − βc / λ?",
        "The rate of a kept direction is ½ ln(λ / βc), of a dropped one 0.",
        "Errors: min(λ, βc) for each direction. The distortion is their sum by 2c.",
    ),
)


# 18.3 --------------------------------------------------------------------------------------------
def beaten(beta: np.ndarray, rate: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Mark each run that another one beats at the run's own price: (n,) each -> (n,)."""
    at_price = distortion[None, :] + beta[:, None] * rate[None, :]  # (price of i, run j)
    return at_price.min(axis=1) < np.diag(at_price)


def _cases_3() -> list[Case]:
    rng = np.random.default_rng(183)
    beta = np.repeat([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], 4)[rng.permutation(24)]
    return [
        {
            "beta": np.array([1.0, 2.0, 4.0]),
            "rate": np.array([14.0, 9.0, 7.0]),
            "distortion": np.array([16.0, 18.0, 30.0]),
        },
        {
            "beta": beta,
            "rate": 12 - 3 * np.log(beta) + rng.normal(size=24),
            "distortion": 10 + 3 * beta + rng.normal(size=24),
        },
        {  # the run at 16 is beaten by the one at 2 alone, three prices away
            "beta": np.array([16.0, 8.0, 4.0, 2.0]),
            "rate": np.array([4.0, 4.6, 6.0, 3.9]),
            "distortion": np.array([40.0, 37.0, 33.0, 38.0]),
        },
        {  # a run at a high price that took the wrong side of the trade
            "beta": np.array([0.25, 1.0, 16.0, 4.0]),
            "rate": np.array([20.0, 12.0, 60.0, 6.0]),
            "distortion": np.array([10.0, 14.0, 5.0, 22.0]),
        },
        {  # two runs with equal results do not beat each other; they beat the third by hundredths
            "beta": np.array([4.0, 4.0, 4.0, 1.0]),
            "rate": np.array([5.0, 5.0, 5.5, 9.0]),
            "distortion": np.array([30.0, 30.0, 28.02, 20.0]),
        },
    ]


def _off_the_hull(beta: np.ndarray, rate: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    prices = np.geomspace(1e-4, 1e4, 4001)
    cost = distortion + prices[:, None] * rate
    return ~(cost <= cost.min(axis=1, keepdims=True)).any(axis=0)


def _by_neighbours(beta: np.ndarray, rate: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    prices = np.unique(beta)
    step = np.searchsorted(prices, beta)
    cost = distortion[None, :] + beta[:, None] * rate[None, :]
    near = np.abs(step[:, None] - step[None, :]) <= 1
    return (near & (cost < np.diag(cost)[:, None])).any(axis=1)


EXERCISE_3 = Exercise(
    number="18.3",
    solution=(beaten,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "losses at different prices compared: another β in the loss is another question.",
            (lambda beta, rate, d: d + beta * rate > (d + beta * rate).min(),),
        ),
        Mistake(
            "compared by ELBO, at the price 1. The run was asked to be best at its own β.",
            (lambda beta, rate, d: d + rate > (d + rate).min(),),
        ),
        Mistake(
            "the other runs' prices: row i must hold everybody at the price of run i.",
            (
                lambda beta, rate, d: np.any(
                    d[None, :] + beta[None, :] * rate[None, :]
                    < d[:, None] + beta[None, :] * rate[:, None],
                    axis=1,
                ),
            ),
        ),
        Mistake(
            "the price multiplies the rate, not the distortion.",
            (
                lambda beta, rate, d: np.any(
                    beta[:, None] * d[None, :] + rate[None, :] < (beta * d + rate)[:, None], axis=1
                ),
            ),
        ),
        Mistake(
            "every run counts as a rival, not only those of the next price up or down.",
            (_by_neighbours,),
        ),
        Mistake(
            "the convex hull. A run on it is the best at some price, perhaps not at its own.",
            (_off_the_hull,),
        ),
        Mistake(
            "a tolerance of one nat. Cheaper by a hundredth is cheaper.",
            (
                lambda beta, rate, d: np.any(
                    d[None, :] + beta[:, None] * rate[None, :] < (d + beta * rate - 1)[:, None],
                    axis=1,
                ),
            ),
        ),
        Mistake(
            "a tie is no defeat: each run costs as little as itself.",
            (
                lambda beta, rate, d: (
                    (d[None, :] + beta[:, None] * rate[None, :] <= (d + beta * rate)[:, None]).sum(
                        axis=1
                    )
                    > 1
                ),
            ),
        ),
        Mistake(
            "only runs that are worse in both terms. A lower rate may pay for a higher distortion.",
            (
                lambda beta, rate, d: np.any(
                    (rate[None, :] < rate[:, None]) & (d[None, :] < d[:, None]), axis=1
                ),
            ),
        ),
        Mistake(
            "turned round: these are the runs that nobody beats.",
            (lambda beta, rate, d: ~beaten(beta, rate, d),),
        ),
    ),
    hints=(
        "The price of run i is beta[i]. What would run j cost at that price?",
        "cost[i, j] = distortion[j] + beta[i] * rate[j]. The run's own cost is cost[i, i].",
        "Run i is beaten if the minimum of row i is below cost[i, i].",
    ),
)


# 18.4 --------------------------------------------------------------------------------------------
# With c = cos α, s = sin α and r = σ₂/σ₁ the product of the new precisions, in units of the old, is
# (c² r² + s²)(s² r² + c²) / r² = 1 + c² s² (r − 1/r)². Largest at 45°, if r ≠ 1. The slope is zero
# at 45° and at 0, and near both training feels it least. 45° is a top, which the least turn leaves.
# 0 is the bottom: the cost grows as α², so the last degrees are worth almost nothing.
def pair_cost(sigma_1: np.ndarray, sigma_2: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What two code numbers of these widths pay for a turn by alpha, in nats."""
    r = sigma_2 / sigma_1
    return 0.5 * np.log(1 + 0.25 * np.sin(2 * alpha) ** 2 * (r - 1 / r) ** 2)


def _cases_4() -> list[Case]:
    rng = np.random.default_rng(184)
    return [
        {
            "sigma_1": np.array([0.5, 0.2]),
            "sigma_2": np.array([1.0, 0.6]),
            "alpha": np.array([np.pi / 4, np.pi / 6]),
        },
        {
            "sigma_1": rng.uniform(0.05, 1, size=20),
            "sigma_2": rng.uniform(0.05, 1, size=20),
            "alpha": rng.uniform(-3, 3, size=20),
        },
        {
            "sigma_1": np.full(9, 0.3),
            "sigma_2": np.geomspace(0.1, 0.9, 9),
            "alpha": np.linspace(0.1, 1.4, 9),
        },
        {  # no turn, a quarter turn, equal widths; widths far apart
            "sigma_1": np.array([[0.4, 0.7, 0.6], [0.001, 2.0, 0.3]]),
            "sigma_2": np.array([[0.9, 0.1, 0.6], [1.0, 0.01, 1.5]]),
            "alpha": np.array([[0.0, np.pi / 2, 1.0], [0.7, -0.4, 5.0]]),
        },
    ]


def _by_variances(sigma_1: np.ndarray, sigma_2: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    v_1, v_2 = sigma_1, sigma_2  # read as variances
    return pair_cost(np.sqrt(v_1), np.sqrt(v_2), alpha)


def _with_marginals(sigma_1: np.ndarray, sigma_2: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    # (18.9)'s sum with the diagonal of S′ in place of its inverse's
    v_1, v_2 = sigma_1**2, sigma_2**2
    c, s = np.cos(alpha) ** 2, np.sin(alpha) ** 2
    a, b = c * v_1 + s * v_2, s * v_1 + c * v_2
    return 0.5 * (np.log(v_1 * v_2) + np.log(a) + np.log(b))


EXERCISE_4 = Exercise(
    number="18.4",
    solution=(pair_cost,),
    cases=_cases_4,
    mistakes=(
        Mistake("the ½ of (18.9) is missing.", (lambda a, b, t: 2 * pair_cost(a, b, t),)),
        Mistake(
            "the widths taken for variances. (18.9) has σ².",
            (_by_variances,),
        ),
        Mistake(
            "the diagonal of S′ where its inverse's belongs: precisions add, not variances.",
            (_with_marginals,),
        ),
        Mistake(
            "angles in degrees. α is in radians.",
            (lambda a, b, t: pair_cost(a, b, np.deg2rad(t)),),
        ),
        Mistake(
            "sin² α cos² α is ¼ sin² 2α.",
            (lambda a, b, t: 0.5 * np.log(1 + np.sin(2 * t) ** 2 * (b / a - a / b) ** 2),),
        ),
        Mistake(
            "the angle's double is missing: nothing is gained or lost at a quarter turn.",
            (lambda a, b, t: 0.5 * np.log(1 + 0.25 * np.sin(t) ** 2 * (b / a - a / b) ** 2),),
        ),
        Mistake(
            "the first term of ln(1 + u) alone: good for small turns only.",
            (lambda a, b, t: 0.125 * np.sin(2 * t) ** 2 * (b / a - a / b) ** 2,),
        ),
    ),
    hints=(
        "Q has the rows (c, s) and (−s, c). The new precisions are c²/σ₁² + s²/σ₂² and"
        " s²/σ₁² + c²/σ₂².",
        "Multiply the two and by σ₁²σ₂²; use c² + s² = 1, so c⁴ + s⁴ = 1 − 2c²s².",
        "½ ln(1 + c²s² (σ₂/σ₁ − σ₁/σ₂)²).",
    ),
)


# 18.5 --------------------------------------------------------------------------------------------
def spoil(z: np.ndarray) -> np.ndarray:
    """Say everything twice: (n, k) -> (n, 2k)."""
    return np.concatenate([z, z], axis=1)  # the second best is as good as the best


def _cases_5() -> list[Case]:
    rng = np.random.default_rng(185)
    return [{"z": rng.normal(size=(1500, 3))}, {"z": rng.uniform(-1, 1, size=(1200, 4)) ** 3}]


def _judge_5(case: Case, came: Any) -> None:
    from course_utils.disentanglement import (
        entropies,
        mutual_information,
        mutual_information_gap,
    )

    z, code = case["z"], as_array(came)
    if code is None or code.ndim != 2 or len(code) != len(z) or code.shape[1] < 2:
        shape = "no array of numbers" if code is None else f"shape {code.shape}"
        raise Wrong(f"an array of shape ({len(z)}, two or more)", shape)
    if not np.isfinite(code).all():
        raise Wrong("finite numbers", "nan or infinite numbers")
    with_bias = np.column_stack([code, np.ones(len(z))])
    rest = z - with_bias @ np.linalg.lstsq(with_bias, z, rcond=None)[0]
    if np.abs(rest).max() > 1e-6 * np.abs(z).max():
        share = float((rest**2).sum() / ((z - z.mean(axis=0)) ** 2).sum())
        raise Wrong("z given back by a linear map", f"{share:.2g} of its variance is lost")
    gap = mutual_information_gap(mutual_information(code, z), entropies(z)).mean()
    if gap >= 0.03:
        raise Wrong("a MIG below 0.03 at ten bins", f"a MIG of {gap:.3f}")


EXERCISE_5 = Exercise(
    number="18.5",
    solution=(spoil,),
    cases=_cases_5,
    judge=_judge_5,
    mistakes=(
        Mistake("nothing changed: this code has a MIG near 1.", (lambda z: 1.0 * z,)),
        Mistake(
            "order and sign do not matter to the MIG: each factor still has one number.",
            (lambda z: -z[:, ::-1],),
        ),
        Mistake("a code that knows nothing: z is lost.", (lambda z: 0.0 * z,)),
        Mistake(
            "only the first number has a rival. Every factor needs one.",
            (lambda z: np.column_stack([z, z[:, 0]]),),
        ),
        Mistake(
            "a shared sum gives a rival that knows too little. It must know as much as the best.",
            (lambda z: np.column_stack([z, z.sum(axis=1)]),),
        ),
    ),
    hints=(
        "The gap is to the second best. When is the second as good as the best?",
        "Give each factor two numbers.",
        "np.concatenate([z, z], axis=1).",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
