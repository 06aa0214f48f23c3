"""The supervisor's notes on one replica: what its executor was asked, and until when it has time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorq.replica.health import Cause, Health
from actorq.replica.slots import SERVING, STARTING, Slot
from actorq.replica.spec import START_FAILED

if TYPE_CHECKING:
    from actorq.monitor.metrics import ReplicaState


class Replica:
    """One slot, and the executor in it, if there is one.

    Args:
        index: of the slot.
        scratch: the executor's folder for temporary files.
    """

    def __init__(self, index: int, slot: Slot, scratch: str) -> None:
        self.index = index
        self.worker = ""  # its name as an RQ worker, once the environment is known
        self.slot = slot
        self.scratch = scratch
        self.health = Health()
        self.pause = 0.0  # before the next executor
        self.told = ""  # the state that was last seen
        self.started = 0.0
        self.restarts = 0
        self.draining = False
        self.gone = False
        self.late_at = self.kill_at = self.memory_kill_at = self.cancel_kill_at = 0.0
        self.begin()

    def begin(self) -> None:
        """A new executor is to start: its leases and inputs are numbered anew."""
        self.slot.clear()
        self.pid = 0
        self.forking = False  # asked of the zygote, no answer yet
        self.lease = -1
        self.cancelled_lease = -1
        #: inputs that were asked to stop: for their timeout, and for their memory, when so many had been before
        self.timed_out_input = self.memory_input = -1
        self.memory_stops = 0
        self.killed_for: str | None = None

    @property
    def serving(self) -> bool:
        """It takes leases: its start hooks have run, and its exit hooks have not begun."""
        return bool(self.pid) and not self.draining and self.slot.phase == SERVING

    @property
    def stopping_for_memory(self) -> bool:
        """The input that was asked to stop has not stopped yet.

        Tiny inputs have no numbers of their own; there, that the executor has raised the exception must do.
        """
        slot = self.slot
        if not self.pid or not slot.running or slot.input != self.memory_input:
            return False
        return slot.position is not None or slot.stops == self.memory_stops

    @property
    def leases(self) -> int:
        """Leases done by all its executors."""
        done, with_failures, _ = self.slot.totals.values
        return done + with_failures

    @property
    def state(self) -> str:
        """One of `REPLICA_STATES`."""
        if self.draining:
            return "draining"
        if self.slot.held:
            return "busy"
        if self.health.quarantined:
            return "quarantined"
        if self.serving:
            return "idle"
        return "failing" if self.health.failed_starts else "starting"

    def cause_of_death(self, code: int) -> Cause:
        """Whose fault it is that the executor has ended with this exit code."""
        if self.slot.running:
            return Cause.INPUT
        if self.killed_for is not None:
            return Cause.ASKED
        return Cause.START if code == START_FAILED or self.slot.phase == STARTING else Cause.IDLE

    def shown(self) -> ReplicaState:
        """What probes, metrics and `actorq workers` say of it."""
        from actorq.monitor.metrics import ReplicaState

        slot = self.slot
        succeeded, failed = slot.totals.inputs
        hits, misses, entries = slot.caches
        return ReplicaState(
            worker=self.worker,
            state=self.state,
            held=slot.held,
            position=slot.position if slot.running else None,
            inputs_succeeded=succeeded,
            inputs_failed=failed,
            leases=self.leases,
            busy_seconds=slot.totals.values[2],
            restarts=self.restarts,
            cache_hits=hits,
            cache_misses=misses,
            cache_entries=entries,
        )
