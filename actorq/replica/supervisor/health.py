"""When an executor that died is replaced, and when its replica is given up for a while.

The one idea: *a death while an input runs is the input's*, and its submitter deals with it. All others are the
replica's: an executor that cannot start, or dies with nothing to do. The next one is started later and later, and after
a few in a row the replica is quarantined, so that a broken node does not spin, and somebody can see it.
"""

from __future__ import annotations

from enum import Enum

#: pause before an executor that died young is replaced, seconds; doubles up to the longest. Where inputs kill it, their
#: number bounds the deaths, and what waits behind them should not wait for long
_RESPAWN_FIRST, _RESPAWN_LONGEST, _LONGEST_AFTER_INPUT = 0.05, 5.0, 1.0
_YOUNG_SECONDS = 5.0
#: the same after a start that failed, which costs what the start costs: a model to load, a service to ask
_RESTART_FIRST, _RESTART_LONGEST = 0.5, 60.0
#: failures of the replica's own in a row after which it is quarantined
MOST_FAILURES = 5
#: a quarantined replica is tried again after so long, seconds
_QUARANTINE_SECONDS = 60.0


class Cause(Enum):
    """Why an executor ended before its time."""

    #: it ran an input
    INPUT = "input"
    #: it could not start
    START = "start"
    #: it waited, or had done nothing yet
    IDLE = "idle"
    #: somebody killed it on purpose
    ASKED = "asked"


class Health:
    """Of one replica, over its executors."""

    def __init__(self) -> None:
        #: ends in a row that no input explains, since a lease was done
        self.failures = 0
        #: starts in a row that failed
        self.failed_starts = 0
        self._pause = _RESPAWN_FIRST
        self._leases = 0

    @property
    def quarantined(self) -> bool:
        return self.failures >= MOST_FAILURES

    def worked(self, leases: int) -> None:
        """The replica has done so many leases in all: a new one ends the row of failures, and of pauses."""
        if leases != self._leases:
            self._leases = leases
            self.failures = 0
            self._pause = _RESPAWN_FIRST

    def died(self, cause: Cause, age: float) -> float:
        """An executor ended at the age of `age` seconds. Returns how long to wait before the next one."""
        self.failed_starts = self.failed_starts + 1 if cause is Cause.START else 0
        if cause in (Cause.START, Cause.IDLE):
            self.failures += 1
            if self.quarantined:
                return _QUARANTINE_SECONDS
        if cause is Cause.START:
            return min(_RESTART_FIRST * 2.0 ** (self.failed_starts - 1), _RESTART_LONGEST)
        if age > _YOUNG_SECONDS:
            self._pause = _RESPAWN_FIRST
            return 0.0
        pause, self._pause = self._pause, min(2 * self._pause, _RESPAWN_LONGEST)
        return min(pause, _LONGEST_AFTER_INPUT) if cause is Cause.INPUT else pause
