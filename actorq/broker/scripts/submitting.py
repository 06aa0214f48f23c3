"""What a submitter says to the server: it offers leases and calls, looks after its maps, and ends them.

The one idea: nobody else counts the arguments of a script. What stays the same in every call of one is packed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from actorq.broker import keys
from actorq.broker.commands import Argument, Command, iso_now
from actorq.broker.link import Link, Store
from actorq.broker.scripts.load import CALL, CHECK, CLOSE, FAIL, MAP_CANCEL, RECALL, REPLICAS, SUBMIT


def _of_map(map_id: str) -> list[str]:
    """The keys of check.lua and close.lua, and the first of those that offer."""
    return [keys.map_(map_id), keys.out(map_id)]


# -- offers ------------------------------------------------------------------------------------------------------------


class Offered(NamedTuple):
    """One lease of a map."""

    serial: int
    lease: str
    #: what RQ's tools show
    description: str
    #: "" at the end of the queue, "1" at its front, else the only replica that may run it
    where: str
    payload: bytes
    #: of a run, what its journal tells of the lease: the number of inputs, with "a" behind it if it runs alone
    opened: str = ""


class Accepted(NamedTuple):
    """What became of an offer."""

    #: how many replicas serve the environment
    replicas: int
    #: leases, the first ones of those that were offered
    leases: int


class MapOffers:
    """`submit.lua` for one map: leases go to idle replicas, or wait in the queue."""

    def __init__(self, environment: str, map_id: str, owner: str, lease_seconds: float) -> None:
        self._names = (map_id.encode(), owner.encode())
        named = [*_of_map(map_id), keys.queue(environment), keys.workers(environment), keys.SUSPENDED]
        # the map's heartbeat renews it; its first offer sets its TTL
        self._command = Command.of(SUBMIT, named, *keys.prefix(environment), "", lease_seconds)

    def send(
        self,
        link: Link,
        leases: Iterable[Offered],
        stores: Sequence[Store],
        *,
        read_until: bytes,
        only_idle: bool,
        served: float,
    ) -> Accepted | None:
        """Offers `leases`; None when the map belongs to somebody else.

        Args:
            link: the connection.
            leases: in the order of their serials.
            stores: large payloads among them.
            read_until: entries of the map's stream before this id are dropped; b"" drops none.
            only_idle: none may wait in the queue.
            served: seconds of the replicas' time that the map has had.

        Raises `ServerFullError` at once, and `BrokerError` when the patience is spent.
        """
        args = [iso_now(), read_until, b"1" if only_idle else b"", *self._names, b"%.6f" % served]
        for serial, lease, description, where, payload, opened in leases:
            args += (b"%d" % serial, lease.encode(), description.encode(), where.encode(), payload, opened.encode())
        replicas, accepted = link.call_packed(SUBMIT, self._command.packed(*args), stores, full=False)
        return None if replicas < 0 else Accepted(int(replicas), int(accepted))


class CallOffers:
    """`call.lua` for one lane: single calls, one after the other."""

    def __init__(self, environment: str, lane: str, lease_seconds: float, description: str) -> None:
        named = [*_of_map(lane), keys.queue(environment), keys.SUSPENDED]
        self._command = Command.of(CALL, named, *keys.prefix(environment))
        self._lease_seconds = str(lease_seconds).encode()
        self._lane, self._description = lane.encode(), description.encode()

    def packed(
        self,
        serial: int,
        payload: bytes,
        *,
        ttl_seconds: int | None,
        read_until: bytes,
        only_idle: bool,
        new: bool,
        cost: float,
    ) -> bytes:
        """The command that offers call number `serial`.

        Args:
            serial: counts up on a lane; with the lane it names the lease.
            payload: of the lease.
            ttl_seconds: how long the lane lives from now on; None leaves that as it is.
            read_until: entries of the lane's stream before this id are dropped; b"" drops none.
            only_idle: it may not wait in the queue.
            new: it was not sent before.
            cost: seconds that it will take.
        """
        number = b"%d" % serial
        return self._command.packed(
            b"" if ttl_seconds is None else b"%d" % ttl_seconds,
            self._lease_seconds,
            iso_now(),
            read_until,
            b"1" if only_idle else b"",
            b"1" if new else b"",
            self._lane,
            number,
            b"%b-%b" % (self._lane, number),
            self._description,
            b"%.6f" % cost,
            payload,
        )

    @staticmethod
    def send(link: Link, command: bytes, stores: Sequence[Store]) -> bool:
        """Offers it and waits for the answer: False when no replica is idle, and it may not wait."""
        return bool(link.call_packed(CALL, command, stores))


def recall(link: Link, environment: str, leases: Iterable[str]) -> set[str]:
    """Takes back leases that have not begun (`recall.lua`); returns those."""
    taken: list[bytes] = link.call(RECALL, [], [*keys.prefix(environment), *leases])
    return {lease.decode() for lease in taken}


# -- maps --------------------------------------------------------------------------------------------------------------


#: for the replicas: somebody has cancelled the map
CANCELLED = -2


class Checked(NamedTuple):
    """What a heartbeat tells."""

    #: -1: another driver has taken over this run; `CANCELLED`
    replicas: int
    #: the server knows of the map all that was read; else its stream begins anew
    known: bool
    #: leases without an unfinished job
    missing: set[str]


def check(
    link: Link,
    environment: str,
    map_id: str,
    owner: str,
    *,
    last: bytes,
    leases: Iterable[str],
    share: tuple[float, float, float] = (0.0, 0.0, 0.0),
    progress: Mapping[str, Argument] | None = None,
) -> Checked:
    """The heartbeat of a map, or of a lane of single calls (`check.lua`): keeps it alive.

    Args:
        link: the connection.
        environment, map_id, owner: whose it is.
        last: the id up to which its stream was read.
        leases: those that it waits for.
        share: seconds of the replicas' time that it had lately, that a lease of it takes, and that it had since the
            last heartbeat.
        progress: what `actorq status` shows; None for a lane, which it does not show.
    """
    listed = "" if progress is None else map_id
    told = [word for item in (progress or {}).items() for word in item]
    args: list[Argument] = [*keys.prefix(environment), keys.MAP_TTL_SECONDS, owner, listed, last, *share]
    args += (len(told) // 2, *told, *leases)
    live, known, *missing = link.call(CHECK, _of_map(map_id), args)
    return Checked(int(live), bool(known), {lease.decode() for lease in missing})


def close(
    link: Link, environment: str, map_id: str, owner: str, leases: Iterable[str], *, within: float | None = None
) -> None:
    """Ends a map, or a lane (`close.lua`): nothing of it stays, and replicas stop what they run of `leases`.

    Args:
        link: the connection.
        environment, map_id, owner: whose it is.
        leases: those that are not finished.
        within: seconds to try; None: as long as the connection's patience lasts.
    """
    args: list[Argument] = [*keys.prefix(environment), owner, map_id, *leases]
    if within is None:
        link.call(CLOSE, _of_map(map_id), args)
    else:
        link.call_quickly(CLOSE, _of_map(map_id), args, [], within)


def cancel_map(link: Link, map_id: str) -> bool:
    """Tells the program of a live map to end it (`map_cancel.lua`); False where there is none."""
    return bool(link.call(MAP_CANCEL, [keys.map_(map_id)], ["", "", ""]))


class Failed(NamedTuple):
    """An input that its submitter has given up."""

    id: str
    description: str
    #: as RQ keeps it: zlib, base64
    reason: str | bytes
    #: what `rq requeue` runs; b"" where it is too large to keep
    payload: bytes
    replica: str


def fail(link: Link, environment: str, inputs: Iterable[Failed]) -> None:
    """Puts inputs into RQ's registry of failed jobs (`fail.lua`)."""
    args: list[Argument] = [*keys.prefix(environment), iso_now()]
    for each in inputs:
        args += each
    link.call(FAIL, [], args)


def replicas(link: Link, environment: str, lease_seconds: float) -> list[str]:
    """The names of the replicas whose supervisors were heard within a lease (`replicas.lua`)."""
    least = keys.worker_ttl(lease_seconds) - lease_seconds
    return [name.decode() for name in link.call(REPLICAS, [], [*keys.prefix(environment), least])]


def known_replicas(link: Link, environment: str) -> list[str]:
    """The same, also of those that were not heard for longer, as long as the server knows them."""
    return [name.decode() for name in link.call(REPLICAS, [], [*keys.prefix(environment), 0])]
