"""The test double and real replicas behave alike, as far as a caller can see."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actorq
import actorq.testing
from actorq import CodecError, DeclarationError, MapFailedError, MapTimeoutError, PoolError, TaskError
from tests.support.code import tasks


@pytest.fixture(params=["inline", "replicas"], autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where tasks run."""
    if request.param == "replicas":
        yield request.param
        return
    with actorq.testing.inline():
        yield request.param


# -- maps --------------------------------------------------------------------------------------------------------------


def test_outputs_come_in_the_order_of_the_inputs() -> None:
    assert list(tasks.double.map(range(3000))) == [2 * x for x in range(3000)]


def test_unordered_outputs_are_complete() -> None:
    assert sorted(tasks.double.map(range(300), order_outputs=False)) == [2 * x for x in range(300)]


def test_several_iterables_advance_together_and_starmap_unpacks() -> None:
    assert list(tasks.add.map([1, 2], [10, 20], kwargs={"c": 100})) == [111, 122]
    assert list(tasks.add.starmap([(1, 2), (3,)])) == [3, 13]
    assert list(actorq.map(partial(tasks.add, c=5), [1])) == [16]


def test_inputs_that_make_no_call_are_refused_at_once() -> None:
    with pytest.raises(DeclarationError, match="unequal lengths"):
        tasks.add.map([1, 2], [1])
    with pytest.raises(DeclarationError, match="at least one iterable"):
        tasks.add.map()
    with pytest.raises(TypeError, match="mapped over 4 iterables"):
        tasks.add.map([1], [2], [3], [4])
    misspelt: Any = {"prioritty": 1}
    with pytest.raises(TypeError, match="prioritty"):
        tasks.add.map([1], **misspelt)


def test_inputs_are_drawn_no_further_than_asked_for() -> None:
    drawn = []

    def inputs() -> Iterator[int]:
        for x in range(1000):
            drawn.append(x)
            yield x

    outputs = tasks.double.map(inputs(), max_outstanding=10)
    assert [next(outputs) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(drawn) < 50
    outputs.close()
    assert len(drawn) < 50


def test_an_error_of_the_inputs_comes_after_the_outputs_before_it() -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise OSError("the disk")

    outputs = tasks.double.map(inputs())
    assert next(outputs) == 2
    with pytest.raises(OSError, match="the disk"):
        next(outputs)


def test_coroutine_functions_are_awaited() -> None:
    assert list(tasks.later.map(range(20))) == list(range(1, 21))


def test_keys_choose_replicas_and_not_the_order() -> None:
    names = ["a", "b", "c"] * 10
    assert [name for name, _, _ in tasks.uses_model.map(names, kwargs={"seconds": 0.0})] == names


def test_a_map_can_be_closed_and_says_what_it_did() -> None:
    outputs = tasks.wait.map([0.001] * 10_000)
    next(outputs)
    outputs.close()
    assert 0 < outputs.stats().succeeded < 10_000
    with pytest.raises((PoolError, StopIteration)):
        next(outputs)


def test_a_map_that_takes_too_long_ends() -> None:
    with pytest.raises(MapTimeoutError, match=r"0\.3 s"):
        list(tasks.wait.map([0.05] * 100, timeout=0.3))


def test_regular_tasks_run_too() -> None:
    assert [x for x, _ in tasks.fresh.map(range(3))] == [0, 1, 2]


# -- failures ----------------------------------------------------------------------------------------------------------


def test_the_first_failure_is_raised_at_its_place() -> None:
    outputs = tasks.fails_at.map(range(10))
    assert [next(outputs) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(outputs)


def test_failures_are_returned_where_that_is_asked_for() -> None:
    outputs = list(tasks.fails_at.map(range(5), return_exceptions=True))
    assert [outputs[i] for i in (0, 1, 2, 4)] == [0, 1, 2, 4]
    assert isinstance(outputs[3], ValueError)


def test_too_many_failures_end_a_map_that_tolerates_some() -> None:
    assert list(tasks.fails_at.map(range(5), max_failures=1)) == [0, 1, 2, None, 4]
    with pytest.raises(MapFailedError, match="1 inputs failed; max_failures=0"):
        list(tasks.fails_at.map(range(5), max_failures=0))


def test_an_own_exception_keeps_its_type_and_attributes() -> None:
    with pytest.raises(tasks.OwnError) as caught:
        list(tasks.raises_own.map([7]))
    assert (caught.value.code, caught.value.hint) == (7, "turn it off and on")
    assert "raises_own" in "".join(traceback.format_exception(caught.value))


def test_an_input_is_tried_again_as_often_as_declared(tmp_path: Path) -> None:
    assert tasks.flaky.remote(str(tmp_path / "tries")) == 2
    outputs = tasks.flaky.map([str(tmp_path / "others")])
    assert list(outputs) == [2]
    assert outputs.stats().retried == 2


def test_what_would_end_the_process_is_a_failure() -> None:
    with pytest.raises(TaskError, match="SystemExit"):
        list(tasks.exits.map([1]))


# -- values ------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_carried_is_refused_by_name() -> None:
    with pytest.raises(CodecError, match=r"Input 1 of tests\.support\.code\.tasks\.echo"):
        list(tasks.echo.map([1, object()]))
    with pytest.raises(CodecError, match=r"The output of tests\.support\.code\.tasks\.returns_object"):
        list(tasks.returns_object.map([1]))
    with pytest.raises(CodecError, match=r"Argument 1 of tests\.support\.code\.tasks\.echo"):
        tasks.echo.remote(object())


def test_an_input_that_cannot_be_read_where_it_runs_fails_alone() -> None:
    values = list(tasks.number_of.map(map(tasks.Picky, range(6)), return_exceptions=True))
    assert [value for value in values if isinstance(value, int)] == [0, 1, 2, 4, 5]
    assert isinstance(values[3], CodecError)
    assert isinstance(values[3].__cause__, TaskError)
    with pytest.raises(CodecError, match="not 3"):
        tasks.number_of.remote(tasks.Picky(3))


def test_an_output_is_never_the_object_that_went_in() -> None:
    value = {"a": [1, (2, 3)]}
    [output] = tasks.echo.map([value])
    assert output == value
    assert output is not value
    assert output["a"] is not value["a"]


def test_arrays_arrive_read_only() -> None:
    [array] = tasks.echo.map([np.arange(10_000)])
    assert not array.flags.writeable


# -- calls -------------------------------------------------------------------------------------------------------------


def test_calls_return_and_raise() -> None:
    call: Any = tasks.add.remote
    assert tasks.add.remote(1, b=2, c=3) == 6
    with pytest.raises(ValueError, match="3"):
        tasks.fails_at.remote(3)
    with pytest.raises(TypeError, match="missing a required argument"):
        call()


def test_futures_are_done_in_any_order() -> None:
    futures = [tasks.double.submit(x) for x in range(50)]
    done, _ = wait(futures, timeout=30)
    assert len(done) == 50
    assert [future.result() for future in futures] == [2 * x for x in range(50)]
    assert isinstance(tasks.fails_at.submit(3).exception(timeout=30), ValueError)


def test_coroutines_await_maps_and_calls() -> None:
    async def inputs() -> AsyncIterator[int]:
        for x in range(5):
            yield x

    async def main() -> tuple[list[int], int]:
        return [output async for output in tasks.double.map.aio(inputs())], await tasks.add.remote.aio(1)

    assert asyncio.run(main()) == ([0, 2, 4, 6, 8], 11)


def test_an_environment_says_how_many_replicas_it_has() -> None:
    tasks.plain.up()
    deadline = time.monotonic() + 30
    while tasks.plain.status().ready < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert tasks.plain.status().wanted == tasks.plain.status().ready == 2


def test_keyword_constants_are_the_same_for_every_input() -> None:
    constants: dict[str, Any] = {"b": 5}
    assert list(tasks.add.map([1, 2], kwargs=constants)) == [6, 7]
