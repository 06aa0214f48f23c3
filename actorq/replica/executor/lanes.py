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
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import redis

from actorq.base.log import logger
from actorq.base.waiting import Waker, ready
from actorq.replica import context, deadlines
from actorq.replica.caches import CacheTeller
from actorq.replica.executor import marked
from actorq.replica.executor.executor import Executor
from actorq.replica.executor.lifecycle import Lifecycle
from actorq.replica.executor.owners import WAKE, LaneRun, LanesLoop, current_owner
from actorq.replica.executor.run import Prepared, Run
from actorq.replica.executor.versions import Versions
from actorq.replica.slots import Slot
from actorq.replica.spec import WAKE_SIGNAL, ExecutorSpec
from actorq.wire.messages import parse_head

#: how long a lane waits for a turn with nobody else, seconds; then it lets those in that queue behind it, for so long
_TURN_SECONDS, _LET_IN_SECONDS = 2.0, 0.05


class Lanes:
    """All lanes of one process.

    Args:
        spec: what the process is told by its supervisor.
        slots: a page for each of `spec.workers`.
    """

    def __init__(self, spec: ExecutorSpec, slots: list[Slot]) -> None:
        self._loop = LanesLoop(asyncio.new_event_loop(), self._spoilt).loop
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
            owner = current_owner()
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
        while self._left and not self._failed:
            self._loop.run_forever()  # a thread of some task may stop it
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
        if lane.worn_out:
            self._retire()
        if self._left == 0:
            self._loop.stop()

    def _retire(self) -> None:
        """The process is to be replaced, when what runs in it has ended."""
        if not self.worn_out:
            self.worn_out = True
            for lane in self._lanes:
                lane.retire()

    def _spoilt(self, what: str) -> None:
        """An input has ended what it does not own, and the process needs."""
        if not self.worn_out:
            logger().warning("replica_spoilt", what=what)
        self._retire()

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
        self._inbox.put(WAKE)
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
        return LaneRun(prepared, inputs, self._slot, self._shared_loop, self._inbox, self.on_wake)

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
