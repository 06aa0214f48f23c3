"""Rates, times, counts and sizes as people read them.

The one idea: every command, page and message tells the same amount in the same words, with the digits that matter.
"""

from __future__ import annotations

#: seconds of each unit; below two of one, the next smaller one says more
_SPANS = (("d", 86_400), ("h", 3600), ("min", 60))
_SIZES = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def rate(value: float) -> str:
    """How many a second: `0`, `0.034`, `1.7`, `12.3`, `1,234`."""
    told = f"{value:,.0f}" if value >= 99.95 or value == 0 else f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"
    return told.removesuffix(".0")


def span(seconds: float | None) -> str:
    """A time that has passed, or is left: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`; `-` where nobody knows."""
    if seconds is None:
        return "-"
    return f"{max(seconds, 0.0):.1f} s" if seconds < 9.95 else whole_span(seconds)


def whole_span(seconds: float | None) -> str:
    """The same without tenths, for what is known to the second: `4 s`."""
    if seconds is None:
        return "-"
    unit, one = _unit(seconds)
    return f"{max(seconds, 0.0) / one:,.0f} {unit}"


def exact_span(seconds: float) -> str:
    """The same in the unit of which there are two, with a tenth: `97 s`, `2.6 min`, `3.1 h`."""
    unit, one = _unit(seconds)
    return f"{seconds / one:,.1f} {unit}" if one > 1 or seconds < 9.95 else f"{seconds:.0f} s"


def _unit(seconds: float) -> tuple[str, int]:
    """The largest of which there are two."""
    return next(((unit, one) for unit, one in _SPANS if seconds >= 2 * one), ("s", 1))


def counted(count: int, what: str) -> str:
    """`1 lease`, `5 leases`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size(count: float) -> str:
    """Bytes, in powers of 1,024: `900 B`, `1.5 MiB`, `12 GiB`."""
    for unit, one in _SIZES:
        if count >= one:
            return f"{count / one:,.1f} {unit}" if count < 9.95 * one else f"{count / one:,.0f} {unit}"
    return f"{count:.0f} B"
