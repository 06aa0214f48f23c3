"""A map, a run and a job share the names: none takes the place of another, or its results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

import actorq
from actorq import DeclarationError, MapConflictError, PoolError
from actorq.broker import keys
from tests.conftest import Worker
from tests.support.code import tasks


def a_run(name: str) -> Any:
    return tasks.double.spawn_map([1, 2, 3], map_id=name)


def a_job(name: str) -> Any:
    return tasks.double.spawn(21, job_id=name)


def a_map(name: str) -> Any:
    return list(tasks.double.map([1, 2, 3], map_id=name))


@pytest.mark.parametrize(
    ("first", "second", "error", "told"),
    [
        (a_job, a_run, MapConflictError, "map_id 'name' is the name of a job"),
        (a_job, a_map, DeclarationError, "map_id 'name' is in use by another map, a run or a job"),
        (a_run, a_job, MapConflictError, "job_id 'name' is the name of a run"),
        (a_run, a_map, DeclarationError, "map_id 'name' is in use by another map, a run or a job"),
    ],
)
@pytest.mark.parametrize("ended", [True, False])
def test_what_has_a_name_keeps_it_until_it_is_deleted(
    worker: Worker,
    ended: bool,
    first: Callable[[str], Any],
    second: Callable[[str], Any],
    error: type[Exception],
    told: str,
) -> None:
    there = first("name")
    if ended:
        there.result(30) if first is a_job else there.wait(30)
    with pytest.raises(error, match=told):
        second("name")
    assert (there.result(30) if first is a_job else there.results()) == (42 if first is a_job else [2, 4, 6])
    there.delete()
    second("name")
    if second is not a_map:
        (actorq.job if second is a_job else actorq.attach)("name").delete()


@pytest.mark.parametrize("second", [a_run, a_job])
def test_a_live_map_keeps_its_name_until_it_is_over(worker: Worker, second: Callable[[str], Any]) -> None:
    handle = tasks.wait.map([0.01, 30.0, 30.0], map_id="name", order_outputs=False)
    assert next(handle) == 0.01
    with pytest.raises(MapConflictError, match="'name' is the name of a map"):
        second("name")
    handle.close()
    second("name").delete()


def test_a_run_whose_journal_is_gone_says_so_to_all_who_read_it(worker: Worker) -> None:
    run = a_run("gone")
    assert run.wait(30) == "done"
    with redis.Redis.from_url(worker.url) as server:
        server.delete(keys.out("gone"))
    told = "The results of run 'gone', which is done, are not on the server any more"
    with pytest.raises(PoolError, match=told):
        run.results()
    with pytest.raises(PoolError, match=told):
        list(run.outputs(ordered=False))
    run.delete()
