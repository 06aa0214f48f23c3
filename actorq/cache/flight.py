"""A load in progress, and who waits for which: a load that waits for itself is found instead of waited for.

Waiting crosses threads and event loops, so a flight wakes each waiter where it lives. Every load knows through a
context variable that it is one; what it waits for is an edge of a graph, and an edge that closes a circle is an error.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from actorq.errors import ActorqError

if TYPE_CHECKING:
    import asyncio

#: the load this code runs for
current: ContextVar[Flight | None] = ContextVar("actorq_load", default=None)
_graph = threading.Lock()


class Flight:
    """One load of one key. What happens to it is decided under the lock of its memo.

    Args:
        loop: the event loop that runs it; None for a load in a thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop
        self.thread = threading.get_ident()
        self.task: asyncio.Task[None] | None = None
        #: callers that want the value, the one that loads included
        self.wanted = 1
        self.waits_for: list[Flight] = []
        self.done = False
        #: it ended without a value or an error of its own: whoever waits loads itself
        self.abandoned = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._traceback: Any = None
        self._event = threading.Event()
        #: coroutines that wait, and the loops they wait in
        self.waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    @property
    def stalled(self) -> bool:
        """Its event loop was stopped or closed under it."""
        return self.loop is not None and not self.loop.is_running()

    def end(self, *, value: Any = None, error: BaseException | None = None, abandoned: bool = False) -> None:
        """Sets the outcome and wakes all waiters."""
        self.value, self.error, self.abandoned = value, error, abandoned
        self._traceback = None if error is None else error.__traceback__
        self.done = True
        self._event.set()
        for loop, waiter in self.waiters:
            with contextlib.suppress(RuntimeError):  # that loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(wake, waiter)

    def wait(self) -> None:
        """Waits in a thread."""
        self._event.wait()

    def outcome(self, *, own: bool) -> Any:
        """The value, or raises the error: to the caller that loaded as it is, to others a copy each."""
        error = self.error
        if error is None:
            return self.value
        if own:
            raise error
        raise _copied(error).with_traceback(self._traceback)


def wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _copied(error: BaseException) -> BaseException:
    """A copy to raise in another place: each `raise` adds to the traceback of the object it raises."""
    try:
        made = copy.copy(error)
    except Exception:  # its __init__ takes something else than its args
        return error
    if type(made) is not type(error) or made.args != error.args:
        return error
    made.__cause__, made.__context__ = error.__cause__, error.__context__
    made.__suppress_context__ = error.__suppress_context__
    return made


@contextlib.contextmanager
def waiting(flight: Flight, name: str) -> Iterator[None]:
    """Around the time in which the present load, if there is one, waits for `flight`.

    Raises `ActorqError` when `flight` waits for the present load in turn.
    """
    me = current.get()
    if me is None or me.done:
        yield
        return
    with _graph:
        if _reaches(flight, me):
            raise circular(name)
        me.waits_for.append(flight)
    try:
        yield
    finally:
        with _graph:
            me.waits_for.remove(flight)


def circular(name: str) -> ActorqError:
    return ActorqError(
        f"@actor_cache {name} calls itself with the same arguments, at once or through other loads: "
        "it would wait for itself."
    )


def _reaches(start: Flight, goal: Flight) -> bool:
    todo, seen = [start], set[int]()
    while todo:
        flight = todo.pop()
        if flight is goal:
            return True
        if id(flight) not in seen:
            seen.add(id(flight))
            todo += flight.waits_for
    return False
