"""The login of a map's pods: fits the map, and goes with it, also when its submitter did not end it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from actorq.broker import keys
from actorq.broker.link import Link
from actorq.errors import BrokerError, DeclarationError
from actorq.kube import access
from actorq.kube.access import MapLogin
from actorq.kube.address import with_login


@pytest.fixture
def link(server: str) -> Iterator[Link]:
    link = Link(server, patience=0)
    yield link
    link.close()


def users(link: Link) -> set[str]:
    return {name.decode() for name in link.command("ACL", "USERS")}


def left_behind(link: Link, map_id: str) -> str:
    """The user of a map whose submitter was killed."""
    name = MapLogin(map_id, "o", "", link.url)._user
    link.command("ACL", "SETUSER", name)
    return name


def test_the_next_program_removes_the_users_of_maps_that_are_gone_and_no_others(link: Link) -> None:
    live, gone = left_behind(link, "live"), left_behind(link, "gone")
    of_another_database = MapLogin("gone", "o", "", "redis://h/7")._user
    foreign = {"actorq-map-of-somebody", "actorq-map-", of_another_database}
    for name in foreign:
        link.command("ACL", "SETUSER", name)
    link.command("SET", keys.map_("live"), "")
    MapLogin("m", "o", "", link.url).create(link)
    left = users(link)
    assert gone not in left
    assert left >= {live, *foreign}


def test_a_map_that_runs_for_long_removes_them_too(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    login = MapLogin("m", "o", "", link.url)
    login.create(link)
    gone = left_behind(link, "gone")
    login.renew(link)
    assert gone in users(link)
    monkeypatch.setattr(access, "_SWEEP_SECONDS", 0.0)
    login.renew(link)
    assert gone not in users(link)
    assert login._user in users(link)


def test_a_map_of_the_same_name_does_not_keep_the_login_of_the_one_before(link: Link) -> None:
    earlier = left_behind(link, "again")
    link.command("SET", keys.map_("again"), "")
    MapLogin("again", "o", "", link.url).create(link)
    assert earlier not in users(link)


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
    with pytest.warns(RuntimeWarning, match="Set ACTORQ_ACL_URL"):
        login.create(app)
    assert login.url == link.url
    app.close()


def test_a_server_that_is_away_is_not_taken_for_one_that_permits_no_users() -> None:
    away = Link("redis://127.0.0.1:1/0", patience=0)
    login = MapLogin("m", "o", "", away.url)
    with pytest.raises(BrokerError, match="cannot be reached"):
        login.create(away)
    assert login.url != away.url


def restricted(link: Link, name: str, *rules: str) -> str:
    """The address with a login of that name."""
    link.command("ACL", "SETUSER", name, "on", ">secret", *rules)
    return with_login(link.url, name, "secret")


MINIMUM = ("~rq:*", "~aq:*", "&rq:pubsub:*", "+@all", "-@admin", "-@dangerous", "+info")
MAKERS = ("+acl|setuser", "+acl|deluser", "+acl|users")


def test_users_are_made_with_a_login_of_its_own_and_the_programs_needs_no_right_to(link: Link) -> None:
    app = Link(restricted(link, "app", *MINIMUM), patience=0)
    makers = Link(restricted(link, "makers", *MAKERS), patience=0)
    gone = left_behind(link, "gone")
    login = MapLogin("m", "o", "", app.url, makers)
    login.create(app)
    login.renew(app)
    assert login._user in users(link)
    assert gone not in users(link)
    with redis.Redis.from_url(login.url) as pod:
        assert pod.exists(keys.map_("m")) == 0
    login.remove(app)
    login.close()
    app.close()
    assert users(link) == {"default", "app", "makers"}


def test_a_login_that_is_made_on_another_server_is_told_at_once(link: Link) -> None:
    from actorq.runtime.embedded import EmbeddedServer

    other = EmbeddedServer()
    other.wait_ready()
    makers = Link(other.url, patience=0)
    login = MapLogin("m", "o", "", link.url, makers)
    try:
        with pytest.raises(DeclarationError, match="another server"):
            login.create(link)
    finally:
        login.close()
        other.stop()


def test_a_login_of_its_own_that_may_make_no_users_is_an_error(link: Link) -> None:
    makers = Link(restricted(link, "makers", "+acl|users"), patience=0)
    login = MapLogin("m", "o", "", link.url, makers)
    with pytest.raises(BrokerError, match="does not permit"):
        login.create(link)
    login.close()
