"""An input that lays hands on the tasks of others costs them nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from actorq import TaskError, TaskTimeoutError
from tests.conftest import eventually
from tests.support.code import neighbours
from tests.support.code.neighbours import CULPRIT

INPUTS = range(12)
OTHERS = [x for x in INPUTS if x != CULPRIT]


@pytest.mark.parametrize(
    "task", [neighbours.sweeps, neighbours.sweeps_itself_too, neighbours.sweeps_in_a_callback], ids=lambda t: t.name
)
def test_an_input_that_cancels_all_tasks_fails_alone_and_says_what_it_did(task: Any) -> None:
    results = list(task.map(INPUTS, return_exceptions=True))
    culprit = results.pop(CULPRIT)
    assert results == OTHERS
    assert isinstance(culprit, TaskError)
    assert f"Input {CULPRIT}: cancelled " in str(culprit)
    assert "asyncio.all_tasks()" in str(culprit)


def test_inputs_and_calls_beside_one_that_cancels_all_tasks_are_never_charged() -> None:
    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(neighbours.lingers.remote, x) for x in range(4)]
        guilty = neighbours.sweeps.map([CULPRIT] * 2, return_exceptions=True)
        assert list(neighbours.lingers.map(INPUTS)) == list(INPUTS)
        assert [call.result() for call in calls] == list(range(4))
    for outcome in guilty:  # one that ran alone has harmed nobody
        assert outcome == CULPRIT or "cancelled" in str(outcome)


def test_what_is_cancelled_by_nobody_knows_whom_runs_again() -> None:
    assert list(neighbours.sweeps_from_a_thread.map(INPUTS)) == list(INPUTS)


def test_an_input_whose_own_tasks_were_cancelled_by_another_yields_no_other_result() -> None:
    results = list(neighbours.swallows.map(INPUTS, return_exceptions=True))
    results.pop(CULPRIT)
    assert results == [8] * len(OTHERS)


def test_an_input_that_cancels_itself_is_to_blame() -> None:
    results = list(neighbours.cancels_itself.map(INPUTS, return_exceptions=True))
    assert "CancelledError" in str(results.pop(CULPRIT))
    assert results == OTHERS


def test_what_a_load_has_started_outlives_the_input_that_began_the_load() -> None:
    begun = neighbours.impatient.submit("a")
    waiting = [neighbours.patient.submit("a") for _ in range(4)]
    with pytest.raises(TaskTimeoutError):
        begun.result(20)
    assert [future.result(20) for future in waiting] == ["a"] * 4


def test_a_replica_whose_own_tasks_were_cancelled_is_replaced_and_nobody_is_charged() -> None:
    pid, lives = neighbours.lives.remote(0)
    assert lives
    assert neighbours.sweeps_the_replica.remote(1) == 1
    assert eventually(lambda: neighbours.lives.remote(0)[0] != pid)
    assert all(lives for _, lives in neighbours.lives.map(range(20)))
