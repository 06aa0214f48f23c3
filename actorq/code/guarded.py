"""What a script declares where replicas do not look: under `if __name__ == "__main__":`.

Who puts a task there sees a replica that has none. The one idea: *the source says so*, when it is asked after
something was missed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from actorq.base.names import module_named


def hint(modules: Iterable[str], name: str | None = None) -> str:
    """What to say of a task or an environment that `modules` do not declare when they are imported: a sentence with a
    space before it, or "" where the main guard of none has it.

    Args:
        modules: names of imported modules.
        name: of the function, or of the environment; None for any environment.
    """
    for module in modules:
        file = getattr(module_named(module), "__file__", None)
        if isinstance(file, str) and (name in (found := _declared(Path(file))) or (name is None and found)):
            return (
                f' It stands under the `if __name__ == "__main__":` of {Path(file).name}, which a replica does not '
                "run: move it above that."
            )
    return ""


def _declared(file: Path) -> set[str | None]:
    """Names of what the main guard of a file declares: functions, and what is called with a name first."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    return {name for node in _guarded(tree) for name in _names(node)}


def _guarded(tree: ast.Module) -> Iterator[ast.AST]:
    """All that lies under a main guard."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test):
            for inner in statement.body:
                yield from ast.walk(inner)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.name
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "name")]
        if called in {"ActorEnvironment", "TaskEnvironment"}:
            yield from (arg.value for arg in given if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
