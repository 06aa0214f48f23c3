"""What passes between a map's books and where its inputs run: leases out, reports back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1

from actorq.base.frozen import frozen
from actorq.wire.messages import Frame


@dataclass(kw_only=True)
class Lease:
    """Inputs offered to one replica: a run of them, unless the map has affinity."""

    serial: int
    id: str
    #: of its inputs; a range where they are consecutive
    indexes: Sequence[int]
    inputs: bytes
    #: to be run before leases that wait
    front: bool = False
    #: an input that fails now has failed for good
    last_try: bool = True
    #: its input is to have a process to itself
    alone: bool = False
    #: results have come for the inputs before this one
    done: int = 0
    #: the replica it is meant for; "" for any
    replica: str = ""
    #: things its inputs need that this replica has to load first
    cold: int = 0

    @property
    def count(self) -> int:
        return len(self.indexes)


@lru_cache(maxsize=10_000)
def tag(replica: str) -> str:
    """How the id of a lease ends that is meant for one replica: what next.lua looks for. Other ids have no such end."""
    return "_" + sha1(replica.encode(), usedforsecurity=False).hexdigest()[:8]


def ending(serial: int, indexes: Sequence[int], replica: str) -> str:
    """How the id of a lease ends: where its inputs follow one another, with the index of the first, which tells a
    replica what it runs; and with the replica that it is meant for, if there is one.
    """
    first = f"x{indexes[0]}" if isinstance(indexes, range) or len(indexes) == 1 else ""
    return f"{serial}{first}{tag(replica) if replica else ''}"


#: the id of an input that failed: map, owner, serial, index of the lease's first, replica, position in the lease
FAILED_INPUT = re.compile(r"(?P<map>.+)-[^-]{6}-\d+(x(?P<first>\d+))?(_[0-9a-f]{8})?-(?P<position>\d+)", re.ASCII)


def first_index(lease: str) -> int:
    """The index of the first input, as the end of a lease's id tells it. Raises `ValueError` where it does not."""
    return int(lease.rpartition("-")[2].partition("_")[0].partition("x")[2])


def is_addressed(lease: str) -> bool:
    """Whether only one replica may run the lease of this id."""
    return lease[-9:-8] == "_"


@frozen
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
    #: it may live: what it sent cannot be read
    damaged: bool = False


@dataclass(frozen=True, kw_only=True)
class Lives:
    """A replica that was taken for lost lives: it was cut off from the server for longer than a lease."""

    lease: str


@frozen
class Opened:
    """Of a run's journal: its driver has offered a lease, of inputs from the index that its id tells."""

    lease: str
    count: int
    #: with a process to itself
    alone: bool


@frozen
class Ended:
    """Of a run's journal: nothing more comes."""

    lease: str
    state: str


@frozen
class Reopened:
    """Of a run's journal: what has failed, and what was out, runs again."""

    lease: str


@frozen
class Stored:
    """Of a run's journal: more of its inputs are there. It changes no books, and wakes who waits for them."""

    lease: str


#: of a run's journal alone
Noted = Opened | Ended | Reopened | Stored
Report = Results | HandedBack | Lost | Lives | Noted

#: reason of a `Lost` whose replica was not heard of for the length of a lease
LAPSED = "lapsed"


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """An input that failed for good without a replica that could record it."""

    index: int
    lease: str
    input: bytes
    reason: str
    replica: str
    #: nobody died: its results could not be read
    damaged: bool = False


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


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The packed code that the leases of a map need."""

    #: SHA-256 of the archive, as hex: its name
    code: str
    #: what the server keeps: magic, signature, archive
    data: bytes
