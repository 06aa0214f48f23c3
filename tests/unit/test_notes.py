"""What a supervisor asks of an executor."""

from __future__ import annotations

import time

import pytest

from actorq.replica.pages import CANCEL, SERVING, Page, Pages
from actorq.replica.supervisor import replica as notes
from actorq.replica.supervisor.replica import Replica, Slot
from actorq.wire.lease import tag


@pytest.fixture
def page() -> Page:
    return Pages(1)[0]


@pytest.fixture
def replica(page: Page) -> Replica:
    replica = Replica(0, "")
    replica.slots = [Slot("me", page)]
    return replica


def runs(page: Page, job: str) -> None:
    page.hold(f"{job}:1".encode())
    page.begin_lease(1, time.monotonic_ns(), None)


def test_a_start_that_does_not_end_is_told_at_ever_longer_intervals(replica: Replica, page: Page) -> None:
    assert not replica.slow_start(1000.0)  # there is no process yet
    replica.pid, replica.started = 1, 1000.0
    told = [second for second in range(1000, 1300) if replica.slow_start(float(second))]
    assert told == [1030, 1060, 1120, 1240]
    page.enter(SERVING, time.monotonic_ns())
    assert not replica.slow_start(9000.0)


def test_a_job_that_runs_is_stopped(replica: Replica, page: Page) -> None:
    runs(page, "m-1")
    replica.cancel_job("me", "m-1")
    assert (page.request, page.request_of) == (CANCEL, page.lease)


def test_a_job_that_is_told_to_stop_before_it_runs_is_stopped_when_it_does(replica: Replica, page: Page) -> None:
    runs(page, "m-1")
    replica.cancel_job("me", "m-2")
    replica.watch(time.monotonic())
    assert page.request != CANCEL
    page.end_lease()
    runs(page, "m-2")
    replica.watch(time.monotonic())
    assert (page.request, page.request_of) == (CANCEL, page.lease)


def test_an_order_for_another_replica_is_not_kept(replica: Replica, page: Page) -> None:
    replica.cancel_job("you", "m-1")
    runs(page, "m-1")
    replica.watch(time.monotonic())
    assert page.request != CANCEL


def test_an_order_is_forgotten_after_a_while(replica: Replica, page: Page) -> None:
    replica.cancel_job("me", "m-1")
    runs(page, "m-2")
    replica.watch(time.monotonic() + notes._ORDER_SECONDS + 1)
    assert not replica.slots[0].unwanted


def test_what_waits_behind_a_lease_goes_to_a_replica_that_is_idle(replica: Replica, page: Page) -> None:
    runs(page, "m-1")
    page.sent(b"", patience=10**9)
    begun = page.lease_since / 1e9
    assert replica.overtaken(begun + 0.5, someone_is_idle=False) == []
    assert replica.overtaken(begun + 0.001, someone_is_idle=True) == []  # it may end as soon
    assert replica.overtaken(begun + 0.5, someone_is_idle=True) == [("me", "m-1:1")]
    assert page.unclaimed == page.lease
    assert replica.overtaken(begun + 0.5, someone_is_idle=True) == []  # told once


def test_what_waits_behind_a_lease_for_one_replica_is_left_where_another_is_idle(replica: Replica, page: Page) -> None:
    runs(page, f"m-1{tag('me')}")
    page.sent(b"", patience=10**9)
    assert replica.overtaken(page.lease_since / 1e9 + 0.5, someone_is_idle=True) == []


def test_a_replica_that_serves_and_holds_nothing_is_idle(replica: Replica, page: Page) -> None:
    page.enter(SERVING, time.monotonic_ns())
    seen = [replica.idle]  # there is no process
    replica.pid = 1
    seen.append(replica.idle)
    runs(page, "m-1")
    seen.append(replica.idle)
    page.release()
    seen.append(replica.idle)
    replica.draining = True
    seen.append(replica.idle)
    assert seen == [False, True, False, True, False]


def test_what_waits_behind_a_lease_waits_no_longer_than_its_patience(replica: Replica, page: Page) -> None:
    runs(page, "m-1")
    page.sent(b"", patience=10**9)
    begun = page.lease_since / 1e9
    assert replica.overtaken(begun + 1.5, someone_is_idle=False) == [("me", "m-1:1")]


def test_nothing_is_taken_back_where_nothing_can_be_claimed(replica: Replica, page: Page) -> None:
    runs(page, "m-1")
    assert replica.overtaken(page.lease_since / 1e9 + 100, someone_is_idle=True) == []
