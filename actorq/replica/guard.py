"""What the supervisor does when memory runs out: it asks one executor to stop its input, and kills it if that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from actorq.log import logger
from actorq.replica.memory import Running, Verdict, Watchdog, meter_of, stopped_for
from actorq.replica.notes import Replica
from actorq.replica.slots import MEMORY
from actorq.settings import settings

#: from the exception to SIGKILL, seconds: what the input takes meanwhile is all there is left. Longer where it runs in
#: a child, which its executor ends by itself
_GRACE, _GRACE_FORK = 0.5, 1.0


class MemoryGuard:
    """Of one supervisor.

    Args:
        replicas: all there are.
        ask: sends a request about an input.
        kill: kills an executor, for a reason.
        alone: the replicas share their control group with no other program.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        ask: Callable[[Replica, int, int], None],
        kill: Callable[[Replica, str], None],
        *,
        alone: bool,
    ) -> None:
        self._replicas, self._ask, self._kill = replicas, ask, kill
        limit = settings().memory_limit_bytes
        meter = meter_of(limit)
        self._watchdog = None if meter is None else Watchdog(meter, alone=alone or limit is not None)
        self._asked: list[Replica] = []
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
            self._asked = [r for r in self._asked if r.stopping_for_memory]
            for replica in self._asked:
                self._press(self._watchdog, replica, now)
        if not self._watchdog.due(now):
            return
        running = [Running(index=r.index, pid=r.pid) for r in self._replicas if r.pid and r.slot.running]
        verdict = self._watchdog.look(now, running, self._pids()) if running else None
        if verdict is not None:
            self._stop(self._replicas[verdict.victim.index], verdict)

    def _press(self, watchdog: Watchdog, replica: Replica, now: float) -> None:
        """An input that was asked to stop still runs."""
        if now >= replica.memory_kill_at or (not self.forks and watchdog.critical(self._pids())):
            self._kill(replica, stopped_for(*replica.slot.memory, killed=True))

    def _stop(self, replica: Replica, verdict: Verdict) -> None:
        slot, used, limit = replica.slot, verdict.used, verdict.limit
        logger().warning("memory_watchdog", worker=replica.worker, lease=slot.held, used=used, limit=limit)
        now = time.monotonic()
        replica.memory_input, replica.memory_stops = slot.input, slot.stops
        replica.late_at = now  # when it has stopped, the rest runs elsewhere
        replica.memory_kill_at = now + (_GRACE_FORK if self.forks else _GRACE)
        self._asked.append(replica)
        slot.tell_memory(used, limit)
        self._ask(replica, MEMORY, slot.input)

    def _pids(self) -> list[int]:
        return [replica.pid for replica in self._replicas if replica.pid]
