"""The supervisor's Redis thread: what RQ's tools see of the replicas, and the life of their leases.

One thread, so that a server that is slow or away never delays what the supervisor enforces on this machine. It
registers one RQ worker per executor, renews what executors hold, reports deaths, and passes RQ's commands on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import redis
from rq import worker_registration
from rq.command import parse_payload
from rq.worker import BaseWorker

from actorq.broker import keys, scripts
from actorq.broker.wire import Argument, Link, connection_pool
from actorq.clock import iso_now
from actorq.errors import BrokerError
from actorq.log import logger

#: RQ's own maintenance (registries of plain jobs), seconds between two runs
_TTL_FACTOR = 4


class Watched(Protocol):
    """What the registrar needs of the supervisor. All may be called from its thread."""

    def held(self) -> list[str]: ...
    def idle_workers(self) -> list[str]: ...
    def cancel(self, member: str) -> None: ...
    def command(self, worker: str, command: dict[str, Any]) -> None: ...
    def buried(self, slot: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Death:
    """An executor ended."""

    slot: int
    worker: str
    reason: str
    member: str
    position: int | None


class ReplicaWorker(BaseWorker):
    """A replica as RQ knows one: registration, heartbeat and commands are RQ's, the work loop is ours."""

    address = "unknown"

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        return connection  # RQ would give our pool a socket timeout of seven minutes

    def _set_ip_address(self, connection: redis.Redis) -> None:
        self.ip_address = self.address  # one look-up for all replicas of this machine

    @property
    def horse_pid(self) -> int:
        return 0


class Registrar(threading.Thread):
    """Runs until `stop`."""

    def __init__(self, url: str, environment: str, workers: list[str], lease_seconds: float, watched: Watched) -> None:
        super().__init__(name="actorq-registrar", daemon=True)
        self._url = url
        self._environment = environment
        self._names = workers
        self._lease_seconds = lease_seconds
        self._watched = watched
        self._inbox: queue.SimpleQueue[Death | Callable[[], None] | None] = queue.SimpleQueue()
        self._link = Link(url, patience=lease_seconds)
        self._client = redis.Redis(connection_pool=connection_pool(url))
        self._workers: list[ReplicaWorker] = []
        self._pubsub_thread: Any = None
        self._stopped = threading.Event()

    # -- any thread ----------------------------------------------------------------------------------------------------

    def report(self, death: Death) -> None:
        """Tells the submitters; `Watched.buried` is called when that is done and a new executor may start."""
        self._inbox.put(death)

    def stop(self, timeout: float) -> None:
        """Unregisters the replicas and ends the thread."""
        self._inbox.put(None)
        self.join(timeout)

    # -- the thread ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        next_renewal = 0.0
        while True:
            try:
                item = self._inbox.get(timeout=max(0.0, next_renewal - time.monotonic()))
            except queue.Empty:
                item = self._renew
                next_renewal = time.monotonic() + self._lease_seconds / 3
            if item is None:
                break
            self._surviving(partial(self._bury, item) if isinstance(item, Death) else item, item)
        self._surviving(self._unregister, None)
        self._link.close()
        self._client.close()

    def _surviving(self, action: Callable[[], None], item: object) -> None:
        """Runs `action`; an unreachable server is reported, and a death is told again when it is back."""
        try:
            action()
        except (BrokerError, redis.RedisError) as error:
            logger().warning("broker_unreachable", error=str(error))
            if isinstance(item, Death):
                self._inbox.put(item)

    def _renew(self) -> None:
        if not self._workers:
            self._register()
        held = self._watched.held()
        args: list[Argument] = [keys.RQ, keys.AQ, self._environment, self._lease_seconds, iso_now(), len(held), *held]
        stop = self._link.call(scripts.RENEW, [], [*args, *self._watched.idle_workers()])
        for member in stop:
            self._watched.cancel(member.decode())
        ttl = int(self._lease_seconds * _TTL_FACTOR)
        with self._client.pipeline(transaction=False) as pipeline:
            for worker in self._workers:
                worker.heartbeat(timeout=max(ttl, 10), pipeline=pipeline)
                pipeline.hget(worker.key, "birth")
            replies = pipeline.execute()
        if not all(replies[3::4]):  # the server lost us: it was flushed, or restarted empty
            self._register()
        worker_registration.clean_worker_registry(self._workers[0].queues[0])

    def _register(self) -> None:
        if not self._workers:
            ReplicaWorker.address = str(self._client.client_info().get("addr", "unknown"))
            self._workers = [
                ReplicaWorker([self._environment], name=name, connection=self._client) for name in self._names
            ]
        for worker in self._workers:
            self._client.delete(worker.key)
            worker.register_birth()
            worker.heartbeat(timeout=max(int(self._lease_seconds * _TTL_FACTOR), 10))
            worker.set_state("idle")
        if self._pubsub_thread is None:
            self._subscribe()

    def _subscribe(self) -> None:
        """One subscription for the command channels of all replicas."""
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        channels = {worker.pubsub_channel_name: self._handler(worker.name) for worker in self._workers}
        pubsub.subscribe(**channels)
        self._pubsub_thread = pubsub.run_in_thread(sleep_time=5, daemon=True, exception_handler=self._pubsub_error)

    def _handler(self, name: str) -> Callable[[Any], None]:
        def handle(message: Any) -> None:
            try:
                command = parse_payload(message)
            except ValueError:
                logger().warning("command_unreadable", worker=name)
                return
            self._watched.command(name, command)

        return handle

    def _pubsub_error(self, error: BaseException, pubsub: Any, thread: Any) -> None:
        if self._stopped.wait(1.0):
            thread.stop()

    def _bury(self, death: Death) -> None:
        position = "" if death.position is None else death.position
        args: list[Argument] = [keys.RQ, keys.AQ, self._environment, death.worker, death.reason, death.member, position]
        self._link.call(scripts.LOST, [], args)
        self._watched.buried(death.slot)

    def _unregister(self) -> None:
        self._stopped.set()
        for worker in self._workers:
            self._link.call(scripts.LOST, [], [keys.RQ, keys.AQ, self._environment, worker.name, "stopped", "", ""])
            worker.register_death()
        if self._pubsub_thread is not None:
            self._pubsub_thread.stop()
            self._pubsub_thread.join(timeout=1.0)
