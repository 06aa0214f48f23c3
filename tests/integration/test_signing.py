"""A replica with a signing key runs what was signed with it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from actorq import PoolError
from actorq.settings import settings
from tests import tasks
from tests.conftest import Worker

KEY = "0123456789abcdef"
SetKey = Callable[[str | None], None]


@pytest.fixture
def set_key(monkeypatch: pytest.MonkeyPatch, on_server: str) -> SetKey:
    def set_to(key: str | None) -> None:
        if key is None:
            monkeypatch.delenv("ACTORQ_SIGNING_KEY", raising=False)
        else:
            monkeypatch.setenv("ACTORQ_SIGNING_KEY", key)
        settings.cache_clear()

    return set_to


@pytest.fixture
def worker(set_key: SetKey, on_server: str) -> Iterator[Worker]:
    """A worker whose key is `KEY`, as is this program's."""
    set_key(KEY)
    started = Worker(on_server, replicas=1)
    started.wait_ready(1)
    yield started
    started.process.terminate()
    started.process.communicate(timeout=20)


def test_maps_and_calls_signed_with_the_replicas_key_are_run(worker: Worker) -> None:
    assert list(tasks.double.map(range(100))) == [2 * x for x in range(100)]
    assert tasks.double.remote(4) == 8


@pytest.mark.parametrize("key", ["another key of some length", None])
def test_what_is_signed_otherwise_is_refused_and_says_what_to_set(
    worker: Worker, set_key: SetKey, key: str | None
) -> None:
    set_key(key)
    with pytest.raises(PoolError, match="ACTORQ_SIGNING_KEY"):
        list(tasks.double.map(range(10)))
    with pytest.raises(PoolError, match="ACTORQ_SIGNING_KEY"):
        tasks.double.remote(4)


def test_a_refused_lease_is_not_kept_as_one_that_was_signed(worker: Worker, set_key: SetKey, on_server: str) -> None:
    """Or `rq requeue` would run it."""
    set_key(None)
    with pytest.raises(PoolError):
        tasks.double.remote(4)
    with redis.Redis.from_url(on_server) as client:
        assert client.zcard("rq:failed:plain") == 0
