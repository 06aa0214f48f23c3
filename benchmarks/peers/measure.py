"""The rows of one system, in one process: `python -m benchmarks.peers.measure SYSTEM` prints them as JSON.
`--all` adds the rows that only it measures.

A row that fails, or takes too long, is its error: that is a result, too.
"""

from __future__ import annotations

import contextlib
import json
import platform
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

from benchmarks.peers import systems, work

#: seconds a row may take, and in which its inputs are as many as that takes
_LIMIT, _ENOUGH = 40, 0.5
#: bytes of a large input, and how many
_LARGE, _ARRAYS = 8_000_000, 20
_CALL_SECONDS, _MOST_CALLS = 1.0, 1000
#: workers of the last row, and seconds of the nap by which each is seen
_MANY, _SEEN = 100, 1.0
_PACKAGES = ("joblib", "mpire", "distributed", "ray", "celery", "rq", "redis", "numpy")


@contextlib.contextmanager
def _within(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def noops(system: systems.System) -> float:
    """Inputs a second: as many as half a second takes."""
    count = 200
    while True:
        inputs = list(range(count))
        begun = time.perf_counter()
        assert system.map(work.noop, inputs, tiny=True) == inputs
        took = time.perf_counter() - begun
        if took >= _ENOUGH or count >= 2_000_000:
            return count / took
        count *= 4 if took < _ENOUGH / 8 else 2


def calls(system: systems.System) -> float:
    """Microseconds of one call after the other, the median."""
    took: list[float] = []
    end = time.perf_counter() + 2 * _CALL_SECONDS
    while time.perf_counter() < end and len(took) < _MOST_CALLS:
        begun = time.perf_counter()
        system.call(work.noop, 1)
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e6


def small_maps(system: systems.System) -> float:
    """Maps of ten inputs a second."""
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < _CALL_SECONDS:
        system.map(work.noop, list(range(10)), tiny=True)
        done += 1
    return done / (time.perf_counter() - begun)


def threads(system: systems.System, count: int = 16) -> float:
    """Calls a second from so many threads."""
    end = time.perf_counter() + _CALL_SECONDS

    def caller(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            system.call(work.noop, 1)
            done += 1
        return done

    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as callers:
        done = sum(callers.map(caller, range(count)))
    return done / (time.perf_counter() - begun)


def arrays(system: systems.System) -> float:
    """Megabytes a second of arrays that go in."""
    import numpy as np

    inputs = [np.full(_LARGE // 8, i, dtype=np.int64) for i in range(_ARRAYS)]
    system.map(work.total, inputs[:4], tiny=False)  # so that the workers have imported numpy
    begun = time.perf_counter()
    assert system.map(work.total, inputs, tiny=False) == [_LARGE // 8 + i for i in range(_ARRAYS)]
    return _ARRAYS * _LARGE / 1e6 / (time.perf_counter() - begun)


def many_threads(system: systems.System) -> float:
    return threads(system, 64)


def arrays_out(system: systems.System) -> float:
    """Megabytes a second of arrays that come out."""
    system.map(work.zeros, [1] * 4, tiny=False)
    begun = time.perf_counter()
    found = system.map(work.zeros, [_LARGE // 8] * _ARRAYS, tiny=False)
    assert {len(array) for array in found} == {_LARGE // 8}
    return _ARRAYS * _LARGE / 1e6 / (time.perf_counter() - begun)


def both_ways(system: systems.System) -> float:
    """Megabytes a second of bytes that go in and come out: 200 of a MiB."""
    inputs = [bytes([number]) * (1 << 20) for number in range(200)]
    begun = time.perf_counter()
    assert system.map(work.echo, inputs, tiny=False) == inputs
    return 2 * len(inputs) * (1 << 20) / 1e6 / (time.perf_counter() - begun)


def naps(system: systems.System) -> float:
    """400 naps of 50 ms on 20 workers, beside the second that they take at best."""
    system.map(work.nap, [0.01] * 100, tiny=False)
    begun = time.perf_counter()
    system.map(work.nap, [0.05] * 400, tiny=False)
    return 1.0 / (time.perf_counter() - begun)


def short_naps(system: systems.System) -> float:
    """2,000 naps of 1 ms on 20 workers, beside the 0.1 s that they take at best."""
    system.map(work.nap, [0.001] * 200, tiny=False)
    begun = time.perf_counter()
    system.map(work.nap, [0.001] * 2000, tiny=False)
    return 0.1 / (time.perf_counter() - begun)


def all_seen(system: systems.System) -> float:
    """Seconds until each of 100 workers has answered, but for the nap that keeps it from answering twice."""
    begun = time.perf_counter()
    system.start(_MANY)
    system.map(work.nap, [_SEEN] * _MANY, tiny=False)
    return time.perf_counter() - begun - _SEEN


Measure = Callable[[systems.System], float]
ON_TWO: tuple[Measure, ...] = (noops, calls, small_maps, threads, arrays)
MORE_ON_TWO: tuple[Measure, ...] = (many_threads, arrays_out, both_ways)
ON_TWENTY: tuple[Measure, ...] = (naps,)
MORE_ON_TWENTY: tuple[Measure, ...] = (short_naps,)


def main(name: str, *, everything: bool) -> None:
    made = _system(name)
    rows: dict[str, Any] = {}
    with _row(rows, "start"):
        made.start(2)
        made.call(work.noop, 1)
        print(json.dumps({"first": time.time()}), flush=True)
    if "start" not in rows:
        _measure(made, ON_TWO + MORE_ON_TWO if everything else ON_TWO, rows)
    made.stop()
    on_twenty = ON_TWENTY + MORE_ON_TWENTY if everything else ON_TWENTY
    with _row(rows, *(measure.__name__ for measure in on_twenty)):
        made.start(20)
    if on_twenty[0].__name__ not in rows:
        _measure(made, on_twenty, rows)
        made.stop()
    if everything:
        _measure(made, (all_seen,), rows)
        with contextlib.suppress(Exception):  # it has failed: its row says so
            made.stop()
    print(json.dumps({"rows": rows, "setting": made.setting, "versions": _versions()}), flush=True)


def _measure(made: systems.System, measures: Sequence[Measure], rows: dict[str, Any]) -> None:
    for measure in measures:
        with _row(rows, measure.__name__):
            rows[measure.__name__] = measure(made)


@contextlib.contextmanager
def _row(rows: dict[str, Any], *names: str) -> Iterator[None]:
    try:
        with _within(_LIMIT):
            yield
    except Exception as error:  # whatever a system does, its rows say so
        for name in names:
            rows.setdefault(name, f"{type(error).__name__}: {error}".splitlines()[0][:120])


def _system(name: str) -> systems.System:
    if name in systems.SYSTEMS:
        return systems.SYSTEMS[name]()
    from benchmarks.peers import ours

    return ours.SYSTEMS[name]()


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


if __name__ == "__main__":
    main(sys.argv[1], everything="--all" in sys.argv)
