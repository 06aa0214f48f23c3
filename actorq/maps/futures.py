"""`task.submit`: many calls, one map whose inputs are the calls as they come.

So submitted calls are batched into leases like any map's inputs, and one thread serves all futures of a task.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from actorq.base.log import logger
from actorq.base.names import new_id
from actorq.code.fingerprint import FINGERPRINTS
from actorq.declare.affinity_key import input_key
from actorq.declare.map_options import MapOptions
from actorq.errors import CodecError, PoolError
from actorq.maps.ledger import Ledger
from actorq.maps.pump import Pump
from actorq.maps.segment import Segment
from actorq.maps.transport import Transport
from actorq.wire import codec
from actorq.wire.messages import CALL

if TYPE_CHECKING:
    from actorq.declare.task import Task


class _CallSource:
    """Calls other threads add while the map runs."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.error: BaseException | None = None
        self.packed = True  # at submit: what the caller does to its arguments later must not travel
        self.exhausted = False
        #: no call will be added: the map ends with those that are there
        self.ending = False
        #: the pump has found too little, and waits: it is to be told of the next call
        self.hungry = True
        self._waiting: deque[tuple[Future[Any], bytes]] = deque()
        #: index -> the future of a call that was drawn
        self.drawn: dict[int, Future[Any]] = {}
        self._next = 0

    def add(self, future: Future[Any], call: bytes) -> None:
        self._waiting.append((future, call))

    def draw(self, count: int, ahead: int = 0) -> list[Any]:
        self.hungry = False
        calls = self._drawn(count)
        if len(calls) < count:
            self.hungry = True
            calls += self._drawn(count - len(calls))  # added before its caller could see that the pump waits
        if self.ending and not self._waiting:
            self.exhausted = True
        return calls

    def _drawn(self, count: int) -> list[Any]:
        calls: list[Any] = []
        while self._waiting and len(calls) < count:
            future, call = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                self.drawn[self._next] = future
                self._next += 1
                calls.append(call)
        return calls

    def close(self) -> None:
        self.exhausted = True

    @property
    def idle(self) -> bool:
        return not (self._waiting or self.drawn)

    def fail_all(self, error: Exception) -> None:
        """No result will come any more."""
        while self._waiting:
            future, _ = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        while self.drawn:
            self.drawn.popitem()[1].set_exception(error)


def options_of_calls(task: Task[Any, Any, Any]) -> MapOptions:
    """Of the map whose inputs are a task's calls."""
    environment = task.environment
    return MapOptions(
        environment=environment.name,
        head=task.head(CALL, {}),
        rules=task.rules,
        ordered=False,
        return_exceptions=True,
        single=not environment.warm,
        concurrency=environment.concurrency_of(None),
        affinity=task.key_reader(CALL, {}),
    )


class Submitter:
    """The futures of one task.

    Args:
        task: what the calls run.
        options: of the map; unordered, and failures are returned.
        transport: makes the transport for a map id and owner.
        start: starts the pump.
        kind: what its map's name begins with.
    """

    def __init__(
        self,
        task: Task[Any, Any, Any],
        options: MapOptions,
        transport: Callable[[str, str], Transport],
        start: Callable[[Pump], None],
        kind: str = "submit",
    ) -> None:
        self._source = _CallSource()
        self.task = task
        self._key = options.affinity
        self._lock = threading.Lock()
        self.over = False
        self.code = FINGERPRINTS.of(task.function)
        ledger = Ledger(f"{kind}-{new_id()}", self._source, options)
        self._pump = Pump(ledger, transport(ledger.map_id, ledger.owner), deliver=self._deliver, on_end=self._ended)
        start(self._pump)

    def submit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        # what cannot travel is refused here, to this caller, and not to every future of the map
        call = codec.split_list(self.task.pack_call(args, kwargs))[0]
        if self._key is not None:
            input_key(self._key, call, f"The affinity key of a call of {self.task.name}")
        future: Future[Any] = Future()
        with self._lock:
            if self.over:
                raise PoolError("The pool has stopped.")
            self._source.add(future, call)
        if self._source.hungry:
            self._source.hungry = False  # first: behind the nudge it could undo what the pump has just set
            self._pump.nudge()
        return future

    @property
    def idle(self) -> bool:
        """Whether every call it has taken is done."""
        return self._source.idle

    def finish(self) -> None:
        """Takes no more, and waits until the calls that are submitted are done."""
        with self._lock:
            self.over = True
        self._source.ending = True
        self._pump.nudge()
        self._pump.join()

    def _deliver(self, segment: Segment) -> None:
        values, _ = segment.values()
        for offset, value in enumerate(values):
            future = self._source.drawn.pop(segment.lo + offset)
            error = segment.errors.get(offset) or (value if isinstance(value, CodecError) else None)
            try:
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)
            except BaseException:  # sys.exit in a callback of the user's: the other futures must not suffer
                logger().exception("callback_failed", task=self.task.name)

    def _ended(self, error: Exception | None) -> None:
        with self._lock:
            self.over = True
        self._source.fail_all(error or PoolError("The pool was stopped before this call was done."))
