"""What the tasks of a worker print, taken from its executors and kept on the server.

The one idea: *the supervisor keeps it*, so what an input has printed before it killed its process is there.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from actorq.base.captured import Line, LineReader, pipe_in
from actorq.base.log import logger
from actorq.base.waiting import Waker, ready
from actorq.broker.link import Link
from actorq.broker.output_records import keep_output
from actorq.errors import BrokerError
from actorq.replica.spec import SupervisorSpec

#: lines gather for so long, seconds, and so many are sent at once
_GATHER_SECONDS, _AT_ONCE = 0.1, 2000
#: what is told of lines that were lost, and of how many maps
_LOST, _MOST_LOST = "lines were lost here: the server could not be reached, or had no room", 1000
#: how long a server that does not answer is asked, seconds
_PATIENCE = 2.0


def keep_output_of(spec: SupervisorSpec, scratch: str) -> OutputKeeper | None:
    """Begins to keep what a worker's tasks print, where it is to; `scratch` is the folder of the worker."""
    if not spec.zygote.capture:
        return None
    keeper = OutputKeeper(pipe_in(scratch), spec.url)
    keeper.start()
    return keeper


class OutputKeeper(threading.Thread):
    """Keeps lines until it is closed.

    Args:
        path: where executors write them; see `LineWriter`.
        url: the server.
    """

    def __init__(self, path: Path, url: str) -> None:
        super().__init__(name="actorq.output", daemon=True)
        self._lines = LineReader(path)
        self._link = Link(url, patience=_PATIENCE, clears=True)
        self._waker = Waker()
        self._ends = False
        self._lost: dict[str, int] = {}  # lines of each map that could not be kept

    def run(self) -> None:
        while not self._ends:
            ready([self._lines, self._waker], 3600.0)
            if not self._ends:
                time.sleep(_GATHER_SECONDS)
            try:
                self._keep()
            except Exception as error:  # what tasks print must not end the thread that keeps it
                logger().error("output_failed", error=repr(error))
        self._link.close()
        self._lines.close()
        self._waker.close()

    def close(self) -> None:
        """Keeps what is there, and ends."""
        self._ends = True
        self._link.hurry(_PATIENCE)
        self._waker.wake()
        self.join(2 * _PATIENCE)

    def _keep(self) -> None:
        while some := self._lines.read():
            for at in range(0, len(some), _AT_ONCE):
                self._send(some[at : at + _AT_ONCE])

    def _send(self, lines: list[Line]) -> None:
        lost = [Line("", name, None, f"({count:,} {_LOST})") for name, count in self._lost.items()]
        try:
            keep_output(self._link, [*lost, *lines])
        except BrokerError as error:
            if not self._lost:
                logger().warning("output_lost", error=str(error))
            for line in lines:
                if line.name in self._lost or len(self._lost) < _MOST_LOST:
                    self._lost[line.name] = self._lost.get(line.name, 0) + 1
            return
        if lost:
            logger().warning("output_kept_again", lost=sum(self._lost.values()))
            self._lost.clear()
