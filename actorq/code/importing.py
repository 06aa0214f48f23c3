"""Imports the code whose tasks a replica serves."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any
from zipimport import zipimporter

from actorq.base.names import MAIN, archive_of, main_module, script_name
from actorq.errors import DeclarationError


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
        if target.path is None:
            importlib.import_module(target.name)
        elif target.name in sys.modules:
            _check_same(target.name, target.path)
        else:
            _import_script(target.name, target.path)
    except StopImport:
        return
    finally:
        in_progress = False


def _import_script(name: str, path: str) -> None:
    """Runs the file of a script, or of an archive's, as module `name`."""
    archive = archive_of(path)
    loader: Any
    if archive is None:
        loader = SourceFileLoader(name, path)
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loader.exec_module(module)
        return
    loader = zipimporter(archive)
    loader.name = Path(path).stem  # in the archive, for whoever reads its source
    module = ModuleType(name)
    module.__file__, module.__loader__ = path, loader
    sys.modules[name] = module
    exec(loader.get_code(loader.name), vars(module))  # noqa: S102 - what the import of a module is


def _check_same(name: str, path: str) -> None:
    """Raises `DeclarationError` where the script has the name of another module, which was imported before it."""
    file = getattr(sys.modules[name], "__file__", None)
    if file is None or Path(file).resolve() != Path(path).resolve():
        raise DeclarationError(
            f"The script {path} has the name of a module that actorq or your code imports ({name}): rename the script."
        )


def module_target(module: str) -> Target:
    """How another process imports what is `module` here."""
    if module in MAIN:
        name, path = main_module()
        return Target(name=name, path=path)
    return Target(name=module)


def parse_target(text: str) -> tuple[Target, str | None]:
    """`package.module:environment` or `path/to/script.py:environment`; the environment may be left out.

    A script may have no suffix, and be a folder or an archive with a `__main__.py`, where a path is given.
    """
    from zipfile import is_zipfile  # the pools of a program import this module, too

    module, _, attribute = text.partition(":")
    if module.endswith(".py") or os.sep in module or Path(module).is_file():
        path = Path(module).resolve()
        if path.is_dir() or is_zipfile(path):  # as Python runs them
            path = path / "__main__.py"
        return Target(name=script_name(str(path)), path=str(path)), attribute or None
    return Target(name=module), attribute or None
