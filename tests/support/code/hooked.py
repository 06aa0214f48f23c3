"""Environments with hooks, one for each level of isolation; every step is noted in the file that HOOKED_LOG names."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from actorq import ActorEnvironment, actor_cache

if TYPE_CHECKING:
    from tests.conftest import Worker

LEVELS = ("none", "reset", "fork")

opened: list[str] = []


class Start(Protocol):
    """What the fixture `start` gives."""

    def __call__(self, variable: str, environment: str, http_port: int | None = None) -> Worker: ...


def lines(log: Path) -> list[str]:
    """What was done and in which process, in order."""
    return log.read_text().splitlines() if log.exists() else []


def steps(log: Path) -> list[str]:
    """What was done, in order."""
    return [line.split()[0] for line in lines(log)]


def note(what: str) -> None:
    if log := os.environ.get("HOOKED_LOG"):
        with Path(log).open("a") as file:
            file.write(f"{what} {os.getpid()}\n")


def asked(name: str) -> bool:
    """Whether the test has put a file of this name beside the log."""
    log = os.environ.get("HOOKED_LOG")
    return log is not None and (Path(log).parent / name).exists()


def first() -> None:
    note("start-first")
    if asked("fail"):
        raise ConnectionError("no weights today")
    if asked("die"):
        os._exit(9)
    opened.append("first")
    os.environ["HOOKED"] = "on"


async def second() -> None:
    await asyncio.sleep(0)
    note("start-second")


def last() -> None:
    note("exit-last")


async def but_last() -> None:
    await asyncio.sleep(0)
    note("exit-but-last")
    if asked("fail-exit"):
        raise ValueError("cannot close")
    if asked("hang-exit"):
        time.sleep(60)


@actor_cache
def model(key: str) -> str:
    note(f"load-{key}")
    if asked(f"no-{key}"):
        raise ValueError(f"no {key}")
    return key


@actor_cache
async def async_model(key: str) -> str:
    await asyncio.sleep(0)
    note(f"load-{key}")
    return key


def where(x: int) -> tuple[int, list[str], str]:
    """Process, and what is left of the start hooks."""
    note("input")
    seen = list(opened)
    opened.append(str(x))
    return os.getpid(), seen, os.environ.pop("HOOKED", "off")


def uses(key: str) -> bool:
    """Whether its model was there before it asked."""
    note("input")
    found = model.has(key)
    model(key)
    return found


async def uses_async(key: str) -> bool:
    found = async_model.has(key)
    await async_model(key)
    return found


def _hooked(name: str, level: str) -> ActorEnvironment:
    environment = ActorEnvironment(name, isolation=level, lease_seconds=2, drain_seconds=5)
    environment.on_start(first)
    environment.on_start(second)
    environment.prewarm(model, key="base")
    environment.prewarm(async_model, "async-base")
    environment.on_exit(last)
    environment.on_exit(but_last)
    return environment


none, reset, fork = (_hooked(f"hooked-{level}", level) for level in LEVELS)
#: an executor for five inputs
worn_none, worn_reset, worn_fork = (
    ActorEnvironment(f"worn-{level}", isolation=level, lease_seconds=2, max_tasks_per_child=5) for level in LEVELS
)
for _worn in (worn_none, worn_reset, worn_fork):
    _worn.on_exit(last)
hanging = ActorEnvironment("hanging", isolation="none", lease_seconds=2, max_tasks_per_child=1, drain_seconds=0.2)
hanging.on_exit(but_last)
aging = ActorEnvironment("aging", isolation="none", lease_seconds=2, max_seconds_per_child=1)

HOOKED = dict(zip(LEVELS, (none, reset, fork), strict=True))
WORN = dict(zip(LEVELS, (worn_none, worn_reset, worn_fork), strict=True))
_ALL = (*HOOKED.values(), *WORN.values(), hanging, aging)
WHERE = {environment.name: environment.task(where) for environment in _ALL}
USES = {environment.name: environment.task(uses) for environment in WORN.values()}
USES_ASYNC = {environment.name: environment.task(uses_async) for environment in WORN.values()}
