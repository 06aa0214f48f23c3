"""One odd record on the server: it says what is wrong with it, every other is shown, and no terminal obeys any."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from actorq import PoolError
from actorq.broker import keys
from actorq.broker.commands import iso_now
from actorq.cli.main import main, run
from actorq.monitor.metrics import queue_families
from actorq.monitor.model import EnvironmentView
from actorq.monitor.view import environments
from tests.support.server_steps import Asked

EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\nactorq: all is well\u202e"
RAW = EVIL.encode() + b"\xff\xfe\x80"


@pytest.fixture
def known(asked: Asked) -> Asked:
    """Environment "e" with two replicas, a map, and two leases of which one runs; environment "other" with a map."""
    client = asked.client
    client.sadd(keys.QUEUES, keys.queue("e"), keys.queue("other"))
    now = time.time()
    for env, name in (("e", "m"), ("e", "n"), ("other", "o")):
        client.hset(keys.map_(name), mapping={"done": 5, "failed": 1, "total": 10, "task": "t", "started": now - 10})
        client.zadd(keys.maps(env), {name: now + 100})
        client.set(keys.used(env), now)
    for name in ("me", "you"):
        client.sadd(keys.WORKERS, keys.worker(name))
        told: dict[Any, Any] = {
            "queues": "e",
            "last_heartbeat": iso_now(),
            "aq_state": "idle",
            "aq_inputs": 7,
            "aq_restarts": 1,
        }
        client.hset(keys.worker(name), mapping=told)
    asked.submit_all("", "")
    assert asked.next("me")
    return asked


def views(known: Asked) -> dict[str, EnvironmentView]:
    return {view.name: view for view in environments(known.link)}


def actorq(*arguments: str, known: Asked) -> str:
    done = CliRunner().invoke(main, [*arguments, "-u", known.link.url], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


class Families(Collector):
    def __init__(self, known: Asked) -> None:
        self._known = known

    def collect(self) -> Any:
        return queue_families(environments(self._known.link))


def metrics(known: Asked) -> str:
    registry = CollectorRegistry()
    registry.register(Families(known))
    return generate_latest(registry).decode()


def assert_all_is_shown(known: Asked) -> None:
    """By every command and the exporter, the map and the replica that are well among it; nothing moves a cursor."""
    for command in ("status", "workers", "queues"):
        table, data = actorq(command, known=known), actorq(command, "-o", "json", known=known)
        json.loads(data, parse_constant=pytest.fail)
        for printed in (table, data):
            assert not any(c < " " and c != "\n" for c in printed), printed
            assert not any("\x7f" <= c <= "\x9f" or c in "\u202e\udcff" for c in printed), printed
        assert not any(line.startswith("actorq: all is well") for line in table.splitlines())
    assert "n" in {row.id for row in views(known)["e"].maps}
    assert "you" in {row.name for row in views(known)["e"].replicas}
    assert "o t 5/10" in " ".join(actorq("status", known=known).split())
    assert 'actorq_queue_leases{environment="other"} 0.0' in metrics(known)


def test_records_that_are_well_have_no_problem(known: Asked) -> None:
    assert_all_is_shown(known)
    assert not any(view.problems for view in views(known).values())
    assert "PROBLEM" not in actorq("workers", known=known)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("total", "many", "total is 'many', no whole number"),
        ("total", "-5", "total is '-5', no whole number"),
        ("total", "9" * 5000, "no whole number"),
        ("total", "\uff11\uff12", "no whole number"),
        ("done", "1e3", "done is '1e3', no whole number"),
        ("done", EVIL, "no whole number"),
        ("done", RAW, "no whole number"),
        ("failed", "", ""),
        ("failed", "nan", "failed is 'nan', no whole number"),
        ("started", "yesterday", "started is 'yesterday', no time"),
        ("started", "inf", "started is 'inf', no time"),
        ("started", "nan", "started is 'nan', no time"),
        ("task", EVIL, ""),
        ("task", RAW, ""),
        ("task", "x" * 100_000, ""),
    ],
)
def test_a_map_with_an_odd_field_says_so(known: Asked, field: str, value: Any, problem: str) -> None:
    known.binary.hset(keys.map_("m"), field, value)
    assert_all_is_shown(known)
    row = next(row for row in views(known)["e"].maps if row.id == "m")
    assert problem in row.problem
    assert bool(row.problem) == bool(problem)
    assert len(row.problem) < 1000
    if problem:
        assert "PROBLEM" in actorq("status", known=known)
        assert problem in actorq("status", known=known)
        assert views(known)["e"].problems == [f"m cannot be read in full: {row.problem}"]


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("aq_inputs", "seven", "aq_inputs is 'seven', no whole number"),
        ("aq_restarts", "²", "no whole number"),
        ("aq_position", "²", "no whole number"),
        ("last_heartbeat", "now", "last_heartbeat is 'now', no time"),
        ("last_heartbeat", RAW, "no time"),
        ("last_heartbeat", "0001-01-01T00:00:00", "no time"),
        ("aq_state", EVIL, ""),
        ("aq_caches", "{", "aq_caches is '{', no report"),
        ("aq_caches", "[]", "no report"),
        ("aq_caches", "5", "no report"),
        ("aq_caches", "[" * 100_000, "no report"),
        ("aq_caches", '{"functions": [5], "values": []}', "no report"),
        ("aq_caches", '{"functions": [{"function": 7}], "values": []}', "no report"),
        ("aq_caches", '{"functions": [{"function": "f", "bytes": "many"}], "values": []}', "no report"),
        ("aq_caches", '{"functions": [{"function": "f", "bytes": 1e999}], "values": []}', "no report"),
        ("aq_caches", '{"functions": [{"function": "f", "load_seconds": NaN}], "values": []}', "no report"),
        ("aq_caches", '{"functions": [{"function": "f", "entries": 10000000000000000000}], "values": []}', "no report"),
        ("aq_caches", json.dumps({"functions": [{"function": EVIL, "entries": 1}], "values": []}), ""),
        ("aq_caches", RAW, "no report"),
    ],
)
def test_a_replica_with_an_odd_field_says_so(known: Asked, field: str, value: Any, problem: str) -> None:
    known.client.hset(keys.job("m-1"), "description", "t[0:100]")
    known.binary.hset(keys.worker("me"), field, value)
    assert_all_is_shown(known)
    row = next(row for row in views(known)["e"].replicas if row.name == "me")
    assert problem in row.problem
    assert bool(row.problem) == bool(problem)
    if problem:
        assert problem in actorq("workers", known=known)


def as_list(key: str) -> Callable[[Asked], None]:
    def change(known: Asked) -> None:
        known.client.delete(key)
        known.client.rpush(key, EVIL)

    return change


def as_text(key: str) -> Callable[[Asked], None]:
    def change(known: Asked) -> None:
        known.client.set(key, EVIL)

    return change


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (as_text(keys.queue("e")), keys.queue("e")),
        (as_text(keys.wip("e")), keys.wip("e")),
        (as_text(keys.failed("e")), keys.failed("e")),
        (as_list(keys.map_("m")), keys.map_("m")),
        (as_text(keys.job("m-2")), keys.job("m-2")),
        (as_list(keys.job("m-1")), keys.job("m-1")),
        (as_list(keys.worker("me")), keys.worker("me")),
    ],
)
def test_a_key_of_another_type_is_named(known: Asked, change: Callable[[Asked], None], key: str) -> None:
    change(known)
    assert_all_is_shown(known)
    problems = []
    for view in views(known).values():
        problems += [view.problem, *(row.problem for row in view.maps), *(row.problem for row in view.replicas)]
    assert [problem for problem in problems if problem] == [f"{key} holds another kind of value"]
    assert key in actorq("status", known=known)


@pytest.mark.parametrize("key", [keys.maps("e"), keys.QUEUES, keys.WORKERS])
def test_what_lists_the_records_may_be_odd_too(known: Asked, key: str) -> None:
    as_text(key)(known)
    found = views(known)
    assert any(key in view.problem for view in found.values())
    for command in ("status", "workers", "queues"):
        actorq(command, known=known)
        actorq(command, "-o", "json", known=known)
    assert "\x1b" not in metrics(known)


def test_names_of_anything_are_shown_as_text(known: Asked) -> None:
    client = known.binary
    client.sadd(keys.QUEUES, b"rq:queue:" + RAW)
    client.set(b"aq:used:" + RAW, 1)
    client.zadd(keys.maps("e"), {RAW: time.time() + 100})
    client.hset(b"aq:map:" + RAW, mapping={"done": 1, "total": 2, "started": 1, "task": RAW})
    client.sadd(keys.WORKERS, b"rq:worker:" + RAW)
    client.hset(b"rq:worker:" + RAW, mapping={"queues": RAW, "birth": RAW, "last_heartbeat": RAW})
    client.hset(keys.job("m-1"), mapping={"aq_map": RAW, "description": RAW, "worker_name": "me"})
    assert_all_is_shown(known)
    assert "owned" in actorq("status", known=known)
    assert "\x1b" not in metrics(known)


def test_an_error_prints_nothing_that_a_terminal_obeys(
    known: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PoolError(f"The replicas say {EVIL}")

    monkeypatch.setattr("actorq.cli.watch._views", refuse)
    monkeypatch.setattr("sys.argv", ["actorq", "status", "-u", known.link.url])
    with pytest.raises(SystemExit):
        run()
    said = capsys.readouterr().err
    assert "The replicas say" in said
    assert not set(said) & set("\x1b\x07\x9b\r\u202e")
