"""How long a connection bears an outage: one policy for all that is sent through it.

The one idea: *patience is that of an outage, not of a call*. It begins with the first call that fails and ends with the
first that is answered, so it is spent once, however many calls meet the same outage. What passes by itself is in the
table of `refusals.py`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from actorq.base.warned import warn
from actorq.broker.refusals import CallError, RefusedError, explain, is_full, refusal
from actorq.errors import BrokerError

#: seconds to wait for a connection, and for the reply of a call that does not block
CONNECT_TIMEOUT, REPLY_TIMEOUT = 5.0, 10.0
#: first and longest pause between two tries, seconds; half of it is random so that replicas do not return in step
_BACKOFF_FIRST, _BACKOFF_LONGEST = 0.02, 2.0
#: an outage this long is worth a word to the user, seconds
_WARN_AFTER = 3.0
#: the last try of who is to hurry has so long, seconds
_LAST_TRY = 0.05

_ENDED = (
    "The server that this program had started has ended (killed, out of memory, or stopped); what it held is lost. "
    "The next map starts a new one."
)


def never() -> bool:
    """Whether a server is gone for good that this program has not started: somebody may start it again."""
    return False


class Patience:
    """Of one connection.

    Args:
        url: the server, for messages.
        seconds: how long an outage is borne; 0 bears none.
        stubborn: for who stays, and says nothing: a login that is refused is borne, too, since a server that was
            restarted may yet be told of it.
        at_once: a server that never answered is an error at once.
        is_gone: whether the server is known to be gone for good: then nothing is borne.
    """

    def __init__(self, url: str, seconds: float, *, stubborn: bool, at_once: bool, is_gone: Callable[[], bool]) -> None:
        self._url = url
        self._seconds = seconds
        self._stubborn = stubborn
        self._at_once = at_once
        self._is_gone = is_gone
        self._end: float | None = None  # when the last try ends, monotonic seconds, for who is to hurry
        self._pause = _BACKOFF_FIRST
        self._since: float | None = None  # when the first call of an outage was begun, monotonic seconds
        self._failures = 0  # in this outage
        self._warned = False
        #: the last call was answered
        self.calm = False

    def renew(self, seconds: float) -> bool:
        """From now on an outage is borne for so long, also by who was to hurry. Returns whether they were."""
        hurried, self._seconds, self._end = self._end is not None, seconds, None
        return hurried

    def hurry(self, seconds: float) -> bool:
        """From now on nothing is tried beyond so many seconds. Returns whether that is sooner than before."""
        end = time.monotonic() + seconds
        sooner = self._end is None or end < self._end
        if sooner:
            self._end = end
        return sooner

    def time_for(self, seconds: float) -> float:
        """`seconds`, or less for who is to hurry."""
        return seconds if self._end is None else max(min(seconds, self._end - time.monotonic()), _LAST_TRY)

    def answered(self) -> None:
        """A call was answered: if there was an outage, it is over."""
        self.calm, self._at_once = True, False
        self._since, self._failures, self._pause, self._warned = None, 0, _BACKOFF_FIRST, False

    def bear(self, error: CallError, begun: float, *, full: bool) -> None:
        """A call that was begun then has failed: returns, after a pause, if it should be tried again.

        Args:
            error: what became of it.
            begun: when the call was begun, monotonic seconds.
            full: whether a full server is borne.

        Raises `BrokerError` where the patience is spent, or waiting cannot help.
        """
        told = explain(error, self._url)
        self.calm = False
        self._failures += 1
        if self._since is None:
            self._since = begun
        now = time.monotonic()
        left = self._since + self._seconds - now  # which another thread may shorten
        if self._end is not None:
            left = min(left, self._end - now)
        if left <= 0 or not self._may_pass(error, full=full):
            raise told from error
        if self._is_gone():
            raise BrokerError(_ENDED) from error
        # not yet where a connection went silent: a new one may be all that it takes
        if self._failures > 1 and now - self._since > _WARN_AFTER and not self._warned and not self._stubborn:
            self._warned = True
            warn(f"{told} Trying for {self._seconds:.0f} s.")
        time.sleep(min(left, self._pause * (0.5 + random.random() / 2)))
        self._pause = min(2 * self._pause, _BACKOFF_LONGEST)

    def _may_pass(self, error: CallError, *, full: bool) -> bool:
        row = refusal(error)
        if self._at_once and row.unreachable:
            return False
        return (row.passes and (full or not is_full(error))) or (row.passes_in_time and self._stubborn)


def is_lost(error: CallError) -> bool:
    """Whether the connection is of no use after `error`: a reply may still come, or another server is the right one."""
    return not isinstance(error, RefusedError) or refusal(error).elsewhere
