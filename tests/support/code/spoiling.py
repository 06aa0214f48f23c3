"""Pieces of state that an input may spoil: each with how it does so, and what the next input sees of it.

Whatever is spoilt here would be seen, or waited for, by the input that follows in the same replica.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import ctypes
import decimal
import faulthandler
import functools
import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
import tracemalloc
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from actorq import ActorEnvironment

spoilt = ActorEnvironment("spoilt", lease_seconds=2)

#: seconds until the alarm; no test waits for it
_SOON = 30.0


class Probe(NamedTuple):
    spoil: Callable[[], object]
    observe: Callable[[], Any]
    #: it is put back at the end of the lease, not of the input
    later: bool = False


lock, reentrant = threading.Lock(), threading.RLock()
condition, semaphore, event = threading.Condition(), threading.Semaphore(1), threading.Event()
on_loop = asyncio.Lock()


class Holder:
    def __init__(self) -> None:
        self.lock = threading.Lock()


holder = Holder()


def _zone() -> tuple[tuple[str, str], int]:
    return time.tzname, time.localtime(0).tm_hour


def _set_zone() -> None:
    os.environ["TZ"] = "UTC-5" if time.localtime(0).tm_hour != 5 else "UTC-7"
    time.tzset()


def _in_a_thread(function: Callable[[], object]) -> object:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
    return None


def _owned(lock: Any) -> bool:
    """Whether a thread other than this one would have to wait for it."""
    found: list[bool] = []

    def look() -> None:
        found.append(not lock.acquire(blocking=False))
        if not found[0]:
            lock.release()

    _in_a_thread(look)
    return found[0]


def _timer() -> tuple[bool, bool]:
    return signal.getitimer(signal.ITIMER_REAL) != (0, 0), signal.getitimer(signal.ITIMER_PROF) != (0, 0)


_raw_alarm = signal.alarm


def _close_stdout() -> None:
    with sys.stdout as stream:
        stream.write("")


def _close_stdin() -> None:
    sys.stdin.close()


def _detach_stderr() -> None:
    stream: Any = sys.stderr
    stream.detach()


def _lead_elsewhere(dup2: Callable[[int, int], object], descriptor: int) -> None:
    with Path(os.devnull).open() as other:
        dup2(other.fileno(), descriptor)


def _leads_to(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _env_of_c(name: str) -> str | None:
    """What the C library has, which `os.environ` may not show."""
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    found = getenv(name.encode())
    return None if found is None else found.decode()


PROBES: dict[str, Probe] = {
    "alarm": Probe(lambda: signal.alarm(30), _timer),
    "alarm, imported by name": Probe(lambda: _raw_alarm(30), _timer, later=True),
    "timer of processor time": Probe(lambda: signal.setitimer(signal.ITIMER_PROF, _SOON), _timer),
    "dump of tracebacks": Probe(lambda: faulthandler.dump_traceback_later(0.05, exit=True), lambda: time.sleep(0.2)),
    "blocked signals": Probe(
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGRTMIN + 5}),
        lambda: sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    ),
    "time zone": Probe(_set_zone, _zone),
    "lock": Probe(lock.acquire, lock.locked),
    "lock of an instance": Probe(holder.lock.acquire, holder.lock.locked),
    "reentrant lock": Probe(reentrant.acquire, lambda: _owned(reentrant)),
    "condition": Probe(condition.acquire, lambda: _owned(condition)),
    "semaphore": Probe(semaphore.acquire, lambda: _owned(semaphore)),
    "event": Probe(event.set, event.is_set),
    "closed stdout": Probe(_close_stdout, lambda: sys.stdout.closed),
    "detached stderr": Probe(_detach_stderr, lambda: sys.stderr.write(""), later=True),
    "closed stdin": Probe(_close_stdin, lambda: sys.stdin.closed, later=True),
    "redirected stdout": Probe(lambda: _lead_elsewhere(os.dup2, 1), lambda: _leads_to(1)),
    "redirected stderr": Probe(lambda: _lead_elsewhere(os.dup2, 2), lambda: _leads_to(2)),
    "environment rebound": Probe(lambda: setattr(os, "environ", {"A": "1"}), lambda: sorted(os.environ)),
    "putenv": Probe(lambda: os.putenv("SPOILT", "1"), lambda: _env_of_c("SPOILT")),
    "unsetenv": Probe(lambda: os.unsetenv("PATH"), lambda: bool(_env_of_c("PATH"))),
    "environment": Probe(lambda: os.environ.update(SPOILT="1"), lambda: os.environ.get("SPOILT")),
    "lock of an event loop": Probe(lambda: asyncio.run(on_loop.acquire()), on_loop.locked),
}


def _with_default(x: int = 1) -> int:
    return x


@functools.singledispatch
def shown(value: object) -> str:
    return "object"


class Base(abc.ABC):  # noqa: B024 - classes are registered with it
    pass


class Plain:
    def __init__(self) -> None:
        self.level = 1

    def method(self) -> int:
        return self.level

    @functools.singledispatchmethod
    def dispatched(self, value: object) -> str:
        return "object"


class Other(Plain):
    pass


class OwnDict(dict[str, int]):
    pass


class OwnList(list[int]):
    pass


plain, own_dict, own_list = Plain(), OwnDict(a=1), OwnList([1])


def _delete_defaults() -> None:
    del _with_default.__defaults__


def _delete_method() -> None:
    del Plain.method


def _replace_module() -> None:
    sys.modules[__name__] = types.ModuleType(__name__)


def _set(what: object, name: str, value: object) -> Callable[[], object]:
    return functools.partial(setattr, what, name, value)


def _of_int(*_: object) -> str:
    return "int"


def _register_method() -> None:
    method: Any = vars(Plain)["dispatched"]
    method.register(int, _of_int)


PROBES |= {
    "attribute of a function": Probe(
        _set(_with_default, "calls", 1), lambda: hasattr(_with_default, "calls"), later=True
    ),
    "attribute of a dict": Probe(_set(own_dict, "extra", 1), lambda: hasattr(own_dict, "extra")),
    "attribute of a list": Probe(_set(own_list, "extra", 1), lambda: hasattr(own_list, "extra")),
    "class of an instance": Probe(_set(plain, "__class__", Other), lambda: type(plain).__name__, later=True),
    "dict of an instance": Probe(lambda: setattr(plain, "__dict__", {"level": 2}), lambda: plain.level, later=True),
    "default arguments deleted": Probe(_delete_defaults, lambda: _with_default.__defaults__),
    "deleted function": Probe(lambda: globals().pop("_with_default"), lambda: "_with_default" in globals()),
    "deleted method": Probe(_delete_method, lambda: hasattr(plain, "method")),
    "deleted module": Probe(lambda: sys.modules.pop(__name__), lambda: __name__ in sys.modules),
    "replaced module": Probe(_replace_module, lambda: hasattr(sys.modules[__name__], "plain"), later=True),
    "singledispatch": Probe(lambda: shown.register(int, _of_int), lambda: shown(1)),
    "singledispatchmethod": Probe(_register_method, lambda: plain.dispatched(1)),
    "registered class": Probe(
        lambda: Base.register(Plain), lambda: (isinstance(plain, Base), issubclass(Other, Base)), later=True
    ),
}


def _limit(number: int) -> Callable[[], object]:
    def lower() -> None:
        soft, hard = resource.getrlimit(number)
        resource.setrlimit(number, (soft - 1 if soft > 0 else 1 << 40, hard))

    return lower


class Finder:
    """Finds no module."""

    @staticmethod
    def find_spec(*_: object) -> None:
        return None


class Policy(asyncio.DefaultEventLoopPolicy):
    pass


def _quiet(*_: object) -> None:
    pass


def _trace_memory() -> None:
    tracemalloc.start()


def _use_other_processor() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])


def _root() -> tuple[int, int, int]:
    root = logging.getLogger()
    return root.level, len(root.handlers), root.manager.disable


def _configure_logging() -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger().addHandler(logging.NullHandler())
    logging.disable(logging.CRITICAL)


PROBES |= {
    "timeout of sockets": Probe(lambda: socket.setdefaulttimeout(5), socket.getdefaulttimeout, later=True),
    "limit of open files": Probe(_limit(resource.RLIMIT_NOFILE), lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    "processors": Probe(_use_other_processor, lambda: len(os.sched_getaffinity(0)), later=True),
    "switch interval": Probe(lambda: sys.setswitchinterval(0.5), sys.getswitchinterval, later=True),
    "arguments": Probe(lambda: sys.argv.append("more"), lambda: list(sys.argv), later=True),
    "finders of modules": Probe(lambda: sys.meta_path.insert(0, Finder), lambda: Finder in sys.meta_path, later=True),
    "trace function": Probe(lambda: sys.settrace(_quiet), sys.gettrace),
    "profile function": Probe(lambda: sys.setprofile(_quiet), sys.getprofile),
    "hook of threads": Probe(
        lambda: setattr(threading, "excepthook", _quiet), lambda: threading.excepthook is _quiet, later=True
    ),
    "thresholds of the collector": Probe(lambda: gc.set_threshold(5, 5, 5), gc.get_threshold, later=True),
    "logging": Probe(_configure_logging, _root, later=True),
    "event loop policy": Probe(
        lambda: asyncio.set_event_loop_policy(Policy()),
        lambda: type(asyncio.get_event_loop_policy()).__name__,
        later=True,
    ),
    "start method of processes": Probe(
        lambda: multiprocessing.set_start_method("spawn"),
        lambda: multiprocessing.get_start_method(allow_none=True),
        later=True,
    ),
    "errors of numpy": Probe(lambda: np.seterr(all="raise"), np.geterr, later=True),
    "print options of numpy": Probe(
        lambda: np.set_printoptions(precision=3), lambda: str(np.float64(1) / np.array([3])), later=True
    ),
    "trace of memory": Probe(_trace_memory, tracemalloc.is_tracing, later=True),
}
for _name, _value in {
    "prec": 7,
    "rounding": decimal.ROUND_UP,
    "Emin": -9,
    "Emax": 9,
    "capitals": 0,
    "clamp": 1,
}.items():
    PROBES[f"{_name} of the decimal context"] = Probe(
        functools.partial(setattr, decimal.getcontext(), _name, _value),
        functools.partial(getattr, decimal.getcontext(), _name),
    )
PROBES["flags of the decimal context"] = Probe(
    lambda: decimal.Decimal(1) / 3, lambda: decimal.getcontext().flags[decimal.Inexact]
)
PROBES["another decimal context"] = Probe(
    lambda: decimal.setcontext(decimal.Context(prec=4)), lambda: decimal.getcontext().prec
)


def _run(name: str, step: int) -> Any:
    probe = PROBES[name]
    seen = probe.observe()
    if step == 0:
        probe.spoil()
    return seen


@spoilt.task
def input_of(name: str, step: int) -> Any:
    """Says what there is, and, if it is the first one, spoils it."""
    return _run(name, step)


@spoilt.task
def process(_: int) -> int:
    return os.getpid()


def _hold_for_ever() -> None:
    with lock:
        threading.Event().wait()


@spoilt.task(timeout=5)
def takes_the_lock_of_a_thread(x: int) -> int:
    """The first input leaves a lock that nobody can release: the thread that held it has ended."""
    if x == 0:
        _in_a_thread(reentrant.acquire)
    else:
        with reentrant:
            return os.getpid()
    return os.getpid()


@spoilt.task(timeout=5)
def takes_the_lock(x: int) -> int:
    """The first input leaves a thread that holds the lock."""
    if x == 0:
        threading.Thread(target=_hold_for_ever, daemon=True).start()
        while not lock.locked():
            time.sleep(0.001)
    else:
        with lock, contextlib.suppress(ValueError):
            return os.getpid()
    return os.getpid()
