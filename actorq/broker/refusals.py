"""What a server refuses, and what goes wrong on the way to it: as exceptions of redis-py, and told to a person."""

from __future__ import annotations

import redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from actorq.errors import BrokerError
from actorq.settings import masked

#: what may pass by itself
TRANSIENT = (redis.ConnectionError, redis.TimeoutError, ReadOnlyError)


class ServerFullError(BrokerError):
    """The Redis server has reached `maxmemory` and takes no more work: raise it, or delete what fills it."""


class LoginRefusedError(BrokerError):
    """The Redis server does not know this user, or has another password for it."""


class NotPermittedError(BrokerError):
    """The Redis server keeps a command from this user, or from everybody."""


def explain(error: Exception, url: str) -> BrokerError:
    """`error` of redis-py as a message for a person: what happened, to which server, what to do."""
    server = masked(url)
    if isinstance(error, OutOfMemoryError):
        return ServerFullError(f"{server} is full: it has reached maxmemory. Raise it, or delete what fills it.")
    text = masked(str(error))
    lowered = text.lower()
    if isinstance(error, (AuthenticationError, AuthorizationError)) or "noauth" in lowered or "wrongpass" in lowered:
        return LoginRefusedError(f"{server} refuses the login ({text}): put user and password into the URL.")
    if isinstance(error, NoPermissionError) or "noperm" in lowered or "unknown command" in lowered:
        return NotPermittedError(
            f"{server} does not permit what actorq needs ({text}): see the ACL rule in the README."
        )
    if isinstance(error, ReadOnlyError):
        return BrokerError(f"{server} is a read-only replica: give the address of the primary.")
    if isinstance(error, TRANSIENT):
        return BrokerError(f"{server} cannot be reached ({text}): is the server running, and the address right?")
    return BrokerError(f"{server} answered: {text}")


def typed(text: str) -> RedisError:
    """An error reply as redis-py's exception for it."""
    code, _, rest = text.partition(" ")
    if code == "ERR":
        return redis.ResponseError(rest)
    return _ERRORS.get(code, redis.ResponseError)(text)


_ERRORS: dict[str, type[RedisError]] = {
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "NOAUTH": AuthenticationError,
    "WRONGPASS": AuthenticationError,
    "NOPERM": NoPermissionError,
    "LOADING": BusyLoadingError,
}
