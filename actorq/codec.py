"""Values as msgpack: what crosses between processes, and nothing that can run.

msgpack carries None, bool, int, float, str, bytes (a bytearray arrives as bytes), list and dict. Extension types add
what Python users pass without thinking. Classes of the user's own (Enum, dataclass, pydantic) travel as a name and
fields; a receiver looks the name up among the modules it has already imported and builds the object without calling
`__init__`, so bytes from Redis can neither import a module nor run code. Anything else is a `CodecError` that says
where it was found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgpack

from actorq.errors import CodecError, PayloadTooLargeError
from actorq.names import loaded_object, public_module

__all__ = ["pack", "pack_list", "split_list", "unpack", "unpack_list"]

#: nesting of extension types (a set in a tuple in a set…); msgpack itself stops at 511 plain levels
_MAX_DEPTH = 100

#: a packed list may be a range, which is no larger for having many elements: more than these are none of ours
_LONGEST_RANGE = 1 << 20

#: the longest header of a list in msgpack
_HEADER_BYTES = 5

#: steps into a value that a message shows
_SHOWN_DEPTH = 20

#: packers that nobody uses just now; a new one costs as much as packing a small value. Who packs takes one out: a
#: packer must not be used inside itself, by an object's property, or by a signal handler
_spare: list[msgpack.Packer] = []
#: a packer keeps a buffer as large as the largest value it has packed
_SPARE_BYTES = 1 << 16

#: first bytes of an extension type in msgpack
_EXTENSIONS = frozenset(bytes([byte]) for byte in (0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8))

# Extension codes are part of the wire format: never reuse one.
_TUPLE, _SET, _FROZENSET = 1, 2, 3
_DATETIME, _DATE, _TIME, _TIMEDELTA = 4, 5, 6, 7
_DECIMAL, _UUID, _PATH, _COMPLEX, _BIGINT = 8, 9, 10, 11, 12
_ENUM, _DATACLASS, _NDARRAY, _NPSCALAR, _PYDANTIC = 13, 14, 15, 16, 17
_ZONED, _RANGE = 18, 19


def pack(value: Any) -> bytes:
    """`value` as msgpack. Raises `CodecError` that names the type that cannot be carried."""
    try:
        return _packb(value)
    except UnicodeEncodeError:  # a file name that is not UTF-8 holds lone surrogates
        return _packb(value, "surrogatepass")
    except CodecError:
        raise
    except RecursionError:
        raise CodecError("The value is nested too deeply, or contains itself.") from None
    except Exception as error:  # a property or an unset slot of the user's object may raise anything
        raise CodecError(_why(error)) from None


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """The value in `data`. Raises `CodecError` for bytes that are not one complete value of ours."""
    try:
        return msgpack.unpackb(data, ext_hook=_OUTERMOST, strict_map_key=False, use_list=True)
    except UnicodeDecodeError:
        pass
    except CodecError:
        raise
    except RecursionError:
        raise CodecError("The data is nested too deeply.") from None
    except Exception as error:  # hostile bytes can raise nearly anything from a type's constructor
        raise CodecError(f"The data is not a value of actorq: {type(error).__name__}: {error}") from error
    try:
        return msgpack.unpackb(
            data, ext_hook=_OUTERMOST, strict_map_key=False, use_list=True, unicode_errors="surrogatepass"
        )
    except Exception as error:
        raise CodecError(f"The data is not a value of actorq: {type(error).__name__}: {error}") from error


def pack_list(values: Sequence[Any], limit: int, what: Callable[[int], str]) -> bytes:
    """A list, or a range as one, as msgpack.

    An element that cannot be carried, or is above `limit` bytes, is named by `what(position)`.
    """
    try:
        packer = _spare.pop()
    except IndexError:
        packer = msgpack.Packer(default=_encode, strict_types=True)
    try:
        data: bytes = packer.pack(values)
        if len(data) < _SPARE_BYTES:
            _spare.append(packer)
    except Exception:
        data = _packed_or_named(values, what)
    if len(data) > limit:
        for position, value in enumerate(values):
            if (size := len(pack(value))) > limit:
                raise PayloadTooLargeError(
                    f"{what(position)} is {size:,} bytes; the limit is {limit:,} (ACTORQ_MAX_PAYLOAD_BYTES). "
                    "Pass a path or a key to the data instead."
                )
    return data


def _packed_or_named(values: Sequence[Any], what: Callable[[int], str]) -> bytes:
    """The list where only text that is not UTF-8 was in the way; else an error that names the element."""
    try:
        return pack(values)
    except CodecError:
        for position, value in enumerate(values):
            try:
                pack(value)
            except CodecError as error:
                raise CodecError(f"{what(position)}{where(value)} cannot be carried: {error}") from None
        raise


def where(value: Any) -> str:
    """Where in `value` the part is that cannot be carried, for a message; "" when it is the value itself."""
    steps: list[str] = []
    with contextlib.suppress(Exception):  # an object of the user's that refuses to be looked at: as far as we got
        while len(steps) < _SHOWN_DEPTH and (found := _bad_part(value)) is not None:
            steps.append(found[0])
            value = found[1]
    return f" at {''.join(steps)}" if steps else ""


def _bad_part(value: Any) -> tuple[str, Any] | None:
    """The first part of `value` that cannot be carried, and the step to it."""
    for step, part in _parts(value):
        try:
            pack(part)
        except CodecError:
            return step, part
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"[{key!r:.40}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{position}]", part) for position, part in enumerate(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield f".{field.name}", getattr(value, field.name, None)


def unpack_list(data: bytes | bytearray | memoryview) -> list[Any]:
    """The list in `data`. Raises `CodecError` for anything else."""
    values = unpack(data)
    return values if type(values) is list else list(_sequence(values))


def unpack_each(data: bytes | bytearray | memoryview) -> tuple[list[Any] | range, bool]:
    """The list in `data`, in the place of an element that cannot be decoded its `CodecError`; whether there is none.

    What was packed as a range is one.
    """
    try:
        values = unpack(data)
        return values if type(values) is list else _sequence(values), True
    except CodecError:
        return [_value_or_error(part) for part in split_list(bytes(data))], False


def _sequence(values: Any) -> list[Any] | range:
    """`values`, where they are what a packed list may hold."""
    if isinstance(values, list) or (isinstance(values, range) and values[:_LONGEST_RANGE] == values):
        return values
    raise CodecError("The data is not a list.")


def _value_or_error(part: bytes) -> Any:
    try:
        return unpack(part)
    except CodecError as error:
        return error


def split_list(data: bytes) -> list[bytes]:
    """The elements of a packed list, still packed: nothing of the user's is decoded."""
    if data[:1] in _EXTENSIONS:
        return [pack(value) for value in unpack_list(data)]
    unpacker = msgpack.Unpacker(None, max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    parts, start = [], 0
    try:
        count = unpacker.read_array_header()
        start = unpacker.tell()
        for _ in range(count):
            unpacker.skip()
            end = unpacker.tell()
            parts.append(data[start:end])
            start = end
    except Exception as error:
        raise CodecError("The data is not a packed list.") from error
    return parts


def join_list(parts: Sequence[bytes]) -> bytes:
    """The inverse of `split_list`."""
    return bytes(msgpack.Packer().pack_array_header(len(parts))) + b"".join(parts)


def concatenated(lists: Sequence[bytes]) -> bytes:
    """Packed lists as one."""
    count, bodies = 0, []
    for data in lists:
        unpacker = msgpack.Unpacker()
        unpacker.feed(data[:_HEADER_BYTES])
        count += unpacker.read_array_header()
        bodies.append(memoryview(data)[unpacker.tell() :])
    return b"".join([msgpack.Packer().pack_array_header(count), *bodies])


# -- encoding ---------------------------------------------------------------------------------------------------------


def _packb(value: Any, unicode_errors: str | None = None) -> bytes:
    # not `packb`, which takes several times as long for a small value
    packed: bytes = msgpack.Packer(default=_encode, strict_types=True, unicode_errors=unicode_errors).pack(value)
    return packed


#: how deep the extension being packed is, per thread: the limit is the one of decoding
_nesting = threading.local()


def _why(error: Exception) -> str:
    text = str(error)
    if "recursion" in text.lower():
        return "The value is nested too deeply, or contains itself."
    return f"{type(error).__name__}: {text}"


def _ext(code: int, value: Any) -> msgpack.ExtType:
    depth = getattr(_nesting, "depth", 0)
    if depth >= _MAX_DEPTH:
        raise CodecError(f"The value nests tuples, sets or objects more than {_MAX_DEPTH} deep.")
    _nesting.depth = depth + 1
    try:
        return msgpack.ExtType(code, _packb(value))
    except UnicodeEncodeError:
        return msgpack.ExtType(code, _packb(value, "surrogatepass"))
    finally:
        _nesting.depth = depth


def _encode_datetime(value: dt.datetime) -> msgpack.ExtType:
    key = getattr(value.tzinfo, "key", None)  # zoneinfo: the rule travels, not today's offset
    if key:
        return _ext(_ZONED, [value.replace(tzinfo=None).isoformat(), key, value.fold])
    return _ext(_DATETIME, [value.isoformat(), value.fold])


_ENCODERS: dict[type, Callable[[Any], msgpack.ExtType]] = {
    tuple: lambda v: _ext(_TUPLE, list(v)),
    set: lambda v: _ext(_SET, list(v)),
    frozenset: lambda v: _ext(_FROZENSET, list(v)),
    dt.datetime: _encode_datetime,
    dt.date: lambda v: _ext(_DATE, v.isoformat()),
    dt.time: lambda v: _ext(_TIME, [v.isoformat(), v.fold]),
    dt.timedelta: lambda v: _ext(_TIMEDELTA, [v.days, v.seconds, v.microseconds]),
    decimal.Decimal: lambda v: _ext(_DECIMAL, str(v)),
    uuid.UUID: lambda v: msgpack.ExtType(_UUID, v.bytes),
    complex: lambda v: _ext(_COMPLEX, [v.real, v.imag]),
    range: lambda v: _ext(_RANGE, [v.start, v.stop, v.step]),
    int: lambda v: msgpack.ExtType(_BIGINT, v.to_bytes(v.bit_length() // 8 + 1, "big", signed=True)),
}


def _encode(value: Any) -> msgpack.ExtType:
    """Called by msgpack for what it does not know: exact types first, then classes of the user's own."""
    kind = type(value)
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        return encoder(value)
    if isinstance(value, enum.Enum):
        return _ext(_ENUM, [*_class_name(kind), value.name])
    if dataclasses.is_dataclass(kind):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return _ext(_DATACLASS, [*_class_name(kind), fields])
    if isinstance(value, pathlib.PurePath):
        return _ext(_PATH, str(value))
    if (numpy := sys.modules.get("numpy")) is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return _encode_numpy(numpy, value)
    if (pydantic := sys.modules.get("pydantic")) is not None and isinstance(value, pydantic.BaseModel):
        return _ext(_PYDANTIC, [*_class_name(kind), dict(value.__dict__)])
    raise CodecError(
        f"{kind.__module__}.{kind.__qualname__} is not a type actorq can carry. Pass plain data (numbers, text, bytes, "
        "lists, dicts, dates, dataclasses, enums, numpy arrays) or the path of a file."
    )


def _class_name(kind: type) -> tuple[str, str]:
    if "<locals>" in kind.__qualname__:
        raise CodecError(f"{kind.__qualname__} is defined inside a function: move the class to the top of its module.")
    return public_module(kind.__module__), kind.__qualname__


def _encode_numpy(numpy: Any, value: Any) -> msgpack.ExtType:
    if value.dtype.hasobject:
        raise CodecError("A numpy array of dtype object holds arbitrary Python objects: convert it to a list.")
    descr = value.dtype.str if value.dtype.names is None else [list(map(_plain, d)) for d in value.dtype.descr]
    if isinstance(value, numpy.generic):
        return _ext(_NPSCALAR, [descr, value.tobytes()])
    return _ext(_NDARRAY, [descr, list(value.shape), value.tobytes()])


def _plain(part: Any) -> Any:
    return list(part) if isinstance(part, tuple) else part


# -- decoding ---------------------------------------------------------------------------------------------------------


class _Decoder:
    """The ext hook of one `unpack`: carries the depth, since extensions nest outside msgpack's own limit."""

    __slots__ = ("depth",)

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth

    def __call__(self, code: int, data: bytes) -> Any:
        if self.depth >= _MAX_DEPTH:
            raise CodecError("The data is nested too deeply.")
        if code == _UUID:
            return uuid.UUID(bytes=bytes(data))
        if code == _BIGINT:
            return int.from_bytes(data, "big", signed=True)
        decoder = _DECODERS.get(code)
        if decoder is None:
            raise CodecError(f"The data has extension type {code}, unknown to this version of actorq: upgrade it.")
        hook = _Decoder(self.depth + 1)
        try:
            value = msgpack.unpackb(data, ext_hook=hook, strict_map_key=False)
        except UnicodeDecodeError:
            value = msgpack.unpackb(data, ext_hook=hook, strict_map_key=False, unicode_errors="surrogatepass")
        return decoder(value)


#: every decoding begins with it, and none changes it
_OUTERMOST = _Decoder()


def _decode_enum(value: Any) -> Any:
    module, name, member = value
    kind = loaded_object(module, name)
    if not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        raise CodecError(f"{module}.{name} is not an Enum.")
    if member in kind.__members__:
        return kind.__members__[member]
    if issubclass(kind, enum.Flag) and isinstance(member, str):  # A|B has the name "A|B"
        parts = [kind.__members__[part] for part in member.split("|")]
        combined = parts[0]
        for part in parts[1:]:
            combined |= part
        return combined
    raise CodecError(f"{module}.{name} has no member {member!r}: both sides need the same code.")


def _decode_dataclass(value: Any) -> Any:
    module, name, fields = value
    kind = loaded_object(module, name)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise CodecError(f"{module}.{name} is not a dataclass.")
    known = {f.name for f in dataclasses.fields(kind)}
    if set(fields) != known:
        raise CodecError(f"{module}.{name} has other fields here: both sides need the same code.")
    instance = object.__new__(kind)
    for field, content in fields.items():
        object.__setattr__(instance, field, content)  # frozen ones too
    return instance


def _decode_pydantic(value: Any) -> Any:
    module, name, fields = value
    kind = loaded_object(module, name)
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not (isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)):
        raise CodecError(f"{module}.{name} is not a pydantic model.")
    model: Any = kind
    return model.model_construct(**fields)


def _numpy() -> Any:
    try:
        import numpy as np  # a fixed name, not one from the data
    except ImportError:
        raise CodecError("The data holds a numpy array and numpy is not installed here.") from None
    return np


def _dtype(descr: Any) -> Any:
    numpy = _numpy()
    if isinstance(descr, str):
        dtype = numpy.dtype(descr)
    else:
        dtype = numpy.dtype([tuple(tuple(p) if isinstance(p, list) else p for p in d) for d in descr])
    if dtype.hasobject:
        raise CodecError("The data holds a numpy array of dtype object.")
    return dtype


def _decode_ndarray(value: Any) -> Any:
    descr, shape, data = value
    return _numpy().frombuffer(data, dtype=_dtype(descr)).reshape(shape)


def _decode_npscalar(value: Any) -> Any:
    descr, data = value
    return _numpy().frombuffer(data, dtype=_dtype(descr))[0]


def _decode_zoned(value: Any) -> dt.datetime:
    from zoneinfo import ZoneInfo

    text, key, fold = value
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(key), fold=fold)


_DECODERS: dict[int, Callable[[Any], Any]] = {
    _TUPLE: tuple,
    _SET: set,
    _FROZENSET: frozenset,
    _DATETIME: lambda v: dt.datetime.fromisoformat(v[0]).replace(fold=v[1]),
    _ZONED: _decode_zoned,
    _DATE: dt.date.fromisoformat,
    _TIME: lambda v: dt.time.fromisoformat(v[0]).replace(fold=v[1]),
    _TIMEDELTA: lambda v: dt.timedelta(v[0], v[1], v[2]),
    _DECIMAL: decimal.Decimal,
    _PATH: pathlib.Path,
    _COMPLEX: lambda v: complex(v[0], v[1]),
    _RANGE: lambda v: range(v[0], v[1], v[2]),
    _ENUM: _decode_enum,
    _DATACLASS: _decode_dataclass,
    _PYDANTIC: _decode_pydantic,
    _NDARRAY: _decode_ndarray,
    _NPSCALAR: _decode_npscalar,
}
