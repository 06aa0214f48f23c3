"""Time as RQ writes it."""

from __future__ import annotations

import time

#: the last second that was formatted, and its text: a busy replica asks some thousand times a second
_last = (0, "")


def iso_now() -> str:
    """UTC now in RQ's format, with microseconds."""
    global _last
    now = time.time()
    second = int(now)
    text_of, text = _last
    if second != text_of:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _last = (second, text)  # one assignment: threads may race, and all write the truth
    return f"{text}.{int((now - second) * 1e6):06d}Z"
