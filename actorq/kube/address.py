"""How pods reach the server that this program uses, perhaps by another way."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from actorq.base.settings import Settings
from actorq.errors import DeclarationError
from actorq.kube.api import Manifest


@dataclass(frozen=True, kw_only=True)
class SecretFile:
    """What a pod reads from a file, since everybody who may look at a pod or a process sees its variables."""

    #: what is in it; `<variable>_FILE` names the file
    variable: str
    file: str
    secret: str
    key: str


PodSecrets = tuple[SecretFile, ...]


@dataclass(frozen=True, kw_only=True)
class PodAddress:
    """The server as pods reach it."""

    url: str = field(repr=False)
    #: Secret that holds the address already, and its key; None: we make one
    secret: tuple[str, str] | None = None
    #: what leases, results and code bundles are signed with
    signing_key: str | None = field(default=None, repr=False)
    #: in place of that, keys of the one map that the pods are for
    map_keys: str | None = field(default=None, repr=False)
    #: certificates that the server is checked against, where those of the pods' image will not do
    authorities: str | None = field(default=None, repr=False)

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
        authorities = None
        if settings.redis_ca_file is not None and (secret is not None or urlsplit(address).scheme == "rediss"):
            authorities = _certificates(settings.redis_ca_file)
        return cls(url=address, secret=secret, signing_key=settings.signing_key, authorities=authorities)

    def secrets(self, name: str, *, signing: bool = True) -> PodSecrets:
        """What a pod is to read, out of Secrets: the one called `name` is ours. `signing`: it signs or checks."""
        secret, key = self.secret or (name, "url")
        files = [SecretFile(variable="ACTORQ_REDIS_URL", file="redis-url", secret=secret, key=key)]
        if self.authorities is not None:
            files.append(SecretFile(variable="ACTORQ_REDIS_CA", file="redis-ca.crt", secret=name, key="redis-ca.crt"))
        if signing and self.signing_key is not None:
            files.append(SecretFile(variable="ACTORQ_SIGNING_KEY", file="signing-key", secret=name, key="signing-key"))
        if signing and self.map_keys is not None:
            files.append(SecretFile(variable="ACTORQ_MAP_KEYS", file="map-keys", secret=name, key="map-keys"))
        return tuple(files)

    def secret_manifest(self, name: str, labels: Mapping[str, str]) -> Manifest | None:
        """The Secret to make, None when there is nothing to put into one."""
        data = {} if self.secret is not None else {"url": self.url}
        if self.signing_key is not None:
            data["signing-key"] = self.signing_key
        if self.map_keys is not None:
            data["map-keys"] = self.map_keys
        if self.authorities is not None:
            data["redis-ca.crt"] = self.authorities
        if not data:
            return None
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": dict(labels)},
            "type": "Opaque",
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
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


def _certificates(path: str) -> str:
    """The text of a file that only this machine has. Raises `DeclarationError`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DeclarationError(
            f"ACTORQ_REDIS_CA_FILE names {path!r}, whose certificates cannot be given to pods: {why}."
        ) from error
