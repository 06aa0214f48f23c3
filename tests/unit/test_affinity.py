"""Which replica runs what: few loads, no idle replica, and nothing lost whatever replicas come and go."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actorq import CodecError
from actorq.maps import affinity as module
from actorq.maps.affinity import ITEM_BYTES, Affinity
from actorq.maps.by_key import ByKey
from actorq.maps.ledger import Ledger
from actorq.maps.redis_transport import describe_lease
from actorq.maps.sources import MemorySource
from actorq.monitor.view import _inputs_of
from actorq.wire.lease import Lease
from tests.unit.test_ledger import ERROR, AnyOrder, frame, options, outputs_of

EIGHT = [f"w{n}" for n in range(8)]


def random_keys(seed: int, kinds: int = 64, count: int = 5000) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(kinds) for _ in range(count)]


def drawn(keys: Sequence[Any], names: Sequence[str] = EIGHT) -> Affinity:
    """Inputs of these keys, with a home for each."""
    affinity = Affinity()
    affinity.serve(names, len(names))
    for index, key in enumerate(keys):
        affinity.add(key, (index, b"x"))
    affinity.find_homes()
    return affinity


def homes(affinity: Affinity, keys: Sequence[Any]) -> dict[Any, str]:
    """key -> the replica it is leased to when every replica takes all it has."""
    return {keys[index]: name for name in EIGHT for index, _ in affinity.take(name, len(keys))[0]}


# -- the assignment ----------------------------------------------------------------------------------------------------


def test_every_replica_gets_its_share_of_keys() -> None:
    keys = random_keys(1)
    assert set(Counter(homes(drawn(keys), keys).values()).values()) == {8}


def test_two_submitters_give_a_key_to_the_same_replica() -> None:
    mine, yours = random_keys(1), random_keys(2)
    assert homes(drawn(mine), mine) == homes(drawn(yours), yours)


def test_a_key_stays_with_its_replica() -> None:
    keys = random_keys(1)
    affinity = drawn(keys)
    before = homes(affinity, keys)
    for index, key in enumerate(keys):
        affinity.add(key, (len(keys) + index, b"x"))
    affinity.find_homes()
    assert homes(affinity, keys * 2) == before


def test_a_replica_works_through_what_waits_of_one_key_before_the_next() -> None:
    affinity = drawn([0, 1, 0, 1, 0, 1], ["w"])
    first, _ = affinity.take("w", 2)
    affinity.add(0, (6, b"x"))  # came too late for this turn of key 0
    rest, _ = affinity.take("w", 10)
    assert [index for index, _ in first + rest] == [0, 2, 4, 1, 3, 5, 6]


def test_replicas_that_are_not_known_by_name_yet_begin_with_different_keys() -> None:
    affinity = drawn([0, 0, 0, 1, 1, 2], [])
    leases = [affinity.take("", 1)[0] for _ in range(4)]
    assert [index for lease in leases for index, _ in lease] == [0, 3, 5, 1]


def test_what_is_put_back_runs_before_what_came_later() -> None:
    affinity = drawn([0] * 5, ["w"])
    affinity.take("w", 1)
    items, _ = affinity.take("w", 2)
    affinity.put_back(reversed(items))
    assert [index for index, _ in affinity.take("w", 5)[0]] == [1, 2, 3, 4]


def test_a_hot_key_gets_a_replica_of_its_own() -> None:
    keys = ["hot"] * 500 + random_keys(1, count=500)
    found = homes(drawn(keys), keys)
    assert list(found.values()).count(found["hot"]) == 1


def test_only_one_key_is_shared_by_all() -> None:
    affinity = drawn([0] * 100)
    for name in EIGHT:
        assert affinity.has_work(name) or affinity.borrow(name)
        assert affinity.take(name, 1) != ([], 0)


def test_a_loan_ends_when_nothing_of_the_key_waits() -> None:
    affinity = drawn([0] * 100, ["a", "b"])
    home, guest = ("a", "b") if affinity.has_work("a") else ("b", "a")
    affinity.borrow(guest)
    affinity.take(guest, 100)
    affinity.add(0, (100, b"x"))
    assert affinity.has_work(home)
    assert not affinity.has_work(guest)


@pytest.mark.parametrize(("load", "borrows"), [(0.5, True), (0.95, False)])
def test_a_key_is_borrowed_only_if_the_load_is_worth_it(load: float, borrows: bool) -> None:
    affinity = drawn([0] * 10, ["a", "b"])
    home, guest = ("a", "b") if affinity.has_work("a") else ("b", "a")
    affinity.observe(1, 0.1, 0)
    affinity.observe(1, 0.1 + load, 1)  # the ten inputs take one second where they are
    assert affinity.borrow(guest) is borrows
    assert affinity.borrow(guest, late=[home])  # where its home is stuck, it may wait for ever


def test_a_replica_borrows_what_it_holds_first() -> None:
    affinity = drawn([1] * 4 + [0] * 10, ["b"])
    assert affinity.take("b", 1) == ([(0, b"x")], 1)
    affinity.serve(["a", "b"], 2)
    assert affinity.visit("a", [0]) == 1  # that one went to another replica than it was meant for
    affinity.borrow("a")
    assert affinity.take("a", 1) == ([(1, b"x")], 0)


def test_the_keys_of_a_replica_that_is_gone_find_other_homes() -> None:
    keys = random_keys(1)
    affinity = drawn(keys)
    affinity.serve(EIGHT[1:], 7)
    affinity.find_homes()
    taken = [index for name in EIGHT[1:] for index, _ in affinity.take(name, len(keys))[0]]
    assert sorted(taken) == list(range(len(keys)))


def test_a_new_replica_takes_whole_keys_over() -> None:
    keys = random_keys(1, kinds=16, count=400)
    affinity = drawn(keys, EIGHT[:1])
    affinity.serve(EIGHT[:2], 2)
    for _ in range(20):
        if not affinity.has_work(EIGHT[1]) and affinity.borrow(EIGHT[1]):
            affinity.take(EIGHT[1], 1000)
    for index, key in enumerate(keys):
        affinity.add(key, (1000 + index, b"x"))
    affinity.find_homes()
    mine = {keys[index - 1000] for index, _ in affinity.take(EIGHT[1], 1000)[0] if index >= 1000}
    assert 6 <= len(mine) <= 8


def test_replicas_that_are_still_to_come_are_left_their_share() -> None:
    affinity = Affinity()
    affinity.serve(EIGHT[:1], 8)
    for index, key in enumerate(random_keys(1)):
        affinity.add(key, (index, b"x"))
    affinity.find_homes()
    items, cold = affinity.take(EIGHT[0], 5000)
    assert cold == 8
    assert len(items) < 1000
    assert affinity.borrow(EIGHT[0])  # but they do not wait for a replica that never comes


def test_keys_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_KEYS", 100)
    affinity = drawn([], ["a", "b"])
    affinity._sweep_at = 200
    for index in range(10_000):
        affinity.add(index, (index, b"x"))
        affinity.find_homes()
        for name in ("a", "b"):
            affinity.done([taken for taken, _ in affinity.take(name, 1)[0]])
    assert len(affinity._keys) <= 201
    assert sum(seat.keys for seat in affinity._seats.values()) == len(affinity._keys)


class AnyMoves(RuleBasedStateMachine):
    """Inputs and replicas come and go in any order; the counts must tell the truth, and every input is somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.affinity = Affinity()
        self.names: list[str] = []
        self.next = 0
        self.end = 10**9
        self.waiting: set[int] = set()
        self.flying: list[tuple[int, bytes]] = []

    @rule(names=st.lists(st.sampled_from("abcd"), unique=True), more=st.integers(0, 2))
    def replicas_change(self, names: list[str], more: int) -> None:
        self.names = names
        self.affinity.serve(names, len(names) + more)

    @rule(keys=st.lists(st.integers(0, 5), max_size=12))
    def inputs_come(self, keys: list[int]) -> None:
        for key in keys:
            self.affinity.add(key, (self.next, b"ab"))
            self.waiting.add(self.next)
            self.next += 1
        self.affinity.find_homes()

    @rule(data=st.data(), count=st.integers(1, 5), borrow=st.booleans())
    def one_takes(self, data: st.DataObject, count: int, borrow: bool) -> None:
        name = data.draw(st.sampled_from(self.names or [""]))
        if borrow and name and not self.affinity.has_work(name):
            self.affinity.borrow(name, self.names)
        items, cold = self.affinity.take(name, count)
        assert bool(items) is bool(cold) or items
        assert len(items) <= count
        self.waiting -= {index for index, _ in items}
        self.flying += items

    @rule(data=st.data(), back=st.booleans())
    def some_land(self, data: st.DataObject, back: bool) -> None:
        count = data.draw(st.integers(0, len(self.flying)))
        landed, self.flying = self.flying[:count], self.flying[count:]
        if back:
            self.affinity.put_back(landed)
            self.waiting |= {index for index, _ in landed}
        else:
            self.affinity.done(index for index, _ in landed)

    @rule(share=st.floats(0.5, 1))
    def the_end_is_not_wanted(self, share: float) -> None:
        end = int(self.next * share)
        self.affinity.cut(end)
        self.waiting = {index for index in self.waiting if index < end}

    @invariant()
    def counts_tell_the_truth(self) -> None:
        seats = [self.affinity._nobody, *self.affinity._seats.values()]
        assert self.affinity.waiting == len(self.waiting) == sum(seat.waiting for seat in seats)
        assert self.affinity.bytes == len(self.waiting) * (2 + ITEM_BYTES)
        assert sum(seat.keys for seat in seats) == len(self.affinity._keys)
        assert all(key.waiting for seat in seats for key in seat.ready)

    def teardown(self) -> None:
        self.affinity.serve(["a"], 1)
        self.affinity.find_homes()
        taken: list[int] = []
        while self.affinity.has_work("a") or self.affinity.borrow("a"):
            taken += [index for index, _ in self.affinity.take("a", 3)[0]]
        assert sorted(taken) == sorted(self.waiting)


AnyMoves.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestAnyMoves = AnyMoves.TestCase


# -- the books ---------------------------------------------------------------------------------------------------------


def keyed(inputs: Any, **changes: Any) -> Ledger:
    total = len(inputs) if hasattr(inputs, "__len__") else None
    asked = options(**{"affinity": lambda value: value % 7, **changes})
    ledger = Ledger("m", MemorySource(iter(inputs), total), asked)
    assert isinstance(ledger._ordering, ByKey)
    return ledger


class AnyOrderByKey(AnyOrder):
    """The same, where inputs have keys, and replicas come, go, and get stuck."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = keyed(iter(range(self.total)), max_crashes=10_000, retries=10_000)

    @rule(names=st.lists(st.sampled_from("abcd"), unique=True))
    def offers_by_name(self, names: list[str]) -> None:
        self.now += 100.0
        for lease in self.ledger.offer(len(names), self.now, names):
            assert lease.replica in names or (not names and not lease.replica)
            self.old.append((lease, lease.id))

    @rule(data=st.data(), waited=st.floats(0, 10))
    def takes_back(self, data: st.DataObject, waited: float) -> None:
        recalls = self.ledger.recalls(self.now + waited)
        for lease in data.draw(st.permutations(recalls)):
            if data.draw(st.booleans()):  # the others had begun
                self.ledger.withdraw(lease)

    @rule(data=st.data())
    def cannot_be_submitted(self, data: st.DataObject) -> None:
        for lease in reversed(self.ledger.offer(2, self.now, ["a", "b"])):
            self.ledger.withdraw(lease)

    @invariant()
    def what_is_in_flight_is_known(self) -> None:
        outstanding = list(self.ledger.outstanding.values())
        ordering = self.ledger._ordering
        assert isinstance(ordering, ByKey)
        affinity = ordering.affinity
        assert +affinity.leases == Counter(lease.replica for lease in outstanding)
        inputs = Counter[str]()
        for lease in outstanding:
            inputs[lease.replica] += lease.count - lease.done
        assert +affinity.inputs == inputs


AnyOrderByKey.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestAnyOrderByKey = AnyOrderByKey.TestCase


def run_all(ledger: Ledger, names: Sequence[str]) -> list[Any]:
    """Runs a map whose replicas never fail."""
    outputs: list[Any] = []
    now = 0.0
    while not ledger.finished:
        now += 1.0
        ledger.offer(len(names), now, names)
        for lease in list(ledger.outstanding.values()):
            ledger.results(lease.id, frame(lease, lease.done, lease.count), now)
        outputs += outputs_of(ledger)
    return outputs


def test_outputs_are_in_order_and_complete() -> None:
    assert run_all(keyed(range(10_000)), EIGHT) == [2 * x for x in range(10_000)]


def test_unordered_outputs_are_complete() -> None:
    assert sorted(run_all(keyed(range(10_000), ordered=False), EIGHT)) == [2 * x for x in range(10_000)]


@pytest.mark.parametrize("bound", [1, 5, 100])
def test_never_more_is_drawn_than_asked_for(bound: int) -> None:
    ledger = keyed(iter(range(500)), max_outstanding=bound)
    taken = 0
    while not ledger.finished:
        for lease in ledger.offer(8, 0.0, EIGHT):
            ledger.results(lease.id, frame(lease, 0, lease.count), 0.0)
        assert ledger.counters.submitted - taken <= bound
        taken += len(outputs_of(ledger))
    assert taken == 500


def test_it_is_held_back_where_outputs_that_nobody_takes_are_in_the_way() -> None:
    ledger = keyed(range(100), max_outstanding=6)
    for _ in range(2):
        leases = ledger.offer(2, 0.0, ["a", "b"])
        assert ledger.held_back
        for lease in leases:
            ledger.results(lease.id, frame(lease, 0, lease.count), 0.0)
        assert len(outputs_of(ledger)) == 6
    ledger = keyed(range(3))
    ledger.offer(2, 0.0, ["a", "b"])
    assert not ledger.held_back


def test_a_first_input_that_is_stuck_bounds_the_memory() -> None:
    ledger = keyed(iter(range(10_000_000)))
    first, *others = ledger.offer(2, 0.0, ["a", "b"])
    for _ in range(1000):
        for lease in others:
            ledger.results(lease.id, frame(lease, 0, lease.count, busy=1e-7), 0.0)
        others = ledger.offer(2, 0.0, ["a", "b"])
    assert first.indexes[0] == 0
    assert not outputs_of(ledger)
    assert ledger.counters.submitted < 400_000  # of ten million, at some 200 bytes each


def test_the_first_failure_lets_the_inputs_before_it_run() -> None:
    ledger = keyed(range(100))
    outputs: list[Any] = []
    while not ledger.finished:
        for lease in ledger.offer(3, 0.0, EIGHT[:3]):
            assert lease.count == 1
            errors = {0: ERROR} if lease.indexes[0] == 50 else None
            ledger.results(lease.id, frame(lease, 0, 1, errors, busy=1.0), 0.0)
        outputs += outputs_of(ledger)
    assert outputs[:50] == [2 * x for x in range(50)]
    assert isinstance(outputs[50], ValueError)


def test_what_waits_for_a_replica_that_is_gone_is_taken_back() -> None:
    ledger = keyed(range(100))
    ledger.offer(2, 0.0, ["a", "b"])
    ledger.offer(1, 0.0, ["b"])
    recalls = ledger.recalls(0.0)
    assert {lease.replica for lease in recalls} == {"a"}
    assert ledger.recalls(0.0) == []  # asked once
    for lease in recalls:
        ledger.withdraw(lease)
    assert run_all(ledger, ["b"])[-1] == 198


def test_what_waits_behind_a_stuck_input_is_taken_back_when_others_idle() -> None:
    ledger = keyed([0] * 5)
    first = ledger.offer(1, 0.0, ["a"])
    for lease in first[:2]:
        ledger.results(lease.id, frame(lease, 0, 1, busy=0.01), 1.0)
    ledger.offer(2, 1.0, ["a", "b"])
    assert ledger.recalls(1.05) == []
    taken = ledger.recalls(2.0)
    assert taken
    assert first[2] not in taken  # that one runs
    for lease in taken:
        ledger.withdraw(lease)
    assert {lease.replica for lease in ledger.offer(2, 2.0, ["a", "b"])} == {"b"}


def test_concurrency_bounds_the_replicas_and_their_leases() -> None:
    leases = keyed(range(100), concurrency=2).offer(8, 0.0, EIGHT)
    assert len(leases) == 2
    assert len({lease.replica for lease in leases}) == 2


def test_a_key_that_cannot_be_compared_is_an_error_that_names_the_input() -> None:
    class Odd:
        __hash__ = None  # type: ignore[assignment]  # on purpose

    ledger = keyed(range(5), affinity=lambda value: [value] if value < 3 else Odd())
    with pytest.raises(CodecError, match="key of input 3 of t"):
        ledger.offer(1, 0.0, ["a"])


@pytest.mark.parametrize(
    ("indexes", "shown", "known"),
    [
        (range(3, 40), "t[3:40]", range(3, 40)),
        ([7], "t[7:8]", range(7, 8)),
        ([3, 9, 4], "t[3,9,4]", [3, 9, 4]),
        (list(range(0, 40, 2)), "t[0,2,4,6,8,10,12,14+12]", [0, 2, 4, 6, 8, 10, 12, 14]),
    ],
)
def test_what_a_lease_shows_of_its_inputs_can_be_read(indexes: Sequence[int], shown: str, known: Sequence[int]) -> None:
    lease = Lease(serial=1, id="m-1", indexes=indexes, inputs=b"")
    assert describe_lease("t", lease) == shown
    assert _inputs_of(shown) == (known, len(indexes))
