"""What is to be done, where it is to run, and what came of it: the numbers of a plan.

The one idea: a place is a few constants, each of which somebody has measured. `make bench` and `make bench-cluster`
measure ours; yours are options of `actorq plan`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Work:
    """The inputs of a map."""

    inputs: int
    #: of one input, in the mean, without loads
    seconds: float
    #: standard deviation of that, as a share of it; durations are lognormal
    spread: float = 0.0
    #: what `@actor_cache` keeps and a fresh pod has to load, seconds
    load: float = 0.0
    #: things of which each input needs one, such as models
    keys: int = 1
    #: how many of them a replica holds at a time; None: all
    holds: int | None = None

    @property
    def held(self) -> int:
        """How many of the things a replica holds in the end."""
        return self.keys if self.holds is None else min(self.holds, self.keys)

    @property
    def miss(self) -> float:
        """How often the thing that an input needs is not there, in a replica that was handed any inputs."""
        return 1 - self.held / self.keys


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it runs."""

    #: from the wish for a pod until its code runs, where nothing has to wait, seconds
    start: float = 10.0
    #: from the end of a pod until the next one takes its place, seconds
    between: float = 2.0
    #: how many a cluster makes
    pods_per_second: float = 10.0
    #: what a lease takes of the submitter and the server, which do one after the other, seconds. Two cores that also
    #: ran the replicas took 0.25 ms: half of the 0.5 ms of processor time of a lease
    lease: float = 0.00025
    #: the same for each of its inputs, seconds: a million no-ops take 0.1 s
    input: float = 0.1e-6
    #: between two leases of a replica, seconds: results go and the next inputs come
    turn: float = 0.0005


#: replicas on one machine: processes that are forked
HERE = Place(start=0.2, between=0.02, pods_per_second=100.0)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a map takes."""

    #: from its start to its last result
    seconds: float
    #: of all pods together, from the wish for each to its end
    pod_seconds: float
    pods: int
    #: how often what the inputs need is loaded
    loads: int

    @property
    def pod_hours(self) -> float:
        return self.pod_seconds / 3600
