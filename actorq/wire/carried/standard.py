"""Values of the standard library's types.

The one idea: a type is carried as itself, never as its base. An encoder is found by the exact type of a value and gives
the code of an extension and plain data; the decoder of that code makes an equal value of the same type from it.
"""

from __future__ import annotations

import datetime as dt
import decimal
import pathlib
import re
import sys
import uuid
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import msgpack

from actorq.errors import CodecError
from actorq.wire import extensions as ext

#: an extension's code, and the plain data in it; or the extension, where its data are bytes
Encoded = tuple[int, Any]
Encoder = Callable[[Any], Encoded]
Decoder = Callable[[Any], Any]

T = TypeVar("T")


class ByClass(dict["weakref.ref[type]", T]):
    """What is known of classes. It goes with them: a replica runs version after version of the code.

    A `WeakKeyDictionary` takes four times as long to look into.
    """

    def of(self, kind: type) -> T | None:
        return self.get(weakref.ref(kind))

    def keep(self, kind: type, known: T) -> T:
        self[weakref.ref(kind, self._drop)] = known
        return known

    def _drop(self, gone: weakref.ref[type]) -> None:
        self.pop(gone, None)


#: names of time zones; what is read for one is a file of the system's or of the package tzdata
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,3}")

_PURE_PATHS = {"posix": pathlib.PurePosixPath, "windows": pathlib.PureWindowsPath}
#: a `Path` arrives as the receiver's own kind of path: it names a file
_PATH = type(pathlib.Path())


def _datetime(value: dt.datetime) -> Encoded:
    zone = value.tzinfo
    if zone is None:
        return ext.DATETIME, [value.isoformat(), value.fold]
    if zone is dt.UTC:
        return ext.DATETIME, [value.isoformat(), value.fold]
    return ext.ZONED, [value.replace(tzinfo=None).isoformat(), plain_zone(zone), value.fold]


def _from_zoned(value: Any) -> dt.datetime:
    text, zone, fold = value
    return dt.datetime.fromisoformat(text).replace(tzinfo=from_plain_zone(zone), fold=fold)


def _time(value: dt.time) -> Encoded:
    plain = value.replace(tzinfo=None).isoformat()
    return ext.TIME, [plain, value.fold] if value.tzinfo is None else [plain, value.fold, plain_zone(value.tzinfo)]


def _from_time(value: Any) -> dt.time:
    text, fold, *zone = value
    return dt.time.fromisoformat(text).replace(fold=fold, tzinfo=from_plain_zone(*zone) if zone else None)


def plain_zone(zone: dt.tzinfo) -> Any:
    """A time zone as plain data: its key, so that the rule travels and not today's offset, or an offset and a name."""
    kind = type(zone)
    if kind is dt.timezone:
        offset = zone.utcoffset(None)
        assert offset is not None
        name = zone.tzname(None)
        plain = [offset.days, offset.seconds, offset.microseconds]
        return plain if name == dt.timezone(offset).tzname(None) else [*plain, name]
    key = getattr(zone, "key", None)
    if (loaded := sys.modules.get("zoneinfo")) is not None and kind is loaded.ZoneInfo and key:
        return key
    if f"{kind.__module__}.{kind.__qualname__}" == "dateutil.tz.tz.tzutc":
        return {"dateutil": "UTC"}
    raise CodecError(
        f"The time zone {zone!r:.100} is a {kind.__module__}.{kind.__qualname__}, which is not carried: use "
        "zoneinfo.ZoneInfo, or datetime.timezone for an offset: value.replace(tzinfo=zoneinfo.ZoneInfo(...))."
    )


def from_plain_zone(plain: Any) -> dt.tzinfo:
    if isinstance(plain, list):
        days, seconds, microseconds, *name = plain
        return dt.timezone(dt.timedelta(days, seconds, microseconds), *name)
    if plain == {"dateutil": "UTC"}:
        if (dateutil := sys.modules.get("dateutil.tz")) is None:
            raise CodecError("The data holds a time zone of dateutil.tz, which is not imported here: import it.")
        utc: dt.tzinfo = dateutil.UTC
        return utc
    if not (isinstance(plain, str) and _ZONE.fullmatch(plain)):
        raise CodecError("The data holds a time zone whose name is none.")
    from zoneinfo import ZoneInfo  # a fixed name, not one from the data; 5 ms that most programs need not spend

    return ZoneInfo(plain)


def _pure_path(value: pathlib.PurePath) -> Encoded:
    text = str(value)
    if type(value)(text) != value:  # as of PureWindowsPath("//a/")
        raise CodecError(f"{value!r} is written as {text!r}, which is another path: pass its parts.")
    return ext.PUREPATH, ["posix" if type(value) is pathlib.PurePosixPath else "windows", text]


ENCODERS: dict[type, Encoder] = {
    tuple: lambda v: (ext.TUPLE, list(v)),
    set: lambda v: (ext.SET, list(v)),
    frozenset: lambda v: (ext.FROZENSET, list(v)),
    dt.datetime: _datetime,
    dt.date: lambda v: (ext.DATE, v.isoformat()),
    dt.time: _time,
    dt.timedelta: lambda v: (ext.TIMEDELTA, [v.days, v.seconds, v.microseconds]),
    dt.timezone: lambda v: (ext.TIMEZONE, plain_zone(v)),
    decimal.Decimal: lambda v: (ext.DECIMAL, str(v)),
    uuid.UUID: lambda v: msgpack.ExtType(ext.UUID, v.bytes),
    complex: lambda v: (ext.COMPLEX, [v.real, v.imag]),
    range: lambda v: (ext.RANGE, [v.start, v.stop, v.step]),
    int: lambda v: msgpack.ExtType(ext.BIGINT, v.to_bytes(v.bit_length() // 8 + 1, "big", signed=True)),
    _PATH: lambda v: (ext.PATH, str(v)),
    pathlib.PurePosixPath: _pure_path,
    pathlib.PureWindowsPath: _pure_path,
}
#: types whose values hold no others; what lies in one another is counted, see `nesting.py`
LEAVES: frozenset[type] = frozenset(ENCODERS) - {tuple, set, frozenset}

DECODERS: dict[int, Decoder] = {
    ext.TUPLE: tuple,
    ext.SET: set,
    ext.FROZENSET: frozenset,
    ext.DATETIME: lambda v: dt.datetime.fromisoformat(v[0]).replace(fold=v[1]),
    ext.ZONED: _from_zoned,
    ext.DATE: dt.date.fromisoformat,
    ext.TIME: _from_time,
    ext.TIMEDELTA: lambda v: dt.timedelta(v[0], v[1], v[2]),
    ext.TIMEZONE: from_plain_zone,
    ext.DECIMAL: decimal.Decimal,
    ext.PATH: pathlib.Path,
    ext.PUREPATH: lambda v: _PURE_PATHS[v[0]](v[1]),
    ext.COMPLEX: lambda v: complex(v[0], v[1]),
    ext.RANGE: lambda v: range(v[0], v[1], v[2]),
}
