"""What one server knows: environments, their queues, replicas and live maps, read in a few round trips.

Nothing here writes, and nothing here is cached: what a replica runs is read from the leases themselves, which is newer
than what its record says to RQ's tools. A record that cannot be read says what is wrong with it, and no other suffers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actorq.broker import keys, records
from actorq.broker.link import Link
from actorq.cache.report import CacheReport
from actorq.monitor.records import Asking, Fields, Problems, raw, text

#: jobs whose inputs are counted, and whose age is looked at; a deeper queue counts the rest as leases of the same size
_COUNTED_JOBS = 1000
#: `task[lo:hi]`, or of a map with affinity `task[index,index,...+more]`
_LEASE = re.compile(
    r"^.*\[(?:(?P<lo>\d{1,15}):(?P<hi>\d{1,15})|(?P<list>\d{1,15}(?:,\d{1,15})*)(?:\+(?P<more>\d{1,15}))?)\]$", re.ASCII
)


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
    #: what of it cannot be read
    problem: str = ""


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
    #: single jobs that wait for their time
    scheduled_jobs: int = 0
    problem: str = ""

    @property
    def remaining_inputs(self) -> int:
        """Inputs of maps of known length, and of runs, that have no result yet."""
        maps = sum(max(m.total - m.done, 0) for m in self.maps if m.total is not None and m.id not in self.runs)
        return maps + sum(self.runs.values())

    @property
    def problems(self) -> list[str]:
        """What of its records cannot be read: its own, and those of its maps and replicas."""
        told = [(self.name, self.problem), *((m.id, m.problem) for m in self.maps)]
        told += [(replica.name, replica.problem) for replica in self.replicas]
        return [f"{name} cannot be read in full: {problem}" for name, problem in told if problem]


def environments(link: Link, only: str | None = None) -> list[EnvironmentView]:
    """Every environment that has replicas or was used within a day, by name. Raises `BrokerError`.

    Where what lists them cannot be read there is one more, without a name, that says so.
    """
    asking = Asking(link, Problems())
    prefix = f"{keys.RQ}:queue:"
    names = {raw(key).removeprefix(prefix) for key in asking.ask([], "SMEMBERS", keys.QUEUES)}
    workers: dict[str, list[str]] = {}
    registered = [raw(key) for key in asking.ask([], "SMEMBERS", keys.WORKERS)]
    for key, queue in zip(registered, asking.ask_each([["HGET", key, "queues"] for key in registered]), strict=True):
        if queue is not None:
            workers.setdefault(raw(queue), []).append(key)
    suspended = records.is_suspended(link)
    views = []
    for name in sorted(names | set(workers)):
        if only is not None and name != only:
            continue
        known = (keys.used(name), keys.runs(name), keys.scheduled(name), keys.calls(name))
        if name not in workers and not asking.ask(0, "EXISTS", *known):
            continue  # a queue of plain RQ, or one that nobody uses any more
        views.append(_environment(link, name, sorted(workers.get(name, [])), suspended))
    if str(asking.problems) and only is None:
        views.append(_nameless(str(asking.problems)))
    return views


def _nameless(problem: str) -> EnvironmentView:
    return EnvironmentView(
        name="?",
        queued_leases=0,
        queued_inputs=0,
        oldest_seconds=0.0,
        running_leases=0,
        failed_inputs=0,
        replicas=[],
        maps=[],
        problem=problem,
    )


def _environment(link: Link, name: str, workers: list[str], suspended: bool) -> EnvironmentView:
    asking = Asking(link, Problems())
    queue = keys.queue(name)
    depth = int(asking.ask(0, "LLEN", queue))
    now = time.time()
    inputs, oldest = 0, 0.0
    waiting = [raw(job) for job in asking.ask([], "LRANGE", queue, 0, _COUNTED_JOBS - 1)]
    for found in asking.ask_each([["HMGET", keys.job(job), "description", "enqueued_at"] for job in waiting]):
        description, since = found or (None, None)
        inputs += _inputs_of((description or b"").decode(errors="replace"))[1]
        enqueued = Fields({"enqueued_at": since or b""}, asking.problems).moment("enqueued_at")
        oldest = max(oldest, now - (now if enqueued is None else enqueued))
    if depth > len(waiting):
        inputs = inputs * depth // max(len(waiting), 1)
    scheduled = keys.scheduled(name)
    due = int(asking.ask(0, "ZCOUNT", scheduled, "-inf", now))  # no replica is there that would bring them to the queue
    running = _running(asking, name)
    views = [_replica(link, key, suspended, now, running) for key in workers]
    maps = [raw(member) for member in asking.ask([], "ZRANGEBYSCORE", keys.maps(name), now, "+inf")]
    return EnvironmentView(
        name=_shown(name),
        queued_leases=depth + due,
        queued_inputs=inputs + due,
        oldest_seconds=round(oldest, 3),
        running_leases=int(asking.ask(0, "ZCARD", keys.wip(name))),
        failed_inputs=int(asking.ask(0, "ZCARD", keys.failed(name))),
        replicas=[view for view in views if view is not None],
        maps=[view for map_id in maps if (view := _map(link, map_id, now)) is not None],
        runs=_open_runs(asking, name, now),
        scheduled_jobs=int(asking.ask(0, "ZCARD", scheduled)) - due,
        problem=str(asking.problems),
    )


def _open_runs(asking: Asking, environment: str, now: float) -> dict[str, int]:
    """Run -> inputs that have no result yet, as far as they are stored."""
    names = [raw(member) for member in asking.ask([], "ZRANGEBYSCORE", keys.runs(environment), now, "+inf")]
    stored = asking.ask_each([["HGET", keys.run(name), "count"] for name in names])
    done = asking.ask_each([["HGET", keys.map_(name), "done"] for name in names])
    counted = zip(names, stored, done, strict=True)
    return {_shown(name): max(_number(all_) - _number(some), 0) for name, all_, some in counted}


def _number(found: bytes | None) -> int:
    return int(found) if found is not None and found.isdigit() else 0


def _running(asking: Asking, environment: str) -> dict[str, tuple[str, str]]:
    """Replica -> map and description of the lease it runs: what the leases say, which is newer than the replicas."""
    leases = [raw(member).rpartition(":")[0] for member in asking.ask([], "ZRANGE", keys.wip(environment), 0, -1)]
    jobs = [["HMGET", keys.job(lease), "worker_name", "aq_map", "description"] for lease in leases]
    return {
        raw(found[0]): (text(found[1] or b""), (found[2] or b"").decode(errors="replace"))
        for found in asking.ask_each(jobs)
        if found is not None and found[0]
    }


def _replica(
    link: Link, key: str, suspended: bool, now: float, running: dict[str, tuple[str, str]]
) -> ReplicaView | None:
    asking = Asking(link, Problems())
    fields = asking.fields(key)
    if "birth" not in fields and not str(fields.problems):
        return None
    name = key.removeprefix(f"{keys.RQ}:worker:")
    map_id, index = "", None
    if name in running:
        map_id, description = running[name]
        indexes, count = _inputs_of(description)
        position = 0 if count == 1 else fields.whole("aq_position")
        index = indexes[position] if position is not None and position < len(indexes) else None
    beat = fields.moment("last_heartbeat")
    heard = round(max(now - (now if beat is None else beat), 0.0), 1)
    caches = _caches(fields)
    return ReplicaView(
        name=_shown(name),
        state="stale" if _is_stale(asking, key, heard) else _state(fields, suspended, busy=name in running),
        map=map_id,
        index=index,
        heartbeat_seconds=heard,
        inputs=fields.whole("aq_inputs") or 0,
        restarts=fields.whole("aq_restarts") or 0,
        cached=sum(function.entries for function in caches.functions),
        cached_bytes=sum(function.bytes for function in caches.functions),
        caches=caches,
        problem=str(fields.problems),
    )


def _caches(fields: Fields) -> CacheReport:
    try:
        return CacheReport.unpack(fields.data("aq_caches")).printable()
    except ValueError:
        fields.odd("aq_caches", "no report")
        return CacheReport()


def _is_stale(asking: Asking, key: str, heard: float) -> bool:
    """Whether a replica was not heard for a lease: at each heartbeat its record is given four leases to live."""
    left = int(asking.ask(0, "PTTL", key)) / 1000
    return 0 < left < 3 * heard


def _state(fields: Fields, suspended: bool, *, busy: bool) -> str:
    told = fields.text("aq_state")  # by its supervisor, with the heartbeat; RQ knows no such states
    if told in ("failing", "quarantined"):
        return told
    if busy:
        return "busy"
    return "starting" if told == "starting" else "suspended" if suspended else "idle"


def _map(link: Link, map_id: str, now: float) -> MapView | None:
    fields = Asking(link, Problems()).fields(keys.map_(map_id))
    if "done" not in fields and not str(fields.problems):
        return None
    started = fields.seconds("started")
    seconds = max(now - (now if started is None else started), 1e-3)
    done = fields.whole("done") or 0
    return MapView(
        id=_shown(map_id),
        task=fields.text("task"),
        total=fields.whole("total"),
        done=done,
        failed=fields.whole("failed") or 0,
        rate=0.0 if started is None else round(done / seconds, 3),
        seconds=round(seconds, 1),
        problem=str(fields.problems),
    )


def _shown(name: str) -> str:
    return text(name.encode(errors="surrogateescape"))


def _inputs_of(description: str) -> tuple[Sequence[int], int]:
    """The indexes that a lease shows of its inputs, and how many it has. A call has no index."""
    found = _LEASE.match(description)
    if found is None:
        return (), 1
    if found["lo"] is not None:
        indexes = range(int(found["lo"]), int(found["hi"]))
        return indexes, len(indexes)
    listed = [int(index) for index in found["list"].split(",")]
    return listed, len(listed) + int(found["more"] or 0)
