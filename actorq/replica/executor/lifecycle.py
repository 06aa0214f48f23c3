"""The beginning and the end of an executor: hooks, prewarms, and the caches that its predecessor leaves it.

    start hooks, prewarms ─▶ state to restore is taken ─▶ what the predecessor held ─▶ idle … caches noted ─▶ exit hooks

All of it happens while the executor is not registered as idle, so no input waits for it or fails with it. What goes
wrong at the start is left in a file for the supervisor: see `leftovers`.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from actorq.base.log import give_way, logger
from actorq.cache import loads as cache_loads
from actorq.declare.environment import ActorEnvironment
from actorq.declare.hooks import Hook
from actorq.errors import PoolError
from actorq.isolation.fork.forkable import why_not_forkable
from actorq.replica import leftovers
from actorq.replica.spec import ExecutorSpec
from actorq.wire import failure

if TYPE_CHECKING:
    import asyncio

#: values that an executor's successor loads before it takes work; more would keep it from working for too long
_MOST_LOADS = 100


class Lifecycle:
    """Of one executor.

    Args:
        spec: tells its folder, beside which files of ours lie where its successor finds them.
        event_loop: the one that runs the tasks.
        code: tells the version of the code that runs.
    """

    def __init__(
        self, spec: ExecutorSpec, event_loop: Callable[[], asyncio.AbstractEventLoop], code: Callable[[], str]
    ) -> None:
        self._warm = leftovers.caches(spec.scratch)
        self._forks = spec.isolation == "fork"
        self._event_loop = event_loop
        self._started: list[ActorEnvironment] = []
        self._journal = cache_loads.Journal(_MOST_LOADS, code)

    def start(self, environment: ActorEnvironment) -> None:
        """Runs the start hooks and prewarms of one version of the code. Raises what they raise."""
        for call in environment.at_start:
            self._call(call)
        give_way()
        if self._forks and environment.at_start and (cause := why_not_forkable()) is not None:
            raise PoolError(
                f"isolation='fork' cannot fork this replica after its start hooks and prewarms: {cause}. Do that in "
                "the task, or declare isolation='reset'."
            )
        self._started.append(environment)

    def warm(self, activate: Callable[[str], None], code: str) -> bool:
        """Loads what the predecessor held, if it was recycled; says whether it left anything.

        What cannot be loaded now is loaded when an input asks for it, which then tells why it cannot.
        """
        left = cache_loads.read(self._warm)
        for version, load in left:
            try:
                activate(version)
                cache_loads.repeat(load, self._run)
            except Exception as error:
                name = cache_loads.shown(load)
                logger().warning("cache_not_warmed", function=name, error=f"{type(error).__name__}: {error}")
        if left:
            activate(code)
        return bool(left)

    def end(self, *, recycled: bool) -> None:
        """Leaves the caches to the successor, if there is to be one, and runs the exit hooks. Never raises."""
        if recycled:
            with contextlib.suppress(Exception):  # a full disk: the successor starts cold
                self._journal.write(self._warm)
        started, self._started = self._started, []
        for environment in reversed(started):
            self._run_exit_hooks(environment)

    def stop(self, environment: ActorEnvironment) -> None:
        """A version of the code will not run any more: runs its exit hooks. Never raises."""
        if environment in self._started:
            self._started.remove(environment)
            self._run_exit_hooks(environment)

    def _run_exit_hooks(self, environment: ActorEnvironment) -> None:
        for hook in reversed(environment.at_exit):
            try:
                self._call(hook)
            except BaseException as error:  # the next hook has its own things to close
                text = failure.describe(error)["traceback"]
                logger().error("exit_hook_failed", hook=_name(hook.function), traceback=text)

    def _call(self, call: Hook) -> None:
        value = call.function(*call.args, **call.kwargs)
        if inspect.iscoroutine(value):
            self._run(value)

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """On the loop of the tasks, where what it opens can be used; a loop that is open cannot be forked."""
        import asyncio

        if self._forks:
            return asyncio.run(coroutine)
        loop = self._event_loop()
        if loop.is_running():  # that of concurrency slots, one of which has loaded another version of the code
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result()
        return loop.run_until_complete(coroutine)


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", repr(function))
