"""What holds for every answer: which names the page is reached by, and what a browser may do with it.

The one idea: a page that a name in somebody else's hands leads to (DNS rebinding) is not served, so what such a name's
owner has a browser ask for is refused before anything looks at it.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: asked by a kubelet by the address of the pod, and tell nothing
_PROBES = frozenset({"/livez", "/readyz"})
#: names of the machine itself
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # with no-referrer a browser would send "null" as the origin of the page's own forms
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Guard:
    """Stands in front of the application.

    Args:
        app: what is guarded.
        hosts: the names it is reached by.
        prefix: the path that it is served under, "" for none; a proxy may leave it out.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], prefix: str) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        path = scope["path"]
        if self._prefix and (path == self._prefix or path.startswith(f"{self._prefix}/")):
            path = path[len(self._prefix) :] or "/"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        if path not in _PROBES and _host(Headers(scope=scope).get("host", "")) not in self._hosts:
            refusal = PlainTextResponse("This name leads here, but is not known: give it as --allowed-host.\n", 421)
            await refusal(scope, receive, sent)
            return
        await self._app(scope, receive, sent)


def _host(header: str) -> str:
    """The name of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
