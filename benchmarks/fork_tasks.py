"""The tasks of `forks.py`: a nap that holds on to a cache of some kind."""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

from actorq import ActorEnvironment, actor_cache

_KINDS = ("nothing", "arrays", "objects")
forked = {kind: ActorEnvironment(f"bench-fork-{kind}", isolation="fork") for kind in _KINDS}
plain = {kind: ActorEnvironment(f"bench-plain-{kind}", isolation="none") for kind in _KINDS}


@actor_cache
def held(kind: str) -> Any:
    if kind == "arrays":
        import numpy as np

        return [np.ones(250_000) for _ in range(100)]  # 200 MB
    if kind == "objects":
        return [(i, str(i)) for i in range(500_000)]  # a tuple, a number and a text each
    return None


def nap_nothing(seconds: float) -> float:
    return _nap("nothing", seconds)


def nap_arrays(seconds: float) -> float:
    return _nap("arrays", seconds)


def nap_objects(seconds: float) -> float:
    return _nap("objects", seconds)


def _nap(kind: str, seconds: float) -> float:
    held(kind)
    time.sleep(seconds)
    return seconds


def bare_nothing(times: int) -> float:
    return _bare("nothing", times)


def bare_arrays(times: int) -> float:
    return _bare("arrays", times)


def bare_objects(times: int) -> float:
    return _bare("objects", times)


def _bare(kind: str, times: int) -> float:
    """Seconds of a fork whose child ends at once, in a process that holds the same: the median."""
    held(kind)
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


_NAPS = {"nothing": nap_nothing, "arrays": nap_arrays, "objects": nap_objects}
forked_naps = {kind: forked[kind].task(nap) for kind, nap in _NAPS.items()}
plain_naps = {kind: plain[kind].task(nap) for kind, nap in _NAPS.items()}
_BARE = {"nothing": bare_nothing, "arrays": bare_arrays, "objects": bare_objects}
bare_forks = {kind: plain[kind].task(fork) for kind, fork in _BARE.items()}
