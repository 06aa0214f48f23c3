"""Nothing that a server sends is taken in whole only because it was sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import psutil
import pytest

from actorq import CodecError, PoolError
from actorq.base.settings import settings
from actorq.broker import blobs, keys
from actorq.broker.link import MOST_REPLY_BYTES, Link
from actorq.broker.refusals import ReplyTooLargeError, WrongTypeError
from actorq.code import bundle
from actorq.declare.map_options import MapOptions
from actorq.errors import BrokerError
from actorq.maps.ledger import Ledger
from actorq.maps.sources import MemorySource
from actorq.wire import codec
from actorq.wire.messages import Frame, Head
from tests.conftest import Worker
from tests.support.code import tasks

LIMIT = 100_000


@pytest.fixture
def link(server: str) -> Iterator[Link]:
    link = Link(server, patience=0.0, most=LIMIT)
    yield link
    link.close()


def test_a_reply_above_the_limit_is_refused_and_the_next_one_is_right(link: Link) -> None:
    link.command("SET", "small", b"x" * (LIMIT - 100))
    link.command("SETRANGE", "large", 20 * LIMIT, "x")
    link.command("RPUSH", "list", *["x" * 1000] * 1000)
    for command in (["GET", "large"], ["LRANGE", "list", 0, -1]):
        with pytest.raises(ReplyTooLargeError, match="more than 100,000 bytes"):
            link.command(*command)
        assert link.command("GET", "small") == b"x" * (LIMIT - 100)
    assert len(link.pipeline([["GET", "small"]] * 20)) == 20  # each is below it


def test_what_is_too_large_takes_no_memory(server: str) -> None:
    link, process = Link(server, patience=0.0), psutil.Process()
    link.command("SETRANGE", keys.blob("large"), 256 << 20, "x")
    before = process.memory_info().rss
    with pytest.raises(ReplyTooLargeError):
        link.command("GET", keys.blob("large"))
    with pytest.raises(ReplyTooLargeError, match="there may be 1,000"):
        link.fetch(keys.blob("large"), 1000)
    with pytest.raises(CodecError, match="cannot be read"):
        blobs.receive(link, blobs.REFERENCE + keys.blob("large").encode())
    assert process.memory_info().rss - before < 4 * MOST_REPLY_BYTES
    link.close()


@pytest.mark.parametrize("size", [0, 1, 1000, (1 << 18) - 10, 1 << 18, LIMIT, 3 << 20])
def test_a_value_up_to_its_limit_is_fetched(link: Link, size: int) -> None:
    link.command("SET", "key", b"x" * size)
    assert bytes(link.fetch("key", size) or b"") == b"x" * size
    if size:
        with pytest.raises(ReplyTooLargeError):
            link.fetch("key", size - 1)
    assert link.fetch("nothing", 10) is None
    assert link.command("PING") == b"PONG"


def test_a_key_of_another_type_is_told_as_that(link: Link) -> None:
    link.command("RPUSH", keys.blob("list"), "x")
    with pytest.raises(WrongTypeError, match="Something else has written there"):
        link.fetch(keys.blob("list"), 10)
    with pytest.raises(CodecError, match="another kind of value"):
        blobs.receive(link, blobs.REFERENCE + keys.blob("list").encode())


@pytest.mark.parametrize(
    "said", [b"", b"$", b"$5", b"$5\r", b"$5\r\n", b"$5\r\nab", b"$x\r\n", b"+" + b"x" * (1 << 19)]
)
def test_a_server_that_leaves_in_the_middle_of_a_word_is_noticed(said: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(1000)
            client.sendall(said)

    thread = threading.Thread(target=serve)
    thread.start()
    link = Link(f"redis://127.0.0.1:{listener.getsockname()[1]}", patience=0.0)
    with pytest.raises(BrokerError):
        link.fetch("key", 100)
    thread.join()
    link.close()
    listener.close()


def test_code_that_cannot_be_had_is_an_error_of_its_map(link: Link) -> None:
    packed = bundle.pack(tasks.plain.name, tasks.plain.modules)
    key = keys.code(packed.code)
    with pytest.raises(PoolError, match="no longer on the server"):
        bundle.fetch(packed.code, link)
    link.command("RPUSH", key, "x")
    with pytest.raises(PoolError, match="another kind of value"):
        bundle.fetch(packed.code, link)
    bundle.Courier(packed).bring(link)
    assert bundle.fetch(packed.code, link) == packed.data
    link.command("SETRANGE", key, 40 << 20, "x")
    with pytest.raises(PoolError, match="there may be"):
        bundle.fetch(packed.code, link)


def test_a_message_of_an_id_that_refers_to_odd_keys_ends_no_replica(worker: Worker) -> None:
    link = Link(worker.url, patience=0.0)
    link.command("RPUSH", keys.blob("list"), "x")
    link.command("SETRANGE", keys.blob("large"), 200 << 20, "x")
    before = {process.pid for process in worker.executors()}
    for name in link.command("ZRANGE", keys.idle("plain"), 0, -1):
        mail = keys.mail(name.decode())
        for blob in ("list", "large", "nothing"):
            link.command("RPUSH", mail, b"m-1\x001\0\0" + blobs.REFERENCE + keys.blob(blob).encode())
    assert list(tasks.double.map(range(100))) == [2 * x for x in range(100)]
    assert {process.pid for process in worker.executors()} == before
    link.command("DEL", keys.blob("list"), keys.blob("large"))
    link.close()


def test_a_lease_has_no_more_bytes_than_a_replica_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORQ_MAX_PAYLOAD_BYTES", "1000")
    settings.cache_clear()
    try:
        inputs = [b"x" * size for size in (1, 900, 5, 900, 900, 7, *[1] * 200, *[600] * 30, 1, 2)]
        options = MapOptions(environment="e", head=Head(task="t"))
        ledger = Ledger("m", MemorySource(iter(inputs), len(inputs)), options)
        ledger._drawing.sizer.size = lambda remaining, replicas: 40  # type: ignore[method-assign]
        found: dict[int, bytes] = {}
        while not ledger.finished:
            for lease in ledger.offer(2, 0.0):
                assert len(lease.inputs) <= 1000
                found.update(zip(lease.indexes, codec.unpack_list(lease.inputs), strict=True))
                outputs = codec.pack([None] * lease.count)
                done = Frame(start=0, count=lease.count, busy=1e-6, replica="r", errors={}, outputs=outputs)
                ledger.results(lease.id, done, 0.0)
            while ledger.take() is not None:
                pass
        assert [found[index] for index in range(len(inputs))] == inputs
    finally:
        monkeypatch.undo()
        settings.cache_clear()
