"""The reader of a stream keeps in step with a server that refuses for a moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import hiredis
import pytest

from actorq.base.waiting import Waker
from actorq.broker.link import Link
from actorq.maps.stream import ReportStream
from actorq.wire.lease import Lives

_LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"
_KEY = "aq:out:run"
_ENTRIES = {1: "first", 2: "second"}


class Scripted:
    """A server of two entries, which begins by refusing what it is asked so many times."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.asked: list[list[bytes]] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._socket.getsockname()[1]}/0"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in list(self._threads):
            thread.join()

    def _accept(self) -> None:
        try:
            while True:
                accepted = self._socket.accept()[0]
                self._threads.append(threading.Thread(target=self._serve, args=(accepted,)))
                self._threads[-1].start()
        except OSError:
            return

    def _serve(self, accepted: socket.socket) -> None:
        reader = hiredis.Reader()
        with accepted:
            while data := accepted.recv(65536):
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    assert isinstance(command, list)
                    accepted.sendall(self._reply(command))

    def _reply(self, command: list[bytes]) -> bytes:
        if command[0] not in (b"XREAD", b"XRANGE"):
            return b"+OK\r\n"
        if self.refusals:
            self.refusals -= 1
            return _LOADING
        self.asked.append(command)
        last = int(command[-1].partition(b"-")[0])
        if command[0] == b"XRANGE":
            return b"*1\r\n" + _entry(last) if last else b"*0\r\n"
        if last == 2:
            return b"*-1\r\n"
        return b"*1\r\n*2\r\n%b*1\r\n%b" % (_bulk(_KEY.encode()), _entry(last + 1))


def _bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def _entry(at: int) -> bytes:
    fields = [b"l", _ENTRIES[at].encode(), b"a", b"w"]
    return b"*2\r\n%b*4\r\n%b" % (_bulk(b"%d-0" % at), b"".join(map(_bulk, fields)))


@pytest.fixture
def scripted() -> Iterator[Callable[[int], Scripted]]:
    made: list[Scripted] = []

    def make(refusals: int) -> Scripted:
        made.append(Scripted(refusals))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("refusals", [0, 1, 2, 3, 4])
def test_each_entry_is_told_once_however_often_the_server_has_refused(
    scripted: Callable[[int], Scripted], keep: bool, refusals: int
) -> None:
    server, waker, told = scripted(refusals), Waker(), list[str]()
    with closing(Link(server.url, patience=10.0)) as reader, closing(Link(server.url, patience=10.0)) as other:
        stream = ReportStream(reader, other, "env", "run", keep=keep)
        for _ in range(refusals + 4):
            told += [each.lease for each in stream.wait(1.0, waker, expecting=True) if isinstance(each, Lives)]
        stream.close()
    waker.close()
    assert told == ["first", "second"]
