"""What travels comes back equal; what is hostile is a named error."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import math
import pathlib
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorq import CodecError, PayloadTooLargeError
from actorq.wire.codec import PackedList, join_list, pack, pack_each, pack_list, split_list, unpack, unpack_list


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: Any = None


@dataclasses.dataclass
class Guarded:
    value: int

    def __post_init__(self) -> None:
        raise AssertionError("decoding must not run code of the class")


class Model(pydantic.BaseModel):
    name: str
    size: int = 0


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(dt.UTC) | st.just(ZoneInfo("Europe/Berlin")))
    | st.times()
    | st.timedeltas()
    | st.builds(range, st.integers(), st.integers(), st.integers().filter(bool))
    | st.sampled_from(Colour)
    | st.sampled_from([Access.READ, Access.READ | Access.WRITE])
)
hashables = st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(hashables, inner)
        | st.lists(inner).map(tuple)
        | st.frozensets(hashables)
        | st.sets(hashables)
        | st.builds(Point, st.integers(), inner)
    ),
    max_leaves=20,
)


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


@given(values)
@settings(max_examples=150)
def test_every_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    assert same(unpack(pack(value)), value)


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_arbitrary_bytes_are_a_value_or_a_named_error(data: bytes) -> None:
    with contextlib.suppress(CodecError):
        unpack(data)


@given(st.integers(0, 127), st.binary(max_size=60))
@settings(max_examples=500)
def test_arbitrary_extensions_are_a_value_or_a_named_error(code: int, data: bytes) -> None:
    with contextlib.suppress(CodecError):
        unpack(msgpack.packb(msgpack.ExtType(code, data)))


@given(st.lists(values, max_size=8), st.data())
def test_a_packed_list_splits_and_joins_without_decoding(items: list[Any], data: st.DataObject) -> None:
    packed = pack(items)
    parts = split_list(packed)
    assert [unpack(part) for part in parts] == items
    at = data.draw(st.integers(0, len(parts)))
    assert unpack(join_list(parts[at:])) == items[at:]


@given(st.lists(values, max_size=5) | st.builds(range, st.integers(0, 40), st.integers(0, 40), st.integers(1, 3)))
@settings(deadline=None)
def test_a_packed_list_that_nobody_asks_is_taken_as_it_is(items: Sequence[Any]) -> None:
    packed = pack(items)
    whole = PackedList(packed)
    assert join_list(whole) is packed
    assert list(whole) == [pack(item) for item in items] == whole[:]
    assert len(whole) == len(items)


@pytest.mark.parametrize("data", [b"", b"\x01", pack({}), pack("list"), pack(b"x")])
def test_what_is_no_packed_list_is_none(data: bytes) -> None:
    with pytest.raises(CodecError):
        PackedList(data)


@given(values)
@settings(deadline=None)
def test_truncated_data_is_a_named_error(value: Any) -> None:
    data = pack(value)
    with pytest.raises(CodecError):
        unpack(data[:-1])


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(2**200),
        "lone \ud800 surrogate",
        ["\udcff", {"\udc00": 1}],
        (("\udcff",),),
        pathlib.Path("/a/b"),
        Model(name="a", size=2),
        decimal.Decimal("1.10"),
        uuid.UUID(int=5),
        math.inf,
        {1: "a", (2, 3): "b", None: "c"},
    ],
)
def test_particular_values_come_back(value: Any) -> None:
    assert same(unpack(pack(value)), value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="float32").reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array([], dtype=np.int8),
        np.array(5),
        np.array(["a", "bc"]),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        np.zeros((2, 0, 3)),
    ],
)
def test_arrays_come_back_without_a_copy(array: Any) -> None:
    back = unpack(pack(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert (back == array).all()
    assert not back.flags.owndata


def test_array_scalars_come_back() -> None:
    assert same(unpack(pack(np.float32(1.5))), np.float32(1.5))


def test_decoding_runs_no_code_of_a_class() -> None:
    instance = object.__new__(Guarded)
    instance.value = 3
    assert unpack(pack(instance)).value == 3


@pytest.mark.parametrize("value", [object(), lambda: None, iter([]), sys, np.array([object()])])
def test_an_unsupported_type_is_a_named_error(value: Any) -> None:
    with pytest.raises(CodecError):
        pack(value)


@dataclasses.dataclass(slots=True)
class Half:
    x: int
    y: int


def test_an_object_that_cannot_be_read_is_a_named_error() -> None:
    with pytest.raises(CodecError, match="AttributeError"):
        pack(object.__new__(Half))
    with pytest.raises(CodecError):
        pack(Point)  # the class itself


def test_nesting_has_the_same_limit_both_ways() -> None:
    value: Any = 1
    for _ in range(150):
        value = (value,)
    with pytest.raises(CodecError, match="100 deep"):
        pack(value)


def test_a_local_class_cannot_travel_and_says_why() -> None:
    @dataclasses.dataclass
    class Local:
        x: int

    with pytest.raises(CodecError, match="inside a function"):
        pack(Local(1))


def test_a_value_that_contains_itself_is_a_named_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CodecError, match="too deeply"):
        pack(loop)


def test_deep_nesting_of_extensions_is_a_named_error() -> None:
    data = pack(1)
    for _ in range(3000):
        data = msgpack.packb(msgpack.ExtType(1, b"\x91" + data))
    with pytest.raises(CodecError):
        unpack(data)


@pytest.mark.parametrize(
    "name",
    [("antigravity", "fly"), ("os", "system"), ("builtins", "eval"), ("tests.unit.test_codec", "Nothing")],
)
@pytest.mark.parametrize("code", [13, 14, 17])
def test_a_class_name_from_the_wire_imports_and_calls_nothing(name: tuple[str, str], code: int) -> None:
    data = msgpack.packb(msgpack.ExtType(code, msgpack.packb([*name, {"x": "echo"}])))
    with pytest.raises(CodecError):
        unpack(data)
    assert "antigravity" not in sys.modules


def test_an_element_above_the_limit_is_named() -> None:
    with pytest.raises(PayloadTooLargeError, match=r"item 1 is 1,00\d bytes"):
        pack_list([b"", b"x" * 1000], 500, lambda i: f"item {i}")


class _Shy:
    """Refuses to be looked at, as a proxy outside of its request does."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("not now")

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


@pytest.mark.parametrize("wrap", [lambda shy: shy, lambda shy: [1, shy], lambda shy: {"a": [shy]}])
def test_a_message_about_an_object_that_refuses_to_be_looked_at_is_a_message(wrap: Callable[[Any], Any]) -> None:
    with pytest.raises(CodecError, match=r"Thing 0.* cannot be carried"):
        pack_list([wrap(_Shy())], 1000, lambda i: f"Thing {i}")


@given(start=st.integers(), count=st.integers(0, 100), step=st.sampled_from([1, 3, -2]))
def test_a_range_can_stand_for_a_list(start: int, count: int, step: int) -> None:
    numbers = range(start, start + count * step, step)
    packed = pack_list(numbers, 1000, str)
    assert unpack_list(packed) == list(numbers)
    assert [unpack(part) for part in split_list(packed)] == list(numbers)
    assert len(packed) < 50


@pytest.mark.parametrize("read", [unpack_list, split_list])
def test_a_range_that_no_memory_can_hold_is_no_list(read: Callable[[bytes], Any]) -> None:
    for numbers in (range(10**12), range(10**30)):
        with pytest.raises(CodecError, match="not a list"):
            read(pack(numbers))


@pytest.mark.parametrize(
    "values", [[], range(300), [1, "a", None, {"a": (1, 2)}], ["name \udcff"], [range(5), b"x" * 100]]
)
def test_elements_packed_each_are_those_of_the_packed_list(values: Any) -> None:
    parts = pack_each(values, 10_000, str)
    assert [unpack(part) for part in parts] == list(values)
    assert unpack_list(join_list(parts)) == list(values)


def test_an_element_that_is_packed_alone_and_cannot_be_carried_is_named() -> None:
    with pytest.raises(CodecError, match="item 1 cannot be carried"):
        pack_each([1, object()], 1000, lambda i: f"item {i}")
    with pytest.raises(PayloadTooLargeError, match="item 1 is 2,00"):
        pack_each([1, b"x" * 2000], 1000, lambda i: f"item {i}")
    assert len(pack_each([b"x" * 600, b"x" * 600], 1000, str)) == 2  # each is small enough
