"""What one server knows: environments, their queues, replicas and live maps, read in a few round trips.

Nothing here writes, and nothing here is cached: what a replica runs is read from the leases themselves, which is newer
than what its record says to RQ's tools. A record that cannot be read says what is wrong with it, and no other suffers.

The round trips are few, however many maps and replicas there are: each asks for all of a kind.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actorq.broker import keys, records
from actorq.broker.link import Link
from actorq.cache.report import CacheReport
from actorq.monitor.model import EnvironmentView, MapView, ReplicaView
from actorq.monitor.records import Asking, Fields, Problems, fields_of, queues_of, raw, shown_name, text

#: jobs whose inputs are counted, and whose age is looked at; a deeper queue counts the rest as leases of the same size
_COUNTED_JOBS = 200
#: what is read of the record of a map, and of a replica
_OF_MAP = ("task", "started", "total", "done", "failed", "rate", "pods", "held")
_OF_REPLICA = (
    "queues",
    "aq_ttl",
    "birth",
    "last_heartbeat",
    "aq_state",
    "aq_inputs",
    "aq_restarts",
    "aq_position",
    "aq_caches",
)
#: `task[lo:hi]`, or of a map with affinity `task[index,index,...+more]`
_LEASE = re.compile(
    r"^.*\[(?:(?P<lo>\d{1,15}):(?P<hi>\d{1,15})|(?P<list>\d{1,15}(?:,\d{1,15})*)(?:\+(?P<more>\d{1,15}))?)\]$", re.ASCII
)


@dataclass(kw_only=True)
class _Found:
    """What the first questions tell of one environment."""

    name: str
    asking: Asking
    depth: int
    due: int
    scheduled: int
    failed: int
    wip: list[str]
    waiting: list[str]
    maps: list[str]
    runs: list[str]
    trouble: str
    workers: dict[str, Fields] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Running:
    """A lease that runs."""

    map: str
    description: str
    since: float | None


def environments(link: Link, only: str | None = None) -> list[EnvironmentView]:
    """Every environment that has replicas or was used within a day, by name. Raises `BrokerError`.

    Where what lists them cannot be read there is one more, without a name, that says so.
    """
    asking = Asking(link, Problems())
    now = time.time()
    workers = _workers(link, asking)
    wanted = [name for name in sorted({*queues_of(asking), *workers}) if only is None or name == only]
    known = asking.ask_each(
        [["EXISTS", keys.used(n), keys.runs(n), keys.scheduled(n), keys.calls(n), keys.maps(n)] for n in wanted]
    )
    # else a queue of plain RQ, or one that nobody uses any more
    shown = [name for name, used in zip(wanted, known, strict=True) if used or name in workers]
    found = _look(link, shown, now)
    for each in found:
        each.workers = workers.get(each.name, {})
    views = _views(link, found, now)
    if str(asking.problems) and only is None:
        views.append(_nameless(str(asking.problems)))
    return views


def _workers(link: Link, asking: Asking) -> dict[str, dict[str, Fields]]:
    """Environment -> key of each of its replicas, and what is known of it."""
    workers: dict[str, dict[str, Fields]] = {}
    registered = sorted(raw(key) for key in asking.ask([], "SMEMBERS", keys.WORKERS))
    for key, fields in zip(registered, fields_of(link, registered, _OF_REPLICA), strict=True):
        if "queues" in fields:
            workers.setdefault(raw(fields.data("queues")), {})[key] = fields
        elif problem := str(fields.problems):
            asking.problems.add(problem)
    return workers


def _look(link: Link, names: Sequence[str], now: float) -> list[_Found]:
    """The first questions, of all environments at once."""
    moment = repr(now)
    questions: list[list[str]] = []
    for name in names:
        scheduled, queue = keys.scheduled(name), keys.queue(name)
        questions += [
            ["LLEN", queue],
            ["ZCOUNT", scheduled, "-inf", moment],  # no replica is there that would bring them to the queue
            ["ZCARD", scheduled],
            ["ZCARD", keys.failed(name)],
            ["ZRANGE", keys.wip(name), "0", "-1"],
            ["LRANGE", queue, "0", str(_COUNTED_JOBS - 1)],
            ["ZRANGEBYSCORE", keys.maps(name), moment, "+inf"],
            ["ZRANGEBYSCORE", keys.runs(name), moment, "+inf"],
            ["GET", keys.trouble(name)],
        ]
    each = len(questions) // max(len(names), 1)
    askings = [Asking(link, Problems()) for _ in names]
    answers = Asking(link, Problems()).ask_each(questions, of=[asking for asking in askings for _ in range(each)])
    return [
        _found(name, asking, answers[at : at + each])
        for name, asking, at in zip(names, askings, range(0, len(answers), each or 1), strict=True)
    ]


def _found(name: str, asking: Asking, answers: list[Any]) -> _Found:
    depth, due, scheduled, failed, wip, waiting, maps, runs, trouble = answers
    return _Found(
        name=name,
        asking=asking,
        depth=int(depth or 0),
        due=int(due or 0),
        scheduled=int(scheduled or 0),
        failed=int(failed or 0),
        wip=[raw(member) for member in wip or ()],
        waiting=[raw(job) for job in waiting or ()],
        maps=[raw(member) for member in maps or ()],
        runs=[raw(member) for member in runs or ()],
        trouble=text(trouble or b""),
    )


def _views(link: Link, found: Sequence[_Found], now: float) -> list[EnvironmentView]:
    """The second questions, of all environments at once, and what comes of both."""
    suspended = records.is_suspended(link)
    maps = _by_environment(
        [e.maps for e in found], fields_of(link, [keys.map_(m) for e in found for m in e.maps], _OF_MAP)
    )
    lives = _lives(link, {key: fields for e in found for key, fields in e.workers.items()}, now)
    views = []
    for each, its_maps in zip(found, maps, strict=True):
        running = _running(each)
        busy = Counter(lease.map for lease in running.values())
        inputs, waits = _waiting(each, now)
        undriven = _undriven(each)
        shown = [_replica(key, fields, lives[key], suspended, now, running) for key, fields in each.workers.items()]
        views.append(
            EnvironmentView(
                name=shown_name(each.name),
                queued_leases=each.depth + each.due,
                queued_inputs=inputs + each.due,
                oldest_seconds=round(max(waits.values(), default=0.0), 3),
                starved_seconds=round(max((waits[name] for name in waits if not busy[name]), default=0.0), 3),
                running_leases=len(each.wip),
                failed_inputs=each.failed,
                replicas=[view for view in shown if view is not None],
                maps=[
                    view
                    for name, fields in zip(each.maps, its_maps, strict=True)
                    if (view := _map(name, fields, busy[name], now, stands=name in undriven)) is not None
                ],
                runs=_open_runs(each),
                undriven_runs=len(undriven),
                scheduled_jobs=each.scheduled - each.due,
                trouble=each.trouble,
                problem=str(each.asking.problems),
            )
        )
    return views


def _by_environment(lists: Sequence[Sequence[str]], fields: list[Fields]) -> list[list[Fields]]:
    """One list of records, as one for each environment."""
    at, parted = 0, []
    for each in lists:
        parted.append(fields[at : at + len(each)])
        at += len(each)
    return parted


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


def _waiting(found: _Found, now: float) -> tuple[int, dict[str, float]]:
    """Inputs that wait in the queue, and by map how long its oldest lease does."""
    inputs, waits = 0, dict[str, float]()
    for told in found.asking.ask_each(
        [["HMGET", keys.job(job), "description", "enqueued_at", "aq_map"] for job in found.waiting]
    ):
        description, since, name = told or (None, None, None)
        inputs += _inputs_of((description or b"").decode(errors="replace"))[1]
        enqueued = Fields({"enqueued_at": since or b""}, found.asking.problems).moment("enqueued_at")
        named = raw(name or b"")
        waits[named] = max(waits.get(named, 0.0), now - (now if enqueued is None else enqueued))
    if found.depth > len(found.waiting):
        inputs = inputs * found.depth // max(len(found.waiting), 1)
    return inputs, waits


def _open_runs(found: _Found) -> dict[str, int]:
    """Run -> inputs that have no result yet, as far as they are stored."""
    stored = found.asking.ask_each([["HGET", keys.run(name), "count"] for name in found.runs])
    done = found.asking.ask_each([["HGET", keys.map_(name), "done"] for name in found.runs])
    counted = zip(found.runs, stored, done, strict=True)
    return {shown_name(name): max(_number(all_) - _number(some), 0) for name, all_, some in counted}


def _undriven(found: _Found) -> set[str]:
    """Runs that nobody leads: what their last driver said of them is old."""
    led = found.asking.ask_each([["EXISTS", keys.lead(name)] for name in found.runs])
    return {name for name, exists in zip(found.runs, led, strict=True) if exists == 0}


def _number(found: bytes | None) -> int:
    return int(found) if found is not None and found.isdigit() else 0


def _running(found: _Found) -> dict[str, _Running]:
    """Replica -> what it runs: what the leases say, which is newer than the replicas."""
    leases = [member.rpartition(":")[0] for member in found.wip]
    jobs = [["HMGET", keys.job(lease), "worker_name", "aq_map", "description", "started_at"] for lease in leases]
    return {
        raw(told[0]): _Running(
            map=raw(told[1] or b""),
            description=(told[2] or b"").decode(errors="replace"),
            since=Fields({"started_at": told[3] or b""}, Problems()).moment("started_at"),
        )
        for told in found.asking.ask_each(jobs)
        if told is not None and told[0]
    }


def _lives(link: Link, replicas: Mapping[str, Fields], now: float) -> dict[str, float]:
    """How long the record of each replica lives after a heartbeat, seconds: as it says itself, or, for one that runs
    an older version, as its key does; 0 where nobody knows.
    """
    told = {key: float(fields.whole("aq_ttl") or 0) for key, fields in replicas.items()}
    older = [key for key, seconds in told.items() if not seconds]
    left = Asking(link, Problems()).ask_each([["PTTL", key] for key in older])
    return told | {
        key: int(found) / 1000 + _heard(replicas[key], now)
        for key, found in zip(older, left, strict=True)
        if found and int(found) > 0
    }


def _heard(fields: Fields, now: float) -> float:
    """How long ago a replica was heard, seconds."""
    beat = fields.moment("last_heartbeat")
    return round(max(now - (now if beat is None else beat), 0.0), 1)


def _replica(
    key: str, fields: Fields, lives: float, suspended: bool, now: float, running: Mapping[str, _Running]
) -> ReplicaView | None:
    if "birth" not in fields and not str(fields.problems):
        return None
    name = key.removeprefix(f"{keys.RQ}:worker:")
    index = None
    if lease := running.get(name):
        indexes, count = _inputs_of(lease.description)
        position = 0 if count == 1 else fields.whole("aq_position")
        index = indexes[position] if position is not None and position < len(indexes) else None
    heard = _heard(fields, now)
    stale = 0 < lives < 4 * heard  # not heard for a lease: each heartbeat gives its record four to live
    caches = _caches(fields)
    return ReplicaView(
        name=shown_name(name),
        state="stale" if stale else _state(fields, suspended, busy=name in running),
        map="" if lease is None else shown_name(lease.map),
        index=index,
        heartbeat_seconds=heard,
        inputs=fields.whole("aq_inputs") or 0,
        restarts=fields.whole("aq_restarts") or 0,
        cached=sum(function.entries for function in caches.functions),
        cached_bytes=sum(function.bytes for function in caches.functions),
        caches=caches,
        task="" if lease is None else text(lease.description.partition("[")[0].encode(errors="replace")),
        running_seconds=0.0 if lease is None or lease.since is None else round(max(now - lease.since, 0.0), 1),
        problem=str(fields.problems),
    )


def _caches(fields: Fields) -> CacheReport:
    try:
        return CacheReport.unpack(fields.data("aq_caches")).printable()
    except ValueError:
        fields.odd("aq_caches", "no report")
        return CacheReport()


def _state(fields: Fields, suspended: bool, *, busy: bool) -> str:
    told = fields.text("aq_state")  # by its supervisor, with the heartbeat; RQ knows no such states
    if told in ("failing", "quarantined"):
        return told
    if busy:
        return "busy"
    return "starting" if told == "starting" else "suspended" if suspended else "idle"


def _map(map_id: str, fields: Fields, running: int, now: float, *, stands: bool) -> MapView | None:
    if "done" not in fields and not str(fields.problems):
        return None
    started = fields.seconds("started")
    seconds = max(now - (now if started is None else started), 1e-3)
    pods = fields.whole("pods")
    return MapView(
        id=shown_name(map_id),
        task=fields.text("task"),
        total=fields.whole("total"),
        done=fields.whole("done") or 0,
        failed=fields.whole("failed") or 0,
        rate=0.0 if stands else round(fields.seconds("rate") or 0.0, 3),
        seconds=round(seconds, 1),
        running=running if pods is None else pods,
        pods=pods is not None,
        held=fields.text("held"),
        problem=str(fields.problems),
    )


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
