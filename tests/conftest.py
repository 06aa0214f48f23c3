"""Shared fixtures, and the check that no test leaves anything behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psutil
import pytest
import redis

from actorq.broker.embedded import EmbeddedServer
from actorq.runtime import runtime, shutdown

#: how long what a test started may take to disappear, seconds
_PATIENCE = 3.0


def eventually(condition: object, timeout: float = _PATIENCE) -> bool:
    """Whether `condition()` becomes true in time."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def pool_client() -> redis.Redis:
    """A client of the server that this program has embedded; there must be one."""
    client = runtime()._client
    assert client is not None
    return redis.Redis.from_url(client.url)


def map_threads() -> list[str]:
    """The threads of running maps; that of `submit` lives as long as the program."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("actorq-") and "submit" not in name]


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    """No map thread, and no key of a map, outlives its test. The pool may: it belongs to the program."""
    yield
    assert eventually(lambda: not map_threads()), map_threads()
    client = runtime()._client
    if client is None:
        return
    with redis.Redis.from_url(client.url) as server:
        left = [key for key in server.keys("*") if not _belongs_to_pool(server, key)]
        assert eventually(lambda: not [k for k in left if server.exists(k)]), left


def _belongs_to_pool(server: redis.Redis, key: bytes) -> bool:
    """Registration of replicas, lanes of calls, and what expires by itself."""
    permanent = (b"rq:queues", b"rq:workers", b"aq:idle:", b"rq:clean_registries")
    return key.startswith(permanent) or server.ttl(key) > 0 or key.startswith((b"aq:map:call-", b"aq:out:call-"))


@pytest.fixture(scope="session", autouse=True)
def stops_everything() -> Iterator[None]:
    """At the end of the run nothing is left of the pools."""
    yield
    shutdown()
    mine = psutil.Process()
    assert eventually(lambda: not mine.children(recursive=True)), mine.children(recursive=True)


@pytest.fixture
def server() -> Iterator[str]:
    """The address of an empty server of this test's own."""
    embedded = EmbeddedServer()
    embedded.wait_ready()
    yield embedded.url
    embedded.stop()
