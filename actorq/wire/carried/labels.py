"""pandas: the labels of an axis.

The one idea: an index is what it holds, as a column, with its names and its frequency; pandas finds the class that fits
what it holds, and another one than was sent is an error.
"""

from __future__ import annotations

import sys
from typing import Any

from actorq.errors import CodecError
from actorq.wire.carried.columns import check_unique, column_of, integers_of, plain_array, plain_column, values_of
from actorq.wire.carried.moments import library, offset_of, plain_frequency

CLASSES = (
    "Index",
    "RangeIndex",
    "MultiIndex",
    "DatetimeIndex",
    "TimedeltaIndex",
    "PeriodIndex",
    "IntervalIndex",
    "CategoricalIndex",
)
_NONE = "The data holds an index of pandas that is none."
#: levels of one index; numpy has as many axes
_MOST_LEVELS = 64


def check_attributes(value: Any) -> None:
    """Raises `CodecError` for an object of pandas that has been given attributes: pandas itself loses them."""
    own = {"sortorder", *getattr(type(value), "_accessors", ())}
    for name in vars(value):
        if not name.startswith("_") and name not in own:
            raise CodecError(f"A pandas.{type(value).__name__} with an attribute {name!r:.100} is not carried: del it.")


def plain_index(index: Any) -> list[Any]:
    kind = type(index)
    if kind.__name__ not in CLASSES or getattr(library(), kind.__name__) is not kind:
        raise CodecError(f"{kind.__module__}.{kind.__qualname__} is no index that is carried: pass pandas.Index(x).")
    check_attributes(index)
    if kind.__name__ == "RangeIndex":
        return ["RangeIndex", index.name, index.start, index.stop, index.step]
    if kind.__name__ == "MultiIndex":
        levels = [plain_index(level) for level in index.levels]
        codes = [plain_array(sys.modules["numpy"].asarray(codes)) for codes in index.codes]
        return ["MultiIndex", list(index.names), levels, codes, index.sortorder]
    plain = [kind.__name__, index.name, plain_column(values_of(index))]
    if kind.__name__ in ("DatetimeIndex", "TimedeltaIndex") and index.freq is not None:
        return [*plain, plain_frequency(index.freq, "x._with_freq(None)")]
    return plain


def index_of(plain: Any) -> Any:
    """The inverse."""
    kind, *rest = plain
    pandas = library()
    if kind == "RangeIndex":
        name, start, stop, step = rest
        if not all(type(each) is int and abs(each) < 1 << 63 for each in (start, stop, step)):
            raise CodecError(_NONE)
        return pandas.RangeIndex(start, stop, step, name=name)
    if kind == "MultiIndex":
        return _many_levels(pandas, *rest)
    name, content, *frequency = rest
    values = column_of(content)
    index = pandas.Index(values, dtype=values.dtype, name=name, copy=False)
    for text in frequency:
        index = type(index)(index, freq=offset_of(text), copy=False)  # looks whether it is so
    if type(index).__name__ != kind or index.dtype != values.dtype:
        raise CodecError(_NONE)
    return index


def _many_levels(pandas: Any, names: Any, levels: Any, codes: Any, order: Any) -> Any:
    if not 0 < len(levels) == len(codes) == len(names) <= _MOST_LEVELS:
        raise CodecError(_NONE)
    made = [index_of(level) for level in levels]
    places = [integers_of(each, 1, 2, 4, 8) for each in codes]
    for level, each in zip(made, places, strict=True):
        if isinstance(level, pandas.MultiIndex) or len(each) != len(places[0]):
            raise CodecError(_NONE)
        if len(each) and not -1 <= each.min() <= each.max() < len(level):
            raise CodecError("The data holds an index of pandas with codes of no label.")
        check_unique(level)
    if order is not None and not _is_sorted(places, order):
        raise CodecError(_NONE)
    # what pandas would look at has been, without a table of the labels
    index = pandas.MultiIndex(made, places, sortorder=order, names=names, verify_integrity=False)
    if any(now.dtype != then.dtype for now, then in zip(index.codes, places, strict=True)):
        raise CodecError(_NONE)
    return index


def _is_sorted(places: list[Any], order: Any) -> bool:
    """Whether the rows are sorted by so many levels."""
    if type(order) is not int or not 0 <= order <= len(places):
        return False
    numpy = sys.modules["numpy"]
    ties = numpy.ones(max(len(places[0]) - 1, 0), bool)
    for each in places[:order]:
        if (ties & (each[1:] < each[:-1])).any():
            return False
        ties &= each[1:] == each[:-1]
    return True
