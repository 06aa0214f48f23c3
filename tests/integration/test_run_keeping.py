"""What the server holds of runs, for how long, and how several of them share a worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from actorq.broker import keys, run_records
from actorq.broker.client import Client
from actorq.broker.link import Link
from actorq.runs.handle import Run
from tests.conftest import Worker, eventually, run_script
from tests.support.code import tasks

#: bytes of an input
_SIZE = 1000


@pytest.fixture
def client(server: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server) as found:
        yield found


def held(client: redis.Redis, run_id: str) -> int:
    """Bytes that the server holds of a run."""
    return sum(int(client.memory_usage(key, samples=0) or 0) for key in client.keys(f"*{run_id}*"))


def test_the_server_holds_little_more_than_inputs_and_outputs(on_server: str, client: redis.Redis) -> None:
    count = 3000
    run = tasks.echo.spawn_map((os.urandom(_SIZE) for _ in range(count)), map_id="weighed")
    waiting = held(client, "weighed")
    assert count * _SIZE < waiting < 1.3 * count * _SIZE
    worker = Worker(on_server)
    assert run.wait(timeout=60) == "done"
    done = held(client, "weighed")  # outputs, and no inputs
    assert count * _SIZE < done < 1.3 * count * _SIZE
    assert not client.exists(keys.run_inputs("weighed"))
    run.delete()
    worker.stop()


def test_every_key_of_a_run_that_has_ended_has_an_end(on_server: str, client: redis.Redis) -> None:
    worker = Worker(on_server)
    worker.wait_ready()
    done = tasks.echo.spawn_map([os.urandom(100_000)] * 3 + [1], map_id="ended-done", result_ttl=500)
    failed = tasks.fails_at.spawn_map(range(50), map_id="ended-failed", result_ttl=500)
    cancelled = tasks.wait.spawn_map([0.05] * 1000, map_id="ended-cancelled", result_ttl=500)
    cancelled.cancel()
    assert (done.wait(timeout=60), failed.wait(timeout=60)) == ("done", "failed")
    for name in ("ended-done", "ended-failed", "ended-cancelled"):
        assert eventually(lambda name=name: not client.exists(keys.map_(name), keys.lead(name)))
        lasting = {key: client.ttl(key) for key in client.keys(f"*{name}*")}
        assert lasting
        names = {str(key): ttl for key, ttl in lasting.items()}
        ours = [ttl for key, ttl in names.items() if "aq:" in key[:6] and "blob" not in key]
        assert ours
        assert all(0 < ttl <= 500 for ttl in ours), lasting
        assert all(ttl > 0 for ttl in lasting.values()), lasting  # RQ's records of failures: a day
    assert 0 < client.ttl(keys.ended("plain")) <= 500
    worker.stop()


SCRIPT = """
    from tests.support.code import tasks

    for at in range(10):
        tasks.wait.spawn_map([0.004] * 150, map_id=f"shared-{at}")
"""


def test_ten_runs_share_one_worker(on_server: str, tmp_path: Path) -> None:
    """Their script is gone; whichever ends first, all have come far by then."""

    assert run_script(tmp_path, SCRIPT, ACTORQ_REDIS_URL=on_server) == ""
    worker = Worker(on_server, replicas=1)
    link, client = Link(on_server, patience=5.0), Client(on_server, 5.0)
    names = [f"shared-{at}" for at in range(10)]

    def done(name: str) -> int:
        return Run[float](client, name).stats().succeeded

    assert eventually(lambda: any(done(name) > 100 for name in names), timeout=60)
    least = min(done(name) for name in names)
    assert least > 20
    for name in names:
        run: Run[float] = Run(client, name)
        assert run.wait(timeout=60) == "done"
        run.delete()
    assert run_records.open_runs(link, "plain") == []
    client.close()
    link.close()
    worker.stop()
