"""One forked child and the two messages exchanged with it, over a socket pair:

    parent ── lengths | head | packed input ──▶ child          child ── lengths | report | packed output ──▶ parent

Both are bytes: the parent decodes nothing that the child's body made.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from actorq.base.waiting import ready
from actorq.cache.loads import Load
from actorq.wire import failure

_LENGTHS = struct.Struct(">QQ")
_READ_BYTES = 1 << 20
#: where the kernel does not tell of a death by a descriptor, how often to look, seconds
_LOOK_SECONDS = 3600.0 if hasattr(os, "pidfd_open") else 0.05


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What became of one input."""

    #: as `failure.describe` makes it; None when it succeeded
    error: dict[str, Any] | None
    #: packed; nil after an error
    output: bytes
    #: what `@actor_cache` had to load
    loads: list[Load] = field(default_factory=list)
    #: function, hits and misses of each that it called
    calls: list[tuple[str, int, int]] = field(default_factory=list)
    #: it has started processes, which may still run
    spawned: bool = False


class ChildDiedError(Exception):
    """The child ended without a reply; the message says how."""


class Child:
    """One child as its parent sees it: waits for an input, runs it, replies and ends.

    Args:
        pid: the process.
        sock: our end of the pair.
        folder: its temporary files.
    """

    def __init__(self, pid: int, sock: socket.socket, folder: Path) -> None:
        self.pid = pid
        self._sock = sock
        self.folder = folder
        self._pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
        self._status: int | None = None
        self._received = bytearray()
        self._closed = False

    def send(self, head: bytes, item: bytes) -> None:
        """Gives it its input. Raises `OSError` when it has died meanwhile."""
        self._sock.sendall(b"".join((_LENGTHS.pack(len(head), len(item)), head, item)))

    def reply(self, timeout: float | None = None) -> Reply | None:
        """Waits for the reply; None after `timeout` seconds. Raises `ChildDiedError`.

        A signal handler may raise out of it; what was received is kept for the next call.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (lengths := self._complete()) is None:
            left = _LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return None
            self._receive(min(left, _LOOK_SECONDS))
        report = self._received[_LENGTHS.size : _LENGTHS.size + lengths[0]]
        output = self._received[_LENGTHS.size + lengths[0] :]
        error, loads, calls, spawned = msgpack.unpackb(report, strict_map_key=False)
        loads, calls = [tuple(load) for load in loads], [tuple(call) for call in calls]
        return Reply(error=error, output=bytes(output), loads=loads, calls=calls, spawned=spawned)

    def signal(self, number: int) -> None:
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends whatever it still does. `reap` must follow, when there is time."""
        self.signal(signal.SIGKILL)

    @property
    def gone(self) -> bool:
        """Whether `reap` would not wait."""
        return self._ended()

    def reap(self) -> None:
        """It is gone when this returns."""
        self.kill()
        self._reap()
        self._sock.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _receive(self, timeout: float) -> None:
        sources: list[Any] = [] if self._closed else [self._sock]
        if self._pidfd >= 0:
            sources.append(self._pidfd)
        found = ready(sources, timeout if self._pidfd >= 0 else min(timeout, _LOOK_SECONDS))
        if self._sock.fileno() in found:
            data = self._sock.recv(_READ_BYTES)
            self._received += data
            self._closed = not data  # perhaps by its body, which goes on
            return
        if not found and (self._pidfd >= 0 or not self._ended()):
            return
        # by its end, not by the socket's alone: a process that it left behind may hold that open
        self._reap()
        assert self._status is not None
        self._drain()
        if self._complete() is None:
            raise ChildDiedError(failure.exit_reason(self._status))

    def _drain(self) -> None:
        """Takes what it had sent when it ended, perhaps after the last look at the socket."""
        with contextlib.suppress(BlockingIOError):
            while not self._closed and (data := self._sock.recv(_READ_BYTES, socket.MSG_DONTWAIT)):
                self._received += data

    def _complete(self) -> tuple[int, int] | None:
        """The lengths of report and output once all of both are here."""
        if len(self._received) < _LENGTHS.size:
            return None
        report, output = _LENGTHS.unpack_from(self._received)
        return (report, output) if len(self._received) == _LENGTHS.size + report + output else None

    def _ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = status
        return self._status is not None

    def _reap(self) -> None:
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]


def serve(sock: socket.socket, work: Callable[[bytes, bytes], Reply]) -> None:
    """The child's side: runs the one input that comes, if one does."""
    lengths = _read(sock, _LENGTHS.size)
    if lengths is None:
        return  # not needed
    head_length, item_length = _LENGTHS.unpack(lengths)
    head, item = _read(sock, head_length), _read(sock, item_length)
    if head is None or item is None:
        return
    reply = work(head, item)
    report = msgpack.packb([reply.error, reply.loads, reply.calls, reply.spawned])
    sock.sendall(_LENGTHS.pack(len(report), len(reply.output)) + report)
    sock.sendall(reply.output)


def _read(sock: socket.socket, count: int) -> bytes | None:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        received = sock.recv_into(view)
        if not received:
            return None
        view = view[received:]
    return bytes(data)
