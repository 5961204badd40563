"""The commands of the course's package: ``python -m course_utils``."""

from __future__ import annotations

import builtins
import importlib
import sys

from course_utils.console import say

COMMANDS = {  # each is the function main of the module of its name
    "doctor": "looks for all that the course needs, and says what mends what is missing",
    "progress": "lists the exercises, and those that are right",
}


def main(arguments: list[str]) -> int:
    """Run one command; the exit status, 2 where there is no such command."""
    if not arguments or arguments in (["-h"], ["--help"], ["help"]):
        for name, what in COMMANDS.items():
            say(f"python -m course_utils {name:8}  {what}")
        return 0
    if len(arguments) > 1 or arguments[0] not in COMMANDS:
        given = " ".join(arguments)
        print(f"expected {' or '.join(COMMANDS)}, got {given!r}", file=sys.stderr)
        return 2
    return importlib.import_module(f"course_utils.{arguments[0]}").main()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    if "get_ipython" not in vars(builtins):  # %run would show it as a failure of the notebook
        sys.exit(status)
