"""What runs in a replica's process just now, for what its tasks log.

The one idea: *it is asked for, and never told*. The page of a replica has its lease and the position of its input
anyway, so an input that logs nothing costs nothing.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from actorq.replica.pages import Page

#: the id of a lease: map, owner and serial number, with the index of its first input where the others follow that
_LEASE = re.compile(r"(?P<map>.+)-[0-9a-f]{6}-\d+(?:x(?P<index>\d+))?(?:_[0-9a-f]{8})?")
#: of a call of `.remote`
_CALL = re.compile(r"(?P<map>call-[^-]+)-\d+")


class Unpublished(Protocol):
    """A lease whose page does not say which input runs."""

    @property
    def done(self) -> int: ...


#: the lease of that kind that this process runs
unpublished: Unpublished | None = None


def describe(replica: str, lease: str, position: int | None) -> dict[str, Any]:
    """Where and what: the input at `position` of a lease, None where that is not known."""
    told: dict[str, Any] = {"replica": replica}
    found = _CALL.fullmatch(lease) or _LEASE.fullmatch(lease)
    if found is None:  # the id of a single job
        told["map"] = lease
    else:
        told["map"] = found["map"]
        first = found.groupdict().get("index")
        if first is not None and position is not None:
            told["index"] = int(first) + position
    return told


def now(replica: str, page: Page) -> dict[str, Any]:
    """What the replica with this page runs."""
    if not page.running:
        return {"replica": replica}
    position = page.position
    if position is None and (run := unpublished) is not None:
        position = run.done
    return describe(replica, page.held.rpartition(":")[0], position)
