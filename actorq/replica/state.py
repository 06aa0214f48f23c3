"""What a supervisor tells of its replicas, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorq.cache.report import CacheReport

#: states of a replica, as its own supervisor knows it
REPLICA_STATES = ("busy", "idle", "starting", "failing", "quarantined", "draining")


@dataclass(frozen=True, kw_only=True)
class ReplicaState:
    """One replica at this moment, from its supervisor's notes."""

    #: its name as an RQ worker
    worker: str
    #: one of `REPLICA_STATES`
    state: str
    #: "<lease>:<attempt>" it holds, or ""
    held: str
    #: position of the running input in the lease, where it is published
    position: int | None
    inputs_succeeded: int
    inputs_failed: int
    leases: int
    busy_seconds: float
    restarts: int
    caches: CacheReport
