"""Refuses, before the first lease, a server that would lose work later."""

from __future__ import annotations

from actorq.base.settings import masked
from actorq.broker.link import Link
from actorq.broker.refusals import NotPermittedError
from actorq.errors import BrokerError

#: XTRIM MINID came with 6.2
_OLDEST = (6, 2)


def check_server(link: Link) -> None:
    """Raises `BrokerError` when the server behind `link` is too old, a replica, a cluster, or may evict keys."""
    server = masked(link.url)
    try:
        text = link.command("INFO").decode()
    except NotPermittedError as error:
        raise BrokerError(
            f"{server} does not permit INFO to this user: grant it (`ACL SETUSER <user> +info`); "
            "RQ mistakes the server for an old one without it."
        ) from error
    info = _parsed(text)
    version = _version(info)
    if version < _OLDEST:
        raise BrokerError(f"{server} is version {info.get('redis_version')}: actorq needs Redis 6.2, or any Valkey.")
    if info.get("cluster_enabled") == "1":
        raise BrokerError(f"{server} is a Redis Cluster: use one primary per environment (standalone or managed).")
    if info.get("role") == "slave":
        raise BrokerError(f"{server} is a read-only replica: give the address of the primary.")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and info.get("maxmemory", "0") != "0":
        raise BrokerError(
            f"{server} may evict keys (maxmemory-policy {policy}): leases and results would vanish. "
            "Set `maxmemory-policy noeviction`."
        )


def server_version(link: Link) -> tuple[int, ...]:
    """Major and minor number of the Redis version that the server speaks like."""
    return _version(_parsed(link.command("INFO", "server").decode()))


def _parsed(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _version(info: dict[str, str]) -> tuple[int, ...]:
    return tuple(int(part) for part in info.get("redis_version", "0.0").split(".")[:2] if part.isdigit())
