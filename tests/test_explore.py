"""The drawings that readers move: their numbers, and what they show in a browser.

Each drawing is opened in Chromium from file://, set by hand, by key and by script, and the numbers
that it shows are compared with those that the course's own functions give.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from course_utils import plots
from course_utils.explore import VARIABLE, close, decoded, encoded, read, share
from course_utils.gaussians import LinearGaussian, elbo_terms, exact_posterior, log_marginal
from course_utils.stroke_digits import RANGES, draw, draw_jacobian, middle

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "book" / "_static" / "explore"
NAMES = sorted(path.stem for path in (FOLDER / "data").glob("*.js"))
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium to open the drawings with")


# ---- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, error", [("uint8", 0.5 / 255), ("float16", 1e-3), ("float32", 1e-6)]
)
def test_an_array_comes_back(kind: str, error: float) -> None:
    array = np.random.default_rng(0).random((3, 4))
    assert np.abs(decoded(encoded("a", array, kind)) - array).max() <= error


def test_a_constant_array_comes_back() -> None:
    assert np.array_equal(decoded(encoded("a", np.full(3, 2.0), "uint8")), [2, 2, 2])


def test_in_a_readers_session_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    share("no-such-drawing", {"a": np.ones(2)})


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    numbers = {"a": np.arange(6.0).reshape(2, 3), "names": ["x", "y"], "c": 0.5}
    monkeypatch.setenv(VARIABLE, f"write {tmp_path}")
    share("drawing", numbers)
    monkeypatch.setenv(VARIABLE, f"compare {tmp_path}")
    share("drawing", numbers)
    assert read(tmp_path / "drawing.js")["names"] == ["x", "y"]
    return numbers


@pytest.mark.parametrize(
    "changed",
    [
        {"a": np.arange(6.0).reshape(2, 3) + 0.1},
        {"a": np.arange(6.0)},
        {"names": ["x", "z"]},
        {"c": 0.51},
        {"more": 1},
    ],
)
def test_another_run_is_noticed(written: dict[str, Any], changed: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="make outputs"):
        share("drawing", written | changed)


def test_networks_are_compared_by_what_they_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"write {tmp_path}")
    share("net", {"w": np.zeros(3)}, shown={"loss": (100.0, 1.0)})
    monkeypatch.setenv(VARIABLE, f"compare {tmp_path}")
    share("net", {"w": np.ones(3)}, shown={"loss": (100.9, 1.0)})
    with pytest.raises(AssertionError, match="loss: 101.1"):
        share("net", {"w": np.zeros(3)}, shown={"loss": (101.1, 1.0)})
    with pytest.raises(AssertionError, match="loss: nan"):
        share("net", {"w": np.zeros(3)}, shown={"loss": (np.nan, 1.0)})
    with pytest.raises(AssertionError):
        share("net", {"w": np.zeros(4)}, shown={"loss": (100.0, 1.0)})


@pytest.mark.parametrize("changed", ["names", "shown"])
def test_of_a_network_names_are_compared_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.setenv(VARIABLE, f"write {tmp_path}")
    share("net", {"names": ["a", "b"]}, shown={"loss": (100.0, 1.0)})
    monkeypatch.setenv(VARIABLE, f"compare {tmp_path}")
    names, label = (["a", "c"], "loss") if changed == "names" else (["a", "b"], "error")
    with pytest.raises(AssertionError, match="make outputs"):
        share("net", {"names": names}, shown={label: (100.0, 1.0)})


def test_nan_and_unknown_kinds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"write {tmp_path}")
    with pytest.raises(ValueError, match="a"):
        share("drawing", {"a": np.array([1.0, np.nan])})
    with pytest.raises(ValueError, match="float64"):
        share("drawing", {"a": np.ones(2)}, kinds={"a": "float64"})


def test_bytes_may_differ_by_a_step() -> None:
    a, b = (encoded("a", np.array([0.0, v, 1.0]), "uint8") for v in (0.5, 0.5039))
    assert close(a, b, 0.0)
    assert not close(a, encoded("a", np.array([0.0, 0.52, 1.0]), "uint8"), 0.0)


# ---- places ------------------------------------------------------------------------------------


def places(path: Path) -> list[str]:
    """The drawings that a page asks for."""
    return re.findall(r"<!--\s*explore:\s*([\w-]+)", path.read_text(encoding="utf-8"))


def test_every_drawing_has_a_place_and_every_place_a_drawing() -> None:
    asked = {name for path in (ROOT / "notebooks").glob("*.ipynb") for name in places(path)}
    assert asked == set(NAMES) == {path.stem for path in FOLDER.glob("*.js")} - {"core"}
    assert places(ROOT / "book" / "index.md") == ["plane"]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_chapter_shares_what_it_places(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    shared = [
        name
        for cell in cells
        if "explore" in cell.metadata.get("tags", [])
        for name in re.findall(r'explore\.share\(\s*"([\w-]+)"', cell.source)
    ]
    assert shared == places(path)


def test_drawings_are_small() -> None:
    scripts = [path.stat().st_size for path in FOLDER.glob("*.js")]
    assert max(scripts) < 20_000
    assert max((FOLDER / "data" / f"{name}.js").stat().st_size for name in NAMES) <= 300_000


def test_the_classes_have_the_colours_of_the_figures() -> None:
    style = (FOLDER / "explore.css").read_text()
    assert re.findall(r"--c\d: (#\w+);", style) == list(plots.COLORS)


# ---- in a browser ------------------------------------------------------------------------------

HARNESS = (Path(__file__).parent / "explore_harness.html").read_text("utf-8")

ACTS: dict[str, list[dict[str, Any]]] = {
    "denoise": [{"set": {"digit": 2, "sigma": 0.3}}, {"slide": [0, 2]}, {"click": 0}],
    "elbo": [
        {"set": {"mu": 1.6, "sigma": 0.3012}},
        {"key": "ArrowLeft", "handle": 0},
        {"key": "ArrowRight", "handle": 1, "shift": True},
        {"drag": [-40, 0], "handle": 0},
        {"set": {"mu": 3, "sigma": 1}},
        {"key": "ArrowLeft", "handle": 1},
        {"key": "ArrowLeft", "handle": 1, "alt": True},
    ],
    "pca": [{"set": {"digit": 5, "k": 8}}, {"slide": [0, 8]}, {"click": 0}],
    "plane": [
        {"set": {"z": [0.5, -1.25]}},
        {"key": "ArrowUp", "handle": 2, "shift": True},
        {"drag": [20, 30], "handle": 2},
        {"slide": [0, 25]},
    ],
    "price": [{"set": {"beta": 8}}, {"slide": [0, -2]}],
    "reparameterise": [{"set": {"mu": -2, "sigma": 1.5}}, {"slide": [1, -10]}],
    "strokes": [
        {
            "set": {
                "digit": 3,
                "factors": [float(v) for v in RANGES[:, 0] * 0.5 + RANGES[:, 1] * 0.5],
            }
        },
        {"slide": [0, 30]},
        {"click": 7},
    ],
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the drawings show, after each act."""
    folder = tmp_path_factory.mktemp("drawings")
    divs = "".join(
        f'<div class="explore" data-explore="{n}"><p class="explore-still"></p></div>'
        for n in NAMES
    )
    page = HARNESS.replace("PLACES", divs).replace("FOLDER", FOLDER.as_uri())
    page = page.replace("ACTS[", json.dumps(ACTS) + "[").replace("NAMES", json.dumps(NAMES))
    harness = folder / "harness.html"
    harness.write_text(page, "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    for attempt in range(3):  # a busy machine may write the page before its scripts have come
        done = subprocess.run(
            [CHROMIUM, *options, "--no-first-run", f"--user-data-dir={folder / f'user{attempt}'}"]
            + ["--virtual-time-budget=60000", "--dump-dom", harness.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
        )
        found = BeautifulSoup(done.stdout, "html.parser").select_one("#seen")
        if found is not None:
            break
    assert found is not None, done.stdout[-500:] + done.stderr[-2000:]
    return dict(json.loads(found.get_text()))


def numbers(name: str) -> dict[str, Any]:
    """The numbers of a drawing, arrays decoded."""
    stored = read(FOLDER / "data" / f"{name}.js")
    return {
        k: decoded(v) if isinstance(v, dict) and "base64" in v else v for k, v in stored.items()
    }


@needs_chromium
@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_can_be_reached_by_keyboard_and_read_aloud(
    seen: dict[str, Any], name: str
) -> None:
    assert "error" not in seen
    assert all(seen[name][-1].values()), seen[name][-1]


@needs_chromium
def test_elbo(seen: dict[str, Any]) -> None:
    given = numbers("elbo")
    model = LinearGaussian(np.array([[given["v"]]]), np.array([given["b"]]), given["c"])
    x = np.array([[given["x"]]])
    mean, cov = (float(part[0, 0]) for part in exact_posterior(x, model))
    views = seen["elbo"][:-1]
    assert [round(view["mu"], 2) for view in views[:3]] == [1.6, 1.55, 1.55]
    assert views[2]["sigma"] == pytest.approx(0.8012, abs=1e-6)  # ten steps of 0.05
    assert views[3]["mu"] < 1.3  # dragged to the left
    for view in views:
        q = np.array([[view["mu"]]]), 2 * np.log([[view["sigma"]]])
        log_p, kl = elbo_terms(x, *q, model)
        assert view["elbo"] == pytest.approx(float(log_p[0] - kl[0]), abs=1e-9)
        between = [
            torch.distributions.Normal(*pair)
            for pair in ((view["mu"], view["sigma"]), (mean, cov**0.5))
        ]
        gap = torch.distributions.kl_divergence(*between).item()
        assert view["gap"] == pytest.approx(gap, abs=1e-6)
        assert view["elbo"] + view["gap"] == pytest.approx(log_marginal(x, model)[0], abs=1e-9)
        assert f"ELBO {view['elbo']:.2f}".replace("-", "−") in view["words"]
        shown = [float(n.replace("−", "-")) for n in re.findall(r"[−\d.]+\d", view["words"])]
        assert shown[0] + shown[1] == pytest.approx(shown[2], abs=1e-9)
    # Near the right end of the axis the handle of the width stands on the left: its key widens.
    assert [view["sigma"] for view in views[4:]] == pytest.approx([1, 1.05, 1.05])


@needs_chromium
def test_reparameterise(seen: dict[str, Any]) -> None:
    eps = numbers("reparameterise")["eps"]
    for view, mu, sigma in zip(seen["reparameterise"], (-2, -2), (1.5, 1.0), strict=False):
        assert (view["mu"], view["sigma"]) == pytest.approx((mu, sigma))
        assert view["z"] == pytest.approx(mu + sigma * eps, abs=1e-6)


@needs_chromium
def test_pca(seen: dict[str, Any]) -> None:
    given = numbers("pca")
    for view, digit, k in zip(seen["pca"], (5, 5, 0), (8, 16, 16), strict=False):
        picture, original = given["pictures"][digit, k], given["originals"][digit]
        assert view["k"] == k
        assert view["error"] == pytest.approx(given["errors"][digit, k], abs=1e-5)
        assert view["error"] == pytest.approx(((original - picture) ** 2).sum(), abs=0.05)
    assert given["lost"][8] == pytest.approx(0.326, abs=1e-3)


@needs_chromium
def test_denoise(seen: dict[str, Any]) -> None:
    given = numbers("denoise")
    for view, digit, level in zip(seen["denoise"], (2, 2, 0), (5, 7, 7), strict=False):
        sigma = given["sigmas"][level]
        assert view["sigma"] == sigma
        clean, eps = given["clean"][digit], given["eps"][digit]
        answers = np.clip(clean + sigma * eps, 0, 1), given["wiener"], given["network"]
        for shown, answer in zip(view["decibels"], answers, strict=True):
            image = answer if answer.ndim == 1 else answer[digit, level]
            assert shown == pytest.approx(-10 * np.log10(((clean - image) ** 2).mean()), abs=1e-3)


@needs_chromium
def test_strokes(seen: dict[str, Any]) -> None:
    for view, digit in zip(seen["strokes"], (3, 3, 7), strict=False):
        h = np.array(view["factors"])[None]
        labels = np.array([digit])
        assert np.abs(np.array(view["image"]) - draw(labels, h)[0]).max() < 1e-6
        slopes = draw_jacobian(labels, h)[0].T
        assert np.abs(np.array(view["tangents"]) - slopes).max() < 1e-4 * np.abs(slopes).max()
    assert seen["strokes"][0]["factors"] == pytest.approx(middle(), abs=1e-6)
    assert seen["strokes"][1]["factors"][0] == pytest.approx(RANGES[0, 1], abs=1e-6)


@needs_chromium
def test_plane(seen: dict[str, Any]) -> None:
    w = numbers("plane")
    views = seen["plane"][:-1]
    for view in views:
        z = np.array(view["z"])
        h = np.maximum(z @ w["w1"] + w["b1"], 0)
        x_hat = 1 / (1 + np.exp(-(h @ w["w2"] + w["b2"])))
        assert np.abs(view["x_hat"] - x_hat).max() < 1e-5
    assert views[0]["z"] == pytest.approx([0.5, -1.25])
    assert views[1]["z"] == pytest.approx([0.5, -0.75])
    assert views[2]["z"][0] > 0.6 and views[2]["z"][1] < -1  # dragged right and down
    assert views[3]["z"] == pytest.approx([1.5, 0])  # to the end of the path
    assert seen["milliseconds"] < 5


@needs_chromium
def test_price(seen: dict[str, Any]) -> None:
    given = numbers("price")
    for view, i in zip(seen["price"], (3, 1), strict=False):
        assert view["beta"] == given["betas"][i]
        assert view["rate"] == pytest.approx(given["rates"][i], abs=1e-5)
        assert view["distortion"] == pytest.approx(given["distortions"][i], abs=1e-4)
        total = given["distortions"][i] + given["betas"][i] * given["rates"][i]
        assert f"{total:.1f}" in view["words"]
