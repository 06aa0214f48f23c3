"""Regular tasks on one machine: a fresh interpreter for every input.

Nothing is shared and nothing stays, which is the strictest isolation there is and the baseline that warm replicas are
measured against. Needs no server: the input goes in by a file, the frame comes back by a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from actorq import failure
from actorq.environment import TaskEnvironment
from actorq.errors import CodecError
from actorq.frames import join, parse_frame
from actorq.maps.ledger import Lease
from actorq.maps.options import MapOptions
from actorq.maps.transport import Lost, Report, Results
from actorq.replica.importing import module_target
from actorq.replica.spec import ZygoteSpec

#: bytes read from a result pipe at once
_CHUNK = 1 << 20


@dataclass(kw_only=True)
class _Running:
    lease: str
    process: subprocess.Popen[bytes]
    pipe: int
    deadline: float | None
    timed_out: bool = False
    data: list[bytes] = field(default_factory=list)


class ProcessTransport:
    """Runs each lease, always of one input, in a process of its own."""

    def __init__(self, environment: TaskEnvironment, options: MapOptions) -> None:
        self.replicas = options.concurrency or 1
        self._environment = environment
        self._head = options.head.packed()
        self._timeout = options.head.timeout
        self._running: dict[int, _Running] = {}
        modules = sorted({task.function.__module__ for task in environment.tasks.values()})
        self._spec = json.dumps(
            asdict(
                ZygoteSpec(
                    environment=environment.name,
                    targets=[module_target(module) for module in modules],
                    path=sys.path,
                    argv=sys.argv,
                )
            )
        )
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def offer(self, leases: Sequence[Lease]) -> int:
        for lease in leases:
            self._start(lease)
        return len(leases)

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        now = time.monotonic()
        for running in self._running.values():
            if running.deadline is not None:
                timeout = min(timeout, max(0.0, running.deadline - now))
        ready, _, _ = select.select([*self._running, self._wake_read], [], [], timeout)
        if self._wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._wake_read, 4096):
                    pass
        self._stop_overdue()
        reports = [self._read(pipe) for pipe in ready if pipe != self._wake_read]
        return [report for report in reports if report is not None]

    def beat(self, outstanding: Sequence[Lease]) -> list[Report]:
        return []

    def finish(self, outstanding: Sequence[Lease]) -> None:
        for running in self._running.values():
            running.process.kill()
            running.process.wait()
            os.close(running.pipe)
        self._running.clear()
        write, self._wake_write = self._wake_write, -1
        os.close(write)
        os.close(self._wake_read)

    def wake(self) -> None:
        if self._wake_write >= 0:
            with contextlib.suppress(OSError):  # full: it is awake already
                os.write(self._wake_write, b"\0")

    def _start(self, lease: Lease) -> None:
        pipe, theirs = os.pipe()
        with tempfile.TemporaryFile() as file:
            file.write(join(self._head, lease.inputs))
            file.seek(0)
            process = subprocess.Popen(
                [sys.executable, "-m", "actorq.pool.once", self._spec, str(theirs)],
                stdin=file,
                pass_fds=(theirs,),
                start_new_session=True,
                env={**os.environ, **self._environment.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        os.close(theirs)
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        self._running[pipe] = _Running(lease=lease.id, process=process, pipe=pipe, deadline=deadline)

    def _stop_overdue(self) -> None:
        now = time.monotonic()
        for running in self._running.values():
            if running.deadline is not None and now >= running.deadline:
                running.timed_out, running.deadline = True, None
                running.process.send_signal(signal.SIGKILL)

    def _read(self, pipe: int) -> Report | None:
        """What a process said, once it has said all: at the end of its pipe."""
        running = self._running[pipe]
        data = os.read(pipe, _CHUNK)
        if data:
            running.data.append(data)
            return None
        del self._running[pipe]
        os.close(pipe)
        status = running.process.wait()
        if running.timed_out:
            return self._lost(running, failure.TIMEOUT)
        try:
            return Results(lease=running.lease, frame=parse_frame(b"".join(running.data)))
        except CodecError:
            reason = f"killed by signal {-status}" if status < 0 else f"exited with status {status}"
            return self._lost(running, reason)

    def _lost(self, running: _Running, reason: str) -> Report:
        return Lost(lease=running.lease, reason=reason, position=0, replica=f"process {running.process.pid}")


def concurrency_of(environment: TaskEnvironment, asked: int | None) -> int:
    """Processes of one map at the same time."""
    most = environment.concurrency or os.cpu_count() or 1
    return min(most, asked) if asked else most
