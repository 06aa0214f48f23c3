"""Names of environments, tasks, modules and maps, and what they may look like.

The module a script is run as, `__main__`, has another name in every process, and `multiprocessing` calls it
`__mp_main__` in its children. On the wire it goes by the name it would have if it were imported, so a script, its
replicas and `actorq worker script:env` agree.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from actorq.errors import DeclarationError

#: what RQ, a Kubernetes label and a Redis key can all carry
_ENVIRONMENT = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
#: what the module of a script is called while it is that
MAIN = frozenset({"__main__", "__mp_main__"})
_MAP_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: what the name of a map begins with whose inputs are the plain calls of many threads
SHARED_CALLS = "calls"


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


def check_job_id(job_id: str) -> str:
    """`job_id`, or `DeclarationError` where it is none that RQ's tools and ours can carry."""
    if not isinstance(job_id, str) or not _MAP_ID.fullmatch(job_id):
        raise DeclarationError(f"job_id {job_id!r}: use letters, digits, '_' and '-', 64 at most.")
    return job_id


def package_version() -> str:
    """The version of this package, whose root is above all floors."""
    return str(vars(sys.modules["actorq"])["__version__"])


def new_id() -> str:
    """A short random id."""
    return os.urandom(6).hex()


class _Profiled(ModuleType):
    """Stands for the module of a script that a profiler, a tracer or `runpy` runs: its globals are in no module."""

    def __init__(self, namespace: dict[str, Any], path: str) -> None:
        super().__init__("__main__")
        self._namespace = namespace
        self.__file__ = path
        self.__loader__ = namespace.get("__loader__") or SourceFileLoader("__main__", path)
        self.__spec__ = namespace.get("__spec__")

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # what `vars` shows
        return self._namespace

    def __getattr__(self, name: str) -> Any:
        try:
            return self._namespace[name]
        except KeyError:
            raise AttributeError(name) from None


_profiled: _Profiled | None = None


#: names of the modules that have declared tasks or hooks: what their code names may be built from data
DECLARING: set[str] = set()


def declares(namespace: dict[str, Any]) -> None:
    """Something is declared by the code that has these globals, which may be the script's without being `__main__`'s:
    under `python -m cProfile` that is the profiler.
    """
    global _profiled
    if namespace.get("__name__") not in MAIN or namespace is vars(sys.modules["__main__"]):
        return
    path = namespace.get("__file__")
    if isinstance(path, str) and (_profiled is None or _profiled.__dict__ is not namespace):
        _profiled = _Profiled(namespace, str(Path(path).resolve()))  # now: the working directory may change
        main_module.cache_clear()


def module_named(name: str) -> ModuleType | None:
    """The module that is called so in this process, or was run as a script."""
    return _profiled if name in MAIN and _profiled is not None else sys.modules.get(name)


@cache
def main_module() -> tuple[str, str | None]:
    """The name the script would have if it were imported, and the file to import it from (None: by name).

    Raises `DeclarationError` in an interactive session, whose functions exist nowhere else.
    """
    main = module_named("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in MAIN:
        return str(spec.name), None
    path = getattr(main, "__file__", None)
    if path is None or not exists(path):
        raise DeclarationError(
            "This task is defined in an interactive session, which a replica cannot import: put it into a .py file."
        )
    return script_name(path), str(Path(path).resolve())


def script_name(path: str) -> str:
    """The name a script would have if it were imported; that of a folder or an archive is made of its own name, so
    that it is no name of a module that lies in it.
    """
    script = Path(path).resolve()
    name = script.stem if script.suffix == ".py" else script.name
    if name == "__main__":
        name = f"{script.parent.stem}__main__"
    return name.replace(".", "_")  # one with dots would be a module of a package


def archive_of(path: str) -> str | None:
    """The archive that a module's file lies in, as Python runs and imports them; None for a file of its own."""
    return next((str(parent) for parent in Path(path).resolve().parents if parent.is_file()), None)


def exists(path: str) -> bool:
    """Whether a module can be imported from there: a script that is read from standard input names a file, too."""
    return Path(path).exists() or archive_of(path) is not None


def public_module(module: str) -> str:
    """The name `module` has in every process."""
    return main_module()[0] if module in MAIN else module


def execution(namespace: Mapping[str, Any]) -> object:
    """Tells one import of a module from the next: reloading it runs it again, in the same namespace."""
    return namespace.get("__spec__")


def installed(file: str) -> bool:
    """Whether a module's file belongs to Python or to an installed package, and not to the project."""
    libraries = (f"{sys.prefix}/lib", f"{sys.base_prefix}/lib")
    return "site-packages" in file or "dist-packages" in file or file.startswith(libraries)
