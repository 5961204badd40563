"""The first code cell of a chapter: how it comes by the package course_utils.

There is one text for the chapters of a checkout, and one for portable chapters, which carry the
package inside themselves. Both run before anything is installed, so they use Python's own library
alone, and both end in one sentence, without a traceback, where they cannot go on. So no kept
program can do this: it would have to be installed before.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

CHECKOUT = '''\
# @title Find the course's package
def find_course():
    """Make course_utils importable: {ways}."""
    import os
    import sys
    from importlib.util import find_spec
    from pathlib import Path

    def is_there():
        try:
            return find_spec("course_utils.requirements")
        except ImportError:
            return None

    # VS Code and Jupyter tell where the notebook lies, which need not be the working directory.
    told = [globals().get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")]
    places = [Path.cwd() / "notebook", *(Path(path).resolve() for path in told if path)]
    for folder in [folder for place in places for folder in place.parents]:
        if (folder / "src/course_utils/requirements.py").is_file():
            sys.path.insert(0, str(folder / "src"))
            break
{install}    if not is_there():
        Stop = type("Stop", (Exception,), {{"_render_traceback_": lambda self: [str(self)]}})
        raise Stop(
            {problem}
        )
    from course_utils import requirements

    requirements.need()


find_course()
'''
ADDRESSED = {
    "ways": "in this checkout, or installed, or from the repository",
    "install": """\
    if not is_there():
        import subprocess

        package = "course-utils @ git+{url}@{branch}"
        pip = [sys.executable, "-m", "pip", "install", "-q", package]
        silent = {{**os.environ, "GIT_TERMINAL_PROMPT": "0"}}  # asks for no name and password
        done = subprocess.run(pip, env=silent, stdin=subprocess.DEVNULL, capture_output=True)
        said = (done.stderr.decode(errors="replace").strip() or "no word").splitlines()[-1]
        sys.modules.pop("course_utils", None)
        sys.path_importer_cache.clear()  # pip has written where Python has looked before
""",
    "problem": '''f"pip could not install course_utils: {{said}}. Is there a network, and is "
            "the address {url} (branch {branch}) right and public? "
            "The download button of its page in the book gives a chapter that brings it."''',
}
UNADDRESSED = {
    "ways": "in the checkout that holds this notebook, or installed",
    "install": "",
    "problem": '''"The package course_utils is neither in a checkout around this notebook nor "
            "installed. The download button of its page in the book gives one that brings it."''',
}

# The hash stands before the package, so that the lines that can be read come first.
PORTABLE = '''\
# @title The course's package, carried by this notebook
def unpack_course(sha256, package):
    """Unpack course_utils into a temporary folder of this kernel, which goes when it ends."""
    import atexit
    import base64
    import bz2
    import hashlib
    import io
    import os
    import shutil
    import sys
    import tempfile
    import zipfile

    Stop = type("Stop", (Exception,), {{"_render_traceback_": lambda self: [str(self)]}})
    mark = f"-{{sha256}}-{{os.getpid()}}"  # a process that this one starts has its own folder
    if any(str(path).endswith(mark) and os.path.isdir(path) for path in sys.path):
        return  # the cell has run before
    try:
        archive = base64.b85decode(package)
    except ValueError:
        archive = b""
    if hashlib.sha256(archive).hexdigest() != sha256:
        raise Stop("The package in this notebook was cut off or altered: get the file once more.")
    folder = None
    try:
        folder = tempfile.mkdtemp(prefix="course_utils-", suffix=mark)
        zipfile.ZipFile(io.BytesIO(bz2.decompress(archive))).extractall(folder)
    except OSError as error:
        shutil.rmtree(folder or "", ignore_errors=True)
        raise Stop(f"No folder for temporary files can take the package: {{error}}.") from None
    atexit.register(lambda pid: pid == os.getpid() and shutil.rmtree(folder, True), os.getpid())
    for name in [name for name in sys.modules if name.split(".")[0] == "course_utils"]:
        del sys.modules[name]
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.getenv("PYTHONPATH")]))
    if not os.access(os.path.expanduser("~"), os.W_OK):
        os.environ.setdefault("MPLCONFIGDIR", folder)  # else matplotlib warns of a read-only home


unpack_course(
    "{sha256}",
    "{package}",
)
from course_utils import requirements

requirements.need({needs})
'''


def checkout_source(url: str, branch: str) -> str:
    """The source of the cell in a checkout; url is "" while the course has no address."""
    pieces = ADDRESSED if url else UNADDRESSED
    filled = {name: piece.format(url=url, branch=branch) for name, piece in pieces.items()}
    return CHECKOUT.format(**filled).rstrip("\n")


def portable_source(archive: bytes, needs: Iterable[str]) -> str:
    """The source of the cell that carries the package.

    archive: the package as a zip file, compressed by bzip2; needs: the packages that only some
    chapters need.
    """
    return PORTABLE.format(
        sha256=hashlib.sha256(archive).hexdigest(),
        package=base64.b85encode(archive).decode(),  # a sixteenth shorter than base64
        needs=", ".join(f'"{name}"' for name in needs),
    ).rstrip("\n")
