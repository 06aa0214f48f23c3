"""An input that takes all memory that its process may have, as `ulimit -v` says: a `MemoryError` of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from actorq import ReplicaLostError
from tests.support.code import exhausting

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS means something on Linux")


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_an_input_that_takes_all_memory_fails_with_that_and_its_replica_lives(size: int) -> None:
    handle = exhausting.fills.map(range(6), kwargs={"size": size}, return_exceptions=True)
    results: list[Any] = list(handle)
    assert isinstance(results.pop(1), MemoryError)
    assert [x for x, _ in results] == [0, 2, 3, 4, 5]
    assert len({pid for _, pid in results}) == 1
    assert handle.stats().recovered == 0


def test_memory_that_an_input_has_put_into_a_global_is_had_again() -> None:
    results = list(exhausting.fills_a_global.map(range(6), return_exceptions=True))
    assert isinstance(results.pop(1), MemoryError)
    assert results == [(x, 0) for x in (0, 2, 3, 4, 5)]


def test_an_input_of_a_slot_that_takes_all_memory_fails_alone() -> None:
    results = list(exhausting.fills_beside.map(range(6), return_exceptions=True))
    assert isinstance(results.pop(1), MemoryError)
    assert results == [0, 2, 3, 4, 5]


def test_an_input_of_a_slot_that_finds_no_memory_runs_again_alone(tmp_path: Path) -> None:
    assert exhausting.finds_none_at_first.remote(str(tmp_path / "tries")) == 2


def test_an_input_of_a_slot_that_finds_no_memory_alone_has_taken_it_itself(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        exhausting.finds_none.remote(str(tmp_path / "tries"))
    assert (tmp_path / "tries").read_text() == "xx"


def test_a_replica_that_has_no_memory_left_for_good_is_replaced_and_says_why() -> None:
    results = list(exhausting.has_none_left.map(range(6), return_exceptions=True))
    lost = results.pop(1)
    # what is left for its executor decides whether that can still tell of the input's own error
    assert isinstance(lost, (ReplicaLostError, MemoryError))
    if isinstance(lost, ReplicaLostError):
        assert "no memory left within the limit of its process" in str(lost)
    assert results == [0, 2, 3, 4, 5]
