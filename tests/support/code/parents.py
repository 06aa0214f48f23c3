"""Tasks that know, and may kill, the process that has started their replica."""

from __future__ import annotations

import os
import signal
import time

from actorq import ActorEnvironment

warm = ActorEnvironment("parents", replica_count=2, isolation="reset", max_crashes=0, lease_seconds=2)
forked = ActorEnvironment("parents-forked", replica_count=2, isolation="fork", max_crashes=0, lease_seconds=2)
slots = ActorEnvironment(
    "parents-slots", replica_count=1, isolation="none", concurrency=4, max_crashes=0, lease_seconds=2
)
spawned = ActorEnvironment("parents-spawned", replica_count=1, start_method="spawn", max_crashes=0, lease_seconds=2)
vicious = ActorEnvironment("parents-vicious", replica_count=1, lease_seconds=2)


@warm.task
def in_warm(x: int) -> tuple[int, int]:
    time.sleep(0.01)
    return x, os.getppid()


@forked.task
def in_forked(x: int) -> tuple[int, int]:
    """The parent of this child is the replica."""
    time.sleep(0.01)
    with open(f"/proc/{os.getppid()}/stat", encoding="utf-8") as stat:  # noqa: PTH123 - no file like others
        return x, int(stat.read().rpartition(")")[2].split()[1])


@slots.task
async def in_slots(x: int) -> tuple[int, int]:
    time.sleep(0.005)
    return x, os.getppid()


@spawned.task
def in_spawned(x: int) -> tuple[int, int]:
    time.sleep(0.01)
    return x, os.getppid()


@vicious.task
def kills(x: int) -> int:
    if x == 3:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return x
