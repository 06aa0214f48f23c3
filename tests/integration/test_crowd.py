"""Calls of many threads share leases, and each caller still gets what is its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from actorq.broker.scripts import submitting
from actorq.errors import BrokerError
from actorq.maps.calls import Caller
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
    return any(kind == "calls" for *_, kind in runtime()._submitters)


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


@pytest.mark.parametrize("threads", [0, 2])
def test_a_callback_of_a_future_may_call_while_many_threads_do(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Itself, or in threads for which it waits."""
    monkeypatch.setattr(Caller, "is_crowded", lambda _: True)

    def calls(done: Future[int]) -> None:
        if threads:
            with ThreadPoolExecutor(threads) as pool:
                called.set_result(sum(pool.map(tasks.double.remote, [done.result()] * threads)))
        else:
            called.set_result(tasks.double.remote(done.result()))

    called: Future[int] = Future()
    tasks.double.submit(2).add_done_callback(calls)
    assert called.result(timeout=60) == 8 * max(threads, 1)
    assert shared()


def test_a_task_of_many_replicas_has_room_for_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> list[str]:
        time.sleep(0.05)  # the others call meanwhile
        return ["r"] * THREADS

    monkeypatch.setattr(submitting, "replicas", asked)
    assert all_at_once(tasks.double.remote) == [2 * x for x in range(20 * THREADS)]
    assert not shared()


def test_a_call_does_not_fail_because_nobody_knows_how_many_replicas_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> list[str]:
        raise BrokerError("The server does not say.")

    monkeypatch.setattr(submitting, "replicas", fails)
    assert all_at_once(tasks.double.remote) == [2 * x for x in range(20 * THREADS)]
    assert not shared()


def test_threads_that_call_first_at_once_share_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Caller] = []
    begin = Caller.__init__

    def noting(caller: Caller, *args: Any) -> None:
        made.append(caller)
        begin(caller, *args)

    monkeypatch.setattr(Caller, "__init__", noting)
    all_at_once(tasks.double.remote)
    assert len(made) == 1


def test_calls_of_a_task_with_affinity_keep_a_lease_of_their_own() -> None:
    assert all_at_once(tasks.by_key.remote) == list(range(20 * THREADS))
    assert not shared()


def test_calls_go_before_a_map_however_many_threads_make_them() -> None:
    """Beside a map they keep a lease of their own, as soon as that is seen."""
    with tasks.wait.map([0.2] * 200, order_outputs=False) as handle:
        next(handle)
        assert all_at_once(tasks.double.remote) == [2 * x for x in range(20 * THREADS)]
        assert not shared()
        assert handle.stats().succeeded < 100
