"""What a map knows of the replicas that serve it."""

from __future__ import annotations

from typing import Protocol

from actorq.errors import PoolError


class Pool(Protocol):
    """The replicas of one environment."""

    #: at least so many will be there
    replicas: int

    @property
    def is_own(self) -> bool:
        """Whether this process is one of them: a call to it could wait for itself."""

    def check(self, live: int) -> None:
        """Called about every second with the number of replicas seen. Raises `PoolError` when no result can come."""


def no_replica_free(environment: str) -> PoolError:
    """For a task that calls its own environment while all its replicas are taken."""
    return PoolError(
        f"A task of environment {environment!r} calls its own environment, and no replica is free: it would wait for "
        "itself. Use another environment for the inner call, or more replicas."
    )
