"""Numbers as people read them: the filters of the templates."""

from __future__ import annotations

import time

from actorq.base.amounts import counted, rate, size, span


def number(value: float) -> str:
    """A count, with commas."""
    return f"{value:,.0f}"


def percent(part: float, whole: float | None) -> float:
    """Of a bar, from 0 to 100."""
    return 0.0 if not whole else min(max(100 * part / whole, 0.0), 100.0)


def clock(at: float | None) -> str:
    """Unix seconds as a time of day, which is the same for whoever reads it."""
    return "-" if at is None else time.strftime("%H:%M:%S UTC", time.gmtime(at))


def stamp(at: float | None) -> str:
    """The same with its day."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


FILTERS = {
    "number": number,
    "rate": rate,
    "span": span,
    "size": size,
    "clock": clock,
    "stamp": stamp,
    "plural": counted,
}
