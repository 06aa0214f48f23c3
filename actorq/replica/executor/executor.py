"""The executor: one thread that takes leases, runs their inputs and commits the results.

    exchange ──lease──▶ runner ──run──▶ frame ──▶ exchange (commit + next lease) ──▶ …

In which way the inputs run is its runner's: see `runner.py`.

The supervisor speaks to it through one signal and its page. The handler runs between two bytecodes of the task, when
nothing else uses our connection, so it can send what is finished and hand back what has not begun while the task runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from actorq.base.log import logger
from actorq.broker import blobs
from actorq.broker.link import Link, Store
from actorq.broker.scripts.serving import GONE, KEPT, OURS, Part, sync
from actorq.errors import ActorqError, PoolError
from actorq.replica import deadlines
from actorq.replica.caches import CacheTeller
from actorq.replica.executor.exchange import Done, Exchange, Taken
from actorq.replica.executor.preparing import refused
from actorq.replica.executor.run import Prepared, Run, Stop, flush_streams
from actorq.replica.executor.runner import Lent, Runner
from actorq.replica.executor.watched import Watched
from actorq.replica.pages import CANCEL, ENDING, FORGO, LATE, MEMORY, NAME_BYTES, SERVING, TIMEOUT, Page
from actorq.replica.spec import WAKE_SIGNAL, ExecutorSpec
from actorq.wire import codec, failure
from actorq.wire.messages import Frame
from actorq.wire.seal import seal_results, unseal

R = TypeVar("R", bound=Runner)

#: how long a flush in the middle of a task may hold up the task, seconds
_FLUSH_PATIENCE = 1.0
#: seconds a draining replica tries a server that does not answer
_LAST_PATIENCE = 1.5
#: nothing is claimed ahead where leases take longer than this, seconds: there the pause between two is no matter
_QUICK_SECONDS = 0.06
#: what was claimed ahead waits for twice as long as leases took, and this, seconds; then it is given back
_PATIENCE_SECONDS = 0.01


class _Leave(BaseException):
    """Raised by the handler out of the wait on the mailbox: the replica drains."""


class Executor(Generic[R]):
    """Serves one environment until it is drained.

    Args:
        spec: what it is told by its supervisor.
        worker: its name as an RQ worker.
        page: its page.
        runner: makes what runs its leases.
        tells: its page is the one where the process tells of its caches.
    """

    def __init__(
        self, spec: ExecutorSpec, worker: str, page: Page, runner: Callable[[Lent], R], *, tells: bool = True
    ) -> None:
        self._spec = spec
        self._worker = worker
        self._page = page
        self._caches = CacheTeller(page if tells else None)
        self._inputs_done = 0  # and not told to the process yet
        self._usual_seconds = 1.0  # what leases took, exponential mean
        self._syncing = False
        self._missed_wake = False
        self._link = link_to(spec)
        self._exchange = Exchange(self._link, spec.environment, worker, spec.lease_seconds, page, tidy=self._tidy_up)
        self._watched = Watched(page)
        self.runner = runner(
            Lent(
                spec=spec,
                worker=worker,
                page=page,
                link=self._link,
                free_link=self._exchange.free_link,
                watched=self._watched,
                on_wake=self.on_wake,
            )
        )
        self._process, self._maps = self.runner.process, self.runner.maps
        self._isolation = self._process.isolation
        self._run: Run | None = None
        self._lease = b""
        self._forgone = False  # the lease was stopped, and nobody has wished it
        self._untidy = False  # a lease has run, and `_tidy_up` has not
        self._waiting = False  # inside the wait on the mailbox, where the handler may raise
        self._draining = False
        #: inputs have left so much behind that the process should be replaced
        self.worn_out = False

    def serve(self, *, started: bool = False) -> None:
        """Takes leases until drained or worn out. `started`: `start` was called."""
        self._draining = self._page.draining  # asked while this process started
        if not started:
            self.start()
        taken = self._take(None)
        while taken is not None:
            done = self._work(*taken)
            self.runner.lease_ended()
            if self._process.wear.possible or self._isolation.after_input is not None:
                self._look_at_wear()
            taken = self._follow(done)

    def start(self) -> None:
        """What comes before the first lease. An exception is a start that failed, and no input's."""
        self._process.start()
        self.runner.begin()
        self._process.begin_to_wear()
        self._caches.tell()
        self._page.enter(SERVING, time.monotonic_ns())

    def end(self) -> None:
        """Runs the exit hooks, and removes what the executor keeps on disk."""
        self._page.enter(ENDING, time.monotonic_ns())
        self._process.end(recycled=self.worn_out)
        self.runner.end()

    def on_wake(self, signum: int = WAKE_SIGNAL, frame: object = None) -> None:
        """The handler of the supervisor's signal. Runs between two bytecodes of whatever this thread does."""
        if self._syncing:  # a second wake while the first one talks to the server
            self._missed_wake = True
            return
        request, run = self._page.request, self._run
        draining = self._page.draining and not self._draining
        if draining:
            self._draining = True
            self._link.hurry(_LAST_PATIENCE)  # a server that is gone must not keep the replica from leaving
            if self._waiting:
                self._waiting = False
                raise _Leave
        if run is None:
            self._watched.stop(request)
            return
        if draining or request == LATE:
            self._sync(run)
        elif request == TIMEOUT and run.armed and self._page.request_of == self._page.input:
            run.armed = False
            raise Stop(failure.TIMEOUT)
        elif request == MEMORY and run.armed and self._page.request_of == self._page.input:
            run.armed = False
            self._process.wear.stop_for_memory()
            self._page.stopping()
            raise Stop(failure.LOST)
        elif request in (CANCEL, FORGO) and self._page.request_of == self._page.lease:
            run.stopped, self._forgone = True, request == FORGO
            if run.armed:
                run.armed = False
                raise Stop(failure.CANCELLED)

    # -- taking --------------------------------------------------------------------------------------------------------

    def _take(self, done: Done | None, *, again: bool = False) -> Taken | None:
        """Commits what is done, and waits for a lease. None when this process is to end."""
        leaving = self.worn_out
        taken = self._next(done, again=again)
        while taken is None and not self._draining:
            taken = None if self.runner.rest() else self._wait_for_mail()
            if taken is None:
                self._caches.tell()
                self._look_at_wear()
                taken = self._next(None)
        if self.worn_out and not leaving:  # seen when the next lease was on its way: it must not run here
            self._exchange.leave()
            return None
        return taken

    def _follow(self, done: Done) -> Taken | None:
        """Commits what is done; returns what runs next, which may be here already."""
        taken = self._exchange.settle()
        self._usual_seconds = (self._usual_seconds + (time.monotonic_ns() - self._page.lease_since) / 1e9) / 2
        left: Done | None = done
        if taken is None or self._draining:
            taken, left = self._take(done, again=taken is not None), None
        if taken is not None:
            ahead = self._exchange.plenty and self.runner.looks_ahead and self._usual_seconds < _QUICK_SECONDS
            patience = 2 * self._usual_seconds + _PATIENCE_SECONDS if ahead else 0.0
            self._exchange.go_on(left, taken[0], patience)
            if self.worn_out:  # seen just now
                self._exchange.leave()
                return None
        return taken

    def _next(self, done: Done | None, *, again: bool = False) -> Taken | None:
        want = not (self._draining or (done is not None and self.runner.wants_rest))
        return self._exchange.next(done, want=want, again=again)

    def _wait_for_mail(self) -> Taken | None:
        """A lease from the mailbox, or None when it is time to ask."""
        try:
            self._waiting = True
            if self._draining:
                raise _Leave
            taken = self._exchange.mail(self.runner.read_mail)
            self._waiting = False
        except _Leave:
            self._exchange.drop()  # a mail may be on its way: the server finds that lease among our own
            return None
        return taken

    def _look_at_wear(self) -> None:
        """Leaves for a new process where this one has lived long enough."""
        inputs, self._inputs_done = self._inputs_done, 0
        if self._process.used_up(inputs):
            self._draining = self.worn_out = True

    # -- working -------------------------------------------------------------------------------------------------------

    def _work(self, member: bytes, payload: bytes | bytearray) -> Done:
        """Runs one lease and returns what to commit."""
        self._page.hold(member)
        self._untidy = True
        self._watched.cancelled = self._watched.forgone = False
        try:
            if len(member) > NAME_BYTES:
                raise PoolError(f"The id of a lease has {len(member)} characters, and may have {NAME_BYTES}.")
            prepared, packed = self._open(member, payload)
            run = self.runner.run_of(prepared, packed)
        except Exception as error:  # whatever bytes of anybody's make fail here, the replica lives on
            return member, self._maps.told(refused(payload, error, self._worker)), payload
        self._lease = member
        if self._maps.other_code:
            self._tell()
        self._exchange.keep = prepared.head.keep
        self._page.begin_lease(run.count, time.monotonic_ns(), prepared.head.timeout)
        self._run = run
        self._isolation.task = prepared.head.task
        run.relieve = partial(self._sync, run)
        run.stopped, self._forgone = self._watched.cancelled, self._watched.forgone
        try:
            if not run.stopped:
                run.run(self._process.event_loop)
        except Stop as stop:  # arrived in our own loop, between two inputs
            run.stopped = stop.kind == failure.CANCELLED
        if run.stopped and self._isolation.after_input is not None:
            run.restore()
        if run.spoilt is not None:
            self._spoilt(run)
        self._run = None
        self._page.end_lease()
        self._inputs_done += run.count
        flush_streams()  # before the results are sent: whoever has them may end this process
        if run.stopped:
            run.abandon(wished=not self._forgone)
        return member, self._maps.told(run.take(self._worker)), payload

    def _tell(self) -> None:
        """Tells the submitter what is different about the code, before the first input of its runs."""
        self._syncing = True
        nothing = Frame(start=0, count=0, busy=0.0, replica=self._worker, errors={}, outputs=codec.pack([]))
        told = self._maps.told(nothing)
        try:
            self._send_sync(told, None)
        except ActorqError as error:  # it goes with the results
            self._maps.other_code = told.other_code
            logger().warning("flush_failed", error=str(error))
        finally:
            self._syncing = False
        if self._missed_wake:
            self._missed_wake = False
            self.on_wake()

    def _tidy_up(self) -> None:
        """What is too slow for every input, and must not keep the results from being sent: once after every lease."""
        if not self._untidy:
            return
        self._untidy = False
        self._caches.tell()
        if self.worn_out or self._isolation.after_input is None:
            return
        try:
            self._isolation.after_lease()
        except Exception as error:  # an object of the task's that refuses to be put back
            logger().error("reset_failed", task=self._isolation.task, error=f"{type(error).__name__}: {error}")
            self._draining = self.worn_out = True

    def _spoilt(self, run: Run) -> None:
        """The state could not be restored after an input: nothing more may run in this process."""
        logger().error("reset_failed", task=run.prepared.head.task, error=run.spoilt)
        self._draining = self.worn_out = True
        self._sync(run)

    def _open(self, member: bytes, payload: bytes | bytearray) -> tuple[Prepared, memoryview]:
        """What runs a lease, and its inputs, packed."""
        if (last := self._maps.again(payload)) is not None:
            return last, memoryview(payload)[len(last.prefix) :]
        lease = member.rpartition(b":")[0].decode(errors="replace")
        head, packed = unseal(self._spec.environment, lease, payload)
        prepared = self.runner.prepare(head)
        self._maps.remember(prepared)
        return prepared, packed

    def _sync(self, run: Run) -> None:
        """In the middle of a lease: sends what is finished, hands back what has not begun."""
        self._syncing = True
        frame, mine = None, True
        try:
            end = run.cut()
            if end is not None or self._draining:
                self._exchange.forgo(self._lease)  # first: what this lease gives back is to run before that
            frame = run.take(self._worker) if run.pending_results else None
            answer = self._send_sync(frame, end)
            frame, mine = None, answer != GONE
            if answer == KEPT:
                run.uncut()
        except ActorqError as error:
            logger().warning("flush_failed", error=str(error))
        finally:
            if frame is not None:
                run.untake(frame)  # goes with the next one; the ledger knows what it has seen
            self._syncing = False
        if self._missed_wake:
            self._missed_wake = False
            self.on_wake()
        if not mine and run.armed:
            run.stopped = self._forgone = True
            run.armed = False
            raise Stop(failure.CANCELLED)

    def _send_sync(self, frame: Frame | None, end: int | None) -> int:
        """What sync.lua says."""
        if frame is None and end is None:
            return OURS
        part, stores = None, list[Store]()
        if frame is not None:
            lease = self._lease.rpartition(b":")[0].decode(errors="replace")
            parts = seal_results(self._spec.environment, lease, frame.parts())
            message, stores = blobs.send_results(parts, self._lease, frame.start, self._link, keep=self._exchange.keep)
            part = Part(frame.start, frame.start + frame.count, message)
        answer = sync(
            self._exchange.free_link(),
            self._spec.environment,
            self._lease,
            part=part,
            end=end,
            must=self._draining or self.worn_out or self._process.wear.stopped_for_memory,
            stores=stores,
            within=_FLUSH_PATIENCE,
        )
        if frame is not None:
            self._page.totals.add(frame.count, len(frame.errors), frame.busy, whole=False)
        return answer


def link_to(spec: ExecutorSpec) -> Link:
    """A connection to the server that waits for it, however long that takes."""
    deadline = deadlines.result(spec.lease_seconds)
    return Link(spec.url, patience=float("inf"), reply_timeout=deadline, stubborn=True, clears=True)
