"""Tasks whose inputs run in pods."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from actorq import ActorEnvironment, TaskEnvironment

regular = TaskEnvironment("regular-pods", container_image="actorq:0.1.0", max_crashes=1)
bounded = TaskEnvironment("bounded-pods", container_image="actorq:0.1.0", concurrency=2)
pool = ActorEnvironment("pool-pods", container_image="actorq:0.1.0", replica_count=3, ttl_seconds=30, lease_seconds=2)
no_image = ActorEnvironment("no-image", replica_count=2)


@regular.task
def pid(x: int) -> tuple[int, int]:
    return x, os.getpid()


@regular.task
def until(flag: str) -> str:
    """Runs until there is a file of this name."""
    while not Path(flag).exists():
        time.sleep(0.02)
    return flag


@regular.task
def fails(x: int) -> int:
    raise KeyError(x)


@regular.task
def crashes(x: int) -> int:
    if x == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    return x


@regular.task(timeout=5.0)
def speaks(how: str) -> None:
    """Says much on stderr, and ends as it is told."""
    sys.stderr.write("much more than a pipe holds\n" * 10_000)
    sys.stderr.write('{"event": "of our own", "level": "info"}\nthe last words\nof the task\n')
    sys.stderr.flush()
    if how == "exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


@regular.task(timeout=1.0)
def hangs(x: int) -> int:
    time.sleep(60 if x == 1 else 0)
    return x


@regular.task
def naps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@regular.task
def large(size: int) -> bytes:
    return b"x" * size


@regular.task
def login(_: int) -> list[str]:
    return [name for name in os.environ if name.startswith(("ACTORQ_REDIS", "ACTORQ_SIGNING", "ACTORQ_MAP_KEYS"))]


@bounded.task
def span(_: int) -> tuple[float, float]:
    begin = time.time()
    time.sleep(0.2)
    return begin, time.time()


@no_image.task
def served(x: int) -> int:
    return x


@pool.task
def warm(x: int) -> tuple[int, int]:
    time.sleep(0.01)
    return x, os.getpid()


@bounded.task(retries=1)
def second_time(x: int, folder: str) -> tuple[float, float]:
    """Raises the first time. Leaves a file for each try that says from when to when it ran."""
    begin = time.time()
    tried = Path(folder, f"{x}-0").exists()
    time.sleep(1.0)
    Path(folder, f"{x}-{int(tried)}").write_text(f"{begin} {time.time()}", encoding="utf-8")
    if not tried:
        raise ValueError(x)
    return begin, time.time()
