"""Names of environments, tasks, modules and maps, and what they may look like.

The module a script is run as, `__main__`, has another name in every process. On the wire it goes by the name it would
have if it were imported, so a script, its replicas and `actorq worker script:env` agree.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from actorq.errors import DeclarationError

#: what RQ, a Kubernetes label and a Redis key can all carry
_ENVIRONMENT = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MAP_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_environment(name: str) -> str:
    """`name`, or `DeclarationError` when Kubernetes or RQ could not carry it."""
    if not isinstance(name, str) or not _ENVIRONMENT.fullmatch(name):
        raise DeclarationError(
            f"Environment name {name!r}: use lower-case letters, digits and '-', 63 at most, "
            "with a letter or digit at both ends (Kubernetes labels allow no more)."
        )
    return name


def check_map_id(map_id: str) -> str:
    if not isinstance(map_id, str) or not _MAP_ID.fullmatch(map_id):
        raise DeclarationError(f"map_id {map_id!r}: use letters, digits, '_' and '-', 64 at most.")
    return map_id


def new_id() -> str:
    """A short random id."""
    return os.urandom(6).hex()


@cache
def main_module() -> tuple[str, str | None]:
    """The name `__main__` would have if it were imported, and the file to import it from (None: by name).

    Raises `DeclarationError` in an interactive session, whose functions exist nowhere else.
    """
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in ("__main__", None):
        return str(spec.name), None
    path = getattr(main, "__file__", None)
    if path is None or not Path(path).exists():
        raise DeclarationError(
            "This task is defined in an interactive session, which a replica cannot import: put it into a .py file."
        )
    return Path(path).stem, str(Path(path).resolve())


def public_module(module: str) -> str:
    """The name `module` has in every process."""
    return main_module()[0] if module == "__main__" else module


def execution(namespace: Mapping[str, Any]) -> object:
    """Tells one import of a module from the next: reloading it runs it again, in the same namespace."""
    return namespace.get("__spec__")


def installed(file: str) -> bool:
    """Whether a module's file belongs to Python or to an installed package, and not to the project."""
    libraries = (f"{sys.prefix}/lib", f"{sys.base_prefix}/lib")
    return "site-packages" in file or "dist-packages" in file or file.startswith(libraries)
