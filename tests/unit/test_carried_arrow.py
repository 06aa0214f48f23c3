"""pyarrow: what arrives equals what left; a stream is looked at before anything reads it."""

from __future__ import annotations

import contextlib
import gc
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorq import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried.flatbuffer import Flat
from actorq.wire.codec import pack, unpack
from tests.fuzz.making import Maker
from tests.support import arrow_values
from tests.support.carried_values import same


@given(arrow_values.values)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_carried_arrives_with_its_type_and_content(value: Any) -> None:
    back = unpack(pack([value]))[0]
    assert type(back) is type(value)
    assert arrow_values.same_arrow(back, value)


class Opaque(pa.ExtensionType):  # type: ignore[misc]
    loaded = False

    def __init__(self) -> None:
        super().__init__(pa.int64(), "tests.opaque")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Any:
        cls.loaded = True
        return cls()


OPAQUE = pa.ExtensionArray.from_storage(Opaque(), pa.array([1, 2]))


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (OPAQUE, "storage"),
        (OPAQUE[0], "storage"),
        (pa.table({"a": OPAQUE}), "storage"),
        (pa.chunked_array([OPAQUE]), "storage"),
        (Opaque(), "[Ss]torage|register"),
        (pa.list_(pa.uuid()), "storage"),
        (pa.schema([pa.field("a", pa.int8(), metadata={"ARROW:extension:name": "x"})]), "storage"),
        (pa.table({"a": [1, 2]}).select([]), "num_rows"),
        (pa.py_buffer(b"a"), "[Pp]ass"),
        (
            pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], "i4")), pa.py_buffer(b"\xff")]),
            "not carried",
        ),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_not_carried_is_refused_with_what_to_do(value: Any, match: str) -> None:
    with pytest.raises(CodecError, match=match):
        pack(value)


def test_a_subclass_is_refused_by_name() -> None:
    class Table(pa.Table):  # type: ignore[misc]
        pass

    with pytest.raises(CodecError, match=r"Table is not a type"):
        pack(Table.__new__(Table))


@pytest.mark.parametrize(
    "array",
    [
        pa.array(range(10**5)),
        pa.array(["a" * 30] * 10**5),
        pa.array(["a" * 30] * 10**5, type=pa.string_view()),
        pa.array([[1, 2]] * 10**5),
        pa.array([{"a": 1}] * 10**5),
    ],
    ids=lambda x: str(x.type),
)
@pytest.mark.parametrize("length", [0, 3])
def test_a_part_of_an_array_travels_without_the_rest(array: Any, length: int) -> None:
    for part in (array.slice(7, length), pa.table({"a": array}).slice(7, length)):
        assert len(pack(part)) < 2000
        assert arrow_values.same_arrow(unpack(pack(part)), part)


def test_a_table_is_read_where_it_lies() -> None:
    data = pack([pa.table({"a": np.zeros(10**6)})])
    gc.collect()
    before = pa.total_allocated_bytes()
    table = unpack(data)[0]
    assert pa.total_allocated_bytes() - before < 10**6
    assert table.column("a").to_numpy().sum() == 0


def test_what_pandas_keeps_in_arrow_arrives_so() -> None:
    frame = pd.DataFrame(
        {
            "a": pd.array([1, None] * 1000, dtype=pd.ArrowDtype(pa.int8())),
            "b": pd.array(["x", None] * 1000, dtype=pd.ArrowDtype(pa.string())),
            "c": pd.array(["x", None] * 1000, dtype="str"),
            "d": pd.array(["x", None] * 1000, dtype=pd.StringDtype("pyarrow", na_value=pd.NA)),
        }
    )
    assert same(unpack(pack(frame)), frame)


# -- bytes of anybody's -----------------------------------------------------------------------------------------------


def stream(table: Any, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def as_arrow(name: Any, data: Any) -> bytes:
    message = pack([name, data])
    return bytes(msgpack.packb(msgpack.ExtType(ext.ARROW, len(message).to_bytes(4, "little") + message)))


TABLE = pa.table({"a": [1, 2, None], "b": ["x", "y", None], "c": [[1], [], [2]]}, metadata={"k": "v"}).append_column(
    "d", pa.array(["p", "q", "p"]).dictionary_encode()
)


def test_a_good_stream_of_somebody_else_is_read() -> None:
    assert unpack(as_arrow("table", stream(TABLE))).equals(TABLE)


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_stream_is_refused(codec: str) -> None:
    with pytest.raises(CodecError, match="compressed"):
        unpack(as_arrow("table", stream(pa.table({"a": ["x" * 1000] * 1000}), compression=codec)))


def test_a_type_that_runs_code_is_refused_before_it_does() -> None:
    with pytest.raises(CodecError, match="run code"):
        unpack(as_arrow("table", stream(pa.table({"a": OPAQUE}))))
    pa.register_extension_type(Opaque())
    try:
        with pytest.raises(CodecError, match="run code"):
            unpack(as_arrow("table", stream(pa.table({"a": OPAQUE}))))
    finally:
        pa.unregister_extension_type("tests.opaque")
    assert not Opaque.loaded


def test_dictionaries_that_add_to_one_another_are_refused() -> None:
    chunks = [pa.array(texts).dictionary_encode() for texts in (["a"], ["a", "b"], ["a", "b", "c"])]
    table = pa.table({"a": pa.chunked_array(chunks)})
    assert unpack(pack(table)).equals(table)
    with pytest.raises(CodecError):
        unpack(as_arrow("table", stream(table, emit_dictionary_deltas=True)))


def changed(edit: Callable[[bytearray], None]) -> bytes:
    data = bytearray(stream(TABLE))
    edit(data)
    return bytes(data)


def longer(data: bytearray) -> None:
    data += b"\0" * 8


def cut(data: bytearray) -> None:
    del data[-20:]


def far(data: bytearray) -> None:
    data[4:8] = (2**31 - 1).to_bytes(4, "little")


def negative(data: bytearray) -> None:
    data[4:8] = b"\xff\xff\xff\xff"


@pytest.mark.parametrize("edit", [longer, cut, far, negative, bytearray.clear])
def test_a_stream_of_another_length_is_refused(edit: Callable[[bytearray], None]) -> None:
    with pytest.raises(CodecError, match="none"):
        unpack(as_arrow("table", changed(edit)))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("table", 5),
        ("table", "text"),
        ("exec", stream(TABLE)),
        (["table"], stream(TABLE)),
        ("array", stream(TABLE)),
        ("scalar", stream(TABLE)),
        ("field", stream(TABLE)),
        ("batch", stream(pa.table({}))),
        ("scalar", stream(pa.table({"a": [1, 2]}))),
    ],
    ids=str,
)
def test_data_of_what_is_none_is_refused(name: Any, data: Any) -> None:
    with pytest.raises(CodecError):
        unpack(as_arrow(name, data))


def test_a_table_that_stands_for_many_is_refused() -> None:
    count = 1000
    fields = struct.pack("<IHHHH", 12, 6, 8, 4, 0)  # where the table is; of its one field where that is in it
    table = struct.pack("<iI", 8, 4)
    once = struct.pack("<I", count) + b"".join(struct.pack("<i", -12 - 4 * each) for each in range(count))
    root = Flat(memoryview(fields + table + once)).root()
    with pytest.raises(CodecError, match="none"):  # a place lies further on, never back
        list(root.tables(0))
    last = struct.pack("<I", count) + b"".join(struct.pack("<I", 4 * (count - each)) for each in range(count))
    many = Flat(memoryview(fields + table + last + struct.pack("<i", 4 * count + 12)))
    with pytest.raises(CodecError, match="none"):
        list(many.root().tables(0))


@given(arrow_values.values, st.integers())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_data_is_a_value_or_an_error(value: Any, seed: int) -> None:
    damaged = Maker(Random(seed)).damaged(pack(value))
    with contextlib.suppress(CodecError):
        pack(unpack(damaged))
