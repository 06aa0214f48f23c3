"""`actorq.register`: how a type travels that actorq does not know.

The one idea: a registration has a name, and the name travels. So a type may change how it is packed: under another
name, beside a registration of the old one, which still reads what was packed before. Nobody's code runs that was not
registered in the process that reads.

A replica may hold several versions of the code, and each has registered its own: the one whose code is in place counts.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from actorq.base.names import public_module
from actorq.errors import CodecError, DeclarationError
from actorq.wire import extensions as ext
from actorq.wire.carried import standard
from actorq.wire.carried.standard import Encoded

T = TypeVar("T")

#: characters of a name, and of a message that quotes the data
_LONGEST_NAME, _SHOWN = 200, 300
#: of one name or type: as many as a replica keeps versions of the code, and more
_MOST_VERSIONS = 16
#: those that msgpack takes by itself
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, bytearray, memoryview, list, dict})


class Registration(NamedTuple):
    """How a type travels under a name."""

    type: type
    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    #: those that were made before it
    number: int

    @property
    def is_in_place(self) -> bool:
        """Whether the code that has registered it is imported now."""
        code = getattr(self.decode, "__globals__", None)
        return code is None or vars(sys.modules.get(code.get("__name__"), sys)) is code


#: the last one first
_numbers = itertools.count()
_by_name: dict[str, list[Registration]] = {}
_by_type: dict[type, list[Registration]] = {}


def register(
    type: type[T],  # noqa: A002 - what it is
    encode: Callable[[T], Any],
    decode: Callable[[Any], T],
    *,
    name: str | None = None,
) -> None:
    """Says how values of exactly `type` travel, where this module is imported: on both sides.

    `encode` returns what does travel, and may hold other values that are registered; `decode` makes an equal value of
    it. It is given bytes from the server: it must not run what is in them, as `pickle.loads` does.

    Args:
        type: a class. Of its subclasses each is registered for itself.
        encode: makes plain data of a value.
        decode: the inverse.
        name: what the registration is called in messages. Give another one, `"model/2"`, when what `encode` returns
            changes, and register the old name with the old functions before it, so that both are read. Default: the
            name of the class.

    Raises:
        DeclarationError: the type travels already, or an argument is none.
    """
    if not isinstance(type, _TYPE):
        raise DeclarationError(f"register({type!r:.{_SHOWN}}): give a class.")
    if type in _PLAIN or type in standard.ENCODERS:
        raise DeclarationError(f"register({type.__qualname__}): it travels as it is.")
    if not (callable(encode) and callable(decode)):
        raise DeclarationError(f"register({type.__qualname__}): encode and decode are functions of one argument.")
    name = f"{public_module(type.__module__)}.{type.__qualname__}" if name is None else name
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise DeclarationError(f"register({type.__qualname__}): name={name!r:.{_SHOWN}} is not a short text.")
    _add(_by_name.setdefault(name, []), Registration(type, name, encode, decode, next(_numbers)))


_TYPE = type


def _add(known: list[Registration], made: Registration) -> None:
    """Puts it first, in the place of one of the same code that was loaded before."""
    code = getattr(made.decode, "__globals__", made.decode)
    old = [each for each in known if each[:2] == made[:2] and getattr(each.decode, "__globals__", each.decode) is code]
    known[:] = [made, *(each for each in known if each not in old)][:_MOST_VERSIONS]
    _by_type.clear()
    for each in sorted((each for some in _by_name.values() for each in some), key=lambda each: -each.number):
        _by_type.setdefault(each.type, []).append(each)


def _current(known: list[Registration]) -> Registration:
    return next((each for each in known if each.is_in_place), known[0])


def is_registered(kind: type) -> bool:
    return kind in _by_type


def encode_registered(value: Any) -> Encoded:
    kind = type(value)
    by = _current(_by_type[kind])
    try:
        return ext.REGISTERED, [by.name, by.encode(value)]
    except Exception as error:
        raise CodecError(f"encode of {by.name!r}, registered for {kind.__qualname__}, raised {_text(error)}") from error


def decode_registered(value: Any) -> Any:
    name, plain = value
    if not isinstance(name, str) or name not in _by_name:
        raise CodecError(
            f"The data holds a {name!r:.{_SHOWN}}, and nothing is registered here by that name: import the module that "
            "calls actorq.register() where the tasks are declared, and in the caller."
        )
    by = _current(_by_name[name])
    try:
        made = by.decode(plain)
    except Exception as error:
        raise CodecError(f"decode of {name!r} raised {_text(error)}") from error
    if type(made) is not by.type:
        raise CodecError(f"decode of {name!r} made a {type(made).__qualname__}, and not a {by.type.__qualname__}.")
    return made


def _text(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error!s:.{_SHOWN}}"
    except Exception:
        return type(error).__name__


DECODERS = {ext.REGISTERED: decode_registered}
