"""What the environment variables say, read once per process.

Every variable begins with `ACTORQ_`; a secret may be given as `<NAME>_FILE`, the path of a mounted file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from actorq.errors import DeclarationError

#: largest single input or output, bytes. One Redis thread serves everybody: past this, data belongs in a store.
DEFAULT_MAX_PAYLOAD_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of this process."""

    #: server to use; None starts an embedded one for this program
    redis_url: str | None = None
    #: refuse a single input or output above this size
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES
    #: seconds to keep trying an unreachable server before a map fails
    broker_timeout: float = 60.0
    #: namespace in which pods are made; None: none are
    kubernetes_namespace: str | None = None
    #: the server as pods reach it, where that differs from `redis_url`
    pod_redis_url: str | None = None
    #: NAME/KEY of a Secret that holds the server's address for pods
    redis_secret: str | None = None
    #: secret that signs code bundles; a replica that has one refuses bundles signed with another, or not at all
    signing_key: str | None = None
    #: seconds a stopping replica may finish its input, in place of what its environment declares
    drain_seconds: float | None = None
    #: bytes that a worker and its replicas may use together, in place of what their control group says
    memory_limit_bytes: int | None = None
    #: file with the certificates that a rediss:// server is checked against, in place of the system's
    redis_ca_file: str | None = None
    #: set in a replica: name of the environment it serves, where a nested call to it could wait for itself
    replica_of: str | None = None
    #: what `@actor_cache` tells of its keys shows the arguments themselves
    cache_labels: bool = False


def _read(name: str) -> str | None:
    value = os.environ.get(name)
    if value is None and (path := os.environ.get(f"{name}_FILE")):
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise DeclarationError(f"{name}_FILE names {path!r}, which cannot be read: {error.strerror}.") from error
    return value or None


def _number(name: str, default: float) -> float:
    value = _optional(name)
    return default if value is None else value


def _optional(name: str) -> float | None:
    text = _read(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise DeclarationError(f"{name} is {text!r}: give a number.") from None
    if value <= 0:
        raise DeclarationError(f"{name} is {text!r}: give a number above 0.")
    return value


@cache
def settings() -> Settings:
    """The settings of this process. Raises `DeclarationError` for a value that cannot be used."""
    return Settings(
        redis_url=_read("ACTORQ_REDIS_URL"),
        max_payload_bytes=int(_number("ACTORQ_MAX_PAYLOAD_BYTES", DEFAULT_MAX_PAYLOAD_BYTES)),
        broker_timeout=_number("ACTORQ_BROKER_TIMEOUT", 60.0),
        kubernetes_namespace=_read("ACTORQ_KUBERNETES_NAMESPACE"),
        pod_redis_url=_read("ACTORQ_POD_REDIS_URL"),
        redis_secret=_read("ACTORQ_REDIS_SECRET"),
        signing_key=_read("ACTORQ_SIGNING_KEY"),
        drain_seconds=_optional("ACTORQ_DRAIN_SECONDS"),
        memory_limit_bytes=None if (limit := _optional("ACTORQ_MEMORY_LIMIT_BYTES")) is None else int(limit),
        redis_ca_file=_read("ACTORQ_REDIS_CA_FILE"),
        replica_of=_read("ACTORQ_REPLICA_OF"),
        cache_labels=_read("ACTORQ_CACHE_LABELS") is not None,
    )


def masked(text: str) -> str:
    """`text` with the password of every URL in it hidden: for logs and error messages."""
    text = re.sub(r"(\w+://[^:@/\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"([?&]password=)[^&\s]*", r"\1***", text)
