"""From msgpack to values. The bytes may be anybody's: whatever they are, it takes time and memory in proportion.

*One pass.* Text is decoded with "surrogatepass" at once, which costs nothing where it is plain; so no part is decoded
twice because of what stands in it, and nothing doubles with every level.

*No slow tables.* Python's hashes of numbers are no secret, so keys can be made that all have one hash, and a table of
them takes quadratic time. msgpack builds dicts before anybody can look. But its own types have some fifty values of one
hash at most: only what came as an extension (a large int, a tuple, a Decimal) has more. So a dict of many entries is
taken as it comes where the data has no extensions, and else its keys are looked at first, as those of a set are.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import re
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack

from actorq import extensions as ext
from actorq.errors import CodecError
from actorq.nameable import loaded_object
from actorq.nesting import (
    COUNTED,
    FEW_EXTENSIONS,
    MOST_EXTENSIONS,
    SHALLOW_BYTES,
    TOO_DEEP,
    check_bytes,
    check_levels,
)

#: keys of one hash in a set or dict. Each is compared with all before it: with 128 that takes 1 to 2 us a key. Chance
#: makes few: of the powers of two up to 2**7800 as many have the same
_LONGEST_CHAIN = 128
_TOO_DEEP = f"The data is {TOO_DEEP}."
#: characters of a message, which may quote the data
_SHOWN = 300
#: what numpy calls the types of elements; it reads more than that out of a string
_ELEMENT = re.compile(r"[<>|=][a-zA-Z]\d{0,10}(\[\w{1,20}\])?")


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """The value in `data`. Raises `CodecError` for bytes that are not one complete value of ours."""
    try:
        return msgpack.unpackb(
            data, ext_hook=_OUTERMOST, strict_map_key=False, unicode_errors="surrogatepass", max_map_len=_LONGEST_CHAIN
        )
    except CodecError:
        raise
    except ValueError:  # damage, or a dict of more entries
        return _unpack_large(data)
    except Exception as error:  # hostile bytes can raise nearly anything from a type's constructor
        raise _no_value(error) from error


def _unpack_large(data: bytes | bytearray | memoryview) -> Any:
    """The same where a dict may be large: as it comes, if there is no extension in the data, else with a look at it."""
    try:
        return msgpack.unpackb(data, ext_hook=_none_expected, strict_map_key=False, unicode_errors="surrogatepass")
    except _ExtensionFoundError:
        pass
    except Exception as error:
        raise _no_value(error) from error
    try:
        return _LookingDecoder(0).unpack(data)
    except CodecError:
        raise
    except Exception as error:
        raise _no_value(error) from error


def _no_value(error: Exception) -> CodecError:
    if isinstance(error, (RecursionError, msgpack.StackError)):
        return CodecError(_TOO_DEEP)
    try:
        text = str(error)
    except Exception:  # an int in it has too many digits to be shown
        text = ""
    return CodecError(f"The data is not a value of actorq: {type(error).__name__}: {text:.{_SHOWN}}")


class _ExtensionFoundError(Exception):
    """The data holds an extension."""


def _none_expected(*_: Any) -> Any:
    raise _ExtensionFoundError


class _Decoder:
    """The ext hook of one message, which is the whole or an extension: carries the depth.

    Args:
        depth: extensions around it.
    """

    __slots__ = ("depth", "used")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        #: there was an extension in it
        self.used = False

    def __call__(self, code: int, data: bytes) -> Any:
        self.used = True
        decoder = _DECODERS.get(code)
        if decoder is None:
            return _whole(code, data)
        if self.depth >= MOST_EXTENSIONS:
            raise CodecError(_TOO_DEEP)
        inner = _Decoder(self.depth + 1)
        if inner.depth > FEW_EXTENSIONS:
            value = _unpack_deep(data, self.depth, ext_hook=inner, max_map_len=_LONGEST_CHAIN)
        else:
            value = msgpack.unpackb(
                data, ext_hook=inner, strict_map_key=False, unicode_errors="surrogatepass", max_map_len=_LONGEST_CHAIN
            )
        if inner.used:
            self.check(code, value, data)
        return decoder(value)

    def check(self, code: int, value: Any, data: bytes) -> None:
        """Looks at an extension that has others in it, before it is made of `value`."""
        if self.depth == COUNTED and len(data) > SHALLOW_BYTES:
            check_levels(value)
        if code in _SETS:
            _check_hashes(value)


class _LookingDecoder(_Decoder):
    """The same; in place of the size of a dict it looks at its keys."""

    def __call__(self, code: int, data: bytes) -> Any:
        self.used = True
        decoder = _DECODERS.get(code)
        if decoder is None:
            return _whole(code, data)
        if self.depth >= MOST_EXTENSIONS:
            raise CodecError(_TOO_DEEP)
        inner = _LookingDecoder(self.depth + 1)
        value = inner.unpack(data)
        if inner.used:
            self.check(code, value, data)
        return decoder(value)

    def unpack(self, data: bytes | bytearray | memoryview) -> Any:
        """The message."""
        if self.depth > FEW_EXTENSIONS:
            return _unpack_deep(data, self.depth - 1, ext_hook=self, object_pairs_hook=self._dict)
        return msgpack.unpackb(
            data,
            ext_hook=self,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            object_pairs_hook=self._dict,
        )

    def _dict(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        if self.used:
            _check_hashes([key for key, _ in pairs])
        return dict(pairs)


def _unpack_deep(data: bytes | bytearray | memoryview, depth: int, **options: Any) -> Any:
    """The message in an extension that lies in `depth` others, and so takes little of the C stack, of which a thread
    may have half a MB: `unpackb` takes 40 KB of it, this a microsecond more.
    """
    check_bytes(depth, len(data))
    unpacker = msgpack.Unpacker(
        None, strict_map_key=False, unicode_errors="surrogatepass", max_buffer_size=max(len(data), 1), **options
    )
    unpacker.feed(data)
    value = unpacker.unpack()
    if unpacker.tell() != len(data):
        raise CodecError("The data is more than one value.")
    return value


def _whole(code: int, data: bytes) -> Any:
    """What is no message of its own in an extension."""
    if code == ext.UUID:
        return uuid.UUID(bytes=data)
    if code == ext.BIGINT:
        return int.from_bytes(data, "big", signed=True)
    raise CodecError(f"The data has extension type {code}, unknown to this version of actorq: upgrade it.")


#: every decoding begins with it. It is shared: that it was used says nothing
_OUTERMOST = _Decoder(0)


def _check_hashes(keys: Sequence[Any]) -> None:
    """Raises `CodecError` where too many of the keys have one hash."""
    if len(keys) <= _LONGEST_CHAIN:
        return
    hashes = list(map(hash, keys))
    same = len(hashes) - len(set(hashes))
    if same > _LONGEST_CHAIN and max(Counter(hashes).values()) > _LONGEST_CHAIN:
        raise CodecError(f"The data has a set or dict of {len(keys)} keys of which too many have the same hash.")


def _decode_enum(value: Any) -> Any:
    module, name, member = value
    kind = loaded_object(module, name)
    if not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        raise CodecError(f"{module}.{name} is not an Enum.")
    if member in kind.__members__:
        return kind.__members__[member]
    if issubclass(kind, enum.Flag) and isinstance(member, str):  # A|B has the name "A|B"
        parts = [kind.__members__[part] for part in member.split("|", len(kind.__members__))]
        combined = parts[0]
        for part in parts[1:]:
            combined |= part
        return combined
    raise CodecError(f"{module}.{name} has no member {member!r:.{_SHOWN}}: both sides need the same code.")


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
    dtype = numpy.dtype(_element(descr) if isinstance(descr, str) else [_named(field) for field in descr])
    if dtype.hasobject:
        raise CodecError("The data holds a numpy array of dtype object.")
    return dtype


def _named(field: Iterable[Any]) -> tuple[Any, ...]:
    """A field of a structured array: name or title and name, type, and perhaps a shape."""
    name, kind, *shape = field
    named = tuple(name) if isinstance(name, list) else name
    kind = _element(kind) if isinstance(kind, str) else [_named(inner) for inner in kind]
    return (named, kind, *(tuple(part) for part in shape))


def _element(descr: str) -> str:
    if not _ELEMENT.fullmatch(descr):
        raise CodecError(f"The data holds a numpy array of the unknown type {descr!r:.{_SHOWN}}.")
    return descr


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


_SETS = frozenset({ext.SET, ext.FROZENSET})
_DECODERS: dict[int, Callable[[Any], Any]] = {
    ext.TUPLE: tuple,
    ext.SET: set,
    ext.FROZENSET: frozenset,
    ext.DATETIME: lambda v: dt.datetime.fromisoformat(v[0]).replace(fold=v[1]),
    ext.ZONED: _decode_zoned,
    ext.DATE: dt.date.fromisoformat,
    ext.TIME: lambda v: dt.time.fromisoformat(v[0]).replace(fold=v[1]),
    ext.TIMEDELTA: lambda v: dt.timedelta(v[0], v[1], v[2]),
    ext.DECIMAL: decimal.Decimal,
    ext.PATH: pathlib.Path,
    ext.COMPLEX: lambda v: complex(v[0], v[1]),
    ext.RANGE: lambda v: range(v[0], v[1], v[2]),
    ext.ENUM: _decode_enum,
    ext.DATACLASS: _decode_dataclass,
    ext.PYDANTIC: _decode_pydantic,
    ext.NDARRAY: _decode_ndarray,
    ext.NPSCALAR: _decode_npscalar,
}
