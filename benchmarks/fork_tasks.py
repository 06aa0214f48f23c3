"""The tasks of `forks.py`: a nap that holds on to a cache of some kind."""

from __future__ import annotations

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


_NAPS = {"nothing": nap_nothing, "arrays": nap_arrays, "objects": nap_objects}
forked_naps = {kind: forked[kind].task(nap) for kind, nap in _NAPS.items()}
plain_naps = {kind: plain[kind].task(nap) for kind, nap in _NAPS.items()}
