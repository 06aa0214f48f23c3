"""Classes whose objects travel, values of everything that does, and whether two are the same."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import ipaddress
import pathlib
import re
import threading
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pydantic
from hypothesis import strategies as st


class Perm(enum.Flag):
    READ = 1
    WRITE = 2


class Bits(enum.IntFlag):
    LOW = 1


class Colour(enum.StrEnum):
    RED = "red"


@dataclasses.dataclass
class Box:
    width: int
    height: Any
    label: str = dataclasses.field(default="", init=False)

    def __post_init__(self) -> None:
        self.area = self.width * 2  # no field

    @functools.cached_property
    def lock(self) -> Any:
        return threading.Lock()

    def grow(self) -> None:
        self.width += 1


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: Any
    y: Any = None


class Labelled(Box):
    """A subclass that is no dataclass itself."""


@attrs.define
class Size:
    value: Any
    extra: int = attrs.field(init=False, default=3)


@attrs.frozen(cache_hash=True)
class Key:
    name: str


class Pair(NamedTuple):
    a: Any
    b: Any = 2


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: Any
    b: int = 5


class Private(pydantic.BaseModel):
    a: int
    _seen: Any = pydantic.PrivateAttr(default=0)


T = TypeVar("T")


class Page(pydantic.BaseModel, Generic[T]):
    item: T


NUMPY_SCALARS = [np.float32(1.5), np.float64("nan"), np.bool_(1), np.datetime64("NaT", "s"), np.timedelta64(3, "h")]
MODELS = [Page[int](item=1), Page[list[str] | None](item=None), Page[Page[int]](item=Page[int](item=2)), Page(item=3)]


def same(a: Any, b: Any) -> bool:
    """Whether two values have one type and one content, in all that lies in them."""
    if type(a) is not type(b):
        return False
    if type(a).__module__.partition(".")[0] == "pandas":
        from tests.support.pandas_values import same_pandas

        return same_pandas(a, b)
    if type(a).__module__ == "pyarrow.lib":
        from tests.support.arrow_values import same_arrow

        return same_arrow(a, b)
    if type(a).__module__.partition(".")[0] == "polars":
        from tests.support.polars_values import same_polars

        return same_polars(a, b)
    for kinds, equal in _SAME.items():
        if isinstance(a, kinds):
            return equal(a, b)
    if not isinstance(a, type) and (dataclasses.is_dataclass(a) or attrs.has(type(a))):
        return same_fields(a, b)
    return bool(a == b)


def same_masked(a: Any, b: Any) -> bool:
    if a is np.ma.masked or b is np.ma.masked:
        return a is b
    fills = same(np.asarray(a.fill_value), np.asarray(b.fill_value))
    return same(a.data, b.data) and same(np.asarray(a.mask), np.asarray(b.mask)) and fills


def same_array(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.dtype.type is b.dtype.type and a.shape == b.shape and a.tobytes() == b.tobytes()


def same_sequence(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(map(same, a, b)) and same(vars_of(a), vars_of(b))


def same_dict(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(map(same, a, b)) and all(map(same, a.values(), b.values()))


def same_time(a: Any, b: Any) -> bool:
    return a == b and a.fold == b.fold and type(a.tzinfo) is type(b.tzinfo) and repr(a.tzinfo) == repr(b.tzinfo)


def same_model(a: Any, b: Any) -> bool:
    state = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    return all(same(getattr(a, name), getattr(b, name)) for name in state)


def same_fields(a: Any, b: Any) -> bool:
    names = [f.name for f in (dataclasses.fields(a) if dataclasses.is_dataclass(a) else attrs.fields(type(a)))]
    return all(same(getattr(a, name), getattr(b, name)) for name in names) and same(vars_of(a), vars_of(b))


def same_text(a: Any, b: Any) -> bool:
    return repr(a) == repr(b)


_SAME: dict[Any, Callable[[Any, Any], bool]] = {
    np.ma.MaskedArray: same_masked,
    (np.ndarray, np.generic): same_array,
    (float, complex, decimal.Decimal): same_text,
    (list, tuple, collections.deque): same_sequence,
    dict: same_dict,
    (dt.datetime, dt.time): same_time,
    pydantic.BaseModel: same_model,
}


def vars_of(value: Any) -> dict[str, Any]:
    return {name: content for name, content in getattr(value, "__dict__", {}).items() if name != "lock"}


zones = (
    st.just(dt.UTC)
    | st.sampled_from([ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")])
    | st.builds(dt.timezone, st.timedeltas(-dt.timedelta(hours=23), dt.timedelta(hours=23)))
    | st.just(dt.timezone(dt.timedelta(hours=1), "CET"))
)
dtypes = st.recursive(
    st.sampled_from(["i1", ">i4", "<f8", "f2", "c16", "?", "U3", "S2", "V5", "M8[ns]", "m8[25s]"]).map(np.dtype),
    lambda inner: st.builds(
        lambda types, align, pick: np.dtype([(f"f{i}", t) for i, t in enumerate(types)], align=align)[
            [f"f{i}" for i in range(len(types)) if i % pick == 0]
        ],
        st.lists(inner | inner.map(lambda t: (t, (2,))), min_size=1, max_size=4),
        st.booleans(),
        st.integers(1, 2),
    ),
    max_leaves=4,
)
shapes = st.sampled_from([(), (0,), (3,), (2, 3), (2, 0, 3)])


def filled(dtype: Any, shape: Any) -> Any:
    array = np.zeros(shape, dtype)
    data = bytearray(array.tobytes())
    for i in range(len(data)):
        data[i] = i * 7 % 64 if dtype.kind not in "bU" else data[i]
    return np.frombuffer(data, dtype, count=array.size).reshape(shape) if array.size else array


arrays = st.builds(filled, dtypes, shapes)
scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers()
    | st.decimals()
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | zones)
    | st.times(timezones=st.none() | zones)
    | st.timedeltas()
    | zones.filter(lambda zone: type(zone) is dt.timezone)
    | st.builds(range, st.integers(), st.integers(), st.integers().filter(bool))
    | st.sampled_from(Colour)
    | st.integers(0, 3).map(Perm)
    | st.integers(0, 2**70).map(Bits)
    | st.text("/\\ab.: ").map(pathlib.Path)
    | st.text("/\\ab.: ").map(pathlib.PurePosixPath)
    | st.text("/\\ab.: ").map(pathlib.PureWindowsPath).filter(lambda path: type(path)(str(path)) == path)
    | st.text("ab\0").map(np.str_)
    | st.binary(max_size=3).map(np.bytes_)
    | st.sampled_from(NUMPY_SCALARS)
    | st.sampled_from(MODELS)
    | arrays
    | st.fractions()
    | st.ip_addresses()
    | st.sampled_from(
        [
            ZoneInfo("Asia/Tokyo"),
            re.compile("a(b)*", re.IGNORECASE),
            re.compile(b"a.", re.DOTALL | re.VERBOSE),
            ipaddress.ip_network("10.0.0.0/8"),
            ipaddress.ip_interface("fe80::1%eth0/64"),
        ]
    )
    | st.builds(array.array, st.sampled_from("bhilqfd"), st.lists(st.integers(-100, 100)))
    | arrays.filter(lambda a: a.dtype.names is not None and a.size).map(lambda a: a.reshape(-1)[0])
)
hashables = st.integers() | st.text() | st.binary() | st.builds(Point, st.integers()) | st.text().map(Key)


def model(make: Callable[..., Any], private: Any, **fields: Any) -> Any:
    made = make(**fields)
    if isinstance(made, Private):
        made._seen = private
    return made


def noted(value: Any, note: Any) -> Any:
    value.note = note
    return value


values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(hashables, inner)
        | st.lists(inner).map(tuple)
        | st.frozensets(hashables)
        | st.sets(hashables)
        | st.lists(inner).map(collections.deque)
        | st.lists(st.integers(), max_size=3).map(lambda each: collections.deque(each, 3))
        | st.dictionaries(hashables, inner).map(collections.OrderedDict)
        | st.dictionaries(hashables, inner).map(lambda each: collections.defaultdict(list, each))
        | st.dictionaries(hashables, inner).map(lambda each: collections.defaultdict(None, each))
        | st.dictionaries(hashables, st.integers()).map(collections.Counter)
        | st.builds(Point, inner, inner)
        | st.builds(Box, st.integers(), inner)
        | st.builds(noted, st.builds(Box, st.integers(), inner), inner)
        | st.builds(Labelled, st.integers(), inner)
        | st.builds(Size, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Open, a=inner, c=inner)
        | st.builds(Open, a=inner)
        | st.builds(lambda seen: model(Private, seen, a=1), inner)
    ),
    max_leaves=12,
)


class Many(enum.IntFlag):
    A = 1


class Holding(dict[str, Any]):
    """Content and attributes."""


@dataclasses.dataclass
class DataclassOfDict(dict[str, Any]):
    x: int = 0
