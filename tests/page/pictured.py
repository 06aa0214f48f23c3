"""What runs in the pictures of the documentation: tasks that only take their time."""

from __future__ import annotations

import math
import random
import time

from actorq import ActorEnvironment, actor_cache

embeddings = ActorEnvironment("embeddings", replica_count=6, isolation="none", lease_seconds=4)
ocr = ActorEnvironment("ocr", replica_count=2, isolation="none", lease_seconds=4)


@actor_cache
def model(name: str) -> bytes:
    time.sleep(0.8)
    return name.encode() * 4_000_000


@actor_cache
def vocabulary(language: str) -> list[str]:
    time.sleep(0.2)
    return [language] * 100_000


@embeddings.task
def embed(number: int) -> int:
    """Takes longer at times, as documents do, and fails on some."""
    model("base-v2")
    vocabulary("en")
    time.sleep(random.uniform(0.05, 0.15) * (1.4 + math.sin(time.time() / 25)))
    return checked(number)


def checked(number: int) -> int:
    if number % 61 == 13:
        raise ValueError(f"document {number} has no text")
    if number % 211 == 5:
        raise KeyError("language")
    return number


@embeddings.task
def thumbnail(number: int) -> int:
    time.sleep(random.uniform(0.5, 2.5))
    return number


@ocr.task
def read(number: int) -> int:
    vocabulary("de")
    time.sleep(random.uniform(0.3, 0.6))
    return number
