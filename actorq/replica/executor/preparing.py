"""What runs the leases of a map, or says why they cannot run.

The one idea: *what all leases of a map have in common is made once*. A lease begins with its map's head, which names
the task and holds the constants; what was made of a head is kept by its bytes, for the maps that came last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from actorq.base.log import logger
from actorq.base.settings import settings
from actorq.code.difference import compared
from actorq.declare.environment import ActorEnvironment
from actorq.errors import ActorqError, CodecError, PoolError
from actorq.maps.sizing import MAX_INPUTS
from actorq.replica.executor.inputs import LARGE_BYTES
from actorq.replica.executor.process import Process
from actorq.replica.executor.run import Prepared
from actorq.wire import codec, failure
from actorq.wire.messages import Frame, parse_head, split
from actorq.wire.seal import body

#: constants of this many maps are kept unpacked
_MOST_MAPS = 64


class PreparedMaps:
    """The maps that came last, ready to run.

    Args:
        process: where the code is. It tells whether an input must not see what another did to the constants.
        as_input: makes what is done in it count as an input with that timeout, which can be stopped.
        at_once: a lease of the map that has just run needs no `of`.
    """

    def __init__(
        self,
        process: Process,
        as_input: Callable[[float | None], AbstractContextManager[None]],
        *,
        at_once: bool = True,
    ) -> None:
        self._versions = process.versions
        self._as_input = as_input
        self._isolation = process.isolation
        self._at_once = at_once
        self._known: OrderedDict[bytes, Prepared] = OrderedDict()
        #: of the lease before, where leases are not signed
        self.last: Prepared | None = None
        #: what the submitter is to be told of the code of what runs now
        self.other_code = b""
        process.when_forgotten(self._forget)

    def again(self, payload: bytes | bytearray) -> Prepared | None:
        """What ran the lease before, if `payload` is of the same map."""
        last = self.last
        if last is not None and last.version is self._versions.current and payload.startswith(last.prefix):
            return last
        return None

    def remember(self, prepared: Prepared) -> None:
        """For `again`."""
        if (
            self._at_once and not settings().signs
        ):  # else each lease has a signature of its own, which must be looked at
            self.last = prepared

    def of(self, head: bytes) -> Prepared:
        """What runs the leases with this head. Imports what they need."""
        prepared = self._known.get(head)
        if prepared is not None and prepared.version is self._versions.current:
            return prepared
        parsed = parse_head(head) if prepared is None else prepared.head
        # imports and start hooks of the user's: what ends the process is charged to the lease, and can be stopped
        with self._as_input(None):
            function = self._versions.function(parsed.code, parsed.task)
        if prepared is None or prepared.task is not function:  # a version may be forgotten, and come anew
            with self._as_input(parsed.timeout) if len(head) > LARGE_BYTES else nullcontext():
                anew = self._isolation.after_input is not None
                prepared = self._known[head] = Prepared(function, parsed, packed=head, anew=anew)
            if parsed.fingerprint or parsed.strict:
                self.other_code = compared(parsed, function)
            if len(self._known) > _MOST_MAPS:
                self._known.popitem(last=False)
        prepared.version = self._versions.current
        return prepared

    def told(self, frame: Frame) -> Frame:
        """`frame`, with what is to be told of the code."""
        if not self.other_code:
            return frame
        told, self.other_code = self.other_code, b""
        return replace(frame, other_code=told)

    def _forget(self, environment: ActorEnvironment) -> None:
        """A version of the code will not run any more."""
        gone = {id(task.function) for task in environment.tasks.values()}
        for head in [head for head, prepared in self._known.items() if id(prepared.task) in gone]:
            del self._known[head]


def refused(payload: bytes | bytearray, error: Exception, replica: str) -> Frame:
    """The results of a lease that cannot run: every input fails with `error`."""
    if not isinstance(error, ActorqError):  # whatever bytes of anybody's make fail here
        logger().error("lease_unreadable", exc_info=error)
        error = PoolError(f"The lease cannot be run: {type(error).__name__}: {error!s:.300}")
    try:
        count = len(codec.split_list(bytes(split(body(payload))[1])))
    except CodecError:
        count = 1
    count = count if count <= MAX_INPUTS else 1  # no lease of ours has more, and each gets the error
    data = failure.describe(error) | {"final": True, "traceback": ""}
    errors = dict.fromkeys(range(count), data)
    return Frame(start=0, count=count, busy=0.0, replica=replica, errors=errors, outputs=codec.pack([None] * count))
