"""How redis-py opens a connection: with stated timeouts, and without its own retries, which `Link` does instead."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.driver_info import DriverInfo
from redis.exceptions import RedisError
from redis.retry import Retry

from actorq.base.masking import hide, masked
from actorq.base.settings import settings
from actorq.errors import DeclarationError

#: seconds to wait for a connection, and for the reply of a call that does not block
CONNECT_TIMEOUT = 5.0
REPLY_TIMEOUT = 10.0


def connection_pool(url: str, reply_timeout: float = REPLY_TIMEOUT) -> ConnectionPool:
    """A factory of connections to `url`. Raises `DeclarationError` for an address that cannot be one."""
    hide(url)
    try:
        _check_database(url)
        pool = ConnectionPool.from_url(url, **_socket_options(url))
    except (ValueError, TypeError):
        raise _no_address(url) from None
    pool.connection_kwargs.update(  # afterwards: what the address says must not change how we speak
        socket_connect_timeout=min(CONNECT_TIMEOUT, reply_timeout),
        socket_timeout=reply_timeout,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=False,
        driver_info=_driver_info(),
    )
    return pool


def new_connection(url: str, reply_timeout: float = REPLY_TIMEOUT) -> Any:
    """A connection to `url` that is not open yet. Raises `DeclarationError` as `connection_pool` does, and for an
    option behind the address that redis-py does not know.
    """
    try:
        return connection_pool(url, reply_timeout).make_connection()
    except (RedisError, TypeError, ValueError) as error:
        if isinstance(error, DeclarationError):
            raise
        raise _no_address(url) from None


def _no_address(url: str) -> DeclarationError:
    """Without redis-py's own words, which may quote a part of the password."""
    return DeclarationError(
        f"{masked(url)!r} is not a Redis address: use redis://host:6379/0, rediss:// for TLS, or unix:///path."
    )


def _check_database(url: str) -> None:
    """Raises `ValueError` for a database that is no number: redis-py would take 0, which is another one."""
    parts = urlsplit(url)
    if parts.scheme != "unix" and (number := unquote(parts.path).strip("/")) and not number.isdecimal():
        raise ValueError(number)


@cache
def _driver_info() -> DriverInfo:
    """What `CLIENT LIST` shows of us: redis-py, whose version would be looked up on disk for every connection."""
    return DriverInfo()


def _socket_options(url: str) -> dict[str, Any]:
    if url.startswith("unix"):
        return {}
    options: dict[str, Any] = {"socket_keepalive": True}
    authorities = settings().redis_ca_file
    if url.startswith("rediss") and authorities is not None:
        options["ssl_ca_certs"] = authorities
    return options
