"""Loads of plain functions: one thread loads, the others that ask for the same key wait for it."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any

from actorq.cache.flight import Flight, circular, current, waiting
from actorq.cache.hooks import LOADS
from actorq.cache.memo import Entry, Key, Memo, now
from actorq.cache.sizes import estimate
from actorq.errors import ActorqError

if TYPE_CHECKING:
    from actorq.cache.cached import ActorCached


def get(cached: ActorCached[Any, Any], memo: Memo, key: Key, args: Any, kwargs: Any) -> Any:
    """The value of `key`: found, waited for, or loaded."""
    name = cached.__wrapped__.__qualname__
    while True:
        if (entry := memo.find(key)) is not None:
            return entry.value
        mine = Flight()
        try:
            found = memo.join(key, mine)
            if isinstance(found, Entry):
                return found.value
            with waiting(found, name):
                if found is mine:
                    return _load(cached, memo, key, mine, args, kwargs)
                if found.thread == threading.get_ident():
                    raise circular(name)
                found.wait()
        finally:
            memo.abandon(key, mine)  # where it was stopped from outside
        if not found.abandoned:
            return found.outcome(own=False)


def _load(cached: ActorCached[Any, Any], memo: Memo, key: Key, flight: Flight, args: Any, kwargs: Any) -> Any:
    token, started = current.set(flight), now()
    try:
        with LOADS.counted():
            value = cached.__wrapped__(*args, **kwargs)
        if inspect.iscoroutine(value):
            value.close()
            raise ActorqError(
                f"@actor_cache {cached.__wrapped__.__qualname__} returned a coroutine, which can be awaited once: "
                "declare it with `async def`."
            )
        size = size_of(memo, value)
    except Exception as error:
        memo.fail(key, flight, error)
        raise
    finally:
        current.reset(token)
    if memo.land(key, flight, value, now() - started, size):
        LOADS.tell(cached, args, kwargs)
    return value


def size_of(memo: Memo, value: Any) -> int:
    """The bytes of a value. Raises what `size=` raises, and `ActorqError` when that returns no size."""
    ask = memo.options.size
    if ask is None:
        return estimate(value)
    size = ask(value)
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ActorqError(f"@actor_cache {memo.name}: size= returned {size!r}, not a number of bytes.")
    return size
