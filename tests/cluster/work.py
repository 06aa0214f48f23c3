"""Tasks of the cluster's tests; they travel to the pods as a bundle."""

from __future__ import annotations

import os
import socket
import time

from actorq import ActorEnvironment, TaskEnvironment, actor_cache

IMAGE = os.environ.get("ACTORQ_TEST_IMAGE", "actorq:0.1.0")
pool = ActorEnvironment("on-demand", container_image=IMAGE, replica_count=3, ttl_seconds=30)
regular = TaskEnvironment("cluster-regular", container_image=IMAGE, max_crashes=1)
evicted = TaskEnvironment("cluster-evicted", container_image=IMAGE)
bounded = TaskEnvironment("cluster-bounded", container_image=IMAGE, concurrency=2)


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
