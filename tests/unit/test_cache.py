"""`@actor_cache`: one load per key, whoever asks."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from actorq import CodecError, actor_cache
from actorq.cache.hooks import LOADS

loads: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    loads.clear()
    for cached in (load, load_async, nothing, fails_once, First.load, Second.load):
        cached.cache_clear()


@actor_cache
def load(a: Any, b: Any = 2) -> list[Any]:
    loads.append(a)
    return [a, b]


@actor_cache
def nothing() -> object:
    loads.append("nothing")
    return object()


@actor_cache
async def load_async(a: int) -> int:
    loads.append(a)
    await asyncio.sleep(0.01)
    return a


@actor_cache
def fails_once() -> str:
    loads.append(1)
    if len(loads) == 1:
        raise OSError("not yet")
    return "ok"


class First:
    @staticmethod
    @actor_cache
    def load(_: int) -> str:
        return "first"


class Second:
    @staticmethod
    @actor_cache
    def load(_: int) -> str:
        return "second"


@dataclass
class Key:
    x: int


def test_a_value_is_loaded_once() -> None:
    assert load(1) is load(1)
    assert nothing() is nothing()
    assert load.cache_info().hits == 1
    assert load.cache_info().misses == 1


def test_positions_keywords_and_defaults_are_the_same_key() -> None:
    assert load(1, 2) is load(1, b=2) is load(b=2, a=1) is load(1)


def test_equal_numbers_of_different_types_are_different_keys() -> None:
    assert load(1) is not load(1.0)
    assert load(1) is not load(True)


@pytest.mark.parametrize("value", [[1, [2]], {"a": 1}, np.arange(3), Key(1), (1, 2), {1, 2}])
def test_arguments_are_compared_by_content(value: Any) -> None:
    import copy

    assert load(value) is load(copy.deepcopy(value))


def test_an_argument_without_content_is_refused() -> None:
    with pytest.raises(CodecError, match="part of a key"):
        load(object())


def test_functions_of_one_name_do_not_collide() -> None:
    assert (First.load(1), Second.load(1)) == ("first", "second")


def test_eight_threads_that_ask_at_once_load_once() -> None:
    barrier = threading.Barrier(8)
    results = []

    def ask() -> None:
        barrier.wait()
        results.append(load("cold"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["cold"]
    assert all(result is results[0] for result in results)


def test_coroutines_share_one_load_and_hit_afterwards() -> None:
    async def main() -> list[int]:
        return [*await asyncio.gather(*(load_async(3) for _ in range(5))), await load_async(3)]

    assert asyncio.run(main()) == [3] * 6
    assert loads == [3]
    assert asyncio.run(main()) == [3] * 6
    assert loads == [3]


def test_a_waiter_that_is_cancelled_does_not_fail_the_others() -> None:
    async def main() -> int:
        impatient = asyncio.create_task(load_async(4))
        patient = asyncio.create_task(load_async(4))
        await asyncio.sleep(0)
        impatient.cancel()
        return await patient

    assert asyncio.run(main()) == 4
    assert loads == [4]


def test_exceptions_are_not_kept() -> None:
    with pytest.raises(OSError, match="not yet"):
        fails_once()
    assert fails_once() == "ok"
    assert fails_once() == "ok"
    assert len(loads) == 2


def test_new_code_does_not_see_what_old_code_loaded() -> None:
    namespace: dict[str, Any] = {"__name__": "edited", "actor_cache": actor_cache}
    exec("@actor_cache\ndef f(): return 'old'", namespace)
    old = namespace["f"]
    assert old() == "old"
    exec("@actor_cache\ndef f(): return 'new'", namespace)
    assert namespace["f"]() == "new"
    exec("@actor_cache\ndef f(): return 'old'", namespace)
    assert namespace["f"].cache_info().currsize == 1  # the same code again finds its value


def _factory(name: str) -> Any:
    @actor_cache
    def made() -> str:
        return name

    return made


def test_functions_made_by_one_factory_have_values_of_their_own() -> None:
    assert (_factory("a")(), _factory("b")()) == ("a", "b")


def test_what_follows_a_load_is_told_the_function_and_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(LOADS, "_listeners", (lambda *what: told.append(what),))

    @actor_cache
    def load(a: int, b: int = 2) -> int:
        if a < 0:
            raise ValueError
        return a

    @actor_cache
    async def load_async(a: int) -> int:
        return a

    load(1)
    load(1, b=2)
    load(a=3)
    with pytest.raises(ValueError):  # noqa: PT011 - ours, of a line above
        load(-1)
    asyncio.run(load_async(4))
    assert told == [(load, (1,), {}), (load, (), {"a": 3}), (load_async, (4,), {})]


def test_a_value_that_is_too_large_to_keep_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(LOADS, "_listeners", (lambda *what: told.append(what),))

    @actor_cache(max_bytes=100)
    def load(size: int) -> bytes:
        return bytes(size)

    load(10)
    load(1000)
    assert [args for _, args, _ in told] == [(10,)]


def test_every_load_is_made_within_what_the_replica_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib

    events = []

    @contextlib.contextmanager
    def keeping() -> Any:
        events.append("in")
        yield
        events.append("out")

    monkeypatch.setattr(LOADS, "_within", keeping)

    @actor_cache
    def load() -> None:
        events.append("load")

    @actor_cache
    async def load_async() -> None:
        events.append("load")

    before = LOADS.count
    load()
    load()
    asyncio.run(load_async())
    assert events == ["in", "load", "out"] * 2
    assert LOADS.count == before + 2
