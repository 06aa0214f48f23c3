"""Runs the inputs of one lease, and can be asked in the middle what is done and what has not begun.

Two loops do the same work. The one here is *published*: it tells the supervisor before every input which it is, and
since when. That costs some 0.3 µs an input, and serves everything. The *tight* one, in `tight.py`, is for inputs that
take microseconds.

In both, a signal handler that runs between two bytecodes sees an exact state: outputs so far, the one input that runs
(or none), and the rest, which it may cut off, see `inputs.py`.
"""

from __future__ import annotations

import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from actorq.base.prefix import lease_ended
from actorq.base.settings import settings
from actorq.base.tracing import traced
from actorq.errors import CodecError, PayloadTooLargeError
from actorq.replica.executor.inputs import Inputs, Packed
from actorq.replica.executor.large import MOST_HELD_BYTES, SMALL, least_size
from actorq.replica.executor.loops import Holder, holder
from actorq.replica.pages import Page
from actorq.wire import codec, failure
from actorq.wire.carried.arrays import WRITING, writable_arrays
from actorq.wire.messages import CALL, LENGTH, ONE, STAR, Frame, Head

if TYPE_CHECKING:
    import asyncio

#: inputs that take less than this, seconds, run in the tight loop
_TIGHT_SECONDS = 50e-6
#: types of constants that no input can change
_UNCHANGEABLE = frozenset({int, float, bool, str, bytes, type(None)})
#: arguments of one call that a range may stand for
_MOST_ARGUMENTS = 1000
#: how long coroutines that an input left behind may take to be cancelled, seconds
_CANCEL_SECONDS = 1.0


def nothing() -> None:
    """Where nobody is to be told."""


class Stop(BaseException):
    """Raised by the executor's signal handler inside the task. Not an `Exception`: a task must not swallow it."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Prepared:
    """A task and the constants of one map, ready to be called with an input. Cached per head.

    Args:
        packed: the head as it travels.
        anew: an input must not see what another did to the constants.
    """

    def __init__(self, function: Callable[..., Any], head: Head, *, packed: bytes = b"", anew: bool = False) -> None:
        #: it may write to arrays of its inputs
        self._writes = function in WRITING
        with self.decoding():
            kwargs = codec.unpack(head.kwargs) if head.kwargs else {}
        if not isinstance(kwargs, dict):
            raise CodecError("The constant arguments of the map are not a dict.")
        self.head = head
        self.packed = packed
        #: what the leases of the map begin with, unless they are signed
        self.prefix = LENGTH.pack(len(packed)) + packed
        if head.trace:
            function = traced(function, head.trace, head.task)
        self.task = function
        #: what the executor got the task from; not used here
        self.version: object = None
        self.function = partial(function, **kwargs) if kwargs else function
        call = self.function
        if (anew or self._writes) and not all(type(value) in _UNCHANGEABLE for value in kwargs.values()):
            call = self.function = self._call_anew
        #: runs one input
        self.call = _UNPACKING[head.mode](call)
        self.is_async = inspect.iscoroutinefunction(function)
        #: its inputs are as short as the tight loop is for
        self.tight = False

    def decoding(self) -> AbstractContextManager[None]:
        """What its inputs are to be decoded in."""
        return writable_arrays() if self._writes else nullcontext()

    def unpacked(self, packed: Packed) -> Any:
        """An input that was not decoded yet. Raises `CodecError`."""
        with self.decoding():
            return packed.value()

    def _call_anew(self, *args: Any, **kwargs: Any) -> Any:
        """With constants that were decoded for this input, which may change them."""
        with self.decoding():
            constants = codec.unpack(self.head.kwargs)
        return self.task(*args, **{**constants, **kwargs})


def _few(values: range) -> range:
    """The arguments of a call. A range, of a few bytes, may stand for more of them than there is memory."""
    if values[:_MOST_ARGUMENTS] != values:
        raise CodecError(f"The input is {values}, which is too long for the arguments of a call.")
    return values


#: how an input becomes the arguments of a call, by the mode of its map
_UNPACKING: dict[int, Callable[[Callable[..., Any]], Callable[[Any], Any]]] = {
    ONE: lambda function: function,
    STAR: lambda function: lambda value: function(*(_few(value) if type(value) is range else value)),
    CALL: lambda function: lambda value: function(*value[0], **value[1]),
}


class Run:
    """One lease while it runs."""

    #: stands for the output of an input that failed
    _nothing: Any = None

    def __init__(self, prepared: Prepared, inputs: Sequence[Any], page: Page, reset: Callable[[], None] | None) -> None:
        self.prepared = prepared
        self._inputs = Inputs(inputs)
        self._page = page
        self._reset = reset
        self._outputs: list[Any] = []
        self._errors: dict[int, dict[str, Any]] = {}
        self._pid = os.getpid()
        self._flushed = 0
        self._since = self._begun = time.perf_counter()
        self.stopped = False
        #: sends what is done and hands back what has not begun, between two inputs, where outputs are large
        self.relieve: Callable[[], object] = nothing
        #: why the state could not be restored after an input; the rest must run elsewhere
        self.spoilt: str | None = None
        #: the handler may raise `Stop` now
        self.armed = False

    @property
    def count(self) -> int:
        """Inputs of the lease, those cut off not counted."""
        return self._inputs.count

    @property
    def done(self) -> int:
        """Inputs that have their result."""
        return len(self._outputs)

    @property
    def pending_results(self) -> bool:
        return self.done > self._flushed

    def cut(self) -> int | None:
        """Drops the inputs that have not begun; returns where the lease ends now, None when that has not changed."""
        end = self._inputs.cut()
        if end is not None:
            self._page.shorten(end)
        return end

    def uncut(self) -> None:
        """Takes back what the last `cut` has dropped. No input may have ended since."""
        self._inputs.uncut()
        self._page.shorten(self._inputs.count)

    def run(self, event_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        """Runs what is left. Returns early only after `Stop("cancelled")`."""
        prepared = self.prepared
        self._run_each(partial(_run_coroutine, event_loop(), prepared.call) if prepared.is_async else prepared.call)
        if len(self._outputs) > 1:  # a single input is not worth the time
            self._observe()

    def take(self, replica: str) -> Frame:
        """The results since the last call, as a frame."""
        start, end = self._flushed, self.done
        now = time.perf_counter()
        busy, self._since = now - self._since, now
        self._flushed = end
        packed = self._packed_from(start)  # first: an output that cannot be carried is an error
        errors = {at - start: error for at, error in self._errors.items() if at >= start} if self._errors else {}
        return Frame(start=start, count=end - start, busy=busy, replica=replica, errors=errors, outputs=packed)

    def untake(self, frame: Frame) -> None:
        """`frame` could not be sent: its results go with the next one."""
        self._flushed = frame.start
        self._since -= frame.busy

    def abandon(self, *, wished: bool) -> None:
        """Every input without a result fails, where somebody has wished it; else it has none."""
        why = "stopped: its map was cancelled, or an operator stopped the job"
        for position in range(self.done, self._inputs.count):
            kind = failure.CANCELLED if wished else failure.FORGONE
            self._errors[position] = failure.described(kind, why, final=wished)
            self._append(self._nothing)

    def restore(self) -> None:
        """Puts the process back. `spoilt` says when that failed."""
        assert self._reset is not None
        try:
            self._reset()
        except Exception as error:  # an object of the task's that refuses to be put back
            self.spoilt = f"{type(error).__name__}: {error}"

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _run_each(self, call: Callable[[Any], Any]) -> None:  # noqa: C901 - a call more costs what a tiny input takes
        _keep_reserve()
        outputs, page, reset, held = self._outputs, self._page, self._reset, 0
        now, getpid, pid = time.monotonic_ns, os.getpid, self._pid
        for value in self._inputs:
            page.begin_input(len(outputs), now())
            try:
                self.armed = True
                if type(value) is Packed:
                    value = self.prepared.unpacked(value)  # noqa: PLW2901 - one that cannot be decoded fails alone
                output = call(value)
                self.armed = False
            except BaseException as error:
                self.armed = False
                if not self._caught(error):
                    return
            else:
                if getpid() != pid:  # the task forked and came back in the child: only the parent is a replica
                    os._exit(0)
                outputs.append(output)
                if type(output) not in SMALL:
                    held += least_size(output)
                del output
            page.end_input()
            if reset is not None:
                del value
                self.restore()
                if self.spoilt is not None:
                    return
            if held > MOST_HELD_BYTES:
                held = self._relieved()

    def _relieved(self) -> int:
        """Sends what is done, unless the lease ends here, where that is done in any case; the bytes still held."""
        if self.done < self._inputs.count:
            self.relieve()
        return 0

    def _observe(self) -> None:
        """How long inputs of this task take decides which loop runs the next lease."""
        if done := self.done:
            self.prepared.tight = (time.perf_counter() - self._begun) < _TIGHT_SECONDS * done

    def _caught(self, error: BaseException) -> bool:
        """Books an exception of the input that was running; False when the lease is over."""
        self._leave_child(1)
        if isinstance(error, Stop):
            if error.kind == failure.CANCELLED:
                self.stopped = True
                return False
            if error.kind == failure.LOST:
                data = failure.described(failure.LOST, failure.stopped_for(*self._page.memory))
            else:
                seconds = self.prepared.head.timeout
                data = failure.described(failure.TIMEOUT, f"ran longer than its timeout of {seconds} s")
        elif isinstance(error, MemoryError):
            data = _out_of_memory(error)
        elif isinstance(error, Exception):
            data = failure.describe(error)
        else:
            data = failure.describe(error)
            data["message"] = f"the task raised {type(error).__name__}({data['message']}), which would end the process"
        self._errors[self.done] = data
        self._append(self._nothing)
        error.__traceback__ = None  # frees the task's frames now, not with the next error
        return True

    def _leave_child(self, status: int) -> None:
        """Ends the process if it is one that the task has forked."""
        if os.getpid() != self._pid:
            os._exit(status)

    def _append(self, output: Any) -> None:
        self._outputs.append(output)

    def _packed_from(self, start: int) -> bytes:
        """The outputs from position `start` on, as a packed list."""
        return self._pack(self._outputs[start:] if start else self._outputs, start)

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
                    f"The output of {self.prepared.head.task} is larger than the limit of {limit:,} bytes "
                    "(ACTORQ_MAX_PAYLOAD_BYTES): write it to a store and return where it is."
                )
            except CodecError as error:
                shown = f"The output of {self.prepared.head.task}{codec.where(output)}"
                problem = CodecError(f"{shown} cannot be carried: {error}")
            self._errors[start + position] = failure.describe(problem) | {"final": True}
            outputs[position] = None
        return codec.pack(outputs)


#: memory that is not used, for telling of an input that has taken all there was, and for putting back what it holds
_RESERVE_BYTES = 1 << 20
_reserve = [bytearray(_RESERVE_BYTES)]


def memory_ran_out() -> bool:
    """Whether the present lease has met the end of it: what goes wrong then may say anything."""
    return not _reserve


def _keep_reserve() -> None:
    if not _reserve:
        with suppress(MemoryError):
            _reserve.append(bytearray(_RESERVE_BYTES))


def _out_of_memory(error: MemoryError) -> dict[str, Any]:
    """Describes it when the frames of the task have let go of what they hold: that may be all there is."""
    _reserve.clear()
    traceback.clear_frames(error.__traceback__)
    try:
        return failure.describe(error)
    except (MemoryError, CodecError):  # something else holds it still
        return dict(failure.EXHAUSTED)


def flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S112 - the reader is gone; the task closed it, or put something else there
            continue
    lease_ended()


def _run_coroutine(loop: asyncio.AbstractEventLoop, call: Callable[[Any], Any], value: Any) -> Any:
    """Runs one input of a coroutine task, and ends what it leaves on the loop, so that the next finds it empty."""
    import asyncio

    mine = Holder()
    try:
        return loop.run_until_complete(_held(mine, call, value))
    finally:
        mine.end()
        left = asyncio.all_tasks(loop)
        if left:
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=_CANCEL_SECONDS))


async def _held(mine: Holder, call: Callable[[Any], Any], value: Any) -> Any:
    """One input, which is known to the loop by its holder."""
    holder.set(mine)
    return await call(value)
