"""Connections that go silent, without a word of their end: noticed on both sides, and nothing runs again for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
from rq.command import send_shutdown_command

from actorq.base.settings import settings
from actorq.runtime.program import shutdown
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import tasks
from tests.support.silent_proxy import Connection, Proxy, proxy_of


def reads(connection: Connection) -> bool:
    """Results are read on it."""
    return b"XREAD" in connection.sent


def is_idle_supervisors(connection: Connection) -> bool:
    """Leases are renewed on it, or RQ's records are written: neither a mailbox nor commands are waited for."""
    return b"BLPOP" not in connection.sent and b"SUBSCRIBE" not in connection.sent


@pytest.fixture
def proxy(on_server: str) -> Iterator[Proxy]:
    with proxy_of(on_server) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(shared_worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """This program reaches its server, which a worker of two replicas serves, through the proxy."""
    with proxy_of(shared_worker.url) as proxy:
        monkeypatch.setenv("ACTORQ_REDIS_URL", proxy.url)
        monkeypatch.setenv("ACTORQ_BROKER_TIMEOUT", "4")  # a reply is waited for half as long
        settings.cache_clear()
        yield proxy
        shutdown()


def by_map(log: Path, count: int) -> Iterator[int]:
    return tasks.note.starmap([(str(log), i) for i in range(count)])


def by_futures(log: Path, count: int) -> Iterator[int]:
    futures = [tasks.note.submit(str(log), i) for i in range(count)]
    return (future.result() for future in futures)


def by_calls(log: Path, count: int) -> Iterator[int]:
    return (tasks.note.remote(str(log), i) for i in range(count))


@pytest.mark.parametrize("start", [by_map, by_futures, by_calls])
@pytest.mark.parametrize("which", [reads, lambda connection: True], ids=["reader", "all"])
def test_a_submitter_whose_connections_go_silent_goes_on(
    start: Callable[[Path, int], Iterator[int]],
    which: Callable[[Connection], bool],
    through_proxy: Proxy,
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    outputs = start(log, 30)
    assert next(outputs) == 0
    assert through_proxy.silence(which)
    assert sorted(outputs) == list(range(1, 30))
    ran = log.read_text().split()
    assert max(ran.count(each) for each in ran) <= 2


def test_results_of_a_worker_whose_connections_go_silent_arrive(proxy: Proxy) -> None:
    worker = Worker(proxy.url)
    try:
        worker.wait_ready()
        outputs = tasks.wait.map([0.05] * 40)
        next(outputs)
        assert proxy.silence()
        assert list(outputs) == [0.05] * 39
        assert not outputs.failures
    finally:
        worker.stop()


def test_a_worker_whose_connections_went_silent_obeys_rq_again(proxy: Proxy) -> None:
    worker = Worker(proxy.url)
    worker.wait_ready()
    with redis.Redis.from_url(os.environ["ACTORQ_REDIS_URL"]) as client:
        names = [each.decode().removeprefix("rq:worker:") for each in client.smembers("rq:workers:plain")]
        channel = f"rq:pubsub:{names[0]}"
        dead = client.pubsub_numsub(channel)[0][1]
        assert proxy.silence()
        assert eventually(lambda: client.pubsub_numsub(channel)[0][1] > dead)
        for name in names:
            send_shutdown_command(client, name)
        assert worker.process.wait(timeout=15) == 0
    worker.stop()


def test_an_input_whose_supervisor_is_cut_off_for_a_while_runs_once(proxy: Proxy, tmp_path: Path) -> None:
    """The lease is of 2 s; one renewal in three must come through, and that over a connection that is dead."""
    worker = Worker(proxy.url)
    try:
        worker.wait_ready()
        gate = tmp_path / "gate"
        outputs = tasks.until.map([str(gate)])
        with redis.Redis.from_url(os.environ["ACTORQ_REDIS_URL"]) as client:
            assert eventually(lambda: client.zcard("rq:wip:plain") == 1)
            [(_, lapses)] = client.zrange("rq:wip:plain", 0, -1, withscores=True)
            for _ in range(2):
                assert proxy.silence(is_idle_supervisors)
                # renewed until well beyond the time at which the lease would have lapsed
                assert eventually(partial(_lapses_after, client, lapses + 2))
                lapses += 2
        gate.touch()
        assert list(outputs) == [str(gate)]
        assert outputs.stats().recovered == 0
    finally:
        worker.stop()


def _lapses_after(client: redis.Redis, when: float) -> bool:
    """Whether the one lease that runs lapses later than that."""
    return client.zcount("rq:wip:plain", when, "+inf") == 1


@pytest.mark.parametrize("impatient", [False, True], ids=["once", "twice"])
def test_ctrl_c_ends_a_program_whose_server_hangs(worker: Worker, tmp_path: Path, impatient: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tests.support.code import tasks\n"
        "for output in tasks.wait.map([0.02] * 10_000):\n    print(output, flush=True)"
    )
    program = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    program.stdout.readline()
    with redis.Redis.from_url(worker.url) as client:
        server = int(client.info("server")["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        program.send_signal(signal.SIGINT)
        if impatient:
            with pytest.raises(subprocess.TimeoutExpired):
                program.wait(timeout=0.3)
            program.send_signal(signal.SIGINT)
        program.communicate(timeout=8)  # a reply is waited for 10 s, and an outage borne for 60
        worker.process.terminate()
        worker.process.communicate(timeout=8)
    finally:
        os.kill(server, signal.SIGCONT)
        program.kill()
