"""What all tests share: tools to import, chance that repeats, notebooks compared in normal form."""

import gc
import os
import sys
from pathlib import Path

from hypothesis import settings

from course_utils import runtime

# No test, and no notebook under test, notes anything in the progress of whoever runs it.
os.environ["COURSE_PROGRESS"] = "off"

# A chapter under test compares its numbers with those of the page's drawings, and writes none.
DRAWINGS = Path(__file__).parent / "book" / "_static" / "explore" / "data"
os.environ["COURSE_EXPLORE"] = f"compare {DRAWINGS}"

# The same examples in every run: a test that fails, fails again.
settings.register_profile("course", derandomize=True)
settings.load_profile("course")


def pytest_configure(config):
    sys.path.insert(0, str(config.rootpath / "tools"))


def pytest_collection_finish():
    """Leave what was collected out of all later garbage collections.

    The tests of the whole project are some 900 000 objects that live to the end. To look through
    them takes half a second, each time.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_setup():
    """Seed PyTorch's global generator, from which layers take their first weights.

    Without it a model's weights depend on the tests that its worker happened to run before.
    """
    runtime.seed(0)


def pytest_collection_modifyitems(items):
    """Have nbval compare every cell, but those tagged `mnist` only where MNIST is.

    It takes a cell without an execution count for one that was never run, and the normal form has
    no execution counts. Where MNIST cannot be had, chapters run on stroke digits, and the claims
    that hold for MNIST alone are not made.
    """
    cells = [item for item in items if getattr(item, "cell", None) is not None]
    for item in cells:
        if item.cell.get("execution_count", 0) is None:
            item.cell["execution_count"] = 0
    about_mnist = [i for i in cells if "mnist" in i.cell["metadata"].get("tags", [])]
    if about_mnist:
        from course_utils import data

        if not data.available("MNIST"):
            for item in about_mnist:
                item.options["check"] = False


def pytest_terminal_summary(terminalreporter):
    """Name each chapter whose stored outputs are no longer what its cells give, and the cure."""
    failed = [report.nodeid for report in terminalreporter.stats.get("failed", [])]
    stale = sorted({Path(n.split("::")[0]).name[:2] for n in failed if ".ipynb::" in n})
    for number in stale:
        terminalreporter.write_line(
            f"Chapter {number}: a cell gives another output than the notebook stores, or fails "
            f"(above). Where what it gives now is right: make outputs NB={number}",
            red=True,
        )
