"""A key of ours that somebody else has written to: it is named, with what it holds, and costs no more than its map."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from actorq import BrokerError
from actorq.broker import keys
from actorq.broker.kinds import kind_of
from actorq.broker.link import Link
from actorq.broker.refusals import WrongTypeError
from actorq.errors import ActorqError
from tests.conftest import Worker, eventually, pool_client
from tests.support.code import tasks


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    """Of the server of the pool, whose odd keys are removed in the end."""
    assert tasks.double.remote(1) == 2
    with pool_client() as client:
        yield client
        for pattern in ("aq:aside:*", "aq:*:odd", "aq:wait:odd"):
            for key in client.keys(pattern):
                client.delete(key)


def _each(made: str | tuple[str, ...]) -> tuple[str, ...]:
    return (made,) if isinstance(made, str) else made


def replace(client: redis.Redis, key: str | bytes) -> None:
    """Atomically, as `SET` of some other program."""
    client.set(key, "of somebody else")


def test_the_kind_of_every_key_is_known() -> None:
    makers = [make for name, make in vars(keys).items() if callable(make) and make.__module__ == keys.__name__]
    made = [made for make in makers if make not in (keys.prefix, keys.worker_ttl) for made in _each(make("x"))]
    assert all(kind_of(key) for key in [*made, keys.QUEUES, keys.WORKERS, keys.SUSPENDED, keys.WANTED])
    told = keys.__doc__ or ""
    for line in told.splitlines():
        name, _, rest = line.strip().partition(" ")
        if name.startswith(("aq:", "rq:")) and (kind := rest.split()[0].lower()).isalpha() and kind in rest.lower():
            assert kind_of(name.rstrip(",")) in (kind, None if kind == "aq" else kind), line


def test_a_command_that_meets_another_type_names_the_key_its_type_and_what_to_do(server: str) -> None:
    link = Link(server, patience=0.0)
    link.command("SET", keys.out("m"), "x")
    with pytest.raises(
        WrongTypeError, match=r"'aq:out:m' of map 'm' is of type string, and actorq keeps a stream there"
    ):
        link.command("XRANGE", keys.out("m"), "-", "+")
    with pytest.raises(BrokerError, match="Something else has written there: find out what, delete the key"):
        link.command("XRANGE", keys.out("m"), "-", "+")
    link.close()


def test_who_clears_moves_it_aside_and_loses_nothing_of_it(server: str) -> None:
    link = Link(server, patience=0.0, clears=True)
    link.command("SET", keys.wait("m"), "x")
    assert link.command("RPUSH", keys.wait("m"), "lease") == 1
    assert link.command("GET", "aq:aside:aq:wait:m") == b"x"
    link.command("SET", keys.out("m"), "x")
    with pytest.raises(WrongTypeError, match="aq:out:m"):  # results are not made anew
        link.command("XLEN", keys.out("m"))
    link.close()


@pytest.mark.parametrize("kind", ["map", "out"])
def test_a_map_whose_key_is_replaced_ends_with_the_key_and_its_replicas_serve_on(
    client: redis.Redis, kind: str
) -> None:
    handle = tasks.wait.map([0.05] * 200, map_id="odd")
    next(handle)
    replace(client, f"aq:{kind}:odd")
    with pytest.raises(WrongTypeError, match=rf"'aq:{kind}:odd' of map 'odd' is of type string"):
        list(handle)
    client.delete(f"aq:{kind}:odd")
    assert list(tasks.double.map(range(100))) == [2 * x for x in range(100)]


def test_a_map_whose_leases_wait_in_a_key_that_is_replaced_loses_nothing_in_silence(client: redis.Redis) -> None:
    handle = tasks.wait.map([0.05] * 60, map_id="odd")
    next(handle)
    assert eventually(lambda: client.exists(keys.wait("odd")))
    replace(client, keys.wait("odd"))
    with contextlib.suppress(WrongTypeError):  # whoever is first: a replica moves it aside
        assert list(handle) == [0.05] * 59
    client.delete(keys.wait("odd"))
    assert list(tasks.double.map(range(100))) == [2 * x for x in range(100)]


def test_a_call_whose_key_is_replaced_fails_with_the_key(client: redis.Redis, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(tasks.until.remote, str(tmp_path / "go"))

        def lanes() -> list[str]:  # that wait: inputs of other calls that failed are jobs, too
            jobs = client.keys("rq:job:call-*")
            return [redis.utils.str_if_bytes(lane) for job in jobs if (lane := client.hget(job, "aq_map"))]

        assert eventually(lanes)
        lane = lanes()[0]
        replace(client, keys.out(lane))
        with pytest.raises(WrongTypeError, match=f"'aq:out:{lane}' of map '{lane}' is of type string"):
            call.result(20)
        client.delete(keys.out(lane))
        (tmp_path / "go").touch()
    assert tasks.double.remote(2) == 4


@pytest.mark.parametrize(
    "key", ["rq:queue:plain", "aq:idle:plain", "aq:turns:plain", "rq:wip:plain", "rq:workers:plain"]
)
def test_a_worker_moves_what_is_in_its_way_aside_says_so_and_serves_on(worker: Worker, key: str) -> None:
    worker.wait_ready()
    assert tasks.double.remote(1) == 2
    with redis.Redis.from_url(worker.url) as client:
        replace(client, key)
        assert eventually(lambda: client.exists(f"aq:aside:{key}"))
        assert client.get(f"aq:aside:{key}") == b"of somebody else"
        client.delete(f"aq:aside:{key}")
        assert eventually(_works)
        assert list(tasks.double.map(range(100))) == [2 * x for x in range(100)]
    status, events = worker.stop()
    assert status == 0
    assert {event["key"] for event in events if event["event"] == "key_moved"} == {key}


def _works() -> bool:
    try:
        return bool(tasks.double.remote(1) == 2)
    except BrokerError:
        time.sleep(0.1)
        return False


def test_a_worker_renews_its_leases_beside_one_whose_record_is_replaced(worker: Worker) -> None:
    worker.wait_ready()
    handle = tasks.wait.map([0.0, 4.0, 4.0])  # of two leases' length
    with redis.Redis.from_url(worker.url) as client:
        next(handle)
        assert eventually(lambda: len(client.zrange("rq:wip:plain", 0, -1)) == 2)
        lease = client.zrange("rq:wip:plain", 0, -1)[0].rpartition(b":")[0]
        replace(client, b"rq:job:" + lease)
        with contextlib.suppress(WrongTypeError):
            assert list(handle) == [4.0, 4.0]
        assert tasks.double.remote(2) == 4
        for key in client.keys("aq:aside:*"):
            client.delete(key)


@pytest.mark.parametrize("kind", ["in", "out", "map", "run"])
def test_a_run_whose_key_is_replaced_ends_with_the_key_and_others_go_on(client: redis.Redis, kind: str) -> None:
    run = tasks.wait.spawn_map([0.05] * 100, map_id="odd")
    outputs = iter(run)
    next(outputs)
    replace(client, f"aq:{kind}:odd")
    outcome: Any = None
    try:
        outcome = list(outputs)
    except ActorqError as error:
        outcome = error
    told = f"'aq:{kind}:odd' of map 'odd' is of type string"
    assert told in str(outcome) or outcome == [0.05] * 99
    other = tasks.double.spawn_map(range(50), map_id="even")
    assert list(other) == [2 * x for x in range(50)]
    other.delete()
    client.delete(f"aq:{kind}:odd")
    with contextlib.suppress(Exception):
        run.delete()
    client.delete(*(f"aq:{each}:odd" for each in ("in", "out", "map", "run", "sums", "lead")))
    client.zrem("aq:runs:plain", "odd")
