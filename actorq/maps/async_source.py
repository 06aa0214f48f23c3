"""Inputs that are awaited: of `task.map.aio(inputs)` over an async iterable.

The one idea: *they are fetched where they belong*, on the loop of the coroutine that asks for the outputs. The pump, a
thread of its own, tells the loop when there is room for more.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from actorq.errors import DeclarationError
from actorq.maps.fed import FedSource

if TYPE_CHECKING:
    import asyncio

_END = object()


class AsyncInputs(Iterable[Any]):
    """An async iterable, and the loop on which it is iterated.

    Args:
        inputs: it.
        change: called with every input.
    """

    def __init__(
        self, inputs: AsyncIterable[Any], loop: asyncio.AbstractEventLoop, change: Callable[[Any], Any] | None = None
    ) -> None:
        self.inputs = inputs
        self.loop = loop
        self.change = change

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("async inputs are awaited")

    def changed(self, change: Callable[[Any], Any]) -> AsyncInputs:
        """The same, of which `change` makes the inputs."""
        return AsyncInputs(self.inputs, self.loop, change)


class AsyncSource(FedSource):
    """Inputs of async iterables, perhaps beside others: the feeder is a coroutine."""

    def __init__(self, iterables: tuple[Iterable[Any], ...], on_input: Callable[[], None]) -> None:
        super().__init__(None, on_input)
        self._inputs: AsyncGenerator[Any, None] | None = _together(iterables)
        self._loop = next(each.loop for each in iterables if isinstance(each, AsyncInputs))
        import asyncio

        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def _start(self) -> None:
        self._soon(self._begin)

    def _tell(self) -> None:
        self._soon(self._stop if self._closed else self._room.set)

    def _soon(self, action: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for anything
            self._loop.call_soon_threadsafe(action)

    # -- on the loop ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._closed:
            self._task = self._loop.create_task(self._feed())

    def _stop(self) -> None:
        self._room.set()
        self._inputs = None
        if self._task is not None:
            self._task.cancel()

    async def _feed(self) -> None:
        import asyncio

        inputs, self._inputs = self._inputs, None
        assert inputs is not None
        error: BaseException | None = None
        try:
            async for item in inputs:
                if self._put(item) and not await self._wait_for_room():
                    break
        except asyncio.CancelledError:
            if not self._closed:
                error = DeclarationError("The coroutine that fetches the inputs was cancelled.")
        except BaseException as caught:  # the user's code
            error = caught
        finally:
            self._end(error)
            await inputs.aclose()

    async def _wait_for_room(self) -> bool:
        """False when no input is wanted any more."""
        while self._fetched >= self._limit and not self._closed:
            self._room.clear()
            await self._room.wait()
        return not self._closed


async def _together(iterables: tuple[Iterable[Any], ...]) -> AsyncGenerator[Any, None]:
    """The inputs, or lists of them where several iterables advance together."""
    first = iterables[0]
    if len(iterables) == 1:
        assert isinstance(first, AsyncInputs)
        async for item in first.inputs:
            yield item if first.change is None else first.change(item)
        return
    iterators = [aiter(each.inputs) if isinstance(each, AsyncInputs) else iter(each) for each in iterables]
    while True:
        row = [await anext(each, _END) if isinstance(each, AsyncIterator) else next(each, _END) for each in iterators]
        ended = row.count(_END)
        if ended == len(row):
            return
        if ended:
            raise DeclarationError("map() got iterables of unequal lengths: one has ended before the others.")
        yield row
