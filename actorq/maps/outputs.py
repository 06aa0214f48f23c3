"""Finished outputs, still packed, until the consumer takes them: in the order of the inputs, or as they come.

The one idea: outputs of consecutive inputs stay in the piece they came in. Only those of a lease whose inputs are not
consecutive, as maps with affinity have them, are taken apart, and put together as far as the order has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from actorq.maps.affinity import ITEM_BYTES
from actorq.maps.segment import Segment
from actorq.wire import codec


class Outputs:
    """Of one map."""

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._taken = 0  # handed to the consumer
        #: those that the consumer is done with: all it took before its last segment
        self.consumed = 0
        #: bytes of those that wait
        self.buffered = 0
        self._segments: dict[int, Segment] = {}  # ordered: index of the first -> segment
        self._pieces: dict[int, bytes] = {}  # ordered, of inputs that are not consecutive: index -> output
        self._arrived: deque[Segment] = deque()  # unordered

    def accept(self, indexes: Sequence[int], outputs: bytes | bytearray | memoryview, replica: str) -> None:
        """The outputs of inputs that succeeded, as one packed list."""
        if isinstance(indexes, range):
            self.put(Segment(lo=indexes[0], count=len(indexes), outputs=outputs, errors={}, replica=replica))
            return
        parts = codec.split_list(bytes(outputs))
        if self._ordered:
            self.buffered += sum(map(len, parts)) + ITEM_BYTES * len(parts)
            self._pieces.update(zip(indexes, parts, strict=True))
            return
        start = 0
        for at in range(1, len(indexes) + 1):
            if at == len(indexes) or indexes[at] != indexes[at - 1] + 1:
                some = codec.join_list(parts[start:at])
                self.put(Segment(lo=indexes[start], count=at - start, outputs=some, errors={}, replica=replica))
                start = at

    def put(self, segment: Segment) -> None:
        """A finished segment; also of an input that failed."""
        self.buffered += len(segment.outputs)
        if self._ordered:
            self._segments[segment.lo] = segment
        else:
            self._arrived.append(segment)

    def take(self) -> Segment | None:
        """The next segment, in order unless the map is unordered; None when it is not there yet."""
        self.consumed = self._taken
        if not self._ordered:
            segment = self._arrived.popleft() if self._arrived else None
        else:
            segment = self._segments.pop(self._taken, None)
            if segment is None and self._taken in self._pieces:
                segment = self._joined()
        if segment is not None:
            self._taken += segment.count
            self.buffered -= len(segment.outputs)
        return segment

    @property
    def waiting(self) -> bool:
        """Whether `take` would return a segment."""
        if not self._ordered:
            return bool(self._arrived)
        return self._taken in self._segments or self._taken in self._pieces

    def _joined(self) -> Segment:
        """The pieces that are next in the order."""
        lo = end = self._taken
        parts = []
        while (part := self._pieces.pop(end, None)) is not None:
            parts.append(part)
            end += 1
        outputs = codec.join_list(parts)
        self.buffered -= sum(map(len, parts)) + ITEM_BYTES * len(parts) - len(outputs)  # `take` subtracts the rest
        return Segment(lo=lo, count=end - lo, outputs=outputs, errors={})
