"""What `isolation="reset"` restores beyond the table in docs/isolation.md, and what it does with leaks that grow.

The table itself is `test_leaks.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.code import isolated


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


def test_a_submodule_that_a_body_imports_is_there_for_every_input(tmp_path: Path) -> None:
    package = tmp_path / "parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "heavy.py").write_text("VALUE = 7")
    (tmp_path / "script.py").write_text(
        textwrap.dedent("""
        from actorq import ActorEnvironment
        import parts

        env = ActorEnvironment("imports")

        @env.task
        def work(x):
            import parts.heavy
            return parts.heavy.VALUE + x

        @env.task
        def spoils(x, opts):
            return opts.pop("x")

        if __name__ == "__main__":
            print(list(work.map(range(3))))
            print(list(spoils.map(range(3), kwargs={"opts": {"x": 1}})))
        """)
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout.splitlines() == ["[7, 8, 9]", "[1, 1, 1]"], done.stderr
