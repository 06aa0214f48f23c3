"""What a forked child costs an input, beside the same input in the replica itself, with caches of different kinds.

It depends on the pages that a fork has to copy the tables of, so on the memory of the replica: see
`actorq/replica/start/hugepages.py`. The next child is forked while an input runs: inputs of no duration pay more than
those of a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import fork_tasks
from benchmarks.rows import Row, medians, timed

_COUNT = 200
#: as often as long as a bare fork
_MOST = 2.5
_CACHES = (("nothing", "nothing cached"), ("arrays", "200 MB of arrays"), ("objects", "1.5 million small objects"))


def fork_overhead(rounds: int = 5) -> list[Row]:
    rows = []
    for kind, words in _CACHES:
        bare = fork_tasks.bare_forks[kind]
        sides = (_side(fork_tasks.forked_naps[kind]), _side(fork_tasks.plain_naps[kind]), partial(bare.remote, 50))
        (forked, plain, fork), _ = medians(rounds, *sides)
        added = (forked - plain) / _COUNT
        rows.append(
            Row(
                name=f'isolation="fork" beside "none" / a bare fork, {words}',
                measured=added / fork,
                floor=_MOST,
                at_least=False,
                unit="x",
                detail=f"{_COUNT} inputs of 5 ms, one replica: {added * 1e3:.1f} ms more each; {fork * 1e3:.1f} ms",
            )
        )
    return rows


def _side(task: Any) -> Callable[[], float]:
    list(task.map([0.0] * 3))  # the pool starts, and the cache is loaded
    return lambda: timed(lambda: list(task.map([0.005] * _COUNT)))
