"""The kinds of mutable objects: how each is copied, compared with its copy, and put back in place."""

from __future__ import annotations

import threading
import types
from collections import OrderedDict
from operator import is_
from typing import Any

from actorq.wire.carried.classes import slots_of

#: what threads wait for, and the attribute that says whether they have to
COUNTERS = {threading.Semaphore: "_value", threading.BoundedSemaphore: "_value", threading.Event: "_flag"}
#: of an attribute that was never set
_UNSET = object()
CLASS_INTERNALS = frozenset({"__dict__", "__weakref__", "_abc_impl", "__abstractmethods__"})


class Saved:
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


class Sequence(Saved):
    __slots__ = ()

    def take(self) -> Any:
        return self.what.copy()

    def restore(self) -> None:
        self.what.clear()
        self.what.extend(self.copy)

    def restore_if_not_identical(self) -> None:
        if len(self.what) != len(self.copy) or not all(map(is_, self.what, self.copy)):
            self.restore()


class Mapping(Saved):
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


class Instance(Mapping):
    """The attributes of an instance."""

    __slots__ = ()


class Ordered(Mapping):
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


class Registry(Mapping):
    """The implementations of a `singledispatch` function, which remembers what it has found there."""

    __slots__ = ("function",)

    def __init__(self, function: Any, what: Any) -> None:
        self.function = function
        super().__init__(what)

    def restore(self) -> None:
        super().restore()
        self.function._clear_cache()


def registry_of(function: types.FunctionType) -> dict[Any, Any] | None:
    """The dict behind `function.registry`, if it is a `singledispatch` function."""
    dispatch = vars(function).get("dispatch")
    if not isinstance(dispatch, types.FunctionType) or "_clear_cache" not in vars(function):
        return None
    held = dict(zip(dispatch.__code__.co_freevars, dispatch.__closure__ or (), strict=True))
    found = held["registry"].cell_contents if "registry" in held else None
    return found if isinstance(found, dict) else None


class Attributes(Saved):
    """The slots of an instance."""

    __slots__ = ("names",)

    def take(self) -> Any:
        self.names = named_slots(type(self.what))
        return [getattr(self.what, name, _UNSET) for name in self.names]

    def changed(self) -> bool:
        now = [getattr(self.what, name, _UNSET) for name in self.names]
        return not all(map(is_, now, self.copy))

    def restore(self) -> None:
        for name, value in zip(self.names, self.copy, strict=True):
            if value is not _UNSET:
                object.__setattr__(self.what, name, value)
            elif hasattr(self.what, name):
                object.__delattr__(self.what, name)


class Counter(Saved):
    """A semaphore or an event."""

    __slots__ = ()

    def take(self) -> Any:
        return getattr(self.what, COUNTERS[type(self.what)])

    def changed(self) -> bool:
        return self.take() is not self.copy

    def restore(self) -> None:
        setattr(self.what, COUNTERS[type(self.what)], self.copy)


class Set(Saved):
    __slots__ = ()

    def take(self) -> Any:
        return frozenset(self.what)

    def restore(self) -> None:
        self.what.clear()
        self.what.update(self.copy)


class Bytes(Saved):
    __slots__ = ()

    def take(self) -> Any:
        return bytes(self.what)

    def restore(self) -> None:
        self.what[:] = self.copy


class Class(Saved):
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
            if now.get(name) is not value and name not in CLASS_INTERNALS:
                type.__setattr__(self.what, name, value)
        for name in [n for n in now if n not in self.copy]:
            type.__delattr__(self.what, name)


class Cell(Saved):
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


class Function(Saved):
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


def named_slots(kind: type) -> list[str]:
    """The attributes of a class of the user's that have a place of their own, by the names they have there."""
    return [name for name, slot in slots_of(kind).items() if "__slots__" in vars(slot.__objclass__)]
