"""Pydantic models: the fields, what was given beyond them, private attributes, and which fields were set.

A parametrized generic model, `Page[int]`, is no attribute of its module: it travels as the model and its arguments. It
is looked for among those that this process has made; a few more are made from arguments whose names are known here.
"""

from __future__ import annotations

import functools
import sys
import types
import typing
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried.classes import check_plain, class_name
from actorq.wire.carried.standard import Encoded
from actorq.wire.nameable import loaded_object

_SHOWN = 300
#: arguments of a type, and how deep they nest
_MOST_ARGUMENTS, _DEEPEST = 16, 8
#: parametrized models that data may have this process make: each takes milliseconds
_MOST_MADE = 256
_made = 0

_GENERIC = {kind.__name__: kind for kind in (list, dict, tuple, set, frozenset)}


def encode(value: Any) -> Encoded:
    kind: Any = type(value)
    check_plain(kind)
    fields = dict(value.__dict__)
    for name in fields.keys() - kind.model_fields.keys():
        if not isinstance(_static(kind, name), functools.cached_property):
            raise CodecError(f"{kind.__qualname__} has an attribute {name!r:.{_SHOWN}} that is no field: declare it.")
        del fields[name]
    if missing := kind.model_fields.keys() - fields.keys():
        raise CodecError(f"{kind.__qualname__} was made without its field {min(missing)!r}: give it a value.")
    private = value.__pydantic_private__
    return ext.PYDANTIC, [*_names(kind, 0), fields, sorted(value.model_fields_set), value.__pydantic_extra__, private]


def decode(value: Any) -> Any:
    module, name, fields, given, extra, private = value
    kind: Any = _model(module, name, 0)
    check_plain(kind)
    if set(fields) != set(kind.model_fields):
        raise CodecError(f"{_shown(module, name)} has other fields here: both sides need the same code.")
    if not (isinstance(given, list) and all(isinstance(each, str) for each in given)):
        raise CodecError(f"The data of a {_shown(module, name)} does not say which fields were set.")
    if (extra is not None) != (kind.model_config.get("extra") == "allow") or not _is_named(extra):
        raise CodecError(f"{_shown(module, name)} takes other fields here: both sides need the same code.")
    if not _is_named(private) or not set(private or ()) <= set(kind.__private_attributes__):
        raise CodecError(f"{_shown(module, name)} has other private attributes here: both sides need the same code.")
    model = object.__new__(kind)
    object.__setattr__(model, "__dict__", fields)
    object.__setattr__(model, "__pydantic_fields_set__", set(given))
    object.__setattr__(model, "__pydantic_extra__", extra)
    object.__setattr__(model, "__pydantic_private__", private)
    return model


def _shown(module: Any, name: Any) -> str:
    return f"{module}.{name if isinstance(name, str) else name[0]}"[:_SHOWN]


def _is_named(part: Any) -> bool:
    return part is None or (isinstance(part, dict) and all(isinstance(name, str) for name in part))


def _static(kind: type, name: str) -> Any:
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


# -- generic models ---------------------------------------------------------------------------------------------------


def _names(kind: Any, depth: int) -> list[Any]:
    """The module and the name of a model; for a parametrized one, the name is a list: that and the arguments."""
    generic = kind.__pydantic_generic_metadata__
    if not generic["args"]:
        return [*class_name(kind)]
    module, name = class_name(generic["origin"])
    return [module, [name, [_plain_type(each, depth + 1) for each in generic["args"]]]]


def _plain_type(kind: Any, depth: int) -> Any:
    if depth <= _DEEPEST:
        if kind is None or kind is types.NoneType:
            return None
        if kind is Any:
            return "Any"
        origin, arguments = typing.get_origin(kind), [*typing.get_args(kind)]
        if origin in (typing.Union, types.UnionType) and len(arguments) <= _MOST_ARGUMENTS:
            return ["|", [_plain_type(each, depth + 1) for each in arguments]]
        if origin in _GENERIC.values() and len(arguments) <= _MOST_ARGUMENTS:
            ends = [each if each is not Ellipsis else [] for each in arguments]
            return [origin.__name__, [[] if each == [] else _plain_type(each, depth + 1) for each in ends]]
        if isinstance(kind, type) and origin is None:
            return ["", *(_names(kind, depth) if hasattr(kind, "__pydantic_generic_metadata__") else class_name(kind))]
    raise CodecError(f"A generic model of {kind!r:.{_SHOWN}} is not carried: derive a model from it, with a name.")


def _type(plain: Any, depth: int) -> Any:
    if plain is None:
        return types.NoneType
    if plain == "Any":
        return Any
    if depth > _DEEPEST or not isinstance(plain, list):
        raise CodecError("The data holds a generic model whose argument is no type.")
    if plain[0] == "":
        _, module, name = plain
        found = _model(module, name, depth) if isinstance(name, list) else loaded_object(module, name)
        if not isinstance(found, type):
            raise CodecError(f"{module}.{name} is not a class.")
        return found
    how, arguments = plain
    if not isinstance(arguments, list) or not 1 <= len(arguments) <= _MOST_ARGUMENTS:
        raise CodecError("The data holds a generic model whose argument is no type.")
    made = [Ellipsis if each == [] else _type(each, depth + 1) for each in arguments]
    if how == "|":
        return typing.Union[tuple(made)]  # noqa: UP007 - of a list
    generic: Any = _GENERIC[how]
    return generic[tuple(made)]


def _model(module: Any, name: Any, depth: int) -> type:
    pydantic = sys.modules.get("pydantic")
    arguments: tuple[Any, ...] = ()
    if isinstance(name, list):
        name, plain = name
        if not isinstance(plain, list) or len(plain) > _MOST_ARGUMENTS:
            raise CodecError("The data holds a generic model whose arguments are none.")
        arguments = tuple(_type(each, depth + 1) for each in plain)
    kind = loaded_object(module, name)
    if pydantic is None or not (isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)):
        raise CodecError(f"{module}.{name} is not a pydantic model.")
    return _parametrized(kind, arguments) if arguments else kind


def _parametrized(kind: Any, arguments: tuple[Any, ...]) -> type:
    global _made
    each: type
    for each in kind.__subclasses__():
        generic = getattr(each, "__pydantic_generic_metadata__", None)
        if generic and generic["origin"] is kind and generic["args"] == arguments:
            return each
    if _made >= _MOST_MADE:
        raise CodecError(
            f"{kind.__qualname__} with these arguments is not there, and too many were made from data: name it in the "
            "module that declares the tasks."
        )
    _made += 1
    made: type = kind[arguments]
    return made


DECODERS = {ext.PYDANTIC: decode}
