"""What `@actor_cache` keeps a value under: arguments by content, instances by identity."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import decimal
import enum
import gc
import pathlib
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq import CodecError, actor_cache
from actorq.cache.keys import element


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Point:
    x: Any
    y: Any = 0

    @actor_cache
    def shifted(self, by: int) -> tuple[Any, int]:
        return self.x, by

    @cached_property
    def slow(self) -> int:
        return 1


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: int


@actor_cache
def load(value: Any, *rest: Any, flag: Any = None, **named: Any) -> object:
    return object()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.decimals()
values = st.recursive(
    scalars | st.sampled_from(Color) | st.complex_numbers() | st.uuids() | st.timedeltas(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
        | st.frozensets(st.integers() | st.text(max_size=3), max_size=4)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=12,
)


def reordered(value: Any) -> Any:
    """The same content, made in another order."""
    if type(value) in (list, tuple):
        return type(value)(map(reordered, value))
    if type(value) is dict:
        return {key: reordered(value[key]) for key in reversed(value)}
    if type(value) is frozenset:
        return frozenset(sorted(value, key=repr, reverse=True))
    if type(value) is Point:
        return Point(y=reordered(value.y), x=reordered(value.x))
    return copy.copy(value)


def same(one: Any, other: Any) -> bool:
    """Equal, types and all."""
    if type(one) is not type(other):
        return False
    if type(one) in (list, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is dict:
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if type(one) is Point:
        return same(one.x, other.x) and same(one.y, other.y)
    return repr(one) == repr(other) if type(one) is not frozenset else bool(one == other)


@given(values)
def test_equal_content_in_another_order_is_the_same_key(value: Any) -> None:
    assert element(value) == element(reordered(value))
    assert hash(element(value)) == hash(element(copy.deepcopy(value)))


@given(values, values)
def test_keys_are_equal_for_equal_content_and_no_other(one: Any, other: Any) -> None:
    assert (element(one) == element(other)) == same(one, other)


@given(st.sets(st.integers(-20, 20)))
def test_a_set_is_the_same_key_in_whatever_order_it_was_filled(numbers: set[int]) -> None:
    other: set[int] = set(range(-100, 100))  # larger once: its elements lie elsewhere
    other &= set()
    for number in sorted(numbers, reverse=True):
        other.add(number)
    assert element([numbers]) == element([other])


DISTINCT: list[Any] = [
    *(1, 1.0, True, "1", b"1", 1 + 0j, decimal.Decimal(1), np.float64(1), np.int64(1), Level.LOW),
    *(0, 0.0, -0.0, False, None, "", b"", bytearray(), 2**70, -(2**70), float("inf")),
    *([], (), {}, set(), frozenset(), [1], [1.0], [True], (1,), {1}, frozenset({1}), [[1]], [(1,)], ["1"]),
    *([1, 2], [2, 1], [[1], 2], [[1, 2]], [[], []], [[[]]], ["ab", "c"], ["a", "bc"]),
    *({1: 2}, {2: 1}, {"1": 2}, {1: 2.0}, {True: 2}, {"a": [1]}, {"a": (1,)}, [("a", 1)]),
    *(Color.RED, Color.BLUE, Point(1), Point(1.0), Point(2), Point(Point(1)), {"x": 1, "y": 0}),
    *(pathlib.Path("a"), "a", pathlib.Path("b"), pathlib.PureWindowsPath("a")),
    *(
        dt.date(2026, 1, 1),
        dt.datetime.fromisoformat("2026-01-01"),
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        dt.timedelta(1),
    ),
    *(uuid.UUID(int=1), uuid.UUID(int=2)),
    *(np.zeros(3), np.zeros(4), np.zeros((3, 1)), np.zeros(3, "i4"), np.zeros(3, ">i4"), np.array(0.0), np.zeros(0)),
    *(np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3).T, np.arange(6).reshape(3, 2)),
    *(Model(x=1), Model(x=2), *(Model.model_validate({"x": 1, "extra": extra}) for extra in (1, 2))),
]


def test_arguments_that_differ_have_keys_that_differ() -> None:
    keys = [element(value) for value in DISTINCT]
    for i, key in enumerate(keys):
        for j in range(i):
            assert key != keys[j], (DISTINCT[i], DISTINCT[j])


@pytest.mark.parametrize("value", [*DISTINCT, np.arange(12).reshape(3, 4)[:, ::2], float("nan")], ids=repr)
def test_a_copy_of_an_argument_finds_its_value(value: Any) -> None:
    assert load(value) is load(copy.deepcopy(value))
    assert load([value]) is load([copy.deepcopy(value)])


def test_a_mutable_argument_that_was_changed_is_another_one() -> None:
    value = [1]
    first = load(value)
    value.append(2)
    assert load(value) is not first
    value.pop()
    assert load(value) is first


def test_a_call_is_the_same_however_it_is_written() -> None:
    assert load(1, 2, flag=3, a=4, b=5) is load(1, 2, b=5, a=4, flag=3)
    assert load(1) is load(value=1) is load(1, flag=None)
    assert load(1, 2) is not load(1, flag=2)


def test_a_class_with_the_name_of_another_is_another_key() -> None:
    def made() -> Any:
        @dataclass
        class Config:
            x: int

        return Config

    first, second = made(), made()
    assert element(first(1)) == element(first(1))
    assert element(first(1)) != element(second(1))
    assert load(first) is load(first)
    assert load(first) is not load(second)


@pytest.mark.parametrize(
    "value",
    [object(), [object()], lambda: 1, np.ma.array([1], mask=[True]), np.array([object()]), iter([])],
    ids=["object", "nested", "function", "masked", "objects", "iterator"],
)
def test_an_argument_without_content_is_refused_by_name_with_what_to_do(value: Any) -> None:
    with pytest.raises(CodecError, match=r"load: argument 'flag' cannot be part of a key: .*key="):
        load(1, flag=value)


def test_an_argument_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CodecError, match=r"argument 'value' .* contains itself"):
        load(value)


def test_a_wrong_call_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="missing"):
        load()  # type: ignore[call-arg]


class Key:
    """By `key=`."""

    def __init__(self, name: str) -> None:
        self.name = name


@actor_cache(key=lambda thing, scale=1: [thing.name, scale])
def named(thing: Key, scale: int = 1) -> object:
    return object()


def test_a_key_function_decides_what_is_the_same() -> None:
    assert named(Key("a")) is named(Key("a"), 1)
    assert named(Key("a")) is not named(Key("b"))
    assert named(Key("a"), 1) is not named(Key("a"), True)


def test_a_key_function_must_return_plain_data() -> None:
    @actor_cache(key=lambda thing: thing)
    def kept(thing: object) -> int:
        return 1

    with pytest.raises(CodecError, match="what key= returned cannot be part of a key"):
        kept(object())


# -- methods ----------------------------------------------------------------------------------------------------------


class Base:
    def __init__(self, name: str = "") -> None:
        self.name = name

    @actor_cache
    def get(self, x: int = 0) -> list[Any]:
        return [self.name, x]

    @actor_cache
    async def get_async(self) -> list[Any]:
        return [self.name]

    @property
    @actor_cache
    def prop(self) -> list[Any]:
        return [self.name]

    @classmethod
    @actor_cache
    def by_class(cls) -> list[str]:
        return [cls.__name__]

    @staticmethod
    @actor_cache
    def plain(x: Any) -> list[Any]:
        return ["base", x]


class Child(Base):
    @actor_cache
    def get(self, x: int = 0) -> list[Any]:
        return ["child", *super().get(x)]

    @staticmethod
    @actor_cache
    def plain(x: Any) -> list[Any]:
        return ["child", x]


class Slotted:
    __slots__ = ()

    @actor_cache
    def get(self) -> int:
        return 1


def test_each_instance_has_values_of_its_own() -> None:
    one, two = Base("one"), Base("two")
    assert one.get() is one.get(0) is one.get(x=0) is Base.get(one)
    assert (one.get(), two.get(), one.prop, two.prop) == (["one", 0], ["two", 0], ["one"], ["two"])
    assert one.prop is one.prop
    assert asyncio.run(one.get_async()) == ["one"]
    assert asyncio.run(two.get_async()) == ["two"]


def test_a_dataclass_instance_is_compared_by_content() -> None:
    assert Point(1).shifted(2) is Point(1).shifted(2)
    assert Point(1).shifted(2) is not Point(2).shifted(2)
    point = Point(1)
    first = point.shifted(2)
    assert point.slow == 1  # kept in its __dict__, and no part of it
    assert point.shifted(2) is first


def test_a_plain_subclass_of_a_dataclass_is_compared_by_identity_when_it_has_more_than_fields() -> None:
    class Extended(Point):
        def __init__(self, x: int, more: int) -> None:
            super().__init__(x)
            self.more = more

    one, two = Extended(1, 1), Extended(1, 2)
    assert one.shifted(1) is one.shifted(1)
    assert one.shifted(1) is not two.shifted(1)
    with pytest.raises(CodecError, match="no content to compare"):
        load(one)


def test_the_values_of_a_dead_instance_leave() -> None:
    gone: list[Any] = []

    class Thing:
        @actor_cache(on_evict=gone.append)
        def get(self, x: int) -> str:
            return f"value {x}"

    thing = Thing()
    thing.get(1)
    thing.get(2)
    assert Thing.get.cache_info().currsize == 2
    del thing
    gc.collect()
    assert Thing.get.cache_info().currsize == 0
    assert sorted(gone) == ["value 1", "value 2"]


def test_a_new_object_at_an_old_address_never_sees_the_old_value() -> None:
    addresses = set()
    for number in range(50):
        thing = Base(str(number))
        addresses.add(id(thing))
        assert thing.get() == [str(number), 0]
        del thing
    assert len(addresses) < 50  # an address was used again, or this shows nothing


def test_an_instance_that_cannot_be_weakly_referenced_is_refused_with_what_to_do() -> None:
    with pytest.raises(CodecError, match=r"argument 'self' .*__weakref__.*key="):
        Slotted().get()


def test_an_overridden_method_has_values_of_its_own_and_may_call_the_one_above() -> None:
    child = Child("c")
    assert child.get(1) == ["child", "c", 1]
    assert Base.get(child, 1) == ["c", 1]
    assert child.get(1) is child.get(1)


def test_a_class_method_has_values_per_class() -> None:
    assert Base.by_class() is Base.by_class()
    assert (Base.by_class(), Child.by_class()) == (["Base"], ["Child"])


def test_static_methods_of_one_name_do_not_collide() -> None:
    assert (Base.plain(1), Child.plain(1)) == (["base", 1], ["child", 1])
    assert Base.plain([1]) is Base.plain([1])
    with pytest.raises(CodecError, match="argument 'x'"):
        Base.plain(object())


@dataclass(eq=False)
class Handle:
    number: int
    lock: Any = field(default_factory=object)

    @actor_cache
    def get(self) -> object:
        return object()


def test_a_dataclass_without_eq_is_compared_by_identity() -> None:
    one, two = Handle(1), Handle(1)
    assert one.get() is one.get()
    assert one.get() is not two.get()


def test_two_functions_made_by_one_factory_are_never_mixed_up() -> None:
    def factory(name: str) -> Any:
        @actor_cache
        def made(x: int) -> str:
            return f"{name} {x}"

        return made

    made = [factory(str(i)) for i in range(5)]
    assert [f(1) for f in made] == [f"{i} 1" for i in range(5)]
    assert [f(1) for f in made] == [f"{i} 1" for i in range(5)]
