"""How much of the replicas' time a map, or a caller, has had lately: what decides who is next.

The one idea: *least attained service*. A replica that becomes free serves whoever has had the least of the recent time,
so a short map passes a long one, equal ones take turns, and nobody starves: what was had fades, by half in ten seconds.
Each submitter measures its own share, from the frames it gets; the server compares them when several wait (`next.lua`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: seconds in which half of what was had is forgotten; note_served in _lib.lua has the same
HALF_LIFE = 10.0
#: a map of one priority more is given so many times the time, as long as both want it
PRIORITY_FACTOR = 10.0
#: weight of the newest lease in what one takes
_NEWEST = 0.25
#: what the death of a replica counts, seconds: a process takes as long to be replaced, and to load what it held
_DEATH_SECONDS = 1.0
#: what a lease takes as long as nobody knows, seconds
_UNKNOWN = 0.02


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the server is told of a share: seconds, weighted by priority."""

    #: had lately
    served: float
    #: what one lease takes
    cost: float


class Share:
    """Of one map, or one caller.

    Args:
        priority: 0 is that of all who ask for none; higher goes first.
        clock: monotonic seconds.
    """

    def __init__(self, priority: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._weight = PRIORITY_FACTOR**-priority
        self._clock = clock
        self._had = 0.0  # at `_at`
        self._at = clock()
        self._cost = _UNKNOWN
        self._untold = 0.0

    def observe(self, seconds: float) -> None:
        """A lease has taken so many seconds of a replica's time."""
        self._cost += _NEWEST * (seconds - self._cost)
        self._charge(seconds)

    def died(self) -> None:
        """A replica died while it ran a lease: others wait until it is replaced."""
        self._charge(_DEATH_SECONDS)

    @property
    def standing(self) -> Standing:
        return Standing(served=self._weight * self._kept(self._clock()), cost=self._weight * self._cost)

    def take_untold(self) -> float:
        """Seconds observed since this was asked last, not weighted."""
        untold, self._untold = self._untold, 0.0
        return untold

    def _charge(self, seconds: float) -> None:
        now = self._clock()
        self._had = self._kept(now) + seconds
        self._at = now
        self._untold += seconds

    def _kept(self, now: float) -> float:
        return float(self._had * 0.5 ** ((now - self._at) / HALF_LIFE))
