"""A replica with a signing key runs what was signed with it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from actorq import CodecError, PoolError
from actorq.base.settings import settings
from actorq.broker import keys
from actorq.wire import codec
from actorq.wire.messages import Frame
from actorq.wire.seal import seal_results
from tests.conftest import Worker, eventually
from tests.support.code import tasks

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
    """By the replica's own words, or, where these are signed with a key that is not known here, by ours."""
    set_key(key)
    with pytest.raises((PoolError, CodecError), match="ACTORQ_SIGNING_KEY"):
        list(tasks.double.map(range(10)))
    with pytest.raises((PoolError, CodecError), match="ACTORQ_SIGNING_KEY"):
        tasks.double.remote(4)


def test_a_refused_lease_is_not_kept_as_one_that_was_signed(worker: Worker, set_key: SetKey, on_server: str) -> None:
    """Or `rq requeue` would run it."""
    set_key(None)
    with pytest.raises(PoolError):
        tasks.double.remote(4)
    with redis.Redis.from_url(on_server) as client:
        assert client.zcard("rq:failed:plain") == 0


# -- who can write to the server, and has no key -----------------------------------------------------------------------


@pytest.fixture
def suspended(worker: Worker) -> Iterator[redis.Redis]:
    """The server, whose replicas take nothing until `rq resume`."""
    with redis.Redis.from_url(worker.url) as client:
        client.set(keys.SUSPENDED, "1")
        yield client


def waiting(client: redis.Redis, map_id: str) -> list[bytes]:
    """Keys of the leases of a map that wait."""
    assert eventually(lambda: client.llen(keys.wait(map_id)) > 0)
    leases: Any = client.lrange(keys.wait(map_id), 0, -1)
    return [keys.job(lease.decode()).encode() for lease in leases]


def exchange(client: redis.Redis, a: bytes, b: bytes) -> None:
    """The payloads of two leases change places."""
    first, second = client.hget(a, "aq"), client.hget(b, "aq")
    client.hset(a, "aq", second)
    client.hset(b, "aq", first)


def test_leases_that_change_places_are_refused(suspended: redis.Redis) -> None:
    outputs = tasks.wait.map([0.0, 0.01])
    first, second = waiting(suspended, outputs.map_id)
    exchange(suspended, first, second)
    suspended.delete(keys.SUSPENDED)
    with pytest.raises(PoolError, match="not for this place"):
        list(outputs)


def test_a_lease_of_one_map_is_not_run_in_another(suspended: redis.Redis) -> None:
    one, other = tasks.wait.map([0.0]), tasks.wait.map([0.01])
    exchange(suspended, waiting(suspended, one.map_id)[0], waiting(suspended, other.map_id)[0])
    suspended.delete(keys.SUSPENDED)
    for outputs in (one, other):
        with pytest.raises(PoolError, match="not for this place"):
            list(outputs)


def test_outputs_that_somebody_invents_are_not_taken(suspended: redis.Redis) -> None:
    outputs = tasks.wait.map([0.0])
    [job] = waiting(suspended, outputs.map_id)
    forged = Frame(start=0, count=1, busy=0.0, replica="r", errors={}, outputs=codec.pack([666])).packed()
    lease = job.decode().removeprefix("rq:job:")
    suspended.xadd(keys.out(outputs.map_id), {"l": lease, "f": forged})
    assert eventually(lambda: outputs.stats().leases > 1)  # it runs elsewhere
    suspended.delete(keys.SUSPENDED)
    assert list(outputs) == [0.0]


def recorded(lease: str, value: object) -> bytes:
    """What a replica with the key sends as the output of one lease."""
    frame = Frame(start=0, count=1, busy=0.0, replica="r", errors={}, outputs=codec.pack([value]))
    return b"".join(seal_results(tasks.wait.environment.name, lease, (frame.packed(),)))


def test_results_of_another_lease_are_not_taken(suspended: redis.Redis) -> None:
    """Recorded where they were right, and told of an input that waits."""
    outputs = tasks.wait.map([0.0])
    [job] = waiting(suspended, outputs.map_id)
    lease = job.decode().removeprefix("rq:job:")
    suspended.xadd(keys.out(outputs.map_id), {"l": lease, "f": recorded(f"earlier-{lease}", 666)})
    assert eventually(lambda: outputs.stats().leases > 1)
    suspended.delete(keys.SUSPENDED)
    assert list(outputs) == [0.0]


def test_results_are_taken_for_the_lease_that_they_are_signed_for(suspended: redis.Redis) -> None:
    """As the two tests above mean: it is the place that was wrong, not the frame."""
    outputs = tasks.wait.map([0.0])
    [job] = waiting(suspended, outputs.map_id)
    lease = job.decode().removeprefix("rq:job:")
    suspended.xadd(keys.out(outputs.map_id), {"l": lease, "f": recorded(lease, 666)})
    assert list(outputs) == [666]


def test_results_of_replicas_without_a_key_are_refused_and_say_what_to_set(on_server: str, set_key: SetKey) -> None:
    keyless = Worker(on_server, replicas=1)
    keyless.wait_ready(1)
    set_key(KEY)
    with pytest.raises(CodecError, match="ACTORQ_SIGNING_KEY"):
        list(tasks.double.map([1]))
    with pytest.raises(CodecError, match="ACTORQ_SIGNING_KEY"):
        tasks.double.remote(1)
    keyless.stop()


def test_a_key_is_changed_without_a_pause(on_server: str, set_key: SetKey) -> None:
    new = "fedcba9876543210"
    set_key(f"{new}\n{KEY}")
    worker = Worker(on_server, replicas=1)
    worker.wait_ready(1)
    for mine in (f"{KEY}\n{new}", f"{new}\n{KEY}", new):
        set_key(mine)
        assert list(tasks.double.map([1, 2])) == [2, 4]
        assert tasks.double.remote(3) == 6
    worker.stop()
