"""The solutions as text: each stands once, in the module of its chapter, and is read from there."""

import ast
import copy
from importlib.resources import files


def solution_text(number: str) -> str:
    """Return the functions that solve an exercise, each with the comment above it.

    Their types are left out, as a chapter's code has none and does not import their names. Nothing
    is imported, so that the pages of the book can show solutions where PyTorch is missing.

    Args:
        number: of the exercise, "01.1".

    Raises:
        ValueError: there is no such exercise.
    """
    source = files("course_utils") / "exercises" / f"chapter{str(number).split('.')[0]}.py"
    if not source.is_file():
        raise ValueError(f"number must be that of an exercise, as '01.1', got {number!r}")
    text = source.read_text(encoding="utf-8")
    tree = ast.parse(text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        said = {keyword.arg: keyword.value for keyword in call.keywords}
        asked = said.get("number")
        if isinstance(asked, ast.Constant) and asked.value == number:
            names = [node.id for node in ast.walk(said["solution"]) if isinstance(node, ast.Name)]
            return "\n\n\n".join(_shown(text, functions[name]) for name in names)
    raise ValueError(f"number must be that of an exercise, as '01.1', got {number!r}")


def _shown(text: str, function: ast.FunctionDef) -> str:
    """The comment above a function, its head without types, and its body as it stands."""
    lines = text.splitlines()
    start = function.lineno - 1
    while start and lines[start - 1].startswith("# ") and not lines[start - 1].endswith("----"):
        start -= 1
    head = copy.deepcopy(function)
    head.body, head.returns = [ast.Pass()], None
    for argument in (part for part in ast.walk(head.args) if isinstance(part, ast.arg)):
        argument.annotation = None
    body = lines[function.body[0].lineno - 1 : function.end_lineno]
    return "\n".join([*lines[start : function.lineno - 1], ast.unparse(head).split("\n")[0], *body])
