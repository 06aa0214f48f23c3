"""The runner of `isolation="fork"`: runs the inputs of a lease in children, one by one. See `isolation.fork`.

Inputs and outputs stay packed here: the replica decodes nothing that a task made, and a child decodes only its input.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actorq.broker.linger import Linger
from actorq.code.modules import own_modules
from actorq.declare.ping import PING, answer
from actorq.isolation.fork.child import Child, ChildDiedError, Reply
from actorq.isolation.fork.forker import Forker
from actorq.replica.executor.inputs import Packed
from actorq.replica.executor.large import MOST_HELD_BYTES
from actorq.replica.executor.preparing import PreparedMaps
from actorq.replica.executor.process import Process
from actorq.replica.executor.run import Prepared, Run, Stop, flush_streams
from actorq.replica.executor.runner import Lent
from actorq.replica.pages import MEMORY, PAGE_BYTES, TIMEOUT, Page
from actorq.replica.spec import WAKE_SIGNAL
from actorq.wire import codec, failure
from actorq.wire.messages import Head

#: between asking a child to stop and SIGKILL, seconds; below the supervisor's grace, after which it kills the replica
_STOP_SECONDS = 0.5
#: the same where memory runs out: what the child takes meanwhile may be all there is left
_MEMORY_STOP_SECONDS = 0.1
#: how long a child runs alone before the next one is forked, seconds: the kernel would keep it waiting for the fork, of
#: a millisecond or two, where it put both on one processor
_HEAD_START = 0.001
#: a load may take as long here as the timeout of the task whose child made it, or, without one, this much and so many
#: times as long as the whole input, seconds
_LOAD_SECONDS, _LOAD_FACTOR = 60.0, 10.0
_NIL = b"\xc0"


class ForkRun(Run):
    """One lease whose inputs are run by `forker`'s children.

    Args:
        inputs: packed each.
    """

    _nothing = _NIL

    def __init__(self, prepared: Prepared, inputs: list[bytes], page: Page, forker: Forker) -> None:
        super().__init__(prepared, inputs, page, None)
        self._forker = forker

    def run(self, event_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        """Runs what is left. Returns early only after a cancel."""
        page, outputs, held = self._page, self._outputs, 0
        for item in self._inputs:
            if self._forker.wants_loads and not self._load_wanted():
                self._caught(Stop(failure.CANCELLED))
                return
            page.begin_input(len(outputs), time.monotonic_ns())
            try:
                reply = self._run_one(item)
            except Exception as error:  # this process cannot fork: no memory, no processes, threads
                self._caught(error)
            except Stop as stop:
                if not self._caught(stop):
                    return
            else:
                if reply.error is not None:
                    self._errors[len(outputs)] = reply.error
                outputs.append(reply.output)
                held += len(reply.output)
            page.end_input()
            if held > MOST_HELD_BYTES:
                held = self._relieved()

    def _load_wanted(self) -> bool:
        """Makes the loads that children had to make. Each may take as long as an input; False when the map is over."""
        self._page.begin_input(len(self._outputs), time.monotonic_ns())
        try:
            self.armed = True
            self._look_at_requests()
            self._forker.load_wanted()
        except Stop as stop:
            return stop.kind != failure.CANCELLED
        finally:
            self.armed = False
            self._page.end_input()
        return True

    def _run_one(self, item: bytes) -> Reply:
        begun, timeout = time.monotonic(), self.prepared.head.timeout
        child, reply = self._forker.begin(self.prepared.packed, item), None
        try:
            reply = self._wait(child, _HEAD_START)
            if reply is None:
                self._forker.prepare_next(child)
                reply = self._wait(child, None)
            assert reply is not None
            return reply
        except Stop as stop:
            _stop(child, _MEMORY_STOP_SECONDS if stop.kind == failure.LOST else _STOP_SECONDS)
            raise
        except ChildDiedError as error:
            message = f"its process ended: {error}"
            return Reply(error=failure.described(failure.LOST, message), output=_NIL)
        finally:
            longest = timeout or _LOAD_SECONDS + _LOAD_FACTOR * (time.monotonic() - begun)
            self._forker.finish(child, reply, longest)

    def _wait(self, child: Child, timeout: float | None) -> Reply | None:
        """Waits for the reply; the supervisor's signal may raise out of it."""
        try:
            self.armed = True
            self._look_at_requests()
            return child.reply(timeout)
        finally:
            self.armed = False

    def _look_at_requests(self) -> None:
        """A request that came while this process forked, and could not be stopped."""
        page = self._page
        if self.stopped:
            raise Stop(failure.CANCELLED)
        if page.request in (TIMEOUT, MEMORY) and page.request_of == page.input:
            raise Stop(failure.TIMEOUT if page.request == TIMEOUT else failure.LOST)

    def _pack(self, outputs: list[Any], start: int) -> bytes:
        return codec.join_list(outputs)


class ForkRunner:
    """The runner of an executor that itself never runs a task.

    Args:
        lent: what its executor lends to it.
    """

    looks_ahead = False  # between two inputs it makes the loads their children had to make

    def __init__(self, lent: Lent) -> None:
        self._lent = lent
        self._linger = Linger(lent.link)
        self.process = Process(lent.spec, lent.free_link)
        self.maps = PreparedMaps(self.process, lent.watched.as_input)
        self._code = ""
        self._forker: Forker | None = None
        self._child_run: Run | None = None

    def begin(self) -> None:
        self._forker = Forker(Path(self._lent.spec.scratch), self._own_modules, self._run_in_child, self._become_child)

    def end(self) -> None:
        if self._forker is not None:
            self._forker.end()

    def prepare(self, head: bytes) -> Prepared:
        return self.maps.of(head)

    def run_of(self, prepared: Prepared, packed: memoryview) -> Run:
        assert self._forker is not None
        if prepared.head.code != self._code and prepared.head.task != PING:
            self._code = prepared.head.code
            self._forker.changed()
        return ForkRun(prepared, codec.split_list(bytes(packed)), self._lent.page, self._forker)

    def lease_ended(self) -> None:
        """The next one may come."""

    def read_mail(self) -> Any:
        return self._linger.read()

    @property
    def wants_rest(self) -> bool:
        return self._forker is not None and self._forker.wants_loads

    def rest(self) -> bool:
        assert self._forker is not None
        loads = self._forker.wants_loads
        self._forker.load_wanted()
        self._forker.rest()
        return loads

    def _own_modules(self) -> list[str]:
        return own_modules(self.process.versions.environment.modules)

    # -- in the child --------------------------------------------------------------------------------------------------

    def _become_child(self) -> None:
        """Lets go of the replica's connection, page and signal handler."""
        self._lent.link.drop()
        self._page = self._lent.watched.page = Page(memoryview(bytearray(PAGE_BYTES)))
        signal.signal(WAKE_SIGNAL, self._on_stop)
        # while it waits for its input, it writes once to the pages it will need: the kernel copies each, in 3 us
        Run(Prepared(answer, Head(task=PING)), [None], self._page, None).run(self.process.event_loop)

    def _on_stop(self, signum: int, frame: object) -> None:
        if self._child_run is not None and self._child_run.armed:
            self._child_run.armed = False
            raise Stop(failure.TIMEOUT)

    def _run_in_child(self, head: bytes, item: bytes) -> tuple[dict[str, Any] | None, bytes]:
        self._child_run = run = Run(self.maps.of(head), [Packed(item)], self._page, None)
        run.run(self.process.event_loop)
        frame = run.take(self._lent.worker)
        flush_streams()
        return frame.errors.get(0), bytes(frame.outputs[1:])


def _stop(child: Child, patience: float) -> None:
    """Asks a child to stop, so that its `finally` blocks run, and waits a moment for it."""
    child.signal(WAKE_SIGNAL)
    try:
        child.reply(patience)
    except ChildDiedError:
        return
