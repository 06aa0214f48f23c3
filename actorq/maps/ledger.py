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

from collections.abc import Callable, Sequence

from actorq.declare.map_options import MapOptions
from actorq.errors import MapFailedError
from actorq.maps.by_key import ByKey
from actorq.maps.drawing import Drawing
from actorq.maps.leases import Leases, unknown_inputs
from actorq.maps.ordering import ByIndex
from actorq.maps.outputs import Outputs
from actorq.maps.segment import Segment, damage, rest_of
from actorq.maps.share import Share
from actorq.maps.sizing import LeaseSizer
from actorq.maps.sources import Source
from actorq.maps.verdict import Final, Verdict, Verdicts
from actorq.wire import codec, failure
from actorq.wire.lease import NONE_RAN, Counters, GivenUp, Lease
from actorq.wire.messages import Frame

#: a lease whose replica vanished without saying at which input is split into this many, again and again, until the
#: input that kills is alone
_SPLIT = 16
#: exceptions kept for `failures`
_KEPT_FAILURES = 10_000


class Ledger:
    """The state of one map. Not thread-safe: its owner holds a lock.

    Args:
        map_id: name of the map.
        source: the inputs.
        options: what to do.
        sizer: says how many inputs a lease has; None: a new one.
    """

    def __init__(self, map_id: str, source: Source, options: MapOptions, sizer: LeaseSizer | None = None) -> None:
        self.map_id = map_id
        self.options = options
        self.counters = Counters(total=source.total)
        self.failures: list[Exception] = []
        #: ends the map at once: the consumer raises it before any further output
        self.fatal: Exception | None = None
        #: what the map had of the replicas' time
        self.share = Share(options.priority)
        self.given_up: list[GivenUp] = []  # for the transport to record
        #: the inputs that have failed for good
        self.failed: list[int] = []
        #: these inputs, packed, for who keeps them; None: nobody does
        self.failed_inputs: list[tuple[int, bytes]] | None = None
        #: the journal that is folded tells, further on, that its run was opened once more: what fails until then is
        #: deferred, and runs again with `reopen`
        self.will_reopen = False
        self._deferred: list[int] = []
        self._source = source
        self._outputs = Outputs(ordered=options.ordered)
        self._drawing = Drawing(source, options, self._outputs, self.counters, sizer or LeaseSizer())
        self._verdicts = Verdicts(options.rules)
        self._leases = Leases(map_id, self.counters, self._verdicts)
        self._ordering = (
            ByIndex(options, self._drawing, self._leases)
            if options.affinity is None
            else ByKey(options, self._drawing, self._leases, self._outputs, self._verdicts)
        )

    @property
    def owner(self) -> str:
        """Tells this map from another one of the same id, also in the ids of its leases."""
        return self._leases.owner

    @property
    def outstanding(self) -> dict[str, Lease]:
        """The leases for which results are to come, by their ids."""
        return self._leases.outstanding

    # -- offering ------------------------------------------------------------------------------------------------------

    def offer(self, replicas: int, now: float, names: Sequence[str] = ()) -> list[Lease]:
        """Leases to submit now: what keeps `replicas` busy, within the bounds on what is finished and not taken.

        `names`: of the replicas, where it matters which one runs what.
        """
        return self._ordering.offer(replicas, now, names)

    def withdraw(self, lease: Lease) -> None:
        """`lease` could not be submitted: its inputs are offered again."""
        self._remove(lease)
        self._ordering.partial = False  # the server took no more: wait for results before offering again
        self._ordering.returned(lease.indexes[lease.done :], codec.split_list(lease.inputs)[lease.done :])

    def recalls(self, now: float) -> list[Lease]:
        """Leases that should be taken back if they have not begun; those that could be are withdrawn."""
        return self._ordering.recalls(now)

    def next_retry(self) -> float | None:
        """When the next waiting retry may run, None when none waits."""
        return self._leases.next_retry

    @property
    def held_back(self) -> bool:
        """More would have been offered, had the consumer taken more outputs."""
        return self._drawing.held_back

    @property
    def partial(self) -> bool:
        """The last offer stopped because its inputs are large; the next one goes on without waiting."""
        return self._ordering.partial

    @property
    def finished(self) -> bool:
        """Every input has its result, or nothing more is wanted."""
        if self.fatal is not None:
            return True
        if self.outstanding or self._leases.any_again or self._ordering.has_more:
            return False
        return self._source.exhausted or self._leases.stop_at is not None

    @property
    def complete(self) -> bool:
        """Every input has its result, or has failed."""
        return self.finished and self.fatal is None and self._leases.stop_at is None

    def close(self) -> None:
        """No input will be drawn any more."""
        self._source.close()

    def _remove(self, lease: Lease) -> None:
        """Nothing is expected of `lease` any more."""
        del self.outstanding[lease.id]
        self._ordering.removed(lease)

    # -- a driver takes over -------------------------------------------------------------------------------------------

    def opened(self, lease_id: str, count: int, *, alone: bool) -> None:
        """The driver before this one has offered a lease of `count` inputs; what becomes of it is booked as ever.

        Raises `ValueError` for a lease whose id does not tell its inputs.
        """
        self._leases.adopt(lease_id, count, alone=alone)
        self._drawing.count = max(self._drawing.count, self.outstanding[lease_id].indexes[-1] + 1)
        self.counters.submitted = self._drawing.count
        self.counters.leases += 1

    def reopen(self) -> None:
        """Whoever had driven it has ended it, and now it goes on: what was out, and what has failed, runs again."""
        for lease in list(self.outstanding.values()):
            self._remove(lease)
            self._ordering.returned(lease.indexes[lease.done :], codec.split_list(lease.inputs)[lease.done :])
        for index in self._deferred:
            self._leases.lease_again(range(index, index + 1), unknown_inputs(1), 0.0)
        self._deferred.clear()

    def fill(self, inputs_of: Callable[[Sequence[int]], list[bytes]]) -> None:
        """Fills in the inputs of all that may run again; `inputs_of` tells those of indexes, packed each."""
        self._leases.fill(inputs_of)

    @property
    def needed_from(self) -> int:
        """The lowest index whose input may still be needed."""
        return self._leases.lowest(self._drawing.count)

    @property
    def drawn(self) -> int:
        """The index of the next input to be drawn."""
        return self._drawing.count

    # -- reports -------------------------------------------------------------------------------------------------------

    def results(self, lease_id: str, frame: Frame, now: float) -> None:
        """A frame of results came for a lease."""
        if not frame.count:  # it had only something to say
            return
        lease = self.outstanding.get(lease_id)
        if lease is None or frame.start + frame.count <= lease.done:
            self.counters.late += frame.count
            return
        if (problem := damage(lease, frame, splits=self._ordering.splits)) is not None:
            self.lost(lease_id, f"The frame of {frame.replica} {problem}.", None, frame.replica, now, damaged=True)
            return
        self._ordering.arrived(lease, frame, now)
        if frame.start < lease.done:  # a frame sent twice because its first reply was lost
            frame = rest_of(frame, lease.done - frame.start)
        lease.done = frame.start + frame.count
        if lease.done == lease.count:
            self._remove(lease)
        self._ordering.measure(lease, frame)
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
        self._ordering.cut(lease, end)
        self._drawing.sizer.late()
        self.counters.recovered += lease.count - end
        lease.inputs, rest = codec.cut_list(lease.inputs, end)
        self._ordering.returned(lease.indexes[end:], codec.split_list(rest))
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
        if position != NONE_RAN and not damaged:
            self._ordering.died(replica)
        lease = self.outstanding.get(lease_id)
        if lease is None:
            return
        self._remove(lease)
        parts, left = codec.split_list(lease.inputs)[lease.done :], lease.indexes[lease.done :]
        self.counters.recovered += len(parts)
        if position == NONE_RAN:
            self._ordering.returned(left, parts)
            return
        if not damaged:
            self.share.died()
        if len(parts) == 1:
            position = lease.done  # there is no other it could have been
        if position is None or not lease.done <= position < lease.count:
            self._split_up(left, parts)
            return
        at = position - lease.done
        for begin, end in ((0, at), (at + 1, len(parts))):
            if begin < end:
                self._ordering.returned(left[begin:end], parts[begin:end])
        victim = GivenUp(
            index=left[at], lease=lease_id, input=parts[at], reason=reason, replica=replica, damaged=damaged
        )
        verdict = self._verdicts.ended(victim.index, lease_id, reason, alone=lease.alone, damaged=damaged)
        self._follow(verdict, victim.index, victim.input, replica, now)
        if isinstance(verdict, Final):
            self.given_up.append(victim)
        self._judge()

    def _split_up(self, indexes: Sequence[int], parts: list[bytes]) -> None:
        """Nobody knows which of these inputs has killed its replica."""
        step = -(-len(parts) // _SPLIT)
        for i in range(0, len(parts), step):
            self._leases.lease_again(indexes[i : i + step], codec.join_list(parts[i : i + step]), 0.0)

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
            verdict = self._verdicts.raised(indexes[at], frame.errors[at], alone=lease.alone)
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
            if self.failed_inputs is not None:
                self.failed_inputs.append((index, part))
            if self.will_reopen:
                self._verdicts.close(range(index, index + 1))
                self._deferred.append(index)
            else:
                self._give_up(index, verdict, replica)
            return
        self.counters.retried += verdict.retried
        inputs = codec.join_list([part])
        if verdict.alone:
            self._leases.try_alone(index, inputs)
        else:
            self._leases.lease_again(range(index, index + 1), inputs, now + verdict.delay)

    def _give_up(self, index: int, verdict: Final, replica: str) -> None:
        error = failure.rebuild(verdict.data, index=index, attempt=verdict.attempt, replica=replica)
        self.counters.failed += 1
        self.failed.append(index)
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(error)
        if not self.options.tolerant:
            self._leases.stop_after(index)
        self._verdicts.close(range(index, index + 1))
        self._outputs.put(Segment(lo=index, count=1, outputs=b"\x91\xc0", errors={0: error}))
        self._ordering.done((index,))
        if self._leases.stop_at is not None:
            self._ordering.stopped()

    def _judge(self) -> None:
        """Ends the map as soon as it cannot succeed any more."""
        options, counters = self.options, self.counters
        if self.fatal is not None or not options.tolerant:
            return
        problem = None
        if options.max_failures is not None and counters.failed > options.max_failures:
            problem = f"{counters.failed} inputs failed; max_failures={options.max_failures}"
        total = self._drawing.total
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

    @property
    def consumed(self) -> int:
        """Outputs that the consumer is done with: all it took before its last segment."""
        return self._outputs.consumed

    def take(self) -> Segment | None:
        """The next finished segment, in index order unless the map is unordered; None when it is not there yet."""
        return self._outputs.take()

    @property
    def waiting(self) -> bool:
        """Whether `take` would return a segment."""
        return self._outputs.waiting

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

    def _accept(self, indexes: Sequence[int], outputs: bytes | bytearray | memoryview, replica: str) -> None:
        """The outputs of inputs that succeeded."""
        self._ordering.done(indexes)
        self._verdicts.close(indexes if isinstance(indexes, range) else set(indexes))
        self._outputs.accept(indexes, outputs, replica)
