"""What passes between a map's books and where its inputs run: leases out, reports back."""

from __future__ import annotations

from dataclasses import dataclass

from actorq.frames import Frame


@dataclass(kw_only=True)
class Lease:
    """Inputs `lo` … `lo + count - 1`, offered to one replica."""

    serial: int
    id: str
    lo: int
    count: int
    inputs: bytes
    #: to be run before leases that wait
    front: bool = False
    #: an input that fails now has failed for good
    last_try: bool = True
    #: results have come for the inputs before this one
    done: int = 0


@dataclass(frozen=True, kw_only=True)
class Results:
    lease: str
    frame: Frame


@dataclass(frozen=True, kw_only=True)
class HandedBack:
    lease: str
    #: position of the first input that will not be run
    end: int


#: position of a `Lost` whose replica died while it ran no input: none is to blame
NONE_RAN = -1


@dataclass(frozen=True, kw_only=True)
class Lost:
    lease: str
    reason: str
    #: position of the input that was running, `NONE_RAN`, or None when nobody knows
    position: int | None
    replica: str


Report = Results | HandedBack | Lost


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """An input that failed for good without a replica that could record it."""

    index: int
    lease: str
    input: bytes
    reason: str
    replica: str


@dataclass(kw_only=True)
class Counters:
    """What a map has done so far; `MapHandle.stats()` shows it."""

    total: int | None = None
    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    #: inputs leased again because a replica died or handed them back
    recovered: int = 0
    #: results that came from a replica already given up
    late: int = 0
    leases: int = 0
    busy_seconds: float = 0.0
