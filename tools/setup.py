"""Set up the course's environment in .venv: python3 tools/setup.py book|pdf|lab|test.

make runs this and depends on the stamp .venv/.ready-GROUP that it leaves. Any Python may start it:
one that is too old says so in one line. That is why there is no f-string and no annotation here,
and nothing but the standard library: Python 2.7 must be able to read this file.

venv and pip do the work. What they lack is ours: one line that says why a set-up cannot go on, a
set-up that was cut off begun again, two at once kept apart. uv would have to be installed first.
"""

from __future__ import print_function

import errno
import io
import os
import re
import shutil
import subprocess
import sys
import time

try:
    import fcntl
except ImportError:  # Windows outside WSL, where make and .venv/bin do not exist either
    fcntl = None

NEEDED = (3, 10)
ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
MARKER = os.path.join(VENV, ".installing")  # there while a set-up runs, and after one was cut off
PLACE = os.path.join(VENV, ".made-for")  # the folder and the Python that .venv was made for
LOG = os.path.join(VENV, "setup.log")
PREREQUISITES = ("pyproject.toml", "constraints.txt", os.path.join("tools", "setup.py"))

TORCH = "some minutes, 1.4 GB, and several more where PyTorch brings CUDA along"
# group -> what pip installs, the groups that are then ready as well, what to expect
GROUPS = {
    "book": (".[book]", ("book",), "about a minute, 0.5 GB"),
    "pdf": (".[book,pdf]", ("book", "pdf"), "about a minute, 0.5 GB"),
    "lab": (".[lab,torch]", ("lab",), TORCH),
    "test": (".[book,lab,pdf,test,torch]", ("book", "lab", "pdf", "test"), TORCH),
}


class Stop(Exception):
    """The set-up cannot go on; the message is the one line that says why and what to do."""


# ---- which Python ------------------------------------------------------------------------------


def too_old(version, group, other=None):
    """The line for a Python older than NEEDED, None for one that will do.

    version: (major, minor, micro); other: the command of a newer Python at hand, if there is one.
    """
    if tuple(version[:2]) >= NEEDED:
        return None
    found = ".".join(str(part) for part in version[:3])
    needed = ".".join(str(part) for part in NEEDED)
    advice = "this machine has {0}".format(other) if other else "if you have a newer one"
    return "found Python {0}, the course needs {1} or newer; {2}: make {3} PYTHON={4}".format(
        found, needed, advice, group, other or "python3.12"
    )


def newer_python():
    """The name of a tested Python (3.10 to 3.13) that runs from the search path, else None."""
    for minor in (13, 12, 11, 10):
        name = "python3.{0}".format(minor)
        if output_of([name, "-c", "print(1)"]) == "1":
            return name
    return None


def base_python():
    """The Python to make .venv with: this one, or what it stands on where this one is in .venv."""
    if os.path.abspath(sys.executable).startswith(VENV + os.sep):
        return os.path.realpath(sys.executable)
    return sys.executable


def check_python(group):
    """Raise Stop where this Python is too old or lacks what makes a virtual environment."""
    if too_old(sys.version_info, group):
        raise Stop(too_old(sys.version_info, group, newer_python()))
    missing = [name for name in ("venv", "ensurepip") if not can_import(name)]
    if missing:
        raise Stop(
            "this Python ({0}) lacks {1}, so it cannot make .venv; on Debian and Ubuntu install "
            "the package python3-venv, or name another Python: make {2} PYTHON=python3.12".format(
                sys.executable, missing[0], group
            )
        )


def can_import(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def output_of(command):
    """What command prints, without the ends; None where it cannot be run or fails."""
    try:
        with open(os.devnull, "w") as nowhere:
            return subprocess.check_output(command, stderr=nowhere).decode("utf-8").strip()
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        return None


# ---- the state of .venv ------------------------------------------------------------------------


def read(path):
    """The text of a small file, None where there is none."""
    try:
        with io.open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (IOError, OSError):
        return None


def write(path, text):
    with io.open(path, "w", encoding="utf-8") as file:
        file.write(text)


def say(line):
    print(line)
    sys.stdout.flush()  # before pip's long silence


def place(version):
    """What .venv/.made-for holds: the scripts in .venv know both, the folder and the Python."""
    return "{0}\n{1}\n".format(ROOT, version)


def sound():
    """Whether .venv was made here, by a Python that still runs, and no set-up was cut off in it."""
    if os.path.exists(MARKER) or not os.path.exists(PYTHON):
        return False
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return read(PLACE) == place(output_of([PYTHON, "-E", "-S", "-c", code]))


def stamp(group):
    return os.path.join(VENV, ".ready-" + group)


def ready(group):
    """Whether .venv is sound and holds the group as the files of today ask for it."""
    if not os.path.exists(stamp(group)) or not sound():
        return False
    made = os.path.getmtime(stamp(group))
    return all(os.path.getmtime(os.path.join(ROOT, name)) <= made for name in PREREQUISITES)


def lock():
    """Hold this folder's set-up lock until the process ends; say so where another set-up has it.

    pip inherits the lock: where this script is killed, its pip may still run, and nothing else may
    write into .venv until that has ended.
    """
    if fcntl is None:
        raise Stop("the course's commands need Linux, macOS, or WSL on Windows")
    folder = os.path.join(ROOT, "_build")
    if not os.path.isdir(folder):
        os.makedirs(folder)
    handle = open(os.path.join(folder, "setup.lock"), "a")
    if hasattr(os, "set_inheritable"):
        os.set_inheritable(handle.fileno(), True)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (IOError, OSError) as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            return handle  # a file system without locks
        say("Another set-up runs in this folder: waiting for it.")
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


# ---- making and filling .venv ------------------------------------------------------------------


def empty():
    """Leave of .venv nothing but the marker, and say why where there was something.

    The marker goes in first, so that a cut in the middle of this is noticed too.
    """
    made = os.path.exists(os.path.join(VENV, "pyvenv.cfg"))
    if os.path.exists(MARKER):
        say("An earlier set-up was cut off: starting over.")
    elif made:
        say("The .venv here was made for another folder or Python: making it anew.")
    elif not os.path.isdir(VENV):
        os.mkdir(VENV)
    elif os.listdir(VENV):
        raise Stop("{0} is not a virtual environment; move it away".format(VENV))
    write(MARKER, "")
    for name in os.listdir(VENV):
        path = os.path.join(VENV, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif path != MARKER:
            os.remove(path)


def make_venv():
    """Make .venv with the Python that runs this."""
    if run([base_python(), "-m", "venv", VENV]) != 0:
        raise Stop(explain(read(LOG) or ""))
    write(PLACE, place("{0}.{1}".format(*sys.version_info[:2])))


def run(command):
    """Run command in the course's folder, all that it prints into the log; its exit status."""
    env = dict(os.environ, PIP_USER="0")  # a personal --user would install past .venv
    for name in ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX"):
        env.pop(name, None)
    with open(LOG, "a") as log:
        log.write("$ " + " ".join(command) + "\n")
        log.flush()
        return subprocess.call(
            command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, close_fds=False
        )


def install(group):
    """Install the group with the tested versions. Without a change it asks no server.

    setuptools comes first, at its tested version, and builds the package in .venv: an isolated
    build would fetch a setuptools each time, so that a changed line in pyproject.toml, say a rule
    of the linter, would need the network.
    """
    pip = [PYTHON, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    # Byte code is written when a module is first used: most of what is installed never is.
    pip += ["--progress-bar", "off", "--no-compile", "-c", "constraints.txt"]
    write(MARKER, "")
    for step in (["setuptools"], ["--no-build-isolation", "-e", GROUPS[group][0]]):
        if run(pip + step) != 0:
            if not disk_full(read(LOG) or ""):  # a full disk may have cut a package in two
                os.remove(MARKER)
            raise Stop(explain(read(LOG) or ""))
    for name in GROUPS[group][1]:
        write(stamp(name), "")
    os.remove(MARKER)


# ---- one line for what went wrong --------------------------------------------------------------

FULL = "No space left on device|Errno 28|Disk quota exceeded"
UNREACHED = (
    "Failed to establish a new connection|Temporary failure in name resolution|Connection refused|"
    "Network is unreachable|Max retries exceeded|NewConnectionError|NameResolutionError|"
    "ConnectTimeoutError|ReadTimeoutError|ConnectionResetError|ProtocolError|ProxyError|"
    "Read timed out"
)


def explain(log):
    """The one line for a set-up that failed, from pip's log."""
    where = " (pip's log: {0})".format(LOG)
    if disk_full(log):
        return "the disk is full, here or in the folder for temporary files; free space" + where
    if "CERTIFICATE_VERIFY_FAILED" in log or "SSL module is not available" in log:
        return "pip could not make a secure connection to the package index" + where
    # A retry that was not the last one may have gone well.
    log = re.sub(r"(?m)^WARNING: Retrying \(Retry\(total=[1-9].*$", "", log)
    if re.search(UNREACHED, log):
        return "no network: the package index was not reached; connect and try again" + where
    lost = re.findall("No matching distribution found for ([^ \n]+)", log)
    if lost:
        return "the package index has no {0} for Python {1}.{2}{3}".format(
            lost[-1], sys.version_info[0], sys.version_info[1], where
        )
    errors = re.findall("(?m)^(?:ERROR|Error): (?!Exception:)(.+)$", log)
    return "{0}{1}".format(errors[0].rstrip(".: ") if errors else "pip failed", where)


def disk_full(log):
    """Whether pip's log, or the disk itself, says that no space is left."""
    disk = os.statvfs(VENV)
    return bool(re.search(FULL, log)) or disk.f_bavail * disk.f_frsize < 20 * 2**20


def trouble(error):
    """The one line for an error of the file system."""
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "this folder cannot be written ({0}); copy the course to one that can".format(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full ({0}); free some space".format(error)
    return str(error)


# ---- the command -------------------------------------------------------------------------------


def set_up(group):
    """Bring .venv to the state that the group needs."""
    held = lock()
    if ready(group):  # another set-up did it while this one waited
        return
    start = time.time()
    anew = not sound()
    if anew:
        check_python(group)
        empty()
    write(LOG, "")
    say("Setting up .venv for make {0}: {1}. Log: .venv/setup.log".format(group, GROUPS[group][2]))
    if anew:
        make_venv()
    install(group)
    say("Set up in {0:.0f} s.".format(time.time() - start))
    held.close()


def main(arguments):
    if arguments == ["--sound"]:
        print("sound" if sound() else "")
        return 0
    if len(arguments) != 1 or arguments[0] not in GROUPS:
        print(
            "setup.py: got {0}, expected one of {1}".format(
                " ".join(arguments) or "no group", ", ".join(sorted(GROUPS))
            ),
            file=sys.stderr,
        )
        return 2
    group = arguments[0]
    if too_old(sys.version_info, group) and sound():  # the newer one that made .venv goes on
        os.execv(PYTHON, [PYTHON, os.path.abspath(__file__), group])
    try:
        set_up(group)
    except Stop as stop:
        print("Set-up failed: {0}".format(stop), file=sys.stderr)
        return 1
    except (IOError, OSError) as error:
        print("Set-up failed: {0}".format(trouble(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Set-up interrupted: the next call starts over.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
