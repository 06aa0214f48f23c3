"""Locks of the task's own code that an input leaves held: every later input would wait for them for ever.

Where only one thread is left, nobody can hold a lock any more, and it is let go. Otherwise it may be in use for a
moment; if it stays held, or cannot be let go, the process is replaced before its next input.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from actorq.errors import PoolError

LOCK, RLOCK = type(threading.Lock()), type(threading.RLock())
#: how long a thread may use a lock between two inputs, seconds
_PATIENCE = 0.2


class Locks:
    """Those that were free at the start."""

    def __init__(self) -> None:
        self._locks: list[tuple[Any, str]] = []
        #: each says whether one of them is held
        self.held: list[Callable[[], bool]] = []
        self._reentrant: list[tuple[Any, str]] = []

    def add(self, lock: Any, name: str) -> None:
        """Watches a lock of type `LOCK` or `RLOCK`; `name` is where it was found."""
        if isinstance(lock, RLOCK):
            if not _is_held(lock):
                self._reentrant.append((lock, name))
                self.held.append(partial(_is_held, lock))
        elif not lock.locked():
            self._locks.append((lock, name))
            self.held.append(lock.locked)

    def free(self) -> None:
        """Lets go of those that are held. Raises `PoolError` where a thread may have one."""
        for lock, name in self._locks:
            if lock.locked():
                _free(lock, name)
        for lock, name in self._reentrant:
            if _is_held(lock):
                _free_reentrant(lock, name)


def _is_held(lock: Any) -> bool:
    """Whether this thread or another one holds a reentrant lock."""
    if not lock.acquire(blocking=False):
        return True
    lock.release()
    return bool(lock._is_owned())


def _free(lock: Any, name: str) -> None:
    if threading.active_count() > 1 and not lock.acquire(timeout=_PATIENCE):
        raise _left_held(name)
    if lock.locked():
        lock.release()


def _free_reentrant(lock: Any, name: str) -> None:
    patience = _PATIENCE if threading.active_count() > 1 else 0
    if not lock._is_owned() and not lock.acquire(timeout=patience):  # of a thread, which alone may let it go
        raise _left_held(name)
    lock._release_save()


def _left_held(name: str) -> PoolError:
    return PoolError(f"A lock in {name} is held after the input has ended: take it in a `with` block.")
