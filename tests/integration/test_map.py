"""A map over a real server and real replicas."""

from __future__ import annotations

from tests import tasks


def test_outputs_come_in_the_order_of_the_inputs() -> None:
    assert list(tasks.double.map(range(1000))) == [2 * x for x in range(1000)]


def test_a_plain_call_runs_here() -> None:
    assert tasks.double(4) == 8


def test_a_remote_call_returns_the_output() -> None:
    assert tasks.double.remote(4) == 8
