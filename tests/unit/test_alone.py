"""One large array that is alone in a list is read where it lies, and is what the usual way makes of the same bytes."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import numpy as np
import pytest

from actorq.errors import CodecError
from actorq.wire import alone, codec, decoding

ARRAYS: list[Any] = [
    np.arange(40_000.0).reshape(200, 200),
    np.arange(40_000.0).reshape(200, 200).T,
    np.arange(200_000, dtype="i2"),
    np.zeros(20_000, [("a", "i4"), ("b", "f8")]),
    np.zeros(20_000, "M8[ns]"),
    np.arange(20_000, dtype="c16"),
]


def usual(data: Any) -> list[Any]:
    """What msgpack's unpacker makes of it."""
    values: list[Any] = msgpack.unpackb(data, ext_hook=decoding._OUTERMOST, strict_map_key=False)
    return values


def same(one: Any, other: Any) -> bool:
    return bool(
        (type(one), one.dtype, one.shape, one.flags.writeable) == (type(other), other.dtype, other.shape, False)
        and one.tobytes() == other.tobytes()
    )


@pytest.mark.parametrize("array", ARRAYS, ids=range(len(ARRAYS)))
@pytest.mark.parametrize("skew", range(4))
def test_it_is_the_same_array_wherever_it_lies(array: Any, skew: int) -> None:
    packed = codec.pack_list([array], 1 << 30, str)
    for message in (bytes(skew) + packed, bytearray(skew) + packed):
        values = alone.unpacked(memoryview(message)[skew:])
        assert values is not None
        assert len(values) == 1
        assert same(values[0], usual(packed)[0])
        assert values[0].flags.aligned


def test_bytes_are_not_copied_where_they_lie_well() -> None:
    packed = codec.pack_list([np.zeros(1 << 20, "u1")], 1 << 30, str)
    (array,) = codec.unpack_list(packed)
    assert np.shares_memory(array, np.frombuffer(packed, "u1"))


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
    except Exception:
        assert alone.unpacked(data) is None
        with pytest.raises(CodecError):
            codec.unpack_list(data)
    else:
        if (found := alone.unpacked(data)) is not None:
            assert same(found[0], expected[0])
