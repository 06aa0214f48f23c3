"""When a dead executor is replaced, and when its replica is given up for a while."""

from __future__ import annotations

from actorq.replica.supervisor.health import Cause, Health


def given_up(health: Health) -> bool:
    return health.quarantined


def test_an_executor_that_dies_young_is_replaced_later_and_later() -> None:
    health = Health()
    assert [health.died(Cause.ASKED, 0.1) for _ in range(9)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert health.died(Cause.ASKED, 6.0) == 0.0
    assert health.died(Cause.ASKED, 0.1) == 0.05


def test_one_that_an_input_killed_is_replaced_within_a_second() -> None:
    health = Health()
    assert [health.died(Cause.INPUT, 0.1) for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_lease_that_was_done_ends_the_row_of_pauses() -> None:
    health = Health()
    pauses = []
    for leases in (0, 0, 0, 1, 1):
        health.worked(leases)
        pauses.append(health.died(Cause.INPUT, age=0.1))
    assert pauses == [0.05, 0.1, 0.2, 0.05, 0.1]


def test_deaths_while_inputs_run_do_not_quarantine_a_replica() -> None:
    health = Health()
    for _ in range(20):
        health.died(Cause.INPUT, 0.1)
        health.died(Cause.ASKED, 0.1)
    assert not given_up(health)


def test_a_start_that_fails_is_repeated_after_doubling_pauses() -> None:
    health = Health()
    assert [health.died(Cause.START, 0.1) for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]
    assert health.failed_starts == 4
    health.died(Cause.INPUT, 0.1)
    assert health.failed_starts == 0


def test_the_fifth_failure_in_a_row_quarantines_for_a_minute_until_a_lease_is_done() -> None:
    health = Health()
    causes = [Cause.START, Cause.IDLE, Cause.START, Cause.IDLE]
    assert all(health.died(cause, 99.0) < 60 for cause in causes)
    assert not given_up(health)
    assert health.died(Cause.IDLE, 99.0) == 60.0
    assert health.died(Cause.START, 99.0) == 60.0
    health.worked(0)
    assert given_up(health)
    health.worked(1)
    assert not given_up(health)
    assert health.died(Cause.IDLE, 99.0) == 0.0


def test_a_lease_that_was_done_between_two_failures_ends_the_row() -> None:
    health = Health()
    for leases in range(10):
        health.worked(leases)
        health.died(Cause.IDLE, 0.1)
    assert not given_up(health)
