"""Probes and metrics over HTTP, for a kubelet and for Prometheus.

/livez     200 while the process does its own work; never asks the server, whose outage must not end warm caches
/readyz    200 while it can take work
/metrics   Prometheus text
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from actorq.errors import DeclarationError

#: a scraper that stalls must not keep its thread for ever, seconds
_REQUEST_SECONDS = 10


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A prober that hung up is nobody's problem."""


class MonitorServer:
    """Answers until the process ends.

    Args:
        address: host and port to listen on; port 0 takes a free one.
        live, ready: whether the process works, and whether it can take work.
        collect: the metric families of this moment, for `prometheus_client`.

    Raises `DeclarationError` when the port is taken.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        live: Callable[[], bool],
        ready: Callable[[], bool],
        collect: Callable[[], Iterable[Any]],
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = _REQUEST_SECONDS

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/livez":
                    self._answer(*((200, b"ok\n") if live() else (503, b"stalled\n")))
                elif path == "/readyz":
                    self._answer(*((200, b"ready\n") if ready() else (503, b"not ready\n")))
                elif path == "/metrics":
                    self._answer(*_exposition(collect), "text/plain; version=0.0.4; charset=utf-8")
                else:
                    self._answer(404, b"/livez, /readyz or /metrics\n")

            def do_HEAD(self) -> None:
                self.do_GET()

            def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """A probe every few seconds is no event."""

        try:
            self._server = _Server(address, Handler)
        except OSError as error:
            raise DeclarationError(f"Cannot listen on {address[0]}:{address[1]}: {error.strerror}.") from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="actorq-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _exposition(collect: Callable[[], Iterable[Any]]) -> tuple[int, bytes]:
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.registry import Collector
    except ModuleNotFoundError:
        return 501, b"Metrics need prometheus-client: pip install 'actorq[metrics]'\n"

    class Families(Collector):
        def collect(self) -> Iterable[Any]:
            return collect()

    registry = CollectorRegistry()
    registry.register(Families())
    return 200, generate_latest(registry)
