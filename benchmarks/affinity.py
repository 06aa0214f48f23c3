"""Affinity: 64 models on 8 replicas that hold 8 each, beside the best that could be planned with all inputs known."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

from actorq import ActorEnvironment, actor_cache
from benchmarks.rows import Row, medians, ratio, timed

eight = ActorEnvironment("bench-models", replica_count=8, isolation="none")

_REPLICAS, _MODELS, _HELD, _INPUTS = 8, 64, 8, 5000
#: seconds that a model takes to load, and an input to run
_LOAD, _RUN = 0.1, 0.01


@actor_cache(maxsize=_HELD, key=lambda model, load: model)
def loaded(model: int, load: float) -> int:
    time.sleep(load)
    return model


def _use(model: int, load: float, run: float) -> int:
    """Returns how many models were loaded for it."""
    before = loaded.cache_info().misses
    loaded(model, load)
    time.sleep(run)
    return loaded.cache_info().misses - before


@eight.task(affinity="model")
def use(model: int, load: float = _LOAD, run: float = _RUN) -> int:
    return _use(model, load, run)


@eight.task
def use_anywhere(model: int, load: float = _LOAD, run: float = _RUN) -> int:
    return _use(model, load, run)


@eight.task
def nap(seconds: float) -> None:
    time.sleep(seconds)


@eight.task
def forget(seconds: float) -> None:
    loaded.cache_clear()
    time.sleep(seconds)


def planned(models: Sequence[int]) -> float:
    """Seconds that the best assignment of models to replicas takes: the largest first, each to the least loaded."""
    busy = [0.0] * _REPLICAS
    kept = [0] * _REPLICAS
    share = -(-len(set(models)) // _REPLICAS)
    for _, inputs in Counter(models).most_common():
        best = min((i for i in range(_REPLICAS) if kept[i] < share), key=busy.__getitem__)
        busy[best] += _LOAD + inputs * _RUN
        kept[best] += 1
    return max(busy)


def random_models(rounds: int = 3) -> list[Row]:
    """5,000 inputs in random order, ordered and collected. The same seconds of sleep where any replica may take any of
    them, 64 of them longer by a load, are what this machine makes of an assignment without a fault.
    """
    rng = random.Random(3)
    models = [rng.randrange(_MODELS) for _ in range(_INPUTS)]
    naps = [_RUN + _LOAD] * _MODELS + [_RUN] * (_INPUTS - _MODELS)
    loads: list[int] = []

    def with_affinity() -> float:
        list(forget.map([0.1] * _REPLICAS))  # long enough that every replica gets one
        return timed(lambda: loads.append(sum(use.map(models))))

    (ours, ideal), _ = medians(rounds, with_affinity, lambda: timed(lambda: list(nap.map(naps))))
    later = sum(use.map(rng.sample(models, len(models))))
    anywhere = sum(use_anywhere.map(models, kwargs={"load": 0.0, "run": 0.001}))
    best = planned(models)
    return [
        Row(
            name="64 models, 8 replicas hold 8 each: loads",
            measured=max(loads),
            floor=80,
            at_least=False,
            unit="loads",
            detail=f"{anywhere} without affinity; {later} in a map after it",
        ),
        Row(
            name="the same / sleeps that any replica may take",
            measured=ideal / ours,
            floor=0.95,
            at_least=True,
            unit="x",
            detail=f"{best / ours:.2f} of the best offline assignment, simulated: {best:.2f} s",
        ),
    ]


def one_model(rounds: int = 5) -> list[Row]:
    """All inputs have one key: every replica must work on it."""
    inputs = [0] * 2000
    list(use.map(inputs))
    measured = ratio(
        rounds, lambda: timed(lambda: list(use.map(inputs))), lambda: timed(lambda: list(use_anywhere.map(inputs)))
    )
    return [Row(name="one model / without affinity", measured=measured, floor=0.98, at_least=True, unit="x", detail="")]


ALL = (random_models, one_model)
