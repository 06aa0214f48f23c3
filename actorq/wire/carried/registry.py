"""Which code carries a type, and which makes values of an extension.

The one idea: types are looked up exactly, so the usual ones cost one look into a dict. A class of the user's is looked
at once. What is for a library's types is found by the name of the library, which then is there: nothing is imported
for a type or for bytes.
"""

from __future__ import annotations

import collections
import enum
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried import classes, exceptions, models, registered, standard
from actorq.wire.carried.hints import refusal
from actorq.wire.carried.outside import Outside
from actorq.wire.carried.standard import ByClass, Decoder, Encoder

#: by exact type
encoders: dict[type, Encoder] = {**standard.ENCODERS, **exceptions.ENCODERS}
decoders: dict[int, Decoder] = {
    **standard.DECODERS,
    **classes.DECODERS,
    **models.DECODERS,
    **exceptions.DECODERS,
    **registered.DECODERS,
}
#: what was found for other classes. They go with the code that made them
_found: ByClass[Encoder] = ByClass()

#: what carries the types of a library, by its top-level name, and the codes of the extensions
_LIBRARIES = {
    "numpy": "arrays",
    "ml_dtypes": "arrays",
    "pandas": "frames",
    "pyarrow": "arrow",
    "polars": "polar",
    "PIL": "images",
    "torch": "tensors",
    **dict.fromkeys(("array", "fractions", "ipaddress", "zoneinfo", "re", "collections"), "library"),
}
_CODES = {
    **dict.fromkeys((ext.NDARRAY, ext.NPSCALAR, ext.MASKED), "arrays"),
    ext.PANDAS: "frames",
    ext.ARROW: "arrow",
    ext.POLARS: "polar",
    ext.IMAGE: "images",
    ext.TENSOR: "tensors",
    **dict.fromkeys((ext.ARRAY, ext.FRACTION, ext.ADDRESS, ext.PATTERN, ext.COLLECTION), "library"),
}
#: those whose values hold no others, or hold them as bytes
_OF_BYTES = frozenset({"arrays", "arrow", "polar", "tensors"})


def encoder_of(kind: type) -> Encoder:
    """What encodes values of exactly this type. Raises `CodecError` where they cannot be carried."""
    if (found := encoders.get(kind)) is not None:
        return found
    if registered.is_registered(kind):
        return registered.encode_registered
    return _found.of(kind) or _found.keep(kind, _search(kind))


def _search(kind: type) -> Encoder:
    if issubclass(kind, enum.Enum):
        return classes.encode_enum
    if issubclass(kind, BaseException):
        return exceptions.encode
    if classes.fields_of(kind) is not None:
        return classes.encode_fields
    if classes.is_named_tuple(kind):
        return classes.encode_named_tuple
    top = kind.__module__.partition(".")[0] if isinstance(kind.__module__, str) else ""
    if (name := _LIBRARIES.get(top)) is not None and (found := _adapter(name).encoder(kind)) is not None:
        return found  # type: ignore[no-any-return]
    if (pydantic := sys.modules.get("pydantic")) is not None and issubclass(kind, pydantic.BaseModel):
        return models.encode
    raise CodecError(refusal(kind))


def decoder_of(code: int) -> Decoder:
    """What makes a value of the content of an extension, where that is not at hand. Raises `CodecError`."""
    if (name := _CODES.get(code)) is None:
        raise CodecError(f"The data has extension type {code}, unknown to this version of actorq: upgrade it.")
    decoders.update(_adapter(name).DECODERS)
    return decoders[code]


def _adapter(name: str) -> Any:
    """A module of ours, which most programs need not have."""
    return importlib.import_module(f"actorq.wire.carried.{name}")


def content(value: Any) -> Any:
    """The plain data that stands for `value` in a message, where others can lie in it, else None."""
    kind = type(value)
    if kind in standard.LEAVES or kind is Outside or issubclass(kind, enum.Enum):
        return None
    encoder = encoder_of(kind)
    if encoder.__module__.rpartition(".")[2] in _OF_BYTES:
        return None
    return encoder(value)[1]


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What lies in `value` and the steps to it, for a message."""
    kind = type(value)
    if issubclass(kind, dict):
        yield from ((f"[{key!r:.40}]", part) for key, part in value.items())
    elif kind in (list, tuple, collections.deque):
        yield from ((f"[{position}]", part) for position, part in enumerate(value))
    elif kind in (set, frozenset):
        yield from ((f"[{part!r:.40}]", part) for part in value)
    elif isinstance(kind.__module__, str) and kind.__module__.partition(".")[0] == "pandas":
        yield from _adapter("frames").parts(value)
    else:
        yield from classes.named_parts(value)
