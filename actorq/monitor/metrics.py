"""The metrics: every name, unit and label in one place.

Counters live where things happen, on each replica; depths are read from the server by one exporter; nothing is told by
both. Labels are bounded: the environment, a state or outcome out of a fixed list, a cached function, of which the code
has so many. Never a map, a job, a worker or an argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from actorq import __version__
from actorq.replica.state import REPLICA_STATES

if TYPE_CHECKING:
    from actorq.monitor.model import EnvironmentView
    from actorq.replica.state import ReplicaState

#: the same as the server is told; a replica that drains is not idle for anybody, one not heard for a lease is stale
REGISTERED_STATES = ("busy", "idle", "suspended", "starting", "failing", "quarantined", "stale")


def replica_families(
    environment: str, replicas: Sequence[ReplicaState], last_renewal: float, broker_errors: int
) -> Iterator[Any]:
    """What a worker tells of its replicas; `last_renewal` in Unix seconds, 0 before the first."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    def counter(name: str, text: str, value: float) -> Any:
        family = CounterMetricFamily(f"actorq_{name}", text, labels=["environment"])
        family.add_metric([environment], value)
        return family

    def gauge(name: str, text: str, value: float) -> Any:
        family = GaugeMetricFamily(f"actorq_{name}", text, labels=["environment"])
        family.add_metric([environment], value)
        return family

    inputs = CounterMetricFamily("actorq_inputs", "Inputs that have run.", labels=["environment", "outcome"])
    inputs.add_metric([environment, "succeeded"], sum(r.inputs_succeeded for r in replicas))
    inputs.add_metric([environment, "failed"], sum(r.inputs_failed for r in replicas))
    yield inputs
    yield counter("leases", "Leases that have been committed.", sum(r.leases for r in replicas))
    yield counter("busy_seconds", "Time spent in inputs.", sum(r.busy_seconds for r in replicas))
    yield counter("executor_restarts", "Executors that died and were replaced.", sum(r.restarts for r in replicas))
    states = GaugeMetricFamily("actorq_replicas", "Replicas of this worker.", labels=["environment", "state"])
    for state in REPLICA_STATES:
        states.add_metric([environment, state], sum(r.state == state for r in replicas))
    yield states
    yield from _cache_families(environment, replicas)
    yield gauge("last_renewal_timestamp_seconds", "When the leases were last renewed.", last_renewal)
    yield counter("broker_errors", "Calls to the server that failed.", broker_errors)
    yield _build_info()


#: name of a metric, what it says, what it is of a function's cache, whether it only grows
_CACHE_METRICS = (
    ("hits", "Calls that found their value in @actor_cache.", "hits", True),
    ("misses", "Calls that had to load.", "misses", True),
    ("loads", "Loads that succeeded.", "loads", True),
    ("load_seconds", "Time spent in loads that succeeded.", "load_seconds", True),
    ("evictions", "Values that left by a limit of their cache.", "evictions", True),
    ("entries", "Values that @actor_cache holds.", "entries", False),
    ("bytes", "What those values take, as far as it is known.", "bytes", False),
)


def _cache_families(environment: str, replicas: Sequence[ReplicaState]) -> Iterator[Any]:
    """By function, of which there are as many as the code has."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for name, text, field, grows in _CACHE_METRICS:
        totals: Counter[str] = Counter()
        for replica in replicas:
            for function in replica.caches.functions:
                totals[function.function] += getattr(function, field)
        kind = CounterMetricFamily if grows else GaugeMetricFamily
        family = kind(f"actorq_cache_{name}", text, labels=["environment", "function"])
        for of, total in sorted(totals.items()):
            family.add_metric([environment, of], total)
        yield family


def queue_families(environments: Sequence[EnvironmentView] | None) -> Iterator[Any]:
    """What the exporter tells of the queues; None when the server does not answer."""
    from prometheus_client.core import GaugeMetricFamily

    up = GaugeMetricFamily("actorq_broker_up", "Whether the Redis server answers.")
    up.add_metric([], environments is not None)
    yield up
    yield _build_info()
    told = (
        ("queue_leases", "Leases that wait, and jobs whose time has come.", lambda e: e.queued_leases),
        ("queue_inputs", "Inputs of those.", lambda e: e.queued_inputs),
        ("queue_oldest_age_seconds", "How long the oldest lease waits.", lambda e: e.oldest_seconds),
        ("map_starved_seconds", "How long a map waits of which nothing runs, at most.", lambda e: e.starved_seconds),
        ("running_leases", "Leases that run.", lambda e: e.running_leases),
        ("failed_inputs", "Inputs in the failed registry.", lambda e: e.failed_inputs),
        ("maps", "Live maps.", lambda e: len(e.maps)),
        (
            "map_inputs_remaining",
            "Inputs of live maps and open runs that have no result.",
            lambda e: e.remaining_inputs,
        ),
        ("runs", "Runs that have not ended.", lambda e: len(e.runs)),
        ("undriven_runs", "Open runs that nobody drives.", lambda e: e.undriven_runs),
        ("scheduled_jobs", "Jobs that wait for their time.", lambda e: e.scheduled_jobs),
    )
    for name, text, value in told:
        family = GaugeMetricFamily(f"actorq_{name}", text, labels=["environment"])
        for environment in environments or ():
            family.add_metric([environment.name], value(environment))
        yield family
    live = GaugeMetricFamily("actorq_live_replicas", "Registered replicas.", labels=["environment", "state"])
    for environment in environments or ():
        for state in REGISTERED_STATES:
            live.add_metric([environment.name, state], sum(r.state == state for r in environment.replicas))
    yield live


def _build_info() -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily("actorq_build_info", "Version of actorq.", labels=["version"])
    family.add_metric([__version__], 1)
    return family
