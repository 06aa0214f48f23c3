"""The result stream of a map, as its submitter reads it: asked, waited for, read, trimmed and parsed in one place.

The one idea: what was read is remembered by its id. So a connection that goes silent is dropped, and another one reads
on from there, or, where the server has forgotten the map, from the beginning.
"""

from __future__ import annotations

import time
from typing import Any

from actorq.base.waiting import Waker, ready
from actorq.broker import keys
from actorq.broker.commands import Command, packed
from actorq.broker.link import Link
from actorq.broker.refusals import CallError
from actorq.broker.run_records import JournalGapError
from actorq.broker.stream import after, parse_reports
from actorq.wire.lease import Report

#: one XREAD waits this long on the server; then it is asked again
_BLOCK_SECONDS = 5.0
#: without an answer for so much longer the connection is taken for one that went silent, seconds
_SILENT_SECONDS = 5.0
#: frames taken at once
_COUNT = 64


class Position:
    """How far a stream was read."""

    __slots__ = ("frames", "last")

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Nothing was read: the stream is new, or the server has forgotten it."""
        self.last = b"0-0"
        #: entries that were read and not dropped yet
        self.frames = 0

    @property
    def read_until(self) -> bytes:
        """What is below this id was read, and not dropped yet; b"" for nothing."""
        return after(self.last) if self.frames else b""

    def dropped(self) -> None:
        """The server has dropped what was read."""
        self.frames = 0

    def take(self, reply: Any, link: Link, environment: str, *, keep: bool = False) -> list[Report]:
        """The reports of a reply to XREAD. `link` fetches large ones, which stay there with `keep`."""
        if not reply:
            return []
        entries = reply[0][1]
        self.last = entries[-1][0]
        self.frames += len(entries)
        return parse_reports(entries, link, environment, keep=keep)


class ReportStream:
    """The stream of one map, read over a connection that does nothing else.

    Args:
        reader: that connection. It waits for replies; large frames are fetched over `other`.
        other: one that waits for none.
        environment: where the map's leases run.
        map_id: whose stream it is.
        keep: it is the journal of a run: what was read stays there, for other readers, large results too. Where it does
            not, the server has returned in an older state, and reading raises `JournalGapError`.
    """

    def __init__(self, reader: Link, other: Link, environment: str, map_id: str, *, keep: bool = False) -> None:
        self._keep = keep
        self._reader, self._other = reader, other
        self._environment = environment
        self._key = keys.out(map_id)
        self._command = Command("XREAD", "COUNT", _COUNT, "BLOCK", int(_BLOCK_SECONDS * 1000), "STREAMS", self._key)
        self._asked_at: float | None = None  # monotonic seconds; None: no answer is to come
        self.position = Position()

    def wait(self, timeout: float, waker: Waker, *, expecting: bool) -> list[Report]:
        """What has come, after at most `timeout` seconds, or earlier when `waker` is woken.

        Args:
            timeout: seconds.
            waker: ends the wait.
            expecting: something may come; else the server is not asked.
        """
        if not expecting and self._asked_at is None:
            if ready([waker], timeout):
                waker.clear()
            return []
        if not self.has_answer(timeout, waker):
            assert self._asked_at is not None
            if time.monotonic() - self._asked_at > _BLOCK_SECONDS + _SILENT_SECONDS:
                self.forget()
            return []
        return self._read()

    def has_answer(self, timeout: float, waker: Waker) -> bool:
        """Asks, if need be, and waits; whether `wait` would return at once."""
        if self._asked_at is None:
            last = self.position.last
            self._reader.ask(self._command.packed(last) + (self._known(last) if self._keep else b""))
            self._asked_at = time.monotonic()
        if self._reader.has_reply():
            return True
        found = ready([self._reader, waker], timeout)
        if waker.fileno() in found:
            waker.clear()
        return self._reader.fileno() in found

    def read_past(self) -> list[Report]:
        """What lies in the stream and the reader has not told, over the connection that has just been answered."""
        last = self.position.last
        asked = ("XREAD", "COUNT", _COUNT, "STREAMS", self._key, last)
        reply, known = self._other.pipeline([asked, ("XRANGE", self._key, last, last)])
        self._check(known)
        if reports := self.position.take(reply, self._other, self._environment, keep=self._keep):
            self.forget()  # what it would tell now is known
        return reports

    def begin_anew(self) -> None:
        """The server has forgotten what was read: the stream begins anew."""
        self.position.begin_anew()
        self.forget()

    def forget(self) -> None:
        """What comes is read over a new connection, from the last id on."""
        self._reader.drop()
        self._asked_at = None

    def close(self) -> None:
        """Nothing is read any more."""
        if self._asked_at is not None:
            self.forget()

    def _known(self, last: bytes) -> bytes:
        """Asks for the entry that was read last, in the same go: what comes may hide that it is gone."""
        return packed("XRANGE", self._key, last, last)

    def _check(self, known: Any) -> None:
        if self._keep and self.position.last != b"0-0" and not known:
            raise JournalGapError("The journal is another one than was read.")

    def _read(self) -> list[Report]:
        self._asked_at = None
        try:
            reply, *known = self._reader.read_each(2 if self._keep else 1)
        except CallError as error:  # asked again; nothing read was forgotten, the stream keeps it
            self._reader.bear(error)
            return []
        self._reader.answered()
        self._check(known and known[0])
        return self.position.take(reply, self._other, self._environment, keep=self._keep)
