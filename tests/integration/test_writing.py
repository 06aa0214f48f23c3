"""Arrays arrive read-only, and what says so says what to do; `writable=True` gives copies, wherever a task runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actorq import ActorEnvironment, DeclarationError, TaskEnvironment

env = ActorEnvironment("writing", replica_count=1, isolation="none")
reset = ActorEnvironment("writing-reset", replica_count=1)
forked = ActorEnvironment("writing-fork", replica_count=1, isolation="fork")
slots = ActorEnvironment("writing-slots", replica_count=1, isolation="none", concurrency=2)
regular = TaskEnvironment("writing-regular", concurrency=1)


def double(x: Any) -> Any:
    x *= 2
    return x


@env.task
def refused(x: Any) -> Any:
    x[0] = 1
    return x


@env.task(writable=True)
def doubled(x: Any, shift: Any = 0) -> Any:
    shift += 1
    return double(x) + shift


@reset.task(writable=True)
def doubled_reset(x: Any) -> Any:
    return double(x)


@forked.task(writable=True)
def doubled_forked(x: Any) -> Any:
    return double(x)


@slots.task(writable=True)
async def doubled_slots(x: Any) -> Any:
    return double(x)


@regular.task(writable=True)
def doubled_regular(x: Any) -> Any:
    return double(x)


def test_who_writes_to_an_array_is_told_what_to_do() -> None:
    with pytest.raises(ValueError, match="read-only") as caught:
        refused.remote(np.zeros(3))
    assert any("x.copy()" in note and "writable=True" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("task", [doubled_reset, doubled_forked, doubled_slots, doubled_regular])
def test_a_task_that_writes_has_arrays_of_its_own(task: Any) -> None:
    assert [x.tolist() for x in task.map([np.arange(3), np.arange(2)])] == [[0, 2, 4], [0, 2]]
    assert task.remote(np.ones(5000)).sum() == 10_000


def test_constants_are_new_for_every_input() -> None:
    outputs = doubled.map([np.zeros(1)] * 5000, kwargs={"shift": np.zeros(1)})  # so many that the loop is the tight one
    assert [x.tolist() for x in outputs] == [[1.0]] * 5000


def test_writable_is_true_or_false() -> None:
    with pytest.raises(DeclarationError, match="writable="):
        env.task(writable=1)(double)  # type: ignore[call-overload]  # on purpose
