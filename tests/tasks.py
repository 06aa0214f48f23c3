"""Tasks that the tests run on real replicas."""

from __future__ import annotations

from actorq import ActorEnvironment

plain = ActorEnvironment("plain", replica_count=2, isolation="none", lease_seconds=2)


@plain.task
def double(x: int) -> int:
    return 2 * x
