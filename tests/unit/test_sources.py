"""How far the inputs of a map are drawn, and in which thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from actorq.errors import DeclarationError
from actorq.maps.sources import MemorySource, RangeSource, ThreadSource, source_of

MAPPING = {1: 2}


def nothing() -> None:
    return


class Counted:
    """Numbers without end. `reached` is set when the number `at` is asked for."""

    def __init__(self, at: int) -> None:
        self.asked = 0
        self.reached = threading.Event()
        self._at = at

    def __iter__(self) -> Iterator[int]:
        while True:
            self.asked += 1
            if self.asked == self._at:
                self.reached.set()
            yield self.asked


def fed(inputs: Iterable[Any], on_input: Any = nothing) -> ThreadSource:
    source = source_of((inputs,), on_input)
    assert isinstance(source, ThreadSource)
    return source


def drawn(source: ThreadSource, told: threading.Semaphore, count: int, ahead: int = 0) -> list[Any]:
    """`count` inputs, or all there are. Waits as a pump does: for a word of the feeder."""
    items: list[Any] = []
    while not source.exhausted:
        items += source.draw(count - len(items), ahead)
        if len(items) == count:
            break
        assert source.exhausted or told.acquire(timeout=10)
    return items


@pytest.mark.parametrize(
    "inputs",
    [
        *([1], (1,), "a", b"a", MAPPING, {1}, frozenset({1}), deque([1])),
        *(MAPPING.keys(), MAPPING.values(), MAPPING.items()),
        *(iter([1]), iter((1,)), iter("a"), iter("ü"), iter(MAPPING.items()), iter({1}), iter(deque([1]))),
        *(iter(range(1)), iter(range(2**70, 2**70 + 1)), reversed([1]), reversed({1: 2})),
    ],
    ids=lambda inputs: type(inputs).__name__,
)
def test_inputs_in_memory_need_no_thread(inputs: Iterable[Any]) -> None:
    source = source_of((inputs,), nothing)
    assert isinstance(source, MemorySource)
    assert len(source.draw(5)) == 1
    assert source.exhausted


def test_a_range_stays_one() -> None:
    source = source_of((range(10),), nothing)
    assert isinstance(source, RangeSource)
    assert (source.draw(3, 3), source.draw(99)) == (range(3), range(3, 10))
    assert source.exhausted


def test_no_more_is_drawn_than_was_asked_for_and_is_soon_to_be() -> None:
    numbers = Counted(at=8)
    source = fed(numbers)
    source.draw(3, 5)
    assert numbers.reached.wait(10)
    source.close()
    source._thread.join(10)
    assert numbers.asked == 8


def test_what_was_fetched_ahead_is_there_at_once() -> None:
    numbers, told = Counted(at=6), threading.Semaphore(0)
    source = fed(numbers, told.release)
    assert drawn(source, told, 2, ahead=4) == [1, 2]
    assert numbers.reached.wait(10)
    assert drawn(source, threading.Semaphore(0), 3) == [3, 4, 5]
    source.close()


def test_the_first_input_is_told_before_there_are_as_many_as_wanted() -> None:
    told, go_on = threading.Semaphore(0), threading.Event()

    def slow() -> Iterator[int]:
        yield 1
        go_on.wait(10)
        yield 2

    source = fed(slow(), told.release)
    assert drawn(source, told, 1, ahead=5) == [1]
    go_on.set()
    assert drawn(source, told, 2, ahead=5) == [2]


def test_an_input_that_comes_while_the_pump_looks_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The feeder has appended it before it could see that the pump is hungry, and will tell nobody."""
    source = fed(number for number in list[int]())
    taken, looks = source._taken, iter([True])

    def look(most: int) -> list[Any]:
        found = taken(most)
        if next(looks, False):
            source._buffer.append("late")
        return found

    monkeypatch.setattr(source, "_taken", look)
    assert source.draw(1) == ["late"]


@pytest.mark.parametrize(("count", "ahead"), [(1, 0), (1, 1), (1, 8), (7, 0), (7, 20), (5000, 5000)])
def test_no_word_of_the_feeder_is_lost(count: int, ahead: int) -> None:
    told, items = threading.Semaphore(0), []
    source = fed((number for number in range(3000)), told.release)
    while not source.exhausted:
        items += drawn(source, told, count, ahead)
    assert items == list(range(3000))


def test_the_length_is_known_when_the_iterator_has_ended() -> None:
    told = threading.Semaphore(0)
    source = fed((number for number in range(5)), told.release)
    totals = [source.total]
    assert drawn(source, told, 1, ahead=8) == [0]
    source._thread.join(10)
    source.draw(1)
    totals.append(source.total)
    assert (totals, source.exhausted) == ([None, 5], False)


def test_an_error_of_the_iterator_comes_after_its_inputs() -> None:
    told = threading.Semaphore(0)

    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("no more")

    source = fed(broken(), told.release)
    assert drawn(source, told, 5) == [1]
    assert str(source.error) == "no more"


@pytest.mark.parametrize("first", [iter([1, 2]), (number for number in (1, 2))], ids=["memory", "fed"])
def test_unequal_lengths_are_explained(first: Iterator[int]) -> None:
    told = threading.Semaphore(0)
    source = source_of((first, iter([1])), told.release)
    while not source.exhausted:
        if not source.draw(5):
            assert source.exhausted or told.acquire(timeout=10)
    assert isinstance(source.error, DeclarationError)
