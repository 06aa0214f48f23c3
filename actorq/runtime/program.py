"""What this program has running: servers, pools, connections, maps. Started when first needed, ended with the program.

With `ACTORQ_REDIS_URL` set, maps go to the replicas that serve that server. Without, the first map starts an embedded
server and local replicas. That is the whole difference.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from actorq.base.names import SHARED_CALLS
from actorq.base.settings import settings
from actorq.declare.environment import ActorEnvironment, Environment, TaskEnvironment
from actorq.declare.map_options import MapOptions
from actorq.errors import BrokerError, DeclarationError, PoolError
from actorq.runtime.places import Place, Pools

if TYPE_CHECKING:
    from concurrent.futures import Future

    from actorq.broker.client import Client
    from actorq.declare.engine import JobOptions, RunOptions
    from actorq.declare.task import Task
    from actorq.maps.calls import Caller
    from actorq.maps.futures import Submitter
    from actorq.maps.handle import MapHandle
    from actorq.maps.pump import Pump
    from actorq.runs.driver import Driver
    from actorq.runs.handle import Run
    from actorq.runs.job import Job
    from actorq.runtime.spawning import TaskSpawner

#: a local pool is asked whether it lives no more often than this, seconds: asking takes a hundredth of a call
_USABLE_SECONDS = 0.02


class Runtime:
    """The one of this process; see `runtime()`. Any thread may use it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.RLock()
        self.pools = Pools(self._in_use)
        self._callers: dict[tuple[str, str], tuple[int, Caller]] = {}
        self._submitters: dict[tuple[str, str, str], Submitter] = {}
        self._pumps: weakref.WeakSet[Pump] = weakref.WeakSet()
        self._drivers: dict[str, Driver] = {}
        self._spawners: dict[tuple[str, str], TaskSpawner] = {}
        self._closed = False

    @property
    def control(self) -> Pools:
        """What `ActorEnvironment.up()` and the like ask."""
        return self.pools

    def map(
        self,
        task: Task[Any, Any, Any],
        iterables: tuple[Iterable[Any], ...],
        options: MapOptions,
        map_id: str,
        progress: bool | None,
    ) -> MapHandle[Any]:
        with self.pools.beginning(task.environment):
            from actorq.maps.handle import MapHandle
            from actorq.maps.opening import open_map
            from actorq.maps.progress import bar_of

        try:
            pump = open_map(map_id, iterables, options, partial(self._place, task.environment))
            self.start(pump)
        except RuntimeError as error:
            _refuse_late(error)
            raise
        return MapHandle(pump, bar_of(task.function.__name__, pump, progress))

    def spawn_map(
        self,
        task: Task[Any, Any, Any],
        iterables: tuple[Iterable[Any], ...],
        options: MapOptions,
        map_id: str,
        kept: RunOptions,
    ) -> Run[Any]:
        environment = _served(task, "spawn_map() of", "drive a run", "map()")
        with self.pools.beginning(environment):
            from actorq.runtime.spawning import spawn

        with self._lock:
            client, _ = self.pools.connect(environment, 1)
        options = self.pools.with_code(environment, options)
        self._drive(environment.name, client)  # before: replicas work while inputs are still being stored
        return spawn(client, environment, iterables, options, map_id, kept, self._retry)

    def _retry(self, client: Client, map_id: str) -> None:
        from actorq.runtime.spawning import retry

        with self._lock:
            environment = retry(self.pools, client, map_id)
        self._drive(environment, client)

    def spawn(
        self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any], job_id: str, options: JobOptions
    ) -> Job[Any]:
        named = (task.environment.name, task.name)
        spawner = self._spawners.get(named)
        if spawner is None or self.pools.server_has_ended or not spawner.fits(task, self.pools.generation):
            spawner = self._spawners[named] = self._spawner(task)
        return spawner.make(args, kwargs, job_id, options)

    def _spawner(self, task: Task[Any, Any, Any]) -> TaskSpawner:
        environment = _served(task, "spawn() of", "run it later", "submit()")
        with self.pools.beginning(environment):
            from actorq.runtime.spawning import TaskSpawner

        with self._lock:
            client, _ = self.pools.connect(environment, 1)
            return TaskSpawner(client, task, environment, self.pools.bundle_of(environment), self.pools.generation)

    def job(self, job_id: str) -> Job[Any]:
        from actorq.runs.job import Job

        with self._lock:
            job: Job[Any] = Job(self.pools.server(), job_id)
        job.status()  # there is one
        return job

    def attach(self, map_id: str) -> Run[Any]:
        from actorq.runs.handle import Run
        from actorq.runs.reader import record_of

        with self._lock:
            client = self.pools.server()
        record_of(client, map_id)
        return Run(client, map_id, self._retry)

    def _drive(self, environment: str, client: Client) -> None:
        if settings().replica_of is not None:
            return  # in a replica nothing may run beside its inputs: a worker drives it
        from actorq.runs.driver import Driver

        with self._lock:
            driver = self._drivers.get(environment)
            if driver is None or not driver.is_alive() or driver.url != client.url:
                driver = self._drivers[environment] = Driver(client.url, environment, client.is_gone)
                if self.pools.owns_state:  # whoever led before has ended
                    driver.take_all()
                driver.start()

    def outputs_async(
        self,
        start: Callable[[Sequence[Iterable[Any]]], MapHandle[Any]],
        iterables: Sequence[Iterable[Any] | AsyncIterable[Any]],
    ) -> AsyncIterator[Any]:
        from actorq.maps.aio import outputs_async  # asyncio takes 30 ms to import

        return outputs_async(start, iterables)

    def call(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(task.environment, TaskEnvironment):
            return self.submit(task, args, kwargs).result()
        try:
            caller = self._caller(task)
        except RuntimeError as error:
            _refuse_late(error)
            raise
        this = threading.get_ident()
        caller.threads.add(this)
        try:
            return self._share_lease(task, args, kwargs) if caller.is_crowded() else caller.call(args, kwargs)
        except BrokerError:
            caller.failed = True
            raise
        finally:
            caller.threads.discard(this)

    def _share_lease(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One of so many calls of a task that most wait for a replica: they share leases.

        Not those of `submit`, whose callbacks run in the thread that reads the results: they may call, too.
        """
        future = self.submit(task, args, kwargs, calls=True)
        try:
            return future.result()
        except BaseException:  # Ctrl-C: it need not begin
            future.cancel()
            raise

    def submit(
        self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, calls: bool = False
    ) -> Future[Any]:
        """`calls`: the future is that of a plain call, which nobody else sees."""
        kind = SHARED_CALLS if calls else "submit"
        try:
            submitter = self._submitter(task, kind)
            try:
                return submitter.submit(args, kwargs)
            except PoolError:
                if not submitter.over:
                    raise
            return self._submitter(task, kind).submit(args, kwargs)  # another thread has just ended it
        except RuntimeError as error:
            _refuse_late(error)
            raise

    def _submitter(self, task: Task[Any, Any, Any], kind: str) -> Submitter:
        environment = task.environment
        named = (environment.name, task.name, kind)
        before = self._submitters.get(named)
        if before is not None and (before.task is not task or not before.code.is_current):  # it runs that of before
            before.finish()
        with self._lock:
            submitter = self._submitters.get(named)
            if submitter is None or submitter.over:
                with self.pools.beginning(environment):
                    from actorq.maps.futures import Submitter, options_of_calls

                place = self._place(environment, options_of_calls(task), None)
                submitter = self._submitters[named] = Submitter(task, place.options, place.transport, self.start, kind)
        return submitter

    def start(self, pump: Pump) -> None:
        with self._lock:
            if self._closed:
                raise PoolError("The program is ending: no map can start any more.")
            self._pumps.add(pump)
        try:
            pump.start()
        except RuntimeError:  # Python starts no thread any more: there is none to end
            self._pumps.discard(pump)
            raise

    def _place(self, environment: Environment, options: MapOptions, inputs: int | None) -> Place:
        """Where a map of `inputs` inputs runs."""
        if isinstance(environment, TaskEnvironment):
            return self.pools.for_regular(environment, options, inputs)
        assert isinstance(environment, ActorEnvironment)
        return self.pools.for_actors(environment, options, inputs)

    def finish_calls(self) -> None:
        """Waits for the calls that `submit` has taken, as the executors of concurrent.futures do at exit."""
        for submitter in list(self._submitters.values()):
            submitter.finish()

    def forget(self) -> None:
        """In a forked child: see `Pools.forget`."""
        self.pools.forget()

    def _in_use(self, environment: str) -> bool:
        for (name, *_), submitter in list(self._submitters.items()):
            if name == environment and submitter.idle:
                submitter.finish()
        return any(pump.runs and pump.ledger.options.environment == environment for pump in self._pumps)

    def close(self) -> None:
        """Ends every map, pool and server of this program. Nothing of them stays."""
        with self._lock:
            self._closed = self.pools.closed = True
            pumps = list(self._pumps)
        for driver in self._drivers.values():
            driver.stop()  # others may go on
        if (self._drivers or self._spawners) and self.pools.client is not None and self.pools.forgets:
            from actorq.runtime.spawning import tell_what_ends

            tell_what_ends(self.pools.client, sorted(self.pools.local))
        for pump in pumps:
            pump.hurry()  # all at the same time
        for pump in pumps:
            pump.close()
        for _, caller in self._callers.values():
            if not caller.close():
                break  # the server does not answer; it forgets the others by itself
        self.pools.drop()

    def _caller(self, task: Task[Any, Any, Any]) -> Caller:
        generation, caller = self._callers.get((task.environment.name, task.name), (0, None))
        if caller is None or generation != self.pools.generation or not self._usable(caller, task):
            environment = task.environment
            assert isinstance(environment, ActorEnvironment)
            with self.pools.beginning(environment):
                from actorq.maps.calls import Caller

            with self._lock:
                _, current = self._callers.get((environment.name, task.name), (0, None))
                if current is not None and current is not caller:
                    return current  # another thread has just made it
                client, pool = self.pools.connect(environment, 1)
                if caller is not None:
                    caller.close()
                caller = Caller(client, task, environment, pool, self.pools.bundle_of(environment))
                self._callers[environment.name, task.name] = (self.pools.generation, caller)
        return caller

    def _usable(self, caller: Caller, task: Task[Any, Any, Any]) -> bool:
        if caller.failed or caller.task is not task or not caller.code.is_current:  # its module was reloaded
            return False
        now = time.monotonic()
        if now < caller.usable_until:
            return True
        if self.pools.server_has_ended:
            return False
        from actorq.runtime.local import LocalPool

        pool = caller.pool
        if isinstance(pool, LocalPool) and not (pool.alive and pool.serves(caller.environment)):
            return False
        caller.usable_until = now + _USABLE_SECONDS
        return True


def _served(task: Task[Any, Any, Any], asked: str, lacks: str, instead: str) -> ActorEnvironment:
    """The environment of a task that workers serve. Raises `DeclarationError` for a regular task, which has none."""
    if not isinstance(task.environment, ActorEnvironment):
        raise DeclarationError(
            f"{asked} {task.name}: a regular task has no worker that could {lacks}. Declare it on an ActorEnvironment, "
            f"or use {instead}."
        )
    return task.environment


def _refuse_late(error: RuntimeError) -> None:
    """Raises `PoolError` for Python's refusal to start a thread, or to import what would, in a program that ends."""
    if "shutdown" in str(error):
        raise PoolError(
            f"The program is ending, and Python lets nothing start any more that a map needs ({error}). Start the map, "
            "or call `.up()` of its environment, while the main thread runs."
        ) from error


_current: Runtime | None = None
_current_lock = threading.Lock()


def runtime() -> Runtime:
    """The runtime of this process; a forked child has its own."""
    global _current
    if _ended:
        raise PoolError("The program is ending: no map can start any more.")
    current = _current
    if current is not None and current.pid == os.getpid():
        return current
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
    with suppress(KeyboardInterrupt):  # once more: nobody wants to wait, and what is left ends with this process
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
