"""What `task.spawn_map` and `actorq.attach` return: a run, which needs none of the programs that look at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeVar

from actorq.base.awaiting import in_thread
from actorq.broker.client import Client
from actorq.runs import reader
from actorq.runs.reader import Reader
from actorq.wire.lease import Counters

R = TypeVar("R")


def _close(found: Reader, done: asyncio.Future[Any]) -> None:
    """What nobody waits for any more has come."""
    if not done.cancelled():
        done.exception()  # nobody is to be told of it
    found.close()


class Run(Generic[R]):
    """A map that outlives the script that started it. Iterate it for the outputs, as often as you like.

    Each iteration begins with the first output and waits for those that are still to come, in order unless the run was
    started with `order_outputs=False`. Any number of processes may read a run at the same time.

    Example:
        run = embed.spawn_map(texts, map_id="wiki-2026-11")
        ...
        for vector in actorq.attach("wiki-2026-11"):  # perhaps in another process, perhaps tomorrow
            ...
    """

    def __init__(self, client: Client, run_id: str, retry: Callable[[Client, str], None] = reader.retry) -> None:
        self._client = client
        self._retry = retry
        #: its name: what `actorq.attach` is given
        self.map_id = run_id

    def __iter__(self) -> Iterator[R]:
        return Reader(self._client, self.map_id).outputs()

    def outputs(self, *, start: int = 0, ordered: bool | None = None) -> Iterator[R]:
        """The outputs from index `start` on; `ordered` says whether in the order of the inputs, or as they come.

        Raises `DeclarationError` for an index that is none.
        """
        return Reader(self._client, self.map_id, ordered=ordered, start=start).outputs()

    def results(self) -> list[R]:
        """All outputs, in a list; waits for them. Raises what a task raised, as iterating does."""
        return list(self)

    @property
    def state(self) -> str:
        """It is "running", "done", "failed" or "cancelled"."""
        return reader.record_of(self._client, self.map_id).state

    @property
    def failures(self) -> tuple[Exception, ...]:
        """The exceptions of the inputs that have failed for good so far: the first 10,000."""
        return self._folded().failures

    def stats(self) -> Counters:
        """What the run has done so far."""
        counters = self._folded().counters
        counters.total = reader.record_of(self._client, self.map_id).total
        return counters

    def wait(self, timeout: float | None = None) -> str:
        """Waits until the run has ended; returns its state. Raises `MapTimeoutError` after `timeout` seconds."""
        return reader.wait(self._client, self.map_id, timeout)

    def cancel(self) -> None:
        """Ends the run: what has not begun never runs, and what runs is stopped. Its outputs so far stay readable."""
        reader.cancel(self._client, self.map_id)

    def retry_failed(self) -> None:
        """Runs the inputs that have failed once more, within this run, with all their retries, and what never ran.

        The run must have ended. A program that declares the task has it run as it is declared now; for another one,
        replicas run the code that they have.

        Raises `PoolError` for a run that has not ended, or was cancelled.
        """
        self._retry(self._client, self.map_id)

    async def aio(self, *, start: int = 0, ordered: bool | None = None) -> AsyncIterator[R]:
        """`outputs`, without blocking the event loop."""
        found = await in_thread(lambda: Reader(self._client, self.map_id, ordered=ordered, start=start))
        asked: asyncio.Future[Iterator[Any] | None] | None = None
        try:
            while True:
                asked = in_thread(found.some)
                if (outputs := await asyncio.shield(asked)) is None:
                    break
                for output in outputs:
                    yield output
        finally:
            if asked is None or asked.done():
                found.close()
            else:  # its thread still uses the connection, for a second at most
                asked.add_done_callback(lambda done: _close(found, done))

    def delete(self) -> None:
        """Cancels the run, and removes all that the server keeps of it."""
        reader.delete(self._client, self.map_id)

    def __repr__(self) -> str:
        return f"<run {self.map_id!r}>"

    def _folded(self) -> Reader:
        found: Any = Reader(self._client, self.map_id)
        try:
            found.catch_up()
        finally:
            found.close()
        return found  # type: ignore[no-any-return]
