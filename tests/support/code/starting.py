"""Tasks that start processes of their own, at every level of isolation."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from multiprocessing import util
from multiprocessing.connection import Connection, Listener
from pathlib import Path

from actorq import ActorEnvironment

none = ActorEnvironment("starting-none", isolation="none", lease_seconds=2)
reset = ActorEnvironment("starting-reset", lease_seconds=2)
fork = ActorEnvironment("starting-fork", isolation="fork", lease_seconds=2)
slots = ActorEnvironment("starting-slots", isolation="none", concurrency=2, lease_seconds=2)

_forking = multiprocessing.get_context("fork")


def _say_and_sleep(ready: Connection) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        ready.send("ready")
        while True:  # a signal that arrives shortly before a sleep does not end it
            time.sleep(0.05)
    ready.send("interrupted")


def _ended_by(number: int) -> int | None:
    """What became of a forked child that was sent a signal."""
    ours, theirs = _forking.Pipe()
    process = _forking.Process(target=_say_and_sleep, args=(theirs,))
    process.start()
    ours.recv()
    os.kill(process.pid or 0, number)
    process.join(10)
    if process.exitcode is None:
        process.kill()
    return process.exitcode


@none.task
def none_ended_by(number: int) -> int | None:
    return _ended_by(number)


@reset.task
def reset_ended_by(number: int) -> int | None:
    return _ended_by(number)


@fork.task
def fork_ended_by(number: int) -> int | None:
    return _ended_by(number)


@slots.task
async def slots_ended_by(number: int) -> int | None:
    return _ended_by(number)


@reset.task
def with_handler_of_its_own(number: int) -> int | None:
    signal.signal(number, lambda *_: os._exit(7))
    return _ended_by(number)


def _square(x: int) -> int:
    return x * x


@none.task(timeout=20)
def pooled(x: int) -> list[int]:
    with _forking.Pool(2) as pool:
        return pool.map(_square, [x, x + 1])


@reset.task(timeout=20)
def by_fork_server(x: int) -> list[int]:
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        return pool.map(_square, [x, x + 1])


@reset.task(timeout=20)
def by_manager(x: int) -> int:
    with multiprocessing.Manager() as manager:
        return int(manager.dict(x=x)["x"])


@reset.task
def listens(_: int) -> bool:
    with Listener(family="AF_UNIX") as listener:
        return Path(str(listener.address)).exists()


@reset.task
def has_folder_of_multiprocessing(_: int) -> bool:
    return Path(util.get_temp_dir()).is_dir()


narrow = ActorEnvironment("narrow", threads=3, environment={"NUMEXPR_NUM_THREADS": "5"}, lease_seconds=2)
_at_import = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS")}


@narrow.task
def threads_at_import(_: int) -> dict[str, str | None]:
    return _at_import
