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

from typing import TYPE_CHECKING, Any, cast

from actorq.cache import CacheInfo, actor_cache
from actorq.declare import engine as _engine
from actorq.declare.environment import ActorEnvironment, TaskEnvironment
from actorq.declare.retry import Backoff
from actorq.declare.task import Task
from actorq.declare.task import map_ as map
from actorq.errors import (
    ActorqError,
    BrokerError,
    CodecError,
    DeclarationError,
    MapConflictError,
    MapFailedError,
    MapTimeoutError,
    NonRecoverableError,
    PayloadTooLargeError,
    PoolError,
    ReplicaLostError,
    TaskError,
    TaskTimeoutError,
)
from actorq.wire.carried.registered import register

if TYPE_CHECKING:
    from actorq.declare.status import PoolStatus
    from actorq.maps.handle import MapHandle
    from actorq.runs.handle import Run
    from actorq.runs.job import Job
    from actorq.wire.lease import Counters

#: the one place that says it: the package, the image and the commands read it here, and the chart is checked against it
__version__ = "0.1.0"


def _runtime() -> _engine.Engine:
    from actorq.runtime.program import runtime

    _engine.install(runtime)
    return runtime()


_engine.install(_runtime)


#: loaded when they are asked for: `import actorq` takes a fifth less without all that a map needs
_LATE = {
    "MapHandle": "maps.handle",
    "Counters": "wire.lease",
    "PoolStatus": "declare.status",
    "Run": "runs.handle",
    "Job": "runs.job",
}


def attach(map_id: str) -> Run[Any]:
    """The run of this name on the server of this program: started by `spawn_map`, perhaps of another program.

    Raises `PoolError` where there is none, and `BrokerError`.

    Example:
        for output in actorq.attach("wiki-2026-11"):
            ...
    """
    return cast("Run[Any]", _engine.engine().attach(map_id))


def job(job_id: str) -> Job[Any]:
    """The job of this name on the server of this program: made by `spawn`, perhaps of another program.

    Raises `PoolError` where there is none, and `BrokerError`.

    Example:
        print(actorq.job("mail-42").result(timeout=5))
    """
    return cast("Job[Any]", _engine.engine().job(job_id))


def __getattr__(name: str) -> Any:
    if name in _LATE:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ActorEnvironment",
    "ActorqError",
    "Backoff",
    "BrokerError",
    "CacheInfo",
    "CodecError",
    "Counters",
    "DeclarationError",
    "Job",
    "MapConflictError",
    "MapFailedError",
    "MapHandle",
    "MapTimeoutError",
    "NonRecoverableError",
    "PayloadTooLargeError",
    "PoolError",
    "PoolStatus",
    "ReplicaLostError",
    "Run",
    "Task",
    "TaskEnvironment",
    "TaskError",
    "TaskTimeoutError",
    "__version__",
    "actor_cache",
    "attach",
    "job",
    "map",
    "register",
]
