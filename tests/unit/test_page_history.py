"""What the monitor remembers of maps, environments and replicas has a limit, and the newest of it stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actorq.cache.report import CacheReport
from actorq.monitor.model import EnvironmentView, MapView, ReplicaView
from actorq.page import history
from actorq.page.history import History, kind_of

REPLICA = ReplicaView(
    name="r",
    state="busy",
    map="m",
    index=None,
    heartbeat_seconds=0.0,
    inputs=0,
    restarts=0,
    cached=0,
    cached_bytes=0,
    caches=CacheReport(),
)


def view(name: str, *maps: str, **fields: object) -> EnvironmentView:
    live = [MapView(id=m, task="t", total=10, done=5, failed=0, rate=2.0, seconds=1.0) for m in maps]
    known = {"queued_leases": 1, "queued_inputs": 3, "oldest_seconds": 0.0, "running_leases": 0, "failed_inputs": 0}
    return EnvironmentView(name=name, maps=live, **{**known, "replicas": [REPLICA], **fields})  # type: ignore[arg-type]


def test_totals_are_those_of_all_environments() -> None:
    found = History()
    found.add(100.0, [view("a", "m", "n"), view("b", "o")])
    rate, queued = found.total(100.0)
    assert (rate[-1], queued[-1]) == (6.0, 6.0)
    assert found.rates("a", 100.0)[-1] == 4.0
    assert found.rate_of_map("o", 100.0)[-1] == 2.0
    assert found.rates("nothing", 100.0) == found.rate_of_map("nothing", 100.0) == []


def test_a_map_that_is_gone_is_remembered_as_it_was_seen_last() -> None:
    found = History()
    found.add(1.0, [view("a", "m", runs={"m": 5})])
    found.add(2.0, [view("a")])
    course = found.last_of_map("m")
    assert course is not None
    assert (course.view.done, course.environment, course.seen, course.run) == (5, "a", 1.0, True)
    assert found.last_of_map("nothing") is None


def test_beyond_its_limits_what_was_seen_longest_ago_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ENVIRONMENTS", "_MAPS", "_REPLICAS"):
        monkeypatch.setattr(history, name, 3)
    found = History()
    for at in range(10):
        replicas = [replace(REPLICA, name=f"r{at}")]
        found.add(float(at), [view("stays", "stays"), view(f"e{at}", f"m{at}", replicas=replicas)])
    assert found.last_of_map("stays") is not None
    assert found.last_of_map("m9") is not None
    assert found.last_of_map("m5") is None
    assert found.rates("e5", 9.0) == []
    assert found.timelines("e5", 9.0) == {}
    assert (len(found._maps), len(found._environments), len(found._timelines)) == (3, 3, 3)


def test_maps_that_run_together_have_colours_of_their_own() -> None:
    found = History()
    names = [f"m{number}" for number in range(8)]
    found.add(1.0, [view("a", *names)])
    assert len({found.colour(name) for name in names}) == 8
    assert found.colour("never seen") == "other"


def test_timelines_show_replicas_of_the_environment_that_were_seen_lately() -> None:
    found = History()
    found.add(1.0, [view("a"), view("b", replicas=[replace(REPLICA, name="other")])])
    assert [*found.timelines("a", 2.0)] == ["r"]
    assert found.timelines("a", 1000.0) == {}


@pytest.mark.parametrize(
    ("state", "kind"),
    [("busy", "busy"), ("idle", "idle"), ("suspended", "idle"), ("stale", "away"), ("quarantined", "away")],
)
def test_a_timeline_shows_what_a_replica_is_able_to_do(state: str, kind: str) -> None:
    assert kind_of(replace(REPLICA, state=state)) == kind
