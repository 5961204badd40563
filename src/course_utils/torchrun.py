"""Start a script in several processes, as ``torchrun`` does, with a limit on its time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from course_utils.arguments import named_errors
from course_utils.console import say
from course_utils.requirements import too_old
from course_utils.shapes import expect_whole

# Behind each script. As Python ends, threads of PyTorch may still run, and now and then one ends a
# process whose work is done: "terminate called without an active exception".
END = """
import atexit, os, sys
atexit._run_exitfuncs()
sys.stdout.flush(), sys.stderr.flush()
os._exit(0)
"""


class ScriptError(RuntimeError):
    """The script ended with an error; the message holds the last lines of what it said."""


def report(
    name: str, script: str, *, processes: int = 2, seconds: float = 300, since: str = ""
) -> Any:
    """Run a script in several processes of this machine; return what it reports.

    The script is what one would give to ``torchrun`` on a cluster. Its last printed line is the
    report, in JSON; all but one of its processes should print nothing. It runs as

        python -m torch.distributed.run --standalone --nproc-per-node=PROCESSES script.py

    with one thread a process, and each process ends at once behind its last line. The processes
    talk to each other on this machine alone.

    Where processes cannot be started, or PyTorch is too old for the script, one line says so, and
    the report that is stored with the course under this name is returned in its place.

    Args:
        name: of the stored report. script: Python, as text.
        processes: how many, at least 1. seconds: that they may take, above 0.
        since: the first version of PyTorch that the script runs with, such as "2.8"; "" for any.

    Raises:
        ScriptError: the script ended with an error, or did not end in time, or its last line is not
            JSON.
        ValueError: an argument is out of its range.
    """
    expect_whole("processes", processes, 1)
    if not 0 < seconds < float("inf"):
        raise ValueError(f"seconds must be above 0 and finite, got {seconds}")
    problem = why_not(since)
    if not problem:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "script.py")
            path.write_text(script + END, encoding="utf-8")
            printed, problem = _run(path, processes, seconds)
    if problem:
        say(f"{processes} processes could not run here ({problem}): stored numbers stand in.")
        known = stored()
        if name not in known:
            raise ValueError(f"name must be one of {', '.join(sorted(known))}, got {name!r}")
        return known[name]
    try:
        return json.loads(printed.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise ScriptError(f"the last line must be JSON, got {printed[-200:]!r}") from None


def why_not(since: str = "") -> str:
    """Say why processes that talk to each other cannot be started here; "" where they can.

    Args:
        since: the first version of PyTorch that will do; "" for any.

    Raises:
        ValueError: ``since`` is no version.
    """
    if since and not re.fullmatch(r"\d+(\.\d+)*", since):
        raise ValueError(f'since must be a version such as "2.8", got {since!r}')
    if since and too_old(torch.__version__, since):
        return f"PyTorch {torch.__version__} is older than {since}"
    if not (dist.is_available() and dist.is_gloo_available()):
        return "this PyTorch has no torch.distributed with gloo"
    if not sys.executable:
        return "no Python that could be started is known"
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        return f"no connection within this machine: {error}"
    return ""


def stored() -> dict[str, Any]:
    """Return the stored reports of chapter 22, by name, from one run on two cores."""
    path = files("course_utils") / "stored" / "two_processes.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _run(path: Path, processes: int, seconds: float) -> tuple[str, str]:
    """What the script printed, and why it could not run: one of the two is empty."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    # else torchrun makes a folder for its logs, and leaves it
    command += [f"--log-dir={path.parent}", "--local-addr=127.0.0.1"]
    command += [f"--nproc-per-node={processes}", str(path)]
    try:
        with subprocess.Popen(
            command,
            env=_environment(),
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        ) as started:
            printed, said = _ended(started, seconds)
    except OSError as error:
        return "", str(error)
    except subprocess.TimeoutExpired:
        waits = "does one wait for a message that none sends?"
        raise ScriptError(f"the script was not done after {seconds:g} s: {waits}") from None
    if started.returncode:
        raise ScriptError("\n".join(_last_words(said.splitlines())))
    return printed, ""


def _ended(started: subprocess.Popen, seconds: float) -> tuple[str, str]:
    """What the processes said until they ended; out of time, they are ended.

    On SIGTERM, torchrun ends the processes that it has started. Killed outright, as always on
    Windows, it cannot, and those that hang go on.
    """
    try:
        return started.communicate(timeout=seconds)
    except BaseException:  # out of time, or the reader stopped the kernel
        started.send_signal(signal.SIGTERM)
        try:
            started.communicate(timeout=40)  # torchrun gives its processes 30 s
        except subprocess.TimeoutExpired:
            started.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # who goes on holds the pipes
                started.communicate(timeout=10)
        raise


def _environment() -> dict[str, str]:
    """The environment of the processes: this course's package, one thread, this machine alone."""
    here = str(Path(str(files("course_utils"))).parent)
    settings = {
        "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")])),
        "PYTHONIOENCODING": "utf-8",
        "OMP_NUM_THREADS": "1",
    }
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    if loopback:  # else gloo looks up the name of the machine, which may have no address
        settings["GLOO_SOCKET_IFNAME"] = loopback
    if sys.platform == "win32":
        settings["USE_LIBUV"] = "0"  # PyTorch for Windows is built without it
    return {**os.environ, **settings}


def _last_words(lines: Sequence[str], n: int = 12) -> list[str]:
    """What the first process that failed said last; torchrun's own report follows it.

    At most n lines: of chained errors, the last ones.
    """
    mine: list[str] = []
    for line in lines:
        rank, mark, text = line.partition("]: ")
        if mark and rank.startswith("[rank"):
            if mine and rank != mine[0].partition("]: ")[0]:
                continue
            mine.append(line)
    if not mine:  # no rank in front: up to torchrun's own first words
        own = [i for i, line in enumerate(lines) if "torch/distributed/elastic" in line]
        mine = [line for line in lines[: own[0] if own else len(lines)] if line.strip()]
    return (mine or list(lines))[-n:]


named_errors(globals())
