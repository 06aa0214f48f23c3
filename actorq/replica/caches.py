"""How the numbers of `@actor_cache` get from the executor to its supervisor, which shows them."""

from __future__ import annotations

import time

from actorq import cache
from actorq.cache.hooks import LOADS
from actorq.cache.report import CacheReport, collect
from actorq.replica.pages import REPORT_BYTES, Page

#: hits alone are told at most so often, seconds; a load at once
_PAUSE_SECONDS = 1.0


class CacheTeller:
    """The executor's side.

    Args:
        page: where it tells; None where another one of this process does.
    """

    def __init__(self, page: Page | None) -> None:
        self._page = page
        self._told: tuple[int, int, int] = (0, 0, 0)
        self._loads = 0
        self._told_at = float("-inf")

    def tell(self) -> None:
        """Writes a report when there is something new. Called after every lease: most calls only look at the time."""
        now = time.monotonic()
        if LOADS.count == self._loads and now - self._told_at < _PAUSE_SECONDS:
            return
        self._loads, self._told_at = LOADS.count, now
        totals = cache.cache_totals()
        if totals != self._told and self._page is not None:
            self._told = totals
            self._page.report(collect().pack(REPORT_BYTES))


class CacheListener:
    """The supervisor's side."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._data = b""
        self._report = CacheReport()

    @property
    def report(self) -> CacheReport:
        """What the executor told last."""
        data = self._page.reported
        if data is not None and data != self._data:
            self._data, self._report = data, CacheReport.unpack(data)
        return self._report
