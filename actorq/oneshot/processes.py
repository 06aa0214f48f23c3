"""Regular tasks on one machine: a fresh interpreter for every input.

Nothing is shared and nothing stays, which is the strictest isolation there is and the baseline that warm replicas are
measured against. Needs no server: the input goes in by a file, the frame comes back by a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from actorq.base.log import local_log
from actorq.base.streams import pipe as pipe_above_streams
from actorq.base.waiting import Waker, ready
from actorq.code.importing import module_target
from actorq.declare.environment import TaskEnvironment
from actorq.declare.map_options import MapOptions
from actorq.errors import CodecError
from actorq.maps.share import Share
from actorq.oneshot import pipe as pipes
from actorq.replica.spec import ZygoteSpec
from actorq.wire import failure
from actorq.wire.lease import Counters, GivenUp, Lease, Lost, Report, Results
from actorq.wire.messages import join, parse_frame

#: bytes read from a result pipe at once
_CHUNK = 1 << 20
#: how often the end of a process is looked for beside the end of its pipe, seconds
_EXIT_LOOK = 0.2
#: how long a process may take to end after its pipe, seconds
_END_SECONDS = 0.5


@dataclass(kw_only=True)
class _Running:
    lease: str
    process: subprocess.Popen[bytes]
    pipe: int
    deadline: float | None
    timed_out: bool = False
    data: bytearray = field(default_factory=bytearray)

    def kill(self) -> None:
        """Ends the process and what it started; it leads a session of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class ProcessTransport:
    """Runs each lease, always of one input, in a process of its own."""

    prompt = False  # the processes end with the thread that started them

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
                    log=local_log(),
                )
            )
        )
        self._waker = Waker()

    def offer(self, leases: Sequence[Lease], *, beside: int, share: Share) -> int:
        for lease in leases:
            self._start(lease)
        return len(leases)

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        now = time.monotonic()
        for running in self._running.values():
            if running.deadline is not None:
                timeout = min(timeout, max(0.0, running.deadline - now))
        timeout = min(timeout, _EXIT_LOOK if self._running else timeout)
        found = ready([*self._running, self._waker], timeout)
        if self._waker.fileno() in found:
            self._waker.clear()
        self._stop_overdue()
        reports = [self._read(pipe) for pipe in found if pipe in self._running]
        # a child that the task forked may hold the pipe open: the end of the process itself counts too
        ended = [p for p, r in self._running.items() if p not in found and r.process.poll() is not None]
        reports += [self._report(pipe) for pipe in ended if not ready([pipe], 0)]
        return [report for report in reports if report is not None]

    def names(self) -> Sequence[str]:
        """Every process is as good as any."""
        return ()

    def recall(self, leases: Sequence[Lease]) -> list[Lease]:
        """All have begun."""
        return []

    def beat(self, outstanding: Sequence[Lease], counters: Counters, share: Share) -> list[Report]:
        return []

    def finish(self, outstanding: Sequence[Lease]) -> None:
        for running in self._running.values():
            running.kill()
            running.process.wait()
            os.close(running.pipe)
        self._running.clear()
        self._waker.close()

    def hurry(self) -> None:
        """Nothing of it waits."""

    def wake(self) -> None:
        self._waker.wake()

    def record(self, given_up: Sequence[GivenUp]) -> None:
        """Nobody to tell: there is no server."""

    def _start(self, lease: Lease) -> None:
        pipe, theirs = pipe_above_streams()
        with tempfile.TemporaryFile() as file:
            file.write(join(self._head, lease.inputs))
            file.seek(0)
            process = subprocess.Popen(
                [sys.executable, "-m", "actorq.oneshot.entry", self._spec, str(theirs), lease.id, str(os.getpid())],
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
                running.kill()

    def _read(self, pipe: int) -> Report | None:
        """What a process said, once it has said all: at the end of its pipe."""
        running = self._running[pipe]
        data = os.read(pipe, _CHUNK)
        if data:
            running.data += data
            if not pipes.is_whole(running.data):
                return None
        return self._report(pipe)

    def _report(self, pipe: int) -> Report:
        """What became of a process that has said all, or ended."""
        running = self._running.pop(pipe)
        os.close(pipe)
        told = running.timed_out or pipes.is_whole(running.data)
        reason = "" if told else _how_it_ended(running.process)
        running.kill()  # with what it started
        running.process.wait()
        if running.timed_out:
            return self._lost(running, failure.TIMEOUT)
        try:
            return Results(lease=running.lease, frame=parse_frame(pipes.message_in(running.data)))
        except CodecError:
            return self._lost(running, reason)

    def _lost(self, running: _Running, reason: str) -> Report:
        return Lost(lease=running.lease, reason=reason, position=0, replica=f"process {running.process.pid}")


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    """Of a process whose pipe has ended before its result: as a rule since it ends, and the kernel closes its files."""
    try:
        return failure.end_of(process.wait(_END_SECONDS))
    except subprocess.TimeoutExpired:
        return "closed the descriptor through which its result goes"
