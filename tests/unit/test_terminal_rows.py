"""The rows of the live view say what a look has found, shortest where it is narrow, in full on their line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actorq.monitor.model import EnvironmentView
from actorq.terminal.header import nothing_yet, server_line, trouble_line
from actorq.terminal.history import Births, Rates
from actorq.terminal.picture import Picture, Scope
from actorq.terminal.rows import (
    ENVIRONMENTS,
    FAILURES,
    REPLICAS,
    Row,
    environment_rows,
    failure_rows,
    failure_text,
    replica_rows,
    replica_text,
)
from actorq.terminal.words import Text
from actorq.terminal.work import WORK, work_rows
from tests.pictures.scene import scene


def texts(row: Row) -> list[str]:
    return [cell.text for cell in row.cells if isinstance(cell, Text)]


def told(rows: list[Row]) -> dict[str, list[str]]:
    return {row.key[-1]: texts(row) for row in rows}


def with_first(picture: Picture, **changes: Any) -> Picture:
    """The scene with another first environment."""
    first, *others = picture.environments
    return replace(picture, environments=[replace(first, **changes), *others])


@pytest.fixture
def picture() -> Picture:
    return scene()


def test_every_row_has_a_cell_for_each_column(picture: Picture) -> None:
    tables = [
        (ENVIRONMENTS, environment_rows(picture, Rates(), 0.0)),
        (WORK, work_rows(picture, Births())),
        (REPLICAS, replica_rows(picture)),
        (FAILURES, failure_rows(picture)),
    ]
    for columns, rows in tables:
        assert rows
        assert {len(row.cells) for row in rows} == {len(columns)}


def test_environments_tell_what_waits_and_who_serves_them(picture: Picture) -> None:
    rows = told(environment_rows(picture, Rates(), 0.0))
    assert rows["embeddings"] == ["embeddings", "2,480", "3 s", "7", "3", "7 busy, 1 failing", "212/s"]
    assert rows["reports"][5] == "2 pods"
    assert rows["thumbnails"][2:6] == ["3 min", "0", "0", "NOBODY SERVES IT"]


def test_trouble_of_an_environment_is_on_its_line(picture: Picture) -> None:
    row = environment_rows(with_first(picture, trouble="quota", problem="odd"), Rates(), 0.0)[0]
    assert texts(row)[5] == "7 busy, 1 failing, trouble"
    assert "no pool: quota; embeddings cannot be read in full: odd" in row.detail


def test_maps_come_newest_first_and_before_runs_that_have_ended(picture: Picture) -> None:
    rows = work_rows(picture, Births())
    names = [row.key[-1] for row in rows]
    assert (names[0], names[-1]) == ("evening-check", "nightly-11-28")
    assert told(rows)["wiki-2026-11"] == [
        "wiki-2026-11", "embed", "46,213/120,000", "38%", "171/s", "7 min", "3", "5 leases",
    ]  # fmt: skip
    assert told(rows)["from-a-stream"][2:6] == ["9,120/?", "", "31/s", ""]
    assert told(rows)["nightly-11-28"][-1] == "failed"


def test_rows_stay_in_their_places_while_ages_are_rounded(picture: Picture) -> None:
    births = Births()
    first = [row.key for row in work_rows(picture, births)]
    maps = [
        replace(each, seconds=each.seconds + (0.0 if i else 1000.0))
        for i, each in enumerate(picture.environments[0].maps)
    ]
    assert [row.key for row in work_rows(with_first(picture, maps=maps), births)] == first


def test_what_holds_pods_is_told_in_full(picture: Picture) -> None:
    (row,) = [row for row in work_rows(picture, Births()) if row.key[-1] == "r-0817"]
    assert texts(row)[-1] == "held up: 2 pods wait for a node: insufficient memory"
    assert "insufficient memory" in row.detail


def test_a_run_that_nobody_drives_says_so(picture: Picture) -> None:
    alone = replace(picture.runs[0], state="running")
    row = told(work_rows(replace(picture, runs=[alone]), Births()))[alone.id]
    assert row[-1] == "nobody drives it: start a worker"


def test_a_map_that_is_a_run_is_one_row(picture: Picture) -> None:
    run = replace(picture.runs[0], id="wiki-2026-11", state="running", driver="host:1")
    rows = told(work_rows(replace(picture, runs=[run]), Births()))
    assert len(rows) == 4
    assert rows["wiki-2026-11"][-1] == "run, 5 leases"


def test_a_run_whose_driver_has_not_read_all_inputs_has_the_total_that_is_stored(picture: Picture) -> None:
    run = replace(picture.runs[0], id="from-a-stream", state="running", driver="host:1", total=10_050)
    row = told(work_rows(replace(picture, runs=[run]), Births()))["from-a-stream"]
    assert row[2:6] == ["9,120/10,050", "90%", "31/s", "30 s"]


def test_replicas_tell_what_they_run_and_what_they_hold(picture: Picture) -> None:
    rows = told(replica_rows(picture))
    assert rows["gpu-2.2"] == [
        "gpu-2.2", "busy", "embed", "from-a-stream", "9,121", "75 s", "1,523", "1, 1.2 GiB", "1,523", "2 s", "0", "",
    ]  # fmt: skip
    assert rows["gpu-2.3"][1:6] == ["failing", "", "", "", ""]
    assert "texts.model: 1 value, 1,523 hits" in replica_text(picture.environments[0].replicas[6])


def test_failures_tell_their_cause_in_one_line_and_all_of_it_when_asked(picture: Picture) -> None:
    assert texts(failure_rows(picture)[0]) == ["12 s", "wiki-2026-11", "45,118", "embed", "ValueError: text is empty"]
    text = "\n".join(failure_text(picture.failures[0]))
    assert "input    ''" in text
    assert text.endswith("ValueError: text is empty")


def test_only_the_environment_that_is_wanted_is_shown_but_for_its_neighbours_names(picture: Picture) -> None:
    only = replace(picture, scope=Scope("reports"), runs=[])
    assert list(told(work_rows(only, Births()))) == ["r-0817"]
    assert replica_rows(only) == []
    assert len(environment_rows(only, Rates(), 0.0)) == 3


def line(picture: Picture, **changes: Any) -> str:
    return "".join(span.text for span in server_line(replace(picture.server, **changes), picture.scope))


def test_the_header_tells_of_the_server_what_its_login_may_know(picture: Picture) -> None:
    address = "redis://:***@queue.internal:6379/0"
    assert line(picture) == f"{address}  ·  Valkey 9.1.0  ·  412 MiB of 2.0 GiB  ·  37 clients  ·  append-only file"
    assert line(picture, version="", used_bytes=None, clients=None, persistence="") == address
    assert "nothing on disk" in line(picture, persistence="none")


def test_a_server_that_is_away_slow_or_paused_is_told_of(picture: Picture) -> None:
    def trouble(seconds: float, away: str = "", seen: Picture | None = picture) -> str:
        found = trouble_line(seen, away, "redis://x", picture.taken + seconds)
        return "" if found is None else found.text

    assert trouble(1) == ""
    assert trouble(12) == "Data 12 s old: the server, or the way to it, is slow."
    away = "Server away, tried every second; this is 12 s old. It refuses. Start it."
    assert trouble(12, "It refuses. Start it.") == away
    assert trouble(0, seen=None) == "Asking redis://x …"
    assert trouble(0, "It refuses.", None) == "Server away, tried every second. It refuses."
    paused = replace(picture, server=replace(picture.server, suspended=True))
    assert trouble(1, seen=paused).startswith("Paused")


def test_an_empty_server_says_how_to_start_a_worker(picture: Picture) -> None:
    assert any("actorq worker MODULE --redis-url redis://x" in text for text in nothing_yet(picture, "redis://x"))


def test_what_an_environment_without_anything_shows_is_no_error() -> None:
    bare = EnvironmentView(
        name="e", queued_leases=0, queued_inputs=0, oldest_seconds=0.0, running_leases=0, failed_inputs=0,
        replicas=[], maps=[],
    )  # fmt: skip
    picture = replace(scene(), environments=[bare], runs=[], failures=[])
    assert told(environment_rows(picture, Rates(), 0.0))["e"][5] == "none"
