"""Tasks of local replicas call other environments: the program starts the replicas of these, once for all."""

from __future__ import annotations

import pytest

from actorq import PoolError
from tests.support.code import nested


def test_a_chain_of_three_environments_works() -> None:
    assert list(nested.top.map([2, 3])) == [5 * (1 + 2), 5 * (1 + 2 + 3)]


def test_replicas_that_ask_for_the_same_environment_are_given_the_same_replicas() -> None:
    assert len(set(nested.where.map(range(6)))) == 1


def test_an_environment_that_cannot_start_is_an_error_of_the_task_that_asks_for_it() -> None:
    with pytest.raises(PoolError, match="no model here"):
        nested.calls_broken.remote(1)
