"""Values of polars, and whether two are the same."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
from hypothesis import strategies as st

#: of what fits in nanoseconds
FIRST, LAST = (dt.datetime.fromisoformat(day) for day in ("1900-01-01", "2200-01-01"))
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    *((kind(), st.integers(0, 100)) for kind in (pl.Int8, pl.Int64, pl.UInt16, pl.UInt64, pl.Int128)),
    (pl.Float32(), st.floats(width=32)),
    (pl.Float64(), st.floats()),
    (pl.Boolean(), st.booleans()),
    (pl.String(), st.text("aé\0", max_size=20)),
    (pl.Binary(), st.binary(max_size=20)),
    (pl.Null(), st.none()),
    (pl.Date(), st.dates()),
    (pl.Time(), st.times()),
    (pl.Datetime("us"), st.datetimes(FIRST, LAST)),
    (
        pl.Datetime("ns", "UTC"),
        st.datetimes(FIRST, LAST, timezones=st.just(dt.UTC)),
    ),
    (pl.Duration("ms"), st.timedeltas(dt.timedelta(0), dt.timedelta(9))),
    (pl.Decimal(9, 2), st.decimals(-99, 99, places=2)),
    (pl.Categorical(), st.sampled_from("abc")),
    (pl.Enum(["c", "a;b", "é"]), st.sampled_from(["c", "a;b", "é"])),
]


def inside(held: tuple[Any, st.SearchStrategy[Any]], how: int) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type that holds another, and its values."""
    kind, values = held
    return [
        (pl.List(kind), st.lists(values | st.none(), max_size=3)),
        (pl.Array(kind, 2), st.lists(values | st.none(), min_size=2, max_size=2)),
        (pl.Struct({"a": kind, "b": pl.Int8()}), st.fixed_dictionaries({"a": values, "b": st.integers(0, 9)})),
    ][how]


kinds = st.sampled_from(TYPES) | st.builds(
    inside, st.sampled_from(TYPES) | st.builds(inside, st.sampled_from(TYPES), st.integers(0, 2)), st.integers(0, 2)
)


@st.composite
def series(draw: st.DrawFn, length: int | None = None) -> Any:
    kind, values = draw(kinds)
    listed = draw(st.lists(st.none() | values, min_size=length or 0, max_size=5 if length is None else length))
    made = pl.Series(draw(st.text("aé", max_size=2)), listed, dtype=kind)
    if length is None and draw(st.booleans()):
        return made.slice(draw(st.integers(0, 2)), draw(st.integers(0, 3)))
    return made


@st.composite
def frames(draw: st.DrawFn) -> Any:
    rows = draw(st.integers(0, 4))
    columns = draw(st.lists(series(rows), max_size=3, unique_by=lambda column: column.name))
    frame = pl.DataFrame(columns)
    return pl.concat([frame, frame]) if draw(st.booleans()) else frame


values = series() | frames()


def same_polars(a: Any, b: Any) -> bool:
    """Whether two values of one type of polars are the same."""
    if isinstance(a, pl.DataFrame):
        return a.schema == b.schema and a.shape == b.shape and all(map(same_polars, a.get_columns(), b.get_columns()))
    return bool(a.name == b.name and a.dtype == b.dtype and repr(a.dtype) == repr(b.dtype)) and repr(
        a.to_list()
    ) == repr(b.to_list())
