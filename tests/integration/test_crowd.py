"""Calls of many threads share leases, and each caller still gets what is its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from actorq.maps import calls
from actorq.runtime.program import runtime, shutdown
from tests.support.code import tasks

THREADS = 40


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    shutdown()
    yield
    shutdown()


def all_at_once(call: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What each of so many threads gets that call twenty times, the first time at once."""
    begin = threading.Barrier(threads)

    def caller(number: int) -> list[Any]:
        begin.wait()
        return [call(20 * number + i) for i in range(20)]

    with ThreadPoolExecutor(threads) as pool:
        return [output for outputs in pool.map(caller, range(threads)) for output in outputs]


def shared() -> bool:
    """Whether calls went to the replicas together."""
    return bool(runtime()._submitters)


def test_each_of_many_threads_gets_the_outputs_of_its_own_calls() -> None:
    assert all_at_once(tasks.double.remote) == [2 * x for x in range(20 * THREADS)]
    assert shared()


def test_calls_of_few_threads_go_to_the_replicas_one_by_one() -> None:
    assert all_at_once(tasks.double.remote, 4) == [2 * x for x in range(80)]
    assert not shared()


def test_keyword_arguments_and_exceptions_reach_who_they_are_for() -> None:
    def call(x: int) -> Any:
        if x % 7:
            return tasks.add.remote(x, 0, c=x)
        with pytest.raises(tasks.OwnError) as caught:
            tasks.raises_own.remote(x)
        return caught.value.code

    assert all_at_once(call) == [2 * x if x % 7 else x for x in range(20 * THREADS)]
    assert shared()


def test_a_callback_of_a_future_may_call_while_many_threads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_CROWD", 0)  # every call finds too many
    tasks.double.submit(1).result()
    called: Future[int] = Future()
    tasks.double.submit(2).add_done_callback(lambda done: called.set_result(tasks.double.remote(done.result())))
    assert called.result(timeout=60) == 8


def test_a_task_of_many_replicas_has_room_for_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actorq.broker.scripts.submitting.replicas", lambda *_: ["r"] * THREADS)
    assert all_at_once(tasks.double.remote) == [2 * x for x in range(20 * THREADS)]
    assert not shared()
