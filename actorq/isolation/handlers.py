"""Signal handlers of a replica's processes, and what the children of its tasks get in place of them.

An executor leaves SIGINT and SIGTERM to its supervisor. A child that a task forks would inherit that: nothing ended it,
and `multiprocessing.Pool`, which ends its workers by SIGTERM, would wait for them for ever. So in every child of a task
our handlers give way to the defaults; what the task itself has set stays. Forks of our own say so. SIGTERM waits while
a child comes to be: one that arrived before the child has its handlers would be lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

#: what a Python program does at these
_DEFAULTS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
#: signals that nobody but us uses
_own: set[int] = set()
_installed = False
#: the next child is ours
_ours = False
#: `mask`: what the thread that forks had blocked before
_blocked = threading.local()


def leave_to_supervisor(signum: int, frame: FrameType | None) -> None:
    """For SIGINT and SIGTERM. Not SIG_IGN, which programs that a task starts would inherit."""


def install(*own: int) -> None:
    """This process, and those we fork from it, leave SIGINT and SIGTERM to the supervisor; children of tasks do not.

    Args:
        own: signals of ours, which get their default handler in children of tasks.
    """
    global _installed
    _own.update(own)
    for number in _DEFAULTS:
        signal.signal(number, leave_to_supervisor)
    if not _installed:
        _installed = True
        os.register_at_fork(before=_before, after_in_parent=_unblock, after_in_child=_in_child)


@contextlib.contextmanager
def own_fork() -> Iterator[None]:
    """Around a fork of ours, whose child keeps the handlers."""
    global _ours
    _ours = True
    try:
        yield
    finally:
        _ours = False


def _before() -> None:
    _blocked.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _blocked.mask)


def _in_child() -> None:
    if not _ours:
        for number, default in _DEFAULTS.items():
            if signal.getsignal(number) is leave_to_supervisor:
                signal.signal(number, default)
        for own in _own:
            signal.signal(own, signal.SIG_DFL)
    _unblock()
