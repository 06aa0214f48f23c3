"""Tasks run in this process: the engine of `actorq.testing`.

The one idea: only the transport is another one. Inputs, books, failures, retries and the handle are those of every map,
and inputs and outputs are packed and unpacked as if they travelled; a lease runs where it would be sent.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actorq.base.waiting import Waker, ready
from actorq.declare.environment import ActorEnvironment, Environment, TaskEnvironment
from actorq.declare.hooks import Hook
from actorq.declare.map_options import MapOptions
from actorq.declare.status import PoolStatus
from actorq.errors import DeclarationError
from actorq.maps.futures import Submitter, options_of_calls
from actorq.maps.handle import MapHandle
from actorq.maps.opening import open_map
from actorq.maps.progress import bar_of
from actorq.maps.pump import Pump
from actorq.maps.share import Share
from actorq.replica.executor.inputs import decoded
from actorq.replica.executor.loops import SharedLoop
from actorq.replica.executor.run import Prepared, Run
from actorq.replica.pages import Pages
from actorq.wire.lease import Counters, GivenUp, Lease, Report, Results
from actorq.wire.messages import Frame, parse_frame

if TYPE_CHECKING:
    from actorq.declare.task import Task

#: who runs inputs, in messages
_REPLICA = "inline"


class InlineTransport:
    """Runs leases in the thread that asks for their results, one input after the other.

    Args:
        function: what the task runs.
        options: of the map.
        replicas: as many as there would be: it decides how far ahead inputs are drawn.
    """

    prompt = False  # inputs run in the map's thread, not in that of its caller

    def __init__(self, function: Callable[..., Any], options: MapOptions, replicas: int) -> None:
        self.replicas = replicas
        self._prepared = Prepared(function, options.head, anew=True)
        self._waiting: deque[Lease] = deque()
        self._waker = Waker()
        self._closing = False
        self._loop: SharedLoop | None = None

    def offer(self, leases: Sequence[Lease], *, beside: int, share: Share) -> int:
        for lease in leases:
            (self._waiting.appendleft if lease.front else self._waiting.append)(lease)
        return len(leases)

    def names(self) -> Sequence[str]:
        return (_REPLICA,)

    def recall(self, leases: Sequence[Lease]) -> list[Lease]:
        return []

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        if not self._waiting or self._closing:
            if ready([self._waker], timeout):
                self._waker.clear()
            return []
        lease = self._waiting.popleft()
        return [Results(lease=lease.id, frame=self._run(lease))]

    def beat(self, outstanding: Sequence[Lease], counters: Counters, share: Share) -> list[Report]:
        return []

    def record(self, given_up: Sequence[GivenUp]) -> None:
        pass

    def hurry(self) -> None:
        self._closing = True

    def finish(self, outstanding: Sequence[Lease]) -> None:
        self._waker.close()
        if self._loop is not None:
            self._loop.close()

    def wake(self) -> None:
        self._waker.wake()

    def _run(self, lease: Lease) -> Frame:
        """The results of a lease, as they would arrive. Stops between two inputs when the map is closed."""
        prepared = self._prepared
        with prepared.decoding():
            values, _ = decoded(memoryview(lease.inputs))  # one that cannot be decoded fails alone, when it runs
        run = Run(prepared, values, Pages(1)[0], self._stop if lease.count > 1 else None)
        try:
            run.run(self._event_loop)
        finally:
            frame = run.take(_REPLICA)
        return parse_frame(frame.packed())

    def _stop(self) -> None:
        """Called after each input."""
        if self._closing:
            raise RuntimeError("the map was closed")

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = SharedLoop(asyncio.new_event_loop())
        return self._loop.loop


@dataclass(frozen=True, kw_only=True)
class _Here:
    """Where a map of one task runs."""

    function: Callable[..., Any]
    options: MapOptions
    replicas: int

    def transport(self, map_id: str, owner: str) -> InlineTransport:
        return InlineTransport(self.function, self.options, self.replicas)


class InlinePools:
    """What `ActorEnvironment.up()` and the like ask: replicas are always there."""

    def up(self, environment: ActorEnvironment) -> None:
        pass

    def down(self, environment: ActorEnvironment) -> None:
        pass

    def scale(self, environment: ActorEnvironment, replicas: int) -> None:
        pass

    def status(self, environment: ActorEnvironment) -> PoolStatus:
        return PoolStatus(wanted=environment.replica_count, ready=environment.replica_count)


class InlineEngine:
    """Runs tasks in this process. Any thread may use it."""

    def __init__(self) -> None:
        self.control = InlinePools()
        self._pumps: list[Pump] = []
        self._submitters: dict[int, Submitter] = {}
        self._started: list[ActorEnvironment] = []

    def map(
        self,
        task: Task[Any, Any, Any],
        iterables: tuple[Iterable[Any], ...],
        options: MapOptions,
        map_id: str,
        progress: bool | None,
    ) -> MapHandle[Any]:
        pump = open_map(map_id, iterables, options, lambda options, _: self._here(task, options))
        self._start(pump)
        return MapHandle(pump, bar_of(task.function.__name__, pump, progress))

    def spawn_map(self, task: Any, iterables: Any, options: Any, map_id: str, kept: Any) -> Any:
        raise DeclarationError("spawn_map() needs a server, where a run lives: actorq.testing has none. Use map().")

    def spawn(self, task: Any, args: Any, kwargs: Any, job_id: str, options: Any) -> Any:
        raise DeclarationError("spawn() needs a server, where a job lives: actorq.testing has none. Use submit().")

    def job(self, job_id: str) -> Any:
        raise DeclarationError("job() needs a server, where a job lives: actorq.testing has none.")

    def attach(self, map_id: str) -> Any:
        raise DeclarationError("attach() needs a server, where a run lives: actorq.testing has none.")

    def outputs_async(
        self,
        start: Callable[[Sequence[Iterable[Any]]], MapHandle[Any]],
        iterables: Sequence[Iterable[Any] | AsyncIterable[Any]],
    ) -> AsyncIterator[Any]:
        from actorq.maps.aio import outputs_async

        return outputs_async(start, iterables)

    def call(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        submitter = self._submitter(task)  # of its own: a task may call itself
        future = submitter.submit(args, kwargs)
        submitter.finish()
        return future.result()

    def submit(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        submitter = self._submitters.get(id(task))
        if submitter is None or submitter.over:
            submitter = self._submitters[id(task)] = self._submitter(task)
        return submitter.submit(args, kwargs)

    def close(self) -> None:
        """Ends what runs, and runs the exit hooks."""
        for submitter in self._submitters.values():
            submitter.finish()
        for pump in self._pumps:
            pump.close()
        for environment in reversed(self._started):
            for hook in reversed(environment.at_exit):
                _call(hook)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _submitter(self, task: Task[Any, Any, Any]) -> Submitter:
        options = options_of_calls(task)
        return Submitter(task, options, self._here(task, options).transport, self._start)

    def _here(self, task: Task[Any, Any, Any], options: MapOptions) -> _Here:
        environment = task.environment
        if isinstance(environment, ActorEnvironment) and environment not in self._started:
            self._started.append(environment)
            for hook in environment.at_start:
                _call(hook)
        return _Here(function=task.function, options=options, replicas=_replicas(environment))

    def _start(self, pump: Pump) -> None:
        self._pumps = [each for each in self._pumps if each.runs]
        self._pumps.append(pump)
        pump.start()


def _replicas(environment: Environment) -> int:
    if isinstance(environment, ActorEnvironment):
        return environment.replica_count
    assert isinstance(environment, TaskEnvironment)
    return environment.concurrency or 1


def _call(hook: Hook) -> None:
    value = hook.function(*hook.args, **hook.kwargs)
    if inspect.iscoroutine(value):
        asyncio.run(value)
