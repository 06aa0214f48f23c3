"""One line on stderr while a map runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actorq.wire.lease import Counters

if TYPE_CHECKING:
    from actorq.declare.task import Task

#: refreshes per second on a terminal, and seconds between lines elsewhere
_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.1, 10.0


def reporter(task: Task[Any, Any, Any], wanted: bool | None) -> Callable[[Counters, bool], None] | None:
    """What to call with the counters of a map; None when nobody wants to see them."""
    return _Line(task.function.__name__) if is_wanted(wanted) else None


def is_wanted(asked: bool | None) -> bool:
    """Whether anybody wants to see a line: as `progress=` says, or, for None, where there is a terminal for it."""
    return bool(os.environ.get("ACTORQ_PROGRESS")) and sys.stderr.isatty() if asked is None else asked


class _Line:
    def __init__(self, name: str) -> None:
        self._name = name
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._next = 0.0 if self._terminal else self._started + _PLAIN_SECONDS

    def __call__(self, counters: Counters, last: bool) -> None:
        now = time.monotonic()
        if now < self._next and not last:
            return
        self._next = now + (_TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS)
        end = "\n" if last or not self._terminal else ""
        start = "\r\x1b[2K" if self._terminal else ""
        sys.stderr.write(f"{start}{self._text(counters, now - self._started)}{end}")
        sys.stderr.flush()

    def _text(self, counters: Counters, seconds: float) -> str:
        done = counters.succeeded + counters.failed
        rate = done / seconds if seconds > 0 else 0.0
        parts = [f"{self._name}: {done:,}"]
        if counters.total is not None:
            percent = 100 * done / counters.total if counters.total else 100
            parts[0] += f"/{counters.total:,} ({percent:.0f} %)"
        if counters.failed:
            parts.append(f"{counters.failed:,} failed")
        parts.append(_shown(rate))
        if counters.total is not None and rate > 0 and done < counters.total:
            parts.append(f"{(counters.total - done) / rate:,.0f} s left")
        else:
            parts.append(f"{seconds:,.1f} s")
        return ", ".join(parts)


def _shown(rate: float) -> str:
    """A number of inputs per second, or, where that would be next to nothing, per minute."""
    if 0 < rate < 0.1:
        return f"{60 * rate:.1f}/min"
    return f"{rate:,.1f}/s" if 0 < rate < 10 else f"{rate:,.0f}/s"
