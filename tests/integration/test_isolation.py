"""What `isolation="reset"` restores beyond the rows of the README's table, and what it does with leaks that grow.

The table itself is `test_leaks.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests import isolated


@pytest.fixture(scope="module")
def seen() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the state was before an input that spoils it, and what the next input sees."""
    before = isolated.spoil.remote(0)
    return before, isolated.observe.remote(0)


@pytest.mark.parametrize("what", ["raw", "recent", "counts", "ordered", "slots", "class"])
def test_reset_restores_every_kind_of_object(seen: tuple[dict[str, Any], dict[str, Any]], what: str) -> None:
    assert seen[1][what] == seen[0][what]


def test_reset_gives_each_input_an_empty_temporary_folder(seen: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert seen[1]["tmp"] == []
    assert seen[1]["TMPDIR"] is True


def test_reset_keeps_what_actor_cache_loaded_and_its_class() -> None:
    first, second = isolated.instance_of_cached.remote(0), isolated.instance_of_cached.remote(0)
    assert first == second
    assert first[0] is True
    assert first[2] == 1


def test_a_replica_whose_leaks_grow_is_replaced() -> None:
    first = isolated.leaves_files.remote(0)
    pids = {isolated.leaves_files.remote(0) for _ in range(60)}
    assert len(pids | {first}) > 1


def test_results_are_complete_while_replicas_are_replaced() -> None:
    assert len(list(isolated.leaves_files.map(range(100)))) == 100


def test_a_replica_whose_memory_grew_is_replaced() -> None:
    pids = [isolated.grows.remote(96 << 20) for _ in range(5)]
    assert len(set(pids)) > 1
    assert isolated.grows.remote(0) != pids[0]
