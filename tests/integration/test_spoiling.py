"""`isolation="reset"` takes away what would end a later input, or keep it waiting for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_script
from tests.support.code import spoiling


@pytest.mark.parametrize("name", sorted(spoiling.PROBES))
def test_the_next_input_of_a_replica_does_not_see_what_an_input_has_spoilt(name: str) -> None:
    before = spoiling.process.remote(0)
    if spoiling.PROBES[name].later:
        seen = [spoiling.input_of.remote(name, step) for step in range(4)]
    else:
        seen = list(spoiling.input_of.starmap([(name, step) for step in range(4)]))
    assert seen == [seen[0]] * 4
    assert spoiling.process.remote(0) == before


@pytest.mark.parametrize(
    "task", [spoiling.takes_the_lock, spoiling.takes_the_lock_of_a_thread], ids=lambda task: str(task.name)
)
def test_a_replica_whose_lock_is_held_by_a_thread_is_replaced_before_its_next_input(task: Any) -> None:
    pids = list(task.map(range(4)))
    assert pids[0] not in pids[1:]


_CLOSES = """
import sys
from actorq import ActorEnvironment

env = ActorEnvironment("closes", replica_count=1)


@env.task
def closes(i):
    if i < 0:
        return None
    closed = sys.stdout.closed
    sys.stdout.close()
    return closed


if __name__ == "__main__":
    list(closes.map([-1] * 1000))  # from now on many inputs are in one lease
    handle = closes.map(range(6))
    assert list(handle) == [False] * 6
    assert handle.stats().leases < 6
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_stream_is_open_for_the_next_input_of_a_lease(unbuffered: str, tmp_path: Path) -> None:
    assert run_script(tmp_path, _CLOSES, PYTHONUNBUFFERED=unbuffered) == ""
