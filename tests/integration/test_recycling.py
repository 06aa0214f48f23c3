"""Replicas whose process is replaced: after so many inputs or so much time, with warm caches, and with exit hooks."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.support.code import hooked
from tests.support.code.hooked import Start, lines, steps


@pytest.fixture(params=hooked.LEVELS)
def worn(request: pytest.FixtureRequest, start: Start) -> str:
    """The name of an environment that is served, and whose executors last for five inputs."""
    name = f"worn-{request.param}"
    start(f"worn_{request.param}", name).wait_ready(1)
    return name


def test_the_caches_are_warm_again_before_the_next_input(worn: str, log: Path) -> None:
    found = [hooked.USES[worn].remote("a") for _ in range(12)]
    assert found == [False] + [True] * 11
    loads = Counter(line for line in lines(log) if line.startswith("load-a"))
    children = 1 if worn == "worn-fork" else 0  # the first miss loads in the child, and then in the replica
    assert len(loads) == 3 + children
    assert set(loads.values()) == {1}


def test_values_that_were_loaded_by_coroutines_are_warm_again(worn: str) -> None:
    assert [hooked.USES_ASYNC[worn].remote("b") for _ in range(12)] == [False] + [True] * 11


def test_every_recycled_executor_runs_its_exit_hooks_once(worn: str, log: Path) -> None:
    for x in range(12):
        hooked.WHERE[worn].remote(x)
    assert eventually(lambda: steps(log).count("exit-last") == 2)
    assert steps(log) == [*["input"] * 5, "exit-last", *["input"] * 5, "exit-last", "input", "input"]


def test_a_load_that_fails_after_recycling_is_left_out(start: Start, tmp_path: Path, log: Path) -> None:
    worker = start("worn_none", "worn-none")
    use = hooked.USES["worn-none"].remote
    assert [use("a") for _ in range(4)] == [False, True, True, True]
    (tmp_path / "no-a").touch()
    assert use("a") is True  # the last input of this executor
    assert eventually(lambda: steps(log).count("load-a") == 2)
    (tmp_path / "no-a").unlink()
    assert [use("a"), use("a")] == [False, True]
    _, events = worker.stop()
    (left_out,) = [event for event in events if event["event"] == "cache_not_warmed"]
    assert left_out["function"] == "tests.support.code.hooked.model"
    assert "no a" in left_out["error"]


def test_a_crash_leaves_nothing_to_the_next_executor(start: Start) -> None:
    worker = start("worn_none", "worn-none")
    assert hooked.USES["worn-none"].remote("a") is False
    assert hooked.USES["worn-none"].remote("a") is True
    worker.wait_ready(1)
    (executor,) = worker.executors()
    executor.send_signal(signal.SIGKILL)
    assert eventually(lambda: not executor.is_running())
    assert hooked.USES["worn-none"].remote("a") is False


def test_an_executor_is_replaced_at_its_age_while_it_works(start: Start) -> None:
    start("aging", "aging").wait_ready(1)
    task = hooked.WHERE["aging"]
    first = task.remote(0)[0]
    assert eventually(lambda: task.remote(0)[0] != first, timeout=30)


def test_an_executor_is_replaced_at_its_age_while_it_has_nothing_to_do(start: Start) -> None:
    worker = start("aging", "aging")
    worker.wait_ready(1)
    (executor,) = worker.executors()
    assert eventually(lambda: not executor.is_running(), timeout=30)
    assert hooked.WHERE["aging"].remote(0)[0] != executor.pid
