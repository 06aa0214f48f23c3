"""Inputs on the event loop of all concurrency slots: whose each task is, and who cancels what is not its own.

`asyncio.all_tasks()` holds the tasks of every input of the replica, so one that cancels them ends its neighbours.

The one idea: *every task knows its owner*, the input that has started it, so a cancel knows whether it was asked for.
What was hit by one of another's, or of nobody knows whose, has no outcome that means anything, whatever it returns: it
runs again, alone. The input that did it fails, with what it did. A task of the replica's own, of a start hook, cannot
be run again: the process is replaced.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from actorq.base import log
from actorq.replica.executor.loops import Holder, SharedLoop, holder
from actorq.replica.executor.marked import Marked
from actorq.replica.executor.run import Prepared, Run, Stop
from actorq.replica.pages import Page
from actorq.wire import failure

#: how long tasks that an input left behind may take to be cancelled, seconds
_CANCEL_SECONDS = 1.0
#: rounds of cancelling what an input left behind, which may start more while it ends
_CANCEL_ROUNDS = 3
#: the supervisor has asked for something
WAKE = object()


class Owner(Holder):
    """An input, to the tasks that it starts."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        self.tasks: set[asyncio.Future[Any]] = set()
        #: a task of it was cancelled by somebody else; by itself
        self.hit = self.cancelled_own = False
        #: other inputs that it has cancelled
        self.victims: set[Owner] = set()


def current_owner() -> Owner | None:
    """The input whose context this is."""
    mine = holder.get()
    return mine if isinstance(mine, Owner) else None


class _OfInput(asyncio.Task[Any]):
    """A task that an input has started, or `main`, the input itself."""

    def __init__(self, coro: Any, owner: Owner, *, main: bool = False, **options: Any) -> None:
        self._owner, self._main = owner, main
        super().__init__(coro, **options)

    def cancel(self, msg: Any = None) -> bool:
        done = super().cancel(msg)
        if done:
            culprit = current_owner()
            if culprit is self._owner:
                culprit.cancelled_own = True
            else:
                self._owner.hit = True
                if culprit is not None and self._main:
                    culprit.victims.add(self._owner)
        return done


class _OfReplica(asyncio.Task[Any]):
    """A task that no input has started."""

    def __init__(self, coro: Any, spoilt: Callable[[str], None], **options: Any) -> None:
        self._spoilt = spoilt
        super().__init__(coro, **options)

    def cancel(self, msg: Any = None) -> bool:
        done = super().cancel(msg)
        if done and current_owner() is not None:
            self._spoilt(f"an input has cancelled a task that is the replica's: {self.get_coro()}")
        return done


class SlotsLoop(SharedLoop):
    """The loop of all concurrency slots.

    Args:
        loop: where all of them run.
        spoilt: called when the process is to be replaced, with why.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, spoilt: Callable[[str], None]) -> None:
        self._spoilt = spoilt
        self._factory: Callable[..., Any] | None = None  # of a start hook
        super().__init__(loop)

    def _own_factory(self) -> None:
        self.loop.set_task_factory(self._new_task)
        self._replace("set_task_factory", self._set_factory)
        self._replace("get_task_factory", self._get_factory)

    def _set_factory(self, factory: Callable[..., Any] | None) -> None:
        if (mine := holder.get()) is None:
            self._factory = factory
        else:
            mine.factory = factory

    def _get_factory(self) -> Callable[..., Any] | None:
        mine = holder.get()
        return self._factory if mine is None or mine.factory is None else mine.factory

    def _new_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        """A task of the loop, known to the input that starts it. One with a context of its own belongs to nobody."""
        factory = self._get_factory()
        if options.get("context") is not None:
            return (factory or _plain_task)(loop, _OfNobody(coro), **options)
        owner = current_owner()
        if owner is None:
            return (factory or self._of_replica)(loop, coro, **options)
        coro = Marked(coro, owner.page)
        task = _OfInput(coro, owner, loop=loop, **options) if factory is None else factory(loop, coro, **options)
        owner.tasks.add(task)
        task.add_done_callback(owner.tasks.discard)
        return task

    def _of_replica(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return _OfReplica(coro, self._spoilt, loop=loop, **options)


def _plain_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coro, loop=loop, **options)


class _OfNobody(Marked):
    """A coroutine that outlives the input that began it, with all that it starts: a load of `@actor_cache`."""

    def __init__(self, coro: Any) -> None:
        self._coro = coro

    def send(self, value: Any) -> Any:
        holder.set(None)
        return self._coro.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coro.throw(*error)


class SlotRun(Run):
    """A lease whose inputs run on the event loop, one after the other.

    Args:
        loop: where.
        inbox: of the slot's thread: wake-ups of the supervisor come here.
        on_wake: what to do at one; may raise `Stop`.
    """

    def __init__(
        self,
        prepared: Prepared,
        inputs: Sequence[Any],
        page: Page,
        loop: asyncio.AbstractEventLoop,
        inbox: queue.SimpleQueue[object],
        on_wake: Callable[[], None],
    ) -> None:
        super().__init__(prepared, inputs, page, None)
        self._loop = loop
        self._inbox = inbox
        self._on_wake = on_wake

    def run(self, event_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        """Runs what is left. Returns early only after a cancel."""
        self._run_each(self._on_loop)

    def _on_loop(self, value: Any) -> Any:
        """Runs one input on the loop and waits for it."""
        owner = Owner(self._page)
        call = _Call(self._loop, _run_input(self.prepared.call, value, owner), owner, self._inbox)
        try:
            while self._inbox.get() is not call:
                self._on_wake()
        except Stop:
            call.cancel()
            woken = False
            while self._inbox.get() is not call:  # the supervisor ends the process when this takes too long
                woken = True
            if woken:
                self._inbox.put(WAKE)  # for the next input: what was asked for meanwhile
            raise
        if owner.victims:
            raise _Judged(failure.described(failure.CANCELLED, _harm(len(owner.victims)), final=True))
        if self.prepared.head.alone:
            return call.result()
        unasked = call.was_cancelled and not owner.cancelled_own
        if owner.hit or unasked:
            raise _Judged(failure.described(failure.DISTURBED, "was cancelled by what ran beside it"))
        return call.result()

    def _caught(self, error: BaseException) -> bool:
        if isinstance(error, MemoryError) and not self.prepared.head.alone:  # whoever has taken it: alone, that is told
            error = _Judged(failure.described(failure.DISTURBED, "found no memory beside others that run"))
        if not isinstance(error, _Judged):
            return super()._caught(error)
        self._errors[self.done] = error.data
        self._append(self._nothing)
        return True


class _Judged(BaseException):
    """What an input returned, or raised, is not its outcome; `data` is."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__()
        self.data = data


def _harm(count: int) -> str:
    beside = "an input that runs" if count == 1 else f"{count} inputs that run"
    return (
        f"cancelled {beside} beside it in its replica (which starts anew, alone): asyncio.all_tasks() holds the tasks "
        "of all of them. Cancel only those that the input has started: keep them in a list, or in a TaskGroup"
    )


class _Call:
    """One input on the loop. It puts itself into `inbox` when it is over."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any],
        owner: Owner,
        inbox: queue.SimpleQueue[object],
    ) -> None:
        self._loop = loop
        self._coro = coro
        self._owner = owner
        self._inbox = inbox
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._stop)

    @property
    def was_cancelled(self) -> bool:
        return self._task.cancelled()

    def result(self) -> Any:
        """What it returned. Raises what it raised."""
        if self._task.cancelled():
            raise asyncio.CancelledError
        error = self._task.exception()
        if error is not None:
            raise error
        result = self._task.result()
        if isinstance(result, _Exit):
            raise result.error
        return result

    def _stop(self) -> None:
        self._task.cancel()

    def _start(self) -> None:
        # whatever is the factory of the loop
        self._task = _OfInput(Marked(self._coro, self._owner.page), self._owner, main=True, loop=self._loop)
        self._task.add_done_callback(lambda _: self._inbox.put(self))


class _Exit:
    """The outcome of an input that wanted to end the process, which asyncio would let it do."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _run_input(call: Callable[[Any], Any], value: Any, owner: Owner) -> Any:
    """One input, and the end of what it has started and left."""
    holder.set(owner)
    log.bind()
    try:
        result = call(value)
        return await result if isinstance(result, Coroutine) else result
    except (SystemExit, KeyboardInterrupt) as error:
        return _Exit(error)
    finally:
        owner.end()
        for _ in range(_CANCEL_ROUNDS):
            if not (left := set(owner.tasks)):
                break
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)
