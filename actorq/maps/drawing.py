"""Inputs are drawn from their source as far ahead as leases need them, and no further than the bounds allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actorq.base.settings import settings
from actorq.declare.map_options import BUFFERED_WINDOWS, MAX_BUFFERED_BYTES, MapOptions
from actorq.maps.outputs import Outputs
from actorq.maps.sizing import LeaseSizer
from actorq.maps.sources import Source
from actorq.wire import codec
from actorq.wire.lease import Counters


class Drawing:
    """The inputs of one map.

    Args:
        source: where they come from.
        options: the bounds.
        outputs: what waits for the consumer.
        counters: of the map.
        sizer: says how many inputs a lease has.
    """

    def __init__(
        self, source: Source, options: MapOptions, outputs: Outputs, counters: Counters, sizer: LeaseSizer
    ) -> None:
        self.source = source
        self.sizer = sizer
        #: inputs drawn: the index of the next one
        self.count = 0
        #: more would have been drawn, had the consumer taken more outputs
        self.held_back = False
        self._options = options
        self._outputs = outputs
        self._counters = counters

    @property
    def remaining(self) -> int | None:
        """Inputs that are not drawn yet, where that is known."""
        return None if self.source.total is None else self.source.total - self.count

    @property
    def total(self) -> int | None:
        """All inputs, as soon as their number is known."""
        if self.source.total is None and self.source.exhausted and self.source.error is None:
            return self.count
        return self.source.total

    def packed(self, values: Sequence[Any]) -> bytes:
        """The inputs that were just drawn, as a packed list. Raises `CodecError` naming one that cannot be carried."""
        lo = self.count
        if self.source.packed:
            inputs = codec.join_list(values)
        else:
            inputs = codec.pack_list(
                values, settings().max_payload_bytes, lambda i: f"Input {lo + i} of {self._options.head.task}"
            )
        self.count += len(values)
        self._counters.submitted = self.count
        self.sizer.packed(len(values), len(inputs))
        return inputs

    def room(self, window: int, count: int) -> int:
        """How many more inputs may be drawn before the consumer takes outputs.

        Args:
            window: leases in flight.
            count: inputs of the next lease.
        """
        ahead = self.count - self._outputs.consumed
        if self._options.max_outstanding is not None:
            return self._options.max_outstanding - ahead
        if self._outputs.buffered >= MAX_BUFFERED_BYTES:
            return 0
        return window * BUFFERED_WINDOWS * max(count, 1) - ahead
