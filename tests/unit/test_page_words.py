"""What the page says in words: of numbers, of what needs attention, and of failures that are alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actorq.cache.report import CacheReport
from actorq.monitor.doctor import Facts
from actorq.monitor.failures import FailureView
from actorq.monitor.model import EnvironmentView, MapView, ReplicaView
from actorq.page import words
from actorq.page.attention import notices
from actorq.page.collector import Look
from actorq.page.failed import grouped, last_own_line
from actorq.page.rows import ROWS, Query, part
from actorq.page.work import all_work, matching

VIEW = EnvironmentView(
    name="e",
    queued_leases=0,
    queued_inputs=0,
    oldest_seconds=0.0,
    running_leases=0,
    failed_inputs=0,
    replicas=[],
    maps=[],
)
INFO = {"redis_version": "7.2.0", "maxmemory_policy": "noeviction", "used_memory": "1000000", "connected_clients": "3"}
FAILURE = FailureView(
    id="j",
    environment="e",
    map="m",
    index=1,
    task="t",
    type="ValueError",
    message="no 1",
    traceback="",
    replica="r",
    at=1.0,
    input="1",
)


def replica(name: str, state: str) -> ReplicaView:
    return ReplicaView(
        name=name,
        state=state,
        map="",
        index=None,
        heartbeat_seconds=0.0,
        inputs=0,
        restarts=0,
        cached=0,
        cached_bytes=0,
        caches=CacheReport(),
    )


def live(name: str, **fields: object) -> MapView:
    known = {"task": "t", "total": 10, "done": 5, "failed": 0, "rate": 1.0, "seconds": 2.0}
    return MapView(id=name, **{**known, **fields})  # type: ignore[arg-type]


def said(look: Look) -> str:
    return "\n".join(f"{each.level}: {each.text} {each.advice}" for each in notices(look))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (replace(VIEW, queued_leases=2, queued_inputs=1), "bad: e: 1 input waits, and nobody serves it."),
        (replace(VIEW, trouble="no quota"), "bad: e has no pool: no quota"),
        (replace(VIEW, maps=[live("m", held="Quota is used up.")]), "bad: The pods of m are held up: Quota"),
        (replace(VIEW, problem="k is odd"), "note: e cannot be read in full: k is odd."),
        (replace(VIEW, replicas=[replica("a", "quarantined")]), "bad: e: replica a cannot start."),
        (replace(VIEW, replicas=[replica("a", "failing")]), "bad: e: replica a fails to start."),
        (
            replace(VIEW, replicas=[replica(name, "stale") for name in "abcde"]),
            "bad: e: each of 5 replicas (a, b, c and 2 more) was not heard of for a lease.",
        ),
    ],
)
def test_what_is_wrong_with_an_environment_is_said_in_words(view: EnvironmentView, expected: str) -> None:
    assert expected in said(Look(environments=[view]))


def test_nothing_is_said_of_what_is_well() -> None:
    well = replace(VIEW, replicas=[replica("a", "busy"), replica("b", "idle")], maps=[live("m")])
    assert said(Look(environments=[well])) == ""


def test_a_server_without_persistence_and_a_suspended_one_are_told() -> None:
    facts = Facts(info=INFO, config={"save": ""}, ahead=0.0, trip=0.001, scripts="")
    assert "note: Server, persistence: none. A restart of the server loses all runs" in said(Look(facts=facts))
    assert "signing" not in said(Look(facts=facts))
    full = replace(facts, info={**INFO, "maxmemory_policy": "allkeys-lru", "maxmemory": "1"})
    assert notices(Look(facts=full))[0].level == "bad"
    assert "All queues are suspended, for 90 s more, or until" in said(Look(suspended=90))
    assert "All queues are suspended, until somebody resumes" in said(Look(suspended=-1))


def test_the_worst_is_said_first() -> None:
    odd = replace(VIEW, problem="odd")
    levels = [each.level for each in notices(Look(environments=[odd, replace(VIEW, trouble="none")]))]
    assert levels == ["bad", "note"]


TRACEBACK = """Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/actorq/replica/executor/run.py", line 3, in run
    return task(value)
  File "/app/tasks.py", line 12, in embed
    return parse(text)
  File "/app/tasks.py", line 30, in parse
    raise ValueError(text)
  File "/opt/venv/lib/python3.11/site-packages/numpy/core.py", line 9, in dot
    raise ValueError
ValueError: no 1"""


def test_the_last_own_line_is_that_of_the_last_frame_which_is_no_packages() -> None:
    assert last_own_line(TRACEBACK) == ("/app/tasks.py:30 in parse", "raise ValueError(text)")
    foreign = TRACEBACK.replace("/app/", "/usr/lib/python3.11/")
    assert last_own_line(foreign)[0] == "…/site-packages/numpy/core.py:9 in dot"
    assert last_own_line("It died of SIGKILL.") == ("", "")
    assert last_own_line('  File "<string>", line 1, in <module>') == ("<string>:1 in <module>", "")


def test_failures_with_one_type_and_one_line_are_one_group_whatever_they_say() -> None:
    two = [replace(FAILURE, index=i, message=f"no {i}", traceback=TRACEBACK) for i in (5, 4)]
    other = replace(FAILURE, type="KeyError", traceback=TRACEBACK)
    groups = grouped([other, *two])
    assert [(group.type, len(group.failures)) for group in groups] == [("ValueError", 2), ("KeyError", 1)]
    assert groups[0].newest.index == 5
    assert len({group.key for group in groups}) == 2


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.number(1234567), "1,234,567"),
        (words.clock(0), "00:00:00 UTC"),
        (words.stamp(None), "-"),
        (words.percent(5, None), 0.0),
        (words.percent(7, 5), 100.0),
    ],
)
def test_numbers_are_told_as_people_read_them(shown: object, expected: object) -> None:
    assert shown == expected


def test_a_query_is_what_an_address_says_and_its_page_a_number() -> None:
    query = Query.of({"q": "a b", "page": "3", "else": "x"})
    assert (query.q, query.page, str(query)) == ("a b", 3, "q=a+b&page=3")
    for odd in ("0", "-1", "²", "x", "", "99999999"):
        assert Query.of({"page": odd}).page == 1
    assert len(Query.of({"q": "x" * 10_000}).q) == 200


@pytest.mark.parametrize(("page", "first", "last"), [(1, 1, ROWS), (3, 2 * ROWS + 1, 250), (99, 2 * ROWS + 1, 250)])
def test_a_long_table_is_shown_in_parts(page: int, first: int, last: int) -> None:
    shown = part(range(1, 251), Query(page=page))
    assert (shown.first, shown.last, shown.total) == (first, last, 250)
    assert [*shown.rows] == [*range(first, last + 1)]
    assert (shown.before is None, shown.after is None) == (page == 1, page > 1)


def test_work_is_found_by_words_of_its_row() -> None:
    look = Look(environments=[replace(VIEW, maps=[live("wiki"), live("mail", task="read")], runs={"mail": 5})])
    rows = all_work(look)
    assert [(row.id, row.kind) for row in rows] == [("mail", "run"), ("wiki", "map")]
    assert [row.id for row in matching(rows, "RUN read")] == ["mail"]
    assert matching(rows, "nothing") == []
