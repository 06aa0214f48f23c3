"""Reads the tables in which Arrow describes what a stream holds, with a look at every place before it is read.

The one idea: what is described may not be larger than the description. In a flatbuffer tables, lists and texts are
places, and many may be one: a description of 1 MB can hold a text of 500 KB forty thousand times, and forty levels of
lists of twice the same. Who writes a stream never does so; so each text and table is paid for, out of the bytes there
are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from actorq.errors import CodecError

_SHORT, _SIGNED, _PLACE, _LONG = (struct.Struct(form) for form in ("<H", "<i", "<I", "<q"))
#: bytes of a table, at the least
_TABLE_BYTES = 4


def no_stream() -> CodecError:
    return CodecError("The data holds an Arrow stream that is none.")


class Flat:
    """A flatbuffer, and how many bytes of it are not paid for."""

    __slots__ = ("data", "left")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.left = len(data)

    def read(self, form: struct.Struct, at: int) -> int:
        if not 0 <= at <= len(self.data) - form.size:
            raise no_stream()
        number: int = form.unpack_from(self.data, at)[0]
        return number

    def pay(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise no_stream()

    def follow(self, at: int) -> int:
        """The place that is written at a place: always further on."""
        return at + self.read(_PLACE, at)

    def root(self) -> Table:
        return Table(self, self.follow(0))


class Table:
    """A table. Its fields are looked up by number."""

    __slots__ = ("_at", "_fields", "_fields_end", "_flat")

    def __init__(self, flat: Flat, at: int) -> None:
        flat.pay(_TABLE_BYTES)
        self._flat = flat
        self._at = at
        self._fields = at - flat.read(_SIGNED, at)
        self._fields_end = self._fields + flat.read(_SHORT, self._fields)

    def _place(self, field: int) -> int | None:
        entry = self._fields + 4 + 2 * field
        if entry + 2 > self._fields_end:
            return None
        offset = self._flat.read(_SHORT, entry)
        return self._at + offset if offset else None

    def has(self, field: int) -> bool:
        return self._place(field) is not None

    def byte(self, field: int) -> int:
        return self._number(field, struct.Struct("<B"))

    def short(self, field: int) -> int:
        return self._number(field, _SHORT)

    def long(self, field: int) -> int:
        return self._number(field, _LONG)

    def _number(self, field: int, form: struct.Struct) -> int:
        at = self._place(field)
        return 0 if at is None else self._flat.read(form, at)

    def table(self, field: int) -> Table | None:
        at = self._place(field)
        return None if at is None else Table(self._flat, self._flat.follow(at))

    def pay_bytes(self, field: int, width: int = 1) -> None:
        """Pays for bytes, or a list of numbers of so many bytes each."""
        self._list(field, width)

    def pay_text(self, field: int) -> None:
        """Pays for a text, which is UTF-8."""
        start, count = self._list(field, 1)
        str(self._flat.data[start : start + count], "utf-8")

    def _list(self, field: int, width: int) -> tuple[int, int]:
        """Where a list begins, and how many elements of so many bytes it has."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = self._flat.follow(place)
        count = self._flat.read(_PLACE, start)
        if count * width > len(self._flat.data) - start - 4:
            raise no_stream()
        self._flat.pay(count * width)
        return start + 4, count

    def tables(self, field: int) -> Iterator[Table]:
        start, count = self._list(field, _TABLE_BYTES)
        for each in range(count):
            yield Table(self._flat, self._flat.follow(start + _TABLE_BYTES * each))

    def pairs(self, field: int) -> Iterator[tuple[Any, ...]]:
        """A list of pairs of numbers of 64 bits."""
        start, count = self._list(field, 16)
        return struct.iter_unpack("<qq", self._flat.data[start : start + 16 * count])
