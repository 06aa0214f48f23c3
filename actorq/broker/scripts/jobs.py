"""What is said of single jobs (`task.spawn`): by who makes one, by who looks for one, and by supervisors.

The one idea: a job has no submitter that waits. So the scripts that book what replicas report also decide whether it
runs again, and keep its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from actorq.base.names import new_id
from actorq.broker import keys
from actorq.broker.commands import Argument, Command, iso_now
from actorq.broker.link import Link, Store
from actorq.broker.scripts.load import JOB_CANCEL, JOB_COUNT, JOB_DUE, JOB_RETRY, JOB_SPAWN


class JobRules(NamedTuple):
    """What becomes of a job that fails."""

    retries: int
    max_crashes: int
    #: "<base> <factor> <cap> <jitter>" of the pause before a retry; "" for none
    backoff: str
    #: seconds that it may run; "" without a limit
    timeout: float | str


class JobOffers:
    """`job_spawn.lua` for the jobs of one task."""

    def __init__(self, environment: str, lease_seconds: float, rules: JobRules) -> None:
        self._prefix = keys.prefix(environment)
        self._lease_seconds = lease_seconds
        self._rules = rules

    def send(
        self,
        link: Link,
        job_id: str,
        payload: bytes,
        *,
        alone: bytes,
        checksum: bytes,
        description: str,
        due: float | None,
        expires: int,
        result_ttl: int,
        stores: Sequence[Store],
    ) -> tuple[bytes, bool]:
        """Makes the job, unless there is one of this name; returns the checksum of the one that is there, and whether
        that still has its payload. Waits for a server that is away or full.

        Args:
            link: the connection.
            job_id, payload: of its lease.
            alone: the payload with which it has a process to itself, b"" where it has one anyway.
            checksum: what it is made of.
            description: what RQ's tools show.
            due: when it is to run, Unix seconds; None: now.
            expires: seconds after which it is dropped where it has not run.
            result_ttl: seconds that its result is kept.
            stores: a large payload.
        """
        args: list[Argument] = [*self._prefix, job_id, checksum, iso_now(), self._lease_seconds, description, payload]
        args += (alone, "" if due is None else f"{due:.3f}", expires, result_ttl, *self._rules)
        command = Command.of(JOB_SPAWN, [keys.job(job_id), keys.SUSPENDED], *args)
        known, waits = link.call_packed(JOB_SPAWN, command.packed(), stores)
        return bytes(known), bool(waits)


def due(link: Link, environment: str) -> float | None:
    """Brings jobs whose time has come to the queue (`job_due.lua`); returns the seconds until the next one is due."""
    left = link.call(JOB_DUE, [], [*keys.prefix(environment)])
    return float(left) if left else None


def unfinished(link: Link, environment: str) -> int:
    """How many jobs of an environment have not ended (`job_count.lua`)."""
    return int(link.call(JOB_COUNT, [], [*keys.prefix(environment)]))


def cancel(link: Link, environment: str, job_id: str) -> bool:
    """Ends a job (`job_cancel.lua`); False for one that has ended, or is not there."""
    return bool(link.call(JOB_CANCEL, [keys.job(job_id)], [*keys.prefix(environment), job_id, iso_now(), new_id()]))


def retry(link: Link, environment: str, job_id: str) -> bool:
    """Runs a job that has failed once more (`job_retry.lua`); False for one that has not, or has no input any more."""
    return bool(link.call(JOB_RETRY, [keys.job(job_id)], [*keys.prefix(environment), job_id, new_id()]))
