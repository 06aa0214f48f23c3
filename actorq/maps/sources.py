"""Where a map's inputs come from: drawn only as far as leases need them.

A sequence in memory is drawn by the pump itself. Any other iterator may take its time, or block for ever, so it runs in
a feeder thread of its own that draws what it was asked for, and a few leases more; the pump takes what is there.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Protocol

from actorq.errors import DeclarationError


class Source(Protocol):
    """A supply of inputs. Used by one thread."""

    #: no input will come any more
    exhausted: bool
    #: length, as soon as it is known
    total: int | None
    #: what the user's iterator raised, after the inputs before it
    error: BaseException | None
    #: what is drawn is packed already
    packed: bool

    def draw(self, count: int, ahead: int = 0) -> Sequence[Any]:
        """At most `count` inputs; fewer, or none, when that is all there is now. Does not block.

        `ahead`: how many more are going to be drawn soon, and may be fetched meanwhile.
        """

    def close(self) -> None:
        """No input is wanted any more."""


#: iterating these runs no code of the user's
_IN_MEMORY = {list, tuple, range, str, bytes, dict, set, frozenset, deque}
_IN_MEMORY |= {type({}.keys()), type({}.values()), type({}.items())}
_SAMPLES: tuple[Iterable[Any], ...] = ([], (), range(0), range(2**70), "", "ü", b"", {}, {}.values(), {}.items(), set())
_IN_MEMORY |= {type(iter(each)) for each in (*_SAMPLES, deque(), reversed([]), reversed({}))}


def source_of(iterables: tuple[Iterable[Any], ...], on_input: Callable[[], None]) -> Source:
    """The inputs of a map over `iterables` that advance together.

    Unequal lengths are an error, at once where lengths are known. `on_input` is called, in another thread, when a draw
    that found too little can find more.
    """
    if not iterables:
        raise DeclarationError("map() needs at least one iterable of inputs.")
    for position, iterable in enumerate(iterables):
        if not isinstance(iterable, Iterable):
            raise DeclarationError(
                f"map() argument {position + 1} is a {type(iterable).__name__}, not an iterable: "
                "constant arguments go into kwargs= or functools.partial."
            )
    lengths = {len(it) for it in iterables if isinstance(it, Sized)}
    if len(lengths) > 1:
        raise DeclarationError(f"map() got iterables of unequal lengths {sorted(lengths)}: make them equal.")
    total = lengths.pop() if lengths and all(isinstance(it, Sized) for it in iterables) else None
    if len(iterables) == 1 and isinstance(iterables[0], range):
        return RangeSource(iterables[0])
    iterator: Iterator[Any]
    iterator = iter(iterables[0]) if len(iterables) == 1 else map(list, zip(*iterables, strict=True))
    if all(type(it) in _IN_MEMORY for it in iterables):
        return MemorySource(iterator, total)
    return FedSource(iterator, total, on_input)


class RangeSource:
    """Inputs of a range. What is drawn is one again, which takes no time to pack and no space to send."""

    def __init__(self, inputs: range) -> None:
        self.total: int | None = len(inputs)
        self.exhausted = not inputs
        self.error: BaseException | None = None
        self.packed = False
        self._left = inputs

    def draw(self, count: int, ahead: int = 0) -> range:
        drawn, self._left = self._left[:count], self._left[count:]
        self.exhausted = not self._left
        return drawn

    def close(self) -> None:
        self.exhausted = True


class MemorySource:
    """Inputs that are in memory."""

    def __init__(self, iterator: Iterator[Any], total: int | None) -> None:
        self.total = total
        self.exhausted = total == 0
        self.error: BaseException | None = None
        self.packed = False
        self._iterator = iterator

    def draw(self, count: int, ahead: int = 0) -> list[Any]:
        items: list[Any] = []
        try:
            items.extend(islice(self._iterator, count))  # keeps what came before an exception
        except Exception as error:  # unequal lengths; a dict that changed meanwhile
            self.error, self.exhausted = _explained(error), True
        if len(items) < count:
            self.exhausted = True
        return items

    def close(self) -> None:
        self.exhausted = True


class FedSource:
    """Inputs of any iterator, drawn by a thread of its own.

    pump: draw(n, k) ── takes what is there, asks for n + k ──▶ feeder: next(iterator) until so many are there
                      ◀── on_input, when the pump had found too little ──────────────────────────┘

    The buffer is a deque, whose ends any thread may use; the lock is for waiting.
    """

    def __init__(self, iterator: Iterator[Any], total: int | None, on_input: Callable[[], None]) -> None:
        self.total = total
        self.exhausted = total == 0
        self.error: BaseException | None = None
        self.packed = False
        self._iterator = iterator
        self._on_input = on_input
        self._buffer: deque[Any] = deque()
        self._changed = threading.Condition()
        self._drawn = 0  # inputs that the pump has taken
        self._fetched = 0  # inputs that the feeder has taken from the iterator
        self._limit = 0  # as many may be fetched in all
        self._hungry = False  # the pump found too little and waits
        self._ended = False  # the iterator has nothing more
        self._closed = False
        context = contextvars.copy_context()  # the user's code sees the context variables of the caller
        self._thread = threading.Thread(target=context.run, args=(self._feed,), name="actorq-inputs", daemon=True)
        self._started = False

    def draw(self, count: int, ahead: int = 0) -> list[Any]:
        self._limit, self._hungry = self._drawn + count + ahead, False
        if not self._started:
            self._started = True
            self._thread.start()
        items = self._taken(count)
        if len(items) < count:
            self._hungry = True
            items += self._taken(count - len(items))  # what came before the feeder could know that the pump waits
        self._drawn += len(items)
        room = self._limit - self._fetched
        if self._ended and self.error is None:
            self.total = self._fetched  # so that the last leases are short ones
        if self._ended and not self._buffer:
            self.exhausted = True
        elif room > 0 and (self._hungry or 2 * room >= ahead):  # waking a thread takes longer than fetching most inputs
            with self._changed:
                self._changed.notify()
        return items

    def _taken(self, most: int) -> list[Any]:
        return [self._buffer.popleft() for _ in range(min(most, len(self._buffer)))]

    def close(self) -> None:
        """The feeder ends at the next input. It cannot be interrupted in the user's code, and nobody waits for it."""
        with self._changed:
            self._closed = self.exhausted = True
            self._changed.notify()

    def _feed(self) -> None:
        try:
            for item in self._iterator:
                self._fetched += 1
                self._buffer.append(item)
                if self._hungry:
                    self._hungry = False
                    self._on_input()
                if (self._closed or self._fetched >= self._limit) and not self._wait_for_room():
                    return
        except BaseException as error:  # the user's code, sys.exit too: the consumer raises it after what came before
            self.error = _explained(error)
        finally:
            with self._changed:
                self._ended = True
            self._on_input()

    def _wait_for_room(self) -> bool:
        """False when no input is wanted any more."""
        with self._changed:
            while self._fetched >= self._limit and not self._closed:
                self._changed.wait()
            return not self._closed


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, ValueError) and str(error).startswith("zip() argument"):
        return DeclarationError(f"map() got iterables of unequal lengths: {error}.")
    return error
