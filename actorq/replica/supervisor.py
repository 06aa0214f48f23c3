"""The supervisor: never runs user code, so nothing a task does can stop it.

Its main thread watches the slots every few milliseconds and enforces: a late lease is asked to flush and hand back, an
input past its timeout gets an exception and then SIGKILL, a dead executor is reported and replaced. What needs Redis is
the registrar's.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from actorq import failure
from actorq.errors import PoolError
from actorq.lease import NONE_RAN
from actorq.log import logger
from actorq.replica import leftovers
from actorq.replica.guard import MemoryGuard
from actorq.replica.health import Cause
from actorq.replica.notes import Replica
from actorq.replica.slots import CANCEL, ENDING, LATE, NOTHING, TIMEOUT, Slots
from actorq.replica.spec import START_FAILED, WAKE_SIGNAL, WORN_OUT, ExecutorSpec, Served, SupervisorSpec
from actorq.replica.zygote import Channel, run_zygote
from actorq.waiting import Waker, ready

if TYPE_CHECKING:
    from actorq.monitor.metrics import ReplicaState

#: how often slots are looked at while any runs, and while all are idle, seconds
_BUSY_TICK, _IDLE_TICK = 0.02, 0.2
#: a lease that runs this long is asked to flush and hand back; then after twice as long, and so on
_LATE_SECONDS = 0.06
_LATE_MOST = 2.0
#: from the exception of a timeout to SIGKILL, seconds
_KILL_GRACE = 1.0
#: starts of one replica that may fail in a row where a program waits for it
_MOST_FAILED_STARTS = 3
#: without a round of the main thread for so long the process is stuck, seconds
_STALLED_SECONDS = 10.0
#: a replica that goes from one to the other tells the server itself
_WORKING_STATES = {"busy", "idle"}
#: the first process of a container
_IS_INIT = os.getpid() == 1
#: how long the zygote may take to end, seconds
_END_SECONDS = 1.0


class Supervisor:
    """Runs the replicas of one environment on this machine.

    Args:
        spec: what to run.
        lifeline: a descriptor whose end of file means that the owner is gone; everything is killed then.
        on_ready: called with what is served once the code is imported.
        on_failed: called with a traceback when it cannot be.
    """

    def __init__(
        self,
        spec: SupervisorSpec,
        *,
        lifeline: int | None = None,
        on_ready: Callable[[Served], None] = lambda served: None,
        on_failed: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._spec = spec
        self._lifeline = lifeline
        self._on_ready, self._on_failed = on_ready, on_failed
        self._slots = Slots(spec.replicas)
        self._scratch = tempfile.mkdtemp(prefix="actorq-pool-")
        self._replicas = [Replica(i, self._slots[i], f"{self._scratch}/{i}") for i in range(spec.replicas)]
        self._registrar: Any = None
        self._served: Served | None = None
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waker = Waker()
        self._stopping_since: float | None = None
        self._delayed: list[tuple[float, Replica]] = []
        self._failed = False
        self._look_at_states = 0.0
        self._ticked = time.monotonic()
        self._channel = self._start_zygote()
        # only now: settings are read once, and those of the zygote are others
        self._memory = MemoryGuard(self._replicas, self._ask, self._kill, alone=lifeline is None)

    def run(self) -> int:
        """Serves until drained; returns the exit status."""
        signal.set_wakeup_fd(self._waker.write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._calls.put(self._stop))
        try:
            while not self._done():
                self._wait()
                while not self._calls.empty():
                    self._calls.get()()
                self._watch()
                self._ticked = time.monotonic()
                if _IS_INIT:
                    self._reap_orphans()
        finally:
            self._end()
        return 1 if self._failed else 0

    # -- what probes and metrics ask, from any thread -----------------------------------------------------------------

    def live(self) -> bool:
        """Whether the main thread does its rounds. Says nothing of the server, whose outage ends no warm cache."""
        return time.monotonic() - self._ticked < _STALLED_SECONDS

    def ready(self) -> bool:
        """Whether there is a replica that can take work: code imported, start hooks run, the server answers."""
        registrar, served = self._registrar, self._served
        if registrar is None or served is None or self._stopping_since is not None:
            return False
        renewed = bool(time.time() - registrar.last_renewal < served.lease_seconds)
        return renewed and any(r.serving for r in self._replicas)

    def states(self) -> list[ReplicaState]:
        """Every replica that has not left."""
        return [replica.shown() for replica in self._replicas if not replica.gone and replica.worker]

    def families(self) -> Iterable[Any]:
        """The metrics of this worker."""
        from actorq.monitor.metrics import replica_families

        if self._served is None:
            return []
        registrar = self._registrar
        renewal, errors = (0.0, 0) if registrar is None else (registrar.last_renewal, registrar.broker_errors)
        return replica_families(self._served.environment, self.states(), renewal, errors)

    # -- what the registrar's thread calls -----------------------------------------------------------------------------

    def held(self) -> list[str]:
        return [held for r in self._replicas if (held := r.slot.held)]

    def idle_workers(self) -> list[str]:
        return [r.worker for r in self._replicas if not r.slot.held and not r.gone and not r.draining]

    def busy_workers(self) -> list[str]:
        return [r.worker for r in self._replicas if r.slot.held]

    def cancel(self, member: str) -> None:
        self._soon(lambda: self._cancel(member))

    def buried(self, slot: int) -> None:
        self._soon(lambda: self._respawn(self._replicas[slot]))

    def command(self, worker: str, command: dict[str, Any]) -> None:
        """A command of RQ's tools for one replica."""
        replica = next(r for r in self._replicas if r.worker == worker)
        logger().info("command_received", worker=worker, command=command.get("command"))
        match command.get("command"):
            case "shutdown":
                self._soon(lambda: self._drain(replica))
            case "kill-horse":
                self._soon(lambda: self._kill(replica, "killed by an operator (kill-horse)"))
            case "stop-job" | "stop-execution":
                job = str(command.get("job_id", ""))
                self._soon(lambda: self._cancel_job(replica, job))

    # -- the main thread -----------------------------------------------------------------------------------------------

    @property
    def _environment(self) -> Served:
        assert self._served is not None
        return self._served

    @property
    def _drain_seconds(self) -> float:
        return self._served.drain_seconds if self._served is not None else 0.0

    def _soon(self, action: Callable[[], None]) -> None:
        self._calls.put(action)
        self._waker.wake()

    def _start_zygote(self) -> Channel:
        """Forks the zygote now, while this process has one thread and has imported nothing heavy."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            if self._lifeline is not None:
                os.close(self._lifeline)
            self._waker.close()
            run_zygote(self._spec.zygote, self._slots, Channel(theirs))
        theirs.close()
        self._zygote_pid = pid
        return Channel(ours)

    def _wait(self) -> None:
        busy = any(r.slot.running for r in self._replicas)
        timeout = _BUSY_TICK if busy or self._stopping_since is not None else _IDLE_TICK
        if self._delayed:
            timeout = min(timeout, max(0.0, self._delayed[0][0] - time.monotonic()))
        sources: list[Any] = [self._channel, self._waker]
        if self._lifeline is not None:
            sources.append(self._lifeline)
        found = ready(sources, timeout)
        self._waker.clear()
        if self._channel.fileno() in found:
            for message in self._channel.receive():
                self._hear(message)
            if self._channel.closed and not self._failed and not self._all_gone():
                raise PoolError("The zygote died (out of memory, or killed), and executors cannot start without it.")
        if self._lifeline is not None and self._lifeline in found and not os.read(self._lifeline, 1):
            self._abandon()
        if self._registrar is not None and not self._registrar.is_alive():
            raise PoolError("The registrar thread died: leases would not be renewed.")

    def _hear(self, message: dict[str, Any]) -> None:
        """A message of the zygote."""
        if "ready" in message:
            self._served = served = Served(**message["ready"])
            # a name no other process has: RQ refuses to register one that still lives, and a fence must be of one life
            incarnation = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:4]}"
            for replica in self._replicas:
                replica.worker = f"{served.environment}-{incarnation}-{replica.index}"
                self._fork(replica)
            self._memory.forks = served.isolation == "fork"
            self._on_ready(served)
            self._start_registrar()
        elif "failed" in message:
            self._failed = True
            self._on_failed(message["failed"])
        elif "forked" in message:
            replica = self._replicas[message["forked"]]
            replica.pid, replica.started, replica.forking = message["pid"], time.monotonic(), False
            if replica.draining:
                self._ask(replica, NOTHING)
            logger().info("executor_started", worker=replica.worker, pid=replica.pid)
        elif "exited" in message:
            self._exited(self._replicas[message["exited"]], message["status"])

    def _start_registrar(self) -> None:
        """Only now: importing RQ would compete with the zygote's imports for the first result."""
        from actorq.replica.registrar import Registrar

        served = self._environment
        names = [r.worker for r in self._replicas]
        self._registrar = Registrar(self._spec.url, served.environment, names, served.lease_seconds, self)
        self._registrar.start()

    def _fork(self, replica: Replica) -> None:
        replica.begin()
        replica.forking = True
        spec = ExecutorSpec(
            url=self._spec.url,
            environment=self._environment.environment,
            worker=replica.worker,
            lease_seconds=self._environment.lease_seconds,
            isolation=self._environment.isolation,
            scratch=replica.scratch,
            bundles=self._spec.zygote.bundles,
            memory_share=self._memory.share,
        )
        self._channel.send({"slot": replica.index, "executor": asdict(spec)})

    def _exited(self, replica: Replica, status: int) -> None:
        slot, replica.pid = replica.slot, 0
        reason = replica.killed_for or failure.exit_reason(status)
        code = os.waitstatus_to_exitcode(status)
        if slot.phase == ENDING and not slot.held and code != START_FAILED:
            self._ended(replica, None if code in (0, WORN_OUT) else reason)
            return
        cause = replica.cause_of_death(code)
        replica.restarts += 1
        replica.health.worked(replica.leases)
        was_quarantined = replica.health.quarantined
        replica.pause = replica.health.died(cause, time.monotonic() - replica.started)
        leftovers.forget_caches(replica.scratch)
        if cause is Cause.START:
            self._start_failed(replica, reason)
        else:
            logger().warning("executor_lost", worker=replica.worker, reason=reason, lease=slot.held)
        if replica.health.quarantined and not was_quarantined:
            if self._lifeline is not None:
                self._fail(f"Its executors die before they take any work ({reason}); they say why on stderr.")
            logger().error("replica_quarantined", worker=replica.worker, failures=replica.health.failures)
        if not self._failed:
            self._report(replica, reason)

    def _ended(self, replica: Replica, cut: str | None) -> None:
        """An executor has left in order, having run its exit hooks; `cut` says when they were not run to their end."""
        if cut is not None:
            logger().warning("exit_hooks_cut", worker=replica.worker, reason=cut)
            replica.pause = replica.health.died(Cause.ASKED, time.monotonic() - replica.started)
        if replica.draining:
            logger().info("replica_drained", worker=replica.worker)
            self._gone(replica)
            return
        logger().info("executor_recycled", worker=replica.worker)
        if cut is None:
            self._fork(replica)
        else:
            self._respawn(replica)

    def _start_failed(self, replica: Replica, reason: str) -> None:
        told = leftovers.take_failure(replica.scratch) or f"It ended while it started: {reason}."
        logger().error("start_failed", worker=replica.worker, again_in_seconds=replica.pause, traceback=told)
        if self._lifeline is not None and replica.health.failed_starts >= _MOST_FAILED_STARTS:
            self._fail(told)

    def _fail(self, why: str) -> None:
        """Nothing can run here, and a program waits for it: tells that, and ends."""
        self._failed = True
        self._on_failed(why)

    def _report(self, replica: Replica, reason: str) -> None:
        """Has the submitters told of what the dead executor held; then it is replaced."""
        from actorq.replica.registrar import Death

        slot = replica.slot
        position = slot.position if slot.running else NONE_RAN
        death = Death(slot=replica.index, worker=replica.worker, reason=reason, member=slot.held, position=position)
        slot.clear()
        if self._registrar is None:
            self._respawn(replica)
            return
        self._registrar.report(death)
        if replica.draining:
            self._gone(replica)

    def _respawn(self, replica: Replica) -> None:
        """Starts a new executor, after a pause when the last one died young."""
        if replica.draining or self._stopping_since is not None:
            self._gone(replica)
        elif not replica.pause:
            self._fork(replica)
        else:
            self._delayed.append((time.monotonic() + replica.pause, replica))
            self._delayed.sort(key=lambda item: item[0])

    def _watch(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            replica = self._delayed.pop(0)[1]
            if not replica.gone:
                self._fork(replica)
        for replica in self._replicas:
            if replica.pid and replica.slot.running:
                self._watch_lease(replica, now)
                self._watch_input(replica, now)
            elif replica.pid and replica.slot.phase == ENDING:
                self._watch_ending(replica, now)
        if now >= self._look_at_states:
            self._look_at_states = now + _IDLE_TICK
            for replica in self._replicas:
                self._watch_state(replica)
        self._memory.watch(now)
        if self._stopping_since is not None and now - self._stopping_since > self._drain_seconds:
            for replica in self._replicas:
                self._kill(replica, "stopped before it had finished its input")

    def _watch_lease(self, replica: Replica, now: float) -> None:
        """Asks for a flush of a lease that runs late."""
        slot = replica.slot
        since = slot.lease_since / 1e9
        if slot.lease != replica.lease:
            replica.lease, replica.late_at = slot.lease, since + _LATE_SECONDS
        if slot.lease == replica.cancelled_lease:
            if now >= replica.cancel_kill_at:
                self._kill(replica, "its map was cancelled and the input did not stop")
            return
        if now >= replica.late_at and slot.count > 1 and not replica.stopping_for_memory:
            replica.late_at = now + min(now - since, _LATE_MOST)
            self._ask(replica, LATE)

    def _watch_input(self, replica: Replica, now: float) -> None:
        """Stops an input that is past its timeout: an exception first, SIGKILL after a grace."""
        slot = replica.slot
        current = slot.input
        since, timeout = slot.overdue
        if not timeout or not since or now < (since + timeout) / 1e9:
            return
        if replica.timed_out_input != current:
            replica.timed_out_input, replica.kill_at = current, now + _KILL_GRACE
            self._ask(replica, TIMEOUT, current)
        elif now >= replica.kill_at:
            self._kill(replica, failure.TIMEOUT)

    def _watch_ending(self, replica: Replica, now: float) -> None:
        """Exit hooks have as much time as an input would have."""
        if now - replica.slot.phase_since / 1e9 > self._drain_seconds:
            self._kill(replica, "its exit hooks took longer than drain_seconds")

    def _watch_state(self, replica: Replica) -> None:
        """Has the server told soon of a replica that begins or ceases to serve."""
        if replica.health.failures:
            replica.health.worked(replica.leases)
        state = replica.state
        if state != replica.told and self._registrar is not None:
            if not {state, replica.told} <= _WORKING_STATES:
                self._registrar.hurry()
            replica.told = state

    def _ask(self, replica: Replica, request: int, of: int = 0) -> None:
        replica.slot.ask(request, of)
        if replica.pid:
            _signal(replica.pid, WAKE_SIGNAL)

    def _kill(self, replica: Replica, reason: str) -> None:
        if replica.pid and replica.killed_for is None:
            replica.killed_for = reason
            _signal(replica.pid, signal.SIGKILL)

    def _cancel(self, member: str) -> None:
        for replica in self._replicas:
            if replica.slot.held == member and replica.slot.running:
                self._interrupt(replica)

    def _cancel_job(self, replica: Replica, job: str) -> None:
        if replica.slot.running and replica.slot.held.rpartition(":")[0] == job:
            self._interrupt(replica)

    def _interrupt(self, replica: Replica) -> None:
        """Stops what the executor runs: by an exception, and by SIGKILL if that does not help."""
        replica.cancelled_lease, replica.cancel_kill_at = replica.slot.lease, time.monotonic() + _KILL_GRACE
        self._ask(replica, CANCEL, replica.slot.lease)

    # -- ending --------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """SIGTERM: drain. A second one does not wait."""
        if self._stopping_since is not None:
            for replica in self._replicas:
                self._kill(replica, "stopped by a second signal")
            return
        logger().info("draining_started", drain_seconds=self._drain_seconds)
        self._stopping_since = time.monotonic()
        for replica in self._replicas:
            self._drain(replica)

    def _drain(self, replica: Replica) -> None:
        replica.draining = True
        if replica.pid or replica.forking:
            replica.slot.drain()
            self._ask(replica, NOTHING)
        else:
            self._gone(replica)

    def _gone(self, replica: Replica) -> None:
        """No executor will run in this slot any more."""
        replica.gone = True
        if self._registrar is not None:
            self._registrar.retire(replica.worker)

    def _reap_orphans(self) -> None:
        """As process 1 of a container we inherit what tasks leave behind; unreaped, it would fill the process table."""
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) and pid != self._zygote_pid:
                continue

    def _all_gone(self) -> bool:
        return all(r.gone for r in self._replicas)

    def _done(self) -> bool:
        return self._failed or self._all_gone()

    def _abandon(self) -> None:
        """The owner is gone, and the server with it: nobody is left to tell."""
        self._end_zygote()
        os._exit(0)

    def _end_zygote(self) -> None:
        """Closes the zygote's channel, which makes it kill its executors and end; kills it if it does not."""
        self._channel.sock.close()
        deadline = time.monotonic() + _END_SECONDS
        with contextlib.suppress(ChildProcessError):
            while not os.waitpid(self._zygote_pid, os.WNOHANG)[0]:
                if time.monotonic() > deadline:
                    _signal(self._zygote_pid, signal.SIGKILL)
                time.sleep(0.005)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _end(self) -> None:
        self._end_zygote()
        if self._registrar is not None:
            self._registrar.stop(timeout=5.0)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it ended by itself; the zygote will say so
        return
