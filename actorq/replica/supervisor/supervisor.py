"""The supervisor: never runs user code, so nothing a task does can stop it.

Its main thread watches the pages every few milliseconds and enforces: a late lease is asked to flush and hand back, an
input past its timeout gets an exception and then SIGKILL, a dead executor is reported and replaced. What needs Redis is
the registrar's.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from actorq.base.log import logger
from actorq.base.names import new_id
from actorq.base.waiting import Waker, ready
from actorq.errors import PoolError
from actorq.replica import leftovers
from actorq.replica.pages import ENDING, MAX_SLOTS
from actorq.replica.spec import SERVE_FAILED, START_FAILED, WORN_OUT, ExecutorSpec, Served, SupervisorSpec
from actorq.replica.start.zygote import StartedZygote
from actorq.replica.supervisor.guard import MemoryGuard
from actorq.replica.supervisor.health import Cause
from actorq.replica.supervisor.output import keep_output_of
from actorq.replica.supervisor.replica import Replica, Slot, Work
from actorq.replica.supervisor.scratch import Scratch
from actorq.replica.supervisor.zygotes import Zygotes

if TYPE_CHECKING:
    from actorq.replica.state import ReplicaState

#: how often pages are looked at while any runs, and while all are idle, seconds
_BUSY_TICK, _IDLE_TICK = 0.02, 0.2
#: starts of one replica that may fail in a row where a program waits for it
_MOST_FAILED_STARTS = 3
#: without a round of the main thread for so long the process is stuck, seconds
_STALLED_SECONDS = 10.0
#: changes between these need no early renewal: `Registrar.book` tells them
_WORKING_STATES = {"busy", "idle"}
#: replicas that have been starting for so long are registered as such, seconds
_REGISTER_SECONDS = 1.0
#: leases that an event names
_SHOWN_LEASES = 3
#: how long an executor that is to leave, and runs nothing, may try to tell a server that does not answer, seconds
_LEAVE_SECONDS = 2.0


class Supervisor:
    """Runs the replicas of one environment on this machine.

    Args:
        spec: what to run.
        zygote: that was started for it.
        lifeline: a descriptor whose end of file means that the owner is gone; everything is killed then.
        on_ready: called with what is served once the code is imported.
        on_failed: called with a traceback when it cannot be.
    """

    def __init__(
        self,
        spec: SupervisorSpec,
        zygote: StartedZygote,
        *,
        lifeline: int | None = None,
        on_ready: Callable[[Served], None] = lambda served: None,
        on_failed: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._spec = spec
        self._lifeline = lifeline
        self._on_ready, self._on_failed = on_ready, on_failed
        self._zygotes = Zygotes(spec, zygote)
        self._scratch = Scratch()
        self._replicas = [Replica(i, f"{self._scratch.path}/{i}") for i in range(spec.replicas)]
        self._registrar: Any = None
        self._register_at = 0.0
        self._served: Served | None = None
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waker = Waker()
        self._stopping_since: float | None = None
        self._delayed: list[tuple[float, Replica]] = []
        self._failed = False
        self._look_at_states = 0.0
        self._was_busy = False  # at the last look
        self._ticked = time.monotonic()
        self._output = keep_output_of(spec, self._scratch.path)
        self._memory = MemoryGuard(self._replicas, alone=lifeline is None)

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
                if self._registrar is None and self._served is not None:
                    self._register()
                self._ticked = time.monotonic()
                self._zygotes.reap_orphans()
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
        """Every slot of every replica that has not left."""
        return [state for replica in self._replicas if not replica.gone for state in replica.shown()]

    @property
    def environment(self) -> str | None:
        """The name of what is served; None before that is known."""
        return None if self._served is None else self._served.environment

    @property
    def renewals(self) -> tuple[float, int]:
        """When the server last heard of the replicas (Unix seconds, 0 before the first), and its errors so far."""
        return (0.0, 0) if self._registrar is None else (self._registrar.last_renewal, self._registrar.broker_errors)

    # -- what the registrar's thread calls -----------------------------------------------------------------------------

    def held(self) -> list[str]:
        return [held for replica in self._replicas for held in replica.renewed]

    def idle_workers(self) -> list[str]:
        staying = [r for r in self._replicas if not r.gone and not r.draining]
        return [slot.worker for r in staying for slot in r.slots if not slot.page.held]

    def work(self) -> list[Work]:
        slots = [slot for replica in self._replicas if not replica.gone for slot in replica.slots]
        return [Work(worker=slot.worker, held=slot.page.held, totals=slot.page.totals.values) for slot in slots]

    def orphaned(self) -> bool:
        """Whether the program that this pool belongs to has ended: its server ends with it, which is no trouble."""
        return self._lifeline is not None and bool(ready([self._lifeline], 0))

    def cancel(self, member: str) -> None:
        for replica in self._replicas:
            self._soon(partial(replica.cancel, member))

    def buried(self, replica: int) -> None:
        self._soon(lambda: self._respawn(self._replicas[replica]))

    def command(self, worker: str, command: dict[str, Any]) -> None:
        """A command of RQ's tools for one replica."""
        replica, slot = next((r, slot) for r in self._replicas for slot in r.slots if slot.worker == worker)
        logger().info("command_received", worker=worker, command=command.get("command"))
        match command.get("command"):
            case "shutdown":
                self._soon(lambda: self._drain(replica))
            case "kill-horse":
                self._soon(lambda: replica.kill("killed by an operator (kill-horse)", slot))
            case "stop-job" | "stop-execution":
                job = str(command.get("job_id", ""))
                self._soon(lambda: replica.cancel_job(worker, job))

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

    def _wait(self) -> None:
        busy = any(r.busy for r in self._replicas)
        timeout = _BUSY_TICK if busy or self._stopping_since is not None else _IDLE_TICK
        if self._delayed:
            timeout = min(timeout, max(0.0, self._delayed[0][0] - time.monotonic()))
        channel = self._zygotes.channel
        sources: list[Any] = [channel, self._waker]
        if self._lifeline is not None:
            sources.append(self._lifeline)
        found = ready(sources, timeout)
        if self._waker.fileno() in found:
            self._waker.clear()
        if channel.fileno() in found:
            for message in channel.receive():
                self._hear(message)
        if channel.closed and not self._done():
            self._lost_zygote()
        if self._lifeline is not None and self._lifeline in found and not os.read(self._lifeline, 1):
            self._abandon()
        if self._registrar is not None and not self._registrar.is_alive():
            raise PoolError("The registrar thread died: leases would not be renewed.")

    def _hear(self, message: dict[str, Any]) -> None:
        """A message of the zygote."""
        if "ready" in message and self._served is None:  # else it is in the place of another one
            self._served = served = Served(**message["ready"])
            # a name no other process has: RQ refuses to register one that still lives, and a fence must be of one life
            incarnation = f"{socket.gethostname()}-{os.getpid()}-{new_id()[:4]}"
            for replica in self._replicas:
                replica.slots = self._slots(replica.index, f"{served.environment}-{incarnation}-{replica.index}")
                self._fork(replica)
            self._memory.forks = served.isolation == "fork"
            self._on_ready(served)
            self._register_at = time.monotonic() + _REGISTER_SECONDS
        elif "failed" in message:
            self._failed = True
            self._on_failed(message["failed"])
        elif "forked" in message:
            replica = self._replicas[message["forked"]]
            replica.pid, replica.started, replica.forking = message["pid"], time.monotonic(), False
            if replica.draining:
                replica.wake()
            logger().info("executor_started", worker=replica.name, pid=replica.pid)
        elif "exited" in message:
            self._exited(self._replicas[message["exited"]], message["status"])

    def _register(self) -> None:
        """Starts the registrar when there is a replica to register: importing RQ takes a quarter of a second, for
        which it would compete with the executors that start.
        """
        if time.monotonic() < self._register_at and not any(r.serving for r in self._replicas):
            return
        from actorq.replica.supervisor.registrar import Registrar

        served = self._environment
        names = [slot.worker for r in self._replicas for slot in r.slots]
        log = None if self._lifeline is not None else self._spec.zygote.log[:2]  # a program drives its runs itself
        self._registrar = Registrar(self._spec.url, served.environment, names, served.lease_seconds, self, log)
        self._registrar.start()

    def _slots(self, index: int, name: str) -> list[Slot]:
        count, first = self._environment.concurrency, index * MAX_SLOTS
        if count == 1:
            return [Slot(name, self._zygotes.pages[first])]
        return [Slot(f"{name}-{slot}", self._zygotes.pages[first + slot]) for slot in range(count)]

    def _fork(self, replica: Replica) -> None:
        replica.begin()
        replica.forking = True
        spec = ExecutorSpec(
            url=self._spec.url,
            environment=self._environment.environment,
            workers=[slot.worker for slot in replica.slots],
            lease_seconds=self._environment.lease_seconds,
            isolation=self._environment.isolation,
            scratch=replica.scratch,
            bundles=self._spec.zygote.bundles,
            memory_share=self._memory.share,
        )
        self._zygotes.channel.send({"index": replica.index, "executor": asdict(spec)})

    def _exited(self, replica: Replica, status: int) -> None:
        replica.pid = 0
        reason = replica.reason_of(status)
        code = os.waitstatus_to_exitcode(status)
        if replica.phase == ENDING and not replica.held and code not in (START_FAILED, SERVE_FAILED):
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
            held = replica.held
            told = held[:_SHOWN_LEASES] + [f"and {len(held) - _SHOWN_LEASES} more"] * (len(held) > _SHOWN_LEASES)
            logger().warning("executor_lost", worker=replica.name, reason=reason, leases=told)
        if replica.health.quarantined and not was_quarantined:
            if self._lifeline is not None:
                self._fail(f"Its executors die before they take any work ({reason}); they say why on stderr.")
            logger().error("replica_quarantined", worker=replica.name, failures=replica.health.failures)
        if not self._failed:
            self._report(replica, reason)

    def _ended(self, replica: Replica, cut: str | None) -> None:
        """An executor has left in order, having run its exit hooks; `cut` says when they were not run to their end."""
        if cut is not None:
            logger().warning("exit_hooks_cut", worker=replica.name, reason=cut)
            replica.pause = replica.health.died(Cause.ASKED, time.monotonic() - replica.started)
        if replica.draining:
            logger().info("replica_drained", worker=replica.name)
            self._gone(replica)
            return
        logger().info("executor_recycled", worker=replica.name)
        if cut is None:
            self._fork(replica)
        else:
            self._respawn(replica)

    def _start_failed(self, replica: Replica, reason: str) -> None:
        told = leftovers.take_failure(replica.scratch) or f"It ended while it started: {reason}."
        if self._lifeline is None:  # a program that waits for it raises the same
            logger().error("start_failed", worker=replica.name, again_in_seconds=replica.pause, traceback=told)
        if self._lifeline is not None and replica.health.failed_starts >= _MOST_FAILED_STARTS:
            self._fail(told)

    def _fail(self, why: str) -> None:
        """Nothing can run here, and a program waits for it: tells that, and ends."""
        self._failed = True
        self._on_failed(why)

    def _lost_zygote(self) -> None:
        """It has died, and all its executors with it. No input is charged: nobody knows of one that is to blame."""
        reason = self._zygotes.bury()
        logger().error("zygote_lost", environment=self.environment, reason=reason)
        lost = [replica for replica in self._replicas if replica.pid or replica.forking]
        for replica in lost:
            replica.orphaned()
        try:
            if self._stopping_since is None:
                self._zygotes.start_another(reason, served=self._served is not None)
        except (PoolError, OSError) as error:
            if self._lifeline is None:
                raise
            self._fail(str(error))
        for replica in lost:
            self._report(replica, f"the process that had started it ended: {reason}")

    def _report(self, replica: Replica, reason: str) -> None:
        """Has the submitters told of what the dead executor held; then it is replaced."""
        from actorq.replica.supervisor.registrar import Death

        death = Death(replica=replica.index, reason=reason, unfinished=replica.unfinished())
        for slot in replica.slots:
            slot.page.clear()
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
        someone_is_idle = any(replica.idle for replica in self._replicas)
        for replica in self._replicas:
            if replica.pid:
                self._watch_replica(replica, now, someone_is_idle=someone_is_idle)
        if now >= self._look_at_states:
            self._look_at_states = now + _IDLE_TICK
            self._watch_states()
        self._memory.watch(now)
        if self._stopping_since is not None and now - self._stopping_since > self._drain_seconds:
            for replica in self._replicas:
                replica.kill("stopped before it had finished its input")

    def _watch_replica(self, replica: Replica, now: float, *, someone_is_idle: bool) -> None:
        replica.watch(now)
        for worker, member in replica.overtaken(now, someone_is_idle=someone_is_idle):
            if self._registrar is not None:
                self._registrar.unclaim(worker, member)
        told = self._registrar is None or self._registrar.reachable
        if replica.leaves_since(now) > _LEAVE_SECONDS and not told:
            replica.kill("it could not tell the server that it leaves")
        if replica.phase == ENDING and now - replica.phase_since > self._drain_seconds:
            replica.kill("its exit hooks took longer than drain_seconds")

    def _watch_states(self) -> None:
        """Has the server told of what replicas do, and soon of one that begins or ceases to serve."""
        for replica in self._replicas:
            self._watch_state(replica)
        busy = any(replica.held for replica in self._replicas)
        if self._registrar is not None and (busy or self._was_busy):
            self._registrar.book()
        self._was_busy = busy

    def _watch_state(self, replica: Replica) -> None:
        if replica.health.failures:
            replica.health.worked(replica.leases)
        if replica.slow_start(now := time.monotonic()):
            logger().warning("start_slow", worker=replica.name, seconds=round(now - replica.started))
        state = replica.state
        if state != replica.told and self._registrar is not None:
            if not {state, replica.told} <= _WORKING_STATES:
                self._registrar.hurry()
            replica.told = state

    # -- ending --------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """SIGTERM: drain. A second one does not wait."""
        if self._stopping_since is not None:
            for replica in self._replicas:
                replica.kill("stopped by a second signal")
            return
        logger().info("draining_started", drain_seconds=self._drain_seconds)
        self._stopping_since = time.monotonic()
        for replica in self._replicas:
            self._drain(replica)

    def _drain(self, replica: Replica) -> None:
        replica.drain()
        if not replica.pid and not replica.forking:
            self._gone(replica)

    def _gone(self, replica: Replica) -> None:
        """No executor will run in the place of this one."""
        replica.gone = True
        if self._registrar is not None:
            for slot in replica.slots:
                self._registrar.retire(slot.worker)

    def _done(self) -> bool:
        return self._failed or all(r.gone for r in self._replicas)

    def _abandon(self) -> None:
        """The owner is gone, and the server with it: nobody is left to tell."""
        self._end_zygote()
        os._exit(0)

    def _end_zygote(self) -> None:
        self._zygotes.end()
        if self._output is not None:
            self._output.close()
        self._scratch.remove()

    def _end(self) -> None:
        self._end_zygote()
        if self._registrar is not None:
            self._registrar.stop(timeout=5.0)
