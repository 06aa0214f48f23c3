"""Objects of the user's classes: enums, dataclasses, attrs classes and named tuples.

The one idea: an object is its class and *all* its state, the attributes that are no fields too; but what a
`functools.cached_property` keeps, which can be had again. It is made from both without a call of anything that the
class defines, so a class whose state lies elsewhere (one that derives from `dict`, or from a class in C) is refused.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any, NamedTuple

from actorq.base.names import public_module
from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried.standard import ByClass, Encoded
from actorq.wire.nameable import loaded_object

#: of what a message quotes of the data, characters
_SHOWN = 300
#: bit of `type.__flags__`: the class was made by a `class` statement, or so
_HEAP_TYPE = 1 << 9
#: values of a flag that are no members: Python keeps each combination for good, once it was used
_MOST_COMBINATIONS = 1 << 14
#: bits of a flag: more are nobody's, and take memory with every combination
_MOST_BITS = 1024
#: of an object whose attributes are its fields: the module, the name, and the fields
_PLAIN_PARTS = 3
#: where attrs keeps a hash, which is another one in every process
_ATTRS_HASH = "_attrs_cached_hash"


class Shape(NamedTuple):
    """What is known of a class whose objects are fields and other attributes."""

    module: str
    name: str
    fields: tuple[str, ...]
    field_set: frozenset[str]
    #: attributes that have a place of their own in the object
    slots: dict[str, Any]
    #: those of `functools.cached_property`
    cached: frozenset[str]


_shapes: ByClass[Shape] = ByClass()


def class_name(kind: type) -> tuple[str, str]:
    """The names that a class has in every process. Raises `CodecError` for one that has none."""
    if "<locals>" in kind.__qualname__:
        raise CodecError(f"{kind.__qualname__} is defined inside a function: move the class to the top of its module.")
    return public_module(kind.__module__), kind.__qualname__


def check_plain(kind: type, beside: type = object) -> None:
    """Raises `CodecError` where objects of a class hold more than attributes, and what `beside` holds."""
    for base in kind.__mro__:
        if not base.__flags__ & _HEAP_TYPE and base is not object and base is not beside:
            raise CodecError(
                f"{kind.__module__}.{kind.__qualname__} derives from {base.__qualname__}, whose content is not carried "
                "with it: hold it in a field, or say how it travels with actorq.register()."
            )


def slots_of(kind: type) -> dict[str, Any]:
    """The attributes of a class that have a place of their own, with what reads and writes them."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__flags__ & _HEAP_TYPE:
            found |= {k: v for k, v in vars(base).items() if type(v) is MemberDescriptorType and k != "__weakref__"}
    return found


def state_of(value: Any, slots: dict[str, Any]) -> dict[Any, Any]:
    """All attributes of an object."""
    state = dict(getattr(value, "__dict__", ()))
    for name, slot in slots.items():
        try:
            state[name] = slot.__get__(value)
        except AttributeError:  # it was never set
            continue
    return state


def set_state(instance: Any, slots: dict[str, Any], state: dict[Any, Any]) -> None:
    """The inverse. Calls nothing that the class defines."""
    if not slots:
        instance.__dict__.update(state)
        return
    for name, content in state.items():
        if name in slots:
            slots[name].__set__(instance, content)
        else:
            instance.__dict__[name] = content


def check_others(kind: type, state: dict[Any, Any]) -> None:
    """Raises `CodecError` for attributes beside the fields that would take the place of what the class defines."""
    if not isinstance(state, dict):
        raise CodecError(f"The data of a {kind.__qualname__} has attributes without names.")
    for name in state:
        if not isinstance(name, str) or (name.startswith("__") and name.endswith("__")):
            raise CodecError(f"{kind.__qualname__} has an attribute {name!r:.{_SHOWN}}, which is the language's.")
        if any(_is_method(vars(base).get(name)) for base in kind.__mro__):
            raise CodecError(f"The method {name} of {kind.__qualname__} is replaced in the object: derive a class.")


def _is_method(attribute: Any) -> bool:
    """A function, or what makes something of one; not the place of a slot."""
    return hasattr(type(attribute), "__get__") and type(attribute) is not MemberDescriptorType


def fields_of(kind: type) -> tuple[str, ...] | None:
    """The names of the fields of a dataclass or an attrs class; None for another."""
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    attributes = getattr(kind, "__attrs_attrs__", None)
    return None if attributes is None else tuple(each.name for each in attributes)


def shape_of(kind: type) -> Shape:
    """Raises `CodecError` for a class whose objects cannot be carried."""
    shape = _shapes.of(kind)
    if shape is None:
        check_plain(kind)
        fields = fields_of(kind)
        if fields is None:
            raise CodecError(f"{kind.__module__}.{kind.__qualname__} is neither a dataclass nor an attrs class.")
        cached = {k for b in kind.__mro__ for k, v in vars(b).items() if isinstance(v, functools.cached_property)}
        shape = _shapes.keep(
            kind, Shape(*class_name(kind), fields, frozenset(fields), slots_of(kind), frozenset(cached))
        )
    return shape


def encode_fields(value: Any) -> Encoded:
    kind = type(value)
    shape = shape_of(kind)
    state = state_of(value, shape.slots)
    fields = {name: state.pop(name) for name in shape.fields if name in state}
    plain = [shape.module, shape.name, fields]
    if len(fields) != len(shape.fields):
        plain.append(_of_class(value, shape, fields))
    if state and (others := _others(kind, shape, state)):
        plain += [others] if len(plain) > _PLAIN_PARTS else [[], others]
    return ext.DATACLASS, plain


def _of_class(value: Any, shape: Shape, fields: dict[str, Any]) -> list[str]:
    """The fields that the object itself does not hold: its class has a default. Raises `AttributeError` if not."""
    names = [name for name in shape.fields if name not in fields]
    for name in names:
        getattr(value, name)
    return names


def _others(kind: type, shape: Shape, state: dict[Any, Any]) -> dict[Any, Any]:
    """The attributes that are no fields."""
    others = {name: content for name, content in state.items() if name not in shape.cached}
    if _ATTRS_HASH in others:
        others[_ATTRS_HASH] = None
    check_others(kind, others)
    return others


def decode_fields(value: Any) -> Any:
    module, name, fields, *rest = value
    kind = loaded_object(module, name)
    if not isinstance(kind, type):
        raise CodecError(f"{module}.{name} is neither a dataclass nor an attrs class.")
    shape = shape_of(kind)
    of_class = rest[0] if rest else ()
    if of_class or fields.keys() != shape.field_set:
        known = {*fields, *of_class} == shape.field_set and len(fields) + len(of_class) == len(shape.fields)
        if not known or not all(_is_of_class(kind, each) for each in of_class):
            raise CodecError(f"{module}.{name} has other fields here: both sides need the same code.")
    instance: Any = object.__new__(kind)
    set_state(instance, shape.slots, fields)
    for others in rest[1:]:
        check_others(kind, others)
        set_state(instance, shape.slots, others)
    return instance


def _is_of_class(kind: type, name: str) -> bool:
    """Whether the class has an attribute of this name, which is not read: a descriptor may run code."""
    return any(name in vars(base) for base in kind.__mro__)


# -- enums ------------------------------------------------------------------------------------------------------------


def encode_enum(value: Any) -> Encoded:
    kind: Any = type(value)
    name = value._name_  # a member may be called "name"
    if name is not None and kind._member_map_.get(name) is value:
        return ext.ENUM, [*class_name(kind), name]
    number = value._value_
    if issubclass(kind, enum.Flag) and type(number) is int and number >= 0 and number.bit_length() <= _MOST_BITS:
        return ext.ENUM, [*class_name(kind), number]
    raise CodecError(f"{value!r:.{_SHOWN}} is not among the members of {kind.__qualname__}: pass its value.")


def decode_enum(value: Any) -> Any:
    module, name, member = value
    kind: Any = loaded_object(module, name)
    if not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        raise CodecError(f"{module}.{name} is not an Enum.")
    if isinstance(member, str):
        if member in kind.__members__:
            return kind.__members__[member]
    elif issubclass(kind, enum.Flag) and type(member) is int and member >= 0 and member.bit_length() <= _MOST_BITS:
        return _combination(kind, member)
    raise CodecError(f"{module}.{name} has no member {member!r:.{_SHOWN}}: both sides need the same code.")


def _combination(kind: Any, number: int) -> Any:
    """The value of a flag that has this number. What the class may define for unknown numbers is not called."""
    known = kind._value2member_map_
    if number not in known and len(known) >= _MOST_COMBINATIONS:
        raise CodecError(f"{kind.__qualname__} has had too many combinations: pass the number instead.")
    found = known[number] if number in known else vars(enum.Flag)["_missing_"].__func__(kind, number)
    if type(found) is not kind:
        raise CodecError(f"{kind.__qualname__} has no value {number}: both sides need the same code.")
    return found


# -- named tuples -----------------------------------------------------------------------------------------------------


def is_named_tuple(kind: Any) -> bool:
    names = getattr(kind, "_fields", None)
    return issubclass(kind, tuple) and type(names) is tuple and all(type(name) is str for name in names)


def encode_named_tuple(value: Any) -> Encoded:
    kind: Any = type(value)
    check_plain(kind, tuple)
    content = list(tuple.__iter__(value))
    if len(content) != len(kind._fields):
        raise CodecError(f"{kind.__qualname__} has {len(kind._fields)} fields and {len(content)} values.")
    state = state_of(value, {})
    check_others(kind, state)
    plain = [*class_name(kind), list(kind._fields), content]
    return ext.NAMEDTUPLE, [*plain, state] if state else plain


def decode_named_tuple(value: Any) -> Any:
    module, name, fields, content, *rest = value
    kind: Any = loaded_object(module, name)
    if not (isinstance(kind, type) and is_named_tuple(kind)):
        raise CodecError(f"{module}.{name} is not a NamedTuple.")
    check_plain(kind, tuple)
    if fields != list(getattr(kind, "_fields", ())) or len(content) != len(fields):
        raise CodecError(f"{module}.{name} has other fields here: both sides need the same code.")
    instance: Any = tuple.__new__(kind, content)
    for others in rest:
        check_others(kind, others)
        set_state(instance, {}, others)
    return instance


# -- all --------------------------------------------------------------------------------------------------------------


def named_parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an object and the steps to them, for a message."""
    kind: Any = type(value)
    if issubclass(kind, tuple):
        yield from ((f".{name}", part) for name, part in zip(getattr(kind, "_fields", ()), value, strict=False))
    elif fields_of(kind) is not None:
        shape = shape_of(kind)
        state = state_of(value, shape.slots)
        for name in dict.fromkeys((*shape.fields, *state)):
            if name not in shape.cached:
                yield f".{name}", state[name] if name in state else getattr(value, name, None)
    elif (pydantic := sys.modules.get("pydantic")) is not None and issubclass(kind, pydantic.BaseModel):
        for part in (value.__dict__, value.__pydantic_extra__, value.__pydantic_private__):
            yield from ((f".{name}", content) for name, content in (part or {}).items())


DECODERS = {ext.ENUM: decode_enum, ext.DATACLASS: decode_fields, ext.NAMEDTUPLE: decode_named_tuple}
