"""How pods reach the server that this program uses, perhaps by another way."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from actorq.errors import DeclarationError
from actorq.kube.api import Manifest
from actorq.settings import Settings


@dataclass(frozen=True, kw_only=True)
class PodAddress:
    """The server as pods reach it."""

    url: str = field(repr=False)
    #: Secret that holds the address already, and its key; None: we make one
    secret: tuple[str, str] | None = None
    #: what code bundles are signed with
    signing_key: str | None = field(default=None, repr=False)

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
            address = with_login(address, unquote(mine.username or ""), unquote(mine.password))
        return cls(url=address, secret=secret, signing_key=settings.signing_key)

    def variables(self, name: str) -> list[Manifest]:
        """What a pod must be told, out of Secrets: the one called `name` is ours."""
        told = [self.url_variable(name)]
        if self.signing_key is not None:
            told.append(from_secret("ACTORQ_SIGNING_KEY", name, "signing-key"))
        return told

    def url_variable(self, name: str) -> Manifest:
        """The server's address alone."""
        secret, key = self.secret or (name, "url")
        return from_secret("ACTORQ_REDIS_URL", secret, key)

    def secret_manifest(self, name: str, labels: Mapping[str, str]) -> Manifest | None:
        """The Secret to make, None when there is nothing to put into one."""
        data = {} if self.secret is not None else {"url": self.url}
        if self.signing_key is not None:
            data["signing-key"] = self.signing_key
        if not data:
            return None
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": dict(labels)},
            "type": "Opaque",
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }


def from_secret(variable: str, secret: str, key: str) -> Manifest:
    """An environment variable whose value stays in a Secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


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
