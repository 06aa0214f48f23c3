"""What is shown of one server: plain data, which commands, metrics, the terminal view and the page all read.

The one idea: nothing here knows the server. A record that could not be read in full says so in `problem`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actorq.cache.report import CacheReport


@dataclass(frozen=True, kw_only=True)
class MapView:
    """A live map, also of a regular task on a cluster, or a run that is driven."""

    id: str
    task: str
    #: inputs; None where the map does not know its length
    total: int | None
    done: int
    failed: int
    #: inputs a second over the last ten seconds
    rate: float
    #: since it began
    seconds: float
    #: leases that replicas run, or pods that run
    running: int = 0
    #: whether each input has a pod of its own: a regular task
    pods: bool = False
    #: what keeps its pods from running, "" for nothing
    held: str = ""
    #: what of it cannot be read
    problem: str = ""

    @property
    def eta(self) -> float | None:
        """Seconds until it is done at its present rate; None where nobody can tell."""
        if self.total is None or self.rate <= 0:
            return None
        return max(self.total - self.done, 0) / self.rate


@dataclass(frozen=True, kw_only=True)
class ReplicaView:
    """A registered replica."""

    name: str
    #: one of `metrics.REGISTERED_STATES`
    state: str
    #: the map it works for and the input that runs, "" and None when it does not, or runs many tiny ones
    map: str
    index: int | None
    heartbeat_seconds: float
    inputs: int
    restarts: int
    #: values that `@actor_cache` holds, and what they take, as far as it is known
    cached: int
    cached_bytes: int
    #: the same by function, and the values used most
    caches: CacheReport
    #: what it runs, "" for nothing, and for how long
    task: str = ""
    running_seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class EnvironmentView:
    """One environment."""

    name: str
    queued_leases: int
    queued_inputs: int
    oldest_seconds: float
    running_leases: int
    failed_inputs: int
    replicas: Sequence[ReplicaView]
    maps: Sequence[MapView]
    #: runs that have not ended: what each has left
    runs: Mapping[str, int] = field(default_factory=dict)
    #: how many of them nobody drives
    undriven_runs: int = 0
    #: single jobs that wait for their time
    scheduled_jobs: int = 0
    #: how long the map has waited that has waited longest, of which nothing runs
    starved_seconds: float = 0.0
    #: why a pool that was asked for is not there, "" for nothing
    trouble: str = ""
    problem: str = ""

    @property
    def remaining_inputs(self) -> int:
        """Inputs of maps of known length, and of runs, that have no result yet."""
        maps = sum(max(m.total - m.done, 0) for m in self.maps if m.total is not None and m.id not in self.runs)
        return maps + sum(self.runs.values())

    @property
    def unserved(self) -> bool:
        """Whether something waits, and no replica is there that would take it."""
        return not self.replicas and self.queued_leases > 0

    @property
    def problems(self) -> list[str]:
        """What of its records cannot be read: its own, and those of its maps and replicas."""
        told = [(self.name, self.problem), *((m.id, m.problem) for m in self.maps)]
        told += [(replica.name, replica.problem) for replica in self.replicas]
        return [f"{name} cannot be read in full: {problem}" for name, problem in told if problem]
