"""Where a map's inputs come from: drawn only as far as leases need them.

A sequence in memory is drawn by the pump itself. Any other iterator may take its time, or block for ever, so a feeder
beside the pump, a thread or for async ones a coroutine, fetches what it was asked for, and a few leases more; the pump
takes what is there.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Protocol

from actorq.errors import DeclarationError
from actorq.maps.async_source import AsyncInputs, AsyncSource
from actorq.maps.fed import FedSource, explained
from actorq.wire.messages import STAR


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


def source_for(mode: int, iterables: tuple[Iterable[Any], ...], on_input: Callable[[], None]) -> Source:
    """The inputs of a map or a run of this mode; else as `source_of`."""
    if mode == STAR and len(iterables) == 1:  # starmap: of several iterables `map` makes the tuples
        iterables = (argument_lists(iterables[0]),)
    return source_of(iterables, on_input)


def source_of(iterables: tuple[Iterable[Any], ...], on_input: Callable[[], None]) -> Source:
    """The inputs of a map over `iterables` that advance together.

    Unequal lengths are an error, at once where lengths are known. `on_input` is called, in another thread, when a draw
    that found too little can find more.
    """
    if not iterables:
        raise DeclarationError("map() needs at least one iterable of inputs.")
    for position, iterable in enumerate(iterables):
        if not is_iterable(iterable):
            raise DeclarationError(
                f"map() argument {position + 1} is a {type(iterable).__name__}, not an iterable: "
                "constant arguments go into kwargs= or functools.partial."
            )
    lengths = [_length(iterable) for iterable in iterables]
    known = {length for length, it in zip(lengths, iterables, strict=True) if length is not None and _is_sure(it)}
    if len(known) > 1:
        raise DeclarationError(f"map() got iterables of unequal lengths {sorted(known)}: make them equal.")
    total = lengths[0] if None not in lengths else None
    if len(iterables) == 1 and isinstance(iterables[0], range):
        return RangeSource(iterables[0])
    if any(isinstance(iterable, AsyncInputs) for iterable in iterables):
        return AsyncSource(iterables, on_input)
    iterator: Iterator[Any]
    iterator = iter(iterables[0]) if len(iterables) == 1 else map(list, zip(*iterables, strict=True))
    if all(type(it) in _IN_MEMORY for it in iterables):
        return MemorySource(iterator, total)
    return ThreadSource(iterator, total, on_input)


def argument_lists(iterable: Iterable[Any]) -> Iterable[Any]:
    """Argument tuples of `starmap` as lists, which travel as they are; keeps the length where there is one."""
    if isinstance(iterable, AsyncInputs):
        return iterable.changed(_arguments)
    if not is_iterable(iterable):
        raise DeclarationError(f"starmap() needs an iterable of argument tuples, not a {type(iterable).__name__}.")
    if isinstance(iterable, (list, tuple)):
        return [_arguments(item) for item in iterable]
    return map(_arguments, iterable)


def _arguments(item: Any) -> list[Any]:
    if not isinstance(item, Iterable):
        raise DeclarationError(f"starmap() needs argument tuples, and got {item!r}: for single arguments use map().")
    return list(item)


def is_iterable(value: object) -> bool:
    """Whether `iter` takes it: also what has `__getitem__` only, as a map-style dataset."""
    return isinstance(value, Iterable) or hasattr(type(value), "__getitem__")


def _length(iterable: object) -> int | None:
    """How many inputs there are, None where nobody knows.

    A length that is an estimate, or raises, as those of wrappers around a generator do, is none. One of zero is only
    believed of Python's own containers: it may be all that a stream can say.
    """
    if not isinstance(iterable, Sized):
        return None
    try:
        length = len(iterable)
    except Exception:  # the user's code
        return None
    return length if length or _is_sure(iterable) else None


def _is_sure(iterable: object) -> bool:
    """Whether its length is no estimate."""
    return type(iterable) in _IN_MEMORY or isinstance(iterable, Sequence)


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
            self.error, self.exhausted = explained(error), True
        if len(items) < count:
            self.exhausted = True
        return items

    def close(self) -> None:
        self.exhausted = True


class ThreadSource(FedSource):
    """Inputs of any iterator: the feeder is a thread."""

    def __init__(self, iterator: Iterator[Any], total: int | None, on_input: Callable[[], None]) -> None:
        super().__init__(total, on_input)
        self._iterator = iterator
        self._changed = threading.Condition()
        context = contextvars.copy_context()  # the user's code sees the context variables of the caller
        self._thread = threading.Thread(target=context.run, args=(self._feed,), name="actorq-inputs", daemon=True)

    def _start(self) -> None:
        self._thread.start()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify()
        if self._closed and not self._started:
            self._iterator = iter(())

    def _feed(self) -> None:
        error: BaseException | None = None
        iterator, self._iterator = self._iterator, iter(())
        try:
            for item in iterator:
                if self._put(item) and not self._wait_for_room():
                    break
        except BaseException as caught:  # the user's code, sys.exit too
            error = caught
        finally:
            del iterator
            item = None
            self._end(error)

    def _wait_for_room(self) -> bool:
        """False when no input is wanted any more."""
        with self._changed:
            while self._fetched >= self._limit and not self._closed:
                self._changed.wait()
            return not self._closed
