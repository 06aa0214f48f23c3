"""The thread that keeps a map's window full.

                     consumer thread                          pump thread
                 for v in task.map(xs): …            offer ──▶ transport ──▶ Redis
                       │      ▲                        ▲           │
              take ────┘      └──── condition ◀── ledger ◀─ wait ──┘

The pump takes inputs, submits leases and books reports, so a slow consumer does not idle the replicas before the bound
on finished outputs is reached; the consumer unpacks what it takes. They share the ledger under one lock. Whatever ends
the map (last output, an error, a `break`, Ctrl-C, the end of the program), the pump is the one that tells Redis.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from actorq.base.tracing import MapSpan
from actorq.code.difference import tell
from actorq.declare.environment import function_of
from actorq.errors import ActorqError, MapTimeoutError, PoolError
from actorq.maps.ledger import Ledger
from actorq.maps.segment import Segment
from actorq.maps.transport import Transport
from actorq.wire.lease import HandedBack, Lives, Lost, Report, Results

#: pause between two heartbeats of a map, seconds; also bounds how late a lost replica is noticed beyond its lease
BEAT_SECONDS = 1.0
#: how long `close` waits for the server to be told, seconds. One that does not answer by then forgets the map by itself
_CLOSE_SECONDS = 2.0
#: how long frames may gather, seconds: a twentieth of the lease that the sizer aims at
_GATHER_SECONDS = 0.001


class Pump:
    """Runs one map. `take` is called by the consumer; `close` ends the map early.

    Args:
        ledger: the map's books.
        transport: where leases go; the pump finishes it.
        deliver: called in the pump's thread for every finished segment, instead of `take`.
        on_end: called once, in the pump's thread, when the map is over and its traces are gone.
        elapsed: seconds of its timeout that have passed already: another driver had it before.
    """

    def __init__(
        self,
        ledger: Ledger,
        transport: Transport,
        *,
        deliver: Callable[[Segment], None] | None = None,
        on_end: Callable[[Exception | None], None] | None = None,
        elapsed: float = 0.0,
    ) -> None:
        self.ledger = ledger
        #: what OpenTelemetry is told of it, where the program uses that
        self.span: MapSpan | None = None
        self._transport = transport
        self._deliver = deliver
        self._on_end = on_end
        self._condition = threading.Condition()
        self._closed = False
        self._close_by: float | None = None
        self._over = False
        self._early: Exception | None = None  # raised by the first offer
        self._pid = os.getpid()
        self._listener: Callable[[], None] | None = None
        self._by_name = ledger.options.affinity is not None
        timeout = ledger.options.timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout - elapsed
        # a daemon: a map nobody closed must not keep the program alive; the runtime ends it properly at exit
        self._thread = threading.Thread(target=self._run, name=f"actorq-{ledger.map_id}", daemon=True)

    def start(self) -> None:
        """Offers the first leases, where that takes no time, and starts the thread that does the rest.

        A thread takes longer to start than a replica takes for a few tiny inputs.
        """
        try:
            if self._transport.prompt:
                self._offer(time.monotonic())
        except Exception as error:  # the consumer raises it, as any later one
            self._early = error
        except BaseException:  # Ctrl-C: the thread removes what is on the server already
            self._closed = True
            raise
        finally:
            self._thread.start()

    def take(self) -> Segment | None:
        """The next finished segment; waits for it. None after the last one. Raises what ended the map."""
        self._refuse_fork()
        with self._condition:
            while (segment := self._poll()) is None and not self._over:
                self._condition.wait()
        return segment

    def poll(self) -> tuple[Segment | None, bool]:
        """The next finished segment if it is there, and whether the map is over. Never waits; see `listen`."""
        self._refuse_fork()
        with self._condition:
            return self._poll(), self._over

    def listen(self, callback: Callable[[], None]) -> None:
        """Calls `callback`, in the pump's thread, whenever `poll` may find something new."""
        with self._condition:
            self._listener = callback

    def _poll(self) -> Segment | None:
        if self.ledger.fatal is not None:
            raise self.ledger.fatal
        consumed = self.ledger.consumed
        segment = self.ledger.take()
        if self.ledger.held_back and (segment is not None or self.ledger.consumed != consumed):
            self._transport.wake()  # there is room for more
        if segment is None and self._over:
            if not self.ledger.finished:
                raise PoolError("The map was closed before it was finished.")
            ending = self.ledger.ending()
            if ending is not None:
                raise ending
        return segment

    def _tell(self) -> None:
        """Wakes the consumer. Called with the lock held."""
        self._condition.notify_all()
        if self._listener is not None:
            self._listener()

    def _tell_of_code(self, packed: bytes) -> None:
        """A replica has other code of the task."""
        task = self.ledger.options.head.task
        tell(task, function_of(self.ledger.options.environment, task), packed)

    def close(self) -> None:
        """Ends the map now and waits until nothing of it is left, or the server has not answered for two seconds.

        Who interrupts the wait does not wait at all, also when it is called again. In a fork of its program it does
        nothing: the map goes on where it was started.
        """
        if self._is_fork:
            return
        self.hurry()
        assert self._close_by is not None
        if threading.current_thread() is not self._thread:
            try:
                self._thread.join(max(0.0, self._close_by - time.monotonic()))
            except BaseException:
                self._close_by = 0.0
                raise

    def hurry(self) -> None:
        """Has the map end, and does not wait for it; `close` does."""
        with self._condition:
            self._closed = True
            if self._close_by is None:
                self._close_by = time.monotonic() + _CLOSE_SECONDS
        self._transport.hurry()
        self._transport.wake()

    def join(self) -> None:
        """Waits until the map is over."""
        self._thread.join()

    @property
    def _is_fork(self) -> bool:
        """Whether this process is a fork of the one in which the map runs.

        No thread keeps the map here, and its locks may be held for good.
        """
        return os.getpid() != self._pid

    def _refuse_fork(self) -> None:
        if self._is_fork:
            raise PoolError(
                f"Map {self.ledger.map_id} runs in process {self._pid}, of which this one ({os.getpid()}) is a fork: "
                "take the outputs there, or start a map of its own here."
            )

    @property
    def busy(self) -> int:
        """How many replicas have something to run, as far as it is known here."""
        return min(len(self.ledger.outstanding), self._transport.replicas)

    @property
    def runs(self) -> bool:
        return not self._over

    def nudge(self) -> None:
        """New inputs have come, or there is room for more."""
        self._transport.wake()

    # -- the pump's thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._loop()
        except Exception as caught:  # the boundary of the thread: the consumer raises it
            error = caught
        except BaseException as caught:  # nothing may end the thread without its consumer being told
            error = PoolError(f"The map was ended by {type(caught).__name__}: {caught}")
        with self._condition:
            if error is not None:
                self.ledger.fail(error)
            outstanding = list(self.ledger.outstanding.values())
            self.ledger.close()
        self._transport.hurry()
        try:
            self._transport.finish(outstanding)
        except ActorqError as caught:
            error = error or caught  # the server is gone: its keys expire by themselves
        finally:
            if self.span is not None:
                counters = self.ledger.counters
                self.span.end(error or self.ledger.fatal, counters.succeeded + counters.failed, counters.failed)
            with self._condition:
                self._over = True
                self._tell()
            if self._on_end is not None:
                self._on_end(error or self.ledger.fatal)

    def _loop(self) -> None:
        if self._early is not None:
            raise self._early
        next_beat = time.monotonic() + BEAT_SECONDS
        while True:
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                raise MapTimeoutError(f"The map did not finish within {self.ledger.options.timeout} s.")
            with self._condition:
                given_up, self.ledger.given_up = self.ledger.given_up, []
                over = self._closed or self._finished()
            if given_up:
                self._transport.record(given_up)
            if over:
                return
            if not self._offer(now) and self._finished():  # the source has just said that there is no more
                continue
            if self._by_name:
                self._recall(now)
            # Read first, then ask what vanished: a lease whose result waits to be read is not lost.
            self._book(self._transport.wait(self._pause(next_beat), expecting=bool(self.ledger.outstanding)))
            self._gather()
            if time.monotonic() >= next_beat:
                outstanding = list(self.ledger.outstanding.values())
                self._book(self._transport.beat(outstanding, self.ledger.counters, self.ledger.share))
                next_beat = time.monotonic() + BEAT_SECONDS

    def _finished(self) -> bool:
        return self.ledger.finished

    def _gather(self) -> None:
        """Lets a few frames come together while every replica has a lease that runs, one behind it and one that waits.

        When many replicas finish at once, a pump that wakes for each of them takes the processor from them.
        """
        if not self.ledger.partial and len(self.ledger.outstanding) > 3 * self._transport.replicas:
            time.sleep(_GATHER_SECONDS)

    def _offer(self, now: float) -> bool:
        """Submits what should be under way; False when there was nothing to submit."""
        names = self._transport.names() if self._by_name else ()
        with self._condition:
            beside = len(self.ledger.outstanding)
            leases = self.ledger.offer(self._transport.replicas, now, names)
        if not leases:
            return False
        accepted = self._transport.offer(leases, beside=beside, share=self.ledger.share)
        if accepted < len(leases):
            with self._condition:
                for lease in leases[accepted:]:
                    self.ledger.withdraw(lease)
        return True

    def _recall(self, now: float) -> None:
        """Takes back what waits for a replica that is gone or stuck; it is offered again at once."""
        with self._condition:
            recalls = self.ledger.recalls(now)
        if not recalls:
            return
        taken = self._transport.recall(recalls)
        with self._condition:
            for lease in taken:
                self.ledger.withdraw(lease)
        if taken:
            self._transport.wake()

    def _pause(self, next_beat: float) -> float:
        """Seconds to wait for results, at most."""
        if self.ledger.partial:
            return 0.0
        until = next_beat
        retry = self.ledger.next_retry()
        if retry is not None:
            until = min(until, retry)
        if self._deadline is not None:
            until = min(until, self._deadline)
        return max(until - time.monotonic(), 0.0)

    def _book(self, reports: list[Report]) -> None:
        if not reports:
            return
        now = time.monotonic()
        with self._condition:
            for report in reports:
                self._enter(report, now)
            if self._deliver is None:
                if self.ledger.waiting or self.ledger.fatal is not None:
                    self._tell()
                return
            segments = []
            while (segment := self.ledger.take()) is not None:
                segments.append(segment)
        for segment in segments:
            self._deliver(segment)

    def _enter(self, report: Report, now: float) -> None:
        """Has the ledger know of a report."""
        match report:
            case Results():
                if report.frame.other_code:
                    self._tell_of_code(report.frame.other_code)
                self.ledger.results(report.lease, report.frame, now)
            case HandedBack():
                self.ledger.handed_back(report.lease, report.end)
            case Lost():
                args = (report.lease, report.reason, report.position, report.replica, now)
                self.ledger.lost(*args, damaged=report.damaged)
            case Lives():
                self.ledger.lives(report.lease)
