"""The inputs of one lease, in order: those that have begun, and the rest, which may be cut off.

The one idea: they are looped over in parts, which are lists. A list iterator knows how many are left, and a list that
is made shorter ends its loop, so a signal handler that runs between two bytecodes sees exactly how many have begun, and
can keep the next one from being fetched. And tiny inputs that came as a range are made when they are due, in the
processor's cache: a no-op map of a million takes 0.97 of the time that it takes with all of a lease in one list.

The part is in a single state, replaced in one step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import length_hint
from typing import Any

from actorq.errors import CodecError
from actorq.wire import codec
from actorq.wire.alone import LIST_OF_ONE

#: inputs of one part: with 512 to 8,192 a lease took as long, with 32,768 1.1 times that
PART = 2048

#: inputs of more bytes than this on average are decoded one by one; fewer are decoded in an instant, whatever they are
LARGE_BYTES = 1 << 14


class Packed:
    """An input that is to be decoded when it runs: the time that takes, and the error it may be, are its own."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data

    def value(self) -> Any:
        """Raises `CodecError`."""
        return codec.unpack(self._data)


def is_single(packed: memoryview) -> bool:
    """Whether a packed list begins as one of one element."""
    return len(packed) > 0 and packed[0] == LIST_OF_ONE


def decoded(packed: memoryview) -> tuple[Sequence[Any], bool]:
    """The inputs in a packed list, and whether all are decoded: none is if one cannot be, or if there is only one, or
    if they are large.

    Raises `CodecError` for what is no list.
    """
    if is_single(packed):
        return [Packed(packed[1:])], False  # without a copy
    count, _ = codec.list_header(packed)
    if len(packed) <= LARGE_BYTES * max(count, 1):
        with contextlib.suppress(CodecError):
            return codec.unpack_sequence(packed), True
    return each_packed(packed), False


def each_packed(packed: memoryview) -> list[Packed]:
    """The inputs in a packed list, each to be decoded when it runs. Raises `CodecError` for what is no list."""
    return [Packed(part) for part in codec.split_list(bytes(packed))]


class Inputs:
    """What a lease runs.

    Args:
        values: a range, or a list, which is its own from now on.
    """

    __slots__ = ("_cut_off", "_state", "_values", "count")

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        #: those cut off not counted
        self.count = len(values)
        part = values if type(values) is list and self.count <= PART else list(values[:PART])
        #: inputs before the part, the part, and the iterator over it
        self._state: tuple[int, list[Any], Iterator[Any]] = (0, part, iter(part))
        #: what the last `cut` took from the part, and the count before it
        self._cut_off: tuple[list[Any], int] = ([], self.count)

    def __iter__(self) -> Iterator[Any]:
        """To be called once. A single part, as most leases are, needs no loop over parts: seldom run code is slow."""
        return self._state[2] if self.count <= PART else chain.from_iterable(self._parts())

    @property
    def begun(self) -> int:
        """How many were fetched."""
        before, part, iterator = self._state
        return before + len(part) - length_hint(iterator)

    def part(self) -> Iterator[Any]:
        """What comes next: the rest of a part, if there is any, else another one."""
        before, part, iterator = self._state
        if length_hint(iterator):
            return iterator
        begin = before + len(part)
        part = list(self._values[begin : min(begin + PART, self.count)])
        self._state = (begin, part, iter(part))
        del part[max(self.count - begin, 0) :]  # cut off since the count was looked at
        return self._state[2]

    def cut(self) -> int | None:
        """Drops those that have not begun; returns where the lease ends now, None when that has not changed."""
        end = self.begun
        before, part, _ = self._state
        self._cut_off = (part[end - before :], self.count)
        if end == self.count:
            return None
        del part[end - before :]
        self.count = end
        return end

    def uncut(self) -> None:
        """Takes back what the last `cut` has dropped. No input may have ended since."""
        rest, self.count = self._cut_off
        self._state[1].extend(rest)

    def _parts(self) -> Iterator[Iterator[Any]]:
        while self.begun < self.count:
            yield self.part()
