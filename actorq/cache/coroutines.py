"""Loads of coroutine functions: one task loads, and lives as long as anybody waits for it, in whatever event loop.

A waiter that is cancelled takes the load from nobody; the last one takes it with it.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from typing import TYPE_CHECKING, Any

from actorq.cache.flight import Flight, current, waiting
from actorq.cache.hooks import LOADS
from actorq.cache.loading import size_of
from actorq.cache.memo import Entry, Key, Memo, now

if TYPE_CHECKING:
    from actorq.cache.cached import ActorCached

#: how often a waiter in another event loop looks whether the one that loads still runs, seconds
_LOOK_SECONDS = 1.0


async def get(cached: ActorCached[Any, Any], memo: Memo, key: Key, args: Any, kwargs: Any) -> Any:
    """The value of `key`: found, waited for, or loaded."""
    loop = asyncio.get_running_loop()
    while True:
        if (entry := memo.find(key)) is not None:
            return entry.value
        mine = Flight(loop)
        found = memo.join(key, mine)
        if isinstance(found, Entry):
            return found.value
        try:
            with waiting(found, cached.__wrapped__.__qualname__):
                if found is mine:
                    # in a context of its own: it is not the first caller's alone, and does not end with it
                    load = _load(cached, memo, key, mine, args, kwargs)
                    mine.task = loop.create_task(load, context=contextvars.copy_context())
                    # cancelled before its first step, or with its loop: nothing else would end the flight
                    mine.task.add_done_callback(functools.partial(_ended, memo, key, mine))
                if not await _wait(found, loop):
                    memo.abandon(key, found)
        finally:
            if memo.leave(key, found):
                _cancel(found)
        if not found.abandoned:
            return found.outcome(own=found is mine)


async def _wait(flight: Flight, loop: asyncio.AbstractEventLoop) -> bool:
    """False when the event loop that loads has stopped, and nothing will come."""
    waiter: asyncio.Future[None] = loop.create_future()
    flight.waiters.append((loop, waiter))
    if flight.loop is loop:
        if not flight.done:
            await waiter
        return True
    while not flight.done:  # looked at after the waiter was there for its end to wake
        await asyncio.wait([waiter], timeout=_LOOK_SECONDS)
        if not flight.done and flight.stalled:
            return False
    return True


async def _load(cached: ActorCached[Any, Any], memo: Memo, key: Key, flight: Flight, args: Any, kwargs: Any) -> None:
    """Never raises what the load raised: that is for those who wait, if there are any."""
    current.set(flight)  # in the context of this task alone
    started = now()
    try:
        with LOADS.counted():
            value = await cached.__wrapped__(*args, **kwargs)
        size = size_of(memo, value)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        memo.fail(key, flight, error)  # the load's own doing
    except BaseException as error:  # also a stop that the supervisor asked for: it must reach the task that waits
        memo.fail(key, flight, error)
    else:
        if memo.land(key, flight, value, now() - started, size):
            LOADS.tell(cached, args, kwargs)


def _ended(memo: Memo, key: Key, flight: Flight, _: asyncio.Task[None]) -> None:
    memo.abandon(key, flight)


def _cancel(flight: Flight) -> None:
    """Cancels the load of a flight nobody waits for. May be called by the garbage collector, with no loop at all."""
    task, loop = flight.task, flight.loop
    if task is not None and loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
