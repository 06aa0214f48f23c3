"""Results that arrive damaged: their inputs run again, and are an error that names who sent them if that is no help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actorq import CodecError
from actorq.errors import TaskError
from tests.conftest import pool_client
from tests.support.code import damaging


@pytest.fixture(autouse=True)
def odd_key() -> Any:
    """A blob that is a list."""
    assert damaging.work.remote(1) == 1
    with pool_client() as client:
        client.rpush("aq:blob:of-another-type", "x")
        client.expire("aq:blob:of-another-type", 60)
        yield
        client.delete("aq:blob:of-another-type")


def nameless(kind: str) -> bool:
    """Whether the name of the replica is lost, too."""
    return "blob" in kind or kind in ("nothing", "garbage")


@pytest.mark.parametrize("kind", damaging.DAMAGES)
@pytest.mark.parametrize("task", [damaging.work, damaging.work_by_key])
def test_results_that_stay_damaged_are_an_error_of_their_input(task: Any, kind: str) -> None:
    damaged = ["damaged", kind, ""]
    outcomes = list(task.map([1, damaged, *range(2, 40)], return_exceptions=True))
    assert outcomes[:1] + outcomes[2:] == list(range(1, 40))
    error = outcomes[1]
    assert type(error) is CodecError
    assert str(error).startswith("Input 1: 2 replicas sent what is no result of it")
    assert isinstance(error.__cause__, TaskError)
    assert error.__cause__.index == 1
    if not nameless(kind):
        assert "damaging-" in str(error)
        assert "damaging-" in error.__cause__.replica


@pytest.mark.parametrize("kind", damaging.DAMAGES)
def test_results_that_are_damaged_once_come_the_second_time(kind: str, tmp_path: Path) -> None:
    ways: dict[str, Callable[[Any], Any]] = {
        "map": lambda value: next(iter(damaging.work.map([value]))),
        "remote": damaging.work.remote,
        "submit": lambda value: damaging.work.submit(value).result(),
    }
    for name, run in ways.items():
        damaged = ["damaged", kind, str(tmp_path / name)]
        assert run(damaged) == damaged
        assert (tmp_path / name).exists()


@pytest.mark.parametrize("kind", damaging.DAMAGES)
def test_calls_whose_results_stay_damaged_raise_that(kind: str) -> None:
    damaged = ["damaged", kind, ""]
    with pytest.raises(CodecError, match="2 replicas sent what is no result"):
        damaging.work.remote(damaged)
    future, other = damaging.work.submit(damaged), damaging.work.submit(7)
    assert other.result() == 7
    with pytest.raises(CodecError, match="2 replicas sent what is no result"):
        future.result()
