"""Bytes of anybody's, given to real replicas: nothing ends one, and nothing passes its timeout."""

from __future__ import annotations

import os
from typing import Any

import pytest
import redis

from actorq import TaskTimeoutError
from actorq.broker import keys
from actorq.broker.commands import Argument, iso_now
from actorq.broker.link import Link
from actorq.broker.scripts.load import SUBMIT
from actorq.wire.messages import Head, join, parse_frame
from tests.conftest import Worker, eventually
from tests.support.code import slow, tasks

PAYLOAD = join(Head(task="tests.support.code.tasks.double").packed(), b"\x91\x05")

MAILS = [
    b"\0",
    b"\0\0\0",
    b"\xff\0\xff\0\xff\0\xff",
    b"m-1\0one\0\0" + PAYLOAD,
    b"m-1\x001\0\0" + PAYLOAD[:10],
    b"m\xff-1\x001\0\0" + PAYLOAD,
    b"x" * 1000 + b"\x001\x001\0" + PAYLOAD,
    b"m-1\0" + b"1" * 1000 + b"\0\0" + PAYLOAD,
    b"m-1\x001\0\0\xff\xff\xff\xffaq:blob:nothing",
    b"m-1\x001\0\0\xff\xff\xff\xffrq:queues",
    b"m-1\x001\0\0" + os.urandom(1000),
]


def test_replicas_live_on_whatever_they_find_in_their_mailboxes(worker: Worker) -> None:
    assert list(tasks.double.map(range(4))) == [0, 2, 4, 6]
    before = {process.pid for process in worker.executors()}
    with redis.Redis.from_url(worker.url) as client:
        names = [name.decode() for name in client.zrange(keys.idle("plain"), 0, -1)]
        assert len(names) == 2
        for name in names:
            client.rpush(keys.mail(name), *MAILS)
        for name in names:
            assert eventually(lambda name=name: not client.exists(keys.mail(name)))
    assert list(tasks.double.map(range(100))) == [2 * x for x in range(100)]
    assert {process.pid for process in worker.executors()} == before


@pytest.mark.parametrize("lease", ["m-" + "x" * 1000, "m-1\udcff", "m-\x1b[2J"])
def test_a_lease_with_an_odd_id_is_answered(worker: Worker, lease: str) -> None:
    before = {process.pid for process in worker.executors()}
    link = Link(worker.url, patience=0.0)
    name = lease.encode(errors="surrogateescape")
    args: list[Argument] = [*keys.prefix("plain"), "", 10, iso_now(), "", "", "m", "owner", 0.0]
    args += (1, name, "d", "", PAYLOAD)
    named = [keys.map_("m"), keys.out("m"), keys.queue("plain"), keys.workers("plain"), keys.SUSPENDED]
    link.call(SUBMIT, named, args)
    (entry,) = link.command("XREAD", "BLOCK", 5000, "STREAMS", keys.out("m"), "0-0")[0][1]
    assert entry[1][1] == name
    frame = parse_frame(entry[1][3])
    assert bytes(frame.outputs) in (b"\x91\x0a", b"\x91\xc0")
    assert (len(lease) > 900) == bool(frame.errors)
    if frame.errors:
        assert frame.errors[0]["type"] == "PoolError"
    assert {process.pid for process in worker.executors()} == before
    link.command("DEL", keys.out("m"), keys.map_("m"))
    link.close()


@pytest.mark.parametrize("kind", ["on_reset", "on_forks", "on_slots"])
def test_decoding_an_input_is_a_part_of_it_and_ends_with_its_timeout(kind: str) -> None:
    task: Any = getattr(slow, kind)
    quick = [{slow.Slow(0)} for _ in range(5)]
    outcomes = list(task.map([*quick, {slow.Slow(30)}, *quick], return_exceptions=True))
    assert isinstance(outcomes[5], TaskTimeoutError)
    assert [size for size, _ in outcomes[:5] + outcomes[6:]] == [1] * 10
    with pytest.raises(TaskTimeoutError):
        task.remote({slow.Slow(30)})
    if kind != "on_slots":  # there the thread that decodes is not the one that can be interrupted
        assert len({pid for _, pid in outcomes[:5] + outcomes[6:]}) == 1  # it was not even replaced
