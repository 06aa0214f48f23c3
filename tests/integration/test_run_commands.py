"""The commands about work that outlives its script."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

import actorq
from actorq import PoolError
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import tasks


@pytest.fixture
def told(on_server: str) -> Iterator[str]:
    """A server with one replica."""
    worker = Worker(on_server, replicas=1)
    worker.wait_ready(1)
    yield on_server
    worker.stop()


def command(*arguments: str, succeeds: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "actorq.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_runs_are_listed_while_they_go_on_and_after(told: str) -> None:
    tasks.double.spawn_map(range(5), map_id="over").wait(timeout=30)
    long = tasks.wait.spawn_map([0.05] * 1000, map_id="long")
    assert eventually(lambda: json.loads(command("runs", "-o", "json"))[0]["done"] > 0)
    head, first, second = command("runs").splitlines()
    assert head.split() == ["RUN", "ENVIRONMENT", "TASK", "STATE", "DONE", "FAILED", "RATE", "AGE", "DRIVER", "SIZE"]
    assert first.split()[:4] == ["long", "plain", "tests.support.code.tasks.wait", "running"]
    assert f":{os.getpid()}" in first  # this program drives it
    assert second.split()[:6] == ["over", "plain", "tests.support.code.tasks.double", "done", "5/5", "0"]
    assert command("cancel", "long") == "Run long is cancelled.\n"
    assert command("cancel", "long") == "Run long is cancelled already.\n"
    assert eventually(lambda: "cancelled" in command("runs"))
    long.delete()
    assert command("delete", "over") == "over is deleted.\n"
    assert command("runs").splitlines()[1:] == []


def test_jobs_are_listed_by_what_they_do(told: str) -> None:
    tasks.double.spawn(1, job_id="over").result(timeout=30)
    failed = tasks.fails_at.spawn(3, job_id="bad")
    tasks.double.spawn(1, job_id="later", delay=600)
    assert eventually(lambda: failed.status() == "failed")
    tasks.wait.spawn(60, job_id="long")
    tasks.wait.spawn(60, job_id="next")
    assert eventually(lambda: "started" in command("jobs"))
    head, *rows = [line.split() for line in command("jobs", "plain").splitlines()]
    assert head == ["JOB", "ENVIRONMENT", "TASK", "STATUS", "RETRIED", "AGE", "DUE", "IN", "REPLICA"]
    shown = [(row[0], row[2].rpartition(".")[2], row[3]) for row in rows]
    assert shown[:3] == [("long", "wait", "started"), ("next", "wait", "queued"), ("later", "double", "scheduled")]
    assert sorted(shown[3:]) == [("bad", "fails_at", "failed"), ("over", "double", "finished")]
    for name in ("long", "next", "later", "bad", "over"):
        command("cancel", name)
        command("delete", name)
    assert command("jobs", "-o", "json") == "[]\n"


def test_results_are_lines_of_json_or_msgpack(told: str) -> None:
    run = tasks.echo.spawn_map([1, "ä", {"a": [None]}], map_id="json")
    run.wait(timeout=30)
    assert command("results", "json").splitlines() == ["1", '"ä"', '{"a": [null]}']
    assert command("results", "json", "--start", "2") == '{"a": [null]}\n'
    packed = subprocess.run(
        [sys.executable, "-m", "actorq.cli", "results", "json", "-o", "msgpack"], capture_output=True, check=True
    )
    assert list(msgpack.Unpacker(io.BytesIO(packed.stdout))) == [1, "ä", {"a": [None]}]
    run.delete()


def test_results_that_are_still_to_come_are_waited_for_where_that_is_wanted(told: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    run = tasks.until.spawn_map([__file__, str(flag)], map_id="follow")
    assert eventually(lambda: run.stats().succeeded == 1)
    shown = command("results", "follow")
    assert "1 outputs are there, and the run goes on: --follow waits for the others." in shown
    flag.touch()
    assert len(command("results", "follow", "--follow").splitlines()) == 2
    run.delete()


def test_what_json_cannot_hold_is_named(told: str) -> None:
    run = tasks.echo.spawn_map([1, {1, 2}], map_id="sets")
    run.wait(timeout=30)
    assert "Output 1 has what JSON cannot hold" in command("results", "sets", succeeds=False)
    run.delete()


def test_results_end_where_an_input_failed(told: str) -> None:
    run = tasks.fails_at.spawn_map(range(9), map_id="ends")
    assert run.wait(timeout=30) == "failed"
    shown = command("results", "ends", succeeds=False)
    assert shown.startswith("0\n1\n2\nError: input 3 failed with ValueError: no 3")
    assert 'raise ValueError(f"no {x}")' in shown
    assert "cli/runs.py" not in shown  # where it was read is of no interest
    run.delete()


def test_failures_show_the_input_and_are_tried_again(told: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    run = tasks.needs.spawn_map([str(flag)] * 20, range(20), map_id="failing", return_exceptions=True)
    assert run.wait(timeout=30) == "done"
    shown = command("failures", "failing")
    assert f"3  FileNotFoundError: {flag}" in shown
    assert f"input: ['{flag}', 13]" in shown
    assert "raise FileNotFoundError(path)" not in shown
    assert "raise FileNotFoundError(path)" in command("failures", "failing", "--traceback")
    assert [row["index"] for row in json.loads(command("failures", "failing", "-o", "json"))] == [3, 13]
    flag.touch()
    assert command("retry", "failing") == "Run failing: 2 inputs that failed run again, and what never ran.\n"
    assert eventually(lambda: run.state == "done")
    assert run.results() == list(range(20))
    assert command("failures", "failing") == ""
    assert "no input of it has failed" in command("retry", "failing")
    assert "; 0 failed" in command("status", "plain")  # what is mended is no failure any more
    run.delete()


def test_a_job_is_cancelled_tried_again_and_deleted_by_its_name(told: str, tmp_path: Path) -> None:
    job = tasks.needs.spawn(str(tmp_path / "flag"), 3, job_id="job")
    with pytest.raises(FileNotFoundError):
        job.result(timeout=30)
    assert "0  FileNotFoundError" in command("failures", "job")
    assert "job job failed with FileNotFoundError" in command("results", "job", succeeds=False)
    (tmp_path / "flag").touch()
    assert command("retry", "job") == "Job job runs again.\n"
    assert job.result(timeout=30) == 3
    assert "is finished: only one that has failed" in command("retry", "job", succeeds=False)
    assert command("results", "job") == "3\n"
    assert command("delete", "job") == "job is deleted.\n"
    waits = tasks.double.spawn(1, delay=1000)
    assert command("cancel", waits.job_id) == f"Job {waits.job_id} is cancelled.\n"
    assert waits.status() == "canceled"
    waits.delete()
    assert "There is no run or job 'job' on this server" in command("delete", "job", succeeds=False)


def test_a_live_map_is_cancelled_from_outside(told: str) -> None:
    outputs = iter(tasks.wait.map([0.02] * 1000, map_id="live"))
    next(outputs)
    assert "whose program has its outputs" in command("delete", "live", succeeds=False)
    assert command("cancel", "live") == "Map live is cancelled: its program is told within a second.\n"
    with pytest.raises(PoolError, match="Map 'live' was cancelled by somebody"):
        list(outputs)
    assert "There is no run, job or live map 'live'" in command("cancel", "live", succeeds=False)
    assert tasks.double.remote(2) == 4


def test_a_program_that_does_not_know_the_task_runs_it_again(told: str, tmp_path: Path) -> None:
    run = tasks.fails_at.spawn_map(range(4), map_id="elsewhere")
    assert run.wait(timeout=30) == "failed"
    assert command("retry", "elsewhere").startswith("Run elsewhere: 1 input that failed runs again")
    assert run.wait(timeout=30) == "failed"
    assert [type(error) for error in actorq.attach("elsewhere").failures] == [ValueError]
    run.delete()
