"""The process that starts the replicas of a machine may die, as any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import psutil
import pytest

from actorq import PoolError
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import parents


def killed_meanwhile(task: Any, count: int, times: int = 1) -> tuple[list[int], set[int]]:
    """The outputs of a map whose replicas' zygote is killed while it runs; and all zygotes there were."""
    handle = task.map(range(count))
    outputs, zygotes = [], set[int]()
    for x, zygote in handle:
        outputs.append(x)
        if zygote not in zygotes and len(zygotes) < times:
            os.kill(zygote, signal.SIGKILL)
        zygotes.add(zygote)
    assert handle.stats().failed == 0
    return outputs, zygotes


@pytest.mark.parametrize(
    "task", [parents.in_warm, parents.in_forked, parents.in_slots, parents.in_spawned], ids=lambda task: task.name
)
def test_a_pool_whose_zygote_is_killed_starts_another_and_loses_nothing(task: Any) -> None:
    outputs, zygotes = killed_meanwhile(task, 400)
    assert outputs == list(range(400))
    assert len(zygotes) == 2
    assert task.remote(1)[1] in zygotes


def test_a_zygote_that_is_killed_while_nothing_runs_is_replaced() -> None:
    zygote = parents.in_warm.remote(0)[1]
    os.kill(zygote, signal.SIGKILL)
    assert eventually(lambda: not psutil.pid_exists(zygote))
    assert parents.in_warm.remote(1)[1] != zygote


@pytest.mark.parametrize("redis_py", [True, False])
def test_a_zygote_imports_redis_py_for_its_executors_where_they_connect_by_it(redis_py: bool) -> None:
    """Also one that was not forked from a worker, which has it already: a tenth of a second for each executor."""
    code = f"""
        import sys
        from actorq import ActorEnvironment
        from actorq.replica.start.executor import prepare
        prepare(ActorEnvironment("prepared"), redis_py={redis_py})
        print("redis" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout == f"{redis_py}\n"


def test_no_executor_outlives_its_zygote() -> None:
    zygote = parents.in_warm.remote(0)[1]
    executors = psutil.Process(zygote).children()
    os.kill(zygote, signal.SIGKILL)
    assert executors
    assert eventually(lambda: not any(each.is_running() for each in executors))


def test_a_worker_whose_zygote_is_killed_serves_on(on_server: str) -> None:
    worker = Worker(on_server, "tests.support.code.parents:warm", environment="parents")
    try:
        worker.wait_ready()
        outputs, zygotes = killed_meanwhile(parents.in_warm, 400, times=2)
        assert outputs == list(range(400))
        assert len(zygotes) == 3
    finally:
        status, events = worker.stop()
    assert status == 0
    assert [event["event"] for event in events].count("zygote_lost") == 2


def test_an_input_that_kills_its_zygote_again_and_again_ends_its_map_with_what_to_look_for() -> None:
    with pytest.raises(PoolError, match=r"lost 5 times in a row.*signals its parent process"):
        list(parents.kills.map(range(8)))
    assert parents.kills.map([1, 2]).results() == [1, 2]  # in another pool
