"""What a supervisor knows of one replica, and what it does to its executor.

An executor has one concurrency slot, or as many as its environment has `concurrency`: a slot runs one lease at a time,
and is a worker of its own to RQ. What concerns a lease is asked of its slot, through the slot's page; signals and death
are the executor's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorq.replica.caches import CacheListener
from actorq.replica.pages import CANCEL, ENDING, FORGO, LATE, MEMORY, SERVING, STARTING, TIMEOUT, Page
from actorq.replica.spec import NO_MEMORY, START_FAILED, WAKE_SIGNAL
from actorq.replica.supervisor.health import Cause, Health
from actorq.wire import failure
from actorq.wire.lease import NONE_RAN, is_addressed

if TYPE_CHECKING:
    from actorq.replica.state import ReplicaState

#: a lease that runs this long, seconds, is asked to flush and hand back; then after twice as long, and so on
_LATE_SECONDS = 0.06
_LATE_MOST = 2.0
#: from the exception of a timeout to SIGKILL, seconds
_KILL_GRACE = 1.0
#: how long a lease may run, ns, before what is claimed behind it is given back because another replica is idle: that
#: takes some milliseconds, and shorter ones end before
_IDLE_PATIENCE_NS = 5_000_000
#: a start that takes longer, seconds, is worth a word in the log; then one that takes twice as long, and so on
_SLOW_START_SECONDS = 30.0
#: an order to stop a job is kept so long, seconds, for a slot that does not run it (yet): the server knows of a lease
#: before its executor has read it. Longer than a stall of the machine; only `rq requeue` brings a job's name back
_ORDER_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a slot does, and has done."""

    worker: str
    #: "<lease>:<attempt>" it holds, or ""
    held: str
    #: leases done, leases with failures, busy seconds
    totals: tuple[int, int, float]


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """What a slot held when its executor died."""

    worker: str
    #: "<lease>:<attempt>", "" for none
    member: str
    #: the input that was running, `NONE_RAN`, or None when nobody knows
    position: int | None


class Slot:
    """Notes on one concurrency slot.

    Args:
        worker: its name as an RQ worker.
        page: its page.
    """

    def __init__(self, worker: str, page: Page) -> None:
        self.worker = worker
        self.page = page
        self.caches = CacheListener(page)
        self.begin()

    def begin(self) -> None:
        """A new executor is to start: its leases and inputs are numbered anew."""
        self.page.clear()
        self.lease = -1
        self.cancelled_lease = self.unclaimed_lease = -1
        #: inputs that were asked to stop: for their timeout, and for their memory, when so many had been before
        self.timed_out_input = self.memory_input = -1
        self.memory_stops = 0
        self.late_at = self.kill_at = self.memory_kill_at = self.cancel_kill_at = 0.0
        #: jobs that are to stop as soon as they run here, and when that is forgotten
        self.unwanted: dict[str, float] = {}

    @property
    def stopping_for_memory(self) -> bool:
        """The input that was asked to stop has not stopped yet.

        Tiny inputs have no numbers of their own; there, that the executor has raised the exception must do.
        """
        page = self.page
        if not page.running or page.input != self.memory_input:
            return False
        return page.position is not None or page.stops == self.memory_stops


class Replica:
    """One replica, over all its executors.

    Args:
        index: which of the supervisor's it is.
        scratch: its executor's folder for temporary files.
    """

    def __init__(self, index: int, scratch: str) -> None:
        self.index = index
        self.scratch = scratch
        #: known when the code was imported
        self.slots: list[Slot] = []
        self.health = Health()
        self.pause = 0.0  # before the next executor
        self.told = ""  # the state that was last seen
        self.started = 0.0
        self.restarts = 0
        self.draining = False
        self._leaving: float | None = None  # since when it drains and runs nothing, monotonic seconds
        self.gone = False
        self.begin()

    def begin(self) -> None:
        """A new executor is to start."""
        for slot in self.slots:
            slot.begin()
        self.pid = 0
        self._slow_start = _SLOW_START_SECONDS
        self.forking = False  # asked of the zygote, no answer yet
        self.killed_for: str | None = None
        self._culprit: Slot | None = None  # whose input it was killed for
        self._blameless = False  # it died with its zygote

    # -- what it does --------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """For the log."""
        return self.slots[0].worker if self.slots else ""

    @property
    def phase(self) -> int:
        """STARTING, SERVING or ENDING: its first slot tells for all."""
        return self.slots[0].page.phase if self.slots else STARTING

    @property
    def phase_since(self) -> float:
        """Monotonic seconds."""
        return self.slots[0].page.phase_since / 1e9

    @property
    def busy(self) -> bool:
        return any(slot.page.running for slot in self.slots)

    @property
    def idle(self) -> bool:
        """It serves, and has nothing to do. It may also be just between two leases."""
        return self.serving and not any(slot.page.holds for slot in self.slots)

    @property
    def held(self) -> list[str]:
        """The leases it holds."""
        return [held for slot in self.slots if (held := slot.page.held)]

    @property
    def renewed(self) -> list[str]:
        """The leases to renew: those it holds, and those whose results are on their way."""
        return self.held + [sent for slot in self.slots if (sent := slot.page.unsettled)]

    @property
    def leases(self) -> int:
        """Leases done by all its executors."""
        return sum(sum(slot.page.totals.values[:2]) for slot in self.slots)

    @property
    def serving(self) -> bool:
        """It takes leases: its start hooks have run, and its exit hooks have not begun."""
        return bool(self.pid) and not self.draining and self.phase == SERVING

    @property
    def newest(self) -> Slot:
        """The slot whose input runs on the event loop just now, or whose input began last."""
        running = [slot for slot in self.slots if slot.page.running]
        on_loop = [slot for slot in running if slot.page.on_loop]
        return on_loop[0] if on_loop else max(running or self.slots, key=lambda slot: slot.page.overdue[0])

    def orphaned(self) -> None:
        """Its zygote has died, and it must have, too."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # with what its tasks have started
        self.pid, self.forking, self._blameless = 0, False, True
        self.restarts += 1

    def unfinished(self) -> list[Unfinished]:
        """What it held when it died. An input is charged with the death unless it was killed for another's sake."""
        left = []
        for slot in self.slots:
            page = slot.page
            blamed = not self._blameless and self._culprit in (None, slot)
            position = page.position if page.running and blamed else NONE_RAN
            left.append(Unfinished(worker=slot.worker, member=page.held, position=position))
        return left

    def reason_of(self, status: int) -> str:
        """Why the executor has ended, by its wait status, for a person."""
        if self.killed_for is None and os.waitstatus_to_exitcode(status) == NO_MEMORY:
            return "ended: it had no memory left within the limit of its process (ulimit -v, RLIMIT_AS)"
        return self.killed_for or failure.exit_reason(status)

    def cause_of_death(self, code: int) -> Cause:
        """Whose fault it is that the executor has ended with this exit code."""
        if self.busy:
            return Cause.INPUT
        if self.killed_for is not None:
            return Cause.ASKED
        return Cause.START if code == START_FAILED or self.phase == STARTING else Cause.IDLE

    def slow_start(self, now: float) -> bool:
        """Whether it is time to say that its start hooks still run. `now` is monotonic, seconds."""
        if not self.pid or self.phase != STARTING or now - self.started < self._slow_start:
            return False
        self._slow_start *= 2
        return True

    # -- enforcing -----------------------------------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Enforces what is due. `now` is monotonic, seconds."""
        for slot in self.slots:
            if slot.unwanted:
                self._watch_orders(slot, now)
            if slot.page.running:
                self._watch_lease(slot, now)
                self._watch_input(slot, now)

    def leaves_since(self, now: float) -> float:
        """For how long it has been told to leave and has run nothing, seconds."""
        if not self.draining or self.busy or self.phase == ENDING:
            self._leaving = None
        elif self._leaving is None:
            self._leaving = now
        return 0.0 if self._leaving is None else now - self._leaving

    def overtaken(self, now: float, *, someone_is_idle: bool) -> list[tuple[str, str]]:
        """Replicas, and what they run, that should not keep what they claimed ahead: told once.

        It may wait for as long as the executor said; not where another replica of this machine has nothing to do, and
        may run it.
        """
        found = []
        for slot in self.slots:
            page = slot.page
            patience, lease = page.patience, page.lease
            if not patience or not page.running or slot.unclaimed_lease == lease:
                continue
            waited = now * 1e9 - page.lease_since
            if waited > patience or (someone_is_idle and waited > _IDLE_PATIENCE_NS):
                held = page.held
                if waited <= patience and is_addressed(held.rpartition(":")[0]):  # what is behind it will be no other
                    continue
                slot.unclaimed_lease = lease
                page.unclaim(lease)
                if page.running and page.lease == lease:  # else it has begun what it claimed
                    found.append((slot.worker, held))
        return found

    def ask(self, slot: Slot, request: int, of: int = 0) -> None:
        slot.page.ask(request, of)
        self.wake()

    def ask_for_memory(self, slot: Slot, used: int, limit: int) -> None:
        """Its input is to stop, because memory runs out."""
        page = slot.page
        slot.memory_input, slot.memory_stops = page.input, page.stops
        slot.late_at = time.monotonic()  # when it has stopped, the rest runs elsewhere
        page.tell_memory(used, limit)
        self.ask(slot, MEMORY, page.input)

    def drain(self) -> None:
        """It is to leave: every slot finishes its input and hands back the rest."""
        self.draining = True
        for slot in self.slots:
            slot.page.drain()
        self.wake()

    def kill(self, reason: str, slot: Slot | None = None) -> None:
        """Ends it now, for the input of `slot` if one is given."""
        if self.pid and self.killed_for is None:
            self.killed_for, self._culprit = reason, slot
            send_signal(self.pid, signal.SIGKILL)

    def cancel(self, member: str) -> None:
        """Stops the lease `member`, if it runs here."""
        for slot in self.slots:
            if slot.page.running and slot.page.held == member:
                self._interrupt(slot, FORGO)

    def cancel_job(self, worker: str, job: str) -> None:
        """Stops a job that `worker` runs, or is about to run."""
        now = time.monotonic()
        for slot in self.slots:
            if slot.worker == worker:
                slot.unwanted[job] = now + _ORDER_SECONDS
                slot.page.unclaim(slot.page.lease)  # it may be the one that it claimed: it is to ask again
                self._watch_orders(slot, now)

    def wake(self) -> None:
        if self.pid:
            send_signal(self.pid, WAKE_SIGNAL)

    def _interrupt(self, slot: Slot, request: int) -> None:
        """Stops what a slot runs: by an exception, and by SIGKILL if that does not help."""
        slot.cancelled_lease, slot.cancel_kill_at = slot.page.lease, time.monotonic() + _KILL_GRACE
        slot.page.unclaim(slot.page.lease)  # what it claimed is likely of the same map
        self.ask(slot, request, slot.page.lease)

    def _watch_orders(self, slot: Slot, now: float) -> None:
        if slot.page.running and slot.unwanted.pop(slot.page.held.rpartition(":")[0], None) is not None:
            self._interrupt(slot, CANCEL)
        slot.unwanted = {job: until for job, until in slot.unwanted.items() if now < until}

    def _watch_lease(self, slot: Slot, now: float) -> None:
        """Asks for a flush of a lease that runs late."""
        page = slot.page
        since = page.lease_since / 1e9
        if page.lease != slot.lease:
            slot.lease, slot.late_at = page.lease, since + _LATE_SECONDS
        if page.lease == slot.cancelled_lease:
            if now >= slot.cancel_kill_at:
                self.kill("its map was cancelled and the input did not stop", slot)
            return
        stopping = slot.stopping_for_memory or slot.timed_out_input == page.input  # there is one request at a time
        if now >= slot.late_at and page.count > 1 and not stopping:
            slot.late_at = now + min(now - since, _LATE_MOST)
            self.ask(slot, LATE)

    def _watch_input(self, slot: Slot, now: float) -> None:
        """Stops an input that is past its timeout: an exception first, SIGKILL after a grace."""
        page = slot.page
        current = page.input
        since, timeout = page.overdue
        if not timeout or not since or now < (since + timeout) / 1e9:
            return
        if slot.timed_out_input != current:
            slot.timed_out_input, slot.kill_at = current, now + _KILL_GRACE
            self.ask(slot, TIMEOUT, current)
        elif now >= slot.kill_at:
            # where one input blocks the loop of all, all are late: the one that is on the loop is to blame
            late = [other for other in self.slots if other.timed_out_input == other.page.input]
            blocks = next((other for other in late if other.page.on_loop), None)
            self.kill(failure.STUCK if blocks is None else failure.BLOCKED, blocks or slot)

    # -- telling -------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """One of `REPLICA_STATES`."""
        return self._state(bool(self.held))

    def shown(self) -> list[ReplicaState]:
        """Its slots, as probes, metrics and `actorq workers` show them."""
        from actorq.replica.state import ReplicaState

        return [
            ReplicaState(
                worker=slot.worker,
                state=self._state(bool(slot.page.held)),
                held=slot.page.held,
                position=slot.page.position if slot.page.running else None,
                inputs_succeeded=slot.page.totals.inputs[0],
                inputs_failed=slot.page.totals.inputs[1],
                leases=sum(slot.page.totals.values[:2]),
                busy_seconds=slot.page.totals.values[2],
                restarts=self.restarts,
                caches=slot.caches.report,
            )
            for slot in self.slots
        ]

    def _state(self, busy: bool) -> str:
        if self.draining:
            return "draining"
        if busy:
            return "busy"
        if self.health.quarantined:
            return "quarantined"
        if self.serving:
            return "idle"
        return "failing" if self.health.failed_starts else "starting"


def send_signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it ended by itself; the zygote will say so
        return
