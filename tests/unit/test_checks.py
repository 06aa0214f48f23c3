"""All options refuse alike what is no number, not finite, or out of range, when they are given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from actorq import ActorEnvironment, Backoff, DeclarationError, TaskEnvironment, actor_cache
from actorq.declare.task import TaskOptions
from tests.support.code import tasks


def of_environment(name: str) -> Callable[[Any], Any]:
    return lambda value: ActorEnvironment("checked", **{name: value})


def of_task(name: str) -> Callable[[Any], Any]:
    given: dict[str, Any] = {"retries": 0, "retry_delay": 0.0, "timeout": None, "affinity": None, "writable": False}
    return lambda value: TaskOptions.checked(**given | {name: value})


def of_map(name: str) -> Callable[[Any], Any]:
    return lambda value: tasks.double.map([], **{name: value})


def of_cache(name: str) -> Callable[[Any], Any]:
    return lambda value: actor_cache(**{name: value})


def of_backoff(name: str) -> Callable[[Any], Any]:
    return lambda value: Backoff(**{name: value})


WHOLE = {
    **{name: of_environment(name) for name in ("replica_count", "ttl_seconds", "max_crashes", "threads")},
    **{name: of_environment(name) for name in ("max_tasks_per_child", "max_memory_per_child")},
    "environment concurrency": of_environment("concurrency"),
    "retries": of_task("retries"),
    **{name: of_map(name) for name in ("min_successes", "max_failures", "concurrency", "max_outstanding", "priority")},
    **{f"@actor_cache {name}": of_cache(name) for name in ("maxsize", "max_bytes")},
}
NUMBERS = {
    **{name: of_environment(name) for name in ("lease_seconds", "drain_seconds", "max_seconds_per_child", "gpus")},
    "retry_delay": of_task("retry_delay"),
    "task timeout": of_task("timeout"),
    "timeout": of_map("timeout"),
    "min_success_ratio": of_map("min_success_ratio"),
    "@actor_cache ttl": of_cache("ttl"),
    **{f"Backoff {name}": of_backoff(name) for name in ("base", "cap", "factor")},
}
#: a number that is no float
HUGE = 10**400
NONE_OF_THEM = [math.inf, -math.inf, math.nan, True, "3", b"3", -1e12, HUGE, [1], object(), 1j]
#: options of any size
UNBOUNDED = {
    *("min_successes", "max_failures", "max_outstanding", "concurrency", "max_tasks_per_child"),
    *("max_memory_per_child", "@actor_cache maxsize", "@actor_cache max_bytes"),
}


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before anything is started."""

    def start(*_: object) -> None:
        raise AssertionError("the map was started")

    monkeypatch.setattr("actorq.declare.task.engine", start)


@pytest.mark.parametrize(
    "value",
    [math.inf, -math.inf, math.nan, True, "3", b"3", -1e12, HUGE, [1], object(), 1j],
    ids=lambda v: f"{v!r:.12}",
)
@pytest.mark.parametrize("option", WHOLE | NUMBERS)
def test_what_is_no_number_or_out_of_range_is_refused_by_name(option: str, value: Any) -> None:
    if value == HUGE and option in UNBOUNDED:
        return
    with pytest.raises(DeclarationError, match=f"^{option.removeprefix('environment ').removeprefix('task ')}="):
        (WHOLE | NUMBERS)[option](value)


@pytest.mark.parametrize("option", WHOLE)
def test_a_fraction_is_no_whole_number(option: str) -> None:
    with pytest.raises(DeclarationError, match="give a whole number"):
        WHOLE[option](100.5)


def test_numbers_of_numpy_are_numbers() -> None:
    environment = ActorEnvironment("checked", replica_count=np.int64(3), lease_seconds=np.float32(2.5))  # type: ignore[arg-type]
    assert (type(environment.replica_count), environment.replica_count) == (int, 3)
    assert (type(environment.lease_seconds), environment.lease_seconds) == (float, 2.5)


def test_a_regular_map_refuses_no_concurrency_too() -> None:
    task = TaskEnvironment("checked-regular").task(tasks.double.function)
    with pytest.raises(DeclarationError, match="concurrency=0: give a whole number from 1 up, or None"):
        task.map([1], concurrency=0)
