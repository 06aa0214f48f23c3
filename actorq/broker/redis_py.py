"""How redis-py opens a connection: with stated timeouts, and without its own retries, which `Link` does instead.

The one idea: what redis-py raises ends here. Others meet the errors of `refusals.py` alone.
"""

from __future__ import annotations

import socket
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.driver_info import DriverInfo
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from actorq.base.masking import hide, masked
from actorq.base.settings import settings
from actorq.broker import refusals
from actorq.broker.patience import CONNECT_TIMEOUT, REPLY_TIMEOUT
from actorq.broker.refusals import CallError, LostError
from actorq.errors import DeclarationError

#: what redis-py makes of a refusal, and the code of that
_CODES: tuple[tuple[type[RedisError] | tuple[type[RedisError], ...], str], ...] = (
    ((AuthenticationError, AuthorizationError), refusals.NO_LOGIN),
    (NoPermissionError, refusals.NOT_PERMITTED),
    (BusyLoadingError, "LOADING"),
    (OutOfMemoryError, refusals.FULL),
    (ReadOnlyError, "READONLY"),
    (MasterDownError, "MASTERDOWN"),
)


def connection_pool(url: str, reply_timeout: float = REPLY_TIMEOUT) -> ConnectionPool:
    """A factory of connections to `url`. Raises `DeclarationError` for an address that cannot be one."""
    hide(addresses=[url])
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


class RedisPyConnection:
    """A connection that redis-py opens. Raises `DeclarationError` as `connection_pool` does, and for an option behind
    the address that redis-py does not know.
    """

    def __init__(self, url: str) -> None:
        try:
            self._connection: Any = connection_pool(url).make_connection()
        except (RedisError, TypeError, ValueError):
            raise _no_address(url) from None

    def open(self, seconds: float) -> socket.socket:
        connection = self._connection
        connection.socket_timeout, connection.socket_connect_timeout = seconds, min(seconds, CONNECT_TIMEOUT)
        try:
            connection.connect()
        except RedisError as error:
            raise of_redis_py(error) from error
        opened: socket.socket = connection._sock  # redis-py has no public name for it
        return opened

    def close(self) -> None:
        self._connection.disconnect()


def of_redis_py(error: RedisError) -> CallError:
    """What redis-py has raised, as an error of ours."""
    text = str(error)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return refusals.RefusedError(refusals.code_in(text, code) if code == refusals.NO_LOGIN else code, text)
    if (code := refusals.code_in(text, "")) or not isinstance(error, (ConnectionError, TimeoutError)):
        return refusals.RefusedError(code or "ERR", text)
    return LostError(text)


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
