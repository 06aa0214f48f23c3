"""Waiting awake for an answer that is about to come.

A core that has gone to sleep is woken in 20 to 50 us, a virtual one by way of its host; four such wake-ups were a third
of a remote call. The one idea: who has had its last answer soon stays awake for the next one as long, and gives way to
whoever can run meanwhile. Who has waited longer goes to sleep at once, so what can be wasted is `LINGER_SECONDS` of one
core when a row of quick answers ends.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any

from actorq.broker.link import Link

#: a call of an idle pool, there and back, takes 0.2 to 0.4 ms
LINGER_SECONDS = 0.0005
#: with one core, staying awake only keeps it from those that are to answer
_WORTH_IT = (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) > 1


class Linger:
    """Reads the answers that come over one link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waited = LINGER_SECONDS  # for the last answer

    def read(self, *, awake: bool = True) -> Any:
        """The next reply, as `Link.read` gives it. `awake=False` goes to sleep at once."""
        begun = time.perf_counter()
        if awake and self._waited < LINGER_SECONDS and _WORTH_IT and not self._link.has_reply():
            self._stay_awake(begun + LINGER_SECONDS)
        reply = self._link.read()
        self._waited = time.perf_counter() - begun
        return reply

    def _stay_awake(self, until: float) -> None:
        if not self._link.connected:
            return
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        while not poll.poll(0) and time.perf_counter() < until:
            os.sched_yield()
