"""What `actorq doctor` thinks of a server."""

from __future__ import annotations

from typing import Any

import pytest

from actorq.broker.link import Link
from actorq.monitor.doctor import BAD, NOTE, OK, Facts, Finding, WorkerVersions, findings, look
from actorq.wire.messages import PROTOCOL
from tests.support.server_steps import Asked

GOOD = {
    "redis_version": "7.4.0",
    "role": "master",
    "aof_enabled": "1",
    "maxmemory_policy": "noeviction",
    "used_memory": "1000000",
    "maxmemory": "0",
    "total_system_memory": "8000000000",
    "connected_clients": "3",
    "maxclients": "10000",
}


def facts(**changes: Any) -> Facts:
    given: dict[str, Any] = {
        "info": GOOD,
        "config": {"appendfsync": "everysec", "save": ""},
        "ahead": 0.0,
        "trip": 0.0001,
        "scripts": "",
        "workers": {"w1": WorkerVersions("0.1.0", str(PROTOCOL))},
    }
    return Facts(**{**given, **changes})


def found(what: str, **changes: Any) -> Finding:
    return next(each for each in findings(facts(**changes)) if each.what == what)


def test_a_good_server_has_nothing_bad() -> None:
    assert BAD not in {each.level for each in findings(facts())}
    assert found("persistence").level == OK
    assert "loses the last second" in found("persistence").advice


@pytest.mark.parametrize(
    ("what", "level", "told", "changes"),
    [
        ("version", BAD, "Redis 6.0", {"redis_version": "6.0.9"}),
        ("cluster", BAD, "a Redis Cluster", {"cluster_enabled": "1"}),
        ("role", BAD, "a read-only replica", {"role": "slave"}),
        ("eviction", BAD, "drops keys when it is full", {"maxmemory_policy": "allkeys-lru", "maxmemory": "9000000"}),
        ("eviction", NOTE, "without a limit", {"maxmemory_policy": "allkeys-lru"}),
        ("memory", NOTE, "977 KiB used of 1.0 MiB", {"maxmemory": "1100000"}),
        ("memory", NOTE, "4.7 GiB used, no limit", {"used_memory": "5000000000"}),
        ("connections", NOTE, "9,000 of 10,000", {"connected_clients": "9000"}),
        ("append-only file", BAD, "its last write failed", {"aof_last_write_status": "err"}),
        ("snapshots", BAD, "the last one failed", {"rdb_last_bgsave_status": "err"}),
    ],
)
def test_what_info_tells_is_judged(what: str, level: str, told: str, changes: dict[str, str]) -> None:
    finding = found(what, info={**GOOD, **changes})
    assert finding.level == level
    assert told in finding.told
    assert finding.advice


@pytest.mark.parametrize(
    ("info", "config", "told"),
    [
        ("1", {"appendfsync": "no"}, "up to half a minute"),
        ("1", {"appendfsync": "always"}, ""),
        ("0", {"save": "3600 1"}, "loses what came since the last snapshot"),
        ("0", {"save": "", "timeout": "0"}, "loses all runs and jobs"),
        ("0", {}, "unless it has snapshots"),
    ],
)
def test_what_a_crash_of_the_server_loses_is_said(info: str, config: dict[str, str], told: str) -> None:
    assert told in found("persistence", info={**GOOD, "aof_enabled": info}, config=config).advice


def test_workers_of_another_protocol_are_bad_and_of_another_version_worth_a_word() -> None:
    workers = {"old": WorkerVersions("0.0.1", "1"), "new": WorkerVersions("0.1.0", str(PROTOCOL))}
    other = found("workers", workers=workers)
    assert other.level == BAD
    assert "1 of 2 replicas speak another protocol" in other.told
    assert found("workers", workers={"w": WorkerVersions("9.9", str(PROTOCOL))}).level == NOTE
    assert found("workers", workers={"rq": WorkerVersions("", "")}).told == "none"  # of plain RQ


def test_a_chart_whose_pods_run_another_package_is_worth_a_word() -> None:
    fits, other = (WorkerVersions(version, str(PROTOCOL), chart="0.1.0") for version in ("0.1.0", "0.0.9"))
    assert (found("chart", workers={"pod": fits}).level, found("chart", workers={"pod": fits}).told) == (OK, "0.1.0")
    finding = found("chart", workers={"pod": fits, "odd": other})
    assert finding.level == NOTE
    assert finding.told == "0.1.0, and the package in its pods is 0.0.9: odd"
    assert "chart" not in {each.what for each in findings(facts())}  # no pod


def test_a_clock_or_a_way_that_is_far_off_is_said() -> None:
    assert (found("clock", ahead=-5.0).level, found("clock", ahead=7200.0).level) == (NOTE, BAD)
    assert found("clock", ahead=-5.0).told == "5.0 s behind this machine's"
    assert found("round trip", trip=0.02).level == NOTE
    assert found("timeout", config={"timeout": "10"}).level == NOTE


def test_a_real_server_is_read(asked: Asked, server: str) -> None:
    link = Link(server, patience=0.0)
    seen = {each.what: each for each in findings(look(link))}
    link.close()
    assert seen["persistence"].told == "none"
    assert seen["clock"].level == OK
    assert BAD not in {each.level for each in seen.values()}
