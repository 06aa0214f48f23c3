"""Who may do what: one token, sessions that were opened with it, and where a request comes from.

The one idea: a browser sends cookies and passwords by itself, so neither says that a person meant it. An action needs
besides that the request comes from this page: its origin, and with a cookie a second secret that only the page shows.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

#: name of the cookie
COOKIE = "actorq-monitor"
#: a session ends after a day of work, seconds; sessions at a time, of which the oldest goes for a new one
_SESSION_SECONDS, _SESSIONS = 12 * 3600, 1000


@dataclass
class Session:
    """Somebody who has shown the token."""

    #: what forms of the page send back, "" for one that came with its password
    csrf: str = ""
    expires: float = 0.0
    #: told on the next page
    said: str = ""
    #: whether the request has told the password itself
    basic: bool = False


@dataclass
class Access:
    """Opens sessions for those who know the token.

    Args:
        token: None: nobody may do anything.
    """

    token: str | None
    _sessions: OrderedDict[bytes, Session] = field(default_factory=OrderedDict)

    def login(self, token: str) -> str | None:
        """The secret of a new session, for the cookie; None for another token."""
        if not self._is_token(token):
            return None
        secret = secrets.token_urlsafe(32)
        self._sessions[_digest(secret)] = Session(secrets.token_urlsafe(32), time.monotonic() + _SESSION_SECONDS)
        while len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        return secret

    def logout(self, headers: Mapping[str, str]) -> None:
        self._sessions.pop(_digest(_cookie(headers)), None)

    def session(self, headers: Mapping[str, str]) -> Session | None:
        """Whose request it is; None for somebody who has shown no token."""
        scheme, _, packed = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            return Session(basic=True) if self._is_token(_password(packed)) else None
        found = self._sessions.get(_digest(_cookie(headers)))
        if found is not None and found.expires < time.monotonic():
            self.logout(headers)
            return None
        return found

    def permits(self, session: Session | None, headers: Mapping[str, str], csrf: str) -> bool:
        """Whether a request that changes something was meant by whoever has opened the session."""
        if session is None or not is_own(headers):
            return False
        return session.basic or hmac.compare_digest(session.csrf.encode(), csrf.encode())

    def _is_token(self, given: str) -> bool:
        return self.token is not None and hmac.compare_digest(_digest(self.token), _digest(given))


def is_own(headers: Mapping[str, str]) -> bool:
    """Whether a page of this host has sent the request, as far as browsers tell; other programs tell nothing."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _digest(secret: str) -> bytes:
    return blake2b(secret.encode(errors="surrogateescape")).digest()


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _password(packed: str) -> str:
    try:
        return base64.b64decode(packed, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
