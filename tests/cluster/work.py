"""Tasks of the cluster's tests; they travel to the pods as a bundle."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time

from actorq import ActorEnvironment, TaskEnvironment, actor_cache

IMAGE = os.environ.get("ACTORQ_TEST_IMAGE", "actorq:0.1.0")
pool = ActorEnvironment("on-demand", container_image=IMAGE, replica_count=3, ttl_seconds=30)
regular = TaskEnvironment("cluster-regular", container_image=IMAGE, max_crashes=1)
evicted = TaskEnvironment("cluster-evicted", container_image=IMAGE)
forked = ActorEnvironment(
    "on-demand-fork", container_image=IMAGE, ttl_seconds=30, isolation="fork", limits={"memory": "256Mi"}
)
slots = ActorEnvironment("on-demand-slots", container_image=IMAGE, ttl_seconds=30, isolation="none", concurrency=16)
bounded = TaskEnvironment("cluster-bounded", container_image=IMAGE, concurrency=2)
small = TaskEnvironment("cluster-small", container_image=IMAGE, limits={"memory": "96Mi"})
nowhere = ActorEnvironment("nowhere", container_image="localhost/no-such-image:1", replica_count=2, ttl_seconds=30)
doomed = ActorEnvironment("doomed", container_image=IMAGE, ttl_seconds=30)
broken = ActorEnvironment("broken")


@actor_cache
def loaded() -> str:
    return f"{socket.gethostname()}-{time.time()}"


@pool.task
def warm(x: int) -> tuple[int, str, str]:
    time.sleep(0.05)
    return x, socket.gethostname(), loaded()


@regular.task
def where(x: int) -> tuple[int, str]:
    return x, socket.gethostname()


@regular.task(timeout=30)
def crashes(x: int) -> int:
    if x == 1:
        print("the last words", file=sys.stderr)
        os.abort()
    return x


@bounded.task
def span(_: int) -> tuple[float, float]:
    begin = time.time()
    time.sleep(1)
    return begin, time.time()


@evicted.task
def slow(seconds: float) -> float:
    begun = time.time()
    time.sleep(seconds)
    return begun


@small.task
def hoards(megabytes: int) -> int:
    return len(b"x" * (megabytes * 1_000_000))


@nowhere.task
def never(x: int) -> int:
    return x


@broken.task
def broken_too(x: int) -> int:
    return x


@forked.task
def takes(megabytes: int) -> tuple[str, str]:
    """Slowly enough to be seen."""
    taken = []
    for _ in range(megabytes // 5):
        taken.append(bytearray(b"x" * 5_000_000))
        time.sleep(0.01)
    return socket.gethostname(), loaded()


@slots.task
async def waits(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"{socket.gethostname()}-{os.getpid()}"
