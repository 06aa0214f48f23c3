"""A run is its journal: whoever folds it, and whenever a driver takes over, the same results are accepted."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorq.maps.ledger import Ledger
from actorq.maps.sources import MemorySource
from actorq.runs.journal import NoSource
from actorq.wire import codec
from actorq.wire.lease import NONE_RAN, Ended, HandedBack, Lives, Lost, Opened, Reopened, Report, Results
from actorq.wire.messages import Frame
from tests.unit.test_ledger import ERROR, options

INPUTS = 60


def book(ledger: Ledger, report: Report) -> None:
    match report:
        case Opened():
            ledger.opened(report.lease, report.count, alone=report.alone)
        case Results():
            ledger.results(report.lease, report.frame, 0.0)
        case HandedBack():
            ledger.handed_back(report.lease, report.end)
        case Lost():
            ledger.lost(report.lease, report.reason, report.position, report.replica, 0.0)
        case Lives():
            ledger.lives(report.lease)
        case Reopened():
            ledger.reopen()
        case Ended():
            pass


def folded(ledger: Ledger, journal: list[Report], rounds: int) -> Ledger:
    """`ledger`, told of all that has come, as `Journal` does it."""
    ledger.will_reopen = rounds > 0
    for report in journal:
        if isinstance(report, Reopened):
            rounds -= 1
            ledger.will_reopen = rounds > 0
        book(ledger, report)
    return ledger


def taken(ledger: Ledger) -> dict[int, Any]:
    """Index -> output, or the type of the exception, of all that is finished."""
    found: dict[int, Any] = {}
    while (segment := ledger.take()) is not None:
        values, _ = segment.values()
        for offset, value in enumerate(values):
            assert segment.lo + offset not in found, "accepted twice"
            error = segment.errors.get(offset)
            found[segment.lo + offset] = value if error is None else type(error).__name__
    return found


def inputs_of(indexes: Any) -> list[bytes]:
    return [codec.pack(index) for index in indexes]


class World:
    """A driver, replicas that do anything, and the journal."""

    def __init__(self, seed: int, **changes: Any) -> None:
        self.random = random.Random(seed)
        self.asked = options(ordered=False, return_exceptions=True, max_crashes=3, retries=2, **changes)
        self.journal: list[Report] = []
        self.driver = Ledger("r", MemorySource(iter(range(INPUTS)), INPUTS), self.asked)
        self.old: list[str] = []
        self.now = 0.0
        self.rounds = 0
        self.failing = 0.1

    def tell(self, report: Report) -> None:
        self.journal.append(report)
        book(self.driver, report)

    def step(self) -> None:
        self.now += 1e6
        for lease in self.driver.offer(2, self.now):
            self.journal.append(Opened(lease=lease.id, count=lease.count, alone=lease.alone))
            self.old.append(lease.id)
        if not self.driver.outstanding:
            return
        lease = self.random.choice(list(self.driver.outstanding.values()))
        gone = [name for name in self.old if name not in self.driver.outstanding]
        name = self.random.choice(gone) if gone and self.random.random() < 0.1 else lease.id  # perhaps of long ago
        kind = self.random.random()
        if kind < 0.6:
            end = self.random.randint(lease.done, lease.count)
            values = [2 * index for index in lease.indexes[lease.done : end]]
            errors = {at: ERROR for at in range(len(values)) if self.random.random() < self.failing}
            outputs = codec.pack([None if at in errors else value for at, value in enumerate(values)])
            frame = Frame(
                start=lease.done, count=len(values), busy=0.0, replica="w", errors=dict(errors), outputs=outputs
            )
            self.tell(Results(lease=name, frame=frame))
        elif kind < 0.75:
            self.tell(HandedBack(lease=name, end=self.random.randint(lease.done, lease.count)))
        elif kind < 0.95:
            position = self.random.choice([None, NONE_RAN, self.random.randint(0, lease.count)])
            self.tell(Lost(lease=name, reason="died", position=position, replica="w"))
        else:
            self.tell(Lives(lease=name))

    def take_over(self) -> None:
        """Another driver folds the journal and goes on."""
        before = {lease.id: (list(lease.indexes), lease.done) for lease in self.driver.outstanding.values()}
        source = MemorySource(iter([]), None)
        fresh = folded(Ledger("r", source, self.asked), self.journal, self.rounds)
        fresh.fill(inputs_of)
        after = {lease.id: (list(lease.indexes), lease.done) for lease in fresh.outstanding.values()}
        assert after == before
        for lease in fresh.outstanding.values():
            assert codec.split_list(lease.inputs)[lease.done :] == inputs_of(lease.indexes[lease.done :])
        assert fresh.drawn == self.driver.drawn
        assert fresh.needed_from == self.driver.needed_from
        self.go_on(fresh)

    def go_on(self, fresh: Ledger) -> None:
        rest = list(range(fresh.drawn, INPUTS))
        fresh._source = fresh._drawing.source = MemorySource(iter(rest), len(rest))
        fresh._source.total = INPUTS
        self.driver = fresh

    def reopen(self) -> None:
        """The run was ended, whatever was out, and is opened once more."""
        self.rounds += 1
        self.journal += [Ended(lease="", state="failed"), Reopened(lease="")]
        failed = set(self.driver.failed)
        fresh = folded(Ledger("r", MemorySource(iter([]), None), self.asked), self.journal, self.rounds)
        fresh.fill(inputs_of)
        assert (fresh.counters.failed, fresh.outstanding) == (0, {})
        assert fresh.needed_from == min([*failed, self.driver.needed_from])
        self.go_on(fresh)

    def outputs(self) -> dict[int, Any]:
        """As a reader finds them."""
        return taken(folded(Ledger("r", NoSource(INPUTS), self.asked), self.journal, self.rounds))


@given(seed=st.integers(0, 1 << 32), changes=st.lists(st.integers(1, 300), max_size=3, unique=True))
def test_drivers_that_take_over_and_readers_accept_the_same(seed: int, changes: list[int]) -> None:
    world = World(seed)
    for number in range(3000):
        if number in changes:
            world.take_over()
        if world.driver.finished:
            break
        world.step()
    assert world.driver.finished
    found = world.outputs()
    assert sorted(found) == list(range(INPUTS))
    assert all(output in (2 * index, "ValueError", "ReplicaLostError") for index, output in found.items())
    last = Ledger("r", NoSource(INPUTS), world.asked)
    for report in world.journal:
        book(last, report)
    counters, its = world.driver.counters, last.counters
    assert (its.succeeded, its.failed, its.submitted) == (counters.succeeded, counters.failed, counters.submitted)


@given(seed=st.integers(0, 1 << 32), at=st.lists(st.integers(1, 300), max_size=3, unique=True))
def test_what_failed_runs_again_when_a_run_is_reopened(seed: int, at: list[int]) -> None:
    world = World(seed)
    world.failing = 0.5
    for number in range(3000):
        if number in at or world.driver.finished:
            if world.driver.finished and not world.driver.failed:
                break
            world.reopen()
            world.failing /= 2
        world.step()
    assert world.driver.finished
    found = world.outputs()
    assert found == {index: 2 * index for index in range(INPUTS)}
    assert world.driver.counters.succeeded == INPUTS


@pytest.mark.parametrize("lease", ["r-abc123-5", "r-abc123-5xy", ""])
def test_a_lease_whose_id_does_not_tell_its_inputs_is_an_error(lease: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever int() says
        Ledger("r", NoSource(1), options()).opened(lease, 1, alone=False)
