"""Commands that steer work from outside: `cancel`, `retry` and `delete`.

The one idea: a name is that of a run, of a single job, or of a live map, and is looked for in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from actorq.cli.options import redis_url, say
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
            say(_cancelled(found))
            return
        with client.lent() as link:
            if not submitting.cancel_map(link, name):
                raise _nothing(client, name, "run, job or live map")
        say(f"Map {name} is cancelled: its program is told within a second.")


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
            say(f"Job {name} runs again.")
            return
        counters, state = found.stats(), found.state
        if state == "done" and not counters.failed:
            say(f"Run {name} is done, and no input of it has failed: nothing runs again.")
            return
        found.retry_failed()
        say(f"{counters.failed:,} inputs of run {name} that failed run again, and what never ran.")


@click.command(short_help="End a run or a job, and remove what is kept of it.")
@click.argument("name")
@redis_url
def delete(name: str, redis_url: str | None) -> None:
    """End the run or the job NAME, and remove all that the server keeps of it."""
    with client_of(redis_url) as client:
        _there(client, name).delete()
        say(f"{name} is deleted.")


def _there(client: Client, name: str) -> Run[object] | Job[object]:
    """The run or the job of a name. Raises `PoolError` where there is neither."""
    found = _run_or_job(client, name)
    if found is None:
        raise _nothing(client, name, "run or job")
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


def _cancelled(found: Run[object] | Job[object]) -> str:
    """Ends it; what was done."""
    from actorq.runs.job import Job

    if isinstance(found, Job):
        ended = found.cancel()
        return f"Job {found.job_id} is {found.status() if not ended else 'cancelled'}."
    state = found.state
    found.cancel()
    return f"Run {found.map_id} is {'cancelled' if state == 'running' else f'{state} already'}."


def _nothing(client: Client, name: str, what: str) -> PoolError:
    from actorq.broker.records import map_lives

    with client.lent() as link:
        if map_lives(link, name):
            return PoolError(f"{name!r} is a live map, whose program has its outputs: it can be cancelled, no more.")
    return PoolError(f"There is no {what} {name!r} on this server: it was deleted, has expired, or never was.")
