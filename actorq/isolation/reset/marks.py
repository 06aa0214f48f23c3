"""Whether any of many dicts has changed, in some 20 ns each and whatever their size.

CPython gives a dict a new version whenever it changes (PEP 509), also when a value is replaced by an equal one, and
puts it at a fixed place in the object; the same holds for what a cell refers to. These words are read where they lie,
all of them with one call. Whether they are where we think is tried out at import: where not,
`AVAILABLE` is false and objects are compared with copies instead, which takes 14 ns an entry; `INSTANCES` says it of
the attributes of instances, which Python 3.13 changes without a word. A decimal context, which is a few numbers in one
place, is read whole.
"""

from __future__ import annotations

import ctypes
import decimal
import gc
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any

#: bytes from the begin of an object on a 64-bit build: head (16), number of entries (8), version
_DICT_VERSION = 24
#: head (16), pointer to the contents
_CELL_CONTENTS = 16
_WORD_BYTES = 8
#: runs after which the interpreter has specialised a function
_OFTEN = 100


class Marks:
    """The marks of some objects, and what belongs to each."""

    def __init__(self) -> None:
        self._views: list[memoryview] = []
        self._owners: list[Any] = []
        self._seen = b""

    def add(self, what: Any, owner: Any) -> None:
        """Watches a dict, the namespace of a class, or a cell; the caller keeps it alive. `take` must follow."""
        if isinstance(what, types.CellType):
            address = id(what) + _CELL_CONTENTS
        else:
            namespace = gc.get_referents(what)[0] if isinstance(what, types.MappingProxyType) else what
            assert isinstance(namespace, dict)
            address = id(namespace) + _DICT_VERSION
        self._views.append(_word(address))
        self._owners.append(owner)

    def take(self) -> None:
        """What is there now is what it should be."""
        self._seen = b"".join(self._views)

    @property
    def changed(self) -> bool:
        return b"".join(self._views) != self._seen

    def which(self) -> list[Any]:
        """The owners of those that changed."""
        now, seen = (memoryview(words).cast("Q") for words in (b"".join(self._views), self._seen))
        return [owner for owner, a, b in zip(self._owners, now, seen, strict=True) if a != b]


def _word(address: int) -> memoryview:
    return memoryview((ctypes.c_char * _WORD_BYTES).from_address(address)).cast("B")


class _Tried:
    """A class with a namespace to change, and instances."""

    a: int = 0


def _assign(holder: _Tried, value: int) -> None:
    holder.a = value


def _exact(*steps: tuple[Any, Callable[[], object]]) -> bool:
    """Whether marks stay while nothing changes, and change with what they are the marks of."""
    for what, change in steps:
        marks = Marks()
        marks.add(what, None)
        marks.take()
        repr(what)
        if marks.changed:
            return False
        change()
        if not marks.changed:
            return False
    return True


def _available() -> bool:
    """Whether it is so on the Python that runs."""
    if ctypes.sizeof(ctypes.c_void_p) != _WORD_BYTES:
        return False
    tried: dict[Any, Any] = {"a": 1}
    counted = type("_Counted", (dict,), {})(a=1)
    cell = types.CellType(tried)
    return _exact(
        (tried, lambda: tried.update(a=1.0)),
        (tried, lambda: tried.pop("a")),
        (tried, lambda: tried.update(b=1)),
        (tried, tried.clear),
        (counted, lambda: counted.update(b=1)),
        (vars(_Tried), lambda: setattr(_Tried, "b", 1)),
        (cell, lambda: setattr(cell, "cell_contents", 1)),
    )


def _instances() -> bool:
    """Whether it is so for attributes of instances, and in code that has run often, where 3.13 goes past the dict."""
    holder = _Tried()
    holder.a = 0
    namespace = vars(holder)
    return AVAILABLE and _exact(*((namespace, partial(_assign, holder, value)) for value in range(1, _OFTEN)))


def _content(context: decimal.Context) -> Callable[[], bytes]:
    head = object.__basicsize__
    size = type(context).__basicsize__ - head
    return memoryview((ctypes.c_char * size).from_address(id(context) + head)).cast("B").tobytes


def content_of(context: decimal.Context) -> Callable[[], Any]:
    """What says, as one value, all that a decimal context holds. The caller keeps the context alive."""
    return _content(context) if _CONTEXTS else partial(_reduced, context)


def _reduced(context: decimal.Context) -> Any:
    return context.__reduce__()[1]


def _contexts() -> bool:
    """Whether the content of a context changes with whatever is assigned to it, and only then."""
    context = decimal.Context(prec=20)
    if type(context).__module__ != "decimal" or sys.implementation.name != "cpython":
        return False
    now = _content(context)
    before = now()
    changes: list[Callable[[], object]] = [
        *(partial(setattr, context, name, value) for name, value in _OTHER_VALUES.items()),
        partial(context.flags.__setitem__, decimal.Inexact, True),
        partial(context.traps.__setitem__, decimal.Inexact, True),
    ]
    for change in changes:
        if now() != before:
            return False
        change()
        if now() == before:
            return False
        before = now()
    return True


_OTHER_VALUES = {"prec": 7, "rounding": decimal.ROUND_UP, "Emin": -9, "Emax": 9, "capitals": 0, "clamp": 1}
_CONTEXTS = _contexts()
AVAILABLE = _available()
INSTANCES = _instances()
