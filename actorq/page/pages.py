"""The pages: what each shows of a look, and of which parts it is made.

The one idea: a page is a frame and parts. A browser gets both once, and then each part again when it has changed; the
same function and the same template make it both times, so what is live cannot differ from what was loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actorq.base.masking import printable
from actorq.base.settings import masked
from actorq.errors import ActorqError
from actorq.monitor.doctor import BAD, NOTE, findings
from actorq.monitor.metrics import REGISTERED_STATES
from actorq.monitor.model import EnvironmentView, ReplicaView
from actorq.page import drawing, work
from actorq.page.attention import notices
from actorq.page.collector import Collector, Look
from actorq.page.failed import Failed, Found
from actorq.page.history import HOUR, MAP
from actorq.page.rows import Query, part

#: seconds after which what is shown is called old: a look is made each second, and takes one at most
_OLD_SECONDS = 5.0
#: timelines of a page: those of replicas that worked for the map come first
_TIMELINES = 60


class NothingError(LookupError):
    """There is nothing of that name."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What all pages are made of."""

    collector: Collector
    failed: Failed
    #: the server, without its password
    server: str
    #: path that all links begin with, "" for none
    prefix: str = ""
    #: whether there is a token, and whether those who show it may change things
    logins: bool = False
    actions: bool = False
    #: nothing is shown to those who have not shown it
    private: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """One kind of page."""

    title: str
    #: its parts, in their order: each has a template of its name
    parts: Sequence[str]
    context: Callable[[Site, Look, Query], Mapping[str, Any]]


def common(site: Site, look: Look) -> dict[str, Any]:
    """What every page shows: whether it is true."""
    age = None if look.at is None else max(time.time() - look.at, 0.0)
    return {"look": look, "site": site, "age": age, "old": age is None or age > _OLD_SECONDS or bool(look.error)}


def _overview(site: Site, look: Look, query: Query) -> dict[str, Any]:
    now = time.monotonic()
    history = site.collector.history
    rate, queued = history.total(now)
    rows = work.all_work(look)
    replicas = [replica for view in look.environments for replica in view.replicas]
    return {
        "notices": notices(look),
        "rate": drawing.chart(rate, HOUR[0]),
        "queued": drawing.chart(queued, HOUR[0]),
        "environments": [
            (view, states(view), drawing.chart(history.rates(view.name, now), HOUR[0])) for view in look.environments
        ],
        "work": part(work.matching(rows, query.q), query),
        "all_work": len(rows),
        "totals": {
            "rate": sum(m.rate for view in look.environments for m in view.maps),
            "queued": sum(view.queued_inputs for view in look.environments),
            "busy": sum(replica.state == "busy" for replica in replicas),
            "replicas": len(replicas),
            "failed": sum(view.failed_inputs for view in look.environments),
            "live": sum(row.live for row in rows),
        },
        "health": _health(look),
    }


def states(view: EnvironmentView) -> list[tuple[str, int]]:
    """How many replicas are in which state."""
    found = [replica.state for replica in view.replicas]
    return [(state, found.count(state)) for state in REGISTERED_STATES if state in found]


def _health(look: Look) -> dict[str, Any]:
    """What the doctor says of the server: the levels are those of `actorq doctor`."""
    if look.facts is None:
        return {}
    found = findings(look.facts)
    return {
        "findings": found,
        "bad": [f for f in found if f.level == BAD],
        "notes": [f for f in found if f.level == NOTE],
    }


def _work(site: Site, look: Look, query: Query) -> dict[str, Any]:
    now = time.monotonic()
    history = site.collector.history
    gone = history.last_of_map(query.id)
    one = work.find(look, query.id, gone)
    if one is None:
        raise NothingError(f"There is no live map and no run {query.id!r} on this server.")
    stretches = history.timelines(one.environment, now)
    timelines = [(name, drawing.timeline(some, now, history.colour, one.id)) for name, some in stretches.items()]
    told = [(name, blocks, drawing.shares(blocks, one.id)) for name, blocks in timelines]
    if not one.live and not any(share["mine"] for _, _, share in told):
        told = []  # what others did since it has ended says nothing of it
    told.sort(key=lambda timeline: (timeline[2]["mine"] == 0, timeline[0]))
    return {
        "one": one,
        "chart": drawing.chart(history.rate_of_map(one.id, now), MAP[0]),
        "timelines": told[:_TIMELINES],
        "timelines_left": max(len(told) - _TIMELINES, 0),
        "found": _failures_of(site, one),
    }


def _failures_of(site: Site, one: work.Work) -> Found:
    if not one.failed:
        return Found()
    return site.failed.of_run(one.id) if one.kind == "run" else site.failed.of_map(one.environment, one.id)


def _replicas(site: Site, look: Look, query: Query) -> dict[str, Any]:
    now = time.monotonic()
    rows = [(view.name, replica) for view in look.environments for replica in view.replicas]
    words = query.q.casefold().split()
    shown = [
        (env, replica)
        for env, replica in rows
        if (not query.env or env == query.env)
        and (not query.state or replica.state == query.state)
        and all(word in f"{replica.name} {replica.map} {replica.task}".casefold() for word in words)
    ]
    found = part(shown, query)
    history = site.collector.history
    timelines = {env: history.timelines(env, now) for env in {env for env, _ in found.rows}}
    return {
        "replicas": found,
        "all_replicas": len(rows),
        "timeline_of": {
            (env, replica.name): drawing.timeline(timelines[env].get(replica.name, ()), now, history.colour)
            for env, replica in found.rows
        },
        "environment_names": sorted({view.name for view in look.environments}),
        "state_names": REGISTERED_STATES,
        "loads": _loads([replica for _, replica in shown]),
    }


def _loads(replicas: Sequence[ReplicaView]) -> list[dict[str, Any]]:
    """What all of them hold, by function."""
    totals: dict[str, dict[str, Any]] = {}
    for replica in replicas:
        for function in replica.caches.functions:
            row = totals.setdefault(function.function, {"function": function.function, "replicas": 0})
            row["replicas"] += 1
            for name in ("hits", "misses", "loads", "load_seconds", "entries", "bytes", "evictions"):
                row[name] = row.get(name, 0) + getattr(function, name)
    return [totals[name] for name in sorted(totals)]


def _failures(site: Site, look: Look, query: Query) -> dict[str, Any]:
    view = next((view for view in look.environments if view.name == query.env), None)
    if view is None:
        raise NothingError(f"There is no environment {query.env!r} on this server.")
    return {"view": view, "found": site.failed.of_environment(view.name) if view.failed_inputs else Found()}


def _failure(site: Site, _: Look, query: Query) -> dict[str, Any]:
    """Of the id of its job, or of a run and an index: `?env=…&id=JOB`, or `?id=RUN&q=INDEX`."""
    try:
        if query.env:
            found = site.failed.one(query.env, query.id)
        else:
            found = site.failed.one_of_run(query.id, int(query.q) if query.q.isascii() and query.q.isdigit() else -1)
    except ActorqError as error:
        return {"failure": None, "error": printable(masked(str(error)))}
    if found is None:
        raise NothingError("This failure is not on the server any more: it is kept for a day, or was run again.")
    return {"failure": found, "error": ""}


PAGES: dict[str, Page] = {
    "overview": Page(
        title="Overview", parts=("notices", "totals", "charts", "environments", "work", "health"), context=_overview
    ),
    "work": Page(title="", parts=("progress", "timelines", "groups"), context=_work),
    "replicas": Page(title="Replicas", parts=("replicas", "loads"), context=_replicas),
    "failures": Page(title="Failures", parts=("groups",), context=_failures),
    "failure": Page(title="Failure", parts=("failure",), context=_failure),
}
