"""A map begins: its inputs, its books and where its leases go are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from actorq.base.tracing import MapSpan
from actorq.declare.map_options import MapOptions
from actorq.maps.ledger import Ledger
from actorq.maps.pump import Pump
from actorq.maps.sizing import Sizes
from actorq.maps.sources import source_for
from actorq.maps.transport import Transport

_SIZES = Sizes()


class Route(Protocol):
    """Where a map runs."""

    @property
    def options(self) -> MapOptions:
        """Of the map, as this place needs them."""

    @property
    def transport(self) -> Callable[[str, str], Transport]:
        """Makes the transport for a map's id and owner."""


def open_map(
    map_id: str,
    iterables: tuple[Iterable[object], ...],
    options: MapOptions,
    route: Callable[[MapOptions, int | None], Route],
) -> Pump:
    """A map that has not started.

    Args:
        map_id: its name.
        iterables: its inputs, which advance together.
        options: of the map.
        route: tells where a map of such options, and of so many inputs, runs; None: nobody knows how many.
    """
    pump: Pump | None = None

    def on_input() -> None:
        if pump is not None:
            pump.nudge()

    span = MapSpan(options.head.task, map_id)
    try:
        if span.traceparent:
            options = replace(options, head=replace(options.head, trace=span.traceparent))
        source = source_for(options.head.mode, iterables, on_input)
        found = route(options, source.total)
        sizer = _SIZES.of(options.environment, options.head.task)
        ledger = Ledger(map_id, source, found.options, sizer)
        pump = Pump(ledger, found.transport(ledger.map_id, ledger.owner))
    except BaseException as error:
        span.end(error, 0, 0)
        raise
    pump.span = span
    return pump
