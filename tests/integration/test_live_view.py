"""What the live view reads and does, without a terminal: looks, their failures, and what keys ask of the server."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

import actorq
from actorq import ActorqError, PoolError
from actorq.broker import keys
from actorq.broker.link import Link
from actorq.cli.main import main
from actorq.monitor.server import server_view
from actorq.terminal import steering
from actorq.terminal.picture import Looks, Picture, Scope
from actorq.terminal.reading import Reading
from tests.conftest import ROOT, Worker, eventually
from tests.support.code import tasks
from tests.support.silent_proxy import proxy_of


@pytest.fixture
def looks(on_server: str) -> Iterator[Looks]:
    link = Link(on_server, patience=0.0)
    yield Looks(link)
    link.close()


class Seen:
    """What a reading hands over."""

    def __init__(self, url: str, pause: float = 0.05) -> None:
        self.pictures: list[Picture] = []
        self.reasons: list[str] = []
        self.reading = Reading(url, Scope(), self.pictures.append, self.reasons.append, pause)
        self.reading.start()

    def more(self, than: int) -> bool:
        return eventually(lambda: len(self.pictures) > than)


def test_a_look_finds_maps_runs_replicas_and_failures(worker: Worker, looks: Looks) -> None:
    list(tasks.fails_at.map(range(7), map_id="told", return_exceptions=True))
    run = tasks.double.spawn_map(range(3), map_id="over")
    run.wait(timeout=30)
    found = looks.look(Scope())
    assert [view.name for view in found.environments] == ["plain"]
    assert len(found.environments[0].replicas) == 2
    assert [(each.id, each.state, each.done, each.total, each.bytes) for each in found.runs] == [
        ("over", "done", 3, 3, 0)
    ]
    assert [each.cause for each in found.failures] == ["ValueError: no 3"]
    assert looks.look(Scope("plain", "told")).failures == found.failures
    assert looks.look(Scope("plain", "over")).failures == []
    assert looks.look(Scope("nobody")).failures == []
    run.delete()


def test_failures_are_read_again_only_when_there_are_others(
    worker: Worker, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(tasks.fails_at.map(range(7), map_id="one", return_exceptions=True))
    first = looks.look(Scope()).failures
    with monkeypatch.context() as patched:
        patched.setattr("actorq.terminal.picture.failures", lambda *_, **__: pytest.fail("they were read again"))
        assert looks.look(Scope()).failures == first
    list(tasks.fails_at.map(range(7), map_id="two", return_exceptions=True))
    assert [each.map for each in looks.look(Scope()).failures] == ["two", "one"]


def test_looks_go_on_when_the_server_was_silent(server: str) -> None:
    with proxy_of(server) as proxy:
        seen = Seen(proxy.url)
        assert seen.more(0)
        proxy.silence()
        assert eventually(lambda: seen.reasons)
        assert seen.more(len(seen.pictures))
        seen.reading.end()


def test_what_is_wanted_is_looked_for_at_once(server: str) -> None:
    seen = Seen(server, pause=3600.0)
    assert seen.more(0)
    seen.reading.want(Scope("e"))
    assert seen.more(1)
    assert seen.pictures[1].scope == Scope("e")
    seen.reading.look_now()
    assert seen.more(2)
    seen.reading.end()
    assert eventually(lambda: "actorq-watch" not in {thread.name for thread in threading.enumerate()})


def test_a_server_tells_what_it_keeps_and_a_login_that_may_not_ask_is_shown_what_it_may(server: str) -> None:
    with redis.Redis.from_url(server) as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">word-of-it", "~*", "+@all", "-info", "-config")
        client.config_set("save", "3600 1")
    link = Link(server, patience=0.0)
    view = server_view(link)
    assert view.version.startswith("Valkey ")
    assert view.persistence == "rdb"
    assert view.used_bytes
    assert view.clients
    assert not view.suspended
    link.command("AUTH", "limited", "word-of-it")
    limited = server_view(link)
    assert (limited.version, limited.used_bytes, limited.clients, limited.persistence) == ("", None, None, "")
    link.close()


def test_a_live_map_and_a_run_are_cancelled(worker: Worker, tmp_path: Path) -> None:
    outputs = iter(tasks.until.map([str(tmp_path / "flag")] * 4, map_id="live"))
    assert steering.cancel(worker.url, "live") == "Map live is cancelled: its program is told within a second."
    with pytest.raises(ActorqError, match="cancel"):
        list(outputs)
    run = tasks.wait.spawn_map([0.05] * 1000, map_id="long")
    steering.cancel(worker.url, "long")
    assert run.wait(timeout=30) == "cancelled"
    with pytest.raises(PoolError, match="There is no run, job or live map"):
        steering.cancel(worker.url, "nothing")
    with pytest.raises(PoolError, match="was cancelled"):
        steering.retry(worker.url, "long")
    run.delete()


def test_what_failed_of_a_run_runs_again(worker: Worker, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    run = tasks.needs.spawn_map([str(flag)] * 4, range(4), map_id="again")
    assert run.wait(timeout=30) == "failed"
    flag.touch()
    steering.retry(worker.url, "again")
    assert actorq.attach("again").results() == [0, 1, 2, 3]
    with pytest.raises(PoolError, match="There is no run or job"):
        steering.retry(worker.url, "nothing")
    run.delete()


def test_replicas_pause_and_go_on_as_with_rqs_commands(on_server: str, looks: Looks) -> None:
    with redis.Redis.from_url(on_server) as client:
        steering.pause(on_server)
        assert client.ttl(keys.SUSPENDED) == -1
        assert looks.look(Scope()).server.suspended
        steering.resume(on_server)
        assert not client.exists(keys.SUSPENDED)


def test_a_program_without_textual_is_told_what_to_install(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual.app", None)
    monkeypatch.delitem(sys.modules, "actorq.terminal.app", raising=False)
    done = CliRunner().invoke(main, ["watch", "-u", server])
    assert str(done.exception) == "The live view needs textual: pip install 'actorq[watch]'"


def printed(server: str, *arguments: str, **where: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "actorq.cli", *arguments, "-u", server]
    return subprocess.Popen(command, text=True, cwd=ROOT, **where)


def lines_of(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def test_status_is_printed_again_and_again_until_ctrl_c(server: str) -> None:
    with redis.Redis.from_url(server) as client:
        client.sadd(keys.QUEUES, keys.queue("e"))
        client.set(keys.used("e"), 1)
        process = printed(server, "status", "e", "--watch", "0.1", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        told = "e: replicas none; 0 inputs queued; 0 failed\n"
        assert lines_of(process, 3) == [told, "\n", told]
        client.delete(keys.used("e"))
        assert process.stdout is not None
        assert any("Nothing is known of an environment 'e'" in line for line in iter(process.stdout.readline, ""))
        client.set(keys.used("e"), 1)
        assert any(line == told for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_terminal_is_cleared_before_each_print_of_status(server: str) -> None:
    ours, theirs = pty.openpty()
    process = printed(server, "status", "--watch", stdout=theirs, stderr=theirs)
    seen = b""
    while seen.count(b"\x1b[2J\x1b[H") < 2:
        seen += os.read(ours, 1000)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    os.close(ours)
    os.close(theirs)
