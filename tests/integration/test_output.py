"""`actorq worker --capture-output` and `actorq logs`: where is my print?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from actorq.cli.main import main
from tests.conftest import ROOT, eventually

_JOB = """
import os, sys, time
from actorq import ActorEnvironment
envs = {
    "reset": ActorEnvironment("out-reset"),
    "none": ActorEnvironment("out-none", isolation="none"),
    "fork": ActorEnvironment("out-fork", isolation="fork"),
    "slots": ActorEnvironment("out-slots", isolation="none", concurrency=2),
    "spawn": ActorEnvironment("out-spawn", isolation="none", start_method="spawn"),
}
reset, none, fork, slots, spawn = envs.values()

def say(i):
    print("out", i)
    print("err", i, file=sys.stderr)
    print("begun", i, end="")
    if i == 3:
        time.sleep(0.3)  # until a part of a lease has been sent, and this one is known
        sys.stdout.flush()
        os._exit(9)
    return i

@reset.task
def in_reset(i): return say(i)
@none.task
def in_none(i): return say(i)
@fork.task
def in_fork(i): return say(i)
@slots.task
async def in_slots(i): return say(i)
@spawn.task
def in_spawn(i): return say(i)

if __name__ == "__main__":
    task = globals()["in_" + sys.argv[1]]
    done = list(task.map(range(4), map_id="m", return_exceptions=True))
    assert done[:3] == [0, 1, 2] and type(done[3]).__name__ == "ReplicaLostError", done
"""

Start = Callable[..., str]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.py"
    path.write_text(_JOB)
    return path


@pytest.fixture
def start(job: Path, server: str) -> Iterator[Start]:
    """Starts a worker of a kind; returns the server."""
    workers = []

    def started(kind: str, *options: str) -> str:
        command = [sys.executable, "-m", "actorq.cli", "worker", f"{job}:{kind}", "-u", server, *options]
        workers.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL))
        return server

    yield started
    for worker in workers:
        worker.terminate()
        assert worker.wait(20) == 0


def program(job: Path, url: str, kind: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACTORQ_REDIS_URL": url}
    subprocess.run([sys.executable, job, kind], cwd=job.parent, env=environment, timeout=60, check=True)


def logs(url: str, *arguments: str) -> list[str]:
    done = CliRunner().invoke(main, ["logs", "-u", url, *arguments])
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", ["reset", "none", "fork", "slots", "spawn"])
def test_what_inputs_print_is_kept_also_of_one_that_has_killed_its_process(kind: str, job: Path, start: Start) -> None:
    url = start(kind, "--capture-output")
    program(job, url, kind)
    for index in (0, 3):
        assert eventually(lambda index=index: f"begun {index}" in logs(url, "m", "--index", str(index)))
        assert set(logs(url, "m", "--index", str(index))) == {f"out {index}", f"err {index}", f"begun {index}"}
    told = [json.loads(line) for line in logs(url, "m", "-o", "json")]
    assert {line["index"] for line in told} == {0, 1, 2, 3}
    assert all(line["replica"].startswith(f"out-{kind}-") for line in told)
    assert any(line.endswith("[2] | out 2") for line in logs(url, "m"))


def test_a_run_is_followed_until_it_ends_and_a_job_has_its_own(
    job: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = start("none", "--capture-output")
    monkeypatch.setenv("ACTORQ_REDIS_URL", url)
    script = f"""
import sys; sys.path.insert(0, {str(job.parent)!r})
import job
run = job.in_none.spawn_map([0, 1, 2, 0.5], map_id="nightly")
job.in_none.spawn(7, job_id="report-2026-11").result(timeout=30)
"""
    seen: list[str] = []
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60, check=True)
    follower = threading.Thread(target=lambda: seen.extend(logs(url, "nightly", "--follow")))
    follower.start()
    follower.join(30)
    assert not follower.is_alive()
    assert {line.partition(" | ")[2] for line in seen} >= {"out 0", "out 1", "out 2", "begun 2", "out 0.5"}
    assert eventually(lambda: len(logs(url, "report-2026-11")) == 3)
    assert {line.partition(" | ")[2] for line in logs(url, "report-2026-11")} == {"out 7", "err 7", "begun 7"}


def test_nothing_is_kept_where_nobody_has_asked_for_it(job: Path, start: Start) -> None:
    url = start("none")
    program(job, url, "none")
    done = CliRunner().invoke(main, ["logs", "-u", url, "m"])
    assert done.exit_code == 1
    assert "Nothing is kept that was printed in 'm'" in str(done.exception)
    with redis.Redis.from_url(url) as client:
        assert client.keys("aq:output:*") == []
