"""The globals of the task's own modules: rebound names, and objects changed in place.

After import, every mutable object that can be reached from the modules is noted with a shallow copy. After an input
each is compared with its copy *by identity of the elements*: no `__eq__` of the user's runs, and what did not change
costs some 25 ns an element. What changed is put back into the same object, so references to it stay right.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any

#: objects noted at most; a module of data larger than this is named at start and not restored in place
_MOST_ELEMENTS = 200_000

_LRU_CACHE = type(functools.lru_cache(lambda: None))
_CLASS_INTERNALS = frozenset({"__dict__", "__weakref__", "_abc_impl", "__abstractmethods__"})


class _Saved:
    """One mutable object and what it held."""

    __slots__ = ("keys", "values", "what")

    def __init__(self, what: Any) -> None:
        self.what = what
        self.save()

    def save(self) -> None:
        raise NotImplementedError

    def restore_if_changed(self) -> bool:
        raise NotImplementedError


class _Sequence(_Saved):
    __slots__ = ()

    def save(self) -> None:
        self.values = list(self.what)

    def restore_if_changed(self) -> bool:
        what, values = self.what, self.values
        if len(what) == len(values) and all(map(is_, what, values)):
            return False
        what.clear()
        what.extend(values)
        return True


class _Mapping(_Saved):
    __slots__ = ()

    def save(self) -> None:
        self.keys, self.values = list(self.what), list(self.what.values())

    def restore_if_changed(self) -> bool:
        what, values = self.what, self.values
        if len(what) == len(values) and all(map(is_, what.values(), values)) and all(map(is_, what, self.keys)):
            return False
        dict.clear(what)
        dict.update(what, zip(self.keys, values, strict=True))
        return True


class _Set(_Saved):
    __slots__ = ()

    def save(self) -> None:
        self.values = frozenset(self.what)

    def restore_if_changed(self) -> bool:
        if self.what == self.values:
            return False
        self.what.clear()
        self.what.update(self.values)
        return True


class _Bytes(_Saved):
    __slots__ = ()

    def save(self) -> None:
        self.values = bytes(self.what)

    def restore_if_changed(self) -> bool:
        if self.what == self.values:
            return False
        self.what[:] = self.values
        return True


class _Class(_Saved):
    __slots__ = ()

    def save(self) -> None:
        self.values = {k: v for k, v in vars(self.what).items() if k not in _CLASS_INTERNALS}

    def restore_if_changed(self) -> bool:
        now = vars(self.what)
        changed = False
        for name, value in self.values.items():
            if now.get(name) is not value:
                type.__setattr__(self.what, name, value)
                changed = True
        if len(now) != len(self.values):
            for name in [n for n in now if n not in self.values and n not in _CLASS_INTERNALS]:
                type.__delattr__(self.what, name)
                changed = True
        return changed


class _Function(_Saved):
    """Default arguments, by rebinding; a mutable default is noted as the object it is."""

    __slots__ = ()

    def save(self) -> None:
        self.values = (self.what.__defaults__, self.what.__kwdefaults__, self.what.__code__)

    def restore_if_changed(self) -> bool:
        what, (defaults, kwdefaults, code) = self.what, self.values
        if what.__defaults__ is defaults and what.__kwdefaults__ is kwdefaults and what.__code__ is code:
            return False
        what.__defaults__, what.__kwdefaults__, what.__code__ = defaults, kwdefaults, code
        return True


class _Cell(_Saved):
    """A variable of an enclosing function."""

    __slots__ = ()

    def save(self) -> None:
        self.values = self.what.cell_contents

    def restore_if_changed(self) -> bool:
        try:
            if self.what.cell_contents is self.values:
                return False
        except ValueError:  # emptied
            pass
        self.what.cell_contents = self.values
        return True


class GlobalState:
    """The state of some modules.

    Args:
        modules: names of the modules to restore.
        opaque: types whose instances keep their state between inputs (the cache).
    """

    def __init__(self, modules: Iterable[str], opaque: tuple[type, ...]) -> None:
        self._opaque = opaque
        self._names: set[str] = set()
        self._saved: list[_Saved] = []
        self._caches: list[Any] = []
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
            self._note(_Mapping, namespace)
            for key, value in list(namespace.items()):
                if not (key.startswith("__") and key.endswith("__")):
                    self._walk(value, f"{name}.{key}")

    def restore(self) -> None:
        """Puts back what changed."""
        for saved in self._saved:
            saved.restore_if_changed()
        for cache in self._caches:
            if cache.cache_info()[3]:
                cache.cache_clear()

    # -- noting --------------------------------------------------------------------------------------------------------

    def _note(self, kind: Callable[[Any], _Saved], what: Any) -> None:
        self._saved.append(kind(what))

    def _walk(self, root: Any, name: str) -> None:
        """Notes every mutable object of ours that `root` reaches."""
        todo = [root]
        while todo:
            value = todo.pop()
            if id(value) in self._seen or isinstance(value, self._opaque):
                continue
            if self._elements > _MOST_ELEMENTS:
                self.unrestored.append(name)
                return
            found = self._visit(value, name)
            if found is not None:
                self._seen.add(id(value))
                self._keep.append(value)
                self._elements += len(found) + 1
                todo.extend(found)

    def _visit(self, value: Any, name: str) -> list[Any] | None:
        """Notes `value`; returns what it refers to, None for what needs no look."""
        kind = type(value)
        if kind in _ATOMIC:
            return None
        if isinstance(value, (list, deque)):
            self._note(_Sequence, value)
            return list(value)
        if isinstance(value, dict):
            self._note(_Mapping, value)
            return [*value, *value.values()]
        if isinstance(value, set):
            self._note(_Set, value)
            return list(value)
        if isinstance(value, (tuple, frozenset)):
            return list(value)
        if isinstance(value, bytearray):
            self._note(_Bytes, value)
            return []
        if isinstance(value, _LRU_CACHE):
            self._caches.append(value)
            return [value.__wrapped__]
        return self._visit_code(value, kind, name)

    def _visit_code(self, value: Any, kind: type, name: str) -> list[Any] | None:
        """Functions, classes and instances, of the task's own modules only."""
        if isinstance(value, (staticmethod, classmethod)):
            return [value.__func__]
        if isinstance(value, property):
            return [value.fget, value.fset, value.fdel]
        if isinstance(value, types.FunctionType):
            return self._visit_function(value) if value.__module__ in self._names else None
        if isinstance(value, type):
            if value.__module__ not in self._names:
                return None
            self._note(_Class, value)
            return [v for k, v in vars(value).items() if k not in _CLASS_INTERNALS]
        if kind.__module__ in self._names and hasattr(value, "__dict__"):
            self._note(_Mapping, vars(value))
            return list(vars(value).values())
        if not isinstance(value, types.ModuleType) and hasattr(value, "__dict__") and kind.__module__ != "typing":
            if not callable(value) and vars(value):
                self.unrestored.append(name)
        elif kind.__module__ == "numpy" and kind.__name__ == "ndarray":
            self.unrestored.append(name)
        inner = getattr(value, "function", None) if kind.__module__.startswith("actorq") else None
        return None if inner is None else [inner]

    def _visit_function(self, function: types.FunctionType) -> list[Any]:
        self._note(_Function, function)
        if vars(function):
            self._note(_Mapping, vars(function))
        found: list[Any] = [*vars(function).values(), *(function.__defaults__ or ())]
        found += (function.__kwdefaults__ or {}).values()
        for cell in function.__closure__ or ():
            try:
                found.append(cell.cell_contents)
            except ValueError:  # never filled
                continue
            self._note(_Cell, cell)
        return found


_ATOMIC = frozenset(
    {int, float, complex, bool, str, bytes, type(None), range, slice, types.BuiltinFunctionType, type(Ellipsis)}
)
