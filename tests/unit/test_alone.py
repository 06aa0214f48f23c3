"""One large array that is alone in a list is read where it lies, and is what the usual way makes of the same bytes."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import numpy as np
import pytest

from actorq.errors import CodecError
from actorq.replica.executor import inputs
from actorq.wire import alone, codec, decoding

ARRAYS: list[Any] = [
    np.arange(40_000.0).reshape(200, 200),
    np.arange(40_000.0).reshape(200, 200).T,
    np.arange(200_000, dtype="i2"),
    np.zeros(20_000, [("a", "i4"), ("b", "f8")]),
    np.frombuffer(bytes(range(256)) * 1024, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    np.zeros(20_000, "M8[ns]"),
    np.arange(20_000, dtype="c16"),
]


def usual(data: Any) -> list[Any]:
    """What msgpack's unpacker makes of it."""
    values: list[Any]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(alone, "unpacked", lambda _: None)
        values = decoding.unpack(data)
    return values


def same(one: Any, other: Any) -> bool:
    return bool(
        (type(one), one.dtype, one.shape, one.flags.writeable) == (type(other), other.dtype, other.shape, False)
        and one.tobytes() == other.tobytes()
    )


@pytest.mark.parametrize("array", ARRAYS, ids=range(len(ARRAYS)))
@pytest.mark.parametrize("skew", range(8))
def test_it_is_the_same_array_wherever_it_lies(array: Any, skew: int) -> None:
    packed = codec.pack_list([array], 1 << 30, str)
    for message in (bytes(skew) + packed, bytearray(skew) + packed):
        found = alone.unpacked(memoryview(message)[skew + 1 :])  # behind the header of the list
        assert found is not None
        assert same(found, usual(packed)[0])
        assert found.flags.aligned


@pytest.mark.parametrize("dtype", ["u1", "f8"])
def test_an_array_that_lies_well_is_not_copied(dtype: str) -> None:
    packed = codec.pack_list([np.zeros(1 << 17, dtype)], 1 << 30, str)
    shared = 0
    for skew in range(8):
        message = bytes(skew) + packed
        (array,) = codec.unpack_list(memoryview(message)[skew:])
        shared += np.shares_memory(array, np.frombuffer(message, "u1"))
    assert shared == 8 // np.dtype(dtype).itemsize


def test_a_replica_reads_its_only_input_the_short_way() -> None:
    packed = codec.pack_list([np.zeros(1 << 20, "u1")], 1 << 30, str)
    (found,), decoded = inputs.decoded(memoryview(packed))
    assert not decoded
    assert np.shares_memory(found.value(), np.frombuffer(packed, "u1"))


@pytest.mark.parametrize("title", [("a", "b"), dt.date(2026, 11, 30), 2**70])
def test_a_field_with_an_odd_title_goes_the_usual_way(title: Any) -> None:
    array = np.zeros(20_000, np.dtype([((title, "x"), "i8")]))
    (back,) = codec.unpack_list(codec.pack_list([array], 1 << 30, str))
    assert back.dtype == array.dtype
    assert back.dtype.fields["x"][2] == title


def test_what_is_written_to_is_a_copy() -> None:
    packed = codec.pack_list([np.zeros(1 << 20, "u1")], 1 << 30, str)
    with codec.writable_arrays():
        (array,) = codec.unpack_list(packed)
    array += 1
    assert not np.frombuffer(packed, "u1")[-100:-10].any()


@pytest.mark.parametrize("seed", range(200))
def test_damaged_bytes_are_read_as_the_usual_way_reads_them(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(codec.pack_list([chance.choice(ARRAYS)], 1 << 30, str))
    for _ in range(chance.randint(1, 3)):
        at = chance.choice((chance.randrange(80), -1 - chance.randrange(12)))
        data[at] = chance.randrange(256)
    if chance.random() < 0.3:
        del data[-chance.randint(1, 40) :]
    try:
        expected = usual(bytes(data))
    except CodecError:
        with pytest.raises(CodecError):
            codec.unpack_list(data)
    else:
        found = codec.unpack_list(data)
        assert same(found[0], expected[0]) if isinstance(expected[0], np.ndarray) else found == expected
