"""Whether replicas are forked from one parent or start as interpreters of their own is decided by what can fork."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import run_script

_THREADS = """
    import concurrent.futures

    pool = concurrent.futures.ThreadPoolExecutor(2)
    list(pool.map(abs, range(4)))
"""
_LOOP = """
    import asyncio

    loop = asyncio.new_event_loop()
"""


def _script(at_import: str, method: str = "") -> str:
    return f"""
    from actorq import ActorEnvironment
    {at_import}
    env = ActorEnvironment("started", replica_count=2{method})


    @env.task
    def same(x):
        return x


    @env.task
    def with_pool(x):
        return sum(pool.map(abs, range(x)))


    if __name__ == "__main__":
        print(list(same.map(range(4))))
        if "pool" in globals():
            print(list(with_pool.map(range(4))))
    """


@pytest.mark.parametrize(("at_import", "cause"), [(_THREADS, "it runs threads (Thread"), (_LOOP, "an event loop")])
def test_replicas_are_spawned_where_the_import_of_the_tasks_cannot_be_forked(
    tmp_path: Path, at_import: str, cause: str
) -> None:
    said = run_script(tmp_path, _script(at_import), ACTORQ_LOG_LEVEL="info")
    assert "[0, 1, 2, 3]" in said
    assert ("[0, 0, 1, 3]" in said) == (at_import is _THREADS)
    (told,) = [line for line in said.splitlines() if "replicas_spawned" in line]
    assert cause in told


def test_replicas_are_forked_where_nothing_is_against_it(tmp_path: Path) -> None:
    said = run_script(tmp_path, _script("import numpy"), ACTORQ_LOG_LEVEL="info")
    assert "[0, 1, 2, 3]" in said
    assert "replicas_spawned" not in said


def test_a_fork_that_was_asked_for_is_made_with_a_warning(tmp_path: Path) -> None:
    said = run_script(tmp_path, _script(_LOOP, ', start_method="fork"'))
    assert "[0, 1, 2, 3]" in said
    assert len([line for line in said.splitlines() if "fork_unsafe" in line]) == 1
