"""pandas: its moments, spans of time and intervals, one by one, and what says how they repeat.

The one idea: a number of units since 1970, the unit, and the zone. What is made again of it is compared with the value
before it leaves: what pandas would round or shift is refused.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from actorq.errors import CodecError
from actorq.wire.carried.standard import from_plain_zone, plain_zone

#: the units that pandas has
UNITS = ("s", "ms", "us", "ns")
#: how often something repeats, as pandas writes it. Not the custom ones, which begin with a C: they hold a calendar of
#: their own, and to check an index against it takes 0.2 ms an element
_FREQUENCY = re.compile(r"-?\d{0,9}(?![Cc])[A-Za-z]{1,5}(-[A-Z0-9]{1,4}){0,3}")
_NO_FREQUENCY = "The data holds a frequency of pandas that is none."
#: of what a message quotes of the data, characters
_SHOWN = 100


def library() -> Any:
    """Pandas. Raises `CodecError` where it is not installed."""
    try:
        return importlib.import_module("pandas")  # a fixed name, not one from the data
    except ImportError:
        raise CodecError("The data holds a value of pandas, and pandas is not installed here: install it.") from None


# -- frequencies ------------------------------------------------------------------------------------------------------


def plain_frequency(offset: Any, what: str) -> str | None:
    """How often something repeats, as text. Raises `CodecError` where that does not say all; `what` would do."""
    if offset is None:
        return None
    text = str(offset.freqstr)
    try:
        if offset_of(text) == offset and not getattr(offset, "normalize", False):
            return text
    except (CodecError, ValueError):
        pass
    raise CodecError(f"The frequency {offset!r:.{_SHOWN}} of pandas is not carried: pass {what}.")


def offset_of(text: Any) -> Any:
    """The inverse."""
    if text is None:
        return None
    if not (isinstance(text, str) and _FREQUENCY.fullmatch(text)):
        raise CodecError(_NO_FREQUENCY)
    return library().tseries.frequencies.to_offset(text)


def period_dtype(text: Any) -> Any:
    """The type of periods of that frequency."""
    if not (isinstance(text, str) and _FREQUENCY.fullmatch(text)):
        raise CodecError(_NO_FREQUENCY)
    return library().PeriodDtype(text)


def plain_period_frequency(dtype: Any) -> str:
    """The inverse. Raises `CodecError` where the text does not say all."""
    text = str(dtype.name).removeprefix("period[").removesuffix("]")
    if not _FREQUENCY.fullmatch(text) or period_dtype(text) != dtype:
        raise CodecError(f"Periods of {dtype!r:.{_SHOWN}} are not carried: pass x.to_timestamp().")
    return text


# -- one by one -------------------------------------------------------------------------------------------------------


def plain_timestamp(value: Any) -> list[Any]:
    zone = None if value.tzinfo is None else plain_zone(value.tzinfo)
    plain = [int(value.asm8.view("i8")), value.unit, zone, value.fold]
    made = timestamp_of(plain)
    if made != value or made.fold != value.fold or type(made.tzinfo) is not type(value.tzinfo):
        raise CodecError(f"The pandas.Timestamp {value!r:.{_SHOWN}} is not carried: pass x.to_pydatetime().")
    return plain


def timestamp_of(plain: Any) -> Any:
    number, unit, zone, fold = plain
    _check_number(number, unit)
    made = library().Timestamp(sys.modules["numpy"].datetime64(number, unit))
    if zone is not None:
        return made.tz_localize("UTC").tz_convert(from_plain_zone(zone))
    return made.replace(fold=1) if fold else made


def plain_timedelta(value: Any) -> list[Any]:
    return [int(value.asm8.view("i8")), value.unit]


def timedelta_of(plain: Any) -> Any:
    number, unit = plain
    _check_number(number, unit)
    return library().Timedelta(sys.modules["numpy"].timedelta64(number, unit))


def _check_number(number: Any, unit: Any) -> None:
    if type(number) is not int or unit not in UNITS or not -(2**63) < number < 2**63:
        raise CodecError("The data holds a time of pandas that is none.")


def plain_period(value: Any) -> list[Any]:
    return [value.ordinal, plain_period_frequency(library().PeriodDtype(value.freq))]


def period_of(plain: Any) -> Any:
    ordinal, frequency = plain
    if type(ordinal) is not int:
        raise CodecError("The data holds a period of pandas that is none.")
    return library().Period(ordinal=ordinal, freq=period_dtype(frequency).freq)


def plain_interval(value: Any) -> list[Any]:
    return [value.left, value.right, value.closed]


def interval_of(plain: Any) -> Any:
    left, right, closed = plain
    return library().Interval(left, right, closed)
