"""All rows of one system, in one process: `python -m benchmarks.peers.measure SYSTEM` prints them as JSON.

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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

from benchmarks.peers import systems, work

#: seconds a row may take, and in which its inputs are as many as that takes
_LIMIT, _ENOUGH = 40, 0.5
#: bytes of a large input, and how many
_LARGE, _ARRAYS = 8_000_000, 20
_THREADS, _CALL_SECONDS, _MOST_CALLS = 16, 1.0, 1000
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


def threads(system: systems.System) -> float:
    """Calls a second from 16 threads."""
    end = time.perf_counter() + _CALL_SECONDS

    def caller(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            system.call(work.noop, 1)
            done += 1
        return done

    begun = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as callers:
        done = sum(callers.map(caller, range(_THREADS)))
    return done / (time.perf_counter() - begun)


def arrays(system: systems.System) -> float:
    """Megabytes a second of arrays that go in."""
    import numpy as np

    inputs = [np.full(_LARGE // 8, i, dtype=np.int64) for i in range(_ARRAYS)]
    begun = time.perf_counter()
    assert system.map(work.total, inputs, tiny=False) == [_LARGE // 8 + i for i in range(_ARRAYS)]
    return _ARRAYS * _LARGE / 1e6 / (time.perf_counter() - begun)


def naps(system: systems.System) -> float:
    """400 naps of 50 ms on 20 workers, beside the second that they take at best."""
    system.map(work.nap, [0.01] * 100, tiny=False)
    begun = time.perf_counter()
    system.map(work.nap, [0.05] * 400, tiny=False)
    return 1.0 / (time.perf_counter() - begun)


ON_TWO: tuple[Callable[[systems.System], float], ...] = (noops, calls, small_maps, threads, arrays)


def main(name: str) -> None:
    made = _system(name)
    rows: dict[str, Any] = {}
    with _row(rows, "start"):
        made.start(2)
        made.call(work.noop, 1)
        print(json.dumps({"first": time.time()}), flush=True)
    for measure in ON_TWO if "start" not in rows else ():
        with _row(rows, measure.__name__):
            rows[measure.__name__] = measure(made)
    made.stop()
    with _row(rows, "naps"):
        made.start(20)
        rows["naps"] = naps(made)
        made.stop()
    print(json.dumps({"rows": rows, "setting": made.setting, "versions": _versions()}), flush=True)


@contextlib.contextmanager
def _row(rows: dict[str, Any], name: str) -> Iterator[None]:
    try:
        with _within(_LIMIT):
            yield
    except Exception as error:  # whatever a system does, its row says so
        rows[name] = f"{type(error).__name__}: {error}".splitlines()[0][:120]


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
    main(sys.argv[1])
