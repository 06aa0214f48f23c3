"""What a value is kept under: its arguments by content, so that equal arguments are equal keys whoever made them.

A key is a tuple with one element per parameter. Numbers, text, bytes and None stand for themselves, all else is a pair
that a plain value cannot equal: its type and a hash of its content. A set or dict in another order is the same content;
1, 1.0 and True, a list and a tuple, or objects of two classes of one name are not.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import hashlib
import pathlib
import sys
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from actorq.cache.numbers import OBJECTS, Numbers
from actorq.errors import CodecError
from actorq.wire import codec

#: types whose values stand for themselves in a key. Not bool and float, which equal ints.
PLAIN = frozenset({int, str, bytes, type(None)})
_SCALARS = PLAIN | {bool, float}
_HASH_BYTES = 20


class Content(NamedTuple):
    """An argument by content."""

    kind: str
    #: bool and float as they are told apart, a hash of all else
    content: Any


class Living(NamedTuple):
    """An argument by identity: a class, or the instance a method is called on."""

    kind: str
    number: int


def element(value: Any) -> Any:
    """`value` as part of a key. Raises `CodecError` when it has no content to compare."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is bool:
        return Content("bool", value)
    if kind is float:
        return Content("float", value.hex())  # NaN finds its value, and -0.0 is not 0.0
    return Content(kind.__qualname__, hashlib.blake2b(encode(value), digest_size=_HASH_BYTES).digest())


def living(value: Any, numbers: Numbers) -> Living:
    """`value` by identity. Raises `CodecError` when it cannot be weakly referenced."""
    kind = type(value)
    try:
        number = numbers.of(value)
    except TypeError:
        raise CodecError(
            f"{kind.__module__}.{kind.__qualname__} cannot be weakly referenced (add '__weakref__' to its __slots__, "
            "or make it a dataclass)."
        ) from None
    return Living(f"class {value.__qualname__}" if isinstance(value, type) else kind.__qualname__, number)


def has_content(value: Any) -> bool:
    """Whether an instance is compared by its fields and not by identity."""
    if isinstance(value, enum.Enum):
        return True
    return bool(is_dataclass(value) and type(value).__dataclass_params__.eq)


def is_dataclass(value: Any) -> bool:
    """Whether the fields are all there is to `value`: a plain subclass of a dataclass may have attributes beside them.

    A class that is decorated itself may put aside what it computes (`functools.cached_property`).
    """
    kind = type(value)
    if not dataclasses.is_dataclass(kind):
        return False
    if "__dataclass_fields__" in vars(kind):
        return True
    return getattr(value, "__dict__", {}).keys() <= {field.name for field in dataclasses.fields(kind)}


def encode(value: Any) -> bytes:
    """`value` as bytes that are equal for equal content, in this process. Raises `CodecError`."""
    try:
        return _encode(value)
    except CodecError:
        raise
    except RecursionError:
        raise CodecError("The value is nested too deeply, or contains itself.") from None
    except Exception as error:  # a property or an unset slot of the user's object may raise anything
        raise CodecError(f"{type(error).__name__}: {error}") from None


# -- encoding ---------------------------------------------------------------------------------------------------------


def _encode(value: Any) -> bytes:
    kind = type(value)
    if kind in _SCALARS:
        return codec.pack(value)
    if (encoder := _ENCODERS.get(kind)) is not None:
        return encoder(value)
    if isinstance(value, enum.Enum):
        name = value._name_  # a member may be called "name"
        return b"E" + _class(kind) + (_encode(value._value_) if name is None else codec.pack(name))
    if is_dataclass(value):
        fields = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return b"C" + _class(kind) + _joined([codec.pack(name) + _encode(content) for name, content in fields])
    if isinstance(value, pathlib.PurePath):
        return b"P" + _class(kind) + codec.pack(str(value))
    if (numpy := sys.modules.get("numpy")) is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return _encode_numpy(numpy, value)
    if (pydantic := sys.modules.get("pydantic")) is not None and isinstance(value, pydantic.BaseModel):
        parts = (value.__dict__, value.__pydantic_extra__, value.__pydantic_private__)
        return b"M" + _class(kind) + _joined(map(_encode, parts))
    raise CodecError(f"{kind.__module__}.{kind.__qualname__} has no content to compare")


def _class(kind: type) -> bytes:
    """The class itself and not its name: the next version of the code has another class of that name."""
    return OBJECTS.of(kind).to_bytes(8, "big")


def _joined(parts: Iterable[bytes]) -> bytes:
    listed = list(parts)
    return b"".join([len(listed).to_bytes(8, "big"), *(len(p).to_bytes(8, "big") + p for p in listed)])


def _encode_sequence(value: Any) -> bytes:
    tag = b"l" if type(value) is list else b"t"
    if _SCALARS.issuperset(map(type, value)):  # msgpack in C: a hundredth of the time
        return tag + codec.pack(list(value))
    return tag.upper() + _joined(map(_encode, value))


def _encode_dict(value: Any) -> bytes:
    if set(map(type, value)) == {str} and _SCALARS.issuperset(map(type, value.values())):
        names = sorted(value)
        return b"d" + codec.pack([names, [value[name] for name in names]])
    return b"D" + _joined(sorted(_joined([_encode(k), _encode(v)]) for k, v in value.items()))


def _encode_set(value: Any) -> bytes:
    tag = b"s" if type(value) is set else b"f"
    return tag + _joined(sorted(map(_encode, value)))


def _encode_numpy(numpy: Any, value: Any) -> bytes:
    dtype = value.dtype
    if dtype.hasobject:
        raise CodecError("A numpy array of dtype object holds arbitrary Python objects: convert it to a list.")
    if isinstance(value, numpy.generic):
        return b"n" + codec.pack([repr(dtype), value.tobytes()])
    if type(value) not in (numpy.ndarray, numpy.memmap, numpy.matrix):  # a masked array is more than its data
        raise CodecError(f"{type(value).__module__}.{type(value).__qualname__} has no content to compare")
    data = numpy.ascontiguousarray(value).reshape(-1).view(numpy.uint8) if value.size else b""
    digest = hashlib.blake2b(data, digest_size=_HASH_BYTES).digest()
    return b"A" + codec.pack([type(value).__name__, repr(dtype), list(value.shape), digest])


def _encode_by_codec(value: Any) -> bytes:
    return b"X" + codec.pack(value)


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    list: _encode_sequence,
    tuple: _encode_sequence,
    dict: _encode_dict,
    set: _encode_set,
    frozenset: _encode_set,
    bytearray: lambda v: b"B" + bytes(v),
    memoryview: lambda v: b"V" + bytes(v),
    **dict.fromkeys(
        (dt.datetime, dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID, complex), _encode_by_codec
    ),
}
