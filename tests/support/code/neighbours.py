"""Async tasks whose inputs lay hands on the event loop, and on the tasks of others on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from actorq import ActorEnvironment, actor_cache

slots = ActorEnvironment("neighbours", replica_count=1, isolation="none", concurrency=8, lease_seconds=2)
single = ActorEnvironment("neighbours-single", replica_count=1, isolation="reset", lease_seconds=2)
hooked = ActorEnvironment("neighbours-hooked", replica_count=1, isolation="none", concurrency=4, lease_seconds=2)

CULPRIT = 5


def _others() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@slots.task
async def sweeps(x: int) -> int:
    """The culprit cancels whatever runs, and waits for it, as the end of a program would."""
    await asyncio.sleep(0.05)
    if x == CULPRIT:
        others = _others()
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.05)
    return x


@slots.task
async def sweeps_itself_too(x: int) -> int:
    await asyncio.sleep(0.05)
    if x == CULPRIT:
        for task in asyncio.all_tasks():
            task.cancel()
    await asyncio.sleep(0.05)
    return x


@slots.task
async def sweeps_in_a_callback(x: int) -> int:
    if x == CULPRIT:
        await asyncio.sleep(0.05)
        asyncio.get_running_loop().call_soon(lambda: [task.cancel() for task in _others()])
    await asyncio.sleep(0.1)
    return x


@slots.task
async def sweeps_from_a_thread(x: int) -> int:
    """Nobody knows whose thread it is."""
    if x == CULPRIT:
        await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        others = _others()
        threading.Thread(target=lambda: [loop.call_soon_threadsafe(task.cancel) for task in others]).start()
    await asyncio.sleep(0.1)
    return x


@slots.task
async def lingers(x: int) -> int:
    await asyncio.sleep(0.1)
    return x


@slots.task
async def swallows(x: int) -> int:
    """It would return something else where its own tasks were cancelled by others."""
    parts = await asyncio.gather(*(asyncio.sleep(0.05, part) for part in range(4)), return_exceptions=True)
    if x == CULPRIT:
        for task in _others():
            task.cancel()
    tasks = [asyncio.create_task(asyncio.sleep(0.1, part)) for part in range(4)]
    with contextlib.suppress(asyncio.CancelledError):
        parts += await asyncio.gather(*tasks, return_exceptions=True)
    return len([part for part in parts if isinstance(part, int)])


@slots.task
async def cancels_itself(x: int) -> int:
    await asyncio.sleep(0.01)
    if x == CULPRIT:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
    await asyncio.sleep(0.05)
    return x


# -- loads -------------------------------------------------------------------------------------------------------------


@actor_cache
async def model(name: str) -> str:
    return await asyncio.create_task(asyncio.sleep(0.6, name))


@slots.task(timeout=0.3)
async def impatient(name: str) -> str:
    return await model(name)


@slots.task
async def patient(name: str) -> str:
    return await model(name)


# -- the replica's own -------------------------------------------------------------------------------------------------


background: list[asyncio.Task[None]] = []


async def _for_ever() -> None:
    await asyncio.Event().wait()


@hooked.on_start
async def begin() -> None:
    background.append(asyncio.create_task(_for_ever()))


@hooked.task
async def lives(x: int) -> tuple[int, bool]:
    await asyncio.sleep(0)
    return os.getpid(), not background[0].done()


@hooked.task
async def sweeps_the_replica(x: int) -> int:
    for task in _others():
        task.cancel()
    return x


# -- the loop ----------------------------------------------------------------------------------------------------------


def _raising(*args: Any, **kwargs: Any) -> NoReturn:
    raise ValueError("a factory")


async def _stop(loop: asyncio.AbstractEventLoop) -> None:
    loop.stop()


async def _stop_later(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_later(0.01, loop.stop)


async def _close(loop: asyncio.AbstractEventLoop) -> None:
    loop.close()


async def _set_factory(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_task_factory(_raising)


async def _shut_executor(loop: asyncio.AbstractEventLoop) -> None:
    await loop.shutdown_default_executor()


async def _shut_generators(loop: asyncio.AbstractEventLoop) -> None:
    await loop.shutdown_asyncgens()


async def _use_an_executor(loop: asyncio.AbstractEventLoop) -> None:
    with ThreadPoolExecutor() as executor:
        loop.set_default_executor(executor)
        assert await asyncio.to_thread(threading.current_thread) in executor._threads


async def _debug(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)


async def _handle(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_exception_handler(_raising)


#: what an input may do to its loop; the first ones are refused
HANDS: dict[str, Callable[[asyncio.AbstractEventLoop], Any]] = {
    "stop": _stop,
    "close": _close,
    "shutdown_default_executor": _shut_executor,
    "shutdown_asyncgens": _shut_generators,
    "stop_later": _stop_later,
    "set_task_factory": _set_factory,
    "set_default_executor": _use_an_executor,
    "set_debug": _debug,
    "set_exception_handler": _handle,
}
REFUSED = ("stop", "close", "shutdown_default_executor", "shutdown_asyncgens")


async def _uses(x: int, hand: str) -> tuple[int, bool, bool]:
    """What an input needs of the loop, and what others may have left there."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.005)
    if x == CULPRIT:
        await HANDS[hand](loop)
        return x, False, False
    left = loop.get_debug(), loop.get_exception_handler() is not None
    generator = (part async for part in _parts())
    assert [part async for part in generator] == [0, 1]
    assert await asyncio.create_task(asyncio.to_thread(int, "3")) == 3
    await asyncio.sleep(0.005)
    return x, *left


async def _parts() -> Any:
    for part in range(2):
        await asyncio.sleep(0.002)
        yield part


@slots.task
async def in_slots(x: int, hand: str) -> tuple[int, bool, bool]:
    return await _uses(x, hand)


@single.task
async def in_turn(x: int, hand: str) -> tuple[int, bool, bool]:
    return await _uses(x, hand)


@slots.task
async def in_slot_of(x: int) -> int:
    return os.getpid()


@single.task
async def process(x: int) -> int:
    return os.getpid()
