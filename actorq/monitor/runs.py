"""The runs that a server knows: those that go on, and those that ended and are kept.

The one idea: as in `view.py`, nothing here writes, and a record that cannot be read says so beside the others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from actorq.broker import records, run_records
from actorq.broker.link import Link
from actorq.errors import ActorqError
from actorq.runs.plan import Plan


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run."""

    id: str
    environment: str
    #: "" where its plan cannot be read
    task: str
    #: "running", "done", "failed" or "cancelled"
    state: str
    #: inputs that have a result, or have failed
    done: int
    failed: int
    #: inputs that are stored, and all of them; None while they are being stored
    stored: int
    total: int | None
    #: inputs a second over the last ten seconds of its driver; 0 for one that has ended
    rate: float
    #: since it was started
    age_seconds: float
    #: host and process of who drives it, "" for nobody
    driver: str
    #: what the server holds of it, without large values
    bytes: int
    problem: str = ""


def runs(link: Link, environment: str | None = None) -> list[RunView]:
    """All runs, or those of one environment: the open ones first, then the ended ones. Raises `BrokerError`."""
    now = time.time()
    names = [environment] if environment else records.environments(link)
    found = [(name, run_id) for name in names for run_id in run_records.open_runs(link, name)]
    found += [(name, run_id) for name in names for run_id in run_records.ended_runs(link, name)]
    views = [_view(link, name, run_id, now) for name, run_id in dict.fromkeys(found)]
    return [view for view in views if view is not None]


def _view(link: Link, environment: str, run_id: str, now: float) -> RunView | None:
    record = run_records.run_record(link, run_id)
    if record is None:
        return None
    task, problem = "", ""
    try:
        task = Plan.of(environment, run_id, record.plan).options.head.task
    except ActorqError as error:
        problem = str(error)
    progress = run_records.run_progress(link, run_id)
    return RunView(
        id=run_id,
        environment=environment,
        task=task,
        state=record.state,
        done=progress.done,
        failed=progress.failed,
        stored=record.stored,
        total=record.total,
        rate=progress.rate,
        age_seconds=max(now - record.created, 0.0),
        driver=progress.driver if run_records.has_lead(link, run_id) else "",
        bytes=run_records.run_bytes(link, run_id),
        problem=problem,
    )
