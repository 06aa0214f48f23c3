"""`@actor_cache`: one load for all who ask at once, in threads, in coroutines, over event loops."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextvars import Context
from typing import Any

import pytest

from actorq import ActorqError, actor_cache
from tests.conftest import eventually


class Gate:
    """A load that waits until it is let through, and notes how often it began and ended."""

    def __init__(self) -> None:
        self.began = self.cancelled = 0
        self.started = threading.Event()
        self.open = threading.Event()
        self.error: BaseException | None = None

    def load(self) -> str:
        self.began += 1
        self.started.set()
        assert self.open.wait(10)
        if self.error is not None:
            raise self.error
        return "value"

    async def load_async(self) -> str:
        self.began += 1
        self.started.set()
        try:
            while not self.open.is_set():  # noqa: ASYNC110 - the thread that opens it has no loop
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return "value"


def in_threads(count: int, function: Any) -> tuple[list[threading.Thread], list[Any]]:
    """Threads that have begun to call `function`, and what they return or raise as it comes."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, results


def joined(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def cached_of(gate: Gate) -> Any:
    @actor_cache
    def load() -> str:
        return gate.load()

    return load


def cached_async_of(gate: Gate) -> Any:
    @actor_cache
    async def load() -> str:
        return await gate.load_async()

    return load


def test_an_error_reaches_every_waiting_thread_as_an_object_of_its_own() -> None:
    gate = Gate()
    gate.error = FileNotFoundError(2, "not there")
    load = cached_of(gate)
    threads, errors = in_threads(4, load)
    assert eventually(lambda: load.cache_info().hits == 3)
    gate.open.set()
    joined(threads)
    assert gate.began == 1
    assert [(type(e), e.args, e.errno) for e in errors] == [(FileNotFoundError, (2, "not there"), 2)] * 4
    assert len({id(e) for e in errors}) == 4
    assert all("gate.load" in "".join(_lines(e)) for e in errors)
    assert not load.has()


def _lines(error: BaseException) -> list[str]:
    import traceback

    return traceback.format_exception(error)


def test_an_error_that_cannot_be_copied_is_raised_as_it_is() -> None:
    class OddError(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(f"{a} {b}")

    gate = Gate()
    gate.error = OddError(1, 2)
    load = cached_of(gate)
    threads, errors = in_threads(2, load)
    assert eventually(lambda: load.cache_info().hits == 1)
    gate.open.set()
    joined(threads)
    assert errors == [gate.error] * 2


def test_a_load_that_is_stopped_from_outside_is_taken_over_by_a_thread_that_waits() -> None:
    gate = Gate()
    gate.error = KeyboardInterrupt()
    load = cached_of(gate)
    threads, results = in_threads(1, load)
    assert gate.started.wait(5)
    more, others = in_threads(1, load)
    assert eventually(lambda: load.cache_info().hits == 1)
    gate.open.set()
    joined(threads)
    assert isinstance(results[0], KeyboardInterrupt)
    joined(more)
    assert isinstance(others[0], KeyboardInterrupt)  # it loaded itself, and was stopped in turn
    assert gate.began == 2
    gate.error = None
    assert load() == "value"


@actor_cache
def endless(x: int) -> int:
    return endless(x)


@actor_cache
def ping(x: int) -> int:
    return pong(x)


@actor_cache
def pong(x: int) -> int:
    return ping(x)


@actor_cache
async def endless_async(x: int) -> int:
    return await endless_async(x)


@actor_cache
async def ping_async(x: int) -> int:
    return await pong_async(x)


@actor_cache
async def pong_async(x: int) -> int:
    return await ping_async(x)


@pytest.mark.parametrize("function", [endless, ping])
def test_a_load_that_needs_itself_is_an_error(function: Any) -> None:
    with pytest.raises(ActorqError, match="calls itself"):
        function(1)
    with pytest.raises(ActorqError, match="calls itself"):
        function(1)


@pytest.mark.parametrize("function", [endless_async, ping_async])
def test_a_load_in_a_coroutine_that_needs_itself_is_an_error(function: Any) -> None:
    with pytest.raises(ActorqError, match="calls itself"):
        asyncio.run(function(1))


def test_a_load_that_needs_itself_out_of_another_context_is_an_error() -> None:
    @actor_cache
    def load() -> str:
        return Context().run(load)

    with pytest.raises(ActorqError, match="calls itself"):
        load()


def test_a_load_may_need_the_same_function_with_other_arguments() -> None:
    @actor_cache
    def down(x: int) -> int:
        return x if x == 0 else down(x - 1) + 1

    assert down(5) == 5
    assert down.cache_info().misses == 6


def test_two_coroutines_whose_loads_need_each_other_fail_and_do_not_wait_for_ever() -> None:
    both = asyncio.Event()

    @actor_cache
    async def needs(name: str, other: str) -> str:
        if name == "b":
            both.set()
        await both.wait()
        return name + await needs(other, name)

    async def main() -> list[Any]:
        return list(await asyncio.wait_for(asyncio.gather(needs("a", "b"), needs("b", "a"), return_exceptions=True), 5))

    assert all(isinstance(result, ActorqError) for result in asyncio.run(main()))


def test_two_threads_whose_loads_need_each_other_fail_and_do_not_wait_for_ever() -> None:
    both = threading.Barrier(2)
    met = []

    @actor_cache
    def needs(name: str, other: str) -> str:
        if name not in met:
            met.append(name)
            both.wait(5)
        return name + needs(other, name)

    names = iter(["a", "b"])

    def ask() -> str:
        name = next(names)
        return needs(name, "ab".replace(name, ""))

    threads, results = in_threads(2, ask)
    joined(threads)
    assert [type(result) for result in results] == [ActorqError] * 2


def test_a_load_nobody_waits_for_any_more_is_cancelled() -> None:
    gate = Gate()
    load = cached_async_of(gate)

    async def main() -> None:
        waiters = [asyncio.create_task(load()) for _ in range(3)]
        await asyncio.sleep(0.01)
        for waiter in waiters[:2]:
            waiter.cancel()
        await asyncio.wait(waiters[:2])
        assert gate.cancelled == 0
        waiters[2].cancel()
        await asyncio.wait(waiters)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert gate.cancelled == 1
        gate.open.set()
        assert await load() == "value"  # a new one: nothing of the first is left

    asyncio.run(main())
    assert gate.began == 2


def test_an_error_nobody_waits_for_is_not_reported_as_never_retrieved() -> None:
    told: list[Any] = []

    @actor_cache
    async def load() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            raise OSError("while it was cancelled")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        waiter = asyncio.create_task(load())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
        await asyncio.sleep(0.01)
        del waiter
        gc.collect()

    asyncio.run(main())
    gc.collect()
    assert told == []


def test_an_error_in_a_coroutine_reaches_every_waiter_and_is_not_kept() -> None:
    calls = []

    @actor_cache
    async def load() -> str:
        calls.append(1)
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise OSError("not yet")
        return "ok"

    async def main() -> tuple[list[Any], str]:
        return list(await asyncio.gather(*(load() for _ in range(3)), return_exceptions=True)), await load()

    errors, value = asyncio.run(main())
    assert [str(error) for error in errors] == ["not yet"] * 3
    assert len({id(error) for error in errors}) == 3
    assert (value, len(calls)) == ("ok", 2)


def test_a_stop_that_hits_the_load_reaches_the_task_that_waits() -> None:
    class Stop(BaseException):
        """What the supervisor's signal raises in whatever runs."""

    @actor_cache
    async def load() -> None:
        raise Stop

    async def main() -> str:
        try:
            await load()
        except Stop:
            return "stopped"
        return "not stopped"

    assert asyncio.run(main()) == "stopped"


def test_a_load_that_cancels_itself_is_told_and_not_repeated() -> None:
    calls = []

    @actor_cache
    async def load() -> None:
        calls.append(1)
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await load()

    asyncio.run(main())
    assert len(calls) == 1
