"""Settings of the interpreter and of the process that hold one value each: read and written by a function.

Reading all of them takes a few microseconds, so it is done once per lease. One that cannot be put back (a process may
lower its priority and not raise it) is named, once.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import socket
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from multiprocessing import context
from typing import Any, NamedTuple

from actorq.base.names import installed

_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})
_processes: Any = context._default_context
_ROOT = logging.getLogger()


class _Setting(NamedTuple):
    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _attribute(owner: Any, name: str) -> _Setting:
    shown = getattr(owner, "__name__", type(owner).__name__)
    return _Setting(f"{shown}.{name}", lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _arguments() -> _Setting:
    """`sys.argv`: the list, and what is in it."""
    kept = sys.argv

    def read() -> Any:
        now = getattr(sys, "argv", None)
        return list(now) if isinstance(now, list) else now

    def write(value: list[Any]) -> None:
        kept[:] = value
        sys.argv = kept

    return _Setting("sys.argv", read, write)


def _policy() -> Any:
    """The event loop policy; None where it is the default, which comes when it is first asked for."""
    policy = getattr(sys.modules.get("asyncio.events"), "_event_loop_policy", None)
    return None if policy is None or _is_default(policy) else policy


def _set_policy(policy: Any) -> None:
    events: Any = sys.modules.get("asyncio.events")
    if events is not None:
        events._event_loop_policy = policy  # setting it the public way warns in 3.14


def _is_default(policy: Any) -> bool:
    """By its names in Python 3.11 to 3.13, and from 3.14 on."""
    names = ("DefaultEventLoopPolicy", "_DefaultEventLoopPolicy")
    return type(policy) in [getattr(sys.modules.get("asyncio.unix_events"), name, None) for name in names]


def _trace_memory(on: bool) -> None:
    (tracemalloc.start if on else tracemalloc.stop)()


def _priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def _set_priority(value: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, value)


_SETTINGS = [
    _Setting("socket.setdefaulttimeout", socket.getdefaulttimeout, socket.setdefaulttimeout),
    _Setting("os.nice", _priority, _set_priority),
    _Setting("sys.setswitchinterval", sys.getswitchinterval, sys.setswitchinterval),
    _Setting("sys.set_int_max_str_digits", sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    _Setting("gc.set_threshold", gc.get_threshold, lambda value: gc.set_threshold(*value)),
    _Setting("gc.set_debug", gc.get_debug, gc.set_debug),
    _Setting("tracemalloc.start", tracemalloc.is_tracing, _trace_memory),
    _Setting("asyncio.set_event_loop_policy", _policy, _set_policy),
    _arguments(),
    _attribute(sys, "unraisablehook"),
    _attribute(sys, "dont_write_bytecode"),
    _attribute(threading, "excepthook"),
    _Setting("multiprocessing.set_start_method", *_attribute(_processes, "_actual_context")[1:]),
]
if hasattr(os, "sched_getaffinity"):
    _SETTINGS.append(
        _Setting("os.sched_setaffinity", lambda: os.sched_getaffinity(0), lambda value: os.sched_setaffinity(0, value))
    )


class Interpreter:
    """The settings as they are when this is made."""

    def __init__(self) -> None:
        self._settings = list(_SETTINGS)
        self._before = [setting.read() for setting in self._settings]
        self._limits = _soft_limits()
        self._tracing, self._profiling = sys.gettrace(), sys.getprofile()
        self._logging = _logging()
        self._finders = list(sys.meta_path)
        self._told: set[str] = set()
        self._numpy_seen = False
        self._look_for_numpy()

    def restore(self) -> list[str]:
        """Puts back what changed; names what it could not, each once."""
        self._look_for_numpy()
        self._restore_logging()
        self._restore_finders()
        now = [setting.read() for setting in self._settings]
        if now == self._before:
            return []
        left = []
        for setting, value, before in zip(self._settings, now, self._before, strict=True):
            if value is not before and value != before:
                try:
                    setting.write(before)
                except (OSError, ValueError):
                    left.append(setting.name)
        new = [name for name in left if name not in self._told]
        self._told.update(new)
        return new

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Entered while `@actor_cache` loads: what the load sets belongs to the replica."""
        settings = list(self._settings)
        values, logged, limits = [setting.read() for setting in settings], _logging(), _soft_limits()
        try:
            yield
        finally:
            for position, (setting, value) in enumerate(zip(settings, values, strict=True)):
                if (now := setting.read()) != value:
                    self._before[position] = now
            self._limits |= {number: now for number, now in _soft_limits().items() if now != limits[number]}
            if _logging() != logged:
                self._logging = _logging()

    def restore_limits(self) -> None:
        """The soft limits of resources, as far as the hard ones let it."""
        for number, before in self._limits.items():
            soft, hard = resource.getrlimit(number)
            if soft != before:
                resource.setrlimit(number, (before if hard == resource.RLIM_INFINITY else min(before, hard), hard))

    def restore_tracing(self) -> None:
        sys.settrace(self._tracing)
        sys.setprofile(self._profiling)

    def _restore_logging(self) -> None:
        now = _logging()
        if now == self._logging:
            return
        level, handlers, disabled = self._logging
        _ROOT.setLevel(level)
        _ROOT.handlers[:] = handlers
        logging.disable(disabled)

    def _restore_finders(self) -> None:
        """Of `sys.meta_path`. What an installed package added when it was imported, it needs."""
        if sys.meta_path == self._finders:
            return
        before = self._finders
        added = [finder for finder in sys.meta_path if finder not in before and _is_installed(finder)]
        if all(finder in sys.meta_path for finder in before):
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder in before or finder in added]
        else:
            sys.meta_path[:] = [*before, *added]
        self._finders = list(sys.meta_path)

    def _look_for_numpy(self) -> None:
        """It may be imported by a task; what it is set to by then counts as its settings."""
        numpy: Any = None if self._numpy_seen else sys.modules.get("numpy")
        if numpy is None or not hasattr(numpy, "set_printoptions"):  # it is being imported, by a thread
            return
        self._numpy_seen = True
        added = [
            _Setting("numpy.seterr", numpy.geterr, lambda value: numpy.seterr(**value)),
            _Setting("numpy.set_printoptions", numpy.get_printoptions, lambda value: numpy.set_printoptions(**value)),
        ]
        self._settings += added
        self._before += [setting.read() for setting in added]


def _soft_limits() -> dict[int, int]:
    return {number: resource.getrlimit(number)[0] for number in _LIMITS}


def _logging() -> tuple[int, list[logging.Handler], int]:
    """Level and handlers of the root logger, and the level up to which all loggers are silent."""
    return _ROOT.level, list(_ROOT.handlers), _ROOT.manager.disable


def _is_installed(finder: Any) -> bool:
    """Whether an installed package has made it."""
    module = sys.modules.get(finder.__module__)  # of an instance: that of its class
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and installed(file)
