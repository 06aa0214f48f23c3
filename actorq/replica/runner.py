"""Runs the inputs of one lease, and can be asked in the middle what is done and what has not begun.

Two loops do the same work. The *published* one tells the supervisor before every input which it is, and since when: it
costs some 0.3 µs an input and serves everything. The *tight* one is a C-level `extend(map(f, inputs))` for thousands at
a time: for inputs that take microseconds, where the published loop would cost more than the task. Their outputs are
packed by the thousand, too, see `outputs.py`.

In both, a signal handler that runs between two bytecodes sees an exact state: outputs so far, the one input that runs
(or none), and the rest, which it may cut off, see `inputs.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import starmap
from typing import Any

from actorq import codec, failure
from actorq.errors import CodecError, PayloadTooLargeError
from actorq.frames import CALL, STAR, Frame, Head
from actorq.replica.inputs import PART, Inputs
from actorq.replica.memory import stopped_for
from actorq.replica.outputs import Outputs
from actorq.replica.slots import Slot
from actorq.settings import settings

#: inputs that take less than this, seconds, run in the tight loop
_TIGHT_SECONDS = 50e-6
#: types of constants that no input can change
_UNCHANGEABLE = frozenset({int, float, bool, str, bytes, type(None)})
#: how long coroutines that an input left behind may take to be cancelled, seconds
_CANCEL_SECONDS = 1.0


class Stop(BaseException):
    """Raised by the executor's signal handler inside the task. Not an `Exception`: a task must not swallow it."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Prepared:
    """A task and the constants of one map, ready to be called with an input. Cached per head.

    Args:
        anew: an input must not see what another did to the constants.
    """

    def __init__(self, function: Callable[..., Any], head: Head, *, anew: bool = False) -> None:
        kwargs = codec.unpack(head.kwargs) if head.kwargs else {}
        if not isinstance(kwargs, dict):
            raise CodecError("The constant arguments of the map are not a dict.")
        self.head = head
        self.task = function
        self.function = partial(function, **kwargs) if kwargs else function
        #: the constants are decoded for every input, which may change them
        self._anew = anew and not all(type(value) in _UNCHANGEABLE for value in kwargs.values())
        self.is_async = inspect.iscoroutinefunction(function)
        self.tight = False

    def call(self, value: Any) -> Any:
        mode = self.head.mode
        function = partial(self.task, **codec.unpack(self.head.kwargs)) if self._anew else self.function
        if mode == STAR:
            return function(*value)
        if mode == CALL:
            return function(*value[0], **value[1])
        return function(value)

    def observe(self, count: int, busy: float) -> None:
        """How long inputs of this task take decides which loop runs the next lease."""
        self.tight = busy < _TIGHT_SECONDS * count


class Run:
    """One lease while it runs."""

    #: stands for the output of an input that failed
    _nothing: Any = None

    def __init__(
        self,
        prepared: Prepared,
        inputs: Sequence[Any],
        slot: Slot,
        reset: Callable[[], None] | None,
        *,
        whole: bool = False,
    ) -> None:
        self.prepared = prepared
        self._inputs = Inputs(inputs)
        self._slot = slot
        self._reset = reset
        self._whole = whole  # all inputs could be decoded
        self._outputs = Outputs()
        self._errors: dict[int, dict[str, Any]] = {}
        self._flushed = 0
        self._since = self._begun = time.perf_counter()
        self.stopped = False
        #: why the state could not be restored after an input; the rest must run elsewhere
        self.spoilt: str | None = None
        #: the handler may raise `Stop` now
        self.armed = False

    @property
    def count(self) -> int:
        """Inputs of the lease, those cut off not counted."""
        return self._inputs.count

    @property
    def pending_results(self) -> bool:
        return len(self._outputs) > self._flushed

    def cut(self) -> int | None:
        """Drops the inputs that have not begun; returns where the lease ends now, None when that has not changed."""
        end = self._inputs.cut()
        if end is not None:
            self._slot.shorten(end)
        return end

    def uncut(self) -> None:
        """Takes back what the last `cut` has dropped. No input may have ended since."""
        self._inputs.uncut()
        self._slot.shorten(self._inputs.count)

    def run(self, event_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        """Runs what is left. Returns early only after `Stop("cancelled")`."""
        prepared = self.prepared
        tight = prepared.tight and self._reset is None and prepared.head.timeout is None and not prepared.is_async
        if tight and prepared.head.mode != CALL and self._whole:
            self._run_tight()
        elif prepared.is_async:
            self._run_published(partial(_run_coroutine, event_loop(), prepared.call))
        else:
            self._run_published(prepared.call)
        done = len(self._outputs)
        if done:
            prepared.observe(done, time.perf_counter() - self._begun)

    def take(self, replica: str) -> Frame:
        """The results since the last call, as a frame."""
        start, end = self._flushed, len(self._outputs)
        now = time.perf_counter()
        busy, self._since = now - self._since, now
        self._flushed = end
        packed = self._outputs.packed(start, self._pack)  # first: an output that cannot be carried is an error
        errors = {at - start: error for at, error in self._errors.items() if at >= start} if self._errors else {}
        return Frame(start=start, count=end - start, busy=busy, replica=replica, errors=errors, outputs=packed)

    def untake(self, frame: Frame) -> None:
        """`frame` could not be sent: its results go with the next one."""
        self._flushed = frame.start
        self._since -= frame.busy

    def abandon(self, why: str) -> None:
        """Every input without a result fails."""
        for position in range(len(self._outputs), self._inputs.count):
            self._errors[position] = failure.described(failure.CANCELLED, why, final=True)
            self._outputs.last.append(self._nothing)

    # -- loops ---------------------------------------------------------------------------------------------------------

    def _run_tight(self) -> None:
        outputs, inputs, function = self._outputs.last, self._inputs, self.prepared.function
        star = self.prepared.head.mode == STAR
        pid = os.getpid()
        while not self.stopped:
            some = inputs.part()
            try:
                self.armed = True
                # keeps the outputs before an exception, so their number is the position of the input that raised
                outputs.extend(starmap(function, some) if star else map(function, some))
                self.armed = False
            except BaseException as error:
                self.armed = False
                if os.getpid() != pid:
                    os._exit(1)
                if isinstance(error, Stop) and len(self._outputs) == inputs.begun:  # it came when no input was running
                    self.stopped = error.kind == failure.CANCELLED
                else:
                    self._caught(error)
                continue
            if os.getpid() != pid:  # see below
                os._exit(0)
            if len(self._outputs) < inputs.begun:  # `extend` took it for the end of the map
                self._caught(StopIteration("the task raised StopIteration"))
            elif inputs.begun == inputs.count:
                return
            if len(outputs) >= PART:
                outputs = self._outputs.seal(self._pack)

    def restore(self) -> None:
        """Puts the process back. `spoilt` says when that failed."""
        assert self._reset is not None
        try:
            self._reset()
        except Exception as error:  # an object of the task's that refuses to be put back
            self.spoilt = f"{type(error).__name__}: {error}"

    def _run_published(self, call: Callable[[Any], Any]) -> None:
        outputs, slot, reset = self._outputs.last, self._slot, self._reset
        now, getpid, pid = time.monotonic_ns, os.getpid, os.getpid()
        for value in self._inputs:
            slot.begin_input(len(outputs), now())
            try:
                if type(value) is CodecError:
                    raise value  # an input that cannot be decoded fails alone
                self.armed = True
                output = call(value)
                self.armed = False
            except BaseException as error:
                self.armed = False
                if getpid() != pid:
                    os._exit(1)
                if not self._caught(error):
                    return
            else:
                if getpid() != pid:  # the task forked and came back in the child: only the parent is a replica
                    os._exit(0)
                outputs.append(output)
                del output
            slot.end_input()
            if reset is not None:
                del value
                self.restore()
                if self.spoilt is not None:
                    return

    def _caught(self, error: BaseException) -> bool:
        """Books an exception of the input that was running; False when the lease is over."""
        if isinstance(error, Stop):
            if error.kind == failure.CANCELLED:
                self.stopped = True
                return False
            if error.kind == failure.LOST:
                data = failure.described(failure.LOST, stopped_for(*self._slot.memory))
            else:
                seconds = self.prepared.head.timeout
                data = failure.described(failure.TIMEOUT, f"ran longer than its timeout of {seconds} s")
        elif isinstance(error, Exception):
            data = failure.describe(error)
        else:
            data = failure.describe(error)
            data["message"] = f"the task raised {type(error).__name__}({data['message']}), which would end the process"
        self._errors[len(self._outputs)] = data
        self._outputs.last.append(self._nothing)
        error.__traceback__ = None  # frees the task's frames now, not with the next error
        return True

    def _pack(self, outputs: list[Any], start: int) -> bytes:
        """Outputs as a packed list; one that cannot be carried fails. `start`: the position of the first."""
        limit = settings().max_payload_bytes
        try:
            return codec.pack_list(outputs, limit, lambda i: f"The output of {self.prepared.head.task}")
        except CodecError:
            outputs = list(outputs)
        for position, output in enumerate(outputs):
            try:
                if len(codec.pack(output)) > limit:
                    raise PayloadTooLargeError
                continue
            except PayloadTooLargeError:
                problem: CodecError = PayloadTooLargeError(
                    f"The output is larger than the limit of {limit:,} bytes (ACTORQ_MAX_PAYLOAD_BYTES): "
                    "write it to a store and return where it is."
                )
            except CodecError as error:
                problem = CodecError(f"The output{codec.where(output)} cannot be carried: {error}")
            self._errors[start + position] = failure.describe(problem) | {"final": True}
            outputs[position] = None
        return codec.pack(outputs)


def _run_coroutine(loop: asyncio.AbstractEventLoop, call: Callable[[Any], Any], value: Any) -> Any:
    """Runs one input of a coroutine task, and ends what it leaves on the loop, so that the next finds it empty."""
    try:
        return loop.run_until_complete(call(value))
    finally:
        left = asyncio.all_tasks(loop)
        if left:
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=_CANCEL_SECONDS))
