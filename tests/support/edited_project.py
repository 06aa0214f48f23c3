"""A project that a test writes, imports, edits and imports anew."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any


class Project:
    """Modules in a folder, imported anew after an edit, as the next version of a bundle is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions: list[ModuleType] = []  # as a replica keeps them

    def write(self, **modules: str) -> None:
        for name, text in modules.items():
            path = self.folder.joinpath(*name.split(".")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))

    def load(self, **modules: str) -> Any:
        """Module `job` as it is now."""
        self.write(**modules)
        self.forget()
        importlib.invalidate_caches()
        module = importlib.import_module("aq_job")
        self.versions.append(module)
        return module

    def forget(self) -> None:
        """No module of it is imported."""
        for name in [name for name, module in sys.modules.items() if self._owns(module)]:
            del sys.modules[name]

    def _owns(self, module: Any) -> bool:
        return str(getattr(module, "__file__", None)).startswith(str(self.folder))
