"""Tasks of an environment that runs several inputs at a time in one process."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
import time
from pathlib import Path

from actorq import ActorEnvironment, actor_cache

concurrent = ActorEnvironment("concurrent", replica_count=1, isolation="none", concurrency=8, lease_seconds=2)

running = 0
most = 0
current: contextvars.ContextVar[int] = contextvars.ContextVar("current", default=-1)
loads = 0


@actor_cache
async def model() -> int:
    global loads
    await asyncio.sleep(0.05)
    loads += 1
    return loads


@concurrent.task
async def overlaps(x: int) -> tuple[int, int]:
    """Process, and how many inputs have run at the same time so far."""
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.05)
    running -= 1
    return os.getpid(), most


@concurrent.task
async def quick(x: int) -> int:
    await asyncio.sleep(0)
    return x


@concurrent.task
async def remembers(x: int) -> int:
    before = current.get()
    current.set(x)
    await asyncio.sleep(0.01)
    return before


@concurrent.task
async def with_model(x: int) -> int:
    return await model()


@actor_cache
async def slow_model(name: str) -> int:
    global loads
    await asyncio.sleep(0.6)
    loads += 1
    return loads


@concurrent.task(timeout=0.3)
async def impatient(name: str) -> int:
    return await slow_model(name)


@concurrent.task
async def patient(name: str) -> int:
    return await slow_model(name)


@concurrent.task(timeout=0.3)
async def sleeps(seconds: float, file: str) -> float:
    try:
        await asyncio.sleep(seconds)
    finally:
        Path(file).write_text("finally")
    return seconds


@concurrent.task(timeout=0.5)
async def blocks(seconds: float) -> float:
    """Blocks the loop, as no coroutine should."""
    time.sleep(seconds)
    return seconds


@concurrent.task
async def dies(x: int) -> int:
    await asyncio.sleep(0.02)
    if x == 5:
        os._exit(9)
    return x


@concurrent.task
async def kills(x: int) -> int:
    await asyncio.sleep(0.02)
    os._exit(9)


@concurrent.task
async def lingers(x: int) -> int:
    await asyncio.sleep(0.1)
    return x


@concurrent.task
async def exits(x: int) -> int:
    if x == 3:
        raise SystemExit(x)
    return x


@concurrent.task
async def leaves_a_task(file: str) -> None:
    async def later() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            Path(file).write_text("cancelled")

    asyncio.get_running_loop().create_task(later())
    await asyncio.sleep(0)


@concurrent.task
async def lasts(file: str) -> None:
    Path(file).write_text(f"{os.getpid()}")
    try:
        await asyncio.sleep(60)
    finally:
        Path(file).write_text("cancelled")


@concurrent.task
async def where(x: int) -> tuple[int, str]:
    return os.getpid(), threading.current_thread().name


started: list[tuple[asyncio.AbstractEventLoop, str]] = []


@concurrent.on_start
async def open_client() -> None:
    started.append((asyncio.get_running_loop(), threading.current_thread().name))


@concurrent.task
async def hooked(x: int) -> tuple[int, bool, str]:
    """How often the hook has run, whether on the loop of the tasks, and in which thread."""
    loop, thread = started[0]
    return len(started), loop is asyncio.get_running_loop(), thread


async def _blocks() -> None:
    time.sleep(60)


@concurrent.task(timeout=0.5)
async def blocks_in_a_subtask(x: int) -> int:
    if x == 5:
        await asyncio.gather(_blocks())
    await asyncio.sleep(0.1)
    return x


@concurrent.task(timeout=5)
async def forks(x: int, how: str) -> int:
    """Input 5 forks, and comes back in the child, too."""
    await asyncio.sleep(0.001)
    if x != 5 or os.fork():
        return x
    if how == "raise":
        raise ValueError("in the child")
    if how == "exit":
        sys.exit(0)
    if how == "await":
        await asyncio.sleep(0.01)
    return -1


@concurrent.task(timeout=5)
async def forks_in_a_callback(x: int) -> int:
    if x == 5:
        asyncio.get_running_loop().call_soon(os.fork)
    await asyncio.sleep(0.01)
    return x
