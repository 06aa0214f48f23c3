"""What a type checker sees of the API. Checked by mypy with the rest of the tests; nothing here runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, assert_type

import actorq
from actorq import ActorEnvironment, actor_cache
from actorq.maps.handle import MapHandle

env = ActorEnvironment("typing")


@env.task
def size(text: str, *, scale: int = 1) -> int:
    return len(text) * scale


@env.task(retries=2, timeout=5, affinity="text")
def shout(text: str) -> str:
    return text.upper()


@env.task
async def fetch(url: str) -> bytes:
    return url.encode()


@actor_cache
def model(name: str) -> list[float]:
    return [1.0]


@actor_cache(maxsize=2, ttl=60, key=lambda name, deep=False: name, on_evict=print)
async def index(name: str, deep: bool = False) -> dict[str, int]:
    return {name: 1}


async def check_async() -> None:
    assert_type(await index("m", deep=True), dict[str, int])


def check() -> None:
    assert_type(size("a"), int)
    assert_type(size.remote("a", scale=2), int)
    assert_type(size.submit("a"), Future[int])
    assert_type(size.map(["a"]), MapHandle[int])
    assert_type(list(shout.map(["a"])), list[str])
    assert_type(size.map(["a"], return_exceptions=True), MapHandle[int | Exception])
    assert_type(size.starmap([("a",)]), MapHandle[int])
    assert_type(size.map.aio(["a"]), AsyncIterator[int])
    coroutines = [fetch("u")]
    assert_type(coroutines, list[Coroutine[Any, Any, bytes]])
    assert_type(fetch.remote("u"), bytes)
    assert_type(fetch.map(["u"]), MapHandle[bytes])
    assert_type(actorq.map(size, ["a"]), MapHandle[int])
    assert_type(actorq.map(partial(shout, text="a")), MapHandle[str])
    assert_type(model("m"), list[float])
    assert_type(model.has(name="m"), bool)
    assert_type(model.cache_info().hits, int)
    model(1)  # type: ignore[arg-type]  # an int is no name
    actor_cache(max_size=1)  # type: ignore[call-overload]  # no such option
    size.remote(1)  # type: ignore[arg-type]  # an int is no text
    size.map(["a"], chunksize=1)  # type: ignore[call-overload]  # no such option
