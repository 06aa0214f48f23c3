"""Bytes that lie behind the message of an extension: what is read is never more than there is."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest

from actorq import CodecError
from actorq.wire import codec
from actorq.wire import extensions as ext
from actorq.wire.codec import pack, unpack
from tests.support.carried_values import same

SIZE = 10_000


def behind(plain: Any, rest: bytes, *, length: int | None = None) -> bytes:
    """A value of pandas whose message is `plain`, and what lies behind it."""
    message = bytes(msgpack.packb(plain))
    size = len(message) if length is None else length
    data = size.to_bytes(4, "little") + message
    return bytes(msgpack.packb(msgpack.ExtType(ext.PANDAS, data + bytes(-len(data) % 16) + rest)))


def part(size: int) -> msgpack.ExtType:
    return msgpack.ExtType(ext.OUTSIDE, size.to_bytes(8, "little"))


def numbers(size: int) -> list[Any]:
    return ["array", ["numpy", ["|u1", [SIZE], part(size), "C", 0]]]


def test_large_columns_lie_behind_the_message_wherever_the_frame_lies() -> None:
    inner = pd.DataFrame({"x": np.arange(SIZE, dtype="f8"), "y": np.arange(SIZE)})
    outer = pd.DataFrame({"a": np.arange(SIZE), "b": pd.Series([inner, (inner,)] * (SIZE // 2), dtype=object)[:SIZE]})
    for value in (
        inner,
        [inner, inner],
        {"k": (inner, {"l": inner})},
        outer.iloc[:2],
        pd.Series([1, inner], dtype=object),
    ):
        assert same(unpack(pack(value)), value)


def test_counting_the_levels_of_a_value_changes_nothing_of_what_lies_behind() -> None:
    frame = pd.DataFrame(
        {"x": np.arange(SIZE, dtype="f8"), "y": pd.Series([(1,)] * SIZE, dtype=object), "z": np.arange(SIZE)}
    )
    for value in ((frame,), [(frame, frame)], ((frame,),)):
        assert same(unpack(pack(value)), value)


def test_what_lies_behind_begins_where_arrays_want_to() -> None:
    for rows in range(1000, 1020):
        frame = pd.DataFrame({"a": np.zeros(rows), "b": np.zeros(rows, "i1"), "c": np.zeros(rows, "c16")})
        column = unpack(pack(frame))["c"].to_numpy()
        assert column.flags.aligned
        assert not column.flags.owndata


@pytest.mark.parametrize(
    "data",
    [
        behind(numbers(SIZE), b"x" * (SIZE - 1)),
        behind(numbers(2**63), b"x" * SIZE),
        behind(numbers(0), b"x" * SIZE),
        behind(numbers(SIZE), b"x" * SIZE, length=2**31),
        behind(numbers(SIZE), b"x" * SIZE, length=3),
        bytes(msgpack.packb(msgpack.ExtType(ext.PANDAS, b"\0\0"))),
        bytes(msgpack.packb(part(5))),
        bytes(msgpack.packb(msgpack.ExtType(ext.TUPLE, msgpack.packb([part(5)])))),
    ],
)
def test_bytes_that_are_not_there_are_refused(data: bytes) -> None:
    assert unpack(behind(numbers(SIZE), b"x" * SIZE)) is not None
    with pytest.raises(CodecError):
        unpack(data)


def test_no_two_parts_are_the_same_bytes() -> None:
    column = ["numpy", ["|u1", [SIZE], part(SIZE), "C", 0]]
    index = ["RangeIndex", None, 0, SIZE, 1]
    names = ["RangeIndex", None, 0, 3, 1]
    plain = ["frame", names, index, ["columns", [column] * 3]]
    assert unpack(behind(plain, b"x" * (SIZE * 3))).shape == (SIZE, 3)
    with codec.writable_arrays(), pytest.raises(CodecError, match="too early"):
        unpack(behind(plain, b"x" * (SIZE * 2)))
