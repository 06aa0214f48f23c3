"""actorq, as the others are."""

from __future__ import annotations

import time
from typing import Any

import actorq
from actorq.runtime.program import shutdown
from benchmarks.peers.systems import Function, System


def noop(x: int) -> int:
    return x


def nap(seconds: float) -> None:
    time.sleep(seconds)


def echo(value: Any) -> Any:
    return value


def zeros(count: int) -> Any:
    import numpy as np

    return np.zeros(count)


def total(array: Any) -> int:
    return int(array[0]) + len(array)


#: by isolation, workers and name; a replica imports the module that declares its environment, so they are of this one
_TASKS: dict[tuple[str, int, str], Any] = {}
for _isolation in ("reset", "none"):
    for _workers in (2, 20, 100):
        _env = actorq.ActorEnvironment(f"peers-{_isolation}-{_workers}", replica_count=_workers, isolation=_isolation)
        for _function in (noop, nap, echo, zeros, total):
            _TASKS[_isolation, _workers, _function.__name__] = _env.task(_function)


class Actors(System):
    setting = 'isolation="reset", the default'
    _isolation = "reset"

    def start(self, workers: int) -> None:
        self._workers = workers

    def map(self, function: Function, inputs: list[Any], *, tiny: bool) -> list[Any]:
        return list(_TASKS[self._isolation, self._workers, function.__name__].map(inputs))

    def call(self, function: Function, value: Any) -> Any:
        output: Any = _TASKS[self._isolation, self._workers, function.__name__].remote(value)
        return output

    def stop(self) -> None:
        shutdown()


class Bare(Actors):
    setting = 'isolation="none", as the others have'
    _isolation = "none"


SYSTEMS: dict[str, type[System]] = {"actorq": Actors, "actorq, none": Bare}
