"""What a feeder has fetched beside a map's pump, and how far it may go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from actorq.errors import DeclarationError


class FedSource(ABC):
    """Inputs of an iterator that may take its time, fetched by a feeder that runs beside the pump.

    pump: draw(n, k) ── takes what is there, asks for n + k ──▶ feeder: fetches until so many are there
                      ◀── on_input, when the pump had found too little ─────────┘

    The buffer is a deque, whose ends any thread may use. What the feeder is, a thread or a coroutine, and how it is
    told that there is room, subclasses say.
    """

    def __init__(self, total: int | None, on_input: Callable[[], None]) -> None:
        self.total = total
        self.exhausted = total == 0
        self.error: BaseException | None = None
        self.packed = False
        self._on_input = on_input
        self._buffer: deque[Any] = deque()
        self._drawn = 0  # inputs that the pump has taken
        self._fetched = 0  # inputs that the feeder has taken from the iterator
        self._limit = 0  # as many may be fetched in all
        self._hungry = False  # the pump found too little and waits
        self._ended = False  # the iterator has nothing more
        self._closed = False
        self._started = False

    def draw(self, count: int, ahead: int = 0) -> list[Any]:
        self._limit, self._hungry = self._drawn + count + ahead, False
        if not self._started:
            self._started = True
            self._start()
        items = self._taken(count)
        if len(items) < count:
            self._hungry = True
            items += self._taken(count - len(items))  # what came before the feeder could know that the pump waits
        self._drawn += len(items)
        if self.total is not None and self._drawn > self.total:
            self.total = None  # the length was an estimate
        room = self._limit - self._fetched
        if self._ended and self.error is None:
            self.total = self._fetched  # so that the last leases are short ones
        if self._ended and not self._buffer:
            self.exhausted = True
        elif room > 0 and (self._hungry or 2 * room >= ahead):  # waking a feeder takes longer than fetching most inputs
            self._tell()
        return items

    def close(self) -> None:
        """The feeder ends at the next input, and lets go of the iterator, so that a generator is closed. Nobody waits
        for that: it cannot be interrupted in the user's code.
        """
        self._closed = self.exhausted = True
        self._tell()

    def _taken(self, most: int) -> list[Any]:
        return [self._buffer.popleft() for _ in range(min(most, len(self._buffer)))]

    @abstractmethod
    def _start(self) -> None:
        """Starts the feeder."""

    @abstractmethod
    def _tell(self) -> None:
        """Tells the feeder, if it waits, that there is room, or that nothing more is wanted."""

    # -- what the feeder does ------------------------------------------------------------------------------------------

    def _put(self, item: Any) -> bool:
        """Takes an input. Returns whether the feeder has to wait before it fetches another."""
        self._fetched += 1
        self._buffer.append(item)
        if self._hungry:
            self._hungry = False
            self._on_input()
        return self._closed or self._fetched >= self._limit

    def _end(self, error: BaseException | None) -> None:
        """The iterator has nothing more, or raised `error`: the consumer raises it after what came before."""
        self.error = None if error is None else explained(error)
        self._ended = True
        self._on_input()


def explained(error: BaseException) -> BaseException:
    """An error of the iterator, as the consumer is told it."""
    if isinstance(error, ValueError) and str(error).startswith("zip() argument"):
        return DeclarationError(f"map() got iterables of unequal lengths: {error}.")
    return error
