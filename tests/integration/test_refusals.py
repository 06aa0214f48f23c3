"""A server that refuses for a while, with what passes by itself: nothing ends for it, and nothing is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from tests.conftest import Worker, eventually
from tests.support.code import tasks

#: a script that runs until it is killed
ENDLESS = "while true do end"


def refused(server: redis.Redis, code: str) -> int:
    """How often the server has answered so."""
    row = server.info("errorstats").get(f"errorstat_{code}", {"count": 0})
    return int(row["count"])


@contextlib.contextmanager
def busy(server: redis.Redis) -> Iterator[str]:
    """A script keeps the server from all else."""
    server.config_set("busy-reply-threshold", 1)

    def run() -> None:
        with contextlib.suppress(redis.ResponseError), redis.Redis.from_url(_url(server)) as client:
            client.eval(ENDLESS, 0)

    script = threading.Thread(target=run)
    script.start()
    yield "BUSY"
    server.script_kill()
    script.join()
    server.config_set("busy-reply-threshold", 5000)


def _url(server: redis.Redis) -> str:
    return f"unix://{server.connection_pool.connection_kwargs['path']}"


@contextlib.contextmanager
def out_of_sync(server: redis.Redis) -> Iterator[str]:
    """It wants a replica before it takes a write."""
    server.config_set("min-replicas-to-write", 1)
    yield "NOREPLICAS"
    server.config_set("min-replicas-to-write", 0)


@contextlib.contextmanager
def disk_full(server: redis.Redis) -> Iterator[str]:
    """It cannot save, since a folder is where its file should be."""
    file = Path(str(server.config_get("dir")["dir"]), "dump.rdb")
    file.mkdir(exist_ok=True)
    (file / "x").touch()
    server.config_set("save", "3600 1")
    server.bgsave()
    assert eventually(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err")
    yield "MISCONF"
    server.config_set("save", "")  # a save that fails is no matter then


@contextlib.contextmanager
def full(server: redis.Redis) -> Iterator[str]:
    """It takes nothing that needs memory."""
    server.config_set("maxmemory", 1)
    yield "OOM"
    server.config_set("maxmemory", 0)


def by_map(count: int) -> Iterator[float]:
    return tasks.wait.map([0.01] * count)


def by_calls(count: int) -> Iterator[float]:
    return (tasks.wait.remote(0.01) for _ in range(count))


def by_futures(count: int) -> Iterator[float]:
    return (future.result() for future in [tasks.wait.submit(0.01) for _ in range(count)])


Trouble = Callable[[redis.Redis], "contextlib.AbstractContextManager[str]"]


@pytest.mark.parametrize("start", [by_map, by_calls, by_futures])
@pytest.mark.parametrize("trouble", [busy, out_of_sync, disk_full, full])
def test_what_passes_ends_nothing(
    start: Callable[[int], Iterator[float]], trouble: Trouble, shared_worker: Worker
) -> None:
    outputs = start(200)
    assert next(outputs) == 0.01
    with redis.Redis.from_url(shared_worker.url) as server, ThreadPoolExecutor() as threads:
        with trouble(server) as code:
            rest = threads.submit(list, outputs)
            if code == "BUSY":
                assert eventually(lambda: not _answers(server))
                with pytest.raises(TimeoutError):
                    rest.result(timeout=0.5)  # long enough for replicas to be refused, which cannot be asked for
            else:
                assert eventually(lambda: refused(server, code) > 3)
        assert rest.result() == [0.01] * 199
        if code == "BUSY":
            assert refused(server, code) > 1  # it was asked once by this test
        assert eventually(lambda: not server.keys("rq:job:*"))


def _answers(server: redis.Redis) -> bool:
    try:
        server.ping()
    except redis.ResponseError:
        return False
    return True


def test_a_program_and_a_worker_that_start_while_a_server_is_busy_wait_for_it(on_server: str) -> None:
    with redis.Redis.from_url(on_server) as server, ThreadPoolExecutor() as threads:
        with busy(server):
            assert eventually(lambda: not _answers(server))
            worker = Worker(on_server)
            output = threads.submit(tasks.double.remote, 2)
            with pytest.raises(TimeoutError):
                output.result(timeout=1.0)
        assert output.result(timeout=20) == 4
    worker.stop()


def test_a_server_that_keeps_forgetting_its_scripts_is_told_them_again(shared_worker: Worker) -> None:
    outputs = tasks.wait.map([0.01] * 100)
    with redis.Redis.from_url(shared_worker.url) as server:
        for output in outputs:
            assert output == 0.01
            server.script_flush()
