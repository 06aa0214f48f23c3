"""Tasks whose outputs are as large as their inputs say."""

from __future__ import annotations

from typing import Any

from actorq import ActorEnvironment

plain = ActorEnvironment("growing", replica_count=2)
bare = ActorEnvironment("growing-bare", replica_count=2, isolation="none")
forked = ActorEnvironment("growing-fork", replica_count=2, isolation="fork")


def _blank(size: int) -> bytes:
    return bytes(size)


def _listed(size: int) -> list[int]:
    return [1] * size


def _array(size: int) -> Any:
    import numpy as np

    return np.zeros(size, "u1")


TASKS = {
    (env.name, function.__name__): env.task(function)
    for env in (plain, bare, forked)
    for function in (_blank, _listed, _array)
}
