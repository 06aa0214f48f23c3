"""pyarrow: tables, batches, arrays, scalars, schemas and types, as the stream that Arrow itself defines.

The one idea: Arrow's own format, uncompressed, and what arrives is read where it lies. It is looked at before pyarrow
reads it, see `stream.py`, and all values are validated afterwards. Two tables are the same if pyarrow says so, with
their metadata; where their chunks begin may differ.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried.outside import outside
from actorq.wire.carried.standard import Encoded, Encoder
from actorq.wire.carried.stream import check_stream

_NONE = "The data holds a value of pyarrow that is none."
_SHOWN = 200


def _library() -> Any:
    try:
        return importlib.import_module("pyarrow")  # a fixed name, not one from the data
    except ImportError:
        raise CodecError("The data holds a value of pyarrow, and pyarrow is not installed here: install it.") from None


# -- streams ----------------------------------------------------------------------------------------------------------


def _written(schema: Any, batches: Any) -> Any:
    """A stream. Raises `CodecError` for what ours have not."""
    arrow = _library()
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            batch.validate(full=True)  # what is made of buffers by hand may hold anything
            writer.write_batch(batch)
    data = memoryview(sink.getvalue())
    check_stream(data)
    return outside(data)


def _read(data: Any) -> tuple[Any, list[Any]]:
    """The schema and the batches of a stream."""
    if not isinstance(data, (bytes, memoryview)):
        raise CodecError(_NONE)
    check_stream(memoryview(data))
    arrow = _library()
    try:
        with arrow.ipc.open_stream(arrow.py_buffer(data)) as reader:
            batches = list(reader)
            for batch in batches:
                batch.validate(full=True)
            return reader.schema, batches
    except (arrow.ArrowException, OSError, MemoryError, OverflowError) as error:
        raise CodecError(f"The data holds an Arrow stream that is none: {error!s:.{_SHOWN}}") from None


def _own(array: Any) -> Any:
    """The same without what lies around it in memory.

    Of most arrays the stream takes the part that is meant. But of an empty one it takes all places of texts and lists,
    and a view of texts holds all that it was cut from.
    """
    arrow = sys.modules["pyarrow"]
    if not len(array) and isinstance(array, arrow.Array) and not isinstance(array, arrow.DictionaryArray):
        return arrow.nulls(0, array.type)
    for view, plain in ((arrow.string_view(), arrow.large_string()), (arrow.binary_view(), arrow.large_binary())):
        if array.type == view:
            return array.cast(plain).cast(view)
    return array


# -- values -----------------------------------------------------------------------------------------------------------


def _table(table: Any) -> Any:
    if not table.num_rows:
        return _written(table.schema, [])
    if not table.num_columns:
        raise CodecError("A pyarrow.Table of rows without columns is not carried: pass x.num_rows.")
    columns = [_own(column) for column in table.columns]
    return _written(table.schema, _library().Table.from_arrays(columns, schema=table.schema).to_batches())


def _batch(batch: Any) -> Any:
    columns = [_own(column) for column in batch.columns]
    return _written(
        batch.schema, [_library().RecordBatch.from_arrays(columns, schema=batch.schema)] if columns else [batch]
    )


def _pieces(kind: Any, arrays: list[Any]) -> Any:
    arrow = _library()
    schema = arrow.schema([arrow.field("", kind)])
    return _written(schema, [arrow.RecordBatch.from_arrays([_own(array)], schema=schema) for array in arrays])


def _scalar(value: Any) -> Any:
    one = _library().repeat(value, 1)
    if type(one[0]) is not type(value) or not (one[0].equals(value) or value != value):  # noqa: PLR0124 - NaN
        raise CodecError(f"The pyarrow scalar {value!r:.{_SHOWN}} is not carried: pass x.as_py().")
    return _pieces(value.type, [one])


class _Stream:
    """What a stream holds, as one value or another."""

    def __init__(self, data: Any) -> None:
        self.schema, self.batches = _read(data)

    def table(self) -> Any:
        return _library().Table.from_batches(self.batches, schema=self.schema)

    def batch(self) -> Any:
        (batch,) = self.batches
        return batch

    def field(self) -> Any:
        (field,) = self.schema
        return field

    def chunks(self) -> Any:
        return _library().chunked_array([batch.column(0) for batch in self.batches], type=self.field().type)

    def array(self) -> Any:
        return self.field() and self.batch().column(0)

    def scalar(self) -> Any:
        (one,) = self.array()
        return one


_READ: dict[str, Any] = {
    "table": _Stream.table,
    "batch": _Stream.batch,
    "chunks": _Stream.chunks,
    "array": _Stream.array,
    "scalar": _Stream.scalar,
    "schema": lambda stream: stream.schema,
    "field": _Stream.field,
    "type": lambda stream: stream.field().type,
}


def _encoders(arrow: Any) -> list[tuple[type, str, Any]]:
    return [
        (arrow.Table, "table", _table),
        (arrow.RecordBatch, "batch", _batch),
        (arrow.ChunkedArray, "chunks", lambda value: _pieces(value.type, value.chunks)),
        (arrow.Array, "array", lambda value: _pieces(value.type, [value])),
        (arrow.Scalar, "scalar", _scalar),
        (arrow.Schema, "schema", lambda value: _written(value, [])),
        (arrow.Field, "field", lambda value: _written(arrow.schema([value]), [])),
        (arrow.DataType, "type", lambda value: _pieces(value, [])),
    ]


def encoder(kind: type) -> Encoder | None:
    """What encodes values of exactly this type: one of pyarrow's own, which are compiled."""
    arrow = _library()
    if kind.__module__ != "pyarrow.lib" or vars(arrow.lib).get(kind.__name__) is not kind:
        return None
    for base, name, written in _encoders(arrow):
        if issubclass(kind, base):
            return _encoded_by(name, written)
    return None


def _encoded_by(name: str, written: Any) -> Encoder:
    def encode(value: Any) -> Encoded:
        try:
            return ext.ARROW, [name, written(value)]
        except sys.modules["pyarrow"].ArrowException as error:
            raise CodecError(f"A {type(value).__qualname__} of pyarrow is not carried: {error!s:.{_SHOWN}}") from None

    return encode


def _decode(plain: Any) -> Any:
    name, data = plain
    if not isinstance(name, str) or name not in _READ:
        raise CodecError(_NONE)
    return _READ[name](_Stream(data))


DECODERS = {ext.ARROW: _decode}
