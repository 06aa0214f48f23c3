"""Large bytes that lie behind the message of an extension, and not in it.

The one idea: msgpack copies what it packs and what it unpacks, at every level. So a frame's columns, or the bytes of a
library's own format, lie behind its message, one after the other, and are copied once into it and read where they lie.
In the message stands how many bytes are the next ones: no two parts can be the same bytes, so what arrives is never
larger than the data, whoever has made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext

#: codes of the extensions that have bytes behind their message
CODES = frozenset({ext.PANDAS, ext.ARROW, ext.POLARS, ext.IMAGE, ext.TENSOR})
#: bytes of the number that says how long the message is, which comes first
_LENGTH_BYTES = 4
#: where a part begins: what numpy and Arrow compute with wants to lie on a multiple of 8 or 16
_ALIGNED = 16
#: fewer bytes lie in the message: that costs less
_SMALL_BYTES = 1 << 12


class Outside:
    """Bytes that are to lie behind the message."""

    __slots__ = ("data", "size")

    def __init__(self, data: Any, size: int) -> None:
        self.data = data
        self.size = size


def outside(data: Any) -> Any:
    """What stands for the bytes in the plain data of an extension, which is one of `CODES`."""
    size = data.nbytes if type(data) is memoryview else len(data)
    return Outside(data, size) if size > _SMALL_BYTES else bytes(data)


def joined(message: bytes, parts: Sequence[Outside]) -> bytes:
    """A message and what lies behind it."""
    pieces: list[Any] = [len(message).to_bytes(_LENGTH_BYTES, "little"), message]
    at = _LENGTH_BYTES + len(message)
    for part in parts:
        pieces += (bytes(-at % _ALIGNED), part.data)
        at += -at % _ALIGNED + part.size
    return b"".join(pieces)


class Behind:
    """The bytes behind a message that is being unpacked, which are handed out one after the other."""

    __slots__ = ("at", "data", "message")

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = memoryview(data)
        size = int.from_bytes(self.data[:_LENGTH_BYTES], "little")
        self.at = _LENGTH_BYTES + size
        if len(self.data) < self.at:
            raise CodecError("The data of a library's value ends too early.")
        self.message = self.data[_LENGTH_BYTES : self.at]

    def next(self, size: int) -> memoryview:
        start = self.at + -self.at % _ALIGNED
        self.at = start + size
        if size <= 0 or self.at > len(self.data):
            raise CodecError("The data of a library's value ends too early.")
        return self.data[start : self.at]
