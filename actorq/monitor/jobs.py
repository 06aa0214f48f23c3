"""The single jobs that a server knows (`task.spawn`): those that run, wait or are scheduled, and those that ended.

The one idea: RQ's registries say which there are, so this reads what `rq info` reads. It is bounded: of each kind those
that are next, or were last.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from actorq.broker import keys
from actorq.broker.link import Link
from actorq.monitor.records import Asking, Fields, Problems, fields_of, queues_of, raw, shown_name

_OF_JOB = ("origin", "status", "description", "created_at", "worker_name", "aq_raised", "aq_keep")


@dataclass(frozen=True, kw_only=True)
class JobView:
    """One job."""

    id: str
    environment: str
    task: str
    #: "scheduled", "queued", "started", "finished", "failed" or "canceled": RQ's words
    status: str
    #: how often it was tried again because it had raised
    retried: int
    #: since it was spawned; None where that cannot be read
    age_seconds: float | None
    #: until it is to run; None for one that is not scheduled
    due_seconds: float | None
    #: who runs it, or has run it last
    replica: str
    problem: str = ""


def jobs(
    link: Link, environment: str | None = None, *, most: int = 100, problems: Problems | None = None
) -> list[JobView]:
    """What runs, what waits in its order, what is scheduled, and what has ended, the last one first.

    Args:
        link: a connection.
        environment: its name; None: all.
        most: how many of each of these kinds are looked for, of each environment.
        problems: told of lists that cannot be read.

    Raises `BrokerError`.
    """
    asking, now, last = Asking(link, problems or Problems()), time.time(), str(most - 1)
    due: dict[str, float] = {}
    ids: list[str] = []
    for name in [environment] if environment else queues_of(asking):
        ended = [["ZREVRANGE", key, "0", last] for key in keys.ended_jobs(name)]
        asked = (
            ["ZRANGE", keys.wip(name), "0", last],
            ["LRANGE", keys.calls(name), "0", last],
            ["ZRANGE", keys.scheduled(name), "0", last, "WITHSCORES"],
        )
        runs, waits, scheduled, *over = asking.ask_each([*asked, *ended])
        times = {raw(job): float(at) for job, at in zip((scheduled or ())[::2], (scheduled or ())[1::2], strict=True)}
        due.update(times)
        ids += [raw(member).rpartition(":")[0] for member in runs or ()]
        ids += [raw(job) for job in waits or ()]
        ids += [*times, *(raw(job) for found in over for job in found or ())]
    ids = list(dict.fromkeys(ids))
    told = fields_of(link, [keys.job(job_id) for job_id in ids], _OF_JOB)
    # what has no `aq_keep` is a lease of a map, or a call that somebody waits for
    found = [(job_id, job) for job_id, job in zip(ids, told, strict=True) if "aq_keep" in job or str(job.problems)]
    return [_view(job_id, job, due.get(job_id), now) for job_id, job in found]


def _view(job_id: str, job: Fields, due: float | None, now: float) -> JobView:
    created = job.moment("created_at")
    status = job.text("status")
    return JobView(
        id=shown_name(job_id),
        environment=job.text("origin"),
        task=job.text("description").removesuffix("()").partition(": ")[0],
        status=status,
        retried=job.whole("aq_raised") or 0,
        age_seconds=None if created is None else max(now - created, 0.0),
        due_seconds=due - now if due is not None and status == "scheduled" else None,
        replica=job.text("worker_name"),
        problem=str(job.problems),
    )
