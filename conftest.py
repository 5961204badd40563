"""What all tests share: the tools can be imported, and nbval compares notebooks in normal form."""

import sys


def pytest_configure(config):
    sys.path.insert(0, str(config.rootpath / "tools"))


def pytest_collection_modifyitems(items):
    """Have nbval compare every cell.

    It takes a cell without an execution count for one that was never run, and the normal form has
    no execution counts.
    """
    for item in items:
        cell = getattr(item, "cell", None)
        if cell is not None and cell.get("execution_count", 0) is None:
            cell["execution_count"] = 0
