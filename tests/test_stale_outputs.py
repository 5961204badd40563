"""A chapter whose stored outputs no longer come out is named, with the command that mends it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def notebook(source, stored):
    """A notebook of one cell, and what it is said to print."""
    output = {"name": "stdout", "output_type": "stream", "text": [stored]}
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "only",
        "metadata": {},
        "outputs": [output],
        "source": [source],
    }
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel}
    return {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def test_an_output_that_a_new_version_changes_names_the_chapter_and_the_command(tmp_path):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --nbval --nbval-current-env -q\n")
    (tmp_path / "notebooks").mkdir()
    for number, stored in ((4, "1\n"), (5, "2\n"), (6, "1\n")):
        content = json.dumps(notebook("print(1)", stored))
        (tmp_path / "notebooks" / f"0{number}_some.ipynb").write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0"],
        cwd=tmp_path,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    named = [line for line in done.stdout.splitlines() if line.startswith("Chapter ")]
    assert len(named) == 1
    assert named[0].startswith("Chapter 05: ")
    assert named[0].endswith("make outputs NB=05")
