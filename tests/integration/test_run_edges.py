"""Runs and jobs at their edges: two scripts at once, a server that hangs, readers that leave, records of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

import actorq
from actorq import DeclarationError, MapConflictError
from actorq.base.settings import settings
from actorq.broker import keys
from actorq.cli.main import main
from actorq.cli.runs import client_of
from tests.chaos.field import Server
from tests.conftest import ROOT, Worker
from tests.support.code import tasks


def program(text: str, url: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACTORQ_REDIS_URL": url}
    return subprocess.Popen(
        [sys.executable, "-c", text],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )


def test_scripts_that_start_the_same_run_at_once_store_it_together(worker: Worker) -> None:
    text = """
from tests.support.code import tasks
run = tasks.double.spawn_map(range(60_000), map_id="same")
assert run.results() == [2 * x for x in range(60_000)]
"""
    programs = [program(text, worker.url) for _ in range(3)]
    said = [each.communicate(timeout=90) for each in programs]
    assert [each.returncode for each in programs] == [0, 0, 0], said
    with pytest.raises(MapConflictError, match="at input 59999 the run that is there has another input"):
        tasks.double.spawn_map([*range(59_999), 0], map_id="same")
    with pytest.raises(MapConflictError, match="at input 60000 the run that is there has no more inputs"):
        tasks.double.spawn_map(range(60_001), map_id="same")
    actorq.attach("same").delete()


@pytest.mark.parametrize(
    "awaited",
    [
        "async for x in actorq.attach('r').aio(): print(x, flush=True)",
        "job = actorq.job('j'); print('', flush=True); await job.aio()",
    ],
)
def test_ctrl_c_ends_what_awaits_a_server_that_hangs(awaited: str, tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    worker = Worker(server.url, replicas=2)
    try:
        worker.wait_ready(2)
        setup = """
from tests.support.code import tasks
tasks.wait.spawn_map([0.01] + [60.0] * 3, map_id="r")
tasks.wait.spawn(60.0, job_id="j")
"""
        with program(setup, server.url) as begun:
            assert begun.communicate(timeout=30)[0] == ""
        text = f"import actorq, asyncio\nasync def main():\n    {awaited}\nasyncio.run(main())"
        with program(text, server.url) as waits:
            assert waits.stdout is not None
            waits.stdout.readline()
            server.signal(signal.SIGSTOP)
            waits.send_signal(signal.SIGINT)
            waits.communicate(timeout=30)  # the patience for a server is a minute
        assert waits.returncode
    finally:
        server.signal(signal.SIGCONT)
        for process in worker.family():
            process.kill()
        worker.process.kill()
        worker.stop()
        server.signal(signal.SIGKILL)


def test_results_end_quietly_where_nobody_reads_them(worker: Worker) -> None:
    run = tasks.double.spawn_map(range(50_000), map_id="long")
    run.wait(60)
    command = f"{sys.executable} -m actorq.cli results long -u {worker.url} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
    run.delete()


def test_who_follows_bears_an_outage_as_long_as_a_program() -> None:
    with client_of("redis://localhost", follows=True) as client:
        assert client.patience == settings().broker_timeout
    with client_of("redis://localhost") as client:
        assert client.patience < settings().broker_timeout


@pytest.mark.parametrize("start", [-1, 2.5, "1", None])
def test_an_index_that_is_none_is_refused(worker: Worker, start: object) -> None:
    run = tasks.double.spawn_map([1], map_id="one")
    with pytest.raises(DeclarationError, match=r"start=.*: give a whole number from 0 up"):
        run.outputs(start=start)  # type: ignore[arg-type]
    run.wait(30)
    run.delete()


@pytest.mark.parametrize(
    "at",
    [
        datetime(1, 1, 1),  # noqa: DTZ001 - local time
        -1.0,
        "tomorrow",
    ],
)
def test_a_time_that_is_none_is_refused(at: object) -> None:
    with pytest.raises(DeclarationError, match=r"at=.*: give a datetime, or Unix seconds"):
        tasks.double.spawn(1, at=at)  # type: ignore[arg-type]


def test_lists_and_records_that_cannot_be_read_are_told(worker: Worker) -> None:
    tasks.double.spawn(1, job_id="odd").result(30)
    with redis.Redis.from_url(worker.url) as server:
        server.set(keys.ended("plain"), "x")
        server.delete(keys.job("odd"))
        server.set(keys.job("odd"), "x")
        shown = CliRunner().invoke(main, ["runs", "-u", worker.url])
        assert "aq:ended:plain holds another kind of value" in shown.output
        shown = CliRunner().invoke(main, ["jobs", "-u", worker.url])
        assert "rq:job:odd holds another kind of value" in shown.output
        finished = keys.ended_jobs("plain")[0]
        server.delete(finished, keys.job("odd"), keys.ended("plain"))
        server.set(finished, "x")
        shown = CliRunner().invoke(main, ["jobs", "-u", worker.url])
        assert f"{finished} holds another kind of value" in shown.output
        server.delete(finished)
