"""pandas: frames, series, indexes, arrays and single values.

The one idea: a frame is its axes and its columns. Each column travels as what it holds, objects each by their own rule,
so that nothing goes through a format that knows fewer types. Numbers are read where they lie in the message, so they
arrive read-only; see `writable_arrays`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried import moments
from actorq.wire.carried.columns import check_unique, column_of, numbers_of, plain_array, plain_column, values_of
from actorq.wire.carried.labels import CLASSES, check_attributes, index_of, plain_index
from actorq.wire.carried.moments import library
from actorq.wire.carried.standard import Encoded, Encoder

_NONE = "The data holds a frame of pandas that is none."
#: what numpy calls the types of elements of which a frame has one array
_KINDS = frozenset("biufc")
#: pandas' arrays, which a user may hold by themselves. The others are refused by name
_ARRAYS = frozenset(
    (
        *("IntegerArray", "FloatingArray", "BooleanArray", "StringArray", "ArrowStringArray", "DatetimeArray"),
        *("TimedeltaArray", "PeriodArray", "IntervalArray", "ArrowExtensionArray", "NumpyExtensionArray"),
        *("SparseArray", "Categorical"),
    )
)


# -- frames -----------------------------------------------------------------------------------------------------------


def _plain_frame(frame: Any) -> list[Any]:
    check_attributes(frame)
    return ["frame", plain_index(frame.columns), plain_index(frame.index), _plain_content(frame), *_marks(frame)]


def _marks(value: Any) -> list[Any]:
    """What is written on a frame or series."""
    may_repeat = bool(value.flags.allows_duplicate_labels)
    if not may_repeat:
        _check_axes(value)
    return [] if not value.attrs and may_repeat else [value.attrs, may_repeat]


def _check_axes(value: Any) -> None:
    for axis in value.axes:
        check_unique(axis)


def _plain_content(frame: Any) -> list[Any]:
    """One array where all columns are numbers of one type, else column after column."""
    dtypes = set(frame.dtypes)
    if len(dtypes) == 1 and frame.size and getattr(next(iter(dtypes)), "kind", "") in _KINDS:
        array = frame.to_numpy()
        if array.dtype in dtypes:
            return ["array", plain_array(array)]
    return ["columns", [plain_column(values_of(column)) for _, column in frame.items()]]


def _frame_of(columns: Any, index: Any, content: Any, *marks: Any) -> Any:
    pandas, labels, rows = library(), index_of(columns), index_of(index)
    how, plain = content
    if how == "array":
        array = numbers_of(plain, _KINDS, axes=2)
        if not array.size or array.shape != (len(rows), len(labels)):
            raise CodecError(_NONE)
        return _marked(pandas.DataFrame(array, index=rows, columns=labels, copy=False), marks)
    if how != "columns" or len(plain) != len(labels):
        raise CodecError(_NONE)
    made = {}
    for place, each in enumerate(plain):
        values = column_of(each)
        if len(values) != len(rows):
            raise CodecError(_NONE)
        made[place] = _series_of_objects(pandas, values, rows) if values.dtype == object else values
    frame = pandas.DataFrame(made, index=rows, copy=False)
    frame.columns = labels
    return _marked(frame, marks)


def _series_of_objects(pandas: Any, values: Any, rows: Any) -> Any:
    """Objects as they are: of an array of texts pandas makes one of its type `str`."""
    return pandas.Series(values, index=rows, dtype=object, copy=False)


def _marked(made: Any, marks: tuple[Any, ...]) -> Any:
    if marks:
        attributes, may_repeat = marks
        if type(attributes) is not dict or type(may_repeat) is not bool:
            raise CodecError(_NONE)
        made.attrs = attributes
        if not may_repeat:
            _check_axes(made)
            # pandas would look itself, in a table that takes quadratic time for numbers made for it
            made.flags._allows_duplicate_labels = False
    return made


# -- series and arrays ------------------------------------------------------------------------------------------------


def _plain_series(series: Any) -> list[Any]:
    check_attributes(series)
    return ["series", series.name, plain_index(series.index), plain_column(values_of(series)), *_marks(series)]


def _one_series(name: Any, index: Any, content: Any, *marks: Any) -> Any:
    values, rows = column_of(content), index_of(index)
    if len(values) != len(rows):
        raise CodecError(_NONE)
    return _marked(library().Series(values, index=rows, name=name, dtype=values.dtype, copy=False), marks)


def _plain_values(array: Any) -> list[Any]:
    if getattr(array, "freq", None) is not None and type(array).__name__ in ("DatetimeArray", "TimedeltaArray"):
        raise CodecError(f"A pandas {type(array).__name__} with a frequency is not carried: pass pandas.Index(x).")
    if array.ndim != 1:
        raise CodecError(f"A pandas {type(array).__name__} of {array.ndim} axes is not carried: pass numpy.asarray(x).")
    return ["array", plain_column(array)]


_ENCODERS: dict[str, Any] = {
    "DataFrame": _plain_frame,
    "Series": _plain_series,
    "Timestamp": lambda value: ["timestamp", *moments.plain_timestamp(value)],
    "Timedelta": lambda value: ["timedelta", *moments.plain_timedelta(value)],
    "Period": lambda value: ["period", *moments.plain_period(value)],
    "Interval": lambda value: ["interval", *moments.plain_interval(value)],
    **dict.fromkeys(CLASSES, lambda index: ["index", plain_index(index)]),
}
_DECODERS: dict[str, Any] = {
    "frame": _frame_of,
    "series": _one_series,
    "array": column_of,
    "index": index_of,
    "timestamp": lambda *plain: moments.timestamp_of(plain),
    "timedelta": lambda *plain: moments.timedelta_of(plain),
    "period": lambda *plain: moments.period_of(plain),
    "interval": lambda *plain: moments.interval_of(plain),
    "NaT": lambda: library().NaT,
    "NA": lambda: library().NA,
}
_CLASSES: dict[str, str] = {
    "timestamp": "Timestamp",
    "timedelta": "Timedelta",
    "period": "Period",
    "interval": "Interval",
}


def encoder(kind: type) -> Encoder | None:
    """What encodes values of exactly this type."""
    pandas = library()
    for missing in ("NaT", "NA"):
        if kind is type(getattr(pandas, missing)):
            return _as([missing])
    if getattr(pandas, kind.__name__, None) is kind and (plain := _ENCODERS.get(kind.__name__)) is not None:
        return _encoded_by(plain)
    if kind.__name__ in _ARRAYS and getattr(pandas.arrays, kind.__name__, None) is kind:
        return _encoded_by(_plain_values)
    return None


def _as(plain: list[Any]) -> Encoder:
    return lambda value: (ext.PANDAS, plain)


def _encoded_by(plain: Any) -> Encoder:
    def encode(value: Any) -> Encoded:
        return ext.PANDAS, plain(value)

    return encode


def _decode(plain: Any) -> Any:
    kind, *content = plain
    if not isinstance(kind, str) or kind not in _DECODERS:
        raise CodecError("The data holds a value of pandas that is none.")
    made = _DECODERS[kind](*content)
    if kind in _CLASSES and type(made).__name__ != _CLASSES[kind]:
        raise CodecError("The data holds a value of pandas that is none.")
    return made


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What lies in a frame or series and the steps to it, for a message."""
    pandas = library()
    if isinstance(value, pandas.DataFrame):
        yield from ((f"[{name!r:.40}]", column) for name, column in value.items())
    elif isinstance(value, pandas.Series) and value.dtype == object:
        yield from ((f".iloc[{place}]", part) for place, part in enumerate(value.to_numpy()))


DECODERS = {ext.PANDAS: _decode}
