"""Tasks that call tasks of other environments."""

from __future__ import annotations

import os

from actorq import ActorEnvironment

outer = ActorEnvironment("nested-outer", replica_count=2, isolation="none", lease_seconds=2)
middle = ActorEnvironment("nested-middle", lease_seconds=2)
inner = ActorEnvironment("nested-inner", isolation="fork", lease_seconds=2)
broken = ActorEnvironment("nested-broken", lease_seconds=2)


@inner.task
def leaf(x: int) -> int:
    return x + 1


@middle.task
def between(n: int) -> int:
    return sum(leaf.map(range(n)))


@outer.task
def top(n: int) -> int:
    """By a call, by futures, and by a map."""
    futures = [between.submit(n) for _ in range(2)]
    return between.remote(n) + sum(future.result() for future in futures) + sum(between.map([n, n]))


@outer.task
def where(_: int) -> int:
    return pid.remote(0)


@middle.task
def pid(_: int) -> int:
    return os.getpid()


@broken.on_start
def fail() -> None:
    raise RuntimeError("no model here")


@broken.task
def never(x: int) -> int:
    return x


@outer.task
def calls_broken(x: int) -> int:
    return never.remote(x)
