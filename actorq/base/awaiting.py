"""Waiting for what blocks, in a coroutine.

The one idea: *nobody waits for the thread*. `asyncio.to_thread` takes one of the loop's pool, which `asyncio.run` joins
when it ends: a program whose server hangs could not be interrupted for as long as its patience lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def in_thread(action: Callable[[], T]) -> asyncio.Future[T]:
    """What `action` returns or raises, in a thread of its own that ends with the program."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def tell(how: Callable[[Any], None], what: Any) -> None:
        if not future.done():
            how(what)

    def run() -> None:
        told: tuple[Callable[[Any], None], Any]
        try:
            told = future.set_result, context.run(action)
        except BaseException as error:  # the boundary of the thread: whoever awaits it raises it
            told = future.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=run, name="actorq.awaited", daemon=True).start()
    return future
