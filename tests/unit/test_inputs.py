"""Which inputs of a lease run, wherever in it a signal handler looks, cuts, or takes the cut back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq.replica.executor import inputs as module
from actorq.replica.executor.inputs import PART, Inputs

MANY = 2 * PART + 7


@pytest.mark.parametrize("values", [range(5, 5 + MANY), [str(i) for i in range(MANY)], range(0), [3]])
def test_all_are_fetched_in_order(values: Sequence[Any]) -> None:
    inputs = Inputs(values)
    assert list(inputs) == list(values)
    assert inputs.begun == inputs.count == len(values)


@pytest.mark.parametrize("count", [PART, MANY])
@given(at=st.integers(0, MANY - 1), again=st.integers(0, MANY - 1), back=st.booleans())
def test_none_that_was_cut_off_is_fetched(count: int, at: int, again: int, back: bool) -> None:
    at, again = at % count, again % count
    inputs, fetched = Inputs(range(count)), []
    for value in inputs:
        fetched.append(value)
        if value == at:
            assert inputs.cut() == (None if at == count - 1 else at + 1)
            if back:
                inputs.uncut()
        if value == again and back:
            inputs.cut()
    end = (again if back else at) + 1
    assert fetched == list(range(end))
    assert inputs.begun == inputs.count == end


def test_a_cut_that_dropped_none_takes_none_back() -> None:
    inputs, fetched = Inputs(range(9)), []
    for value in inputs:
        fetched.append(value)
        if value == 3:
            assert inputs.cut() == 4
            inputs.uncut()
            assert inputs.cut() == 4
            assert inputs.cut() is None
            inputs.uncut()
    assert fetched == [0, 1, 2, 3]


def test_after_an_exception_the_rest_of_the_part_comes_next() -> None:
    inputs = Inputs(range(MANY))
    part = inputs.part()
    assert [next(part), next(part)] == [0, 1]
    assert list(inputs.part()) == list(range(2, PART))
    assert list(inputs.part()) == list(range(PART, 2 * PART))


def _interrupted(inputs: Inputs, opcode: int, handler: Callable[[], None]) -> tuple[list[Any], bool]:
    """What is fetched when `handler` runs in front of this bytecode of the module; whether there are so many."""
    left = [opcode]

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left[0] -= 1
            if left[0] == 0:
                sys.settrace(None)
                handler()
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for it when a trace begins
    sys.settrace(trace)
    try:
        fetched = list(inputs)
    finally:
        sys.settrace(before)
    return fetched, left[0] <= 0


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize(("part", "cuts"), [(3, {0, 3, 6, 8}), (8, {0, 8})])
def test_a_cut_between_any_two_bytecodes_is_exact(
    part: int, cuts: set[int], back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", part)
    opcode, more, ends = 0, True, set()
    while more:
        opcode += 1
        inputs = Inputs(range(10, 18))
        ended = [inputs.count]

        def handler(inputs: Inputs = inputs, ended: list[int] = ended) -> None:
            begun = inputs.begun
            if inputs.cut() is not None:
                ended[0] = begun
                if back:
                    inputs.uncut()
                    ended[0] = 8

        fetched, more = _interrupted(inputs, opcode, handler)
        assert fetched == list(range(10, 10 + ended[0])), opcode
        assert inputs.begun == inputs.count == ended[0], opcode
        ends.add(ended[0])
    assert ends == ({8} if back else cuts)
