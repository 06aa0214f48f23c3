"""A way to a server on which connections can be made to go silent: no end, no reset, just nothing any more."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlparse


class Connection:
    """One of a client, and the proxy's to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._ends = (client, server)
        #: all that the client has sent, to tell what it is used for
        self.sent = b""
        self.silent = False
        self.over = False
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._carry, args=(source, sink, source is client), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                if outward:
                    self.sent += data
                if not self.silent:
                    sink.sendall(data)
        self.over = True
        if not self.silent:
            self.close()

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """In front of the server at `url`, which listens on a Unix socket."""

    def __init__(self, url: str) -> None:
        self._path = urlparse(url).path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[Connection] = []
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self._path)
                except OSError:  # it is away
                    client.close()
                    server.close()
                    continue
                self._connections.append(Connection(client, server))

    def silence(self, which: Callable[[Connection], bool] = lambda connection: True) -> int:
        """Makes connections that are open go silent; new ones work. Returns how many."""
        chosen = [each for each in self._connections if not each.over and not each.silent and which(each)]
        for connection in chosen:
            connection.silent = True
        return len(chosen)

    def close(self) -> None:
        self._listener.close()
        for connection in self._connections:
            connection.close()


@contextlib.contextmanager
def proxy_of(url: str) -> Iterator[Proxy]:
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
