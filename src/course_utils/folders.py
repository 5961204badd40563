"""Where the course keeps what it fetches, and what it notes. Needs no more than Python itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """Return the folder of the data sets: what ``COURSE_DATA`` names, else the user's cache.

    The cache is ``~/.cache/course_utils`` on Linux (or in ``XDG_CACHE_HOME``),
    ``~/Library/Caches/course_utils`` on macOS, and ``course_utils`` in ``LOCALAPPDATA`` on Windows.
    The folder need not exist yet.

    Raises:
        RuntimeError: nothing tells where the user's home is.
    """
    if named := os.environ.get("COURSE_DATA"):
        return Path(named).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        caches = home / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return caches / "course_utils"


def progress_file() -> Path | None:
    """Return the file of the exercises that are right; None where nothing is to be recorded.

    It is what ``COURSE_PROGRESS`` names, and nothing where that is ``off``; else
    ``course_utils/progress.txt`` in the user's data: ``~/.local/share`` on Linux (or
    ``XDG_DATA_HOME``), ``~/Library/Application Support`` on macOS, ``LOCALAPPDATA`` on Windows.
    The file need not exist yet.

    Raises:
        RuntimeError: nothing tells where the user's home is.
    """
    if named := os.environ.get("COURSE_PROGRESS"):
        return None if named.lower() == "off" else Path(named).expanduser().absolute()
    given = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_DATA_HOME")
    folder = Path(os.environ.get(given) or "")
    if not folder.is_absolute():  # as XDG has it; it would be another folder for each notebook
        usual = {"win32": "AppData/Local", "darwin": "Library/Application Support"}
        folder = Path.home() / usual.get(sys.platform, ".local/share")
    return folder / "course_utils" / "progress.txt"


def can_write(folder: Path) -> bool:
    """Tell whether files can be put into a folder that may have to be made first."""
    there = next((path for path in (folder, *folder.parents) if os.path.exists(path)), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)
