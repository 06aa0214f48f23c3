"""Imports the code whose tasks a replica serves."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from actorq.names import main_module


class StopImport(BaseException):
    """A script reached its first `.map()` or `.remote()` while it was imported.

    Everything its submitter had defined at that point is defined here too: the rest of the script is the submitter's.
    """


@dataclass(frozen=True, kw_only=True)
class Target:
    """A module to import: by name, or from the file of a script."""

    name: str
    path: str | None = None


#: a target is being imported: the first map or remote call ends the import
in_progress = False


def import_target(target: Target) -> None:
    """Imports `target` under its own name, so that what guards itself with `__name__ == "__main__"` does not run."""
    global in_progress
    in_progress = True
    try:
        if target.path is None or target.name in sys.modules:
            importlib.import_module(target.name)
            return
        spec = importlib.util.spec_from_file_location(target.name, target.path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{target.path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[target.name] = module
        spec.loader.exec_module(module)
    except StopImport:
        return
    finally:
        in_progress = False


def module_target(module: str) -> Target:
    """How another process imports what is `module` here."""
    if module == "__main__":
        name, path = main_module()
        return Target(name=name, path=path)
    return Target(name=module)


def parse_target(text: str) -> tuple[Target, str | None]:
    """`package.module:environment` or `path/to/script.py:environment`; the environment may be left out."""
    module, _, attribute = text.partition(":")
    if module.endswith(".py"):
        path = Path(module).resolve()
        return Target(name=path.stem, path=str(path)), attribute or None
    return Target(name=module), attribute or None
