"""Our threads take no name that `threading.Thread` uses itself, in any Python: an attribute of ours would be lost."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from pathlib import Path

import actorq

PACKAGE = Path(actorq.__file__).parent
#: private names of Thread in Python 3.11 to 3.14, beside those of this one; `_handle` came with 3.13
TAKEN = {
    *(
        "_args",
        "_kwargs",
        "_name",
        "_target",
        "_daemonic",
        "_ident",
        "_native_id",
        "_started",
        "_initialized",
        "_stderr",
    ),
    *(
        "_handle",
        "_context",
        "_os_name",
        "_tstate_lock",
        "_is_stopped",
        "_stop",
        "_delete",
        "_bootstrap",
        "_after_fork",
    ),
    *("_bootstrap_inner", "_invoke_excepthook", "_set_ident", "_set_native_id", "_set_tstate_lock", "_set_os_name"),
    *("_wait_for_tstate_lock", "_reset_internal_locks"),
    *(name for name in {*vars(threading.Thread()), *dir(threading.Thread)} if not name.startswith("__")),
} - {"run", "start", "join", "name", "daemon"}


def names_of(tree: ast.ClassDef) -> Iterator[str]:
    """What a class defines, and sets on itself."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def test_no_thread_of_ours_takes_a_name_of_pythons() -> None:
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for tree in ast.walk(ast.parse(path.read_text())):
            if isinstance(tree, ast.ClassDef) and any("Thread" in ast.unparse(base) for base in tree.bases):
                found[tree.name] = set(names_of(tree)) & TAKEN
    assert len(found) > 3
    assert found == {name: set() for name in found}
