"""What the page remembers: numbers over time, and what each replica was seen doing, both of bounded size.

The one idea: a number is kept as its mean over a step, and a timeline as stretches of the same, so an hour of looks
takes no more room than the picture that is drawn of it. What was not seen is a gap, never a zero.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

#: how far two looks may lie apart and still be one stretch, seconds: a look that was late is no absence
_ADJOINING = 3.0


class Series:
    """One number over time.

    Args:
        step: seconds that are one point.
        count: points that are kept.
    """

    def __init__(self, step: float, count: int) -> None:
        self.step, self.count = step, count
        self._steps: deque[tuple[int, float, int]] = deque(maxlen=count)  # number of the step, sum, looks

    def add(self, now: float, value: float) -> None:
        at = int(now // self.step)
        if self._steps and self._steps[-1][0] == at:
            _, total, looks = self._steps.pop()
            self._steps.append((at, total + value, looks + 1))
        else:
            self._steps.append((at, value, 1))

    def points(self, now: float) -> list[float]:
        """The means of the last `count` steps, the newest last; NaN for one in which nobody looked.

        The step that has just begun, and in which nobody has looked yet, is left to the next time.
        """
        last = int(now // self.step)
        if self._steps and self._steps[-1][0] == last - 1:
            last -= 1
        first = last - self.count + 1
        found = [math.nan] * self.count
        for at, total, looks in self._steps:
            if 0 <= at - first < self.count:
                found[at - first] = total / looks
        return found


@dataclass(frozen=True)
class Stretch:
    """For a while a replica was seen doing the same."""

    begin: float
    end: float
    #: "busy", "idle" or "away"
    kind: str
    #: the map that it worked for, "" for none
    map: str = ""


class Timeline:
    """What one replica did lately.

    Args:
        seconds: how far back it reaches.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stretches: deque[Stretch] = deque(maxlen=int(seconds) + 1)  # a look a second makes no more

    def add(self, now: float, kind: str, map_id: str = "") -> None:
        begin = now
        if self._stretches and now - self._stretches[-1].end <= _ADJOINING:
            last = self._stretches[-1]
            begin = last.end
            if (last.kind, last.map) == (kind, map_id):
                begin = self._stretches.pop().begin
        self._stretches.append(Stretch(begin, now, kind, map_id))
        while self._stretches[0].end < now - self._seconds:
            self._stretches.popleft()

    @property
    def seen(self) -> float:
        """When it was added to last."""
        return self._stretches[-1].end if self._stretches else -math.inf

    def stretches(self, now: float) -> Iterator[Stretch]:
        """From the oldest on; what lies further back than the timeline reaches is cut off."""
        oldest = now - self._seconds
        for each in self._stretches:
            if each.end > oldest:
                yield Stretch(max(each.begin, oldest), each.end, each.kind, each.map)
