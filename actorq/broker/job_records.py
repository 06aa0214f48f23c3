"""What lies on the server of single jobs (`task.spawn`).

The one idea: as in `records.py`, plain commands that read, wait or remove, each under the name of what it is for.
"""

from __future__ import annotations

from typing import NamedTuple

from actorq.broker import blobs, keys
from actorq.broker.link import Link


class JobRecord(NamedTuple):
    """A job as the server has it."""

    environment: str
    #: "scheduled", "queued", "started", "finished", "failed" or "canceled": RQ's words
    status: str
    #: how often it was tried again because it had raised
    raised: int
    #: seconds that it may run
    timeout: float | None


def job_record(link: Link, job_id: str) -> JobRecord | None:
    """What the server has of a job; None where it knows of none."""
    names = ("origin", "status", "aq_raised", "aq_limit", "aq_keep")
    origin, status, raised, limit, keep = link.command("HMGET", keys.job(job_id), *names)
    if keep is None or origin is None or status is None:
        return None
    return JobRecord(origin.decode(), status.decode(), int(raised or 0), float(limit) if limit else None)


def last_entry(link: Link, job_id: str) -> list[tuple[bytes, list[bytes]]]:
    """What has ended a job."""
    found: list[tuple[bytes, list[bytes]]] = link.command("XREVRANGE", keys.out(job_id), "+", "-", "COUNT", 1)
    return found


def delete(link: Link, environment: str, job_id: str) -> None:
    """Nothing stays of a job that has ended."""
    payloads = link.command("HMGET", keys.job(job_id), "aq", "aq_alone")
    payloads += [fields[3] for _, fields in last_entry(link, job_id)]
    large = blobs.keys_of(payloads)
    link.command("UNLINK", keys.job(job_id), keys.out(job_id), keys.job_results(job_id), keys.output(job_id), *large)
    for registry in keys.ended_jobs(environment):
        link.command("ZREM", registry, job_id)
