"""The executors of `concurrency=N`: N inputs of `async def` tasks at a time, in one process, on one event loop.

    slot 1 … N ── a thread each: takes leases, commits results ──▶ Redis
        │ one input at a time                                  main thread: the event loop, all user code, and the
        └────── coroutine ──▶ event loop ── result ──▶ slot    supervisor's signal, which is passed on to the slots

The one idea: *to Redis a concurrency slot is a replica*. It has a name, a mailbox, a lease and a page of its own, so
leases, hand-off, timeouts and recovery are those of any other replica. Threads only wait, for the server or for the
loop; but for code that comes with a map, which a slot imports, while the others wait.
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
from functools import partial
from typing import Any

from actorq.base.log import logger
from actorq.base.waiting import Waker, ready
from actorq.broker.refusals import LostError
from actorq.replica import context, deadlines
from actorq.replica.executor import marked
from actorq.replica.executor.executor import Executor, link_to
from actorq.replica.executor.owners import WAKE, SlotRun, SlotsLoop, current_owner
from actorq.replica.executor.preparing import PreparedMaps
from actorq.replica.executor.process import Process
from actorq.replica.executor.run import Prepared, Run
from actorq.replica.executor.runner import Lent
from actorq.replica.executor.turns import Turns
from actorq.replica.pages import Page
from actorq.replica.spec import WAKE_SIGNAL, ExecutorSpec
from actorq.wire.messages import parse_head


class ConcurrentExecutor:
    """All concurrency slots of one process.

    Args:
        spec: what the process is told by its supervisor.
        pages: a page for each of `spec.workers`.
    """

    def __init__(self, spec: ExecutorSpec, pages: list[Page]) -> None:
        self._loop = SlotsLoop(asyncio.new_event_loop(), self._spoilt).loop
        self._left = len(pages)
        runner = partial(SlotRunner, Shared(spec, self._loop))
        first = pages[0]
        pairs = zip(spec.workers, pages, strict=True)
        self._slots = [Executor(spec, worker, page, runner, tells=page is first) for worker, page in pairs]
        #: the process should be replaced
        self.worn_out = False
        self._failed = False

    @staticmethod
    def context(workers: Sequence[str], pages: Sequence[Page]) -> Callable[[], dict[str, Any]]:
        """Tells what runs in the slot whose input asks."""
        names = {id(page): worker for page, worker in zip(pages, workers, strict=True)}

        def now() -> dict[str, Any]:
            owner = current_owner()
            return {} if owner is None else context.now(names[id(owner.page)], owner.page)

        return now

    def serve(self) -> None:
        """Serves until all slots are drained or worn out."""
        asyncio.set_event_loop(self._loop)
        self._slots[0].start()
        self._loop.add_signal_handler(WAKE_SIGNAL, self._wake)
        os.register_at_fork(after_in_child=self._in_child)
        for slot in self._slots:
            threading.Thread(target=self._serve_slot, args=(slot,), daemon=True).start()
        while self._left and not self._failed:
            self._loop.run_forever()  # a thread of some task may stop it
        if self._failed:
            raise SystemExit("a lane failed")

    def end(self) -> None:
        """Runs the exit hooks, and removes what the slots keep on disk."""
        self._slots[0].worn_out = self.worn_out
        self._slots[0].end()

    def _in_child(self) -> None:
        """In a child that a task has forked."""
        marked.come_to_child()
        signal.set_wakeup_fd(-1)  # its signals would wake our loop
        with contextlib.suppress(RuntimeError):  # forked by a thread: the loop does not run there
            self._loop.call_soon(os._exit, 1)  # where a callback has forked

    def _serve_slot(self, slot: _SlotExecutor) -> None:
        try:
            slot.serve(started=True)
        except BaseException:  # the boundary of the thread: the process ends, as any executor that fails does
            traceback.print_exc()
            self._failed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            return
        self._loop.call_soon_threadsafe(self._ended, slot)

    def _ended(self, slot: _SlotExecutor) -> None:
        self._left -= 1
        if slot.worn_out:
            self._retire()
        if self._left == 0:
            self._loop.stop()

    def _retire(self) -> None:
        """The process is to be replaced, when what runs in it has ended."""
        if not self.worn_out:
            self.worn_out = True
            for slot in self._slots:
                slot.runner.retire()

    def _spoilt(self, what: str) -> None:
        """An input has ended what it does not own, and the process needs."""
        if not self.worn_out:
            logger().warning("replica_spoilt", what=what)
        self._retire()

    def _wake(self) -> None:
        for slot in self._slots:
            slot.runner.notify()


class Shared:
    """What all concurrency slots of a process have in common.

    Args:
        spec: what the process is told by its supervisor.
        loop: where coroutines run.
    """

    def __init__(self, spec: ExecutorSpec, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.turns = Turns()
        link = link_to(spec)  # of its own: any slot may ask for code while the others wait for their mail
        self.process = Process(spec, lambda: link, loop)


class SlotRunner:
    """The runner of one concurrency slot: its inputs run on the loop of all.

    Args:
        shared: by all slots.
        lent: what its executor lends to it.
    """

    looks_ahead = False  # the loop has other inputs to run meanwhile
    wants_rest = False

    def __init__(self, shared: Shared, lent: Lent) -> None:
        self._shared = shared
        self._lent = lent
        self.process = shared.process
        self.maps = PreparedMaps(self.process, lent.watched.as_input, at_once=False)  # each has to wait for its turn
        self._has_turn = False
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._waker = Waker()

    def notify(self) -> None:
        """The supervisor has asked for something, or the process is to be replaced. Any thread."""
        self._inbox.put(WAKE)
        self._waker.wake()

    def retire(self) -> None:
        """Has the slot finish what it runs, and end. Any thread."""
        self._lent.page.drain()
        self.notify()

    # -- in its thread -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The loop runs already."""

    def end(self) -> None:
        """It has nothing of its own."""

    def prepare(self, head: bytes) -> Prepared:
        if not self._has_turn:
            parsed = parse_head(head)
            self._shared.turns.enter(parsed.code, alone=parsed.alone)
            self._has_turn = True
        with self.process.lock:
            return self.maps.of(head)

    def run_of(self, prepared: Prepared, packed: memoryview) -> Run:
        inputs, _ = self._lent.watched.decoded(prepared, packed)
        return SlotRun(prepared, inputs, self._lent.page, self._shared.loop, self._inbox, self._lent.on_wake)

    def lease_ended(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._shared.turns.leave()

    def read_mail(self) -> Any:
        link, waker = self._lent.link, self._waker
        while not link.has_reply():
            found = ready([link, waker], deadlines.result(self._lent.spec.lease_seconds))
            if waker.fileno() in found:
                waker.clear()
                self._lent.on_wake()
            elif not found:
                raise LostError("no answer to the wait on the mailbox")
            else:
                break
        return link.read()

    def rest(self) -> bool:
        return False


#: an executor whose leases run beside those of others; its thread is not the one of the loop
_SlotExecutor = Executor[SlotRunner]
