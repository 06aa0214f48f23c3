"""`@env.task(affinity=…)`: the key of an input, from the arguments of its call.

A replica that has run an input of a key probably still holds what that key needs; see `actorq.maps.affinity`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any, cast

from actorq.errors import CodecError, DeclarationError
from actorq.wire import codec
from actorq.wire.messages import CALL, ONE

#: the name of a parameter, or a function of the arguments
Affinity = str | Callable[..., Any]

_NAMED = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


def check_affinity(affinity: Affinity, name: str, signature: inspect.Signature) -> None:
    """Raises `DeclarationError` for what is no parameter of the task `name`, and nothing that can be called."""
    if not isinstance(affinity, str):
        if not callable(affinity):
            raise DeclarationError(
                f"affinity={affinity!r}: give the name of a parameter, or a function that makes keys."
            )
        return
    known = [each.name for each in signature.parameters.values() if each.kind in _NAMED]
    if affinity not in known:
        listed = ", ".join(map(repr, known)) or "none"
        raise DeclarationError(f"affinity={affinity!r}: {name} has no such parameter (it has: {listed}).")


def input_key(read: Callable[[Any], Any], value: Any, what: str) -> Hashable:
    """The key that `read` makes of an input; one that cannot be hashed as it is packed. An error names `what`."""
    try:
        key = read(value)
    except Exception as error:
        error.add_note(what)
        raise
    try:
        hash(key)
    except TypeError:
        try:
            return codec.pack(key)
        except CodecError as error:
            raise CodecError(f"{what} can neither be hashed nor carried: {error}") from None
    return cast("Hashable", key)


def key_reader(
    affinity: Affinity, signature: inspect.Signature, mode: int, constants: Mapping[str, Any]
) -> Callable[[Any], Any]:
    """What makes the key of an input as a map draws it; `constants` are the keyword arguments of every call."""
    of_call = _of_parameter(affinity, signature) if isinstance(affinity, str) else affinity
    if mode == ONE:
        return lambda value: of_call(value, **constants)
    if mode == CALL:
        return lambda packed: _of_packed(of_call, packed)
    return lambda values: of_call(*values, **constants)


def _of_packed(of_call: Callable[..., Any], packed: bytes) -> Any:
    args, kwargs = codec.unpack(packed)
    return of_call(*args, **kwargs)


def _of_parameter(name: str, signature: inspect.Signature) -> Callable[..., Any]:
    parameter = signature.parameters[name]
    default = None if parameter.default is parameter.empty else parameter.default
    if parameter.kind is parameter.KEYWORD_ONLY:
        return lambda *args, **kwargs: kwargs.get(name, default)
    position = list(signature.parameters).index(name)

    def key(*args: Any, **kwargs: Any) -> Any:
        return args[position] if len(args) > position else kwargs.get(name, default)

    return key
