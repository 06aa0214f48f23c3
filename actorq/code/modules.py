"""Which of the imported modules are the task's own code, and where it lies.

The one idea: the user's code is what lies beside the modules that declare his tasks, and is not installed.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path

from actorq.base.names import MAIN, exists, installed, module_named, public_module


def own_modules(declaring: AbstractSet[str]) -> list[str]:
    """The task's own code among the imported modules: what declares tasks, and what lives beside it.

    Installed packages are third-party, except the package that declares the tasks itself.

    Args:
        declaring: names of the modules that declare tasks.
    """
    packages = {name.partition(".")[0] for name in declaring}
    roots = {root for name in declaring if (root := project_root(name)) is not None}
    own = []
    for name, module in list(sys.modules.items()):
        package = name.partition(".")[0]
        if package == "actorq":
            continue
        if name in declaring or package in packages:
            own.append(name)
            continue
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or installed(file) or (name in MAIN and not exists(file)):
            continue
        if any(_real(file).startswith(root) for root in roots):
            own.append(name)
    return own


def project_root(name: str) -> str | None:
    """The folder a declaring module's top-level package or file lies in, if that is a project and not site-packages."""
    file = getattr(module_named(name), "__file__", None)
    if not isinstance(file, str) or installed(file):
        return None
    depth = public_module(name).count(".") + (2 if Path(file).name == "__init__.py" else 1)
    return str(Path(file).resolve().parents[depth - 1]) + "/"


@functools.lru_cache(maxsize=10_000)
def _real(file: str) -> str:
    """Where a module lies: a project may be reached by a link."""
    return os.path.realpath(file)
