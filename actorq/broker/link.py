"""One connection to Redis, built on purpose.

`connect.py` opens the socket. This module owns what clients of Redis leave to chance: a deadline for every reply,
EVALSHA with a reload when the server forgot a script, and one policy for outages (`patience.py`). A `Link` belongs to
one thread. All that is sent through it may safely be sent twice, so a broken connection is answered by sending the same
again; one that goes silent, with no word of its end, breaks when a reply is over its deadline.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import hiredis

from actorq.base.log import logger
from actorq.base.masking import masked
from actorq.broker import kinds
from actorq.broker.commands import Argument, Command, packed
from actorq.broker.connect import new_connection
from actorq.broker.patience import REPLY_TIMEOUT, Patience, is_lost, never
from actorq.broker.refusals import (
    TOO_MANY,
    CallError,
    LostError,
    RefusedError,
    ReplyTooLargeError,
    explain,
    forgot_script,
    is_wrong_type,
    typed,
)
from actorq.broker.scripts.load import Script

#: the largest reply there is but for blobs, which are fetched: 64 frames of 32 KiB, or what `actorq status` asks for
MOST_REPLY_BYTES = 16 << 20
#: read at once; a lease or a frame is up to 1 MiB
_READ_BYTES = 1 << 18
#: the most of what a server says before it closes a connection
_LAST_WORDS = 1024
_NOTHING = object()
#: keys that are moved out of the way of one command
_MOST_CLEARED = 10
#: how a socket says that it has waited long enough
_NO_REPLY_YET = (TimeoutError, BlockingIOError)


@dataclass(frozen=True, kw_only=True)
class Store:
    """A large value to write in front of a script's call."""

    key: str
    parts: tuple[bytes | bytearray | memoryview, ...]
    seconds: int


class Link:
    """A connection of one thread, with retries.

    Commands are packed and replies parsed by hiredis directly, which takes a quarter of the time of redis-py's general
    path: a remote call makes eight of these steps.

    Args:
        url: server address.
        patience: seconds to keep trying through an outage: the server cannot be reached, is silent, or refuses with
            what passes; 0 fails at once.
        reply_timeout: seconds to wait for a reply; longer than any command may block.
        stubborn, at_once, is_gone: see `Patience`.
        most: bytes of a reply, which is refused when it has more; `fetch` has a limit of its own.
        clears: it moves aside what somebody else has written in the place of a key of ours, and goes on.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float,
        reply_timeout: float = REPLY_TIMEOUT,
        stubborn: bool = False,
        at_once: bool = False,
        is_gone: Callable[[], bool] = never,
        most: int = MOST_REPLY_BYTES,
        clears: bool = False,
    ) -> None:
        self.url = url
        self._clears = clears
        self._written: bytes | bytearray | memoryview = b""
        self._most = most
        self._patience = Patience(url, patience, stubborn=stubborn, at_once=at_once, is_gone=is_gone)
        self._reply_timeout = reply_timeout
        self._connection = new_connection(url)
        self._sock: Any = None
        self._reader: Any = hiredis.Reader()  # its stubs refuse what it takes
        self._buffer = bytearray(_READ_BYTES)
        self._early: Any = _NOTHING

    def fileno(self) -> int:
        """The socket, for `select`."""
        return int(self._sock.fileno())

    @property
    def connected(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return self._sock is not None

    @property
    def calm(self) -> bool:
        """Whether what was sent last was answered: there is no outage. Any thread may ask."""
        return self._patience.calm

    def take_time(self, patience: float) -> None:
        """From now on an outage is borne for `patience` seconds, also after `hurry`."""
        if self._patience.renew(patience) and self._sock is not None:
            self._limit(self._reply_timeout)

    def hurry(self, seconds: float) -> None:
        """From now on nothing takes longer than `seconds` in all. Any thread may call it, and a signal handler.

        What is waited for just now keeps its deadline, unless the signal has interrupted the wait.
        """
        if self._patience.hurry(seconds) and (sock := self._sock) is not None:
            with suppress(OSError):  # closed meanwhile
                self._limit(min(seconds, self._reply_timeout), sock)

    def call(self, script: Script, keys: Sequence[str], args: Sequence[Argument], stores: Sequence[Store] = ()) -> Any:
        """Runs `script` and returns its reply, sending it again over a new connection until it is answered.

        `stores` are written first, in the same go.

        Raises `BrokerError` when the patience is spent or trying again cannot help.
        """
        return self.call_packed(script, Command.of(script, keys, *args).packed(), stores)

    def call_packed(self, script: Script, command: bytes, stores: Sequence[Store] = (), *, full: bool = True) -> Any:
        """The same for a command that is packed already. `full`: whether a full server is borne."""
        return self._patiently(lambda: self.call_once(script, command, stores), full=full)

    def call_once(self, script: Script, command: bytes, stores: Sequence[Store]) -> Any:
        """The same, once: `drop` the connection after an error. Raises `CallError`."""
        self._open()
        for store in stores:
            self._write_store(store)
        self._write(command)
        refused: CallError | None = None
        for _ in stores:
            try:
                self.read()
            except RefusedError as error:
                refused = error
        if refused is not None:
            self.drop()  # the script refers to what was not stored: its reply does not matter
            raise refused
        try:
            return self.read()
        except RefusedError as error:
            if not forgot_script(error):
                raise
            self.load(script)
            self._write(command)
            return self.read()

    def call_quickly(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], stores: Sequence[Store], seconds: float
    ) -> Any:
        """`call`, once, and within `seconds`."""
        try:
            self._open(seconds)
            with self._within(seconds):
                return self.call_once(script, Command.of(script, keys, *args).packed(), stores)
        except CallError as error:
            self.drop()
            raise explain(self._located(error), self.url) from error
        except BaseException:
            self.drop()
            raise

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """Replies are waited for so long meanwhile."""
        self._limit(seconds)
        try:
            yield
        finally:
            if self._sock is not None:
                self._limit(self._patience.time_for(self._reply_timeout))

    def command(self, *args: Argument, most: int = 0) -> Any:
        """Runs one plain command, safe to repeat, and returns its reply, of up to `most` bytes where that is large."""

        def once() -> Any:
            self._open()
            self._write(packed(*args))
            return self.read(most)

        return self._patiently(once)

    def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Runs plain commands, safe to repeat, in one go; returns their replies."""

        def once() -> list[Any]:
            self._open()
            self._write(b"".join([packed(*command) for command in commands]))
            return self.read_each(len(commands))

        return list(self._patiently(once))

    def send(self, *commands: bytes) -> None:
        """Writes several packed commands at once; `read` their replies in order. Does not retry."""
        try:
            self._open()
            self._write(b"".join(commands))
        except CallError as error:
            self.drop()
            raise explain(error, self.url) from error

    def ask(self, command: bytes) -> None:
        """Writes a packed command whose reply is waited for later. Tries again, as the server may have closed a
        connection that was not used for a while.

        The outage, if there is one, is over when that reply is there: then call `answered`, or `bear` what went wrong.
        """

        def once() -> None:
            self._open()
            self._write(command)

        self._patiently(once, answers=False)

    def answered(self) -> None:
        """The reply to what was asked for has come."""
        if not self.calm:
            self._patience.answered()

    def bear(self, error: CallError) -> None:
        """What was asked for has failed: returns, after a pause, when it should be asked for again.

        Raises `BrokerError` when the patience is spent or trying again cannot help.
        """
        if is_lost(error):
            self.drop()
        self._patience.bear(self._located(error), time.monotonic(), full=True)

    def read(self, most: int = 0) -> Any:
        """The next reply, within the reply timeout. Raises `CallError`, and `ReplyTooLargeError`."""
        size, most = 0, max(most, self._most)
        if self._early is not _NOTHING:
            reply, self._early = self._early, _NOTHING
        else:
            reply = self._reader.gets()
        try:
            while reply is False:
                count = self._sock.recv_into(self._buffer)
                if not count:
                    raise LostError("the server closed the connection")
                self._reader.feed(self._buffer, 0, count)
                reply = self._reader.gets()
                size += count
                if size > most and reply is False:
                    self.drop()
                    raise ReplyTooLargeError(f"{masked(self.url)} sent more than {most:,} bytes in one reply.")
        except ReplyTooLargeError:
            raise
        except _NO_REPLY_YET as error:
            raise LostError("no reply in time") from error
        except (OSError, AttributeError, hiredis.ProtocolError) as error:  # AttributeError: the connection was dropped
            raise LostError(str(error)) from error
        if isinstance(reply, hiredis.ReplyError):
            raise typed(str(reply))
        return reply

    def read_each(self, count: int) -> list[Any]:
        """The next `count` replies. Raises the first refusal when all of them are here, or what else `read` raises."""
        replies: list[Any] = []
        refused: RefusedError | None = None
        for _ in range(count):  # to the last one: the next command must not be given a reply of these
            try:
                replies.append(self.read())
            except RefusedError as error:
                refused = refused or error
        if refused is not None:
            raise refused
        return replies

    def read_within(self, seconds: float) -> Any:
        """The next reply, which should be here. Raises `CallError`."""
        if self._sock is None:
            raise LostError("the connection was dropped")
        with self._within(seconds):
            return self.read()

    def has_reply(self) -> bool:
        """Whether a reply is already here, without waiting."""
        if self._early is _NOTHING:
            reply = self._reader.gets()
            if reply is not False:
                self._early = reply
        return self._early is not _NOTHING or bool(getattr(self._sock, "pending", int)())

    def drop(self) -> None:
        """Closes the connection; the next use opens a new one. Replies not yet read are forgotten."""
        self._sock, self._early = None, _NOTHING
        self._reader = hiredis.Reader()
        self._connection.close()

    close = drop

    def load(self, script: Script) -> None:
        self._write(packed("SCRIPT", "LOAD", script.text))
        self.read()

    def _open(self, seconds: float | None = None) -> None:
        """Opens the connection if it is closed. `seconds`: for each step of that, where it is not the reply timeout."""
        if self._sock is None:
            limit = self._patience.time_for(seconds or self._reply_timeout)
            self._sock = self._connection.open(limit)
            self._limit(limit)

    def _limit(self, seconds: float, sock: Any = None) -> None:
        """How long the socket may wait. The kernel sees to that where it can; Python would `poll` before each use."""
        sock = sock or self._sock
        if type(sock) is not socket.socket:  # TLS
            sock.settimeout(seconds)
            return
        whole = int(seconds)
        limit = struct.pack("ll", whole, int((seconds - whole) * 1e6) or 1)  # a timeval; all zeros would be for ever
        sock.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, limit)

    def fetch(self, key: str, most: int) -> bytearray | None:
        """The value at `key`, read straight into place; None when there is none. Nothing else may be on its way.

        Raises `ReplyTooLargeError` for one of more than `most` bytes, and `WrongTypeError` for what is no string.
        """
        return cast("bytearray | None", self._patiently(lambda: self._fetch_once(key, most)))

    def _fetch_once(self, key: str, most: int) -> bytearray | None:
        self._open()
        self._write(packed("GET", key))
        try:
            size, begun = self._size_of_value()
            if size < 0:
                return None
            if size > most:
                raise ReplyTooLargeError(f"{masked(self.url)} has {size:,} bytes at {key}; there may be {most:,}.")
            value = bytearray(size + 2)
            have = len(begun)
            value[:have] = begun
            view = memoryview(value)
            while have < len(value):
                have += self._receive(view[have:])
        except ReplyTooLargeError:
            raise
        except _NO_REPLY_YET as error:
            raise LostError("no reply in time") from error
        except (OSError, ValueError) as error:
            raise LostError(str(error)) from error
        view.release()
        del value[-2:]
        return value

    def _size_of_value(self) -> tuple[int, memoryview]:
        """The size of the value that comes, -1 where there is none, and as much of it as has come with that."""
        count, end, buffer = 0, -1, memoryview(self._buffer)
        while end < 0:
            count += self._receive(buffer[count:])
            end = self._buffer.find(b"\r\n", 0, count)
        if self._buffer[0] != ord("$"):
            raise typed(self._buffer[1:end].decode(errors="replace"))
        return int(self._buffer[1:end]), buffer[end + 2 : count]

    def _receive(self, into: memoryview) -> int:
        received = int(self._sock.recv_into(into))
        if not received:
            raise LostError("the server closed the connection")
        return received

    def _write_store(self, store: Store) -> None:
        """SET, without copying the value into one piece first: packing a MiB takes longer than sending it."""
        key, seconds = store.key.encode(), str(store.seconds).encode()
        size = sum(map(len, store.parts))
        self._write(b"*5\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n" % (len(key), key, size))
        for part in store.parts:
            self._write(part)
        self._write(b"\r\n$2\r\nEX\r\n$%d\r\n%s\r\n" % (len(seconds), seconds))

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._written = data
        try:
            self._sock.sendall(data)
        except OSError as error:
            self._hear_last_words()
            raise LostError(str(error)) from error

    def _hear_last_words(self) -> None:
        """Raises what a server has said that closed the connection before it was asked: it takes no more of them."""
        with suppress(OSError, AttributeError, ValueError):  # dropped meanwhile; TLS takes no flags
            said = self._sock.recv(_LAST_WORDS, socket.MSG_DONTWAIT)
            refused = typed(said[1:].partition(b"\r\n")[0].decode(errors="replace"))
            if said.startswith(b"-") and refused.code == TOO_MANY:
                self.drop()
                raise refused

    def _located(self, error: CallError) -> CallError:
        """`error`, with the key where it is one of another type; looked for over a connection that knows of nothing."""
        if not is_wrong_type(error):
            return error
        with closing(Link(self.url, patience=0.0)) as link:
            if (odd := kinds.find(link.pipeline, self._written)) is not None:
                return RefusedError("WRONGTYPE", str(error), odd)
        return error

    def clear(self, error: CallError) -> None:
        """Moves aside what a command has met that was sent by another connection, RQ's, where it was that."""
        self._written = b""
        self._cleared(self._located(error))

    def _cleared(self, error: CallError) -> bool:
        """Whether what is in the way was moved out of it: the command may be sent again."""
        odd = error.odd if isinstance(error, RefusedError) else None
        if not self._clears or odd is None or not odd.movable:
            return False
        with closing(Link(self.url, patience=0.0)) as link:
            if (aside := kinds.move_aside(link.pipeline, odd)) is not None:
                logger().error("key_moved", key=odd.key, to=aside, what=odd.told(), advice=odd.advice)
                return True
        return False

    def _patiently(self, attempt: Callable[[], Any], *, full: bool = True, answers: bool = True) -> Any:
        cleared = 0
        while True:
            begun = time.monotonic()
            try:
                reply = attempt()
            except CallError as error:
                if is_lost(error):
                    self.drop()  # a reply may still come: it must not be taken for that of the next command
                located = self._located(error)
                if cleared < _MOST_CLEARED and self._cleared(located):
                    cleared += 1
                    continue
                self._patience.bear(located, begun, full=full)
            except BaseException:
                self.drop()  # interrupted between a command and its reply
                raise
            else:
                if answers and not self.calm:
                    self._patience.answered()
                return reply
