"""The keeper of a pool on demand: ends when nobody uses it, or nobody can, and not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from actorq.base.settings import settings
from actorq.broker import keys
from actorq.broker.link import Link
from actorq.cli.main import main
from actorq.kube import keeper
from actorq.kube.address import with_login
from actorq.kube.keeper import keep

AWAY = "redis://127.0.0.1:1/0"


class Clock:
    """Time that passes when somebody sleeps. `then` is called meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.then: Callable[[float], None] = lambda now: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert self.now < 100_000, "it does not end"
        self.now += seconds
        self.then(self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def link(server: str) -> Iterator[Link]:
    link = Link(server, patience=0)
    yield link
    link.close()


def kept(url: str | Callable[[], str], clock: Clock, ttl: float = 30) -> float:
    """How long a pool is kept."""
    began = clock.now
    keep((lambda: url) if isinstance(url, str) else url, "e", ttl, clock=clock, sleep=clock.sleep)
    return clock.now - began


def test_it_ends_when_nobody_used_the_environment(server: str, link: Link, clock: Clock) -> None:
    link.command("SET", keys.used("e"), "1000.0")
    looks: list[float] = []

    def use(now: float) -> None:
        looks.append(now)
        if len(looks) == 3:
            link.command("ZADD", keys.maps("e"), now + 6, "a-map")  # somebody uses it for a while

    clock.then = use
    assert kept(server, clock) == pytest.approx(30, abs=6)


def test_it_ends_as_the_last_map_wanted(server: str, link: Link, clock: Clock) -> None:
    link.command("SET", keys.used("e"), "1000.0")
    link.command("SET", keys.ttl("e"), "inf")

    def shorten(now: float) -> None:
        if now >= 2000:
            link.command("SET", keys.ttl("e"), 1500)

    clock.then = shorten
    assert kept(server, clock) == pytest.approx(1500, abs=6)


def test_a_server_that_is_away_for_a_while_ends_nothing(server: str, link: Link, clock: Clock) -> None:
    def address() -> str:  # away from 1010 to 1600
        link.command("SET", keys.used("e"), "1600.0")
        return AWAY if 1010 <= clock.now < 1600 else server

    assert kept(address, clock) == pytest.approx(630, abs=6)


def test_a_server_that_does_not_come_back_is_taken_for_gone(clock: Clock) -> None:
    assert kept(AWAY, clock) == pytest.approx(keeper.AWAY_SECONDS, abs=6)


def test_a_pool_with_a_longer_ttl_waits_for_its_server_as_long(clock: Clock) -> None:
    assert kept(AWAY, clock, ttl=5000) == pytest.approx(5000, abs=6)


def test_a_pool_that_is_to_live_for_ever_outlives_its_server(server: str, link: Link, clock: Clock) -> None:
    link.command("SET", keys.ttl("e"), "inf")

    class Enough(Exception):  # noqa: N818 - ends the test
        pass

    def enough(now: float) -> None:
        if now > 20_000:
            raise Enough

    clock.then = enough
    with pytest.raises(Enough):
        kept(lambda: AWAY if clock.now > 1010 else server, clock)


def test_a_login_that_is_refused_for_long_is_a_server_that_is_gone(server: str, clock: Clock) -> None:
    url = with_login(server, "rotated", "old")
    assert kept(url, clock) == pytest.approx(keeper.AWAY_SECONDS, abs=6)


def test_another_login_is_taken_as_soon_as_it_is_there(server: str, link: Link, clock: Clock) -> None:
    link.command("SET", keys.used("e"), "1100.0")
    refused = with_login(server, "rotated", "old")
    assert kept(lambda: refused if clock.now < 1100 else server, clock) == pytest.approx(130, abs=6)


def test_a_server_that_has_forgotten_everything_counts_from_when_that_was_seen(
    server: str, link: Link, clock: Clock
) -> None:
    link.command("ZADD", keys.maps("e"), 10_000, "a-map")

    def empty(now: float) -> None:
        if now >= 1500:
            link.command("DEL", keys.maps("e"))

    clock.then = empty
    assert kept(server, clock) == pytest.approx(530, abs=6)


def test_the_command_reads_the_address_again_at_every_look(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "redis-url"
    file.write_text("redis://first:1/0")
    monkeypatch.delenv("ACTORQ_REDIS_URL", raising=False)
    monkeypatch.setenv("ACTORQ_REDIS_URL_FILE", str(file))
    seen: list[str] = []

    def look(address: Callable[[], str], environment: str, ttl: float, away: float) -> None:
        seen.append(address())
        file.write_text("redis://second:1/0")
        seen.append(address())

    monkeypatch.setattr("actorq.kube.keeper.keep", look)
    settings.cache_clear()
    try:
        assert CliRunner().invoke(main, ["keep", "e", "--ttl", "30", "--away", "60"]).exit_code == 0
    finally:
        settings.cache_clear()
    assert seen == ["redis://first:1/0", "redis://second:1/0"]
