"""Large messages travel beside the scripts, not through them.

A script copies every argument several times (into Lua, out of it, into the value): 1.7 ms for a MiB, on the one thread
that serves everybody. A plain SET or GET takes a tenth of that. So a lease or a frame above `LARGE_BYTES` is stored
under a key of its own, in the same write, and the script is given a reference.

    aq:blob:<lease>            payload of a lease: removed with the lease
    aq:blob:<lease>:<attempt>:<start>   a frame of its results: removed by the submitter that reads it
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from actorq.base.settings import settings
from actorq.broker import keys, nearby
from actorq.broker.commands import NO_REPLY, packed
from actorq.broker.link import Link, Store
from actorq.broker.refusals import ReplyTooLargeError, WrongTypeError
from actorq.errors import BrokerError, CodecError
from actorq.wire.messages import Parts

#: above this the extra command costs less than the copies
LARGE_BYTES = 32 * 1024
#: a blob that nobody fetches (its reader died) goes by itself, seconds
TTL_SECONDS = 120
#: how a reference begins. No message of ours does: it would be the length of a head
REFERENCE = b"\xff\xff\xff\xff"
#: the same for one that lies in the memory of this host, before its name
_NEARBY = REFERENCE + b"/"

#: room in a message for what is neither inputs nor constants nor outputs, bytes
_HEAD_BYTES = 1 << 20


def send(parts: Parts, *name: str | bytes | int, lives: int = TTL_SECONDS) -> tuple[bytes, list[Store]]:
    """What to give to a script for a message in `parts`, and what to store in the same write, as the blob `name`."""
    if len(parts[-1]) < LARGE_BYTES and len(message := b"".join(parts)) < LARGE_BYTES:
        return message, []
    key = keys.blob(":".join(each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in name))
    return REFERENCE + key.encode(), [Store(key=key, parts=parts, seconds=lives)]


def send_payload(parts: Parts, lease: str, link: Link) -> tuple[bytes, list[Store]]:
    """The same for the payload of a lease of a map or a call, which may go through the memory of this host."""
    return _near(parts, nearby.payload_name(lease), link) or send(parts, lease, lives=keys.LEASE_TTL_SECONDS)


def send_results(
    parts: Parts, member: str | bytes, start: int, link: Link, *, keep: int = 0
) -> tuple[bytes, list[Store]]:
    """The same for a frame of results. One to be kept, for `keep` seconds, may be read by anybody, from any host."""
    if not keep and len(parts[-1]) >= nearby.LEAST_BYTES:
        name = nearby.results_name(member.decode(errors="replace") if isinstance(member, bytes) else member)
        if (sent := _near(parts, name, link)) is not None:
            return sent
    return send(parts, member, start, lives=keep or TTL_SECONDS)


def _near(parts: Parts, name: str, link: Link) -> tuple[bytes, list[Store]] | None:
    if len(parts[-1]) < nearby.LEAST_BYTES or (folder := nearby.of(link.url)) is None:
        return None
    word = folder.put(name, parts)
    return None if word is None else (_NEARBY + f"{word}/{name}".encode(), [])


def forget_payloads(leases: Iterable[str], link: Link) -> None:
    """Leases that are over, or were not taken."""
    if (folder := nearby.of(link.url)) is not None:
        folder.forget(*map(nearby.payload_name, leases))


def sweep(prefix: str, link: Link) -> None:
    """A map is over: nothing of its leases, whose ids begin so, stays in the memory of this host."""
    if (folder := nearby.of(link.url)) is not None:
        folder.sweep(prefix)


def keys_of(messages: Iterable[bytes | None]) -> list[bytes]:
    """Of messages that a script gave, and that are there: the keys of those that lie beside it."""
    found = [each for each in messages if each and each.startswith(REFERENCE) and not each.startswith(_NEARBY)]
    return [each[len(REFERENCE) :] for each in found]


def most_bytes() -> int:
    """The largest message: one input or output, or several that are no larger together, and the constants of a map."""
    return 2 * settings().max_payload_bytes + _HEAD_BYTES


def receive(link: Link, message: bytes, *, keep: bool = False) -> bytes | bytearray:
    """The message a script gave: itself, or what it refers to. Raises `CodecError` when that is gone, or none of ours.

    `link` must not wait for a reply.
    """
    if not message.startswith(REFERENCE):
        return message
    if message.startswith(_NEARBY):
        return _from_memory(link, message[len(_NEARBY) :].decode(errors="replace"), keep=keep)
    key = message[len(REFERENCE) :].decode(errors="replace")
    if not key.startswith(f"{keys.AQ}:blob:"):
        raise CodecError("The message refers to a key that is no blob.")
    try:
        data = link.fetch(key, most_bytes())
    except (WrongTypeError, ReplyTooLargeError) as error:
        raise CodecError(f"The message cannot be read: {error}") from error
    if data is None:
        raise CodecError("The message has expired on the server before it was read.")
    if not keep:
        with contextlib.suppress(BrokerError):  # it expires by itself
            link.send(NO_REPLY, packed("UNLINK", key))
    return data


def _from_memory(link: Link, reference: str, *, keep: bool) -> bytes:
    word, _, name = reference.partition("/")
    if (folder := nearby.of(link.url)) is None:
        raise CodecError("The message lies in the memory of another host.")
    try:
        data = folder.get(name, word, most_bytes(), keep=keep)
    except ValueError as error:
        raise CodecError(f"The message cannot be read: {error}") from error
    if data is None:
        raise CodecError("The message was removed from this host's memory before it was read.")
    return data
