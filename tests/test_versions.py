"""The tool behind make test-oldest: which tests it runs, and with which versions."""

from pathlib import Path

import versions
from course_utils.requirements import BASE, TORCH

ROOT = Path(__file__).parents[1]


def test_every_test_of_the_package_is_run_once():
    plain, torch = ({p.name for p in versions.tests(ROOT, t)} for t in (False, True))
    assert not plain & torch
    left = {path.name for path in (ROOT / "tests").glob("test_*.py")} - plain - torch
    # What is left out speaks of the book, of the repository or of a tool, and says so by importing.
    for name in left - versions.OF_THE_REPOSITORY:
        words = (ROOT / "tests" / name).read_text("utf-8")
        ours = {path.stem for path in (ROOT / "tools").glob("*.py")} | versions.NOT_PACKAGE
        assert any(f"import {word}" in words or f"from {word}" in words for word in ours), name
    assert {"test_gaussians.py", "test_numpy_nn.py", "test_manifold.py"} <= plain
    assert {"test_vae.py", "test_training.py", "test_conv_vae.py"} <= torch


def test_what_a_test_imports_only_through_the_package_counts(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tests").mkdir()
    package = tmp_path / "src" / "course_utils"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "deep.py").write_text("from torch import nn\n")
    (package / "middle.py").write_text("from course_utils import deep\n")
    (package / "plain.py").write_text("import numpy\n")
    (tmp_path / "tests" / "test_a.py").write_text("from course_utils.middle import f\n")
    (tmp_path / "tests" / "test_b.py").write_text("from course_utils import plain\n")
    (tmp_path / "tests" / "test_c.py").write_text("import yaml\nfrom course_utils import plain\n")
    assert [p.name for p in versions.tests(tmp_path, True)] == ["test_a.py"]
    assert [p.name for p in versions.tests(tmp_path, False)] == ["test_b.py"]


def test_oldest_are_the_lower_bounds_and_newest_are_open():
    oldest = versions.packages("oldest", False)
    assert {r.name: r.lowest for r in BASE}.items() <= oldest.items()
    assert {r.name: "" for r in BASE}.items() <= versions.packages("newest", False).items()
    with_torch = versions.packages("oldest", True)
    image = next(r for r in TORCH if r.name == "scikit-image")
    assert with_torch["scikit-image"] == image.lowest
    assert with_torch["torch"] and with_torch["torchvision"]  # those of .venv


def test_another_word_is_refused(capsys):
    try:
        versions.main(["older"])
    except SystemExit as stopped:
        assert stopped.code == 2
    assert "older" in capsys.readouterr().err
