"""The zygote of a supervisor, and the next one where it dies.

The one idea: *the next one is a new interpreter*. The first was forked while the supervisor had one thread and no
connection; by now it has both.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from actorq.errors import PoolError
from actorq.replica.pages import Pages
from actorq.replica.spec import SupervisorSpec
from actorq.replica.start.zygote import StartedZygote, spawn_zygote
from actorq.replica.supervisor.replica import send_signal
from actorq.wire import failure

#: the first process of a container
_IS_INIT = os.getpid() == 1
#: how long the zygote may take to end, seconds
_END_SECONDS = 1.0
#: zygotes that may die in a row, each before it was this old, seconds: somebody kills them, or there is no memory
_MOST_DEATHS, _YOUNG_SECONDS = 5, 60.0


class Zygotes:
    """Of one supervisor.

    Args:
        spec: what they import.
        first: that was forked for it.
    """

    def __init__(self, spec: SupervisorSpec, first: StartedZygote) -> None:
        self._spec = spec
        self.pages: Pages = first.pages
        self.pid, self.channel = first.pid, first.channel
        self._started = time.monotonic()
        self._deaths = 0  # in a row

    def bury(self) -> str:
        """The present one has ended; returns how."""
        self.channel.sock.close()
        status = self._status(_END_SECONDS)
        return "it ended" if status is None else failure.exit_reason(status)

    def start_another(self, reason: str, *, served: bool) -> None:
        """Has another one import the tasks. What it is asked meanwhile waits for it.

        Args:
            reason: how the last one has ended.
            served: whether any has ever imported them.

        Raises `PoolError` where none has, or too many have died.
        """
        if not served:
            raise PoolError(f"The process that imports the tasks ended before it had done so: {reason}.")
        young = time.monotonic() - self._started < _YOUNG_SECONDS
        self._deaths = self._deaths + 1 if young else 1
        if self._deaths >= _MOST_DEATHS:
            raise PoolError(
                f"The process that starts executors was lost {self._deaths} times in a row; the last one: {reason}. "
                "Look for what kills it: too little memory, or a task that signals its parent process."
            )
        started = spawn_zygote(self._spec, self.pages)
        self.pid, self.channel = started.pid, started.channel
        self._started = time.monotonic()

    def end(self) -> None:
        """Closes its channel, which makes it kill its executors and end; kills it if it does not."""
        self.channel.sock.close()
        self._status(_END_SECONDS)

    def reap_orphans(self) -> None:
        """As process 1 of a container we inherit what tasks leave behind; unreaped, it would fill the process table."""
        with contextlib.suppress(ChildProcessError):
            while _IS_INIT and (pid := os.waitpid(-1, os.WNOHANG)[0]) and pid != self.pid:
                continue

    def _status(self, seconds: float) -> int | None:
        """How it has ended, which it is made to do after so long; None where somebody else has asked."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    return status
                if time.monotonic() > deadline:
                    send_signal(self.pid, signal.SIGKILL)
                time.sleep(0.005)
        return None
