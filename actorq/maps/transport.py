"""How leases leave and reports come back: the one seam between a map and where its inputs run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from actorq.maps.share import Share
from actorq.wire.lease import Counters, GivenUp, Lease, Report


class Transport(Protocol):
    """Used by one thread at a time, except `wake`."""

    #: an offer takes no time, and is not tied to the thread that makes it
    prompt: bool
    #: live replicas, as far as known; at least 1
    replicas: int

    def offer(self, leases: Sequence[Lease], *, beside: int, share: Share) -> int:
        """Submits `leases` in order and returns how many were taken.

        Args:
            leases: what to run.
            beside: how many others are outstanding.
            share: what the map had of the replicas' time.
        """

    def names(self) -> Sequence[str]:
        """The live replicas; asked only for maps that choose among them. Empty when none is known."""

    def recall(self, leases: Sequence[Lease]) -> list[Lease]:
        """Takes back those of `leases` that have not begun, and returns them."""

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        """Reports that came, after at most `timeout` seconds, or earlier when `wake` is called."""

    def beat(self, outstanding: Sequence[Lease], counters: Counters, share: Share) -> list[Report]:
        """Called every second: keeps the map alive, tells how far it is, and reports leases that vanished."""

    def record(self, given_up: Sequence[GivenUp]) -> None:
        """Puts inputs that failed for good where operators see them."""

    def hurry(self) -> None:
        """The map is to end: do not wait long for a server that is gone. Any thread may call it."""

    def finish(self, outstanding: Sequence[Lease]) -> None:
        """The map is over: cancels what is still outstanding and removes its traces."""

    def wake(self) -> None:
        """Makes `wait` return soon. Any thread may call it."""
