"""What runs under fire: tasks whose outputs anybody can tell from their inputs, in three kinds of environment.

An input is `[seed, i]`. What it does, and what comes of it, follows from these two by a hash: it returns, raises, ends
its process the first time it runs, returns more than a frame holds, or never ends.
"""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from pathlib import Path
from typing import Any

from actorq import ActorEnvironment, ReplicaLostError, TaskTimeoutError, actor_cache

#: short beside a long freeze, so that leases lapse
LEASE_SECONDS = 3.0
#: of an input, seconds; long beside a freeze: what is frozen is not slow
_TIMEOUT = 8.0
#: strikes hit at random, so an innocent input may be there each time
_CRASHES = 1000
#: bytes of a large output
_LARGE = 300_000
#: out of 10,000 inputs, so many do this
_KINDS = {"never": 2, "dies": 10, "raises": 30, "large": 15, "slow": 400, "short": 2500}

plain = ActorEnvironment("chaos-plain", lease_seconds=LEASE_SECONDS, max_crashes=_CRASHES)
slots = ActorEnvironment(
    "chaos-slots", lease_seconds=LEASE_SECONDS, max_crashes=_CRASHES, isolation="none", concurrency=4
)
forked = ActorEnvironment("chaos-forked", lease_seconds=LEASE_SECONDS, max_crashes=_CRASHES, isolation="fork")


def kind(item: list[int]) -> str:
    """What an input does."""
    at = zlib.crc32(repr(item).encode()) % 10_000
    for name, share in _KINDS.items():
        if at < share:
            return name
        at -= share
    return "tiny"


def output(item: list[int]) -> Any:
    """What comes of an input that does not fail."""
    return [*item, bytes(_LARGE)] if kind(item) == "large" else [*item, zlib.crc32(b"out" + repr(item).encode())]


def is_right(item: list[int], value: Any) -> bool:
    """Whether `value` is what comes of an input."""
    match kind(item):
        case "raises":
            return isinstance(value, ValueError) and value.args == tuple(item)
        case "never":
            return isinstance(value, TaskTimeoutError)
        case "dies" if isinstance(value, ReplicaLostError):  # its child, and not its replica, has died
            return "its process ended: exited with status 3" in str(value)
        case _:
            return bool(value == output(item))


def _begin(item: list[int]) -> float:
    """Notes that an input runs; seconds it takes."""
    folder = os.environ["CHAOS_FOLDER"]
    with Path(folder, f"ran-{os.getpid()}").open("a") as file:
        file.write(f"{item[0]} {item[1]}\n")
    doing = kind(item)
    if doing == "dies":
        mark = Path(folder, f"died-{item[0]}-{item[1]}")
        if not mark.exists():
            mark.touch()
            os._exit(3)
    if doing == "raises":
        raise ValueError(*item)
    return {"slow": 0.05, "short": 0.005, "never": 3600.0}.get(doing, 0.0)


@actor_cache
def model() -> int:
    return os.getpid()


@plain.task(timeout=_TIMEOUT)
def work(item: list[int]) -> Any:
    assert model() == os.getpid()
    time.sleep(_begin(item))
    return output(item)


@plain.task(timeout=_TIMEOUT, affinity=lambda item: item[1] % 13)
def keyed(item: list[int]) -> Any:
    time.sleep(_begin(item))
    return output(item)


@slots.task(timeout=_TIMEOUT)
async def together(item: list[int]) -> Any:
    await asyncio.sleep(_begin(item))
    return output(item)


@forked.task(timeout=_TIMEOUT)
def apart(item: list[int]) -> Any:
    time.sleep(_begin(item))
    return output(item)
