"""Tasks that take memory, for the watchdog: each level of isolation has an environment."""

from __future__ import annotations

import os
import time

from actorq import ActorEnvironment, actor_cache

LEVELS = ("none", "reset", "fork")
MIB = 1 << 20

hoard: list[bytes] = []


@actor_cache
def model() -> int:
    """Where it was loaded."""
    return os.getpid()


def eats(mib: int) -> int:
    """Some 300 MiB a second, in steps that an exception can interrupt."""
    taken = []
    for _ in range(mib):
        taken.append(b"x" * MIB)
        time.sleep(0.003)
    return len(taken)


def hoards(mib: int) -> tuple[int, bool]:
    """The same, and never lets go; process, and whether the model was there."""
    found = model.has()
    model()
    for _ in range(mib):
        hoard.append(b"x" * MIB)
        time.sleep(0.003)
    return os.getpid(), found


def gulps(count: int) -> int:
    """Some 40 bytes for each, in one call into C, which nothing interrupts."""
    return len(list(range(count)))


none, reset, fork = (
    ActorEnvironment(f"hungry-{level}", isolation=level, lease_seconds=2, max_crashes=0) for level in LEVELS
)
ENVIRONMENTS = dict(zip(LEVELS, (none, reset, fork), strict=True))
EATS = {level: environment.task(eats) for level, environment in ENVIRONMENTS.items()}
GULPS = {level: environment.task(gulps) for level, environment in ENVIRONMENTS.items()}
HOARDS = none.task(hoards)
