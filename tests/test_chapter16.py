"""Chapter 16: the notebook's own measures hold to their definitions; other right answers pass."""

import ast
import io
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from course_utils.exercises import check
from course_utils.exercises.answers import find
from course_utils.exercises.chapter16 import auroc, bits_per_image, leak, precision_at
from course_utils.exercises.chapter16 import resting_point as rest
from course_utils.gaussians import LinearGaussian, exact_posterior

Image = pytest.importorskip("PIL.Image")
NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "16_seven_applications.ipynb"


def functions_of(cell_id, **names):
    """Define the functions of one cell of the notebook, without running the rest of it."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    (source,) = ("".join(c["source"]) for c in cells if c["id"] == cell_id)
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    names["np"] = np
    exec(compile(tree, cell_id, "exec"), names)
    return names


# The measures of the notebook ---------------------------------------------------------------------
@pytest.fixture(scope="module")
def coder():
    return functions_of("coder")


def test_the_notebook_counts_the_bits_that_the_exercise_asks_for(coder):
    rng = np.random.default_rng(0)
    train, test = rng.binomial(7, 0.4, size=(500, 4)), rng.binomial(7, 0.4, size=(90, 4))
    train[:8] = np.arange(8)[:, None]  # every value comes up
    assert coder["code_length"](train, test) == pytest.approx(bits_per_image(train, test, 8))


def test_no_code_is_shorter_than_the_entropy_of_what_it_codes(coder):
    rng = np.random.default_rng(1)
    test = rng.poisson(2.0, size=(3000, 3))
    share = [np.bincount(column) / len(test) for column in test.T]
    entropy = -sum((p[p > 0] * np.log2(p[p > 0])).sum() for p in share)
    for mean in (1.0, 2.0, 4.0):
        train = rng.poisson(mean, size=(3000, 3))
        train[0] = 0
        train[1] = 20  # the coder must know all values
        assert coder["code_length"](train, test) >= entropy


def test_equally_likely_values_cost_their_logarithm(coder):
    codes = np.tile(np.arange(8), (3, 100)).T  # (800, 3)
    assert coder["code_length"](codes, codes) == pytest.approx(3 * np.log2(8))


def test_held_out_codes_stay_among_those_that_the_coder_knows(coder):
    train, test = coder["quantise"](np.array([[-1.0], [2.0]]), np.array([[-9.0], [9.0]]), 0.5)
    assert test.ravel().tolist() == [train.min(), train.max()]


@pytest.fixture(scope="module")
def header_bits():
    return functions_of("jpeg", io=io, Image=Image)["header_bits"]


def saved(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("quality", [1, 30, 90])
def test_an_empty_jpeg_is_nearly_all_header(header_bits, quality):
    content = saved(np.zeros((28, 28), np.uint8), quality=quality)
    assert 0 < 8 * len(content) - header_bits(content) < 200


def test_the_header_of_a_jpeg_does_not_grow_with_the_image(header_bits):
    rng = np.random.default_rng(2)
    small, large = (rng.integers(0, 256, (n, n), dtype=np.uint8) for n in (16, 160))
    small, large = (saved(image, optimize=False) for image in (small, large))
    assert header_bits(small) == header_bits(large)
    assert 8 * len(large) > 5 * header_bits(large)


def test_filling_by_neighbours_is_what_scikit_learn_does():
    from sklearn.impute import KNNImputer

    rng = np.random.default_rng(3)
    known = (rng.random((200, 90)) < rng.random(90)).astype(np.float32)
    images, gap = (rng.random((60, 90)) < 0.5).astype(np.float32), rng.random((60, 90)) < 0.4
    fill = functions_of("neighbours", x_train=known)["by_neighbours"]
    theirs = KNNImputer(n_neighbors=5).fit(known).transform(np.where(gap, np.nan, images))
    apart = np.where(gap[:, None], 0, (images[:, None] - known) ** 2).sum(axis=2)
    apart.sort(axis=1)
    clear = apart[:, 4] < apart[:, 5]  # the fifth and the sixth are not equally near
    assert clear.sum() > 10
    filled = fill(images, gap, 5)
    gap &= clear[:, None]
    np.testing.assert_allclose(filled[gap], theirs[gap], rtol=1e-5)


def test_trust_is_that_of_scikit_learn_and_one_for_the_data_themselves():
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    trust = functions_of("trust", NearestNeighbors=NearestNeighbors)["trust"]
    x = np.random.default_rng(8).normal(size=(80, 5))
    assert trust(x, x) == pytest.approx(1)
    assert trust(x, x[:, :2], m=7) == pytest.approx(trustworthiness(x, x[:, :2], n_neighbors=7))


# The exercises -----------------------------------------------------------------------------------
def test_auroc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    for values in (3, 10, 1000):
        scores, anomalous = rng.integers(0, values, size=200), rng.random(200) < 0.3
        assert auroc(scores, anomalous) == pytest.approx(roc_auc_score(anomalous, scores))


def test_auroc_of_the_opposite_score_is_the_rest_to_one():
    rng = np.random.default_rng(5)
    scores, anomalous = rng.integers(0, 5, size=80), rng.random(80) < 0.4
    assert auroc(scores, anomalous) + auroc(-scores, anomalous) == pytest.approx(1)


def test_precision_of_a_collection_without_classes_is_that_of_guessing():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(600, 2)), rng.integers(0, 4, size=600)
    distance = np.linalg.norm(x[:, None] - x, axis=2)
    assert precision_at(distance, y, 10) == pytest.approx(0.25, abs=0.02)


def linear_model(seed):
    rng = np.random.default_rng(seed)
    v, b, x = rng.normal(size=(3, 8)), rng.normal(size=8), rng.normal(size=8)
    return LinearGaussian(v, b, 0.5), x, rng.random(8) < 0.6


@pytest.mark.parametrize("seed", range(5))
def test_the_loop_of_means_rests_where_the_exercise_says(seed):
    model, x, seen = linear_model(seed)
    expected = rest(x, seen, *model)
    for _ in range(3000):
        z, _cov = exact_posterior(x[None], model)
        x = np.where(seen, x, z[0] @ model.dec_w + model.dec_b)
    np.testing.assert_allclose(x, expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_and_that_is_the_conditional_mean_of_the_gaussian(seed):
    model, x, seen = linear_model(seed)
    cov = model.dec_w.T @ model.dec_w + model.c * np.eye(8)
    weights = np.linalg.solve(cov[np.ix_(seen, seen)], cov[np.ix_(seen, ~seen)])
    mean = model.dec_b[~seen] + (x[seen] - model.dec_b[seen]) @ weights
    np.testing.assert_allclose(rest(x, seen, *model)[~seen], mean)


def test_a_thousand_guessers_leak_to_a_quarter_and_are_honestly_a_tenth():
    rng = np.random.default_rng(7)
    runs = [
        leak(rng.integers(10, size=(1000, 100)), rng.integers(10, size=100)) for _ in range(100)
    ]
    honest, leaked, mean = np.mean(runs, axis=0)
    assert honest == pytest.approx(0.1, abs=0.02) and mean == pytest.approx(0.1, abs=0.002)
    assert leaked == pytest.approx(0.25, abs=0.03)


OTHER_ROADS = {
    "16.1": lambda distance, y, m: np.mean(
        [
            np.mean(
                [y[j] == y[i] for j in sorted(set(range(len(y))) - {i}, key=row.__getitem__)[:m]]
            )
            for i, row in enumerate(distance)
        ]
    ),
    "16.2": lambda scores, anomalous: (
        (rankdata(scores)[anomalous].mean() - (anomalous.sum() + 1) / 2) / (~anomalous).sum()
    ),
    "16.3": lambda train, test, n_values: (
        sum(
            np.log2(len(train) + n_values / 2) - np.log2((column == value).sum() + 0.5)
            for row in test
            for column, value in zip(train.T, row, strict=True)
        )
        / len(test)
    ),
    "16.4": lambda x, seen, v, b, c: (
        b
        + np.where(
            seen,
            x - b,
            (x - b)[seen]
            @ np.linalg.inv((v.T @ v + c * np.eye(len(x)))[np.ix_(seen, seen)])
            @ (v.T @ v)[seen],
        )
    ),
    "16.5": lambda guesses, y: [
        (guesses == y)[(guesses == y)[:, : len(y) // 2].sum(1).argmax(), len(y) // 2 :].mean(),
        (guesses == y)[:, len(y) // 2 :].mean(1).max(),
        (guesses == y)[:, len(y) // 2 :].mean(),
    ],
}


@pytest.mark.parametrize("number", OTHER_ROADS)
def test_a_right_answer_by_another_road_passes(number, capsys):
    check(number, OTHER_ROADS[number])
    assert capsys.readouterr().out.startswith(f"✓ {find(number).number} ")
