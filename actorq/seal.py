"""Leases that only somebody with the signing key can have made.

With `ACTORQ_SIGNING_KEY` set, a submitter signs each payload and a replica runs no other: who writes to the server can
still delete and repeat work, but not invent any. The signature covers the environment, the task, its constants and its
inputs, and stands behind the length of the head, which says by its highest bit that there is one.

    | 4 bytes: length of head, and SIGNED | 32 bytes: HMAC-SHA256 | head | packed list |
"""

from __future__ import annotations

import hashlib
import hmac

from actorq.broker.blobs import Parts
from actorq.errors import PoolError
from actorq.frames import LENGTH, SIGNATURE_BYTES, SIGNED, join_parts, split
from actorq.settings import settings


def seal(environment: str, head: bytes, items: bytes) -> Parts:
    """A lease's payload, in pieces; signed where this program has a key."""
    if settings().signing_key is None:
        return join_parts(head, items)
    return LENGTH.pack(len(head) | SIGNED), _signature(environment, head, items), head, items


def unseal(environment: str, payload: bytes | bytearray) -> tuple[bytes, memoryview]:
    """The head and the packed list.

    Raises `CodecError` for a message that was cut short, and `PoolError` when this program has a key and the payload is
    not signed with it.
    """
    head, items = split(payload)
    if settings().signing_key is not None:
        given = bytes(memoryview(payload)[LENGTH.size : LENGTH.size + SIGNATURE_BYTES])
        signed = LENGTH.unpack_from(payload)[0] & SIGNED
        if not signed or not hmac.compare_digest(given, _signature(environment, head, items)):
            raise PoolError(
                "The lease is not signed with the key of this replica: it was not run. Set ACTORQ_SIGNING_KEY to the "
                "same value in the program that submits."
            )
    return head, items


def _signature(environment: str, head: bytes, items: bytes | memoryview) -> bytes:
    key = settings().signing_key
    assert key is not None
    digest = hmac.new(key.encode(), b"actorq lease\0", hashlib.sha256)
    for part in (environment.encode(), head):
        digest.update(len(part).to_bytes(8, "big") + part)
    digest.update(items)
    return digest.digest()
