"""`task.submit`: many calls, one map whose inputs are the calls as they come.

So submitted calls are batched into leases like any map's inputs, and one thread serves all futures of a task.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from actorq import codec
from actorq.environment import Environment, TaskEnvironment
from actorq.errors import CodecError, PoolError
from actorq.frames import CALL
from actorq.maps.ledger import Ledger, Segment
from actorq.maps.options import MapOptions
from actorq.maps.pump import Pump
from actorq.names import new_id
from actorq.pool.regular import concurrency_of

if TYPE_CHECKING:
    from actorq.runtime import Runtime
    from actorq.task import Task


class _CallSource:
    """Calls other threads add while the map runs."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.error: Exception | None = None
        self._waiting: deque[tuple[Future[Any], Any]] = deque()
        #: index -> the future of a call that was drawn
        self.drawn: dict[int, Future[Any]] = {}
        self._next = 0
        self.exhausted = False

    def add(self, future: Future[Any], call: Any) -> None:
        self._waiting.append((future, call))

    def draw(self, count: int) -> list[Any]:
        calls: list[Any] = []
        while self._waiting and len(calls) < count:
            future, call = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                self.drawn[self._next] = future
                self._next += 1
                calls.append(call)
        return calls

    def fail_all(self, error: Exception) -> None:
        """No result will come any more."""
        while self._waiting:
            future, _ = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        while self.drawn:
            self.drawn.popitem()[1].set_exception(error)


def _concurrency(environment: Environment) -> int | None:
    return concurrency_of(environment, None) if isinstance(environment, TaskEnvironment) else None


class Submitter:
    """The futures of one task."""

    def __init__(self, runtime: Runtime, task: Task[Any, Any, Any]) -> None:
        self._source = _CallSource()
        self._task = task
        self._lock = threading.Lock()
        self.over = False
        map_id = f"submit-{new_id()}"
        options = MapOptions(
            environment=task.environment.name,
            head=task.head(CALL, {}),
            retries=task.options.retries,
            retry_delay=task.options.retry_delay,
            max_crashes=getattr(task.environment, "max_crashes", 0),
            ordered=False,
            single=isinstance(task.environment, TaskEnvironment),
            concurrency=_concurrency(task.environment),
            return_exceptions=True,
        )
        ledger = Ledger(map_id, self._source, options)
        transport = runtime.transport(task.environment, map_id, options)
        self._pump = Pump(ledger, transport, deliver=self._deliver, on_end=self._ended)
        runtime.start(self._pump)

    def submit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        call = [list(args), kwargs]
        try:
            codec.pack(call)  # told here, to the caller, and not to every other future of the map
        except CodecError as error:
            raise CodecError(f"An argument of {self._task.name} cannot be carried: {error}") from error
        future: Future[Any] = Future()
        with self._lock:
            if self.over:
                raise PoolError("The pool has stopped.")
            self._source.add(future, call)
        self._pump.nudge()
        return future

    def close(self) -> None:
        self._pump.close()

    def _deliver(self, segment: Segment) -> None:
        values = codec.unpack_list(segment.outputs)
        for offset, value in enumerate(values):
            future = self._source.drawn.pop(segment.lo + offset)
            error = segment.errors.get(offset)
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def _ended(self, error: Exception | None) -> None:
        with self._lock:
            self.over = True
        self._source.fail_all(error or PoolError("The pool was stopped before this call was done."))
