"""Whatever `map` of Python takes, a task's takes too; and what is awaited, `map.aio`."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from actorq import DeclarationError
from tests.conftest import eventually
from tests.support.code import tasks


class Rows:
    """As a map-style dataset has it: no `__iter__`."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: int) -> int:
        if at >= 3:
            raise IndexError
        return at


class Endless:
    """As a map-style dataset that knows only its length."""

    def __getitem__(self, at: int) -> int:
        return at


class Stream:
    """Iterable, with a length that says nothing."""

    def __init__(self, length: int | None) -> None:
        self._length = length

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("no length")
        return self._length

    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


@pytest.mark.parametrize("inputs", [Rows(), *(Stream(length) for length in (None, 0, 1, 2, 3, 9))])
def test_what_the_built_in_map_takes_is_taken(inputs: Any) -> None:
    assert list(tasks.double.map(inputs)) == list(map(lambda x: 2 * x, inputs))  # noqa: C417 - it is what is compared


def test_a_sequence_without_an_end_is_drawn_as_far_as_needed() -> None:
    endless: Any = Endless()
    assert list(itertools.islice(tasks.double.map(endless), 5)) == [0, 2, 4, 6, 8]


def test_lengths_that_are_estimates_are_no_lengths() -> None:
    assert list(tasks.add.map(Stream(7), [10, 20, 30])) == [10, 21, 32]
    with pytest.raises(DeclarationError, match="unequal"):
        list(tasks.add.map(Stream(None), [10, 20]))


class Rented:
    """A generator, and whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def rows(self) -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            self.closed = True


@pytest.mark.parametrize("way", ["with", "break", "exhausted", "error", "never"])
def test_a_generator_is_closed_when_its_map_ends_by_counting_references_alone(way: str) -> None:
    rented = Rented()
    gc.collect()
    gc.disable()
    try:
        if way == "with":
            with tasks.double.map(rented.rows()) as outputs:
                next(outputs)
            del outputs
        elif way == "break":
            for _ in tasks.double.map(rented.rows()):
                break
        elif way == "exhausted":
            list(tasks.double.map(itertools.islice(rented.rows(), 5)))
        elif way == "error":
            with pytest.raises(Exception, match="no 3"):
                list(tasks.fails_at.map(rented.rows()))
        else:
            tasks.double.map(rented.rows()).close()
        assert eventually(lambda: rented.closed)
    finally:
        gc.enable()


# -- awaited -----------------------------------------------------------------------------------------------------------


async def ticks(count: int) -> AsyncIterator[int]:
    for i in range(count):
        await asyncio.sleep(0)
        yield i


def test_async_inputs_are_awaited_on_the_loop_of_the_caller() -> None:
    async def main() -> list[int]:
        return [output async for output in tasks.double.map.aio(ticks(500))]

    assert asyncio.run(main()) == [2 * i for i in range(500)]


def test_async_inputs_may_be_beside_others_and_argument_tuples() -> None:
    async def pairs() -> AsyncIterator[tuple[int, int]]:
        async for i in ticks(3):
            yield i, 10 * i

    async def main() -> tuple[list[int], list[int]]:
        beside = [output async for output in tasks.add.map.aio(ticks(3), [1, 2, 3])]
        return beside, [output async for output in tasks.add.starmap.aio(pairs())]

    assert asyncio.run(main()) == ([1, 3, 5], [0, 11, 22])


def test_async_inputs_of_unequal_lengths_are_an_error() -> None:
    async def main() -> None:
        async for _ in tasks.add.map.aio(ticks(3), [1, 2]):
            pass

    with pytest.raises(DeclarationError, match="unequal"):
        asyncio.run(main())


def test_async_inputs_are_drawn_only_as_far_as_needed_and_closed_when_the_map_ends() -> None:
    seen = 0

    async def main() -> None:
        closed = asyncio.Event()

        async def endless() -> AsyncIterator[int]:
            nonlocal seen
            try:
                for i in itertools.count():
                    seen = i
                    yield i
                    await asyncio.sleep(0)
            finally:
                closed.set()

        outputs = tasks.double.map.aio(endless(), max_outstanding=20)
        async for output in outputs:
            if output == 10:
                break
        await outputs.aclose()  # type: ignore[attr-defined]
        await closed.wait()

    asyncio.run(main())
    assert seen < 200


def test_an_error_of_async_inputs_comes_after_the_outputs_before_it() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise RuntimeError("no more")

    outputs: list[int] = []

    async def main() -> None:
        async for output in tasks.double.map.aio(broken()):
            outputs.append(output)  # noqa: PERF401 - what came before the error is looked at

    with pytest.raises(RuntimeError, match="no more"):
        asyncio.run(main())
    assert outputs == [2]


def test_a_call_is_awaited_without_blocking_the_loop() -> None:
    async def main() -> list[float]:
        return await asyncio.gather(*(tasks.wait.remote.aio(0.05) for _ in range(4)))

    assert asyncio.run(main()) == [0.05] * 4


def test_an_awaited_call_raises_what_the_task_raised() -> None:
    async def main() -> None:
        await tasks.fails_at.remote.aio(3)

    with pytest.raises(ValueError, match="no 3"):
        asyncio.run(main())
