"""Leases of a map with affinity: each is for one replica, and holds inputs whose keys are at home there.

Inputs are drawn ahead into the groups of `Affinity`, as far as the bounds on what is drawn and not yielded allow, and
the indexes of a lease need not be consecutive. What has not begun on a replica that is gone, or is stuck in an input
while others idle, is taken back.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from actorq.declare.affinity_key import input_key
from actorq.declare.map_options import MAX_BUFFERED_BYTES, MapOptions
from actorq.maps.affinity import Affinity
from actorq.maps.drawing import Drawing
from actorq.maps.leases import LEASES_PER_REPLICA, Leases
from actorq.maps.ordering import ByIndex
from actorq.maps.outputs import Outputs
from actorq.maps.sizing import TARGET_SECONDS
from actorq.maps.verdict import Verdicts
from actorq.wire import codec
from actorq.wire.lease import Lease, tag
from actorq.wire.messages import Frame

#: inputs that wait for each replica: at least, and in leases. With random keys the shares of the replicas differ by the
#: root of what was drawn, so a short queue runs dry now and then, and its replica borrows a key. 64 keys on 8 replicas
#: took 135 loads with 96 and 70 with 256; with 512 the bound below starves them instead
_AHEAD_INPUTS, _AHEAD_LEASES = 256, 4
#: what may be drawn and not yielded, as a multiple of what it is without affinity: an ordered output also waits for
#: those of other keys. 384 leases for each replica in all; 192 cost 3 % and a tenth more loads
_AHEAD_WINDOWS = 4
#: idle replicas that look for something to borrow in one offer: with hundreds idle at the end of a map the next ones
#: find no more than these
_REFUSALS = 8
#: inputs drawn in one go; the consumer waits for the ledger meanwhile
_DRAW = 4096
#: a replica is stuck when its lease takes this much longer than expected, seconds
_STUCK_SECONDS = 0.1


class ByKey(ByIndex):
    """Inputs prefer the replica that holds what they need.

    Args:
        options, drawing, leases: as for `ByIndex`.
        outputs: what waits for the consumer.
        verdicts: what is noted of inputs that failed.
    """

    splits = True

    def __init__(
        self, options: MapOptions, drawing: Drawing, leases: Leases, outputs: Outputs, verdicts: Verdicts
    ) -> None:
        super().__init__(options, drawing, leases)
        self._outputs = outputs
        self._verdicts = verdicts
        self.affinity = Affinity()
        self._sign: dict[str, float] = {}  # replica -> when it began what it does, as far as we can tell
        self._refused = 0  # replicas that found nothing to borrow in this offer
        self._asked_back: set[str] = set()  # leases that had begun when they were to be taken back

    # -- filling leases ------------------------------------------------------------------------------------------------

    def offer(self, replicas: int, now: float, names: Sequence[str]) -> list[Lease]:
        if self.options.concurrency is not None:
            replicas = min(replicas, self.options.concurrency)
            names = self._some_of(names, self.options.concurrency)
        replicas = max(replicas, 1)
        affinity, drawing = self.affinity, self.drawing
        self._refused = 0
        affinity.serve(names, replicas)
        remaining = None if drawing.remaining is None else drawing.remaining + affinity.waiting
        size = drawing.sizer.size(remaining, replicas)
        self._look_ahead(replicas, size)
        affinity.find_homes()
        made: list[Lease] = []
        while (lease := self._next_for_any(now, size, self._depth(size), replicas)) is not None:
            self.leases.outstanding[lease.id] = lease
            if not affinity.leases[lease.replica]:
                self._sign[lease.replica] = now
            affinity.leases[lease.replica] += 1
            affinity.inputs[lease.replica] += lease.count
            made.append(lease)
        return made

    def _some_of(self, names: Sequence[str], count: int) -> list[str]:
        """The same few replicas for all of this map, and not those that other maps choose."""
        return heapq.nsmallest(count, names, key=lambda name: tag(self.leases.owner + name))

    def _depth(self, size: int) -> int:
        """Leases in flight for each replica. Of slow inputs one runs and one waits: what waits cannot move on."""
        if self.options.concurrency is not None:
            return 1
        return 2 if size == 1 and self.affinity.seconds >= TARGET_SECONDS else LEASES_PER_REPLICA

    def _look_ahead(self, replicas: int, size: int) -> None:
        """Draws inputs into the groups: the longer these are, the less often a replica runs dry."""
        drawing, affinity = self.drawing, self.affinity
        source = drawing.source
        drawing.held_back = False
        if source.exhausted or self.leases.stop_at is not None:
            return
        if affinity.bytes + self._outputs.buffered >= MAX_BUFFERED_BYTES:
            drawing.held_back = True
            return
        wanted = min(replicas * max(_AHEAD_LEASES * size, _AHEAD_INPUTS) - affinity.waiting, _DRAW)
        count = min(wanted, drawing.room(_AHEAD_WINDOWS * replicas * LEASES_PER_REPLICA, size))
        drawing.held_back = count < wanted
        values = source.draw(count) if count > 0 else []
        if not values:
            return
        read, first = self.options.affinity, drawing.count
        assert read is not None
        what = "The affinity key of input {} of " + self.options.head.task
        keys = [input_key(read, value, what.format(first + i)) for i, value in enumerate(values)]
        packed = drawing.packed(values)
        parts = values if source.packed else codec.split_list(packed)
        for i, (key, part) in enumerate(zip(keys, parts, strict=True)):
            affinity.add(key, (first + i, part))

    def _next_for_any(self, now: float, size: int, depth: int, replicas: int) -> Lease | None:
        """The next lease, for the replica that has the fewest in flight."""
        in_flight, names = self.affinity.leases, self.affinity.replicas
        if (suspect := self.leases.next_suspect()) is not None:
            return suspect
        if not names:  # none is known yet: whoever comes takes them, one each
            return self._next_for("", now, size) if in_flight[""] < replicas else None
        for level in range(depth):
            for name in names:
                if in_flight[name] == level and (lease := self._next_for(name, now, size)) is not None:
                    return lease
        return None

    def _next_for(self, name: str, now: float, size: int) -> Lease | None:
        affinity = self.affinity
        if affinity.leases[name] and self._is_stuck(name, now):
            return None
        if (lease := self._again_for(name, now)) is not None:
            return lease
        if not affinity.has_work(name):
            if not name or affinity.leases[name] or not affinity.waiting or self._refused == _REFUSALS:
                return None
            if not affinity.borrow(name, [other for other in affinity.replicas if self._is_stuck(other, now)]):
                self._refused += 1
                return None
        items, cold = affinity.take(name, size)
        indexes, parts = [index for index, _ in items], [part for _, part in items]
        return self.leases.make(indexes, codec.join_list(parts), front=False, replica=name, cold=cold)

    def _again_for(self, name: str, now: float) -> Lease | None:
        """Inputs that are leased once more, unless another replica that has no more to do is their home."""
        due = self.leases.due(now)
        if due is None:
            return None
        home = self.affinity.home(due)
        if home not in ("", name) and self.affinity.leases[home] <= self.affinity.leases[name]:
            return None
        lease = self.leases.next_again(now, self.drawing.sizer.fitting, name)
        if lease is not None:
            lease.cold = self.affinity.visit(name, lease.indexes)
        return lease

    def recalls(self, now: float) -> list[Lease]:
        names, in_flight = self.affinity.replicas, self.affinity.leases
        if not names and not self._sign:
            return []
        idle = any(not in_flight[name] for name in names)
        stuck = {name for name in names if idle and in_flight[name] > 1 and self._is_stuck(name, now)}
        running: set[str] = set()
        found: list[Lease] = []
        for lease in self.leases.outstanding.values():
            name = lease.replica
            begun = name in stuck and name not in running  # its oldest one
            running.add(name)
            wanted = (name and name not in names) or (name in stuck and not begun)
            if wanted and not lease.done and lease.id not in self._asked_back:
                self._asked_back.add(lease.id)
                found.append(lease)
        return found

    def _is_stuck(self, name: str, now: float) -> bool:
        if not self.affinity.leases[name] or not self.affinity.seconds:
            return False  # before anything is measured it may just be loading
        return now - self._sign.get(name, now) > _STUCK_SECONDS + self.affinity.patience(name)

    @property
    def has_more(self) -> bool:
        return bool(self.affinity.waiting)

    # -- what becomes of them ------------------------------------------------------------------------------------------

    def returned(self, indexes: Sequence[int], parts: list[bytes]) -> None:
        if any(index in self._verdicts for index in indexes):
            super().returned(indexes, parts)  # it failed before: it travels alone
            return
        self.affinity.put_back([item for item in zip(indexes, parts, strict=True) if self.leases.wants(item[0])])

    def arrived(self, lease: Lease, frame: Frame, now: float) -> None:
        self._sign[lease.replica] = now
        if frame.replica != lease.replica:
            self.affinity.visit(frame.replica, lease.indexes[lease.done : frame.start + frame.count])
        self.affinity.inputs[lease.replica] -= max(0, frame.start + frame.count - lease.done)

    def measure(self, lease: Lease, frame: Frame) -> None:
        if lease.replica:
            self.affinity.observe(frame.count, frame.busy, lease.cold)
        if not lease.cold or not self.affinity.seconds:  # how long a load takes says nothing about the inputs to come
            super().measure(lease, frame)
        lease.cold = 0

    def cut(self, lease: Lease, end: int) -> None:
        self.affinity.inputs[lease.replica] -= lease.count - end

    def died(self, replica: str) -> None:
        self.affinity.forget(replica)

    def removed(self, lease: Lease) -> None:
        self._asked_back.discard(lease.id)
        affinity, name = self.affinity, lease.replica
        affinity.leases[name] -= 1
        affinity.inputs[name] -= lease.count - lease.done
        if affinity.leases[name] <= 0:
            del affinity.leases[name], affinity.inputs[name]
            self._sign.pop(name, None)

    def done(self, indexes: Sequence[int]) -> None:
        self.affinity.done(indexes)

    def stopped(self) -> None:
        assert self.leases.stop_at is not None
        self.affinity.cut(self.leases.stop_at)
