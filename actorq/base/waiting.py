"""Waiting for several descriptors, and waking a wait from another thread or a signal handler."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterable
from typing import Protocol


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Waker:
    """A pipe whose read end becomes ready after `wake`. Any thread, and a signal handler, may call `wake`."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for fd in (self._read, self._write):
            os.set_blocking(fd, False)
        #: a signal handler may interrupt the thread that holds it
        self._lock = threading.RLock()

    def fileno(self) -> int:
        return self._read

    @property
    def write_fd(self) -> int:
        """For `signal.set_wakeup_fd`."""
        return self._write

    def wake(self) -> None:
        with self._lock:  # else `close` may come between, and another file get the number that is written to
            if self._write >= 0:
                with contextlib.suppress(OSError):  # full: it is awake already
                    os.write(self._write, b"\0")

    def clear(self) -> None:
        """After it was found ready. Should some of very many wakes be left, they only wake once more."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        """`wake` does nothing afterwards."""
        with self._lock:
            write, self._write = self._write, -1
            if write >= 0:
                os.close(write)
                os.close(self._read)


def ready(sources: Iterable[HasFileno | int], timeout: float) -> set[int]:
    """The descriptors among `sources` that can be read, after at most `timeout` seconds.

    By poll, not select: a program may have more than 1,024 files open.
    """
    poller = select.poll()
    for source in sources:
        poller.register(source if isinstance(source, int) else source.fileno(), select.POLLIN)
    return {fd for fd, _ in poller.poll(max(0.0, timeout) * 1000)}
