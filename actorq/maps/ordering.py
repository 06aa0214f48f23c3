"""Which inputs go into the next lease: in the order of their indexes, or, see `by_key.py`, by their keys.

The one idea: the ledger has an ordering, which fills leases and is told what becomes of them. It decides nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from actorq.declare.map_options import MapOptions
from actorq.maps.drawing import Drawing
from actorq.maps.leases import LEASES_PER_REPLICA, Leases
from actorq.wire import codec
from actorq.wire.lease import Lease
from actorq.wire.messages import Frame

#: bytes of inputs after which an offer stops: while the pump packs and writes, replicas wait
_AT_ONCE_BYTES = 1 << 20


class ByIndex:
    """The first input that was not drawn yet is next, and any replica may run it.

    Args:
        options: of the map.
        drawing: its inputs.
        leases: makes leases of them.
    """

    #: outputs are taken apart when they come
    splits = False

    def __init__(self, options: MapOptions, drawing: Drawing, leases: Leases) -> None:
        self.options = options
        self.drawing = drawing
        self.leases = leases
        #: the last offer stopped at `_AT_ONCE_BYTES`; with affinity it never does
        self.partial = False

    # -- filling leases ------------------------------------------------------------------------------------------------

    def offer(self, replicas: int, now: float, names: Sequence[str]) -> list[Lease]:
        """Leases to submit now: what keeps `replicas` busy, within the bounds on what is finished and not taken.

        Of large inputs a part, then `partial` is set: the replicas begin with them while the others are packed.

        Args:
            replicas: how many there are.
            now: monotonic seconds.
            names: of the replicas, where it matters which one runs what.
        """
        options, leases = self.options, self.leases
        if options.concurrency is not None:
            replicas = min(replicas, options.concurrency)
        per_replica = LEASES_PER_REPLICA if options.concurrency is None else 1
        window = options.window or max(replicas, 1) * per_replica
        due = not (options.in_batches and leases.outstanding)
        self.drawing.held_back = self.partial = False
        made: list[Lease] = []
        size, fitting = 0, self.drawing.sizer.fitting
        while len(leases.outstanding) < window:
            if size >= _AT_ONCE_BYTES and not options.in_batches:
                self.partial = True
                break
            lease = (
                leases.next_suspect()
                or leases.next_again(now, fitting)
                or (self._next(window, replicas) if due else None)
            )
            if lease is None:
                break
            leases.outstanding[lease.id] = lease
            made.append(lease)
            size += len(lease.inputs)
        return made

    def _next(self, window: int, replicas: int) -> Lease | None:
        drawing = self.drawing
        if drawing.source.exhausted or self.leases.stop_at is not None:
            return None
        count = 1 if self.options.single else drawing.sizer.size(drawing.remaining, replicas)
        room = drawing.room(window, count)
        drawing.held_back = room < count
        count = min(count, room)
        if count <= 0:
            return None
        values = drawing.source.draw(count, min(count * replicas, room - count))
        if not values:
            return None
        lo = drawing.count
        return self.leases.make(range(lo, lo + len(values)), drawing.packed(values), front=False)

    def recalls(self, now: float) -> list[Lease]:
        """Leases that should be taken back if they have not begun."""
        return []

    @property
    def has_more(self) -> bool:
        """Whether inputs were drawn that are in no lease yet."""
        return False

    # -- what becomes of them ------------------------------------------------------------------------------------------

    def returned(self, indexes: Sequence[int], parts: list[bytes]) -> None:
        """Inputs that a replica did not run."""
        self.leases.lease_again(indexes, codec.join_list(parts), 0.0)

    def arrived(self, lease: Lease, frame: Frame, now: float) -> None:
        """Results of a lease are going to be booked."""

    def measure(self, lease: Lease, frame: Frame) -> None:
        """They have been: how long they took."""
        self.drawing.sizer.observe(frame.count, frame.busy, len(frame.outputs))

    def cut(self, lease: Lease, end: int) -> None:
        """A lease is going to end before its input `end`: its replica hands back the rest."""

    def died(self, replica: str) -> None:
        """A replica has died in an input."""

    def removed(self, lease: Lease) -> None:
        """Nothing is expected of a lease any more."""

    def done(self, indexes: Sequence[int]) -> None:
        """Inputs have their result."""

    def stopped(self) -> None:
        """Nothing behind `leases.stop_at` is wanted."""
