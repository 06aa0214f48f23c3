"""What a server says of itself, in one line of a header: version, memory, clients, what it keeps on disk.

The one idea: a login that may not ask is told nothing, and what it can see of the work is shown all the same. What is
wrong with a server, and what to do, is `doctor.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actorq.base.settings import masked
from actorq.broker import records
from actorq.broker.link import Link
from actorq.broker.refusals import NotPermittedError
from actorq.monitor.records import text


@dataclass(frozen=True, kw_only=True)
class ServerView:
    """One server."""

    #: without its password
    address: str
    #: "" where nobody may know, as below
    version: str
    used_bytes: int | None
    #: 0 for no limit
    limit_bytes: int
    clients: int | None
    #: "aof", "rdb" or "none"
    persistence: str
    #: whether somebody has said `rq suspend`
    suspended: bool


def server_view(link: Link) -> ServerView:
    """Asks the server. Raises `BrokerError` for one that does not answer."""
    info = _info(link)
    return ServerView(
        address=masked(link.url),
        version=_version(info),
        used_bytes=_number(info, "used_memory"),
        limit_bytes=_number(info, "maxmemory") or 0,
        clients=_number(info, "connected_clients"),
        persistence=_persistence(link, info),
        suspended=records.is_suspended(link),
    )


def _info(link: Link) -> dict[str, str]:
    try:
        told = link.command("INFO").decode(errors="replace")
    except NotPermittedError:
        return {}
    return dict(line.split(":", 1) for line in told.splitlines() if ":" in line)


def _version(info: Mapping[str, str]) -> str:
    for name, field in (("Valkey", "valkey_version"), ("Redis", "redis_version")):
        if field in info:
            return f"{name} {text(info[field].encode())}"
    return ""


def _number(info: Mapping[str, str], name: str) -> int | None:
    told = info.get(name, "")
    return int(told) if told.isascii() and told.isdigit() else None


def _persistence(link: Link, info: Mapping[str, str]) -> str:
    if info.get("aof_enabled") == "1":
        return "aof"
    try:
        found = link.command("CONFIG", "GET", "save")
    except NotPermittedError:  # managed servers have none
        return ""
    return "rdb" if len(found) > 1 and found[1] else "none"
