"""The globals of the task's own modules: rebound names, and objects changed in place.

After import, every mutable object that can be reached from the modules is noted with a shallow copy. After an input
dicts, classes and closures are asked for their marks of change, and the rest is compared with the copies, all of it
with one call of a loop in C, which takes some 3 ns for an element that is the same object and calls no `__eq__`. What
changed is put back into the same object, so references to it stay right. Functions are looked at when something was
assigned to one, which Python tells (see `process`).
"""

from __future__ import annotations

import array
import contextvars
import functools
import io
import logging
import socket
import sys
import threading
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import call, is_
from typing import Any

from actorq.isolation.reset import kinds, marks
from actorq.isolation.reset.bodies import Bodies
from actorq.isolation.reset.locks import LOCK, RLOCK, Locks
from actorq.isolation.reset.marks import Marks

#: entries noted at most, of all globals together; what is larger is named at start and not restored in place
_MOST_ELEMENTS = 200_000

_PLAIN = frozenset({list, deque, set, bytearray, dict, types.MappingProxyType})
_SIZED = _PLAIN | {tuple, frozenset}
#: code of other modules, and loggers, which every module has: they belong to logging, like its handlers
_STATELESS = (types.ModuleType, types.MethodType, types.GenericAlias, functools.partial, logging.Logger)
#: modules whose instances say something about code
_DECLARING = frozenset({"typing", "__future__"})
#: what moves on when it is used, and has no attributes that say so
_STATEFUL = (Iterator, io.IOBase, socket.socket, array.array, memoryview, contextvars.ContextVar)
#: locks, queues and the like of event loops, on which nobody waits when an input has ended
_AWAITED = frozenset({"asyncio.locks", "asyncio.queues"})
_LRU_CACHE = type(functools.lru_cache(lambda: None))


class GlobalState:
    """The state of some modules.

    Args:
        modules: names of the modules to restore.
        opaque: types whose instances keep their state between inputs (the cache).
    """

    def __init__(self, modules: Iterable[str], opaque: tuple[type, ...]) -> None:
        self._opaque = opaque
        self._names: set[str] = set()
        self._namespaces: dict[str, kinds.Saved] = {}
        self._marks = Marks()
        #: of types whose comparison in C is exact but for equal elements; compared as one list
        self._plain: list[kinds.Saved] = []
        self._plain_now: list[Any] = []
        self._plain_copies: list[Any] = []
        self._others: list[kinds.Saved] = []
        #: lists and deques, how long they are, and all that is in them
        self._lists: list[Any] = []
        self._lengths: list[int] = []
        self._elements_of_lists: list[Any] = []
        self._functions: dict[int, kinds.Saved] = {}
        self._clears: list[Callable[[], None]] = []
        self._locks = Locks()
        self._bodies = Bodies()
        self._seen: set[int] = set()
        self._keep: list[Any] = []  # what was seen stays alive, or its id could be used again
        self._elements = 0
        #: globals that hold mutable objects which cannot be restored in place, "module.name"
        self.unrestored: list[str] = []
        self.add(modules)

    def add(self, modules: Iterable[str]) -> None:
        """Notes the state of further modules as it is now."""
        fresh = [name for name in modules if name not in self._names and name in sys.modules]
        self._names.update(fresh)
        for name in fresh:
            namespace = vars(sys.modules[name])
            self._bodies.add_module(name)
            self._namespaces[name] = self._note(kinds.Mapping, namespace)
            for key, value in list(namespace.items()):
                if not (key.startswith("__") and key.endswith("__")):
                    self._walk(value, f"{name}.{key}")
        self._marks.take()

    def adopt(self) -> None:
        """Keeps what the import of a submodule in a body did to its package: the import system does it only once.

        Modules have come or gone; those of ours are put back.
        """
        self._bodies.restore_modules()
        for name, saved in self._namespaces.items():
            for child in [key for key in saved.what if key not in saved.copy]:
                if saved.what[child] is sys.modules.get(f"{name}.{child}"):
                    saved.copy[child] = saved.what[child]

    def restore(self) -> None:
        """Puts back what changed. A list's or set's element that was replaced by an equal one waits for
        `restore_exactly`.
        """
        if self._marks.changed:
            for saved in self._marks.which():
                saved.restore()
            self._marks.take()
        if not self._same():
            for saved in self._plain:
                if saved.changed():
                    saved.restore()
        for saved in self._others:
            if saved.changed():
                saved.restore()
        for clear in self._clears:
            clear()
        if (held := self._locks.held) and True in map(call, held):
            self._locks.free()

    def restore_exactly(self) -> None:
        """The same by identity, and what is looked at only then: after every lease."""
        self._bodies.restore()
        if not marks.INSTANCES or not (
            list(map(len, self._lists)) == self._lengths
            and all(map(is_, chain.from_iterable(self._lists), self._elements_of_lists))
        ):
            for saved in self._plain:
                saved.restore_if_not_identical()
        for saved in self._others:
            saved.restore_if_not_identical()

    def restore_functions(self, assigned: Iterable[types.FunctionType]) -> None:
        """Puts back the code and default arguments of functions to which something was assigned."""
        for function in assigned:
            if (saved := self._functions.get(id(function))) is not None:
                saved.restore_if_not_identical()

    def _same(self) -> bool:
        try:
            return self._plain_now == self._plain_copies
        except Exception:  # see kinds.Saved.changed
            return False

    # -- noting --------------------------------------------------------------------------------------------------------

    def _note(self, kind: Callable[[Any], kinds.Saved], what: Any) -> kinds.Saved:
        saved = kind(what)
        now = vars(what) if isinstance(saved, kinds.Class) else what
        if isinstance(saved, kinds.Function):
            self._functions[id(what)] = saved
        elif _is_marked(saved):
            self._marks.add(now, saved)
        elif type(now) in _PLAIN:
            self._plain.append(saved)
            self._plain_now.append(now)
            self._plain_copies.append(saved.copy)
            if isinstance(saved, kinds.Sequence):
                self._lists.append(what)
                self._lengths.append(len(what))
                self._elements_of_lists += what
        else:
            self._others.append(saved)
        return saved

    def _walk(self, root: Any, name: str) -> None:
        """Notes every mutable object of ours that `root` reaches."""
        todo = [root]
        while todo:
            value = todo.pop()
            if id(value) in self._seen or issubclass(type(value), self._opaque):
                continue
            size = len(value) if type(value) in _SIZED else 1
            if self._elements + size > _MOST_ELEMENTS:  # what is smaller may still fit
                self._leave(name)
                continue
            try:
                found = self._visit(value, name)
            except Exception:  # a lazy proxy, a property that raises: it is left as it is
                self._leave(name)
                continue
            if found is not None:
                self._seen.add(id(value))
                self._keep.append(value)
                self._elements += size
                todo.extend(found)

    def _leave(self, name: str) -> None:
        if name not in self.unrestored:
            self.unrestored.append(name)

    def _visit(self, value: Any, name: str) -> list[Any] | None:
        """Notes `value`; returns what it refers to, None for what needs no look."""
        kind = type(value)
        if kind in _ATOMIC:
            return None
        if (held := self._visit_container(value)) is not None:
            return held if kind in _SIZED else held + self._visit_attributes(value, kind)
        if isinstance(value, _LRU_CACHE):
            self._clears.append(value.cache_clear)
            return [value.__wrapped__]
        found = self._visit_waited_for(value, kind, name)
        return self._visit_code(value, kind, name) if found is None else found

    def _visit_container(self, value: Any) -> list[Any] | None:
        if isinstance(value, (list, deque)):
            self._note(kinds.Sequence, value)
            return list(value)
        if isinstance(value, dict):
            self._note(kinds.Ordered if isinstance(value, OrderedDict) else kinds.Mapping, value)
            return [*dict.keys(value), *dict.values(value)]
        if isinstance(value, set):
            self._note(kinds.Set, value)
            return list(value)
        if isinstance(value, bytearray):
            self._note(kinds.Bytes, value)
            return []
        return list(value) if isinstance(value, (tuple, frozenset)) else None

    def _visit_waited_for(self, value: Any, kind: type, name: str) -> list[Any] | None:
        """What threads wait for."""
        if kind is LOCK or kind is RLOCK:
            self._locks.add(value, name)
            return []
        if kind in kinds.COUNTERS:
            self._note(kinds.Counter, value)
            return [value._cond]
        return [value._lock] if kind is threading.Condition else None

    def _visit_code(self, value: Any, kind: type, name: str) -> list[Any] | None:
        """Functions, classes and instances, of the task's own modules only."""
        if isinstance(value, (staticmethod, classmethod)):
            return [value.__func__]
        if isinstance(value, property):
            return [value.fget, value.fset, value.fdel]
        if isinstance(value, functools.cached_property):
            return [value.func]
        if isinstance(value, types.FunctionType):
            return self._visit_function(value) if value.__module__ in self._names else None
        if isinstance(value, type):
            if value.__module__ not in self._names:
                return None
            self._note(kinds.Class, value)
            self._bodies.add_class(value)
            return [v for k, v in vars(value).items() if k not in kinds.CLASS_INTERNALS]
        if isinstance(value, functools.singledispatchmethod):
            return [value.dispatcher, value.func]
        if kind.__module__ in self._names or kind.__module__ in _AWAITED:
            return self._visit_attributes(value, kind)
        ours = kind.__module__.partition(".")[0] == "actorq"
        if not ours and _has_state(value, kind):
            self._leave(name)
        inner = getattr(value, "function", None) if ours else None
        return None if inner is None else [inner]

    def _visit_attributes(self, value: Any, kind: type) -> list[Any]:
        """Of an instance of a class that is not built in."""
        found: list[Any] = []
        self._bodies.add_instance(value)
        if hasattr(value, "__dict__"):
            self._note(kinds.Instance, vars(value))
            found += vars(value).values()
        names = kinds.named_slots(kind)
        if names:
            self._note(kinds.Attributes, value)
            found += [getattr(value, name) for name in names if hasattr(value, name)]
        return found

    def _visit_function(self, function: types.FunctionType) -> list[Any]:
        self._note(kinds.Function, function)
        self._bodies.add_function(function)
        if vars(function):
            self._note(kinds.Mapping, vars(function))
        if (registry := kinds.registry_of(function)) is not None:
            self._note(functools.partial(kinds.Registry, function), registry)
        found: list[Any] = [*vars(function).values(), *(function.__defaults__ or ())]
        found += (function.__kwdefaults__ or {}).values()
        for cell in function.__closure__ or ():
            try:
                found.append(cell.cell_contents)
            except ValueError:  # never filled
                continue
            self._note(kinds.Cell, cell)
        return found


def _is_marked(saved: kinds.Saved) -> bool:
    """Whether a mark tells of every change of it."""
    if isinstance(saved, kinds.Instance):
        return marks.INSTANCES
    marked = isinstance(saved, (kinds.Mapping, kinds.Class, kinds.Cell)) and not isinstance(saved, kinds.Ordered)
    return marks.AVAILABLE and marked


def _has_state(value: Any, kind: type) -> bool:
    """Whether an instance of another module's class holds something that could be changed."""
    if issubclass(kind, _STATEFUL) or (kind.__module__ == "numpy" and kind.__name__ == "ndarray"):
        return True
    return (
        not issubclass(kind, _STATELESS)
        and kind.__module__ not in _DECLARING
        and bool(getattr(value, "__dict__", None))
    )


_ATOMIC = frozenset(
    {int, float, complex, bool, str, bytes, type(None), range, slice, types.BuiltinFunctionType, type(Ellipsis)}
)
