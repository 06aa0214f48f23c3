"""A task of the environment "plain" that its replicas have not imported."""

from __future__ import annotations

from actorq import ActorEnvironment
from actorq.declare.environment import Environment
from tests.support.code import tasks

del Environment._declared["plain"]  # two environments of one name are refused
_elsewhere = ActorEnvironment("plain")


@_elsewhere.task
def stranger(x: int) -> int:
    return x


Environment._declared["plain"] = tasks.plain
