"""One message through a pipe, its length before it: what a process that runs one input says to the one that started it.

The reader knows from the length when all has been said: what the task has started may hold the pipe open.
"""

from __future__ import annotations

import os
import struct

_LENGTH = struct.Struct(">Q")


def say(pipe: int, message: bytes) -> None:
    """Writes the message and closes the pipe."""
    with os.fdopen(pipe, "wb") as out:
        out.write(_LENGTH.pack(len(message)) + message)


def is_whole(data: bytes | bytearray) -> bool:
    """Whether all of the message has come."""
    return len(data) >= _LENGTH.size and len(data) >= _LENGTH.size + _LENGTH.unpack_from(data)[0]


def message_in(data: bytearray) -> bytearray:
    """The message, without its length; cut short where not all of it has come."""
    return data[_LENGTH.size :]
