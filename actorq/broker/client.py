"""This program's side of one server: a pool of connections, and what is known about it."""

from __future__ import annotations

import os
import threading
import warnings

from actorq.broker import keys
from actorq.broker.serverinfo import check_server
from actorq.broker.wire import Link
from actorq.settings import masked, settings


class Client:
    """Connections to one server, shared by the maps of this program. Any thread may use it.

    Args:
        url: the server.
        patience: seconds to keep trying when it cannot be reached.
    """

    def __init__(self, url: str, patience: float) -> None:
        self.url = url
        self.patience = patience
        self._free: list[Link] = []
        self._lock = threading.Lock()
        self._checked = False
        self._lonely: dict[str, int] = {}
        self._pid = os.getpid()

    def borrow(self) -> Link:
        """A connection for one thread's use; `give_back` it."""
        with self._lock:
            if self._pid != os.getpid():  # forked: the parent's sockets are not ours to speak on
                self._free, self._pid = [], os.getpid()
            link = self._free.pop() if self._free else None
        if link is None:
            link = Link(self.url, patience=self.patience)
        if not self._checked:
            first = Link(self.url, patience=0.0)  # an address that never worked is told at once
            try:
                check_server(first)
            finally:
                first.close()
            self._checked = True
        return link

    def give_back(self, link: Link) -> None:
        with self._lock:
            if len(self._free) < 16:
                self._free.append(link)
                return
        link.close()

    def close(self) -> None:
        with self._lock:
            links, self._free = self._free, []
        for link in links:
            link.close()

    def prefix(self, env: str) -> tuple[str, str, str]:
        """The first arguments of every script."""
        return keys.RQ, keys.AQ, env

    def nested_in(self, env: str) -> bool:
        """Whether this process is a replica of `env`: a call to it could wait for itself."""
        return settings().replica_of == env

    def watch(self, env: str, live: int) -> None:
        """Warns once when a map has waited a while and no replica serves its environment."""
        if live > 0:
            self._lonely[env] = 0
            return
        beats = self._lonely[env] = self._lonely.get(env, 0) + 1
        if beats == 10:
            warnings.warn(
                f"No replica serves environment {env!r} on {masked(self.url)} yet; the map waits. "
                f"Start one with: actorq worker MODULE:ENVIRONMENT",
                RuntimeWarning,
                stacklevel=2,
            )
