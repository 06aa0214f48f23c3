"""The supervisor's Redis thread: what RQ's tools see of the replicas, and the life of their leases.

One thread, so that a server that is slow or away never delays what the supervisor enforces on this machine. It
registers one RQ worker per executor, renews what executors hold, reports deaths, and passes RQ's commands on.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import redis
from rq import worker_registration
from rq.command import parse_payload
from rq.worker import BaseWorker

from actorq.base.log import logger
from actorq.base.names import package_version
from actorq.broker import keys, run_records
from actorq.broker.link import Link
from actorq.broker.redis_py import connection_pool, of_redis_py
from actorq.broker.scripts import jobs, serving
from actorq.errors import BrokerError
from actorq.replica import deadlines
from actorq.replica.pages import REPORT_BYTES
from actorq.replica.state import ReplicaState
from actorq.replica.supervisor.replica import Unfinished, Work
from actorq.replica.supervisor.subscription import Subscription
from actorq.runs.plan import driver_name
from actorq.runs.process import DriverProcess
from actorq.wire.messages import PROTOCOL

#: pause before a death that could not be told is told again, seconds
_RETRY_SECONDS = 0.5
#: how often jobs whose time has come are looked for, seconds
_DUE_SECONDS = 1.0
#: how often the command channels are asked for a sign of life, at least, seconds
_SIGN_SECONDS = 5.0
#: how long a server that does not answer is told that the replicas leave, seconds
_LAST_SECONDS = 0.5


class Watched(Protocol):
    """What the registrar needs of the supervisor. All may be called from its thread."""

    def held(self) -> list[str]: ...
    def idle_workers(self) -> list[str]: ...
    def work(self) -> list[Work]: ...
    def cancel(self, member: str) -> None: ...
    def command(self, worker: str, command: dict[str, Any]) -> None: ...
    def buried(self, replica: int) -> None: ...
    def states(self) -> list[ReplicaState]: ...
    def orphaned(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Death:
    """An executor ended."""

    replica: int
    reason: str
    unfinished: Sequence[Unfinished]


def _shown(state: ReplicaState, ttl: int) -> dict[Any, Any]:
    """What `actorq workers` shows beside what RQ keeps of a worker, whose record lives so long after a heartbeat."""
    return {
        "aq_ttl": ttl,
        "aq_version": package_version(),
        "aq_protocol": PROTOCOL,
        "aq_chart": os.environ.get("ACTORQ_CHART_VERSION", ""),
        "aq_state": state.state,
        "aq_position": "" if state.position is None else state.position,
        "aq_inputs": state.inputs_succeeded + state.inputs_failed,
        "aq_restarts": state.restarts,
        "aq_caches": state.caches.pack(REPORT_BYTES),
    }


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
    """Runs until `stop`.

    Args:
        url: the server.
        environment: what is served.
        workers: the replicas' names.
        lease_seconds: how long a lease lives unless it is renewed.
        watched: the supervisor.
        driver_log: format and level of the log of the process that drives runs; None: there is none.
    """

    def __init__(
        self,
        url: str,
        environment: str,
        workers: list[str],
        lease_seconds: float,
        watched: Watched,
        driver_log: tuple[str, str] | None,
    ) -> None:
        super().__init__(name="actorq-registrar", daemon=True)
        self._url = url
        self._environment = environment
        self._names = workers
        self._lease_seconds = lease_seconds
        self._watched = watched
        self._inbox: queue.SimpleQueue[Death | Callable[[], None] | None] = queue.SimpleQueue()
        deadline = deadlines.renewal(lease_seconds)
        self._link = Link(url, patience=lease_seconds, reply_timeout=deadline, clears=True)
        self._client = redis.Redis(connection_pool=connection_pool(url, deadline))
        self._workers: list[ReplicaWorker] = []
        self._subscription: Subscription | None = None
        self._unregistered = threading.Event()
        self._ending = False
        self._next_renewal = self._next_due = 0.0
        self._driver = None if driver_log is None else DriverProcess(url, environment, driver_log)
        self._books = False  # a look at what replicas do is in the inbox
        self._seen: dict[str, str] = {}  # replica -> what it held at the last look
        #: replica -> whether it is busy, and what with, as the server knows it
        self._told: dict[str, tuple[bool, str]] = {}
        #: when leases were last renewed, Unix seconds
        self.last_renewal = 0.0
        #: calls that failed
        self.broker_errors = 0
        self._answered = True  # the last call

    # -- any thread ----------------------------------------------------------------------------------------------------

    @property
    def reachable(self) -> bool:
        """Whether the server answers, as far as is known."""
        return self._answered and self._link.calm

    def report(self, death: Death) -> None:
        """Tells the submitters; `Watched.buried` is called when that is done and a new executor may start."""
        self._inbox.put(death)

    def hurry(self) -> None:
        """Renews now: the state of a replica has changed."""
        self._next_renewal = 0.0
        self._inbox.put(self._nothing)

    def unclaim(self, worker: str, member: str) -> None:
        """Takes back what a replica claimed behind the lease `member`, which takes longer than was thought."""
        self._inbox.put(partial(self._unclaim, worker, member))

    def book(self) -> None:
        """Looks at what the replicas do, and tells what has changed; called again while any is busy."""
        if not self._books:
            self._books = True
            self._inbox.put(self._book)

    def stop(self, timeout: float) -> None:
        """Unregisters the replicas, if the server answers. The thread ends soon after; what it still waits for then is
        nobody's.
        """
        self._ending = True
        self._inbox.put(None)
        if not self.reachable:
            self._link.hurry(_LAST_SECONDS)
        if self.is_alive():
            self._unregistered.wait(timeout if self.reachable else _LAST_SECONDS)

    # -- the thread ----------------------------------------------------------------------------------------------------

    def retire(self, worker: str) -> None:
        """One replica has left for good."""
        self._inbox.put(partial(self._retire, worker))

    def run(self) -> None:
        while True:
            try:
                next_look = min(self._next_renewal, self._next_due)
                item = self._inbox.get(timeout=max(0.0, next_look - time.monotonic()))
            except queue.Empty:
                item = None if self._ending else self._nothing
            if time.monotonic() >= self._next_renewal:  # by the clock: a flood of deaths must not stop the renewals
                self._next_renewal = time.monotonic() + self._lease_seconds / 3
                self._surviving(self._renew)
            if time.monotonic() >= self._next_due:
                self._next_due = time.monotonic() + _DUE_SECONDS
                self._surviving(self._look_at_jobs)
                self._surviving(self._look_at_driver)
            if item is None:
                break
            if isinstance(item, Death):
                if not self._surviving(partial(self._bury, item)):
                    time.sleep(_RETRY_SECONDS)
                    self._inbox.put(item)
            else:
                self._surviving(item)
        if self._driver is not None:
            self._driver.stop(_LAST_SECONDS)
        self._surviving(self._unregister)
        self._unregistered.set()
        if self._subscription is not None:
            self._subscription.stop()
        self._link.close()
        self._client.close()

    def _nothing(self) -> None:
        return

    def _surviving(self, action: Callable[[], None]) -> bool:
        """Whether `action` was done. What goes wrong is reported and must not end the thread: leases need it."""
        try:
            action()
            self._answered = True
        except (BrokerError, redis.RedisError) as error:
            self._answered = False
            self.broker_errors += 1
            self._say_lost("broker_unreachable", error)
            if isinstance(error, redis.RedisError):
                self._link.clear(of_redis_py(error))
            return False
        except Exception:  # the boundary of the thread
            logger().exception("registrar_failed")
            self._link.drop()
            return False
        return True

    def _say_lost(self, event: str, error: Exception) -> None:
        if not self._watched.orphaned():
            logger().warning(event, error=str(error))

    def _renew(self) -> None:
        if self._subscription is None:
            self._register()
        held, idle = self._watched.held(), self._watched.idle_workers()
        for member in serving.renew(self._link, self._environment, self._lease_seconds, held=held, idle=idle):
            self._watched.cancel(member)
        self.last_renewal = time.time()
        self._look_at_runs()
        ttl = keys.worker_ttl(self._lease_seconds)
        if not self._workers:
            return  # all have left
        states = {state.worker: state for state in self._watched.states()}
        with self._client.pipeline(transaction=False) as pipeline:
            for worker in self._workers:
                pipeline.hget(worker.key, "birth")
            for worker in self._workers:
                worker.heartbeat(timeout=ttl, pipeline=pipeline)
                worker_registration.register(worker, pipeline)  # RQ's lists may have been lost alone
                if worker.name in states:
                    pipeline.hset(worker.key, mapping=_shown(states[worker.name], ttl))
            replies = pipeline.execute()
        if not all(replies[: len(self._workers)]):  # the server lost us: it was flushed, or restarted empty
            self._register()
        worker_registration.clean_worker_registry(self._workers[0].queues[0])
        self._told.clear()
        self._book()

    def _look_at_jobs(self) -> None:
        """Jobs whose time has come go to the queue; the next one is looked for when its has."""
        left = jobs.due(self._link, self._environment)
        if left is not None:
            self._next_due = time.monotonic() + min(_DUE_SECONDS, max(0.0, left))

    def _look_at_driver(self) -> None:
        """What a driver led that has died need not wait until its lead lapses."""
        if self._driver is not None and (pid := self._driver.died()) is not None:
            logger().warning("driver_lost", environment=self._environment, pid=pid)
            run_records.free_runs(self._link, self._environment, driver_name(pid))
            self._look_at_runs()

    def _look_at_runs(self) -> None:
        """Runs need a driver, which is another process."""
        if self._driver is None or not run_records.has_open_runs(self._link, self._environment):
            return
        try:
            self._driver.ensure()
        except OSError as error:  # no memory, no processes: renewals go on, and the next one tries again
            logger().error("driver_not_started", environment=self._environment, error=str(error))

    def _book(self) -> None:
        """Has RQ's tools shown what each replica runs, if it has run it since the last look: others end too soon."""
        self._books = False
        shown: list[serving.Shown] = []
        told: dict[str, tuple[bool, str]] = {}
        for work in self._watched.work():
            stays = bool(work.held) and self._seen.get(work.worker) == work.held
            self._seen[work.worker] = work.held
            now = (bool(work.held), work.held if stays else "")
            if now != self._told.get(work.worker):
                told[work.worker] = now
                shown.append(serving.Shown(work.worker, now[0], now[1], *work.totals))
        if told:
            serving.book(self._link, self._environment, self._lease_seconds, shown)
            self._told |= told

    def _register(self) -> None:
        if not self._workers:
            ReplicaWorker.address = str(self._client.client_info().get("addr", "unknown"))
            self._workers = [
                ReplicaWorker([self._environment], name=name, connection=self._client) for name in self._names
            ]
        if self._subscription is None:  # there before RQ's tools can see a worker
            channels = {worker.pubsub_channel_name: self._handler(worker.name) for worker in self._workers}
            self._subscription = Subscription(
                self._client,
                channels,
                every=min(self._lease_seconds / 3, _SIGN_SECONDS),
                on_lost=partial(self._say_lost, "subscription_lost"),
            )
            self._subscription.start()
        for worker in self._workers:
            self._client.delete(worker.key)
            worker.register_birth()
            worker.heartbeat(timeout=keys.worker_ttl(self._lease_seconds))

    def _handler(self, name: str) -> Callable[[Any], None]:
        def handle(message: Any) -> None:
            try:
                command = parse_payload(message)
            except (ValueError, RecursionError):
                command = None
            if not isinstance(command, dict):
                logger().warning("command_unreadable", worker=name)
                return
            self._watched.command(name, command)

        return handle

    def _unclaim(self, worker: str, member: str) -> None:
        serving.unclaim(self._link, self._environment, worker, member)

    def _bury(self, death: Death) -> None:
        for lease in death.unfinished:
            member, position = lease.member, lease.position
            serving.lost(self._link, self._environment, lease.worker, death.reason, member=member, position=position)
        self._watched.buried(death.replica)

    def _retire(self, name: str) -> None:
        for worker in [w for w in self._workers if w.name == name]:
            serving.lost(self._link, self._environment, name, "stopped")
            worker.register_death()
            self._workers.remove(worker)

    def _unregister(self) -> None:
        for worker in list(self._workers):
            self._retire(worker.name)
