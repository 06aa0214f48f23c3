"""What is declared of failures: how often an input is tried, and how long is waited before."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from actorq.base import checks

#: a wait that grows faster is a mistake
_MOST_FACTOR = 1000.0


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Waits `base * factor ** (n - 1)` seconds before the n-th retry, `cap` at most.

    With `jitter`, a random part of up to half is taken off: inputs that failed together do not return together.
    """

    base: float = 0.0
    factor: float = 2.0
    cap: float = 60.0
    jitter: bool = True

    def __post_init__(self) -> None:
        checks.seconds("Backoff base", self.base, 0)
        checks.seconds("Backoff cap", self.cap, 0)
        checks.number("Backoff factor", self.factor, 1, _MOST_FACTOR)

    def delay(self, retry: int) -> float:
        """Seconds before retry number `retry`, counted from 1."""
        seconds = min(self.cap, self.base * self.factor ** min(retry - 1, 64))
        return seconds * (1 - random.random() / 2) if self.jitter else seconds


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the task and its environment say of failures."""

    retries: int = 0
    retry_delay: Backoff = field(default_factory=Backoff)
    max_crashes: int = 2
    #: inputs share a process with others
    shared: bool = False
    #: seconds an input may take
    timeout: float | None = None
