"""Versions of the code in one executor: that of the image, and bundles that came with leases.

The one idea: *a version is a set of modules*. To run another version's task, its modules take the places of the present
ones in `sys.modules`. Each version is imported once and keeps its modules, so classes stay the same classes, and what
`@actor_cache` loaded stays where the code that loaded it is the same.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from actorq.base.log import logger
from actorq.base.names import MAIN
from actorq.broker.link import Link
from actorq.code import bundle, guarded, importing
from actorq.code.modules import own_modules
from actorq.declare.environment import ActorEnvironment, Environment
from actorq.declare.ping import PING, answer
from actorq.errors import PoolError
from actorq.isolation.reset.reset import Isolation
from actorq.replica.executor.run import Stop

#: bundles kept imported; the one used longest ago goes first
_KEPT_VERSIONS = 8


@dataclass(kw_only=True)
class _Version:
    environment: ActorEnvironment
    #: those it had when it last ran
    modules: dict[str, ModuleType] = field(default_factory=dict)
    #: where its code lies; None: it is the image's own
    folder: str | None = None

    def imported(self) -> dict[str, ModuleType]:
        """Its modules as they are imported now, those that an input imported too. Only while it runs."""
        if self.folder is not None:
            prefixes = (f"{self.folder}/", f"{Path(self.folder).resolve()}/")
            return {name: module for name, module in list(sys.modules.items()) if _file(module).startswith(prefixes)}
        # not what is compiled: most of it can be loaded into a process only once
        own = (name for name in own_modules(self.environment.modules) if name not in MAIN)
        return {name: sys.modules[name] for name in own if not _file(sys.modules[name]).endswith((".so", ".pyd"))}


class Versions:
    """The code of one executor.

    Args:
        environment: what was imported when the process started.
        isolation: is told which code runs.
        link: gives a connection that waits for no reply.
        scratch: folder for bundles; None where this replica takes none.
        start: runs the start hooks of a version.
        stop: is told of a version that will not run any more.
    """

    def __init__(
        self,
        environment: ActorEnvironment,
        isolation: Isolation,
        link: Callable[[], Link],
        scratch: Path | None,
        start: Callable[[ActorEnvironment], None],
        stop: Callable[[ActorEnvironment], None],
    ) -> None:
        self._start, self._stop = start, stop
        self._isolation = isolation
        self._link = link
        self._scratch = scratch
        #: the version that runs: another object for one that was forgotten, and has come anew
        self.current = _Version(environment=environment)
        self._known: OrderedDict[str, _Version] = OrderedDict({"": self.current})
        self._active = ""

    @property
    def active(self) -> str:
        """The version that runs: its bundle, or "" for the code of the image."""
        return self._active

    @property
    def environment(self) -> ActorEnvironment:
        """What the version that runs declares."""
        return self.current.environment

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
            module, _, function = name.rpartition(".")
            raise PoolError(
                f"Environment {self._known[code].environment.name!r} of this replica declares no task {name!r:.200} "
                f"(it has: {known}). Replicas import a script under the name it would have as a module, and, "
                'without an `if __name__ == "__main__":`, only up to its first map: put what calls tasks '
                "under it, below all tasks. Or start the replicas with the same code."
                f"{guarded.hint([module], function)}"
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
        for old in [kept for kept in self._known if kept][:-_KEPT_VERSIONS]:
            self._forget(old)

    def _swap(self, code: str) -> None:
        """Takes the active version's modules out and puts those of `code` in."""
        active, version = self._known[self._active], self._known[code]
        active.modules = active.imported()
        for name in active.modules:
            del sys.modules[name]
        if active.folder is not None and active.folder in sys.path:
            sys.path.remove(active.folder)
        sys.modules.update(version.modules)
        if version.folder is not None:
            sys.path.insert(0, version.folder)
        self._active, self.current = code, version

    def _forget(self, code: str) -> None:
        """Lets go of a bundle that is not the active one."""
        version = self._known.pop(code)
        self._stop(version.environment)
        self._isolation.forget(version.environment)
        if version.folder is not None:
            shutil.rmtree(version.folder, ignore_errors=True)

    def _load(self, code: str) -> _Version:
        if self._scratch is None:
            raise PoolError(
                "This replica runs only the code of its image, and the map sent its own: start the replica with "
                "--bundles, or declare code='image'."
            )
        unpacked = bundle.unpack(code, bundle.fetch(code, self._link()), self._scratch / code[:16])
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
            self._swap(previous)
            self._forget(code)
            if isinstance(error, Stop):  # the supervisor's
                raise
            raise PoolError(f"The code of the map cannot be imported here: {type(error).__name__}: {error}") from error
        finally:
            Environment._declared = declared
        logger().info("code_loaded", code=code[:12], modules=sorted(set(sys.modules) - before)[:20])
        return placeholder


def _file(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else ""
