"""The event loop of a replica, which no input may spoil for those that come after it, or run beside it.

The one idea: *what an input sets of the loop is set for itself*. Its default executor, and for concurrency slots its
task factory, hold for the tasks that it starts. Its exception handler and its debug mode end with it. What would end
the loop for everybody is refused. What start hooks set stays: they run in no input.

The methods are replaced on the loop itself, so it may be of any class, such as uvloop's.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import asyncio


class Holder:
    """What one input has set of the loop."""

    def __init__(self) -> None:
        self.executor: Executor | None = None
        self.factory: Callable[..., Any] | None = None
        #: puts back what it has changed for all, by the name of the method
        self.undo: dict[str, Callable[[], object]] = {}

    def end(self) -> None:
        """The input has ended."""
        while self.undo:
            self.undo.popitem()[1]()


#: of the input that this context belongs to; None for what is nobody's, or the replica's own
holder: contextvars.ContextVar[Holder | None] = contextvars.ContextVar("actorq_holder", default=None)


class SharedLoop:
    """Keeps `loop` as start hooks leave it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        #: for who has made the loop
        self.close = loop.close
        self._stop, self._run_in_executor = loop.stop, loop.run_in_executor
        self._set_executor = loop.set_default_executor
        self._shut_executor, self._shut_generators = loop.shutdown_default_executor, loop.shutdown_asyncgens
        self._replace("stop", self._stop_for_all)
        self._replace("close", lambda: _refuse("close"))
        self._replace("shutdown_asyncgens", self._shutdown_asyncgens)
        self._replace("shutdown_default_executor", self._shutdown_default_executor)
        self._replace("set_default_executor", self._set_default_executor)
        self._replace("run_in_executor", self._run_in_its_executor)
        self._keep("set_exception_handler", loop.get_exception_handler())
        self._keep("set_debug", loop.get_debug())
        self._own_factory()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _own_factory(self) -> None:
        """Sees to the task factory: that of an input ends with it."""
        self._keep("set_task_factory", self.loop.get_task_factory())

    def _replace(self, name: str, by: Callable[..., Any]) -> None:
        setattr(self.loop, name, by)

    def _keep(self, name: str, kept: Any) -> None:
        """What an input sets by the method `name` is put back when it ends."""
        original = getattr(self.loop, name)

        def set_it(value: Any) -> None:
            nonlocal kept
            original(value)
            if (mine := holder.get()) is None:
                kept = value
            else:
                mine.undo[name] = lambda: original(kept)

        self._replace(name, set_it)

    def _stop_for_all(self) -> None:
        if holder.get() is not None:
            _refuse("stop")
        self._stop()

    async def _shutdown_asyncgens(self) -> None:
        if holder.get() is not None:
            _refuse("shutdown_asyncgens")
        await self._shut_generators()

    async def _shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        if holder.get() is not None:
            _refuse("shutdown_default_executor")
        await self._shut_executor(*args, **kwargs)

    def _set_default_executor(self, executor: Any) -> None:
        if (mine := holder.get()) is None:
            self._set_executor(executor)
        else:
            mine.executor = executor

    def _run_in_its_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
        if executor is None and (mine := holder.get()) is not None:
            executor = mine.executor
        return self._run_in_executor(executor, func, *args)


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(
        f"{name}() of the event loop of a replica: other inputs need it, too. Await what has to end, or use a loop of "
        "your own, by asyncio.run() in a thread."
    )
