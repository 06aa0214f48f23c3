"""What `actorq doctor` tells of a server and its workers: what will lose work, what will refuse it, and what to do.

The one idea: facts are read first, and judged by functions that read nothing; so every judgement can be tested.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from actorq.base.amounts import size
from actorq.base.names import package_version
from actorq.base.settings import settings
from actorq.broker import keys
from actorq.broker.link import Link
from actorq.errors import BrokerError
from actorq.wire.messages import PROTOCOL

#: levels, the worst one last
OK, NOTE, BAD = "ok", "note", "bad"
#: questions that a round trip is measured with
_ROUND_TRIPS = 20
#: seconds that two clocks may differ: signatures have a day, people read stamps
_CLOCK_NOTE, _CLOCK_BAD = 2.0, 3600.0
#: seconds of a round trip from which single calls are slow
_SLOW_TRIP = 0.005
#: part of a limit from which it is worth a word
_NEARLY = 0.8
_OLDEST = (6, 2)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: str
    what: str
    told: str
    advice: str = ""


class WorkerVersions(NamedTuple):
    """What a replica said of itself when it registered, "" for what it did not say."""

    package: str
    protocol: str
    #: of the chart that has made its pod
    chart: str = ""


@dataclass(kw_only=True)
class Facts:
    """What the server says."""

    info: Mapping[str, str]
    #: of `CONFIG GET`; empty where this login may not ask
    config: Mapping[str, str]
    #: seconds that the server's clock is ahead of this one
    ahead: float
    #: seconds of a round trip, the median
    trip: float
    #: why no script can be run, "" where one can
    scripts: str
    #: by replica
    workers: Mapping[str, WorkerVersions] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """A number of INFO; 0 where there is none."""
        text = self.info.get(name, "")
        return int(text) if text.isdigit() else 0


def look(link: Link) -> Facts:
    """Asks the server. Raises `BrokerError` for one that does not answer."""
    info = dict(
        line.split(":", 1) for line in link.command("INFO").decode(errors="replace").splitlines() if ":" in line
    )
    trips = []
    for _ in range(_ROUND_TRIPS):
        begin = time.perf_counter()
        link.command("PING")
        trips.append(time.perf_counter() - begin)
    before = time.time()
    seconds, micros = link.command("TIME")
    ahead = int(seconds) + int(micros) / 1e6 - (before + time.time()) / 2
    workers = {}
    for key in link.command("SMEMBERS", keys.WORKERS):
        told = link.command("HMGET", key, "aq_version", "aq_protocol", "aq_chart")
        name = key.decode(errors="replace").removeprefix(keys.worker(""))
        workers[name] = WorkerVersions(*[(each or b"").decode(errors="replace") for each in told])
    return Facts(
        info=info,
        config=_config(link),
        ahead=ahead,
        trip=statistics.median(trips),
        scripts=_scripts(link),
        workers=workers,
    )


def _config(link: Link) -> dict[str, str]:
    try:
        found = link.command("CONFIG", "GET", "*")
    except BrokerError:  # not permitted: managed servers have none
        return {}
    words = [word.decode(errors="replace") for word in found]
    return dict(zip(words[::2], words[1::2], strict=True))


def _scripts(link: Link) -> str:
    try:
        link.command("EVAL", "return 1", 0)
    except BrokerError as error:
        return str(error)
    return ""


def findings(facts: Facts) -> list[Finding]:
    """What is to be said, in the order in which it matters to a person who starts."""
    return [
        *_kind(facts),
        *_persistence(facts),
        *_memory(facts),
        *_limits(facts),
        *_time(facts),
        *_workers(facts.workers),
        *_signing(),
    ]


def _kind(facts: Facts) -> Iterator[Finding]:
    info = facts.info
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info.get('redis_version', '?')}"
    version = tuple(int(part) for part in info.get("redis_version", "0").split(".")[:2] if part.isdigit())
    old = version < _OLDEST
    yield Finding(BAD if old else OK, "version", name, "actorq needs Redis 6.2, or any Valkey." if old else "")
    if info.get("cluster_enabled") == "1":
        yield Finding(BAD, "cluster", "a Redis Cluster", "Use one primary per environment: keys of a map lie together.")
    if info.get("role") == "slave":
        yield Finding(BAD, "role", "a read-only replica", "Give the address of the primary.")
    if facts.scripts:
        yield Finding(
            BAD, "scripts", facts.scripts, "Permit EVAL, EVALSHA and SCRIPT to this login: see docs/security.md."
        )


def _persistence(facts: Facts) -> Iterator[Finding]:
    info = facts.info
    if info.get("aof_enabled") == "1":
        policy = facts.config.get("appendfsync", "?")
        told, advice = f"append-only file, fsync {policy}", ""
        if policy == "no":
            advice = "A crash of the machine loses what the system has not written yet: up to half a minute."
        elif policy == "everysec":
            advice = "A crash of the machine loses the last second: what it loses of results runs again."
        yield Finding(NOTE if policy == "no" else OK, "persistence", told, advice)
        if info.get("aof_last_write_status", "ok") != "ok":
            yield Finding(BAD, "append-only file", "its last write failed", "Make room on the server's disk.")
    elif facts.config.get("save", "?") not in ("", "?"):
        told = f"snapshots only (save {facts.config['save']})"
        yield Finding(NOTE, "persistence", told, _LOSES + "what came since the last snapshot.")
    elif facts.config:
        yield Finding(NOTE, "persistence", "none", _LOSES + "all runs and jobs. Maps of programs that live go on.")
    else:
        yield Finding(NOTE, "persistence", "no append-only file", _LOSES + "runs and jobs, unless it has snapshots.")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield Finding(
            BAD, "snapshots", "the last one failed", "The server may refuse writes (MISCONF): look into its log."
        )


_LOSES = "A restart of the server loses "


def _memory(facts: Facts) -> Iterator[Finding]:
    policy, limit, used = (
        facts.info.get("maxmemory_policy", "?"),
        facts.number("maxmemory"),
        facts.number("used_memory"),
    )
    if policy not in ("noeviction", "?"):
        told = f"{policy}: it drops keys when it is full" if limit else f"{policy}, without a limit of memory"
        yield Finding(
            BAD if limit else NOTE, "eviction", told, "Set maxmemory-policy noeviction: what it drops is work."
        )
    else:
        yield Finding(OK, "eviction", policy)
    machine = facts.number("total_system_memory")
    told = f"{size(used)} used" + (f" of {size(limit)}" if limit else ", no limit")
    if limit and used > _NEARLY * limit:
        yield Finding(NOTE, "memory", told, "Nearly full: it will refuse writes, and maps and uploads wait for room.")
    elif not limit and machine and used > _NEARLY / 2 * machine:
        yield Finding(NOTE, "memory", told, f"Of {size(machine)} of the machine: a snapshot may need twice as much.")
    else:
        yield Finding(OK, "memory", told)


def _limits(facts: Facts) -> Iterator[Finding]:
    clients, most = facts.number("connected_clients"), facts.number("maxclients")
    full = bool(most) and clients > _NEARLY * most
    advice = "Raise maxclients: each replica has three connections, each map two." if full else ""
    yield Finding(NOTE if full else OK, "connections", f"{clients:,} of {most:,}" if most else f"{clients:,}", advice)
    idle = facts.config.get("timeout", "0")
    if idle.isdigit() and 0 < int(idle) < 60:
        yield Finding(NOTE, "timeout", f"{idle} s", "It closes quiet connections: set timeout 0, or 60 and more.")


def _time(facts: Facts) -> Iterator[Finding]:
    ahead = abs(facts.ahead)
    told = f"{ahead:.1f} s {'ahead of' if facts.ahead > 0 else 'behind'} this machine's" if ahead > 0.05 else "as here"
    level = BAD if ahead > _CLOCK_BAD else NOTE if ahead > _CLOCK_NOTE else OK
    advice = "Run a time service on both: signatures and `at=` depend on the clocks." if level != OK else ""
    yield Finding(level, "clock", told, advice)
    slow = facts.trip > _SLOW_TRIP
    advice = "Single calls take two of these: run programs and workers near the server." if slow else ""
    yield Finding(NOTE if slow else OK, "round trip", f"{1000 * facts.trip:.2f} ms", advice)


def _workers(workers: Mapping[str, WorkerVersions]) -> Iterator[Finding]:
    ours = {name: told for name, told in workers.items() if told.protocol}
    if not ours:
        yield Finding(
            NOTE, "workers", "none", "Start some: actorq worker MODULE. A program's own replicas do not show."
        )
        return
    others = sorted(name for name, told in ours.items() if told.protocol != str(PROTOCOL))
    if others:
        told = f"{len(others)} of {len(ours)} replicas speak another protocol than this package ({PROTOCOL})"
        yield Finding(BAD, "workers", f"{told}: {_some(others)}", "Install the same actorq on both sides.")
        return
    yield from _chart(ours)
    versions = sorted({each.package for each in ours.values()})
    told = f"{len(ours)} replica{'s' if len(ours) > 1 else ''}, protocol {PROTOCOL}, version {', '.join(versions)}"
    same = versions == [package_version()]
    advice = "" if same else f"This package is {package_version()}: they understand each other."
    yield Finding(OK if same else NOTE, "workers", told, advice)


def _chart(workers: Mapping[str, WorkerVersions]) -> Iterator[Finding]:
    """Whether the pods run the package that their chart was made for: an image of one's own may have another one."""
    pods = {name: each for name, each in workers.items() if each.chart}
    others = sorted(name for name, each in pods.items() if each.chart != each.package)
    if others:
        first = pods[others[0]]
        told = f"{first.chart}, and the package in its pods is {first.package}: {_some(others)}"
        yield Finding(NOTE, "chart", told, "Upgrade the release, or build the image with the package of the chart.")
    elif pods:
        yield Finding(OK, "chart", ", ".join(sorted({each.chart for each in pods.values()})))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _signing() -> Iterator[Finding]:
    if settings().signs:
        yield Finding(OK, "signing", "with the key of this program")
    else:
        yield Finding(NOTE, "signing", "none", "Who can write to the server can have replicas run any of their tasks.")
