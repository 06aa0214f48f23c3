"""What earlier looks have seen: how fast each environment was, and when each map began.

The one idea: what was seen once stays as it is. Times are cut into steps of the clock, so that a curve moves by whole
columns; a map keeps the beginning that it was first seen to have, so that rows never change places.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

#: seconds of one column, and how many are kept: five minutes
STEP_SECONDS, _STEPS = 5.0, 60


class Rates:
    """The rates that were seen."""

    def __init__(self) -> None:
        #: step, and the most that was seen in it by environment
        self._steps: deque[tuple[int, dict[str, float]]] = deque(maxlen=_STEPS)

    def add(self, now: float, rates: Mapping[str, float]) -> None:
        """What is seen at a time, monotonic seconds."""
        step = int(now // STEP_SECONDS)
        if not self._steps or self._steps[-1][0] != step:
            self._steps.append((step, {}))
        most = self._steps[-1][1]
        for name, rate in rates.items():
            most[name] = max(rate, most.get(name, 0.0))

    def of(self, environment: str, now: float) -> list[float | None]:
        """The rates of one, a step each, the last one now; None where nobody has looked."""
        seen = {step: rates.get(environment) for step, rates in self._steps}
        last = int(now // STEP_SECONDS)
        return [seen.get(step) for step in range(last - _STEPS + 1, last + 1)]


class Births:
    """When maps began. A server tells their age in tenths of a second, which would have neighbours swap places."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], float] = {}

    def of(self, key: tuple[str, ...], age: float, now: float) -> float:
        """Seconds of the same clock as `now`."""
        return self._known.setdefault(key, now - age)

    def keep(self, keys: Collection[tuple[str, ...]]) -> None:
        """Forgets all others."""
        self._known = {key: born for key, born in self._known.items() if key in keys}
