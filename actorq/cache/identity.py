"""Which code a value belongs to: the function and what it uses, so that an edit never finds what older code loaded.

Looked at once, when the function is first called and its module is complete: the function's code and default
arguments, then what it names, and what that names in turn, as `code/walk.py` finds it: functions by their code,
constants by their content, modules by what is used of them. A class counts as itself: the next version of a bundle has
another class, of which an object made before would be no instance.
"""

from __future__ import annotations

import enum
import hashlib
import types
from dataclasses import fields
from itertools import islice
from typing import Any

from actorq.cache import keys
from actorq.cache.numbers import OBJECTS
from actorq.cache.options import Options
from actorq.cache.sizes import estimate
from actorq.code.walk import CONTAINERS, MOST_OBJECTS, SCALARS, Walk, code_hash
from actorq.errors import CodecError

#: a constant above this is data, and is told apart by its type alone, bytes
_MOST_BYTES = 1_000_000

#: how the path of what the decorator was given begins. What its callables hold counts as itself: the same content in
#: another list is another place to tell what leaves.
_OPTION = "@"


def identity(function: types.FunctionType, options: Options) -> str:
    """Equal for functions that load the same value from the same arguments; good within this process."""
    walk = CacheWalk(function)
    walk.add("function", function)
    for field in fields(options):
        walk.add(_OPTION + field.name, getattr(options, field.name))
    walk.run()
    facts = sorted("\1".join(fact) for fact in walk.facts)
    return hashlib.blake2b("\0".join(facts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class CacheWalk(Walk):
    """Notes content, since two values loaded from other constants are other values."""

    def _scalar(self, path: str, value: Any) -> None:
        self._fact(path, type(value).__name__, repr(value))

    def _code(self, path: str, module: str, function: types.FunctionType) -> None:
        self._fact(path, "code", module, function.__qualname__, code_hash(function.__code__))

    def _foreign(self, path: str, module: str, function: types.FunctionType) -> None:
        self._fact(path, "function", module, function.__qualname__)

    def _unseen(self, path: str, kind: type) -> None:
        self._fact(path, "unseen", kind.__qualname__)

    def _class(self, path: str, value: type) -> None:
        which = str(OBJECTS.of(value)) if self._own_class(value) else value.__module__
        self._fact(path, "class", value.__qualname__, which)

    def _instance(self, path: str, value: Any) -> None:
        if path.startswith(_OPTION):
            self._fact(path, "itself", _number(value))
        elif isinstance(value, CONTAINERS):
            self._container(path, value)
        else:
            self._object(path, value)

    def _container(self, path: str, value: Any) -> None:
        self._fact(path, type(value).__name__, str(len(value)))
        if isinstance(value, dict):
            for key, content in islice(value.items(), MOST_OBJECTS):
                self.add(f"{path}[{key!r}]" if type(key) in SCALARS else f"{path}[]", content)
                if type(key) not in SCALARS:
                    self.add(f"{path}.key", key)
        elif isinstance(value, (list, tuple)):
            for position, content in enumerate(value[:MOST_OBJECTS]):
                self.add(f"{path}[{position}]", content)
        else:
            for content in islice(value, MOST_OBJECTS):  # in any order
                self.add(f"{path}{{}}", content)

    def _object(self, path: str, value: Any) -> None:
        kind = type(value)
        inner = getattr(value, "__dict__", {}).get("__wrapped__")  # a cached function, a task, a decorated function
        if inner is not None:
            self.add(f"{path}.wrapped", inner)
            return
        self._fact(path, "object", kind.__module__, kind.__qualname__)
        self.add(f"{path}.class", kind)
        if isinstance(value, enum.Enum):
            self._fact(path, "member", str(value._name_))
        elif keys.is_dataclass(value):
            for field in fields(value):
                self.add(f"{path}.{field.name}", getattr(value, field.name, None))
        elif estimate(value) <= _MOST_BYTES:
            try:
                self._fact(path, "content", hashlib.blake2b(keys.encode(value)).hexdigest())
            except CodecError:  # a logger, a client, a lock
                return


def _number(value: Any) -> str:
    """Of an object that the options hold, and so of no other while there are values of this identity."""
    try:
        return str(OBJECTS.of(value))
    except TypeError:  # a list, whose `append` is told what leaves
        return str(id(value))
