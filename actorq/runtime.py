"""What this program has running: servers, pools, connections, maps. Started when first needed, ended with the program.

With `ACTORQ_REDIS_URL` set, maps go to the replicas that serve that server. Without, the first map starts an embedded
server and local replicas. That is the whole difference.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from actorq.environment import ActorEnvironment, Environment, TaskEnvironment
from actorq.errors import PoolError
from actorq.maps.handle import MapHandle
from actorq.maps.ledger import Ledger
from actorq.maps.options import MapOptions
from actorq.maps.pump import Pump
from actorq.maps.sources import IterableSource
from actorq.maps.transport import Transport
from actorq.settings import settings

if TYPE_CHECKING:
    from actorq.broker.client import Client
    from actorq.broker.embedded import EmbeddedServer
    from actorq.maps.calls import Caller
    from actorq.maps.futures import Submitter
    from actorq.pool.local import LocalPool
    from actorq.task import Task


class Runtime:
    """The one of this process; see `runtime()`. Any thread may use it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.RLock()
        self._server: EmbeddedServer | None = None
        self._client: Client | None = None
        self._pools: dict[str, LocalPool] = {}
        self._callers: dict[str, Caller] = {}
        self._submitters: dict[str, Submitter] = {}
        self._pumps: weakref.WeakSet[Pump] = weakref.WeakSet()
        self._closed = False

    def map(
        self,
        task: Task[Any, Any, Any],
        iterables: tuple[Iterable[Any], ...],
        options: MapOptions,
        map_id: str,
        progress: bool | None,
    ) -> MapHandle[Any]:
        from actorq.progress import reporter

        source = IterableSource(iterables)
        pump = Pump(Ledger(map_id, source, options), self.transport(task.environment, map_id, options))
        self.start(pump)
        return MapHandle(pump, reporter(task, progress))

    def call(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(task.environment, TaskEnvironment):
            return self.submit(task, args, kwargs).result()
        return self._caller(task).call(args, kwargs)

    def submit(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        from actorq.maps.futures import Submitter

        with self._lock:
            submitter = self._submitters.get(task.name)
            if submitter is None or submitter.over:
                submitter = self._submitters[task.name] = Submitter(self, task)
            return submitter.submit(args, kwargs)

    def start(self, pump: Pump) -> None:
        with self._lock:
            if self._closed:
                raise PoolError("The program is ending: no map can start any more.")
            self._pumps.add(pump)
        pump.start()

    def transport(self, environment: Environment, map_id: str, options: MapOptions) -> Transport:
        """Where the leases of a map go."""
        if isinstance(environment, TaskEnvironment):
            from actorq.pool.regular import ProcessTransport

            return ProcessTransport(environment, options)
        assert isinstance(environment, ActorEnvironment)
        from actorq.maps.redis_transport import RedisTransport

        client, pool = self.connect(environment)
        return RedisTransport(client, map_id, options, lease_seconds=environment.lease_seconds, pool=pool)

    def connect(self, environment: ActorEnvironment) -> tuple[Client, LocalPool | None]:
        """The server that serves `environment`, and the pool of this program if it is one."""
        _refuse_while_imported()
        from actorq.broker.client import Client

        with self._lock:
            if self._client is None:
                url = settings().redis_url
                if url is None:
                    from actorq.broker.embedded import EmbeddedServer

                    self._server = EmbeddedServer()
                    url = self._server.url
                self._client = Client(url, patience=settings().broker_timeout)
            if self._server is None:
                return self._client, None
            pool = self._pools.get(environment.name)
            if pool is not None and not pool.serves(environment):
                pool.stop()
                pool = None
            if pool is None:
                from actorq.pool.local import LocalPool

                pool = self._pools[environment.name] = LocalPool(environment, self._client.url)
            self._server.wait_ready()
            return self._client, pool

    def close(self) -> None:
        """Ends every map, pool and server of this program. Nothing of them stays."""
        with self._lock:
            self._closed = True
            pumps = list(self._pumps)
        for submitter in self._submitters.values():
            submitter.close()
        for pump in pumps:
            pump.close()
        for caller in self._callers.values():
            caller.close()
        for pool in self._pools.values():
            pool.stop()
        if self._client is not None:
            self._client.close()
        if self._server is not None:
            self._server.stop()

    def _caller(self, task: Task[Any, Any, Any]) -> Caller:
        caller = self._callers.get(task.name)
        if caller is None or not caller.usable:
            from actorq.maps.calls import Caller

            with self._lock:
                assert isinstance(task.environment, ActorEnvironment)
                client, pool = self.connect(task.environment)
                caller = self._callers[task.name] = Caller(client, task, pool)
        return caller


_current: Runtime | None = None
_current_lock = threading.Lock()


def runtime() -> Runtime:
    """The runtime of this process; a forked child has its own."""
    global _current
    with _current_lock:
        if _current is None or _current.pid != os.getpid():
            _current = Runtime()
        return _current


def shutdown() -> None:
    """Ends every map, pool and server this program has started. Called at exit; a later map starts anew."""
    global _current
    with _current_lock:
        ending, _current = _current, None
    if ending is not None and ending.pid == os.getpid():
        ending.close()


atexit.register(shutdown)


def _refuse_while_imported() -> None:
    """A replica imports the submitter's script, which must not start maps of its own then."""
    from actorq.replica import importing

    if importing.in_progress:
        raise importing.StopImport
