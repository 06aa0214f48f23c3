"""The executor of `concurrency=N`: N inputs of `async def` tasks at a time, in one process, on one event loop.

    lane 1 … N ── a thread each: takes leases, commits results ──▶ Redis
        │ one input at a time                                  main thread: the event loop, all user code, and the
        └────── coroutine ──▶ event loop ── result ──▶ lane    supervisor's signal, which is passed on to the lanes

The one idea: *to Redis a lane is a replica*. It has a name, a mailbox, a lease and a page of its own, so leases,
hand-off, timeouts and recovery are those of any other replica. Threads only wait, for the server or for the loop; but
for code that comes with a map, which a lane imports, while the others wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import redis

from actorq.base import log
from actorq.base.waiting import Waker, ready
from actorq.replica import context, deadlines
from actorq.replica.caches import CacheTeller
from actorq.replica.executor import marked
from actorq.replica.executor.executor import Executor
from actorq.replica.executor.lifecycle import Lifecycle
from actorq.replica.executor.marked import Marked
from actorq.replica.executor.run import Prepared, Run, Stop
from actorq.replica.executor.versions import Versions
from actorq.replica.slots import Slot
from actorq.replica.spec import WAKE_SIGNAL, ExecutorSpec
from actorq.wire.messages import parse_head

#: how long tasks that an input left behind may take to be cancelled, seconds
_CANCEL_SECONDS = 1.0
#: how long a lane waits for a turn with nobody else, seconds; then it lets those in that queue behind it, for so long
_TURN_SECONDS, _LET_IN_SECONDS = 2.0, 0.05
#: rounds of cancelling what an input left behind, which may start more while it ends
_CANCEL_ROUNDS = 3


class Lanes:
    """All lanes of one process.

    Args:
        spec: what the process is told by its supervisor.
        slots: a page for each of `spec.workers`.
    """

    def __init__(self, spec: ExecutorSpec, slots: list[Slot]) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(_new_task)
        self._left = len(slots)
        first = Lane(spec, spec.workers[0], slots[0], self._loop)
        others = [Lane(spec, *pair, self._loop, first) for pair in zip(spec.workers[1:], slots[1:], strict=True)]
        self._lanes = [first, *others]
        #: the process should be replaced
        self.worn_out = False
        self._failed = False

    @staticmethod
    def context(workers: Sequence[str], slots: Sequence[Slot]) -> Callable[[], dict[str, Any]]:
        """Tells what runs in the lane whose input asks."""
        names = {id(slot): worker for slot, worker in zip(slots, workers, strict=True)}

        def now() -> dict[str, Any]:
            owner = _owner.get()
            return {} if owner is None else context.now(names[id(owner.slot)], owner.slot)

        return now

    def serve(self) -> None:
        """Serves until all lanes are drained or worn out."""
        asyncio.set_event_loop(self._loop)
        self._lanes[0].start_all()
        self._loop.add_signal_handler(WAKE_SIGNAL, self._wake)
        os.register_at_fork(after_in_child=self._in_child)
        for lane in self._lanes:
            threading.Thread(target=self._serve_lane, args=(lane,), daemon=True).start()
        self._loop.run_forever()
        if self._failed:
            raise SystemExit("a lane failed")

    def end(self) -> None:
        """Runs the exit hooks, and removes what the lanes keep on disk."""
        self._lanes[0].worn_out = self.worn_out
        self._lanes[0].end()

    def _in_child(self) -> None:
        """In a child that a task has forked."""
        marked.come_to_child()
        signal.set_wakeup_fd(-1)  # its signals would wake our loop
        with contextlib.suppress(RuntimeError):  # forked by a thread: the loop does not run there
            self._loop.call_soon(os._exit, 1)  # where a callback has forked

    def _serve_lane(self, lane: Lane) -> None:
        try:
            lane.serve()
        except BaseException:  # the boundary of the thread: the process ends, as any executor that fails does
            traceback.print_exc()
            self._failed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            return
        self._loop.call_soon_threadsafe(self._ended, lane)

    def _ended(self, lane: Lane) -> None:
        self._left -= 1
        if lane.worn_out and not self.worn_out:
            self.worn_out = True
            for other in self._lanes:
                other.retire()
        if self._left == 0:
            self._loop.stop()

    def _wake(self) -> None:
        for lane in self._lanes:
            lane.notify()


class Lane(Executor):
    """One lane: an executor whose inputs run on the loop of all.

    Args:
        spec, worker, slot: as for any executor.
        loop: where coroutines run.
        first: the lane whose code and counts this one shares; None for the first.
    """

    _looks_ahead = False  # the loop has other inputs to run meanwhile

    def __init__(
        self, spec: ExecutorSpec, worker: str, slot: Slot, loop: asyncio.AbstractEventLoop, first: Lane | None = None
    ) -> None:
        self._first = first or self
        self._lock: threading.Lock = threading.Lock() if first is None else first._lock
        self._turns: _Turns = _Turns() if first is None else first._turns
        self._has_turn = False
        self._shared_loop = loop
        super().__init__(spec, worker, slot)
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._waker = Waker()
        self._retired = False

    def start_all(self) -> None:
        """What comes before the first lease of any lane. Called for the first one, in the main thread."""
        super().start()

    def notify(self) -> None:
        """The supervisor has asked for something, or the process is to be replaced. Any thread."""
        self._inbox.put(_WAKE)
        self._waker.wake()

    def retire(self) -> None:
        """Finishes what it runs and ends. Any thread."""
        self._retired = True
        self.notify()

    def on_wake(self, signum: int = WAKE_SIGNAL, frame: object = None) -> None:
        if self._retired:
            self._slot.drain()
        super().on_wake(signum, frame)

    # -- in its thread -------------------------------------------------------------------------------------------------

    def _work(self, member: bytes, payload: bytes | bytearray) -> Any:
        try:
            return super()._work(member, payload)
        finally:
            if self._has_turn:
                self._has_turn = False
                self._turns.leave()

    def _open(self, member: bytes, payload: bytes | bytearray) -> tuple[Prepared, memoryview]:
        self._maps.last = None  # every lease has to wait for its turn
        return super()._open(member, payload)

    def _prepare(self, head: bytes) -> Prepared:
        if not self._has_turn:
            parsed = parse_head(head)
            self._turns.enter(parsed.code, alone=parsed.alone)
            self._has_turn = True
        with self._lock:
            return super()._prepare(head)

    def _run_of(self, prepared: Prepared, packed: memoryview) -> Run:
        with prepared.decoding():
            inputs, _ = self._decoded(prepared, packed)
        return LoopRun(prepared, inputs, self._slot, self._shared_loop, self._inbox, self.on_wake)

    def _read_mail(self) -> Any:
        while not self._link.has_reply():
            found = ready([self._link, self._waker], deadlines.result(self._spec.lease_seconds))
            if self._waker.fileno() in found:
                self._waker.clear()
                self.on_wake()
            elif not found:
                raise redis.TimeoutError("no answer to the wait on the mailbox")
            else:
                break
        return self._link.read()

    def _make_teller(self, slot: Slot) -> CacheTeller:
        return CacheTeller(slot) if self._first is self else CacheTeller(None)  # they are the process's

    def start(self) -> None:
        """The rest was done by `start_all`."""
        self._wear = self._first._wear

    def _make_lifecycle(self) -> Lifecycle:
        return super()._make_lifecycle() if self._first is self else self._first._lifecycle

    def _make_versions(self) -> Versions:
        if self._first is not self:
            return self._first._versions
        link = self._make_link()  # any lane may ask for code while the first one waits for its mail
        return self._versions_by(lambda: link)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        return self._shared_loop

    def _look_at_wear(self) -> None:
        first = self._first
        with self._lock:
            if first is not self:
                first._inputs_done, self._inputs_done = first._inputs_done + self._inputs_done, 0
            if self._wear.used_up(first._inputs_done):
                self._draining = self.worn_out = True


class _Turns:
    """Who runs beside whom: lanes with the same version of the code, since its modules are those of the process; and
    nobody beside an input that is to be alone.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._code = ""
        self._alone = False
        self._running = 0
        self._others = 0  # lanes that wait until nobody runs; those that need not queue behind them

    def enter(self, code: str, *, alone: bool) -> None:
        """Waits until a lease with this code may run."""

        def may_run() -> bool:
            beside = code == self._code and not (alone or self._alone or self._others)
            return beside or not self._running

        with self._condition:
            while not may_run():
                # what runs may itself wait for one of those that queue: now and then they are let in first
                self._others += (waits := alone or code != self._code)
                entered = self._condition.wait_for(may_run, _TURN_SECONDS)
                self._others -= waits
                if not entered:
                    self._condition.notify_all()
                    self._condition.wait(_LET_IN_SECONDS)
            self._code, self._alone = code, alone
            self._running += 1

    def leave(self) -> None:
        with self._condition:
            self._running -= 1
            self._alone = self._alone and self._running > 0
            self._condition.notify_all()


class LoopRun(Run):
    """A lease whose inputs run on the event loop, one after the other.

    Args:
        loop: where.
        inbox: of the lane's thread: wake-ups of the supervisor come here.
        on_wake: what to do at one; may raise `Stop`.
    """

    def __init__(
        self,
        prepared: Prepared,
        inputs: Sequence[Any],
        slot: Slot,
        loop: asyncio.AbstractEventLoop,
        inbox: queue.SimpleQueue[object],
        on_wake: Callable[[], None],
    ) -> None:
        super().__init__(prepared, inputs, slot, None)
        self._loop = loop
        self._inbox = inbox
        self._on_wake = on_wake

    def run(self, event_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        """Runs what is left. Returns early only after a cancel."""
        self._run_each(self._on_loop)

    def _on_loop(self, value: Any) -> Any:
        """Runs one input on the loop and waits for it."""
        owner = _Owner(self._slot)
        call = _Call(self._loop, Marked(_run_input(self.prepared.call, value, owner), self._slot), self._inbox)
        try:
            while self._inbox.get() is not call:
                self._on_wake()
        except Stop:
            call.cancel()
            woken = False
            while self._inbox.get() is not call:  # the supervisor ends the process when this takes too long
                woken = True
            if woken:
                self._inbox.put(_WAKE)  # for the next input: what was asked for meanwhile
            raise
        return call.result()


_WAKE = object()


class _Owner:
    """An input, to the tasks that it starts."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.tasks: set[asyncio.Task[Any]] = set()


#: the input that this context belongs to
_owner: contextvars.ContextVar[_Owner | None] = contextvars.ContextVar("actorq_owner", default=None)


class _Call:
    """One input on the loop. It puts itself into `inbox` when it is over."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], inbox: queue.SimpleQueue[object]
    ) -> None:
        self._loop = loop
        self._coro = coro
        self._inbox = inbox
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._stop)

    def result(self) -> Any:
        """What it returned. Raises what it raised."""
        if self._task.cancelled():
            raise asyncio.CancelledError
        error = self._task.exception()
        if error is not None:
            raise error
        result = self._task.result()
        if isinstance(result, _Exit):
            raise result.error
        return result

    def _stop(self) -> None:
        self._task.cancel()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._coro)
        self._task.add_done_callback(lambda _: self._inbox.put(self))


class _Exit:
    """The outcome of an input that wanted to end the process, which asyncio would let it do."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _run_input(call: Callable[[Any], Any], value: Any, owner: _Owner) -> Any:
    """One input, and the end of what it has started and left."""
    _owner.set(owner)
    log.bind()
    try:
        result = call(value)
        return await result if isinstance(result, Coroutine) else result
    except (SystemExit, KeyboardInterrupt) as error:
        return _Exit(error)
    finally:
        for _ in range(_CANCEL_ROUNDS):
            if not (left := set(owner.tasks)):
                break
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)


def _new_task(
    loop: asyncio.AbstractEventLoop, coro: Any, context: contextvars.Context | None = None
) -> asyncio.Task[Any]:
    """A task of the loop, known to the input that starts it. One with a context of its own belongs to nobody."""
    owner = _owner.get() if context is None else None
    if owner is None:
        return asyncio.Task(coro, loop=loop, context=context)
    task: asyncio.Task[Any] = asyncio.Task(Marked(coro, owner.slot), loop=loop)
    owner.tasks.add(task)
    task.add_done_callback(owner.tasks.discard)
    return task
