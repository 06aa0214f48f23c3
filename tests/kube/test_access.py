"""The login of a map's pods: fits the map, and goes with it, also when its submitter did not end it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from actorq.broker import keys
from actorq.broker.wire import Link
from actorq.errors import BrokerError
from actorq.kube import access
from actorq.kube.access import MapLogin

LONG_AGO = int(time.time()) - 90_000


@pytest.fixture
def link(server: str) -> Iterator[Link]:
    link = Link(server, patience=0)
    yield link
    link.close()


def users(link: Link) -> set[str]:
    return {name.decode() for name in link.command("ACL", "USERS")}


def test_only_users_of_maps_that_are_gone_are_removed(link: Link) -> None:
    live, gone = f"actorq-map-{LONG_AGO}-live", f"actorq-map-{LONG_AGO}-gone"
    foreign = {"actorq-map-of-somebody", "actorq-map-", f"other-{LONG_AGO}-gone"}
    for name in (live, gone, *foreign):
        link.command("ACL", "SETUSER", name)
    link.command("SET", keys.map_("live"), "")
    MapLogin("m", "o", "", link.url).create(link)
    left = users(link)
    assert gone not in left
    assert left >= {live, *foreign}


def test_the_code_may_be_read_and_not_written(link: Link) -> None:
    login = MapLogin("m", "o", "abc", link.url)
    login.create(link)
    link.command("SET", keys.code("abc"), "x")
    (user,) = users(link) - {"default"}
    with redis.Redis.from_url(link.url, username=user, password=login._password) as pod:
        assert pod.get(keys.code("abc")) == b"x"
        with pytest.raises(redis.exceptions.NoPermissionError):
            pod.set(keys.code("abc"), "y")


def test_a_server_that_knows_no_read_only_keys_gets_none(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "server_version", lambda link: (6, 2))
    login = MapLogin("m", "o", "abc", link.url)
    login.create(link)
    assert f"~{keys.code('abc')}" in login._patterns


def test_a_server_that_permits_no_users_is_told_and_shared(link: Link) -> None:
    link.command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-acl")
    app = Link(link.url, patience=0)
    app.command("AUTH", "app", "secret")
    login = MapLogin("m", "o", "", link.url)
    with pytest.warns(RuntimeWarning, match="permit ACL SETUSER"):
        login.create(app)
    assert login.url == link.url
    app.close()


def test_a_server_that_is_away_is_not_taken_for_one_that_permits_no_users() -> None:
    away = Link("redis://127.0.0.1:1/0", patience=0)
    login = MapLogin("m", "o", "", away.url)
    with pytest.raises(BrokerError, match="cannot be reached"):
        login.create(away)
    assert login.url != away.url
