"""The first code cell of a chapter: how it comes by the package course_utils.

There is one text for the chapters of a checkout, and one for portable chapters, which carry the
package inside themselves. Both run before anything is installed, so they use Python's own library
alone, and both end in one sentence, without a traceback, where they cannot go on.
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

    # VS Code and Jupyter tell where the notebook lies, which need not be the working directory.
    told = [globals().get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")]
    places = [Path.cwd() / "notebook", *(Path(path).absolute() for path in told if path)]
    for folder in [folder for place in places for folder in place.parents]:
        if not find_spec("course_utils") and (folder / "src/course_utils/__init__.py").is_file():
            sys.path.append(str(folder / "src"))
{install}    if not find_spec("course_utils"):
        Stop = type("Stop", (Exception,), {{"_render_traceback_": lambda self: [str(self)]}})
        raise Stop(
            {problem}
            "The chapters of the course's book carry it: take this one from its download button."
        )
    from course_utils import requirements

    requirements.need()


find_course()
'''
ADDRESSED = {
    "ways": "installed, or in this checkout, or from the repository",
    "install": """\
    if not find_spec("course_utils"):
        import importlib
        import subprocess

        package = "course-utils @ git+{url}@{branch}"
        pip = [sys.executable, "-m", "pip", "install", "-q", package]
        silent = {{**os.environ, "GIT_TERMINAL_PROMPT": "0"}}  # asks for no name and password
        subprocess.run(pip, env=silent, stdin=subprocess.DEVNULL, capture_output=True)
        importlib.invalidate_caches()
""",
    "problem": '''\
"pip could not install course_utils from {url}, branch "
            "{branch}: there is no network, or the address is private, wrong or gone. "''',
}
UNADDRESSED = {
    "ways": "installed, or in the checkout that holds this notebook",
    "install": "",
    "problem": '''\
"The package course_utils is neither installed nor in a checkout around this notebook. "''',
}

# The hash stands before the package, so that the lines that can be read come first.
PORTABLE = '''\
# @title The course's package, carried by this notebook
def unpack_course(sha256, package):
    """Unpack course_utils into a temporary folder of this kernel, which goes when it ends."""
    import atexit
    import base64
    import hashlib
    import io
    import os
    import shutil
    import sys
    import tempfile
    import zipfile

    Stop = type("Stop", (Exception,), {{"_render_traceback_": lambda self: [str(self)]}})
    if any(sha256 in path and os.path.isdir(path) for path in sys.path):
        return  # the cell has run before
    try:
        archive = base64.b64decode(package, validate=True)
    except ValueError:
        archive = b""
    if hashlib.sha256(archive).hexdigest() != sha256:
        raise Stop("The package in this notebook was cut off or altered: get the file once more.")
    folder = None
    try:
        folder = tempfile.mkdtemp(prefix="course_utils-", suffix="-" + sha256)
        zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
    except OSError as error:
        shutil.rmtree(folder or "", ignore_errors=True)
        raise Stop(f"No folder for temporary files can take the package: {{error}}.") from None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
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

    archive: the package as a zip file; needs: the packages that not every chapter needs.
    """
    return PORTABLE.format(
        sha256=hashlib.sha256(archive).hexdigest(),
        package=base64.b64encode(archive).decode(),
        needs=", ".join(f'"{name}"' for name in needs),
    ).rstrip("\n")
