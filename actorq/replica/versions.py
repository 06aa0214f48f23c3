"""Versions of the code in one executor: that of the image, and bundles that came with leases.

The one idea: *a version is a set of modules*. To run another version's task, its modules take the places of the present
ones in `sys.modules`. Each version is imported once and keeps its modules, so classes stay the same classes, and what
`@actor_cache` loaded stays where the code that loaded it is the same.
"""

from __future__ import annotations

import importlib
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from actorq import bundle
from actorq.broker import keys
from actorq.broker.wire import Link
from actorq.environment import ActorEnvironment, Environment
from actorq.errors import CodecError, PoolError
from actorq.isolation import Isolation
from actorq.log import logger
from actorq.ping import PING, answer
from actorq.replica import importing

#: bundles kept imported; the one used longest ago goes first
_KEPT_VERSIONS = 8


@dataclass(kw_only=True)
class _Version:
    environment: ActorEnvironment
    modules: dict[str, ModuleType] = field(default_factory=dict)
    folder: str | None = None


class Versions:
    """The code of one executor.

    Args:
        environment: what was imported when the process started.
        isolation: is told which code runs.
        link: the executor's connection; it must not wait for a reply when `function` is called.
        scratch: folder for bundles; None where this replica takes none.
        start: runs the start hooks of a version.
    """

    def __init__(
        self,
        environment: ActorEnvironment,
        isolation: Isolation,
        link: Link,
        scratch: Path | None,
        start: Callable[[ActorEnvironment], None],
    ) -> None:
        self._start = start
        self._isolation = isolation
        self._link = link
        self._scratch = scratch
        self._known: OrderedDict[str, _Version] = OrderedDict({"": _Version(environment=environment)})
        self._active = ""

    @property
    def active(self) -> str:
        """The version that runs."""
        return self._active

    def function(self, code: str, name: str) -> Callable[..., Any]:
        """The function of task `name` in version `code`, which is made the running one.

        Raises `PoolError` when there is no such task, or the code cannot be had or trusted.
        """
        if name == PING:
            return answer
        self.activate(code)
        tasks = self._known[code].environment.tasks
        if name not in tasks:
            known = ", ".join(sorted(tasks)) or "none"
            raise PoolError(
                f"Environment {self._known[code].environment.name!r} of this replica declares no task {name!r} "
                f"(it has: {known}). Replicas import a script under the name it would have as a module, and, "
                'without an `if __name__ == "__main__":`, only up to its first map; start them with the same code.'
            )
        return tasks[name].function

    def activate(self, code: str) -> None:
        """Puts the modules of version `code` in place."""
        if code == self._active:
            return
        with self._isolation.switching():
            version = self._known.get(code)
            if version is None:
                version = self._load(code)
            else:
                self._swap(code)
            self._known.move_to_end(code)
            self._isolation.use(version.environment)
        for old in list(self._known)[: max(0, len(self._known) - _KEPT_VERSIONS)]:
            if old not in ("", self._active):
                del self._known[old]

    def _swap(self, code: str) -> None:
        """Takes the active version's modules out and puts those of `code` in."""
        active, version = self._known[self._active], self._known[code]
        for name in active.modules:
            sys.modules.pop(name, None)
        if active.folder is not None and active.folder in sys.path:
            sys.path.remove(active.folder)
        sys.modules.update(version.modules)
        if version.folder is not None:
            sys.path.insert(0, version.folder)
        self._active = code

    def _load(self, code: str) -> _Version:
        if self._scratch is None:
            raise PoolError(
                "This replica runs only the code of its image, and the map sent its own: start the replica with "
                "--bundles, or declare code='image'."
            )
        data = self._link.fetch(keys.code(code))
        if data is None:
            raise CodecError(f"The code bundle {code[:12]} is no longer on the server.")
        unpacked = bundle.unpack(code, bytes(data), self._scratch / code[:16])
        name = self._known[""].environment.name
        declared, Environment._declared = Environment._declared, {}
        placeholder = _Version(environment=self._known[""].environment, folder=str(unpacked.folder))
        self._known[code] = placeholder
        previous = self._active
        try:
            self._swap(code)
            importlib.invalidate_caches()
            before = set(sys.modules)
            for module in unpacked.modules:
                importing.import_target(importing.Target(name=module))
            placeholder.environment = ActorEnvironment.declared(name)
            self._start(placeholder.environment)
        except BaseException as error:
            placeholder.modules = self._own(unpacked.folder)
            self._swap(previous)
            del self._known[code]
            if not isinstance(error, Exception):
                raise
            raise PoolError(f"The code of the map cannot be imported here: {type(error).__name__}: {error}") from error
        finally:
            Environment._declared = declared
        placeholder.modules = self._own(unpacked.folder)
        logger().info("code_loaded", code=code[:12], modules=sorted(set(sys.modules) - before)[:20])
        return placeholder

    @staticmethod
    def _own(folder: Path) -> dict[str, ModuleType]:
        """The imported modules that lie in `folder`."""
        prefix = f"{folder.resolve()}/"
        return {
            name: module
            for name, module in list(sys.modules.items())
            if isinstance(file := getattr(module, "__file__", None), str)
            and str(Path(file).resolve()).startswith(prefix)
        }
