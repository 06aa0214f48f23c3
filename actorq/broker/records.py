"""Plain questions and notes: what the server knows of environments, maps and pools, one typed function each.

What decides who runs what is written by scripts; nothing here does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from actorq.broker import keys
from actorq.broker.commands import Argument
from actorq.broker.link import Link

#: how long what a nested call asks for, and what was the matter with it, is remembered, seconds
_WISH_SECONDS = 60
#: how long an environment's use, and how long its pool may be idle, are remembered, seconds: a day and a year
_USED_SECONDS, _IDLE_LIMIT_SECONDS = 86_400, 365 * 86_400

# -- environments ------------------------------------------------------------------------------------------------------


def replica_count(link: Link, environment: str) -> int:
    """How many replicas are registered."""
    return int(link.command("SCARD", keys.workers(environment)))


def is_suspended(link: Link) -> bool:
    """Whether somebody has said `rq suspend`."""
    return bool(link.command("EXISTS", keys.SUSPENDED))


def suspend(link: Link) -> None:
    """As `rq suspend`: no replica takes anything, until somebody resumes."""
    link.command("SET", keys.SUSPENDED, 1)


def resume(link: Link) -> None:
    """As `rq resume`."""
    link.command("DEL", keys.SUSPENDED)


def idle_replicas(link: Link, environment: str) -> list[str]:
    """Those that wait for a lease: some are not registered yet."""
    return [name.decode() for name in link.command("ZRANGE", keys.idle(environment), 0, -1)]


def unregister(link: Link, environment: str, worker: str) -> None:
    """A replica that is gone, and could not say so, is none of RQ's workers any more."""
    link.command("UNLINK", keys.worker(worker))
    for names in (keys.WORKERS, keys.workers(environment)):
        link.command("SREM", names, keys.worker(worker))


def suspended_for(link: Link) -> int | None:
    """Seconds for which all queues are suspended, -1 for until `rq resume`; None where they are not."""
    left = int(link.command("TTL", keys.SUSPENDED))  # -2: there is no such key, -1: it stays
    return None if left == -2 else left


def idle_seconds(link: Link, environment: str, now: float) -> float | None:
    """Seconds since a map or a call used the environment; 0 while one does, or a run or a job has not ended; None where
    the server knows of none.

    Args:
        link: the connection.
        environment: its name.
        now: Unix seconds.
    """
    live = int(link.command("ZCOUNT", keys.maps(environment), now, "+inf"))
    waiting = int(link.command("LLEN", keys.queue(environment))) + int(link.command("ZCARD", keys.wip(environment)))
    open_ = int(link.command("ZCOUNT", keys.runs(environment), now, "+inf"))
    if live or waiting or open_ or link.command("EXISTS", keys.scheduled(environment)):
        return 0.0
    used = link.command("GET", keys.used(environment))
    return None if used is None else max(0.0, now - float(used))


def use_pool(link: Link, environment: str, limit: float | None) -> None:
    """The environment's pool is wanted now, and until it was idle for `limit` seconds; None: for good."""
    link.command("SET", keys.ttl(environment), "inf" if limit is None else limit, "EX", _IDLE_LIMIT_SECONDS)
    link.command("SET", keys.used(environment), f"{time.time():.3f}", "EX", _USED_SECONDS)


def idle_limit(link: Link, environment: str, default: float) -> float:
    """After how many idle seconds the environment's pool may end."""
    return float(link.command("GET", keys.ttl(environment)) or default)


# -- wishes: environments that tasks of local replicas call ------------------------------------------------------------


def wish(link: Link, packed: bytes) -> None:
    """Asks the program that owns the server for replicas."""
    link.command("RPUSH", keys.WANTED, packed)
    link.command("EXPIRE", keys.WANTED, _WISH_SECONDS)


def next_wish(link: Link, wait: float) -> bytes | None:
    """One of those, waited for `wait` seconds."""
    found = link.command("BLPOP", keys.WANTED, wait)
    return bytes(found[1]) if found else None


def tell_trouble(link: Link, environment: str, text: str) -> None:
    """Why the replicas that were asked for do not come."""
    link.command("SET", keys.trouble(environment), text, "EX", _WISH_SECONDS)


def trouble(link: Link, environment: str) -> str:
    """The same, as it was told; "" for nothing."""
    return (link.command("GET", keys.trouble(environment)) or b"").decode()


# -- maps --------------------------------------------------------------------------------------------------------------


def claim_map(link: Link, map_id: str, owner: str) -> bool:
    """Makes the record of a map; False where another owner has one."""
    link.command("HSETNX", keys.map_(map_id), "owner", owner)
    return bool(link.command("HGET", keys.map_(map_id), "owner") == owner.encode())


def map_lives(link: Link, map_id: str) -> bool:
    """Whether anybody still wants the results of a map."""
    return bool(link.command("EXISTS", keys.map_(map_id)))


def drop_leases(link: Link, leases: Iterable[str]) -> None:
    """What is left of leases that have vanished from every list."""
    link.command("UNLINK", *(key for lease in leases for key in (keys.job(lease), keys.blob(lease))))


def drop(link: Link, names: Iterable[str]) -> None:
    """Keys of large payloads that nobody will read."""
    link.command("UNLINK", *names)


# -- code --------------------------------------------------------------------------------------------------------------


def code_head(link: Link, digest: str, count: int) -> bytes:
    """The first `count` bytes of a bundle; b"" where there is none. Raises `WrongTypeError` for another key there."""
    return bytes(link.command("GETRANGE", keys.code(digest), 0, count - 1))


def keep_code(link: Link, digest: str, seconds: int) -> None:
    """A bundle that is there lives on for so long, or longer, where somebody else needs it longer."""
    if int(link.command("TTL", keys.code(digest))) < seconds:
        link.command("EXPIRE", keys.code(digest), seconds)


def put_code(link: Link, digest: str, data: bytes, seconds: int) -> None:
    """Puts a bundle there."""
    link.command("SET", keys.code(digest), data, "EX", seconds)


# -- runs --------------------------------------------------------------------------------------------------------------


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


def open_runs(link: Link, environment: str) -> list[str]:
    """The runs of an environment that have not ended."""
    return [name.decode(errors="replace") for name in link.command("ZRANGE", keys.runs(environment), 0, -1)]


def environments(link: Link) -> list[str]:
    """Those of which the server knows a queue."""
    prefix = f"{keys.RQ}:queue:"
    return sorted(name.decode(errors="replace").removeprefix(prefix) for name in link.command("SMEMBERS", keys.QUEUES))


class RunProgress(NamedTuple):
    """What a driver last said of its run."""

    done: int
    #: of them
    failed: int
    #: its host and process
    driver: str


def run_progress(link: Link, run_id: str) -> RunProgress:
    """How far a run is, or was when it ended."""
    done, failed, driver = link.command("HMGET", keys.map_(run_id), "done", "failed", "driver")
    if done is None:
        done, failed = link.command("HMGET", keys.run(run_id), "done", "failed")
    return RunProgress(int(done or 0), int(failed or 0), (driver or b"").decode(errors="replace"))


def ended_runs(link: Link, environment: str) -> list[str]:
    """The runs of an environment that have ended and are kept, the last one first."""
    return [name.decode(errors="replace") for name in link.command("ZREVRANGE", keys.ended(environment), 0, -1)]


def has_lead(link: Link, run_id: str) -> bool:
    """Whether anybody drives a run."""
    return bool(link.command("EXISTS", keys.lead(run_id)))


def run_bytes(link: Link, run_id: str) -> int:
    """What the server holds of a run, but for its large results."""
    return sum(int(link.command("MEMORY", "USAGE", name) or 0) for name in _kept_of(run_id))


def _kept_of(run_id: str) -> list[str]:
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


def seal_run(link: Link, environment: str, run_id: str, total: int) -> None:
    """All inputs are stored. Tells its driver, or one that looks for runs."""
    if link.command("HSETNX", keys.run(run_id), "total", total):
        link.command("XADD", keys.out(run_id), "NOMKSTREAM", "*", "l", "", "n", "")
    wake_drivers(link, environment)


def wake_drivers(link: Link, environment: str) -> None:
    """Has a driver of the environment look for runs."""
    link.command("RPUSH", keys.wake(environment), "")
    link.command("EXPIRE", keys.wake(environment), _WISH_SECONDS)


def wait_for_wake(link: Link, environment: str, seconds: float) -> None:
    """Until somebody says so, or for so long."""
    link.command("BLPOP", keys.wake(environment), seconds)


def run_sums(link: Link, run_id: str, first: int) -> bytes:
    """The checksums of the inputs of a run, from a chunk on."""
    return b"".join(link.command("LRANGE", keys.run_sums(run_id), first, -1))


def run_chunk(link: Link, run_id: str, index: int) -> tuple[int, bytes] | None:
    """The chunk in which an input lies: the index of its first, and what is stored; None where it is not there."""
    found = link.command("XREVRANGE", keys.run_inputs(run_id), f"{index + 1}-0", "-", "COUNT", 1)
    if not found:
        return None
    entry, fields = found[0]
    first, count = int(entry.partition(b"-")[0]) - 1, int(fields[1])
    return (first, fields[3]) if first <= index < first + count else None


def keep_failed(link: Link, run_id: str, inputs: Mapping[int, bytes], seconds: int) -> None:
    """Keeps inputs of a run that have failed, by their indexes: those of others go when they have a result."""
    fields: list[Argument] = [each for item in inputs.items() for each in item]
    link.command("HSET", keys.run_failed(run_id), *fields)
    link.command("EXPIRE", keys.run_failed(run_id), seconds)


def kept_failed(link: Link, run_id: str) -> set[int]:
    """The indexes of those."""
    return {int(index) for index in link.command("HKEYS", keys.run_failed(run_id))}


def failed_input(link: Link, run_id: str, index: int) -> bytes | None:
    """One of those, as it was given; None where it is not there."""
    found: bytes | None = link.command("HGET", keys.run_failed(run_id), index)
    return found


def drop_failed(link: Link, run_id: str, indexes: Iterable[int]) -> None:
    """Inputs that have succeeded since."""
    link.command("HDEL", keys.run_failed(run_id), *indexes)


def cancel_map(link: Link, map_id: str) -> bool:
    """Tells the program of a live map to end it; False where there is none."""
    if not link.command("EXISTS", keys.map_(map_id)):
        return False
    link.command("HSET", keys.map_(map_id), "cancelled", 1)
    return True


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


def journal(link: Link, run_id: str, last: bytes, count: int) -> list[tuple[bytes, list[bytes]]]:
    """The next entries of a run's journal behind the id `last`."""
    found: list[tuple[bytes, list[bytes]]] = link.command("XRANGE", keys.out(run_id), b"(" + last, "+", "COUNT", count)
    return found


def journal_after(link: Link, run_id: str, last: bytes, count: int, wait: float) -> list[tuple[bytes, list[bytes]]]:
    """The same, waited for, `wait` seconds at most."""
    block = max(1, int(wait * 1000))
    found = link.command("XREAD", "COUNT", count, "BLOCK", block, "STREAMS", keys.out(run_id), last)
    return found[0][1] if found else []


def delete_run(link: Link, run_id: str) -> None:
    """Nothing stays of a run that has ended, but its large results, which go by themselves."""
    link.command("UNLINK", *_kept_of(run_id), keys.lead(run_id), keys.map_(run_id))
