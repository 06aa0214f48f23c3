"""What the supervisor does when memory runs out: it asks one executor to stop its input, and kills it if that fails."""

from __future__ import annotations

import time
from collections.abc import Sequence

from actorq.base.log import logger
from actorq.base.settings import settings
from actorq.replica.supervisor.memory import Candidate, Verdict, Watchdog, meter_of
from actorq.replica.supervisor.replica import Replica, Slot
from actorq.wire.failure import stopped_for

#: from the exception to SIGKILL, seconds: what the input takes meanwhile is all there is left. Longer where it runs in
#: a child, which its executor ends by itself
_GRACE, _GRACE_FORK = 0.5, 1.0


class MemoryGuard:
    """Of one supervisor.

    Args:
        replicas: all there are.
        alone: they share their control group with no other program.
    """

    def __init__(self, replicas: Sequence[Replica], *, alone: bool) -> None:
        self._replicas = replicas
        limit = settings().memory_limit_bytes
        meter = meter_of(limit)
        self._watchdog = None if meter is None else Watchdog(meter, alone=alone or limit is not None)
        self._asked: list[tuple[Replica, Slot]] = []
        #: inputs run in children, so that their executor need not end with them
        self.forks = False

    @property
    def share(self) -> int | None:
        """Bytes for each replica; None where there is no limit."""
        return None if self._watchdog is None else self._watchdog.limit // len(self._replicas)

    def watch(self, now: float) -> None:
        """Called in every round."""
        if self._watchdog is None:
            return
        if self._asked:
            self._asked = [(r, slot) for r, slot in self._asked if r.pid and slot.stopping_for_memory]
            for replica, slot in self._asked:
                self._press(self._watchdog, replica, slot, now)
        if not self._watchdog.due(now):
            return
        running = [Candidate(index=r.index, pid=r.pid) for r in self._replicas if r.pid and r.busy]
        verdict = self._watchdog.look(now, running, self._pids()) if running else None
        if verdict is not None:
            self._stop(self._replicas[verdict.victim.index], verdict)

    def _press(self, watchdog: Watchdog, replica: Replica, slot: Slot, now: float) -> None:
        """An input that was asked to stop still runs."""
        if now >= slot.memory_kill_at or (not self.forks and watchdog.critical(self._pids())):
            replica.kill(stopped_for(*slot.page.memory, killed=True), slot)

    def _stop(self, replica: Replica, verdict: Verdict) -> None:
        """Of several inputs in one process, the one that began last: what it did is lost with it."""
        slot, used, limit = replica.newest, verdict.used, verdict.limit
        logger().warning("memory_watchdog", worker=slot.worker, lease=slot.page.held, used=used, limit=limit)
        slot.memory_kill_at = time.monotonic() + (_GRACE_FORK if self.forks else _GRACE)
        self._asked.append((replica, slot))
        replica.ask_for_memory(slot, used, limit)

    def _pids(self) -> list[int]:
        return [replica.pid for replica in self._replicas if replica.pid]
