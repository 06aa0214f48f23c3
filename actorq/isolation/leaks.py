"""What cannot be restored is counted and reported: threads, child processes, open files, patched modules.

A replica whose leaks grow is replaced.
"""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

#: leaks above the count at the start, after which the executor is replaced
_MOST = {"threads": 32, "processes": 16, "files": 256}
#: libraries open a file or two in their own time (a telemetry database, a cache): a leak grows on and on
_FILE_GROWTHS = 3
#: modules compared per lease when looking for patches; a round over 400 modules takes 40 leases
_PATCH_STEP = 10


class Leaks:
    """Counts what inputs leave behind.

    Args:
        report: called with the kind of a leak and its count, once per kind and growth.
        skip: modules that are restored and need no look.
    """

    def __init__(self, report: Callable[[str, Any], None], skip: Collection[str]) -> None:
        self._report = report
        self._skip = skip
        self._told: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._grown: dict[str, int] = {}
        self._patched: set[str] = set()
        self._order: list[str] = []
        self._look_at = 0
        self.worn_out = False
        if not _baseline:
            take_baseline()
        self.rebase()

    def rebase(self) -> None:
        """What is there now belongs to the replica: after the start, and after a cache has loaded something."""
        self._base = {"threads": threading.active_count(), "processes": _children(), "files": _open_files()}
        self._threads = self._base["threads"]

    def after_input(self, happened: Collection[str]) -> None:
        if threading.active_count() > self._threads:
            self._count("threads", threading.active_count())
        for kind in happened:
            self._count(kind, _children() if kind == "processes" else _open_files())

    def after_lease(self) -> None:
        """Compares some third-party modules with what they were: functions and classes that were replaced."""
        if self._look_at >= len(self._order):
            self._look_at, self._order = (
                0,
                [name for name in list(sys.modules) if name not in self._skip and not name.startswith("actorq")],
            )
        for name in self._order[self._look_at : self._look_at + _PATCH_STEP]:
            self._look(name)
        self._look_at += _PATCH_STEP

    def _look(self, name: str) -> None:
        module = sys.modules.get(name)
        if module is None:
            return
        before = _baseline.get(name)
        if before is None:
            _baseline[name] = _code_of(module)
            return
        now = vars(module)
        for attribute, value in before.items():
            if now.get(attribute, value) is not value and f"{name}.{attribute}" not in self._patched:
                self._patched.add(f"{name}.{attribute}")
                self._report("patched module", f"{name}.{attribute}")

    def _count(self, kind: str, count: int) -> None:
        left = count - self._base[kind]
        if left <= self._seen.get(kind, 0):
            return
        self._grown[kind] = self._grown.get(kind, 0) + 1
        if kind == "files" and self._grown[kind] < _FILE_GROWTHS:
            self._seen[kind] = left
            return
        if left > 2 * self._told.get(kind, 0):
            self._report(kind, left)
            self._told[kind] = left
        self._seen[kind] = left
        if kind == "threads":
            self._threads = count
        if left > _MOST[kind]:
            self.worn_out = True


_CODE = (types.FunctionType, types.BuiltinFunctionType, type)


#: module -> its functions and classes as they were; the zygote takes it once and all executors share it
_baseline: dict[str, dict[str, Any]] = {}


def take_baseline() -> None:
    """Notes the functions and classes of every module imported so far."""
    for name, module in list(sys.modules.items()):
        _baseline[name] = _code_of(module)


def ours(module: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Says that this package replaces `module.name` by `function`."""
    _baseline.setdefault(module, {})[name] = function
    return function


def _code_of(module: types.ModuleType | None) -> dict[str, Any]:
    if not issubclass(type(module), types.ModuleType):  # some packages put other objects among the modules
        return {}
    # by type(): a lazy proxy may raise when it is asked for its __class__
    return {name: value for name, value in list(vars(module).items()) if issubclass(type(value), _CODE)}


def _children() -> int:
    """Child processes of this one, zombies included."""
    try:
        return len(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())
    except OSError:  # not Linux
        return 0


def _open_files() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))  # noqa: PTH208 - on the path of every input that opened a file
        except OSError:
            continue
    return 0
