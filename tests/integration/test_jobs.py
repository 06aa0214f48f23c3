"""Single jobs: calls that outlive the program that made them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest
import redis
from rq import Queue
from rq.job import Job as RqJob

import actorq
from actorq import (
    DeclarationError,
    MapConflictError,
    MapTimeoutError,
    NonRecoverableError,
    PoolError,
    ReplicaLostError,
    TaskTimeoutError,
)
from actorq.base.settings import settings
from actorq.broker.blobs import REFERENCE
from tests.conftest import Worker, eventually, pool_client, run_script
from tests.support.code import concurrent, tasks


@pytest.fixture
def queue() -> Iterator[Queue]:
    """The queue of the pool's environment, as RQ sees it."""
    tasks.double.remote(0)
    with pool_client() as client:
        yield Queue("plain", connection=client)


# -- results -----------------------------------------------------------------------------------------------------------


def test_a_result_is_there_as_often_as_it_is_asked_for() -> None:
    job = tasks.add.spawn(1, b=2, c=3)
    assert job.result(timeout=30) == 6
    assert actorq.job(job.job_id).result() == 6
    assert (job.status(), repr(job)) == ("finished", f"<job {job.job_id!r}>")


def test_a_result_can_be_awaited() -> None:
    async def both() -> list[int]:
        jobs = [tasks.double.spawn(1), tasks.double.spawn(2)]
        return await asyncio.gather(*(job.aio() for job in jobs))

    assert asyncio.run(both()) == [2, 4]


def test_large_arguments_and_results_travel_and_stay() -> None:
    job = tasks.echo.spawn(np.arange(100_000))
    for _ in range(2):
        assert int(job.result(timeout=30).sum()) == 4_999_950_000


def test_waiting_has_an_end() -> None:
    job = tasks.double.spawn(1, delay=100)
    with pytest.raises(MapTimeoutError, match=r"did not end within 0\.05 s: it is scheduled"):
        job.result(timeout=0.05)
    assert job.cancel()


def test_many_jobs_all_have_their_own_result() -> None:
    jobs = [tasks.double.spawn(n) for n in range(500)]
    assert [job.result(timeout=60) for job in jobs] == [2 * n for n in range(500)]


def test_a_job_that_never_was_is_named() -> None:
    with pytest.raises(PoolError, match="There is no job 'nobody' on this server"):
        actorq.job("nobody")


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_job_of_the_same_name_and_arguments_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = tasks.notes.spawn(str(log), 0.0, job_id="mail_20261129")
    assert first.result(timeout=30) == "x"
    assert tasks.notes.spawn(str(log), 0.0, job_id="mail_20261129").result(timeout=30) == "x"
    first.delete()


def test_other_arguments_or_another_task_of_the_same_name_are_a_conflict() -> None:
    first = tasks.double.spawn(1, job_id="taken")
    with pytest.raises(MapConflictError, match=r"another task, or other arguments.*actorq\.job\('taken'\)\.delete"):
        tasks.double.spawn(2, job_id="taken")
    with pytest.raises(MapConflictError):
        tasks.echo.spawn(1, job_id="taken")
    assert first.result(timeout=30) == 2
    first.delete()
    second = tasks.double.spawn(2, job_id="taken")
    assert second.result(timeout=30) == 4
    second.delete()


def test_what_cannot_be_a_job_is_refused() -> None:
    for odd, message in (({"delay": -1}, "delay=-1"), ({"at": 1e12}, "at="), ({"job_id": "a b"}, "job_id 'a b'")):
        with pytest.raises(DeclarationError, match=message):
            tasks.double.spawn(1, **odd)
    with pytest.raises(TypeError, match="missing a required argument"):
        tasks.double.spawn()
    with pytest.raises(DeclarationError, match="a regular task has no worker"):
        tasks.fresh.spawn(1)


def test_a_parameter_that_is_called_as_an_option_is_given_by_position() -> None:
    assert tasks.has_an_option.spawn(1, 5).result(timeout=30) == 6
    with pytest.raises(TypeError, match="its parameter 'delay' is an option of spawn: give it by position"):
        tasks.has_an_option.spawn(1, delay=5)


# -- failures ----------------------------------------------------------------------------------------------------------


def test_what_the_task_raises_is_raised_by_the_result() -> None:
    job = tasks.fails_at.spawn(3)
    for _ in range(2):
        with pytest.raises(ValueError, match="no 3"):
            job.result(timeout=30)
    assert job.status() == "failed"


def test_a_job_that_raises_has_its_retries(tmp_path: Path) -> None:
    assert tasks.flaky.spawn(str(tmp_path / "tries")).result(timeout=30) == 2
    hopeless = tmp_path / "hopeless"
    with pytest.raises(NonRecoverableError, match="give up"):
        tasks.hopeless.spawn(str(hopeless)).result(timeout=30)
    assert hopeless.read_text() == "x"


def test_a_job_whose_replica_dies_runs_again_until_it_is_to_blame(tmp_path: Path) -> None:
    assert tasks.exits_once.spawn(str(tmp_path / "flag"), 5).result(timeout=60) == 5
    with pytest.raises(ReplicaLostError, match="its replica died while it ran: killed by SIGKILL"):
        tasks.dies.spawn(3).result(timeout=60)


def test_a_job_that_takes_too_long_is_stopped() -> None:
    for task in (tasks.sleeps, tasks.stuck_in_c):
        with pytest.raises(TaskTimeoutError, match=r"0\.3 s"):
            task.spawn(30.0).result(timeout=60)


def test_a_neighbour_in_a_lane_is_not_charged_with_a_crash() -> None:
    killing = concurrent.kills.spawn(3)
    innocent = [concurrent.quick.spawn(n) for n in range(20)]
    assert [job.result(timeout=60) for job in innocent] == list(range(20))
    with pytest.raises(ReplicaLostError):
        killing.result(timeout=60)


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_job_runs_when_its_time_has_come(queue: Queue, tmp_path: Path) -> None:
    begin = time.time()
    late = tasks.notes.spawn(str(tmp_path / "late"), 0.0, delay=0.7)
    dated = tasks.notes.spawn(str(tmp_path / "dated"), 0.0, at=datetime.now().astimezone() + timedelta(seconds=0.8))
    assert (late.status(), dated.status()) == ("scheduled", "scheduled")
    assert set(queue.scheduled_job_registry.get_job_ids()) == {late.job_id, dated.job_id}
    assert (late.result(timeout=30), dated.result(timeout=30)) == ("x", "x")
    assert (tmp_path / "late").stat().st_mtime >= begin + 0.7
    assert (tmp_path / "dated").stat().st_mtime >= begin + 0.8
    assert queue.scheduled_job_registry.get_job_ids() == []
    assert tasks.double.spawn(1, at=begin - 10).result(timeout=30) == 2  # that is over


# -- ending ------------------------------------------------------------------------------------------------------------


def test_a_job_that_is_cancelled_never_runs_or_is_stopped(queue: Queue, tmp_path: Path) -> None:
    running = [tasks.notes.spawn(str(tmp_path / f"running{n}"), 60.0) for n in range(2)]
    assert eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    waiting = tasks.notes.spawn(str(tmp_path / "waiting"), 0.0)
    scheduled = tasks.notes.spawn(str(tmp_path / "scheduled"), 0.0, delay=1000)
    jobs = [waiting, scheduled, *running]
    assert [job.status() for job in jobs] == ["queued", "scheduled", "started", "started"]
    assert all(job.cancel() for job in jobs)
    assert {job.status() for job in jobs} == {"canceled"}
    assert {job.job_id for job in jobs} <= set(queue.canceled_job_registry.get_job_ids())
    for job in jobs:
        with pytest.raises(PoolError, match="was cancelled"):
            job.result()
        assert not job.cancel()
    assert tasks.double.remote(4) == 8  # the replicas are free
    assert not (tmp_path / "waiting").exists()


def test_nothing_stays_of_a_job_that_is_deleted() -> None:
    job = tasks.fails_at.spawn(3, job_id="to-delete")
    with pytest.raises(ValueError, match="no 3"):
        job.result(timeout=30)
    job.delete()
    with pool_client() as client:
        assert [key for key in client.keys("*") if b"to-delete" in key] == []
        assert client.zscore("rq:failed:plain", "to-delete") is None


def test_a_large_payload_goes_with_its_job() -> None:
    job = tasks.needs.spawn("x" * 100_000, 3, job_id="to-delete-large")
    with pytest.raises(OSError, match="File name too long"):
        job.result(timeout=30)
    with pool_client() as client:
        payload = client.hget("rq:job:to-delete-large", "aq")
        assert isinstance(payload, bytes)
        assert client.exists(payload.removeprefix(REFERENCE))
        job.delete()
        assert not client.exists(payload.removeprefix(REFERENCE), "rq:job:to-delete-large")


# -- RQ's tools --------------------------------------------------------------------------------------------------------


def test_rq_knows_jobs_that_ended_and_runs_failed_ones_again(queue: Queue, tmp_path: Path) -> None:
    done, failed = tasks.double.spawn(4), tasks.flaky.spawn(str(tmp_path / "tries"))
    done.result(timeout=30), failed.result(timeout=30)
    assert {done.job_id, failed.job_id} <= set(queue.finished_job_registry.get_job_ids())
    shown = RqJob.fetch(done.job_id, connection=queue.connection)
    assert (shown.get_status().value, shown.description) == ("finished", "tests.support.code.tasks.double()")
    broken = tasks.exits_once.spawn(str(tmp_path / "never" / "there"), 1)
    with pytest.raises(FileNotFoundError):
        broken.result(timeout=30)
    result = RqJob.fetch(broken.job_id, connection=queue.connection).latest_result()
    assert result is not None
    assert "FileNotFoundError" in str(result.exc_string)
    (tmp_path / "never").mkdir()
    (tmp_path / "never" / "there").touch()
    assert broken.job_id in queue.failed_job_registry.get_job_ids()
    queue.failed_job_registry.requeue(broken.job_id)
    assert eventually(lambda: broken.status() == "finished")
    assert broken.result() == 1


# -- whoever made it ---------------------------------------------------------------------------------------------------

LEAVES = """
    import sys
    from tests.support.code import tasks

    for n in range(50):
        tasks.note.spawn(sys.argv[1] if len(sys.argv) > 1 else {log!r}, n)
"""


def test_jobs_run_when_the_script_that_made_them_is_gone(on_server: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run_script(tmp_path, LEAVES.format(log=str(log)), ACTORQ_REDIS_URL=on_server) == ""
    worker = Worker(on_server)
    assert eventually(lambda: log.exists() and len(log.read_text().split()) == 50)
    assert sorted(map(int, log.read_text().split())) == list(range(50))
    worker.stop()


def test_a_job_survives_the_worker_that_runs_it(on_server: str, tmp_path: Path) -> None:
    first = Worker(on_server, replicas=1)
    first.wait_ready(1)
    flag = tmp_path / "go"
    job = tasks.until.spawn(str(flag))
    assert eventually(lambda: job.status() == "started")
    for process in [*first.family(), psutil.Process(first.process.pid)]:
        process.send_signal(signal.SIGKILL)
    first.process.communicate(timeout=30)
    second = Worker(on_server, replicas=1)
    flag.touch()
    assert job.result(timeout=60) == str(flag)
    second.stop()


def test_a_task_can_hand_work_over_to_its_own_environment() -> None:
    ids = list(tasks.hands_over.map(range(4)))
    assert [actorq.job(job_id).result(timeout=30) for job_id in ids] == [0, 2, 4, 6]
    for job_id in ids:
        actorq.job(job_id).delete()


def test_signed_jobs_are_checked_on_both_sides(on_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORQ_SIGNING_KEY", "0123456789abcdef")
    settings.cache_clear()
    worker = Worker(on_server, replicas=1)
    worker.wait_ready(1)
    job, other = tasks.double.spawn(4), tasks.echo.spawn("forged", delay=1000)
    assert job.result(timeout=30) == 8
    with redis.Redis.from_url(on_server) as server:
        mine, its = f"rq:job:{job.job_id}", f"rq:job:{other.job_id}"
        assert server.hget(mine, "aq") is None  # nobody runs it again
        copied = tasks.double.spawn(5, delay=1000)
        server.hset(its, "aq", server.hget(f"rq:job:{copied.job_id}", "aq"))
        server.zadd("rq:scheduled:plain", {other.job_id: 0})
    with pytest.raises(PoolError, match="is not signed with the key of this replica"):
        other.result(timeout=30)
    worker.stop()


def test_a_program_without_a_server_says_what_ends_with_it(tmp_path: Path) -> None:
    text = """
        from tests.support.code import tasks

        tasks.double.spawn(1, delay=100)
        tasks.wait.spawn_map([0.01] * 2000, map_id="lost")
    """
    told = run_script(tmp_path, text)
    assert "1 job and 1 run of 'plain' have not ended, and end with this program's own server" in told
    assert "ACTORQ_STATE_DIR" in told
    state = str(tmp_path / "state")
    assert run_script(tmp_path, text, ACTORQ_STATE_DIR=state) == ""
