"""What lies on the server of single jobs (`task.spawn`).

The one idea: as in `records.py`, plain commands that read, wait or remove, each under the name of what it is for.
"""

from __future__ import annotations

from typing import NamedTuple

from actorq.broker import keys
from actorq.broker.link import Link


class JobRecord(NamedTuple):
    """A job as the server has it."""

    environment: str
    #: "scheduled", "queued", "started", "finished", "failed" or "canceled": RQ's words
    status: str
    description: str
    #: of its last attempt that raised, or lost its replica; 0 for none
    raised: int
    #: seconds that it may run
    timeout: float | None


def job_record(link: Link, job_id: str) -> JobRecord | None:
    """What the server has of a job; None where it knows of none."""
    names = ("origin", "status", "description", "aq_raised", "aq_limit", "aq_keep")
    origin, status, description, raised, limit, keep = link.command("HMGET", keys.job(job_id), *names)
    if keep is None or origin is None or status is None:
        return None
    text = (description or b"").decode(errors="replace")
    return JobRecord(origin.decode(), status.decode(), text, int(raised or 0), float(limit) if limit else None)


def last_entry(link: Link, job_id: str) -> list[tuple[bytes, list[bytes]]]:
    """What has ended a job."""
    found: list[tuple[bytes, list[bytes]]] = link.command("XREVRANGE", keys.out(job_id), "+", "-", "COUNT", 1)
    return found


def wait(link: Link, job_id: str, after: bytes, seconds: float) -> bytes:
    """Until an entry tells that a job has ended, `seconds` at most; returns its id, or `after`."""
    block = max(1, int(seconds * 1000))
    found = link.command("XREAD", "BLOCK", block, "STREAMS", keys.out(job_id), after)
    return bytes(found[0][1][-1][0]) if found else after


def delete(link: Link, environment: str, job_id: str) -> None:
    """Nothing stays of a job that has ended."""
    link.command("UNLINK", keys.job(job_id), keys.out(job_id), keys.blob(job_id), f"{keys.RQ}:results:{job_id}")
    for registry in ("finished", "failed", "canceled"):
        link.command("ZREM", f"{keys.RQ}:{registry}:{environment}", job_id)
