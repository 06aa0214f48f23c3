"""Regular tasks: a fresh process for every input, with the map's semantics."""

from __future__ import annotations

import time

import pytest

from actorq import ReplicaLostError, TaskTimeoutError
from tests.support.code import tasks


def test_every_input_has_a_process_of_its_own() -> None:
    outputs = list(tasks.fresh.map(range(4)))
    assert [x for x, _ in outputs] == [0, 1, 2, 3]
    assert len({pid for _, pid in outputs}) == 4


def test_a_failure_comes_back_as_its_own_type() -> None:
    with pytest.raises(ZeroDivisionError):
        list(tasks.fresh_fails.map([1, 0]))


def test_a_single_call_works() -> None:
    assert tasks.fresh.remote(7)[0] == 7


def test_a_timeout_kills_the_process() -> None:
    started = time.monotonic()
    with pytest.raises(TaskTimeoutError):
        tasks.fresh_sleeps.remote(60)
    assert time.monotonic() - started < 20


def test_a_process_that_dies_is_that_inputs_failure() -> None:
    with pytest.raises(ReplicaLostError, match=r"its replica died while it ran: killed by SIGSEGV$"):
        tasks.fresh_dies.remote(1)


def test_a_process_that_closes_what_its_result_goes_through_is_not_taken_for_killed() -> None:
    with pytest.raises(ReplicaLostError, match="closed the descriptor"):
        tasks.fresh_closes.remote(60.0)
