"""The addresses of the page, and who may ask what of them.

The one idea: one function looks at each request that shows something, and one at each that changes something; no page
and no action decides for itself who may see or do it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from actorq.base.masking import masked, printable
from actorq.broker.client import Client
from actorq.errors import ActorqError
from actorq.page.access import COOKIE, Access, Session, is_own
from actorq.page.actions import ACTIONS
from actorq.page.guard import Guard
from actorq.page.live import Hub, Stream
from actorq.page.pages import PAGES, NothingError, Site
from actorq.page.render import Asked, Renderer
from actorq.page.rows import Query

_STATIC = Path(__file__).parent / "static"
#: bytes of a form: a name and two secrets
_LONGEST_FORM = 10_000
#: what may be gone back to: a path of this page, and no address of another
_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", re.ASCII)
#: seconds to try a server that does not answer, for an action: a person waits
_PATIENCE = 3.0


class Pages:
    """The application.

    Args:
        site: what is shown.
        access: who may do what.
        hosts: names that it is reached by.
        url: the server that actions change.
    """

    def __init__(self, site: Site, access: Access, hosts: Collection[str], url: str) -> None:
        self._site, self._access = site, access
        self._client = Client(url, _PATIENCE)
        self._renderer = Renderer(site)
        self.hub = Hub()
        routes = [
            *(Route("/" if name == "overview" else f"/{name}", self._page(name)) for name in PAGES),
            *(Route(f"/live/{name}", self._stream(name)) for name in PAGES),
            Route("/login", self._login_form, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/do/{action}", self._act, methods=["POST"]),
            Route("/livez", lambda _: PlainTextResponse("ok\n")),
            Route("/readyz", self._ready),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ]
        app = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers={HTTPException: self._refused})
        app.router.redirect_slashes = False
        self.app: ASGIApp = Guard(app, hosts, site.prefix)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.hub.begin()
        self._site.collector.told = self.hub.tell
        self._site.collector.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._site.collector.close)
            self._site.failed.close()
            self._client.close()

    # -- what shows ----------------------------------------------------------------------------------------------------

    def _page(self, name: str) -> Callable[[Request], object]:
        async def page(request: Request) -> Response:
            session = self._access.session(request.headers)
            if self._site.private and session is None:
                return self._to_login(request)
            asked = Asked(name, Query.of(request.query_params), session)
            try:
                return HTMLResponse(await asyncio.to_thread(self._renderer.page, asked))
            except NothingError as nothing:
                return self._told(404, str(nothing), session)

        return page

    def _stream(self, name: str) -> Callable[[Request], object]:
        async def stream(request: Request) -> Response | Stream:
            headers, query = request.headers, Query.of(request.query_params)

            def parts() -> dict[str, str] | None:
                session = self._access.session(headers)
                if self._site.private and session is None:
                    return None
                try:
                    return self._renderer.parts(Asked(name, query, session))
                except NothingError:
                    return {}

            if not is_own(headers) or (self._site.private and self._access.session(headers) is None):
                return PlainTextResponse("Log in first.\n", 403)
            if self.hub.full:
                return PlainTextResponse("Too many readers at a time.\n", 503, {"retry-after": "10"})
            return Stream(self.hub, parts)

        return stream

    async def _ready(self, _: Request) -> Response:
        ready = self._site.collector.look.at is not None and not self._site.collector.look.error
        return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)

    # -- who it is -----------------------------------------------------------------------------------------------------

    async def _login_form(self, request: Request) -> Response:
        back = request.query_params.get("next", "/")
        return self._login_page(200, "", back)

    async def _login(self, request: Request) -> Response:
        form = await _form(request)
        back = form.get("next", "/")
        if not is_own(request.headers):
            return self._login_page(403, "That came from another page.", back)
        secret = self._access.login(form.get("token", ""))
        if secret is None:
            return self._login_page(403, "That is not the token.", back)
        answer = self._to(back)
        safe = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        path = self._site.prefix or "/"
        answer.set_cookie(COOKIE, secret, path=path, httponly=True, samesite="strict", secure=safe)
        return answer

    async def _logout(self, request: Request) -> Response:
        session, form = self._access.session(request.headers), await _form(request)
        if self._access.permits(session, request.headers, form.get("csrf", "")):
            self._access.logout(request.headers)
        return self._to("/")

    def _to_login(self, request: Request) -> Response:
        if "authorization" in request.headers:
            return PlainTextResponse("That is not the token.\n", 401)
        query = f"?{request.url.query}" if request.url.query else ""
        return HTMLResponse(self._login_text("", f"{request.scope['path']}{query}"), 401)

    def _login_page(self, status: int, error: str, back: str) -> Response:
        if not self._site.logins:
            return self._told(404, "This page only shows: there is nothing to log in for.", None)
        return HTMLResponse(self._login_text(error, back), status)

    def _login_text(self, error: str, back: str) -> str:
        return self._renderer.plain("login.html", title="Log in", error=error, back=_own(back))

    # -- what changes --------------------------------------------------------------------------------------------------

    async def _act(self, request: Request) -> Response:
        session, form = self._access.session(request.headers), await _form(request)
        action = ACTIONS.get(request.path_params["action"])
        if action is None:
            return self._told(404, "There is no such action.", session)
        if not self._site.actions:
            return self._told(403, "This page only shows: start it with --allow-actions to change things.", None)
        if not self._access.permits(session, request.headers, form.get("csrf", "")):
            return self._told(403, "Log in, and press the button once more: that did not come from this page.", session)
        try:
            said = await asyncio.to_thread(action, self._client, form.get("name", ""))
        except ActorqError as error:
            return self._told(409, printable(masked(str(error))), session)
        self._site.collector.hurry()
        assert session is not None
        if session.basic:  # by another program, which has no next page
            return PlainTextResponse(f"{said}\n")
        session.said = said
        return self._to(form.get("next", "/"))

    # -- answers -------------------------------------------------------------------------------------------------------

    def _to(self, path: str) -> Response:
        return RedirectResponse(self._site.prefix + _own(path), 303)

    def _told(self, status: int, text: str, session: Session | None) -> Response:
        return HTMLResponse(self._renderer.plain("told.html", session, title=f"{status}", text=text), status)

    async def _refused(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        text = "There is no such page." if error.status_code == 404 else error.detail
        return self._told(error.status_code, text, None)


def _own(path: str) -> str:
    """What may be gone to: another address than one of this page is its beginning."""
    return path if _PATH.fullmatch(path) else "/"


async def _form(request: Request) -> dict[str, str]:
    """What a form has sent; nothing of one that is too long."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _LONGEST_FORM:
            return {}
    return dict(parse_qsl(data.decode(errors="replace")))
