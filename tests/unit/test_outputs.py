"""What a lease has produced, wherever in it somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq.replica.executor.inputs import PART
from actorq.replica.executor.outputs import Outputs
from actorq.replica.executor.run import Prepared, Stop
from actorq.replica.executor.tight import TightRun
from actorq.replica.pages import PAGE_BYTES, Page
from actorq.wire import codec
from actorq.wire.messages import Frame, Head

MANY = 3 * PART + 7


def packed(outputs: list[Any], start: int) -> bytes:
    return codec.pack(outputs)


@given(chunks=st.lists(st.lists(st.integers() | st.text()), max_size=6), last=st.lists(st.integers()), data=st.data())
def test_from_any_position_on_they_are_packed_as_one_list(
    chunks: list[list[Any]], last: list[int], data: st.DataObject
) -> None:
    outputs = Outputs()
    for chunk in chunks:
        outputs.last.extend(chunk)
        assert outputs.seal(packed) == []
    outputs.last.extend(last)
    everything = [*(value for chunk in chunks for value in chunk), *last]
    start = data.draw(st.integers(0, len(everything)))
    assert codec.unpack_list(outputs.packed(start, packed)) == everything[start:]
    assert len(outputs) == len(everything)


def test_who_looks_while_they_are_packed_sees_each_once() -> None:
    outputs = Outputs()
    outputs.last.extend(range(5))
    seen = []

    def looking(values: list[Any], start: int) -> bytes:
        seen.append((outputs.packed(0, packed), len(outputs)))
        return packed(values, start)

    outputs.seal(looking)
    seen.append((outputs.packed(0, packed), len(outputs)))
    assert seen == [(codec.pack([0, 1, 2, 3, 4]), 5)] * 2


def tight(function: Callable[[int], Any], count: int = MANY) -> TightRun:
    """A lease of tiny inputs 0, 1, 2, …"""
    prepared = Prepared(function, Head(task="t"))
    return TightRun(prepared, list(range(count)), Page(memoryview(bytearray(PAGE_BYTES))))


def ran(run: TightRun) -> TightRun:
    run.run(asyncio.new_event_loop)
    return run


def values(*frames: Frame) -> list[Any]:
    return [value for frame in frames for value in codec.unpack_list(frame.outputs)]


@pytest.mark.parametrize("count", [1, PART - 1, PART, PART + 1, MANY])
def test_a_lease_of_tiny_inputs_gives_all_its_outputs_in_order(count: int) -> None:
    frame = ran(tight(str, count)).take("w")
    assert values(frame) == [str(i) for i in range(count)]
    assert (frame.start, frame.count, frame.errors) == (0, count, {})


@pytest.mark.parametrize("at", [3, PART - 1, PART, 2 * PART + 5, MANY - 1])
def test_what_is_finished_can_be_taken_in_the_middle_of_a_tiny_input(at: int) -> None:
    taken: list[Frame] = []

    def task(i: int) -> int:
        if i == at:
            taken.append(run.take("w"))
        return i

    run = tight(task)
    taken.append(ran(run).take("w"))
    assert [(frame.start, frame.count) for frame in taken] == [(0, at), (at, MANY - at)]
    assert values(*taken) == list(range(MANY))


def test_what_was_taken_and_could_not_be_sent_is_taken_again() -> None:
    at, again = PART + 10, 2 * PART + 10

    def task(i: int) -> int:
        if i in (at, again):
            frame = run.take("w")
            if i == at:
                run.untake(frame)
            else:
                first.append(frame)
        return i

    first: list[Frame] = []
    run = tight(task)
    rest = ran(run).take("w")
    assert (first[0].start, first[0].count) == (0, again)
    assert values(first[0], rest) == list(range(MANY))


@pytest.mark.parametrize("at", [0, PART - 1, PART, MANY - 1])
@pytest.mark.parametrize("error", [ValueError, StopIteration])
def test_the_tiny_input_that_raises_fails_alone(at: int, error: type[Exception]) -> None:
    def task(i: int) -> int:
        if i == at:
            raise error("no")
        return i

    frame = ran(tight(task)).take("w")
    assert list(frame.errors) == [at]
    assert frame.errors[at]["type"] == error.__name__
    assert values(frame) == [None if i == at else i for i in range(MANY)]


@pytest.mark.parametrize("at", [5, PART, MANY - 1])
def test_the_tiny_input_whose_output_cannot_be_carried_fails_alone(at: int) -> None:
    frame = ran(tight(lambda i: object() if i == at else i)).take("w")
    assert list(frame.errors) == [at]
    assert frame.errors[at]["final"]
    assert values(frame) == [None if i == at else i for i in range(MANY)]


@pytest.mark.parametrize("at", [5, PART, PART + 5, MANY - 1])
def test_a_lease_of_tiny_inputs_ends_where_it_is_cut(at: int) -> None:
    def task(i: int) -> int:
        if i == at:
            run.cut()
        return i

    run = tight(task)
    assert values(ran(run).take("w")) == list(range(at + 1))
    assert run.count == at + 1


class Stopped(TightRun):
    """A run whose signal handler raises when no input is running: before the part of this number begins."""

    kind, part = "lost", 1

    @property
    def armed(self) -> bool:
        return self._armed

    @armed.setter
    def armed(self, armed: bool) -> None:
        self._armed = armed
        self.part -= armed
        if armed and self.part == 0:
            raise Stop(self.kind)


@pytest.mark.parametrize(("part", "before"), [(1, 0), (2, 2), (3, 18), (4, 146), (5, PART), (6, 2 * PART)])
@pytest.mark.parametrize("kind", ["lost", "cancelled"])
def test_a_stop_that_comes_between_two_inputs_is_charged_to_none(part: int, before: int, kind: str) -> None:
    run = tight(str)
    run.__class__ = Stopped
    assert isinstance(run, Stopped)
    run.part, run.kind = part, kind
    frame = ran(run).take("w")
    done = MANY if kind == "lost" else before
    assert (frame.count, frame.errors) == (done, {})
    assert values(frame) == [str(i) for i in range(done)]
    assert run.stopped == (kind == "cancelled")


def test_a_lease_that_is_cancelled_while_its_outputs_are_packed_ends_there() -> None:
    run = tight(str)

    def packing(outputs: list[Any], start: int) -> bytes:
        run.stopped = True
        return packed(outputs, start)

    run._pack = packing  # type: ignore[method-assign]
    assert ran(run)._inputs.begun == PART


@pytest.mark.parametrize("at", [5, PART + 5])
def test_the_inputs_of_a_cancelled_lease_that_have_not_run_fail(at: int) -> None:
    def task(i: int) -> int:
        if i == at:
            raise Stop("cancelled")
        return i

    run = ran(tight(task))
    run.abandon(wished=True)
    frame = run.take("w")
    assert values(frame) == [i if i < at else None for i in range(MANY)]
    assert list(frame.errors) == list(range(at, MANY))
