"""The rows of three tables, environments, replicas and failures, and what a row of any is.

The one idea: a row has a key that stays while what it shows changes, and a line that says in full what its cells cut.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actorq.base.amounts import counted, rate, size, span, whole_span
from actorq.monitor.failures import FailureView
from actorq.monitor.metrics import REGISTERED_STATES
from actorq.monitor.model import EnvironmentView, ReplicaView
from actorq.terminal.history import Rates
from actorq.terminal.layout import Column
from actorq.terminal.picture import Picture
from actorq.terminal.words import Cell, Curve, Name, Text, last_name

_TONES = {
    "busy": "good",
    "suspended": "warn",
    "starting": "warn",
    "failing": "bad",
    "quarantined": "bad",
    "stale": "bad",
}
#: seconds of a single input, and of a queue, from which they are worth a look
_LONG_SECONDS = 60.0


@dataclass(frozen=True)
class Row:
    """One of a table."""

    #: stays while the row is there
    key: tuple[str, ...]
    cells: Sequence[Cell]
    #: in one line, in full
    detail: str
    #: what it shows
    of: Any = None


ENVIRONMENTS = (
    Column(title="ENVIRONMENTS", least=12, most=30),
    Column(title="QUEUED", least=6, most=10, right=True),
    Column(title="OLDEST", least=6, most=8, rank=3, right=True),
    Column(title="RUNNING", least=7, most=8, rank=4, right=True),
    Column(title="FAILED", least=6, most=8, right=True),
    Column(title="REPLICAS", least=20, most=44, rank=1),
    Column(title="RATE", least=6, most=10, rank=1, right=True),
    Column(title="LAST MINUTES", least=8, most=24, rank=2, fills=True),
)
REPLICAS = (
    Column(title="REPLICAS", least=12, most=34),
    Column(title="STATE", least=11, most=11),
    Column(title="TASK", least=6, most=20, rank=3),
    Column(title="MAP", least=16, most=26, rank=1),
    Column(title="INDEX", least=5, most=10, rank=1, right=True),
    Column(title="FOR", least=6, most=8, rank=1, right=True),
    Column(title="DONE", least=5, most=10, rank=4, right=True),
    Column(title="CACHED", least=6, most=16, rank=2, right=True),
    Column(title="HITS", least=4, most=10, rank=5, right=True),
    Column(title="HEARD", least=5, most=8, rank=3, right=True),
    Column(title="RESTARTS", least=8, most=8, rank=4, right=True),
    Column(title="", least=0, most=200, rank=6, fills=True),
)
FAILURES = (
    Column(title="FAILURES", least=8, most=8),
    Column(title="MAP", least=12, most=26, rank=2),
    Column(title="INDEX", least=5, most=10, rank=1, right=True),
    Column(title="TASK", least=6, most=20, rank=3),
    Column(title="CAUSE", least=20, most=300, fills=True),
)


def environment_rows(picture: Picture, rates: Rates, now: float) -> list[Row]:
    """All of them, also while only one is wanted.

    Args:
        picture: the last look.
        rates: what was seen before.
        now: monotonic seconds.
    """
    return [_environment(view, rates.of(view.name, now)) for view in picture.environments]


def total_rate(view: EnvironmentView) -> float:
    """Inputs a second of all maps of an environment."""
    return sum(each.rate for each in view.maps)


def _environment(view: EnvironmentView, seen: Sequence[float | None]) -> Row:
    told = "; ".join(filter(None, (view.trouble and f"no pool: {view.trouble}", *view.problems)))
    later = f"{view.scheduled_jobs} jobs wait for their time" if view.scheduled_jobs else ""
    return Row(
        (view.name,),
        (
            Name(view.name, "strong"),
            Text(f"{view.queued_inputs:,}", "" if view.queued_inputs else "dim"),
            Text(whole_span(view.oldest_seconds), "warn" if view.oldest_seconds > _LONG_SECONDS else "dim"),
            Text(f"{view.running_leases:,}", "" if view.running_leases else "dim"),
            Text(f"{view.failed_inputs:,}", "bad" if view.failed_inputs else "dim"),
            _served(view),
            Text(f"{rate(total_rate(view))}/s", "" if total_rate(view) else "dim"),
            Curve(seen),
        ),
        " · ".join(filter(None, (view.name, str(_served(view)), later, told))),
        view,
    )


def _served(view: EnvironmentView) -> Text:
    if view.unserved:
        return Text("NOBODY SERVES IT", "bad")
    counts = Counter(replica.state for replica in view.replicas)
    told = [f"{counts[state]:,} {state}" for state in REGISTERED_STATES if counts[state]]
    if pods := sum(each.running for each in view.maps if each.pods):
        told.append(counted(pods, "pod"))
    worst = next((tone for state in reversed(REGISTERED_STATES) if counts[state] and (tone := _TONES.get(state))), "")
    if view.trouble or view.problem:
        return Text(", ".join([*told, "trouble"]), "bad")
    return Text(", ".join(told) or "none", worst if told else "dim")


def replica_rows(picture: Picture) -> list[Row]:
    """Those of what is wanted."""
    return [_replica(view.name, replica) for view in picture.chosen() for replica in view.replicas]


def _replica(environment: str, replica: ReplicaView) -> Row:
    hits = sum(function.hits for function in replica.caches.functions)
    slow = replica.running_seconds > _LONG_SECONDS
    busy = replica.running_seconds > 0 or replica.task != ""
    cached = f"{replica.cached}, {size(replica.cached_bytes)}" if replica.cached_bytes else f"{replica.cached}"
    held = ", ".join(f"{f.function} {f.entries} ({f.hits:,} hits)" for f in replica.caches.functions)
    return Row(
        (environment, replica.name),
        (
            Name(replica.name),
            Text(replica.state, _TONES.get(replica.state, "dim")),
            Text(last_name(replica.task), "dim"),
            Name(replica.map),
            Text("" if replica.index is None else f"{replica.index:,}"),
            Text(span(replica.running_seconds) if busy else "", "warn" if slow else ""),
            Text(f"{replica.inputs:,}"),
            Text(cached, "" if replica.cached else "dim"),
            Text(f"{hits:,}", "" if hits else "dim"),
            Text(whole_span(replica.heartbeat_seconds), "bad" if replica.state == "stale" else "dim"),
            Text(f"{replica.restarts:,}", "warn" if replica.restarts else "dim"),
            Text(replica.problem, "bad"),
        ),
        " · ".join(
            filter(None, (replica.name, replica.state, replica.task, held and f"cache: {held}", replica.problem))
        ),
        replica,
    )


def failure_rows(picture: Picture) -> list[Row]:
    """The last ones, newest first."""
    now = time.time()
    return [_failure(failure, now) for failure in picture.failures]


def _failure(failure: FailureView, now: float) -> Row:
    since = "?" if failure.at is None else whole_span(now - failure.at)
    return Row(
        (failure.environment, failure.id),
        (
            Text(since, "dim"),
            Name(failure.map or "a job or call"),
            Text("" if failure.index is None else f"{failure.index:,}"),
            Text(last_name(failure.task), "dim"),
            Text(failure.cause, "bad"),
        ),
        " · ".join(filter(None, (failure.task, failure.cause, f"input {failure.input}"))),
        failure,
    )


def failure_text(failure: FailureView) -> Iterator[str]:
    """What is known of one, in lines."""
    where = f"index {failure.index:,} of {failure.map}" if failure.index is not None else failure.map or "a job or call"
    yield failure.cause
    yield ""
    yield f"  task     {failure.task}"
    yield f"  input    {failure.input}"
    yield f"  of       {where}"
    yield f"  replica  {failure.replica or '?'}"
    yield f"  job      {failure.id}"
    yield ""
    yield failure.traceback or "No traceback: nobody raised it, or the server has it no more."


def replica_text(replica: ReplicaView) -> str:
    """What is known of one: what it runs, and what it holds."""
    lines = [
        f"state     {replica.state}, heard {whole_span(replica.heartbeat_seconds)} ago",
        f"runs      {replica.task or 'nothing'}" + (f" of {replica.map}" if replica.map else ""),
        f"done      {replica.inputs:,} inputs, {replica.restarts:,} restarts",
        f"holds     {counted(replica.cached, 'value')}, {size(replica.cached_bytes)}",
        *(f"          {f.function}: {counted(f.entries, 'value')}, {f.hits:,} hits" for f in replica.caches.functions),
    ]
    if replica.caches.values:
        lines += ["", "used most"]
    lines += [f"  {each.hits:>9,} hits  {each.function}({each.label})" for each in replica.caches.values]
    return "\n".join([*lines, *([replica.problem] if replica.problem else [])])
