"""The same tasks on replicas that somebody else started: `actorq worker`, and RQ's tools beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis
from click.testing import CliRunner
from rq.cli.cli import main as rq_command
from rq.command import send_kill_horse_command, send_shutdown_command, send_stop_job_command
from rq.suspension import resume, suspend
from rq.worker import Worker as StockWorker

from actorq import PoolError, TaskError
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import tasks


def rq_info(url: str) -> str:
    """What `rq info` prints, without a process for each look."""
    done = CliRunner().invoke(rq_command, ["info", "-u", url], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def keys_of(url: str) -> list[str]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return sorted(client.keys("*"))


def test_the_same_script_uses_the_replicas_of_the_server(shared_worker: Worker) -> None:
    assert list(tasks.double.map(range(100))) == [2 * x for x in range(100)]
    assert tasks.double.remote(4) == 8
    pids = {process.pid for process in shared_worker.executors()}
    assert set(tasks.who.map(range(20))) == pids


def test_rq_info_tells_the_truth(shared_worker: Worker, tmp_path: Path) -> None:
    assert "2 workers, " in rq_info(shared_worker.url)
    go_on = tmp_path / "go on"
    outputs = tasks.until.map([str(go_on)] * 4)

    def shows_all() -> bool:
        info = rq_info(shared_worker.url)
        return info.count(": busy plain") == 2 and "2, 2 executing" in info

    assert eventually(shows_all)
    go_on.touch()
    assert len(list(outputs)) == 4
    assert eventually(lambda: rq_info(shared_worker.url).count(": idle plain") == 2)
    assert "0, 0 executing" in rq_info(shared_worker.url)


def test_rq_finds_replicas_again_when_its_lists_were_deleted(on_server: str) -> None:
    worker = Worker(on_server, "tests.support.code.concurrent:concurrent", 1, environment="concurrent")
    worker.wait_ready(1)
    with redis.Redis.from_url(on_server) as client:
        client.delete("rq:workers", "rq:workers:concurrent")
        assert eventually(lambda: client.smembers("rq:workers") == client.smembers("rq:workers:concurrent") != set())
    worker.stop()


def test_rq_counts_the_leases_of_a_replica(worker: Worker) -> None:
    for x in range(5):
        tasks.double.remote(x)
    with redis.Redis.from_url(worker.url) as client:
        workers = StockWorker.all(connection=client)
        assert eventually(lambda: sum(w.successful_job_count for w in StockWorker.all(connection=client)) == 5)
        assert {w.hostname for w in workers} == {os.uname().nodename}


def test_suspended_replicas_take_nothing_until_resumed(shared_worker: Worker) -> None:
    with redis.Redis.from_url(shared_worker.url) as client:
        suspend(client)
        future = tasks.double.submit(1)
        time.sleep(0.5)
        assert not future.done()
        resume(client)
        assert future.result(timeout=10) == 2


def test_a_shutdown_command_drains_one_replica(worker: Worker) -> None:
    with redis.Redis.from_url(worker.url) as client:
        name = StockWorker.all(connection=client)[0].name
        send_shutdown_command(client, name)
        assert eventually(lambda: len(worker.executors()) == 1)
    assert tasks.double.remote(2) == 4


def test_a_kill_horse_command_replaces_the_executor(worker: Worker) -> None:
    outputs = tasks.wait.map([3.0] * 2)
    assert eventually(lambda: rq_info(worker.url).count(": busy plain") == 2, timeout=30)
    with redis.Redis.from_url(worker.url) as client:
        for replica in StockWorker.all(connection=client):
            send_kill_horse_command(client, replica.name)
    assert list(outputs) == [3.0] * 2


def test_a_stop_job_command_fails_that_lease(shared_worker: Worker) -> None:
    future = tasks.wait.submit(30)
    with redis.Redis.from_url(shared_worker.url) as client:
        assert eventually(lambda: client.zcard("rq:wip:plain") == 1)
        job_id = client.zrange("rq:wip:plain", 0, -1)[0].decode().rpartition(":")[0]
        send_stop_job_command(client, job_id)
    with pytest.raises(TaskError, match="stopped"):
        future.result(timeout=10)


def test_a_lease_of_a_new_executor_is_not_taken_for_one_that_was_stopped_before(on_server: str) -> None:
    worker = Worker(on_server, replicas=1)
    worker.wait_ready(1)
    future = tasks.wait.submit(30)
    with redis.Redis.from_url(on_server) as client:
        assert eventually(lambda: client.zcard("rq:wip:plain") == 1)
        send_stop_job_command(client, client.zrange("rq:wip:plain", 0, -1)[0].decode().rpartition(":")[0])
    with pytest.raises(TaskError, match="stopped"):
        future.result(timeout=10)
    executor = worker.executors()[0]
    executor.kill()
    assert eventually(lambda: not executor.is_running())
    assert tasks.wait.remote(1.5) == 1.5  # its number is that of the other one
    assert len(worker.executors()) == 1
    _, log = worker.stop()
    assert [event["event"] for event in log].count("executor_lost") == 1


def test_a_requeued_failed_input_says_what_becomes_of_it_and_runs_again(worker: Worker, tmp_path: Path) -> None:
    from rq import Queue
    from rq.job import Job

    path = tmp_path / "tries"
    with pytest.raises(Exception, match="give up"):
        tasks.hopeless.remote(str(path))
    with redis.Redis.from_url(worker.url) as client:
        registry = Queue("plain", connection=client).failed_job_registry
        job = Job.fetch(registry.get_job_ids()[0], connection=client)
        result = job.latest_result()
        assert result is not None
        assert result.exc_string is not None
        assert "give up" in result.exc_string
        assert "the output is dropped" in result.exc_string
        registry.requeue(job.id)
        assert eventually(lambda: path.read_text() == "xx", timeout=30)


def test_sigterm_finishes_the_input_and_hands_back_the_rest(on_server: str) -> None:
    first = Worker(on_server)
    first.wait_ready()
    outputs = tasks.wait.map([0.05] * 60)
    next(outputs)
    second = Worker(on_server)
    second.wait_ready()
    status, log = first.stop()
    assert status == 0
    assert [event["event"] for event in log].count("replica_drained") == 2
    assert len(list(outputs)) == 59
    assert outputs.stats().late == 0
    second.stop()


def test_a_drained_worker_leaves_no_key(worker: Worker) -> None:
    list(tasks.double.map(range(1000)))
    tasks.double.remote(1)
    from actorq.runtime.program import shutdown

    shutdown()
    worker.stop()
    left = [key for key in keys_of(worker.url) if not key.startswith("rq:worker:")]
    assert left == ["aq:used:plain", "rq:queues"]  # the first goes within a day


def test_a_replica_that_vanishes_is_noticed_within_its_lease(on_server: str) -> None:
    first, second = Worker(on_server, replicas=1), Worker(on_server, replicas=1)
    first.wait_ready(2)
    outputs = tasks.wait.map([0.1] * 50)
    next(outputs)
    family = [psutil.Process(first.process.pid), *first.family()]
    for process in family:
        process.send_signal(signal.SIGSTOP)  # as a node that lost its network: silent, and not dead
    started = time.monotonic()
    assert len(list(outputs)) == 49
    assert time.monotonic() - started < 2 + 2 + 6  # lease, notice, and the work itself on one replica
    assert outputs.stats().recovered >= 1
    for process in family:
        process.send_signal(signal.SIGCONT)
    assert tasks.double.remote(1) == 2  # the zombie's late commit was dropped and it works again
    first.stop()
    second.stop()


def test_new_replicas_join_a_running_map(on_server: str) -> None:
    first = Worker(on_server)
    first.wait_ready()
    outputs = tasks.who.map([0] * 1500)
    next(outputs)
    second = Worker(on_server)
    second.wait_ready(4)
    assert len(set(outputs)) == 4
    first.stop()
    second.stop()


def test_a_task_the_replicas_do_not_declare_is_refused(shared_worker: Worker) -> None:
    from tests.support.code import undeclared

    with pytest.raises(PoolError, match="declares no task"):
        undeclared.stranger.remote(1)


def test_the_worker_refuses_a_module_that_cannot_be_imported(server: str) -> None:
    arguments = [sys.executable, "-m", "actorq.cli", "worker", "no_such_module:env", "-u", server]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "No module named 'no_such_module'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_worker_names_the_environments_of_a_module_when_one_is_misspelt(server: str) -> None:
    arguments = [sys.executable, "-m", "actorq.cli", "worker", "tests.support.code.tasks:plian", "-u", server]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "has no 'plian'; its environments are: ['plain'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_worker_refuses_an_unreachable_server() -> None:
    url = "redis://:secret@127.0.0.1:1/0"
    arguments = [sys.executable, "-m", "actorq.cli", "worker", "tests.support.code.tasks:plain", "-u", url]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False, cwd=ROOT)
    assert done.returncode == 3
    assert "cannot be reached" in done.stderr
    assert "secret" not in done.stderr
