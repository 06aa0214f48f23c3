"""The rule of what travels: it arrives with the type and the content that it left with, or is refused by name."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import math
import pathlib
import threading
import uuid
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorq import CodecError
from actorq.wire import alone, codec
from actorq.wire.codec import pack, pack_list, unpack
from tests.conftest import run_script
from tests.support.carried_values import (
    Bits,
    Box,
    DataclassOfDict,
    Holding,
    Key,
    Open,
    Page,
    Pair,
    Perm,
    Point,
    Private,
    Size,
    model,
    noted,
    same,
    values,
)


def follows_the_rule(value: Any) -> None:
    try:
        data = pack(value)
    except CodecError:
        return
    assert same(unpack(data), value), value


@given(values)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_carried_arrives_with_its_type_and_content(value: Any) -> None:
    assert same(unpack(pack(value)), value)


def test_a_path_whose_text_is_another_path_is_refused() -> None:
    follows_the_rule(pathlib.PureWindowsPath("//a/"))  # it is such a path before Python 3.12


#: a value of each type, of which a subclass is made
SUBCLASSED: list[Any] = [
    1,
    1.5,
    "text",
    b"bytes",
    1j,
    [1],
    {1: 2},
    (1,),
    {1},
    frozenset({1}),
    decimal.Decimal("1.10"),
    uuid.UUID(int=5),
    dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    dt.date(2026, 1, 2),
    dt.time(1, 2),
    dt.timedelta(1),
    pathlib.PurePosixPath("a"),
    np.arange(3),
    np.ma.masked_equal([1, 2], 1),
    np.zeros((1, 1)).view(np.matrix),
    Pair(1),
    Point(1),
    Size(1),
    Open.model_validate({"a": 1, "c": 2}),
]


def subclass_of(kind: type, **attributes: Any) -> type:
    """A class at the top of this module."""
    made = type(f"Sub{kind.__name__}", (kind,), {"__module__": __name__, **attributes})
    globals()[made.__name__] = made
    return made


def as_subclass(value: Any) -> Any:
    kind: Any = subclass_of(type(value))
    match value:
        case np.ndarray():
            made = value.view(kind)
        case complex() | dt.timedelta():
            made = kind(value.real, value.imag) if isinstance(value, complex) else kind(value.days)
        case uuid.UUID():
            made = kind(int=value.int)
        case dt.datetime():
            made = kind.fromisoformat(value.isoformat())
        case dt.date() | dt.time():
            made = kind.fromisoformat(value.isoformat())
        case Pair():
            made = kind(*value)
        case Point() | Size():
            made = kind(1)
        case Open():
            made = kind(a=1, c=2)
        case _:
            made = kind(value)
    return made


@pytest.mark.parametrize("value", SUBCLASSED, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("inside", [False, True])
def test_a_subclass_arrives_as_itself_or_is_refused_by_name(value: Any, inside: bool) -> None:
    made = as_subclass(value)
    if hasattr(made, "__dict__") and not isinstance(made, pydantic.BaseModel):
        object.__setattr__(made, "note", "more")
    kept = isinstance(value, (Pair, Point, Size, Open))
    whole = {"key": [made]} if inside else made
    if kept:
        assert same(unpack(pack(whole)), whole)
        return
    at = r" at \['key'\]\[0\]" if inside else ""
    with pytest.raises(CodecError, match=rf"Thing 0{at} cannot be carried: \S*\.Sub{type(value).__name__} .*Pass "):
        pack_list([whole], 1 << 20, lambda i: f"Thing {i}")


@given(values, st.sampled_from(SUBCLASSED).map(as_subclass))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_mixed_follows_the_rule(value: Any, made: Any) -> None:
    for mixed in ([value, made], {"a": (made, value)}, Point(made, value)):
        follows_the_rule(mixed)


@pytest.mark.parametrize(
    "value",
    [
        collections.UserDict(),
        object(),
        Page,
        lambda: None,
        np.array([object()]),
        np.array(["a"], dtype=np.dtypes.StringDType()),
        np.zeros(2, dtype="V0"),
        iter([]),
        {}.keys(),
        threading.Lock(),
    ],
)
def test_what_is_not_carried_is_refused_with_what_to_do(value: Any) -> None:
    with pytest.raises(CodecError, match=r"[Pp]ass |register"):
        pack(value)


def test_the_message_names_the_attribute_that_cannot_be_carried() -> None:
    box = noted(Box(1, 2), threading.Lock())
    for value, at in (
        (box, r"\.note"),
        ([Size(box)], r"\[0\]\.value\.note"),
        (Pair(1, box), r"\.b\.note"),
        (Open.model_validate({"a": 1, "c": [box]}), r"\.c\[0\]\.note"),
        (model(Private, box, a=1), r"\._seen\.note"),
    ):
        with pytest.raises(CodecError, match=rf"Thing 0 at {at} cannot be carried: _thread\.lock"):
            pack_list([value], 1 << 20, lambda i: f"Thing {i}")


def test_what_a_cached_property_keeps_stays_at_home() -> None:
    box = Box(1, 2)
    assert box.lock
    assert same(unpack(pack(box)), box)
    assert "lock" not in vars(unpack(pack(box)))


def test_the_hash_that_attrs_keeps_is_computed_anew() -> None:
    key = Key("a")
    hash(key)
    assert hash(unpack(pack(key))) == hash(key)
    assert unpack(pack(key))._attrs_cached_hash is None


def test_a_frozen_model_and_what_was_set_in_it_come_back() -> None:
    for value in (Open(a=1), Open(a=1, b=2), Open.model_validate({"a": 1, "z": [1]})):
        assert unpack(pack(value)).model_dump(exclude_unset=True) == value.model_dump(exclude_unset=True)


def test_flags_without_a_name_come_back() -> None:
    for value in (Perm(0), Perm.READ | Perm.WRITE, Bits(0), Bits.LOW | 8):
        assert unpack(pack(value)) is value


def test_columns_of_another_order_place_or_size_keep_their_names() -> None:
    whole = np.zeros(2, dtype=[("a", "i4"), ("b", "i4"), ("c", "i4")])
    for array in (whole[["a", "c"]], whole[["c"]], np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True))):
        back = unpack(pack(array))
        assert back.dtype == array.dtype
        assert back.dtype.isalignedstruct == array.dtype.isalignedstruct
    titled = np.zeros(1, dtype=[(("title", "name"), "i4")])
    assert unpack(pack(titled)).dtype == titled.dtype


def test_a_masked_array_keeps_its_mask() -> None:
    masked = np.ma.masked_array([1.0, 2.0, 1e20], mask=[False, False, True], fill_value=-1.0)
    back = unpack(pack(masked))
    assert back.mean() == 1.5
    assert back.fill_value == -1.0
    assert unpack(pack(np.ma.masked)) is np.ma.masked
    assert unpack(pack(np.ma.array([1], hard_mask=True))).hardmask
    records = np.ma.masked_array(
        [(1, 2.0)], mask=np.array([(0, 1)], dtype=[("a", "?"), ("b", "?")]), dtype=[("a", "i4"), ("b", "f8")]
    )
    assert same(unpack(pack(records)), records)


def test_a_matrix_and_records_keep_their_class_and_order() -> None:
    for array in (
        np.arange(4).reshape(2, 2).view(np.matrix),
        np.rec.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
    ):
        back = unpack(pack(array))
        assert same(back, array)
        assert not back.flags.writeable
    assert unpack(pack(np.asfortranarray(np.ones((2, 3))))).flags.f_contiguous


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10)[::2],
        np.arange(10_000)[::-1],
        np.arange(5, dtype="u1")[::-1],
        np.ones((3, 4))[:, 1],
        np.ones((3, 4))[:, ::-1],
        np.ones((3, 4))[::-1].T,
        np.ones((3, 4, 5)).transpose(2, 0, 1)[::2],
        np.diagonal(np.eye(4)),
        np.broadcast_to(np.int64(7), (3,)),
        np.broadcast_to(np.int64(7), (3, 4)),
        np.broadcast_to(np.arange(4), (3, 4)),
        np.ones(3, dtype=[("a", "i4"), ("b", "f8")])["b"],
        np.ones(3, dtype=complex).imag,
        np.array(["a", "bc"])[::-1],
        np.ma.array([1, 2, 3], mask=[True, False, False])[::-1],
        np.arange(3)[:0:-1],
        np.arange(6)[::-1].view(np.recarray),
    ],
    ids=range(17),
)
def test_an_array_that_does_not_lie_in_one_piece_arrives_whole(array: Any) -> None:
    arrived = unpack(pack(array))
    assert (type(arrived), arrived.dtype, arrived.shape) == (type(array), array.dtype, array.shape)
    assert arrived.tolist() == array.tolist()


def test_a_large_array_is_copied_as_often_as_bytes_are() -> None:
    array = np.zeros(1 << 20, dtype="u1")
    for each in (array, array.reshape(1024, 1024).T):
        back = unpack(pack(each))
        assert not back.flags.owndata
        assert not back.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        bytes(1 << 16),
        np.arange(40_000.0).reshape(200, 200),
        np.arange(40_000.0).reshape(200, 200).T,
        np.arange(40_000.0)[::2],
        np.arange(40_000).reshape(20, 20, 100).transpose(2, 0, 1)[::2],
        np.zeros(1 << 16, "u1"),
        np.zeros(20_000, [("a", "i4"), ("b", "f8")]),
        np.zeros(20_000, "M8[ns]"),
        np.broadcast_to(np.float64(1), (300, 300)),
    ],
    ids=range(9),
)
def test_one_large_value_is_packed_at_once_to_the_same_bytes(value: Any) -> None:
    assert alone.packed(value) == codec._packed([value])
    assert pack_list([value], 1 << 30, str) == codec._packed([value])


def test_a_large_array_that_cannot_be_carried_is_named() -> None:
    with pytest.raises(CodecError, match="input 0 cannot be carried: A numpy array of dtype object"):
        pack_list([np.array([object()] * 20_000)], 1 << 30, lambda at: f"input {at}")
    with pytest.raises(CodecError, match=r"input 0 is 80,0\d\d bytes; the limit is 1,000"):
        pack_list([np.zeros(10_000)], 1000, lambda at: f"input {at}")


def test_a_time_zone_that_is_not_carried_is_refused_by_name() -> None:
    class Zone(dt.tzinfo):
        def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
            return dt.timedelta(0)

        def dst(self, when: dt.datetime | None) -> None: ...

        def tzname(self, when: dt.datetime | None) -> None: ...

    for value in (dt.datetime(2026, 1, 1, tzinfo=Zone()), dt.time(1, tzinfo=Zone())):
        with pytest.raises(CodecError, match=r"Zone, which is not carried: use zoneinfo"):
            pack(value)


def test_a_class_whose_content_is_that_of_a_builtin_is_refused() -> None:
    for value in (DataclassOfDict(1), Holding(a=1)):
        with pytest.raises(CodecError, match=r"dict.*register"):
            pack(value)


def test_a_class_of_the_script_is_the_one_of_the_running_script(tmp_path: pathlib.Path) -> None:
    (tmp_path / "helper.py").write_text("import importlib\nimportlib.import_module('script')\n")
    printed = run_script(
        tmp_path,
        """
        import enum
        from actorq import ActorEnvironment

        env = ActorEnvironment("twice", isolation="none")

        class Colour(enum.Enum):
            RED = 1

        class Bad(Exception):
            pass

        import helper

        @env.task
        def red(x):
            return Colour.RED

        @env.task
        def fail(x):
            raise Bad("x")

        if __name__ == "__main__":
            print(red.remote(1) is Colour.RED)
            try:
                fail.remote(1)
            except Bad:
                print("caught")
        """,
    )
    assert printed == "True\ncaught\n"


def test_special_numbers_keep_their_sign() -> None:
    assert math.copysign(1, unpack(pack(-0.0))) == -1
    assert same(unpack(pack(complex(-0.0, math.nan))), complex(-0.0, math.nan))


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.array(["a"], np.dtypes.StringDType()), r"StringDType\(\) keeps its text .*astype\(str\)"),
        (np.array(["a"], np.dtypes.StringDType(na_object=None)), r"StringDType\(na_object=None\) .*tolist"),
        (np.array([{}], object), r"dtype object holds arbitrary Python objects: pass array.tolist\(\)"),
        (np.zeros(1, [("x", "O"), ("y", "i4")]), r"\('x', 'O'\).*holds arbitrary Python objects.*other fields"),
    ],
    ids=["text", "missing", "object", "field"],
)
def test_an_array_whose_elements_lie_elsewhere_is_refused_by_its_own_name(array: Any, told: str) -> None:
    with pytest.raises(CodecError, match=told):
        pack(array)
