"""The page of a server shows what is there, in each state of it, and keeps itself true."""

from __future__ import annotations

import html
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actorq.broker import keys
from actorq.page import live
from actorq.page.collector import Collector
from tests.conftest import Worker, eventually
from tests.support.code import tasks
from tests.support.served_page import Served, served
from tests.support.server_steps import Asked

#: tags, quotes, and what a terminal obeys
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[2J"


@pytest.fixture
def page(asked: Asked) -> Iterator[Served]:
    """Of a server that holds what its test writes."""
    with served(asked.link.url) as found:
        assert eventually(lambda: found.client.get("/readyz").status_code == 200)
        yield found


def known(asked: Asked, *maps: str, environment: str = "e", **fields: Any) -> None:
    """Live maps of an environment, as their programs tell of them."""
    now = time.time()
    told: dict[Any, Any] = {
        "done": 5,
        "failed": 0,
        "total": 10,
        "task": "t",
        "started": now - 10,
        "rate": 2.5,
        **fields,
    }
    client = asked.client
    client.sadd(keys.QUEUES, keys.queue(environment))
    client.set(keys.used(environment), now)
    pipeline = client.pipeline()
    for name in maps:
        pipeline.hset(keys.map_(name), mapping=told)
        pipeline.zadd(keys.maps(environment), {name: now + 100})
    pipeline.execute()


def events(page: Served, path: str) -> Iterator[dict[str, str]]:
    """What a stream sends."""
    with page.client.stream("GET", path) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        for line in reply.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def test_an_empty_server_is_shown_with_what_to_do(page: Served) -> None:
    text = page.get("/")
    assert "No environment was used on this server within a day." in text
    assert "No map is live, and no run is kept." in text
    assert "No replica is registered on this server." in page.get("/replicas")
    assert eventually(lambda: page.shows("/", "Valkey") or page.shows("/", "Redis"))


def test_maps_and_environments_are_shown_with_progress_rate_and_time_left(asked: Asked, page: Served) -> None:
    known(asked, "wiki", failed=2)
    known(asked, "pods", environment="other", pods=3, held="Quota is used up.")
    asked.submit_all("", "")
    assert eventually(lambda: page.shows("/", "Quota is used up."))
    text = page.get("/")
    assert 'aria-valuenow="50"' in text
    assert "5 of 10 done, 2 failed" in text
    assert "2.5/s" in text
    assert ">2.0 s<" in text
    assert "2 inputs wait, and nobody serves it." in text
    assert "3 pods" in text
    assert "Each input has a pod of its own" in page.get("/work", id="pods")


def test_a_map_that_has_ended_is_shown_as_it_was_seen_last(asked: Asked, page: Served) -> None:
    known(asked, "short")
    assert eventually(lambda: page.shows("/", "short"))
    asked.client.zrem(keys.maps("e"), "short")
    assert eventually(lambda: page.shows("/work", "It is not on the server any more.", id="short"))
    assert "5 of 10 done" in page.get("/work", id="short")


@pytest.mark.parametrize(
    "path", ["/work?id=nix", "/failures?env=nix", "/failure?env=e&id=nix", "/failure?id=nix", "/nix"]
)
def test_what_is_not_there_is_said_with_404(page: Served, path: str) -> None:
    reply = page.client.get(path)
    assert (reply.status_code, "Go to the overview" in reply.text) == (404, True)


def test_a_page_in_a_method_it_has_not_is_refused(page: Served) -> None:
    assert page.client.post("/").status_code == 405
    assert page.client.get("/do/cancel").status_code == 405


def test_names_of_anything_are_shown_as_text(asked: Asked, page: Served) -> None:
    known(asked, HOSTILE, environment=HOSTILE, task=HOSTILE, held=HOSTILE)
    client = asked.client
    client.set(keys.trouble(HOSTILE), HOSTILE)
    client.sadd(keys.WORKERS, keys.worker(HOSTILE))
    told: dict[Any, Any] = {
        "queues": HOSTILE,
        "birth": HOSTILE,
        "last_heartbeat": HOSTILE,
        "aq_state": HOSTILE,
        "aq_inputs": HOSTILE,
    }
    client.hset(keys.worker(HOSTILE), mapping=told)
    caches = {"functions": [{"function": HOSTILE, "entries": 1, "hits": 1}], "values": []}
    client.hset(keys.worker(HOSTILE), "aq_caches", json.dumps(caches))
    shown = (
        html.escape(HOSTILE.replace("\x1b", "\\x1b"), quote=True).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
    )
    assert eventually(lambda: page.shows("/", shown))
    name = HOSTILE.replace("\x1b", "\\x1b")
    queries: list[tuple[str, dict[str, str]]] = [
        ("/", {}),
        ("/", {"q": HOSTILE}),
        ("/work", {"id": name}),
        ("/replicas", {}),
        ("/replicas", {"q": HOSTILE, "env": HOSTILE, "state": HOSTILE}),
        ("/failures", {"env": name}),
        ("/work", {"id": HOSTILE}),
        ("/failure", {"id": HOSTILE, "env": HOSTILE, "q": HOSTILE}),
        ("/login", {"next": HOSTILE}),
    ]
    for path, query in queries:
        text = page.client.get(path, params=query).text
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "\x1b" not in text
        assert 'style="' not in text


def test_a_record_that_cannot_be_read_hides_nothing_else(asked: Asked, page: Served) -> None:
    known(asked, "fine", "odd")
    asked.client.delete(keys.map_("odd"))
    asked.client.rpush(keys.map_("odd"), "x")
    asked.client.zadd(keys.runs("e"), {"run": time.time() + 100})
    asked.client.hset(keys.run("run"), mapping={"env": "e", "plan": "x", "state": "running", "count": "many"})
    assert eventually(lambda: page.shows("/", "holds another kind of value"))
    assert eventually(lambda: page.shows("/", "no whole number"), timeout=60)
    assert "fine" in page.get("/")


def test_a_thousand_maps_and_two_hundred_replicas_are_shown_in_parts(asked: Asked, page: Served) -> None:
    known(asked, *(f"map-{number:04}" for number in range(1000)))
    pipeline = asked.client.pipeline()
    for number in range(200):
        key = keys.worker(f"replica-{number:03}")
        pipeline.sadd(keys.WORKERS, key)
        pipeline.hset(key, mapping={"queues": "e", "birth": "2026-11-29T00:00:00Z", "aq_state": "idle"})
    pipeline.execute()
    assert eventually(lambda: page.shows("/", "of 1,000"))
    first, last = page.get("/"), page.get("/", page="10")
    assert first.count('<tr id="work-') == last.count('<tr id="work-') == 100
    assert "map-0000" in first
    assert "map-0999" in last
    assert page.get("/", q="map-0777").count('<tr id="work-') == 1
    assert "None of 1,000" in page.get("/", q="no such")
    assert eventually(lambda: page.shows("/replicas", "1\N{EN DASH}100 of 200"))
    assert "replica-199" in page.get("/replicas", page="2")
    assert "1\N{EN DASH}10 of 10" in page.get("/replicas", q="replica-01", state="idle", env="e")


def test_a_server_that_goes_away_leaves_what_was_seen_and_says_how_old_it_is(asked: Asked, page: Served) -> None:
    known(asked, "wiki")
    assert eventually(lambda: page.shows("/", "wiki"))
    asked.client.shutdown(nosave=True)
    assert eventually(lambda: page.shows("/", "The server does not answer."))
    text = page.get("/")
    assert "wiki" in text
    assert re.search(r"What you see is [\d.]+ (s|min) old", text)
    assert page.client.get("/readyz").status_code == 503
    assert page.client.get("/livez").status_code == 200


def test_data_that_nobody_renews_are_called_old(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Collector, "take", lambda self: self.look)
    now = time.time()
    monkeypatch.setattr("actorq.page.pages.time.time", lambda: now + 60)
    assert eventually(lambda: page.shows("/", "These data are old."))


def test_a_look_that_fails_is_told_and_the_next_one_is_shown(
    asked: Asked, page: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise RuntimeError("odd <b>")

    with monkeypatch.context() as broken:
        broken.setattr("actorq.page.collector.environments", fails)
        assert eventually(
            lambda: page.shows("/", "A look failed, and so these data are old. RuntimeError: odd &lt;b&gt;")
        )
    known(asked, "later")
    assert eventually(lambda: page.shows("/", "later"))
    assert not page.shows("/", "A look failed")


def test_a_page_of_a_server_that_never_answered_says_so() -> None:
    with served("redis://127.0.0.1:1/0") as page:
        assert eventually(lambda: page.shows("/", "Nothing was seen of it yet."))
        for path in ("/", "/replicas"):
            assert page.client.get(path).status_code == 200
        assert page.client.get("/readyz").status_code == 503


def test_a_stream_sends_each_part_once_and_then_what_has_changed(asked: Asked, page: Served) -> None:
    known(asked, "wiki")
    assert eventually(lambda: page.shows("/", "wiki"))
    seen: list[str] = []
    for event in events(page, "/live/overview"):
        seen.append(event["part"])
        if len(seen) == 8:
            assert len(set(seen)) == 8
            known(asked, "second")
        if event["part"] == "work" and "second" in event["html"]:
            break
    assert seen.count("health") <= 2


def test_a_stream_of_a_map_that_comes_later_begins_with_it(asked: Asked, page: Served) -> None:
    threading.Timer(0.5, known, (asked, "late")).start()
    found = next(event for event in events(page, "/live/work?id=late") if event["part"] == "progress")
    assert "5 of 10 done" in found["html"]


def test_readers_beyond_the_limit_are_told_to_come_back(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.Hub.__init__, "__defaults__", (2,))
    with served(asked.link.url) as page:
        streams = [events(page, "/live/overview") for _ in range(2)]
        for stream in streams:
            next(stream)
        refused = page.client.get("/live/overview")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        streams[0].close()  # type: ignore[attr-defined]

        def taken() -> bool:
            with page.client.stream("GET", "/live/overview") as reply:
                return reply.status_code == 200

        assert eventually(taken)


def test_failures_are_grouped_and_shown_with_traceback_and_input(worker: Worker) -> None:
    with served(worker.url) as page:
        list(tasks.fails_at.map(range(7), map_id="told", return_exceptions=True))
        assert eventually(lambda: page.shows("/", "/failures?env=plain"))
        text = page.get("/failures", env="plain")
        assert "1 failure, for 1 reason." in text
        assert "support/code/tasks.py:" in text
        assert html.escape('raise ValueError(f"no {x}")', quote=False).replace('"', "&#34;") in text
        link = re.search(r'href="(/failure\?[^"]+)"', text)
        assert link is not None
        one = page.client.get(html.unescape(link[1]))
        assert "ValueError: no 3" in one.text
        assert "Traceback (most recent call last)" in one.text
        assert "<code>3</code>" in one.text


def test_failures_of_a_run_are_those_that_it_keeps(worker: Worker) -> None:
    with served(worker.url) as page:
        run = tasks.fails_at.spawn_map(range(7), map_id="kept", return_exceptions=True)
        run.wait(60)
        assert eventually(lambda: page.shows("/work", "ValueError", id="kept"), timeout=60)
        text = page.get("/work", id="kept")
        assert "7 of 7 done, 1 failed" in text
        assert "/failure?id=kept&amp;q=3" in text
        assert "ValueError: no 3" in page.get("/failure", id="kept", q="3")
        assert page.client.get("/failure", params={"id": "kept", "q": "4"}).status_code == 404
        run.delete()


def test_replicas_show_what_they_run_and_what_they_hold(worker: Worker, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    with served(worker.url) as page:
        assert len(list(tasks.uses_secrets.map(["secret-1"] * 20))) == 20
        outputs = iter(tasks.until.map([str(flag), str(flag)], map_id="held"))
        thread = threading.Thread(target=lambda: list(outputs))
        thread.start()
        try:
            assert eventually(lambda: page.shows("/replicas", "/work?id=held"))
            assert eventually(lambda: page.shows("/replicas", "tests.support.code.tasks.opened"))
            assert "secret-1" not in page.get("/replicas")
            assert eventually(lambda: page.shows("/work", "% this map", id="held"))
            assert "Sampled" in page.get("/work", id="held")
        finally:
            flag.touch()
            thread.join()
