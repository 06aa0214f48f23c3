"""Tasks whose inputs take their time to be decoded, on each kind of replica."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from actorq import ActorEnvironment

reset = ActorEnvironment("slow", lease_seconds=2)
forks = ActorEnvironment("slow-forks", isolation="fork", lease_seconds=2)
slots = ActorEnvironment("slow-slots", isolation="none", concurrency=2, lease_seconds=2)


@dataclass(frozen=True)
class Slow:
    """To be hashed, as the elements of a set are, takes a replica so long."""

    seconds: float

    def __hash__(self) -> int:
        if "ACTORQ_REPLICA_OF" in os.environ:
            time.sleep(self.seconds)
        return 1


@reset.task(timeout=0.5)
def on_reset(value: Any) -> tuple[int, int]:
    return len(value), os.getpid()


@forks.task(timeout=0.5)
def on_forks(value: Any) -> tuple[int, int]:
    return len(value), os.getppid()


@slots.task(timeout=0.5)
async def on_slots(value: Any) -> tuple[int, int]:
    return len(value), os.getpid()
