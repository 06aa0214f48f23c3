"""Results on their way to the consumer: frames as they come, and segments as they are handed out, both still packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from actorq.base.frozen import frozen
from actorq.errors import CodecError
from actorq.wire import codec
from actorq.wire.lease import Lease
from actorq.wire.messages import Frame


@frozen
class Segment:
    """Finished inputs `lo` … `lo + count - 1`, still packed."""

    lo: int
    count: int
    outputs: bytes | bytearray | memoryview
    #: position in the segment -> the exception
    errors: dict[int, Exception]
    #: who ran them, "" where it is not known any more
    replica: str = ""

    def values(self) -> tuple[Sequence[Any], bool]:
        """`count` outputs, in the place of each that cannot be read its `CodecError`; whether there is none."""
        try:
            values, whole = codec.unpack_each(self.outputs)
            if len(values) != self.count:
                raise CodecError(f"The data has {len(values)} values in place of {self.count}.")
        except CodecError as error:
            values, whole = [error] * self.count, False
        if whole:
            return values, True
        return [self._told(at, value) if type(value) is CodecError else value for at, value in enumerate(values)], False

    def _told(self, at: int, error: CodecError) -> CodecError:
        sender = f" from {self.replica}" if self.replica else ""
        return CodecError(f"The output of input {self.lo + at}{sender} cannot be read: {error}")


def damage(lease: Lease, frame: Frame, *, splits: bool) -> str | None:
    """What is wrong with a frame, if anything is. Outputs that nobody `splits` yet are the consumer's to find."""
    if not frame.start <= lease.done <= frame.start + frame.count <= lease.count:
        return "has results of inputs that were not its own"
    if splits or frame.errors or frame.start < lease.done:
        try:
            codec.split_list(bytes(frame.outputs))
        except CodecError as error:
            return f"cannot be read: {error}"
    return None


def rest_of(frame: Frame, position: int) -> Frame:
    """The part of `frame` from `position` on."""
    outputs = codec.join_list(codec.split_list(bytes(frame.outputs))[position:])
    errors = {at - position: error for at, error in frame.errors.items() if at >= position}
    return replace(frame, start=frame.start + position, count=frame.count - position, errors=errors, outputs=outputs)
