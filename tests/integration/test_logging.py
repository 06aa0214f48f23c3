"""Logs belong to the user: what tasks log goes where their code sends it, and else is shown with what ran."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Worker

_JOB = """
import logging, sys, threading, time
from actorq import ActorEnvironment, TaskEnvironment
{configured}
log = logging.getLogger("app")
reset = ActorEnvironment("log-reset")
none = ActorEnvironment("log-none", isolation="none")
fork = ActorEnvironment("log-fork", isolation="fork")
slots = ActorEnvironment("log-slots", isolation="none", concurrency=2)
spawn = ActorEnvironment("log-spawn", isolation="none", start_method="spawn")
regular = TaskEnvironment("log-regular", concurrency=1)

def say(i):
    log.info("input %d", i)
    log.debug("not for everybody")
    return i

@reset.task
def in_reset(i):
    if i == 2:  # of which actorq has something to say
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    return say(i)
@none.task
def in_none(i): return say(i)
@none.task
def in_tiny(i): return say(i) if i % 4_000 == 3_999 else i
@fork.task
def in_fork(i): return say(i)
@slots.task
async def in_slots(i): return say(i)
@spawn.task
def in_spawn(i): return say(i)
@regular.task
def in_regular(i): return say(i)

if __name__ == "__main__":
    {guarded}
    task = globals()["in_" + sys.argv[1]]
    assert list(task.map(range(4), map_id="m-" + sys.argv[1])) == list(range(4))
    if len(sys.argv) > 2:  # in the loop for tiny inputs
        assert sum(in_tiny.map(range(20_000), map_id="m-tiny")) == sum(range(20_000))
"""

KINDS = ["reset", "none", "fork", "slots", "spawn", "regular"]


def run(folder: Path, *arguments: str, configured: str = "", guarded: str = "", **variables: str) -> str:
    """What the program says on standard error."""
    (folder / "job.py").write_text(_JOB.format(configured=configured, guarded=guarded or "pass"))
    done = subprocess.run(
        [sys.executable, "job.py", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_of_the_user_gets_every_record_of_a_task(kind: str, tmp_path: Path) -> None:
    said = run(tmp_path, kind, configured=in_file(tmp_path))
    lines = (tmp_path / "app.log").read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("app")) == [f"app input {i}" for i in range(4)]
    assert not [line for line in lines if line.startswith("actorq")]
    assert ("state_left_behind" in said) == (kind == "reset")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_configured_under_the_main_guard_decides_what_replicas_show(kind: str, tmp_path: Path) -> None:
    said = run(tmp_path, kind, guarded="logging.basicConfig(filename='app.log', level=logging.INFO)")
    for i in range(4):
        found = [line for line in said.splitlines() if f"] input {i} " in line]
        assert len(found) == 1
        assert f"index={i} map=m-{kind} replica=" in found[0]
    assert "not for everybody" not in said


def test_a_task_of_a_program_without_logging_is_as_one_of_a_plain_program(tmp_path: Path) -> None:
    assert "input" not in run(tmp_path, "none")
    configured = "logging.getLogger('app').info = logging.getLogger('app').warning"
    assert run(tmp_path, "none", configured=configured).splitlines() == [f"input {i}" for i in range(4)]


def in_file(folder: Path) -> str:
    """A configuration whose file is this one, wherever its process runs."""
    return (
        f"logging.basicConfig(filename={str(folder / 'app.log')!r}, level=logging.INFO, format='%(name)s %(message)s')"
    )


def served(folder: Path, server: str, kind: str, *arguments: str, configured: str = "") -> list[dict[str, Any]]:
    """What a worker logs of the tasks of a map."""
    (folder / "job.py").write_text(_JOB.format(configured=configured, guarded="pass"))
    worker = Worker(server, f"{folder / 'job.py'}:{kind}", 1, environment=f"log-{kind}")
    try:
        run(folder, kind, *arguments, configured=configured, ACTORQ_REDIS_URL=server)
    finally:
        log = worker.stop()[1]
    return log


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "regular"])
def test_a_worker_shows_what_its_tasks_log_with_what_ran(kind: str, tmp_path: Path, server: str) -> None:
    log = served(tmp_path, server, kind)
    told = {line["event"]: line for line in log if line.get("logger") == "app"}
    assert sorted(told) == [f"input {i}" for i in range(4)]
    for i in range(4):
        line = told[f"input {i}"]
        assert (line["index"], line["map"], line["level"]) == (i, f"m-{kind}", "info")
        assert re.fullmatch(rf"log-{kind}-.+-\d+-[0-9a-f]+-[\d-]+", line["replica"])


def test_the_index_of_tiny_inputs_is_right(tmp_path: Path, server: str) -> None:
    log = served(tmp_path, server, "none", "again")
    told = {line["event"]: line["index"] for line in log if line.get("map") == "m-tiny"}
    assert told == {f"input {i}": i for i in range(3_999, 20_000, 4_000)}


def test_a_worker_shows_nothing_of_tasks_that_have_a_log_of_their_own(tmp_path: Path, server: str) -> None:
    log = served(tmp_path, server, "none", configured=in_file(tmp_path))
    assert {line["event"] for line in log} >= {"worker_started", "replica_drained"}
    assert not [line for line in log if "logger" in line]
    assert (tmp_path / "app.log").read_text().splitlines() == [f"app input {i}" for i in range(4)]


def test_a_level_that_a_start_hook_does_not_name_is_that_of_python(tmp_path: Path, server: str) -> None:
    configured = """
from actorq import ActorEnvironment
hooked = ActorEnvironment("log-hooked", isolation="none")
@hooked.on_start
def configure(): logging.basicConfig(filename=FILE)
@hooked.task
def in_hooked(i):
    logging.getLogger("app").warning("warning %d", i)
    return say(i)
"""
    configured = f"FILE = {str(tmp_path / 'app.log')!r}{configured}"
    assert not [line for line in served(tmp_path, server, "hooked", configured=configured) if "logger" in line]
    assert [line.split(":")[0] for line in (tmp_path / "app.log").read_text().splitlines()] == ["WARNING"] * 4


def test_structlogs_context_has_what_runs(tmp_path: Path) -> None:
    configured = """import structlog
structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()],
    logger_factory=structlog.WriteLoggerFactory(open("structlog", "a")),
)"""
    text = _JOB.replace('log.info("input %d", i)', 'structlog.get_logger().info(f"input {{i}}")')
    for kind in ("none", "slots"):
        (tmp_path / "job.py").write_text(text.format(configured=configured, guarded="pass"))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "job.py", kind], cwd=tmp_path, env=environment, timeout=50, check=False)
        assert done.returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "structlog").read_text().splitlines()]
    assert len(lines) == 8
    assert all(line["event"] == f"input {line['index']}" and line["map"].startswith("m-") for line in lines)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "regular"])
def test_what_is_printed_behind_a_prefix_tells_what_ran(kind: str, tmp_path: Path, server: str) -> None:
    """Also what a handler writes that was made before any input ran."""
    text = _JOB.replace("    return i\n", '    print("printed", i)\n    return i\n')
    configured = "logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stdout)"
    (tmp_path / "job.py").write_text(text.format(configured=configured, guarded="pass"))
    command = [sys.executable, "-m", "actorq.cli", "worker", f"{tmp_path / 'job.py'}:{kind}", "-u", server, "--prefix"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        try:
            done = subprocess.run(
                [sys.executable, "job.py", kind],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT), "ACTORQ_REDIS_URL": server},
                timeout=50,
                check=False,
            )
        finally:
            worker.terminate()
        said = worker.communicate(timeout=20)[0]
    assert done.returncode == 0
    lines = [line for line in said.splitlines() if "printed" in line or "input" in line]
    assert len(lines) == 8
    for line in lines:
        begin, _, rest = line.partition(" | ")
        assert re.fullmatch(rf"log-{kind}-\S+ m-{kind}\[{rest[-1]}\]", begin), line
