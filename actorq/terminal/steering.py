"""What the keys do to the server: cancel, retry, pause and resume.

The one idea: each takes a connection of its own for the time it needs, so a server that hangs keeps nobody but the
thread that asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from actorq.broker import records
from actorq.broker.client import Client
from actorq.runs import named

#: seconds to try a server that cannot be reached
_PATIENCE = 5.0


@contextmanager
def _client(url: str) -> Iterator[Client]:
    client = Client(url, _PATIENCE)
    try:
        yield client
    finally:
        client.close()


def cancel(url: str, name: str) -> str:
    """Ends a run, or a live map, whose program gets an error; what was done. Raises `ActorqError`."""
    with _client(url) as client:
        return named.cancel(client, name)


def retry(url: str, name: str) -> str:
    """Runs again what has failed of a run that has ended. Raises `ActorqError`."""
    with _client(url) as client:
        return named.retry(client, name)


def pause(url: str) -> str:
    """As `rq suspend` does, on all queues."""
    with _client(url) as client, client.lent() as link:
        records.suspend(link)
    return "Paused: what runs ends, and nothing more is taken."


def resume(url: str) -> str:
    """As `rq resume` does."""
    with _client(url) as client, client.lent() as link:
        records.resume(link)
    return "The replicas go on."
