"""What the environment variables say, read once per process.

Every variable begins with `ACTORQ_`; a secret may be given as `<NAME>_FILE`, the path of a mounted file.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path

from actorq.base.masking import hide, masked
from actorq.base.variables import look_at
from actorq.base.warned import warn
from actorq.errors import DeclarationError

__all__ = ["DEFAULT_MAX_PAYLOAD_BYTES", "Settings", "masked", "settings"]

#: largest single input or output, bytes. One Redis thread serves everybody: past this, data belongs in a store.
DEFAULT_MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
#: a signing key of fewer bytes is worth a word: it can be guessed
_LEAST_KEY_BYTES = 16


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
    #: the same server with a login that may make others, for the pods of regular tasks
    acl_url: str | None = None
    #: NAME/KEY of a Secret that holds the server's address for pods
    redis_secret: str | None = None
    #: secret that signs code bundles; a replica that has one refuses bundles signed with another, or not at all
    signing_key: str | None = None
    #: in place of that where a single map is run: keys derived from it, as hex
    map_keys: str | None = None
    #: seconds a stopping replica may finish its input, in place of what its environment declares
    drain_seconds: float | None = None
    #: bytes that a worker and its replicas may use together, in place of what their control group says
    memory_limit_bytes: int | None = None
    #: file with the certificates that a rediss:// server is checked against, in place of the system's
    redis_ca_file: str | None = None
    #: folder where the embedded server keeps what it knows for the next program
    state_dir: str | None = None
    #: set in a replica: name of the environment it serves, where a nested call to it could wait for itself
    replica_of: str | None = None
    #: set in a local replica: its program starts the replicas that its tasks ask for
    owned: bool = False
    #: what `@actor_cache` tells of its keys shows the arguments themselves
    cache_labels: bool = False

    @cached_property
    def signs(self) -> bool:
        """Whether leases and results are signed, and have to be."""
        return self.signing_key is not None or self.map_keys is not None

    @cached_property
    def signing_keys(self) -> tuple[bytes, ...]:
        """The keys in `signing_key`, one a line: the first one signs, all are accepted."""
        return tuple(key.encode() for key in _lines(self.signing_key))

    def __repr__(self) -> str:
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        for secret in ("signing_key", "map_keys"):
            told[secret] = None if told[secret] is None else "***"
        shown = (f"{name}={masked(value) if isinstance(value, str) else value!r}" for name, value in told.items())
        return f"Settings({', '.join(shown)})"


def _read(name: str) -> str | None:
    """What a variable, or the file it names, says; None where it is not set, or set and empty."""
    value = os.environ.get(name)
    if not value and (path := os.environ.get(f"{name}_FILE")):
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise DeclarationError(f"{name}_FILE names {path!r}, which cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError:
            raise DeclarationError(f"{name}_FILE names {path!r}, which is no text: it has to be UTF-8.") from None
        if not value:
            raise DeclarationError(f"{name}_FILE names {path!r}, which is empty: write the value into it.")
    return value or None


def _guard(name: str) -> str | None:
    """A setting that protects something, or says how much there may be of it.

    One that is set and empty is refused: somebody meant to set it, and nothing else would tell that it does nothing.
    """
    value = _read(name)
    if value is not None and value.strip():
        return value
    for variable in (name, f"{name}_FILE"):
        if variable in os.environ:
            raise DeclarationError(f"{variable} is set and empty: give it a value, or do not set it.")
    return None


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _signing_key() -> str | None:
    key = _guard("ACTORQ_SIGNING_KEY")
    # once, by the program that was given it, and not by each of its replicas
    least = min((len(each.encode()) for each in _lines(key)), default=_LEAST_KEY_BYTES)
    if least < _LEAST_KEY_BYTES and "ACTORQ_REPLICA_OF" not in os.environ:
        warn(
            f"ACTORQ_SIGNING_KEY has {least} bytes, so few that it can be guessed: "
            "make one with `openssl rand -hex 32`."
        )
    return key


def _optional(name: str) -> float | None:
    text = _guard(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise DeclarationError(f"{name} is {text!r}: give a number.") from None
    if not 0 < value < math.inf:
        raise DeclarationError(f"{name} is {text!r}: give a number above 0.")
    return value


def _bytes(name: str) -> int | None:
    value = _optional(name)
    if value == float("inf"):
        raise DeclarationError(f"{name} is infinite: give a number of bytes.")
    return None if value is None else int(value)


@cache
def settings() -> Settings:
    """The settings of this process. Raises `DeclarationError` for a value that cannot be used."""
    found = Settings(
        redis_url=_read("ACTORQ_REDIS_URL"),
        max_payload_bytes=_bytes("ACTORQ_MAX_PAYLOAD_BYTES") or DEFAULT_MAX_PAYLOAD_BYTES,
        broker_timeout=_optional("ACTORQ_BROKER_TIMEOUT") or 60.0,
        kubernetes_namespace=_guard("ACTORQ_KUBERNETES_NAMESPACE"),
        pod_redis_url=_read("ACTORQ_POD_REDIS_URL"),
        acl_url=_guard("ACTORQ_ACL_URL"),
        redis_secret=_guard("ACTORQ_REDIS_SECRET"),
        signing_key=_signing_key(),
        map_keys=_guard("ACTORQ_MAP_KEYS"),
        drain_seconds=_optional("ACTORQ_DRAIN_SECONDS"),
        memory_limit_bytes=_bytes("ACTORQ_MEMORY_LIMIT_BYTES"),
        redis_ca_file=_guard("ACTORQ_REDIS_CA_FILE"),
        state_dir=_guard("ACTORQ_STATE_DIR"),
        replica_of=_read("ACTORQ_REPLICA_OF"),
        owned=_read("ACTORQ_OWNED") is not None,
        cache_labels=_read("ACTORQ_CACHE_LABELS") is not None,
    )
    if found.replica_of is None and not found.owned:  # by the program that was given it, as above
        look_at(os.environ, [f"ACTORQ_{each.name.upper()}" for each in fields(Settings)])
    hide(found.signing_key, found.map_keys, addresses=(found.redis_url, found.pod_redis_url, found.acl_url))
    return found
