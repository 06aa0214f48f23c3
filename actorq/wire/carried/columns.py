"""pandas: the values of a column or an index, as numpy arrays and plain data.

The one idea: nothing but what pandas says of them in public, so that what cannot be seen (the value under a missing
one, a pool of strings) does not travel; and pandas makes no values of other values here, since each column arrives with
its type already.
"""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Sequence
from types import NoneType
from typing import Any

from actorq.errors import CodecError
from actorq.wire.carried.arrays import array_of
from actorq.wire.carried.arrays import plain_array as inline_array
from actorq.wire.carried.moments import UNITS, library, period_dtype, plain_period_frequency
from actorq.wire.carried.outside import outside
from actorq.wire.carried.standard import from_plain_zone, plain_zone

_NONE = "The data holds a column of pandas that is none."
#: what numpy calls the types of elements that pandas has columns of
_KINDS = frozenset("biufcmM")
#: of what a message quotes, characters
_SHOWN = 200
#: values of one hash in what pandas makes a table of; as many as a dict may have
_LONGEST_CHAIN = 128


def plain_column(values: Any) -> list[Any]:
    """The values of a column: a numpy array of one axis, or one of pandas' own arrays."""
    numpy = sys.modules["numpy"]
    if type(values) is numpy.ndarray:
        if values.dtype == object:
            return ["object", values.tolist()]
        if values.dtype.kind not in _KINDS:
            raise CodecError(f"A column of pandas of dtype {values.dtype!r:.{_SHOWN}} is not carried: use astype().")
        return ["numpy", plain_array(values)]
    kind = type(values)
    found: Any = _ENCODERS.get(kind.__name__)
    if found is None or getattr(library().arrays, kind.__name__, None) is not kind:
        raise CodecError(f"{kind.__module__}.{kind.__qualname__} of pandas is not carried: {_instead(kind.__name__)}.")
    plain: list[Any] = found(values)
    return plain


def _instead(name: str) -> str:
    if name == "SparseArray":
        return "pass x.sparse.to_dense(), or numpy.asarray(x)"
    return "pass x.astype(object), or numpy.asarray(x)"


def values_of(holder: Any) -> Any:
    """What a Series or an Index holds, as `plain_column` takes it, without a copy."""
    dtype = holder.dtype
    return holder.to_numpy() if isinstance(dtype, sys.modules["numpy"].dtype) else holder.array


def column_of(plain: Any) -> Any:
    """The inverse of `plain_column`."""
    pandas, (kind, *rest) = library(), plain
    if not isinstance(kind, str) or kind not in _DECODERS:
        raise CodecError(_NONE)
    values = _DECODERS[kind](pandas, *rest)
    if values.ndim != 1:
        raise CodecError(_NONE)
    return values


# -- of numpy ---------------------------------------------------------------------------------------------------------


def plain_array(array: Any) -> list[Any]:
    """An array as plain data, which lies behind the message if it is large."""
    descr, shape, data, order, view = inline_array(array)
    return [descr, shape, outside(data), order, view]


def numbers_of(plain: Any, kinds: frozenset[str] = _KINDS, axes: int = 1) -> Any:
    """An array of numbers or times. Raises `CodecError` for any other."""
    made = array_of(plain)
    if type(made) is not sys.modules["numpy"].ndarray or made.ndim != axes or made.dtype.kind not in kinds:
        raise CodecError(_NONE)
    if made.dtype.kind in "mM" and not (
        made.dtype.isnative and sys.modules["numpy"].datetime_data(made.dtype) in _TIMES
    ):
        raise CodecError(_NONE)
    return made


_TIMES = frozenset((unit, 1) for unit in UNITS)
_INTEGERS = frozenset("i")


def integers_of(plain: Any, *sizes: int) -> Any:
    """An array of integers of so many bytes each, as pandas' compiled code takes them."""
    made = numbers_of(plain, _INTEGERS)
    if not made.dtype.isnative or made.dtype.itemsize not in sizes:
        raise CodecError(_NONE)
    return made


def objects_of(values: Any) -> Any:
    """A list as an array of objects, whatever they are."""
    if type(values) is not list:
        raise CodecError(_NONE)
    return sys.modules["numpy"].fromiter(values, dtype=object, count=len(values))


# -- of pandas --------------------------------------------------------------------------------------------------------


def _plain_masked(values: Any) -> list[Any]:
    missing = values.isna()
    data = values.to_numpy(dtype=values.dtype.numpy_dtype, na_value=0)
    return ["masked", values.dtype.name, plain_array(data), plain_array(missing) if missing.any() else None]


def _masked(pandas: Any, name: Any, data: Any, missing: Any) -> Any:
    numbers = numbers_of(data)
    mask = sys.modules["numpy"].zeros(len(numbers), bool) if missing is None else numbers_of(missing, frozenset("b"))
    arrays = {"b": pandas.arrays.BooleanArray, "f": pandas.arrays.FloatingArray}
    kind = arrays.get(numbers.dtype.kind, pandas.arrays.IntegerArray)
    if mask.shape != numbers.shape or not numbers.dtype.isnative:
        raise CodecError(_NONE)
    made = kind(numbers, mask, copy=False)
    if made.dtype.name != name:
        raise CodecError(_NONE)
    return made


def _plain_strings(values: Any) -> list[Any]:
    dtype = values.dtype
    if type(values).__name__ == "ArrowStringArray":
        held = values.__arrow_array__()
        if len(values) > _FEW_TEXTS:
            return ["texts", dtype.na_value is library().NA, held]
        listed = held.to_pylist()  # to ask pandas for the texts takes 90 us more
    else:
        listed = values.to_numpy(dtype=object, na_value=None).tolist()
    return ["str", dtype.storage, dtype.na_value is library().NA, listed]


def _strings(pandas: Any, storage: Any, marked: Any, values: Any) -> Any:
    if storage not in ("python", "pyarrow") or type(values) is not list or not set(map(type, values)) <= _TEXTS:
        raise CodecError(_NONE)
    if storage == "python":
        return pandas.array(values, dtype=_string_dtype(pandas, storage, marked))
    dtype = _string_dtype(pandas, storage, marked)
    arrow = importlib.import_module("pyarrow")  # a fixed name; pandas has found it
    return pandas.arrays.ArrowStringArray(arrow.array(values, type=arrow.large_string()), dtype=dtype)


def _string_dtype(pandas: Any, storage: str, marked: Any) -> Any:
    try:
        return pandas.StringDtype(storage, na_value=pandas.NA if marked else float("nan"))
    except ImportError:
        raise CodecError("The data holds text that pandas keeps in pyarrow, which is not installed here.") from None


_TEXTS = {str, NoneType}
#: a stream of Arrow takes 100 us, a list of texts 100 ns for each
_FEW_TEXTS = 1_000


def _texts(pandas: Any, marked: Any, held: Any) -> Any:
    return pandas.arrays.ArrowStringArray(held, dtype=_string_dtype(pandas, "pyarrow", marked))


def _plain_categories(values: Any) -> list[Any]:
    from actorq.wire.carried.labels import plain_index

    if type(values.categories) is library().MultiIndex:
        raise CodecError("A pandas.Categorical of a MultiIndex is not carried: pass x.astype(object).")
    codes = sys.modules["numpy"].asarray(values.codes)
    return ["category", plain_array(codes), plain_index(values.categories), bool(values.ordered)]


def _categories(pandas: Any, codes: Any, categories: Any, ordered: Any) -> Any:
    from actorq.wire.carried.labels import index_of

    numbers, index = integers_of(codes, 1, 2, 4, 8), index_of(categories)
    if isinstance(index, pandas.MultiIndex) or index.hasnans or type(ordered) is not bool:
        raise CodecError(_NONE)
    check_unique(index)
    # pandas looks itself whether they are unique, in a table that takes quadratic time for numbers made for it
    dtype = pandas.CategoricalDtype._from_fastpath(index, ordered)
    made = pandas.Categorical.from_codes(numbers, dtype=dtype)  # checks that each is the place of a category
    if made.codes.dtype != numbers.dtype:
        raise CodecError(_NONE)
    return made


def _plain_times(values: Any) -> list[Any]:
    zone = getattr(values.dtype, "tz", None)
    times = values.asi8.view(f"{'m' if values.dtype.kind == 'm' else 'M'}8[{values.unit}]")
    return ["times", plain_array(times), None if zone is None else plain_zone(zone)]


def _times(pandas: Any, plain: Any, zone: Any) -> Any:
    numbers = numbers_of(plain, frozenset("mM"))
    if zone is None:
        return pandas.array(numbers, dtype=numbers.dtype, copy=False)
    return pandas.DatetimeIndex(numbers, copy=False).tz_localize("UTC").tz_convert(from_plain_zone(zone)).array


def _plain_periods(values: Any) -> list[Any]:
    return ["periods", plain_period_frequency(values.dtype), plain_array(values.asi8)]


def _periods(pandas: Any, frequency: Any, ordinals: Any) -> Any:
    return pandas.arrays.PeriodArray(integers_of(ordinals, 8), dtype=period_dtype(frequency))


def _plain_intervals(values: Any) -> list[Any]:
    return ["intervals", plain_column(values_of(values.left)), plain_column(values_of(values.right)), values.closed]


def _intervals(pandas: Any, left: Any, right: Any, closed: Any) -> Any:
    sides = [pandas.Index(column_of(side), copy=False) for side in (left, right)]
    if sides[0].dtype != sides[1].dtype or sides[0].dtype == object:
        raise CodecError(_NONE)
    return pandas.arrays.IntervalArray.from_arrays(*sides, closed=closed)


def _plain_arrow(values: Any) -> list[Any]:
    return ["arrow", values.__arrow_array__()]


def _arrow(pandas: Any, values: Any) -> Any:
    return pandas.arrays.ArrowExtensionArray(values)


# -- what pandas makes tables of --------------------------------------------------------------------------------------


def check_hashes(values: Sequence[Any]) -> None:
    """Raises `CodecError` where too many of the values, of which pandas makes a table, have one hash."""
    if len(values) <= _LONGEST_CHAIN:
        return
    if max(Counter(map(hash, values)).values()) > _LONGEST_CHAIN:
        raise CodecError(f"The data has an index of {len(values)} labels of which too many have the same hash.")


def check_unique(index: Any) -> None:
    """Raises `CodecError` where two labels are one. It sorts: a table of numbers can be made to take quadratic time."""
    if type(index) is library().MultiIndex:
        codes = sys.modules["numpy"].stack(index.codes)
        values = codes.T.copy().view(f"V{codes.shape[0] * codes.itemsize}").ravel()
    elif type(index) is library().RangeIndex:
        return
    else:
        values = values_of(index)
    if isinstance(values, sys.modules["numpy"].ndarray) and values.dtype != object:
        different = len(sys.modules["numpy"].unique(values))
    else:
        different = _different(list(index))
    if different != len(index):
        raise CodecError("The data holds labels of pandas of which two are one.")


def _different(labels: list[Any]) -> int:
    try:
        check_hashes(labels)
        return len(set(labels))
    except TypeError as error:
        raise CodecError(f"Labels of pandas that are to be unique are not carried: {error!s:.{_SHOWN}}.") from None


_ENCODERS = {
    **dict.fromkeys(("IntegerArray", "FloatingArray", "BooleanArray"), _plain_masked),
    **dict.fromkeys(("StringArray", "ArrowStringArray"), _plain_strings),
    **dict.fromkeys(("DatetimeArray", "TimedeltaArray"), _plain_times),
    "Categorical": _plain_categories,
    "PeriodArray": _plain_periods,
    "IntervalArray": _plain_intervals,
    "ArrowExtensionArray": _plain_arrow,
    "NumpyExtensionArray": lambda values: ["plain", plain_column(values.to_numpy())],
}
_DECODERS: dict[str, Any] = {
    "object": lambda pandas, values: objects_of(values),
    "numpy": lambda pandas, plain: numbers_of(plain),
    "plain": lambda pandas, plain: pandas.arrays.NumpyExtensionArray(column_of(plain)),
    "masked": _masked,
    "str": _strings,
    "texts": _texts,
    "category": _categories,
    "times": _times,
    "periods": _periods,
    "intervals": _intervals,
    "arrow": _arrow,
}
