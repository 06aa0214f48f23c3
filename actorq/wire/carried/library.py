"""Types of the standard library's smaller modules, which are looked up by name: none is imported for this.

The one idea: what holds others (a `deque`, an `OrderedDict`) holds them as a list or a dict in the message, so whatever
guards lists and dicts there guards these.
"""

from __future__ import annotations

import collections
import importlib
import re
import sys
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried.standard import Encoded, Encoder, plain_zone

#: characters of a pattern: to compile one takes up to 1 ms each
_LONGEST_PATTERN = 1_000
#: bits of the parts of a Fraction: to make one takes time with the square of them, 0.1 s for these
_MOST_BITS = 100_000
#: of the flags of a pattern those that it can be compiled with; `re.DEBUG` prints
_FLAGS = re.IGNORECASE | re.LOCALE | re.MULTILINE | re.DOTALL | re.UNICODE | re.VERBOSE | re.ASCII
_TYPECODES = "bBuhHiIlLqQfd"
#: what a defaultdict may make
_FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (list, dict, set, tuple, int, float, str, bool, bytes)}
_ADDRESSES = ("IPv4Address", "IPv4Network", "IPv4Interface", "IPv6Address", "IPv6Network", "IPv6Interface")


def _array(value: Any) -> Encoded:
    if value.typecode not in _TYPECODES:
        raise CodecError(f"An array.array of {value.typecode!r} is not carried: pass its tolist().")
    return ext.ARRAY, [value.typecode, value.itemsize, sys.byteorder, value.tobytes()]


def _from_array(plain: Any) -> Any:
    typecode, itemsize, order, data = plain
    if not (isinstance(typecode, str) and len(typecode) == 1 and typecode in _TYPECODES and isinstance(data, bytes)):
        raise CodecError("The data holds an array.array that is none.")
    made = importlib.import_module("array").array(typecode)  # a fixed name
    if made.itemsize != itemsize:
        raise CodecError(f"An element {typecode!r} of an array.array has {itemsize} bytes there: use numpy.")
    made.frombytes(data)
    if order != sys.byteorder:
        made.byteswap()
    return made


def _pattern(value: Any) -> Encoded:
    if len(value.pattern) > _LONGEST_PATTERN:
        raise CodecError(f"A pattern of {len(value.pattern):,} characters is not carried: pass its text.")
    return ext.PATTERN, [value.pattern, value.flags & int(_FLAGS)]


def _from_pattern(plain: Any) -> Any:
    pattern, flags = plain
    if not isinstance(pattern, (str, bytes)) or len(pattern) > _LONGEST_PATTERN or flags & ~int(_FLAGS):
        raise CodecError("The data holds a pattern that is none.")
    return re.compile(pattern, flags)


def _address(value: Any) -> Encoded:
    return ext.ADDRESS, [type(value).__name__, str(value)]


def _from_address(plain: Any) -> Any:
    name, text = plain
    if name not in _ADDRESSES or not isinstance(text, str):
        raise CodecError("The data holds an address that is none.")
    return getattr(importlib.import_module("ipaddress"), name)(text)  # fixed names


def _collection(value: Any) -> Encoded:
    kind = type(value)
    if getattr(value, "__dict__", None):
        raise CodecError(f"A {kind.__name__} with attributes of its own is not carried: pass them beside it.")
    if kind is collections.deque:
        return ext.COLLECTION, ["deque", list(value), value.maxlen]
    made = None
    if kind is collections.defaultdict and value.default_factory is not None:
        made = str(getattr(value.default_factory, "__name__", ""))
        if _FACTORIES.get(made) is not value.default_factory:
            raise CodecError(f"A defaultdict of {value.default_factory!r:.200} is not carried: pass dict(x).")
    return ext.COLLECTION, [kind.__name__, dict(value), made]


def _from_collection(plain: Any) -> Any:
    name, content, more = plain
    if name == "deque" and type(content) is list:
        return collections.deque(content, more)
    if type(content) is dict and name == "OrderedDict":
        return collections.OrderedDict(content)
    if type(content) is dict and name == "Counter":
        made: collections.Counter[Any] = collections.Counter()
        dict.update(made, content)
        return made
    if type(content) is dict and name == "defaultdict":
        return collections.defaultdict(None if more is None else _FACTORIES[more], content)
    raise CodecError("The data holds a collection that is none.")


def _fraction(value: Any) -> Encoded:
    _check_bits(value.numerator, value.denominator)
    return ext.FRACTION, [value.numerator, value.denominator]


def _check_bits(*numbers: int) -> None:
    if max(number.bit_length() for number in numbers) > _MOST_BITS:
        raise CodecError(f"A Fraction of more than {_MOST_BITS:,} bits is not carried: pass its parts.")


def _from_fraction(plain: Any) -> Any:
    numerator, denominator = plain
    if type(numerator) is not int or type(denominator) is not int:
        raise CodecError("The data holds a Fraction that is none.")
    _check_bits(numerator, denominator)
    return importlib.import_module("fractions").Fraction(numerator, denominator)  # a fixed name


_ENCODERS: dict[tuple[str, str], Encoder] = {
    ("array", "array"): _array,
    ("fractions", "Fraction"): _fraction,
    ("zoneinfo", "ZoneInfo"): lambda v: (ext.TIMEZONE, plain_zone(v)),
    ("re", "Pattern"): _pattern,
    **{("ipaddress", name): _address for name in _ADDRESSES},
    **{("collections", name): _collection for name in ("OrderedDict", "Counter", "defaultdict", "deque")},
}


def encoder(kind: type) -> Encoder | None:
    """What encodes values of exactly this type."""
    found = _ENCODERS.get((kind.__module__, kind.__name__))
    return found if getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind else None


DECODERS = {
    ext.ARRAY: _from_array,
    ext.FRACTION: _from_fraction,
    ext.ADDRESS: _from_address,
    ext.PATTERN: _from_pattern,
    ext.COLLECTION: _from_collection,
}
