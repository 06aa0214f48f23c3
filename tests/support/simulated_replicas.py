"""Replicas that exist only in a test: they take what they need from a cache that forgets, and time is a number."""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from actorq.declare.map_options import MapOptions
from actorq.maps.ledger import Ledger
from actorq.maps.sources import MemorySource
from actorq.wire import codec
from actorq.wire.lease import Lease
from actorq.wire.messages import Frame, Head


@dataclass(kw_only=True)
class Outcome:
    """What became of a simulated map."""

    seconds: float = 0.0
    #: replica -> things it loaded
    loads: Counter[str] = field(default_factory=Counter)
    #: replica -> inputs it ran
    inputs: Counter[str] = field(default_factory=Counter)
    #: indexes, as the consumer got them
    outputs: list[int] = field(default_factory=list)
    #: key -> the replica that ran it last
    last: dict[int, str] = field(default_factory=dict)


class Simulation:
    """One map over `keys` on replicas that hold `held` things each.

    Args:
        keys: what each input needs.
        replicas: the live ones at a time, which may change.
        held: things a replica holds; the one that was used longest ago goes.
        run: seconds an input takes.
        load: seconds a load takes.
        ordered: as for `map`.
    """

    #: seconds for a message from the submitter to a replica, or back
    _TRIP = 0.001

    def __init__(
        self,
        keys: Sequence[int],
        replicas: Callable[[float], Sequence[str]],
        *,
        held: int,
        run: float,
        load: float,
        ordered: bool = True,
    ) -> None:
        options = MapOptions(environment="e", head=Head(task="t"), affinity=lambda item: item[1], ordered=ordered)
        self.ledger = Ledger("m", MemorySource(iter(list(enumerate(keys))), len(keys)), options)
        self.outcome = Outcome()
        self._replicas, self._held, self._run, self._load = replicas, held, run, load
        self._caches: dict[str, OrderedDict[int, None]] = {}
        self._queues: dict[str, list[Lease]] = {}
        self._busy: set[str] = set()
        self._events: list[tuple[float, int, str, str, Lease, float]] = []
        self._count = 0

    def play(self) -> Outcome:
        """Until the last output."""
        self._offer(0.0)
        while not self.ledger.finished:
            now, _, what, replica, lease, busy = heapq.heappop(self._events)
            if what == "arrives":
                self._queues.setdefault(replica, []).append(lease)
            elif what == "ends":
                self._busy.discard(replica)
                self._at(now + self._TRIP, "is reported", replica, lease, busy)
            else:
                frame = Frame(start=0, count=lease.count, busy=busy, replica=replica, errors={}, outputs=lease.inputs)
                self.ledger.results(lease.id, frame, now)
                self._offer(now)
            self._begin(replica, now)
            self.outcome.seconds = now
        return self.outcome

    def _at(self, when: float, what: str, replica: str, lease: Lease, busy: float = 0.0) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what, replica, lease, busy))

    def _offer(self, now: float) -> None:
        while (segment := self.ledger.take()) is not None:
            self.outcome.outputs += [index for index, _ in codec.unpack_list(segment.outputs)]
        names = self._replicas(now)
        for lease in self.ledger.offer(len(names), now, names):
            self._at(now + self._TRIP, "arrives", lease.replica, lease)

    def _begin(self, replica: str, now: float) -> None:
        if replica in self._busy or not self._queues.get(replica):
            return
        lease = self._queues[replica].pop(0)
        busy = sum(self._input(replica, key) for _, key in codec.unpack_list(lease.inputs))
        self._busy.add(replica)
        self._at(now + busy, "ends", replica, lease, busy)

    def _input(self, replica: str, key: int) -> float:
        """Seconds one input takes."""
        cache = self._caches.setdefault(replica, OrderedDict())
        self.outcome.inputs[replica] += 1
        self.outcome.last[key] = replica
        loads = key not in cache
        cache[key] = None
        cache.move_to_end(key)
        if len(cache) > self._held:
            cache.popitem(last=False)
        self.outcome.loads[replica] += loads
        return self._run + loads * self._load
