"""What is said of runs, the maps that outlive their script: by who starts one, by its driver, and by who ends it.

The one idea: as in `submitting.py`, nobody else counts the arguments of a script. A driver writes only while it leads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from actorq.base.names import new_id
from actorq.broker import keys
from actorq.broker.commands import Argument, Command
from actorq.broker.link import Link
from actorq.broker.scripts.load import (
    RUN_APPEND,
    RUN_CREATE,
    RUN_END,
    RUN_KEEP,
    RUN_LEAD,
    RUN_NOTE,
    RUN_RETRY,
    RUN_SEAL,
)
from actorq.errors import MapConflictError
from actorq.wire.lease import Counters

#: what `lead`, `end` and `retry` return: another driver leads, or it still runs; it is done; it has ended, or is gone
OTHERS, DONE, ENDED = 0, 1, -1
#: what `append` returns where other inputs are stored
CONFLICT = -2


class Started(NamedTuple):
    """A run as the server has it."""

    is_new: bool
    #: what it is to do, as `create` was given it the first time
    plan: bytes
    #: "running", or how it has ended
    state: str
    #: inputs that are stored
    stored: int
    #: inputs in all; None while they are still being stored
    total: int | None


def create(link: Link, environment: str, run_id: str, plan: bytes, expires: int) -> Started:
    """Tells the server of a run (`run_create.lua`), unless there is one of this name, which is returned.

    Args:
        link: the connection.
        environment, run_id: whose it is.
        plan: what it is to do.
        expires: seconds after which all of it is dropped, unless it has ended before.

    Raises `MapConflictError` where a job or a live map has its name.
    """
    args: list[Argument] = [*keys.prefix(environment), run_id, expires, plan]
    new, *told = link.call(RUN_CREATE, [keys.run(run_id), keys.runs(environment)], args)
    if new < 0:
        raise MapConflictError(f"map_id {run_id!r} is the name of a {told[0].decode()}: choose another one.")
    plan, state, count, total = told
    return Started(bool(new), plan, state.decode(), int(count), int(total) if total else None)


def append(
    link: Link, environment: str, run_id: str, first: int, count: int, inputs: bytes, sums: bytes, expires: int
) -> int:
    """Stores inputs from index `first` on (`run_append.lua`); returns how many are stored now, `ENDED` where none can,
    `CONFLICT` where others are there.

    Args:
        link: the connection.
        environment, run_id: whose they are.
        first, count: their indexes.
        inputs: them, as they lie on the server.
        sums: four bytes of each, by which inputs are compared later.
        expires: seconds.
    """
    named = [keys.run(run_id), keys.run_inputs(run_id), keys.run_sums(run_id), keys.out(run_id)]
    args: list[Argument] = [*keys.prefix(environment), first, count, inputs, sums, expires]
    return int(link.call_packed(RUN_APPEND, Command.of(RUN_APPEND, named, *args).packed(), full=False))


def seal(link: Link, environment: str, run_id: str, total: int) -> bool:
    """All inputs are stored (`run_seal.lua`). False for a run that is gone, or has fewer."""
    return bool(link.call(RUN_SEAL, [keys.run(run_id), keys.out(run_id)], [*keys.prefix(environment), total]))


def lead(link: Link, environment: str, run_id: str, owner: str, seconds: int, driver: str, *, take: bool) -> int:
    """Takes or keeps the lead of a run (`run_lead.lua`): `DONE`, `OTHERS` or `ENDED`.

    Args:
        link: the connection.
        environment, run_id: the run.
        owner: of the leases that this driver makes.
        seconds: how long the lead lasts.
        driver: who it is: host and process.
        take: False only keeps it.
    """
    named = [keys.run(run_id), keys.map_(run_id), keys.lead(run_id), keys.out(run_id)]
    return int(link.call(RUN_LEAD, named, [*keys.prefix(environment), owner, seconds, driver, "1" if take else ""]))


class Leader(NamedTuple):
    """Who writes as the driver of a run. What it says is refused where it leads no more, or the journal is another one
    than it has read: then the server has returned in an older state.
    """

    environment: str
    run_id: str
    #: of the leases that it makes
    owner: str
    #: the last entry of the journal that it has read
    last: bytes


def note(link: Link, leader: Leader, needed_from: int, entry: Sequence[str | int]) -> bool:
    """Drops inputs below `needed_from`, and writes an entry into the journal (`run_note.lua`); False where refused."""
    environment, run_id, owner, last = leader
    named = [keys.map_(run_id), keys.out(run_id)]
    args = [*keys.prefix(environment), owner, last, f"{needed_from + 1}-0", keys.run_inputs(run_id), *entry]
    return bool(link.call(RUN_NOTE, named, args))


def keep(link: Link, leader: Leader, inputs: Mapping[int, bytes], over: Iterable[int] = ()) -> bool:
    """Keeps inputs that have failed, by their indexes, when the others go, and drops those of `over`, which have
    succeeded since (`run_keep.lua`); False where refused.
    """
    environment, run_id, owner, last = leader
    named = [keys.map_(run_id), keys.out(run_id), keys.run_failed(run_id), keys.run(run_id)]
    kept: list[Argument] = [each for item in inputs.items() for each in item]
    return bool(link.call(RUN_KEEP, named, [*keys.prefix(environment), owner, last, len(inputs), *kept, *over]))


def end(link: Link, leader: Leader, state: str, why: bytes, kept: int, counters: Counters | None = None) -> int:
    """Ends a run (`run_end.lua`): `DONE`, `OTHERS` or `ENDED`.

    Args:
        link: the connection.
        leader: its driver; one without an owner is a person, whom everybody obeys.
        state: how it has ended.
        why: a failure as `failure.describe` makes it, packed; b"" for none.
        kept: seconds that its results are kept.
        counters: what it has done; None: as its driver last said.
    """
    environment, run_id, owner, last = leader
    named = [keys.run(run_id), keys.map_(run_id), keys.lead(run_id), keys.out(run_id)]
    named += [keys.run_inputs(run_id), keys.run_sums(run_id), keys.runs(environment), keys.run_failed(run_id)]
    named.append(keys.ended(environment))
    counted = ("", "") if counters is None else (counters.succeeded + counters.failed, counters.failed)
    return int(link.call(RUN_END, named, [*keys.prefix(environment), owner, run_id, state, why, kept, *counted, last]))


def by_person(environment: str, run_id: str) -> Leader:
    """Of a run that somebody ends, who does not drive it."""
    return Leader(environment, run_id, "", b"0-0")


def retry(link: Link, environment: str, run_id: str, plan: bytes, expires: int) -> int:
    """Opens a run that has ended once more (`run_retry.lua`): `DONE`, `OTHERS` while it runs, or `ENDED` for one that
    was cancelled, or is gone.

    Args:
        link: the connection.
        environment, run_id: the run.
        plan: what it is to do from now on.
        expires: seconds after which all of it is dropped, unless it has ended before.
    """
    named = [keys.run(run_id), keys.out(run_id), keys.run_inputs(run_id), keys.run_sums(run_id)]
    named += [keys.run_failed(run_id), keys.runs(environment), keys.ended(environment)]
    return int(link.call(RUN_RETRY, named, [*keys.prefix(environment), run_id, expires, plan, new_id()]))
