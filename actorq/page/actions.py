"""What the page changes, where it was told that it may: the same that `actorq cancel`, `retry` and `rq suspend` do."""

from __future__ import annotations

from collections.abc import Callable

from actorq.broker import records
from actorq.broker.client import Client
from actorq.errors import PoolError
from actorq.runs.handle import Run
from actorq.runs.reader import cancel_work


def cancel(client: Client, name: str) -> str:
    """Ends a run, or a live map. Raises `PoolError` where there is neither."""
    found = cancel_work(client, name)
    if found == "run":
        return f"Run {name} was cancelled."
    if not found:
        raise PoolError(f"There is no live map {name!r} any more: it has ended.")
    return f"Map {name} was cancelled: its program is told within a second."


def retry(client: Client, name: str) -> str:
    """Runs what has failed of a run once more. Raises `PoolError`."""
    Run[object](client, name).retry_failed()
    return f"What has failed of run {name} runs once more."


def suspend(client: Client, _: str) -> str:
    """No replica of this server takes anything more, until somebody resumes."""
    with client.lent() as link:
        records.suspend(link)
    return "All queues of this server are suspended: what runs ends, and nothing else begins."


def resume(client: Client, _: str) -> str:
    with client.lent() as link:
        records.resume(link)
    return "All queues of this server go on."


ACTIONS: dict[str, Callable[[Client, str], str]] = {
    "cancel": cancel,
    "retry": retry,
    "suspend": suspend,
    "resume": resume,
}
