"""The two messages of the data path: a lease's payload, and a frame of its results.

Both are a small head and a packed list, behind the length of the head:

    | 4 bytes: length of head | head | packed list |

The head is a msgpack list that begins with the protocol version. That of a frame without errors, which nearly every
one is, is a byte that no msgpack begins with, and fields of fixed size: no other library is touched for it.

The list is not decoded with the head: a submitter can hold finished frames packed (their size in bytes is known, and
bounded) until the consumer asks for them, and a replica parses the head of a map once.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import Any

import msgpack

from actorq.base.frozen import frozen
from actorq.errors import CodecError, PoolError
from actorq.wire.codec import list_header

#: a message in pieces, which are sent one behind the other
Parts = tuple[bytes | bytearray | memoryview, ...]

#: both sides must speak the same version; raise it with every change of the layout below, or of what `broker/lua` keeps
PROTOCOL = 10

LENGTH = struct.Struct(">I")
#: length of the head, _PLAIN, PROTOCOL, start, count, busy; behind it the name of the replica
_PLAIN_FRAME = struct.Struct(">IBBIId")
_PLAIN = 0xC1
_CODE = re.compile(r"[0-9a-f]{64}")

#: seconds that large results of a run may live: ten years
_LONGEST_KEPT = 10 * 365 * 86_400
#: seconds; it travels as nanoseconds in 64 bits
_LONGEST_TIMEOUT = 1e9

#: the fields of a failure, as `failure.describe` makes it. Others, of a later version, are of no interest
_FAILURE_FIELDS: dict[str, type] = {
    "kind": str,
    "message": str,
    "traceback": str,
    "final": bool,
    "module": str,
    "type": str,
    "args": bytes,
    "state": bytes,
    "more": bytes,
}

#: how an input becomes a call: f(x), f(*x), f(*x[0], **x[1])
ONE, STAR, CALL = 0, 1, 2


class DamagedFrameError(CodecError):
    """The results that a replica sent cannot be read."""

    def __init__(self, message: str, replica: str = "?") -> None:
        super().__init__(message)
        #: who sent them, "?" where that cannot be read either
        self.replica = replica


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a replica must know about the map a lease belongs to."""

    task: str
    mode: int = ONE
    #: constant keyword arguments, packed
    kwargs: bytes = b""
    #: seconds one input may take
    timeout: float | None = None
    #: a failure here is final: put it into RQ's registry of failed jobs
    final: bool = True
    #: hash of the bundle that holds the task; "" for the code that the replica was started with
    code: str = ""
    #: nothing else may run in the process meanwhile: it may be what ended another one
    alone: bool = False
    #: which code its submitter has, see `code/fingerprint.py`; "" where that cannot be said, or the code comes with it
    fingerprint: str = ""
    #: other code than that may not run it
    strict: bool = False
    #: seconds that large results of a run live beside its journal; 0: those of a map, which are read soon
    keep: int = 0
    #: the span to which its inputs belong, as a W3C `traceparent`; "" for none
    trace: str = ""

    def packed(self) -> bytes:
        fields = [PROTOCOL, self.task, self.mode, self.kwargs, self.timeout, self.final, self.code, self.alone]
        return bytes(msgpack.packb([*fields, self.fingerprint, self.strict, self.keep, self.trace]))

    def with_code(self, code: str) -> Head:
        """The head of a map that brings its code."""
        return replace(self, code=code, fingerprint="", strict=False)


class Heads:
    """Those of the leases of one map. They differ in what is final, as only such failures belong into RQ's registry,
    and in what is to be alone.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._packed: dict[tuple[bool, bool], bytes] = {}

    def of(self, *, final: bool, alone: bool = False, trace: str = "") -> bytes:
        """The head, packed. `trace`: the span of this lease alone."""
        if trace:
            return replace(self._head, final=final, alone=alone, trace=trace).packed()
        packed = self._packed.get((final, alone))
        if packed is None:
            packed = self._packed[final, alone] = replace(self._head, final=final, alone=alone).packed()
        return packed


@frozen
class Frame:
    """Results of inputs `start` … `start + count - 1` of one lease."""

    start: int
    count: int
    #: seconds the replica spent in the task
    busy: float
    replica: str
    #: position in the lease -> what `failure.describe` made of the exception
    errors: dict[int, dict[str, Any]]
    #: packed list of `count` outputs, nil where one failed
    outputs: bytes | bytearray | memoryview
    #: what the replica has of the code, where its submitter has another one; see `code/difference.py`
    other_code: bytes = b""

    def parts(self) -> tuple[bytes | bytearray | memoryview, ...]:
        """The message, in pieces: large outputs are sent without being copied."""
        if not (self.errors or self.other_code):
            replica = self.replica.encode()
            length = _PLAIN_FRAME.size - LENGTH.size + len(replica)
            fixed = _PLAIN_FRAME.pack(length, _PLAIN, PROTOCOL, self.start, self.count, self.busy)
            return fixed, replica, self.outputs
        fields = [PROTOCOL, self.start, self.count, self.busy, self.replica, self.errors, self.other_code]
        head = msgpack.packb(fields)
        return LENGTH.pack(len(head)), head, self.outputs

    def packed(self) -> bytes:
        return b"".join(self.parts())


def join_parts(head: bytes, items: bytes) -> tuple[bytes | bytearray | memoryview, ...]:
    """A lease's payload, in pieces."""
    return LENGTH.pack(len(head)), head, items


def join(head: bytes, items: bytes) -> bytes:
    return b"".join(join_parts(head, items))


def split(message: bytes | bytearray | memoryview) -> tuple[bytes, memoryview]:
    """The head and the packed list. Raises `CodecError` for a message that was cut short."""
    begin = LENGTH.size
    if len(message) >= begin:
        length: int = LENGTH.unpack_from(message)[0]
        end = begin + length
        if end <= len(message):
            return bytes(message[begin:end]), memoryview(message)[end:]
    raise CodecError("The message is cut short.")


def parse_head(head: bytes) -> Head:
    """Raises `PoolError` for another protocol version and `CodecError` for bytes that are no head."""
    try:
        version, *rest = msgpack.unpackb(head)
        if version == PROTOCOL:
            task, mode, kwargs, timeout, final, code, alone, fingerprint, strict, keep, trace = rest
            plain = isinstance(task, str) and isinstance(kwargs, bytes) and isinstance(fingerprint, str)
            plain = plain and type(keep) is int and 0 <= keep <= _LONGEST_KEPT
            plain = plain and isinstance(trace, str) and isinstance(timeout, (float, int, type(None)))
            plain = plain and isinstance(code, str) and (not code or _CODE.fullmatch(code) is not None)
            if not plain or mode not in (ONE, STAR, CALL) or not 0 <= (timeout or 0) <= _LONGEST_TIMEOUT:
                raise ValueError("a field of another kind")
            return Head(
                task=task,
                mode=mode,
                kwargs=kwargs,
                timeout=timeout,
                final=bool(final),
                code=code,
                alone=bool(alone),
                fingerprint=fingerprint,
                strict=bool(strict),
                keep=keep,
                trace=trace,
            )
    except Exception as error:
        raise CodecError(f"The lease has no readable head: {error}") from error
    raise PoolError(
        f"The submitter speaks protocol {version!r:.40} and this replica {PROTOCOL}: install the same actorq on both."
    )


def parse_frame(message: bytes | bytearray | memoryview) -> Frame:
    """The frame, every field of which is what it should be, but for the outputs, of which only the number is.

    Raises `PoolError` for another protocol version and `DamagedFrameError` for bytes that are no frame.
    """
    if len(message) < _PLAIN_FRAME.size or message[LENGTH.size] != _PLAIN:
        return _parse_frame_with_errors(message)
    length, _, version, start, count, busy = _PLAIN_FRAME.unpack_from(message)
    if version != PROTOCOL:
        raise _foreign(version)
    end = LENGTH.size + length
    replica = bytes(message[_PLAIN_FRAME.size : end]).decode(errors="replace")
    if not _PLAIN_FRAME.size <= end <= len(message):
        raise DamagedFrameError("The frame cannot be read: it is cut short.")
    return _checked(start, count, busy, replica, {}, memoryview(message)[end:])


def _parse_frame_with_errors(message: bytes | bytearray | memoryview) -> Frame:
    replica = "?"
    try:
        head, outputs = split(message)
        version, *rest = msgpack.unpackb(head, strict_map_key=False)
        if type(version) is int and version != PROTOCOL:
            raise _foreign(version)
        start, count, busy, named, errors, other_code = rest
        if version != PROTOCOL or not isinstance(named, str) or not isinstance(other_code, bytes):
            raise ValueError("a field of another kind")
        replica = named
        if type(start) is not int or type(count) is not int or type(busy) is not float or min(start, count) < 0:
            raise ValueError("a field of another kind")
        if not isinstance(errors, dict) or not all(type(at) is int and 0 <= at < count for at in errors):
            raise ValueError("errors of inputs that it does not have")
        for data in errors.values():
            _check_failure(data)
    except PoolError:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {error}" if isinstance(error, msgpack.UnpackException) else str(error)
        raise DamagedFrameError(f"The frame of {replica} cannot be read: {text:.200}", replica) from error
    return replace(_checked(start, count, busy, replica, errors, outputs), other_code=other_code)


def _check_failure(data: object) -> None:
    """Raises an error for what `failure.rebuild` could not make an exception of."""
    if not isinstance(data, dict) or "kind" not in data:
        raise ValueError("an error that is none")
    for name, value in data.items():
        if not isinstance(name, str) or not isinstance(value, _FAILURE_FIELDS.get(name, object)):
            raise TypeError(f"an error whose {name!r:.40} is of another kind")


def _checked(
    start: int, count: int, busy: float, replica: str, errors: dict[int, dict[str, Any]], outputs: memoryview
) -> Frame:
    if not 0 <= busy <= _LONGEST_TIMEOUT:
        raise DamagedFrameError(f"The frame of {replica} cannot be read: it took {busy} s.", replica)
    promised, header = list_header(outputs)
    if promised != count or len(outputs) < header + count:  # an element takes a byte at least
        raise DamagedFrameError(f"The frame of {replica} cannot be read: it is no list of {count} outputs.", replica)
    return Frame(start=start, count=count, busy=busy, replica=replica, errors=errors, outputs=outputs)


def _foreign(version: object) -> PoolError:
    return PoolError(
        f"A replica speaks protocol {version} and this program {PROTOCOL}: install the same actorq on both."
    )
