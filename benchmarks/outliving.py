"""What it costs that work outlives its script: runs beside plain maps, uploads beside RPUSH, jobs beside RQ's."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgpack
import redis
import rq

import actorq
from actorq.base.settings import settings
from actorq.runtime.embedded import EmbeddedServer
from actorq.runtime.program import shutdown
from benchmarks import tasks
from benchmarks.rows import Row, medians, timed

_INPUTS = 1_000_000
#: inputs of one pipeline of the upload that is compared with
_PIPELINE = 10_000


def durable_map(rounds: int = 7) -> list[Row]:
    """A million hellos as a run, read to the end, beside the plain map; and the run read once more."""
    list(tasks.hello.map(range(100_000)))
    number = 0

    def run() -> float:
        nonlocal number
        number += 1
        return timed(lambda: tasks.hello.spawn_map(range(_INPUTS), map_id=f"bench-{number}").results())

    def again() -> float:
        found = actorq.attach(f"bench-{number}")
        seconds = timed(found.results)
        found.delete()
        return seconds

    (plain, durable, read), values = medians(
        rounds, lambda: timed(lambda: list(tasks.hello.map(range(_INPUTS)))), run, again
    )
    share = statistics.median(a / b for a, b in zip(values[0], values[1], strict=True))
    return [
        Row(
            name="plain no-op map / run",
            measured=share,
            floor=0.5,
            at_least=True,
            unit="x",
            detail=f"{durable:.2f} s beside {plain:.2f}",
        ),
        Row(
            name="plain loop / outputs read of a run",
            measured=timed(lambda: list(map(tasks.hello_plain, range(_INPUTS)))) / read,
            floor=0.65,
            at_least=True,
            unit="x",
            detail=f"{_INPUTS / read / 1e6:.1f} M/s after its end, in one process",
        ),
    ]


def durable_sleeps(inputs: int = 4000, rounds: int = 3) -> list[Row]:
    """Sleeps of 50 ms on 20 replicas, as a run and as a plain map."""
    list(tasks.nap_twenty.map([0.0] * 200))
    number = 0

    def run() -> float:
        nonlocal number
        number += 1
        begin = time.perf_counter()
        found = tasks.nap_twenty.spawn_map([0.05] * inputs, map_id=f"naps-{number}")
        found.results()
        seconds = time.perf_counter() - begin
        found.delete()
        return seconds

    (plain, durable), _ = medians(rounds, lambda: timed(lambda: list(tasks.nap_twenty.map([0.05] * inputs))), run)
    detail = f"{durable:.2f} s beside {plain:.2f}, ideal {inputs * 0.05 / 20:.2f}"
    return [
        Row(name="sleeps, run / map", measured=durable / plain, floor=1.01, at_least=False, unit="x", detail=detail)
    ]


@contextmanager
def _nobody_serves() -> Iterator[str]:
    """A server without workers: what is measured is what it costs to hand work over."""
    server = EmbeddedServer()
    server.wait_ready()
    os.environ["ACTORQ_REDIS_URL"] = server.url
    settings.cache_clear()
    try:
        yield server.url
    finally:
        shutdown()
        server.stop()


def upload(rounds: int = 7) -> list[Row]:
    """A million integers stored as the inputs of a run, beside RPUSH of the same bytes, pipelined by redis-py."""
    with _nobody_serves() as url, redis.Redis.from_url(url) as client:
        packed = [msgpack.packb(number) for number in range(_INPUTS)]
        number = 0

        def stored() -> float:
            nonlocal number
            number += 1
            begin = time.perf_counter()
            run = tasks.hello.spawn_map(range(_INPUTS), map_id=f"upload-{number}")
            seconds = time.perf_counter() - begin
            run.delete()
            return seconds

        def pushed() -> float:
            begin = time.perf_counter()
            for at in range(0, _INPUTS, _PIPELINE):
                with client.pipeline(transaction=False) as pipeline:
                    for each in packed[at : at + _PIPELINE]:
                        pipeline.rpush("pushed", each)
                    pipeline.execute()
            seconds = time.perf_counter() - begin
            client.delete("pushed")
            return seconds

        def pushed_at_once() -> float:
            begin = time.perf_counter()
            for at in range(0, _INPUTS, _PIPELINE):
                client.rpush("pushed", *packed[at : at + _PIPELINE])
            seconds = time.perf_counter() - begin
            client.delete("pushed")
            return seconds

        (ours, one_by_one, at_once), _ = medians(rounds, stored, pushed, pushed_at_once)
        detail = f"{ours:.2f} s beside {one_by_one:.2f}; {at_once:.2f} with {_PIPELINE:,} values a command"
        return [
            Row(name="RPUSH / upload", measured=one_by_one / ours, floor=0.8, at_least=True, unit="x", detail=detail)
        ]


def spawned_jobs(count: int = 2000, rounds: int = 7) -> list[Row]:
    """Single jobs, one by one, and a run of as many inputs, beside `rq.Queue.enqueue`. Nobody runs them."""
    with _nobody_serves() as url, redis.Redis.from_url(url) as client:
        queue = rq.Queue("bench", connection=client)
        number = 0

        def many() -> float:
            nonlocal number
            number += 1
            return timed(lambda: tasks.hello.spawn_map(range(50 * count), map_id=f"many-{number}")) / 50

        (ours, theirs, run), values = medians(
            rounds,
            lambda: timed(lambda: [tasks.hello.spawn(n) for n in range(count)]),
            lambda: timed(lambda: [queue.enqueue(tasks.hello_plain, n) for n in range(count)]),
            many,
        )
        one = statistics.median(b / a for a, b in zip(values[0], values[1], strict=True))
        all_ = statistics.median(b / a for a, b in zip(values[2], values[1], strict=True))
        detail = f"{ours / count * 1e6:.0f} us beside {theirs / count * 1e6:.0f}"
        many_detail = f"{run / count * 1e6:.2f} us an input"
        return [
            Row(name="rq enqueue / spawn", measured=one, floor=5, at_least=True, unit="x", detail=detail),
            Row(name="rq enqueue / spawn_map", measured=all_, floor=50, at_least=True, unit="x", detail=many_detail),
        ]


ALL = (durable_map, durable_sleeps, upload, spawned_jobs)
