"""A page that is served in this process, and a client of it that keeps cookies, as a browser does."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from actorq.page.serve import Options, PageServer

TOKEN = "a-token-of-the-tests"


class Served:
    """One server, and what its readers see."""

    def __init__(self, server: PageServer, prefix: str) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{server.port}{prefix}"
        self.client = httpx.Client(base_url=self.url, timeout=20)

    def get(self, path: str, **query: str) -> str:
        """The text of a page."""
        reply = self.client.get(path, params=query)
        assert reply.status_code == 200, (reply.status_code, reply.text)
        return reply.text

    def shows(self, path: str, text: str, **query: str) -> bool:
        return text in self.client.get(path, params=query).text

    def log_in(self) -> str:
        """The secret that forms of the page send back."""
        reply = self.client.post("/login", data={"token": TOKEN}, headers={"origin": self.origin})
        assert reply.status_code == 303, reply.text
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/"))
        assert found is not None
        return found[1]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def post(self, path: str, **form: str) -> httpx.Response:
        return self.client.post(path, data=form, headers={"origin": self.origin})


@contextmanager
def served(url: str, **options: Any) -> Iterator[Served]:
    """The page of the server at `url`, until the end of the block."""
    options.setdefault("prefix", "")
    server = PageServer(Options(url=url, port=0, token=TOKEN, **options))
    thread = threading.Thread(target=lambda: server.run(signals=False), name="page")
    thread.start()
    found = Served(server, options["prefix"])
    try:
        yield found
    finally:
        found.client.close()
        server.stop()
        thread.join()
