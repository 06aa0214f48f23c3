"""This program's side of one server: a pool of connections, and what is known about it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actorq.broker.link import Link
from actorq.broker.patience import REPLY_TIMEOUT, never
from actorq.broker.serverinfo import check_server


class Client:
    """Connections to one server, shared by the maps of this program. Any thread may use it.

    Args:
        url: the server.
        patience: seconds to keep trying when it cannot be reached.
        is_gone: whether it is known to be gone for good.
    """

    def __init__(self, url: str, patience: float, is_gone: Callable[[], bool] = never) -> None:
        self.url = url
        self.patience = patience
        self.is_gone = is_gone
        self._free: list[Link] = []
        self._lock = threading.Lock()
        self._checked = self._closed = False
        self._pid = os.getpid()

    def borrow(self) -> Link:
        """A connection for one thread's use; `give_back` it."""
        with self._lock:
            if self._pid != os.getpid():  # forked: the parent's sockets are not ours to speak on
                self._free, self._pid = [], os.getpid()
            link = self._free.pop() if self._free else None
        if link is not None:
            link.take_time(self.patience)
        else:
            link = self._new()
        if not self._checked:
            first = self._new(at_once=True)  # an address that never worked
            try:
                check_server(first)
            finally:
                first.close()
            self._checked = True
        return link

    def _new(self, *, at_once: bool = False) -> Link:
        # at most half of the patience for one reply: one that is lost with its connection can be asked for again
        timeout = min(REPLY_TIMEOUT, self.patience / 2)
        return Link(self.url, patience=self.patience, reply_timeout=timeout, at_once=at_once, is_gone=self.is_gone)

    def give_back(self, link: Link) -> None:
        with self._lock:
            if len(self._free) < 16 and not self._closed:
                self._free.append(link)
                return
        link.close()

    @contextmanager
    def lent(self) -> Iterator[Link]:
        """A connection for a question or two."""
        link = self.borrow()
        try:
            yield link
        finally:
            self.give_back(link)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            links, self._free = self._free, []
        for link in links:
            link.close()
