"""A map over a real server and real replicas: order, laziness, bounds, options."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path

import pytest

import actorq
from actorq import DeclarationError, MapFailedError, MapTimeoutError
from actorq.declare.calling import MapArguments
from actorq.maps import pump
from actorq.maps.leases import LEASES_PER_REPLICA
from tests.conftest import eventually, map_threads, pool_client
from tests.support.code import tasks


def test_outputs_come_in_the_order_of_the_inputs() -> None:
    assert list(tasks.double.map(range(1000))) == [2 * x for x in range(1000)]


def test_many_tiny_inputs_come_back_complete_and_in_order() -> None:
    assert list(tasks.double.map(range(200_000))) == [2 * x for x in range(200_000)]


def test_an_empty_input_gives_no_output() -> None:
    assert list(tasks.double.map([])) == []
    assert list(tasks.double.map(iter(()))) == []


def test_a_plain_call_runs_here() -> None:
    assert tasks.double(4) == 8


def test_a_remote_call_returns_the_output() -> None:
    assert tasks.double.remote(4) == 8
    assert tasks.add.remote(1, b=2, c=3) == 6


def test_coroutine_tasks_run_on_replicas() -> None:
    assert tasks.later.remote(1) == 2
    assert list(tasks.later.map(range(20))) == list(range(1, 21))


def test_several_iterables_advance_together() -> None:
    assert list(tasks.add.map([1, 2], [10, 20])) == [11, 22]
    assert list(tasks.add.starmap([(1, 2), (3,)])) == [3, 13]
    assert list(tasks.add.map([1, 2], kwargs={"c": 100})) == [111, 112]


def test_a_partial_binds_constants() -> None:
    assert list(actorq.map(partial(tasks.add, b=1), [1, 2], kwargs={"c": 5})) == [7, 8]


def test_iterables_of_unequal_length_are_refused() -> None:
    with pytest.raises(DeclarationError, match="unequal lengths"):
        tasks.add.map([1, 2], [1])
    with pytest.raises(DeclarationError, match="unequal lengths"):
        list(tasks.add.map(iter([1, 2]), iter([1])))


def test_unordered_outputs_come_as_they_are_done(tmp_path: Path) -> None:
    gate, there = tmp_path / "gate", tmp_path / "there"
    there.touch()
    outputs = tasks.until.map([str(gate), str(there), str(there)], order_outputs=False)
    assert [next(outputs), next(outputs)] == [str(there), str(there)]
    gate.touch()
    assert list(outputs) == [str(gate)]


def test_an_endless_generator_is_drawn_only_as_far_as_needed() -> None:
    drawn = 0

    def endless() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn - 1

    with tasks.double.map(endless(), max_outstanding=100) as outputs:
        assert list(itertools.islice(outputs, 5)) == [0, 2, 4, 6, 8]
        assert drawn <= 205  # what was yielded, a segment that was taken whole, and the bound


def test_a_slow_first_input_bounds_what_is_drawn() -> None:
    drawn = 0

    def inputs() -> Iterator[float]:
        nonlocal drawn
        yield 0.5
        for number in range(1_000_000):
            drawn = number
            yield 0.0

    outputs = tasks.wait.map(inputs(), max_outstanding=500)
    assert next(outputs) == 0.5
    assert drawn <= 1000
    outputs.close()


def test_the_consumer_may_be_slow_without_idling_the_replicas() -> None:
    outputs = tasks.who.map(range(40))
    next(outputs)
    assert eventually(lambda: outputs.stats().succeeded == 40)
    assert len(list(outputs)) == 39


def test_leaving_a_loop_early_ends_the_map() -> None:
    for output in tasks.wait.map([0.0] * 10_000):
        assert output == 0.0
        break
    assert eventually(lambda: not map_threads())


def test_closing_a_map_stops_the_inputs_that_run() -> None:
    outputs = tasks.wait.map([0.0, 30, 30, 30])
    assert next(outputs) == 0.0
    started = time.monotonic()
    outputs.close()
    assert tasks.wait.map([0.0] * 4).results() == [0.0] * 4
    assert time.monotonic() - started < 10


def test_a_loop_ends_when_its_map_is_closed_in_it() -> None:
    outputs = tasks.double.map(range(100_000))
    seen = 0
    for seen, _ in enumerate(outputs, 1):
        if seen == 10:
            outputs.close()
    assert seen == 10


def test_two_threads_that_wait_for_one_map_are_both_told() -> None:
    outputs = tasks.wait.map([0.0, 0.5, 0.0])
    assert next(outputs) == 0.0
    errors: list[ValueError] = []

    def read() -> None:
        try:
            next(outputs)
        except ValueError as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outputs.close()
    assert len(errors) == 2


def test_the_error_of_the_users_iterator_comes_after_the_outputs_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("my own")

    outputs = tasks.double.map(broken())
    assert next(outputs) == 2
    assert next(outputs) == 4
    with pytest.raises(KeyError, match="my own"):
        next(outputs)


def test_a_map_has_a_deadline() -> None:
    with pytest.raises(MapTimeoutError, match=r"0\.3 s"):
        list(tasks.wait.map([30.0], timeout=0.3))


def test_the_first_failure_is_raised_at_its_place() -> None:
    outputs = tasks.fails_at.map(range(100))
    assert [next(outputs), next(outputs), next(outputs)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no 3"):
        next(outputs)


def test_failures_can_be_returned() -> None:
    outputs = list(tasks.fails_at.map(range(5), return_exceptions=True))
    assert outputs[:3] == [0, 1, 2]
    assert isinstance(outputs[3], ValueError)
    assert outputs[4] == 4


@pytest.mark.parametrize("options", [{"min_success_ratio": 0.9}, {"min_successes": 9}, {"max_failures": 1}])
def test_a_tolerant_map_yields_none_for_a_failed_input(options: MapArguments) -> None:
    outputs = tasks.fails_at.map(range(10), **options)
    assert list(outputs) == [0, 1, 2, None, 4, 5, 6, 7, 8, 9]
    assert [str(error) for error in outputs.failures] == ["no 3"]


def test_failures_can_be_returned_up_to_a_limit() -> None:
    outputs = tasks.fails_at.map([0, 3, 1], return_exceptions=True, max_failures=1)
    assert [str(output) for output in outputs] == ["0", "no 3", "1"]
    assert [str(error) for error in outputs.failures] == ["no 3"]
    with pytest.raises(MapFailedError, match="2 inputs failed; max_failures=1"):
        list(tasks.fails_at.map([3, 3, 1], return_exceptions=True, max_failures=1))


@pytest.mark.parametrize("options", [{"min_success_ratio": 0.91}, {"min_successes": 10}, {"max_failures": 0}])
def test_a_map_fails_when_too_many_inputs_do(options: MapArguments) -> None:
    with pytest.raises(MapFailedError, match=r"1 .*inputs failed") as caught:
        list(tasks.fails_at.map(range(10), **options))
    assert [str(error) for error in caught.value.failures] == ["no 3"]


def test_submitted_calls_are_real_futures() -> None:
    futures = {tasks.double.submit(x): x for x in range(100)}
    assert {future.result(): x for future, x in futures.items()} == {2 * x: x for x in range(100)}
    assert all(future.done() for future in as_completed(futures))
    failing = tasks.fails_at.submit(3)
    assert isinstance(failing.exception(timeout=10), ValueError)


def test_a_future_can_be_awaited() -> None:
    async def main() -> int:
        return await asyncio.wrap_future(tasks.double.submit(21))

    assert asyncio.run(main()) == 42


def test_outputs_can_be_awaited() -> None:
    async def main() -> list[int]:
        return [output async for output in tasks.double.map.aio(range(50))]

    assert asyncio.run(main()) == [2 * x for x in range(50)]


def test_maps_of_several_threads_do_not_mix() -> None:
    results: dict[int, list[int]] = {}

    def run(offset: int) -> None:
        results[offset] = list(tasks.double.map(range(offset, offset + 500)))

    threads = [threading.Thread(target=run, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {1000 * n: [2 * x for x in range(1000 * n, 1000 * n + 500)] for n in range(4)}


def test_concurrency_bounds_the_replicas_used() -> None:
    spans = sorted(tasks.span.map(range(20), concurrency=1))
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_the_cache_is_loaded_once_per_replica() -> None:
    results = set(tasks.uses_cache.map(range(50)))
    assert {misses for _, misses in results} == {1}


def test_values_of_all_kinds_come_back_equal() -> None:
    values = [None, True, 1, 2**80, 1.5, "é", b"\0", [1], {"a": 1}, {1: 2}, (1, 2), {3}, frozenset({4}), 1j]
    assert list(tasks.echo.map(values)) == values


def test_one_slow_input_among_tiny_ones_does_not_hold_back_the_rest() -> None:
    outputs = tasks.mostly_quick.map(range(60_000), order_outputs=False)
    started = time.monotonic()
    assert sorted(outputs) == list(range(60_000))
    assert time.monotonic() - started < 20
    assert outputs.stats().late == 0


def test_redis_holds_only_the_window_of_a_long_map() -> None:
    outputs = tasks.wait.map([0.01] * 2000)
    next(outputs)
    with pool_client() as server:
        jobs = max(len(server.keys(f"rq:job:{outputs.map_id}-*")) for _ in range(20))
    outputs.close()
    assert jobs <= 2 * LEASES_PER_REPLICA


@pytest.mark.parametrize("bound", [1, 2, 5, 30])
def test_no_more_inputs_are_drawn_than_may_be_outstanding(bound: int) -> None:
    drawn = 0

    def inputs() -> Iterator[int]:
        nonlocal drawn
        for i in range(200):
            drawn += 1
            yield i

    for yielded, _ in enumerate(tasks.double.map(inputs(), max_outstanding=bound), start=1):
        assert drawn - yielded <= bound
    assert drawn == yielded == 200


def test_room_that_the_consumer_makes_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one input drawn ahead, every step needs the pump to be woken: here it never wakes by itself."""
    monkeypatch.setattr(pump, "BEAT_SECONDS", 1000.0)
    assert len(list(tasks.double.map(range(40), max_outstanding=1))) == 40
