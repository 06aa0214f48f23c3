"""What the view shows where something is missing, slow, away, enormous or hostile."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

pytest.importorskip("textual", reason="the live view is tested by `make test-extras`, which installs textual")

import redis

from actorq.broker import keys
from actorq.broker.commands import iso_now
from tests.conftest import Worker
from tests.support.silent_proxy import proxy_of
from tests.watch.screen import Screen, shown

EVIL = "\x1b[2J\x1b]0;owned\x07[bold]not bold[/bold][@click=app.quit]x[/]\r\n\u202e"


def add_map(server: redis.Redis, name: str, environment: str = "e", **changes: Any) -> None:
    now = time.time()
    told: dict[Any, Any] = {
        "done": 5,
        "failed": 1,
        "total": 10,
        "task": "t",
        "started": now - 10,
        "rate": 2.5,
    } | changes
    server.hset(keys.map_(name), mapping=told)
    server.zadd(keys.maps(environment), {name: now + 100})


def add_environment(server: redis.Redis, name: str) -> None:
    server.sadd(keys.QUEUES, keys.queue(name))
    server.set(keys.used(name), time.time())


def add_replica(server: redis.Redis, name: str, environment: str = "e") -> None:
    server.sadd(keys.WORKERS, keys.worker(name))
    told: dict[Any, Any] = {
        "queues": environment,
        "birth": iso_now(),
        "last_heartbeat": iso_now(),
        "aq_state": "idle",
        "aq_inputs": 7,
    }
    server.hset(keys.worker(name), mapping=told)


def test_a_server_that_nobody_has_used_says_how_to_start_a_worker(server: str) -> None:
    async def look() -> None:
        async with shown(server) as screen:
            await screen.until(lambda: "Nothing here yet" in screen.text)
            await screen.until(lambda: f"actorq worker MODULE --redis-url {server}" in screen.text)
            await screen.press("t", "f", "c", "r", "e", "escape", "down", "enter", "tab", "enter")
            assert screen.over == ""

    asyncio.run(look())


def test_work_that_nobody_serves_is_seen_at_once(server: str) -> None:
    async def look() -> None:
        async with shown(server) as screen:
            await screen.until(lambda: "NOBODY SERVES IT" in screen.row("environments", "e"))

    with redis.Redis.from_url(server) as client:
        add_environment(client, "e")
        client.rpush(keys.queue("e"), "m-1")
    asyncio.run(look())


def test_an_address_where_no_server_is_says_so_and_answers_keys() -> None:
    async def look() -> None:
        async with shown("redis://:secret-word@127.0.0.1:1/0") as screen:
            await screen.until(lambda: screen.line("trouble").startswith("Server away"))
            assert "secret-word" not in screen.text
            await screen.press("question_mark")
            assert "Shift+Tab" in screen.over

    asyncio.run(look())


def test_the_last_picture_stays_when_the_server_goes(worker: Worker) -> None:
    async def look() -> None:
        async with shown(worker.url) as screen:
            await screen.until(lambda: len(screen.app.panels["replicas"].rows) == 2)
            worker.stop_server()
            await screen.until(lambda: screen.line("trouble").startswith("Server away, tried every second; this is "))
            assert len(screen.app.panels["replicas"].rows) == 2
            await screen.press("p", "y")
            await screen.press("q")

    asyncio.run(look())
    worker.process.kill()


def test_a_server_that_goes_silent_freezes_no_key_and_comes_back_by_itself(server: str) -> None:
    async def look(url: str) -> None:
        async with shown(url) as screen:
            await screen.until(lambda: screen.row("environments", "e"))
            proxy.silence()
            await screen.until(lambda: screen.line("trouble").startswith("Data "))
            await screen.press("question_mark")
            assert "Shift+Tab" in screen.over
            await screen.press("escape")
            await screen.until(lambda: screen.line("trouble") == "")
            assert screen.row("environments", "e")

    with redis.Redis.from_url(server) as client:
        add_environment(client, "e")
    with proxy_of(server) as proxy:
        asyncio.run(look(proxy.url))


def test_hostile_names_are_text(server: str) -> None:
    async def look() -> None:
        async with shown(server, size=(200, 40)) as screen:
            await screen.until(lambda: "[bold]not bold[/bold]" in screen.row("work", "\\x1b[2J"))
            await screen.press_in("work", "down")
            await screen.until(lambda: "[bold]not bold[/bold]" in screen.line("detail"))
            await screen.press("c")
            assert "[bold]not bold[/bold]" in screen.over
            await screen.press("y")
            await screen.until(lambda: screen.app._notifications)
            await screen.press("e")
            await screen.press("escape")
            await screen.press_in("replicas", "enter")
            assert "state     idle" in screen.over
            assert "x[/]" in screen.row("replicas", "\\x1b[2J")
            assert not set(screen.text) & set("\x1b\x07\r\u202e")
            await screen.press("escape")

    with redis.Redis.from_url(server) as client:
        add_environment(client, EVIL)
        add_map(client, EVIL, EVIL, task=EVIL, held=EVIL)
        add_replica(client, EVIL, EVIL)
        client.hset(keys.worker(EVIL), "aq_state", EVIL)
        client.set(keys.trouble(EVIL), EVIL)
    asyncio.run(look())


def test_hundreds_of_replicas_and_a_thousand_maps_are_listed_and_keep_the_cursor(server: str) -> None:
    async def look(client: redis.Redis) -> None:
        async with shown(server, size=(120, 40)) as screen:
            work, replicas = screen.app.panels["work"], screen.app.panels["replicas"]
            await screen.until(lambda: len(work.rows) == 1000 and len(replicas.rows) == 200)
            await screen.until(lambda: screen.lines("work")[0].startswith("MAPS AND RUNS 1,000"))
            await screen.press("end", *["up"] * 3)
            selected = work.selected
            assert selected is not None
            assert selected.key == ("e", "m-0003")
            await screen.until(lambda: screen.row("work", "m-0003").startswith("▸"))
            add_map(client, "m-new", started=time.time())
            await screen.until(lambda: len(work.rows) == 1001)
            assert work.selected is not None
            assert work.selected.key == selected.key
            await screen.until(lambda: screen.row("work", "m-0003").startswith("▸"))
            await screen.press_in("replicas", "pagedown", "pagedown")
            assert replicas.selected in list(replicas.rows)[10:]
            await screen.press("home")
            assert replicas.selected is replicas.rows[0]

    with redis.Redis.from_url(server) as client:
        add_environment(client, "e")
        begun = time.time() - 2000
        for number in range(1000):
            add_map(client, f"m-{number:04}", started=begun + number)
        for number in range(200):
            add_replica(client, f"r-{number:03}")
        asyncio.run(look(client))


async def rows_are_whole(screen: Screen) -> None:
    await screen.until(lambda: "5/10" in screen.row("work", "mine"))
    assert screen.row("work", "mine").startswith("▸")
    assert screen.app.panels["failures"].size.height >= 2


@pytest.mark.parametrize("colours", ["yes", "no"])
def test_a_narrow_terminal_shows_what_matters_with_and_without_colours(
    server: str, colours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1") if colours == "no" else monkeypatch.delenv("NO_COLOR", raising=False)

    async def look() -> None:
        async with shown(server, size=(80, 24)) as screen:
            await rows_are_whole(screen)
            await screen.until(lambda: "RESTARTS" not in screen.lines("replicas")[0])
            await screen.resize(160, 50)
            await rows_are_whole(screen)
            await screen.until(lambda: "RESTARTS" in screen.lines("replicas")[0])
            await screen.resize(20, 5)
            await screen.resize(80, 24)
            await rows_are_whole(screen)

    with redis.Redis.from_url(server) as client:
        add_environment(client, "e")
        add_map(client, "mine")
        add_replica(client, "r")
    asyncio.run(look())


def test_an_odd_record_says_so_and_hides_no_other(server: str) -> None:
    async def look() -> None:
        async with shown(server) as screen:
            await screen.until(lambda: all(screen.row("work", name) for name in ("odd", "well", "run")))
            assert "cannot be read in full: done is 'many'" in screen.row("work", "odd")
            assert "5/10" in screen.row("work", "well")

    with redis.Redis.from_url(server) as client:
        add_environment(client, "e")
        add_map(client, "odd", done="many")
        add_map(client, "well")
        client.zadd(keys.runs("e"), {"run": time.time() + 100})
        client.hset(keys.run("run"), mapping={"env": "e", "plan": b"\xc1", "state": "running", "count": "many"})
        client.zadd(keys.failed("e"), {"gone-1": 1})
    asyncio.run(look())
