"""Serves the page until a signal comes.

The one idea: the end is told to the streams first. A server that waits for its connections would wait for ever.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from actorq.base.settings import masked
from actorq.errors import DeclarationError
from actorq.page.access import Access
from actorq.page.app import Pages
from actorq.page.collector import Collector
from actorq.page.failed import Failed
from actorq.page.guard import LOOPBACK
from actorq.page.pages import Site

#: what is still open then is cut, seconds
_GRACE_SECONDS = 1
#: where anybody listens who wants to be reached by any address
_ANY = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, kw_only=True)
class Options:
    """How it is served."""

    url: str
    host: str = "127.0.0.1"
    #: 0 takes a free one
    port: int = 8080
    prefix: str = ""
    allowed_hosts: Sequence[str] = ()
    actions: bool = False
    private: bool = False
    #: None: one is made where one is needed
    token: str | None = None


class PageServer:
    """One server of the page. Listens at once, answers while `run` runs.

    Raises `DeclarationError` where the port is taken.
    """

    def __init__(self, options: Options) -> None:
        self._socket = _listening(options.host, options.port)
        self.port = int(self._socket.getsockname()[1])
        wanted = options.actions or options.private
        #: what lets people in, None where nobody needs it
        self.token = (options.token or secrets.token_urlsafe(24)) if wanted else None
        site = Site(
            collector=Collector(options.url),
            failed=Failed(options.url),
            server=masked(options.url),
            prefix=options.prefix,
            logins=wanted,
            actions=options.actions,
            private=options.private,
        )
        own = LOOPBACK if options.host in _ANY else LOOPBACK | {options.host}
        self._pages = Pages(site, Access(self.token), own | set(options.allowed_hosts), options.url)
        self._server = _Uvicorn(
            uvicorn.Config(
                self._pages.app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

    def run(self, *, signals: bool = True) -> None:
        """Answers until `stop`, or with `signals` until SIGTERM or Ctrl-C."""
        asyncio.run(self._run(signals))

    async def _run(self, signals: bool) -> None:
        if signals:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Ends it. Any thread may call it."""
        self._server.should_exit = True
        self._pages.hub.close()


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are ours: uvicorn would raise them once more at the end."""
        yield


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise DeclarationError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
