"""What a forked child costs an input, beside the same input in the replica itself, with caches of different kinds.

It depends on the pages that a fork has to copy the tables of, so on the memory of the replica: see
`actorq/replica/start/hugepages.py`. The next child is forked while an input runs: inputs of no duration pay more than
those of a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import fork_tasks
from benchmarks.rows import Row, medians, timed

_COUNT = 200
_MOST_MILLISECONDS = 3.0
_CACHES = (("nothing", "nothing cached"), ("arrays", "200 MB of arrays"), ("objects", "1.5 million small objects"))


def fork_overhead(rounds: int = 5) -> list[Row]:
    rows = []
    for kind, words in _CACHES:
        sides = (_side(fork_tasks.forked_naps[kind]), _side(fork_tasks.plain_naps[kind]))
        (forked, plain), _ = medians(rounds, *sides)
        rows.append(
            Row(
                name=f'isolation="fork" beside "none", {words}',
                measured=(forked - plain) / _COUNT * 1e3,
                floor=_MOST_MILLISECONDS,
                at_least=False,
                unit="ms an input",
                detail=f"{_COUNT} inputs of 5 ms, one replica: {forked:.2f} s, {plain:.2f} s",
            )
        )
    return rows


def _side(task: Any) -> Callable[[], float]:
    list(task.map([0.0] * 3))  # the pool starts, and the cache is loaded
    return lambda: timed(lambda: list(task.map([0.005] * _COUNT)))
