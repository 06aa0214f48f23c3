"""Keys that hold another kind of value than actorq keeps there: which one a refusal means, and what to do with it.

The server says only that there is one, and a script looks at many. So the keys that a refused command names are looked
at first, then all that are ours, as many as may be looked at in a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import hiredis

from actorq.base.masking import printable
from actorq.broker import keys
from actorq.broker.keys import AQ, RQ
from actorq.errors import BrokerError

#: the kinds of values, by how their keys begin; see the table in `keys.py`
_KINDS = {
    "hash": ("rq:job:", "rq:execution:", "rq:worker:", "aq:served:", "aq:map:", "aq:run:", "aq:failed:"),
    "list": ("rq:queue:", "aq:mail:", "aq:wait:", "aq:calls:", "aq:wanted", "aq:pod:", "aq:sums:", "aq:wake:"),
    "set": ("rq:queues", "rq:workers"),
    "zset": (
        *("rq:wip:", "rq:failed:", "rq:scheduled:", "rq:finished:", "rq:canceled:"),
        *("aq:idle:", "aq:turns:", "aq:maps:", "aq:runs:", "aq:ended:"),
    ),
    "stream": ("rq:results:", "aq:out:", "aq:in:", "aq:output:"),
    "string": ("rq:suspended", "aq:trouble:", "aq:lapsed:", "aq:used:", "aq:ttl:", "aq:code:", "aq:blob:", "aq:lead:"),
}
_PREFIXES = {"rq": RQ, "aq": AQ}
_BEGINNINGS = {_PREFIXES[begin[:2]] + begin[2:]: kind for kind, of in _KINDS.items() for begin in of}
#: keys of a map, whose name is what follows
_OF_MAP = tuple(f"{AQ}:{each}:" for each in ("map", "out", "wait", "run", "in", "sums", "failed", "lead", "output"))
#: keys of RQ's own beside a job
_OF_RQ = (":dependents", ":dependencies")
#: keys that are looked at, and how many at once
_MOST_KEYS, _STEP = 50_000, 1000
#: the longest word of a command that may be the name of a lease or a map
_LONGEST_NAME = 400
#: where a worker puts what somebody has written in the place of a key
_ASIDE = f"{AQ}:aside:"

#: runs commands, and returns their replies
Ask = Callable[[list[list[Any]]], list[Any]]


@dataclass(frozen=True, kw_only=True)
class OddKey:
    """A key with another kind of value."""

    key: str
    #: the kind of value that it has, and that it should have
    holds: str
    should: str

    def told(self) -> str:
        """For a person."""
        named = next((f" of map {self.key.removeprefix(each)!r}" for each in _OF_MAP if self.key.startswith(each)), "")
        return (
            f"{printable(self.key)!r}{printable(named)} is of type {self.holds}, and actorq keeps a {self.should} there"
        )

    @property
    def advice(self) -> str:
        return (
            f"Something else has written there: find out what, delete the key, and keep it off keys that begin with "
            f"{RQ}: and {AQ}:"
        )

    @property
    def movable(self) -> bool:
        """Whether those who work on can do without it: what is lost with it is made anew. Not so results."""
        return not self.key.startswith(f"{AQ}:out:") and not self.key.startswith(_ASIDE)


def kind_of(key: str) -> str | None:
    """The kind of value that actorq keeps at a key; None for a key that is not ours."""
    if key.endswith(":executions"):
        return "set"
    if key.endswith(_OF_RQ):
        return None
    return next((kind for begin, kind in _BEGINNINGS.items() if key.startswith(begin)), None)


def find(ask: Ask, sent: bytes | bytearray | memoryview) -> OddKey | None:
    """The key for which the server has refused what was sent; None where it is not found.

    Args:
        ask: runs commands.
        sent: one command or more, as they were written.
    """
    with suppress(BrokerError):
        for group in (sorted(_named(sent)), *_ours(ask)):
            ours = [(key, kind) for key in group if (kind := kind_of(key)) is not None]
            for (key, should), holds in zip(ours, ask([["TYPE", _raw(key)] for key, _ in ours]), strict=True):
                if holds.decode() not in ("none", should):
                    return OddKey(key=key, holds=holds.decode(), should=should)
    return None


def move_aside(ask: Ask, odd: OddKey) -> str | None:
    """Takes what somebody has written out of the way; returns where it is now, None where that is not permitted."""
    aside = f"{_ASIDE}{odd.key}"
    with suppress(BrokerError):
        ask([["RENAME", _raw(odd.key), _raw(aside)]])
        return aside
    return None


def _named(sent: bytes | bytearray | memoryview) -> set[str]:
    """The keys that commands name, and those of the leases and maps that they name."""
    reader, found = hiredis.Reader(), set[str]()
    reader.feed(bytes(sent))
    while isinstance(words := reader.gets(), list):
        for word in words[1:]:
            if len(word) <= _LONGEST_NAME:
                found.update(_made_of(word.decode(errors="surrogateescape")))
    return found


def _raw(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def _made_of(word: str) -> Iterator[str]:
    yield word
    for name in {word, word.rpartition(":")[0]} - {""}:
        yield from (make(name) for make in (keys.job, keys.map_, keys.out, keys.wait, keys.worker, keys.mail))
        yield from (make(name) for make in (keys.queue, keys.wip, keys.idle, keys.turns, keys.calls, keys.maps))


def _ours(ask: Ask) -> Iterator[Iterable[str]]:
    """All keys that begin as ours do, some at a time."""
    for begin in (AQ, RQ):
        cursor, looked = b"0", 0
        while looked < _MOST_KEYS:
            cursor, found = ask([["SCAN", cursor, "MATCH", f"{begin}:*", "COUNT", _STEP]])[0]
            yield [key.decode(errors="surrogateescape") for key in found]
            looked += _STEP
            if cursor == b"0":
                break
