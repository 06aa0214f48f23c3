"""The tasks that are measured on a cluster; they travel as a bundle."""

from __future__ import annotations

import os
import time

from actorq import ActorEnvironment, TaskEnvironment

IMAGE = os.environ.get("ACTORQ_TEST_IMAGE", "actorq:0.1.0")
actors = ActorEnvironment("bench-actors", container_image=IMAGE, replica_count=5, ttl_seconds=600, isolation="reset")
regular = TaskEnvironment("bench-regular", container_image=IMAGE)


@actors.task
def on_a_replica(seconds: float) -> str:
    time.sleep(seconds)
    return "Hello World"


@regular.task
def in_a_pod(seconds: float) -> str:
    time.sleep(seconds)
    return "Hello World"
