"""actorq: map a function over inputs on warm replicas, through Redis.

env = ActorEnvironment("embeddings", replica_count=4)

@actor_cache
def model(): ...                     # loaded once per replica

@env.task(retries=2)
def embed(text: str) -> list[float]:
    return model().encode(text)

for vector in embed.map(texts): ...  # ordered, lazy, bounded memory
"""

from __future__ import annotations

from actorq import engine as _engine
from actorq.cache import actor_cache
from actorq.environment import ActorEnvironment, TaskEnvironment
from actorq.errors import (
    ActorqError,
    BrokerError,
    CodecError,
    DeclarationError,
    MapFailedError,
    MapTimeoutError,
    NonRecoverableError,
    PayloadTooLargeError,
    PoolError,
    ReplicaLostError,
    TaskError,
    TaskTimeoutError,
)
from actorq.maps.handle import MapHandle
from actorq.retry import Backoff
from actorq.task import Task
from actorq.task import map_ as map


def _runtime() -> _engine.Engine:
    from actorq.runtime import runtime

    _engine.install(runtime)
    return runtime()


_engine.install(_runtime)

__all__ = [
    "ActorEnvironment",
    "ActorqError",
    "Backoff",
    "BrokerError",
    "CodecError",
    "DeclarationError",
    "MapFailedError",
    "MapHandle",
    "MapTimeoutError",
    "NonRecoverableError",
    "PayloadTooLargeError",
    "PoolError",
    "ReplicaLostError",
    "Task",
    "TaskEnvironment",
    "TaskError",
    "TaskTimeoutError",
    "actor_cache",
    "map",
]
