"""Equal for the same code in two processes: what a lease says of its submitter's code, and a replica finds out.

The one idea: *only what is written in the source counts*. Functions count by their code, classes by their methods,
constants where they are literals (see `literals.py`). What a process computes (the time it started, the processors it
has, what it read) is no code, and differs without anybody having edited anything.

Nothing can be said where the code here is not what its file would give: a module that a test runner or a type checker
changed while it was imported. And code of different versions of Python cannot be compared.
"""

from __future__ import annotations

import enum
import inspect
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref
from zipimport import zipimporter

from actorq.base.names import execution, module_named, public_module
from actorq.code.literals import Literals
from actorq.code.walk import SCALARS, Walk, code_hash
from actorq.errors import DeclarationError

#: what bytecode depends on: the interpreter, and whether it leaves out assertions and docstrings
PYTHON = f"{sys.implementation.cache_tag}-{sys.flags.optimize}"
#: bytes of a hash: of all the code, and of one function among a few hundred
_ALL, _ONE = 12, 6
#: of a container that may hold functions, elements
_MOST_CALLABLES = 1000
#: where a member of a class keeps its functions: a static or a class method, a property, a cached one, a decorated one
_FUNCTIONS = ("__func__", "fget", "fset", "func", "__wrapped__")
#: import what is in a file, and nothing else
_LOADERS = (SourceFileLoader, SourcelessFileLoader, zipimporter, types.NoneType)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Of the code of one task."""

    #: b"" where nothing can be said
    digest: bytes
    #: what it consists of: name of a function, a class or a constant -> hash
    parts: Mapping[str, bytes] = field(repr=False)
    #: why nothing can be said
    unknown: str = ""
    #: the modules that the code is in, each with its import
    modules: tuple[tuple[ReferenceType[types.ModuleType], object], ...] = field(default=(), repr=False, compare=False)

    @property
    def text(self) -> str:
        """As it travels; "" where nothing can be said."""
        return f"{PYTHON}:{self.digest.hex()}" if self.digest else ""

    @property
    def is_current(self) -> bool:
        """Whether none of the modules was reloaded since."""
        for reference, spec in self.modules:
            module = reference()
            if module is None or getattr(module, "__spec__", None) is not spec:  # pdb runs a script without one
                return False
        return True


def is_comparable(text: str) -> bool:
    """Whether the code that `text` is of, as it travels, can be compared with code here."""
    return text.startswith(f"{PYTHON}:")


class Fingerprints:
    """Those of this process, each found out once for a module as it was imported."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[types.FunctionType, Fingerprint] = WeakKeyDictionary()

    def of(self, function: Any) -> Fingerprint:
        """That of the code of a task's function, as it was imported last."""
        known = self._known.get(function)
        if known is not None and known.is_current:
            return known
        walk = _CodeWalk(function)
        walk.add("", function)
        walk.run()
        found = self._known[function] = walk.fingerprint()
        return found


#: those of this process
FINGERPRINTS = Fingerprints()


class _CodeWalk(Walk):
    """Notes what is the same wherever the same files are imported."""

    def __init__(self, root: types.FunctionType) -> None:
        super().__init__(root)
        self._literals: dict[str, Literals | None] = {}
        self._modules: list[tuple[ReferenceType[types.ModuleType], object]] = []
        self._changed = ""

    def fingerprint(self) -> Fingerprint:
        if self._changed:
            return Fingerprint(digest=b"", parts={}, unknown=self._changed, modules=tuple(self._modules))
        by_name: dict[str, list[str]] = {}
        for name, *what in sorted(self.facts):
            by_name.setdefault(name, []).append("\1".join(what))
        parts = {name: _hash("\0".join(facts), _ONE) for name, facts in by_name.items()}
        digest = _hash("\0".join(f"{name}\1{part.hex()}" for name, part in parts.items()), _ALL)
        return Fingerprint(digest=digest, parts=parts, modules=tuple(self._modules))

    # -- what is noted -------------------------------------------------------------------------------------------------

    def _code(self, path: str, module: str, function: types.FunctionType) -> None:
        if function.__code__.co_filename.startswith("<"):  # made when it was imported, as by dataclasses
            return
        name = f"{_public(module)}.{function.__qualname__}"
        self._fact(name, "code", code_hash(function.__code__))
        literals = self._literals_of(module)
        defaults = (function.__defaults__ or (), tuple((function.__kwdefaults__ or {}).items()))
        if literals is not None and any(defaults) and literals.has_literal_defaults(function.__qualname__):
            self._fact(name, "defaults", repr(defaults))

    def _default(self, path: str, function: types.FunctionType, value: Any) -> None:
        if type(value) not in SCALARS:
            self.add(path, value)

    def _global(self, namespace: Mapping[str, Any], module: str, name: str, used: frozenset[str]) -> None:
        value = namespace[name]
        if type(value) in SCALARS or type(value) in (list, tuple, set, frozenset, dict):
            literals = self._literals_of(module)
            text = None if literals is None else literals.value(name, value)
            if text is not None:
                self._fact(f"{_public(module)}.{name}", "value", text)
        self.add(f"{module}.{name}", value, used)

    def _class(self, path: str, value: type) -> None:
        if not self._own_class(value):
            return
        name, members = f"{_public(value.__module__)}.{value.__qualname__}", dict(vars(value))
        self._fact(name, "class", *(base.__qualname__ for base in value.__bases__), *_annotated(value))
        literals = self._literals_of(value.__module__)
        if literals is not None and "." not in value.__qualname__:
            values = {key: each._value_ if isinstance(each, enum.Enum) else each for key, each in members.items()}
            for attribute, text in literals.attributes(value.__name__, values):
                self._fact(f"{name}.{attribute}", "value", text)
        for base in value.__bases__:
            self.add("", base)
        for member in members.values():
            for function in (member, *(getattr(member, attribute, None) for attribute in _FUNCTIONS)):
                if isinstance(function, (types.FunctionType, type)):
                    self.add("", function)

    def _instance(self, path: str, value: Any) -> None:
        if isinstance(value, (list, tuple, dict)) and len(value) <= _MOST_CALLABLES:  # of functions, by a name each
            for each in list(value.values() if isinstance(value, dict) else value):
                if isinstance(each, (types.FunctionType, type)):
                    self.add("", each)
            return
        inner = getattr(value, "__dict__", {}).get("__wrapped__")  # a cached function, a task, a decorated function
        self.add("", type(value) if inner is None else inner)

    def _unseen(self, path: str, kind: type) -> None:
        """It would say nothing of the code."""

    def _scalar(self, path: str, value: Any) -> None:
        """Counts only where it is a literal, and was noted then."""

    def _foreign(self, path: str, module: str, function: types.FunctionType) -> None:
        """An installed package: another version of it is another matter."""

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _literals_of(self, name: str) -> Literals | None:
        """Those of a module whose code counts."""
        if name not in self._literals:
            module = module_named(name)
            if module is not None:
                self._modules.append((ref(module), execution(vars(module))))
            loader = getattr(module, "__loader__", None)
            if type(loader) not in _LOADERS:
                self._changed = f"{name} was imported by {type(loader).__module__}.{type(loader).__qualname__}"
            self._literals[name] = None if module is None else Literals(module)
        return self._literals[name]


def _annotated(kind: type) -> list[str]:
    """The names that a class annotates: the fields of a dataclass, a model, a named tuple."""
    try:
        return sorted(inspect.get_annotations(kind))
    except Exception:  # one that is evaluated late, and names what is only there for a type checker
        return []


def _public(module: str) -> str:
    try:
        return public_module(module)
    except DeclarationError:  # an interactive session
        return module


def _hash(text: str, size: int) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
