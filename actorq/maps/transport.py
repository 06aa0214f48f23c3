"""How leases leave and reports come back: the one seam between a map and where its inputs run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from actorq.frames import Frame
from actorq.maps.ledger import Lease


@dataclass(frozen=True, kw_only=True)
class Results:
    lease: str
    frame: Frame


@dataclass(frozen=True, kw_only=True)
class HandedBack:
    lease: str
    #: position of the first input that will not be run
    end: int


@dataclass(frozen=True, kw_only=True)
class Lost:
    lease: str
    reason: str
    #: position of the input that was running, None when nobody knows
    position: int | None
    replica: str


Report = Results | HandedBack | Lost


class Transport(Protocol):
    """Used by one thread, except `wake`."""

    #: live replicas, as far as known; at least 1
    replicas: int

    def offer(self, leases: Sequence[Lease]) -> int:
        """Submits `leases` in order and returns how many were taken."""

    def wait(self, timeout: float, *, expecting: bool) -> list[Report]:
        """Reports that came, after at most `timeout` seconds, or earlier when `wake` is called."""

    def beat(self, outstanding: Sequence[Lease]) -> list[Report]:
        """Called every `beat_seconds`: keeps the map alive, and reports leases that vanished."""

    def finish(self, outstanding: Sequence[Lease]) -> None:
        """The map is over: cancels what is still outstanding and removes its traces."""

    def wake(self) -> None:
        """Makes `wait` return soon. Any thread may call it."""
