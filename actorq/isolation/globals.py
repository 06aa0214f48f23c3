"""The globals of the task's own modules: rebound names, and objects changed in place.

After import, every mutable object that can be reached from the modules is noted with a shallow copy. After an input
each is compared with its copy, which for elements that are the same objects is a loop in C of some 15 ns each and calls
no `__eq__`; after a lease by identity alone. What changed is put back into the same object, so references to it stay
right.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any

#: objects noted at most; a module of data larger than this is named at start and not restored in place
_MOST_ELEMENTS = 200_000

_LRU_CACHE = type(functools.lru_cache(lambda: None))
_CLASS_INTERNALS = frozenset({"__dict__", "__weakref__", "_abc_impl", "__abstractmethods__"})


class _Saved:
    """One mutable object and what it held.

    `changed` is the quick look after every input, `restore` the exact one. Both may be called at any time.
    """

    __slots__ = ("copy", "what")

    def __init__(self, what: Any) -> None:
        self.what = what
        self.copy = self.take()

    def take(self) -> Any:
        raise NotImplementedError

    def changed(self) -> bool:
        """Whether `what` differs from `copy`. Compares identities first and so calls no code for what is the same."""
        try:
            return bool(self.what != self.copy)
        except Exception:  # an element was replaced, and its __eq__ does not like it: numpy, a mock
            return True

    def restore(self) -> None:
        raise NotImplementedError

    def restore_if_not_identical(self) -> None:
        """`changed` believes an `__eq__`; this does not."""
        if self.changed():
            self.restore()


class _Sequence(_Saved):
    __slots__ = ()

    def take(self) -> Any:
        return self.what.copy()

    def restore(self) -> None:
        self.what.clear()
        self.what.extend(self.copy)

    def restore_if_not_identical(self) -> None:
        if len(self.what) != len(self.copy) or not all(map(is_, self.what, self.copy)):
            self.restore()


class _Mapping(_Saved):
    __slots__ = ()

    def take(self) -> Any:
        return dict(dict.items(self.what))  # whatever a subclass overrides

    def changed(self) -> bool:
        try:
            return not dict.__eq__(self.what, self.copy)  # a subclass (Counter) may compare its own, slower way
        except Exception:  # see above
            return True

    def restore(self) -> None:
        dict.clear(self.what)
        dict.update(self.what, self.copy)

    def restore_if_not_identical(self) -> None:
        what, copy = self.what, self.copy
        if len(what) != len(copy) or not all(map(is_, dict.values(what), copy.values())):
            self.restore()


class _Ordered(_Mapping):
    """An OrderedDict keeps its order beside the dict: it must be filled by its own methods."""

    __slots__ = ()

    def restore(self) -> None:
        OrderedDict.clear(self.what)
        OrderedDict.update(self.what, self.copy)


class _Attributes(_Saved):
    """The slots of an instance."""

    __slots__ = ("names",)

    def take(self) -> Any:
        self.names = [name for name in _slots_of(type(self.what)) if hasattr(self.what, name)]
        return [getattr(self.what, name) for name in self.names]

    def changed(self) -> bool:
        now = [getattr(self.what, name, self) for name in self.names]
        return not all(map(is_, now, self.copy))

    def restore(self) -> None:
        for name, value in zip(self.names, self.copy, strict=True):
            object.__setattr__(self.what, name, value)


class _Set(_Saved):
    __slots__ = ()

    def take(self) -> Any:
        return frozenset(self.what)

    def restore(self) -> None:
        self.what.clear()
        self.what.update(self.copy)


class _Bytes(_Saved):
    __slots__ = ()

    def take(self) -> Any:
        return bytes(self.what)

    def restore(self) -> None:
        self.what[:] = self.copy


class _Class(_Saved):
    __slots__ = ()

    def take(self) -> Any:
        return dict(vars(self.what))

    def changed(self) -> bool:
        try:
            return bool(vars(self.what) != self.copy)
        except Exception:  # see above
            return True

    def restore(self) -> None:
        now = vars(self.what)
        for name, value in self.copy.items():
            if now.get(name) is not value and name not in _CLASS_INTERNALS:
                type.__setattr__(self.what, name, value)
        for name in [n for n in now if n not in self.copy]:
            type.__delattr__(self.what, name)


class _Cell(_Saved):
    """A variable of an enclosing function."""

    __slots__ = ()

    def take(self) -> Any:
        return self.what.cell_contents

    def changed(self) -> bool:
        try:
            return self.what.cell_contents is not self.copy
        except ValueError:  # emptied
            return True

    def restore(self) -> None:
        self.what.cell_contents = self.copy


class _Function(_Saved):
    """Default arguments and code, by rebinding. Hardly ever rebound, so looked at once per lease."""

    __slots__ = ()

    def take(self) -> Any:
        return (self.what.__defaults__, self.what.__kwdefaults__, self.what.__code__)

    def changed(self) -> bool:
        return False

    def restore(self) -> None:
        self.what.__defaults__, self.what.__kwdefaults__, self.what.__code__ = self.copy

    def restore_if_not_identical(self) -> None:
        defaults, kwdefaults, code = self.copy
        what = self.what
        if what.__defaults__ is not defaults or what.__kwdefaults__ is not kwdefaults or what.__code__ is not code:
            self.restore()


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
        self._often: list[_Saved] = []  # those that are looked at after every input
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
        """Puts back what changed. What was replaced by an equal value is left to `restore_exactly`."""
        for saved in self._often:
            if saved.changed():
                saved.restore()
        for cache in self._caches:
            if cache.cache_info()[3]:
                cache.cache_clear()

    def restore_exactly(self) -> None:
        """The same by identity, for all objects: after every lease."""
        for saved in self._saved:
            saved.restore_if_not_identical()

    # -- noting --------------------------------------------------------------------------------------------------------

    def _note(self, kind: Callable[[Any], _Saved], what: Any) -> None:
        saved = kind(what)
        self._saved.append(saved)
        if not isinstance(saved, _Function):
            self._often.append(saved)

    def _walk(self, root: Any, name: str) -> None:
        """Notes every mutable object of ours that `root` reaches."""
        todo = [root]
        while todo:
            value = todo.pop()
            if id(value) in self._seen or issubclass(type(value), self._opaque):
                continue
            if self._elements > _MOST_ELEMENTS:
                self.unrestored.append(name)
                return
            try:
                found = self._visit(value, name)
            except Exception:  # a lazy proxy, a property that raises: it is left as it is
                self.unrestored.append(name)
                continue
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
            self._note(_Ordered if isinstance(value, OrderedDict) else _Mapping, value)
            return [*dict.keys(value), *dict.values(value)]
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
        if kind.__module__ in self._names:
            return self._visit_instance(value, kind)
        if not isinstance(value, types.ModuleType) and hasattr(value, "__dict__") and kind.__module__ != "typing":
            if not callable(value) and vars(value):
                self.unrestored.append(name)
        elif kind.__module__ == "numpy" and kind.__name__ == "ndarray":
            self.unrestored.append(name)
        inner = getattr(value, "function", None) if kind.__module__.startswith("actorq") else None
        return None if inner is None else [inner]

    def _visit_instance(self, value: Any, kind: type) -> list[Any]:
        found: list[Any] = []
        if hasattr(value, "__dict__"):
            self._note(_Mapping, vars(value))
            found += vars(value).values()
        names = _slots_of(kind)
        if names:
            self._note(_Attributes, value)
            found += [getattr(value, name) for name in names if hasattr(value, name)]
        return found

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


def _slots_of(kind: type) -> list[str]:
    names: list[str] = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else [s for s in slots if s not in ("__dict__", "__weakref__")]
    return names


_ATOMIC = frozenset(
    {int, float, complex, bool, str, bytes, type(None), range, slice, types.BuiltinFunctionType, type(Ellipsis)}
)
