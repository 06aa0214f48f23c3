"""Work that is steered from outside by its name: ended, tried again, removed.

The one idea: a name is that of a run, of a single job, or of a live map, and is looked for in this order. Each function
returns a sentence of what it did, for whoever has asked: the command line, the live view, the page.
"""

from __future__ import annotations

from typing import Any

from actorq.broker import job_records, run_records
from actorq.broker.client import Client
from actorq.broker.records import map_lives
from actorq.broker.scripts import submitting
from actorq.errors import PoolError
from actorq.runs.handle import Run
from actorq.runs.job import ENDED, Job


def find(client: Client, name: str) -> Run[Any] | Job[Any] | None:
    """The run or the job of a name; None where there is neither."""
    with client.lent() as link:
        if run_records.run_record(link, name) is not None:
            return Run(client, name)
        if job_records.job_record(link, name) is not None:
            return Job(client, name)
    return None


def has_ended(client: Client, name: str) -> bool:
    """Whether nothing of it runs, or will; also of the name of nothing."""
    found = find(client, name)
    if isinstance(found, Job):
        return found.status() in ENDED
    if found is not None:
        return found.state != "running"
    with client.lent() as link:
        return not map_lives(link, name)


def cancel(client: Client, name: str) -> str:
    """Ends it: what has not begun never runs, and what runs is stopped. Raises `PoolError` for the name of nothing."""
    found = find(client, name)
    if isinstance(found, Job):
        ended = found.cancel()
        return f"Job {name} is {found.status() if not ended else 'cancelled'}."
    if found is not None:
        state = found.state
        found.cancel()
        return f"Run {name} is {'cancelled' if state == 'running' else f'{state} already'}."
    with client.lent() as link:
        if not submitting.cancel_map(link, name):
            raise _nothing(client, name, "run, job or live map")
    return f"Map {name} is cancelled: its program is told within a second."


def retry(client: Client, name: str) -> str:
    """Runs what has failed once more. Raises `PoolError` for what cannot be tried again, and the name of nothing."""
    found = _there(client, name)
    if isinstance(found, Job):
        found.retry()
        return f"Job {name} runs again."
    counters, state = found.stats(), found.state
    if state == "done" and not counters.failed:
        return f"Run {name} is done, and no input of it has failed: nothing runs again."
    found.retry_failed()
    count = counters.failed
    failed = f"{count:,} inputs that failed run again" if count != 1 else "1 input that failed runs again"
    return f"Run {name}: {failed}, and what never ran."


def delete(client: Client, name: str) -> str:
    """Ends it, and removes all that the server keeps of it. Raises `PoolError` for the name of nothing."""
    _there(client, name).delete()
    return f"{name} is deleted."


def _there(client: Client, name: str) -> Run[Any] | Job[Any]:
    found = find(client, name)
    if found is None:
        raise _nothing(client, name, "run or job")
    return found


def _nothing(client: Client, name: str, what: str) -> PoolError:
    with client.lent() as link:
        if map_lives(link, name):
            return PoolError(f"{name!r} is a live map, whose program has its outputs: it can be cancelled, no more.")
    return PoolError(f"There is no {what} {name!r} on this server: it was deleted, has expired, or never was.")
