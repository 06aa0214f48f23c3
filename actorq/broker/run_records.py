"""What lies on the server of runs, the maps that outlive their script.

The one idea: as in `records.py`, plain commands that read, wait or remove, each under the name of what it is for. What
the driver of a run writes is a script, which refuses who leads no more: see `scripts/running.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from actorq.broker import blobs, keys
from actorq.broker.link import Link
from actorq.broker.records import WISH_SECONDS
from actorq.errors import ActorqError
from actorq.wire.lease import FAILED_INPUT

#: checksums of so many chunks are read at once: 4 MB, where all are full
_SUMS_AT_ONCE = 100
#: entries of a journal that are looked at in one go for large results
_ENTRIES = 256

#: an entry of a stream: its id, and its fields
Entry = tuple[bytes, list[bytes]]


class JournalGapError(ActorqError):
    """A journal does not have the entry any more that was read last: the server has returned in an older state."""


class RunRecord(NamedTuple):
    """A run as the server has it."""

    environment: str
    plan: bytes
    #: "running", or how it has ended
    state: str
    #: inputs that are stored, and all of them; None while they are still being stored
    stored: int
    total: int | None
    #: Unix seconds
    created: float
    #: when it was started, or opened once more
    begun: float
    ended: float | None
    #: how often it was opened once more
    rounds: int
    #: why it has ended, packed; b"" for nothing
    why: bytes


def run_record(link: Link, run_id: str) -> RunRecord | None:
    """What the server has of a run; None where it knows of none."""
    names = ("env", "plan", "state", "count", "total", "created", "begun", "ended", "rounds", "why")
    found = link.command("HMGET", keys.run(run_id), *names)
    env, plan, state, count, total, created, begun, ended, rounds, why = found
    if plan is None or env is None or state is None:
        return None
    return RunRecord(
        environment=env.decode(),
        plan=plan,
        state=state.decode(),
        stored=int(count or 0),
        total=None if total is None else int(total),
        created=float(created or 0),
        begun=float(begun or created or 0),
        ended=None if ended is None else float(ended),
        rounds=int(rounds or 0),
        why=why or b"",
    )


def seconds_since(link: Link, moment: float) -> float:
    """How long ago that was by the server's clock, which has told it."""
    seconds, micros = link.command("TIME")
    return max(int(seconds) + int(micros) / 1e6 - moment, 0.0)


def open_runs(link: Link, environment: str) -> list[str]:
    """The runs of an environment that have not ended."""
    return [name.decode(errors="replace") for name in link.command("ZRANGE", keys.runs(environment), 0, -1)]


class RunProgress(NamedTuple):
    """What a driver last said of its run."""

    done: int
    #: of them
    failed: int
    #: inputs a second of late
    rate: float
    #: its host and process
    driver: str


def run_progress(link: Link, run_id: str) -> RunProgress:
    """How far a run is, or was when it ended."""
    done, failed, rate, driver = link.command("HMGET", keys.map_(run_id), "done", "failed", "rate", "driver")
    if done is None:
        done, failed = link.command("HMGET", keys.run(run_id), "done", "failed")
    return RunProgress(int(done or 0), int(failed or 0), float(rate or 0), (driver or b"").decode(errors="replace"))


def kept_of_run(run_id: str) -> list[str]:
    """The keys that stay when a run has ended."""
    named = [keys.run(run_id), keys.out(run_id), keys.run_inputs(run_id), keys.run_sums(run_id)]
    return [*named, keys.run_failed(run_id)]


def has_open_runs(link: Link, environment: str) -> bool:
    """Whether there is any."""
    return bool(link.command("EXISTS", keys.runs(environment)))


def forget_open_run(link: Link, environment: str, run_id: str) -> None:
    """A run that has ended, or is gone, is open no more."""
    link.command("ZREM", keys.runs(environment), run_id)


def forget_ended_run(link: Link, environment: str, run_id: str) -> None:
    """A run is not kept any more."""
    link.command("ZREM", keys.ended(environment), run_id)


def wake_drivers(link: Link, environment: str) -> None:
    """Has a driver of the environment look for runs."""
    link.command("RPUSH", keys.wake(environment), "")
    link.command("EXPIRE", keys.wake(environment), WISH_SECONDS)


def wait_for_wake(link: Link, environment: str, seconds: float) -> None:
    """Until somebody says so, or for so long."""
    link.command("BLPOP", keys.wake(environment), seconds)


def kept_failed(link: Link, run_id: str) -> set[int]:
    """The indexes of those."""
    return {int(index) for index in link.command("HKEYS", keys.run_failed(run_id))}


def failed_input(link: Link, run_id: str, index: int) -> bytes | None:
    """One of those, as it was given; None where it is not there."""
    found: bytes | None = link.command("HGET", keys.run_failed(run_id), index)
    return found


def free_runs(link: Link, environment: str, driver: str) -> None:
    """A driver has died: others may take over what it led, and are told so."""
    led = [run_id for run_id in open_runs(link, environment) if run_progress(link, run_id).driver == driver]
    for run_id in led:
        leave_lead(link, run_id)
    if led:
        wake_drivers(link, environment)


def leave_lead(link: Link, run_id: str) -> None:
    """This driver goes: another one may take over at once."""
    link.command("UNLINK", keys.lead(run_id))


def run_sums(link: Link, run_id: str, first: int) -> Iterator[bytes]:
    """The checksums of the inputs of a run, of one chunk after the other, from chunk `first` on."""
    while some := link.command("LRANGE", keys.run_sums(run_id), first, first + _SUMS_AT_ONCE - 1):
        yield from some
        first += len(some)


def run_chunk(link: Link, run_id: str, index: int) -> tuple[int, bytes] | None:
    """The chunk in which an input lies: the index of its first, and what is stored; None where it is not there."""
    asked = ("XREVRANGE", keys.run_inputs(run_id), f"{index + 1}-0", "-", "COUNT", 1)
    found = link.command(*asked, most=blobs.most_bytes())
    if not found:
        return None
    entry, fields = found[0]
    first, count = int(entry.partition(b"-")[0]) - 1, int(fields[1])
    return (first, fields[3]) if first <= index < first + count else None


def journal(link: Link, run_id: str, last: bytes, count: int) -> list[Entry]:
    """The next entries of a run's journal behind the id `last`. Raises `JournalGapError` where that is not there."""
    found: list[Entry] = link.command("XRANGE", keys.out(run_id), last, "+", "COUNT", count + 1)
    if last == b"0-0":
        return found[:count]
    if not found or found[0][0] != last:
        raise _gap(run_id)
    return found[1:]


def journal_after(link: Link, run_id: str, last: bytes, count: int, wait: float) -> list[Entry]:
    """The same, waited for, `wait` seconds at most."""
    block, out = max(1, int(wait * 1000)), keys.out(run_id)
    asked = ("XREAD", "COUNT", count, "BLOCK", block, "STREAMS", out, last)
    found, known = link.pipeline([asked, ("XRANGE", out, last, last)])
    if last != b"0-0" and not known and link.command("EXISTS", out):
        raise _gap(run_id)
    return found[0][1] if found else []


def wait_for_entry(link: Link, run_id: str, last: bytes, wait: float) -> bytes:
    """Waits until the journal has an entry behind `last`, `wait` seconds at most; returns the id of the newest."""
    block = max(1, int(wait * 1000))
    found = link.command("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", keys.out(run_id), last)
    return last_of_journal(link, run_id) if found else last


def last_of_journal(link: Link, run_id: str) -> bytes:
    """The id of the newest entry."""
    found: list[Entry] = link.command("XREVRANGE", keys.out(run_id), "+", "-", "COUNT", 1)
    return found[0][0] if found else b"0-0"


def keep_large(link: Link, run_id: str, seconds: int) -> None:
    """Results that lie beside the journal live for `seconds` from now on, as it does."""
    for large in _large(link, run_id):
        link.pipeline([("EXPIRE", key, seconds) for key in large])


def _large(link: Link, run_id: str) -> Iterator[list[bytes]]:
    """The keys of results that lie beside the journal, some at a time."""
    last = b"0-0"
    while entries := journal(link, run_id, last, _ENTRIES):
        last = entries[-1][0]
        if large := blobs.keys_of(fields[3] for _, fields in entries):
            yield large


def forget_failures(link: Link, environment: str, run_id: str) -> None:
    """Inputs of a run leave RQ's registry of failed jobs."""
    registry = keys.failed(environment)
    names = [name.decode(errors="surrogateescape") for name in link.command("ZRANGE", registry, 0, -1)]
    mine = [name for name in names if (parts := FAILED_INPUT.fullmatch(name)) and parts["map"] == run_id]
    if mine:
        jobs = [key for name in mine for key in (keys.job(name), keys.job_results(name))]
        link.pipeline(
            [(command, *map(_raw, args)) for command, *args in (("ZREM", registry, *mine), ("UNLINK", *jobs))]
        )


def delete_run(link: Link, run_id: str) -> None:
    """Nothing stays of a run that has ended."""
    for large in _large(link, run_id):
        link.command("UNLINK", *large)
    link.command("UNLINK", *kept_of_run(run_id), keys.lead(run_id), keys.map_(run_id), keys.output(run_id))


def _raw(word: str) -> bytes:
    return word.encode(errors="surrogateescape")


def _gap(run_id: str) -> JournalGapError:
    return JournalGapError(f"The journal of run {run_id!r} is another one than was read.")
