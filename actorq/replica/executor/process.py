"""What an executor process has once, however many leases run in it at a time: the user's code in its versions, its
hooks, what is restored after an input, and when all of it is used up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from actorq.broker.link import Link
from actorq.declare.environment import ActorEnvironment
from actorq.isolation.reset.reset import isolation_of
from actorq.replica.executor.lifecycle import Lifecycle
from actorq.replica.executor.loops import SharedLoop
from actorq.replica.executor.versions import Versions
from actorq.replica.executor.wear import Wear
from actorq.replica.spec import ExecutorSpec

if TYPE_CHECKING:
    import asyncio


class Process:
    """The present one.

    Args:
        spec: what it is told by its supervisor.
        link: gives a connection that waits for no reply, to fetch code by.
        loop: where coroutines run; None for one that is made when it is needed.
    """

    def __init__(
        self, spec: ExecutorSpec, link: Callable[[], Link], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._spec = spec
        self._environment = environment = ActorEnvironment.declared(spec.environment)
        self._loop = loop
        self.isolation = isolation_of(environment, spec.isolation, Path(spec.scratch))
        self._lifecycle = Lifecycle(spec, self.event_loop, lambda: self.versions.active)
        bundles = Path(f"{spec.scratch}-code") if spec.bundles else None
        self.versions = Versions(environment, self.isolation, link, bundles, self._lifecycle.start, self._forget)
        self._forgetting: list[Callable[[ActorEnvironment], None]] = []
        self._inputs_done = 0
        #: held while code is imported, and inputs are counted
        self.lock = threading.Lock()
        #: since `start`
        self.wear: Wear

    def start(self) -> None:
        """What comes before the first lease. An exception is a start that failed, and no input's."""
        self._lifecycle.start(self._environment)
        self.isolation.begin()
        if self._lifecycle.warm(self.versions.activate, "") and self.isolation.after_input is not None:
            self.isolation.after_input()

    def begin_to_wear(self) -> None:
        """All that it holds is loaded: from now on it wears."""
        self.wear = Wear(self._environment, self._spec.memory_share)

    def end(self, *, recycled: bool) -> None:
        """Runs the exit hooks, and removes what is kept on disk."""
        self._lifecycle.end(recycled=recycled)
        self.isolation.end()

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Where coroutines run."""
        if self._loop is None:
            import asyncio  # takes 10 ms; the zygote has imported it where a task is a coroutine

            self._loop = SharedLoop(asyncio.new_event_loop()).loop
        return self._loop

    def used_up(self, inputs: int) -> bool:
        """Whether it should be replaced. `inputs`: how many have run since the last call."""
        with self.lock:
            self._inputs_done += inputs
            return self.isolation.worn_out or self.wear.used_up(self._inputs_done)

    def when_forgotten(self, forget: Callable[[ActorEnvironment], None]) -> None:
        """Has `forget` called with a version of the code that will not run any more."""
        self._forgetting.append(forget)

    def _forget(self, environment: ActorEnvironment) -> None:
        self._lifecycle.stop(environment)
        for forget in self._forgetting:
            forget(environment)
