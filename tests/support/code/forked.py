"""Tasks of an environment with `isolation="fork"`, one replica: each says what it saw of the others."""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from actorq import ActorEnvironment, actor_cache

forked = ActorEnvironment("forked", replica_count=1, isolation="fork", lease_seconds=2)

generator = np.random.default_rng(7)
own_random = random.Random(7)


def _note(file: str) -> None:
    with Path(file).open("a") as stream:
        stream.write(f"{os.getpid()}\n")


@actor_cache
def model(file: str) -> int:
    """Where it was loaded."""
    _note(file)
    return os.getpid()


@actor_cache
async def async_model(file: str) -> int:
    await asyncio.sleep(0)
    _note(file)
    return os.getpid()


@actor_cache
def stubborn_model(file: str, owner: int) -> int:
    """Loads in any process but the one called `owner`."""
    _note(file)
    if os.getpid() == owner:
        raise OSError("not here")
    return os.getpid()


@actor_cache
def broken_model(file: str) -> int:
    _note(file)
    raise ValueError("no such weights")


@forked.task
def where(x: int) -> tuple[int, int]:
    """Process and replica."""
    return os.getpid(), os.getppid()


@forked.task
def temporary_files(x: int) -> list[str]:
    return [entry.name for entry in Path(tempfile.gettempdir()).iterdir()]


@forked.task
def litter(x: int) -> str:
    (Path(tempfile.gettempdir()) / "litter").write_text("x")
    return tempfile.gettempdir()


@forked.task
def with_model(file: str) -> tuple[int, int]:
    return model(file), os.getpid()


@forked.task
def with_models(first: str, second: str, log: str) -> list[int]:
    _note(log)
    return [model(first), model(second), model(first)]


@forked.task
async def with_async_model(file: str) -> tuple[int, int]:
    return await async_model(file), os.getpid()


@forked.task
def with_stubborn_model(file: str) -> tuple[int, int]:
    return stubborn_model(file, os.getppid()), os.getpid()


@forked.task
def with_broken_model(file: str) -> int:
    return broken_model(file)


@forked.task
def dies(how: str) -> str:
    match how:
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sys.exit":
            sys.exit(4)
        case "raise":
            raise KeyError(how)
    return how


@forked.task(retries=3)
def dies_once(file: str) -> str:
    if not Path(file).exists():
        Path(file).write_text("x")
        os._exit(3)
    return "second try"


@forked.task(timeout=0.3)
def sleeps(seconds: float, file: str) -> float:
    try:
        time.sleep(seconds)
    finally:
        _note(file)
    return seconds


@forked.task(timeout=0.3)
def deaf(x: int) -> int:
    """Cannot be stopped by an exception."""
    if x:
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        time.sleep(60)
    return x


@forked.task
def lasts(file: str) -> None:
    Path(file).write_text(f"{os.getpid()}")
    time.sleep(60)


@forked.task
def large(size: int) -> bytes:
    return b"x" * size


@forked.task
def leaves_processes(x: int) -> list[int]:
    plain = subprocess.Popen(["sleep", "60"])
    detached = subprocess.Popen(["sleep", "60"], start_new_session=True)
    return [plain.pid, detached.pid]


@forked.task
def draws(x: int) -> tuple[float, float, float, float]:
    return random.random(), float(np.random.random()), float(generator.random()), own_random.random()


@forked.task
async def sleeps_async(x: int) -> int:
    await asyncio.sleep(0.001)
    return x


@forked.task
def terminates_a_process(x: int) -> int:
    process = subprocess.Popen(["sleep", "60"])
    process.terminate()
    return process.wait(10)


replicas: list[int] = []


@forked.on_start
def note_replica() -> None:
    replicas.append(os.getpid())


@actor_cache
def hanging_model(file: str) -> int:
    """Loads in any process but the replica's own, where it hangs."""
    if os.getpid() in replicas:
        _note(file)
        time.sleep(60)
    return os.getpid()


@forked.task(timeout=0.5)
def with_hanging_model(file: str) -> int:
    return hanging_model(file)


@actor_cache
def deadly_model(file: str) -> int:
    """The same, where it ends the process."""
    if os.getpid() not in replicas:
        return 0
    _note(file)
    os._exit(9)


@forked.task
def with_deadly_model(file: str) -> int:
    return deadly_model(file)


@forked.task
def leaves_a_process_and_loads(file: str) -> int:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    model(file)
    return process.pid


@forked.task(timeout=0.5)
def closes_everything(x: int) -> int:
    if x:
        os.closerange(3, 1000)
        try:
            time.sleep(30)
        except BaseException:
            time.sleep(30)
    return os.getppid()
