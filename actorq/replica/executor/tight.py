"""The loop for thousands of tiny inputs in a row: a C-level `extend(map(f, inputs))`.

For inputs that take microseconds telling the supervisor of each would cost more than the task. So it is told of none,
and where one kills the process nobody knows which: its submitter finds that out. Outputs are packed by the thousand,
see `outputs.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice, starmap
from typing import TYPE_CHECKING, Any

from actorq.replica import context
from actorq.replica.executor.inputs import PART
from actorq.replica.executor.large import MOST_HELD_BYTES, least_size
from actorq.replica.executor.outputs import Outputs
from actorq.replica.executor.run import Prepared, Run, Stop
from actorq.replica.pages import Page
from actorq.wire import failure
from actorq.wire.messages import CALL, STAR

if TYPE_CHECKING:
    import asyncio


#: the first inputs of a lease run in parts of 2, 16 and 128, whose outputs are looked at: whether all of them would be
#: large together. That takes 15 us of the 5 ms of a lease
_FIRST, _GROWTH, _LOOKED_AT = 2, 8, 128


class TightRun(Run):
    """One lease of tiny inputs, while it runs."""

    def __init__(self, prepared: Prepared, inputs: Sequence[Any], page: Page) -> None:
        super().__init__(prepared, inputs, page, None)
        self._results = Outputs()

    @staticmethod
    def suits(prepared: Prepared, inputs: Sequence[Any]) -> bool:
        """Whether it can run a task whose inputs are tiny."""
        head = prepared.head
        if not prepared.tight or head.timeout is not None or head.mode == CALL or prepared.is_async:
            return False
        return head.mode != STAR or range not in set(map(type, inputs))  # which may be very many arguments

    @property
    def done(self) -> int:
        """Inputs that have their result."""
        return len(self._results)

    def run(self, event_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        """Runs what is left. Returns early only after `Stop("cancelled")`."""
        context.unpublished = self
        try:
            self._run()
        finally:
            context.unpublished = None
        self._observe()

    def _run(self) -> None:
        outputs, inputs, function = self._results.last, self._inputs, self.prepared.function
        star = self.prepared.head.mode == STAR
        step = _FIRST
        while not self.stopped:
            some = islice(inputs.part(), step) if step else inputs.part()
            try:
                self.armed = True
                # keeps the outputs before an exception, so their number is the position of the input that raised
                outputs.extend(starmap(function, some) if star else map(function, some))
                self.armed = False
            except BaseException as error:
                self.armed = False
                self._leave_child(1)
                if isinstance(error, Stop) and self.done == inputs.begun:  # it came when no input was running
                    self.stopped = error.kind == failure.CANCELLED
                else:
                    self._caught(error)
                continue
            self._leave_child(0)  # the task forked and came back in the child: only the parent is a replica
            if self.done < inputs.begun:  # `extend` took it for the end of the map
                self._caught(StopIteration("the task raised StopIteration"))
            elif inputs.begun == inputs.count:
                return
            if step:
                size = sum(map(least_size, outputs[-step:])) * inputs.count // step
                step = step * _GROWTH if step < _LOOKED_AT else 0
            elif len(outputs) >= PART:
                outputs = self._results.seal(self._pack)
                size = self._results.size
            else:
                continue
            if size > MOST_HELD_BYTES:
                self.relieve()
                outputs, step = self._results.last, _FIRST  # where nobody else is free, it goes on

    def _append(self, output: Any) -> None:
        self._results.last.append(output)

    def _packed_from(self, start: int) -> bytes:
        return self._results.packed(start, self._pack)
