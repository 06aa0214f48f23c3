"""Tasks whose input number 1 takes all memory that its process may have."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

from actorq import ActorEnvironment

restored = ActorEnvironment("exhausting", replica_count=1, isolation="reset", lease_seconds=2)
slots = ActorEnvironment("exhausting-slots", replica_count=1, isolation="none", concurrency=4, lease_seconds=2)

kept: list[Any] = []
#: what the process may take beyond what it has, bytes
_MORE = 16 << 20


def _limit(more: int, *, hard: bool = False) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more if hard else most))


def _fill(into: list[Any], size: int) -> None:
    """As a chain, which needs no large piece for itself."""
    into.append(None)
    while True:
        into[0] = (bytearray(size), into[0])


def _count(tries: str) -> None:
    with Path(tries).open("a") as file:
        file.write("x")


@restored.task
def fills(x: int, size: int) -> tuple[int, int]:
    """With objects of `size` bytes: small ones leave nothing to tell of it with."""
    if x == 1:
        _limit(_MORE)
        _fill([], size)
    return x, os.getpid()


@restored.task
def fills_a_global(x: int) -> tuple[int, int]:
    if x == 1:
        _limit(_MORE)
        _fill(kept, 100)
    return x, len(kept)


@restored.task
def has_none_left(x: int) -> int:
    """For good: nobody may raise the limit again."""
    if x == 1:
        _limit(0, hard=True)
        _fill(kept, 100)
    return x


@slots.task
async def fills_beside(x: int) -> int:
    if x == 1:
        _limit(_MORE)
        try:
            _fill([], 100)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return x


@slots.task
async def finds_none_at_first(tries: str) -> int:
    """As an input whose neighbour has just taken all; `tries` is a file."""
    _count(tries)
    if (count := len(Path(tries).read_text())) == 1:
        raise MemoryError
    return count


@slots.task
async def finds_none(tries: str) -> int:
    _count(tries)
    raise MemoryError
