"""What a replica says to the server: its executor commits results and takes leases, its supervisor looks after both.

The one idea: as in `submitting.py`, nobody else counts the arguments of a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from actorq.broker import keys
from actorq.broker.commands import Argument, Command, iso_now
from actorq.broker.link import Link, Store
from actorq.broker.scripts.load import BOOK, LOST, NEXT, RENEW, SYNC, UNCLAIM

# -- the executor ------------------------------------------------------------------------------------------------------

#: what an executor wants beside committing (`next.lua`)
NOTHING = b""
#: the next lease
LEASE = b"1"
#: the same; a wait on its mailbox is sent behind, which an empty mail answers where there is one
LEASE_OR_MAIL = b"+"
#: nothing: it goes on with a lease that it has
GO_ON = b"-"
#: the same, and a lease to run after that, if enough wait for the others
GO_ON_AND_CLAIM = b"a"


@dataclass(kw_only=True)
class Step:
    """One call of `next.lua`."""

    #: one of the above
    want: bytes
    #: "<lease>:<attempt>" that it goes on with, or b"1": it may hold leases that it does not know of
    holds: bytes = b""
    #: the lease that is committed, b"" for none
    lease: bytes = b""
    attempt: bytes = b""
    #: its results
    frame: bytes = b""
    #: some of its inputs failed
    errors: bool = False
    #: others that ran beside them are to blame for all that failed
    disturbed: bool = False
    #: of those that failed for good: id, description, reason, payload, and b"1" if no retry is wanted each
    failed: list[bytes] = field(default_factory=list)


class Answer(NamedTuple):
    """What `next.lua` returns."""

    #: b"ok", b"lost" where another attempt has taken over, b"" where nothing was to commit
    committed: bytes
    #: b"" where there is none
    lease: bytes
    attempt: bytes
    payload: bytes
    #: not b"" while enough leases wait for the other replicas
    plenty: bytes


class Steps:
    """`next.lua` for one replica: it commits the lease that it ran, and gets the next one."""

    def __init__(self, environment: str, worker: str, lease_seconds: float) -> None:
        named = [keys.queue(environment), keys.mail(worker), keys.SUSPENDED, keys.failed(environment)]
        self._command = Command.of(NEXT, named, *keys.prefix(environment), worker, lease_seconds)

    def packed(self, step: Step) -> bytes:
        """The command; its answer is read with `answer`."""
        count = b"%d" % (len(step.failed) // 5) if step.failed or not step.errors else b"~" if step.disturbed else b"-"
        return self._command.packed(
            iso_now(), step.want, step.holds, step.lease, step.attempt, step.frame, count, *step.failed
        )

    @staticmethod
    def answer(reply: Any) -> Answer:
        return Answer(*reply)

    def once(self, link: Link, step: Step, stores: Sequence[Store]) -> Answer:
        """Sends it once, behind what it stores. Raises redis-py's errors."""
        return Answer(*link.call_once(NEXT, self.packed(step), stores))

    def patiently(self, link: Link, step: Step, stores: Sequence[Store]) -> Answer:
        """Sends it until it is answered. Raises `BrokerError` when the patience is spent."""
        return Answer(*link.call_packed(NEXT, self.packed(step), stores))


#: what `sync` returns: the lease is another's, or its map is gone; it is this replica's; and it keeps the rest
GONE, OURS, KEPT = 0, 1, 2


class Part(NamedTuple):
    """Results of the inputs from `start` to `end` of a lease."""

    start: int
    end: int
    message: bytes


def sync(
    link: Link,
    environment: str,
    member: bytes,
    *,
    part: Part | None,
    end: int | None,
    must: bool,
    stores: Sequence[Store],
    within: float,
) -> int:
    """A replica sends a part of a lease's results, and gives back inputs that have not begun (`sync.lua`).

    Args:
        link: the connection.
        environment: what the replica serves.
        member: "<lease>:<attempt>".
        part: the results; None for none.
        end: the lease ends before this input from now on; None leaves it as it is.
        must: the replica cannot run the rest itself.
        stores: a large message of `part`.
        within: seconds to try, once.

    Returns `GONE`, `OURS`, or `KEPT` where there is no other replica for the rest. Raises `BrokerError`.
    """
    args: list[Argument] = [*keys.prefix(environment), member, *(part or (0, 0, b""))]
    args += ("" if end is None else end, "1" if must else "")
    return int(link.call_quickly(SYNC, [], args, stores, within))


def unclaim(link: Link, environment: str, worker: str, running: str | bytes, *, within: float | None = None) -> bool:
    """Gives back what a replica has claimed behind the lease `running` (`unclaim.lua`); whether there was any.

    Args:
        link: the connection.
        environment, worker: the replica.
        running: "<lease>:<attempt>".
        within: seconds to try, once; None: as long as the connection's patience lasts.
    """
    args: list[Argument] = [*keys.prefix(environment), worker, running]
    if within is None:
        return bool(link.call(UNCLAIM, [], args))
    return bool(link.call_quickly(UNCLAIM, [], args, [], within))


# -- the supervisor ----------------------------------------------------------------------------------------------------


def renew(link: Link, environment: str, lease_seconds: float, *, held: Sequence[str], idle: Iterable[str]) -> list[str]:
    """Renews what executors hold (`renew.lua`); returns the members that should stop.

    Args:
        link: the connection.
        environment: what the replicas serve.
        lease_seconds: from now on.
        held: "<lease>:<attempt>" each.
        idle: names of the replicas that wait for a lease.
    """
    args: list[Argument] = [*keys.prefix(environment), lease_seconds, len(held), *held, *idle]
    return [member.decode() for member in link.call(RENEW, [], args)]


class Shown(NamedTuple):
    """What RQ's tools show of a replica."""

    worker: str
    busy: bool
    #: "<lease>:<attempt>", "" for none
    held: str
    leases: int
    leases_with_failures: int
    busy_seconds: float


def book(link: Link, environment: str, lease_seconds: float, replicas: Iterable[Shown]) -> None:
    """Tells what RQ's tools show of replicas (`book.lua`)."""
    args: list[Argument] = [*keys.prefix(environment), lease_seconds, iso_now()]
    for each in replicas:
        args += (each.worker, "busy" if each.busy else "idle", each.held)
        args += (each.leases, each.leases_with_failures, each.busy_seconds)
    link.call(BOOK, [], args)


def lost(
    link: Link, environment: str, worker: str, reason: str, *, member: str = "", position: int | None = None
) -> None:
    """An executor has ended (`lost.lua`): what it held goes back to its submitter.

    Args:
        link: the connection.
        environment, worker: the replica.
        reason: why it has ended, for the submitter.
        member: "<lease>:<attempt>" that it ran, "" for none.
        position: of the input that ran in the lease; -1: none did; None: nobody knows.
    """
    at: Argument = "" if position is None else "-" if position < 0 else position
    link.call(LOST, [], [*keys.prefix(environment), worker, reason, member, at])
