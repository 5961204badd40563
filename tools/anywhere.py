"""Run each notebook alone under conditions that are not ours, and compare with the stored outputs.

python tools/anywhere.py [NB ...] [--threads 1|4]

Each runs in a copy of the checkout that must stay as it is, from another working directory, without
a home and without a network, in a foreign time zone, and

- with one thread, where text is ASCII unless a program says otherwise (LC_ALL=POSIX);
- with four threads, in Turkish, whose small I has no dot and whose decimal sign is a comma.

tools/elsewhere.py does the like for portable chapters, with other versions of the packages. nbval,
which runs and compares the notebooks in make test, has its kernel take all this from the process
that it runs in, and looks at no file that a notebook leaves behind.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from elsewhere import NO_NETWORK, clean_variables, failures, trial
from notebooks import ROOT, Refused, load, select

LIBRARIES = ("OMP", "OPENBLAS", "MKL")
CONDITIONS = {
    1: {
        "LC_ALL": "POSIX",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "TZ": "Pacific/Chatham",
    },
    4: {"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"},
}


def copy_of(root: Path, folder: Path) -> None:
    """Copy what git knows or would take of a checkout into folder, and let nobody write there."""
    ask = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in listed:
        if name and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file: an administrator may write where nobody may."""
    found = {path: path.stat() for path in folder.rglob("*")}
    return {str(path): (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def variables(copy: Path, threads: int, bare: Path) -> dict[str, str]:
    """The environment of a kernel: the package is the copy's, and there is no home.

    bare: a folder for the module that shuts the network, which Python loads as it starts.
    """
    kept = clean_variables(Path.home())
    for name in ("HOME", "USERPROFILE", "LANG", "LANGUAGE"):
        kept.pop(name, None)
    (bare / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    kept["PYTHONPATH"] = os.pathsep.join([str(bare), str(copy / "src")])
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    kept |= {f"{library}_NUM_THREADS": str(threads) for library in LIBRARIES}
    # Threads that wait give their core away: four on two cores would else wait for each other.
    kept |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    return kept | CONDITIONS[threads]


def try_notebook(copy: Path, name: str, threads: int) -> list[str]:
    """Run one notebook of the copy; a line for each thing that is not as it should be."""
    before = listing(copy)
    found = trial(load(copy / "notebooks" / name), partial(variables, copy, threads))
    after = listing(copy)
    return found + [f"wrote {p}" for p in sorted(after) if after[p] != before.get(p)]


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser("anywhere.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("numbers", nargs="*", metavar="NB", help="notebooks, as 01 10; default all")
    parser.add_argument("--threads", type=int, choices=CONDITIONS, help="one of the two; else both")
    options = parser.parse_args(arguments)
    try:
        names = [path.name for path in select(root, options.numbers)]
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    settings = [options.threads] if options.threads else list(CONDITIONS)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "course")
        copy.mkdir()
        copy_of(root, copy)
        failed = failures(
            (f"{name}, {threads} threads", partial(try_notebook, copy, name, threads))
            for name in names
            for threads in settings
        )
        for path in copy.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # else the folder could not be removed
        copy.chmod(0o755)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
