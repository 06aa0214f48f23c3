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
from actorq.frames import CALL
from actorq.maps.handle import MapHandle
from actorq.maps.ledger import Ledger
from actorq.maps.options import MapOptions
from actorq.maps.pump import Pump
from actorq.maps.sources import source_of
from actorq.maps.transport import Transport
from actorq.settings import settings

if TYPE_CHECKING:
    from actorq.broker.client import Client
    from actorq.broker.embedded import EmbeddedServer
    from actorq.maps.calls import Caller
    from actorq.maps.futures import Submitter
    from actorq.maps.pools import Pool
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
        self._callers: dict[tuple[str, str], Caller] = {}
        self._submitters: dict[tuple[str, str], Submitter] = {}
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

        pump: Pump | None = None

        def on_input() -> None:
            if pump is not None:
                pump.nudge()

        ledger = Ledger(map_id, source_of(iterables, on_input), options)
        pump = Pump(ledger, self._transport(task.environment, ledger.map_id, ledger.owner, options))
        self.start(pump)
        return MapHandle(pump, reporter(task, progress))

    def call(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(task.environment, TaskEnvironment):
            return self.submit(task, args, kwargs).result()
        return self._caller(task).call(args, kwargs)

    def submit(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        from actorq.maps.futures import Submitter

        environment = task.environment
        with self._lock:
            submitter = self._submitters.get((environment.name, task.name))
            if submitter is None or submitter.over:
                options = MapOptions(
                    environment=environment.name,
                    head=task.head(CALL, {}),
                    retries=task.options.retries,
                    retry_delay=task.options.retry_delay,
                    max_crashes=environment.max_crashes,
                    ordered=False,
                    return_exceptions=True,
                    single=not environment.warm,
                    concurrency=environment.concurrency_of(None),
                )

                def transport(map_id: str, owner: str) -> Transport:
                    return self._transport(environment, map_id, owner, options)

                submitter = Submitter(task, options, transport, self.start)
                self._submitters[environment.name, task.name] = submitter
            return submitter.submit(args, kwargs)

    def start(self, pump: Pump) -> None:
        with self._lock:
            if self._closed:
                raise PoolError("The program is ending: no map can start any more.")
            self._pumps.add(pump)
        pump.start()

    def _transport(self, environment: Environment, map_id: str, owner: str, options: MapOptions) -> Transport:
        """Where the leases of a map go."""
        if isinstance(environment, TaskEnvironment):
            from actorq.pool.regular import ProcessTransport

            return ProcessTransport(environment, options)
        assert isinstance(environment, ActorEnvironment)
        from actorq.maps.redis_transport import RedisTransport

        client, pool = self.connect(environment)
        return RedisTransport(client, map_id, owner, options, lease_seconds=environment.lease_seconds, pool=pool)

    def connect(self, environment: ActorEnvironment) -> tuple[Client, Pool]:
        """The server that serves `environment`, and what is known of its replicas."""
        _refuse_while_imported()
        from actorq.broker.client import Client
        from actorq.maps.pools import RemotePool

        with self._lock:
            if self._closed:
                raise PoolError("The program is ending: no map can start any more.")
            if self._server is not None and self._client is not None and not self._server.answers():
                self._drop_server()
            if self._client is None:
                url = settings().redis_url
                if url is None:
                    from actorq.broker.embedded import EmbeddedServer

                    self._server = EmbeddedServer()
                    url = self._server.url
                self._client = Client(url, patience=settings().broker_timeout)
            if self._server is None:
                return self._client, RemotePool(environment.name, self._client.url)
            pool = self._local_pool(environment, self._client.url)
            self._server.wait_ready()
            return self._client, pool

    def _drop_server(self) -> None:
        """Lets go of the server, and of the pools that serve it: a later map starts anew."""
        for pool in self._pools.values():
            pool.stop()
        if self._client is not None:
            self._client.close()
        if self._server is not None:
            self._server.stop()
        self._pools, self._callers, self._client, self._server = {}, {}, None, None

    def finish_calls(self) -> None:
        """Waits for the calls that `submit` has taken."""
        for submitter in list(self._submitters.values()):
            submitter.finish()

    def forget(self) -> None:
        """In a forked child: the parent's pools and server are not ours to keep alive."""
        for pool in self._pools.values():
            pool.forget()
        if self._server is not None:
            self._server.forget()

    def _local_pool(self, environment: ActorEnvironment, url: str) -> LocalPool:
        from actorq.pool.local import LocalPool

        pool = self._pools.get(environment.name)
        if pool is not None and pool.alive and not pool.serves(environment):
            if any(pump.runs and pump.ledger.options.environment == environment.name for pump in self._pumps):
                raise PoolError(
                    f"A task of {environment.name!r} is declared in a module that its running replicas have not "
                    "imported: import the module before the first map, or finish the maps that run."
                )
            pool.stop()
            pool = None
        if pool is None or not pool.alive:
            if pool is not None:
                pool.stop()
            pool = self._pools[environment.name] = LocalPool(environment, url)
        return pool

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
        self._drop_server()

    def _caller(self, task: Task[Any, Any, Any]) -> Caller:
        caller = self._callers.get((task.environment.name, task.name))
        if caller is None or not self._usable(caller.pool, task):
            from actorq.maps.calls import Caller

            environment = task.environment
            assert isinstance(environment, ActorEnvironment)
            with self._lock:
                client, pool = self.connect(environment)
                if caller is not None:
                    caller.close()
                caller = self._callers[environment.name, task.name] = Caller(client, task, environment, pool)
        return caller

    def _usable(self, pool: Pool, task: Task[Any, Any, Any]) -> bool:
        from actorq.pool.local import LocalPool

        if not isinstance(pool, LocalPool):
            return True
        return pool.alive and task.function.__module__ in pool.modules


_current: Runtime | None = None
_current_lock = threading.Lock()


def runtime() -> Runtime:
    """The runtime of this process; a forked child has its own."""
    global _current
    if _ended:
        raise PoolError("The program is ending: no map can start any more.")
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


def _at_exit() -> None:
    global _ended
    _ended = True
    if _current is not None and _current.pid == os.getpid():
        _current.finish_calls()
    shutdown()


def _in_child() -> None:
    global _current, _current_lock
    _current_lock = threading.Lock()  # another thread of the parent may have held it
    parents, _current = _current, None
    if parents is not None:
        parents.forget()


_ended = False
atexit.register(_at_exit)
os.register_at_fork(after_in_child=_in_child)


def _refuse_while_imported() -> None:
    """A replica imports the submitter's script, which must not start maps of its own then."""
    from actorq.replica import importing

    if importing.in_progress:
        raise importing.StopImport
