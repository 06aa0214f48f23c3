"""The values of one function, and the loads in progress.

One lock, held for a few bytecodes: never while the user's code runs (a load, `size=`, `on_evict=`). What leaves is
collected under the lock and told after it.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from actorq.base.log import logger
from actorq.cache.flight import Flight
from actorq.cache.keys import Living
from actorq.cache.numbers import Numbers
from actorq.cache.options import Options

Key = tuple[Any, ...]

#: (name, identity) -> values; outlives a re-import of the module that declares the function
_shared: dict[tuple[str, str], Memo] = {}
_every: dict[int, weakref.ref[Memo]] = {}
_registry = threading.RLock()  # what is dropped runs `on_evict`, which may call a cached function
#: name -> counts of values and functions that are gone: what is told outside only grows
_retired: dict[str, Counts] = {}

now = time.monotonic


class Counts:
    """What happened."""

    __slots__ = ("evictions", "hits", "load_seconds", "loads", "misses")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.hits = self.misses = self.loads = self.evictions = 0
        self.load_seconds = 0.0

    def add(self, other: Counts) -> None:
        for name in Counts.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Entry:
    """A value that is kept."""

    __slots__ = ("born", "hits", "load_seconds", "size", "value")

    def __init__(self, value: Any, size: int, load_seconds: float) -> None:
        self.value = value
        self.size = size
        self.load_seconds = load_seconds
        self.hits = 0
        self.born = now()


class Memo:
    """What one function has loaded.

    Args:
        name: module and qualified name of the function.
        options: of its decorator.
        parameters: names of what a key has elements for.
    """

    def __init__(self, name: str, options: Options, parameters: tuple[str, ...]) -> None:
        self.name = name
        self.parameters = parameters
        self.options = options
        self._ttl, self._ordered = options.ttl, options.ordered
        self.values: dict[Key, Entry] = OrderedDict() if options.bounded else {}
        self.counts = Counts()
        self.bytes = 0
        #: the functions that use it
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        itself = weakref.ref(self)
        self.numbers = Numbers(lambda number: _forget(itself, number))
        self._lock = threading.Lock()
        self._loading: dict[Key, Flight] = {}
        self._owned: dict[int, set[Key]] = {}  # number of an instance -> the keys it is part of
        self._dead: deque[int] = deque()
        self._told_too_large = False
        _every[id(self)] = itself

    def __del__(self) -> None:
        if not sys.is_finalizing():
            _every.pop(id(self), None)
            self.clear()

    # -- finding and loading -------------------------------------------------------------------------------------------

    def find(self, key: Key) -> Entry | None:
        """The value of `key`, used just now. None also when it has expired: `join` lets it go."""
        with self._lock:
            entry = self.values.get(key)
            if entry is None or (self._ttl is not None and now() - entry.born >= self._ttl):
                return None
            if self._ordered:
                self.values.move_to_end(key)  # type: ignore[attr-defined]  # it is an OrderedDict where it is bounded
            entry.hits += 1
            self.counts.hits += 1
        return entry

    def join(self, key: Key, mine: Flight) -> Entry | Flight:
        """The value of `key`, or who loads it: somebody already, or `mine` from now on."""
        gone: list[Any] = []
        with self._lock:
            entry = self._fresh(key, gone)
            if entry is not None:
                entry.hits += 1
                self.counts.hits += 1
                found: Entry | Flight = entry
            else:
                other = self._loading.get(key)
                if other is None or (other.stalled and other.loop is not mine.loop):
                    self._loading[key] = found = mine
                    self.counts.misses += 1
                else:
                    other.wanted += 1
                    self.counts.hits += 1
                    found = other
        self._tell(gone)
        return found

    def land(self, key: Key, flight: Flight, value: Any, seconds: float, size: int) -> bool:
        """`flight` has loaded `value`. Returns whether it is kept: not when the cache was cleared meanwhile."""
        gone: list[Any] = []
        with self._lock:
            self.counts.loads += 1
            self.counts.load_seconds += seconds
            if flight.done:  # given up, and the load would not be cancelled
                return False
            kept = self._loading.get(key) is flight
            if kept:
                del self._loading[key]
                kept = self._keep(key, Entry(value, size, seconds), gone)
            flight.end(value=value)
        self._tell(gone)
        return kept

    def fail(self, key: Key, flight: Flight, error: BaseException) -> None:
        """`flight` raised `error`, which is not kept: the next call loads again."""
        with self._lock:
            if flight.done:
                return
            self._take_off(key, flight)
            # in a thread, an error nobody waits for is not held: its traceback holds the frames of the load
            flight.end(error=error if flight.wanted > 1 or flight.loop is not None else None)

    def leave(self, key: Key, flight: Flight) -> bool:
        """A caller does not want the value any more. Returns whether it was the last one: the load is given up."""
        with self._lock:
            flight.wanted -= 1
            if flight.wanted > 0 or flight.done:
                return False
            self._take_off(key, flight)
            flight.end(abandoned=True)
            return True

    def abandon(self, key: Key, flight: Flight) -> None:
        """`flight` will not end by itself: whoever waits for it loads itself."""
        with self._lock:
            if not flight.done:
                self._take_off(key, flight)
                flight.end(abandoned=True)

    def has(self, key: Key) -> bool:
        entry = self.values.get(key)
        return entry is not None and not self._expired(entry)

    def clear(self) -> None:
        """Forgets all values and counts. A load in progress is for those who wait for it already."""
        with self._lock:
            gone = [entry.value for entry in self.values.values()]
            self.values.clear()
            self._owned.clear()
            self._loading.clear()
            _retired.setdefault(self.name, Counts()).add(self.counts)
            self.counts.reset()
            self.bytes = 0
        self._tell(gone)

    def sweep(self) -> None:
        """Lets go what has expired."""
        gone: list[Any] = []
        if self._ttl is not None:
            with self._lock:
                self._drop_expired(gone)
        self._tell(gone)

    def recent(self, most: int | None = None) -> list[tuple[Key, Entry]]:
        """The keys and values of now, the latest first: by use where values leave by use, by age otherwise."""
        with self._lock:
            return list(islice(reversed(self.values.items()), most))

    # -- under the lock ------------------------------------------------------------------------------------------------

    def _expired(self, entry: Entry) -> bool:
        return self._ttl is not None and now() - entry.born >= self._ttl

    def _fresh(self, key: Key, gone: list[Any]) -> Entry | None:
        entry = self.values.get(key)
        if entry is None:
            return None
        if self._expired(entry):
            self._drop(key, gone)
            return None
        if self._ordered:
            self.values.move_to_end(key)  # type: ignore[attr-defined]  # as above
        return entry

    def _keep(self, key: Key, entry: Entry, gone: list[Any]) -> bool:
        options = self.options
        if options.max_bytes is not None and entry.size > options.max_bytes:
            if not self._told_too_large:
                self._told_too_large = True
                logger().warning("cache_value_too_large", function=self.name, bytes=entry.size, most=options.max_bytes)
            return False
        self._drop_expired(gone)
        self.values[key] = entry
        self.bytes += entry.size
        for part in key:
            if type(part) is Living:
                self._owned.setdefault(part.number, set()).add(key)
        while options.maxsize is not None and len(self.values) > options.maxsize:
            self._drop(next(iter(self.values)), gone)
        while options.max_bytes is not None and self.bytes > options.max_bytes:
            self._drop(next(iter(self.values)), gone)
        return True

    def _drop_expired(self, gone: list[Any]) -> None:
        """From the front, which without an order by use is the oldest; with one, what is behind goes a little later."""
        while self.values:
            key, entry = next(iter(self.values.items()))
            if not self._expired(entry):
                return
            self._drop(key, gone)

    def _drop(self, key: Key, gone: list[Any]) -> None:
        entry = self.values.pop(key)
        self.bytes -= entry.size
        self.counts.evictions += 1
        for part in key:
            if type(part) is Living and part.number in self._owned:
                self._owned[part.number].discard(key)
        gone.append(entry.value)

    def _take_off(self, key: Key, flight: Flight) -> None:
        if self._loading.get(key) is flight:
            del self._loading[key]

    # -- after it ------------------------------------------------------------------------------------------------------

    def _tell(self, gone: list[Any]) -> None:
        """Calls `on_evict`, and buries instances that died while the lock was held."""
        if self._dead:
            self.bury()
        if self.options.on_evict is None:
            return
        for value in gone:
            try:
                self.options.on_evict(value)
            except Exception as error:  # the boundary: a value that cannot be closed harms no call
                logger().warning("on_evict_failed", function=self.name, error=f"{type(error).__name__}: {error}")

    def bury(self, *numbers: int) -> None:
        """Lets go the values of instances that have died.

        Called by the garbage collector too, perhaps while this very thread has the lock: then that call of `_tell`
        buries them.
        """
        self._dead.extend(numbers)
        if not self._lock.acquire(blocking=False):
            return
        gone: list[Any] = []
        try:
            while self._dead:
                for key in self._owned.pop(self._dead.popleft(), ()):
                    self._drop(key, gone)
        finally:
            self._lock.release()
        self._tell(gone)


def _forget(memo: weakref.ref[Memo], number: int) -> None:
    if (found := memo()) is not None:
        found.bury(number)


# -- all functions ----------------------------------------------------------------------------------------------------


def shared(begun: Memo, identity: str, user: object) -> Memo:
    """The values of a function whose code is `identity`: `begun`, unless the same code has some already.

    Values of other code under that name stay for as long as a function uses them: another version of the code.
    """
    name = begun.name
    with _registry:
        memo = _shared.setdefault((name, identity), begun)
        memo.users.add(user)
        unused = [key for key, other in _shared.items() if key[0] == name and other is not memo and not other.users]
        left = [_shared.pop(key) for key in unused]
    for old in left:
        old.clear()
    return memo


def every() -> list[Memo]:
    """The values of all functions of this process."""
    return [memo for known in list(_every.values()) if (memo := known()) is not None]


def add_calls(name: str, hits: int, misses: int) -> None:
    """Counts calls that another process has made for this one."""
    counts = _retired.setdefault(name, Counts())
    counts.hits += hits
    counts.misses += misses


def counted() -> Iterator[tuple[str, Counts, int, int]]:
    """(function, counts, values kept, their bytes), once or several times for a function."""
    for memo in every():
        memo.sweep()
        yield memo.name, memo.counts, len(memo.values), memo.bytes
    for name, counts in list(_retired.items()):
        yield name, counts, 0, 0
