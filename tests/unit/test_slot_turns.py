"""Which concurrency slots of a process may run at the same time."""

from __future__ import annotations

import threading

from actorq.replica.executor.turns import Turns
from tests.conftest import eventually


class Entering:
    """A slot that waits for its turn, in a thread of its own."""

    def __init__(self, turns: Turns, code: str = "a", *, alone: bool = False) -> None:
        self.inside = threading.Event()
        self._turns = turns
        threading.Thread(target=self._enter, args=(code, alone), daemon=True).start()

    def _enter(self, code: str, alone: bool) -> None:
        self._turns.enter(code, alone=alone)
        self.inside.set()


def enter(turns: Turns, code: str = "a", *, alone: bool = False) -> Entering:
    slot = Entering(turns, code, alone=alone)
    assert slot.inside.wait(5)
    return slot


def test_slots_with_the_same_code_run_beside_each_other_and_others_wait() -> None:
    turns = Turns()
    enter(turns)
    enter(turns)
    other = Entering(turns, "b")
    assert not other.inside.wait(0.05)
    turns.leave()
    assert not other.inside.wait(0.05)
    turns.leave()
    assert other.inside.wait(5)


def test_nobody_runs_beside_one_that_is_alone() -> None:
    turns = Turns()
    enter(turns)
    alone = Entering(turns, alone=True)
    assert not alone.inside.wait(0.05)
    behind = Entering(turns)  # the same code, but who waits to be alone is first
    assert not behind.inside.wait(0.05)
    turns.leave()
    assert eventually(lambda: alone.inside.is_set() or behind.inside.is_set())
    turns.leave()
    assert eventually(lambda: alone.inside.is_set() and behind.inside.is_set())


def test_what_runs_may_wait_for_one_that_queues_behind_who_is_to_be_alone() -> None:
    """A task that calls its own environment: it ends when the inner call has run."""
    turns = Turns()
    enter(turns)
    alone = Entering(turns, alone=True)
    inner = Entering(turns)
    assert inner.inside.wait(10)
    assert not alone.inside.is_set()
    turns.leave()
    turns.leave()
    assert alone.inside.wait(10)
