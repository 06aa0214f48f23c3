"""Numbers as people read them: the filters of the templates."""

from __future__ import annotations

import time


def number(value: float) -> str:
    """A count, with commas."""
    return f"{value:,.0f}"


def rate(value: float) -> str:
    """Inputs a second: two digits that matter, and no more where they are many."""
    told = f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
    return told.removesuffix(".0")


def span(seconds: float | None) -> str:
    """A time that passes, in the largest unit of which there are two."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"


def size(count: float) -> str:
    """Bytes."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:,.1f} {unit}"
    return f"{count:.0f} B"


def percent(part: float, whole: float | None) -> float:
    """Of a bar, from 0 to 100."""
    return 0.0 if not whole else min(max(100 * part / whole, 0.0), 100.0)


def clock(at: float | None) -> str:
    """Unix seconds as a time of day, which is the same for whoever reads it."""
    return "-" if at is None else time.strftime("%H:%M:%S UTC", time.gmtime(at))


def stamp(at: float | None) -> str:
    """The same with its day."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def plural(count: int, word: str) -> str:
    """`1 replica`, `2 replicas`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


FILTERS = {
    "number": number,
    "rate": rate,
    "span": span,
    "size": size,
    "clock": clock,
    "stamp": stamp,
    "plural": plural,
}
