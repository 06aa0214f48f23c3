"""Time as RQ writes it."""

from __future__ import annotations

import time

#: the last second that was formatted, and its text
_last = (0, b"")


def iso_now() -> bytes:
    """UTC now in RQ's format, to the second.

    There is one on the way of every lease, and formatting the rest of it would take longer than all that is computed
    beside it: 1 us, or 50 where the processor has just woken.
    """
    global _last
    second = int(time.time())
    text_of, text = _last
    if second != text_of:
        text = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(second)).encode()
        _last = (second, text)  # one assignment: threads may race, and all write the truth
    return text
