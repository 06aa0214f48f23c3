"""Looks at an Arrow stream before a library reads it, and at one that is to be sent.

The one idea: the libraries that read such streams were made for streams of friends. They take compressed bodies, which
can be a thousand times as large; call what is registered for an extension type; and one of them does not look where a
buffer ends. So of all that the format allows only that passes which what we write has.
"""

from __future__ import annotations

from typing import NamedTuple

from actorq.errors import CodecError
from actorq.wire.carried.flatbuffer import Flat, Table, no_stream

#: what begins a message, and the bytes of that and of the length after it
_MARK, _PREFIX_BYTES = b"\xff\xff\xff\xff", 8
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
#: types in one another; Arrow itself allows as many
_DEEPEST = 64
#: of the types those that have a text or a list of numbers, which is field 1
_TIMESTAMP, _UNION = 10, 14
_EXTENSION = b"ARROW:extension:name"


class Found(NamedTuple):
    """A message of a stream."""

    kind: int
    header: Table


def check_stream(data: memoryview) -> None:
    """Raises `CodecError` for a stream that has something in it that ours have not."""
    at, first = 0, True
    while True:
        if bytes(data[at : at + 4]) != _MARK or len(data) < at + _PREFIX_BYTES:
            raise no_stream()
        size = int.from_bytes(data[at + 4 : at + _PREFIX_BYTES], "little", signed=True)
        at += _PREFIX_BYTES
        if size == 0:
            break
        if size < 0 or size > len(data) - at:
            raise no_stream()
        try:
            body = _check_message(data[at : at + size], first, len(data) - at - size)
        except UnicodeDecodeError:
            raise no_stream() from None
        at, first = at + size + body, False
    if first or at != len(data):
        raise no_stream()


def _check_message(metadata: memoryview, first: bool, room: int) -> int:
    """The bytes of its body, which follows it in so many bytes."""
    if _EXTENSION in bytes(metadata):
        raise CodecError("Extension types of Arrow are not carried, since they run code: pass x.storage, or cast it.")
    message = Flat(metadata).root()
    kind, header, body = message.byte(1), message.table(2), message.long(3)
    if header is None or not 0 <= body <= room or (kind == _SCHEMA) is not first:
        raise no_stream()
    _pay_texts(message, 4)
    if kind == _SCHEMA:
        _check_schema(header)
    elif kind == _BATCH:
        _check_batch(header, body)
    elif kind == _DICTIONARY:
        held = header.table(1)
        if held is None or header.byte(2):  # each of those that add to another is a copy of all before it
            raise no_stream()
        _check_batch(held, body)
    else:
        raise CodecError("The data holds an Arrow stream with a message that is no table's.")
    return body


def _pay_texts(holder: Table, field: int) -> None:
    for pair in holder.tables(field):
        pair.pay_bytes(0)
        pair.pay_bytes(1)


def _check_schema(schema: Table) -> None:
    if schema.short(0):
        raise CodecError("The data holds an Arrow stream of a big-endian machine, which is not read.")
    for field in schema.tables(1):
        _check_field(field, 1)
    _pay_texts(schema, 2)
    schema.pay_bytes(3, 8)


def _check_field(field: Table, depth: int) -> None:
    if depth > _DEEPEST:
        raise no_stream()
    field.pay_text(0)
    kind, described = field.byte(2), field.table(3)
    if described is None:
        raise no_stream()
    if kind == _TIMESTAMP:
        described.pay_text(1)
    elif kind == _UNION:
        described.pay_bytes(1, 4)
    if (encoding := field.table(4)) is not None:
        encoding.table(1)
    for child in field.tables(5):
        _check_field(child, depth + 1)
    _pay_texts(field, 6)


def _check_batch(batch: Table, body: int) -> None:
    if batch.has(3):
        raise CodecError("The data holds an Arrow stream that is compressed, which is not read.")
    if batch.long(0) < 0 or any(length < 0 or nulls < 0 for length, nulls in batch.pairs(1)):
        raise no_stream()
    if any(at < 0 or size < 0 or at + size > body for at, size in batch.pairs(2)):
        raise no_stream()
    batch.pay_bytes(4, 8)
