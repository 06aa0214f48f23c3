"""`async for v in task.map.aio(xs)`: a map's outputs without a thread that waits for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar

from actorq.maps.async_source import AsyncInputs
from actorq.maps.handle import MapHandle, values_of

R = TypeVar("R")


async def outputs_async(
    start: Callable[[Sequence[Iterable[Any]]], MapHandle[R]], iterables: Sequence[Iterable[Any] | AsyncIterable[Any]]
) -> AsyncIterator[R]:
    """The outputs of the map that `start` makes of the inputs, without blocking the event loop, and without a thread
    that waits.
    """
    loop = asyncio.get_running_loop()
    news = asyncio.Event()
    inputs = [AsyncInputs(each, loop) if isinstance(each, AsyncIterable) else each for each in iterables]
    handle = await loop.run_in_executor(None, start, inputs)  # may start a server and replicas
    pump, options = handle._pump, handle._ledger.options

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(news.set)

    pump.listen(tell)
    try:
        while True:
            news.clear()
            segment, over = pump.poll()
            if segment is None:
                if over:
                    return
                await news.wait()
                continue
            for value in values_of(segment, options):
                yield value
    finally:
        await loop.run_in_executor(None, handle.close)
