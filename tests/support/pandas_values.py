"""Values of pandas: frames, series, indexes, arrays, and whether two are the same in all that can be seen."""

from __future__ import annotations

import contextlib
import datetime as dt
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from tests.support import carried_values

FREQUENCIES = ("D", "B", "h", "2h", "-1D", "15min", "W-SUN", "MS", "ME", "QE-DEC", "YE-MAR", "WOM-1MON", "bh", "SME-15")
SPANS = ("D", "h", "3h", "M", "Q-DEC", "Y-MAR", "W-SUN", "ms")
UNITS = ("s", "ms", "us", "ns")
zones: st.SearchStrategy[Any] = st.sampled_from(
    [dt.UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"), dt.timezone(dt.timedelta(hours=1), "CET")]
)
#: of what no library's own rounding comes near
instants = st.integers(-(2**31), 2**33)


def same_pandas(a: Any, b: Any) -> bool:
    """Whether two values of one type of pandas show the same."""
    if isinstance(a, pd.DataFrame):
        return same_marks(a, b) and same_index(a.columns, b.columns) and same_index(a.index, b.index) and same_all(a, b)
    if isinstance(a, pd.Series):
        named = same_marks(a, b) and carried_values.same(a.name, b.name)
        return named and same_index(a.index, b.index) and same_values(a, b)
    if isinstance(a, pd.Index):
        return same_index(a, b)
    if isinstance(a, pd.Timestamp):
        zone = type(a.tzinfo) is type(b.tzinfo) and repr(a.tzinfo) == repr(b.tzinfo)
        return bool(a == b) and a.unit == b.unit and a.fold == b.fold and zone
    if isinstance(a, pd.Timedelta):
        return bool(a == b and a.unit == b.unit)
    if isinstance(a, pd.Interval):
        return carried_values.same(a.left, b.left) and carried_values.same(a.right, b.right) and a.closed == b.closed
    if isinstance(a, pd.Period):
        return bool(a == b and a.freq == b.freq)
    if a is pd.NaT or a is pd.NA:
        return a is b
    return same_values(a, b)


def same_all(a: Any, b: Any) -> bool:
    return a.shape == b.shape and all(same_values(a.iloc[:, i], b.iloc[:, i]) for i in range(a.shape[1]))


def same_marks(a: Any, b: Any) -> bool:
    return carried_values.same(a.attrs, b.attrs) and a.flags == b.flags


def same_index(a: Any, b: Any) -> bool:
    if type(a) is not type(b) or not carried_values.same(list(a.names), list(b.names)):
        return False
    if isinstance(a, pd.MultiIndex):
        codes = all(map(carried_values.same, a.codes, b.codes)) and a.sortorder == b.sortorder
        return codes and len(a.levels) == len(b.levels) and all(map(same_index, a.levels, b.levels))
    if isinstance(a, pd.RangeIndex):
        return bool(a._range == b._range)
    return getattr(a, "freq", None) == getattr(b, "freq", None) and same_values(a, b)


def same_values(a: Any, b: Any) -> bool:
    """Two columns."""
    if type(a.dtype) is not type(b.dtype) or a.dtype != b.dtype or len(a) != len(b):
        return False
    x, y = getattr(a, "array", a), getattr(b, "array", b)
    if type(x) is not type(y):
        return False
    if isinstance(a.dtype, pd.CategoricalDtype):
        return same_index(x.categories, y.categories) and np.array_equal(x.codes, y.codes) and x.ordered == y.ordered
    if isinstance(a.dtype, pd.StringDtype):
        assert a.dtype.storage == b.dtype.storage
        assert type(a.dtype.na_value) is type(b.dtype.na_value)
    if isinstance(a.dtype, pd.DatetimeTZDtype):
        assert type(a.dtype.tz) is type(b.dtype.tz)
    if isinstance(a.dtype, np.dtype) and a.dtype != object:
        return np.asarray(x).tobytes() == np.asarray(y).tobytes()
    return carried_values.same(x.tolist(), y.tolist())


# -- values -----------------------------------------------------------------------------------------------------------


def timestamp(number: int, unit: str, zone: Any) -> Any:
    made = pd.Timestamp(np.array(number).astype(f"M8[{unit}]")[()])
    return made if zone is None else made.tz_localize("UTC").tz_convert(zone)


timestamps = st.builds(timestamp, instants, st.sampled_from(UNITS), st.none() | zones)
timedeltas = st.builds(
    lambda number, unit: pd.Timedelta(np.timedelta64(number, unit)), instants, st.sampled_from(UNITS)
)
periods = st.builds(
    lambda at, span: pd.Period(ordinal=at, freq=pd.PeriodDtype(span).freq), st.integers(0, 9000), st.sampled_from(SPANS)
)
singles: st.SearchStrategy[Any] = (
    timestamps | timedeltas | periods | st.sampled_from([pd.NaT, pd.NA, pd.Interval(0.5, 2, closed="both")])
)


@cache
def columns(length: int) -> st.SearchStrategy[Any]:
    """Values of a column of so many rows."""

    def some(each: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(each, min_size=length, max_size=length)

    def arrays(each: st.SearchStrategy[Any], *dtypes: Any) -> st.SearchStrategy[Any]:
        return st.builds(lambda values, dtype: pd.array(values, dtype=dtype), some(each), st.sampled_from(dtypes))

    small, texts = st.integers(0, 100), st.text("ab\0é", max_size=3)
    numbers = st.builds(
        np.array,
        some(small),
        st.sampled_from(["i1", ">i4", "f2", "f8", "c16", "?"]),
    )
    times = st.builds(
        lambda values, kind, unit: np.array(values, "i8").view(f"{kind}8[{unit}]"),
        some(instants | st.just(-(2**63))),
        st.sampled_from("mM"),
        st.sampled_from(UNITS),
    )
    zoned = st.builds(
        lambda values, zone: pd.DatetimeIndex(values.view("M8[us]")).tz_localize("UTC").tz_convert(zone).array,
        some(instants).map(lambda values: np.array(values, "i8")),
        zones,
    )
    spans = st.builds(
        lambda values, span: pd.arrays.PeriodArray(np.array(values, "i8"), dtype=pd.PeriodDtype(span)),
        some(small),
        st.sampled_from(SPANS),
    )
    between = st.builds(
        lambda values, closed, kind: pd.arrays.IntervalArray.from_arrays(
            np.array(values).astype(kind), np.array(values).astype(kind), closed=closed
        ),
        some(small),
        st.sampled_from(["left", "right", "both", "neither"]),
        st.sampled_from(["i8", "f8", "M8[s]", "m8[ns]"]),
    )
    categories = st.builds(
        lambda codes, each, ordered: pd.Categorical.from_codes(codes, categories=each, ordered=ordered),
        some(st.integers(-1, 2)),
        st.sampled_from(
            [
                pd.Index(["b", "a", "c"], name="letters"),
                pd.Index([3, 1, 2]),
                pd.Index([1, "a", (2, 3)], dtype=object),
                pd.date_range("2020", periods=3, freq="D", tz="Europe/Berlin"),
                pd.interval_range(0, 3),
                pd.Index(["a", "b", "c"], dtype=pd.StringDtype("python")),
            ]
        ),
        st.booleans(),
    )
    objects = some(carried_values.scalars | singles).map(lambda values: np.fromiter(values, object, len(values)))
    return (
        numbers
        | times
        | zoned
        | spans
        | between
        | categories
        | objects
        | arrays(small | st.none(), "Int8", "UInt64", "Float32", "Float64")
        | arrays(st.booleans() | st.none(), "boolean")
        | arrays(
            texts | st.none(), "str", *(pd.StringDtype(s, na) for s in ("python", "pyarrow") for na in (pd.NA, np.nan))
        )
    )


labels = st.none() | st.integers() | st.text(max_size=3) | st.tuples(st.integers(), st.text(max_size=2))


@cache
def many_levels(length: int) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda levels, codes, names, order: (
            pd.MultiIndex(levels, codes, names=names).sortlevel(order)[0]
            if order is not None
            else pd.MultiIndex(levels, codes, names=names)
        ),
        st.just([["b", "a"], [3, 1], pd.date_range("2020", periods=2, freq="h")]),
        st.lists(st.lists(st.integers(-1, 1), min_size=length, max_size=length), min_size=3, max_size=3),
        st.lists(labels, min_size=3, max_size=3),
        st.none() | st.integers(0, 2),
    )


@cache
def indexes(length: int) -> st.SearchStrategy[Any]:
    ranges = st.builds(
        lambda start, step, name: pd.RangeIndex(start, start + length * step, step, name=name),
        st.integers(-9, 9),
        st.sampled_from([1, -2, 7]),
        labels,
    )
    repeating = st.builds(
        lambda frequency, zone: pd.date_range("2020-02-29", periods=length, freq=frequency, tz=zone),
        st.sampled_from(FREQUENCIES),
        st.none() | zones,
    )
    spans = st.builds(lambda by: pd.timedelta_range("1h", periods=length, freq=by), st.sampled_from(["h", "D", "90s"]))
    held = columns(length).filter(lambda values: values.dtype not in (np.dtype("f2"), np.dtype(">i4")))
    named = st.builds(lambda values, name: pd.Index(values, dtype=values.dtype, name=name), held, labels)
    return ranges | repeating | spans | named | many_levels(length)


attributes = st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.integers()), max_size=2)


def marked(value: Any, attrs: dict[Any, Any], unique: bool) -> Any:
    value.attrs = attrs
    with contextlib.suppress(Exception):  # two labels are one, or pandas cannot look for some
        for axis in value.axes:
            hash(tuple(axis))
        return value.set_flags(allows_duplicate_labels=not unique)
    return value


def frame_of(index: Any, held: list[Any], names: Any) -> Any:
    made = {
        i: pd.Series(each, index=index, dtype=object) if each.dtype == object else each for i, each in enumerate(held)
    }
    frame = pd.DataFrame(made, index=index)
    frame.columns = names
    return frame


@st.composite
def frames(draw: st.DrawFn) -> Any:
    rows, wide = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    held = draw(st.lists(columns(rows), min_size=wide, max_size=wide))
    frame = frame_of(draw(indexes(rows)), held, draw(indexes(wide)))
    return marked(frame, draw(attributes), draw(st.booleans()))


@st.composite
def series(draw: st.DrawFn) -> Any:
    rows = draw(st.integers(0, 4))
    held = draw(columns(rows))
    made = pd.Series(held, index=draw(indexes(rows)), name=draw(labels), dtype=held.dtype)
    return marked(made, draw(attributes), draw(st.booleans()))


uniform = st.builds(
    lambda dtype, shape, order: pd.DataFrame(np.arange(shape[0] * shape[1]).reshape(shape, order=order).astype(dtype)),
    st.sampled_from(["f8", "i2", "?", "c8", ">f4"]),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.sampled_from("CF"),
)
values = (
    frames()
    | series()
    | uniform
    | singles
    | st.integers(0, 4).flatmap(indexes)
    | st.integers(0, 4).flatmap(columns).filter(lambda each: type(each) is not np.ndarray)
)
