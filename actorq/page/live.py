"""Server-sent events: each part of a page again, when it has changed.

The one idea: a stream waits for three things at once, for news, for its reader to go and for the end of the server. So
none outlives any of them, and there are no more of them than were meant.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import Receive, Scope, Send

#: readers at a time: each has its parts made anew every second
MOST_STREAMS = 32
#: a stream that has nothing to tell says so, seconds: proxies end quiet ones
_QUIET_SECONDS = 15.0
_START = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


class Hub:
    """Wakes the streams. Belongs to one event loop; `tell` and `close` may be called by any thread."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self._most = most
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self.closing = asyncio.Event()
        self.streams = 0

    def begin(self) -> None:
        """From now on the running loop is the one that streams run in."""
        self._loop = asyncio.get_running_loop()

    def tell(self) -> None:
        """There is another look."""
        self._soon(self._wake)

    def close(self) -> None:
        self._soon(self.closing.set)

    @property
    def full(self) -> bool:
        return self.streams >= self._most

    @property
    def news(self) -> asyncio.Event:
        """Set with the next look."""
        return self._news

    @contextmanager
    def counted(self) -> Iterator[None]:
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def _wake(self) -> None:
        woken, self._news = self._news, asyncio.Event()
        woken.set()

    def _soon(self, call: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)


class Stream:
    """An answer that goes on.

    Args:
        hub: wakes it.
        parts: the parts of the page as they are now, or None when the stream is to end; called in another thread.
    """

    def __init__(self, hub: Hub, parts: Callable[[], dict[str, str] | None]) -> None:
        self._hub = hub
        self._parts = parts
        self._sent: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ends: set[asyncio.Task[object]] = {_begun(_gone(receive)), _begun(self._hub.closing.wait())}
        try:
            with self._hub.counted():
                await send({"type": "http.response.start", "status": 200, "headers": list(_START)})
                await self._run(send, ends)
                await send({"type": "http.response.body", "body": b""})
        finally:
            for each in ends:
                each.cancel()

    async def _run(self, send: Send, ends: set[asyncio.Task[object]]) -> None:
        while not any(end.done() for end in ends):
            news = _begun(self._hub.news.wait())
            parts = await asyncio.to_thread(self._parts)
            if parts is None:
                news.cancel()
                return
            changed = b"".join(self._changed(parts)) or b": quiet\n\n"
            await send({"type": "http.response.body", "body": changed, "more_body": True})
            await asyncio.wait({news, *ends}, timeout=_QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()

    def _changed(self, parts: dict[str, str]) -> Iterator[bytes]:
        for name, html in parts.items():
            if self._sent.get(name) != (now := hash(html)):
                self._sent[name] = now
                yield b"data: " + json.dumps({"part": name, "html": html}).encode() + b"\n\n"


def _begun(waits: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    return asyncio.get_running_loop().create_task(waits)


async def _gone(receive: Receive) -> object:
    """Until the reader is."""
    while (await receive())["type"] != "http.disconnect":
        pass
    return None
