"""The outputs of a run, from any process: while it runs or after, from the start, in order or as they come.

The one idea: a reader folds the journal as a driver does, and needs nobody. One that dies costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import msgpack

from actorq.base import checks
from actorq.base.settings import settings
from actorq.broker import records, run_records
from actorq.broker.client import Client
from actorq.broker.run_records import JournalGapError
from actorq.broker.scripts import running
from actorq.errors import MapTimeoutError, PoolError, TaskError
from actorq.maps.handle import values_of
from actorq.maps.remote import Lonely
from actorq.runs.journal import Journal, NoSource
from actorq.runs.plan import Plan
from actorq.wire import failure
from actorq.wire.lease import Counters
from actorq.wire.messages import Head
from actorq.wire.seal import MARK

#: one wait for news on the server, seconds; then it is looked whether the run is still there
_WAIT_SECONDS = 1.0


def record_of(client: Client, run_id: str) -> run_records.RunRecord:
    """What the server has of a run. Raises `PoolError` where it has none."""
    with client.lent() as link:
        record = run_records.run_record(link, run_id)
    if record is None:
        raise PoolError(f"There is no run {run_id!r} on this server: it was deleted, has expired, or never was.")
    return record


class Reader:
    """The outputs of one run.

    Args:
        client: lends the connection.
        run_id: the run.
        ordered: in the order of the inputs; None: as the run was started.
        start: the index of the first output that is yielded.
    """

    def __init__(self, client: Client, run_id: str, *, ordered: bool | None = None, start: int = 0) -> None:
        record = record_of(client, run_id)
        self.run_id, self.environment = run_id, record.environment
        self._client = client
        options = Plan.of(record.environment, run_id, record.plan).options
        #: its name
        self.task = options.head.task
        self._options = options if ordered is None else replace(options, ordered=ordered)
        self._created = record.created
        self._start = self._next = checks.whole("start", start, 0)  # the index of the output that is next, in order
        self._link = client.borrow()
        self._journal = self._begin(record)
        self._lonely = Lonely(self.environment, self._link.url, f"run {run_id!r} waits")
        self._closed = False
        #: all outputs have been given
        self.over = False

    def _begin(self, record: run_records.RunRecord) -> Journal:
        return Journal(self._link, self.run_id, NoSource(record.total), self._options, record.rounds)

    @property
    def counters(self) -> Counters:
        """As far as the journal was read."""
        return self._journal.ledger.counters

    @property
    def failures(self) -> tuple[Exception, ...]:
        return tuple(self._journal.ledger.failures)

    @property
    def failed(self) -> list[int]:
        """The indexes of the inputs that have failed; those of `failures` come first."""
        return self._journal.ledger.failed

    def catch_up(self) -> None:
        """Folds all that is there."""
        while self._read(wait=None):
            pass

    def outputs(self) -> Iterator[Any]:
        """All outputs, waited for. Raises what the run raises at its place, and what has ended it."""
        try:
            while (some := self.some()) is not None:
                yield from some
        finally:
            self.close()

    def some(self, *, wait: bool = True) -> Iterator[Any] | None:
        """The next outputs, waited for a moment: perhaps none; None when all have been. Raises as `outputs` does.

        Args:
            wait: False gives None, too, where more would have to be waited for.
        """
        segment = self._journal.ledger.take()
        if segment is not None:
            values = values_of(segment, self._options)
            if not self._options.ordered:
                return islice(values, max(0, self._start - segment.lo), None)
            skipped, self._next = max(0, self._next - segment.lo), max(self._next, segment.lo + segment.count)
            return islice(values, skipped, None)
        if self._journal.ended is not None:
            record = self._known()
            if record.state == "running":  # opened once more: the journal goes on
                self._read(wait=_WAIT_SECONDS)
                return iter(())
            self.over = True
            self._raise_end(self._journal.ended, record)
            return None
        if not wait:
            self._check_there()
            return None
        if not self._read(wait=_WAIT_SECONDS):
            self._check_there()
            self._lonely.check(records.replica_count(self._link, self.environment))
        return iter(())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._client.give_back(self._link)

    def _read(self, wait: float | None) -> bool:
        """Folds what is there, or comes within `wait` seconds; whether there may be more, or anything has come."""
        try:
            return self._journal.read() if wait is None else self._journal.wait(wait)
        except JournalGapError:
            record = self._known()
            if not self._options.ordered:
                raise PoolError(
                    f"The server has returned in an older state, and forgotten a part of run {self.run_id!r}: read it "
                    "from the beginning."
                ) from None
            self._journal = self._begin(record)  # what was given already is skipped: the next is known
            return True

    def _check_there(self) -> None:
        """Raises `PoolError` for a run whose record tells that it has ended, and whose journal does not."""
        state = self._known().state
        if state != "running" and not self._read(wait=None) and self._journal.ended is None:
            raise PoolError(
                f"The results of run {self.run_id!r}, which is {state}, are not on the server any more: somebody has "
                "removed them, or the server has lost them."
            )

    def _known(self) -> run_records.RunRecord:
        """What the server has of this very run. Raises `PoolError` where it has none, or another one of its name."""
        record = record_of(self._client, self.run_id)
        if record.created != self._created:
            raise PoolError(f"Run {self.run_id!r} was deleted, and another one of that name was started: attach again.")
        return record

    def _raise_end(self, state: str, record: run_records.RunRecord) -> None:
        """What has ended the run, if it was not its last output."""
        if state == "cancelled":
            raise PoolError(f"Run {self.run_id!r} was cancelled.")
        ledger = self._journal.ledger
        if state == "failed":
            raise ledger.fatal or self._told(record.why)
        there = ledger.counters.succeeded + len(ledger.failed)
        if record.total is not None and there < record.total:
            raise PoolError(
                f"{record.total - there:,} results of run {self.run_id!r} cannot be read: large ones have expired, or "
                "are larger than ACTORQ_MAX_PAYLOAD_BYTES allows here, or are not signed with the key of this program."
            )

    def _told(self, why: bytes) -> Exception:
        if not why:
            return TaskError(f"Run {self.run_id!r} has failed.")
        return failure.restored(msgpack.unpackb(why))


def wait(client: Client, run_id: str, timeout: float | None) -> str:
    """Until a run has ended: how. Raises `MapTimeoutError` after `timeout` seconds."""
    until = None if timeout is None else time.monotonic() + timeout
    with client.lent() as link:
        last = run_records.last_of_journal(link, run_id)
        lonely = Lonely(record_of(client, run_id).environment, link.url, f"run {run_id!r} waits")
        while (record := record_of(client, run_id)).state == "running":
            left = _WAIT_SECONDS if until is None else min(_WAIT_SECONDS, until - time.monotonic())
            if left <= 0:
                raise MapTimeoutError(f"Run {run_id!r} did not end within {timeout} s: it goes on.")
            before, last = last, run_records.wait_for_entry(link, run_id, last, left)
            if last == before:
                lonely.check(records.replica_count(link, record.environment))
    return record.state


def cancel(client: Client, run_id: str) -> None:
    """Ends a run, whoever drives it. One that has ended stays as it is."""
    record = record_of(client, run_id)
    if record.state != "running":
        return
    plan = Plan.of(record.environment, run_id, record.plan)
    reader = Reader(client, run_id)
    try:
        reader.catch_up()  # its driver may be gone, and have told less than there is
    finally:
        reader.close()
    with client.lent() as link:
        person = running.by_person(record.environment, run_id)
        running.end(link, person, "cancelled", b"", plan.result_ttl, reader.counters)


def retry(client: Client, run_id: str, head: Head | None = None) -> None:
    """Opens a run that has ended once more.

    Args:
        client: lends the connection.
        run_id: the run.
        head: of its task as it is now; None: whatever code the replicas have.

    Raises `PoolError` for a run that has not ended, or was cancelled.
    """
    record = record_of(client, run_id)
    if record.plan.startswith(MARK) and not settings().signs:
        raise PoolError(f"Run {run_id!r} is signed: set ACTORQ_SIGNING_KEY, else drivers would refuse it from now on.")
    plan = Plan.of(record.environment, run_id, record.plan).with_head(head)
    with client.lent() as link:
        run_records.keep_large(link, run_id, plan.expires + plan.result_ttl)
        done = running.retry(link, record.environment, run_id, plan.packed(run_id), plan.expires)
        if done == running.DONE:
            run_records.forget_failures(link, record.environment, run_id)  # they are no failures any more
            run_records.wake_drivers(link, record.environment)
            return
    if done == running.OTHERS:
        raise PoolError(f"Run {run_id!r} has not ended: what fails can be tried again when it has. Wait for it first.")
    raise PoolError(f"Run {run_id!r} was cancelled, and its inputs are gone: start another one.")


def delete(client: Client, run_id: str) -> None:
    """Cancels a run, and removes all of it."""
    record = record_of(client, run_id)
    if record.state == "running":
        cancel(client, run_id)
    with client.lent() as link:
        run_records.delete_run(link, run_id)
        run_records.forget_failures(link, record.environment, run_id)
        run_records.forget_open_run(link, record.environment, run_id)
        run_records.forget_ended_run(link, record.environment, run_id)
