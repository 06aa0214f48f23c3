"""Every key does what it says, to real maps and runs on real replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("textual", reason="the live view is tested by `make test-extras`, which installs textual")

import redis

import actorq
from actorq.broker import keys
from tests.conftest import Worker
from tests.support.code import tasks
from tests.watch.screen import Screen, shown


@pytest.fixture
def served(shared_worker: Worker) -> Iterator[str]:
    """A server with two replicas, and no failure of another test's."""
    yield shared_worker.url
    with redis.Redis.from_url(shared_worker.url) as server:
        server.delete(keys.SUSPENDED, keys.failed("plain"))


async def select(screen: Screen, name: str) -> None:
    await screen.until(lambda: screen.row("work", name))
    screen.app.panels["work"].select_key(("plain", name))


def test_c_cancels_the_selected_map_when_a_person_says_yes(served: str, tmp_path: Path) -> None:
    outputs = iter(tasks.until.map([str(tmp_path / "flag")] * 4, map_id="live"))

    async def look() -> None:
        async with shown(served) as screen:
            await select(screen, "live")
            await screen.press("c")
            assert "Cancel live?" in screen.over
            await screen.press("n")
            assert screen.over == ""
            await screen.until(lambda: "live · tests.support.code.tasks.until" in screen.line("detail"))
            await screen.press("c", "y")
            await screen.until(lambda: not screen.row("work", "live"))

    asyncio.run(look())
    with pytest.raises(actorq.ActorqError, match="cancel"):
        list(outputs)


def test_c_cancels_the_selected_run(served: str) -> None:
    run = tasks.wait.spawn_map([0.05] * 1000, map_id="long")

    async def look() -> None:
        async with shown(served) as screen:
            await select(screen, "long")
            await screen.until(lambda: "run, " in screen.row("work", "long"))
            await screen.press("c", "y")
            await screen.until(lambda: screen.row("work", "long").endswith("cancelled"))

    asyncio.run(look())
    assert run.state == "cancelled"
    run.delete()


def test_c_leaves_what_has_ended_as_it_is(served: str) -> None:
    run = tasks.double.spawn_map(range(3), map_id="over")
    run.wait(timeout=30)

    async def look() -> None:
        async with shown(served) as screen:
            await select(screen, "over")
            await screen.press("c")
            assert screen.over == ""

    asyncio.run(look())
    assert run.state == "done"
    run.delete()


def test_r_runs_again_what_failed_of_the_selected_run(served: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    run = tasks.needs.spawn_map([str(flag)] * 4, range(4), map_id="again")
    assert run.wait(timeout=30) == "failed"

    async def look() -> None:
        async with shown(served) as screen:
            await select(screen, "again")
            await screen.until(lambda: screen.row("work", "again").endswith("failed"))
            flag.touch()
            await screen.press("r")
            await screen.until(lambda: screen.row("work", "again").endswith("done"))

    asyncio.run(look())
    assert run.results() == [0, 1, 2, 3]
    run.delete()


def test_r_says_why_a_map_cannot_be_retried(served: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    outputs = iter(tasks.until.map([str(flag)], map_id="plainly"))

    async def look() -> None:
        async with shown(served) as screen:
            await select(screen, "plainly")
            await screen.press("r")
            told = [note.message for note in screen.app._notifications]
            assert told == ["Select a run that has ended: r runs again what failed of it."]

    asyncio.run(look())
    flag.touch()
    list(outputs)


def test_p_pauses_all_replicas_and_has_them_go_on(served: str) -> None:
    async def look(server: redis.Redis) -> None:
        async with shown(served) as screen:
            await screen.until(lambda: "2 idle" in screen.row("environments", "plain"))
            await screen.press("p", "n")
            assert not server.exists(keys.SUSPENDED)
            await screen.press("p", "y")
            await screen.until(lambda: "Paused" in screen.line("trouble"))
            assert server.exists(keys.SUSPENDED)
            await screen.until(lambda: "2 suspended" in screen.row("environments", "plain"))
            await screen.press("p", "y")
            await screen.until(lambda: screen.line("trouble") == "")
            assert not server.exists(keys.SUSPENDED)

    with redis.Redis.from_url(served) as server:
        asyncio.run(look(server))


@pytest.mark.parametrize("key", ["t", "enter"])
def test_a_failure_is_shown_with_its_traceback_and_input(served: str, key: str) -> None:
    list(tasks.fails_at.map(range(7), map_id="told", return_exceptions=True))

    async def look() -> None:
        async with shown(served) as screen:
            await screen.until(lambda: len(screen.app.panels["failures"].rows) == 1)
            await screen.until(lambda: screen.lines("failures")[1].endswith("told 3 fails_at ValueError: no 3"))
            await screen.press_in("failures", key)
            await screen.until(lambda: 'raise ValueError(f"no {x}")' in screen.over)
            assert "index 3 of told" in screen.over
            assert "input    3" in screen.over
            await screen.press("escape")
            assert screen.over == ""

    asyncio.run(look())


def test_f_shows_only_the_failures_of_the_selected_map_and_again_all(served: str) -> None:
    list(tasks.fails_at.map(range(7), map_id="other", return_exceptions=True))
    run = tasks.fails_at.spawn_map(range(7), map_id="mine")
    run.wait(timeout=30)

    async def look() -> None:
        async with shown(served) as screen:
            await select(screen, "mine")
            failures = screen.app.panels["failures"]
            await screen.until(lambda: len(failures.rows) == 2)
            await screen.press_in("work", "f")
            await screen.until(lambda: len(failures.rows) == 1)
            await screen.until(lambda: " mine 3 " in screen.lines("failures")[1])
            await screen.until(lambda: "only of mine" in screen.lines("failures")[0])
            await screen.press("f")
            await screen.until(lambda: len(failures.rows) == 2)

    asyncio.run(look())
    run.delete()


def test_an_environment_is_chosen_by_a_part_of_its_name(served: str) -> None:
    async def look() -> None:
        async with shown(served, "nobody") as screen:
            await screen.until(lambda: screen.row("environments", "plain"))
            assert screen.app.panels["replicas"].rows == []
            await screen.press("slash")
            await screen.press(*"lai", "enter")
            await screen.until(lambda: len(screen.app.panels["replicas"].rows) == 2)
            assert "only plain" in screen.line("server")
            await screen.press("e", "enter")
            await screen.until(lambda: "only plain" not in screen.line("server"))
            await screen.press_in("environments", "enter")
            await screen.until(lambda: "only plain" in screen.line("server"))

    asyncio.run(look())


def test_a_replica_shows_what_it_runs_and_holds(served: str) -> None:
    async def look() -> None:
        async with shown(served) as screen:
            await screen.until(lambda: len(screen.app.panels["replicas"].rows) == 2)
            await screen.press_in("replicas", "down", "enter")
            assert "state     idle" in screen.over
            await screen.press("escape")

    asyncio.run(look())


def test_tab_and_arrows_select_and_help_tells_of_them(served: str) -> None:
    async def look() -> None:
        async with shown(served) as screen:
            await screen.until(lambda: len(screen.app.panels["replicas"].rows) == 2)
            await screen.press("tab", "down")
            first, second = (row.key[-1] for row in screen.app.panels["replicas"].rows)
            assert screen.line("detail").startswith(second)
            await screen.press("up")
            assert screen.line("detail").startswith(first)
            await screen.press("question_mark")
            assert "Shift+Tab" in screen.over
            await screen.press("question_mark", "q")
            await screen.until(lambda: not screen.app.is_running)

    asyncio.run(look())
