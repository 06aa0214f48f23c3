"""How pods reach the server that this program uses, perhaps by another way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from actorq.errors import DeclarationError
from actorq.kube.api import Manifest
from actorq.settings import Settings


@dataclass(frozen=True, kw_only=True)
class PodAddress:
    """The server as pods reach it."""

    url: str
    #: Secret that holds the address already, and its key; None: we make one
    secret: tuple[str, str] | None = None

    @classmethod
    def of(cls, settings: Settings, url: str) -> PodAddress:
        """From the settings of this program, which reaches the server at `url`. Raises `DeclarationError`."""
        secret = None
        if settings.redis_secret is not None:
            name, separator, key = settings.redis_secret.partition("/")
            if not (name and separator and key):
                raise DeclarationError(f"ACTORQ_REDIS_SECRET is {settings.redis_secret!r}: give NAME/KEY of a Secret.")
            secret = (name, key)
        address = settings.pod_redis_url or url
        if urlsplit(address).scheme == "unix":
            raise DeclarationError(
                "Pods cannot reach a unix:// server: set ACTORQ_POD_REDIS_URL to its network address."
            )
        mine = urlsplit(url)
        if urlsplit(address).password is None and mine.password is not None:
            address = with_login(address, mine.username or "", mine.password)
        return cls(url=address, secret=secret)

    def secret_manifest(self, name: str, labels: Mapping[str, str]) -> Manifest | None:
        """The Secret to make, None when there is one already."""
        return None if self.secret is not None else secret_of(name, labels, self.url)


def secret_of(name: str, labels: Mapping[str, str], url: str) -> Manifest:
    """A Secret with the server's address under `url`."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": dict(labels)},
        "type": "Opaque",
        "stringData": {"url": url},
    }


def with_login(url: str, user: str, password: str) -> str:
    """`url` with another user and password."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None:
        host = f"{host}:{parts.port}"
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, parts.fragment))
