"""How many inputs go into one lease.

The one idea: a lease should take about `TARGET_SECONDS`. Shorter, and its round trip shows; longer, and a crash repeats
more and the other replicas wait for one. The time per input is measured from every frame.
"""

from __future__ import annotations

import math
from collections import OrderedDict

#: duration a lease is sized for. 20 ms was as fast as 100 ms for tiny inputs, and 5 ms cost order-of-magnitude more
#: round trips; see benchmarks/
TARGET_SECONDS = 0.02
#: inputs of at least this duration travel alone: their round trip is under a tenth of it, and nothing waits behind
#: them. Not so where many replicas would then ask for leases faster than one server and one submitter can give them
ALONE_SECONDS = 0.002
#: what a lease costs beside its work, in processor time of replica, server and submitter together: 0.65 ms, measured
#: with 20 replicas on two cores. All replicas together are given leases no more often than one in this time
_LEASE_SECONDS = 0.001
#: no lease needs to be shorter than this for balance at the end of a map
_SHORTEST_SECONDS = 0.001
#: a lease may be this much larger than the largest one that was measured: durations of the first few say little
_GROWTH = 4
#: how fast a long duration is forgotten: half of it after seven inputs
_KEPT = 0.9
#: more inputs than this in a lease gain nothing measurable
MAX_INPUTS = 32_768
#: packed inputs, or outputs, of one lease; one input may be larger
MAX_BYTES = 1024 * 1024


#: tasks whose last map is remembered
_REMEMBERED = 1000


class LeaseSizer:
    """The size of the next lease, from what frames said about the ones before.

    Args:
        like: that of another map of the same task, whose inputs took as long as these will, perhaps. A lease that
            turns out to be too long is handed back in part.
    """

    def __init__(self, like: LeaseSizer | None = None) -> None:
        #: per input, the most lately; no more than one lease takes
        self._seconds: float = 0.0 if like is None else like._seconds
        #: per input, and per output; each forgets only by those of its kind
        self._input_bytes: float = 0.0 if like is None else like._input_bytes
        self._output_bytes: float = 0.0 if like is None else like._output_bytes
        #: largest count that came back in one frame
        self._proven: int = 0 if like is None else like._proven
        self._measured = False
        self._shortest = 0.0  # what a lease should take at least, with so many replicas

    def observe(self, count: int, busy: float, output_bytes: int) -> None:
        """A frame came back: `count` inputs in `busy` seconds."""
        if count <= 0:
            return
        per_input, self._measured = busy / count, True
        # what is long now and then makes the others of its lease wait: the longest lately, not the mean
        longest = max(TARGET_SECONDS, self._shortest)
        self._seconds = min(max(per_input, per_input + (self._seconds - per_input) * _KEPT**count), longest)
        self._output_bytes = max(self._output_bytes * 0.9, output_bytes / count)
        self._proven = max(count, min(self._proven, 4 * count))

    def packed(self, count: int, input_bytes: int) -> None:
        """`count` inputs were packed into `input_bytes`."""
        self._input_bytes = max(self._input_bytes * 0.9, input_bytes / count)

    def late(self) -> None:
        """A lease ran far past the target: something in it is slow. Send inputs one by one until frames say better."""
        self._seconds = max(self._seconds, ALONE_SECONDS, self._shortest)

    @property
    def fitting(self) -> int:
        """Inputs of which neither they nor their outputs have more bytes than a lease should have."""
        largest = max(self._input_bytes, self._output_bytes)
        return max(int(MAX_BYTES / largest), 1) if largest else MAX_INPUTS

    def size(self, remaining: int | None, replicas: int) -> int:
        """Inputs for the next lease; `remaining` is how many are left to lease, None when nobody knows."""
        self._shortest = replicas * _LEASE_SECONDS
        if self._proven == 0 or self._seconds >= max(ALONE_SECONDS, self._shortest):
            return 1
        per_input = max(self._seconds, 1e-9)
        target = TARGET_SECONDS if per_input < ALONE_SECONDS else 0.0
        count = min(int(max(target, self._shortest) / per_input), _GROWTH * self._proven, MAX_INPUTS)
        count = min(count, self.fitting)
        if remaining is not None:  # guided self-scheduling: the last leases must not be long ones
            share = math.ceil(remaining / (2 * max(replicas, 1)))
            count = min(count, max(share, int(_SHORTEST_SECONDS / per_input)))
            if not self._measured:  # what is known is of another map: no replica should have nothing to do
                count = min(count, math.ceil(remaining / max(replicas, 1)))
        return max(count, 1)


class Sizes:
    """The sizers of the last maps of this program's tasks, for their next ones."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], LeaseSizer] = OrderedDict()

    def of(self, environment: str, task: str) -> LeaseSizer:
        """One for a new map."""
        named = (environment, task)
        made = self._last[named] = LeaseSizer(self._last.pop(named, None))
        while len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        return made
