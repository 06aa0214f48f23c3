"""What an input does to the event loop is not seen by those that run beside it, or after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actorq import testing
from tests.support.code import neighbours
from tests.support.code.neighbours import CULPRIT, HANDS, REFUSED

INPUTS = range(12)
OTHERS = [x for x in INPUTS if x != CULPRIT]


@pytest.fixture(params=["slots", "single", "inline"])
def task(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "inline":
        with testing.inline():
            yield neighbours.in_turn
    else:
        yield {"slots": neighbours.in_slots, "single": neighbours.in_turn}[request.param]


@pytest.mark.parametrize("hand", HANDS)
def test_what_an_input_does_to_its_loop_is_not_seen_by_those_beside_it_and_after_it(task: Any, hand: str) -> None:
    results = list(task.map(INPUTS, kwargs={"hand": hand}, return_exceptions=True))
    culprit = results.pop(CULPRIT)
    assert [result[0] for result in results] == OTHERS
    if hand in REFUSED:
        assert isinstance(culprit, RuntimeError)
        assert f"{hand}()" in str(culprit)
    else:
        assert culprit[0] == CULPRIT
    after = list(task.map(range(CULPRIT), kwargs={"hand": hand}))
    assert after == [(x, False, False) for x in range(CULPRIT)]


def test_an_input_that_lays_hands_on_its_loop_costs_no_process() -> None:
    processes: list[Callable[[int], int]] = [neighbours.in_slot_of.remote, neighbours.process.remote]
    before = [process(0) for process in processes]
    for task in (neighbours.in_slots, neighbours.in_turn):
        for hand in ("stop", "close", "set_task_factory"):
            list(task.map(INPUTS, kwargs={"hand": hand}, return_exceptions=True))
    assert [process(0) for process in processes] == before
