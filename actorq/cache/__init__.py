"""`@actor_cache`: load once per replica, keep for every input after.

The one idea: a value belongs to (function, *code*, arguments), so two functions of one name do not collide, an edited
function never sees what its older self loaded, and `f(1, b=2)` finds what `f(1, 2)` loaded. Loads are single-flight:
whoever asks while a key is loading waits for that load, in threads and in coroutines alike.

    cached.py      the decorated function
    identity.py    which code a value belongs to      keys.py         what arguments are kept under; numbers.py
    memo.py       values, and when they leave        options.py      the limits; sizes.py: how large a value is
    flight.py      a load in progress, who waits      loading.py      loads in threads; coroutines.py: in event loops
    hooks.py       who takes part in every load       loads.py        loads as data, for another process
    report.py      what is told of all this outside
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from actorq.cache.cached import ActorCached, CacheEntry, CacheInfo
from actorq.cache.memo import add_calls, counted
from actorq.cache.options import Options

__all__ = [
    "ActorCached",
    "CacheEntry",
    "CacheInfo",
    "actor_cache",
    "add_calls",
    "cache_totals",
    "counted",
]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def actor_cache(function: Callable[P, R], /) -> ActorCached[P, R]: ...


@overload
def actor_cache(
    *,
    maxsize: int | None = None,
    ttl: float | None = None,
    max_bytes: int | None = None,
    size: Callable[[Any], int] | None = None,
    key: Callable[..., Any] | None = None,
    on_evict: Callable[[Any], object] | None = None,
) -> Callable[[Callable[P, R]], ActorCached[P, R]]: ...


def actor_cache(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Keeps what `function` returns for the life of the replica, per arguments.

    For a model or a dataset that every input needs. `cache_info()` and `cache_clear()` are as in `functools.lru_cache`,
    `cache_entries()` tells of each value. Exceptions are not kept. Works on methods, and on `async def`: await each
    call as usual.

    Arguments are compared by content: lists, dicts, sets, arrays and dataclasses are fine. The instance a method is
    called on is compared by content if it is a dataclass and by identity otherwise, and its values go with it.

    Args:
        function: to decorate; given by `@actor_cache` without parentheses.
        maxsize: values kept at most; the one used longest ago goes first.
        ttl: seconds after which a value is loaded again.
        max_bytes: bytes of all values at most, by `size` or an estimate. A larger value is returned and not kept.
        size: bytes of a value. The estimate knows Python's objects and arrays, not what a C library holds.
        key: called with the arguments in place of comparing them; returns plain data that tells them apart.
        on_evict: called with a value that leaves, by a limit or `cache_clear()`. A caller may still hold it.
    """
    made = Options.checked(options)
    if function is None:
        return lambda decorated: ActorCached(decorated, made)
    return ActorCached(function, made)


def cache_totals() -> tuple[int, int, int]:
    """Hits, misses and entries over all functions of this process."""
    hits = misses = entries = 0
    for _, counts, kept, _ in counted():
        hits += counts.hits
        misses += counts.misses
        entries += kept
    return hits, misses, entries
