"""The submitter's books, against a model: every order of results, deaths and hand-backs ends with each output once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actorq import Backoff, MapFailedError, ReplicaLostError, TaskError, TaskTimeoutError
from actorq.declare.map_options import MapOptions
from actorq.declare.retry import Rules
from actorq.maps.ledger import Ledger
from actorq.maps.sources import MemorySource
from actorq.wire import codec, failure
from actorq.wire.lease import LAPSED, Lease
from actorq.wire.messages import Frame, Head


def options(**changes: Any) -> MapOptions:
    rules = {name: changes.pop(name) for name in [field.name for field in fields(Rules)] if name in changes}
    return MapOptions(environment="e", head=Head(task="t"), rules=Rules(**rules), **changes)


def ledger_of(inputs: Any, **changes: Any) -> Ledger:
    total = len(inputs) if hasattr(inputs, "__len__") else None
    return Ledger("m", MemorySource(iter(inputs), total), options(**changes))


def frame(lease: Lease, start: int, end: int, errors: dict[int, Any] | None = None, busy: float = 1e-5) -> Frame:
    """Doubles the inputs of a lease from `start` to `end`."""
    values = codec.unpack_list(lease.inputs)[start:end]
    outputs = [None if errors and i in errors else 2 * v for i, v in enumerate(values)]
    return Frame(
        start=start,
        count=end - start,
        busy=busy * len(values),
        replica="r",
        errors=errors or {},
        outputs=codec.pack(outputs),
    )


def outputs_of(ledger: Ledger) -> list[Any]:
    outputs: list[Any] = []
    while (segment := ledger.take()) is not None:
        values = codec.unpack_list(segment.outputs)
        outputs += [segment.errors.get(i, value) for i, value in enumerate(values)]
    return outputs


def run_all(ledger: Ledger, replicas: int = 2) -> list[Any]:
    """Runs a map whose replicas never fail."""
    outputs = []
    now = 0.0
    while not ledger.finished:
        now += 1.0
        for lease in ledger.offer(replicas, now):
            ledger.results(lease.id, frame(lease, 0, lease.count), now)
        outputs += outputs_of(ledger)
    return outputs


ERROR = failure.describe(ValueError("no"))


def test_outputs_are_in_order_and_complete() -> None:
    assert run_all(ledger_of(range(10_000))) == [2 * x for x in range(10_000)]


def test_leases_grow_when_inputs_are_quick() -> None:
    ledger = ledger_of(iter(range(100_000)))
    sizes = []
    while not ledger.finished:
        for lease in ledger.offer(2, 0.0):
            sizes.append(lease.count)
            ledger.results(lease.id, frame(lease, 0, lease.count, busy=1e-6), 0.0)
        outputs_of(ledger)
    assert sizes[0] == 1
    assert max(sizes) > 5000


def test_slow_inputs_travel_alone() -> None:
    ledger = ledger_of(range(100))
    while not ledger.finished:
        for lease in ledger.offer(2, 0.0):
            assert lease.count == 1
            ledger.results(lease.id, frame(lease, 0, 1, busy=0.05), 0.0)
        outputs_of(ledger)


def test_a_result_of_a_lease_that_was_given_up_is_dropped() -> None:
    ledger = ledger_of(range(3))
    first = ledger.offer(1, 0.0)[0]
    ledger.lost(first.id, "killed", 0, "r", 0.0)
    ledger.results(first.id, frame(first, 0, 1), 0.0)
    assert ledger.counters.late == 1
    assert run_everything(ledger) == [0, 2, 4]


def test_a_frame_sent_twice_counts_once() -> None:
    ledger = ledger_of([1])
    lease = ledger.offer(1, 0.0)[0]
    for _ in range(2):
        ledger.results(lease.id, frame(lease, 0, 1), 0.0)
    assert outputs_of(ledger) == [2]
    assert ledger.finished


def test_a_part_of_a_lease_that_is_told_twice_counts_once() -> None:
    ledger = ledger_of(range(100))
    for _ in range(3):  # until leases are larger than one input
        for lease in ledger.offer(1, 0.0):
            ledger.results(lease.id, frame(lease, 0, lease.count), 0.0)
    lease = next(each for each in ledger.offer(1, 0.0) if each.count > 1)
    for _ in range(2):
        ledger.results(lease.id, frame(lease, 0, 1), 0.0)
    assert ledger.counters.late == 1
    assert run_everything(ledger) == [2 * x for x in range(100)]


def test_it_is_held_back_where_outputs_that_nobody_takes_are_in_the_way() -> None:
    ledger = ledger_of(range(100), max_outstanding=6)
    leases = ledger.offer(1, 0.0)
    assert (len(leases), ledger.held_back) == (4, False)  # the window is full
    for lease in leases:
        ledger.results(lease.id, frame(lease, 0, 1), 0.0)
    assert sum(lease.count for lease in ledger.offer(1, 0.0)) == 2
    assert ledger.held_back
    assert outputs_of(ledger) == [0, 2, 4, 6]
    assert sum(lease.count for lease in ledger.offer(1, 0.0)) == 4


def grown(count: int = 1000) -> tuple[Ledger, Lease]:
    """A map in which leases have many inputs, and one of its leases."""
    ledger = ledger_of(iter(range(count)))
    while True:
        leases = ledger.offer(1, 0.0)
        for lease in leases:
            if lease.count > 20:
                for other in leases:
                    if other is not lease:
                        ledger.results(other.id, frame(other, 0, other.count), 0.0)
                return ledger, lease
            ledger.results(lease.id, frame(lease, 0, lease.count), 0.0)
        outputs_of(ledger)


def test_only_the_input_that_ran_is_charged_with_a_death() -> None:
    ledger, lease = grown()
    before = outputs_of(ledger)
    for attempt in range(3):
        victim = next(le for le in ledger.outstanding.values() if lease.indexes[7] in le.indexes)
        ledger.lost(victim.id, "killed by SIGSEGV", lease.indexes[7] - victim.indexes[0], "r", 0.0)
        if attempt < 2:
            ledger.offer(8, 1.0)
    outputs = before + run_everything(ledger)
    errors = [o for o in outputs if isinstance(o, Exception)]
    assert len(errors) == 1
    assert isinstance(errors[0], ReplicaLostError)
    assert "SIGSEGV" in str(errors[0])
    assert ledger.counters.failed == 1


def run_everything(ledger: Ledger) -> list[Any]:
    outputs = outputs_of(ledger)
    for _ in range(10_000):
        if ledger.finished:
            return outputs
        ledger.offer(8, 1e9)
        for lease in list(ledger.outstanding.values()):
            ledger.results(lease.id, frame(lease, lease.done, lease.count), 0.0)
        outputs += outputs_of(ledger)
    raise AssertionError("the map does not end")


def test_a_death_at_an_unknown_input_splits_the_lease_until_it_is_alone() -> None:
    ledger, lease = grown(20_000)
    poison = lease.indexes[0] + 3
    rounds = 0
    while not ledger.counters.failed:
        rounds += 1
        ledger.offer(4, 1e9)
        for each in list(ledger.outstanding.values()):
            if each.indexes[0] <= poison < each.indexes[0] + each.count:
                ledger.lost(each.id, "lapsed", None, "r", 0.0)
            else:
                ledger.results(each.id, frame(each, 0, each.count), 0.0)
        outputs_of(ledger)
    assert rounds < 60
    assert isinstance(ledger.failures[0], ReplicaLostError)


def test_what_shared_a_process_that_died_is_charged_only_if_it_ends_one_of_its_own() -> None:
    ledger = ledger_of([1, 2], shared=True, max_crashes=1, return_exceptions=True)
    for lease in ledger.offer(2, 0.0):
        ledger.lost(lease.id, "killed by SIGKILL", 0, "r", 0.0)
    (innocent,) = ledger.offer(2, 0.0)
    assert innocent.alone
    ledger.results(innocent.id, frame(innocent, 0, 1), 0.0)
    (poison,) = ledger.offer(2, 0.0)
    assert (poison.alone, ledger.counters.failed) == (True, 0)
    ledger.lost(poison.id, "killed by SIGKILL", 0, "r", 0.0)  # with that before it the second
    output, lost = outputs_of(ledger)
    assert output == 2
    assert isinstance(lost, ReplicaLostError)


def test_what_was_stopped_without_anybodys_wish_runs_again_and_costs_no_try() -> None:
    ledger = ledger_of([1], retries=0)
    for _ in range(3):
        lease = ledger.offer(1, 0.0)[0]
        ledger.results(lease.id, frame(lease, 0, 1, {0: failure.described(failure.FORGONE, "stopped")}), 0.0)
    assert (ledger.counters.failed, ledger.counters.retried) == (0, 0)
    assert run_everything(ledger) == [2]


def test_what_another_input_has_disturbed_is_charged_only_if_it_was_alone() -> None:
    ledger = ledger_of([1, 2], shared=True, return_exceptions=True)
    disturbed = {0: failure.described(failure.DISTURBED, "was cancelled")}
    for lease in ledger.offer(2, 0.0):
        ledger.results(lease.id, frame(lease, 0, 1, disturbed), 0.0)
    for again in (None, disturbed):  # the second time it is said of one that had no neighbours
        (lease,) = ledger.offer(2, 0.0)
        assert (lease.alone, ledger.counters.failed, ledger.counters.retried) == (True, 0, 0)
        ledger.results(lease.id, frame(lease, 0, 1, again), 0.0)
    output, error = outputs_of(ledger)
    assert output == 2
    assert isinstance(error, TaskError)


def test_suspects_are_tried_one_after_the_other() -> None:
    ledger = ledger_of([1, 2, 3], shared=True)
    for lease in ledger.offer(3, 0.0):
        ledger.lost(lease.id, "killed by SIGKILL", 0, "r", 0.0)
    for _ in range(3):
        (suspect,) = ledger.offer(3, 0.0)
        ledger.results(suspect.id, frame(suspect, 0, 1), 0.0)
    assert ledger.finished


def test_a_replica_that_lives_takes_back_what_its_input_was_charged_with() -> None:
    ledger = ledger_of([1], max_crashes=1)
    for _ in range(5):
        (lease,) = ledger.offer(1, 0.0)
        ledger.lost(lease.id, LAPSED, None, "r", 0.0)
        ledger.lives(lease.id)
        ledger.lives(lease.id)  # told twice
    assert ledger.counters.failed == 0
    for _ in range(2):
        (lease,) = ledger.offer(1, 0.0)
        ledger.lost(lease.id, LAPSED, None, "r", 0.0)
    assert ledger.counters.failed == 1


def test_a_timeout_that_killed_its_replica_is_a_timeout() -> None:
    ledger = ledger_of([1], return_exceptions=True)
    lease = ledger.offer(1, 0.0)[0]
    ledger.lost(lease.id, failure.TIMEOUT, 0, "r", 0.0)
    assert isinstance(outputs_of(ledger)[0], TaskTimeoutError)


def test_retries_wait_for_their_time() -> None:
    from actorq import Backoff

    ledger = ledger_of([1], retries=1, retry_delay=Backoff(base=5, jitter=False))
    lease = ledger.offer(1, 0.0)[0]
    ledger.results(lease.id, frame(lease, 0, 1, {0: ERROR}), 0.0)
    assert ledger.offer(1, 4.9) == []
    assert ledger.next_retry() == 5.0
    again = ledger.offer(1, 5.0)[0]
    assert again.last_try
    ledger.results(again.id, frame(again, 0, 1), 5.0)
    assert outputs_of(ledger) == [2]


def test_a_map_ends_as_soon_as_it_cannot_succeed() -> None:
    ledger = ledger_of(range(100), min_success_ratio=0.9)
    count = 0
    while ledger.fatal is None:
        for lease in ledger.offer(1, 0.0):
            count += 1
            ledger.results(lease.id, frame(lease, 0, lease.count, {0: ERROR}, busy=1.0), 0.0)
    assert isinstance(ledger.fatal, MapFailedError)
    assert count <= 12
    assert ledger.finished


def test_exactly_the_allowed_share_may_fail() -> None:
    ledger = ledger_of(range(100), min_success_ratio=0.9)
    done = 0
    while not ledger.finished:
        for lease in ledger.offer(1, 0.0):
            errors = {0: ERROR} if done < 10 else {}
            done += 1
            ledger.results(lease.id, frame(lease, 0, 1, errors, busy=1.0), 0.0)
        outputs_of(ledger)
    assert ledger.fatal is None
    assert ledger.ending() is None


class _Counting(dict[int, int]):
    """Counts how many of its entries are looked at."""

    looks = 0

    def __iter__(self) -> Iterator[int]:
        for index in super().__iter__():
            self.looks += 1
            yield index

    def pop(self, index: int, *default: Any) -> Any:
        self.looks += 1
        return super().pop(index, *default)


def test_a_finished_segment_costs_what_it_holds_however_many_inputs_wait_for_a_retry() -> None:
    ledger = ledger_of(range(1000), retries=1, max_outstanding=2000, retry_delay=Backoff(base=1e9))
    notes = ledger._verdicts._attempts = _Counting()
    done = 0
    while done < 1000:
        for lease in ledger.offer(1, 0.0):
            done += lease.count
            errors = {at: ERROR for at in range(lease.count) if (lease.indexes[0] + at) % 2}
            ledger.results(lease.id, frame(lease, 0, lease.count, errors, busy=1.0), 0.0)
    assert len(notes) == 500
    assert notes.looks <= 1000


class AnyOrder(RuleBasedStateMachine):
    """Replicas that finish, crawl, hand back, die and come back late, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 300
        self.random = random.Random(0)
        self.ledger = ledger_of(iter(range(self.total)), max_crashes=10_000, retries=10_000)
        self.old: list[tuple[Lease, str]] = []
        self.outputs: list[Any] = []
        self.now = 0.0

    def pick(self, data: st.DataObject) -> Lease | None:
        leases = list(self.ledger.outstanding.values())
        return data.draw(st.sampled_from(leases)) if leases else None

    @rule(replicas=st.integers(1, 4))
    def offers(self, replicas: int) -> None:
        self.now += 100.0
        for lease in self.ledger.offer(replicas, self.now):
            self.old.append((lease, lease.id))

    @rule(data=st.data())
    def finishes(self, data: st.DataObject) -> None:
        if lease := self.pick(data):
            self.ledger.results(lease.id, frame(lease, lease.done, lease.count), self.now)

    @rule(data=st.data())
    def finishes_in_part(self, data: st.DataObject) -> None:
        if lease := self.pick(data):
            end = data.draw(st.integers(lease.done, lease.count))
            self.ledger.results(lease.id, frame(lease, lease.done, end), self.now)

    @rule(data=st.data())
    def says_once_more_what_it_has_finished(self, data: st.DataObject) -> None:
        if (lease := self.pick(data)) and lease.done:
            start = data.draw(st.integers(0, lease.done - 1))
            end = data.draw(st.integers(start, lease.done))
            self.ledger.results(lease.id, frame(lease, start, end), self.now)

    @rule(data=st.data())
    def one_input_raises(self, data: st.DataObject) -> None:
        if lease := self.pick(data):
            at = data.draw(st.integers(0, lease.count - lease.done - 1))
            self.ledger.results(lease.id, frame(lease, lease.done, lease.count, {at: ERROR}), self.now)

    @rule(data=st.data())
    def hands_back(self, data: st.DataObject) -> None:
        if lease := self.pick(data):
            self.ledger.handed_back(lease.id, data.draw(st.integers(lease.done, lease.count)))

    @rule(data=st.data(), known=st.booleans())
    def dies(self, data: st.DataObject, known: bool) -> None:
        if lease := self.pick(data):
            position = data.draw(st.integers(lease.done, lease.count - 1)) if known else None
            self.ledger.lost(lease.id, "killed", position, "r", self.now)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def a_zombie_reports(self, data: st.DataObject) -> None:
        lease, lease_id = data.draw(st.sampled_from(self.old))
        if lease_id not in self.ledger.outstanding:
            self.ledger.results(lease_id, frame(lease, 0, lease.count), self.now)

    @rule()
    def consumes(self) -> None:
        self.outputs += outputs_of(self.ledger)

    @invariant()
    def outputs_are_a_prefix_in_order(self) -> None:
        assert self.outputs == [2 * x for x in range(len(self.outputs))]

    def teardown(self) -> None:
        self.outputs += run_everything(self.ledger)
        assert self.outputs == [2 * x for x in range(self.total)]


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


@given(st.integers(1, 400), st.integers(1, 5), st.integers(1, 50))
@settings(max_examples=50, deadline=None)
def test_never_more_is_outstanding_than_asked_for(total: int, replicas: int, bound: int) -> None:
    ledger = ledger_of(iter(range(total)), max_outstanding=bound)
    outputs: list[Any] = []
    while not ledger.finished:
        for lease in ledger.offer(replicas, 0.0):
            ledger.results(lease.id, frame(lease, 0, lease.count), 0.0)
        assert ledger.counters.submitted - len(outputs) <= bound
        outputs += outputs_of(ledger)
    assert outputs == [2 * x for x in range(total)]


@pytest.mark.parametrize("ordered", [True, False])
def test_waiting_tells_whether_something_can_be_taken(ordered: bool) -> None:
    ledger = ledger_of(range(2), ordered=ordered)
    first, second = ledger.offer(1, 0.0)
    ledger.results(second.id, frame(second, 0, 1), 0.0)
    assert ledger.waiting is not ordered
    ledger.results(first.id, frame(first, 0, 1), 0.0)
    assert ledger.waiting
