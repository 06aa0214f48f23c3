"""How a connection to the server is opened.

The one idea: redis-py, which knows addresses, TLS and logins, is imported where those are needed. A Unix socket without
a login, as the server of one program has, is opened here: redis-py takes 0.1 s of each process to import, which is a
third of the time until a program has its first result.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Protocol
from urllib.parse import unquote, urlsplit

from actorq.broker.patience import CONNECT_TIMEOUT
from actorq.broker.refusals import NO_FILES, LostError, RefusedError


class Connection(Protocol):
    """A way to one server, closed at first."""

    def open(self, seconds: float) -> socket.socket:
        """Connects and logs in. Raises `CallError`.

        Args:
            seconds: how long each step of that may take.
        """

    def close(self) -> None:
        """Closes it. It may be opened again."""


def needs_redis_py(url: str) -> bool:
    """Whether connections to `url` are opened by redis-py."""
    parts = urlsplit(url)
    return parts.scheme != "unix" or not parts.path or bool(parts.netloc or parts.query or parts.fragment)


def new_connection(url: str) -> Connection:
    """A connection to `url` that is not open yet. Raises `DeclarationError` for an address that cannot be one."""
    if needs_redis_py(url):
        from actorq.broker.redis_py import RedisPyConnection

        return RedisPyConnection(url)
    return _Socket(unquote(urlsplit(url).path))


class _Socket:
    """A connection over a Unix socket, to a server that asks for no login."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def open(self, seconds: float) -> socket.socket:
        try:
            self._socket = opened = socket.socket(socket.AF_UNIX)
            opened.settimeout(min(seconds, CONNECT_TIMEOUT))
            opened.connect(self._path)
        except OSError as error:
            self.close()
            if error.errno == errno.EMFILE:
                raise RefusedError(NO_FILES, str(error.strerror)) from error
            raise LostError(f"{self._path}: {error.strerror or error}") from error
        return opened

    def __del__(self) -> None:
        self.close()  # nobody holds it any more, such as the reader of a loop that was left; redis-py does the same

    def close(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.close()
