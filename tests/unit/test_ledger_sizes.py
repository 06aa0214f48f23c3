"""The ledger keeps large inputs and outputs from gathering in one place."""

from __future__ import annotations

from actorq.wire import codec
from actorq.wire.messages import Frame
from tests.unit.test_ledger import frame, ledger_of


def test_large_inputs_are_offered_a_few_at_a_time_so_that_replicas_begin_with_them() -> None:
    ledger = ledger_of([bytes(600_000)] * 10)
    counts = []
    while leases := ledger.offer(2, 0.0):
        counts.append(sum(lease.count for lease in leases))
        assert ledger.partial == (sum(counts) < 8)
    assert counts == [2, 2, 2, 2]
    assert not ledger.partial


def test_what_the_server_does_not_take_ends_the_partial_offer() -> None:
    ledger = ledger_of([bytes(600_000)] * 10)
    leases = ledger.offer(2, 0.0)
    assert ledger.partial
    ledger.withdraw(leases[-1])
    assert not ledger.partial


def test_a_batch_is_offered_whole_however_large_its_inputs_are() -> None:
    ledger = ledger_of([bytes(600_000)] * 10, window=10, in_batches=True, single=True)
    assert sum(lease.count for lease in ledger.offer(2, 0.0)) == 10
    assert not ledger.partial


def test_what_was_handed_back_for_its_large_outputs_runs_in_smaller_leases() -> None:
    ledger = ledger_of(range(1000))
    for _ in range(3):  # they are small, and travel together
        for lease in ledger.offer(1, 0.0):
            ledger.results(lease.id, frame(lease, 0, lease.count), 0.0)
    lease = ledger.offer(1, 0.0)[0]
    assert lease.count > 20
    large = codec.pack([bytes(400_000)])
    ledger.results(lease.id, Frame(start=0, count=1, busy=1e-4, replica="r", errors={}, outputs=large), 0.0)
    ledger.handed_back(lease.id, 1)
    again = [each for each in ledger.offer(1, 0.0) if each.front]
    assert again[0].indexes[0] == lease.indexes[0] + 1
    assert {each.count for each in again} == {2}
