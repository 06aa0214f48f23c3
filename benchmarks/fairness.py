"""What a short map, and a single call, wait where other maps keep four replicas busy.

Each side is the time of the short one beside the others, over its time alone on the same replicas, in turn, so a row
says how many times as long it takes. The other maps are endless, in threads of the same program, and of two kinds:
inputs of 10 ms, and of a second, during which a replica cannot be taken away.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from actorq import PoolError
from benchmarks import tasks
from benchmarks.rows import Row, timed

#: the short map
_INPUTS, _SECONDS = 20, 0.01
#: how long the others run before the short one comes, seconds, and for each of them: so each had more than it will have
_BEFORE, _BEFORE_EACH = 1.5, 0.1


@contextmanager
def others(count: int, seconds: float) -> Iterator[None]:
    """So many endless maps of inputs of this length."""
    with ExitStack() as maps:
        for _ in range(count):
            outputs = maps.enter_context(tasks.nap_four.map(itertools.repeat(seconds)))
            threading.Thread(target=_consume, args=(outputs,), daemon=True).start()
        time.sleep(_BEFORE + count * _BEFORE_EACH)
        yield


def _consume(outputs: Iterable[float]) -> None:
    with suppress(PoolError):  # it is closed
        deque(outputs, maxlen=0)


def short_map() -> float:
    return timed(lambda: list(tasks.nap_four.map([_SECONDS] * _INPUTS)))


def one_call() -> float:
    return timed(lambda: tasks.nap_four.remote(_SECONDS))


def fairness(rounds: int = 5) -> list[Row]:
    """A map of 20 inputs of 10 ms, and a call of 10 ms, beside others on four replicas."""
    short_map()
    one_call()
    rows = []
    # an input of a second cannot be interrupted: the floor there is to wait for one of them, once
    for count, seconds, floor_map, floor_call in (
        (1, 0.01, 1.5, 3.0),
        (9, 0.01, 3.0, 3.0),
        (49, 0.01, 3.0, 3.0),
        (1, 1.0, 21.0, 101.0),
    ):
        maps, calls = [], []
        for _ in range(rounds):
            alone, alone_call = short_map(), statistics.median(one_call() for _ in range(5))
            with others(count, seconds):
                maps.append(short_map() / alone)
                calls.append(statistics.median(one_call() for _ in range(5)) / alone_call)
        beside = f"beside {count} of {seconds:g} s"
        rows += [
            _row(f"20 x 10 ms {beside}", maps, floor_map),
            _row(f"one call of 10 ms {beside}", calls, floor_call),
        ]
    return rows


def _row(name: str, ratios: list[float], floor: float) -> Row:
    shown = ", ".join(f"{each:.2f}" for each in sorted(ratios))
    return Row(name=name, measured=statistics.median(ratios), floor=floor, at_least=False, unit="x alone", detail=shown)
