"""The exercises of chapter 09, Tangents, and what an autoencoder knows."""

from typing import Any

import numpy as np

from course_utils.exercises.grading import Case, Exercise, Mistake, Wrong, as_array


def _basis(m: int, d: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(d, m)))[0].T  # (m, d), orthonormal rows


# 09.1 --------------------------------------------------------------------------------------------
# The left singular vectors with singular values above zero, but for rounding: as many as the rank.
def tangent_part(delta: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Project on the span of the columns, whatever their lengths, angles and rank."""
    u, s, _ = np.linalg.svd(jacobian, full_matrices=False)
    basis = u[:, s > 1e-10 * s[0]]  # (d, rank)
    return delta @ basis @ basis.T


def _cases_1() -> list[Case]:
    rng = np.random.default_rng(91)
    columns = rng.normal(size=(6, 2))
    dependent = np.stack(
        [columns[:, 0], 2 * columns[:, 0], columns[:, 1], columns.sum(axis=1)], axis=1
    )
    return [
        {"delta": np.array([[1.0, 2.0, 3.0]]), "jacobian": np.array([[2.0], [0.0], [1.0]])},
        {"delta": rng.normal(size=(4, 5)), "jacobian": rng.normal(size=(5, 2)) @ np.diag([3, 0.5])},
        {"delta": rng.normal(size=(3, 6)), "jacobian": dependent},
        {"delta": rng.normal(size=(2, 4)), "jacobian": 1e-12 * rng.normal(size=(4, 2))},
        {"delta": rng.normal(size=(2, 5)), "jacobian": rng.normal(size=(5, 3)) * [1.0, 1e-5, 1e3]},
        {"delta": rng.normal(size=(3, 6)), "jacobian": 1e6 * dependent},
    ]


def _normalised_columns(delta: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    unit = jacobian / np.linalg.norm(jacobian, axis=0)
    return delta @ unit @ unit.T


def _above_a_number(delta: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    u, s, _ = np.linalg.svd(jacobian, full_matrices=False)
    return delta @ u[:, s > 1e-10] @ u[:, s > 1e-10].T


def _short_lost(delta: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    u, s, _ = np.linalg.svd(jacobian, full_matrices=False)
    return delta @ u[:, s > 1e-6 * s[0]] @ u[:, s > 1e-6 * s[0]].T


def _by_qr(delta: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    q = np.linalg.qr(jacobian)[0]
    return delta @ q @ q.T


EXERCISE_1 = Exercise(
    number="09.1",
    solution=(tangent_part,),
    cases=_cases_1,
    mistakes=(
        Mistake(
            "δ J Jᵀ is a projection only if the columns of J have length one and are at right"
            " angles.",
            (lambda delta, j: delta @ j @ j.T,),
        ),
        Mistake(
            "columns of length one, but not at right angles: what two of them share is counted"
            " twice.",
            (_normalised_columns,),
        ),
        Mistake(
            "the normal part. The tangent part is what is left of δ when that is taken off.",
            (lambda delta, j: delta - tangent_part(delta, j),),
        ),
        Mistake(
            "as many directions as J has columns. If a column depends on the others, QR makes up a"
            " direction for it that is not tangent: look at the rank.",
            (_by_qr,),
        ),
        Mistake(
            "a threshold for the singular values that is one number for all Jacobians. Columns may"
            " be very short or long: compare with the largest singular value.",
            (_above_a_number,),
        ),
        Mistake(
            "a direction lost: one column is 10⁸ times as short as another, and still counts."
            " JᵀJ squares the singular values, which hides it; so does a high threshold. Use J"
            " itself.",
            (_short_lost,),
        ),
        Mistake(
            "the change of the factors, δ (J⁺)ᵀ. Multiply by Jᵀ to have an image again.",
            (lambda delta, j: delta @ np.linalg.pinv(j).T,),
        ),
    ),
    hints=(
        "You need an orthonormal basis of the span of J's columns, of as many rows as the rank.",
        "The left singular vectors of J with singular values above zero are one.",
        "Or directly: J J⁺ is the projection on the span, with the pseudoinverse J⁺.",
    ),
)


# 09.2 --------------------------------------------------------------------------------------------
# δ = c Q with c uniform on the unit sphere of R^m, so E cᵀc = I/m and
# E ‖c Q Jᵀ‖² = tr(J Qᵀ Q Jᵀ) / m. Over a whole orthonormal basis the squares add up to ‖J‖_F².
def survival(j: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    """Mean squared length after a unit step along the rows of q, and at right angles to them."""
    m, d = q.shape
    along = ((j @ q.T) ** 2).sum()
    return along / m, ((j**2).sum() - along) / (d - m)


def _cases_2() -> list[Case]:
    rng = np.random.default_rng(92)
    return [
        {"j": np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), "q": np.eye(3)[:1]},
        {"j": rng.normal(size=(5, 5)), "q": _basis(2, 5, rng)},
        {"j": rng.normal(size=(7, 7)), "q": _basis(3, 7, rng)},
    ]


def _survival_of_output(j: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    return survival(j.T, q)


def _per_dimension(j: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    along = ((j @ q.T) ** 2).sum()
    return float(along / q.shape[1]), float(((j**2).sum() - along) / q.shape[1])


EXERCISE_2 = Exercise(
    number="09.2",
    solution=(survival,),
    cases=_cases_2,
    mistakes=(
        Mistake(
            "Q J in place of J Qᵀ: which part of the output is tangent. The question is what"
            " becomes of a tangent input.",
            (_survival_of_output,),
        ),
        Mistake(
            "divided by d. A random direction of the tangent space has m places to go, one of the"
            " normal space d − m.",
            (_per_dimension,),
        ),
        Mistake(
            "the sums. Survival is a mean over directions: divide by m and by d − m.",
            (lambda j, q: (((j @ q.T) ** 2).sum(), (j**2).sum() - ((j @ q.T) ** 2).sum()),),
        ),
        Mistake(
            "lengths. The share is one of squared lengths.",
            (lambda j, q: tuple(np.sqrt(survival(j, q))),),
        ),
        Mistake(
            "the wrong order: asked is the share along the manifold first.",
            (lambda j, q: survival(j, q)[::-1],),
        ),
    ),
    hints=(
        "A step δ becomes δ Jᵀ. Take δ = each of the rows of Q, and average.",
        "The m rows of Q and d − m normal ones are an orthonormal basis; over all of it the squared"
        " lengths add up to ‖J‖_F².",
        "No normal basis is needed: what is off is ‖J‖_F² − ‖J Qᵀ‖_F².",
    ),
)


# 09.3 --------------------------------------------------------------------------------------------
# (R + τ)² = R² + t². For small steps τ ≈ t² / (2R): the smaller R, the sooner one is off.
def longest_step(radius: float, tolerance: float) -> float:
    """Solve √(R² + t²) − R = τ for t."""
    return float(np.sqrt(2 * radius * tolerance + tolerance**2))


def _cases_3() -> list[Case]:
    return [
        {"radius": 1.0, "tolerance": 1.0},
        {"radius": 2.0, "tolerance": 0.25},
        {"radius": 0.5, "tolerance": 3.0},
        {"radius": 300.0, "tolerance": 0.02},
    ]


EXERCISE_3 = Exercise(
    number="09.3",
    solution=(longest_step,),
    cases=_cases_3,
    mistakes=(
        Mistake(
            "the second-order approximation t²/(2R). It is good for t far below R; solve the exact"
            " equation.",
            (lambda radius, tolerance: np.sqrt(2 * radius * tolerance),),
        ),
        Mistake(
            "the sign of τ²: from (R + τ)² = R² + t² follows t² = 2Rτ + τ².",
            (lambda radius, tolerance: np.sqrt(abs(2 * radius * tolerance - tolerance**2)),),
        ),
        Mistake(
            "t squared. Take the root.",
            (lambda radius, tolerance: 2 * radius * tolerance + tolerance**2,),
        ),
        Mistake(
            "τ itself: right for a step straight off the sphere. Along the tangent one leaves it"
            " more slowly, so the step may be longer.",
            (lambda radius, tolerance: tolerance,),
        ),
    ),
    hints=(
        "Centre, start and end of the step are the corners of a right-angled triangle.",
        "The end is √(R² + t²) from the centre, so √(R² + t²) − R from the sphere.",
        "Set that equal to τ and solve for t.",
    ),
)


# 09.4 --------------------------------------------------------------------------------------------
# V = (QW)⁻¹ Q. The map is a projection onto T, but along the directions that W cannot see, not
# along the normals. The answer is tan² of the largest principal angle between W's columns and T.
def worst_survival(w: np.ndarray, q: np.ndarray) -> float:
    """The largest squared singular value of the normal part of W (QW)⁻¹ Q."""
    r = w @ np.linalg.inv(q @ w) @ q  # x -> x r
    off = r - q.T @ q @ r  # only the normal part of x goes in
    return np.linalg.svd(off, compute_uv=False)[0] ** 2


def _cases_4() -> list[Case]:
    rng = np.random.default_rng(94)
    cases: list[Case] = [{"w": np.array([[1.0], [2.0]]), "q": np.array([[1.0, 0.0]])}]
    for m, d in ((1, 4), (2, 5), (3, 7)):
        cases.append({"w": rng.normal(size=(d, m)), "q": _basis(m, d, rng)})
    return cases


def _without_split(w: np.ndarray, q: np.ndarray) -> float:
    return float(np.linalg.norm(w @ np.linalg.solve(q @ w, q), 2) ** 2)


def _normal_lengths(w: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Squared singular values of the map from normal inputs, largest first: (m,)."""
    normal = np.eye(len(w)) - q.T @ q
    return np.linalg.svd(normal @ w @ np.linalg.solve(q @ w, q), compute_uv=False)[: len(q)] ** 2


def _best_survival(w: np.ndarray, q: np.ndarray) -> float:
    return float(_normal_lengths(w, q)[-1])


def _mean_survival(w: np.ndarray, q: np.ndarray) -> float:
    return float(_normal_lengths(w, q).sum() / (len(w) - len(q)))


EXERCISE_4 = Exercise(
    number="09.4",
    solution=(worst_survival,),
    cases=_cases_4,
    mistakes=(
        Mistake(
            "the worst direction of all. Take the tangent part of the input off first: that one"
            " adds 1.",
            (_without_split,),
        ),
        Mistake(
            "the length, not the squared length.",
            (lambda w, q: np.sqrt(worst_survival(w, q)),),
        ),
        Mistake(
            "zero: true only if the encoder reads tangent directions alone. The decoder's output"
            " is tangent, the inputs that move it need not be.",
            (lambda w, q: 0.0,),
        ),
        Mistake(
            "the decoder Q: with it the reconstruction of q is q W Q, not q. Use (Q W)⁻¹ Q.",
            (lambda w, q: np.linalg.norm((np.eye(q.shape[1]) - q.T @ q) @ w @ q, 2) ** 2,),
        ),
        Mistake(
            "the smallest principal angle. The worst direction belongs to the largest.",
            (_best_survival,),
        ),
        Mistake(
            "the mean over the normal directions. Asked is the largest share.",
            (_mean_survival,),
        ),
    ),
    hints=(
        "All reconstructions must lie in the span of Q, so V = A Q with some A of shape (m, m).",
        "Q W V = Q must hold: A = (Q W)⁻¹.",
        "Restrict the map x ↦ x W V to normal inputs, (I − Qᵀ Q) W V, and take its largest singular"
        " value, squared.",
    ),
)


# 09.5 --------------------------------------------------------------------------------------------
# Var x_1 = w²/3, Var x_2 = c² (w⁴/5 - w⁴/9) = 4 c² w⁴ / 45, and they are uncorrelated.
# Equal at w² = 15 / (4 c²): w is nearly four times the radius of curvature, 1/(2c).
def too_wide(c: float) -> float:
    """Half-width beyond which the variance across the parabola exceeds that along it."""
    return float(np.sqrt(15) / (2 * c))


def _cases_5() -> list[Case]:
    return [{"c": 1.0}, {"c": 0.2}, {"c": 3.0}]


def _judge_5(case: Case, came: Any) -> None:
    number = as_array(came)
    if number is None or number.shape != () or not np.isfinite(number) or number <= 0:
        raise Wrong("one positive number", f"{came!r}"[:60])
    c, w = case["c"], float(number)

    def tangent_first(width: float) -> bool:
        t = width * (np.arange(20001) / 10000 - 1)
        points = np.stack([t, c * t**2], axis=1)
        leading = np.linalg.eigh(np.cov(points.T))[1][:, -1]
        return bool(abs(leading[0]) > abs(leading[1]))

    if not tangent_first(0.999 * w):
        raise Wrong("the tangent still leading just below w", f"w = {w:.4g}: it is not")
    if tangent_first(1.001 * w):
        raise Wrong("the normal leading just above w", f"w = {w:.4g}: the tangent still is")


EXERCISE_5 = Exercise(
    number="09.5",
    solution=(too_wide,),
    cases=_cases_5,
    judge=_judge_5,
    mistakes=(
        Mistake(
            "the mean of the squares, c² w⁴ / 5. PCA takes the mean off first: the variance is"
            " c² w⁴ (1/5 − 1/9).",
            (lambda c: np.sqrt(5 / 3) / c,),
        ),
        Mistake(
            "where the parabola is as high as w. PCA compares variances, not extents.",
            (lambda c: 1 / c,),
        ),
        Mistake(
            "w². Take the root.",
            (lambda c: 15 / (4 * c**2),),
        ),
        Mistake(
            "the whole width. w is half of it: x₁ runs from −w to w.",
            (lambda c: np.sqrt(15) / c,),
        ),
    ),
    hints=(
        "x₁ and x₁² are uncorrelated on [−w, w], so PCA's directions are the two axes.",
        "E x₁² = w²/3 and E x₁⁴ = w⁴/5. The variance of c x₁² is c² (E x₁⁴ − (E x₁²)²).",
        "Set w²/3 equal to c² w⁴ · 4/45.",
    ),
)

EXERCISES = (EXERCISE_1, EXERCISE_2, EXERCISE_3, EXERCISE_4, EXERCISE_5)
