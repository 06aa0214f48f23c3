"""Messages that only somebody with the signing key can have made, for one place each.

With `ACTORQ_SIGNING_KEY` set, a submitter signs its leases and a replica its results, and each takes nothing else: who
writes to the server can still delete, delay and repeat work, and have an input fail, but not invent an input or an
output, or move one. A message is signed together with where it belongs:

    a lease   environment, map and owner (by the key), its id, until when it may run, head and inputs
    results   environment, map and owner (by the key), the lease's id, start, count, errors and outputs

    | 4 bytes: MARK | 32 bytes: keyed BLAKE2b | 8 bytes: until when, Unix seconds, 0 for ever | message |

The one idea: *every map has a key of its own*, derived from the signing key. A pod that runs a single input is given
that of its map, and what it runs can sign nothing else with it.

Keyed BLAKE2b takes a third of the time of HMAC for a message of 100 bytes, as most are. Of a larger one it covers the
SHA-256, for which processors have instructions: half of the time.
"""

from __future__ import annotations

import hmac
import struct
import time
from functools import lru_cache
from hashlib import blake2b, sha256

from actorq.base.settings import Settings, settings
from actorq.errors import PoolError
from actorq.wire.messages import DamagedFrameError, Parts, join_parts, split

#: how a signed message begins. No other does: it would be the length of a head, and one less is a reference to a blob
MARK = b"\xff\xff\xff\xfe"
_HEAD = struct.Struct(">4s32sQ")
_LEASE, _FRAME = "lease", "results"
#: a lease that waits longer than this is gone from the server; an input in RQ's registry, too. Seconds, with an hour
#: for clocks that disagree
_VALID_SECONDS = 86_400 + 3_600
#: a message from this size on is hashed before it is signed: both ways take 1.5 us for 1,000 bytes, 5.4 and 3.5 us
#: for 4,000
_LARGE_BYTES = 1024
#: maps whose keys are kept at hand
_KEPT_MAPS = 1000


def seal(environment: str, lease: str, head: bytes, items: bytes, valid: int = _VALID_SECONDS) -> Parts:
    """The payload of a lease, in pieces; signed where this program has a key, to be run within `valid` seconds."""
    return _signed(_LEASE, environment, lease, int(time.time()) + valid, join_parts(head, items))


def unseal(environment: str, lease: str, payload: bytes | bytearray) -> tuple[bytes, memoryview]:
    """The head and the packed list of a lease's payload.

    Raises `CodecError` for a message that was cut short, and `PoolError` when this program has a key and the payload is
    not signed with it, for this lease, and for now.
    """
    until = _checked(_LEASE, environment, lease, payload)
    if until is None:
        raise PoolError(
            "The lease is not signed with the key of this replica, or not for this place: it was not run. Set "
            "ACTORQ_SIGNING_KEY to the same value in the program that submits."
        )
    if 0 < until < time.time():
        raise PoolError(
            "The lease was signed to be run until a time that is over: it was not run. Where it is new, the clocks of "
            "this machine and of the one that submits disagree."
        )
    return split(body(payload))


def seal_results(environment: str, lease: str, parts: Parts) -> Parts:
    """A frame of a lease's results, in pieces; signed where this program has a key."""
    return _signed(_FRAME, environment, lease, 0, parts)


def unseal_results(environment: str, lease: str, message: bytes | bytearray) -> memoryview:
    """The frame. Raises `DamagedFrameError` when this program has a key and the message is not signed with it."""
    if _checked(_FRAME, environment, lease, message) is None:
        raise DamagedFrameError(
            "The results are not signed with the key of this program: they were not taken. Set ACTORQ_SIGNING_KEY to "
            "the same value for the replicas."
        )
    return body(message)


def seal_part(environment: str, run_id: str, part: str, data: bytes) -> bytes:
    """A part of a run as it lies on the server, its plan or inputs; signed where this program has a key."""
    return b"".join(_signed(part, environment, f"{run_id}-run", 0, (data,)))


def unseal_part(environment: str, run_id: str, part: str, message: bytes) -> bytes:
    """The part. Raises `PoolError` when this program has a key and it is not signed with that, for this place."""
    if _checked(part, environment, f"{run_id}-run", message) is None:
        raise PoolError(
            f"The {part} of run {run_id!r} on the server is not signed with the key of this program: it was not used. "
            "Set ACTORQ_SIGNING_KEY to the same value in the programs that start, drive and read the run."
        )
    return bytes(body(message))


def body(message: bytes | bytearray) -> memoryview:
    """The message without its signature, if it has one, which is not looked at."""
    return memoryview(message)[_HEAD.size :] if message.startswith(MARK) else memoryview(message)


def map_keys(environment: str, map_: str) -> list[str]:
    """What verifies and signs the messages of one map, `map_id-owner`, and nothing else: for `ACTORQ_MAP_KEYS`."""
    return [_derived(key, environment, map_).hex() for key in settings().signing_keys]


def _signed(kind: str, environment: str, lease: str, until: int, parts: Parts) -> Parts:
    known = settings()
    if not known.signs:
        return parts
    code = _code(_keys_of(known, environment, lease)[0], kind, lease, until, parts, sum(map(len, parts)))
    return (_HEAD.pack(MARK, code, until), *parts)


def _checked(kind: str, environment: str, lease: str, message: bytes | bytearray) -> int | None:
    """Until when a message is valid, 0 for ever; None for one that is not signed as it should be."""
    known = settings()
    if not known.signs:
        return 0
    size = len(message) - _HEAD.size
    if size < 0 or not message.startswith(MARK):
        return None
    _, given, until = _HEAD.unpack_from(message)
    parts = (memoryview(message)[_HEAD.size :],)
    for key in _keys_of(known, environment, lease):
        if hmac.compare_digest(given, _code(key, kind, lease, until, parts, size)):
            return int(until)
    return None


def _code(key: blake2b, kind: str, lease: str, until: int, parts: Parts, size: int) -> bytes:
    if size >= _LARGE_BYTES:
        whole = sha256()
        for part in parts:
            whole.update(part)
        parts = (whole.digest(),)
    digest = key.copy()
    # in one piece: each further update costs more than a small part's share of the hash
    digest.update(b"".join((f"{kind}\0{lease}\0{until}\0{size}\0".encode(errors="replace"), *parts)))
    return digest.digest()


def _keys_of(known: Settings, environment: str, lease: str) -> list[blake2b]:
    """Of the map that a lease belongs to: the first one signs, all are accepted."""
    if known.map_keys is not None:
        return _from_hex(known.map_keys)
    return _from_masters(known.signing_keys, environment, lease.rpartition("-")[0])


@lru_cache(maxsize=_KEPT_MAPS)
def _from_masters(masters: tuple[bytes, ...], environment: str, map_: str) -> list[blake2b]:
    return [_keyed(_derived(key, environment, map_)) for key in masters]


@lru_cache(maxsize=1)
def _from_hex(keys: str) -> list[blake2b]:
    return [_keyed(bytes.fromhex(key)) for key in keys.split()]


def _derived(key: bytes, environment: str, map_: str) -> bytes:
    """A key of one map. Bundles have another domain: see `bundle`."""
    return hmac.digest(key, b"actorq map\0%b\0%b" % (environment.encode(), map_.encode(errors="replace")), "sha256")


def _keyed(key: bytes) -> blake2b:
    return blake2b(key=key, digest_size=32)
