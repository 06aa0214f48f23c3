"""`@actor_cache`: when values leave, and how large they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq import ActorqError, DeclarationError, actor_cache
from actorq.cache import memo
from actorq.cache.sizes import estimate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(memo, "now", made)
    return made


def bounded(gone: list[Any] | None = None, **options: Any) -> Any:
    """A cached function of one argument that returns a list of it; `gone` gets what leaves."""

    @actor_cache(on_evict=(gone if gone is not None else []).append, **options)
    def load(x: Any) -> list[Any]:
        return [x]

    return load


def kept(load: Any, values: Any) -> list[Any]:
    return [x for x in values if load.has(x)]


def test_the_value_used_longest_ago_goes_first() -> None:
    gone: list[Any] = []
    load = bounded(gone, maxsize=2)
    load(1)
    load(2)
    load(1)
    load(3)
    assert kept(load, range(5)) == [1, 3]
    assert gone == [[2]]
    info = load.cache_info()
    assert (info.hits, info.misses, info.currsize, info.maxsize, info.evictions) == (1, 3, 2, 2, 1)


@given(st.integers(1, 4), st.lists(st.integers(0, 6), max_size=40))
def test_it_keeps_what_functools_lru_cache_keeps(maxsize: int, calls: list[int]) -> None:
    import functools

    loads: list[int] = []
    load = bounded(maxsize=maxsize)
    model = functools.lru_cache(maxsize)(loads.append)
    for x in calls:
        load(x)
        model(x)
    assert (load.cache_info().hits, load.cache_info().misses) == model.cache_info()[:2]
    assert load.cache_info().currsize == model.cache_info().currsize


def test_has_is_no_use_and_no_count() -> None:
    load = bounded(maxsize=2)
    load(1)
    load(2)
    assert load.has(1)
    load(3)
    assert kept(load, range(5)) == [2, 3]
    assert load.cache_info().hits == 0


def test_a_value_is_loaded_again_after_its_time(clock: Clock) -> None:
    gone: list[Any] = []
    load = bounded(gone, ttl=10)
    first = load(1)
    clock.now += 9.9
    assert load(1) is first
    clock.now += 0.1
    assert not load.has(1)
    assert load(1) is not first
    assert gone == [[1]]


def test_what_has_expired_leaves_without_being_asked_for(clock: Clock) -> None:
    gone: list[Any] = []
    load = bounded(gone, ttl=10)
    load(1)
    clock.now += 5
    load(2)
    clock.now += 5
    assert load.cache_info().currsize == 1
    assert gone == [[1]]


def test_a_coroutine_that_has_expired_is_awaited_again(clock: Clock) -> None:
    calls = []

    @actor_cache(ttl=1)
    async def load() -> int:
        calls.append(1)
        return len(calls)

    async def main() -> list[int]:
        first = [await load(), await load()]
        clock.now += 1
        return [*first, await load()]

    assert asyncio.run(main()) == [1, 1, 2]


def test_values_leave_until_their_bytes_fit() -> None:
    gone: list[Any] = []

    @actor_cache(max_bytes=100, size=len, on_evict=lambda value: gone.append(len(value)))
    def load(size: int) -> bytes:
        return bytes(size)

    for size in (40, 50, 30):
        load(size)
    assert gone == [40]
    assert load.cache_info().bytes == 80
    load(90)
    assert gone == [40, 50, 30]
    assert load.cache_info().bytes == 90


def test_a_value_larger_than_all_may_take_is_returned_and_not_kept() -> None:
    gone: list[Any] = []

    @actor_cache(max_bytes=100, on_evict=gone.append)
    def load(size: int) -> bytes:
        return bytes(size)

    small = load(10)
    assert len(load(1000)) == 1000
    assert load.has(10)
    assert not load.has(1000)
    assert load(10) is small
    assert gone == []


@pytest.mark.parametrize("size", [-1, 1.5, None, True])
def test_a_size_that_is_none_is_an_error_of_the_call(size: Any) -> None:
    @actor_cache(size=lambda _: size)
    def load() -> int:
        return 1

    for _ in range(2):
        with pytest.raises(ActorqError, match="size="):
            load()


def test_clearing_tells_what_left_and_forgets_the_counts() -> None:
    gone: list[Any] = []
    load = bounded(gone)
    load(1)
    load(2)
    load.cache_clear()
    assert sorted(gone) == [[1], [2]]
    assert load.cache_info().misses == load.cache_info().bytes == load.cache_info().currsize == 0


def test_an_error_while_a_value_leaves_harms_nothing() -> None:
    def close(value: list[Any]) -> None:
        seen.append(value)
        raise OSError("cannot be closed")

    seen: list[Any] = []

    @actor_cache(maxsize=1, on_evict=close)
    def load(x: int) -> list[int]:
        return [x]

    assert [load(1), load(2), load(3)] == [[1], [2], [3]]
    assert seen == [[1], [2]]


def test_what_is_told_of_a_leaving_value_may_use_the_cache_itself() -> None:
    seen: list[Any] = []

    @actor_cache(maxsize=1, on_evict=lambda value: seen.append((value, load.cache_info().currsize, load.has(1))))
    def load(x: int) -> int:
        return x

    load(1)
    load(2)
    assert seen == [(1, 1, False)]


def test_the_values_of_a_function_that_is_gone_are_told_too() -> None:
    import gc

    gone: list[Any] = []

    def made(value: str) -> Any:
        @actor_cache(on_evict=gone.append)
        def load() -> str:
            return value

        return load

    load = made("a")
    load()
    del load
    gc.collect()
    assert gone == ["a"]


def test_functions_that_tell_different_places_what_leaves_are_not_mixed_up() -> None:
    one: list[Any] = []
    two: list[Any] = []
    first, second = bounded(one), bounded(two)
    first(1)
    second(1)
    second.cache_clear()
    assert (one, two) == ([], [[1]])
    assert bounded(one)(1) is first(1)


def test_many_threads_keep_the_limits_and_lose_no_count() -> None:
    gone: list[Any] = []
    load = bounded(gone, maxsize=3)

    def ask() -> None:
        for i in range(300):
            assert load(i % 7) == [i % 7]

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    info = load.cache_info()
    assert info.currsize == 3
    assert info.hits + info.misses == 4 * 300
    assert info.evictions == len(gone) == info.misses - 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maxsize": 0}, "maxsize=0"),
        ({"maxsize": True}, "maxsize=True"),
        ({"maxsize": "8"}, "maxsize='8'"),
        ({"max_bytes": 1.5}, r"max_bytes=1\.5"),
        ({"max_bytes": -1}, "max_bytes=-1"),
        ({"ttl": 0}, "ttl=0"),
        ({"ttl": float("inf")}, "ttl=inf"),
        ({"ttl": float("nan")}, "ttl=nan"),
        ({"ttl": "1m"}, "ttl='1m'"),
        ({"key": 3}, "key=3"),
        ({"on_evict": "close"}, "on_evict='close'"),
        ({"typo": 1}, "no option 'typo'"),
    ],
)
def test_a_misuse_is_told_when_the_function_is_declared(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        actor_cache(**options)


def test_what_cannot_be_cached_is_told_when_it_is_declared() -> None:
    async def closes(value: object) -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    class Thing:
        def __call__(self) -> None: ...

    with pytest.raises(DeclarationError, match="not awaited"):
        actor_cache(on_evict=closes)
    with pytest.raises(DeclarationError, match="generator"):
        actor_cache(generator)
    with pytest.raises(DeclarationError, match="write @classmethod above it"):
        actor_cache(classmethod(lambda cls: 1))  # type: ignore[call-overload]
    with pytest.raises(DeclarationError, match="needs a function, not a Thing"):
        actor_cache(Thing())


# -- sizes ------------------------------------------------------------------------------------------------------------


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


class Hostile:
    def __sizeof__(self) -> int:
        raise RuntimeError

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


LARGE = 1_000_000


@pytest.mark.parametrize(
    "value",
    [
        bytes(LARGE),
        bytearray(LARGE),
        np.zeros(LARGE, "u1"),
        np.zeros(2 * LARGE, "u1")[::2],
        [np.zeros(LARGE // 4, "u1") for _ in range(4)],
        {"a": Holder({"b": bytes(LARGE)})},
        Slotted((bytes(LARGE),)),
        [bytes(67) for _ in range(10_000)],
        {i: bytes(i // i * 872) for i in range(1, 1001)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_size_of_a_value_is_estimated(value: Any) -> None:
    assert 0.9 * LARGE < estimate(value) < 1.25 * LARGE


def test_an_estimate_looks_at_a_bounded_number_of_objects() -> None:
    looked = []

    class Counted:
        def __sizeof__(self) -> int:
            looked.append(1)
            return 1000

    assert estimate([Counted() for _ in range(100_000)]) > 90_000_000
    assert len(looked) <= 1_100
    looked.clear()
    estimate([[Counted() for _ in range(100)] for _ in range(1000)])
    assert len(looked) <= 10_000


def test_an_object_in_itself_or_in_two_places_is_counted_once() -> None:
    value: list[Any] = [bytes(LARGE)] * 3
    value.append(value)
    assert estimate(value) < 1.5 * LARGE


def test_a_hostile_object_has_no_size() -> None:
    assert estimate(Hostile()) == 0
