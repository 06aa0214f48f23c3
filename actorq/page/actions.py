"""What the page changes, where it was told that it may: the same that `actorq cancel`, `retry` and `rq suspend` do."""

from __future__ import annotations

from collections.abc import Callable

from actorq.broker import records
from actorq.broker.client import Client
from actorq.runs import named


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
    "cancel": named.cancel,
    "retry": named.retry,
    "suspend": suspend,
    "resume": resume,
}
