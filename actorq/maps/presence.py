"""What a map is on the server, whatever runs its leases: alive, its code there, its results read.

The one idea: transports differ in where leases go. What they share is here, and they have one of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from actorq.base.waiting import Waker
from actorq.base.warned import warn
from actorq.broker import blobs, records
from actorq.broker.client import Client
from actorq.broker.commands import Argument
from actorq.broker.refusals import ServerFullError
from actorq.broker.scripts import submitting
from actorq.code.bundle import Courier
from actorq.declare.map_options import MapOptions
from actorq.errors import DeclarationError, PoolError
from actorq.maps.pace import Pace
from actorq.maps.share import Share
from actorq.maps.stream import ReportStream
from actorq.wire.lease import Counters, Lease
from actorq.wire.messages import Heads, Parts
from actorq.wire.seal import seal

#: a server that is full for so long is worth a word to the user, seconds
_FULL_WARN_AFTER = 3.0
#: seconds to try an unreachable server when the map ends
_LAST_PATIENCE = 1.0


def told_share(share: Share) -> tuple[float, float, float]:
    """What a heartbeat tells of the replicas' time: had lately, that a lease takes, and had since the last one."""
    standing = share.standing
    return standing.served, standing.cost, share.take_untold() or 0


def told_progress(task: str, started: float, counters: Counters, pace: Pace) -> dict[str, Argument]:
    """What a heartbeat tells for `actorq status`; `started` in Unix seconds."""
    done = counters.succeeded + counters.failed
    return {
        "task": task,
        "started": f"{started:.3f}",
        "total": "" if counters.total is None else counters.total,
        "done": done,
        "failed": counters.failed,
        "rate": f"{pace.rate(done):.3f}",
    }


class Presence:
    """Of one map, through two connections: one that waits for results cannot submit.

    Args:
        client: lends the connections.
        map_id, owner: whose it is; the owner is a random word.
        options: of the map.
    """

    def __init__(self, client: Client, map_id: str, owner: str, options: MapOptions) -> None:
        self.client = client
        self.map_id, self.owner = map_id, owner
        self.environment = options.environment
        self.heads = Heads(options.head)
        self.task = options.head.task
        self.link, self._reader = client.borrow(), client.borrow()
        self.stream = ReportStream(self._reader, self.link, self.environment, map_id)
        self.waker = Waker()
        self._code = Courier(options.bundle)
        self._code.bring(self.link)
        self._started = time.time()
        self._pace = Pace()
        #: more that the heartbeat tells of the map
        self.beside: dict[str, Argument] = {}
        self._full_since: float | None = None
        self._told_full = False

    def sealed(self, lease: Lease) -> Parts:
        """The payload of a lease."""
        head = self.heads.of(final=lease.last_try, alone=lease.alone)
        return seal(self.environment, lease.id, head, lease.inputs)

    def check(self, counters: Counters, share: Share, leases: Iterable[str]) -> submitting.Checked:
        """A heartbeat, which says whose the map is and how far, for `actorq status`."""
        found = submitting.check(
            self.link,
            self.environment,
            self.map_id,
            self.owner,
            last=self.stream.position.last,
            leases=leases,
            share=told_share(share),
            progress=told_progress(self.task, self._started, counters, self._pace) | self.beside,
        )
        if found.replicas == submitting.CANCELLED:
            raise PoolError(f"Map {self.map_id!r} was cancelled by somebody: `actorq cancel` does it.")
        if not found.known:
            self.stream.begin_anew()
        self._code.bring(self.link, anew=not found.known)  # nor has it the code
        return found

    def claim(self) -> bool:
        """Makes the map's record, if nobody else has one under its id; `MapOffers` does it by itself."""
        return records.claim_map(self.link, self.map_id, self.owner)

    def taken(self) -> DeclarationError:
        """For a map whose id another one has."""
        return DeclarationError(f"map_id {self.map_id!r} is in use by another map, a run or a job: choose another one.")

    def bear_full(self, error: ServerFullError, *, alone: bool, pause: float) -> None:
        """A full server has refused an offer: waits a moment, or raises that where nothing of ours will make room.

        Args:
            error: the refusal.
            alone: nothing of the map is outstanding.
            pause: seconds.
        """
        now = time.monotonic()
        if self._full_since is None:
            self._full_since, self._told_full = now, False
        full_for = now - self._full_since
        if alone and full_for > self.client.patience:
            raise error
        if full_for > _FULL_WARN_AFTER and not self._told_full:
            self._told_full = True
            warn(f"{error} The map waits for room.")
        time.sleep(pause)

    def has_room(self) -> None:
        """The server has taken an offer."""
        self._full_since = None

    def hurry(self) -> None:
        """The map is to end. Any thread may call it."""
        for link in (self.link, self._reader):
            link.hurry(min(_LAST_PATIENCE, self.client.patience))

    def finish(self, outstanding: Iterable[Lease]) -> None:
        """Nothing of the map stays. Raises `BrokerError`."""
        try:
            self.stream.close()
            leases = [lease.id for lease in outstanding]
            submitting.close(self.link, self.environment, self.map_id, self.owner, leases)
            blobs.sweep(f"{self.map_id}-{self.owner}-", self.link)
        finally:
            self.client.give_back(self.link)
            self.client.give_back(self._reader)
            self.waker.close()
