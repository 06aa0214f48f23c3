"""One connection to Redis, built on purpose.

redis-py owns the socket: TLS, ACL login, parsing (hiredis). This module owns what redis-py leaves to chance: stated
timeouts, one retry policy with jitter, EVALSHA with a reload when the server forgot a script, and error messages that
say what to do. A `Link` belongs to one thread. All that is sent through it may safely be sent twice, so a broken
connection is answered by sending the same again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.retry import Retry

from actorq.broker.scripts import Script
from actorq.errors import BrokerError, DeclarationError
from actorq.settings import masked

#: seconds to wait for a connection, and for the reply of a call that does not block
CONNECT_TIMEOUT = 5.0
REPLY_TIMEOUT = 10.0
#: first and longest pause between two tries, seconds; half of it is random so that replicas do not return in step
_BACKOFF_FIRST, _BACKOFF_LONGEST = 0.02, 2.0

Argument = str | bytes | int | float
_TRANSIENT = (redis.ConnectionError, redis.TimeoutError, ReadOnlyError)


class ServerFullError(BrokerError):
    """The Redis server has reached `maxmemory` and takes no more work: raise it, or delete what fills it."""


def connection_pool(url: str) -> ConnectionPool:
    """A factory of connections to `url`. Raises `DeclarationError` for an address that cannot be one."""
    try:
        return ConnectionPool.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT,
            socket_timeout=REPLY_TIMEOUT,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **({} if url.startswith("unix") else {"socket_keepalive": True}),
        )
    except (ValueError, TypeError) as error:
        raise DeclarationError(
            f"{masked(url)!r} is not a Redis address: use redis://host:6379/0, rediss:// for TLS, or unix:///path."
        ) from error


def explain(error: Exception, url: str) -> BrokerError:
    """`error` of redis-py as a message for a person: what happened, to which server, what to do."""
    server = masked(url)
    if isinstance(error, OutOfMemoryError):
        return ServerFullError(f"{server} is full: it has reached maxmemory. Raise it, or delete what fills it.")
    text = masked(str(error))
    lowered = text.lower()
    if isinstance(error, (AuthenticationError, AuthorizationError)) or "noauth" in lowered or "wrongpass" in lowered:
        return BrokerError(f"{server} refuses the login ({text}): put user and password into the URL.")
    if isinstance(error, NoPermissionError) or "noperm" in lowered:
        return BrokerError(f"{server} does not permit what actorq needs ({text}): see the ACL rule in the README.")
    if isinstance(error, ReadOnlyError):
        return BrokerError(f"{server} is a read-only replica: give the address of the primary.")
    if isinstance(error, _TRANSIENT):
        return BrokerError(f"{server} cannot be reached ({text}): is the server running, and the address right?")
    return BrokerError(f"{server} answered: {text}")


class Link:
    """A connection of one thread, with retries.

    Args:
        url: server address.
        patience: seconds to keep trying when the server cannot be reached; 0 fails at once.
    """

    def __init__(self, url: str, *, patience: float) -> None:
        self.url = url
        self.patience = patience
        self._pool = connection_pool(url)
        self._connection: Any = self._pool.make_connection()

    def fileno(self) -> int:
        """The socket, for `select`. redis-py has no public name for it."""
        return int(self._connection._sock.fileno())

    def connect(self) -> None:
        """Opens the connection if it is closed, trying for `patience` seconds."""
        self._patiently(self._connection.connect)

    def call(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Runs `script` and returns its reply, sending it again over a new connection until it is answered.

        Raises `BrokerError` when `patience` seconds have passed or trying again cannot help.
        """
        return self._patiently(lambda: self._call_once(script, keys, args))

    def command(self, *args: Argument, reply_timeout: float = REPLY_TIMEOUT) -> Any:
        """Runs one plain command, safe to repeat, and returns its reply."""

        def once() -> Any:
            self._connection.send_command(*args)
            return self.read(reply_timeout)

        return self._patiently(once)

    def send(self, *commands: Sequence[Argument]) -> None:
        """Writes several commands at once; `read` their replies in order. Does not retry."""
        try:
            self._connection.send_packed_command(self._connection.pack_commands(commands))
        except RedisError as error:
            raise explain(error, self.url) from error

    def read(self, timeout: float) -> Any:
        """The next reply. Raises redis-py's errors."""
        return self._connection.read_response(disable_decoding=True, timeout=timeout)

    def has_reply(self) -> bool:
        """Whether a reply is already buffered, without waiting."""
        return bool(self._connection.can_read(0))

    def drop(self) -> None:
        """Closes the connection; the next use opens a new one. Replies not yet read are forgotten."""
        self._connection.disconnect()

    close = drop

    def load(self, script: Script) -> None:
        self._connection.send_command("SCRIPT", "LOAD", script.text)
        self.read(REPLY_TIMEOUT)

    def _call_once(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        connection = self._connection
        packed = connection.pack_command("EVALSHA", script.sha, len(keys), *keys, *args)
        connection.send_packed_command(packed)
        try:
            return self.read(REPLY_TIMEOUT)
        except NoScriptError:
            self.load(script)
            connection.send_packed_command(packed)
            return self.read(REPLY_TIMEOUT)

    def _patiently(self, attempt: Any) -> Any:
        pause = _BACKOFF_FIRST
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return attempt()
            except RedisError as error:
                refused = explain(error, self.url)
                final = isinstance(error, AuthenticationError) or not isinstance(error, _TRANSIENT)
                if final or time.monotonic() >= deadline:
                    raise refused from error
                self.drop()
            time.sleep(pause * (0.5 + random.random() / 2))
            pause = min(2 * pause, _BACKOFF_LONGEST)


def evalsha(script: Script, keys: Sequence[str], args: Sequence[Argument]) -> list[Argument]:
    """The command that runs `script`, for `Link.send`."""
    return ["EVALSHA", script.sha, len(keys), *keys, *args]
