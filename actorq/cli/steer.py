"""Commands that steer work from outside: `cancel`, `retry` and `delete`.

The one idea: a name is that of a run, of a single job, or of a live map, and is looked for in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from actorq.cli.options import redis_url
from actorq.cli.runs import client_of
from actorq.errors import PoolError

if TYPE_CHECKING:
    from actorq.broker.client import Client
    from actorq.runs.handle import Run
    from actorq.runs.job import Job


@click.command(short_help="End a run, a job or a live map.")
@click.argument("name")
@redis_url
def cancel(name: str, redis_url: str | None) -> None:
    """End NAME: what has not begun never runs, and what runs is stopped. Outputs of a run so far stay readable.

    A live map ends with an error in the program that runs it.
    """
    from actorq.broker.scripts import submitting

    with client_of(redis_url) as client:
        found = _run_or_job(client, name)
        if found is not None:
            found.cancel()
            return
        with client.lent() as link:
            if not submitting.cancel_map(link, name):
                raise _nothing(name, "run, job or live map")


@click.command(short_help="Run again what has failed.")
@click.argument("name")
@redis_url
def retry(name: str, redis_url: str | None) -> None:
    """Run the inputs of the run NAME that have failed once more, or the job of that name, with the replicas' code."""
    from actorq.runs.job import Job

    with client_of(redis_url) as client:
        found = _there(client, name)
        if isinstance(found, Job):
            found.retry()
        else:
            found.retry_failed()


@click.command(short_help="End a run or a job, and remove what is kept of it.")
@click.argument("name")
@redis_url
def delete(name: str, redis_url: str | None) -> None:
    """End the run or the job NAME, and remove all that the server keeps of it."""
    with client_of(redis_url) as client:
        found = _there(client, name)
        found.delete()


def _there(client: Client, name: str) -> Run[object] | Job[object]:
    """The run or the job of a name. Raises `PoolError` where there is neither."""
    found = _run_or_job(client, name)
    if found is None:
        raise _nothing(name, "run or job")
    return found


def _run_or_job(client: Client, name: str) -> Run[object] | Job[object] | None:
    from actorq.broker import job_records, run_records
    from actorq.runs.handle import Run
    from actorq.runs.job import Job

    with client.lent() as link:
        if run_records.run_record(link, name) is not None:
            return Run(client, name)
        if job_records.job_record(link, name) is not None:
            return Job(client, name)
    return None


def _nothing(name: str, what: str) -> PoolError:
    return PoolError(f"There is no {what} {name!r} on this server: it was deleted, has expired, or never was.")
