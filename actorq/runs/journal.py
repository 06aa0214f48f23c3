"""The journal of a run, folded: the same events make the same ledger, whoever reads them.

The one idea: the ledger is pure, it does no I/O and knows no time. What a driver decides (a lease is opened) lies in
the stream beside what replicas report, so a ledger that is told all of it, in its order, is where the driver's was.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from actorq.base.log import logger
from actorq.broker import run_records
from actorq.broker.link import Link
from actorq.broker.stream import parse_reports
from actorq.declare.map_options import MapOptions
from actorq.maps.ledger import Ledger
from actorq.maps.sources import Source
from actorq.wire.lease import Ended, HandedBack, Lives, Lost, Opened, Reopened, Report, Results

#: entries read at once: frames of 32 KiB each are no more than the largest reply
_COUNT = 256


class NoSource:
    """Of a reader, which draws no input."""

    packed = True
    exhausted = False
    error: BaseException | None = None

    def __init__(self, total: int | None) -> None:
        self.total = total

    def draw(self, count: int, ahead: int = 0) -> Sequence[Any]:
        return ()

    def close(self) -> None:
        self.exhausted = True


class Journal:
    """The journal of one run, and the ledger that it makes.

    Args:
        link: a connection, which waits for nothing else.
        run_id: whose it is.
        source: the inputs of the ledger.
        options: of the run, as whoever folds it wants the outputs.
        rounds: how often it was opened once more, as its record tells. What failed before the last time counts as not
            failed: it was, or will be, tried again.
    """

    def __init__(self, link: Link, run_id: str, source: Source, options: MapOptions, rounds: int) -> None:
        self._link = link
        self._run_id = run_id
        self._environment = options.environment
        # who folds draws no input, so nothing bounds it, and what was decided already has no time to wait for
        self.ledger = Ledger(run_id, source, replace(options, timeout=None, affinity=None, single=False))
        self.ledger.will_reopen = rounds > 0
        self._rounds = rounds
        #: the id of the last entry that was folded
        self.last = b"0-0"
        #: how the run has ended; None while it has not, or when it was opened once more
        self.ended: str | None = None

    def read(self) -> bool:
        """Folds what has come; whether there may be more."""
        entries = run_records.journal(self._link, self._run_id, self.last, _COUNT)
        self._fold_entries(entries)
        return len(entries) == _COUNT and self.ended is None

    def wait(self, seconds: float) -> bool:
        """Folds what comes within `seconds`; whether anything has."""
        entries = run_records.journal_after(self._link, self._run_id, self.last, _COUNT, seconds)
        self._fold_entries(entries)
        return bool(entries)

    def _fold_entries(self, entries: list[tuple[bytes, list[bytes]]]) -> None:
        if entries:
            self.last = entries[-1][0]
            self.fold(parse_reports(entries, self._link, self._environment, keep=True))

    def fold(self, reports: Iterable[Report]) -> None:
        """Books events in their order."""
        now = time.monotonic()
        for report in reports:
            try:
                self._enter(report, now)
            except (ValueError, KeyError):  # nobody of ours has written it
                logger().warning("journal_entry_unreadable", run=self._run_id)

    def _enter(self, report: Report, now: float) -> None:
        ledger = self.ledger
        match report:
            case Results():
                ledger.results(report.lease, report.frame, now)
            case Opened():
                ledger.opened(report.lease, report.count, alone=report.alone)
            case HandedBack():
                ledger.handed_back(report.lease, report.end)
            case Lost():
                args = (report.lease, report.reason, report.position, report.replica, now)
                ledger.lost(*args, damaged=report.damaged)
            case Lives():
                ledger.lives(report.lease)
            case Ended():
                self.ended = None if ledger.will_reopen else report.state
            case Reopened():
                self.ended = None
                self._rounds -= 1
                ledger.will_reopen = self._rounds > 0
                ledger.reopen()
        ledger.given_up.clear()
