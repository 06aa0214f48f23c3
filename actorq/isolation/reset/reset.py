"""`isolation="reset"`: after every input, the process is put back to what it was after import."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from actorq import cache
from actorq.base.log import logger
from actorq.cache.hooks import LOADS
from actorq.code.modules import own_modules
from actorq.declare.environment import ActorEnvironment, Environment
from actorq.declare.task import MapMethod
from actorq.isolation.reset.globals import GlobalState
from actorq.isolation.reset.leaks import Leaks, take_baseline
from actorq.isolation.reset.process import ProcessState


class Isolation(Protocol):
    """What keeps an input from seeing those that ran before it in the same process."""

    #: name of the task that runs, for reports
    task: str

    @property
    def after_input(self) -> Callable[[], None] | None:
        """To be called after every input; None where nothing is restored."""

    @property
    def worn_out(self) -> bool:
        """Inputs have left so much behind that the executor should be replaced."""

    def begin(self) -> None:
        """Takes the state to restore. Called once, in the executor, before the first input."""

    def after_lease(self) -> None:
        """What is too slow for every input."""

    def switching(self) -> contextlib.AbstractContextManager[None]:
        """Around a change of the code that runs: what it does to the process (imports, `sys.path`) is kept."""

    def use(self, environment: ActorEnvironment) -> None:
        """From now on the tasks of `environment` run: another version of the code."""

    def forget(self, environment: ActorEnvironment) -> None:
        """The tasks of `environment` will not run any more."""

    def end(self) -> None:
        """No input will run any more."""


def isolation_of(environment: ActorEnvironment, level: str, scratch: Path) -> Isolation:
    """What isolates the inputs of this process, by the level of their environment.

    Args:
        environment: whose tasks run here.
        level: as the environment says; with "fork" no input runs in this process.
        scratch: folder for temporary files, not yet there.
    """
    return Reset(environment, scratch) if level == "reset" else NoReset()


class NoReset:
    """Restores nothing."""

    after_input = None
    worn_out = False

    def __init__(self) -> None:
        self.task = ""

    def begin(self) -> None:
        """There is no state to take."""

    def after_lease(self) -> None:
        """Nothing is looked at."""

    def switching(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def use(self, environment: ActorEnvironment) -> None:
        """All code is the same to it."""

    def forget(self, environment: ActorEnvironment) -> None:
        """It knows of none."""

    def end(self) -> None:
        """It has nothing of its own."""


class Reset:
    """Restores the state of the process after every input. See `isolation_of` for the arguments."""

    def __init__(self, environment: ActorEnvironment, scratch: Path) -> None:
        self._scratch = scratch
        self._environment = environment
        self._states: dict[int, GlobalState] = {}
        self._begun = False
        self.task = ""

    def begin(self) -> None:
        own = own_modules(self._environment.modules)
        self._use_state()
        self._process = ProcessState(self._scratch)
        self._leaks = Leaks(self._report, own)
        self._loaded_modules = len(sys.modules)
        LOADS.keep_within(self._process.keeping)
        self._loads = LOADS.count
        self._begun = True

    @contextlib.contextmanager
    def switching(self) -> Iterator[None]:
        with self._process.keeping():
            yield
        self._process.keep_path()

    def use(self, environment: ActorEnvironment) -> None:
        self._environment = environment
        self._use_state()
        self._loaded_modules = len(sys.modules)
        self._leaks.rebase()

    def forget(self, environment: ActorEnvironment) -> None:
        if environment is not self._environment:
            self._states.pop(id(environment), None)

    def after_input(self) -> None:
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
            self._globals.add(own_modules(self._environment.modules))
        if LOADS.count != self._loads:
            self._loads = LOADS.count
            self._leaks.rebase()
        happened = self._process.take_happened()
        self._leaks.after_input(self.task, happened)
        if happened:
            self._process.take_happened()  # counting opens files itself

    def after_lease(self) -> None:
        self._globals.restore_exactly()
        for setting in self._process.after_lease():
            self._report(self.task, "setting", setting)
        self._leaks.after_lease(self.task)

    @property
    def worn_out(self) -> bool:
        return self._leaks.worn_out

    def end(self) -> None:
        if self._begun:  # else the start of the executor has failed
            self._process.end()

    def _use_state(self) -> None:
        state = self._states.get(id(self._environment))
        if state is None:
            if self._environment.at_start:
                take_baseline()  # what start hooks patch is meant to stay
            state = GlobalState(own_modules(self._environment.modules), (cache.ActorCached, Environment, MapMethod))
            self._states[id(self._environment)] = state
            if state.unrestored:
                logger().info("globals_not_restored", names=state.unrestored)
        self._globals = state

    def _report(self, task: str, kind: str, what: Any) -> None:
        logger().warning("state_left_behind", task=task, kind=kind, what=what)
