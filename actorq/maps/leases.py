"""The leases of a map: those that are outstanding, and inputs that wait to be leased once more.

The one idea: each submission of inputs is a new lease with an id of its own. What comes for one that is not outstanding
any more is late, so at most one result is accepted for an index.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actorq.base.names import new_id
from actorq.base.settings import settings
from actorq.maps.verdict import Verdicts
from actorq.wire import codec
from actorq.wire.lease import Counters, Lease, ending, first_index

#: leases in flight per replica: one that runs, one that is claimed ahead, and two that wait. One is claimed only while
#: every other replica has one that waits, too: none is kept that somebody else may have to do without. All replicas may
#: claim before the pump runs again (it may wait for the interpreter's lock, 5 ms: a lease of tiny inputs)
LEASES_PER_REPLICA = 4
_NIL = b"\xc0"


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """Inputs to lease once more."""

    indexes: Sequence[int]
    inputs: bytes


def unknown_inputs(count: int) -> bytes:
    """Stands for so many inputs that are not known here."""
    return codec.join_list([_NIL] * count)


class Leases:
    """Of one map.

    Args:
        map_id: its name.
        counters: of the map.
        verdicts: what is noted of inputs that failed.
    """

    def __init__(self, map_id: str, counters: Counters, verdicts: Verdicts) -> None:
        #: tells this map from another one of the same id, also in the ids of its leases
        self.owner = new_id()[:6]
        self.outstanding: dict[str, Lease] = {}
        #: a failed index after which nothing more is wanted
        self.stop_at: int | None = None
        self._map_id = map_id
        self._counters = counters
        self._verdicts = verdicts
        self._serial = 0
        self._again: list[tuple[float, int, _Waiting]] = []  # heap: not before, lowest index, what
        self._suspects: deque[_Waiting] = deque()  # ran in a process with others when it died: tried alone
        self._suspected = ""  # the lease of the one that is tried
        #: lowest index that waited and was not wanted any more: a run may want it when it is opened again
        self._unwanted: int | None = None

    def make(
        self,
        indexes: Sequence[int],
        inputs: bytes,
        *,
        front: bool,
        replica: str = "",
        cold: int = 0,
        alone: bool = False,
    ) -> Lease:
        """A lease of these inputs, or of the first half where they are more than a replica takes at once.

        Args:
            indexes: of the inputs.
            inputs: them, as a packed list.
            front: it goes before what waits on the server.
            replica: the only one that may run it, "" for any.
            cold: how many of the inputs need something that this replica has to load.
            alone: it has a process to itself.
        """
        if len(inputs) > settings().max_payload_bytes and len(indexes) > 1:
            half = len(indexes) // 2
            first, rest = codec.cut_list(inputs, half)
            self.lease_again(indexes[half:], rest, 0.0)
            return self.make(indexes[:half], first, front=front, replica=replica, cold=cold)
        self._serial += 1
        self._counters.leases += 1
        return Lease(
            serial=self._serial,
            id=f"{self._map_id}-{self.owner}-{ending(self._serial, indexes, replica)}",
            indexes=indexes,
            inputs=inputs,
            front=front,
            last_try=self._verdicts.is_last_try(indexes[0]),
            replica=replica,
            cold=cold,
            alone=alone,
        )

    def adopt(self, lease_id: str, count: int, *, alone: bool) -> None:
        """A lease that the driver before this one has offered, with inputs that are still to be filled in."""
        lo = first_index(lease_id)
        indexes = range(lo, lo + count)
        self._take_out(indexes)
        if alone:
            self._suspected = lease_id
        self.outstanding[lease_id] = Lease(
            serial=0, id=lease_id, indexes=indexes, inputs=unknown_inputs(count), front=False, alone=alone
        )

    def _take_out(self, indexes: range) -> None:
        """These inputs do not wait any more: they are the first ones of what waited, or all."""
        for at, suspect in enumerate(self._suspects):
            if suspect.indexes[0] == indexes[0]:
                del self._suspects[at]
                return
        for at, (_, lo, again) in enumerate(self._again):
            if lo == indexes[0]:
                del self._again[at]
                heapq.heapify(self._again)
                if rest := again.indexes[len(indexes) :]:
                    self.lease_again(rest, unknown_inputs(len(rest)), 0.0)
                return

    def fill(self, inputs_of: Callable[[Sequence[int]], list[bytes]]) -> None:
        """Fills in the inputs of what was adopted, and of what waits to be leased once more.

        Args:
            inputs_of: tells the inputs of indexes, packed each.
        """
        for lease in self.outstanding.values():
            done = [_NIL] * lease.done
            lease.inputs = codec.join_list([*done, *inputs_of(lease.indexes[lease.done :])])

        def filled(entry: _Waiting) -> _Waiting:
            return _Waiting(indexes=entry.indexes, inputs=codec.join_list(inputs_of(entry.indexes)))

        self._again = [(not_before, lo, filled(entry)) for not_before, lo, entry in self._again]
        self._suspects = deque(map(filled, self._suspects))

    def lowest(self, drawn: int) -> int:
        """The lowest index without a result; `drawn` is the next one to be drawn."""
        waiting = [entry.indexes for _, _, entry in self._again] + [entry.indexes for entry in self._suspects]
        waiting += [lease.indexes[lease.done :] for lease in self.outstanding.values()]
        lowest = min((min(indexes) for indexes in waiting if indexes), default=drawn)
        return lowest if self._unwanted is None else min(lowest, self._unwanted)

    # -- once more -----------------------------------------------------------------------------------------------------

    def lease_again(self, indexes: Sequence[int], inputs: bytes, not_before: float) -> None:
        """Inputs that wait for their next try until `not_before`, monotonic seconds."""
        first = indexes[0] if isinstance(indexes, range) else min(indexes)
        heapq.heappush(self._again, (not_before, first, _Waiting(indexes=indexes, inputs=inputs)))

    def _lease_again_in_parts(self, again: _Waiting, size: int) -> None:
        parts = codec.split_list(again.inputs)
        for begin in range(0, len(parts), size):
            inputs = codec.join_list(parts[begin : begin + size])
            self.lease_again(again.indexes[begin : begin + size], inputs, 0.0)

    def try_alone(self, index: int, inputs: bytes) -> None:
        """An input that may have killed its process: it waits for one to itself."""
        self._suspects.append(_Waiting(indexes=range(index, index + 1), inputs=inputs))

    def next_suspect(self) -> Lease | None:
        """A lease of one of those, if none is outstanding."""
        while self._suspects and self._suspected not in self.outstanding:
            again = self._suspects.popleft()
            if self.wants(again.indexes[0]):
                lease = self.make(again.indexes, again.inputs, front=True, alone=True)
                self._suspected = lease.id
                return lease
            self._forgo(again.indexes[0])
        return None

    def next_again(self, now: float, fitting: int, replica: str = "") -> Lease | None:
        """A lease of inputs whose time has come: not more than `fitting`, where they or their outputs are large."""
        while self._again and self._again[0][0] <= now:
            _, lo, again = heapq.heappop(self._again)
            if self.wants(lo):
                if len(again.indexes) > fitting:
                    self._lease_again_in_parts(again, fitting)
                    continue
                return self.make(again.indexes, again.inputs, front=True, replica=replica)
            self._forgo(lo)
        return None

    def _forgo(self, index: int) -> None:
        self._unwanted = index if self._unwanted is None else min(index, self._unwanted)

    def due(self, now: float) -> int | None:
        """The lowest index of the inputs that `next_again` would lease; None for none."""
        return self._again[0][1] if self._again and self._again[0][0] <= now else None

    @property
    def next_retry(self) -> float | None:
        """When the next waiting inputs may run, monotonic seconds; None when none wait."""
        return self._again[0][0] if self._again else None

    @property
    def any_again(self) -> bool:
        """Whether inputs wait to be leased once more, and are wanted."""
        waiting = [lo for _, lo, _ in self._again] + [again.indexes[0] for again in self._suspects]
        return any(map(self.wants, waiting))

    def wants(self, index: int) -> bool:
        """Whether the output of an input is still wanted."""
        return self.stop_at is None or index < self.stop_at

    def stop_after(self, index: int) -> None:
        """An input has failed: nothing behind it is wanted."""
        self.stop_at = index if self.stop_at is None else min(self.stop_at, index)
