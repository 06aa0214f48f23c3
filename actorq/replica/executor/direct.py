"""Runs the inputs of a lease one after the other, in the thread of the executor."""

from __future__ import annotations

from typing import Any

from actorq.broker.linger import Linger
from actorq.replica.executor.preparing import PreparedMaps
from actorq.replica.executor.process import Process
from actorq.replica.executor.run import Prepared, Run
from actorq.replica.executor.runner import Lent
from actorq.replica.executor.tight import TightRun


class DirectRunner:
    """The runner of most executors.

    Args:
        lent: what its executor lends to it.
    """

    looks_ahead = True
    wants_rest = False

    def __init__(self, lent: Lent) -> None:
        self._page = lent.page
        self._linger = Linger(lent.link)
        self._watched = lent.watched
        self.process = Process(lent.spec, lent.free_link)
        self.maps = PreparedMaps(self.process, lent.watched.as_input)

    def begin(self) -> None:
        """Everything is there already."""

    def end(self) -> None:
        """It has nothing of its own."""

    def prepare(self, head: bytes) -> Prepared:
        return self.maps.of(head)

    def run_of(self, prepared: Prepared, packed: memoryview) -> Run:
        inputs, whole = self._watched.decoded(prepared, packed)
        reset = self.process.isolation.after_input
        if whole and reset is None and TightRun.suits(prepared, inputs):
            return TightRun(prepared, inputs, self._page)
        return Run(prepared, inputs, self._page, reset)

    def lease_ended(self) -> None:
        """The next one may come."""

    def read_mail(self) -> Any:
        return self._linger.read()

    def rest(self) -> bool:
        return False
