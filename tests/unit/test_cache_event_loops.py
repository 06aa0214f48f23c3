"""`@actor_cache`: one load for several event loops, which may end, stand still or stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from actorq import ActorqError, actor_cache
from tests.conftest import eventually
from tests.unit.test_cache_loads import Gate, cached_async_of, cached_of, in_threads, joined


def test_event_loops_share_one_load() -> None:
    gate = Gate()
    load = cached_async_of(gate)
    first, results = in_threads(1, lambda: asyncio.run(load()))
    assert gate.started.wait(5)
    more, others = in_threads(3, lambda: asyncio.run(load()))
    assert eventually(lambda: load.cache_info().hits == 3)
    gate.open.set()
    joined(first + more)
    assert results + others == ["value"] * 4
    assert gate.began == 1


def test_a_load_whose_event_loop_ended_is_done_by_the_loop_that_waits() -> None:
    gate = Gate()
    load = cached_async_of(gate)
    stop = threading.Event()

    async def begins() -> None:
        waiter = asyncio.create_task(load())
        while not stop.is_set():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        del waiter

    first, _ = in_threads(1, lambda: asyncio.run(begins()))
    assert gate.started.wait(5)
    second, results = in_threads(1, lambda: asyncio.run(load()))
    assert eventually(lambda: load.cache_info().hits == 1)
    stop.set()
    joined(first)
    gate.open.set()
    joined(second)
    assert results == ["value"]
    assert (gate.began, gate.cancelled) == (2, 1)


def test_a_load_in_an_event_loop_that_stands_still_is_not_waited_for() -> None:
    gate = Gate()
    load = cached_async_of(gate)
    still = asyncio.new_event_loop()

    def one_step(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = still.create_task(coroutine)
        still.run_until_complete(asyncio.sleep(0.01))
        return task

    begun = one_step(load())
    gate.open.set()
    assert asyncio.run(load()) == "value"
    assert gate.began == 2
    assert still.run_until_complete(begun) == "value"  # it ends for who began it
    still.close()


def test_an_event_loop_that_stops_in_the_middle_of_a_load_does_not_hold_up_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from actorq.cache import coroutines

    monkeypatch.setattr(coroutines, "_LOOK_SECONDS", 0.01)
    gate = Gate()
    load = cached_async_of(gate)
    stopped = asyncio.new_event_loop()
    task = stopped.create_task(load())
    first, _ = in_threads(1, stopped.run_forever)
    assert gate.started.wait(5)
    second, results = in_threads(1, lambda: asyncio.run(load()))
    assert eventually(lambda: load.cache_info().hits == 1)
    stopped.call_soon_threadsafe(stopped.stop)
    joined(first)
    gate.open.set()
    joined(second)
    assert results == ["value"]
    task.cancel()
    stopped.run_until_complete(asyncio.wait([task]))
    stopped.close()


def test_a_call_that_is_dropped_without_an_event_loop_harms_nothing() -> None:
    gate = Gate()
    load = cached_async_of(gate)
    loop = asyncio.new_event_loop()
    call = load()
    task = loop.create_task(load())
    loop.run_until_complete(asyncio.sleep(0.01))
    call.close()
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    gate.open.set()
    assert asyncio.run(load()) == "value"


def test_a_plain_function_that_returns_a_coroutine_is_refused() -> None:
    async def real() -> int:
        return 1

    @actor_cache
    def load() -> Any:
        return real()

    with pytest.raises(ActorqError, match="async def"):
        load()


def test_a_value_that_is_cleared_while_it_loads_is_not_kept() -> None:
    gate = Gate()
    load = cached_of(gate)
    threads, results = in_threads(2, load)
    assert eventually(lambda: load.cache_info().hits == 1)
    load.cache_clear()
    gate.open.set()
    joined(threads)
    assert results == ["value"] * 2
    assert not load.has()
    assert load() == "value"
    assert gate.began == 2
