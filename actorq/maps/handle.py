"""What `task.map` returns: an iterator over outputs that also tells how the map is doing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Generic, TypeVar

from actorq.declare.map_options import MapOptions
from actorq.errors import CodecError
from actorq.maps.ledger import Ledger
from actorq.maps.progress import Bar
from actorq.maps.pump import Pump
from actorq.maps.segment import Segment
from actorq.wire.lease import Counters

R = TypeVar("R")


class MapHandle(Iterator[R], Generic[R]):
    """A running map. Iterate it for the outputs; drop it, or `close()` it, to cancel the rest.

    Leaving a `for` loop early cancels the map as soon as the handle is no longer referenced; as a context manager it
    does so at the end of the block.
    """

    def __init__(self, pump: Pump, bar: Bar | None = None) -> None:
        self._pump = pump
        self._ledger: Ledger = pump.ledger
        # These must not hold `self`: the loop `for x in task.map(xs)` drops the handle and keeps only its iterator.
        self._batches = _Batches(pump, bar)
        self._outputs = chain.from_iterable(self._batches)  # in C: a generator of outputs costs twice as much for each

    @property
    def map_id(self) -> str:
        """Id of the map, as its leases carry it (`<map_id>-<n>`)."""
        return self._ledger.map_id

    @property
    def failures(self) -> tuple[Exception, ...]:
        """The exceptions of the inputs that failed for good, so far, in that order: the first 10,000."""
        return tuple(self._ledger.failures)

    def stats(self) -> Counters:
        """A snapshot of the map's counters."""
        return dataclasses.replace(self._ledger.counters)

    def results(self) -> list[R]:
        """All remaining outputs."""
        return list(self)

    def close(self) -> None:
        """Cancels what has not finished; returns when nothing of the map is left."""
        self._pump.close()
        self._batches.close()

    cancel = close

    def __repr__(self) -> str:
        counters = self._ledger.counters
        total = "?" if counters.total is None else counters.total
        done = counters.succeeded + counters.failed
        return f"<map {self.map_id} of {self._ledger.options.head.task}: {done}/{total} done, {counters.failed} failed>"

    def __length_hint__(self) -> int:
        """The number of inputs, where it is known: `operator.length_hint` tells it.

        There is no `len()`: libraries take what has one for a list, and iterate it twice.
        """
        total = self._ledger.counters.total
        return NotImplemented if total is None else total

    def __iter__(self) -> Iterator[R]:  # noqa: PYI034 - the iterator is what a for loop must hold, alone
        return self._outputs

    def __next__(self) -> R:
        output: R = next(self._outputs)
        return output

    def __enter__(self) -> MapHandle[R]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Batches(Iterator[Iterator[Any]]):
    """The outputs of a map, a batch at a time. It ends the map when it is dropped, or an output raises."""

    def __init__(self, pump: Pump, bar: Bar | None) -> None:
        self._lists = _lists(pump, pump.ledger, bar)
        next(self._lists)  # runs to its first yield: from now on its `finally` runs however it is dropped
        self._current: Iterator[Any] = iter(())
        self._waiting = self._shared = False

    def __next__(self) -> Iterator[Any]:
        if self._waiting:
            self._shared = True
            raise ValueError(_SHARED)
        self._waiting = True
        try:
            self._current = iter(next(self._lists))
        finally:
            self._waiting = False
        if self._shared:  # the other thread's error has ended the iteration, which must not look like its end
            raise ValueError(_SHARED)
        return self._current

    def close(self) -> None:
        """Nothing more is handed out."""
        deque(self._current, maxlen=0)
        with contextlib.suppress(ValueError):  # another thread waits in it: it is told that the map was closed
            self._lists.close()


_SHARED = "Two threads wait for the next output of one map: let one iterate, and pass the outputs on by a queue."


def _lists(pump: Pump, ledger: Ledger, bar: Bar | None) -> Generator[Iterable[Any], None, None]:
    try:
        yield ()
        while (segment := pump.take()) is not None:
            values = values_of(segment, ledger.options)
            if isinstance(values, list):
                yield values
            else:
                for value in values:
                    yield (value,)
    finally:
        pump.close()
        if bar is not None:
            bar.close()


def values_of(segment: Segment, options: MapOptions) -> Iterable[Any]:
    """The outputs of a segment, or what stands for those that failed."""
    values, whole = segment.values()
    if whole and not segment.errors:
        return values
    return _one_by_one(values, segment, options)


def _one_by_one(values: Sequence[Any], segment: Segment, options: MapOptions) -> Iterator[Any]:
    for offset, value in enumerate(values):
        error = segment.errors.get(offset)
        if error is None and isinstance(value, CodecError):
            error = value
        if error is None:
            yield value
        elif options.return_exceptions:
            yield error
        elif options.tolerant:
            yield None
        else:
            raise error
