"""What one server knows: environments, their queues, replicas and live maps, read in a few round trips.

Nothing here writes, and nothing here is cached: what a replica runs is read from the leases themselves, which is newer
than what its record says to RQ's tools.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actorq.broker import keys
from actorq.broker.wire import Link
from actorq.cache.report import CacheReport

#: jobs whose inputs are counted, and whose age is looked at; a deeper queue counts the rest as leases of the same size
_COUNTED_JOBS = 1000
#: `task[lo:hi]`, or of a map with affinity `task[index,index,...+more]`
_LEASE = re.compile(r"^.*\[(?:(?P<lo>\d+):(?P<hi>\d+)|(?P<list>\d+(?:,\d+)*)(?:\+(?P<more>\d+))?)\]$")


@dataclass(frozen=True, kw_only=True)
class MapView:
    """A live map."""

    id: str
    task: str
    #: inputs; None where the map does not know its length
    total: int | None
    done: int
    failed: int
    #: inputs a second since it began
    rate: float
    seconds: float


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

    @property
    def remaining_inputs(self) -> int:
        """Inputs of maps of known length that have no result yet."""
        return sum(m.total - m.done for m in self.maps if m.total is not None)


def environments(link: Link, only: str | None = None) -> list[EnvironmentView]:
    """Every environment that has replicas or was used within a day, by name. Raises `BrokerError`."""
    prefix = f"{keys.RQ}:queue:"
    names = {_text(key).removeprefix(prefix) for key in link.command("SMEMBERS", keys.QUEUES)}
    workers: dict[str, list[str]] = {}
    registered = [_text(key) for key in link.command("SMEMBERS", keys.WORKERS)]
    for key, queue in zip(registered, link.pipeline([["HGET", key, "queues"] for key in registered]), strict=True):
        if queue is not None:
            workers.setdefault(_text(queue), []).append(key)
    suspended = bool(link.command("EXISTS", keys.SUSPENDED))
    views = []
    for name in sorted(names | set(workers)):
        if only is not None and name != only:
            continue
        if name not in workers and not link.command("EXISTS", keys.used(name)):
            continue  # a queue of plain RQ, or one that nobody uses any more
        views.append(_environment(link, name, sorted(workers.get(name, [])), suspended))
    return views


def _environment(link: Link, name: str, workers: list[str], suspended: bool) -> EnvironmentView:
    queue = keys.queue(name)
    depth = int(link.command("LLEN", queue))
    now = time.time()
    inputs, oldest = 0, 0.0
    waiting = link.command("LRANGE", queue, 0, _COUNTED_JOBS - 1)
    jobs = [["HMGET", keys.job(_text(job)), "description", "enqueued_at"] for job in waiting]
    for description, since in link.pipeline(jobs):
        inputs += _inputs_of(_text(description or b""))[1]
        oldest = max(oldest, now - _unix(since, now))
    if depth > len(waiting):
        inputs = inputs * depth // max(len(waiting), 1)
    running = _running(link, name)
    views = [_replica(link, key, suspended, now, running) for key in workers]
    return EnvironmentView(
        name=name,
        queued_leases=depth,
        queued_inputs=inputs,
        oldest_seconds=round(oldest, 3),
        running_leases=int(link.command("ZCARD", keys.wip(name))),
        failed_inputs=int(link.command("ZCARD", keys.failed(name))),
        replicas=[view for view in views if view is not None],
        maps=_maps(link, name, now),
    )


def _running(link: Link, environment: str) -> dict[str, tuple[str, str]]:
    """Replica -> map and description of the lease it runs: what the leases say, which is newer than the replicas."""
    leases = [_text(member).rpartition(":")[0] for member in link.command("ZRANGE", keys.wip(environment), 0, -1)]
    jobs = [["HMGET", keys.job(lease), "worker_name", "aq_map", "description"] for lease in leases]
    return {
        _text(worker): (_text(map_id or b""), _text(description or b""))
        for worker, map_id, description in link.pipeline(jobs)
        if worker
    }


def _replica(
    link: Link, key: str, suspended: bool, now: float, running: dict[str, tuple[str, str]]
) -> ReplicaView | None:
    fields = _fields(link, key)
    if "birth" not in fields:
        return None
    name = key.removeprefix(f"{keys.RQ}:worker:")
    map_id, index = "", None
    if name in running:
        map_id, description = running[name]
        indexes, count = _inputs_of(description)
        position = 0 if count == 1 else int(fields["aq_position"]) if fields.get("aq_position", "").isdigit() else -1
        index = indexes[position] if 0 <= position < len(indexes) else None
    beat = fields.get("last_heartbeat")
    caches = CacheReport.unpack(fields.get("aq_caches", ""))
    return ReplicaView(
        name=name,
        state=_state(fields, suspended, busy=name in running),
        map=map_id,
        index=index,
        heartbeat_seconds=round(max(now - _unix(beat.encode() if beat else None, now), 0.0), 1),
        inputs=int(fields.get("aq_inputs", 0)),
        restarts=int(fields.get("aq_restarts", 0)),
        cached=sum(function.entries for function in caches.functions),
        cached_bytes=sum(function.bytes for function in caches.functions),
        caches=caches,
    )


def _state(fields: dict[str, str], suspended: bool, *, busy: bool) -> str:
    told = fields.get("aq_state", "")  # by its supervisor, with the heartbeat; RQ knows no such states
    if told in ("failing", "quarantined"):
        return told
    if busy:
        return "busy"
    return "starting" if told == "starting" else "suspended" if suspended else "idle"


def _maps(link: Link, environment: str, now: float) -> list[MapView]:
    views = []
    for member in link.command("ZRANGEBYSCORE", keys.maps(environment), now, "+inf"):
        fields = _fields(link, keys.map_(_text(member)))
        if "done" not in fields:
            continue
        seconds = max(now - float(fields["started"]), 1e-3)
        done = int(fields["done"])
        views.append(
            MapView(
                id=_text(member),
                task=fields["task"],
                total=int(fields["total"]) if fields["total"] else None,
                done=done,
                failed=int(fields["failed"]),
                rate=round(done / seconds, 3),
                seconds=round(seconds, 1),
            )
        )
    return views


def _fields(link: Link, key: str) -> dict[str, str]:
    flat: list[Any] = link.command("HGETALL", key)
    return {_text(flat[i]): _text(flat[i + 1]) for i in range(0, len(flat), 2)}


def _inputs_of(description: str) -> tuple[Sequence[int], int]:
    """The indexes that a lease shows of its inputs, and how many it has. A call has no index."""
    found = _LEASE.match(description)
    if found is None:
        return (), 1
    if found["lo"] is not None:
        return range(int(found["lo"]), int(found["hi"])), int(found["hi"]) - int(found["lo"])
    indexes = [int(index) for index in found["list"].split(",")]
    return indexes, len(indexes) + int(found["more"] or 0)


def _unix(stamp: bytes | None, default: float) -> float:
    """An ISO stamp of RQ's as Unix seconds."""
    try:
        return datetime.fromisoformat(_text(stamp or b"")).timestamp()
    except ValueError:
        return default


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
