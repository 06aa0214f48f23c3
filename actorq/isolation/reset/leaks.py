"""What cannot be restored is counted and reported: threads, child processes, open files, patched modules.

A replica whose leaks grow is replaced.
"""

from __future__ import annotations

import dis
import os
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any

from actorq.base.names import installed
from actorq.isolation.orphans import children

#: leaks above the count at the start, after which the executor is replaced
_MOST = {"threads": 32, "processes": 16, "files": 256}
#: libraries open a file or two in their own time (a telemetry database, a cache): a leak grows on and on
_FILE_GROWTHS = 3
#: how long a lease may be held up by looking for patches, seconds; 450 modules with 1,600 classes take some 200 leases
_LOOK_SECONDS = 20e-6


class Leaks:
    """Counts what inputs leave behind.

    Args:
        report: called with the task, the kind of a leak and its count or name, once per kind and growth.
        skip: modules that are restored and need no look.
    """

    def __init__(self, report: Callable[[str, str, Any], None], skip: Collection[str]) -> None:
        self._report = report
        self._skip = skip
        self._told: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._grown: dict[str, int] = {}
        self._patched: set[str] = set()
        self._order: list[str] = []
        self._look_at = 0
        self._leases = 0
        #: the last lease that ran a task, and after which a module was looked at
        self._ran: dict[str, int] = {}
        self._looked: dict[str, int] = {}
        self.worn_out = False
        if not _baseline:
            take_baseline()
        self.rebase()

    def rebase(self) -> None:
        """What is there now belongs to the replica: after the start, and after a cache has loaded something."""
        self._base = {"threads": threading.active_count(), "processes": len(children()), "files": _open_files()}
        self._threads = self._base["threads"]

    def after_input(self, task: str, happened: Collection[str]) -> None:
        if threading.active_count() > self._threads:
            self._count(task, "threads", threading.active_count())
        for kind in happened:
            self._count(task, kind, len(children()) if kind == "processes" else _open_files())

    def after_lease(self, task: str) -> None:
        """Compares some third-party modules with what they were: functions, classes and methods that were replaced."""
        self._leases += 1
        self._ran[task] = self._leases
        if self._look_at >= len(self._order):
            self._look_at, self._order = (
                0,
                [name for name in list(sys.modules) if name not in self._skip and not name.startswith("actorq")],
            )
        until = time.perf_counter() + _LOOK_SECONDS
        while self._look_at < len(self._order):
            name = self._order[self._look_at]
            self._look(name)
            self._looked[name] = self._leases
            self._look_at += 1
            if time.perf_counter() >= until:
                break

    def _look(self, name: str) -> None:
        module = sys.modules.get(name)
        if module is None:
            return
        before = _baseline.get(name)
        if before is None or before.module_ref() is not module:  # another version of the code, or imported anew
            _baseline[name] = _Code(name, module)
            return
        for patched, value in before.replaced(vars(module)):
            if patched not in self._patched:
                self._patched.add(patched)
                if _assigned_by_import(patched.rpartition(".")[2], value):
                    continue
                since = self._looked.get(name, 0)
                suspects = [task for task, lease in self._ran.items() if lease > since]
                self._report(" or ".join(suspects), "patched module", patched)

    def _count(self, task: str, kind: str, count: int) -> None:
        left = count - self._base[kind]
        if left <= self._seen.get(kind, 0):
            return
        self._grown[kind] = self._grown.get(kind, 0) + 1
        if kind == "files" and self._grown[kind] < _FILE_GROWTHS:
            self._seen[kind] = left
            return
        if left > 2 * self._told.get(kind, 0):
            self._report(task, kind, left)
            self._told[kind] = left
        self._seen[kind] = left
        if kind == "threads":
            self._threads = count
        if left > _MOST[kind]:
            self.worn_out = True


#: types of functions that libraries make: of numpy's, of Cython's, and cached ones
_LIKE_FUNCTIONS = frozenset({"ufunc", "_ArrayFunctionDispatcher", "cython_function_or_method", "_lru_cache_wrapper"})
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, staticmethod, classmethod, property)


class _Code:
    """The functions, classes and methods of one module as they were."""

    __slots__ = ("classes", "module_ref", "name", "own")

    def __init__(self, name: str, module: types.ModuleType) -> None:
        self.name = name
        self.own: dict[str, Any] = {}
        #: whole copies: made and compared in C, since there are thousands
        self.classes: list[tuple[type, dict[str, Any]]] = []
        if not issubclass(type(module), types.ModuleType):  # some packages put other objects among the modules
            self.module_ref: Callable[[], Any] = lambda: module
            return
        self.module_ref = weakref.ref(module)
        for attribute, value in list(vars(module).items()):
            kind = type(value)  # not isinstance: a lazy proxy may raise when it is asked for its __class__
            if kind is types.FunctionType or kind is types.BuiltinFunctionType or kind.__name__ in _LIKE_FUNCTIONS:
                self.own[attribute] = value
            elif issubclass(kind, type):
                self.own[attribute] = value
                members = vars(value)
                if members.get("__module__") == name:
                    self.classes.append((value, members.copy()))

    def replaced(self, now: dict[str, Any]) -> list[tuple[str, Any]]:
        """What is another object by now, or gone: its name, and the object."""
        found = [(f"{self.name}.{key}", now.get(key)) for key, value in self.own.items() if now.get(key) is not value]
        for position, (owner, before) in enumerate(self.classes):
            members = vars(owner)
            if not _same(members, before):
                found += [
                    (f"{self.name}.{owner.__qualname__}.{key}", members.get(key))
                    for key, value in before.items()
                    if members.get(key) is not value and issubclass(type(value), _FUNCTIONS)
                ]
                self.classes[position] = (owner, dict(members))  # told once; and nothing old is kept alive
        return found


def _assigned_by_import(attribute: str, value: Any) -> bool:
    """Whether an installed module put `value` there when it was imported, as the code of the module itself says."""
    try:
        module = sys.modules[value.__module__]
        spec = module.__spec__
        if spec is None or spec.origin is None or not installed(spec.origin):
            return False
        code = spec.loader.get_code(spec.name)  # type: ignore[union-attr]  # one that cannot raises
    except Exception:  # an object of any kind, and a loader of any kind
        return False
    return any(step.opname == "STORE_ATTR" and step.argval == attribute for step in dis.get_instructions(code))


def _same(members: Mapping[str, Any], before: dict[str, Any]) -> bool:
    try:
        return bool(members == before)  # by identity first: no code runs for what is the same
    except Exception:  # an attribute was replaced whose __eq__ does not like it
        return False


#: module -> its code as it was; the zygote takes it once and all executors share it, but for those with start hooks
_baseline: dict[str, _Code] = {}


def take_baseline() -> None:
    """Notes the functions, classes and methods of every module imported so far."""
    for name, module in list(sys.modules.items()):
        _baseline[name] = _Code(name, module)


def ours(module: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Says that this package replaces `module.name` by `function`."""
    if module not in _baseline:
        _baseline[module] = _Code(module, sys.modules[module])
    _baseline[module].own[name] = function
    return function


def _open_files() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))  # noqa: PTH208 - on the path of every input that opened a file
        except OSError:
            continue
    return 0
