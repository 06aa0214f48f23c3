"""Runs: maps that outlive the script that started them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

import actorq
from actorq import CodecError, DeclarationError, MapConflictError, MapTimeoutError, PoolError
from actorq.base.settings import settings
from actorq.broker import keys
from actorq.runs.handle import Run
from tests.conftest import ROOT, Worker, drivers, eventually, pool_client
from tests.support.code import tasks

Spawn = Callable[..., Run[Any]]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts runs, which are deleted in the end."""
    started: list[Run[Any]] = []

    def begin(task: Any, *iterables: Any, **options: Any) -> Run[Any]:
        started.append(task.spawn_map(*iterables, **options))
        return started[-1]

    yield begin
    for run in {run.map_id: run for run in started}.values():
        run.delete()


# -- outputs -----------------------------------------------------------------------------------------------------------


def test_outputs_are_there_as_often_as_they_are_asked_for(spawn: Spawn) -> None:
    run = spawn(tasks.double, range(20_000))
    expected = [2 * x for x in range(20_000)]
    assert run.results() == expected
    assert run.wait(timeout=30) == "done"
    assert list(actorq.attach(run.map_id)) == expected
    assert list(run.outputs(start=19_990)) == expected[19_990:]
    assert sorted(run.outputs(ordered=False)) == expected
    assert (run.stats().succeeded, run.stats().total) == (20_000, 20_000)


def test_several_readers_follow_a_run_at_their_own_pace(spawn: Spawn) -> None:
    run = spawn(tasks.wait, [0.002] * 300)
    first, second = iter(run), iter(actorq.attach(run.map_id))
    ahead = [next(first) for _ in range(200)]
    assert [next(second) for _ in range(10)] == ahead[:10]
    assert len([*first]) == 100
    assert len([*second]) == 290


def test_large_outputs_stay_for_every_reader(spawn: Spawn) -> None:
    run = spawn(tasks.echo, [np.full(50_000, n) for n in range(4)])
    for _ in range(2):
        assert [int(array[0]) for array in run] == [0, 1, 2, 3]


def test_the_first_failure_is_raised_at_its_place_and_ends_the_run(spawn: Spawn) -> None:
    run = spawn(tasks.fails_at, range(10))
    outputs = iter(run)
    assert [next(outputs) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no 3"):
        next(outputs)
    assert run.wait(timeout=30) == "failed"
    assert [type(error) for error in run.failures] == [ValueError]


def test_failures_are_tolerated_as_in_a_map(spawn: Spawn) -> None:
    run = spawn(tasks.fails_at, range(5), return_exceptions=True)
    assert [type(output) for output in run] == [int, int, int, ValueError, int]
    assert run.wait(timeout=30) == "done"
    with pytest.raises(actorq.MapFailedError, match="1 inputs failed; max_failures=0"):
        spawn(tasks.fails_at, range(5), max_failures=0).results()


@pytest.mark.parametrize("inputs", [range(30_000), list(range(30_000))], ids=["range", "list"])
def test_inputs_that_failed_or_killed_their_replica_are_tried_again(
    spawn: Spawn, tmp_path: Path, inputs: Sequence[int]
) -> None:
    assert spawn(tasks.flaky, [str(tmp_path / "tries")]).results() == [2]
    flag = str(tmp_path / "died")
    assert spawn(tasks.dies_once, inputs, kwargs={"flag": flag}).results() == list(range(30_000))


# -- once more ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerant", [True, False])
def test_what_failed_runs_again_within_the_same_run(spawn: Spawn, tmp_path: Path, tolerant: bool) -> None:
    flag, count = tmp_path / "flag", 12_000
    run = spawn(tasks.needs, [str(flag)] * count, range(count), return_exceptions=tolerant)
    assert run.wait(timeout=60) == ("done" if tolerant else "failed")
    failed = run.stats().failed
    assert failed == 1200 if tolerant else failed >= 1
    run.retry_failed()  # in vain
    run.wait(timeout=60)
    assert run.stats().failed == 1200 if tolerant else run.stats().failed >= 1
    flag.touch()
    run.retry_failed()
    assert run.wait(timeout=60) == "done"
    assert run.results() == list(range(count))
    assert (run.stats().failed, run.failures, run.stats().succeeded) == (0, (), count)
    with pool_client() as client:
        assert not client.exists(keys.run_failed(run.map_id))


def test_a_run_that_runs_or_was_cancelled_is_not_tried_again(spawn: Spawn) -> None:
    run = spawn(tasks.wait, [0.01] * 10_000)
    with pytest.raises(PoolError, match="has not ended: what fails can be tried again when it has"):
        run.retry_failed()
    run.cancel()
    with pytest.raises(PoolError, match="was cancelled, and its inputs are gone"):
        run.retry_failed()


def test_outputs_can_be_awaited(spawn: Spawn) -> None:
    async def both() -> list[list[int]]:
        run = spawn(tasks.double, range(3000))
        return [[value async for value in run.aio(start=start)] for start in (0, 2990)]

    assert asyncio.run(both()) == [[2 * x for x in range(3000)], [2 * x for x in range(2990, 3000)]]


# -- starting ----------------------------------------------------------------------------------------------------------


def test_the_same_script_run_again_finds_its_run(spawn: Spawn) -> None:
    run = spawn(tasks.double, range(3000), map_id="again")
    run.wait(timeout=30)
    again = spawn(tasks.double, range(3000), map_id="again")
    assert again.results() == run.results()
    assert run.stats().submitted == 3000  # nothing ran twice


def test_inputs_are_the_same_whatever_holds_them(spawn: Spawn) -> None:
    """A range is stored as one; what is compared are its numbers."""
    run = spawn(tasks.double, range(25_000))
    assert tasks.double.spawn_map(list(range(25_000)), map_id=run.map_id).map_id == run.map_id
    other = spawn(tasks.double, list(range(25_000)))
    assert tasks.double.spawn_map(iter(range(25_000)), map_id=other.map_id).map_id == other.map_id
    assert tasks.double.spawn_map(range(25_000), map_id=other.map_id).map_id == other.map_id
    assert run.results() == other.results() == list(range(0, 50_000, 2))
    with pytest.raises(MapConflictError, match="at input 24999"):
        tasks.double.spawn_map([*range(24_999), 0], map_id=run.map_id)


def test_other_inputs_or_another_task_are_a_conflict_that_names_the_first(spawn: Spawn) -> None:
    spawn(tasks.double, range(3000), map_id="conflict").wait(timeout=30)
    with pytest.raises(MapConflictError, match="at input 1234 the run that is there has another input"):
        tasks.double.spawn_map([*range(1234), -1, *range(1235, 3000)], map_id="conflict")
    with pytest.raises(MapConflictError, match="has no more inputs"):
        tasks.double.spawn_map(range(3001), map_id="conflict")
    with pytest.raises(MapConflictError, match="at input 2999 the run that is there has more inputs"):
        tasks.double.spawn_map(range(2999), map_id="conflict")
    with pytest.raises(MapConflictError, match="another task"):
        tasks.echo.spawn_map(range(3000), map_id="conflict")
    spawn(tasks.add, range(3), map_id="constants", kwargs={"c": 1}).wait(timeout=30)
    with pytest.raises(MapConflictError, match="other constants"):
        tasks.add.spawn_map(range(3), map_id="constants", kwargs={"c": 2})


def test_an_upload_that_was_cut_is_continued(spawn: Spawn) -> None:
    def cut() -> Iterator[int]:
        yield from range(15_000)
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        tasks.double.spawn_map(cut(), map_id="cut")
    assert spawn(tasks.double, range(25_000), map_id="cut").results() == [2 * x for x in range(25_000)]


def test_a_run_that_fails_early_still_takes_its_inputs(spawn: Spawn, tmp_path: Path) -> None:
    """Its replicas work while they are stored, and its first failure ends it: the rest may be wanted later."""
    flag = tmp_path / "flag"

    def slowly() -> Iterator[int]:
        yield from range(11)
        assert eventually(lambda: actorq.attach("early").state == "failed")
        yield from range(11, 100)

    run = spawn(tasks.needs, [str(flag)] * 100, slowly(), map_id="early")
    assert run.state == "failed"
    flag.touch()
    run.retry_failed()
    assert run.wait(timeout=60) == "done"
    assert run.results() == list(range(100))


def test_an_input_that_cannot_be_carried_is_named(spawn: Spawn) -> None:
    run = spawn(tasks.echo, [], map_id="odd")
    assert run.results() == []
    with pytest.raises(CodecError, match=r"Input 1 of tests\.support\.code\.tasks\.echo"):
        tasks.echo.spawn_map([1, object()], map_id="odd2")
    actorq.attach("odd2").delete()


def test_what_runs_do_not_know_is_refused() -> None:
    with pytest.raises(DeclarationError, match="no worker that could drive a run"):
        tasks.fresh.spawn_map([1])
    with pytest.raises(TypeError, match="max_outstanding"):
        tasks.double.spawn_map([1], max_outstanding=3)  # type: ignore[call-arg]  # on purpose
    with pytest.raises(PoolError, match="There is no run 'nothing'"):
        actorq.attach("nothing")


# -- ending ------------------------------------------------------------------------------------------------------------


def test_a_run_that_is_cancelled_stops_and_keeps_what_it_has(spawn: Spawn) -> None:
    run = spawn(tasks.wait, [0.01] * 10_000)
    outputs = iter(run)
    next(outputs)
    run.cancel()
    assert run.state == "cancelled"
    with pytest.raises(PoolError, match="was cancelled"):
        list(outputs)
    assert tasks.double.remote(4) == 8  # the replicas are free


def test_waiting_for_a_run_has_an_end(spawn: Spawn) -> None:
    run = spawn(tasks.wait, [0.01] * 10_000)
    with pytest.raises(MapTimeoutError, match="it goes on"):
        run.wait(timeout=0.05)
    assert run.state == "running"


def test_nothing_stays_of_a_run_that_is_deleted() -> None:
    run = tasks.double.spawn_map(range(100), map_id="deleted")
    run.results()
    run.delete()
    from actorq.runtime.program import runtime

    client = runtime().pools.client
    assert client is not None
    with redis.Redis.from_url(client.url) as server:
        assert eventually(lambda: not [key for key in server.keys("*") if b"deleted" in key])


# -- whoever goes ------------------------------------------------------------------------------------------------------

LEAVES = """
    import sys, time
    from tests.support.code import tasks

    run = tasks.note.spawn_map([sys.argv[1]] * 300, range(300), map_id="left")
    print("stored", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def left(on_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Worker, Path]]:
    """A worker, and a run whose script is gone; and the notes of what ran."""
    worker = Worker(on_server, replicas=2)
    worker.wait_ready(2)
    script, log = tmp_path / "leaves.py", tmp_path / "log"
    script.write_text(textwrap.dedent(LEAVES))
    told = {**os.environ, "PYTHONPATH": str(ROOT), "ACTORQ_REDIS_URL": on_server}
    process = subprocess.Popen([sys.executable, str(script), str(log)], env=told, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "stored\n"
    assert eventually(lambda: log.exists() and len(log.read_text().split()) > 20)
    process.kill()
    process.communicate()
    yield worker, log
    actorq.attach("left").delete()
    worker.process.terminate()
    worker.process.communicate(timeout=30)


def test_a_run_goes_on_without_its_script(left: tuple[Worker, Path]) -> None:
    _, log = left
    run = actorq.attach("left")
    assert run.results() == list(range(300))
    assert run.wait(timeout=60) == "done"
    ran = [int(number) for number in log.read_text().split()]
    assert sorted(set(ran)) == list(range(300))
    assert len(ran) == 300  # the leases of the driver that is gone were taken over, not run again


def test_a_run_goes_on_when_its_driver_is_killed(left: tuple[Worker, Path]) -> None:
    worker, _ = left
    run = actorq.attach("left")
    for _ in range(2):
        assert eventually(lambda: bool(drivers(worker)), timeout=60)
        for process in drivers(worker):
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=30)
    assert run.results() == list(range(300))


def test_a_plan_that_is_not_signed_is_not_driven(on_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with redis.Redis.from_url(on_server) as server:
        server.hset(keys.run("forged"), mapping={"plan": b"x", "env": "plain", "state": "running", "count": 0})
        server.zadd(keys.runs("plain"), {"forged": 1e12})
        monkeypatch.setenv("ACTORQ_SIGNING_KEY", "0123456789abcdef")
        settings.cache_clear()
        worker = Worker(on_server, replicas=1)
        worker.wait_ready(1)
        with pytest.raises(PoolError, match="is not signed with the key"):
            actorq.attach("forged").results()
        run = tasks.double.spawn_map(range(100), map_id="signed")
        assert run.results() == [2 * x for x in range(100)]
        run.delete()
        worker.process.terminate()
        worker.process.communicate(timeout=30)
        server.delete(keys.run("forged"), keys.runs("plain"))


def test_a_driver_that_takes_over_late_goes_on_drawing(on_server: str) -> None:
    """However much has a result already: what others read later must not hold it back."""
    worker = Worker(on_server, replicas=1)
    worker.wait_ready(1)
    run = tasks.wait.spawn_map([0.003] * 1500, map_id="late")
    from actorq.runtime.program import runtime

    assert eventually(lambda: run.stats().succeeded > 800, timeout=60)
    for driver in list(runtime()._drivers.values()):
        driver.stop()
    assert run.wait(timeout=60) == "done"
    assert run.stats().succeeded == 1500
    run.delete()
    worker.stop()


# -- a program's own server --------------------------------------------------------------------------------------------

LAPTOP = """
    import sys
    from actorq import ActorEnvironment

    env = ActorEnvironment("laptop", replica_count=2, isolation="none")

    @env.task
    def work(log: str, x: int) -> int:
        import time
        with open(log, "a") as file:
            file.write(f"{x} ")
        time.sleep(0.01)
        return 2 * x

    if __name__ == "__main__":
        for position, output in enumerate(work.spawn_map([sys.argv[1]] * 300, range(300), map_id="laptop")):
            print(output, flush=True)
"""


def test_a_script_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    script, log = tmp_path / "laptop.py", tmp_path / "log"
    script.write_text(textwrap.dedent(LAPTOP))
    told = {**os.environ, "PYTHONPATH": str(ROOT), "ACTORQ_STATE_DIR": str(tmp_path / "state")}
    arguments = [sys.executable, str(script), str(log)]
    with subprocess.Popen(arguments, env=told, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert [int(first.stdout.readline()) for _ in range(50)] == list(range(0, 100, 2))
        first.kill()
    done = subprocess.run(arguments, env=told, capture_output=True, text=True, check=False)
    assert [int(line) for line in done.stdout.split()] == list(range(0, 600, 2)), done.stderr
    ran = [int(number) for number in log.read_text().split()]
    assert set(ran) == set(range(300))
    assert len(ran) < 310  # those that ran when it was killed run again


def test_two_programs_cannot_share_a_folder_of_state(tmp_path: Path) -> None:
    from actorq import BrokerError
    from actorq.runtime.embedded import EmbeddedServer

    server = EmbeddedServer(tmp_path)
    server.wait_ready()
    with pytest.raises(BrokerError, match="Another program uses the server in ACTORQ_STATE_DIR"):
        EmbeddedServer(tmp_path)
    server.stop()
    second = EmbeddedServer(tmp_path)
    second.wait_ready()
    second.stop()


def test_inputs_that_were_given_up_for_another_failure_are_there_when_a_run_is_opened_again(
    spawn: Spawn, tmp_path: Path
) -> None:
    """Of a run that its first failure ends: others had failed, too, and waited for their next try."""
    flag = tmp_path / "flag"
    run = spawn(tasks.needs_with_retries, [str(flag)] * 60, range(60))
    assert run.wait(timeout=60) == "failed"
    flag.touch()
    run.retry_failed()
    assert run.wait(timeout=60) == "done"
    assert run.results() == list(range(60))
