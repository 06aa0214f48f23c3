"""Orders of events that once went wrong, or nearly did."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import psutil
import pytest
import redis

from actorq import CodecError, DeclarationError, MapTimeoutError, PoolError, TaskTimeoutError
from actorq.broker import keys
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import tasks


def test_two_maps_cannot_share_an_id() -> None:
    first = tasks.wait.map([0.1] * 20, map_id="shared")
    next(first)
    with pytest.raises(DeclarationError, match="in use"):
        list(tasks.double.map([1, 2, 3], map_id="shared"))
    assert len(list(first)) == 19


def test_a_slow_iterator_delays_nobody() -> None:
    def slow() -> Iterator[int]:
        for x in range(4):
            time.sleep(1.2)  # longer than a heartbeat
            yield x

    outputs = tasks.double.map(slow())
    started = time.monotonic()
    assert next(outputs) == 0
    assert time.monotonic() - started < 2.2
    assert list(outputs) == [2, 4, 6]
    assert outputs.stats().recovered == 0


def test_an_iterator_that_blocks_can_be_left() -> None:
    release = threading.Event()

    def blocked() -> Iterator[int]:
        yield 1
        release.wait()

    with pytest.raises(MapTimeoutError):
        list(tasks.double.map(blocked(), timeout=0.5))
    outputs = tasks.double.map(blocked())
    assert next(outputs) == 2
    outputs.close()
    release.set()


def test_a_map_closed_by_another_thread_is_an_error_for_its_consumer() -> None:
    outputs = tasks.wait.map([0.0, 30.0])
    threading.Timer(0.3, outputs.close).start()
    with pytest.raises(PoolError, match="closed"):
        list(outputs)


def test_what_the_iterator_raises_reaches_the_consumer() -> None:
    def leaves() -> Iterator[int]:
        yield 1
        sys.exit("done")

    outputs = tasks.double.map(leaves())
    assert next(outputs) == 2
    with pytest.raises(SystemExit, match="done"):
        next(outputs)


def test_a_callback_that_exits_harms_no_other_future(tmp_path: Path) -> None:
    go_on = tmp_path / "go on"  # a callback of a future that is done already runs here
    first = tasks.until.submit(str(go_on))
    first.add_done_callback(lambda _: sys.exit("callback"))
    futures = [tasks.echo.submit(x) for x in range(4)]
    go_on.touch()
    assert first.result(timeout=10) == str(go_on)
    assert [future.result(timeout=10) for future in futures] == [0, 1, 2, 3]
    assert tasks.echo.submit(5).result(timeout=10) == 5


def test_what_a_caller_changes_after_submit_does_not_travel() -> None:
    values: list[list[object]] = [[x] for x in range(50)]
    futures = []
    for value in values:
        futures.append(tasks.echo.submit(value))
        value.append("later")
    assert [future.result(timeout=10) for future in futures] == [[x] for x in range(50)]


@pytest.mark.parametrize("what", ["surrogate", "base", "property", "stop", "stdout", "fork", "class"])
def test_a_task_cannot_take_its_executor_down_by_its_errors(what: str) -> None:
    outputs = tasks.misbehaves.map(range(300), kwargs={"what": what}, return_exceptions=True)
    values = list(outputs)
    assert [v for x, v in enumerate(values) if x != 150] == [x for x in range(300) if x != 150]
    if what not in ("stdout", "fork"):
        assert isinstance(values[150], Exception)
        assert "replicas died" not in str(values[150])
    assert outputs.stats().recovered == 0


def test_a_program_with_many_open_files_can_map() -> None:
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert tasks.double.map([1, 2]).results() == [2, 4]
        assert tasks.double.remote(3) == 6
    finally:
        for file in files:
            os.close(file)


def test_a_forked_child_does_not_keep_the_pool_alive(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import os, time
        from tests.support.code import tasks
        assert tasks.double.remote(1) == 2
        if os.fork() == 0:
            os.close(1), os.close(2)
            time.sleep(30)
            os._exit(0)
        """)
    )
    started = time.monotonic()
    subprocess.run([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=25)
    assert time.monotonic() - started < 20


def test_the_next_map_starts_a_new_pool_when_the_old_one_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import contextlib, sys
        import psutil
        from tests.support.code import tasks
        from actorq.runtime.program import runtime
        for name in ("actorq.replica.supervisor.local_pool", "actorq-server", "valkey-server"):
            assert tasks.double.map([1]).results() == [2]
            print(runtime().pools.client.url, file=sys.stderr)
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):  # those of one that was killed end meanwhile
                    if name in " ".join(process.cmdline()):
                        process.kill()
            psutil.wait_procs(psutil.Process().children(recursive=True), timeout=1)
        print(tasks.double.map([3]).results(), tasks.double.remote(4))
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=40,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[6] 8\n"
    folders = [urlparse(url).path.rpartition("/")[0] for url in done.stderr.split() if url.startswith("unix:")]
    assert len(folders) == 3
    assert eventually(lambda: not _orphaned_servers(folders))


REPLACED = """
    import psutil
    from actorq import ActorEnvironment
    from actorq.runtime.program import runtime

    env = ActorEnvironment("replaced", replica_count=2, lease_seconds=3600)  # who is handed a lost lease waits for ever

    @env.task
    def double(x: int) -> int:
        return 2 * x

    def hook() -> None: ...

    if __name__ == "__main__":
        print(double.remote(1), double.map([2]).results())

    {how}

    if __name__ == "__main__":
        print(double.map(range(20)).results() == list(range(0, 40, 2)), double.remote(3))
"""
HOOK = "env.on_start(hook)"
DOWN = """if __name__ == "__main__":
        env.down()"""
KILLED = """if __name__ == "__main__":
        pool = runtime().pools.local["replaced"]
        for process in psutil.Process(pool._process.pid).children(recursive=True) + [psutil.Process(pool._process.pid)]:
            process.kill()
        pool._process.wait()"""


@pytest.mark.parametrize("how", [HOOK, DOWN, KILLED], ids=["declared anew", "taken down", "killed"])
def test_replicas_of_a_pool_that_has_ended_are_handed_nothing(tmp_path: Path, how: str) -> None:
    script = tmp_path / "replaced.py"
    script.write_text(textwrap.dedent(REPLACED.format(how=how)))
    told = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], env=told, capture_output=True, text=True, check=False)
    assert done.stdout == "2 [4]\nTrue 6\n", done.stderr


def _orphaned_servers(folders: list[str]) -> list[psutil.Process]:
    """Embedded servers with one of these folders whose guard was killed and that nobody ended."""
    told = ["name", "ppid", "status", "cmdline"]
    servers = [p for p in psutil.process_iter(told) if p.info["name"] == "valkey-server"]
    orphans = [p for p in servers if p.info["ppid"] == 1 and p.info["status"] != psutil.STATUS_ZOMBIE]
    return [p for p in orphans if any(folder in " ".join(p.info["cmdline"]) for folder in folders)]


def test_a_cancelled_input_is_reset_too() -> None:
    from tests.support.code import isolated

    before = isolated.observe.remote(0)
    outputs = isolated.spoil_and_wait.map([0])
    time.sleep(0.5)
    outputs.close()
    assert isolated.observe.remote(0) == before


def test_a_timeout_ends_a_coroutine_for_good(tmp_path: Path) -> None:
    with pytest.raises(TaskTimeoutError):
        tasks.dawdles.remote(str(tmp_path / "woke"), 1.0)
    assert tasks.dawdles.remote(str(tmp_path / "other"), 0.0) == 0.0
    time.sleep(1.2)
    tasks.dawdles.remote(str(tmp_path / "other"), 0.0)
    assert not (tmp_path / "woke").exists()


def test_an_exit_status_of_its_own_does_not_look_like_recycling(tmp_path: Path) -> None:
    assert tasks.exits_once.remote(str(tmp_path / "flag"), 75) == 75


def test_one_bad_call_does_not_fail_the_others() -> None:
    good = [tasks.echo.submit(x) for x in range(5)]
    with pytest.raises(CodecError):
        tasks.echo.submit(object())
    with pytest.raises(TypeError, match="missing"):
        tasks.add.submit()  # type: ignore[call-arg]  # on purpose
    good += [tasks.echo.submit(x) for x in range(5)]
    assert [future.result(timeout=10) for future in good] == [*range(5), *range(5)]


def test_a_drain_in_the_middle_of_a_call_does_not_run_it_twice(on_server: str, tmp_path: Path) -> None:
    worker = Worker(on_server, replicas=1)
    worker.wait_ready(1)
    other: list[Worker] = []

    def drain() -> None:
        other.append(Worker(on_server, replicas=1))
        other[0].wait_ready(2)
        worker.process.send_signal(signal.SIGTERM)

    thread = threading.Thread(target=drain)
    thread.start()
    assert tasks.notes.remote(str(tmp_path / "runs"), 4.0) == "x"
    thread.join()
    assert (tmp_path / "runs").read_text() == "x"
    worker.stop()
    other[0].stop()


def test_a_replica_that_left_for_good_is_not_registered(worker: Worker) -> None:
    import redis
    from rq.command import send_shutdown_command
    from rq.worker import Worker as StockWorker

    with redis.Redis.from_url(worker.url) as client:
        send_shutdown_command(client, StockWorker.all(connection=client)[0].name)
        assert eventually(lambda: len(StockWorker.all(connection=client)) == 1, timeout=30)


def test_a_replica_is_replaced_after_so_many_inputs() -> None:
    pids = list(tasks.short_lived_pid.map(range(30)))
    assert len(set(pids)) >= 3
    assert len(pids) == 30


def test_spawned_replicas_serve_like_forked_ones() -> None:
    assert list(tasks.spawned_double.map(range(20))) == [2 * x for x in range(20)]


def test_large_values_travel_whole() -> None:
    values = [os.urandom(n) for n in (10, 40_000, 3_000_000, 1, 100_000)]
    assert list(tasks.echo.map(values)) == values
    assert tasks.echo.remote(values[2]) == values[2]


def test_awaiting_outputs_can_be_given_up() -> None:
    async def main() -> None:
        outputs = tasks.wait.map.aio([0.0, 30.0])
        assert await anext(outputs) == 0.0
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(outputs), 0.3)

    asyncio.run(main())


def test_ctrl_c_reaches_a_script_whose_iterator_blocks(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import queue
        from tests.support.code import tasks
        def blocked():
            yield 1
            queue.Queue().get()
        for y in tasks.double.map(blocked()):
            print(y, flush=True)
        """)
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "2\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in err


def test_an_input_of_a_map_that_the_server_has_forgotten_for_a_moment_runs_again(worker: Worker) -> None:
    handle = tasks.wait.map([0.0, 4.0, 4.0], map_id="forgotten")
    outputs = iter(handle)
    assert next(outputs) == 0.0
    forgotten = threading.Event()

    def forget() -> None:
        with redis.Redis.from_url(worker.url) as server:
            while not forgotten.wait(0.02):  # until a renewal has seen it, which comes every second
                server.delete(keys.map_("forgotten"))

    strike = threading.Thread(target=forget)
    strike.start()
    time.sleep(2.0)
    forgotten.set()
    strike.join()
    assert list(outputs) == [4.0, 4.0]
    assert handle.stats().failed == 0
