"""The submitter's books: which inputs are where, and what is owed to the consumer.

The one idea: *the submitter alone owns a map*. Replicas and Redis only report what happened to a lease (results, handed
back, lost), and every decision is taken here: what runs next, what runs again, what has failed for good. Nothing here
does I/O or knows the time of day, so every order of events can be tested.

      source ──draw──▶ lease ──offer──▶ outstanding ──results──▶ finished segments ──take──▶ consumer
                         ▲                  │                          (ordered by index, or as they come)
                         └── again ◀────────┘ failed (retry), handed back, lost

Each submission of inputs is a new lease with its own id. A frame of a lease that is no longer outstanding is late, from
a replica that was given up: it is dropped and counted. So at most one result is accepted for an index.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actorq.base.names import new_id
from actorq.base.settings import settings
from actorq.declare.map_options import BUFFERED_WINDOWS, MAX_BUFFERED_BYTES, MapOptions
from actorq.errors import MapFailedError
from actorq.maps.segment import Segment, damage, rest_of
from actorq.maps.share import Share
from actorq.maps.sizing import LeaseSizer
from actorq.maps.sources import Source
from actorq.maps.verdict import Final, Verdict, Verdicts
from actorq.wire import codec, failure
from actorq.wire.lease import NONE_RAN, Counters, GivenUp, Lease, ending
from actorq.wire.messages import Frame

#: a lease whose replica vanished without saying at which input is split into this many, again and again, until the
#: input that kills is alone
_SPLIT = 16
#: leases in flight per replica: one that runs, one that is claimed ahead, and two that wait. One is claimed only while
#: every other replica has one that waits, too: none is kept that somebody else may have to do without. All replicas may
#: claim before the pump runs again (it may wait for the interpreter's lock, 5 ms: a lease of tiny inputs)
LEASES_PER_REPLICA = 4
#: exceptions kept for `failures`
_KEPT_FAILURES = 10_000


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """Inputs to lease once more."""

    indexes: Sequence[int]
    inputs: bytes


class Ledger:
    """The state of one map. Not thread-safe: its owner holds a lock.

    Args:
        map_id: name of the map.
        source: the inputs.
        options: what to do.
    """

    #: outputs are taken apart when they come
    _splits = False

    def __init__(self, map_id: str, source: Source, options: MapOptions) -> None:
        self.map_id = map_id
        #: tells this map from another one of the same id, also in the ids of its leases
        self.owner = new_id()[:6]
        self.options = options
        self.counters = Counters(total=source.total)
        self.outstanding: dict[str, Lease] = {}
        self.failures: list[Exception] = []
        #: ends the map at once: the consumer raises it before any further output
        self.fatal: Exception | None = None
        #: what the map had of the replicas' time
        self.share = Share(options.priority)
        self._source = source
        self._sizer = LeaseSizer()
        self._serial = 0
        self._drawn = 0  # inputs drawn: index of the next new one
        self._taken = 0  # outputs handed to the consumer
        #: outputs the consumer is done with: all it took before its last segment
        self.consumed = 0
        #: more would have been offered, had the consumer taken more outputs
        self.held_back = False
        self.given_up: list[GivenUp] = []  # for the transport to record
        self._again: list[tuple[float, int, _Waiting]] = []  # heap: not before, lo, what
        self._verdicts = Verdicts(options.rules)
        self._suspects: deque[_Waiting] = deque()  # ran in a process with others when it died: tried alone
        self._suspected = ""  # the lease of the one that is tried
        self._finished: dict[int, Segment] = {}  # ordered: lo -> segment
        self._arrived: deque[Segment] = deque()  # unordered
        self._buffered = 0  # bytes in finished segments
        self._stop_at: int | None = None  # a failed index after which nothing more is wanted

    # -- offering ------------------------------------------------------------------------------------------------------

    def offer(self, replicas: int, now: float, names: Sequence[str] = ()) -> list[Lease]:
        """Leases to submit now: what keeps `replicas` busy, within the bounds on what is finished and not taken.

        `names`: of the replicas, where it matters which one runs what.
        """
        if self.options.concurrency is not None:
            replicas = min(replicas, self.options.concurrency)
        per_replica = LEASES_PER_REPLICA if self.options.concurrency is None else 1
        window = self.options.window or max(replicas, 1) * per_replica
        due = not (self.options.in_batches and self.outstanding)
        self.held_back = False
        leases: list[Lease] = []
        while len(self.outstanding) < window:
            lease = self._next_suspect() or self._next_again(now) or (self._next_new(window, replicas) if due else None)
            if lease is None:
                break
            self.outstanding[lease.id] = lease
            leases.append(lease)
        return leases

    def withdraw(self, lease: Lease) -> None:
        """`lease` could not be submitted: its inputs are offered again."""
        self._remove(lease)
        self._lease_again(lease.indexes, lease.inputs, 0.0)

    def recalls(self, now: float) -> list[Lease]:
        """Leases that should be taken back if they have not begun; those that could be are withdrawn."""
        return []

    def next_retry(self) -> float | None:
        """When the next waiting retry may run, None when none waits."""
        return self._again[0][0] if self._again else None

    @property
    def finished(self) -> bool:
        """Every input has its result, or nothing more is wanted."""
        if self.fatal is not None:
            return True
        if self.outstanding or self._wanted_again():
            return False
        return self._source.exhausted or self._stop_at is not None

    def close(self) -> None:
        """No input will be drawn any more."""
        self._source.close()

    def _next_suspect(self) -> Lease | None:
        """An input that may have killed its process: one at a time, since each has a process to itself."""
        while self._suspects and self._suspected not in self.outstanding:
            again = self._suspects.popleft()
            if self._stop_at is None or again.indexes[0] < self._stop_at:
                lease = self._lease(again.indexes, again.inputs, front=True, alone=True)
                self._suspected = lease.id
                return lease
        return None

    def _next_again(self, now: float, replica: str = "") -> Lease | None:
        while self._again and self._again[0][0] <= now:
            _, lo, again = heapq.heappop(self._again)
            if self._stop_at is None or lo < self._stop_at:
                return self._lease(again.indexes, again.inputs, front=True, replica=replica)
        return None

    def _next_new(self, window: int, replicas: int) -> Lease | None:
        if self._source.exhausted or self._stop_at is not None:
            return None
        total = self._source.total
        remaining = None if total is None else total - self._drawn
        count = 1 if self.options.single else self._sizer.size(remaining, replicas)
        room = self._room(window, count)
        self.held_back = room < count
        count = min(count, room)
        if count <= 0:
            return None
        values = self._source.draw(count, min(count * replicas, room - count))
        if not values:
            return None
        lo = self._drawn
        return self._lease(range(lo, lo + len(values)), self._packed(values), front=False)

    def _packed(self, values: Sequence[Any]) -> bytes:
        """The inputs that were just drawn, packed."""
        lo = self._drawn
        if self._source.packed:
            inputs = codec.join_list(values)
        else:
            inputs = codec.pack_list(
                values, settings().max_payload_bytes, lambda i: f"Input {lo + i} of {self.options.head.task}"
            )
        self._drawn += len(values)
        self.counters.submitted = self._drawn
        self._sizer.packed(len(values), len(inputs))
        return inputs

    def _room(self, window: int, count: int) -> int:
        """How many more inputs may be drawn before the consumer takes outputs."""
        ahead = self._drawn - self.consumed
        if self.options.max_outstanding is not None:
            return self.options.max_outstanding - ahead
        if self._buffered >= MAX_BUFFERED_BYTES:
            return 0
        return window * BUFFERED_WINDOWS * max(count, 1) - ahead

    def _lease(
        self,
        indexes: Sequence[int],
        inputs: bytes,
        *,
        front: bool,
        replica: str = "",
        cold: int = 0,
        alone: bool = False,
    ) -> Lease:
        if len(inputs) > settings().max_payload_bytes and len(indexes) > 1:  # more than a replica takes at once
            half = len(indexes) // 2
            first, rest = codec.cut_list(inputs, half)
            self._lease_again(indexes[half:], rest, 0.0)
            return self._lease(indexes[:half], first, front=front, replica=replica, cold=cold)
        self._serial += 1
        self.counters.leases += 1
        return Lease(
            serial=self._serial,
            id=f"{self.map_id}-{self.owner}-{ending(self._serial, indexes, replica)}",
            indexes=indexes,
            inputs=inputs,
            front=front,
            last_try=self._verdicts.is_last_try(indexes[0]),
            replica=replica,
            cold=cold,
            alone=alone,
        )

    def _remove(self, lease: Lease) -> None:
        """Nothing is expected of `lease` any more."""
        del self.outstanding[lease.id]

    def _wanted_again(self) -> bool:
        waiting = [lo for _, lo, _ in self._again] + [again.indexes[0] for again in self._suspects]
        return any(self._stop_at is None or lo < self._stop_at for lo in waiting)

    # -- reports -------------------------------------------------------------------------------------------------------

    def results(self, lease_id: str, frame: Frame, now: float) -> None:
        """A frame of results came for a lease."""
        if not frame.count:  # it had only something to say
            return
        lease = self.outstanding.get(lease_id)
        if lease is None or frame.start + frame.count < lease.done:
            self.counters.late += frame.count
            return
        if (problem := damage(lease, frame, splits=self._splits)) is not None:
            self.lost(lease_id, f"The frame of {frame.replica} {problem}.", None, frame.replica, now, damaged=True)
            return
        if frame.start < lease.done:  # a frame sent twice because its first reply was lost
            frame = rest_of(frame, lease.done - frame.start)
        lease.done = frame.start + frame.count
        if lease.done == lease.count:
            self._remove(lease)
        self._measure(lease, frame)
        self.share.observe(frame.busy)
        self.counters.busy_seconds += frame.busy
        indexes = lease.indexes[frame.start : lease.done]
        if frame.errors:
            self._with_errors(lease, indexes, frame, now)
        else:
            self.counters.succeeded += frame.count
            self._accept(indexes, frame.outputs, frame.replica)
        self._judge()

    def handed_back(self, lease_id: str, end: int) -> None:
        """The replica will not run the inputs of a lease from position `end` on; it keeps those before."""
        lease = self.outstanding.get(lease_id)
        if lease is None or not lease.done <= end < lease.count:
            return
        self._sizer.late()
        self.counters.recovered += lease.count - end
        lease.inputs, rest = codec.cut_list(lease.inputs, end)
        self._return(lease.indexes[end:], codec.split_list(rest))
        lease.indexes = lease.indexes[:end]
        if lease.done >= end:
            self._remove(lease)

    def lost(
        self, lease_id: str, reason: str, position: int | None, replica: str, now: float, *, damaged: bool = False
    ) -> None:
        """The replica of a lease died, in the input at `position` if that is known, or sent `damaged` results.

        Only what has no result runs again. The input that was running is charged with the death; where nobody knows
        which it was, the lease is split until it is alone.
        """
        lease = self.outstanding.get(lease_id)
        if lease is None:
            return
        self._remove(lease)
        parts, left = codec.split_list(lease.inputs)[lease.done :], lease.indexes[lease.done :]
        self.counters.recovered += len(parts)
        if position == NONE_RAN:
            self._return(left, parts)
            return
        if not damaged:
            self.share.died()
        if len(parts) == 1:
            position = lease.done  # there is no other it could have been
        if position is None or not lease.done <= position < lease.count:
            step = -(-len(parts) // _SPLIT)
            for i in range(0, len(parts), step):
                self._lease_again(left[i : i + step], codec.join_list(parts[i : i + step]), 0.0)
            return
        at = position - lease.done
        for begin, end in ((0, at), (at + 1, len(parts))):
            if begin < end:
                self._return(left[begin:end], parts[begin:end])
        victim = GivenUp(
            index=left[at], lease=lease_id, input=parts[at], reason=reason, replica=replica, damaged=damaged
        )
        verdict = self._verdicts.ended(victim.index, lease_id, reason, alone=lease.alone, damaged=damaged)
        self._follow(verdict, victim.index, victim.input, replica, now)
        if isinstance(verdict, Final):
            self.given_up.append(victim)
        self._judge()

    def lives(self, lease_id: str) -> None:
        """The replica of a lapsed lease lives: the input that was charged with its death is not to blame."""
        self._verdicts.lives(lease_id)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _with_errors(self, lease: Lease, indexes: Sequence[int], frame: Frame, now: float) -> None:
        """Cuts a frame at the inputs that failed: each is tried again, or its place holds the exception."""
        inputs = codec.split_list(lease.inputs)
        outputs = codec.split_list(bytes(frame.outputs))
        start = 0
        for at in sorted(frame.errors):
            if not 0 <= at < frame.count:
                continue
            self._succeeded(indexes[start:at], outputs[start:at], frame.replica)
            verdict = self._verdicts.raised(indexes[at], frame.errors[at])
            self._follow(verdict, indexes[at], inputs[frame.start + at], frame.replica, now)
            start = at + 1
        self._succeeded(indexes[start:], outputs[start:], frame.replica)

    def _succeeded(self, indexes: Sequence[int], outputs: list[bytes], replica: str) -> None:
        if outputs:
            self.counters.succeeded += len(outputs)
            self._accept(indexes, codec.join_list(outputs), replica)

    def _follow(self, verdict: Verdict, index: int, part: bytes, replica: str, now: float) -> None:
        """Does with an input that failed what was decided."""
        if isinstance(verdict, Final):
            self._give_up(index, verdict, replica)
            return
        self.counters.retried += verdict.retried
        indexes, inputs = range(index, index + 1), codec.join_list([part])
        if verdict.alone:
            self._suspects.append(_Waiting(indexes=indexes, inputs=inputs))
        else:
            self._lease_again(indexes, inputs, now + verdict.delay)

    def _give_up(self, index: int, verdict: Final, replica: str) -> None:
        error = failure.rebuild(verdict.data, index=index, attempt=verdict.attempt, replica=replica)
        self.counters.failed += 1
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(error)
        if not self.options.tolerant:
            self._stop_at = index if self._stop_at is None else min(self._stop_at, index)
        self._finish(Segment(lo=index, count=1, outputs=b"\x91\xc0", errors={0: error}))

    def _judge(self) -> None:
        """Ends the map as soon as it cannot succeed any more."""
        options, counters = self.options, self.counters
        if self.fatal is not None or not options.tolerant:
            return
        problem = None
        if options.max_failures is not None and counters.failed > options.max_failures:
            problem = f"{counters.failed} inputs failed; max_failures={options.max_failures}"
        total = self._source.total
        if total is None and self._source.exhausted and self._source.error is None:
            total = self._drawn
        if total is not None:
            possible = total - counters.failed
            if possible < options.min_success_ratio * total - 1e-6 and options.min_success_ratio < 1:
                problem = f"{counters.failed} of {total} inputs failed; min_success_ratio={options.min_success_ratio}"
            if options.min_successes is not None and possible < options.min_successes:
                problem = f"{counters.failed} of {total} inputs failed; min_successes={options.min_successes}"
        if problem is not None:
            first = f" First: {self.failures[0]!r}" if self.failures else ""
            self.fatal = MapFailedError(f"{problem}.{first}", tuple(self.failures))

    # -- the consumer's side -------------------------------------------------------------------------------------------

    def take(self) -> Segment | None:
        """The next finished segment, in index order unless the map is unordered; None when it is not there yet."""
        if self.options.ordered:
            segment = self._finished.pop(self._taken, None)
        else:
            segment = self._arrived.popleft() if self._arrived else None
        self.consumed = self._taken
        if segment is not None:
            self._taken += segment.count
            self._buffered -= len(segment.outputs)
        return segment

    @property
    def waiting(self) -> bool:
        """Whether `take` would return a segment."""
        return self._taken in self._finished if self.options.ordered else bool(self._arrived)

    def ending(self) -> BaseException | None:
        """What to raise after the last output: the error of the user's own iterator, or nothing."""
        if self._source.error is not None:
            return self._source.error
        self._judge()
        return self.fatal

    def fail(self, error: Exception) -> None:
        """Ends the map with `error`."""
        if self.fatal is None:
            self.fatal = error

    def _measure(self, lease: Lease, frame: Frame) -> None:
        self._sizer.observe(frame.count, frame.busy, len(frame.outputs))

    def _accept(self, indexes: Sequence[int], outputs: bytes | bytearray | memoryview, replica: str) -> None:
        """The outputs of inputs that succeeded."""
        self._finish(Segment(lo=indexes[0], count=len(indexes), outputs=outputs, errors={}, replica=replica))

    def _finish(self, segment: Segment) -> None:
        self._buffered += len(segment.outputs)
        self._verdicts.close(range(segment.lo, segment.lo + segment.count))
        if self.options.ordered:
            self._finished[segment.lo] = segment
        else:
            self._arrived.append(segment)

    def _return(self, indexes: Sequence[int], parts: list[bytes]) -> None:
        """Inputs that a replica did not run."""
        self._lease_again(indexes, codec.join_list(parts), 0.0)

    def _lease_again(self, indexes: Sequence[int], inputs: bytes, not_before: float) -> None:
        first = indexes[0] if isinstance(indexes, range) else min(indexes)
        heapq.heappush(self._again, (not_before, first, _Waiting(indexes=indexes, inputs=inputs)))
