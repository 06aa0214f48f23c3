"""A whole map with affinity, on simulated replicas: how often a model is loaded, and how long all takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.support.simulated_replicas import Simulation
from tests.unit.test_affinity import EIGHT, random_keys


def planned(keys: Sequence[int], run: float, load: float) -> float:
    """Seconds of the best assignment of keys to eight replicas: the largest first, each to the least loaded."""
    busy, kept = [0.0] * 8, [0] * 8
    for _, count in Counter(keys).most_common():
        best = min((i for i in range(8) if kept[i] < -(-len(set(keys)) // 8)), key=busy.__getitem__)
        busy[best] += load + count * run
        kept[best] += 1
    return max(busy)


@pytest.mark.parametrize("load", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("ordered", [True, False])
def test_64_models_on_8_replicas_are_loaded_hardly_more_than_once(load: float, ordered: bool) -> None:
    keys = random_keys(7)
    outcome = Simulation(keys, lambda _: EIGHT, held=8, run=0.01, load=load, ordered=ordered).play()
    assert sorted(outcome.outputs) == list(range(5000))
    assert not ordered or outcome.outputs == list(range(5000))
    assert outcome.loads.total() <= 80
    assert outcome.seconds <= planned(keys, 0.01, load) / 0.95


def test_one_model_keeps_every_replica_busy() -> None:
    outcome = Simulation([0] * 5000, lambda _: EIGHT, held=8, run=0.01, load=0.1).play()
    assert outcome.loads.total() == 8
    assert outcome.seconds <= 1.01 * (5000 * 0.01 / 8 + 0.1)


def test_inputs_that_come_sorted_are_no_worse() -> None:
    keys = sorted(random_keys(7))
    outcome = Simulation(keys, lambda _: EIGHT, held=8, run=0.01, load=0.1).play()
    assert outcome.loads.total() <= 80
    assert outcome.seconds <= planned(keys, 0.01, 0.1) / 0.95


def test_replicas_that_hold_too_little_run_one_key_at_a_time() -> None:
    outcome = Simulation(random_keys(7), lambda _: EIGHT, held=1, run=0.01, load=0.1).play()
    assert outcome.loads.total() < 400  # random placement: 4,900


def test_a_replica_that_joins_gets_keys() -> None:
    keys = random_keys(7)
    outcome = Simulation(keys, lambda now: EIGHT[:4] if now < 2 else EIGHT, held=16, run=0.01, load=0.05).play()
    assert outcome.loads.total() <= 110
    assert all(outcome.inputs[name] > 300 for name in EIGHT)


def test_a_replica_that_leaves_takes_only_its_keys_along() -> None:
    keys = random_keys(7)
    outcome = Simulation(keys, lambda now: EIGHT if now < 3 else EIGHT[1:], held=10, run=0.01, load=0.1).play()
    assert outcome.outputs == list(range(5000))
    assert outcome.loads.total() <= 100
