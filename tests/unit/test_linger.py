"""Who stays awake for an answer, and for how long."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from actorq.broker import linger
from actorq.broker.linger import Linger


class FakeLink:
    """A connection to this test."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair()
        self.connected = True
        self.parsed = False

    def fileno(self) -> int:
        return self.here.fileno()

    def has_reply(self) -> bool:
        return self.parsed

    def read(self) -> bytes:
        return b"parsed" if self.parsed else self.here.recv(1)

    def close(self) -> None:
        self.here.close()
        self.there.close()


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(linger, "_WORTH_IT", True)
    made = FakeLink()
    yield made
    made.close()


@pytest.fixture
def yields(link: FakeLink, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often it has given way; with the third time, the answer comes."""
    seen: list[int] = []

    def give_way() -> None:
        seen.append(1)
        if len(seen) == 3:
            link.there.send(b"x")

    monkeypatch.setattr(os, "sched_yield", give_way)
    return seen


def after_a_quick_answer(link: Any) -> Linger:
    lingers = Linger(link)
    link.there.send(b"x")
    assert lingers.read() == b"x"
    lingers._waited = 0.0
    return lingers


def test_who_had_its_last_answer_soon_stays_awake_for_the_next(link: FakeLink, yields: list[int]) -> None:
    lingers = after_a_quick_answer(link)
    assert lingers.read() == b"x"
    assert len(yields) == 3


def test_the_first_answer_is_slept_for(link: FakeLink, yields: list[int]) -> None:
    lingers = Linger(link)  # type: ignore[arg-type]  # the fake has what is asked of it
    link.there.send(b"x")
    assert lingers.read() == b"x"
    assert not yields


def test_who_has_waited_long_goes_to_sleep(link: FakeLink, yields: list[int]) -> None:
    lingers = after_a_quick_answer(link)
    lingers._waited = linger.LINGER_SECONDS
    link.there.send(b"x")
    assert lingers.read() == b"x"
    assert not yields


def test_who_is_told_not_to_goes_to_sleep(link: FakeLink, yields: list[int]) -> None:
    lingers = after_a_quick_answer(link)
    link.there.send(b"x")
    assert lingers.read(awake=False) == b"x"
    assert not yields


def test_an_answer_that_was_read_with_another_is_not_waited_for(link: FakeLink, yields: list[int]) -> None:
    lingers = after_a_quick_answer(link)
    link.parsed = True
    assert lingers.read() == b"parsed"
    assert not yields


def test_staying_awake_ends(link: FakeLink, monkeypatch: pytest.MonkeyPatch) -> None:
    lingers = after_a_quick_answer(link)
    clock = iter([0.0, 0.0, linger.LINGER_SECONDS, 1.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(os, "sched_yield", lambda: None)
    monkeypatch.setattr(link, "read", lambda: b"slept")
    assert lingers.read() == b"slept"
    assert lingers._waited == 1.0


def test_a_broken_connection_is_not_waited_for(link: FakeLink, yields: list[int]) -> None:
    lingers = after_a_quick_answer(link)
    link.connected = False
    link.there.send(b"x")
    assert lingers.read() == b"x"
    assert not yields
