"""How fast a map moves at present, as its heartbeat tells it.

The one idea: an average since the start hides that nothing moves any more. So only the last seconds count.
"""

from __future__ import annotations

import time
from collections import deque

#: seconds that count: long enough for leases of a second, short enough that a map that stands is seen to stand
_WINDOW_SECONDS = 10.0


class Pace:
    """Of one map. Asked at each heartbeat, once a second."""

    def __init__(self) -> None:
        self._points = deque([(time.monotonic(), 0)])

    def rate(self, done: int) -> float:
        """Inputs a second over the last seconds.

        Args:
            done: inputs that have a result by now.
        """
        now = time.monotonic()
        self._points.append((now, done))
        while len(self._points) > 2 and now - self._points[1][0] >= _WINDOW_SECONDS:
            self._points.popleft()
        since, before = self._points[0]
        return max(done - before, 0) / max(now - since, 1e-3)
