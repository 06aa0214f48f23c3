"""A busy server with some trouble, as one look finds it. It is made up, and needs neither a server nor textual."""

from __future__ import annotations

import time

from actorq.cache.report import CacheReport, FunctionStats
from actorq.monitor.failures import FailureView
from actorq.monitor.model import EnvironmentView, MapView, ReplicaView
from actorq.monitor.runs import RunView
from actorq.monitor.server import ServerView
from actorq.terminal.picture import Picture, Scope

_TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/app/texts.py", line 41, in embed
    return model().encode(text)
  File "/srv/app/texts.py", line 17, in encode
    raise ValueError("text is empty")
ValueError: text is empty"""


def _map(name: str, task: str, done: int, total: int | None, rate: float, **more: object) -> MapView:
    told: dict[str, object] = {"failed": 0, "seconds": 420.0, "running": 3} | more
    return MapView(id=name, task=task, done=done, total=total, rate=rate, **told)  # type: ignore[arg-type]


def _replica(name: str, state: str, task: str, map_id: str, index: int | None, seconds: float) -> ReplicaView:
    inputs = 1000 + sum(name.encode()) % 700
    model = FunctionStats(
        function="texts.model",
        hits=inputs,
        misses=1,
        entries=1,
        loads=1,
        load_seconds=9.0,
        bytes=1_340_000_000,
        evictions=0,
    )
    return ReplicaView(
        name=name,
        state=state,
        map=map_id,
        index=index,
        heartbeat_seconds=2.0 if state != "stale" else 41.0,
        inputs=inputs,
        restarts=1 if state == "failing" else 0,
        cached=1,
        cached_bytes=1_340_000_000,
        caches=CacheReport(functions=(model,)),
        task=task,
        running_seconds=seconds,
    )


def _environment(name: str, maps: list[MapView], replicas: list[ReplicaView], **more: object) -> EnvironmentView:
    told: dict[str, object] = {
        "queued_leases": 0,
        "queued_inputs": 0,
        "oldest_seconds": 0.0,
        "running_leases": 0,
        "failed_inputs": 0,
    } | more
    return EnvironmentView(name=name, replicas=replicas, maps=maps, **told)  # type: ignore[arg-type]


def _failure(index: int, cause: str, seconds: float) -> FailureView:
    type_, _, message = cause.partition(": ")
    return FailureView(
        id=f"wiki-2026-11-{index}",
        environment="embeddings",
        map="wiki-2026-11",
        index=index,
        task="texts.embed",
        type=type_,
        message=message,
        traceback=_TRACEBACK,
        replica="gpu-1.3",
        at=time.time() - seconds,
        input="''",
    )


def scene() -> Picture:
    """One look at a server that is busy, and has some trouble."""
    embeddings = _environment(
        "embeddings",
        [
            _map("wiki-2026-11", "texts.embed", 46_213, 120_000, 171.4, failed=3, running=5),
            _map("evening-check", "texts.embed", 380, 400, 9.8, seconds=41.0, running=1),
            _map("from-a-stream", "texts.embed", 9_120, None, 31.0, seconds=300.0, running=1),
        ],
        [
            *(
                _replica(f"gpu-1.{i}", "busy", "texts.embed", "wiki-2026-11", 46_200 + 3 * i, 0.1 * i)
                for i in range(1, 6)
            ),
            _replica("gpu-2.1", "busy", "texts.embed", "evening-check", 381, 0.4),
            _replica("gpu-2.2", "busy", "texts.embed", "from-a-stream", 9_121, 75.0),
            _replica("gpu-2.3", "failing", "", "", None, 0.0),
        ],
        queued_leases=31,
        queued_inputs=2_480,
        oldest_seconds=3.0,
        running_leases=7,
        failed_inputs=3,
    )
    reports = _environment(
        "reports",
        [
            _map(
                "r-0817",
                "reports.render",
                12,
                40,
                0.8,
                pods=True,
                running=2,
                held="2 pods wait for a node: insufficient memory",
            )
        ],
        [],
    )
    thumbnails = _environment("thumbnails", [], [], queued_leases=12, queued_inputs=240, oldest_seconds=190.0)
    run = RunView(
        id="nightly-11-28",
        environment="embeddings",
        task="texts.embed",
        state="failed",
        done=20_000,
        failed=14,
        stored=20_000,
        total=20_000,
        rate=155.0,
        age_seconds=40_000.0,
        driver="",
        bytes=0,
    )
    server = ServerView(
        address="redis://:***@queue.internal:6379/0",
        version="Valkey 9.1.0",
        used_bytes=412 << 20,
        limit_bytes=2 << 30,
        clients=37,
        persistence="aof",
        suspended=False,
    )
    failures = [
        _failure(45_118, "ValueError: text is empty", 12.0),
        _failure(31_007, "TaskTimeoutError: ran longer than 60 s", 160.0),
        _failure(2_210, "ReplicaLostError: its replica died while it ran: killed by SIGKILL", 400.0),
    ]
    return Picture(
        taken=time.monotonic(),
        scope=Scope(),
        server=server,
        environments=[embeddings, reports, thumbnails],
        runs=[run],
        failures=failures,
    )
