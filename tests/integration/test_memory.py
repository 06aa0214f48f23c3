"""The memory watchdog: an input that takes too much is stopped before the kernel stops its replica, and is told why."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from actorq import ReplicaLostError
from tests.conftest import Worker
from tests.support.code import hungry

#: an executor needs 40; an input is stopped at 285
_LIMIT_MIB = 300
#: as much as this would be taken by one that is not
_TOO_MUCH_MIB = 1500

Start = Callable[[str], Worker]


@pytest.fixture
def start(on_server: str) -> Iterator[Start]:
    """Starts a worker of one replica at a level of isolation, with little memory."""
    started: list[Worker] = []

    def begin(level: str) -> Worker:
        variables = {"ACTORQ_MEMORY_LIMIT_BYTES": str(_LIMIT_MIB << 20)}
        name = f"hungry-{level}"
        started.append(
            Worker(on_server, f"tests.support.code.hungry:{level}", 1, environment=name, variables=variables)
        )
        started[-1].wait_ready(1)
        return started[-1]

    yield begin
    for worker in started:
        worker.stop()


@pytest.mark.parametrize("level", hungry.LEVELS)
def test_an_input_that_takes_too_much_is_stopped_and_the_others_run(start: Start, level: str) -> None:
    worker = start(level)
    results = list(hungry.EATS[level].map([1, _TOO_MUCH_MIB, 2, 3], return_exceptions=True))
    assert [result for result in results if isinstance(result, int)] == [1, 2, 3]
    assert isinstance(results[1], ReplicaLostError)
    message = str(results[1])
    assert "stopped: its replica used" in message
    assert "of the 300 MiB there are; give the replica more memory or the input less work" in message
    _, events = worker.stop()
    (event,) = [event for event in events if event["event"] == "memory_watchdog"]
    assert event["limit"] == _LIMIT_MIB << 20
    assert event["used"] > 0.9 * event["limit"]
    assert not [event for event in events if event["event"] == "executor_lost"]


@pytest.mark.parametrize("level", hungry.LEVELS)
def test_an_input_that_cannot_be_interrupted_is_killed_and_its_error_says_why(start: Start, level: str) -> None:
    worker = start(level)
    results = list(hungry.GULPS[level].map([1, 40_000_000, 2], return_exceptions=True))
    assert results[::2] == [1, 2]
    assert isinstance(results[1], ReplicaLostError)
    assert "its replica used" in str(results[1])
    assert "of the 300 MiB there are" in str(results[1])
    _, events = worker.stop()
    lost = [event["reason"] for event in events if event["event"] == "executor_lost"]
    if level == "fork":
        assert lost == []  # only the child of that input
    else:
        assert len(lost) == 1
        assert lost[0].startswith("killed: its replica used")


def test_an_executor_that_does_not_give_its_memory_back_is_recycled_with_warm_caches(start: Start) -> None:
    worker = start("none")
    first, _ = hungry.HOARDS.remote(1)
    with pytest.raises(ReplicaLostError, match="stopped: its replica used"):
        hungry.HOARDS.remote(_TOO_MUCH_MIB)
    second, found = hungry.HOARDS.remote(1)
    assert second != first
    assert found
    _, events = worker.stop()
    assert "executor_recycled" in [event["event"] for event in events]
