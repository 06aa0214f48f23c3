"""State of the process that is not a global: environment, working directory, signals, streams, …

Each is watched the cheapest exact way: an audit hook for what raises an audit event, a wrapper for the two functions
that raise none, and a comparison where that costs less than a microsecond.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed leaves it out
import contextlib
import decimal
import faulthandler
import functools
import gc
import locale
import os
import shutil
import signal
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Collection
from multiprocessing import process as multiprocessing_process
from pathlib import Path
from typing import Any

from actorq.isolation.reset import leaks
from actorq.isolation.reset.interpreter import Interpreter
from actorq.isolation.reset.marks import content_of
from actorq.isolation.reset.streams import Streams

#: audit events that say something may have to be restored or counted
_ENVIRONMENT = frozenset({"os.putenv", "os.unsetenv"})
_DIRECTORY = frozenset({"os.chdir"})
PROCESS_EVENTS = frozenset({"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system"})
_FILES = frozenset({"open", "socket.__new__"})
_LIMITS = frozenset({"resource.setrlimit", "resource.prlimit"})
_TRACING = frozenset({"sys.settrace", "sys.setprofile"})
#: what one of these changed is put back at once
_RESTORED = _ENVIRONMENT | _DIRECTORY | _LIMITS | _TRACING
_EVENTS = _RESTORED | PROCESS_EVENTS | _FILES

_SIGNALS = [int(number) for number in signal.Signals if number not in (signal.SIGKILL, signal.SIGSTOP)]
_OF_DECIMAL = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "flags", "traps")
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class ProcessState:
    """The process as it was when this was made.

    Args:
        scratch: folder for temporary files; made anew.
    """

    def __init__(self, scratch: Path) -> None:
        self._happened: set[str] = set()
        #: functions whose code or default arguments something was assigned to
        self.assigned: list[types.FunctionType] = []
        self._flags: set[str] = set()
        self._environment, self._environ = dict(os.environ), os.environ
        self._touched: set[Any] = set()  # names of variables
        self._directory = Path.cwd()
        self._path_object, self._path = sys.path, list(sys.path)
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._filters = list(warnings.filters)
        self._decimal = decimal.getcontext()
        self._decimal_copy = self._decimal.copy()
        self._decimal_now = content_of(self._decimal)
        self._decimal_content = self._decimal_now()
        self._streams = Streams()
        self._hooks = (sys.excepthook, sys.displayhook, sys.breakpointhook)
        self._interpreter = Interpreter()
        self._recursion = sys.getrecursionlimit()
        self._collecting = gc.isenabled()
        self._objects = self._all_objects()
        self._locale = locale.setlocale(locale.LC_ALL)
        self._handlers = {number: _get_signal(number) for number in _SIGNALS}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._timers = [timer for timer in _TIMERS if signal.getitimer(timer) == (0, 0)]
        self._zone = time.tzname
        shutil.rmtree(scratch, ignore_errors=True)
        self._scratch = scratch
        self._temporary, self._kept = scratch / "input", scratch / "kept"
        sockets = self._kept / "mp"
        for folder in (self._temporary, self._kept, sockets):
            folder.mkdir(parents=True, mode=0o700)
        # it remembers the folder, and its fork server the address there, for the next input
        multiprocessing_process.current_process()._config.setdefault("tempdir", str(sockets))  # type: ignore[attr-defined]
        self._keeping = 0
        self._temporary_fd = -1
        self._begin_watching()

    def restore(self) -> None:
        """Puts back what an input changed."""
        if self._happened:
            self._restore_happened()
        if self._flags:
            self._restore_flagged()
        if os.environ is not self._environ:
            os.environ = self._environ  # noqa: B003 - what it stood for before
        if sys.path is not self._path_object or sys.path != self._path:
            sys.path = self._path_object
            sys.path[:] = self._path
        if warnings.filters != self._filters:
            warnings.filters[:] = self._filters  # type: ignore[index]  # typeshed says Sequence; it is a list
            warnings._filters_mutated()  # type: ignore[attr-defined]  # what warnings.filterwarnings calls
        if decimal.getcontext() is not self._decimal or self._decimal_now() != self._decimal_content:
            self._restore_decimal()
        if (
            sys.stdin,
            sys.stdout,
            sys.stderr,
            sys.excepthook,
            sys.displayhook,
            sys.breakpointhook,
            sys.getrecursionlimit(),
            gc.isenabled(),
        ) != self._objects or self._streams.closed():
            self._restore_interpreter()
        if self._temporary_changed():
            self._empty_temporary()

    def _temporary_changed(self) -> bool:
        try:
            status = os.fstat(self._temporary_fd)  # by descriptor: half the time of a path
        except OSError:  # the task closed it
            return True
        return bool(status.st_mtime_ns) or not status.st_nlink

    def after_lease(self) -> list[str]:
        """Looks at all that takes too long for every input; returns names of what it could not put back."""
        self.check()
        return self._interpreter.restore()

    def check(self) -> None:
        """Looks at what can be changed behind those functions that are watched. 20 µs."""
        _set_umask(self._umask)  # as fast as asking for it
        self._stop_timers()
        self._streams.restore_descriptors()
        self._restore_interpreter()
        if time.tzname is not self._zone:
            _set_zone()
            self._zone = time.tzname
        _set_mask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._handlers.items():
            if _get_signal(number) is not handler and handler is not None:
                _set_signal(number, handler)

    def take_happened(self) -> Collection[str]:
        """The kinds of leaks that may have come: "processes", "files"; and forgets them."""
        if not self._happened:
            return ()
        happened, self._happened = self._happened, set()
        kinds = set()
        if happened & PROCESS_EVENTS:
            kinds.add("processes")
        if happened & _FILES:
            kinds.add("files")
        return kinds

    def keep_path(self) -> None:
        """`sys.path` as it is now is what inputs are put back to."""
        self._path = list(sys.path)

    @contextlib.contextmanager
    def keeping(self) -> Any:
        """Entered while `@actor_cache` loads.

        What the load puts into the environment or on sys.path, and what it sets in the interpreter, belongs to the
        replica, and its temporary files stay.
        """
        before, path_before = dict(os.environ), list(sys.path)
        self._keeping += 1
        self._point_to(self._kept)
        try:
            with self._interpreter.keeping():
                yield
        finally:
            self._keeping -= 1
            if not self._keeping:  # a load may need another one
                self._point_to(self._temporary)
            for name in before.keys() | os.environ.keys():
                if name != "TMPDIR" and before.get(name) != os.environ.get(name):
                    if name in os.environ:
                        self._environment[name] = os.environ[name]
                    else:
                        self._environment.pop(name, None)
            self._path += [entry for entry in sys.path if entry not in path_before]

    def end(self) -> None:
        """Removes the temporary files."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _all_objects(self) -> tuple[Any, ...]:
        return (*self._streams.objects, *self._hooks, self._recursion, self._collecting)

    def _restore_interpreter(self) -> None:
        self._streams.restore()
        self._objects = self._all_objects()
        if (sys.excepthook, sys.displayhook, sys.breakpointhook) != self._hooks:
            sys.excepthook, sys.displayhook, sys.breakpointhook = self._hooks
        if sys.getrecursionlimit() != self._recursion:
            sys.setrecursionlimit(self._recursion)
        if gc.isenabled() != self._collecting:
            (gc.enable if self._collecting else gc.disable)()

    def _stop_timers(self) -> None:
        """Those that run would end a later input."""
        for timer in self._timers:
            if signal.getitimer(timer) != (0, 0):
                _set_timer(timer, 0)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _begin_watching(self) -> None:
        self._point_to(self._temporary)
        self._environment["TMPDIR"] = str(self._temporary)
        self._empty_temporary()
        happened = self._happened_now

        assigned = self.assigned.append

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if event in _EVENTS:
                happened(event, arguments)
            elif event in _ASSIGNING and type(arguments[0]) is types.FunctionType:
                assigned(arguments[0])

        sys.addaudithook(audit)
        for module, function in _UNHEARD:
            setattr(module, function.__name__, leaks.ours(module.__name__, function.__name__, self._flagging(function)))
        self._happened.clear()

    def _happened_now(self, event: str, arguments: tuple[Any, ...]) -> None:
        self._happened.add(event)
        if event in _ENVIRONMENT:
            self._touched.add(arguments[0])

    def _flagging(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, noting that it was called."""
        flags, name = self._flags, function.__name__

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            flags.add(name)
            return function(*args, **kwargs)

        return wrapper

    def _point_to(self, folder: Path) -> None:
        tempfile.tempdir = str(folder)
        os.environ["TMPDIR"] = str(folder)

    def _restore_happened(self) -> None:
        if self._happened & _ENVIRONMENT:
            for name in [os.fsdecode(name) for name in self._touched]:
                if name in self._environment:
                    self._environ[name] = self._environment[name]
                else:
                    self._environ.pop(name, None)
                    os.unsetenv(name)  # `os.putenv` leaves os.environ as it is
            self._touched.clear()
        if self._happened & _DIRECTORY:
            os.chdir(self._directory)
        if self._happened & _LIMITS:
            self._interpreter.restore_limits()
        if self._happened & _TRACING:
            self._interpreter.restore_tracing()
        self._happened -= _RESTORED

    def _restore_flagged(self) -> None:
        if self._flags & _CHECKED:
            self.check()
        if "dump_traceback_later" in self._flags:  # it may end the process
            faulthandler.cancel_dump_traceback_later()
        if "setlocale" in self._flags:
            _set_locale(locale.LC_ALL, self._locale)
        self._flags.clear()

    def _restore_decimal(self) -> None:
        for name in _OF_DECIMAL:
            setattr(self._decimal, name, getattr(self._decimal_copy, name))
        decimal.setcontext(self._decimal)

    def _empty_temporary(self) -> None:
        """Empties the folder an input may write to, and marks it: the next change gives it a time other than zero."""
        tempfile.tempdir = str(self._temporary)
        self._temporary.mkdir(parents=True, exist_ok=True)
        self._reopen_temporary()
        for entry in list(self._temporary.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        os.utime(self._temporary, ns=(0, 0))

    def _reopen_temporary(self) -> None:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._temporary_fd), self._temporary.stat()):
                return
            os.close(self._temporary_fd)
        self._temporary_fd = os.open(self._temporary, os.O_RDONLY | os.O_DIRECTORY)


_set_signal = signal.signal
_set_locale = locale.setlocale
_get_signal = _signal.getsignal  # a tenth of the time of signal.getsignal, which makes enums
_set_timer = signal.setitimer
_set_umask = os.umask
_set_zone = time.tzset
_set_mask = signal.pthread_sigmask
_ASSIGNING = ("object.__setattr__", "object.__delattr__")
_CHECKED = frozenset({"tzset", "dup2", "umask", "signal", "alarm", "setitimer", "pthread_sigmask"})
#: functions that change what is restored and raise no audit event
_UNHEARD: list[tuple[types.ModuleType, Callable[..., Any]]] = [
    (signal, signal.signal),
    (signal, signal.alarm),
    (signal, signal.setitimer),
    (signal, signal.pthread_sigmask),
    (faulthandler, faulthandler.dump_traceback_later),
    (locale, locale.setlocale),
    (os, os.dup2),
    (os, os.umask),
    (time, time.tzset),
]
