"""Plain questions and notes: what the server knows of environments, maps and pools, one typed function each.

What decides who runs what is written by scripts; nothing here does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from actorq.base.names import SHARED_CALLS
from actorq.broker import keys
from actorq.broker.link import Link

#: how long what a nested call asks for, and what was the matter with it, is remembered, seconds
WISH_SECONDS = 60
#: how long an environment's use, and how long its pool may be idle, are remembered, seconds: a day and a year
_USED_SECONDS, _IDLE_LIMIT_SECONDS = 86_400, 365 * 86_400

# -- environments ------------------------------------------------------------------------------------------------------


def replica_count(link: Link, environment: str) -> int:
    """How many replicas are registered."""
    return int(link.command("SCARD", keys.workers(environment)))


def is_suspended(link: Link) -> bool:
    """Whether somebody has said `rq suspend`."""
    return bool(link.command("EXISTS", keys.SUSPENDED))


def maps_wait(link: Link, environment: str) -> bool:
    """Whether maps wait for the replicas of `environment`, but for those of calls that share leases."""
    parties: list[bytes] = link.command("ZRANGE", keys.turns(environment), 0, -1)
    return any(party != b"*" and not party.startswith(f"{SHARED_CALLS}-".encode()) for party in parties)


def idle_replicas(link: Link, environment: str) -> list[str]:
    """Those that wait for a lease: some are not registered yet."""
    return [name.decode() for name in link.command("ZRANGE", keys.idle(environment), 0, -1)]


def unregister(link: Link, environment: str, worker: str) -> None:
    """A replica that is gone, and could not say so, is none of RQ's workers any more."""
    link.command("UNLINK", keys.worker(worker))
    for names in (keys.WORKERS, keys.workers(environment)):
        link.command("SREM", names, keys.worker(worker))


def suspend(link: Link) -> None:
    """As `rq suspend` does: no replica takes anything more, until `resume`."""
    link.command("SET", keys.SUSPENDED, 1)


def resume(link: Link) -> None:
    """As `rq resume` does."""
    link.command("DEL", keys.SUSPENDED)


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
    link.command("EXPIRE", keys.WANTED, WISH_SECONDS)


def next_wish(link: Link, wait: float) -> bytes | None:
    """One of those, waited for `wait` seconds."""
    found = link.command("BLPOP", keys.WANTED, wait)
    return bytes(found[1]) if found else None


def tell_trouble(link: Link, environment: str, text: str) -> None:
    """Why the replicas that were asked for do not come."""
    link.command("SET", keys.trouble(environment), text, "EX", WISH_SECONDS)


def trouble(link: Link, environment: str) -> str:
    """The same, as it was told; "" for nothing."""
    return (link.command("GET", keys.trouble(environment)) or b"").decode()


# -- maps --------------------------------------------------------------------------------------------------------------


def claim_map(link: Link, map_id: str, owner: str) -> bool:
    """Makes the record of a map; False where another owner has one, or a run or a job has its name."""
    run, job = link.pipeline([("EXISTS", keys.run(map_id)), ("HEXISTS", keys.job(map_id), "aq_keep")])
    if run or job:
        return False
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


def environments(link: Link) -> list[str]:
    """Those of which the server knows a queue."""
    prefix = f"{keys.RQ}:queue:"
    return sorted(name.decode(errors="replace").removeprefix(prefix) for name in link.command("SMEMBERS", keys.QUEUES))
