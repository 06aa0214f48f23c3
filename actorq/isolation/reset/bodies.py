"""What an object is, beside what it holds: its class, its `__dict__`, attributes that a function gets, registrations.

Nothing tells of these when they change, and they rarely do: they are looked at once per lease, in loops in C.
"""

from __future__ import annotations

import abc
import sys
import types
from collections.abc import Iterable
from operator import attrgetter, is_
from typing import Any

_SPACE = attrgetter("__dict__")


class Bodies:
    """Of the objects of the task's own modules."""

    def __init__(self) -> None:
        self._modules: dict[str, types.ModuleType] = {}
        self._plain_functions: list[types.FunctionType] = []
        self._instances: list[Any] = []
        self._kinds: list[type] = []
        #: objects with a `__dict__`, and which that is
        self._holders: list[Any] = []
        self._spaces: list[dict[str, Any]] = []
        self._abstract: list[tuple[Any, set[Any]]] = []
        self._token = abc.get_cache_token()

    def add_module(self, name: str) -> None:
        self._modules[name] = sys.modules[name]

    def add_function(self, function: types.FunctionType) -> None:
        if vars(function):
            self._add_space(function)
        else:
            self._plain_functions.append(function)

    def add_instance(self, instance: Any) -> None:
        self._instances.append(instance)
        self._kinds.append(type(instance))
        if hasattr(instance, "__dict__"):
            self._add_space(instance)

    def add_class(self, kind: type) -> None:
        if isinstance(kind, abc.ABCMeta):
            self._abstract.append((kind, _registered(kind)))

    def _add_space(self, holder: Any) -> None:
        self._holders.append(holder)
        self._spaces.append(vars(holder))

    def restore_modules(self) -> None:
        """Puts back modules that were deleted from `sys.modules`, or replaced there."""
        for name, module in self._modules.items():
            if sys.modules.get(name) is not module:
                sys.modules[name] = module

    def _restore_registrations(self) -> None:
        """Takes back what was registered with an abstract class."""
        if abc.get_cache_token() == self._token:
            return
        for kind, before in self._abstract:
            if _registered(kind) != before:
                kind._abc_registry_clear()
                for reference in before:
                    if (registered := reference()) is not None:
                        kind.register(registered)
            kind._abc_caches_clear()
        self._token = abc.get_cache_token()

    def restore(self) -> None:
        """Puts back what changed. Before what the objects hold."""
        self.restore_modules()
        self._restore_registrations()
        if any(map(_SPACE, self._plain_functions)):
            for function in self._plain_functions:
                vars(function).clear()
        if not _same(map(type, self._instances), self._kinds):
            for instance, kind in zip(self._instances, self._kinds, strict=True):
                if type(instance) is not kind:
                    object.__setattr__(instance, "__class__", kind)
        if not _same(map(_SPACE, self._holders), self._spaces):
            for holder, space in zip(self._holders, self._spaces, strict=True):
                if vars(holder) is not space:
                    object.__setattr__(holder, "__dict__", space)


def _same(now: Iterable[Any], before: Iterable[Any]) -> bool:
    return all(map(is_, now, before))


def _registered(kind: Any) -> set[Any]:
    """Weak references to the classes that are registered with an abstract one."""
    registered: set[Any] = abc._get_dump(kind)[0]  # type: ignore[attr-defined]  # typeshed leaves it out
    return registered
