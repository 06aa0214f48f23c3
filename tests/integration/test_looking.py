"""What people and programs see of the server is true: rates of now, failures with their cause, maps in pods, loads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actorq.broker import keys
from actorq.broker.commands import Argument
from actorq.broker.link import Link
from actorq.broker.scripts import submitting
from actorq.maps.pace import Pace
from actorq.monitor.failures import failure, failures
from actorq.monitor.view import environments
from tests.conftest import Worker, eventually
from tests.integration.test_monitor import actorq, told
from tests.support.code import tasks
from tests.support.server_steps import Asked


@pytest.fixture
def worker(on_server: str) -> Iterator[Worker]:
    worker = Worker(on_server, replicas=2)
    worker.wait_ready(2)
    yield worker
    worker.stop()


@pytest.fixture
def link(on_server: str) -> Iterator[Link]:
    link = Link(on_server, patience=0.0)
    yield link
    link.close()


def test_inputs_that_failed_are_told_with_index_cause_traceback_and_input(worker: Worker, link: Link) -> None:
    list(tasks.fails_at.map(range(7), map_id="told", return_exceptions=True))
    (found,) = failures(link, "plain")
    assert (found.map, found.index, found.task) == ("told", 3, "tests.support.code.tasks.fails_at")
    assert (found.cause, found.input) == ("ValueError: no 3", "3")
    assert found.traceback.endswith("ValueError: no 3")
    assert 'raise ValueError(f"no {x}")' in found.traceback
    assert "rq requeue" not in found.traceback
    assert found.at is not None
    assert time.time() - found.at < 60
    assert failure(link, "plain", found.id) == found
    assert failure(link, "plain", "nothing") is None


def test_an_input_whose_replica_died_is_told_with_its_index_and_what_is_known(worker: Worker, link: Link) -> None:
    list(tasks.dies.map(range(6), map_id="lost", return_exceptions=True))
    (found,) = failures(link, "plain")
    assert (found.map, found.index, found.input) == ("lost", 3, "3")
    assert "SIGKILL" in found.cause


def test_failures_of_a_plain_map_are_shown_while_it_runs_and_after(worker: Worker, link: Link) -> None:
    def inputs() -> Iterator[int]:
        yield from range(4)
        assert eventually(lambda: failures(link, "plain"))
        shown = actorq("failures", "live", "--traceback", url=worker.url).stdout
        assert shown.startswith("3  ValueError: no 3\n    input: 3\n    Traceback")
        yield 5

    list(tasks.fails_at.map(inputs(), map_id="live", return_exceptions=True))
    rows = json.loads(actorq("failures", "live", "-o", "json", url=worker.url).stdout)
    assert [(row["index"], row["type"], row["message"], row["input"]) for row in rows] == [
        (3, "ValueError", "no 3", "3")
    ]
    assert "There is no run 'nothing'" in actorq("failures", "nothing", url=worker.url).stderr


def test_a_failure_that_nobody_can_read_says_so_and_the_others_are_shown(worker: Worker, link: Link) -> None:
    list(tasks.fails_at.map(range(7), map_id="told", return_exceptions=True))
    (one,) = failures(link, "plain")
    link.command("HSET", keys.job(one.id), "aq", b"\xc1", "description", b"\x1b[2J\xff", "ended_at", "never")
    link.command("DEL", keys.job_results(one.id))
    list(tasks.fails_at.map(range(7), map_id="after", return_exceptions=True))
    new, old = sorted(failures(link, "plain"), key=lambda each: each.map)
    assert (new.map, new.cause) == ("after", "ValueError: no 3")
    assert (old.map, old.index, old.traceback, old.at) == ("told", 3, "", None)
    assert old.input.startswith("(not shown: ")
    assert "\x1b" not in old.cause + old.task


def test_a_map_that_stands_is_seen_to_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace()
    for done in range(0, 200, 20):
        now += 1
        assert pace.rate(done + 20) == pytest.approx(20, rel=0.01)
    for _ in range(11):
        now += 1
        rate = pace.rate(200)
    assert rate == 0
    now += 1
    assert pace.rate(210) == pytest.approx(1, rel=0.1)


def test_a_map_tells_its_rate_and_how_many_replicas_run_it(worker: Worker, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    outputs = iter(tasks.until.map([__file__, __file__, str(flag), str(flag)], map_id="paced", order_outputs=False))
    next(outputs)
    next(outputs)

    def seen() -> Any:
        (view,) = told("status", "plain", url=worker.url)
        return [m for m in view["maps"] if m["done"] == 2 and m["rate"] > 0 and m["running"] == 2]

    assert eventually(seen)
    flag.touch()
    list(outputs)


def test_the_task_and_how_long_it_runs_are_told_of_a_replica(worker: Worker, link: Link, tmp_path: Path) -> None:
    outputs = iter(tasks.until.map([str(tmp_path / "flag")] * 2, map_id="runs"))

    def seen() -> Any:
        (view,) = environments(link, "plain")
        return all(
            r.task == "tests.support.code.tasks.until" and r.map == "runs" and r.running_seconds > 0
            for r in view.replicas
        )

    assert eventually(seen)
    (tmp_path / "flag").touch()
    list(outputs)


def test_a_map_of_an_environment_without_replicas_is_shown_with_its_pods_and_what_holds_them(asked: Asked) -> None:
    link = asked.link
    progress: dict[str, Argument] = {
        "task": "t",
        "started": time.time(),
        "total": 5,
        "done": 1,
        "failed": 0,
        "rate": 0.5,
    }
    told_of = progress | {"pods": 2, "held": "Quota is used up."}
    submitting.check(link, "pods", "m", "owner", last=b"0-0", leases=[], progress=told_of)
    (view,) = environments(link, "pods")
    (shown,) = view.maps
    assert (shown.pods, shown.running, shown.held, shown.eta) == (True, 2, "Quota is used up.", 8.0)
    assert not view.unserved
    table = actorq("status", url=link.url).stdout
    assert "Quota is used up." in table
    assert "2 pods" in table


def test_work_that_nobody_serves_is_marked(asked: Asked) -> None:
    asked.submit_all("", "")
    (view,) = environments(asked.link, "e")
    assert view.unserved
    assert "NOBODY SERVES IT" in actorq("status", "e", url=asked.link.url).stdout
