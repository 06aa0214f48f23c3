"""`isolation="reset"`: after every input, the process is put back to what it was after import."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from actorq import cache
from actorq.environment import ActorEnvironment, Environment
from actorq.isolation.globals import GlobalState
from actorq.isolation.leaks import Leaks, take_baseline
from actorq.isolation.process import ProcessState
from actorq.log import logger
from actorq.names import installed, module_named, public_module
from actorq.task import MapMethod


class Isolation:
    """Restores the state of the process after every input, as the level asks.

    Args:
        environment: whose tasks run here.
        level: as the environment says; "fork" needs no restoring.
        scratch: folder for temporary files, not yet there.
    """

    def __init__(self, environment: ActorEnvironment, level: str, scratch: Path) -> None:
        self._scratch = scratch
        self._environment = environment
        self._level = level
        self._states: dict[int, GlobalState] = {}
        #: name of the task that runs, for reports
        self.task = ""
        #: called after every input; None when nothing is restored
        self.after_input: Callable[[], None] | None = None

    def begin(self) -> None:
        """Takes the state to restore. Called once, in the executor, before the first input."""
        if self._level != "reset":
            return
        own = own_modules(self._environment)
        self._use_state()
        self._process = ProcessState(self._scratch)
        self._leaks = Leaks(self._report, own)
        self._loaded_modules = len(sys.modules)
        cache.during_load = self._process.keeping
        self._loads = cache.loads
        self.after_input = self._reset

    @contextlib.contextmanager
    def switching(self) -> Iterator[None]:
        """Around a change of the code that runs: what it does to the process (imports, `sys.path`) is kept."""
        if self.after_input is None:
            yield
            return
        with self._process.keeping():
            yield
        self._process.keep_path()

    def use(self, environment: ActorEnvironment) -> None:
        """From now on the tasks of `environment` run: another version of the code."""
        self._environment = environment
        if self.after_input is not None:
            self._use_state()
            self._loaded_modules = len(sys.modules)
            self._leaks.rebase()

    def forget(self, environment: ActorEnvironment) -> None:
        """The tasks of `environment` will not run any more."""
        if environment is not self._environment:
            self._states.pop(id(environment), None)

    def _use_state(self) -> None:
        state = self._states.get(id(self._environment))
        if state is None:
            if self._environment.at_start:
                take_baseline()  # what start hooks patch is meant to stay
            state = GlobalState(own_modules(self._environment), (cache.ActorCached, Environment, MapMethod))
            self._states[id(self._environment)] = state
            if state.unrestored:
                logger().info("globals_not_restored", names=state.unrestored)
        self._globals = state

    def after_lease(self) -> None:
        """What is too slow for every input."""
        if self.after_input is not None:
            self._globals.restore_exactly()
            for setting in self._process.after_lease():
                self._report(self.task, "setting", setting)
            self._leaks.after_lease(self.task)

    @property
    def worn_out(self) -> bool:
        """Inputs have left so much behind that the executor should be replaced."""
        return self.after_input is not None and self._leaks.worn_out

    def end(self) -> None:
        if self.after_input is not None:
            self._process.end()

    def _reset(self) -> None:
        imported = len(sys.modules) != self._loaded_modules
        if imported:
            self._globals.adopt()
        self._globals.restore()
        if self._process.assigned:
            self._globals.restore_functions(self._process.assigned)
            self._process.assigned.clear()  # restoring assigns too
        self._process.restore()
        if imported:
            self._loaded_modules = len(sys.modules)
            self._globals.add(own_modules(self._environment))
        if cache.loads != self._loads:
            self._loads = cache.loads
            self._leaks.rebase()
        happened = self._process.take_happened()
        self._leaks.after_input(self.task, happened)
        if happened:
            self._process.take_happened()  # counting opens files itself

    def _report(self, task: str, kind: str, what: Any) -> None:
        logger().warning("state_left_behind", task=task, kind=kind, what=what)


def own_modules(environment: Environment) -> list[str]:
    """The task's own code among the imported modules: what declares tasks, and what lives beside it.

    Installed packages are third-party, except the package that declares the tasks itself.
    """
    declaring = environment.modules
    packages = {name.partition(".")[0] for name in declaring}
    roots = {root for name in declaring if (root := project_root(name)) is not None}
    own = []
    for name, module in list(sys.modules.items()):
        if name in declaring or name.partition(".")[0] in packages:
            own.append(name)
            continue
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not installed(file) and any(_real(file).startswith(root) for root in roots):
            own.append(name)
    return [name for name in own if name.partition(".")[0] != "actorq"]


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
