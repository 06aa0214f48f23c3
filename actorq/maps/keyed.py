"""The books of a map with affinity: leases are for one replica, and hold the inputs of its keys.

The same ledger, with another way to choose what goes into the next lease. Inputs are drawn ahead into the groups of
`Affinity`, as far as the bounds on what is drawn and not yielded allow, and the indexes of a lease need not be
consecutive. A lease carries its replica's name; what has not begun on a replica that is gone, or is stuck in an input
while others idle, is taken back.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from actorq.declare.affinity_key import input_key
from actorq.declare.map_options import MAX_BUFFERED_BYTES, MapOptions
from actorq.maps.affinity import ITEM_BYTES, Affinity
from actorq.maps.ledger import LEASES_PER_REPLICA, Ledger
from actorq.maps.segment import Segment, damage
from actorq.maps.sizing import TARGET_SECONDS
from actorq.maps.sources import Source
from actorq.maps.verdict import Final
from actorq.wire import codec
from actorq.wire.lease import NONE_RAN, Lease, tag
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


class KeyedLedger(Ledger):
    """A `Ledger` of a map whose inputs prefer the replica that holds what they need."""

    _splits = True

    def __init__(self, map_id: str, source: Source, options: MapOptions) -> None:
        super().__init__(map_id, source, options)
        self._affinity = Affinity()
        self._pieces: dict[int, bytes] = {}  # ordered: index -> its output, until those before it are there
        self._sign: dict[str, float] = {}  # replica -> when it began what it does, as far as we can tell
        self._refused = 0  # replicas that found nothing to borrow in this offer
        self._asked_back: set[str] = set()  # leases that had begun when they were to be taken back

    # -- offering ------------------------------------------------------------------------------------------------------

    def offer(self, replicas: int, now: float, names: Sequence[str] = ()) -> list[Lease]:
        if self.options.concurrency is not None:
            replicas = min(replicas, self.options.concurrency)
            names = self._some_of(names, self.options.concurrency)
        replicas = max(replicas, 1)
        affinity = self._affinity
        self._refused = 0
        affinity.serve(names, replicas)
        total = self._source.total
        remaining = None if total is None else total - self._drawn + affinity.waiting
        size = self._sizer.size(remaining, replicas)
        self._look_ahead(replicas, size)
        affinity.settle()
        leases: list[Lease] = []
        while (lease := self._next_for_any(now, size, self._depth(size), replicas)) is not None:
            self.outstanding[lease.id] = lease
            if not affinity.leases[lease.replica]:
                self._sign[lease.replica] = now
            affinity.leases[lease.replica] += 1
            affinity.inputs[lease.replica] += lease.count
            leases.append(lease)
        return leases

    def _some_of(self, names: Sequence[str], count: int) -> list[str]:
        """The same few replicas for all of this map, and not those that other maps choose."""
        return heapq.nsmallest(count, names, key=lambda name: tag(self.owner + name))

    def _depth(self, size: int) -> int:
        """Leases in flight for each replica. Of slow inputs one runs and one waits: what waits cannot move on."""
        if self.options.concurrency is not None:
            return 1
        return 2 if size == 1 and self._affinity.seconds >= TARGET_SECONDS else LEASES_PER_REPLICA

    def _look_ahead(self, replicas: int, size: int) -> None:
        """Draws inputs into the groups: the longer these are, the less often a replica runs dry."""
        source, affinity = self._source, self._affinity
        self.held_back = False
        if source.exhausted or self._stop_at is not None:
            return
        if affinity.bytes + self._buffered >= MAX_BUFFERED_BYTES:
            self.held_back = True
            return
        wanted = min(replicas * max(_AHEAD_LEASES * size, _AHEAD_INPUTS) - affinity.waiting, _DRAW)
        count = min(wanted, self._room(_AHEAD_WINDOWS * replicas * LEASES_PER_REPLICA, size))
        self.held_back = count < wanted
        values = source.draw(count) if count > 0 else []
        if not values:
            return
        read, first = self.options.affinity, self._drawn
        assert read is not None
        what = "The affinity key of input {} of " + self.options.head.task
        keys = [input_key(read, value, what.format(first + i)) for i, value in enumerate(values)]
        packed = self._packed(values)
        parts = values if source.packed else codec.split_list(packed)
        for i, (key, part) in enumerate(zip(keys, parts, strict=True)):
            affinity.add(key, (first + i, part))

    def _next_for_any(self, now: float, size: int, depth: int, replicas: int) -> Lease | None:
        """The next lease, for the replica that has the fewest in flight."""
        leases, names = self._affinity.leases, self._affinity.replicas
        if (suspect := self._next_suspect()) is not None:
            return suspect
        if not names:  # none is known yet: whoever comes takes them, one each
            return self._next_for("", now, size) if leases[""] < replicas else None
        for level in range(depth):
            for name in names:
                if leases[name] == level and (lease := self._next_for(name, now, size)) is not None:
                    return lease
        return None

    def _next_for(self, name: str, now: float, size: int) -> Lease | None:
        affinity = self._affinity
        if affinity.leases[name] and self._is_stuck(name, now):
            return None
        if self._again and self._again[0][0] <= now:
            home = affinity.home(self._again[0][1])
            if (home in ("", name) or affinity.leases[home] > affinity.leases[name]) and (
                lease := self._next_again(now, name)
            ) is not None:
                lease.cold = affinity.visit(name, lease.indexes)
                return lease
        if not affinity.has_work(name):
            if not name or affinity.leases[name] or not affinity.waiting or self._refused == _REFUSALS:
                return None
            if not affinity.borrow(name, [other for other in affinity.replicas if self._is_stuck(other, now)]):
                self._refused += 1
                return None
        items, cold = affinity.take(name, size)
        indexes, parts = [index for index, _ in items], [part for _, part in items]
        return self._lease(indexes, codec.join_list(parts), front=False, replica=name, cold=cold)

    def recalls(self, now: float) -> list[Lease]:
        names, leases = self._affinity.replicas, self._affinity.leases
        if not names and not self._sign:
            return []
        idle = any(not leases[name] for name in names)
        stuck = {name for name in names if idle and leases[name] > 1 and self._is_stuck(name, now)}
        running: set[str] = set()
        found: list[Lease] = []
        for lease in self.outstanding.values():
            name = lease.replica
            begun = name in stuck and name not in running  # its oldest one
            running.add(name)
            wanted = (name and name not in names) or (name in stuck and not begun)
            if wanted and not lease.done and lease.id not in self._asked_back:
                self._asked_back.add(lease.id)
                found.append(lease)
        return found

    def _is_stuck(self, name: str, now: float) -> bool:
        if not self._affinity.leases[name] or not self._affinity.seconds:
            return False  # before anything is measured it may just be loading
        return now - self._sign.get(name, now) > _STUCK_SECONDS + self._affinity.patience(name)

    def withdraw(self, lease: Lease) -> None:
        self._remove(lease)
        self._return(lease.indexes[lease.done :], codec.split_list(lease.inputs)[lease.done :])

    @property
    def finished(self) -> bool:
        return super().finished and (self.fatal is not None or not self._affinity.waiting)

    # -- reports -------------------------------------------------------------------------------------------------------

    def results(self, lease_id: str, frame: Frame, now: float) -> None:
        lease = self.outstanding.get(lease_id)
        if lease is None or damage(lease, frame, splits=True) is not None:
            super().results(lease_id, frame, now)
            return
        self._sign[lease.replica] = now
        if frame.replica != lease.replica:
            self._affinity.visit(frame.replica, lease.indexes[lease.done : frame.start + frame.count])
        self._affinity.inputs[lease.replica] -= max(0, frame.start + frame.count - lease.done)
        super().results(lease_id, frame, now)

    def handed_back(self, lease_id: str, end: int) -> None:
        lease = self.outstanding.get(lease_id)
        if lease is not None and lease.done <= end < lease.count:
            self._affinity.inputs[lease.replica] -= lease.count - end
        super().handed_back(lease_id, end)

    def lost(
        self, lease_id: str, reason: str, position: int | None, replica: str, now: float, *, damaged: bool = False
    ) -> None:
        if position != NONE_RAN and not damaged:
            self._affinity.forget(replica)
        super().lost(lease_id, reason, position, replica, now, damaged=damaged)

    def _remove(self, lease: Lease) -> None:
        super()._remove(lease)
        self._asked_back.discard(lease.id)
        affinity, name = self._affinity, lease.replica
        affinity.leases[name] -= 1
        affinity.inputs[name] -= lease.count - lease.done
        if affinity.leases[name] <= 0:
            del affinity.leases[name], affinity.inputs[name]
            self._sign.pop(name, None)

    def _measure(self, lease: Lease, frame: Frame) -> None:
        if not frame.count:
            return
        if lease.replica:
            self._affinity.observe(frame.count, frame.busy, lease.cold)
        if not lease.cold or not self._affinity.seconds:  # how long a load takes says nothing about the inputs to come
            super()._measure(lease, frame)
        lease.cold = 0

    def _return(self, indexes: Sequence[int], parts: list[bytes]) -> None:
        if any(index in self._verdicts for index in indexes):
            super()._return(indexes, parts)  # it failed before: it travels alone
        elif self._stop_at is None:
            self._affinity.put_back(zip(indexes, parts, strict=True))
        else:
            wanted = [item for item in zip(indexes, parts, strict=True) if item[0] < self._stop_at]
            self._affinity.put_back(wanted)

    def _give_up(self, index: int, verdict: Final, replica: str) -> None:
        super()._give_up(index, verdict, replica)
        self._affinity.done((index,))
        if self._stop_at is not None:
            self._affinity.cut(self._stop_at)

    # -- the consumer's side -------------------------------------------------------------------------------------------

    def take(self) -> Segment | None:
        segment = super().take()
        if segment is not None or self._taken not in self._pieces:
            return segment
        lo = end = self._taken
        outputs = []
        while (output := self._pieces.pop(end, None)) is not None:
            outputs.append(output)
            end += 1
        self._buffered -= sum(map(len, outputs)) + ITEM_BYTES * len(outputs)
        self._taken = end
        return Segment(lo=lo, count=end - lo, outputs=codec.join_list(outputs), errors={})

    @property
    def waiting(self) -> bool:
        return super().waiting or self._taken in self._pieces

    def _accept(self, indexes: Sequence[int], outputs: bytes | bytearray | memoryview, replica: str) -> None:
        parts = codec.split_list(bytes(outputs))
        self._affinity.done(indexes)
        self._verdicts.close(set(indexes))
        if self.options.ordered:
            self._buffered += sum(map(len, parts)) + ITEM_BYTES * len(parts)
            self._pieces.update(zip(indexes, parts, strict=True))
            return
        start = 0
        for at in range(1, len(indexes) + 1):
            if at == len(indexes) or indexes[at] != indexes[at - 1] + 1:
                some = codec.join_list(parts[start:at])
                self._finish(Segment(lo=indexes[start], count=at - start, outputs=some, errors={}, replica=replica))
                start = at


def ledger_of(map_id: str, source: Source, options: MapOptions) -> Ledger:
    """The books of a map, with affinity or without."""
    return (Ledger if options.affinity is None else KeyedLedger)(map_id, source, options)
