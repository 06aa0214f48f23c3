"""The globals of the task's own modules: rebound names, and objects changed in place.

After import, every mutable object that can be reached from the modules is noted with a shallow copy. After an input
dicts, classes and closures are asked for their marks of change, and the rest is compared with the copies, all of it
with one call of a loop in C, which takes some 3 ns for an element that is the same object and calls no `__eq__`. What
changed is put back into the same object, so references to it stay right. Functions are looked at when something was
assigned to one, which Python tells (see `process`).
"""

from __future__ import annotations

import functools
import logging
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from itertools import chain
from operator import is_
from typing import Any

from actorq.isolation import marks
from actorq.isolation.marks import Marks

#: entries noted at most, of all globals together; what is larger is named at start and not restored in place
_MOST_ELEMENTS = 200_000

_PLAIN = frozenset({list, deque, set, bytearray, dict, types.MappingProxyType})
_SIZED = _PLAIN | {tuple, frozenset}
#: code of other modules, and loggers, which every module has: they belong to logging, like its handlers
_STATELESS = (types.ModuleType, types.MethodType, types.GenericAlias, functools.partial, logging.Logger)
#: modules whose instances say something about code
_DECLARING = frozenset({"typing", "__future__"})
_LRU_CACHE = type(functools.lru_cache(lambda: None))
_CLASS_INTERNALS = frozenset({"__dict__", "__weakref__", "_abc_impl", "__abstractmethods__"})


class _Saved:
    """One mutable object and what it held.

    `changed` is the quick look, which an equal element passes; `restore_if_not_identical` the exact one.
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
        """Assigns what differs: a namespace that is emptied and filled would slow down all code that reads it."""
        what, copy = self.what, self.copy
        for key in [key for key in dict.keys(what) if key not in copy]:
            dict.__delitem__(what, key)
        if len(what) == len(copy) and all(map(is_, dict.keys(what), copy)):
            for key, value in copy.items():
                if dict.__getitem__(what, key) is not value:
                    dict.__setitem__(what, key, value)
        else:  # something was deleted, and the order is part of a dict
            dict.clear(what)
            dict.update(what, copy)

    def restore_if_not_identical(self) -> None:
        what, copy = self.what, self.copy
        if not (
            len(what) == len(copy)
            and all(map(is_, dict.keys(what), copy))
            and all(map(is_, dict.values(what), copy.values()))
        ):
            self.restore()


class _Ordered(_Mapping):
    """An OrderedDict keeps its order beside the dict: it must be read and filled by its own methods."""

    __slots__ = ()

    def take(self) -> Any:
        return dict(OrderedDict.items(self.what))

    def restore_if_not_identical(self) -> None:
        if not all(map(is_, OrderedDict.keys(self.what), self.copy)):  # moved to the end, which is no change of a dict
            self.restore()
        super().restore_if_not_identical()

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
    """Default arguments and code, by rebinding. Looked at when something was assigned to a function."""

    __slots__ = ()

    def take(self) -> Any:
        return (self.what.__defaults__, self.what.__kwdefaults__, self.what.__code__)

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
        self._marks = Marks()
        #: of types whose comparison in C is exact but for equal elements; compared as one list
        self._plain: list[_Saved] = []
        self._plain_now: list[Any] = []
        self._plain_copies: list[Any] = []
        self._others: list[_Saved] = []
        #: lists and deques, how long they are, and all that is in them
        self._lists: list[Any] = []
        self._lengths: list[int] = []
        self._elements_of_lists: list[Any] = []
        self._functions: dict[int, _Saved] = {}
        self._clears: list[Callable[[], None]] = []
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
        self._marks.settle()

    def restore(self) -> None:
        """Puts back what changed. A list's or set's element that was replaced by an equal one waits for
        `restore_exactly`.
        """
        if self._marks.changed:
            for saved in self._marks.which():
                saved.restore()
            self._marks.settle()
        if not self._same():
            for saved in self._plain:
                if saved.changed():
                    saved.restore()
        for saved in self._others:
            if saved.changed():
                saved.restore()
        for clear in self._clears:
            clear()

    def restore_exactly(self) -> None:
        """The same by identity: after every lease."""
        if not marks.AVAILABLE or not (
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
        except Exception:  # see _Saved.changed
            return False

    # -- noting --------------------------------------------------------------------------------------------------------

    def _note(self, kind: Callable[[Any], _Saved], what: Any) -> None:
        saved = kind(what)
        now = vars(what) if isinstance(saved, _Class) else what
        if isinstance(saved, _Function):
            self._functions[id(what)] = saved
        elif marks.AVAILABLE and isinstance(saved, (_Mapping, _Class, _Cell)) and not isinstance(saved, _Ordered):
            self._marks.add(now, saved)
        elif type(now) in _PLAIN:
            self._plain.append(saved)
            self._plain_now.append(now)
            self._plain_copies.append(saved.copy)
            if isinstance(saved, _Sequence):
                self._lists.append(what)
                self._lengths.append(len(what))
                self._elements_of_lists += what
        else:
            self._others.append(saved)

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
            self._clears.append(value.cache_clear)
            return [value.__wrapped__]
        return self._visit_code(value, kind, name)

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
            self._note(_Class, value)
            return [v for k, v in vars(value).items() if k not in _CLASS_INTERNALS]
        if kind.__module__ in self._names:
            return self._visit_instance(value, kind)
        ours = kind.__module__.partition(".")[0] == "actorq"
        if not ours and (_has_state(value, kind) or (kind.__module__ == "numpy" and kind.__name__ == "ndarray")):
            self._leave(name)
        inner = getattr(value, "function", None) if ours else None
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


def _has_state(value: Any, kind: type) -> bool:
    """Whether an instance of another module's class has attributes that could be changed."""
    return (
        not issubclass(kind, _STATELESS)
        and kind.__module__ not in _DECLARING
        and bool(getattr(value, "__dict__", None))
    )


def _slots_of(kind: type) -> list[str]:
    names: list[str] = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else [s for s in slots if s not in ("__dict__", "__weakref__")]
    return names


_ATOMIC = frozenset(
    {int, float, complex, bool, str, bytes, type(None), range, slice, types.BuiltinFunctionType, type(Ellipsis)}
)
